//! Schemas, relations and their columns.

use catalog::objects::Generated;
use common::datum::Datum;
use common::ids::Oid;
use common::types::{Scalar, SqlType};

use super::super::definition_text;
use super::super::definitions::{self, PG_CATALOG};
use super::super::objects::{self, Listed, ListedIndex};
use super::super::pg_type;
use super::super::roles::{OWNER, OWNER_OID};
use super::super::view_text;
use super::{FALSE, NONE, NULL, Reading, Row, TRUE, count, int2s, oid, text};

/// PostgreSQL's oid of the access method heap.
const HEAP: Oid = Oid(2);
/// PostgreSQL's oid of the access method btree.
pub(in super::super) const BTREE: Oid = Oid(403);

pub(super) fn pg_namespace(reading: &Reading<'_>) -> Vec<Row> {
    let system = definitions::SCHEMAS.iter().map(|s| (s.oid, s.name));
    let users = reading.catalog.schemas().map(|s| (s.oid, s.name.as_str()));
    system.chain(users).map(|(schema, name)| vec![oid(schema), text(name), oid(OWNER_OID)]).collect()
}

pub(super) fn pg_class(reading: &Reading<'_>) -> Vec<Row> {
    objects::all(reading.catalog).iter().map(|listed| class_row(listed)).collect()
}

/// What the kinds of relations differ in.
struct Class {
    access_method: Datum,
    filenode: Datum,
    has_index: bool,
    kind: &'static str,
    columns: usize,
    checks: usize,
    replica_identity: &'static str,
    options: Datum,
}

fn class_of(listed: &Listed<'_>) -> Class {
    match listed {
        Listed::Table(table) => Class {
            access_method: oid(HEAP),
            filenode: Datum::Oid(table.storage.0),
            has_index: !table.indexes.is_empty() || !table.uniques.is_empty(),
            kind: "r",
            columns: table.columns.iter().filter(|c| !c.hidden).count(),
            checks: table.checks.len(),
            replica_identity: "d",
            options: options(&table.options),
        },
        Listed::Index(index) => Class {
            access_method: oid(BTREE),
            filenode: index.storage.map_or(NONE, |s| Datum::Oid(s.0)),
            has_index: false,
            kind: "i",
            columns: index.columns.len() + index.include.len(),
            checks: 0,
            replica_identity: "n",
            options: options(index.options),
        },
        Listed::View(view) => Class {
            access_method: NONE,
            filenode: NONE,
            has_index: false,
            kind: "v",
            columns: view.columns.len(),
            checks: 0,
            replica_identity: "n",
            options: options(&view.options),
        },
        Listed::Sequence(sequence) => Class {
            access_method: NONE,
            filenode: oid(sequence.oid),
            has_index: false,
            kind: "S",
            columns: objects::SEQUENCE_COLUMNS.len(),
            checks: 0,
            replica_identity: "n",
            options: NULL,
        },
        Listed::System(relation) => Class {
            access_method: if relation.is_view { NONE } else { oid(HEAP) },
            filenode: NONE,
            has_index: false,
            kind: if relation.is_view { "v" } else { "r" },
            columns: relation.columns.len(),
            checks: 0,
            replica_identity: "n",
            options: NULL,
        },
    }
}

fn class_row(listed: &Listed<'_>) -> Row {
    let class = class_of(listed);
    vec![
        oid(listed.oid()),
        text(listed.name()),
        oid(listed.schema()),
        NONE, // reltype
        NONE, // reloftype
        oid(OWNER_OID),
        class.access_method,
        class.filenode,
        NONE,                // reltablespace
        Datum::Int4(0),      // relpages
        Datum::Float4(-1.0), // reltuples: unknown
        Datum::Int4(0),      // relallvisible
        NONE,                // reltoastrelid
        Datum::Bool(class.has_index),
        FALSE, // relisshared
        text("p"),
        text(class.kind),
        count(class.columns),
        count(class.checks),
        Datum::Bool(class.kind == "v"), // relhasrules
        FALSE,                          // relhastriggers
        FALSE,                          // relhassubclass
        FALSE,                          // relrowsecurity
        FALSE,                          // relforcerowsecurity
        TRUE,                           // relispopulated
        text(class.replica_identity),
        FALSE, // relispartition
        NONE,  // relrewrite
        NONE,  // relfrozenxid
        NONE,  // relminmxid
        NULL,  // relacl
        class.options,
    ]
}

