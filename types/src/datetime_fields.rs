//! Taking dates and times apart: `extract`, `date_trunc`, `date_bin`, `age`.

use bigdecimal::BigDecimal;
use common::datum::Datum;
use common::interval::Interval;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use num_bigint::BigInt;

use crate::calendar::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, DAY, HOUR, INFINITY, MINUTE, NEGATIVE_INFINITY, SECOND, civil_from_days, day_of_year,
    days_from_civil, days_in_month, is_timestamp, iso_week, julian_day, split, weekday,
};
use crate::datetime::{is_finite_timestamp, overflow, timestamp_out_of_range};
use crate::datetime_tokens::{Unit, unit};
use crate::decimal;
use crate::error::ValueError;
use crate::format_settings::{FormatSettings, TimeZone};
use crate::interval_text::{Parts, out_of_range};
use crate::zone;

/// A field that `extract` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Unit(Unit),
    Dow,
    IsoDow,
    Doy,
    IsoYear,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "dow" => Field::Dow,
        "isodow" => Field::IsoDow,
        "doy" => Field::Doy,
        "isoyear" => Field::IsoYear,
        "epoch" => Field::Epoch,
        "julian" | "j" | "jd" => Field::Unit(Unit::Julian),
        "timezone" => Field::Timezone,
        name if name.starts_with("timezone_h") => Field::TimezoneHour,
        name if name.starts_with("timezone_m") => Field::TimezoneMinute,
        name => Field::Unit(unit(name)?),
    })
}

fn not_supported(name: &str, ty: Scalar) -> ValueError {
    ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("unit \"{name}\" not supported for type {}", SqlType::from(ty).display_name()))
}

fn not_recognized(name: &str, ty: Scalar) -> ValueError {
    ValueError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("unit \"{name}\" not recognized for type {}", SqlType::from(ty).display_name()),
    )
}

fn whole(value: i64) -> Numeric {
    Numeric::from(value)
}

/// `value × 10^-scale`.
fn decimal_of(value: i128, scale: i64) -> Numeric {
    Numeric::Finite(BigDecimal::new(BigInt::from(value), scale))
}

/// The year without a year 0: 1 BC is -1.
fn year_for_people(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

fn decade(year: i64) -> i64 {
    if year >= 0 { year / 10 } else { -((8 - (year - 1)) / 10) }
}

/// Centuries and millennia count from 1.
fn count_from_one(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) }
}

/// `extract(field from value)`; `None` is NULL: a field that an infinite value does not have.
pub fn extract(name: &str, value: &Datum, ty: SqlType, settings: &FormatSettings) -> Result<Option<Numeric>, ValueError> {
    let lower = name.to_ascii_lowercase();
    let scalar = ty.scalar;
    let found = field(&lower).ok_or_else(|| not_recognized(&lower, scalar))?;
    match value {
        Datum::Null => Ok(None),
        Datum::Date(days) => match *days {
            DATE_INFINITY | DATE_NEGATIVE_INFINITY => {
                of_infinity(found, *days > 0, scalar == Scalar::Date).ok_or_else(|| not_supported(&lower, scalar))
            }
            days => of_date(found, i64::from(days)).map(Some).ok_or_else(|| not_supported(&lower, scalar)),
        },
        Datum::Timestamp(micros) if !is_finite_timestamp(*micros) => {
            of_infinity(found, *micros > 0, false).ok_or_else(|| not_supported(&lower, scalar))
        }
        Datum::Timestamp(micros) => {
            let offset = (scalar == Scalar::Timestamptz).then(|| i64::from(zone::offset_at(settings.time_zone, *micros)));
            of_timestamp(found, *micros, offset)?.map(Some).ok_or_else(|| not_supported(&lower, scalar))
        }
        Datum::Time(micros) => of_time(found, *micros).map(Some).ok_or_else(|| not_supported(&lower, scalar)),
        Datum::Interval(span) => of_interval(found, *span).map(Some).ok_or_else(|| not_supported(&lower, scalar)),
        _ => Err(not_recognized(&lower, scalar)),
    }
}

