//! The functions that tell sizes, from what the workers were asked before the statement's plan: bytes of keys and rows, not of files.
//!
//! A local index lives in its table's partitions and is not counted by the workers: the size of it alone is NULL, and the sums leave it out.

use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;

use super::super::context::SystemContext;
use super::super::sizes::Sizes;
use super::super::{definitions, roles};
use super::Arguments;

/// `pg_relation_size` and its relatives; NULL when an owner did not answer.
pub(super) fn size(system: &SystemContext, name: &str, args: &Arguments<'_>) -> Result<Datum, Report> {
    let Some(sizes) = system.sizes.get() else { return Ok(Datum::Null) };
    let bytes = match name {
        "pg_database_size" => database(system, sizes, args.value(0)),
        "pg_tablespace_size" => everything(system, sizes),
        _ => {
            let oid = Oid(args.oid(0)?);
            // There are no other forks than the main one.
            let fork = args.len() > 1 && args.text(1)? != "main";
            if fork || definitions::by_oid(oid).is_some() { Some(0) } else { relation(system, sizes, name, oid) }
        }
    };
    Ok(bytes.map_or(Datum::Null, |bytes| Datum::Int8(i64::try_from(bytes).unwrap_or(i64::MAX))))
}

fn relation(system: &SystemContext, sizes: &Sizes, name: &str, oid: Oid) -> Option<u64> {
    let state = &system.catalog;
    let Some(table) = state.table(oid) else {
        let index = state.index(oid)?;
        return sizes.relation(state, index.storage).map(|size| size.bytes);
    };
    let rows = || sizes.relation(state, table.storage).map(|size| size.bytes);
    let indexes = || {
        let global = state.indexes_of(&table).filter(|index| state.partition_map(index.storage).is_some());
        global.map(|index| sizes.relation(state, index.storage).map(|size| size.bytes)).sum::<Option<u64>>()
    };
    match name {
        "pg_indexes_size" => indexes(),
        "pg_total_relation_size" => Some(rows()? + indexes()?),
        _ => rows(),
    }
}

fn database(system: &SystemContext, sizes: &Sizes, named: &Datum) -> Option<u64> {
    let known = roles::databases(system).into_iter().any(|name| match named {
        Datum::Text(wanted) => *wanted == name,
        Datum::Oid(oid) => roles::database_oid(&name) == Oid(*oid),
        _ => false,
    });
    if known { everything(system, sizes) } else { None }
}

fn everything(system: &SystemContext, sizes: &Sizes) -> Option<u64> {
    let partitions = system.catalog.partition_maps().flat_map(|map| &map.partitions).map(|p| p.id);
    sizes.sum(partitions).map(|size| size.bytes)
}
