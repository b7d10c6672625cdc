//! The words and numbers that a date, a time or an interval is written with, before anybody knows what they mean.
//!
//! PostgreSQL reads all its date and time types in two steps, and which inputs are accepted follows from the first one: the text is
//! cut into fields by their first character and the punctuation in them. This module is that step, the table of key words, and the
//! errors that both steps share.

use common::sqlstate::SqlState;

use crate::error::ValueError;

/// More fields than this are refused.
const FIELDS_MAX: usize = 25;
/// So are longer texts.
const LENGTH_MAX: usize = 153;

/// What a field looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    Number,
    Word,
    /// Has `-`, `/` or `.` in it; may also be the name of a zone.
    Date,
    /// Has `:` in it.
    Time,
    /// A sign and a digit.
    Signed,
    /// A sign and a letter.
    SignedWord,
}

/// A field, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) look: Look,
}

/// Why a date, a time or an interval is refused; [`FieldError::with_text`] words it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FieldError {
    BadFormat,
    FieldOverflow,
    /// Month and day may have been meant the other way round.
    MonthDayOverflow,
    IntervalOverflow,
    ZoneOverflow,
    /// Already worded.
    Other(ValueError),
}

impl FieldError {
    pub(crate) fn with_text(self, type_name: &str, text: &str) -> ValueError {
        match self {
            Self::BadFormat => {
                ValueError::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type {type_name}: \"{text}\""))
            }
            Self::FieldOverflow => {
                ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
            }
            Self::MonthDayOverflow => ValueError::Other {
                sqlstate: SqlState::DATETIME_FIELD_OVERFLOW,
                message: format!("date/time field value out of range: \"{text}\""),
                detail: None,
                hint: Some("Perhaps you need a different \"datestyle\" setting.".to_owned()),
            },
            Self::IntervalOverflow => {
                ValueError::new(SqlState::INTERVAL_FIELD_OVERFLOW, format!("interval field value out of range: \"{text}\""))
            }
            Self::ZoneOverflow => {
                ValueError::new(SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE, format!("time zone displacement out of range: \"{text}\""))
            }
            Self::Other(error) => error,
        }
    }
}

/// Cuts a text into fields.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, FieldError> {
    if text.len() > LENGTH_MAX {
        return Err(FieldError::BadFormat);
    }
    let mut cutter = Cutter { bytes: text.as_bytes(), at: 0 };
    let mut out = Vec::new();
    while let Some(byte) = cutter.peek() {
        if is_space(byte) {
            cutter.at += 1;
            continue;
        }
        let start = cutter.at;
        let look = if byte.is_ascii_digit() {
            cutter.after_digit()
        } else if byte == b'.' {
            cutter.at += 1;
            cutter.skip(|b| b.is_ascii_digit());
            Look::Number
        } else if byte.is_ascii_alphabetic() {
            cutter.after_letter()
        } else if byte == b'+' || byte == b'-' {
            out.push(cutter.after_sign()?);
            check_count(&out)?;
            continue;
        } else if byte.is_ascii_punctuation() {
            cutter.at += 1;
            continue;
        } else {
            return Err(FieldError::BadFormat);
        };
        out.push(Token { text: text[start..cutter.at].to_ascii_lowercase(), look });
        check_count(&out)?;
    }
    Ok(out)
}

fn check_count(tokens: &[Token]) -> Result<(), FieldError> {
    if tokens.len() > FIELDS_MAX { Err(FieldError::BadFormat) } else { Ok(()) }
}

/// C's isspace.
pub(crate) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

struct Cutter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cutter<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn after_digit(&mut self) -> Look {
        self.skip(|b| b.is_ascii_digit());
        match self.peek() {
            Some(b':') => {
                self.skip(|b| b.is_ascii_digit() || b == b':' || b == b'.');
                Look::Time
            }
            Some(delimiter @ (b'-' | b'/' | b'.')) => {
                self.at += 1;
                if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
                    self.skip(|b| b.is_ascii_alphanumeric() || b == delimiter);
                    return Look::Date;
                }
                self.skip(|b| b.is_ascii_digit());
                if self.peek() == Some(delimiter) {
                    self.skip(|b| b.is_ascii_digit() || b == delimiter);
                    return Look::Date;
                }
                if delimiter == b'.' { Look::Number } else { Look::Date }
            }
            _ => Look::Number,
        }
    }

    fn after_letter(&mut self) -> Look {
        let start = self.at;
        self.skip(|b| b.is_ascii_alphabetic());
        let is_date = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            Some(b) if b == b'+' || b.is_ascii_digit() => {
                let word = String::from_utf8_lossy(&self.bytes[start..self.at]).to_ascii_lowercase();
                keyword(&word).is_none()
            }
            _ => false,
        };
        if !is_date {
            return Look::Word;
        }
        self.skip(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'/' | b'_' | b'.' | b':'));
        Look::Date
    }

    fn after_sign(&mut self) -> Result<Token, FieldError> {
        let sign = char::from(self.bytes[self.at]);
        self.at += 1;
        self.skip(is_space);
        let start = self.at;
        let look = match self.peek() {
            Some(b) if b.is_ascii_digit() => {
                self.skip(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'));
                Look::Signed
            }
            Some(b) if b.is_ascii_alphabetic() => {
                self.skip(|b| b.is_ascii_alphabetic());
                Look::SignedWord
            }
            _ => return Err(FieldError::BadFormat),
        };
        let rest = String::from_utf8_lossy(&self.bytes[start..self.at]).to_ascii_lowercase();
        Ok(Token { text: format!("{sign}{rest}"), look })
    }
}