/// Fields that grow with time are infinite, the others NULL. The outer `None`: not a field of the type.
fn of_infinity(found: Field, positive: bool, is_date: bool) -> Option<Option<Numeric>> {
    let infinite = Some(if positive { Numeric::Infinity } else { Numeric::NegativeInfinity });
    match found {
        Field::IsoYear | Field::Epoch => Some(infinite),
        Field::Unit(Unit::Year | Unit::Decade | Unit::Century | Unit::Millennium | Unit::Julian) => Some(infinite),
        Field::Unit(Unit::Day | Unit::Month | Unit::Quarter | Unit::Week) | Field::Dow | Field::IsoDow | Field::Doy => Some(None),
        _ if is_date => None,
        Field::Unit(Unit::Time | Unit::Unusable) => None,
        Field::Unit(_) | Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute => Some(None),
    }
}

/// The fields that belong to the calendar.
fn of_calendar(found: Field, days: i64) -> Option<i64> {
    let civil = civil_from_days(days);
    Some(match found {
        Field::Unit(Unit::Day) => civil.day,
        Field::Unit(Unit::Month) => civil.month,
        Field::Unit(Unit::Quarter) => (civil.month - 1) / 3 + 1,
        Field::Unit(Unit::Week) => iso_week(days).1,
        Field::Unit(Unit::Year) => year_for_people(civil.year),
        Field::Unit(Unit::Decade) => decade(civil.year),
        Field::Unit(Unit::Century) => count_from_one(civil.year, 100),
        Field::Unit(Unit::Millennium) => count_from_one(civil.year, 1000),
        Field::IsoYear => year_for_people(iso_week(days).0),
        Field::Dow => weekday(days),
        Field::IsoDow => (weekday(days) + 6) % 7 + 1,
        Field::Doy => day_of_year(days),
        _ => return None,
    })
}

fn of_date(found: Field, days: i64) -> Option<Numeric> {
    match found {
        Field::Unit(Unit::Julian) => Some(whole(julian_day(days))),
        Field::Epoch => Some(whole(days * 86_400)),
        found => of_calendar(found, days).map(whole),
    }
}

/// The fields of the clock.
fn of_clock(found: Field, micros: i64) -> Option<Numeric> {
    let in_minute = micros % MINUTE;
    Some(match found {
        Field::Unit(Unit::Microsecond) => whole(in_minute),
        Field::Unit(Unit::Millisecond) => decimal_of(i128::from(in_minute), 3),
        Field::Unit(Unit::Second) => decimal_of(i128::from(in_minute), 6),
        Field::Unit(Unit::Minute) => whole(micros / MINUTE % 60),
        Field::Unit(Unit::Hour) => whole(micros / HOUR),
        _ => return None,
    })
}

/// `offset` is there for a timestamp with time zone.
fn of_timestamp(found: Field, micros: i64, offset: Option<i64>) -> Result<Option<Numeric>, ValueError> {
    let (days, time) = split(micros.saturating_add(offset.unwrap_or(0) * SECOND));
    Ok(match (found, offset) {
        (Field::Epoch, _) => Some(decimal_of(i128::from(micros), 6)),
        (Field::Unit(Unit::Julian), _) => {
            let part = decimal::div(&whole(time), &whole(DAY))?;
            Some(decimal::add(&whole(julian_day(days)), &part)?)
        }
        (Field::Timezone, Some(offset)) => Some(whole(offset)),
        (Field::TimezoneHour, Some(offset)) => Some(whole(offset / 3600)),
        (Field::TimezoneMinute, Some(offset)) => Some(whole(offset / 60 % 60)),
        (found, _) => of_clock(found, time).or_else(|| of_calendar(found, days).map(whole)),
    })
}

fn of_time(found: Field, micros: i64) -> Option<Numeric> {
    match found {
        Field::Epoch => Some(decimal_of(i128::from(micros), 6)),
        found => of_clock(found, micros),
    }
}

