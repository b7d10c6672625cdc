//! Reading a text as a template of `to_date` and `to_timestamp` says.
//!
//! The text is read field by field into [`Fields`], which `format_dates_parse` puts together. Unless FX says so, blanks around fields do
//! not count, and a separator of the template stands for any one separator of the text or for none.

use common::sqlstate::SqlState;

use crate::calendar::{MONTHS, MONTHS_SHORT, WEEKDAYS};
use crate::error::ValueError;
use crate::format_date_keywords::{DateMode, DateTemplate, Key, ROMAN_MONTHS};
use crate::format_template::{Keyword, Modifiers, Node, is_separator, is_space};

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

pub(crate) fn refused(message: String, detail: Option<String>, hint: Option<&str>) -> ValueError {
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
