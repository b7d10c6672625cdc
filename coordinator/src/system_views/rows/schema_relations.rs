//! The information schema: schemas, relations, privileges, roles.

use super::super::definitions;
use super::super::objects::{self, Listed};
use super::super::roles::{OWNER, roles};
use super::super::view_text;
use super::{NULL, Reading, Row, text, types, yes_or_no};

/// The privileges on a table, in PostgreSQL's order.
const TABLE_PRIVILEGES: &[&str] = &["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];

pub(super) fn catalog_name(reading: &Reading<'_>) -> Vec<Row> {
    vec![vec![reading.database()]]
}

pub(super) fn schemata(reading: &Reading<'_>) -> Vec<Row> {
    let system = definitions::SCHEMAS.iter().map(|s| s.name);
    let users = reading.catalog.schemas().map(|s| s.name.as_str());
    system.chain(users).map(|name| vec![reading.database(), text(name), text(OWNER)]).collect()
}

/// Tables and views: what is no index.
pub(super) fn relations<'a>(reading: &Reading<'a>) -> impl Iterator<Item = Listed<'a>> {
    objects::all(reading.catalog).into_iter().filter(|listed| !matches!(listed, Listed::Index(_) | Listed::Sequence(_)))
}

pub(super) fn tables(reading: &Reading<'_>) -> Vec<Row> {
    let row = |listed: Listed<'_>| {
        let kind = if listed.is_view() { "VIEW" } else { "BASE TABLE" };
        let mut row = vec![reading.database(), reading.schema(listed.schema()), text(listed.name()), text(kind)];
        row.extend([NULL, NULL, NULL, NULL, NULL]);
        row.extend([yes_or_no(matches!(listed, Listed::Table(_))), yes_or_no(false), NULL]);
        row
    };
    relations(reading).map(row).collect()
}

/// The rows of the system's views are computed, so that they have no definition in SQL.
pub(super) fn views(reading: &Reading<'_>) -> Vec<Row> {
    let row = |listed: Listed<'_>| {
        let mut row = vec![reading.database(), reading.schema(listed.schema()), text(listed.name())];
        let definition = match &listed {
            Listed::View(view) => text(view_text::definition(reading.system, &view.query)),
            _ => NULL,
        };
        row.extend([definition, text("NONE")]);
        row.extend((0..5).map(|_| yes_or_no(false)));
        row
    };
    relations(reading).filter(Listed::is_view).map(row).collect()
}

pub(super) fn table_privileges(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for listed in relations(reading) {
        for privilege in TABLE_PRIVILEGES {
            let mut row = vec![text(OWNER), text(OWNER), reading.database(), reading.schema(listed.schema()), text(listed.name())];
            row.extend([text(*privilege), yes_or_no(true), yes_or_no(*privilege == "SELECT")]);
            rows.push(row);
        }
    }
    rows
}

pub(super) fn character_sets(reading: &Reading<'_>) -> Vec<Row> {
    let set = [NULL, NULL, text("UTF8"), text("UCS"), text("UTF8")];
    let collation = [reading.database(), text("pg_catalog"), text("default")];
    vec![set.into_iter().chain(collation).collect()]
}

pub(super) fn collations(reading: &Reading<'_>) -> Vec<Row> {
    let row = |name| vec![reading.database(), text("pg_catalog"), text(name), text("NO PAD")];
    types::collation_names().map(row).collect()
}

pub(super) fn enabled_roles(reading: &Reading<'_>) -> Vec<Row> {
    roles(reading.system).into_iter().map(|name| vec![text(name)]).collect()
}
