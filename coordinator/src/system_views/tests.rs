//! Every system relation is read over a catalog with a little of everything, and the functions that name objects are asked.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use catalog::changes::Change;
use catalog::objects::{
    Check, Column, Enforcement, Index, IndexColumn, IndexScope, IndexState, Maintenance, Partition, PartitionMap, PartitionMethod,
    PartitionPolicy, Partitioning, Table, UniqueConstraint, Worker, WorkerState,
};
use catalog::state::{CatalogState, PUBLIC_SCHEMA};
use common::datum::Datum;
use common::ids::{Epoch, GroupId, Oid, PartitionId, RelationId, WorkerId};
use common::types::{Scalar, SqlType};
use functions::context::{CatalogLookup, SessionSettings};
use partition::key::{KeyColumn, KeySchema};

use super::context::SystemContext;
use super::rows::{Reading, Row, RowSource};
use super::{definitions, pg_type, provider};
use crate::settings::Settings;

const TABLE: Oid = Oid(16384);
const KEY: Oid = Oid(16385);
const CHECK: Oid = Oid(16386);
const INDEX: Oid = Oid(16387);

fn column(attnum: i16, name: &str, ty: SqlType) -> Column {
    Column {
        attnum,
        name: name.into(),
        ty,
        not_null: attnum == 1,
        default: (attnum == 2).then(|| "'x'".into()),
        missing: Datum::Null,
        dropped: attnum == 3,
        hidden: false,
        domain: None,
        generated: None,
    }
}

fn partitioning(method: PartitionMethod, attnum: i16, ty: SqlType) -> Partitioning {
    let hash_columns = usize::from(method == PartitionMethod::Hash);
    let key = KeySchema { columns: vec![KeyColumn::ascending(ty)], hash_columns };
    Partitioning { method, policy: PartitionPolicy::Fixed, columns: vec![attnum], key_columns: vec![attnum], key }
}

fn map(relation: u32, first: u64, bound: Bytes) -> PartitionMap {
    let part = |id, lower| Partition { id: PartitionId(id), lower, epoch: Epoch(1), worker: WorkerId(1), group: GroupId(0) };
    PartitionMap { relation: RelationId(relation), partitions: vec![part(first, Bytes::new()), part(first + 1, bound)] }
}

fn table() -> Table {
    Table {
        oid: TABLE,
        schema: PUBLIC_SCHEMA,
        name: "t".into(),
        storage: RelationId(16390),
        columns: vec![
            column(1, "at", Scalar::Timestamptz.into()),
            column(2, "B", SqlType::array_of(Scalar::Text.into())),
            column(3, "gone", Scalar::Int4.into()),
            column(4, "n", SqlType::numeric(10, 2)),
        ],
        partitioning: partitioning(PartitionMethod::Range, 1, Scalar::Timestamptz.into()),
        colocated_with: None,
        checks: vec![Check { oid: CHECK, name: "positive".into(), expression: "n > 0".into() }],
        uniques: vec![UniqueConstraint {
            oid: KEY,
            name: "t_pkey".into(),
            is_primary: true,
            columns: vec![1],
            enforced_by: Enforcement::TableKey,
        }],
        indexes: Vec::new(),
        options: vec![("fillfactor".into(), "70".into())],
    }
}

fn state() -> Arc<CatalogState> {
    let table = table();
    let february = table.partitioning.key.key(&[Datum::Timestamp(1_706_745_600_000_000)]).unwrap();
    let by_n = partitioning(PartitionMethod::Hash, 4, SqlType::numeric(10, 2));
    let index = Index {
        oid: INDEX,
        schema: PUBLIC_SCHEMA,
        name: "t_n".into(),
        table: TABLE,
        storage: RelationId(16391),
        columns: vec![IndexColumn { attnum: 4, descending: true, nulls_first: true }],
        include: vec![2],
        key: by_n.key.clone(),
        unique: false,
        scope: IndexScope::Global { partitioning: by_n, maintenance: Maintenance::Async },
        state: IndexState::Ready,
        options: Vec::new(),
    };
    let worker = Worker { id: WorkerId(1), address: "w1:7400".into(), state: WorkerState::Down, groups: 1 };
    let changes = [
        Change::PutWorker(worker),
        Change::CreateTable(table),
        Change::PutPartitionMap(map(16390, 1, february.into())),
        Change::CreateIndex(index),
        Change::PutPartitionMap(map(16391, 3, Bytes::from_static(&[0x80, 0]))),
    ];
    Arc::new(CatalogState::new().apply(&changes).unwrap())
}

fn system() -> SystemContext {
    SystemContext::alone(state(), SessionSettings::default(), Settings::new("postgres", "postgres"))
}

async fn rows(system: &SystemContext, schema: &str, name: &str) -> Vec<Row> {
    let reading = Reading { catalog: &system.catalog, system };
    match definitions::named(schema, name).unwrap().rows {
        RowSource::Empty => Vec::new(),
        RowSource::Computed(rows) => rows(&reading),
        RowSource::Asked(rows) => rows(reading).await,
    }
}

