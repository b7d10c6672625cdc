//! Reading date, time, timestamp and timestamp with time zone from text, as PostgreSQL reads them.
//!
//! Fields are taken in the order in which they come; what a number means depends on which fields are already there and, for the
//! ambiguous ones, on DateStyle's order. The set of fields seen is a bit mask; a field that comes twice is an error.

use chrono_tz::Tz;
use common::sqlstate::SqlState;

use crate::calendar::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, DAY, HOUR, INFINITY, MINUTE, NEGATIVE_INFINITY, SECOND, civil_from_days, days_from_civil,
    days_in_month, is_date, is_timestamp, split,
};
use crate::datetime_tokens::{FieldError, Keyword, Look, Token, Unit, fraction_micros, keyword, leading_i32, tokens};
use crate::error::ValueError;
use crate::format_settings::{DateOrder, FormatSettings, TimeZone};
use crate::timetz::TimeTz;
use crate::zone::{self, ZoneWord};
use crate::zone_abbreviations::{self, Meaning};

const YEAR: u32 = 1;
const MONTH: u32 = 1 << 1;
const DAY_OF_MONTH: u32 = 1 << 2;
const HOURS: u32 = 1 << 3;
const MINUTES: u32 = 1 << 4;
const SECONDS: u32 = 1 << 5;
const FRACTION: u32 = 1 << 6;
const ZONE: u32 = 1 << 7;
const DST_AFTER_ZONE: u32 = 1 << 8;
const DST_ZONE: u32 = 1 << 9;
const MERIDIEM: u32 = 1 << 10;
const ERA: u32 = 1 << 11;
const WEEKDAY: u32 = 1 << 12;
const DAY_OF_YEAR: u32 = 1 << 13;
const ALL_SECONDS: u32 = SECONDS | FRACTION;
const DATE: u32 = YEAR | MONTH | DAY_OF_MONTH;
const TIME: u32 = HOURS | MINUTES | ALL_SECONDS;

/// The offsets of a clock that is meant by a zone in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ZoneField {
    /// Seconds east.
    Offset(i64),
    Zone(TimeZone),
    /// An abbreviation whose meaning changed with time, by its upper-case name.
    Abbreviation(Tz, &'static str),
}

/// What a text turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Fields,
    Epoch,
    Infinity,
    NegativeInfinity,
}

struct Decoder<'a> {
    settings: &'a FormatSettings,
    /// Reading the type time: dates are beside the point.
    time_only: bool,
    seen: u32,
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Option<ZoneField>,
    text_month: bool,
    two_digits: bool,
    bc: bool,
    julian: bool,
    pm: Option<bool>,
    label: Option<Unit>,
    outcome: Outcome,
}

type Step = Result<u32, FieldError>;

fn time_overflows(hour: i64, minute: i64, second: i64, micros: i64) -> bool {
    !(0..=24).contains(&hour)
        || !(0..=59).contains(&minute)
        || !(0..=60).contains(&second)
        || !(0..=SECOND).contains(&micros)
        || hour * HOUR + minute * MINUTE + second * SECOND + micros > DAY
}

impl<'a> Decoder<'a> {
    fn new(settings: &'a FormatSettings, time_only: bool) -> Self {
        Self {
            settings,
            time_only,
            seen: 0,
            year: 0,
            month: 0,
            day: 0,
            day_of_year: 0,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            zone: None,
            text_month: false,
            two_digits: false,
            bc: false,
            julian: false,
            pm: None,
            label: None,
            outcome: Outcome::Fields,
        }
    }

    fn has(&self, mask: u32) -> bool {
        self.seen & mask == mask
    }

    fn run(&mut self, text: &str) -> Result<(), FieldError> {
        let fields = tokens(text)?;
        for (i, token) in fields.iter().enumerate() {
            let found = match token.look {
                Look::Date => self.date_field(&fields, i)?,
                Look::Time => self.time_field(&token.text)?,
                Look::Signed => self.zone_offset(&token.text)?,
                Look::Number => match self.label.take() {
                    Some(label) => self.labelled(label, &token.text)?,
                    None => self.number_field(&fields, i)?,
                },
                Look::Word | Look::SignedWord => self.word(&fields, i)?,
            };
            if found & self.seen != 0 {
                return Err(FieldError::BadFormat);
            }
            self.seen |= found;
        }
        self.validate_date()?;
        self.apply_meridiem()?;
        self.check_complete()
    }