fn of_interval(found: Field, span: Interval) -> Option<Numeric> {
    let parts = Parts::from(span);
    Some(match found {
        Field::Unit(Unit::Day) => whole(parts.days),
        Field::Unit(Unit::Month) => whole(parts.months),
        Field::Unit(Unit::Quarter) => whole(parts.months / 3 + 1),
        Field::Unit(Unit::Year) => whole(parts.years),
        Field::Unit(Unit::Decade) => whole(parts.years / 10),
        Field::Unit(Unit::Century) => whole(parts.years / 100),
        Field::Unit(Unit::Millennium) => whole(parts.years / 1000),
        Field::Epoch => {
            // Years of 365.25 days.
            let quarter_days = i128::from(parts.years) * 1461 + i128::from(parts.months) * 120 + i128::from(parts.days) * 4;
            decimal_of(quarter_days * i128::from(DAY / 4) + i128::from(span.micros), 6)
        }
        found => return of_clock(found, span.micros),
    })
}

/// Cuts a local time to a unit.
fn truncated(local: i64, to: Unit) -> Option<i64> {
    let (days, time) = split(local);
    let civil = civil_from_days(days);
    let year_start = |year: i64| days_from_civil(year, 1, 1) * DAY;
    // The first year of a span of years that counts from 1.
    let first_year = |length: i64| {
        if civil.year > 0 {
            (civil.year + length - 1) / length * length - (length - 1)
        } else {
            -((length - 1 - (civil.year - 1)) / length) * length + 1
        }
    };
    let clock = |unit: i64| days * DAY + time / unit * unit;
    Some(match to {
        Unit::Millennium => year_start(first_year(1000)),
        Unit::Century => year_start(first_year(100)),
        Unit::Decade => year_start(if civil.year > 0 { civil.year / 10 * 10 } else { -((8 - (civil.year - 1)) / 10) * 10 }),
        Unit::Year => year_start(civil.year),
        Unit::Quarter => days_from_civil(civil.year, (civil.month - 1) / 3 * 3 + 1, 1) * DAY,
        Unit::Month => days_from_civil(civil.year, civil.month, 1) * DAY,
        Unit::Week => (days - (weekday(days) + 6) % 7) * DAY,
        Unit::Day => days * DAY,
        Unit::Hour => clock(HOUR),
        Unit::Minute => clock(MINUTE),
        Unit::Second => clock(SECOND),
        Unit::Millisecond => clock(1000),
        Unit::Microsecond => local,
        Unit::Julian | Unit::Time | Unit::Unusable => return None,
    })
}

fn trunc_unit(name: &str, ty: Scalar) -> Result<(String, Unit), ValueError> {
    let lower = name.to_ascii_lowercase();
    match field(&lower) {
        Some(Field::Unit(found)) if found != Unit::Julian => Ok((lower, found)),
        Some(Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute) => Err(not_supported(&lower, ty)),
        _ => Err(not_recognized(&lower, ty)),
    }
}

/// `date_trunc(field, timestamp)`.
pub fn date_trunc(name: &str, timestamp: i64) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    let (lower, to) = trunc_unit(name, Scalar::Timestamp)?;
    let cut = truncated(timestamp, to).ok_or_else(|| not_supported(&lower, Scalar::Timestamp))?;
    if is_timestamp(cut) { Ok(cut) } else { Err(timestamp_out_of_range()) }
}

/// `date_trunc(field, timestamptz)` and `date_trunc(field, timestamptz, zone)`.
pub fn date_trunc_tz(name: &str, timestamp: i64, time_zone: TimeZone) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    let (lower, to) = trunc_unit(name, Scalar::Timestamptz)?;
    let offset = i64::from(zone::offset_at(time_zone, timestamp)) * SECOND;
    let cut = truncated(timestamp.saturating_add(offset), to).ok_or_else(|| not_supported(&lower, Scalar::Timestamptz))?;
    // Within a day the offset stays; an hour that the clock shows twice is cut where it is.
    let within_day = matches!(to, Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond);
    let instant = if within_day { cut.checked_sub(offset) } else { zone::to_utc(time_zone, cut) };
    instant.filter(|t| is_timestamp(*t)).ok_or_else(timestamp_out_of_range)
}