/// What a key word of a date or a time means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keyword {
    Now,
    Today,
    Tomorrow,
    Yesterday,
    /// Midnight UTC.
    Zulu,
    Epoch,
    Infinity,
    NegativeInfinity,
    /// 1 to 12.
    Month(i64),
    Weekday,
    Am,
    Pm,
    Ad,
    Bc,
    /// "on", "at".
    Ignored,
    /// `DST` after a zone.
    DaylightSaving,
    /// The next number is of this unit.
    Unit(Unit),
    /// `T` between date and time.
    IsoTime,
}

/// A unit that labels the number after it (in dates) or before it (in intervals).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Julian,
    Time,
    /// dow, doy, isodow, isoyear, timezone: words that are known and fit nowhere in a literal.
    Unusable,
}

/// Words are compared by this many characters.
const WORD_MAX: usize = 10;

fn shortened(word: &str) -> &str {
    word.get(..WORD_MAX).unwrap_or(word)
}

/// The key word of a date or a time; `word` is in lower case.
pub(crate) fn keyword(word: &str) -> Option<Keyword> {
    use Keyword as K;
    Some(match shortened(word) {
        "-infinity" => K::NegativeInfinity,
        "infinity" => K::Infinity,
        "ad" => K::Ad,
        "bc" => K::Bc,
        "allballs" => K::Zulu,
        "am" => K::Am,
        "pm" => K::Pm,
        "at" | "on" => K::Ignored,
        "now" => K::Now,
        "today" => K::Today,
        "tomorrow" => K::Tomorrow,
        "yesterday" => K::Yesterday,
        "epoch" => K::Epoch,
        "dst" => K::DaylightSaving,
        "d" => K::Unit(Unit::Day),
        "h" => K::Unit(Unit::Hour),
        "j" | "jd" | "julian" => K::Unit(Unit::Julian),
        "m" => K::Unit(Unit::Month),
        "mm" => K::Unit(Unit::Minute),
        "s" => K::Unit(Unit::Second),
        "y" => K::Unit(Unit::Year),
        "dow" | "doy" | "isodow" | "isoyear" => K::Unit(Unit::Unusable),
        "t" => K::IsoTime,
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu" | "thur" | "thurs"
        | "thursday" | "fri" | "friday" | "sat" | "saturday" => K::Weekday,
        other => K::Month(month(other)?),
    })
}

/// The number of a month by its name or the first three letters.
fn month(word: &str) -> Option<i64> {
    Some(match word {
        "jan" | "january" => 1,
        "feb" | "february" => 2,
        "mar" | "march" => 3,
        "apr" | "april" => 4,
        "may" => 5,
        "jun" | "june" => 6,
        "jul" | "july" => 7,
        "aug" | "august" => 8,
        "sep" | "sept" | "september" => 9,
        "oct" | "october" => 10,
        "nov" | "november" => 11,
        "dec" | "december" => 12,
        _ => return None,
    })
}

/// The unit of an interval's number, as in `3 days`; also what `extract` and `date_trunc` take. `word` is in lower case.
pub(crate) fn unit(word: &str) -> Option<Unit> {
    Some(match shortened(word) {
        "us" | "usec" | "usecond" | "useconds" | "usecs" | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecond" | "mseconds" | "msecs" | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "second" | "seconds" | "secs" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hour" | "hours" | "hr" | "hrs" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "year" | "years" | "yr" | "yrs" => Unit::Year,
        "dec" | "decade" | "decades" | "decs" => Unit::Decade,
        "c" | "cent" | "cents" | "centuries" | "century" => Unit::Century,
        "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
        "timezone" | "timezone_h" | "timezone_m" => Unit::Unusable,
        _ => return None,
    })
}

/// A leading number as C's strtol reads it, and what comes after; `None` for the number when it is not there.
pub(crate) fn leading_int(text: &str) -> Result<(Option<i64>, &str), FieldError> {
    let signs = usize::from(text.starts_with(['+', '-']));
    let digits = text[signs..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok((None, text));
    }
    let (number, rest) = text.split_at(signs + digits);
    number.parse().map(|n| (Some(n), rest)).map_err(|_| FieldError::FieldOverflow)
}

/// The same for numbers of 32 bits.
pub(crate) fn leading_i32(text: &str) -> Result<(Option<i64>, &str), FieldError> {
    let (number, rest) = leading_int(text)?;
    if number.is_some_and(|n| i32::try_from(n).is_err()) {
        return Err(FieldError::FieldOverflow);
    }
    Ok((number, rest))
}

/// `.25` as a fraction; a lone point is none.
pub(crate) fn fraction(text: &str) -> Result<f64, FieldError> {
    if text == "." {
        return Ok(0.0);
    }
    let digits = text.strip_prefix('.').ok_or(FieldError::BadFormat)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FieldError::BadFormat);
    }
    text.parse().map_err(|_| FieldError::BadFormat)
}

/// `.25` in microseconds, rounded.
pub(crate) fn fraction_micros(text: &str) -> Result<i64, FieldError> {
    Ok((fraction(text)? * 1_000_000.0).round_ties_even() as i64)
}
