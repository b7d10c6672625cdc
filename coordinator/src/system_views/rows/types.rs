//! Types, collations, operator classes, languages.

use std::sync::Arc;

use common::datum::Datum;
use common::enums::{EnumLabel, LABEL_DISTANCE};
use common::ids::Oid;
use common::types::{Scalar, SqlType};
use common::user_types::{UserType, UserTypeKind};

use super::super::definitions::PG_CATALOG;
use super::super::pg_type as list;
use super::super::roles::OWNER_OID;
use super::relations::{BTREE, in_pg_catalog};
use super::{FALSE, NONE, NULL, Reading, Row, TRUE, functions, oid, text};

/// The default classes of btree: oid, name, family, type.
const BTREE_CLASSES: &[(u32, &str, u32, u32)] = &[
    (10003, "bool_ops", 424, 16),
    (10006, "bytea_ops", 428, 17),
    (10007, "char_ops", 429, 18),
    (10028, "name_ops", 1994, 19),
    (3124, "int8_ops", 1976, 20),
    (1979, "int2_ops", 1976, 21),
    (1978, "int4_ops", 1976, 23),
    (3126, "text_ops", 1994, 25),
    (1981, "oid_ops", 1989, 26),
    (10012, "float4_ops", 1970, 700),
    (3123, "float8_ops", 1970, 701),
    (10004, "bpchar_ops", 426, 1042),
    (3122, "date_ops", 434, 1082),
    (10038, "time_ops", 1996, 1083),
    (3128, "timestamp_ops", 434, 1114),
    (3127, "timestamptz_ops", 434, 1184),
    (10022, "interval_ops", 1982, 1186),
    (3125, "numeric_ops", 1988, 1700),
    (10000, "array_ops", 397, 2277),
    (10065, "uuid_ops", 2968, 2950),
    (10067, "enum_ops", 3522, 3500),
];

/// Collations: oid, name, provider, locale. All of them order by bytes here.
const COLLATIONS: &[(u32, &str, &str, Option<&str>)] =
    &[(100, "default", "d", None), (950, "C", "c", Some("C")), (951, "POSIX", "c", Some("POSIX"))];

/// The operator class that an index over a type has; 0 for a type without an order.
pub(super) fn btree_class(ty: SqlType) -> Oid {
    let wanted = match ty.scalar {
        _ if ty.is_array => 2277,
        Scalar::Enum(_) => 3500,
        Scalar::Varchar => Scalar::Text.oid().0,
        Scalar::Regclass | Scalar::Regtype | Scalar::Regproc | Scalar::Regnamespace | Scalar::Regrole => Scalar::Oid.oid().0,
        scalar => scalar.oid().0,
    };
    BTREE_CLASSES.iter().find(|class| class.3 == wanted).map_or(Oid(0), |class| Oid(class.0))
}

/// Whether an object of the kind that a function's name tells (`pg_collation_is_visible`, `type`, `function`) has that oid; `None` when not.
/// What exists in pg_catalog is visible.
pub(in super::super) fn is_known(kind: &str, wanted: u32) -> Option<bool> {
    let known = match kind {
        "pg_collation_is_visible" => COLLATIONS.iter().any(|c| c.0 == wanted),
        "pg_opclass_is_visible" => BTREE_CLASSES.iter().any(|c| c.0 == wanted),
        "pg_opfamily_is_visible" => BTREE_FAMILIES.iter().any(|f| f.0 == wanted),
        "pg_operator_is_visible" => functions::is_operator(wanted),
        "type" => list::by_oid(Oid(wanted)).is_some(),
        "function" => functions::name(Oid(wanted)).is_some(),
        "language" => wanted == INTERNAL_LANGUAGE.0,
        "tablespace" => super::roles::is_tablespace(wanted),
        _ => false,
    };
    known.then_some(true)
}

pub(super) fn pg_type(reading: &Reading<'_>) -> Vec<Row> {
    list::all().iter().map(type_row).chain(reading.catalog.all_user_types().flat_map(|ty| user_type_rows(ty))).collect()
}

/// Names of the type and of its array.
fn user_type_rows(ty: &UserType) -> [Row; 2] {
    let base = list::by_oid(ty.value_type().oid());
    let common = list::PgType {
        oid: ty.oid,
        name: "",
        len: 4,
        by_value: true,
        kind: "e",
        category: "E",
        preferred: false,
        delimiter: ",",
        element: Oid(0),
        array: ty.array_oid,
        // enum_in, enum_out, enum_recv, enum_send
        functions: [0, 3506, 3507, 3532, 3533, 0, 0, 0],
        align: "i",
        storage: "p",
        collation: Oid(0),
    };
    let mut own = type_row(&common);
    if let Some(domain) = ty.domain() {
        let facts = base.unwrap_or(&common);
        let [_, _, output, _, send, ..] = facts.functions;
        // domain_in, domain_recv
        let functions = [0, 2597, output, 2598, send, 0, 0, facts.functions[7]];
        let row = list::PgType { oid: ty.oid, kind: "d", preferred: false, element: Oid(0), array: ty.array_oid, functions, ..*facts };
        own = type_row(&row);
        own[24] = Datum::Bool(domain.not_null);
        own[25] = oid(domain.over.unwrap_or(domain.base.oid()));
        own[26] = Datum::Int4(domain.base.typmod);
        own.push(NULL); // typdefaultbin
        own.push(domain.default.as_deref().map_or(NULL, text));
    }
    // array_subscript_handler, array_in, array_out, array_recv, array_send, array_typanalyze
    let functions = [6179, 750, 751, 2400, 2401, 0, 0, 3816];
    let array = list::PgType {
        oid: ty.array_oid,
        len: -1,
        by_value: false,
        kind: "b",
        category: "A",
        element: ty.oid,
        array: Oid(0),
        functions,
        storage: "x",
        ..common
    };
    let mut array = type_row(&array);
    own[1] = text(ty.name.as_str());
    array[1] = text(format!("_{}", ty.name));
    for row in [&mut own, &mut array] {
        row[2] = oid(ty.schema);
    }
    [own, array]
}

