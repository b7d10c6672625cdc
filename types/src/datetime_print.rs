//! Writing date, time, timestamp and timestamp with time zone in every DateStyle.

use crate::calendar::{
    Civil, DATE_INFINITY, DATE_NEGATIVE_INFINITY, HOUR, INFINITY, MINUTE, MONTHS_SHORT, NEGATIVE_INFINITY, SECOND, WEEKDAYS,
    civil_from_days, split, weekday,
};
use crate::format_settings::{DateFormat, DateOrder, FormatSettings};
use crate::zone;

/// Appends a number with at least `width` digits.
pub(crate) fn put_padded(value: i64, width: usize, out: &mut Vec<u8>) {
    if width == 2 && (0..100).contains(&value) {
        let value = value as u8;
        out.extend_from_slice(&[b'0' + value / 10, b'0' + value % 10]);
        return;
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    if value < 0 {
        out.push(b'-');
    }
    for _ in digits.len()..width {
        out.push(b'0');
    }
    out.extend_from_slice(digits.as_bytes());
}

/// Appends `:ss` or `:ss.ffffff`, or what there is without the colon; trailing zeros of the fraction are left out.
pub(crate) fn put_seconds(micros_in_minute: i64, width: usize, out: &mut Vec<u8>) {
    let magnitude = micros_in_minute.unsigned_abs();
    put_padded((magnitude / SECOND as u64) as i64, width, out);
    put_fraction((magnitude % SECOND as u64) as i64, out);
}

/// Appends `.ffffff` without trailing zeros; nothing for zero.
pub(crate) fn put_fraction(micros: i64, out: &mut Vec<u8>) {
    if micros != 0 {
        out.push(b'.');
        put_padded(micros, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Appends a time of the day.
pub fn write_time(micros: i64, out: &mut Vec<u8>) {
    put_padded(micros / HOUR, 2, out);
    out.push(b':');
    put_padded(micros / MINUTE % 60, 2, out);
    out.push(b':');
    put_seconds(micros % MINUTE, 2, out);
}

/// The year as it is printed: 1 BC is 1, and there is no year 0.
fn printed_year(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn put_era(year: i64, out: &mut Vec<u8>) {
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

fn put_parts(parts: [(i64, usize); 3], separator: u8, out: &mut Vec<u8>) {
    for (i, (value, width)) in parts.into_iter().enumerate() {
        if i > 0 {
            out.push(separator);
        }
        put_padded(value, width, out);
    }
}

fn put_date(civil: Civil, settings: &FormatSettings, out: &mut Vec<u8>) {
    let year = (printed_year(civil.year), 4);
    let (month, day) = ((civil.month, 2), (civil.day, 2));
    let day_first = settings.date_order == DateOrder::Dmy;
    let (first, second) = if day_first { (day, month) } else { (month, day) };
    match settings.date_format {
        DateFormat::Iso => put_parts([year, month, day], b'-', out),
        DateFormat::Sql => put_parts([first, second, year], b'/', out),
        DateFormat::German => put_parts([day, month, year], b'.', out),
        DateFormat::Postgres => put_parts([first, second, year], b'-', out),
    }
}

/// Appends a date.
pub fn write_date(days: i32, settings: &FormatSettings, out: &mut Vec<u8>) {
    match days {
        DATE_INFINITY => return out.extend_from_slice(b"infinity"),
        DATE_NEGATIVE_INFINITY => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let civil = civil_from_days(i64::from(days));
    put_date(civil, settings, out);
    put_era(civil.year, out);
}

/// The zone to print after a timestamp.
struct ZoneSuffix {
    offset: i32,
    abbreviation: String,
}

/// Appends a timestamp without time zone.
pub fn write_timestamp(micros: i64, settings: &FormatSettings, out: &mut Vec<u8>) {
    if !put_infinite(micros, out) {
        put_timestamp(micros, None, settings, out);
    }
}

/// Appends a timestamp with time zone, in the session's zone.
pub fn write_timestamptz(micros: i64, settings: &FormatSettings, out: &mut Vec<u8>) {
    if put_infinite(micros, out) {
        return;
    }
    let suffix = if settings.date_format == DateFormat::Iso {
        ZoneSuffix { offset: zone::offset_at(settings.time_zone, micros), abbreviation: String::new() }
    } else {
        let moment = zone::moment(settings.time_zone, micros);
        ZoneSuffix { offset: moment.offset, abbreviation: moment.abbreviation }
    };
    put_timestamp(micros.saturating_add(i64::from(suffix.offset) * SECOND), Some(&suffix), settings, out);
}

fn put_infinite(micros: i64, out: &mut Vec<u8>) -> bool {
    match micros {
        INFINITY => out.extend_from_slice(b"infinity"),
        NEGATIVE_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

fn put_timestamp(local: i64, suffix: Option<&ZoneSuffix>, settings: &FormatSettings, out: &mut Vec<u8>) {
    let (days, time) = split(local);
    let civil = civil_from_days(days);
    if settings.date_format == DateFormat::Postgres {
        put_postgres_timestamp(days, civil, time, settings, out);
        if let Some(suffix) = suffix {
            out.push(b' ');
            out.extend_from_slice(suffix.abbreviation.as_bytes());
        }
        return put_era(civil.year, out);
    }
    put_date(civil, settings, out);
    out.push(b' ');
    write_time(time, out);
    match suffix {
        Some(suffix) if settings.date_format == DateFormat::Iso => put_offset(suffix.offset, out),
        Some(suffix) => {
            out.push(b' ');
            out.extend_from_slice(suffix.abbreviation.as_bytes());
        }
        None => {}
    }
    put_era(civil.year, out);
}

/// `Wed Dec 17 07:37:16 1997`.
fn put_postgres_timestamp(days: i64, civil: Civil, time: i64, settings: &FormatSettings, out: &mut Vec<u8>) {
    let weekday = WEEKDAYS[weekday(days) as usize];
    let month = MONTHS_SHORT[(civil.month - 1) as usize];
    out.extend_from_slice(&weekday.as_bytes()[..3]);
    out.push(b' ');
    if settings.date_order == DateOrder::Dmy {
        put_padded(civil.day, 2, out);
        out.push(b' ');
        out.extend_from_slice(month.as_bytes());
    } else {
        out.extend_from_slice(month.as_bytes());
        out.push(b' ');
        put_padded(civil.day, 2, out);
    }
    out.push(b' ');
    write_time(time, out);
    out.push(b' ');
    put_padded(printed_year(civil.year), 4, out);
}

/// Appends `+02`, `-03:30`, `+00:53:28`.
pub(crate) fn put_offset(offset: i32, out: &mut Vec<u8>) {
    out.push(if offset < 0 { b'-' } else { b'+' });
    let seconds = i64::from(offset.unsigned_abs());
    put_padded(seconds / 3600, 2, out);
    if seconds % 3600 != 0 {
        out.push(b':');
        put_padded(seconds / 60 % 60, 2, out);
    }
    if seconds % 60 != 0 {
        out.push(b':');
        put_padded(seconds % 60, 2, out);
    }
}
