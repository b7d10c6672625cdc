//! Functions that the catalog answers.
//!
//! Each evaluates on a coordinator only, through [`crate::context::CatalogLookup`]; elsewhere it is 0A000. All are stable, so that a call
//! with constant arguments is computed before a plan is cut into fragments; also those that PostgreSQL calls volatile (the sizes).
//!
//! # What reaches `CatalogLookup::call`
//!
//! The name is the function's; the arguments are values of the types below (`oid` and `regclass` are `Datum::Oid`, `name` and `text` are
//! `Datum::Text`, `T?` may be NULL, other arguments never are). Overloads differ in the number of arguments and the values' variants.
//! The answer is a value of the result's type, or NULL, which is also the answer for an object that does not exist unless PostgreSQL
//! makes that an error.
//!
//! | name | arguments | result | remark |
//! | --- | --- | --- | --- |
//! | `format_type` | oid, int4? | text | only for types that are not in `common::types::SCALARS`; NULL prints as `???` |
//! | `pg_get_userbyid` | oid | name | `unknown (OID=…)` for none |
//! | `pg_get_expr` | text, oid | text | the text of pg_node_tree columns |
//! | `pg_get_expr` | text, oid, bool | text | |
//! | `pg_get_indexdef` | oid | text | |
//! | `pg_get_indexdef` | oid, int4, bool | text | column 0 is the whole definition |
//! | `pg_get_constraintdef` | oid | text | |
//! | `pg_get_constraintdef` | oid, bool | text | |
//! | `pg_get_viewdef` | oid or text | text | |
//! | `pg_get_viewdef` | oid or text, bool; oid, int4 | text | |
//! | `pg_get_partkeydef`, `pg_get_partition_constraintdef` | oid | text | |
//! | `pg_get_statisticsobjdef`, `pg_get_statisticsobjdef_columns` | oid | text | |
//! | `pg_get_ruledef`, `pg_get_triggerdef` | oid | text | |
//! | `pg_get_ruledef`, `pg_get_triggerdef` | oid, bool | text | |
//! | `pg_get_functiondef`, `pg_get_function_arguments`, `pg_get_function_identity_arguments`, `pg_get_function_result`, `pg_get_function_sqlbody` | oid | text | |
//! | `pg_get_function_arg_default` | oid, int4 | text | |
//! | `pg_get_serial_sequence` | text, text | text | table, column |
//! | `pg_get_replica_identity_index` | regclass | regclass | |
//! | `pg_describe_object` | oid, oid, int4 | text | |
//! | `obj_description` | oid | text | |
//! | `obj_description`, `shobj_description` | oid, name | text | the name of the system table |
//! | `col_description` | oid, int4 | text | |
//! | `pg_relation_size` | regclass | int8 | |
//! | `pg_relation_size` | regclass, text | int8 | the fork: `main`, `fsm`, `vm`, `init` |
//! | `pg_table_size`, `pg_indexes_size`, `pg_total_relation_size` | regclass | int8 | |
//! | `pg_database_size`, `pg_tablespace_size` | oid or name | int8 | |
//! | `pg_relation_filenode` | regclass | oid | |
//! | `pg_relation_filepath` | regclass | text | |
//! | `pg_relation_is_publishable` | regclass | bool | |
//! | `pg_relation_is_updatable` | regclass, bool | int4 | |
//! | `pg_column_is_updatable` | regclass, int2, bool | bool | |
//! | `pg_tablespace_location` | oid | text | |
//! | `pg_sequence_last_value` | regclass | int8 | |
//! | `pg_index_column_has_property` | regclass, int4, text | bool | |
//! | `pg_index_has_property` | regclass, text | bool | |
//! | `pg_indexam_has_property` | oid, text | bool | |
//! | `row_security_active` | oid or text | bool | |
//! | `pg_collation_is_visible`, `pg_conversion_is_visible`, `pg_opclass_is_visible`, `pg_operator_is_visible`, `pg_opfamily_is_visible`, `pg_statistics_obj_is_visible`, `pg_ts_config_is_visible`, `pg_ts_dict_is_visible`, `pg_ts_parser_is_visible`, `pg_ts_template_is_visible` | oid | bool | |
//! | `has_table_privilege`, `has_sequence_privilege`, `has_any_column_privilege`, `has_database_privilege`, `has_schema_privilege`, `has_function_privilege`, `has_language_privilege`, `has_tablespace_privilege`, `has_type_privilege`, `has_foreign_data_wrapper_privilege`, `has_server_privilege` | [name or oid,] oid or text, text | bool | user, object, privilege; without a user the session's |
//! | `has_column_privilege` | [name or oid,] oid or text, int2 or text, text | bool | user, table, column, privilege |
//! | `has_parameter_privilege` | [name or oid,] text, text | bool | |
//! | `pg_has_role` | [name or oid,] name or oid, text | bool | |
//! | `current_setting` | text | text | 42704 for an unknown name |
//! | `current_setting` | text, bool | text | NULL for an unknown name when true |
//! | `set_config` | text?, text?, bool? | text | volatile |
//! | `nextval`, `currval` | regclass | int8 | volatile |
//! | `lastval` | | int8 | volatile |
//! | `setval` | regclass, int8, bool | int8 | volatile; the third argument is true when it is not given |
//! | `pg_postmaster_start_time`, `pg_conf_load_time` | | timestamptz | |
//! | `pg_cancel_backend` | int4 | bool | volatile |
//! | `pg_terminate_backend` | int4, int8 | bool | volatile; the second argument is 0 when it is not given |
//!
//! Privileges were checked to be words that the kind of object knows; they come in lists as the user wrote them (`SELECT, insert with grant
//! option`).
//!
//! Through the other methods go: `pg_table_is_visible` (Regclass), `pg_type_is_visible` (Regtype), `pg_function_is_visible` (Regproc) as
//! `is_visible`; `to_regclass`, `to_regtype`, `to_regproc`, `to_regnamespace`, `to_regrole` and `current_schema(s)` as `object_by_name`.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use types::error::ValueError;
use types::text_input::type_by_name;

