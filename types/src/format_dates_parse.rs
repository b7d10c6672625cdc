//! `to_date` and `to_timestamp` with a template: the fields that were read, put together.

use common::datum::Datum;
use common::types::{Scalar, SqlType};

use crate::calendar::{self, DAY, HOUR, MINUTE, SECOND, days_from_civil, is_date, is_timestamp};
use crate::datetime::{overflow, timestamp_out_of_range};
use crate::datetime_tokens::FieldError;
use crate::error::ValueError;
use crate::format_date_keywords::{DateMode, date_template};
use crate::format_dates_read::{Fields, read, refused};
use crate::format_settings::TimeZone;
use crate::zone::MAX_OFFSET_HOURS;
use crate::{typmod, zone};

/// `to_date(text, text)`.
pub fn to_date(text: &str, template: &str) -> Result<i32, ValueError> {
    let read = put_together(read(text, &date_template(template))?, text)?;
    let days = days_from_civil(read.year, read.month, read.day);
    let date = i32::try_from(days).ok().filter(|_| is_date(days));
    date.ok_or_else(|| overflow(format!("date out of range: \"{text}\"")))
}

/// `to_timestamp(text, text)`; a text without a zone is of the clock of `time_zone`.
pub fn to_timestamp(text: &str, template: &str, time_zone: TimeZone) -> Result<i64, ValueError> {
    let fields = read(text, &date_template(template))?;
    let precision = fields.precision;
    let read = put_together(fields, text)?;
    let time = read.hour * HOUR + read.minute * MINUTE + read.second * SECOND + read.micros;
    let local = days_from_civil(read.year, read.month, read.day).checked_mul(DAY).and_then(|t| t.checked_add(time));
    let local = local.ok_or_else(timestamp_out_of_range)?;
    let instant = match read.offset {
        Some(offset) => local.checked_sub(offset * SECOND),
        None => zone::to_utc(time_zone, local),
    };
    let instant = instant.filter(|t| is_timestamp(*t)).ok_or_else(timestamp_out_of_range)?;
    if precision == 0 {
        return Ok(instant);
    }
    match typmod::apply_typmod(Datum::Timestamp(instant), SqlType::with_typmod(Scalar::Timestamptz, precision), true)? {
        Datum::Timestamp(rounded) => Ok(rounded),
        _ => Ok(instant),
    }
}

/// The fields put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Read {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Seconds east of Greenwich, if the text has a zone.
    offset: Option<i64>,
}

/// Puts the fields together; `text` is for errors.
fn put_together(fields: Fields, text: &str) -> Result<Read, ValueError> {
    let (hour, minute, second) = clock(&fields)?;
    let micros = i64::from(fields.millis) * 1_000 + i64::from(fields.micros);
    let overflow = || FieldError::FieldOverflow.with_text("timestamp", text);
    let offset = offset(&fields).map_err(|error| error.with_text("timestamp", text));
    let Date { year, month, day, has } = date(fields)?;
    let whole = has.year && has.month && has.day;
    let wrong_month = has.month && !(1..=12).contains(&month);
    let wrong_day = has.day && !(1..=31).contains(&day);
    if wrong_month || wrong_day || whole && day > calendar::days_in_month(year, month) {
        return Err(overflow());
    }
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second) && (0..1_000_000).contains(&micros);
    if !is_time {
        return Err(overflow());
    }
    let offset = offset?;
    Ok(Read { year, month, day, hour, minute, second, micros, offset })
}

fn offset(fields: &Fields) -> Result<Option<i64>, FieldError> {
    if fields.zone_sign == 0 {
        return Ok(None);
    }
    let (hour, minute) = (i64::from(fields.zone_hour), i64::from(fields.zone_minute));
    if !(0..=MAX_OFFSET_HOURS).contains(&hour) || !(0..60).contains(&minute) {
        return Err(FieldError::ZoneOverflow);
    }
    Ok(Some((hour * 60 + minute) * 60 * i64::from(fields.zone_sign)))
}

