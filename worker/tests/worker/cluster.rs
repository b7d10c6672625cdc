//! A catalog and some workers in one process, over a temporary directory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::changes::{self, Change};
use catalog::client::CatalogCache;
use catalog::objects::{
    Column, Index, IndexColumn, IndexScope, IndexState, Maintenance, PartitionMap, PartitionMethod, PartitionPolicy, Partitioning, Table,
};
use catalog::placement;
use catalog::service::CatalogService;
use catalog::state::{CatalogState, PUBLIC_SCHEMA};
use common::clock::{Clock, SystemClock};
use common::datum::Datum;
use common::error::Report;
use common::ids::{CatalogVersion, Oid, OwnWrites, RelationId, Timestamp, TransactionId, WorkerId};
use common::row::{decode_row, encode_row};
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use parking_lot::Mutex;
use partition::key::{KeyColumn, KeySchema};
use rpc::catalog_api::CatalogApi;
use rpc::directory::WorkerDirectory;
use rpc::worker_api::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use worker::{Worker, WorkerOptions};

#[derive(Default)]
pub(crate) struct Directory(Mutex<HashMap<WorkerId, Arc<Worker>>>);

impl WorkerDirectory for Directory {
    fn worker(&self, id: WorkerId) -> Answer<Arc<dyn WorkerApi>> {
        let worker = self.0.lock().get(&id).cloned();
        worker.map(|w| w as Arc<dyn WorkerApi>).ok_or_else(|| Report::new(SqlState::CONNECTION_FAILURE, format!("worker {id} is away")))
    }

    fn is_local(&self, _: WorkerId) -> bool {
        true
    }
}

