//! `to_date` and `to_timestamp` with a template.
//!
//! The text is read field by field into [`Fields`], which are then put together. Unless FX says so, blanks around fields do not count,
//! and a separator of the template stands for any one separator of the text or for none.

use common::sqlstate::SqlState;

use crate::calendar::{self, MONTHS, MONTHS_SHORT, WEEKDAYS};
use crate::datetime_tokens::FieldError;
use crate::error::ValueError;
use crate::format_date_keywords::{DateMode, DateTemplate, Key, ROMAN_MONTHS};
use crate::format_template::{Keyword, Modifiers, Node, is_separator, is_space};
use crate::zone::MAX_OFFSET_HOURS;

/// What the text says. 0 is a field that is not there, as in PostgreSQL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) mode: Option<DateMode>,
    pub(crate) hour: i32,
    pub(crate) afternoon: i32,
    pub(crate) is_12_hours: bool,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    pub(crate) second_of_day: i32,
    /// 1 is Sunday.
    pub(crate) weekday: i32,
    pub(crate) day: i32,
    pub(crate) day_of_year: i32,
    pub(crate) month: i32,
    pub(crate) millis: i32,
    pub(crate) micros: i32,
    /// How many digits of the second are kept; 0 for all.
    pub(crate) precision: i32,
    pub(crate) year: i32,
    pub(crate) year_digits: u8,
    pub(crate) before_christ: i32,
    pub(crate) week: i32,
    pub(crate) week_of_month: i32,
    pub(crate) century: i32,
    pub(crate) julian: i32,
    /// 1 or -1 when a zone was given.
    pub(crate) zone_sign: i32,
    pub(crate) zone_hour: i32,
    pub(crate) zone_minute: i32,
}

fn refused(message: String, detail: Option<String>, hint: Option<&str>) -> ValueError {
    ValueError::Other { sqlstate: SqlState::INVALID_DATETIME_FORMAT, message, detail, hint: hint.map(str::to_owned) }
}

/// Sets a field unless it says something else already.
fn set(field: &mut i32, value: i32, name: &str) -> Result<(), ValueError> {
    if *field != 0 && *field != value {
        return Err(refused(
            format!("conflicting values for \"{name}\" field in formatting string"),
            Some("This value contradicts a previous setting for the same field type.".to_owned()),
            None,
        ));
    }
    *field = value;
    Ok(())
}