/// `{name=value, …}`; NULL for none.
fn options(options: &[(String, String)]) -> Datum {
    if options.is_empty() {
        return NULL;
    }
    Datum::Array(options.iter().map(|(name, value)| text(format!("{name}={value}"))).collect())
}

pub(super) fn pg_attribute(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for listed in objects::all(reading.catalog) {
        match &listed {
            Listed::Index(index) => index_attributes(index, &mut rows),
            Listed::Table(table) => {
                for column in table.columns.iter().filter(|c| !c.hidden) {
                    let shape = Attribute {
                        not_null: column.not_null && !column.dropped,
                        has_default: column.default.is_some() && !column.dropped && !column.generated.is_some_and(Generated::is_identity),
                        dropped: column.dropped,
                        generated: column.generated.filter(|_| !column.dropped),
                    };
                    let mut row = attribute(table.oid, &column.name, column.ty, column.attnum, shape);
                    if let (Some(domain), false) = (column.domain, column.dropped) {
                        row[2] = oid(domain);
                    }
                    rows.push(row);
                }
            }
            Listed::View(view) => {
                for ((name, ty), attnum) in view.columns.iter().zip(1..) {
                    let shape = Attribute { not_null: false, has_default: false, dropped: false, generated: None };
                    rows.push(attribute(view.oid, name, *ty, attnum, shape));
                }
            }
            Listed::Sequence(sequence) => {
                for ((name, ty), attnum) in objects::SEQUENCE_COLUMNS.iter().zip(1..) {
                    let shape = Attribute { not_null: true, has_default: false, dropped: false, generated: None };
                    rows.push(attribute(sequence.oid, name, (*ty).into(), attnum, shape));
                }
            }
            Listed::System(relation) => {
                for (column, attnum) in relation.columns.iter().zip(1..) {
                    let shape = Attribute { not_null: column.not_null, has_default: false, dropped: false, generated: None };
                    rows.push(attribute(relation.oid, column.name, column.ty, attnum, shape));
                }
            }
        }
    }
    rows
}

fn index_attributes(index: &ListedIndex<'_>, rows: &mut Vec<Row>) {
    for (attnum, place) in index.attnums().zip(1..) {
        if let Some(column) = index.table.column(attnum) {
            let shape = Attribute { not_null: false, has_default: false, dropped: false, generated: None };
            rows.push(attribute(index.oid, &column.name, column.ty, place, shape));
        }
    }
}

struct Attribute {
    not_null: bool,
    has_default: bool,
    dropped: bool,
    generated: Option<Generated>,
}

fn attribute(relation: Oid, name: &str, ty: SqlType, attnum: i16, shape: Attribute) -> Row {
    let facts = pg_type::by_oid(ty.oid());
    let is_enum = matches!(ty.scalar, Scalar::Enum(_)) && !ty.is_array;
    vec![
        oid(relation),
        if shape.dropped { text(format!("........pg.dropped.{attnum}........")) } else { text(name) },
        if shape.dropped { NONE } else { oid(ty.oid()) },
        Datum::Int4(if shape.dropped { 0 } else { -1 }), // attstattarget
        Datum::Int2(facts.map_or(if is_enum { 4 } else { -1 }, |f| f.len)),
        Datum::Int2(attnum),
        Datum::Int4(i32::from(ty.is_array)),
        Datum::Int4(-1), // attcacheoff
        Datum::Int4(ty.typmod),
        Datum::Bool(facts.map_or(is_enum, |f| f.by_value)),
        text(facts.map_or("i", |f| f.align)),
        text(facts.map_or(if is_enum { "p" } else { "x" }, |f| f.storage)),
        text(""), // attcompression
        Datum::Bool(shape.not_null),
        Datum::Bool(shape.has_default),
        FALSE, // atthasmissing
        text(match shape.generated {
            Some(Generated::IdentityAlways) => "a",
            Some(Generated::IdentityByDefault) => "d",
            Some(Generated::Stored) | None => "",
        }),
        text(if shape.generated == Some(Generated::Stored) { "s" } else { "" }),
        Datum::Bool(shape.dropped),
        TRUE,           // attislocal
        Datum::Int4(0), // attinhcount
        facts.map_or(NONE, |f| oid(f.collation)),
    ]
}