pub(crate) struct Cluster {
    dir: TempDir,
    pub(crate) service: Arc<CatalogService>,
    pub(crate) cache: Arc<CatalogCache>,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Cluster {
    pub(crate) async fn start(workers: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let service = CatalogService::open(&dir.path().join("catalog"), Arc::clone(&clock)).unwrap();
        let stop = CancellationToken::new();
        let cache = CatalogCache::start(Arc::clone(&service) as Arc<dyn CatalogApi>, stop.clone()).await.unwrap();
        let cluster = Self { dir, service, cache, directory: Arc::default(), clock, stop };
        for number in 1..=workers {
            assert_eq!(cluster.open(number).await.id(), WorkerId(number));
        }
        cluster.settle().await;
        cluster
    }

    /// Opens a worker, as soon as its former life has let go of the directory.
    pub(crate) async fn open(&self, number: u32) -> Arc<Worker> {
        let mut last = None;
        for _ in 0..200 {
            let data = self.dir.path().join(format!("w{number}"));
            let options = WorkerOptions { data, address: format!("worker-{number}"), groups: 2 };
            let directory = Arc::clone(&self.directory) as Arc<dyn WorkerDirectory>;
            let catalog = Arc::clone(&self.service) as Arc<dyn CatalogApi>;
            match Worker::open(options, catalog, Arc::clone(&self.cache), directory, Arc::clone(&self.clock)).await {
                Ok(worker) => {
                    self.directory.0.lock().insert(worker.id(), Arc::clone(&worker));
                    return worker;
                }
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("worker {number} does not open: {last:?}");
    }

    /// Ends a worker as a crash does.
    pub(crate) fn crash(&self, number: u32) {
        self.directory.0.lock().remove(&WorkerId(number));
    }

    /// Takes a worker away from the others without ending it.
    pub(crate) fn hide(&self, number: u32) -> Arc<Worker> {
        self.directory.0.lock().remove(&WorkerId(number)).unwrap()
    }

    pub(crate) fn show(&self, worker: Arc<Worker>) {
        self.directory.0.lock().insert(worker.id(), worker);
    }

    pub(crate) fn worker(&self, number: u32) -> Arc<Worker> {
        Arc::clone(&self.directory.0.lock()[&WorkerId(number)])
    }

    pub(crate) fn state(&self) -> Arc<CatalogState> {
        self.service.state()
    }

    pub(crate) fn version(&self) -> CatalogVersion {
        self.state().version()
    }

    pub(crate) async fn settle(&self) {
        self.cache.wait_for(self.version(), Duration::from_secs(5)).await.unwrap();
    }

    pub(crate) async fn change(&self, list: &[Change]) {
        self.service.propose(self.version(), changes::serialize(list)).await.unwrap();
        self.settle().await;
    }

    pub(crate) async fn now(&self) -> Timestamp {
        self.service.timestamps(1).await.unwrap()
    }

    pub(crate) async fn begin(&self) -> TransactionId {
        TransactionId(self.now().await.0)
    }

    async fn id(&self) -> u32 {
        self.service.allocate_ids(1).await.unwrap() as u32
    }

    /// A table (id int8 primary key, n int4, t text) of this many range partitions, at 0, 1000, 2000, …
    pub(crate) async fn table(&self, partitions: usize) -> TestTable {
        let (oid, storage) = (Oid(self.id().await), RelationId(self.id().await));
        let key = KeySchema { columns: vec![KeyColumn::ascending(Scalar::Int8.into())], hash_columns: 0 };
        let lowers: Vec<Bytes> = (0..partitions)
            .map(|p| if p == 0 { Bytes::new() } else { key.key(&[Datum::Int8(1_000 * p as i64)]).unwrap().into() })
            .collect();
        let first_id = self.service.allocate_ids(partitions as u32).await.unwrap();
        let map = placement::place(&self.state(), storage, &lowers, first_id).unwrap();
        let column = |attnum: i16, name: &str, ty: Scalar| Column {
            attnum,
            name: name.to_owned(),
            ty: ty.into(),
            not_null: attnum == 1,
            default: None,
            missing: Datum::Null,
            dropped: false,
            hidden: false,
            domain: None,
            generated: None,
        };
        let table = Table {
            oid,
            schema: PUBLIC_SCHEMA,
            name: format!("t{oid}"),
            storage,
            columns: vec![column(1, "id", Scalar::Int8), column(2, "n", Scalar::Int4), column(3, "t", Scalar::Text)],
            partitioning: Partitioning {
                method: PartitionMethod::Range,
                policy: PartitionPolicy::Fixed,
                columns: vec![1],
                key_columns: vec![1],
                key: key.clone(),
            },
            colocated_with: None,
            checks: Vec::new(),
            uniques: Vec::new(),
            indexes: Vec::new(),
            options: Vec::new(),
        };
        self.change(&[Change::CreateTable(table), Change::PutPartitionMap(map)]).await;
        TestTable { oid, storage, key }
    }

    /// An index on column n, that includes t; a global one has partitions at 0 and 500.
    pub(crate) async fn index(&self, table: &TestTable, unique: bool, maintenance: Option<Maintenance>) -> Index {
        let (oid, storage) = (Oid(self.id().await), RelationId(self.id().await));
        let key = KeySchema { columns: vec![KeyColumn::ascending(Scalar::Int4.into())], hash_columns: 0 };
        let partitioning = Partitioning {
            method: PartitionMethod::Range,
            policy: PartitionPolicy::Fixed,
            columns: vec![2],
            key_columns: vec![2],
            key: key.clone(),
        };
        let index = Index {
            oid,
            schema: PUBLIC_SCHEMA,
            name: format!("i{oid}"),
            table: table.oid,
            storage,
            columns: vec![IndexColumn { attnum: 2, descending: false, nulls_first: false }],
            include: vec![3],
            key: key.clone(),
            unique,
            scope: maintenance.map_or(IndexScope::Local, |maintenance| IndexScope::Global { partitioning, maintenance }),
            state: IndexState::Building,
            options: Vec::new(),
        };
        let mut list = vec![Change::CreateIndex(index.clone())];
        if maintenance.is_some() {
            let lowers = [Bytes::new(), key.key(&[Datum::Int4(500)]).unwrap().into()];
            let first_id = self.service.allocate_ids(2).await.unwrap();
            list.push(Change::PutPartitionMap(placement::place(&self.state(), storage, &lowers, first_id).unwrap()));
        }
        self.change(&list).await;
        index
    }

    pub(crate) fn map(&self, relation: RelationId) -> Arc<PartitionMap> {
        self.state().partition_map(relation).unwrap()
    }

    /// The owner of a table's row.
    pub(crate) fn route(&self, table: &TestTable, id: i64) -> (Arc<Worker>, PartitionRef) {
        let at = self.state().bounds(table.storage).unwrap().route(&table.row_key(id));
        let partition = self.map(table.storage).partitions[at].clone();
        let worker = self.worker(partition.worker.0);
        (worker, PartitionRef { id: partition.id, epoch: partition.epoch, group: partition.group })
    }

    /// One write, in the form of a request's part.
    pub(crate) fn write(&self, table: &TestTable, id: i64, row: Option<Bytes>, precondition: Precondition) -> PartitionWrites {
        let (_, partition) = self.route(table, id);
        let write = RowWrite { key: table.row_key(id), row, precondition };
        PartitionWrites { relation: table.storage, partition, writes: vec![write], constraint: Some(table.oid) }
    }

    /// Commits one write by itself.
    pub(crate) async fn put(&self, table: &TestTable, id: i64, row: Option<Bytes>, precondition: Precondition) -> CommitResponse {
        let (worker, _) = self.route(table, id);
        let writes = vec![self.write(table, id, row, precondition)];
        worker
            .commit(CommitRequest {
                catalog_version: self.version(),
                transaction: None,
                writes,
                wait: LockWait::FOREVER,
                is_known: false,
                validation: None,
            })
            .await
            .unwrap()
    }

    /// Inserts a row by itself.
    pub(crate) async fn insert(&self, table: &TestTable, id: i64, n: Option<i32>) -> Timestamp {
        match self.put(table, id, Some(row(id, n, "x")), Precondition::Absent).await {
            CommitResponse::Committed(at) => at,
            CommitResponse::Refused(outcome) => panic!("{outcome:?}"),
        }
    }

    pub(crate) fn context(&self, at: ReadAt, own: Option<TransactionId>) -> ReadContext {
        ReadContext { catalog_version: self.version(), at, own: own.map(OwnWrites::all) }
    }

    pub(crate) async fn get(&self, table: &TestTable, id: i64, at: ReadAt, own: Option<TransactionId>) -> Option<FoundRow> {
        let (worker, partition) = self.route(table, id);
        let keys = vec![table.row_key(id)];
        let request = GetRequest { context: self.context(at, own), relation: table.storage, partition, keys };
        worker.get(request).await.unwrap().pop().unwrap()
    }

    /// The value of n in a row.
    pub(crate) async fn n(&self, table: &TestTable, id: i64) -> Option<i32> {
        self.get(table, id, ReadAt::Newest, None).await.map(|found| n_of(&found.row).unwrap())
    }

    /// All keys and rows of a relation, partition after partition.
    pub(crate) async fn all(&self, relation: RelationId, map: &PartitionMap, at: ReadAt) -> Vec<(Bytes, FoundRow)> {
        let mut rows = Vec::new();
        for partition in &map.partitions {
            let request = RangeRequest {
                context: self.context(at, None),
                relation,
                partition: PartitionRef { id: partition.id, epoch: partition.epoch, group: partition.group },
                lo: Bytes::new(),
                hi: None,
                reverse: false,
                limit: u32::MAX,
            };
            rows.extend(self.worker(partition.worker.0).range(request).await.unwrap().rows);
        }
        rows
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
        self.directory.0.lock().clear();
    }
}

pub(crate) struct TestTable {
    pub(crate) oid: Oid,
    pub(crate) storage: RelationId,
    pub(crate) key: KeySchema,
}

impl TestTable {
    pub(crate) fn row_key(&self, id: i64) -> Bytes {
        self.key.key(&[Datum::Int8(id)]).unwrap().into()
    }
}

pub(crate) fn types() -> [SqlType; 3] {
    [Scalar::Int8.into(), Scalar::Int4.into(), Scalar::Text.into()]
}

pub(crate) fn row(id: i64, n: Option<i32>, t: &str) -> Bytes {
    let mut out = Vec::new();
    let values = [Datum::Int8(id), n.map_or(Datum::Null, Datum::Int4), Datum::Text(t.to_owned())];
    encode_row(&types(), &values, &mut out).unwrap();
    out.into()
}

pub(crate) fn n_of(row: &[u8]) -> Option<i32> {
    match decode_row(&types(), &[], row).unwrap()[1] {
        Datum::Int4(n) => Some(n),
        _ => None,
    }
}

/// The table key in an index entry.
pub(crate) fn entry_key(value: &[u8]) -> Bytes {
    match decode_row(&[Scalar::Bytea.into(), Scalar::Text.into()], &[], value).unwrap().swap_remove(0) {
        Datum::Bytea(key) => key,
        other => panic!("{other:?}"),
    }
}
