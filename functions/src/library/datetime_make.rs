//! Making dates and times of numbers, normalising intervals, ages, and periods that overlap.

use common::datum::Datum;
use datafusion::logical_expr::Volatility;
use types::error::ValueError;
use types::interval::{self, MakeInterval};
use types::{datetime, overlap};

use crate::definition::{Args, Definition, row};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = made();
    out.extend(intervals());
    out.extend(ages());
    out.extend(overlaps());
    out
}

fn made() -> Vec<Definition> {
    vec![
        row("make_date(int4,int4,int4) date", |a| datetime::make_date(a.int4(0)?, a.int4(1)?, a.int4(2)?).map(Datum::Date)),
        row("make_time(int4,int4,float8) time", |a| datetime::make_time(a.int4(0)?, a.int4(1)?, a.float8(2)?).map(Datum::Time)),
        row("make_timestamp(int4,int4,int4,int4,int4,float8) timestamp", |a| made_timestamp(a).map(Datum::Timestamp)),
        row("make_timestamptz(int4,int4,int4,int4,int4,float8) timestamptz", |a| {
            datetime::timestamp_to_timestamptz(made_timestamp(a)?, a.settings().format.time_zone).map(Datum::Timestamp)
        })
        .stable(),
        row("make_timestamptz(int4,int4,int4,int4,int4,float8,text) timestamptz", |a| {
            datetime::timestamp_at_written_zone(made_timestamp(a)?, a.text(6)?).map(Datum::Timestamp)
        })
        .stable(),
        row("to_timestamp(float8) timestamptz", |a| datetime::from_epoch(a.float8(0)?).map(Datum::Timestamp)),
        row("timestamp(date,time) timestamp", |a| datetime::date_and_time(a.date(0)?, a.time(1)?).map(Datum::Timestamp)),
        row("timestamptz(date,time) timestamptz", |a| {
            let local = datetime::date_and_time(a.date(0)?, a.time(1)?)?;
            datetime::timestamp_to_timestamptz(local, a.settings().format.time_zone).map(Datum::Timestamp)
        })
        .stable(),
        row("isfinite(date) bool", |a| Ok(Datum::Bool(datetime::is_finite_date(a.date(0)?)))),
        row("isfinite(timestamp) bool", |a| Ok(Datum::Bool(datetime::is_finite_timestamp(a.timestamp(0)?)))),
        row("isfinite(timestamptz) bool", |a| Ok(Datum::Bool(datetime::is_finite_timestamp(a.timestamp(0)?)))),
        row("isfinite(interval) bool", |a| a.interval(0).map(|_| Datum::Bool(true))),
    ]
}

fn made_timestamp(args: &Args<'_>) -> Result<i64, ValueError> {
    let date = (args.int4(0)?, args.int4(1)?, args.int4(2)?);
    datetime::make_timestamp(date, args.int4(3)?, args.int4(4)?, args.float8(5)?)
}

fn intervals() -> Vec<Definition> {
    let mut out = vec![
        row("justify_days(interval) interval", |a| interval::justify_days(a.interval(0)?).map(Datum::Interval)),
        row("justify_hours(interval) interval", |a| interval::justify_hours(a.interval(0)?).map(Datum::Interval)),
        row("justify_interval(interval) interval", |a| interval::justify_interval(a.interval(0)?).map(Datum::Interval)),
    ];
    // All arguments have a default.
    let types = ["int4", "int4", "int4", "int4", "int4", "int4", "float8"];
    for count in 0..=types.len() {
        out.push(row(&format!("make_interval({}) interval", types[..count].join(",")), make_interval));
    }
    out
}

fn make_interval(args: &Args<'_>) -> Result<Datum, ValueError> {
    let part = |at: usize| if at < args.len() { args.int4(at) } else { Ok(0) };
    let of = MakeInterval {
        years: part(0)?,
        months: part(1)?,
        weeks: part(2)?,
        days: part(3)?,
        hours: part(4)?,
        minutes: part(5)?,
        seconds: if args.len() > 6 { args.float8(6)? } else { 0.0 },
    };
    interval::make_interval(of).map(Datum::Interval)
}

fn ages() -> Vec<Definition> {
    vec![
        row("age(timestamp,timestamp) interval", |a| datetime::age(a.timestamp(0)?, a.timestamp(1)?).map(Datum::Interval)),
        row("age(timestamptz,timestamptz) interval", |a| {
            datetime::age_tz(a.timestamp(0)?, a.timestamp(1)?, a.settings().format.time_zone).map(Datum::Interval)
        })
        .stable(),
        row("age(timestamp) interval", |a| datetime::age(datetime::date_to_timestamp(today(a))?, a.timestamp(0)?).map(Datum::Interval))
            .stable(),
        row("age(timestamptz) interval", |a| {
            let zone = a.settings().format.time_zone;
            datetime::age_tz(datetime::date_to_timestamptz(today(a), zone)?, a.timestamp(0)?, zone).map(Datum::Interval)
        })
        .stable(),
    ]
}

fn today(args: &Args<'_>) -> i32 {
    let settings = args.settings();
    datetime::timestamptz_to_date(settings.transaction_micros, settings.format.time_zone)
}

fn overlaps() -> Vec<Definition> {
    let mut out = Vec::new();
    for ty in ["timestamp", "timestamptz", "time"] {
        for first_end in [ty, "interval"] {
            for second_end in [ty, "interval"] {
                let mut definition = row(&format!("overlaps({ty},{first_end},{ty},{second_end}) bool"), overlap_of).nullable();
                if ty == "timestamptz" && (first_end == "interval" || second_end == "interval") {
                    definition.volatility = Volatility::Stable;
                }
                out.push(definition);
            }
        }
    }
    out
}

fn overlap_of(args: &Args<'_>) -> Result<Datum, ValueError> {
    let (first, second) = (period(args, 0)?, period(args, 2)?);
    Ok(overlap::overlaps(first, second).map_or(Datum::Null, Datum::Bool))
}

/// The start and the end of a period, whose end may be told by its length.
fn period(args: &Args<'_>, at: usize) -> Result<(Option<i64>, Option<i64>), ValueError> {
    let point = |value: &Datum| match value {
        Datum::Timestamp(t) | Datum::Time(t) => Some(*t),
        _ => None,
    };
    let start = point(args.value(at));
    let end = match (start, args.value(at + 1)) {
        (Some(start), Datum::Interval(length)) => Some(match args.ty(at).scalar {
            common::types::Scalar::Time => datetime::time_add(start, *length),
            common::types::Scalar::Timestamptz => datetime::add_interval_tz(start, *length, args.settings().format.time_zone)?,
            _ => datetime::add_interval(start, *length)?,
        }),
        (_, end) => point(end),
    };
    Ok((start, end))
}