    fn check_complete(&self) -> Result<(), FieldError> {
        if self.outcome != Outcome::Fields && !self.time_only {
            return Ok(());
        }
        if self.time_only {
            if time_overflows(self.hour, self.minute, self.second, self.micros) {
                return Err(FieldError::FieldOverflow);
            }
            if !self.has(TIME) || self.has(DST_AFTER_ZONE) && !matches!(self.zone, Some(ZoneField::Offset(_))) {
                return Err(FieldError::BadFormat);
            }
            // Without a date nobody can tell whether such a zone has summer time.
            return match self.zone {
                Some(ZoneField::Zone(TimeZone::Named(tz))) if !self.has(DATE) && !has_one_offset(tz) => Err(FieldError::BadFormat),
                _ => Ok(()),
            };
        }
        if !self.has(DATE) || self.has(DST_AFTER_ZONE) && !matches!(self.zone, Some(ZoneField::Offset(_))) {
            return Err(FieldError::BadFormat);
        }
        Ok(())
    }

    /// A field with `-`, `/` or `.` in it.
    fn date_field(&mut self, fields: &[Token], i: usize) -> Step {
        let text = fields[i].text.as_str();
        if self.label == Some(Unit::Julian) {
            self.label = None;
            let (number, rest) = leading_i32(text)?;
            self.set_julian(number.ok_or(FieldError::BadFormat)?)?;
            self.zone_offset(rest)?;
            return Ok(DATE | TIME | ZONE);
        }
        let date_is_here = if self.time_only {
            let accepts = i == 0 && fields.len() >= 2 && (fields[fields.len() - 1].look == Look::Date || fields[1].look == Look::Time);
            !accepts || self.label.is_some()
        } else {
            self.has(DATE) || self.label.is_some()
        };
        if !date_is_here {
            return self.date(text);
        }
        if !text.starts_with(|c: char| c.is_ascii_digit()) && self.label.is_none() {
            return self.zone_name(text);
        }
        if self.label.take().is_some_and(|label| label != Unit::Time) || self.has(TIME) {
            return Err(FieldError::BadFormat);
        }
        let cut = text.find('-').ok_or(FieldError::BadFormat)?;
        self.zone_offset(&text[cut..])?;
        let known = if self.time_only { self.seen | DATE } else { self.seen };
        Ok(self.run_together(&text[..cut], known)? | ZONE)
    }

