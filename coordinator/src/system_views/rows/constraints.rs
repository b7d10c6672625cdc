//! Indexes, constraints, and what depends on what.

use catalog::objects::{Check, Enforcement, Generated, Table, UniqueConstraint};
use common::datum::Datum;
use common::ids::Oid;

use super::super::definitions;
use super::super::objects::{self, ListedIndex};
use super::super::pg_type;
use super::{FALSE, NONE, NULL, Reading, Row, TRUE, count, int2s, oid, relations, text, types};

pub(super) fn pg_index(reading: &Reading<'_>) -> Vec<Row> {
    objects::indexes(reading.catalog).map(|index| index_row(&index)).collect()
}

fn index_row(index: &ListedIndex<'_>) -> Row {
    let (keys, bits) = relations::index_keys(index);
    let column_types: Vec<_> = index.columns.iter().filter_map(|c| index.table.column(c.attnum)).map(|c| c.ty).collect();
    let collations = column_types.iter().map(|ty| pg_type::by_oid(ty.oid()).map_or(NONE, |f| oid(f.collation)));
    let classes = column_types.iter().map(|ty| oid(types::btree_class(*ty)));
    vec![
        oid(index.oid),
        oid(index.table.oid),
        count(index.columns.len() + index.include.len()),
        count(index.columns.len()),
        Datum::Bool(index.unique),
        FALSE, // indnullsnotdistinct
        Datum::Bool(index.is_primary()),
        FALSE, // indisexclusion
        TRUE,  // indimmediate
        FALSE, // indisclustered
        Datum::Bool(index.ready),
        FALSE, // indcheckxmin
        TRUE,  // indisready: every write maintains it
        TRUE,  // indislive
        FALSE, // indisreplident
        keys,
        Datum::Array(collations.collect()),
        Datum::Array(classes.collect()),
        bits,
    ]
}

pub(super) fn pg_constraint(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        rows.extend(table.checks.iter().map(|check| check_row(table, check)));
        rows.extend(table.uniques.iter().map(|unique| unique_row(table, unique)));
    }
    rows
}

/// The index that enforces a unique constraint.
pub(super) fn enforcing_index(unique: &UniqueConstraint) -> Oid {
    match unique.enforced_by {
        Enforcement::TableKey => unique.oid,
        Enforcement::Index(index) => index,
    }
}

fn check_row(table: &Table, check: &Check) -> Row {
    let columns = columns_of(table, check);
    let keys = if columns.is_empty() { NULL } else { int2s(columns.into_iter()) };
    constraint_row(table, (check.oid, &check.name, "c"), Oid(0), FALSE, keys, text(&check.expression))
}

fn unique_row(table: &Table, unique: &UniqueConstraint) -> Row {
    let kind = if unique.is_primary { "p" } else { "u" };
    let keys = int2s(unique.columns.iter().copied());
    constraint_row(table, (unique.oid, &unique.name, kind), enforcing_index(unique), TRUE, keys, NULL)
}

fn constraint_row(table: &Table, named: (Oid, &str, &str), index: Oid, no_inherit: Datum, keys: Datum, expression: Datum) -> Row {
    let (constraint, name, kind) = named;
    vec![
        oid(constraint),
        text(name),
        oid(table.schema),
        text(kind),
        FALSE, // condeferrable
        FALSE, // condeferred
        TRUE,  // convalidated
        oid(table.oid),
        NONE, // contypid
        oid(index),
        NONE,      // conparentid
        NONE,      // confrelid
        text(" "), // confupdtype
        text(" "), // confdeltype
        text(" "), // confmatchtype
        TRUE,      // conislocal
        Datum::Int4(0),
        no_inherit,
        keys,
        NULL, // confkey
        NULL, // conpfeqop
        NULL, // conppeqop
        NULL, // conffeqop
        NULL, // confdelsetcols
        NULL, // conexclop
        expression,
    ]
}

/// The columns that a check names, found by its words: the text is the only form that is kept.
pub(super) fn columns_of(table: &Table, check: &Check) -> Vec<i16> {
    let tokens = sqlparser::tokenizer::Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, &check.expression).tokenize();
    let mut columns = Vec::new();
    for token in tokens.unwrap_or_default() {
        let sqlparser::tokenizer::Token::Word(word) = token else { continue };
        let name = if word.quote_style.is_some() { word.value } else { word.value.to_ascii_lowercase() };
        if let Some(column) = table.column_named(&name)
            && !columns.contains(&column.attnum)
        {
            columns.push(column.attnum);
        }
    }
    columns
}

/// Indexes depend on constraints (internally) or on their tables, constraints and defaults on tables, tables on schemas.
pub(super) fn pg_depend(reading: &Reading<'_>) -> Vec<Row> {
    let class = |name: &str| definitions::named("pg_catalog", name).map_or(Oid(0), |relation| relation.oid);
    let (relation, constraint) = (class("pg_class"), class("pg_constraint"));
    let (namespace, default) = (class("pg_namespace"), class("pg_attrdef"));
    let row = |(class, object): (Oid, Oid), (on_class, on, number): (Oid, Oid, i16), kind: &str| {
        let number = Datum::Int4(i32::from(number));
        vec![oid(class), oid(object), Datum::Int4(0), oid(on_class), oid(on), number, text(kind)]
    };
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        rows.push(row((relation, table.oid), (namespace, table.schema, 0), "n"));
        for index in objects::indexes_of(reading.catalog, table) {
            match index.constraint {
                Some(unique) => rows.push(row((relation, index.oid), (constraint, unique.oid, 0), "i")),
                None => rows.extend(index.attnums().map(|attnum| row((relation, index.oid), (relation, table.oid, attnum), "a"))),
            }
        }
        for unique in &table.uniques {
            rows.extend(unique.columns.iter().map(|attnum| row((constraint, unique.oid), (relation, table.oid, *attnum), "a")));
        }
        for check in &table.checks {
            rows.extend(
                columns_of(table, check).into_iter().map(|attnum| row((constraint, check.oid), (relation, table.oid, attnum), "a")),
            );
        }
        for column in table.visible_columns().filter(|c| c.default.is_some() && !c.generated.is_some_and(Generated::is_identity)) {
            rows.push(row((default, objects::default_oid(table, column)), (relation, table.oid, column.attnum), "a"));
        }
    }
    for sequence in reading.catalog.sequences() {
        rows.push(row((relation, sequence.oid), (namespace, sequence.schema, 0), "n"));
        if let Some(owner) = sequence.owner {
            let kind = if owner.is_identity { "i" } else { "a" };
            rows.push(row((relation, sequence.oid), (relation, owner.table, owner.attnum), kind));
        }
        let asks = format!("'{}'::regclass", sequence.oid);
        for table in reading.catalog.tables() {
            let asking = table.visible_columns().filter(|c| c.generated.is_none() && c.default.as_ref().is_some_and(|d| d.contains(&asks)));
            rows.extend(asking.map(|c| row((default, objects::default_oid(table, c)), (relation, sequence.oid, 0), "n")));
        }
    }
    rows
}