fn clock(fields: &Fields) -> Result<(i64, i64, i64), ValueError> {
    let of_day = fields.second_of_day;
    let pick = |field: i32, otherwise: i32| i64::from(if field != 0 { field } else { otherwise });
    let mut hour = pick(fields.hour, of_day / 3600);
    let minute = pick(fields.minute, of_day % 3600 / 60);
    let second = pick(fields.second, of_day % 60);
    if fields.is_12_hours {
        if !(1..=12).contains(&hour) {
            return Err(refused(
                format!("hour \"{hour}\" is invalid for the 12-hour clock"),
                None,
                Some("Use the 24-hour clock, or give an hour between 1 and 12."),
            ));
        }
        hour = hour % 12 + if fields.afternoon != 0 { 12 } else { 0 };
    }
    Ok((hour, minute, second))
}

/// Which parts of a date are known.
#[derive(Clone, Copy, Default)]
struct Known {
    year: bool,
    month: bool,
    day: bool,
}

const ALL_KNOWN: Known = Known { year: true, month: true, day: true };

struct Date {
    year: i64,
    month: i64,
    day: i64,
    has: Known,
}

impl Date {
    fn set_days(&mut self, days: i64) {
        let civil = calendar::civil_from_days(days);
        (self.year, self.month, self.day, self.has) = (civil.year, civil.month, civil.day, ALL_KNOWN);
    }
}

fn year_of(fields: &Fields) -> Option<i64> {
    let bc = fields.before_christ != 0;
    let century = if bc { -i64::from(fields.century) } else { i64::from(fields.century) };
    if fields.year != 0 {
        if century != 0 && fields.year_digits <= 2 {
            let in_century = i64::from(fields.year % 100);
            return Some(match (in_century, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (year, true) => (century - 1) * 100 + year,
                (year, false) => (century + 1) * 100 - year + 1,
            });
        }
        let year = if bc { -i64::from(fields.year) } else { i64::from(fields.year) };
        return Some(if year < 0 { year + 1 } else { year });
    }
    match century {
        0 => None,
        century if century > 0 => Some((century - 1) * 100 + 1),
        century => Some(century * 100 + 1),
    }
}

fn date(mut fields: Fields) -> Result<Date, ValueError> {
    let is_iso = fields.mode == Some(DateMode::IsoWeek);
    let year = year_of(&fields);
    let mut date = Date { year: year.unwrap_or(0), month: 1, day: 1, has: Known { year: year.is_some(), ..Known::default() } };
    if fields.julian != 0 {
        date.set_days(i64::from(fields.julian) - calendar::julian_day(0));
    }
    if fields.week != 0 && is_iso {
        let monday = calendar::iso_year_start(date.year) + (i64::from(fields.week) - 1) * 7;
        let weekday = i64::from(fields.weekday);
        date.set_days(match weekday {
            0 => monday,
            weekday if weekday > 1 => monday + weekday - 2,
            _ => monday + 6,
        });
    } else if fields.week != 0 {
        fields.day_of_year = (fields.week - 1).saturating_mul(7).saturating_add(1);
    }
    if fields.week_of_month != 0 {
        fields.day = (fields.week_of_month - 1).saturating_mul(7).saturating_add(1);
    }
    if fields.day != 0 {
        (date.day, date.has.day) = (i64::from(fields.day), true);
    }
    if fields.month != 0 {
        (date.month, date.has.month) = (i64::from(fields.month), true);
    }
    if fields.day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
        if date.year == 0 && fields.before_christ == 0 {
            return Err(refused("cannot calculate day of year without year information".to_owned(), None, None));
        }
        by_day_of_year(&mut date, i64::from(fields.day_of_year), is_iso);
    }
    Ok(date)
}

fn by_day_of_year(date: &mut Date, day_of_year: i64, is_iso: bool) {
    if is_iso {
        date.set_days(calendar::iso_year_start(date.year) + day_of_year - 1);
        return;
    }
    let mut left = day_of_year;
    let mut month = 1;
    while month <= 12 && left > calendar::days_in_month(date.year, month) {
        left -= calendar::days_in_month(date.year, month);
        month += 1;
    }
    if date.month <= 1 {
        date.month = month;
    }
    if date.day <= 1 {
        date.day = left;
    }
    (date.has.month, date.has.day) = (true, true);
}
