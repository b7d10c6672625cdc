//! `to_char` of timestamps and intervals.

use std::fmt::Write;

use common::interval::Interval;
use common::sqlstate::SqlState;

use crate::calendar::{self, HOUR, MINUTE, MONTHS, MONTHS_SHORT, SECOND, WEEKDAYS};
use crate::datetime::is_finite_timestamp;
use crate::error::ValueError;
use crate::format_date_keywords::{Case, Key, ROMAN_MONTHS, date_template};
use crate::format_settings::TimeZone;
use crate::format_template::{Modifiers, Node, ordinal_ending};
use crate::interval_text::Parts;
use crate::zone;

/// What the template's key words read.
#[derive(Debug, Default)]
struct Fields {
    is_interval: bool,
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// 0 is Sunday.
    weekday: i64,
    day_of_year: i64,
    /// Seconds east of Greenwich.
    offset: i32,
    zone: Option<String>,
}

impl Fields {
    fn of_local(local: i64) -> Self {
        let (days, time) = calendar::split(local);
        let civil = calendar::civil_from_days(days);
        Self {
            year: civil.year,
            month: civil.month,
            day: civil.day,
            hour: time / HOUR,
            minute: time / MINUTE % 60,
            second: time / SECOND % 60,
            micros: time % SECOND,
            weekday: calendar::weekday(days),
            day_of_year: calendar::day_of_year(days),
            ..Self::default()
        }
    }

    fn of_interval(span: Interval) -> Self {
        let parts = Parts::from(span);
        Self {
            is_interval: true,
            year: parts.years,
            month: parts.months,
            day: parts.days,
            hour: parts.hours,
            minute: parts.minutes,
            second: parts.seconds,
            micros: parts.micros,
            // About its days.
            day_of_year: (parts.years * 12 + parts.months) * 30 + parts.days,
            ..Self::default()
        }
    }

    /// Years before Christ count from 1.
    fn shown_year(&self, year: i64) -> i64 {
        if self.is_interval || year > 0 { year } else { 1 - year }
    }

    fn julian(&self) -> i64 {
        julian_day(self.year, self.month, self.day)
    }
}

/// `to_char(timestamp, text)`; `None` is NULL: for an infinite timestamp and an empty template.
pub fn timestamp_to_char(timestamp: i64, template: &str) -> Result<Option<String>, ValueError> {
    if template.is_empty() || !is_finite_timestamp(timestamp) {
        return Ok(None);
    }
    write(&Fields::of_local(timestamp), template).map(Some)
}

/// `to_char(timestamptz, text)` on the clock of a zone.
pub fn timestamptz_to_char(timestamp: i64, template: &str, time_zone: TimeZone) -> Result<Option<String>, ValueError> {
    if template.is_empty() || !is_finite_timestamp(timestamp) {
        return Ok(None);
    }
    let moment = zone::moment(time_zone, timestamp);
    let local = timestamp.saturating_add(i64::from(moment.offset) * SECOND);
    let fields = Fields { offset: moment.offset, zone: Some(moment.abbreviation), ..Fields::of_local(local) };
    write(&fields, template).map(Some)
}

/// `to_char(interval, text)`; `None` is NULL: for an empty template.
pub fn interval_to_char(span: Interval, template: &str) -> Result<Option<String>, ValueError> {
    if template.is_empty() {
        return Ok(None);
    }
    write(&Fields::of_interval(span), template).map(Some)
}

fn write(fields: &Fields, template: &str) -> Result<String, ValueError> {
    let mut out = String::with_capacity(template.len() * 2);
    for node in date_template(template).iter() {
        match node {
            Node::Key(keyword, modifiers) => {
                if fields.is_interval && !has_meaning_for_intervals(keyword.key) {
                    return Err(ValueError::Other {
                        sqlstate: SqlState::INVALID_DATETIME_FORMAT,
                        message: "invalid format specification for an interval value".to_owned(),
                        detail: None,
                        hint: Some("Intervals are not tied to specific calendar dates.".to_owned()),
                    });
                }
                write_key(fields, keyword.key, *modifiers, &mut out);
            }
            Node::Separator(c) | Node::Space(c) | Node::Char(c) => out.push(*c),
        }
    }
    Ok(out)
}

