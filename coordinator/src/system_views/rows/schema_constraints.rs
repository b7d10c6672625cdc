//! The information schema: constraints.
//!
//! A NOT NULL is a CHECK to the standard, under a name made of numbers as in PostgreSQL.

use catalog::objects::{Column, Table};
use common::datum::Datum;

use super::super::names;
use super::constraints::columns_of;
use super::{NULL, Reading, Row, text, yes_or_no};

/// `catalog, schema, name` of a constraint or of a table.
fn qualified(reading: &Reading<'_>, table: &Table, name: &str) -> [Datum; 3] {
    [reading.database(), reading.schema(table.schema), text(name)]
}

fn not_null_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.visible_columns().filter(|c| c.not_null)
}

fn not_null_name(table: &Table, column: &Column) -> String {
    format!("{}_{}_{}_not_null", table.schema, table.oid, column.attnum)
}

pub(super) fn table_constraints(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        let mut push = |name: &str, kind: &str| {
            let mut row = Vec::from(qualified(reading, table, name));
            row.extend(qualified(reading, table, &table.name));
            let nulls = if kind == "UNIQUE" { yes_or_no(true) } else { NULL };
            row.extend([text(kind), yes_or_no(false), yes_or_no(false), yes_or_no(true), nulls]);
            rows.push(row);
        };
        for unique in &table.uniques {
            push(&unique.name, if unique.is_primary { "PRIMARY KEY" } else { "UNIQUE" });
        }
        for check in &table.checks {
            push(&check.name, "CHECK");
        }
        for column in not_null_columns(table) {
            push(&not_null_name(table, column), "CHECK");
        }
    }
    rows
}

pub(super) fn key_column_usage(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        for unique in &table.uniques {
            for (column, place) in unique.columns.iter().filter_map(|a| table.column(*a)).zip(1..) {
                let mut row = Vec::from(qualified(reading, table, &unique.name));
                row.extend(qualified(reading, table, &table.name));
                row.extend([text(&column.name), Datum::Int4(place)]);
                rows.push(row);
            }
        }
    }
    rows
}

pub(super) fn constraint_column_usage(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        let checks = table.checks.iter().map(|check| (&check.name, columns_of(table, check)));
        let uniques = table.uniques.iter().map(|unique| (&unique.name, unique.columns.clone()));
        for (name, columns) in checks.chain(uniques) {
            for column in columns.iter().filter_map(|a| table.column(*a)) {
                let mut row = Vec::from(qualified(reading, table, &table.name));
                row.push(text(&column.name));
                row.extend(qualified(reading, table, name));
                rows.push(row);
            }
        }
    }
    rows
}

pub(super) fn constraint_table_usage(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        for unique in &table.uniques {
            let mut row = Vec::from(qualified(reading, table, &table.name));
            row.extend(qualified(reading, table, &unique.name));
            rows.push(row);
        }
    }
    rows
}

pub(super) fn check_constraints(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in reading.catalog.tables() {
        let checks = table.checks.iter().map(|check| (check.name.clone(), format!("(({}))", check.expression)));
        let not_nulls = not_null_columns(table).map(|c| (not_null_name(table, c), format!("{} IS NOT NULL", names::quoted(&c.name))));
        for (name, clause) in checks.chain(not_nulls) {
            let mut row = Vec::from(qualified(reading, table, &name));
            row.push(text(clause));
            rows.push(row);
        }
    }
    rows
}
