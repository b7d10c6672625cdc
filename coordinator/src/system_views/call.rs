//! Functions that the catalog answers, by name. The table of names, argument types and results is in `functions::library::catalog_information`.
//!
//! An object that does not exist answers NULL unless PostgreSQL makes it an error. Kinds of objects that do not exist here (triggers, rules)
//! answer NULL to whatever is asked of them.

mod privileges;
mod server;
mod size;

use catalog::objects::{Check, Table, UniqueConstraint};
use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;

use super::context::SystemContext;
use super::objects::{self, ListedIndex};
use super::{definition_text, definitions, names, pg_type, roles, rows, view_text};

/// Answers a function.
pub(super) fn call(system: &SystemContext, name: &str, args: &[Datum]) -> Result<Datum, Report> {
    let args = Arguments(args);
    if name == "pg_has_role" || (name.starts_with("has_") && name.ends_with("_privilege")) {
        return privileges::has_privilege(system, name, &args);
    }
    match name {
        "pg_get_userbyid" => Ok(Datum::Text(user(system, args.oid(0)?))),
        "format_type" => {
            let oid = Oid(args.oid(0)?);
            Ok(text(pg_type::by_oid(oid).map(|ty| names::quoted(ty.name)).or_else(|| system.user_type_name(oid))))
        }
        // Expressions are stored as SQL text.
        "pg_get_expr" => Ok(match args.value(0) {
            Datum::Text(stored) => Datum::Text(definition_text::expression(system, stored)),
            other => other.clone(),
        }),
        "nextval" | "setval" if system.read_only => Err(crate::execute::read_only::refused(&format!("{name}()"))),
        "nextval" => system.sequence_reader()?.next_now(Oid(args.oid(0)?)).map(Datum::Int8),
        "currval" => system.sequence_reader()?.current(Oid(args.oid(0)?)).map(Datum::Int8),
        "lastval" => system.sequence_reader()?.last().map(Datum::Int8),
        "setval" => {
            let value = args.int8(1)?;
            system.sequence_reader()?.set_now(Oid(args.oid(0)?), value, args.is_true(2)).map(Datum::Int8)
        }
        "pg_sequence_last_value" => {
            let standing = system.sequence_reader()?.standing_now(Oid(args.oid(0)?))?;
            Ok(if standing.is_called { Datum::Int8(standing.last) } else { Datum::Null })
        }
        "pg_get_indexdef" => index_definition(system, &args),
        "obj_description" => Ok(comment(system, args.oid(0)?, 0)),
        "col_description" => Ok(comment(system, args.oid(0)?, args.int4(1)?)),
        "pg_get_viewdef" => view_definition(system, &args),
        "pg_get_constraintdef" => constraint_definition(system, &args),
        "pg_get_serial_sequence" => serial_sequence(system, &args),
        "pg_get_function_arguments" | "pg_get_function_identity_arguments" => Ok(text(rows::functions::arguments(Oid(args.oid(0)?)))),
        "pg_get_function_result" => Ok(text(rows::functions::result(Oid(args.oid(0)?)))),
        "pg_describe_object" => describe_object(system, &args),
        "pg_relation_size" | "pg_table_size" | "pg_indexes_size" | "pg_total_relation_size" | "pg_database_size" | "pg_tablespace_size" => {
            size::size(system, name, &args)
        }
        "pg_relation_filenode" => filenode(system, Oid(args.oid(0)?)),
        "pg_relation_is_publishable" => Ok(exists(system, &args)?.map_or(Datum::Null, |_| Datum::Bool(false))),
        // Bit 3: INSERT, bit 2: UPDATE, bit 4: DELETE.
        "pg_relation_is_updatable" => Ok(Datum::Int4(if system.catalog.table(Oid(args.oid(0)?)).is_some() { 28 } else { 0 })),
        "pg_column_is_updatable" => Ok(Datum::Bool(system.catalog.table(Oid(args.oid(0)?)).is_some())),
        "pg_tablespace_location" => Ok(Datum::Text(String::new())),
        "pg_index_column_has_property" => index_column_property(system, &args),
        "pg_index_has_property" => index_property(system, &args),
        "pg_indexam_has_property" => Ok(access_method_property(args.oid(0)?, args.text(1)?)),
        "row_security_active" => Ok(exists(system, &args)?.map_or(Datum::Null, |_| Datum::Bool(false))),
        _ if name.ends_with("_is_visible") => Ok(rows::types::is_known(name, args.oid(0)?).map_or(Datum::Null, Datum::Bool)),
        "current_setting"
        | "set_config"
        | "pg_postmaster_start_time"
        | "pg_conf_load_time"
        | "pg_cancel_backend"
        | "pg_terminate_backend" => server::call(system, name, &args),
        _ if is_about_absent_objects(name) => Ok(Datum::Null),
        _ => Err(Report::unsupported(format!("function {name}()"))),
    }
}