fn has_meaning_for_intervals(key: Key) -> bool {
    !matches!(
        key,
        Key::Zone(_)
            | Key::ZoneHour
            | Key::ZoneMinute
            | Key::Offset
            | Key::Era(..)
            | Key::MonthName(_)
            | Key::MonthShort(_)
            | Key::DayName(_)
            | Key::DayShort(_)
            | Key::Weekday
            | Key::IsoWeekday
    )
}

fn write_key(fields: &Fields, key: Key, modifiers: Modifiers, out: &mut String) {
    match key {
        Key::Era(..) | Key::HalfOfDay(..) | Key::DayName(_) | Key::DayShort(_) | Key::MonthName(_) | Key::MonthShort(_) | Key::Zone(_) => {
            write_word(fields, key, modifiers, out);
        }
        Key::ZoneHour | Key::Offset => {
            let sign = if fields.offset >= 0 { '+' } else { '-' };
            let width = if key == Key::Offset && modifiers.fill { 0 } else { 2 };
            let minutes = fields.offset.abs() % 3600 / 60;
            // Writing to a string does not fail; so below.
            let _ = write!(out, "{sign}{:0width$}", fields.offset.abs() / 3600);
            if key == Key::Offset && fields.offset.abs() % 3600 != 0 {
                let _ = write!(out, ":{minutes:02}");
            }
        }
        Key::ZoneMinute => {
            let _ = write!(out, "{:02}", fields.offset.abs() % 3600 / 60);
        }
        Key::RomanMonth(case) => write_roman_month(fields, case, modifiers, out),
        Key::Quarter if fields.month == 0 => {}
        Key::Exact => {}
        number => {
            let text = write_number(fields, number, modifiers);
            out.push_str(&text);
            if let Some(form) = modifiers.ordinal {
                out.push_str(ordinal_ending(&text, form));
            }
        }
    }
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_ascii_uppercase(),
        Case::Title => text.to_owned(),
        Case::Lower => text.to_ascii_lowercase(),
    }
}

fn write_word(fields: &Fields, key: Key, modifiers: Modifiers, out: &mut String) {
    /// The longest names of months and days.
    const NAME_WIDTH: usize = 9;
    let name = |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("");
    let (word, case) = match key {
        Key::Era(case, points) => (if fields.year <= 0 { ["BC", "B.C."] } else { ["AD", "A.D."] }[usize::from(points)], case),
        Key::HalfOfDay(case, points) => {
            let second_half = fields.hour % 24 >= 12;
            (if second_half { ["PM", "P.M."] } else { ["AM", "A.M."] }[usize::from(points)], case)
        }
        Key::DayName(case) => (name(&WEEKDAYS, fields.weekday), case),
        Key::DayShort(case) => (name(&WEEKDAYS, fields.weekday).get(..3).unwrap_or(""), case),
        Key::MonthName(case) => (name(&MONTHS, fields.month - 1), case),
        Key::MonthShort(case) => (name(&MONTHS_SHORT, fields.month - 1), case),
        // Abbreviations of zones have their own case.
        Key::Zone(case) => (fields.zone.as_deref().unwrap_or(""), if case == Case::Lower { case } else { Case::Title }),
        _ => return,
    };
    let start = out.len();
    out.push_str(&cased(word, case));
    if matches!(key, Key::DayName(_) | Key::MonthName(_)) && !modifiers.fill && !modifiers.translate {
        let missing = NAME_WIDTH.saturating_sub(out.len() - start);
        out.extend(std::iter::repeat_n(' ', missing));
    }
}

fn write_roman_month(fields: &Fields, case: Case, modifiers: Modifiers, out: &mut String) {
    if fields.month == 0 && fields.year == 0 {
        return;
    }
    // The numbers stand from December down. Whole years of an interval are month 12; negative ones count backwards.
    let at = match fields.month {
        0 if fields.year >= 0 => 0,
        0 => 11,
        month if month < 0 => -(month + 1),
        month => 12 - month,
    };
    let roman = usize::try_from(at).ok().and_then(|at| ROMAN_MONTHS.get(at).copied()).unwrap_or("");
    let width = if modifiers.fill { 0 } else { 4 };
    let _ = write!(out, "{:<width$}", cased(roman, case));
}

/// A number padded with zeros; a sign takes a place of its own.
fn padded(value: i64, digits: usize, modifiers: Modifiers) -> String {
    padded_as(value, digits, value, modifiers)
}

