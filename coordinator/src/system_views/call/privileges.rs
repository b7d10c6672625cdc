//! Whether a user may do something: everybody may do everything, to whatever exists.

use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;

use super::super::context::SystemContext;
use super::super::{definitions, objects, roles, rows};
use super::{Arguments, named_relation};

/// `has_table_privilege([user,] object, privilege)` and its relatives.
pub(super) fn has_privilege(system: &SystemContext, name: &str, args: &Arguments<'_>) -> Result<Datum, Report> {
    let kind = name.strip_prefix("has_").and_then(|n| n.strip_suffix("_privilege")).unwrap_or("role");
    let named = if kind == "column" { 3 } else { 2 };
    let first = args.len().saturating_sub(named);
    if first > 0 && !check_user(system, args.value(0))? {
        return Ok(Datum::Null);
    }
    let object = args.value(first);
    let known = match kind {
        "table" | "any_column" | "sequence" => relation(system, object)?.is_some(),
        "column" => column(system, object, args.value(first + 1))?,
        "role" => check_user(system, object)?,
        "schema" => schema(system, object)?,
        "database" => database(system, object)?,
        "type" | "function" | "language" | "tablespace" => {
            matches!(object, Datum::Text(_)) || rows::types::is_known(kind, oid_of(object)).is_some()
        }
        "parameter" => system.parameters.show(args.text(first)?).is_ok(),
        _ => false,
    };
    Ok(if known { Datum::Bool(true) } else { Datum::Null })
}

fn oid_of(value: &Datum) -> u32 {
    if let Datum::Oid(oid) = value { *oid } else { 0 }
}

fn undefined<T>(what: &str, name: &str, code: SqlState) -> Result<T, Report> {
    Err(Report::new(code, format!("{what} \"{name}\" does not exist")))
}

fn check_user(system: &SystemContext, user: &Datum) -> Result<bool, Report> {
    match user {
        Datum::Text(name) if name == "public" || roles::roles(system).contains(name) => Ok(true),
        Datum::Text(name) => undefined("role", name, SqlState::UNDEFINED_OBJECT),
        other => Ok(roles::role_name(system, Oid(oid_of(other))).is_some()),
    }
}

fn relation(system: &SystemContext, object: &Datum) -> Result<Option<Oid>, Report> {
    match object {
        Datum::Text(name) => named_relation(system, name).map(Some),
        other => {
            let oid = Oid(oid_of(other));
            Ok(objects::by_oid(&system.catalog, oid).map(|_| oid))
        }
    }
}

fn column(system: &SystemContext, object: &Datum, column: &Datum) -> Result<bool, Report> {
    let Some(oid) = relation(system, object)? else { return Ok(false) };
    let table = system.catalog.table(oid);
    let view = definitions::by_oid(oid);
    match column {
        Datum::Text(name) => {
            let known = table.as_ref().is_some_and(|t| t.column_named(name).is_some())
                || view.is_some_and(|v| v.columns.iter().any(|c| c.name == name));
            if known {
                return Ok(true);
            }
            let relation = objects::by_oid(&system.catalog, oid).map(|(name, _)| name).unwrap_or_default();
            let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
            Err(Report::new(SqlState::UNDEFINED_COLUMN, message))
        }
        Datum::Int2(number) => {
            let in_view = view.is_some_and(|v| usize::try_from(*number).is_ok_and(|n| (1..=v.columns.len()).contains(&n)));
            Ok(in_view || table.is_some_and(|t| t.column(*number).is_some_and(|c| !c.dropped && !c.hidden)))
        }
        _ => Ok(false),
    }
}

fn schema(system: &SystemContext, object: &Datum) -> Result<bool, Report> {
    match object {
        Datum::Text(name) if objects::schema_oid(&system.catalog, name).is_some() => Ok(true),
        Datum::Text(name) => undefined("schema", name, SqlState::INVALID_SCHEMA_NAME),
        other => Ok(objects::schema_name(&system.catalog, Oid(oid_of(other))).is_some()),
    }
}

fn database(system: &SystemContext, object: &Datum) -> Result<bool, Report> {
    let known = roles::databases(system);
    match object {
        Datum::Text(name) if known.contains(name) => Ok(true),
        Datum::Text(name) => undefined("database", name, SqlState::INVALID_CATALOG_NAME),
        other => Ok(known.iter().any(|name| roles::database_oid(name) == Oid(oid_of(other)))),
    }
}
