//! The information schema: columns, and what their types are made of.

use std::sync::Arc;

use catalog::objects::{Generated, Sequence};
use common::datum::Datum;
use common::types::{Scalar, SqlType};

use super::super::definition_text;
use super::super::objects::{self, Listed, ListedColumn};
use super::super::pg_type;
use super::super::roles::OWNER;
use super::schema_relations::relations;
use super::{NULL, Reading, Row, text, yes_or_no};

/// The most bytes of a text, as PostgreSQL tells it.
const TEXT_BYTES_MAX: i32 = 1 << 30;

/// The privileges on a column, in PostgreSQL's order.
const COLUMN_PRIVILEGES: &[&str] = &["INSERT", "SELECT", "UPDATE", "REFERENCES"];

pub(super) fn columns(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for listed in relations(reading) {
        for column in objects::columns(&listed) {
            rows.push(column_row(reading, &listed, &column));
        }
    }
    rows
}

fn column_row(reading: &Reading<'_>, listed: &Listed<'_>, column: &ListedColumn<'_>) -> Row {
    let number = Datum::Int4(i32::from(column.attnum));
    let is_table = matches!(listed, Listed::Table(_));
    let mut row = vec![
        reading.database(),
        reading.schema(listed.schema()),
        text(listed.name()),
        text(column.name),
        number,
        match column.generated {
            Some(Generated::Stored) => NULL,
            _ => column.default.map_or(NULL, |stored| text(definition_text::expression(reading.system, stored))),
        },
        yes_or_no(!column.not_null),
        text(data_type(column.ty)),
    ];
    let [length, bytes, precision, radix, scale, datetime, interval] = dimensions(column.ty);
    row.extend([length, bytes, precision, radix, scale, datetime, interval, NULL]);
    row.extend([NULL, NULL, NULL]); // character set
    row.extend(collation(reading, column.ty));
    row.extend([NULL, NULL, NULL]); // domain
    let schema = if matches!(column.ty.scalar, Scalar::Enum(_)) { user_schema(reading, column.ty) } else { text("pg_catalog") };
    row.extend([reading.database(), schema, text(udt_name(column.ty))]);
    row.extend([NULL, NULL, NULL, NULL]); // scope, maximum cardinality
    row.extend([text(column.attnum.to_string()), yes_or_no(false)]);
    row.extend(identity(reading, listed, column));
    let generated = column.default.filter(|_| column.generated == Some(Generated::Stored));
    let generation = generated.map_or(NULL, |stored| text(definition_text::expression(reading.system, stored)));
    row.extend([text(if generated.is_some() { "ALWAYS" } else { "NEVER" }), generation, yes_or_no(is_table)]);
    row
}

/// The schema of a type that a user made.
fn user_schema(reading: &Reading<'_>, ty: SqlType) -> Datum {
    reading.catalog.user_type(ty.element().oid()).map_or(NULL, |ty| reading.schema(ty.schema))
}

/// is_identity, identity_generation, start, increment, maximum, minimum, cycle.
fn identity(reading: &Reading<'_>, listed: &Listed<'_>, column: &ListedColumn<'_>) -> [Datum; 7] {
    let owned = |s: &&Arc<Sequence>| s.owner.is_some_and(|o| o.attnum == column.attnum && o.is_identity);
    let generation = match column.generated {
        Some(Generated::IdentityAlways) => "ALWAYS",
        Some(Generated::IdentityByDefault) => "BY DEFAULT",
        Some(Generated::Stored) | None => return [yes_or_no(false), NULL, NULL, NULL, NULL, NULL, yes_or_no(false)],
    };
    match reading.catalog.sequences_of(listed.oid()).find(owned) {
        Some(s) => {
            let number = |n: i64| text(n.to_string());
            [yes_or_no(true), text(generation), number(s.start), number(s.increment), number(s.max), number(s.min), yes_or_no(s.cycle)]
        }
        None => [yes_or_no(true), text(generation), NULL, NULL, NULL, NULL, yes_or_no(false)],
    }
}

/// The name of a type in the standard's words.
fn data_type(ty: SqlType) -> String {
    match ty.scalar {
        _ if ty.is_array => "ARRAY".to_owned(),
        Scalar::Enum(_) => "USER-DEFINED".to_owned(),
        Scalar::Bpchar => "character".to_owned(),
        _ => ty.without_typmod().display_name(),
    }
}

