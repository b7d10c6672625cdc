//! Indexes and constraints as the SQL text that makes them: what `pg_get_indexdef` and `pg_get_constraintdef` answer.

use catalog::objects::{IndexColumn, Table};
use catalog::state::CatalogState;
use common::ids::Oid;

use super::context::SystemContext;
use super::names::{qualified, quoted};
use super::objects::{ListedIndex, schema_name};

/// `CREATE UNIQUE INDEX … ON … USING btree (…) INCLUDE (…)`, the table with its schema or without.
pub(super) fn index(state: &CatalogState, index: &ListedIndex<'_>, qualify: bool) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let table = match schema_name(state, index.table.schema) {
        Some(schema) if qualify => qualified(schema, &index.table.name),
        _ => quoted(&index.table.name),
    };
    let columns: Vec<String> = index.columns.iter().map(|c| column(index.table, c)).collect();
    let mut text = format!("CREATE {unique}INDEX {} ON {table} USING btree ({})", quoted(index.name), columns.join(", "));
    if !index.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", names(index.table, index.include)));
    }
    if !index.options.is_empty() {
        let options: Vec<String> = index.options.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        text.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    text
}

/// A stored expression as it was written: sequences by their names.
pub(super) fn expression(system: &SystemContext, stored: &str) -> String {
    let mut out = String::with_capacity(stored.len());
    let mut rest = stored;
    while let Some(end) = rest.find("'::regclass") {
        let start = rest[..end].rfind('\'').unwrap_or(end);
        let named = rest.get(start + 1..end).and_then(|oid| oid.parse().ok()).and_then(|oid| system.relation_name(Oid(oid)));
        match named {
            Some(name) => {
                out.push_str(&rest[..=start]);
                out.push_str(&name.replace('\'', "''"));
            }
            None => out.push_str(&rest[..end]),
        }
        out.push_str("'::regclass");
        rest = &rest[end + "'::regclass".len()..];
    }
    out.push_str(rest);
    out
}

/// One column of an index, counted from 1, without its order, as `pg_get_indexdef(oid, n, …)` answers.
pub(super) fn index_column(index: &ListedIndex<'_>, number: i32) -> Option<String> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    let attnum = index.attnums().nth(at)?;
    index.table.column(attnum).map(|c| quoted(&c.name))
}

/// `PRIMARY KEY (…)` or `UNIQUE (…)`.
pub(super) fn unique(table: &Table, is_primary: bool, columns: &[i16]) -> String {
    let kind = if is_primary { "PRIMARY KEY" } else { "UNIQUE" };
    format!("{kind} ({})", names(table, columns))
}

/// `CHECK ((…))`; with one pair of parentheses in pretty form.
pub(super) fn check(expression: &str, pretty: bool) -> String {
    if pretty { format!("CHECK ({expression})") } else { format!("CHECK (({expression}))") }
}

fn names(table: &Table, attnums: &[i16]) -> String {
    let names: Vec<String> = attnums.iter().filter_map(|a| table.column(*a)).map(|c| quoted(&c.name)).collect();
    names.join(", ")
}

fn column(table: &Table, column: &IndexColumn) -> String {
    let mut text = table.column(column.attnum).map(|c| quoted(&c.name)).unwrap_or_default();
    if column.descending {
        text.push_str(" DESC");
    }
    // What is not said follows the direction.
    match (column.descending, column.nulls_first) {
        (true, false) => text.push_str(" NULLS LAST"),
        (false, true) => text.push_str(" NULLS FIRST"),
        _ => {}
    }
    text
}
