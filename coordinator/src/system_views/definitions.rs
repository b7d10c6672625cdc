//! Names, oids and columns of the system relations, read once from the lists beside this file.

use std::collections::HashMap;
use std::sync::LazyLock;

use common::ids::Oid;
use common::types::{SCALARS, SqlType};

use super::rows::{self, RowSource};

/// A schema that exists without being in the catalog state.
pub(super) struct SystemSchema {
    pub(super) oid: Oid,
    pub(super) name: &'static str,
    list: &'static str,
}

/// The system's schemas, with PostgreSQL's oids where it has them.
pub(super) const SCHEMAS: &[SystemSchema] = &[
    SystemSchema { oid: PG_CATALOG, name: "pg_catalog", list: include_str!("pg_catalog.txt") },
    SystemSchema { oid: Oid(13207), name: "information_schema", list: include_str!("information_schema.txt") },
    SystemSchema { oid: Oid(9900), name: "partita", list: include_str!("partita.txt") },
];

/// The schema of PostgreSQL's own objects.
pub(super) const PG_CATALOG: Oid = Oid(11);

/// A column of a system relation.
pub(super) struct SystemColumn {
    pub(super) name: &'static str,
    pub(super) ty: SqlType,
    pub(super) not_null: bool,
}

/// A relation whose rows are computed when it is read.
pub(super) struct SystemRelation {
    pub(super) schema: &'static SystemSchema,
    pub(super) oid: Oid,
    pub(super) name: &'static str,
    /// Whether PostgreSQL has a view of this name, not a table.
    pub(super) is_view: bool,
    pub(super) columns: Vec<SystemColumn>,
    pub(super) rows: RowSource,
}

struct Relations {
    all: Vec<SystemRelation>,
    by_name: HashMap<(&'static str, &'static str), usize>,
    by_oid: HashMap<Oid, usize>,
}

static RELATIONS: LazyLock<Relations> = LazyLock::new(|| {
    let all: Vec<SystemRelation> = SCHEMAS.iter().flat_map(read_list).collect();
    let by_name = all.iter().enumerate().map(|(at, r)| ((r.schema.name, r.name), at)).collect();
    let by_oid = all.iter().enumerate().map(|(at, r)| (r.oid, at)).collect();
    Relations { all, by_name, by_oid }
});

/// All system relations.
pub(super) fn all() -> &'static [SystemRelation] {
    &RELATIONS.all
}

/// A system relation by name.
pub(super) fn named(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    RELATIONS.by_name.get(&(schema, name)).map(|at| &RELATIONS.all[*at])
}

/// A system relation by oid.
pub(super) fn by_oid(oid: Oid) -> Option<&'static SystemRelation> {
    RELATIONS.by_oid.get(&oid).map(|at| &RELATIONS.all[*at])
}

/// Reads a list: a line that is not indented begins a relation.
fn read_list(schema: &'static SystemSchema) -> Vec<SystemRelation> {
    let mut relations: Vec<SystemRelation> = Vec::new();
    for line in schema.list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line.starts_with(' ') {
            let columns = line.split(',').map(str::trim).filter(|c| !c.is_empty()).map(column);
            relations.last_mut().expect(WELL_FORMED).columns.extend(columns);
            continue;
        }
        let words: Vec<&'static str> = line.split(' ').collect();
        let [name, oid, kind] = words[..] else { unreachable!("{WELL_FORMED}: {line}") };
        relations.push(SystemRelation {
            schema,
            oid: Oid(oid.parse().expect(WELL_FORMED)),
            name,
            is_view: kind == "v",
            columns: Vec::new(),
            rows: rows::source(schema.name, name),
        });
    }
    relations
}

const WELL_FORMED: &str = "the lists are a part of the program, and a test reads them";

fn column(text: &'static str) -> SystemColumn {
    let (name, ty) = text.split_once(' ').expect(WELL_FORMED);
    let (ty, not_null) = ty.strip_suffix('!').map_or((ty, false), |ty| (ty, true));
    let (ty, typmod) = ty.split_once(':').map_or((ty, -1), |(ty, typmod)| (ty, typmod.parse().expect(WELL_FORMED)));
    let (base, is_array) = ty.strip_suffix("[]").map_or((ty, false), |base| (base, true));
    let scalar = SCALARS.iter().find(|row| row.3 == base).expect(WELL_FORMED).0;
    SystemColumn { name, ty: SqlType { scalar, is_array, typmod }, not_null }
}