pub(super) fn pg_enum(reading: &Reading<'_>) -> Vec<Row> {
    let rows = |ty: &Arc<UserType>| {
        let UserTypeKind::Enum(of) = ty.kind else { return Vec::new() };
        let definition = of.definition();
        let row = |label: &EnumLabel| {
            let order = label.value as f64 / LABEL_DISTANCE as f64;
            vec![oid(label.oid), oid(definition.oid), Datum::Float4(order as f32), text(label.name.as_str())]
        };
        definition.labels.iter().map(row).collect()
    };
    reading.catalog.all_user_types().flat_map(rows).collect()
}

fn type_row(ty: &list::PgType) -> Row {
    let [subscript, input, output, receive, send, modifier_in, modifier_out, analyze] = ty.functions.map(Datum::Oid);
    vec![
        oid(ty.oid),
        text(ty.name),
        in_pg_catalog(),
        oid(OWNER_OID),
        Datum::Int2(ty.len),
        Datum::Bool(ty.by_value),
        text(ty.kind),
        text(ty.category),
        Datum::Bool(ty.preferred),
        TRUE, // typisdefined
        text(ty.delimiter),
        NONE, // typrelid
        subscript,
        oid(ty.element),
        oid(ty.array),
        input,
        output,
        receive,
        send,
        modifier_in,
        modifier_out,
        analyze,
        text(ty.align),
        text(ty.storage),
        FALSE,           // typnotnull
        NONE,            // typbasetype
        Datum::Int4(-1), // typtypmod
        Datum::Int4(0),  // typndims
        oid(ty.collation),
    ]
}

pub(super) fn pg_collation(_: &Reading<'_>) -> Vec<Row> {
    let row = |(number, name, provider, locale): &(u32, &str, &str, Option<&str>)| {
        let locale = locale.map_or(NULL, text);
        let owner = [in_pg_catalog(), oid(OWNER_OID)];
        let mut row = vec![Datum::Oid(*number), text(*name)];
        row.extend(owner);
        row.extend([text(*provider), TRUE, Datum::Int4(-1), locale.clone(), locale]);
        row
    };
    COLLATIONS.iter().map(row).collect()
}

/// Names of the collations.
pub(super) fn collation_names() -> impl Iterator<Item = &'static str> {
    COLLATIONS.iter().map(|c| c.1)
}

pub(super) fn pg_opclass(_: &Reading<'_>) -> Vec<Row> {
    let row = |(class, name, family, ty): &(u32, &str, u32, u32)| {
        let (family, ty) = (Datum::Oid(*family), Datum::Oid(*ty));
        vec![Datum::Oid(*class), oid(BTREE), text(*name), oid(PG_CATALOG), oid(OWNER_OID), family, ty, TRUE, NONE]
    };
    BTREE_CLASSES.iter().map(row).collect()
}

/// The families of the classes: oid, name.
const BTREE_FAMILIES: &[(u32, &str)] = &[
    (397, "array_ops"),
    (424, "bool_ops"),
    (426, "bpchar_ops"),
    (428, "bytea_ops"),
    (429, "char_ops"),
    (434, "datetime_ops"),
    (1970, "float_ops"),
    (1976, "integer_ops"),
    (1982, "interval_ops"),
    (1988, "numeric_ops"),
    (1989, "oid_ops"),
    (1994, "text_ops"),
    (1996, "time_ops"),
    (2968, "uuid_ops"),
    (3522, "enum_ops"),
];

pub(super) fn pg_opfamily(_: &Reading<'_>) -> Vec<Row> {
    let row = |(family, name): &(u32, &str)| vec![Datum::Oid(*family), oid(BTREE), text(*name), in_pg_catalog(), oid(OWNER_OID)];
    BTREE_FAMILIES.iter().map(row).collect()
}

/// PostgreSQL's oid of the language `internal`, in which all functions are written.
pub(super) const INTERNAL_LANGUAGE: Oid = Oid(12);

pub(super) fn pg_language(_: &Reading<'_>) -> Vec<Row> {
    vec![vec![oid(INTERNAL_LANGUAGE), text("internal"), oid(OWNER_OID), FALSE, FALSE, NONE, NONE, NONE]]
}