use crate::definition::{Args, Definition, fail, from_report, row};

/// What is asked as it is.
const STABLE: &[&str] = &[
    "pg_get_userbyid(oid) name",
    "pg_get_expr(text,oid) text",
    "pg_get_expr(text,oid,bool) text",
    "pg_get_indexdef(oid) text",
    "pg_get_indexdef(oid,int4,bool) text",
    "pg_get_constraintdef(oid) text",
    "pg_get_constraintdef(oid,bool) text",
    "pg_get_viewdef(oid) text",
    "pg_get_viewdef(text) text",
    "pg_get_viewdef(oid,bool) text",
    "pg_get_viewdef(text,bool) text",
    "pg_get_viewdef(oid,int4) text",
    "pg_get_partkeydef(oid) text",
    "pg_get_partition_constraintdef(oid) text",
    "pg_get_statisticsobjdef(oid) text",
    "pg_get_statisticsobjdef_columns(oid) text",
    "pg_get_ruledef(oid) text",
    "pg_get_ruledef(oid,bool) text",
    "pg_get_triggerdef(oid) text",
    "pg_get_triggerdef(oid,bool) text",
    "pg_get_functiondef(oid) text",
    "pg_get_function_arguments(oid) text",
    "pg_get_function_identity_arguments(oid) text",
    "pg_get_function_result(oid) text",
    "pg_get_function_sqlbody(oid) text",
    "pg_get_function_arg_default(oid,int4) text",
    "pg_get_serial_sequence(text,text) text",
    "pg_get_replica_identity_index(regclass) regclass",
    "pg_describe_object(oid,oid,int4) text",
    "obj_description(oid) text",
    "obj_description(oid,name) text",
    "shobj_description(oid,name) text",
    "col_description(oid,int4) text",
    "pg_relation_size(regclass) int8",
    "pg_relation_size(regclass,text) int8",
    "pg_table_size(regclass) int8",
    "pg_indexes_size(regclass) int8",
    "pg_total_relation_size(regclass) int8",
    "pg_database_size(oid) int8",
    "pg_database_size(name) int8",
    "pg_tablespace_size(oid) int8",
    "pg_tablespace_size(name) int8",
    "pg_relation_filenode(regclass) oid",
    "pg_relation_filepath(regclass) text",
    "pg_relation_is_publishable(regclass) bool",
    "pg_relation_is_updatable(regclass,bool) int4",
    "pg_column_is_updatable(regclass,int2,bool) bool",
    "pg_tablespace_location(oid) text",
    "pg_sequence_last_value(regclass) int8",
    "pg_index_column_has_property(regclass,int4,text) bool",
    "pg_index_has_property(regclass,text) bool",
    "pg_indexam_has_property(oid,text) bool",
    "row_security_active(oid) bool",
    "row_security_active(text) bool",
    "pg_collation_is_visible(oid) bool",
    "pg_conversion_is_visible(oid) bool",
    "pg_opclass_is_visible(oid) bool",
    "pg_operator_is_visible(oid) bool",
    "pg_opfamily_is_visible(oid) bool",
    "pg_statistics_obj_is_visible(oid) bool",
    "pg_ts_config_is_visible(oid) bool",
    "pg_ts_dict_is_visible(oid) bool",
    "pg_ts_parser_is_visible(oid) bool",
    "pg_ts_template_is_visible(oid) bool",
    "current_setting(text) text",
    "current_setting(text,bool) text",
    "pg_postmaster_start_time() timestamptz",
    "pg_conf_load_time() timestamptz",
];