fn udt_name(ty: SqlType) -> String {
    if let Scalar::Enum(of) = ty.scalar {
        return format!("{}{}", if ty.is_array { "_" } else { "" }, of.definition().name);
    }
    pg_type::by_oid(ty.oid()).map_or_else(String::new, |facts| facts.name.to_owned())
}

/// Columns of type name are the only ones with another collation than the database's.
fn collation(reading: &Reading<'_>, ty: SqlType) -> [Datum; 3] {
    if ty.scalar == Scalar::Name && !ty.is_array {
        return [reading.database(), text("pg_catalog"), text("C")];
    }
    [NULL, NULL, NULL]
}

/// Length in characters and in bytes; numeric precision, radix and scale; precision of times; fields of an interval.
fn dimensions(ty: SqlType) -> [Datum; 7] {
    let some = Datum::Int4;
    let number = |precision: i32, radix: i32, scale: Datum| [NULL, NULL, some(precision), some(radix), scale, NULL, NULL];
    if ty.is_array {
        return [const { NULL }; 7];
    }
    match ty.scalar {
        Scalar::Text => [NULL, some(TEXT_BYTES_MAX), NULL, NULL, NULL, NULL, NULL],
        Scalar::Varchar | Scalar::Bpchar => {
            let length = ty.char_length().and_then(|n| i32::try_from(n).ok());
            // Four bytes are the most that a character takes in UTF-8.
            let bytes = length.map_or(TEXT_BYTES_MAX, |n| n.saturating_mul(4));
            [length.map_or(NULL, some), some(bytes), NULL, NULL, NULL, NULL, NULL]
        }
        Scalar::Int2 => number(16, 2, some(0)),
        Scalar::Int4 => number(32, 2, some(0)),
        Scalar::Int8 => number(64, 2, some(0)),
        Scalar::Float4 => number(24, 2, NULL),
        Scalar::Float8 => number(53, 2, NULL),
        Scalar::Numeric => match ty.numeric_precision_scale() {
            Some((precision, scale)) => number(i32::from(precision), 10, some(i32::from(scale))),
            None => [NULL, NULL, NULL, some(10), NULL, NULL, NULL],
        },
        Scalar::Date => [NULL, NULL, NULL, NULL, NULL, some(0), NULL],
        Scalar::Time | Scalar::Timestamp | Scalar::Timestamptz => {
            let precision = if ty.typmod < 0 { 6 } else { ty.typmod };
            [NULL, NULL, NULL, NULL, NULL, some(precision), NULL]
        }
        Scalar::Interval => {
            // The low half of the modifier is the precision; all ones for none.
            let precision = if ty.typmod < 0 || ty.typmod & 0xffff == 0xffff { 6 } else { ty.typmod & 0xffff };
            [NULL, NULL, NULL, NULL, NULL, some(precision), NULL]
        }
        _ => [const { NULL }; 7],
    }
}

pub(super) fn column_privileges(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for listed in relations(reading) {
        for column in objects::columns(&listed) {
            for privilege in COLUMN_PRIVILEGES {
                let mut row = vec![text(OWNER), text(OWNER), reading.database(), reading.schema(listed.schema())];
                row.extend([text(listed.name()), text(column.name), text(*privilege), yes_or_no(true)]);
                rows.push(row);
            }
        }
    }
    rows
}

/// The element types of columns that are arrays; the modifier of an element is not told, as in PostgreSQL.
pub(super) fn element_types(reading: &Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for listed in relations(reading) {
        let kind = if listed.is_view() { "VIEW" } else { "TABLE" };
        for column in objects::columns(&listed).into_iter().filter(|c| c.ty.is_array) {
            let element = column.ty.element();
            let number = text(column.attnum.to_string());
            let mut row = vec![reading.database(), reading.schema(listed.schema()), text(listed.name()), text(kind)];
            row.extend([number.clone(), text(data_type(element))]);
            row.extend([NULL, NULL, NULL, NULL, NULL]);
            row.extend(collation(reading, element));
            row.extend([NULL, NULL, NULL, NULL, NULL, NULL, NULL]);
            row.extend([reading.database(), text("pg_catalog"), text(udt_name(element))]);
            row.extend([NULL, NULL, NULL, NULL]);
            let Datum::Text(number) = number else { continue };
            row.push(text(format!("a{number}")));
            rows.push(row);
        }
    }
    rows
}
