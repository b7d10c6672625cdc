//! Fields of dates and times: `extract` and `date_part`.
//!
//! `extract` answers numerics, `date_part` doubles; the fields are the same. A [`FieldReader`] has found the field once and reads it from
//! many values.

use bigdecimal::BigDecimal;
use common::datum::Datum;
use common::interval::Interval;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use num_bigint::BigInt;

use crate::calendar::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, DAY, HOUR, MINUTE, SECOND, civil_from_days, day_of_year, iso_week, julian_day, split, weekday,
};
use crate::datetime::is_finite_timestamp;
use crate::datetime_tokens::{Unit, unit};
use crate::decimal;
use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::interval_text::Parts;
use crate::timetz::TimeTz;
use crate::zone;

/// A field that `extract` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
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

pub(crate) fn field(name: &str) -> Option<Field> {
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

pub(crate) fn not_supported(name: &str, ty: Scalar) -> ValueError {
    ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("unit \"{name}\" not supported for type {}", SqlType::from(ty).display_name()))
}

pub(crate) fn not_recognized(name: &str, ty: Scalar) -> ValueError {
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
        Datum::Bytea(bytes) if scalar == Scalar::Timetz => {
            let value = TimeTz::from_bytes(bytes).ok_or_else(|| not_recognized(&lower, scalar))?;
            of_timetz(found, value).map(Some).ok_or_else(|| not_supported(&lower, scalar))
        }
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

/// The fields of the clock, times ten to the power of [`clock_digits`].
fn of_clock_scaled(found: Field, micros: i64) -> Option<i64> {
    Some(match found {
        Field::Unit(Unit::Microsecond | Unit::Millisecond | Unit::Second) => micros % MINUTE,
        Field::Unit(Unit::Minute) => micros / MINUTE % 60,
        Field::Unit(Unit::Hour) => micros / HOUR,
        _ => return None,
    })
}

/// The digits after the point of a field of the clock; no other field has any, except epoch and julian.
fn clock_digits(found: Field) -> i8 {
    match found {
        Field::Unit(Unit::Millisecond) => 3,
        Field::Unit(Unit::Second) => 6,
        _ => 0,
    }
}

/// The fields of the clock.
fn of_clock(found: Field, micros: i64) -> Option<Numeric> {
    of_clock_scaled(found, micros).map(|scaled| match clock_digits(found) {
        0 => whole(scaled),
        digits => decimal_of(i128::from(scaled), i64::from(digits)),
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

fn of_timetz(found: Field, value: TimeTz) -> Option<Numeric> {
    let offset = i64::from(value.offset);
    Some(match found {
        Field::Epoch => decimal_of(i128::from(value.utc()), 6),
        Field::Timezone => whole(offset),
        Field::TimezoneHour => whole(offset / 3600),
        Field::TimezoneMinute => whole(offset / 60 % 60),
        found => return of_clock(found, value.time),
    })
}

fn of_interval(found: Field, span: Interval) -> Option<Numeric> {
    if found == Field::Epoch {
        // Years of 365.25 days.
        let parts = Parts::from(span);
        let quarter_days = i128::from(parts.years) * 1461 + i128::from(parts.months) * 120 + i128::from(parts.days) * 4;
        return Some(decimal_of(quarter_days * i128::from(DAY / 4) + i128::from(span.micros), 6));
    }
    of_clock(found, span.micros).or_else(|| of_interval_scaled(found, span).map(whole))
}

fn of_interval_scaled(found: Field, span: Interval) -> Option<i64> {
    let parts = Parts::from(span);
    Some(match found {
        Field::Unit(Unit::Day) => parts.days,
        Field::Unit(Unit::Month) => parts.months,
        Field::Unit(Unit::Quarter) => parts.months / 3 + 1,
        Field::Unit(Unit::Year) => parts.years,
        Field::Unit(Unit::Decade) => parts.years / 10,
        Field::Unit(Unit::Century) => parts.years / 100,
        Field::Unit(Unit::Millennium) => parts.years / 1000,
        found => return of_clock_scaled(found, span.micros),
    })
}

/// A field of one type of dates or times.
#[derive(Clone, Copy, Debug)]
pub struct FieldReader {
    field: Field,
    ty: Scalar,
}

impl FieldReader {
    /// The field of a name; `None` where `extract` would answer an error.
    pub fn new(name: &str, ty: Scalar) -> Option<Self> {
        let field = field(&name.to_ascii_lowercase())?;
        let reader = Self { field, ty };
        let known = match ty {
            Scalar::Date => of_date(field, 0).is_some(),
            Scalar::Timestamp => of_timestamp(field, 0, None).ok()?.is_some(),
            Scalar::Timestamptz => of_timestamp(field, 0, Some(0)).ok()?.is_some(),
            Scalar::Time => of_time(field, 0).is_some(),
            Scalar::Interval => of_interval(field, Interval::default()).is_some(),
            _ => false,
        };
        known.then_some(reader)
    }

    /// Whether an infinite value's field is infinite; the other fields are NULL then. Intervals and times are finite.
    pub fn grows(self) -> bool {
        matches!(self.ty, Scalar::Date | Scalar::Timestamp | Scalar::Timestamptz)
            && matches!(of_infinity(self.field, true, false), Some(Some(_)))
    }

    /// The digits after the point that all its values have, where they fit into 64 bits: then the readers below answer the value times
    /// ten to the power of this. `None` for epoch and julian, which may have more.
    pub fn digits(self) -> Option<i8> {
        match (self.field, self.ty) {
            (Field::Epoch | Field::Unit(Unit::Julian), Scalar::Date) => Some(0),
            (Field::Epoch | Field::Unit(Unit::Julian), _) => None,
            (field, _) => Some(clock_digits(field)),
        }
    }

    /// The scaled field of a finite date.
    pub fn of_date(self, days: i32) -> Option<i64> {
        let days = i64::from(days);
        match self.field {
            Field::Unit(Unit::Julian) => Some(julian_day(days)),
            Field::Epoch => Some(days * 86_400),
            field => of_calendar(field, days),
        }
    }

    /// The scaled field of a finite timestamp on the clock of its zone, which is so many seconds east.
    pub fn of_timestamp(self, micros: i64, offset: i32) -> Option<i64> {
        let offset = i64::from(offset);
        let (days, time) = split(micros.saturating_add(offset * SECOND));
        match self.field {
            Field::Timezone => Some(offset),
            Field::TimezoneHour => Some(offset / 3600),
            Field::TimezoneMinute => Some(offset / 60 % 60),
            field => of_clock_scaled(field, time).or_else(|| of_calendar(field, days)),
        }
    }

    /// The scaled field of a time.
    pub fn of_time(self, micros: i64) -> Option<i64> {
        of_clock_scaled(self.field, micros)
    }

    /// The scaled field of an interval.
    pub fn of_interval(self, span: Interval) -> Option<i64> {
        of_interval_scaled(self.field, span)
    }

    /// `date_part` of a scaled field.
    pub fn float_of_scaled(self, scaled: i64) -> f64 {
        // Seconds and their fraction are added as doubles, as PostgreSQL does.
        let (seconds, fraction) = ((scaled / SECOND) as f64, (scaled % SECOND) as f64);
        match clock_digits(self.field) {
            0 => scaled as f64,
            3 => seconds * 1_000.0 + fraction / 1_000.0,
            _ => seconds + fraction / 1_000_000.0,
        }
    }
}

/// `date_part(field, value)` of any value; `None` is NULL.
pub fn date_part(name: &str, value: &Datum, ty: SqlType, settings: &FormatSettings) -> Result<Option<f64>, ValueError> {
    if let (Datum::Date(days), Scalar::Date) = (value, ty.scalar) {
        // A date is its midnight here, so that it has hours.
        let midnight = Datum::Timestamp(crate::datetime::date_to_timestamp(*days)?);
        return date_part(name, &midnight, Scalar::Timestamp.into(), settings);
    }
    let Some(number) = extract(name, value, ty, settings)? else { return Ok(None) };
    let Some(reader) = FieldReader::new(name, ty.scalar) else { return decimal::to_float8(&number).map(Some) };
    Ok(Some(match (reader.field, reader.digits(), value, &number) {
        (_, _, _, Numeric::Infinity) => f64::INFINITY,
        (_, _, _, Numeric::NegativeInfinity) => f64::NEG_INFINITY,
        (Field::Epoch, _, Datum::Timestamp(micros) | Datum::Time(micros), _) => *micros as f64 / SECOND as f64,
        (Field::Epoch, _, Datum::Interval(span), _) => interval_epoch(*span),
        (Field::Unit(Unit::Julian), _, Datum::Timestamp(micros), _) => {
            let offset = if ty.scalar == Scalar::Timestamptz { zone::offset_at(settings.time_zone, *micros) } else { 0 };
            let (days, time) = split(micros.saturating_add(i64::from(offset) * SECOND));
            let seconds = (time / SECOND) as f64 + (time % SECOND) as f64 / SECOND as f64;
            julian_day(days) as f64 + seconds / 86_400.0
        }
        (_, Some(digits), ..) => reader.float_of_scaled(number.to_unscaled(digits).and_then(|n| i64::try_from(n).ok()).unwrap_or_default()),
        (_, None, ..) => decimal::to_float8(&number)?,
    }))
}

/// Years of 365.25 days, months of 30.
fn interval_epoch(span: Interval) -> f64 {
    let (years, months) = (span.months / 12, span.months % 12);
    let mut seconds = span.micros as f64 / SECOND as f64;
    seconds += 365.25 * 86_400.0 * f64::from(years);
    seconds += 30.0 * 86_400.0 * f64::from(months);
    seconds + 86_400.0 * f64::from(span.days)
}
