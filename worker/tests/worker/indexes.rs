//! Local indexes: maintained with the rows, unique or not, built over rows that are there, read by scans.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UInt64Type};
use bytes::Bytes;
use catalog::objects::Index;
use common::ids::Timestamp;
use datafusion::execution::TaskContext;
use futures::TryStreamExt;
use query::scan::{AccessPath, ScanColumn, ScanPiece, ScanSpec};
use rpc::worker_api::*;

use crate::cluster::{Cluster, TestTable, entry_key, row, types};

/// The rows that the index leads to, in its order.
async fn indexed(cluster: &Cluster, table: &TestTable, index: &Index, at: ReadAt) -> Vec<Bytes> {
    let rows = cluster.all(index.storage, &cluster.map(table.storage), at).await;
    rows.iter().map(|(_, found)| entry_key(&found.row)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_follows_its_rows() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    let index = cluster.index(&table, false, None).await;
    for (id, n) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(10))] {
        cluster.insert(&table, id, n).await;
    }
    let keys = |ids: &[i64]| ids.iter().map(|id| table.row_key(*id)).collect::<Vec<_>>();
    assert_eq!(indexed(&cluster, &table, &index, ReadAt::Newest).await, keys(&[2, 4, 1, 3]));
    let before = ReadAt::Snapshot(cluster.now().await);
    cluster.put(&table, 2, Some(row(2, Some(40), "")), Precondition::None).await;
    cluster.put(&table, 1, None, Precondition::None).await;
    assert_eq!(indexed(&cluster, &table, &index, ReadAt::Newest).await, keys(&[4, 2, 3]));
    assert_eq!(indexed(&cluster, &table, &index, before).await, keys(&[2, 4, 1, 3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_index_refuses_a_second_row() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    let index = cluster.index(&table, true, None).await;
    cluster.insert(&table, 1, Some(10)).await;
    cluster.insert(&table, 2, None).await;
    cluster.insert(&table, 3, None).await;
    let answer = cluster.put(&table, 4, Some(row(4, Some(10), "")), Precondition::Absent).await;
    let duplicate = WriteOutcome::Duplicate { at: (0, 0), constraint: Some(index.oid), existing: table.row_key(1) };
    assert_eq!(answer, CommitResponse::Refused(duplicate));

    // In one request: the same value twice, and a swap.
    let commit = |writes: Vec<PartitionWrites>| {
        let request = CommitRequest {
            catalog_version: cluster.version(),
            transaction: None,
            writes,
            wait: LockWait::FOREVER,
            is_known: false,
            validation: None,
        };
        let worker = cluster.worker(1);
        async move { worker.commit(request).await.unwrap() }
    };
    let mut both = cluster.write(&table, 5, Some(row(5, Some(50), "")), Precondition::Absent);
    both.writes.extend(cluster.write(&table, 6, Some(row(6, Some(50), "")), Precondition::Absent).writes);
    let answer = commit(vec![both]).await;
    assert!(matches!(answer, CommitResponse::Refused(WriteOutcome::Duplicate { at: (0, 1), .. })), "{answer:?}");
    cluster.insert(&table, 5, Some(50)).await;
    let mut swap = cluster.write(&table, 1, Some(row(1, Some(50), "")), Precondition::None);
    swap.writes.extend(cluster.write(&table, 5, Some(row(5, Some(10), "")), Precondition::None).writes);
    assert!(matches!(commit(vec![swap]).await, CommitResponse::Committed(_)));
    let keys = [5, 1, 2, 3].map(|id| table.row_key(id));
    assert_eq!(indexed(&cluster, &table, &index, ReadAt::Newest).await, keys);
    // A value that its row has left is free.
    cluster.put(&table, 1, None, Precondition::None).await;
    cluster.insert(&table, 7, Some(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_equal_inserts_one_wins() {
    let cluster = Arc::new(Cluster::start(1).await);
    let table = Arc::new(cluster.table(1).await);
    let index = cluster.index(&table, true, None).await;
    for round in 0..10 {
        let tries = (0..8).map(|n| {
            let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
            common::tasks::spawn("insert", async move {
                cluster.put(&table, round * 10 + n, Some(row(round * 10 + n, Some(round as i32), "")), Precondition::Absent).await
            })
        });
        let answers = futures::future::join_all(tries).await;
        let won = answers.iter().filter(|a| matches!(a.as_ref().unwrap(), CommitResponse::Committed(_))).count();
        assert_eq!(won, 1);
    }
    assert_eq!(indexed(&cluster, &table, &index, ReadAt::Newest).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_index_is_built_while_rows_are_written() {
    let cluster = Arc::new(Cluster::start(1).await);
    let table = Arc::new(cluster.table(2).await);
    for id in 0..300 {
        cluster.insert(&table, id * 5, Some(id as i32)).await;
    }
    let writing = {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        common::tasks::spawn("writing", async move {
            for id in 0..150 {
                cluster.put(&table, id * 10, Some(row(id * 10, Some(5_000 + id as i32), "")), Precondition::None).await;
                cluster.insert(&table, id * 10 + 1, Some(9_000)).await;
            }
        })
    };
    let index = cluster.index(&table, false, None).await;
    let built = cluster.worker(1).build_index(cluster.version(), index.oid).await.unwrap().unwrap();
    assert!(built >= 300, "{built}");
    let when_built = ReadAt::Snapshot(cluster.now().await);
    writing.await.unwrap();
    let sorted = |mut keys: Vec<Bytes>| {
        keys.sort();
        keys
    };
    for at in [ReadAt::Newest, when_built] {
        let rows = cluster.all(table.storage, &cluster.map(table.storage), at).await;
        let rows: Vec<Bytes> = rows.into_iter().map(|(key, _)| key).collect();
        assert_eq!(sorted(indexed(&cluster, &table, &index, at).await), sorted(rows), "one entry for each row at {at:?}");
    }
    let again = cluster.worker(1).build_index(cluster.version(), index.oid).await.unwrap();
    assert_eq!(again, Ok(450));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_index_is_not_built_over_duplicates() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    for (id, n) in [(1, 10), (2, 20), (3, 10)] {
        cluster.insert(&table, id, Some(n)).await;
    }
    let index = cluster.index(&table, true, None).await;
    let built = cluster.worker(1).build_index(cluster.version(), index.oid).await.unwrap();
    let duplicate = WriteOutcome::Duplicate { at: (0, 0), constraint: Some(index.oid), existing: table.row_key(1) };
    assert_eq!(built, Err(duplicate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_give_the_columns_that_are_asked_for() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(2).await;
    let index = cluster.index(&table, false, None).await;
    for id in 0..40 {
        cluster.insert(&table, id * 50, Some(1_000 - id as i32)).await;
    }
    let state = cluster.state();
    let scan = |access: AccessPath, reverse: bool, limit: Option<usize>, at: Timestamp| {
        let map = cluster.map(table.storage);
        let is_table = access == AccessPath::Table;
        let piece = |(at, p): (usize, &catalog::objects::Partition)| ScanPiece {
            partition: PartitionRef { id: p.id, epoch: p.epoch, group: p.group },
            lo: if is_table { p.lower.clone() } else { Bytes::new() },
            hi: if is_table { map.partitions.get(at + 1).map(|next| next.lower.clone()) } else { None },
        };
        let pieces: Vec<ScanPiece> = map.partitions.iter().enumerate().map(piece).collect();
        let spec = ScanSpec {
            table: table.oid,
            storage: table.storage,
            access,
            streams: vec![pieces],
            row_types: types().to_vec(),
            missing: state.table(table.oid).unwrap().missing_values(),
            columns: vec![ScanColumn::RowVersion, ScanColumn::Stored(1), ScanColumn::RowKey],
            reverse,
            limit,
        };
        let fields = [("v", DataType::UInt64), ("n", DataType::Int32), ("k", DataType::Binary)];
        let schema = Arc::new(Schema::new(fields.map(|(name, ty)| Field::new(name, ty, true)).to_vec()));
        let context = cluster.context(ReadAt::Snapshot(at), None);
        let stream = cluster.worker(1).scan_source().open(&spec, 0, context, schema, &TaskContext::default()).unwrap();
        async move {
            let batches: Vec<_> = stream.try_collect().await.unwrap();
            let column = |b: &arrow::array::RecordBatch| b.column(1).as_primitive::<Int32Type>().values().to_vec();
            for batch in &batches {
                assert!(batch.column(0).as_primitive::<UInt64Type>().values().iter().all(|v| Timestamp(*v) <= at));
                assert_eq!(batch.column(2).as_binary::<i32>().len(), batch.num_rows());
            }
            batches.iter().flat_map(column).collect::<Vec<i32>>()
        }
    };
    let at = cluster.now().await;
    cluster.insert(&table, 7, Some(-1)).await;
    let all: Vec<i32> = (0..40).map(|id| 1_000 - id).collect();
    let reversed: Vec<i32> = all.iter().rev().copied().collect();
    assert_eq!(scan(AccessPath::Table, false, None, at).await, all);
    assert_eq!(scan(AccessPath::Table, true, None, at).await, reversed);
    assert_eq!(scan(AccessPath::Table, true, Some(3), at).await, reversed[..3]);
    let through = AccessPath::LocalIndex { index: index.oid, storage: index.storage };
    // Each partition's entries are in the index's order.
    let by_index: Vec<i32> = all[..20].iter().rev().chain(all[20..].iter().rev()).copied().collect();
    assert_eq!(scan(through.clone(), false, None, at).await, by_index);
    assert_eq!(scan(through, false, Some(25), at).await, by_index[..25]);
}