pub(super) fn pg_description(reading: &Reading<'_>) -> Vec<Row> {
    let class = |name: &str| definitions::named("pg_catalog", name).map_or(Oid(0), |relation| relation.oid);
    let (relation, namespace) = (class("pg_class"), class("pg_namespace"));
    // A comment outlives its object until the object's oid comes to nothing.
    let there = reading.catalog.comments().filter_map(|comment| {
        let is_schema = reading.catalog.schema(comment.object).is_some();
        let is_relation = || objects::by_oid(reading.catalog, comment.object).is_some();
        let of = if is_schema { namespace } else { is_relation().then_some(relation)? };
        Some(vec![oid(comment.object), oid(of), Datum::Int4(i32::from(comment.attnum)), text(&comment.text)])
    });
    there.collect()
}

pub(super) fn pg_attrdef(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        for column in table.visible_columns() {
            if let Some(default) = column.default.as_ref().filter(|_| !column.generated.is_some_and(Generated::is_identity)) {
                rows.push(vec![oid(objects::default_oid(table, column)), oid(table.oid), Datum::Int2(column.attnum), text(default)]);
            }
        }
    }
    rows
}

pub(super) fn pg_tables(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for listed in objects::all(reading.catalog) {
        let has_indexes = match &listed {
            Listed::Table(table) => !table.indexes.is_empty() || !table.uniques.is_empty(),
            Listed::System(relation) if !relation.is_view => false,
            _ => continue,
        };
        let schema = reading.schema(listed.schema());
        rows.push(vec![schema, text(listed.name()), text(OWNER), NULL, Datum::Bool(has_indexes), FALSE, FALSE, FALSE]);
    }
    rows
}

/// The rows of the system's views are computed, so that they have no definition in SQL.
pub(super) fn pg_views(reading: &Reading<'_>) -> Vec<Row> {
    let system = definitions::all().iter().filter(|relation| relation.is_view);
    let system = system.map(|relation| vec![text(relation.schema.name), text(relation.name), text(OWNER), NULL]);
    let users = reading.catalog.views().map(|view| {
        let definition = view_text::definition(reading.system, &view.query);
        vec![reading.schema(view.schema), text(&view.name), text(OWNER), text(definition)]
    });
    system.chain(users).collect()
}

pub(super) fn pg_indexes(reading: &Reading<'_>) -> Vec<Row> {
    let row = |index: ListedIndex<'_>| {
        let definition = definition_text::index(reading.catalog, &index, true);
        vec![reading.schema(index.schema), text(&index.table.name), text(index.name), NULL, text(definition)]
    };
    objects::indexes(reading.catalog).map(row).collect()
}

/// The access methods that CREATE TABLE and CREATE INDEX know, with PostgreSQL's oids.
pub(super) fn pg_am(_: &Reading<'_>) -> Vec<Row> {
    let row = |method: u32, name: &str, handler: u32, kind: &str| vec![Datum::Oid(method), text(name), Datum::Oid(handler), text(kind)];
    vec![row(HEAP.0, "heap", 3, "t"), row(BTREE.0, "btree", 330, "i"), row(405, "hash", 331, "i")]
}

/// Blocks are not counted: there are none.
pub(super) fn pg_statio_user_tables(reading: &Reading<'_>) -> Vec<Row> {
    reading.catalog.tables().map(|table| vec![oid(table.oid), reading.schema(table.schema), text(&table.name)]).collect()
}

/// The schema of types, collations and functions.
pub(super) fn in_pg_catalog() -> Datum {
    oid(PG_CATALOG)
}

/// The keys of an index as pg_index has them: columns, then the bits of each (1: descending, 2: NULLs first).
pub(super) fn index_keys(index: &ListedIndex<'_>) -> (Datum, Datum) {
    let bits = index.columns.iter().map(|c| i16::from(c.descending) | i16::from(c.nulls_first) << 1);
    (int2s(index.attnums()), int2s(bits))
}