/// `date_trunc(field, interval)`.
pub fn date_trunc_interval(name: &str, span: Interval) -> Result<Interval, ValueError> {
    let lower = name.to_ascii_lowercase();
    let (_, to) = trunc_unit(name, Scalar::Interval)?;
    let months = |unit: i32| Interval { months: span.months / unit * unit, days: 0, micros: 0 };
    let clock = |unit: i64| Interval { micros: span.micros / unit * unit, ..span };
    Ok(match to {
        Unit::Millennium => months(12_000),
        Unit::Century => months(1_200),
        Unit::Decade => months(120),
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Day => Interval { micros: 0, ..span },
        Unit::Hour => clock(HOUR),
        Unit::Minute => clock(MINUTE),
        Unit::Second => clock(SECOND),
        Unit::Millisecond => clock(1000),
        Unit::Microsecond => span,
        Unit::Week => {
            return Err(ValueError::Other {
                sqlstate: SqlState::FEATURE_NOT_SUPPORTED,
                message: format!("unit \"{lower}\" not supported for type interval"),
                detail: Some("Months usually have fractional weeks.".to_owned()),
                hint: None,
            });
        }
        Unit::Julian | Unit::Time | Unit::Unusable => return Err(not_supported(&lower, Scalar::Interval)),
    })
}

/// `date_bin(stride, source, origin)`, with and without time zone.
pub fn date_bin(stride: Interval, source: i64, origin: i64) -> Result<i64, ValueError> {
    if !is_finite_timestamp(source) {
        return Ok(source);
    }
    if !is_finite_timestamp(origin) {
        return Err(overflow("origin out of range"));
    }
    if stride.months != 0 {
        return Err(ValueError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let length = i64::from(stride.days).checked_mul(DAY).and_then(|days| days.checked_add(stride.micros)).ok_or_else(out_of_range)?;
    if length <= 0 {
        return Err(overflow("stride must be greater than zero"));
    }
    let since = source.checked_sub(origin).ok_or_else(out_of_range)?;
    let binned = origin.checked_add(since.div_euclid(length) * length);
    binned.filter(|t| is_timestamp(*t)).ok_or_else(timestamp_out_of_range)
}

/// `age(a, b)` of timestamps: years, months, days and a time between two wall clocks.
pub fn age(a: i64, b: i64) -> Result<Interval, ValueError> {
    if !is_finite_timestamp(a) || !is_finite_timestamp(b) {
        return Err(timestamp_out_of_range());
    }
    // From the earlier to the later; the sign comes last.
    let (later, earlier) = if a < b { (b, a) } else { (a, b) };
    let ((later_days, later_time), (earlier_days, earlier_time)) = (split(later), split(earlier));
    let (to, from) = (civil_from_days(later_days), civil_from_days(earlier_days));
    let mut micros = later_time - earlier_time;
    let mut days = to.day - from.day;
    let mut months = (to.year - from.year) * 12 + to.month - from.month;
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    // A month is as long as the earlier one's.
    while days < 0 {
        days += days_in_month(from.year, from.month);
        months -= 1;
    }
    let sign = if a < b { -1 } else { 1 };
    let months = i32::try_from(months * sign).map_err(|_| out_of_range())?;
    Ok(Interval { months, days: (days * sign) as i32, micros: micros * sign })
}

/// `age(a, b)` of timestamps with time zone, on the clock of the session's zone.
pub fn age_tz(a: i64, b: i64, time_zone: TimeZone) -> Result<Interval, ValueError> {
    let local = |t: i64| if t == INFINITY || t == NEGATIVE_INFINITY { t } else { zone::to_local(time_zone, t) };
    age(local(a), local(b))
}