#[tokio::test]
async fn every_row_has_the_form_of_its_relation() {
    let system = system();
    for relation in definitions::all() {
        let fields: Vec<Field> = relation.columns.iter().map(|c| Field::new(c.name, c.ty.arrow(), true)).collect();
        let wanted: Vec<usize> = (0..fields.len()).collect();
        let rows = rows(&system, relation.schema.name, relation.name).await;
        for row in &rows {
            assert!(row.len() <= fields.len(), "{} has {} columns, a row {}", relation.name, fields.len(), row.len());
            for (at, column) in relation.columns.iter().enumerate().filter(|(_, column)| column.not_null) {
                let value = row.get(at).unwrap_or(&Datum::Null);
                assert!(!value.is_null(), "{}.{} is NULL in {row:?}", relation.name, column.name);
            }
        }
        provider::batch(relation, &Arc::new(Schema::new(fields)), &wanted, &rows).unwrap();
    }
}

#[test]
fn the_lists_name_each_object_once() {
    let relations = definitions::all();
    let names: std::collections::HashSet<_> = relations.iter().map(|r| (r.schema.name, r.name)).collect();
    let oids: std::collections::HashSet<_> = relations.iter().map(|r| r.oid).collect();
    assert_eq!((names.len(), oids.len()), (relations.len(), relations.len()));
    for row in common::types::SCALARS {
        let facts = pg_type::by_oid(Oid(row.1)).unwrap();
        assert_eq!((facts.name, facts.array.0, facts.len), (row.3, row.2, row.5), "pg_type and SCALARS differ");
    }
}

#[tokio::test]
async fn partitions_have_their_bounds_as_sql() {
    let system = system();
    let text = |value: &Datum| if let Datum::Text(text) = value { text.clone() } else { "-".into() };
    let rows = rows(&system, "partita", "partitions").await;
    let shown: Vec<String> = rows.iter().map(|row| format!("{} {}", text(&row[2]), text(&row[3]))).collect();
    assert_eq!(shown, ["- ('2024-02-01 00:00:00+00')", "('2024-02-01 00:00:00+00') -", "- hash 32768", "hash 32768 -"]);
    // Nobody answered how big they are.
    assert!(rows.iter().all(|row| row[6].is_null() && row[7].is_null()));
}

#[test]
fn definitions_are_sql() {
    let system = system();
    let call = |name: &str, args: &[Datum]| match system.call(name, args).unwrap() {
        Datum::Text(text) => text,
        other => format!("{other:?}"),
    };
    let (index, key) = (Datum::Oid(INDEX.0), Datum::Oid(KEY.0));
    assert_eq!(call("pg_get_indexdef", std::slice::from_ref(&index)), "CREATE INDEX t_n ON public.t USING btree (n DESC) INCLUDE (\"B\")");
    let pretty = [index.clone(), Datum::Int4(0), Datum::Bool(true)];
    assert_eq!(call("pg_get_indexdef", &pretty), "CREATE INDEX t_n ON t USING btree (n DESC) INCLUDE (\"B\")");
    assert_eq!(call("pg_get_indexdef", &[index, Datum::Int4(2), Datum::Bool(false)]), "\"B\"");
    assert_eq!(call("pg_get_indexdef", std::slice::from_ref(&key)), "CREATE UNIQUE INDEX t_pkey ON public.t USING btree (at)");
    assert_eq!(call("pg_get_constraintdef", &[key]), "PRIMARY KEY (at)");
    assert_eq!(call("pg_get_constraintdef", &[Datum::Oid(CHECK.0)]), "CHECK ((n > 0))");
    assert_eq!(call("pg_get_constraintdef", &[Datum::Oid(1)]), "Null");
    assert_eq!(call("pg_describe_object", &[Datum::Oid(1259), Datum::Oid(TABLE.0), Datum::Int4(2)]), "column \"B\" of table t");
}

#[test]
fn names_are_found_through_the_search_path() {
    let mut system = system();
    let named = |system: &SystemContext, name: &str| system.object_by_name(Scalar::Regclass, name).unwrap();
    assert_eq!(named(&system, "T"), Some(TABLE.0));
    assert_eq!(named(&system, "public.t_pkey"), Some(KEY.0));
    assert_eq!(named(&system, "pg_class"), Some(1259));
    assert_eq!(named(&system, "\"T\""), None);
    assert_eq!(system.object_name(Scalar::Regclass, KEY.0).unwrap(), "t_pkey");
    assert_eq!(system.object_by_name(Scalar::Regclass, "a.").unwrap_err().message, "invalid name syntax");
    system.settings.search_path = Arc::from([]);
    assert_eq!(system.object_name(Scalar::Regclass, TABLE.0).unwrap(), "public.t");
    assert_eq!(system.is_visible(Scalar::Regclass, TABLE.0), Some(false));
    assert_eq!(system.is_visible(Scalar::Regclass, 1), None);
    assert_eq!(system.object_name(Scalar::Regproc, 1242).unwrap(), "boolin");
}

#[test]
fn privileges_are_of_what_exists() {
    let system = system();
    let table = |name: &str| system.call("has_table_privilege", &[Datum::Text(name.into()), Datum::Text("select".into())]);
    assert_eq!(table("t").unwrap(), Datum::Bool(true));
    assert_eq!(table("u").unwrap_err().message, "relation \"u\" does not exist");
    let by_oid = [Datum::Oid(1), Datum::Text("select".into())];
    assert_eq!(system.call("has_table_privilege", &by_oid).unwrap(), Datum::Null);
    let user = [Datum::Text("nobody".into()), Datum::Oid(TABLE.0), Datum::Text("select".into())];
    assert_eq!(system.call("has_table_privilege", &user).unwrap_err().message, "role \"nobody\" does not exist");
}