/// Reads the text as the template says.
pub(crate) fn read(text: &str, template: &DateTemplate) -> Result<Fields, ValueError> {
    let mut reader = Reader { text, at: 0, template, node: 0, exact: false, skipped: 0, fields: Fields::default() };
    while reader.node < template.len() && reader.at < text.len() {
        reader.step()?;
        reader.node += 1;
    }
    Ok(reader.fields)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    template: &'a DateTemplate,
    node: usize,
    /// FX was seen.
    exact: bool,
    /// Characters skipped beyond those that the template names.
    skipped: i32,
    fields: Fields,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_one(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
            self.skipped += 1;
        }
    }

    fn step(&mut self) -> Result<(), ValueError> {
        let template = self.template;
        let Some(node) = template.get(self.node) else { return Ok(()) };
        let before_field = match node {
            Node::Key(keyword, _) => keyword.key != Key::Exact,
            _ => self.node == 0,
        };
        if !self.exact && before_field {
            self.skip_spaces();
        }
        match node {
            Node::Space(_) | Node::Separator(_) if self.exact => self.skip_one(),
            Node::Space(_) | Node::Separator(_) => {
                self.skipped -= 1;
                if self.peek().is_some_and(|c| is_space(c) || is_separator(c)) {
                    self.at += 1;
                    self.skipped += 1;
                }
            }
            // What was skipped already may stand for this character.
            Node::Char(_) if !self.exact && self.skipped > 0 => self.skipped -= 1,
            Node::Char(_) => self.skip_one(),
            Node::Key(keyword, modifiers) => {
                self.set_mode(keyword.key)?;
                self.key(keyword, *modifiers)?;
                if !self.exact {
                    self.skipped = 0;
                    self.skip_spaces();
                }
            }
        }
        Ok(())
    }

    fn set_mode(&mut self, key: Key) -> Result<(), ValueError> {
        match (self.fields.mode, key.date_mode()) {
            (Some(before), Some(mode)) if before != mode => Err(refused(
                "invalid combination of date conventions".to_owned(),
                None,
                Some("Do not mix Gregorian and ISO week date conventions in a formatting template."),
            )),
            (None, mode) => {
                self.fields.mode = mode;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn key(&mut self, keyword: &Keyword<Key>, modifiers: Modifiers) -> Result<(), ValueError> {
        match keyword.key {
            Key::Exact => {
                self.exact = true;
                return Ok(());
            }
            Key::Era(..)
            | Key::HalfOfDay(..)
            | Key::DayName(_)
            | Key::DayShort(_)
            | Key::MonthName(_)
            | Key::MonthShort(_)
            | Key::RomanMonth(_) => return self.word(keyword),
            Key::Zone(_) | Key::Offset => {
                return Err(ValueError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("formatting field \"{}\" is only supported in to_char", keyword.name),
                ));
            }
            Key::ZoneHour | Key::ZoneMinute => return self.zone(keyword, modifiers),
            Key::YearWithComma => self.year_with_comma(keyword)?,
            Key::Year(_) | Key::IsoYear(_) => self.year(keyword, modifiers)?,
            Key::Fraction(_) | Key::Millisecond | Key::Microsecond => self.fraction(keyword, modifiers)?,
            _ => self.number(keyword, modifiers)?,
        }
        if modifiers.ordinal.is_some() {
            // The ending is as long as any.
            self.skip_one();
            self.skip_one();
        }
        Ok(())
    }

    fn word(&mut self, keyword: &Keyword<Key>) -> Result<(), ValueError> {
        let name = keyword.name;
        match keyword.key {
            Key::Era(_, points) => {
                let value = self.one_of(if points { &["a.d.", "b.c."] } else { &["ad", "bc"] }, keyword)?;
                set(&mut self.fields.before_christ, value, name)
            }
            Key::HalfOfDay(_, points) => {
                let value = self.one_of(if points { &["a.m.", "p.m."] } else { &["am", "pm"] }, keyword)?;
                self.fields.is_12_hours = true;
                set(&mut self.fields.afternoon, value, name)
            }
            Key::MonthName(_) => {
                let month = self.one_of(&MONTHS, keyword)? + 1;
                set(&mut self.fields.month, month, name)
            }
            Key::MonthShort(_) => {
                let month = self.one_of(&MONTHS_SHORT, keyword)? + 1;
                set(&mut self.fields.month, month, name)
            }
            Key::RomanMonth(_) => {
                let month = 12 - self.one_of(&ROMAN_MONTHS, keyword)?;
                set(&mut self.fields.month, month, name)
            }
            Key::DayName(_) => {
                let weekday = self.one_of(&WEEKDAYS, keyword)?;
                set(&mut self.fields.weekday, weekday, name)?;
                self.fields.weekday += 1;
                Ok(())
            }
            _ => {
                let weekday = self.one_of(&WEEKDAYS.map(|day| &day[..3]), keyword)?;
                set(&mut self.fields.weekday, weekday, name)?;
                self.fields.weekday += 1;
                Ok(())
            }
        }
    }

    /// The number of the first word that the text begins with, in any case.
    fn one_of(&mut self, words: &[&str], keyword: &Keyword<Key>) -> Result<i32, ValueError> {
        let rest = self.rest();
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        match words.iter().position(|word| begins(word)) {
            Some(found) => {
                self.at += words[found].len();
                Ok(i32::try_from(found).unwrap_or(0))
            }
            None => {
                let shown = rest.split(is_space).next().unwrap_or("");
                Err(refused(
                    format!("invalid value \"{shown}\" for \"{}\"", keyword.name),
                    Some("The given value did not match any of the allowed values for this field.".to_owned()),
                    None,
                ))
            }
        }
    }

    fn zone(&mut self, keyword: &Keyword<Key>, modifiers: Modifiers) -> Result<(), ValueError> {
        if keyword.key == Key::ZoneMinute {
            if self.fields.zone_sign == 0 {
                self.fields.zone_sign = 1;
            }
            let (minute, _) = self.integer(2, keyword, modifiers)?;
            return set(&mut self.fields.zone_minute, minute, keyword.name);
        }
        self.fields.zone_sign = match self.peek() {
            Some(sign @ ('+' | '-' | ' ')) => {
                self.at += 1;
                if sign == '-' { -1 } else { 1 }
            }
            // The sign may have been taken for a separator.
            _ if self.skipped > 0 && self.text[..self.at].ends_with('-') => -1,
            _ => 1,
        };
        let (hour, _) = self.integer(2, keyword, modifiers)?;
        set(&mut self.fields.zone_hour, hour, keyword.name)
    }

    fn year_with_comma(&mut self, keyword: &Keyword<Key>) -> Result<(), ValueError> {
        let wrong = || refused("invalid input string for \"Y,YYY\"".to_owned(), None, None);
        let (millennia, rest) = leading_number(self.rest(), usize::MAX).ok_or_else(wrong)?;
        let (years, rest) = rest.strip_prefix(',').and_then(|rest| leading_number(rest, 3)).ok_or_else(wrong)?;
        let year = millennia.saturating_mul(1000).saturating_add(years);
        set(&mut self.fields.year, i32::try_from(year).unwrap_or(i32::MAX), keyword.name)?;
        self.fields.year_digits = 4;
        self.at = self.text.len() - rest.len();
        Ok(())
    }

    fn year(&mut self, keyword: &Keyword<Key>, modifiers: Modifiers) -> Result<(), ValueError> {
        let (year, length) = self.integer(keyword.name.len(), keyword, modifiers)?;
        set(&mut self.fields.year, year, keyword.name)?;
        self.fields.year_digits = match keyword.key {
            Key::Year(digits) | Key::IsoYear(digits) => digits,
            _ => 4,
        };
        if self.fields.year_digits < 4 && length < 4 {
            // Into the century around 2020.
            self.fields.year += match year {
                ..70 => 2000,
                70..100 => 1900,
                100..520 => 2000,
                520..1000 => 1000,
                1000.. => 0,
            };
        }
        Ok(())
    }

    /// A fraction of the second: `5` of milliseconds is half a second.
    fn fraction(&mut self, keyword: &Keyword<Key>, modifiers: Modifiers) -> Result<(), ValueError> {
        let digits = match keyword.key {
            Key::Fraction(digits) => {
                self.fields.precision = i32::from(digits);
                usize::from(digits)
            }
            Key::Millisecond => 3,
            _ => 6,
        };
        let (value, length) = self.integer(digits, keyword, modifiers)?;
        let (field, places) = if keyword.key == Key::Millisecond { (&mut self.fields.millis, 3) } else { (&mut self.fields.micros, 6) };
        set(field, value, keyword.name)?;
        let missing = u32::try_from(places - length.clamp(1, places)).unwrap_or(0);
        *field = field.saturating_mul(10_i32.pow(missing));
        Ok(())
    }

    fn number(&mut self, keyword: &Keyword<Key>, modifiers: Modifiers) -> Result<(), ValueError> {
        let length = match keyword.key {
            Key::Hour12 | Key::Hour24 => 2,
            Key::IsoDayOfYear => 3,
            Key::IsoWeekday => 1,
            _ => keyword.name.len(),
        };
        let (value, _) = self.integer(length, keyword, modifiers)?;
        let fields = &mut self.fields;
        let field = match keyword.key {
            Key::Hour12 => {
                fields.is_12_hours = true;
                &mut fields.hour
            }
            Key::Hour24 => &mut fields.hour,
            Key::Minute => &mut fields.minute,
            Key::Second => &mut fields.second,
            Key::SecondOfDay => &mut fields.second_of_day,
            Key::Month => &mut fields.month,
            Key::DayOfYear | Key::IsoDayOfYear => &mut fields.day_of_year,
            Key::Day => &mut fields.day,
            Key::Weekday => &mut fields.weekday,
            Key::IsoWeekday => {
                set(&mut fields.weekday, value, keyword.name)?;
                fields.weekday = if value + 1 > 7 { 1 } else { value + 1 };
                return Ok(());
            }
            Key::Week | Key::IsoWeek => &mut fields.week,
            Key::Century => &mut fields.century,
            Key::WeekOfMonth => &mut fields.week_of_month,
            Key::Julian => &mut fields.julian,
            // A quarter does not tell which day.
            _ => return Ok(()),
        };
        set(field, value, keyword.name)
    }

    /// Whether the number that stands here ends by itself, as no digit follows in the template.
    fn ends_by_itself(&self, modifiers: Modifiers) -> bool {
        modifiers.ordinal.is_some()
            || match self.template.get(self.node + 1) {
                None | Some(Node::Separator(_) | Node::Space(_)) => true,
                Some(Node::Key(next, _)) => !next.key.is_digits(),
                Some(Node::Char(c)) => !c.is_ascii_digit(),
            }
    }

    /// Reads an integer of so many characters, or as many as there are; also answers how many it took.
    fn integer(&mut self, length: usize, keyword: &Keyword<Key>, modifiers: Modifiers) -> Result<(i32, usize), ValueError> {
        let name = keyword.name;
        let start = self.at;
        let unpadded = self.rest().trim_start_matches(is_space);
        let copy: String = {
            let bytes = unpadded.as_bytes();
            String::from_utf8_lossy(&bytes[..bytes.len().min(length)]).into_owned()
        };
        let invalid = |detail: String, hint: Option<&str>| refused(format!("invalid value \"{copy}\" for \"{name}\""), Some(detail), hint);
        const HINT: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        let number = if modifiers.fill || self.ends_by_itself(modifiers) {
            let found = leading_number(self.rest(), usize::MAX);
            self.at = found.map_or(start, |(_, rest)| self.text.len() - rest.len());
            found
        } else {
            self.at = self.text.len() - unpadded.len();
            if unpadded.len() < length {
                return Err(refused(
                    format!("source string too short for \"{name}\" formatting field"),
                    Some(format!("Field requires {length} characters, but only {} remain.", unpadded.len())),
                    Some(HINT),
                ));
            }
            let found = leading_number(&copy, usize::MAX);
            let used = found.map_or(0, |(_, rest)| copy.len() - rest.len());
            if used > 0 && used < length {
                return Err(invalid(format!("Field requires {length} characters, but only {used} could be parsed."), Some(HINT)));
            }
            self.at += used;
            found
        };
        if self.at == start {
            return Err(invalid("Value must be an integer.".to_owned(), None));
        }
        let value = i32::try_from(number.map_or(0, |(value, _)| value)).map_err(|_| ValueError::Other {
            sqlstate: SqlState::DATETIME_FIELD_OVERFLOW,
            message: format!("value for \"{name}\" in source string is out of range"),
            detail: Some(format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX)),
            hint: None,
        })?;
        Ok((value, self.at - start))
    }
}

/// C's strtol, of at most so many characters after the blanks: the number and what follows.
fn leading_number(text: &str, width: usize) -> Option<(i64, &str)> {
    let unpadded = text.trim_start_matches(is_space);
    let sign = usize::from(unpadded.starts_with(['+', '-']));
    let digits = unpadded.bytes().skip(sign).take(width.saturating_sub(sign)).take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let (number, rest) = unpadded.split_at(sign + digits);
    // Out of range is out of range of what comes next, too.
    Some((number.parse().unwrap_or(i64::MAX), rest))
}

/// The fields put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) micros: i64,
    /// Seconds east of Greenwich, if the text has a zone.
    pub(crate) offset: Option<i64>,
}

/// Puts the fields together; `text` is for errors.
pub(crate) fn put_together(fields: Fields, text: &str) -> Result<Read, ValueError> {
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