    fn zone_name(&mut self, name: &str) -> Step {
        let zone = zone::named(name).map(TimeZone::Named).or_else(|| zone::posix(name));
        let Some(zone) = zone else {
            return Err(FieldError::Other(ValueError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("time zone \"{name}\" not recognized"),
            )));
        };
        self.zone = Some(ZoneField::Zone(zone));
        Ok(ZONE)
    }

    fn time_field(&mut self, text: &str) -> Step {
        if self.label.take().is_some_and(|label| label != Unit::Time) {
            return Err(FieldError::BadFormat);
        }
        let time = clock(text, false)?;
        if time_overflows(time.hour, time.minute, time.second, time.micros) {
            return Err(FieldError::FieldOverflow);
        }
        (self.hour, self.minute, self.second, self.micros) = (time.hour, time.minute, time.second, time.micros);
        Ok(TIME)
    }

    /// `+02`, `-0330`, `+05:30:15`.
    fn zone_offset(&mut self, text: &str) -> Step {
        self.zone = Some(ZoneField::Offset(offset_seconds(text)?));
        Ok(ZONE)
    }

    fn set_julian(&mut self, day: i64) -> Result<(), FieldError> {
        if day < 0 {
            return Err(FieldError::FieldOverflow);
        }
        let civil = civil_from_days(day - 2_440_588);
        (self.year, self.month, self.day, self.julian) = (civil.year, civil.month, civil.day, true);
        Ok(())
    }

    /// A number after a unit, as in `J2451187` or `y2001`.
    fn labelled(&mut self, label: Unit, text: &str) -> Step {
        let (number, rest) = leading_i32(text)?;
        let value = number.unwrap_or(0);
        let takes_fraction = matches!(label, Unit::Julian | Unit::Time | Unit::Second);
        if !(rest.is_empty() || rest.starts_with('.') && takes_fraction) {
            return Err(FieldError::BadFormat);
        }
        match label {
            Unit::Year => {
                self.year = value;
                Ok(YEAR)
            }
            // After a month and an hour it must be minutes.
            Unit::Month if self.has(MONTH | HOURS) => {
                self.minute = value;
                Ok(MINUTES)
            }
            Unit::Month => {
                self.month = value;
                Ok(MONTH)
            }
            Unit::Day => {
                self.day = value;
                Ok(DAY_OF_MONTH)
            }
            Unit::Hour => {
                self.hour = value;
                Ok(HOURS)
            }
            Unit::Minute => {
                self.minute = value;
                Ok(MINUTES)
            }
            Unit::Second => {
                self.second = value;
                if rest.is_empty() {
                    return Ok(SECONDS);
                }
                self.micros = fraction_micros(rest)?;
                Ok(ALL_SECONDS)
            }
            Unit::Julian => {
                self.set_julian(value)?;
                if rest.is_empty() {
                    return Ok(DATE);
                }
                let part: f64 = rest.parse().map_err(|_| FieldError::BadFormat)?;
                self.set_time((part * DAY as f64) as i64);
                Ok(DATE | TIME)
            }
            Unit::Time => match self.run_together(text, self.seen | DATE)? {
                TIME => Ok(TIME),
                _ => Err(FieldError::BadFormat),
            },
            Unit::Microsecond
            | Unit::Millisecond
            | Unit::Week
            | Unit::Quarter
            | Unit::Decade
            | Unit::Century
            | Unit::Millennium
            | Unit::Unusable => Err(FieldError::BadFormat),
        }
    }

    fn set_time(&mut self, micros: i64) {
        self.hour = micros / HOUR;
        self.minute = micros / MINUTE % 60;
        self.second = micros / SECOND % 60;
        self.micros = micros % SECOND;
    }

    fn number_field(&mut self, fields: &[Token], i: usize) -> Step {
        let text = fields[i].text.as_str();
        let point = text.find('.');
        if self.time_only {
            return match point {
                Some(_) if i == 0 && fields.len() >= 2 && fields[fields.len() - 1].look == Look::Date => self.date(text),
                Some(at) if at > 2 => self.run_together(text, self.seen | DATE),
                Some(_) => Err(FieldError::BadFormat),
                None if text.len() > 4 => self.run_together(text, self.seen | DATE),
                None => self.number(text, self.seen | DATE),
            };
        }
        match point {
            Some(_) if !self.has(DATE) => self.date(text),
            Some(at) if at > 2 => self.run_together(text, self.seen),
            None if text.len() >= 6 && !(self.has(DATE) && self.has(TIME)) => self.run_together(text, self.seen),
            _ => self.number(text, self.seen),
        }
    }

    /// A date whose parts are separated by punctuation.
    fn date(&mut self, text: &str) -> Step {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let first = *rest.as_bytes().first().ok_or(FieldError::BadFormat)?;
            let len =
                rest.bytes().take_while(|b| b.is_ascii_alphabetic() == first.is_ascii_alphabetic() && b.is_ascii_alphanumeric()).count();
            parts.push(&rest[..len]);
            // The character after a part is a separator, whatever it is.
            rest = rest.get(len + 1..).unwrap_or("");
        }
        let mut seen = self.seen;
        let mut found = 0;
        for word in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
            match keyword(word) {
                Some(Keyword::Ignored) => {}
                Some(Keyword::Month(month)) if seen & MONTH == 0 => {
                    self.month = month;
                    self.text_month = true;
                    seen |= MONTH;
                    found |= MONTH;
                }
                _ => return Err(FieldError::BadFormat),
            }
        }
        for number in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_digit())) {
            let mask = self.number(number, seen)?;
            if seen & mask != 0 {
                return Err(FieldError::BadFormat);
            }
            seen |= mask;
            found |= mask;
        }
        if seen & !(DAY_OF_YEAR | ZONE) != DATE {
            return Err(FieldError::BadFormat);
        }
        Ok(found)
    }

    /// One number: a part of the date, by what is there already.
    fn number(&mut self, text: &str, seen: u32) -> Step {
        let (number, rest) = leading_i32(text)?;
        let value = number.ok_or(FieldError::BadFormat)?;
        let digits = text.len() - rest.len();
        if rest.starts_with('.') {
            if digits > 2 {
                return self.run_together(text, seen | DATE);
            }
            self.micros = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(FieldError::BadFormat);
        }
        let length = text.len();
        if length == 3 && seen & DATE == YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(DAY_OF_YEAR | MONTH | DAY_OF_MONTH);
        }
        let order = self.settings.date_order;
        let found = match seen & DATE {
            0 if length >= 3 || order == DateOrder::Ymd => YEAR,
            0 if order == DateOrder::Dmy => DAY_OF_MONTH,
            0 | YEAR | DAY_OF_MONTH => MONTH,
            MONTH if self.text_month && (length >= 3 || order == DateOrder::Ymd) => YEAR,
            MONTH => DAY_OF_MONTH,
            mask if mask == YEAR | MONTH => {
                if self.text_month && length >= 3 && self.two_digits {
                    // What looked like the year was the day.
                    (self.day, self.year, self.two_digits) = (self.year, value, false);
                    return Ok(DAY_OF_MONTH);
                }
                DAY_OF_MONTH
            }
            mask if mask == MONTH | DAY_OF_MONTH => YEAR,
            DATE => return self.run_together(text, seen),
            _ => return Err(FieldError::BadFormat),
        };
        match found {
            YEAR => (self.year, self.two_digits) = (value, length <= 2),
            MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(found)
    }

    /// `20011223`, `040506`, `040506.789`, `0405`.
    fn run_together(&mut self, text: &str, seen: u32) -> Step {
        let mut digits = text;
        if let Some(point) = text.find('.') {
            self.micros = fraction_micros(&text[point..])?;
            digits = &text[..point];
        } else if seen & DATE != DATE && text.len() >= 6 {
            let (year, month_day) = text.split_at_checked(text.len() - 4).ok_or(FieldError::BadFormat)?;
            let (month, day) = month_day.split_at_checked(2).ok_or(FieldError::BadFormat)?;
            (self.year, self.month, self.day) = (plain(year)?, plain(month)?, plain(day)?);
            self.two_digits = year.len() == 2;
            return Ok(DATE);
        }
        if seen & TIME == TIME || !digits.is_ascii() {
            return Err(FieldError::BadFormat);
        }
        match digits.len() {
            6 => (self.hour, self.minute, self.second) = (plain(&digits[..2])?, plain(&digits[2..4])?, plain(&digits[4..])?),
            4 => (self.hour, self.minute, self.second) = (plain(&digits[..2])?, plain(&digits[2..])?, 0),
            _ => return Err(FieldError::BadFormat),
        }
        Ok(TIME)
    }

    fn word(&mut self, fields: &[Token], i: usize) -> Step {
        let text = fields[i].text.as_str();
        if let Some(found) = self.zone_abbreviation(text) {
            return Ok(found);
        }
        let Some(meaning) = keyword(text) else { return self.zone_word(text) };
        match meaning {
            Keyword::Ignored => Ok(0),
            Keyword::Month(month) => {
                let mut found = MONTH;
                if self.has(MONTH) && !self.text_month && !self.has(DAY_OF_MONTH) && (1..=31).contains(&self.month) {
                    // The number that looked like a month was the day.
                    self.day = self.month;
                    found = DAY_OF_MONTH;
                }
                (self.text_month, self.month) = (true, month);
                Ok(found)
            }
            Keyword::DaylightSaving => {
                match &mut self.zone {
                    Some(ZoneField::Offset(offset)) => *offset += 3600,
                    Some(ZoneField::Zone(_) | ZoneField::Abbreviation(..)) | None => {}
                }
                Ok(DST_AFTER_ZONE)
            }
            Keyword::Weekday if self.time_only => Err(FieldError::BadFormat),
            Keyword::Weekday => Ok(WEEKDAY),
            Keyword::Am | Keyword::Pm => {
                self.pm = Some(meaning == Keyword::Pm);
                Ok(MERIDIEM)
            }
            Keyword::Ad | Keyword::Bc => {
                self.bc = meaning == Keyword::Bc;
                Ok(ERA)
            }
            Keyword::Unit(unit) => {
                self.label = Some(unit);
                Ok(0)
            }
            Keyword::IsoTime => {
                let next = fields.get(i + 1).map(|token| token.look);
                let time_follows = matches!(next, Some(Look::Number | Look::Time | Look::Date));
                if !(self.has(DATE) || self.time_only) || !time_follows {
                    return Err(FieldError::BadFormat);
                }
                self.label = Some(Unit::Time);
                Ok(0)
            }
            Keyword::Now | Keyword::Today | Keyword::Tomorrow | Keyword::Yesterday | Keyword::Zulu => Ok(self.relative(meaning)),
            Keyword::Epoch => self.special(Outcome::Epoch),
            Keyword::Infinity => self.special(Outcome::Infinity),
            Keyword::NegativeInfinity => self.special(Outcome::NegativeInfinity),
        }
    }

    fn special(&mut self, outcome: Outcome) -> Step {
        if self.time_only {
            return Err(FieldError::BadFormat);
        }
        self.outcome = outcome;
        Ok(DATE | TIME | ZONE)
    }

    fn relative(&mut self, meaning: Keyword) -> u32 {
        if meaning == Keyword::Zulu {
            self.set_time(0);
            self.zone = Some(ZoneField::Offset(0));
            return TIME | ZONE;
        }
        let now = self.settings.transaction_micros;
        let offset = zone::offset_at(self.settings.time_zone, now);
        let (today, time) = split(now + i64::from(offset) * SECOND);
        let days = match meaning {
            Keyword::Tomorrow => 1,
            Keyword::Yesterday => -1,
            _ => 0,
        };
        let civil = civil_from_days(today + days);
        (self.year, self.month, self.day) = (civil.year, civil.month, civil.day);
        // The year is final: no era and no century is to be guessed.
        self.julian = true;
        if meaning != Keyword::Now {
            return DATE;
        }
        self.set_time(time);
        self.zone = Some(ZoneField::Offset(i64::from(offset)));
        DATE | TIME | ZONE
    }

    fn zone_abbreviation(&mut self, text: &str) -> Option<u32> {
        match zone_abbreviations::find(text)? {
            Meaning::Offset(offset, is_dst) => {
                self.zone = Some(ZoneField::Offset(i64::from(offset)));
                Some(if is_dst { ZONE | DST_ZONE } else { ZONE })
            }
            Meaning::Zone(_) => match zone::find(text)? {
                ZoneWord::Zone(tz) => {
                    self.zone = Some(ZoneField::Abbreviation(tz, zone_abbreviations::name(text)?));
                    Some(ZONE)
                }
                ZoneWord::Offset(_) => None,
            },
        }
    }

    fn zone_word(&mut self, text: &str) -> Step {
        let tz = zone::named(text).ok_or(FieldError::BadFormat)?;
        self.zone = Some(ZoneField::Zone(TimeZone::Named(tz)));
        Ok(ZONE)
    }

    fn validate_date(&mut self) -> Result<(), FieldError> {
        if self.has(YEAR) && !self.julian {
            if self.bc {
                if self.year <= 0 {
                    return Err(FieldError::FieldOverflow);
                }
                self.year = 1 - self.year;
            } else if self.two_digits {
                self.year += if self.year < 70 { 2000 } else { 1900 };
            } else if self.year <= 0 && self.outcome == Outcome::Fields {
                return Err(FieldError::FieldOverflow);
            }
        }
        if self.has(DAY_OF_YEAR) {
            let civil = civil_from_days(days_from_civil(self.year, 1, 1) + self.day_of_year - 1);
            (self.year, self.month, self.day) = (civil.year, civil.month, civil.day);
        }
        if self.outcome != Outcome::Fields {
            return Ok(());
        }
        if self.has(MONTH) && !(1..=12).contains(&self.month) || self.has(DAY_OF_MONTH) && !(1..=31).contains(&self.day) {
            return Err(FieldError::MonthDayOverflow);
        }
        if self.has(DATE) && self.day > days_in_month(self.year, self.month) {
            return Err(FieldError::FieldOverflow);
        }
        Ok(())
    }

    fn apply_meridiem(&mut self) -> Result<(), FieldError> {
        let Some(pm) = self.pm else { return Ok(()) };
        if self.hour > 12 {
            return Err(FieldError::FieldOverflow);
        }
        self.hour = self.hour % 12 + if pm { 12 } else { 0 };
        Ok(())
    }

    fn days(&self) -> i64 {
        days_from_civil(self.year, self.month, self.day)
    }

    fn time(&self) -> i64 {
        self.hour * HOUR + self.minute * MINUTE + self.second * SECOND + self.micros
    }

    fn timestamp(&self) -> Option<i64> {
        self.days().checked_mul(DAY)?.checked_add(self.time())
    }
}