/// The kinds of objects that have privileges, and these.
const PRIVILEGES: &[(&str, &[&str])] = &[
    ("table", &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "RULE"]),
    ("sequence", &["USAGE", "SELECT", "UPDATE"]),
    ("any_column", &["SELECT", "INSERT", "UPDATE", "REFERENCES"]),
    ("column", &["SELECT", "INSERT", "UPDATE", "REFERENCES"]),
    ("database", &["CREATE", "TEMPORARY", "TEMP", "CONNECT"]),
    ("schema", &["CREATE", "USAGE"]),
    ("function", &["EXECUTE"]),
    ("language", &["USAGE"]),
    ("tablespace", &["CREATE"]),
    ("type", &["USAGE"]),
    ("foreign_data_wrapper", &["USAGE"]),
    ("server", &["USAGE"]),
    ("parameter", &["SET", "ALTER SYSTEM"]),
];

/// The rights that a member of a role has.
const ROLE_RIGHTS: &[&str] = &["USAGE", "MEMBER"];

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out: Vec<Definition> = STABLE.iter().map(|signature| row(signature, ask_catalog).stable()).collect();
    out.push(row("set_config(text,text,bool) text", ask_catalog).nullable().volatile());
    for signature in ["nextval(regclass) int8", "currval(regclass) int8", "lastval() int8", "setval(regclass,int8,bool) int8"] {
        out.push(row(signature, ask_catalog).volatile());
    }
    out.push(row("setval(regclass,int8) int8", |a| ask(a, &[a.value(0).clone(), a.value(1).clone(), Datum::Bool(true)])).volatile());
    out.push(row("pg_cancel_backend(int4) bool", ask_catalog).volatile());
    out.push(row("pg_terminate_backend(int4,int8) bool", ask_catalog).volatile());
    out.push(row("pg_terminate_backend(int4) bool", |a| ask(a, &[a.value(0).clone(), Datum::Int8(0)])).volatile());
    out.push(row("pg_table_is_visible(oid) bool", |a| is_visible(a, Scalar::Regclass)).stable());
    out.push(row("pg_type_is_visible(oid) bool", |a| is_visible(a, Scalar::Regtype)).stable());
    out.push(row("pg_function_is_visible(oid) bool", |a| is_visible(a, Scalar::Regproc)).stable());
    out.push(row("to_regclass(text) regclass", |a| object(a, Scalar::Regclass)).stable());
    out.push(row("to_regtype(text) regtype", |a| object(a, Scalar::Regtype)).stable());
    out.push(row("to_regproc(text) regproc", |a| object(a, Scalar::Regproc)).stable());
    out.push(row("to_regnamespace(text) regnamespace", |a| object(a, Scalar::Regnamespace)).stable());
    out.push(row("to_regrole(text) regrole", |a| object(a, Scalar::Regrole)).stable());
    for (kind, _) in PRIVILEGES {
        for objects in objects_of(kind) {
            for user in ["", "name,", "oid,"] {
                out.push(row(&format!("has_{kind}_privilege({user}{objects},text) bool"), has_privilege).stable());
            }
        }
    }
    for role in ["name", "oid"] {
        for user in ["", "name,", "oid,"] {
            out.push(row(&format!("pg_has_role({user}{role},text) bool"), has_privilege).stable());
        }
    }
    out
}

