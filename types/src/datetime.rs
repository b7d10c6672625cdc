//! Arithmetic and conversions of date, time, timestamp and timestamp with time zone.
//!
//! Months and days of an interval move a timestamp with time zone on the session's wall clock, its microseconds on the world's.
//! Infinite values stay as they are, except where a difference would have to be told. Reading, writing and taking fields out are in
//! the other `datetime` modules.

use common::datum::Datum;
use common::interval::Interval;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};

pub use crate::datetime_cut::{Truncation, age, age_tz, date_bin, date_trunc, date_trunc_interval, date_trunc_tz};
pub use crate::datetime_extract::{FieldReader, date_part, extract};
pub use crate::datetime_parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub use crate::datetime_print::{write_date, write_time, write_timestamp, write_timestamptz};

use crate::calendar::{
    Civil, DATE_INFINITY, DATE_NEGATIVE_INFINITY, DAY, HOUR, INFINITY, MINUTE, NEGATIVE_INFINITY, SECOND, civil_from_days, days_from_civil,
    days_in_month, is_date, is_timestamp, split,
};
use crate::datetime_tokens::FieldError;
use crate::error::ValueError;
use crate::format_settings::{FormatSettings, TimeZone};
use crate::interval;
use crate::timetz::TimeTz;
use crate::zone;

/// 22008.
pub(crate) fn overflow(message: impl Into<String>) -> ValueError {
    ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

pub(crate) fn timestamp_out_of_range() -> ValueError {
    overflow("timestamp out of range")
}

fn checked(micros: Option<i64>) -> Result<i64, ValueError> {
    micros.filter(|t| is_timestamp(*t)).ok_or_else(timestamp_out_of_range)
}

/// Whether a timestamp is neither infinity.
pub fn is_finite_timestamp(micros: i64) -> bool {
    micros != INFINITY && micros != NEGATIVE_INFINITY
}

/// Whether a date is neither infinity.
pub fn is_finite_date(days: i32) -> bool {
    days != DATE_INFINITY && days != DATE_NEGATIVE_INFINITY
}

/// A day some months later, at most the last of its month.
fn add_months(days: i64, months: i32) -> i64 {
    let Civil { year, month, day } = civil_from_days(days);
    let sum = month - 1 + i64::from(months);
    let (year, month) = (year + sum.div_euclid(12), sum.rem_euclid(12) + 1);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}

/// The calendar part of an interval added to a local time.
fn add_calendar(local: i64, months: i32, days: i32) -> Option<i64> {
    let (day, time) = split(local);
    let day = if months == 0 { day } else { add_months(day, months) };
    (day + i64::from(days)).checked_mul(DAY)?.checked_add(time)
}

/// `timestamp + interval`.
pub fn add_interval(timestamp: i64, span: Interval) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    let moved = checked(add_calendar(timestamp, span.months, span.days))?;
    checked(moved.checked_add(span.micros))
}

/// `timestamp - interval`.
pub fn sub_interval(timestamp: i64, span: Interval) -> Result<i64, ValueError> {
    add_interval(timestamp, interval::neg(span)?)
}

/// `timestamptz + interval`, on the clock of a zone.
pub fn add_interval_tz(timestamp: i64, span: Interval, time_zone: TimeZone) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    let mut moved = timestamp;
    for (months, days) in [(span.months, 0), (0, span.days)] {
        if months != 0 || days != 0 {
            let local = checked(add_calendar(zone::to_local(time_zone, moved), months, days))?;
            moved = checked(zone::to_utc(time_zone, local))?;
        }
    }
    checked(moved.checked_add(span.micros))
}

/// `timestamptz - interval`, on the clock of a zone.
pub fn sub_interval_tz(timestamp: i64, span: Interval, time_zone: TimeZone) -> Result<i64, ValueError> {
    add_interval_tz(timestamp, interval::neg(span)?, time_zone)
}

/// `timestamp - timestamp`, with and without time zone: days and a time.
pub fn sub_timestamps(a: i64, b: i64) -> Result<Interval, ValueError> {
    if !is_finite_timestamp(a) || !is_finite_timestamp(b) {
        return Err(overflow("cannot subtract infinite timestamps"));
    }
    let micros = a.checked_sub(b).ok_or_else(|| overflow("interval out of range"))?;
    interval::justify_hours(Interval { months: 0, days: 0, micros })
}

/// `date + integer`.
pub fn add_days(date: i32, days: i32) -> Result<i32, ValueError> {
    if !is_finite_date(date) {
        return Ok(date);
    }
    let sum = i64::from(date) + i64::from(days);
    i32::try_from(sum).ok().filter(|_| is_date(sum)).ok_or_else(|| overflow("date out of range"))
}