/// Functions of objects that do not exist here: there is nothing that they could be called for.
fn is_about_absent_objects(name: &str) -> bool {
    matches!(
        name,
        "pg_get_partkeydef"
            | "pg_get_partition_constraintdef"
            | "pg_get_statisticsobjdef"
            | "pg_get_statisticsobjdef_columns"
            | "pg_get_ruledef"
            | "pg_get_triggerdef"
            | "pg_get_functiondef"
            | "pg_get_function_sqlbody"
            | "pg_get_function_arg_default"
            | "pg_get_replica_identity_index"
            | "shobj_description"
            | "pg_relation_filepath"
    )
}

/// The arguments of one call; a value of another kind than the function's signature promises is a bug of ours.
struct Arguments<'a>(&'a [Datum]);

impl<'a> Arguments<'a> {
    fn value(&self, at: usize) -> &'a Datum {
        self.0.get(at).unwrap_or(&Datum::Null)
    }

    fn oid(&self, at: usize) -> Result<u32, Report> {
        match self.value(at) {
            Datum::Oid(oid) => Ok(*oid),
            other => Err(Report::internal(format!("argument {at} is no oid: {other:?}"))),
        }
    }

    fn int4(&self, at: usize) -> Result<i32, Report> {
        match self.value(at) {
            Datum::Int4(value) => Ok(*value),
            other => Err(Report::internal(format!("argument {at} is no integer: {other:?}"))),
        }
    }

    fn int8(&self, at: usize) -> Result<i64, Report> {
        match self.value(at) {
            Datum::Int8(value) => Ok(*value),
            other => Err(Report::internal(format!("argument {at} is no bigint: {other:?}"))),
        }
    }

    fn text(&self, at: usize) -> Result<&'a str, Report> {
        match self.value(at) {
            Datum::Text(value) => Ok(value),
            other => Err(Report::internal(format!("argument {at} is no text: {other:?}"))),
        }
    }

    fn is_true(&self, at: usize) -> bool {
        matches!(self.value(at), Datum::Bool(true))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

fn text(value: Option<String>) -> Datum {
    value.map_or(Datum::Null, Datum::Text)
}

fn user(system: &SystemContext, oid: u32) -> String {
    roles::role_name(system, Oid(oid)).unwrap_or_else(|| format!("unknown (OID={oid})"))
}

fn index(system: &SystemContext, oid: u32) -> Option<ListedIndex<'_>> {
    objects::indexes(&system.catalog).find(|index| index.oid == Oid(oid))
}

/// The relation that the first argument names; 42P01 for a name of nothing, `None` for an oid of nothing.
fn exists(system: &SystemContext, args: &Arguments<'_>) -> Result<Option<Oid>, Report> {
    let Datum::Text(name) = args.value(0) else {
        let oid = Oid(args.oid(0)?);
        return Ok(objects::by_oid(&system.catalog, oid).map(|_| oid));
    };
    named_relation(system, name).map(Some)
}

fn named_relation(system: &SystemContext, name: &str) -> Result<Oid, Report> {
    let missing = || Report::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    system.relation_by_name(name)?.ok_or_else(missing)
}

fn index_definition(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    let Some(index) = index(system, args.oid(0)?) else { return Ok(Datum::Null) };
    let number = if args.len() > 1 { args.int4(1)? } else { 0 };
    if number == 0 {
        let qualify = !args.is_true(2) || system.is_relation_visible(index.table.oid) != Some(true);
        return Ok(Datum::Text(definition_text::index(&system.catalog, &index, qualify)));
    }
    // PostgreSQL answers an empty text for a column that the index has not.
    Ok(Datum::Text(definition_text::index_column(&index, number).unwrap_or_default()))
}

fn comment(system: &SystemContext, object: u32, column: i32) -> Datum {
    let found = i16::try_from(column).ok().and_then(|attnum| system.catalog.comment(Oid(object), attnum));
    text(found.map(|comment| comment.text.clone()))
}

fn view_definition(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    let view = exists(system, args)?.and_then(|oid| system.catalog.view(oid));
    Ok(text(view.map(|view| view_text::definition(system, &view.query))))
}

/// A constraint by oid.
enum Constraint<'a> {
    Check(&'a Check),
    Unique(&'a Table, &'a UniqueConstraint),
}

fn constraint(system: &SystemContext, oid: Oid) -> Option<Constraint<'_>> {
    system.catalog.tables().find_map(|table| {
        let check = table.checks.iter().find(|c| c.oid == oid).map(Constraint::Check);
        check.or_else(|| table.uniques.iter().find(|u| u.oid == oid).map(|u| Constraint::Unique(table, u)))
    })
}

fn constraint_definition(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    Ok(match constraint(system, Oid(args.oid(0)?)) {
        Some(Constraint::Check(check)) => Datum::Text(definition_text::check(&check.expression, args.is_true(1))),
        Some(Constraint::Unique(table, unique)) => Datum::Text(definition_text::unique(table, unique.is_primary, &unique.columns)),
        None => Datum::Null,
    })
}