fn has_one_offset(tz: Tz) -> bool {
    // A zone that had the same offset in every season of the last decades.
    let zone = TimeZone::Named(tz);
    let at = |year: i64, month: i64| zone::offset_at(zone, days_from_civil(year, month, 1) * DAY);
    let first = at(1800, 1);
    (1900..2040).all(|year| at(year, 1) == first && at(year, 7) == first)
}

fn plain(digits: &str) -> Result<i64, FieldError> {
    digits.parse::<i32>().map(i64::from).map_err(|_| FieldError::FieldOverflow)
}

/// The offset of `+02`, `-0330`, `+05:30:15`, in seconds east.
pub(crate) fn offset_seconds(text: &str) -> Result<i64, FieldError> {
    let digits = text.strip_prefix(['+', '-']).ok_or(FieldError::BadFormat)?;
    let too_far = |_| FieldError::ZoneOverflow;
    let (hours, mut rest) = leading_i32(digits).map_err(too_far)?;
    let (mut hours, mut minutes, mut seconds) = (hours.unwrap_or(0), 0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        let (found, tail) = leading_i32(after).map_err(too_far)?;
        (minutes, rest) = (found.unwrap_or(0), tail);
        if let Some(after) = rest.strip_prefix(':') {
            let (found, tail) = leading_i32(after).map_err(too_far)?;
            (seconds, rest) = (found.unwrap_or(0), tail);
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if !(0..=zone::MAX_OFFSET_HOURS).contains(&hours) || !(0..60).contains(&minutes) || !(0..60).contains(&seconds) {
        return Err(FieldError::ZoneOverflow);
    }
    if !rest.is_empty() {
        return Err(FieldError::BadFormat);
    }
    let west = (hours * 60 + minutes) * 60 + seconds;
    Ok(if text.starts_with('-') { -west } else { west })
}

/// The parts of `hh:mm[:ss[.ffffff]]`, unchecked for the hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) micros: i64,
}

/// Reads a time of the clock; two parts are minutes and seconds when `minute_to_second`.
pub(crate) fn clock(text: &str, minute_to_second: bool) -> Result<Clock, FieldError> {
    let (hour, rest) = crate::datetime_tokens::leading_int(text)?;
    let hour = hour.unwrap_or(0);
    let (minute, rest) = leading_i32(rest.strip_prefix(':').ok_or(FieldError::BadFormat)?)?;
    let minute = minute.unwrap_or(0);
    let mut clock = Clock { hour, minute, second: 0, micros: 0 };
    if rest.is_empty() {
        if minute_to_second {
            clock = Clock { hour: 0, minute: hour, second: minute, micros: 0 };
        }
    } else if rest.starts_with('.') {
        clock = Clock { hour: 0, minute: hour, second: minute, micros: fraction_micros(rest)? };
    } else if let Some(after) = rest.strip_prefix(':') {
        let (second, rest) = leading_i32(after)?;
        clock.second = second.unwrap_or(0);
        if !rest.is_empty() {
            clock.micros = fraction_micros(rest)?;
        }
    } else {
        return Err(FieldError::BadFormat);
    }
    let in_range =
        clock.hour >= 0 && (0..=59).contains(&clock.minute) && (0..=60).contains(&clock.second) && (0..=SECOND).contains(&clock.micros);
    if in_range { Ok(clock) } else { Err(FieldError::FieldOverflow) }
}

/// Reads a date.
pub fn parse_date(text: &str, settings: &FormatSettings) -> Result<i32, ValueError> {
    if let Some((days, "")) = iso_date(text) {
        return Ok(days as i32);
    }
    let mut decoder = Decoder::new(settings, false);
    decoder.run(text).map_err(|error| error.with_text("date", text))?;
    match decoder.outcome {
        Outcome::Epoch => Ok(0),
        Outcome::Infinity => Ok(DATE_INFINITY),
        Outcome::NegativeInfinity => Ok(DATE_NEGATIVE_INFINITY),
        Outcome::Fields => {
            i32::try_from(decoder.days()).ok().filter(|days| is_date(i64::from(*days))).ok_or_else(|| out_of_range("date", text))
        }
    }
}

fn out_of_range(type_name: &str, text: &str) -> ValueError {
    ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{type_name} out of range: \"{text}\""))
}

