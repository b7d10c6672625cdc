//! The values of `to_date` and `to_timestamp` with a template.

use common::datum::Datum;
use common::types::{Scalar, SqlType};

use crate::calendar::{DAY, HOUR, MINUTE, SECOND, days_from_civil, is_date, is_timestamp};
use crate::datetime::{overflow, timestamp_out_of_range};
use crate::error::ValueError;
use crate::format_date_keywords::date_template;
use crate::format_dates_read::{put_together, read};
use crate::format_settings::TimeZone;
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