/// How an object of a kind is named.
fn objects_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "column" => &["oid,int2", "oid,text", "text,int2", "text,text"],
        "parameter" => &["text"],
        _ => &["oid", "text"],
    }
}

/// Passes the call on as it is.
pub(crate) fn ask_catalog(args: &Args<'_>) -> Result<Datum, ValueError> {
    ask(args, args.values)
}

fn ask(args: &Args<'_>, values: &[Datum]) -> Result<Datum, ValueError> {
    match args.catalog() {
        Some(catalog) => catalog.call(args.call.name, values).map_err(from_report),
        None => outside(args),
    }
}

fn outside<T>(args: &Args<'_>) -> Result<T, ValueError> {
    fail(SqlState::FEATURE_NOT_SUPPORTED, format!("{} outside a coordinator is not supported", args.call.name))
}

fn is_visible(args: &Args<'_>, kind: Scalar) -> Result<Datum, ValueError> {
    match args.catalog() {
        Some(catalog) => Ok(catalog.is_visible(kind, args.oid(0)?).map_or(Datum::Null, Datum::Bool)),
        None => outside(args),
    }
}

/// `to_regclass` and its relatives: NULL where the cast is an error.
fn object(args: &Args<'_>, kind: Scalar) -> Result<Datum, ValueError> {
    let name = args.text(0)?;
    if kind == Scalar::Regtype
        && let Some(ty) = type_by_name(name)
    {
        return Ok(Datum::Oid(ty.oid().0));
    }
    match args.catalog() {
        Some(catalog) => Ok(catalog.object_by_name(kind, name).map_err(from_report)?.map_or(Datum::Null, Datum::Oid)),
        None => outside(args),
    }
}

fn has_privilege(args: &Args<'_>) -> Result<Datum, ValueError> {
    let name = args.call.name;
    let kind = name.strip_prefix("has_").and_then(|n| n.strip_suffix("_privilege"));
    let known = PRIVILEGES.iter().find(|(of, _)| kind == Some(*of)).map_or(ROLE_RIGHTS, |(_, privileges)| *privileges);
    for word in args.text(args.len() - 1)?.split(',') {
        let word = word.trim();
        let upper = word.to_ascii_uppercase();
        let bare = ["WITH GRANT OPTION", "WITH ADMIN OPTION"].iter().find_map(|option| upper.strip_suffix(option)).unwrap_or(&upper);
        if !known.contains(&bare.trim_end()) {
            return fail(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized privilege type: \"{word}\""));
        }
    }
    ask_catalog(args)
}