/// `date - integer`.
pub fn sub_days(date: i32, days: i32) -> Result<i32, ValueError> {
    match days.checked_neg() {
        _ if !is_finite_date(date) => Ok(date),
        Some(days) => add_days(date, days),
        None => Err(overflow("date out of range")),
    }
}

/// `date - date`, in days.
pub fn sub_dates(a: i32, b: i32) -> Result<i32, ValueError> {
    if !is_finite_date(a) || !is_finite_date(b) {
        return Err(overflow("cannot subtract infinite dates"));
    }
    a.checked_sub(b).ok_or_else(|| ValueError::out_of_range("integer"))
}

/// `date + time`.
pub fn date_and_time(date: i32, time: i64) -> Result<i64, ValueError> {
    let midnight = date_to_timestamp(date)?;
    if !is_finite_timestamp(midnight) {
        return Ok(midnight);
    }
    checked(midnight.checked_add(time))
}

/// `time + interval`, around midnight.
pub fn time_add(time: i64, span: Interval) -> i64 {
    // Wraps as PostgreSQL's does.
    time.wrapping_add(span.micros).rem_euclid(DAY)
}

/// `time - interval`, around midnight.
pub fn time_sub(time: i64, span: Interval) -> i64 {
    time.wrapping_sub(span.micros).rem_euclid(DAY)
}

/// `time - time`.
pub fn sub_times(a: i64, b: i64) -> Interval {
    Interval { months: 0, days: 0, micros: a - b }
}

/// Midnight of a date.
pub fn date_to_timestamp(date: i32) -> Result<i64, ValueError> {
    match date {
        DATE_INFINITY => return Ok(INFINITY),
        DATE_NEGATIVE_INFINITY => return Ok(NEGATIVE_INFINITY),
        _ => {}
    }
    let micros = i64::from(date).checked_mul(DAY).filter(|t| is_timestamp(*t));
    micros.ok_or_else(|| overflow("date out of range for timestamp"))
}

/// Midnight of a date in a zone.
pub fn date_to_timestamptz(date: i32, time_zone: TimeZone) -> Result<i64, ValueError> {
    let local = date_to_timestamp(date)?;
    if !is_finite_timestamp(local) {
        return Ok(local);
    }
    let instant = zone::to_utc(time_zone, local).filter(|t| is_timestamp(*t));
    instant.ok_or_else(|| overflow("date out of range for timestamp"))
}

/// The date of a timestamp.
pub fn timestamp_to_date(timestamp: i64) -> i32 {
    match timestamp {
        INFINITY => DATE_INFINITY,
        NEGATIVE_INFINITY => DATE_NEGATIVE_INFINITY,
        finite => split(finite).0 as i32,
    }
}

/// The date of an instant in a zone.
pub fn timestamptz_to_date(timestamp: i64, time_zone: TimeZone) -> i32 {
    timestamp_to_date(timestamptz_to_timestamp(timestamp, time_zone))
}

/// The wall clock of a zone at an instant.
pub fn timestamptz_to_timestamp(timestamp: i64, time_zone: TimeZone) -> i64 {
    if is_finite_timestamp(timestamp) { zone::to_local(time_zone, timestamp) } else { timestamp }
}

/// The instant at which the wall clock of a zone shows a time.
pub fn timestamp_to_timestamptz(timestamp: i64, time_zone: TimeZone) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    checked(zone::to_utc(time_zone, timestamp))
}

/// The time of the day; `None` (NULL) for the infinities.
pub fn timestamp_to_time(timestamp: i64) -> Option<i64> {
    is_finite_timestamp(timestamp).then(|| split(timestamp).1)
}

/// The time of the day that an interval comes to.
pub fn interval_to_time(span: Interval) -> i64 {
    span.micros.rem_euclid(DAY)
}

/// A time as an interval since midnight.
pub fn time_to_interval(time: i64) -> Interval {
    Interval { months: 0, days: 0, micros: time }
}

/// A zone by the words of `AT TIME ZONE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneName {
    Zone(TimeZone),
    /// An abbreviation whose offset depends on the time.
    Abbreviation(chrono_tz::Tz, &'static str),
}

/// Reads the zone of `AT TIME ZONE '…'`.
pub fn zone_name(text: &str) -> Result<ZoneName, ValueError> {
    if let Some(crate::zone_abbreviations::Meaning::Zone(zone)) = crate::zone_abbreviations::find(text)
        && let (Some(tz), Some(name)) = (zone::named(zone), crate::zone_abbreviations::name(text))
    {
        return Ok(ZoneName::Abbreviation(tz, name));
    }
    let found = zone::time_zone(text).map(ZoneName::Zone);
    found.ok_or_else(|| ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{text}\" not recognized")))
}