/// The sequence that goes with a column, qualified.
fn serial_sequence(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    let (name, column) = (args.text(0)?, args.text(1)?);
    let oid = named_relation(system, name)?;
    let known = match system.catalog.table(oid) {
        Some(table) => table.column_named(column).is_some(),
        None => definitions::by_oid(oid).is_some_and(|relation| relation.columns.iter().any(|c| c.name == column)),
    };
    if known {
        let attnum = system.catalog.table(oid).and_then(|t| t.column_named(column).map(|c| c.attnum));
        let owned = system.catalog.sequences_of(oid).find(|s| s.owner.map(|o| o.attnum) == attnum);
        let schema = |schema: Oid| objects::schema_name(&system.catalog, schema).unwrap_or_default().to_owned();
        return Ok(text(owned.map(|s| names::qualified(&schema(s.schema), &s.name))));
    }
    let relation = objects::by_oid(&system.catalog, oid).map(|(name, _)| name).unwrap_or_default();
    Err(Report::new(SqlState::UNDEFINED_COLUMN, format!("column \"{column}\" of relation \"{relation}\" does not exist")))
}

fn filenode(system: &SystemContext, oid: Oid) -> Result<Datum, Report> {
    let storage = system.catalog.table(oid).map(|t| t.storage).or_else(|| system.catalog.index(oid).map(|i| i.storage));
    Ok(storage.map_or(Datum::Null, |storage| Datum::Oid(storage.0)))
}

/// `table t`, `column a of table t`, `schema s`: by the catalog that the first oid names.
fn describe_object(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    let (class, oid, number) = (Oid(args.oid(0)?), Oid(args.oid(1)?), args.int4(2)?);
    let catalog = definitions::by_oid(class).map(|relation| relation.name).unwrap_or_default();
    let shown = |schema: Oid, name: &str| match system.is_relation_visible(oid) {
        Some(true) => names::quoted(name),
        _ => names::qualified(objects::schema_name(&system.catalog, schema).unwrap_or_default(), name),
    };
    let described = match catalog {
        "pg_class" => objects::by_oid(&system.catalog, oid).map(|(name, schema)| {
            let kind = match (system.catalog.table(oid), definitions::by_oid(oid)) {
                (Some(_), _) => "table",
                (None, Some(relation)) => {
                    if relation.is_view {
                        "view"
                    } else {
                        "table"
                    }
                }
                (None, None) => "index",
            };
            let relation = format!("{kind} {}", shown(schema, &name));
            let column = system.catalog.table(oid).and_then(|t| t.column(i16::try_from(number).ok()?).map(|c| c.name.clone()));
            column.map_or_else(|| relation.clone(), |column| format!("column {} of {relation}", names::quoted(&column)))
        }),
        "pg_namespace" => objects::schema_name(&system.catalog, oid).map(|name| format!("schema {}", names::quoted(name))),
        "pg_type" => common::types::SqlType::from_oid(oid).map(|ty| format!("type {}", ty.display_name())),
        "pg_authid" => roles::role_name(system, oid).map(|name| format!("role {}", names::quoted(&name))),
        _ => None,
    };
    Ok(text(described))
}

fn index_column_property(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    let Some(index) = index(system, args.oid(0)?) else { return Ok(Datum::Null) };
    let at = usize::try_from(args.int4(1)?).ok().and_then(|n| n.checked_sub(1));
    let indexed = at.and_then(|at| index.columns.get(at));
    let Some(column) = indexed else {
        let included = at.is_some_and(|at| at < index.columns.len() + index.include.len());
        let answer = args.text(2)?.eq_ignore_ascii_case("returnable");
        return Ok(if included { Datum::Bool(answer) } else { Datum::Null });
    };
    Ok(match args.text(2)?.to_ascii_lowercase().as_str() {
        "asc" => Datum::Bool(!column.descending),
        "desc" => Datum::Bool(column.descending),
        "nulls_first" => Datum::Bool(column.nulls_first),
        "nulls_last" => Datum::Bool(!column.nulls_first),
        "orderable" | "returnable" | "search_array" | "search_nulls" => Datum::Bool(true),
        "distance_orderable" => Datum::Bool(false),
        _ => Datum::Null,
    })
}

fn index_property(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    if index(system, args.oid(0)?).is_none() {
        return Ok(Datum::Null);
    }
    Ok(match args.text(1)?.to_ascii_lowercase().as_str() {
        "clusterable" | "index_scan" | "backward_scan" => Datum::Bool(true),
        "bitmap_scan" => Datum::Bool(false),
        _ => Datum::Null,
    })
}

fn access_method_property(oid: u32, property: &str) -> Datum {
    if oid != rows::relations::BTREE.0 {
        return Datum::Null;
    }
    match property.to_ascii_lowercase().as_str() {
        "can_order" | "can_unique" | "can_multi_col" | "can_include" => Datum::Bool(true),
        "can_exclude" => Datum::Bool(false),
        _ => Datum::Null,
    }
}