/// Reads a time of the day.
pub fn parse_time(text: &str, settings: &FormatSettings) -> Result<i64, ValueError> {
    let mut decoder = Decoder::new(settings, true);
    decoder.run(text).map_err(|error| error.with_text("time", text))?;
    Ok(decoder.time())
}

/// Reads a time of the day with time zone; without a zone in the text the session's is meant.
pub fn parse_timetz(text: &str, settings: &FormatSettings) -> Result<TimeTz, ValueError> {
    let mut decoder = Decoder::new(settings, true);
    decoder.run(text).map_err(|error| error.with_text("time with time zone", text))?;
    let time = decoder.time();
    // The date tells whether it is summer: the text's, or today's.
    let day = if decoder.has(DATE) { decoder.days() } else { split(zone::to_local(settings.time_zone, settings.transaction_micros)).0 };
    let local = day * DAY + time;
    let offset = match decoder.zone {
        Some(ZoneField::Offset(offset)) => i32::try_from(offset).map_err(|_| out_of_range("time", text))?,
        Some(ZoneField::Zone(zone)) => zone::offset_at_local(zone, local),
        Some(ZoneField::Abbreviation(tz, name)) => zone::offset_of_abbreviation(tz, name, local),
        None => zone::offset_at_local(settings.time_zone, local),
    };
    Ok(TimeTz { time, offset })
}