/// Reads the zone of `AT TIME ZONE INTERVAL '…'`.
pub fn zone_of_interval(span: Interval) -> Result<ZoneName, ValueError> {
    if span.months != 0 || span.days != 0 {
        let mut text = Vec::new();
        crate::interval_text::write(span, crate::format_settings::IntervalStyle::Postgres, &mut text);
        return Err(ValueError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("interval time zone \"{}\" must not include months or days", String::from_utf8_lossy(&text)),
        ));
    }
    let seconds = i32::try_from(span.micros / SECOND).map_err(|_| timestamp_out_of_range())?;
    Ok(ZoneName::Zone(TimeZone::Fixed(seconds)))
}

/// `timestamp AT TIME ZONE zone`: the instant at which that zone's clock shows the timestamp.
pub fn timestamp_at_zone(timestamp: i64, zone: ZoneName) -> Result<i64, ValueError> {
    match zone {
        ZoneName::Zone(zone) => timestamp_to_timestamptz(timestamp, zone),
        ZoneName::Abbreviation(..) if !is_finite_timestamp(timestamp) => Ok(timestamp),
        ZoneName::Abbreviation(tz, name) => {
            let near = zone::to_utc(TimeZone::Named(tz), timestamp).unwrap_or(timestamp);
            checked(timestamp.checked_sub(i64::from(zone::offset_of_abbreviation(tz, name, near)) * SECOND))
        }
    }
}

/// The instant at which the clock of a zone that is written as in a literal shows the timestamp: a name, an abbreviation, or an offset
/// with its sign, counted east.
pub fn timestamp_at_written_zone(timestamp: i64, zone: &str) -> Result<i64, ValueError> {
    if zone.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(ValueError::Other {
            sqlstate: SqlState::INVALID_PARAMETER_VALUE,
            message: format!("invalid input syntax for type numeric time zone: \"{zone}\""),
            detail: None,
            hint: Some("Numeric time zones must have \"-\" or \"+\" as first character.".to_owned()),
        });
    }
    let refused = |message: String| ValueError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    if !zone.starts_with(['+', '-']) {
        return timestamp_at_zone(timestamp, zone_name(zone)?);
    }
    let offset = crate::datetime_parse::offset_seconds(zone).map_err(|error| match error {
        FieldError::ZoneOverflow => refused(format!("numeric time zone \"{zone}\" out of range")),
        _ => refused(format!("time zone \"{zone}\" not recognized")),
    })?;
    checked(timestamp.checked_sub(offset * SECOND))
}

/// `timestamptz AT TIME ZONE zone`: what that zone's clock shows at the instant.
pub fn timestamptz_at_zone(timestamp: i64, zone: ZoneName) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    match zone {
        ZoneName::Zone(zone) => checked(Some(zone::to_local(zone, timestamp))),
        ZoneName::Abbreviation(tz, name) => {
            checked(timestamp.checked_add(i64::from(zone::offset_of_abbreviation(tz, name, timestamp)) * SECOND))
        }
    }
}

/// A negative year is BC.
fn astronomical(year: i32) -> i64 {
    if year < 0 { i64::from(year) + 1 } else { i64::from(year) }
}

/// The day that the parts name; `None` when there is none. It may be too far away for a date.
fn named_day(year: i32, month: i32, day: i32) -> Option<i64> {
    let (shown, month, day) = (astronomical(year), i64::from(month), i64::from(day));
    let exists = year != 0 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(shown, month);
    exists.then(|| days_from_civil(shown, month, day))
}

/// `make_date`; a negative year is BC.
pub fn make_date(year: i32, month: i32, day: i32) -> Result<i32, ValueError> {
    let shown = astronomical(year);
    let days =
        named_day(year, month, day).ok_or_else(|| overflow(format!("date field value out of range: {shown}-{month:02}-{day:02}")))?;
    let fitting = i32::try_from(days).ok().filter(|_| is_date(days));
    fitting.ok_or_else(|| overflow(format!("date out of range: {shown}-{month:02}-{day:02}")))
}

/// C's `%02g` of seconds.
fn shown_seconds(seconds: f64) -> String {
    let mut out = Vec::new();
    // %g has six digits.
    crate::text_output::format_float8(seconds, -9, &mut out);
    format!("{:0>2}", String::from_utf8_lossy(&out))
}

