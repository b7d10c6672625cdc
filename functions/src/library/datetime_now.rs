//! What time it is: of the transaction, of the statement, and by the clock of this node.
//!
//! Transaction and statement carry their time in the settings, so that every node sees the same; `clock_timestamp` and `timeofday` are
//! there to see time pass, and read the clock at each call.

use std::sync::LazyLock;
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::datum::Datum;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::{calendar, datetime, typmod, zone};

use crate::definition::{Args, Definition, row, text, wait};
use crate::error::Result;

/// Seconds have no more digits.
const DIGITS_MAX: i32 = 6;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("statement_timestamp() timestamptz", |a| Ok(Datum::Timestamp(a.settings().statement_micros))).stable(),
        row("current_date() date", |a| Ok(Datum::Date(datetime::timestamptz_to_date(now(a), a.settings().format.time_zone)))).stable(),
        row("clock_timestamp() timestamptz", |_| Ok(Datum::Timestamp(clock_micros()))).volatile(),
        row("timeofday() text", |a| text(time_of_day(a))).volatile(),
    ];
    for name in ["now", "transaction_timestamp", "current_timestamp"] {
        out.push(row(&format!("{name}() timestamptz"), |a| Ok(Datum::Timestamp(now(a)))).stable());
    }
    out.extend([
        row("current_timestamp(int4) timestamptz", |a| rounded(Datum::Timestamp(now(a)), Scalar::Timestamptz, a)).stable(),
        row("localtimestamp() timestamp", |a| Ok(Datum::Timestamp(local(a)))).stable(),
        row("localtimestamp(int4) timestamp", |a| rounded(Datum::Timestamp(local(a)), Scalar::Timestamp, a)).stable(),
        row("localtime() time", |a| Ok(local_time(a))).stable(),
        row("localtime(int4) time", |a| rounded(local_time(a), Scalar::Time, a)).stable(),
        wait("pg_sleep(float8) void", |a| Ok(seconds(a.float8(0)?))),
        wait("pg_sleep_for(interval) void", |a| {
            let now = clock_micros();
            let until = datetime::add_interval_tz(now, a.interval(0)?, a.settings().format.time_zone)?;
            Ok(seconds(seconds_between(now, until)))
        }),
        wait("pg_sleep_until(timestamptz) void", |a| Ok(seconds(seconds_between(clock_micros(), a.timestamp(0)?)))),
    ]);
    out
}

/// The seconds between two instants.
fn seconds_between(from: i64, to: i64) -> f64 {
    to.saturating_sub(from) as f64 / calendar::SECOND as f64
}

/// A time to wait: none for what is past, and for NaN.
fn seconds(seconds: f64) -> Duration {
    let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
    Duration::try_from_secs_f64(seconds).unwrap_or(longest)
}

fn now(args: &Args<'_>) -> i64 {
    args.settings().transaction_micros
}

/// The wall clock of the session's zone when the transaction began.
fn local(args: &Args<'_>) -> i64 {
    datetime::timestamptz_to_timestamp(now(args), args.settings().format.time_zone)
}

fn local_time(args: &Args<'_>) -> Datum {
    datetime::timestamp_to_time(local(args)).map_or(Datum::Null, Datum::Time)
}

fn rounded(value: Datum, ty: Scalar, args: &Args<'_>) -> Result<Datum, ValueError> {
    typmod::apply_typmod(value, SqlType::with_typmod(ty, args.int4(0)?.clamp(0, DIGITS_MAX)), true)
}

fn clock_micros() -> i64 {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    CLOCK.unix_micros()
}

/// `Tue Nov 24 13:47:13.123456 2026 UTC`.
fn time_of_day(args: &Args<'_>) -> String {
    let (zone_setting, instant) = (args.settings().format.time_zone, clock_micros());
    let moment = zone::moment(zone_setting, instant);
    let (days, time) = calendar::split(instant.saturating_add(i64::from(moment.offset) * calendar::SECOND));
    let civil = calendar::civil_from_days(days);
    let weekday = calendar::WEEKDAYS.get(calendar::weekday(days).unsigned_abs() as usize).map_or("", |name| &name[..3]);
    let month = calendar::MONTHS_SHORT.get((civil.month - 1).unsigned_abs() as usize).copied().unwrap_or("");
    let (hour, minute) = (time / calendar::HOUR, time / calendar::MINUTE % 60);
    let (second, micros) = (time / calendar::SECOND % 60, time % calendar::SECOND);
    format!("{weekday} {month} {:02} {hour:02}:{minute:02}:{second:02}.{micros:06} {} {}", civil.day, civil.year, moment.abbreviation)
}
