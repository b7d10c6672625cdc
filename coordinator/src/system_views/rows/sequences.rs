//! Sequences.

use catalog::objects::Sequence;
use common::datum::Datum;
use common::types::Scalar;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::roles::OWNER;
use super::{NULL, Reading, Row, oid, text, yes_or_no};

pub(super) fn pg_sequence(reading: &Reading<'_>) -> Vec<Row> {
    let row = |s: &Sequence| {
        let ty = oid(s.ty.oid());
        let numbers = [s.start, s.increment, s.max, s.min, s.cache].map(Datum::Int8);
        [oid(s.oid), ty].into_iter().chain(numbers).chain([Datum::Bool(s.cycle)]).collect()
    };
    reading.catalog.sequences().map(|s| row(s)).collect()
}

pub(super) fn pg_sequences(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let mut rows = Vec::new();
        for s in reading.catalog.sequences() {
            let standing = match reading.system.sequence_reader() {
                Ok(reader) => reader.standing(s).await.ok(),
                Err(_) => None,
            };
            let last = standing.filter(|standing| standing.is_called).map_or(NULL, |standing| Datum::Int8(standing.last));
            let mut row = vec![reading.schema(s.schema), text(&s.name), text(OWNER), oid(s.ty.oid())];
            row.extend([s.start, s.min, s.max, s.increment].map(Datum::Int8));
            row.extend([Datum::Bool(s.cycle), Datum::Int8(s.cache), last]);
            rows.push(row);
        }
        rows
    }
    .boxed()
}

/// The standard has no sequences of identity columns.
pub(super) fn information_schema_sequences(reading: &Reading<'_>) -> Vec<Row> {
    let row = |s: &Sequence| {
        let bits = match s.ty.scalar {
            Scalar::Int2 => 16,
            Scalar::Int4 => 32,
            _ => 64,
        };
        let mut row = vec![reading.database(), reading.schema(s.schema), text(&s.name), text(s.ty.display_name())];
        row.extend([bits, 2, 0].map(Datum::Int4));
        row.extend([s.start, s.min, s.max, s.increment].map(|n| text(n.to_string())));
        row.push(yes_or_no(s.cycle));
        row
    };
    reading.catalog.sequences().filter(|s| !s.owner.is_some_and(|o| o.is_identity)).map(|s| row(s)).collect()
}