fn clock_micros(hour: i32, minute: i32, seconds: f64) -> Option<i64> {
    let micros = (seconds * SECOND as f64).round_ties_even();
    let in_range = (0..=24).contains(&hour) && (0..=59).contains(&minute) && (0.0..=60.0 * SECOND as f64).contains(&micros);
    let total = i64::from(hour) * HOUR + i64::from(minute) * MINUTE + if in_range { micros as i64 } else { 0 };
    (in_range && total <= DAY).then_some(total)
}

/// `make_time`.
pub fn make_time(hour: i32, minute: i32, seconds: f64) -> Result<i64, ValueError> {
    clock_micros(hour, minute, seconds)
        .ok_or_else(|| overflow(format!("time field value out of range: {hour}:{minute:02}:{}", shown_seconds(seconds))))
}

/// `make_timestamp`.
pub fn make_timestamp(date: (i32, i32, i32), hour: i32, minute: i32, seconds: f64) -> Result<i64, ValueError> {
    let (year, month, day) = date;
    let days = named_day(year, month, day);
    let days = days.ok_or_else(|| overflow(format!("date field value out of range: {year}-{month:02}-{day:02}")))?;
    let time = make_time(hour, minute, seconds)?;
    days.checked_mul(DAY).and_then(|t| t.checked_add(time)).filter(|t| is_timestamp(*t)).ok_or_else(|| {
        overflow(format!("timestamp out of range: {year}-{month:02}-{day:02} {hour}:{minute:02}:{}", shown_seconds(seconds)))
    })
}

/// `to_timestamp(double precision)`: seconds since 1970.
pub fn from_epoch(seconds: f64) -> Result<i64, ValueError> {
    if seconds.is_nan() {
        return Err(overflow("timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { INFINITY } else { NEGATIVE_INFINITY });
    }
    let micros = (seconds * SECOND as f64).round_ties_even();
    let fits = micros.abs() < 2_f64.powi(63);
    (fits && is_timestamp(micros as i64)).then_some(micros as i64).ok_or_else(|| {
        let mut text = Vec::new();
        crate::text_output::format_float8(seconds, -9, &mut text);
        overflow(format!("timestamp out of range: \"{}\"", String::from_utf8_lossy(&text)))
    })
}

fn timetz_datum(value: TimeTz) -> Datum {
    Datum::Bytea(value.to_bytes().to_vec().into())
}

/// A cast between date, time, timestamp, timestamptz and interval; `None` when there is none.
pub fn cast(value: &Datum, from: SqlType, to: Scalar, settings: &FormatSettings) -> Option<Result<Datum, ValueError>> {
    let zone = settings.time_zone;
    Some(match (value, from.scalar, to) {
        (Datum::Null, ..) => Ok(Datum::Null),
        (Datum::Date(v), _, Scalar::Timestamp) => date_to_timestamp(*v).map(Datum::Timestamp),
        (Datum::Date(v), _, Scalar::Timestamptz) => date_to_timestamptz(*v, zone).map(Datum::Timestamp),
        (Datum::Timestamp(v), Scalar::Timestamptz, Scalar::Date) => Ok(Datum::Date(timestamptz_to_date(*v, zone))),
        (Datum::Timestamp(v), _, Scalar::Date) => Ok(Datum::Date(timestamp_to_date(*v))),
        (Datum::Timestamp(v), Scalar::Timestamptz, Scalar::Timestamp) => Ok(Datum::Timestamp(timestamptz_to_timestamp(*v, zone))),
        (Datum::Timestamp(v), Scalar::Timestamp, Scalar::Timestamptz) => timestamp_to_timestamptz(*v, zone).map(Datum::Timestamp),
        (Datum::Timestamp(v), scalar, Scalar::Time) => {
            let local = if scalar == Scalar::Timestamptz { timestamptz_to_timestamp(*v, zone) } else { *v };
            Ok(timestamp_to_time(local).map_or(Datum::Null, Datum::Time))
        }
        (Datum::Time(v), _, Scalar::Timetz) => Ok(timetz_datum(TimeTz::of_time(*v, settings))),
        (Datum::Timestamp(v), Scalar::Timestamptz, Scalar::Timetz) => {
            Ok(TimeTz::of_timestamptz(*v, zone).map_or(Datum::Null, timetz_datum))
        }
        (Datum::Bytea(v), Scalar::Timetz, Scalar::Time) => Ok(TimeTz::from_bytes(v).map_or(Datum::Null, |v| Datum::Time(v.time))),
        (Datum::Time(v), _, Scalar::Interval) => Ok(Datum::Interval(time_to_interval(*v))),
        (Datum::Interval(v), _, Scalar::Time) => Ok(Datum::Time(interval_to_time(*v))),
        (value, scalar, to) if scalar == to => Ok(value.clone()),
        _ => return None,
    })
}