/// Reads a timestamp without time zone; a zone in the text is ignored.
pub fn parse_timestamp(text: &str, settings: &FormatSettings) -> Result<i64, ValueError> {
    if let Some(micros) = iso_timestamp(text) {
        return Ok(micros);
    }
    let mut decoder = Decoder::new(settings, false);
    decoder.run(text).map_err(|error| error.with_text("timestamp", text))?;
    match decoder.outcome {
        Outcome::Epoch => Ok(0),
        Outcome::Infinity => Ok(INFINITY),
        Outcome::NegativeInfinity => Ok(NEGATIVE_INFINITY),
        Outcome::Fields => decoder.timestamp().filter(|t| is_timestamp(*t)).ok_or_else(|| out_of_range("timestamp", text)),
    }
}

/// Reads a timestamp with time zone; without a zone in the text the session's is meant.
pub fn parse_timestamptz(text: &str, settings: &FormatSettings) -> Result<i64, ValueError> {
    let mut decoder = Decoder::new(settings, false);
    decoder.run(text).map_err(|error| error.with_text("timestamp with time zone", text))?;
    match decoder.outcome {
        Outcome::Epoch => return Ok(0),
        Outcome::Infinity => return Ok(INFINITY),
        Outcome::NegativeInfinity => return Ok(NEGATIVE_INFINITY),
        Outcome::Fields => {}
    }
    let instant = decoder.timestamp().and_then(|local| match decoder.zone {
        Some(ZoneField::Offset(offset)) => local.checked_sub(offset * SECOND),
        Some(ZoneField::Zone(zone)) => zone::to_utc(zone, local),
        Some(ZoneField::Abbreviation(tz, name)) => {
            let near = zone::to_utc(TimeZone::Named(tz), local)?;
            local.checked_sub(i64::from(zone::offset_of_abbreviation(tz, name, near)) * SECOND)
        }
        None => zone::to_utc(settings.time_zone, local),
    });
    instant.filter(|t| is_timestamp(*t)).ok_or_else(|| out_of_range("timestamp", text))
}

/// The commonest form of a date, and what comes after it.
fn iso_date(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let (date, _) = bytes.split_first_chunk::<10>()?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..])?);
    let is_valid = year >= 1 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    is_valid.then(|| (days_from_civil(year, month, day), &text[10..]))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

/// `YYYY-MM-DD[ HH:MM:SS[.ffffff]]`.
fn iso_timestamp(text: &str) -> Option<i64> {
    let (days, rest) = iso_date(text)?;
    if rest.is_empty() {
        return Some(days * DAY);
    }
    let (time, fraction) = rest.as_bytes().split_first_chunk::<9>()?;
    if !matches!(time[0], b' ' | b'T') || time[3] != b':' || time[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&time[1..3])?, digits(&time[4..6])?, digits(&time[7..])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', rest @ ..] if (1..=6).contains(&rest.len()) => digits(rest)? * 10_i64.pow(6 - rest.len() as u32),
        _ => return None,
    };
    Some(days * DAY + hour * HOUR + minute * MINUTE + second * SECOND + micros)
}
