//! Functions that tell a client where it is: version, database, user, search path, types of values, encodings.

use common::datum::Datum;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use common::version::SERVER_VERSION;
use types::error::ValueError;
use types::{character_sets, size_text};

use super::catalog_information::ask_catalog;
use crate::definition::{Args, Definition, fail, row, text};
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("version() text", |_| text(version())).stable(),
        row("current_schema() name", current_schema).stable(),
        row("current_schemas(bool) name[]", current_schemas).stable(),
        row("pg_backend_pid() int4", |a| Ok(Datum::Int4(a.settings().backend_pid))).stable(),
        row("pg_typeof(any) regtype", |a| Ok(Datum::Oid(a.ty(0).oid().0))).nullable().stable(),
        row("format_type(oid,int4) text", format_type).nullable().stable(),
        row("getdatabaseencoding() name", |_| text("UTF8")).stable(),
        row("pg_client_encoding() name", |_| text("UTF8")).stable(),
        row("pg_encoding_to_char(int4) name", |a| text(character_sets::name(a.int4(0)?))).stable(),
        row("pg_char_to_encoding(name) int4", |a| Ok(Datum::Int4(character_sets::number(a.text(0)?)))).stable(),
        row("pg_encoding_max_length(int4) int4", |a| Ok(character_sets::max_length(a.int4(0)?).map_or(Datum::Null, Datum::Int4))),
        row("pg_size_pretty(int8) text", |a| text(size_text::pretty(a.int8(0)?))),
        row("pg_size_pretty(numeric) text", |a| text(size_text::pretty_numeric(a.numeric(0)?))),
        row("pg_size_bytes(text) int8", |a| size_text::bytes(a.text(0)?).map(Datum::Int8)),
        // No node replays another's log as a standby does, and there are no temporary schemas.
        row("pg_is_in_recovery() bool", |_| Ok(Datum::Bool(false))).stable(),
        row("pg_is_wal_replay_paused() bool", not_in_recovery).stable(),
        row("pg_my_temp_schema() oid", |_| Ok(Datum::Oid(0))).stable(),
        row("pg_is_other_temp_schema(oid) bool", |_| Ok(Datum::Bool(false))).stable(),
        row("pg_jit_available() bool", |_| Ok(Datum::Bool(false))).stable(),
        row("pg_trigger_depth() int4", |_| Ok(Datum::Int4(0))).stable(),
        row("pg_collation_for(any) text", collation).nullable().stable(),
        row("num_nulls(variadic any) int4", |a| count(a, true)).nullable(),
        row("num_nonnulls(variadic any) int4", |a| count(a, false)).nullable(),
    ];
    for name in ["current_user", "session_user", "current_role", "user", "getpgusername"] {
        out.push(row(&format!("{name}() name"), |a| text(a.settings().user.as_ref())).stable());
    }
    for name in ["current_database", "current_catalog"] {
        out.push(row(&format!("{name}() name"), |a| text(a.settings().database.as_ref())).stable());
    }
    // The addresses of the connection are not known to expressions; PostgreSQL answers NULL for a local connection.
    for signature in ["inet_client_addr() text", "inet_client_port() int4", "inet_server_addr() text", "inet_server_port() int4"] {
        out.push(row(signature, |_| Ok(Datum::Null)).nullable().stable());
    }
    out
}

fn version() -> String {
    format!("PostgreSQL {SERVER_VERSION} on {}-{}, {}-bit", std::env::consts::ARCH, std::env::consts::OS, usize::BITS)
}

/// `pg_typeof` of something that has no type yet; `None` where the call is an ordinary one.
pub(crate) fn type_of_unknown(name: &str, args: &[TypedExpr]) -> Option<TypedExpr> {
    match args {
        [only] if name == "pg_typeof" && matches!(only.expr, datafusion::logical_expr::Expr::Literal(..)) && only.is_unknown() => {
            Some(crate::literals::literal(&Datum::Oid(Scalar::Unknown.oid().0), Scalar::Regtype.into()))
        }
        _ => None,
    }
}

/// The schemas of the search path that exist.
fn search_path(args: &Args<'_>) -> Result<Vec<String>, ValueError> {
    let settings = args.settings();
    let catalog = args.catalog();
    let mut out = Vec::with_capacity(settings.search_path.len());
    for schema in settings.search_path.iter() {
        let schema = if schema == "$user" { settings.user.as_ref() } else { schema.as_str() };
        let exists = match &catalog {
            Some(catalog) => {
                let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
                catalog.object_by_name(Scalar::Regnamespace, &quoted).map_err(crate::definition::from_report)?.is_some()
            }
            None => true,
        };
        if exists {
            out.push(schema.to_owned());
        }
    }
    Ok(out)
}

fn current_schema(args: &Args<'_>) -> Result<Datum, ValueError> {
    Ok(search_path(args)?.into_iter().next().map_or(Datum::Null, Datum::Text))
}

fn current_schemas(args: &Args<'_>) -> Result<Datum, ValueError> {
    let mut schemas = search_path(args)?;
    if args.bool(0)? && !schemas.iter().any(|s| s == "pg_catalog") {
        schemas.insert(0, "pg_catalog".to_owned());
    }
    Ok(Datum::Array(schemas.into_iter().map(Datum::Text).collect()))
}

/// A type with its modifier; NULL for the modifier also means the type as it is declared, not as a value of it is.
fn format_type(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let oid = args.oid(0)?;
    if oid == 0 {
        return text("-");
    }
    let modifier = if args.is_null(1) { None } else { Some(args.int4(1)?) };
    if let Some(ty) = SqlType::from_oid(Oid(oid)) {
        return text(match (ty.scalar, modifier) {
            (Scalar::Bpchar, None) => if ty.is_array { "character[]" } else { "character" }.to_owned(),
            (_, modifier) => SqlType { typmod: modifier.unwrap_or(-1), ..ty }.display_name(),
        });
    }
    // Types of rows and others that values cannot have are the catalog's.
    match args.catalog() {
        Some(_) => match ask_catalog(args)? {
            Datum::Null => text("???"),
            name => Ok(name),
        },
        None => text("???"),
    }
}

fn not_in_recovery(_: &Args<'_>) -> Result<Datum, ValueError> {
    Err(ValueError::Other {
        sqlstate: SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        message: "recovery is not in progress".to_owned(),
        detail: None,
        hint: Some("Recovery control functions can only be executed during recovery.".to_owned()),
    })
}

fn collation(args: &Args<'_>) -> Result<Datum, ValueError> {
    let ty = args.ty(0);
    match ty.scalar {
        Scalar::Text | Scalar::Varchar | Scalar::Bpchar => text("\"default\""),
        Scalar::Name => text("\"C\""),
        _ => fail(SqlState::DATATYPE_MISMATCH, format!("collations are not supported by type {}", ty.without_typmod())),
    }
}

fn count(args: &Args<'_>, nulls: bool) -> Result<Datum, ValueError> {
    let found = args.values.iter().filter(|value| value.is_null() == nulls).count();
    i32::try_from(found).map(Datum::Int4).map_err(|_| ValueError::out_of_range("integer"))
}
