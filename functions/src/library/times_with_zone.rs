//! The functions and operators of `time with time zone`.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::timetz::TimeTz;
use types::{datetime, overlap, typmod};

use crate::definition::{Args, Definition, fail, row};

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("+(timetz,interval) timetz", |a| datum(value(a, 0)?.add(a.interval(1)?))),
        row("+(interval,timetz) timetz", |a| datum(value(a, 1)?.add(a.interval(0)?))),
        row("-(timetz,interval) timetz", |a| datum(value(a, 0)?.sub(a.interval(1)?))),
        row("+(date,timetz) timestamptz", |a| value(a, 1)?.on_date(a.date(0)?).map(Datum::Timestamp)),
        row("+(timetz,date) timestamptz", |a| value(a, 0)?.on_date(a.date(1)?).map(Datum::Timestamp)),
        row("timezone(text,timetz) timetz", |a| at_zone(a, datetime::zone_name(a.text(0)?)?)).stable(),
        row("timezone(interval,timetz) timetz", |a| at_zone(a, datetime::zone_of_interval(a.interval(0)?)?)).stable(),
        row("current_time() timetz", now).stable(),
        row("current_time(int4) timetz", |a| {
            /// Seconds have no more digits.
            const DIGITS_MAX: i32 = 6;
            typmod::apply_typmod(now(a)?, SqlType::with_typmod(Scalar::Timetz, a.int4(0)?.clamp(0, DIGITS_MAX)), true)
        })
        .stable(),
    ];
    out.push(row("overlaps(timetz,timetz,timetz,timetz) bool", overlaps).nullable());
    out
}

fn value(args: &Args<'_>, index: usize) -> Result<TimeTz, ValueError> {
    match TimeTz::from_bytes(args.bytes(index)?) {
        Some(value) => Ok(value),
        None => fail(SqlState::DATA_CORRUPTED, "a time with time zone is malformed"),
    }
}

fn datum(value: TimeTz) -> Value {
    Ok(Datum::Bytea(value.to_bytes().to_vec().into()))
}

fn at_zone(args: &Args<'_>, zone: datetime::ZoneName) -> Value {
    datum(value(args, 1)?.at_zone(zone, args.settings().transaction_micros))
}

fn now(args: &Args<'_>) -> Value {
    let settings = args.settings();
    TimeTz::of_timestamptz(settings.transaction_micros, settings.format.time_zone).map_or(Ok(Datum::Null), datum)
}

fn overlaps(args: &Args<'_>) -> Value {
    // The forms compare as the values do.
    let end = |index: usize| if args.is_null(index) { Ok(None) } else { args.bytes(index).map(Some) };
    let found = overlap::overlaps((end(0)?, end(1)?), (end(2)?, end(3)?));
    Ok(found.map_or(Datum::Null, Datum::Bool))
}
