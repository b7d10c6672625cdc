//! Cutting dates and times to a unit, and their distance in years, months and days: `date_trunc`, `date_bin`, `age`.

use common::interval::Interval;
use common::sqlstate::SqlState;
use common::types::Scalar;

use crate::calendar::{
    DAY, HOUR, INFINITY, MINUTE, NEGATIVE_INFINITY, SECOND, civil_from_days, days_from_civil, days_in_month, is_timestamp, split, weekday,
};
use crate::datetime::{is_finite_timestamp, overflow, timestamp_out_of_range};
use crate::datetime_extract::{Field, field, not_recognized, not_supported};
use crate::datetime_tokens::Unit;
use crate::error::ValueError;
use crate::format_settings::TimeZone;
use crate::interval_text::out_of_range;
use crate::zone;

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

/// A unit to cut timestamps to, found once for many values.
#[derive(Clone, Copy, Debug)]
pub struct Truncation(Unit);

impl Truncation {
    /// The unit of a name, for timestamps with or without time zone; the error names that type.
    pub fn new(name: &str, ty: Scalar) -> Result<Self, ValueError> {
        let (lower, to) = trunc_unit(name, ty)?;
        if truncated(0, to).is_some() { Ok(Self(to)) } else { Err(not_supported(&lower, ty)) }
    }

    /// `date_trunc` of a timestamp.
    pub fn timestamp(self, timestamp: i64) -> Result<i64, ValueError> {
        if !is_finite_timestamp(timestamp) {
            return Ok(timestamp);
        }
        truncated(timestamp, self.0).filter(|t| is_timestamp(*t)).ok_or_else(timestamp_out_of_range)
    }

    /// `date_trunc` of a timestamp with time zone, on the clock of a zone.
    pub fn timestamptz(self, timestamp: i64, time_zone: TimeZone) -> Result<i64, ValueError> {
        if !is_finite_timestamp(timestamp) {
            return Ok(timestamp);
        }
        let offset = i64::from(zone::offset_at(time_zone, timestamp)) * SECOND;
        let cut = truncated(timestamp.saturating_add(offset), self.0).ok_or_else(timestamp_out_of_range)?;
        // Within a day the offset stays; an hour that the clock shows twice is cut where it is.
        let within_day = matches!(self.0, Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond);
        let instant = if within_day { cut.checked_sub(offset) } else { zone::to_utc(time_zone, cut) };
        instant.filter(|t| is_timestamp(*t)).ok_or_else(timestamp_out_of_range)
    }
}

/// `date_trunc(field, timestamp)`. Infinity has no unit that could be wrong.
pub fn date_trunc(name: &str, timestamp: i64) -> Result<i64, ValueError> {
    if is_finite_timestamp(timestamp) { Truncation::new(name, Scalar::Timestamp)?.timestamp(timestamp) } else { Ok(timestamp) }
}

/// `date_trunc(field, timestamptz)` and `date_trunc(field, timestamptz, zone)`.
pub fn date_trunc_tz(name: &str, timestamp: i64, time_zone: TimeZone) -> Result<i64, ValueError> {
    if !is_finite_timestamp(timestamp) {
        return Ok(timestamp);
    }
    Truncation::new(name, Scalar::Timestamptz)?.timestamptz(timestamp, time_zone)
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