/// As [`padded`]; the sign of another number decides on the place for it.
fn padded_as(value: i64, digits: usize, signed: i64, modifiers: Modifiers) -> String {
    let width = if modifiers.fill { 0 } else { digits + usize::from(signed < 0) };
    format!("{value:0width$}")
}

fn write_number(fields: &Fields, key: Key, modifiers: Modifiers) -> String {
    match key {
        Key::Hour12 => {
            let hour = if fields.hour % 12 == 0 { 12 } else { fields.hour % 12 };
            padded_as(hour, 2, fields.hour, modifiers)
        }
        Key::Hour24 => padded(fields.hour, 2, modifiers),
        Key::Minute => padded(fields.minute, 2, modifiers),
        Key::Second => padded(fields.second, 2, modifiers),
        Key::Fraction(digits) => {
            let width = usize::from(digits);
            format!("{:0width$}", fields.micros / 10_i64.pow(6 - u32::from(digits.min(6))))
        }
        Key::Millisecond => format!("{:03}", fields.micros / 1_000),
        Key::Microsecond => format!("{:06}", fields.micros),
        Key::SecondOfDay => (fields.hour * 3600 + fields.minute * 60 + fields.second).to_string(),
        Key::Month => padded(fields.month, 2, modifiers),
        Key::DayOfYear => padded_as(fields.day_of_year, 3, 0, modifiers),
        Key::IsoDayOfYear => {
            let (year, _) = iso_week(fields);
            padded_as(fields.julian() - iso_year_start(year) + 1, 3, 0, modifiers)
        }
        Key::Day => padded_as(fields.day, 2, 0, modifiers),
        Key::Weekday => (fields.weekday + 1).to_string(),
        Key::IsoWeekday => (if fields.weekday == 0 { 7 } else { fields.weekday }).to_string(),
        Key::Week => padded_as((fields.day_of_year - 1) / 7 + 1, 2, 0, modifiers),
        Key::IsoWeek => padded_as(iso_week(fields).1, 2, 0, modifiers),
        Key::Quarter => ((fields.month - 1) / 3 + 1).to_string(),
        Key::Century => {
            let century = match fields.year {
                year if fields.is_interval => year / 100,
                year if year > 0 => (year - 1) / 100 + 1,
                year => year / 100 - 1,
            };
            if century.abs() <= 99 { padded(century, 2, modifiers) } else { century.to_string() }
        }
        Key::YearWithComma => {
            let year = fields.shown_year(fields.year);
            format!("{},{:03}", year / 1000, year % 1000)
        }
        Key::Year(digits) => short_year(fields, fields.year, digits, modifiers),
        Key::IsoYear(digits) => short_year(fields, iso_week(fields).0, digits, modifiers),
        Key::WeekOfMonth => ((fields.day - 1) / 7 + 1).to_string(),
        Key::Julian => fields.julian().to_string(),
        _ => String::new(),
    }
}

/// The last digits of a year.
fn short_year(fields: &Fields, year: i64, digits: u8, modifiers: Modifiers) -> String {
    let (shown, signed) = (fields.shown_year(year), fields.shown_year(fields.year));
    match digits {
        4 => padded_as(shown, 4, signed, modifiers),
        1 => (shown % 10).to_string(),
        digits => padded_as(shown % 10_i64.pow(u32::from(digits)), usize::from(digits), signed, modifiers),
    }
}

/// The number of a day as astronomers count; also of the months 0 and below that intervals have, for which PostgreSQL's formula is it.
fn julian_day(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = year / 100;
    year * 365 - 32_167 + year / 4 - century + century / 4 + 7834 * month / 256 + day
}

/// The Monday of ISO week 1.
fn iso_year_start(year: i64) -> i64 {
    let fourth = julian_day(year, 1, 4);
    fourth - fourth.rem_euclid(7)
}

/// The ISO year and week.
fn iso_week(fields: &Fields) -> (i64, i64) {
    let day = fields.julian();
    let in_year = |year: i64| (year, (day - iso_year_start(year)) / 7 + 1);
    if day < iso_year_start(fields.year) {
        in_year(fields.year - 1)
    } else if day >= iso_year_start(fields.year + 1) {
        in_year(fields.year + 1)
    } else {
        in_year(fields.year)
    }
}
