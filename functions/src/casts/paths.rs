//! Which type casts into which, where that may happen unwritten, and how: PostgreSQL's pg_cast.

use common::types::{Scalar, SqlType};

use crate::context::CastContext;

/// How a cast is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// Nothing happens: the representations are the same.
    Relabel,
    /// Arrow's own cast, which neither loses nor fails.
    Widen,
    /// `values::cast_value`.
    Value,
    /// As `Value`, and the result depends on settings.
    Settings,
    /// By the catalog: names of objects.
    Catalog,
}

use CastContext::{Assignment, Explicit, Implicit};
use Path::{Catalog, Relabel, Settings, Value, Widen};

/// The weakest context in which the cast is allowed, and its path; `None` where there is no such cast.
pub(crate) fn find(from: SqlType, to: SqlType) -> Option<(CastContext, Path)> {
    if from.is_array && to.is_array {
        return match find(from.element(), to.element())? {
            (context, Relabel) => Some((context, Relabel)),
            (context, Settings) => Some((context, Settings)),
            (_, Catalog) => None,
            (context, Widen | Value) => Some((context, Value)),
        };
    }
    if from.is_array || to.is_array {
        return match (is_text(from), is_text(to)) {
            (_, true) => Some((Assignment, Settings)),
            (true, _) => Some((Explicit, Settings)),
            (false, false) => None,
        };
    }
    if from.scalar == to.scalar {
        return Some((Implicit, Relabel));
    }
    numbers(from.scalar, to.scalar)
        .or_else(|| objects(from.scalar, to.scalar))
        .or_else(|| texts(from.scalar, to.scalar))
        .or_else(|| times(from.scalar, to.scalar))
        .or_else(|| documents(from.scalar, to.scalar))
        .or_else(|| bits_and_networks(from.scalar, to.scalar))
        .or_else(|| through_text(from.scalar, to.scalar))
}

fn numbers(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    use Scalar::{Bool, Float4, Float8, Int2, Int4, Int8, Numeric};
    Some(match (from, to) {
        (Int2, Int4 | Int8 | Float4 | Float8) | (Int4, Int8 | Float4 | Float8) | (Int8, Float4 | Float8) | (Float4, Float8) => {
            (Implicit, Widen)
        }
        (Int2 | Int4 | Int8, Numeric) | (Numeric, Float4 | Float8) => (Implicit, Value),
        (Int4, Int2) | (Int8, Int2 | Int4) | (Float8, Float4 | Int2 | Int4 | Int8 | Numeric) => (Assignment, Value),
        (Float4 | Numeric, Int2 | Int4 | Int8) | (Float4, Numeric) => (Assignment, Value),
        (Int4, Bool) | (Bool, Int4) => (Explicit, Value),
        _ => return None,
    })
}

pub(crate) fn is_object(scalar: Scalar) -> bool {
    matches!(scalar, Scalar::Oid) || is_registered(scalar)
}

pub fn is_registered(scalar: Scalar) -> bool {
    matches!(scalar, Scalar::Regproc | Scalar::Regclass | Scalar::Regtype | Scalar::Regnamespace | Scalar::Regrole)
}

fn objects(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    use Scalar::{Bpchar, Int2, Int4, Int8, Name, Oid, Regclass, Text, Unknown, Varchar};
    Some(match (from, to) {
        (Int2 | Int4 | Int8, to) if is_object(to) => (Implicit, Value),
        (from, Int4 | Int8) if is_object(from) => (Assignment, Value),
        (Oid, to) if is_registered(to) => (Implicit, Relabel),
        (from, Oid) if is_registered(from) => (Implicit, Relabel),
        (Text | Varchar, Regclass) => (Implicit, Catalog),
        (Text | Varchar | Bpchar | Name | Unknown, to) if is_registered(to) => (Explicit, Catalog),
        (from, Text | Varchar | Bpchar | Name) if is_registered(from) => (Assignment, Catalog),
        _ => return None,
    })
}

/// Whether a type is one of the character types.
pub(crate) fn is_text(ty: SqlType) -> bool {
    !ty.is_array && matches!(ty.scalar, Scalar::Text | Scalar::Varchar | Scalar::Bpchar | Scalar::Name | Scalar::Unknown)
}

fn texts(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    use Scalar::{Bpchar, Char, Int4, Name, Text, Varchar};
    Some(match (from, to) {
        (Text, Varchar | Bpchar) | (Varchar, Text | Bpchar) | (Name, Text) => (Implicit, Relabel),
        (Bpchar, Text | Varchar | Name) | (Text | Varchar, Name) => (Implicit, Value),
        (Name, Varchar | Bpchar) => (Assignment, Relabel),
        (Char, Text) => (Implicit, Relabel),
        (Char, Varchar | Bpchar) => (Assignment, Relabel),
        (Text, Char) => (Assignment, Value),
        (Varchar | Bpchar, Char) => (Assignment, Value),
        (Char, Int4) | (Int4, Char) => (Explicit, Value),
        _ => return None,
    })
}

fn times(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    use Scalar::{Date, Interval, Time, Timestamp, Timestamptz, Timetz};
    Some(match (from, to) {
        (Date, Timestamp) | (Time, Interval) => (Implicit, Value),
        (Date, Timestamptz) | (Timestamp, Timestamptz) | (Time, Timetz) => (Implicit, Settings),
        (Timestamptz, Timetz) => (Assignment, Settings),
        (Timetz, Time) => (Assignment, Value),
        (Timestamp, Date | Time) | (Interval, Time) => (Assignment, Value),
        (Timestamptz, Date | Time | Timestamp) => (Assignment, Settings),
        _ => return None,
    })
}

fn documents(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    use Scalar::{Bool, Float4, Float8, Int2, Int4, Int8, Json, Jsonb, Numeric};
    Some(match (from, to) {
        (Json, Jsonb) | (Jsonb, Json) => (Assignment, Value),
        (Jsonb, Bool | Numeric | Int2 | Int4 | Int8 | Float4 | Float8) => (Explicit, Value),
        _ => return None,
    })
}

fn bits_and_networks(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    use Scalar::{Bit, Cidr, Inet, Int4, Int8, Varbit};
    Some(match (from, to) {
        (Cidr, Inet) | (Bit, Varbit) | (Varbit, Bit) => (Implicit, Relabel),
        (Inet, Cidr) => (Assignment, Value),
        (Int4 | Int8, Bit) | (Bit, Int4 | Int8) => (Explicit, Value),
        _ => return None,
    })
}

/// Every type casts to text as its output does, and from text as its input does.
fn through_text(from: Scalar, to: Scalar) -> Option<(CastContext, Path)> {
    let (from_text, to_text) = (is_text(from.into()), is_text(to.into()));
    if matches!(from, Scalar::Void | Scalar::Record) || matches!(to, Scalar::Void | Scalar::Record) {
        return None;
    }
    let path = |scalar| match scalar {
        Scalar::Date | Scalar::Time | Scalar::Timestamp | Scalar::Timestamptz | Scalar::Interval => Settings,
        Scalar::Float4 | Scalar::Float8 | Scalar::Bytea | Scalar::Timetz | Scalar::Range(_) => Settings,
        _ => Value,
    };
    if to_text { Some((Assignment, path(from))) } else { from_text.then(|| (Explicit, path(to))) }
}
