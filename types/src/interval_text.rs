//! Reading and writing intervals: PostgreSQL's own words, the SQL standard's and ISO 8601's; and rounding to an interval's modifier.

use common::interval::Interval;
use common::sqlstate::SqlState;

use crate::calendar::{DAY, HOUR, MINUTE, SECOND};
use crate::datetime_parse::clock;
use crate::datetime_print::{put_fraction, put_padded};
use crate::datetime_tokens::{FieldError, Look, Unit, fraction, leading_i32, leading_int, tokens, unit};
use crate::error::ValueError;
use crate::format_settings::IntervalStyle;

/// Bits of the range in an interval's modifier, as `interval year to month` sets them.
const RANGE_MONTH: i32 = 1 << 1;
const RANGE_YEAR: i32 = 1 << 2;
const RANGE_DAY: i32 = 1 << 3;
const RANGE_HOUR: i32 = 1 << 10;
const RANGE_MINUTE: i32 = 1 << 11;
const RANGE_SECOND: i32 = 1 << 12;
/// All fields, and all digits.
const RANGE_FULL: i32 = 0x7fff;
const PRECISION_FULL: i32 = 0xffff;

/// The modifier of `interval first to last (precision)`, with the fields in lower case; `None` when there is no such type.
pub fn typmod(first: Option<&str>, last: Option<&str>, precision: Option<i32>) -> Option<i32> {
    /// From the largest down.
    const FIELDS: [(&str, i32); 6] = [
        ("year", RANGE_YEAR),
        ("month", RANGE_MONTH),
        ("day", RANGE_DAY),
        ("hour", RANGE_HOUR),
        ("minute", RANGE_MINUTE),
        ("second", RANGE_SECOND),
    ];
    let place = |word: &str| FIELDS.iter().position(|(name, _)| *name == word);
    let range = match (first, last) {
        (None, None) if precision.is_none() => return Some(-1),
        (None, _) => RANGE_FULL,
        (Some(first), None) => FIELDS[place(first)?].1,
        (Some(first), Some(last)) => {
            let (from, to) = (place(first)?, place(last)?);
            // Months do not mix with days.
            if from >= to || from < 2 && to >= 2 {
                return None;
            }
            FIELDS[from..=to].iter().map(|(_, bit)| bit).sum()
        }
    };
    Some(range << 16 | precision.unwrap_or(PRECISION_FULL))
}

/// An interval that is being put together.
#[derive(Default)]
struct Sum {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

type Step = Result<(), FieldError>;

impl Sum {
    fn add_micros(&mut self, value: i64, part: f64, scale: i64) -> Step {
        let added = value.checked_mul(scale).and_then(|v| self.micros.checked_add(v));
        self.micros = added.ok_or(FieldError::FieldOverflow)?;
        self.add_part_of(part, scale)
    }

    /// A fraction of a unit that is `scale` microseconds long.
    fn add_part_of(&mut self, part: f64, scale: i64) -> Step {
        if part == 0.0 {
            return Ok(());
        }
        let exact = part * scale as f64;
        let whole = exact.trunc();
        let rest = exact - whole;
        let mut micros = whole as i64;
        if rest > 0.5 {
            micros += 1;
        } else if rest < -0.5 {
            micros -= 1;
        }
        self.micros = self.micros.checked_add(micros).ok_or(FieldError::FieldOverflow)?;
        Ok(())
    }

    fn add_days(&mut self, value: i64, scale: i32) -> Step {
        self.days = added(self.days, value, scale)?;
        Ok(())
    }

    /// A fraction of a unit that is `scale` days long.
    fn add_part_of_days(&mut self, part: f64, scale: f64) -> Step {
        if part == 0.0 {
            return Ok(());
        }
        let exact = part * scale;
        self.add_days(exact.trunc() as i64, 1)?;
        self.add_part_of(exact - exact.trunc(), DAY)
    }

    fn add_months(&mut self, value: i64) -> Step {
        self.months = added(self.months, value, 1)?;
        Ok(())
    }

    fn add_years(&mut self, value: i64, part: f64, scale: i32) -> Step {
        self.years = added(self.years, value, scale)?;
        self.add_months((part * f64::from(scale) * 12.0).round_ties_even() as i64)
    }

    fn negate(&mut self) -> Step {
        let negated =
            (|| Some((self.years.checked_neg()?, self.months.checked_neg()?, self.days.checked_neg()?, self.micros.checked_neg()?)))();
        (self.years, self.months, self.days, self.micros) = negated.ok_or(FieldError::FieldOverflow)?;
        Ok(())
    }

    fn finish(&self) -> Result<Interval, FieldError> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        let months = i32::try_from(months).map_err(|_| FieldError::Other(out_of_range()))?;
        Ok(Interval { months, days: self.days, micros: self.micros })
    }
}

/// 22008: `interval out of range`.
pub(crate) fn out_of_range() -> ValueError {
    ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

fn added(sum: i32, value: i64, scale: i32) -> Result<i32, FieldError> {
    let scaled = i32::try_from(value).ok().and_then(|v| v.checked_mul(scale));
    scaled.and_then(|v| sum.checked_add(v)).ok_or(FieldError::FieldOverflow)
}

/// Reads an interval. `typmod` is the type's modifier (-1 for none); it also tells what a number without a unit means.
pub fn parse(text: &str, typmod: i32, style: IntervalStyle) -> Result<Interval, ValueError> {
    let range = if typmod < 0 { RANGE_FULL } else { (typmod >> 16) & RANGE_FULL };
    let found = match words(text, range, style) {
        Err(FieldError::BadFormat) => iso(text),
        other => other,
    };
    let interval = found.map_err(|error| match error {
        FieldError::FieldOverflow => FieldError::IntervalOverflow.with_text("interval", text),
        other => other.with_text("interval", text),
    })?;
    apply_typmod(interval, typmod)
}

/// Cuts fields that the modifier leaves out, and rounds the seconds.
pub fn apply_typmod(value: Interval, typmod: i32) -> Result<Interval, ValueError> {
    if typmod < 0 {
        return Ok(value);
    }
    let mut value = value;
    let range = (typmod >> 16) & RANGE_FULL;
    if range != RANGE_FULL {
        if range & (RANGE_DAY | RANGE_HOUR | RANGE_MINUTE | RANGE_SECOND) == 0 {
            let months = if range == RANGE_YEAR { value.months / 12 * 12 } else { value.months };
            value = Interval { months, days: 0, micros: 0 };
        } else if range == RANGE_DAY {
            value.micros = 0;
        } else if range & RANGE_SECOND == 0 {
            let smallest = if range & RANGE_MINUTE == 0 { HOUR } else { MINUTE };
            value.micros = value.micros / smallest * smallest;
        }
    }
    let precision = typmod & PRECISION_FULL;
    if precision < 6 {
        value.micros = rounded(value.micros, precision).ok_or_else(out_of_range)?;
    }
    Ok(value)
}

/// Microseconds rounded to a number of digits of the second, half away from zero.
pub(crate) fn rounded(micros: i64, precision: i32) -> Option<i64> {
    let Ok(kept @ 0..=5) = u32::try_from(precision) else { return Some(micros) };
    let scale = 10_i64.pow(6 - kept);
    let half = scale / 2;
    let magnitude = micros.checked_abs()?.checked_add(half)? / scale * scale;
    Some(if micros < 0 { -magnitude } else { magnitude })
}

/// The unit of a number without one.
fn default_unit(range: i32) -> Unit {
    match range {
        RANGE_YEAR => Unit::Year,
        RANGE_MONTH => Unit::Month,
        _ if range == RANGE_YEAR | RANGE_MONTH => Unit::Month,
        RANGE_DAY => Unit::Day,
        _ if range & RANGE_SECOND != 0 => Unit::Second,
        _ if range & RANGE_MINUTE != 0 => Unit::Minute,
        _ if range & RANGE_HOUR != 0 => Unit::Hour,
        _ => Unit::Second,
    }
}

fn words(text: &str, range: i32, style: IntervalStyle) -> Result<Interval, FieldError> {
    let fields = tokens(text)?;
    // In the standard's style one leading minus is for all fields.
    let signed = |i: usize| fields[i].text.starts_with(['-', '+']);
    let all_negative = style == IntervalStyle::SqlStandard
        && fields.first().is_some_and(|first| first.text.starts_with('-'))
        && !(1..fields.len()).any(signed);
    let mut reader = Words { sum: Sum::default(), seen: 0, unit: None, range, all_negative, ago: false };
    // Backwards, because a unit comes after its number.
    for field in fields.iter().rev() {
        let found = match field.look {
            Look::Time => reader.time(&field.text)?,
            Look::Signed => match reader.signed_time(&field.text) {
                Some(found) => found?,
                None => reader.number(&field.text)?,
            },
            Look::Date | Look::Number => reader.number(&field.text)?,
            Look::Word | Look::SignedWord => {
                if field.text == "ago" {
                    reader.ago = true;
                } else {
                    reader.unit = Some(unit(&field.text).ok_or(FieldError::BadFormat)?);
                }
                0
            }
        };
        if found & reader.seen != 0 {
            return Err(FieldError::BadFormat);
        }
        reader.seen |= found;
    }
    if reader.seen == 0 {
        return Err(FieldError::BadFormat);
    }
    if reader.ago {
        reader.sum.negate()?;
    }
    reader.sum.finish()
}

struct Words {
    sum: Sum,
    seen: u32,
    /// Of the number that comes next, reading backwards.
    unit: Option<Unit>,
    range: i32,
    all_negative: bool,
    ago: bool,
}

/// The bit of a unit among the fields seen.
fn bit(unit: Unit) -> u32 {
    1 << unit as u32
}

fn all_seconds() -> u32 {
    bit(Unit::Second) | bit(Unit::Millisecond) | bit(Unit::Microsecond)
}

fn all_time() -> u32 {
    bit(Unit::Hour) | bit(Unit::Minute) | all_seconds()
}

impl Words {
    fn time(&mut self, text: &str) -> Result<u32, FieldError> {
        let time = clock(text, self.range == RANGE_MINUTE | RANGE_SECOND)?;
        let hours = time.hour.checked_mul(HOUR).ok_or(FieldError::FieldOverflow)?;
        let micros = hours.checked_add(time.minute * MINUTE + time.second * SECOND + time.micros).ok_or(FieldError::FieldOverflow)?;
        self.sum.micros = if self.all_negative { -micros } else { micros };
        self.unit = Some(Unit::Day);
        Ok(all_time())
    }

    /// `+02:03`, `-1:30`; `None` when it is no time.
    fn signed_time(&mut self, text: &str) -> Option<Result<u32, FieldError>> {
        if !text[1..].contains(':') {
            return None;
        }
        let before = self.unit;
        let found = self.time(&text[1..]);
        if found.is_err() {
            self.unit = before;
            return None;
        }
        if text.starts_with('-') {
            self.sum.micros = -self.sum.micros.abs();
        }
        Some(found)
    }

    fn number(&mut self, text: &str) -> Result<u32, FieldError> {
        let mut unit = *self.unit.get_or_insert_with(|| default_unit(self.range));
        let (value, rest) = leading_int(text)?;
        let mut value = value.unwrap_or(0);
        let negative = text.starts_with('-');
        let mut part = 0.0;
        if let Some(after) = rest.strip_prefix('-') {
            // The standard's years-months.
            let (months, rest) = leading_i32(after)?;
            let months = months.unwrap_or(0);
            if !(0..12).contains(&months) {
                return Err(FieldError::FieldOverflow);
            }
            if !rest.is_empty() {
                return Err(FieldError::BadFormat);
            }
            let months = if negative { -months } else { months };
            value = value.checked_mul(12).and_then(|v| v.checked_add(months)).ok_or(FieldError::FieldOverflow)?;
            unit = Unit::Month;
            self.unit = Some(unit);
        } else if !rest.is_empty() {
            part = fraction(rest)?;
            if negative {
                part = -part;
            }
        }
        if self.all_negative {
            (value, part) = (value.checked_abs().map_or(value, |v| -v), -part.abs());
        }
        self.add(unit, value, part)
    }

    fn add(&mut self, unit: Unit, value: i64, part: f64) -> Result<u32, FieldError> {
        let sum = &mut self.sum;
        match unit {
            Unit::Microsecond => sum.add_micros(value, part, 1)?,
            Unit::Millisecond => sum.add_micros(value, part, 1_000)?,
            Unit::Second => {
                sum.add_micros(value, part, SECOND)?;
                return Ok(if part == 0.0 { bit(Unit::Second) } else { all_seconds() });
            }
            Unit::Minute => sum.add_micros(value, part, MINUTE)?,
            Unit::Hour => {
                sum.add_micros(value, part, HOUR)?;
                // A number before hours must be days.
                self.unit = Some(Unit::Day);
            }
            Unit::Day => {
                sum.add_days(value, 1)?;
                sum.add_part_of(part, DAY)?;
            }
            Unit::Week => {
                sum.add_days(value, 7)?;
                sum.add_part_of_days(part, 7.0)?;
            }
            Unit::Month => {
                sum.add_months(value)?;
                sum.add_part_of_days(part, 30.0)?;
            }
            Unit::Year => sum.add_years(value, part, 1)?,
            Unit::Decade => sum.add_years(value, part, 10)?,
            Unit::Century => sum.add_years(value, part, 100)?,
            Unit::Millennium => sum.add_years(value, part, 1000)?,
            Unit::Quarter | Unit::Julian | Unit::Time | Unit::Unusable => return Err(FieldError::BadFormat),
        }
        Ok(bit(unit))
    }
}

/// ISO 8601: `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06`, `P00010203T040506`.
fn iso(text: &str) -> Result<Interval, FieldError> {
    let mut reader = Iso { rest: text.strip_prefix('P').filter(|r| !r.is_empty()).ok_or(FieldError::BadFormat)?, sum: Sum::default() };
    let mut in_date = true;
    let mut any = false;
    while !reader.rest.is_empty() {
        if reader.rest.starts_with('T') {
            reader.rest = &reader.rest[1..];
            (in_date, any) = (false, false);
            continue;
        }
        let width = reader.rest.bytes().skip_while(|b| *b == b'-').take_while(u8::is_ascii_digit).count();
        let (value, part) = reader.number()?;
        let designator = reader.rest.chars().next();
        if !designator.is_none_or(|c| c.is_ascii()) {
            return Err(FieldError::BadFormat);
        }
        reader.rest = reader.rest.get(1..).unwrap_or("");
        let more = if in_date {
            reader.date_part(designator, width, value, part, any)?
        } else {
            reader.time_part(designator, width, value, part, any)?
        };
        match more {
            Next::Field => any = true,
            Next::Time => (in_date, any) = (false, false),
            Next::End => break,
        }
    }
    reader.sum.finish()
}

enum Next {
    Field,
    Time,
    End,
}

struct Iso<'a> {
    rest: &'a str,
    sum: Sum,
}

impl Iso<'_> {
    fn number(&mut self) -> Result<(i64, f64), FieldError> {
        let is_part = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'+');
        let mut len = self.rest.bytes().take_while(is_part).count();
        // A minus inside belongs to the alternative form.
        if let Some(at) = self.rest[..len].char_indices().skip(1).find(|(_, c)| matches!(c, '-' | '+')).map(|(at, _)| at) {
            len = at;
        }
        let value: f64 = self.rest[..len].parse().map_err(|_| FieldError::BadFormat)?;
        if value.abs() > 1.0e15 {
            return Err(FieldError::FieldOverflow);
        }
        self.rest = &self.rest[len..];
        Ok((value.trunc() as i64, value.fract()))
    }

    /// After a part of the alternative form: the end, the time, or `separator` and the next part.
    fn goes_on(&mut self, separator: char) -> Result<Option<Next>, FieldError> {
        if self.rest.is_empty() {
            return Ok(Some(Next::End));
        }
        if separator == '-' && self.rest.starts_with('T') {
            self.rest = &self.rest[1..];
            return Ok(Some(Next::Time));
        }
        self.rest = self.rest.strip_prefix(separator).ok_or(FieldError::BadFormat)?;
        Ok(None)
    }

    fn date_part(&mut self, designator: Option<char>, width: usize, value: i64, part: f64, any: bool) -> Result<Next, FieldError> {
        let ends = designator.is_none_or(|c| c == 'T');
        match designator {
            Some('Y') => self.sum.add_years(value, part, 1)?,
            Some('M') => {
                self.sum.add_months(value)?;
                self.sum.add_part_of_days(part, 30.0)?;
            }
            Some('W') => {
                self.sum.add_days(value, 7)?;
                self.sum.add_part_of_days(part, 7.0)?;
            }
            Some('D') => {
                self.sum.add_days(value, 1)?;
                self.sum.add_part_of(part, DAY)?;
            }
            _ if ends && width == 8 && !any => {
                self.sum.add_years(value / 10_000, 0.0, 1)?;
                self.sum.add_months(value / 100 % 100)?;
                self.sum.add_days(value % 100, 1)?;
                self.sum.add_part_of(part, DAY)?;
                return Ok(if designator.is_none() { Next::End } else { Next::Time });
            }
            None | Some('T' | '-') if !any => {
                self.sum.add_years(value, part, 1)?;
                if ends {
                    return Ok(if designator.is_none() { Next::End } else { Next::Time });
                }
                let (months, part) = self.number()?;
                self.sum.add_months(months)?;
                self.sum.add_part_of_days(part, 30.0)?;
                if let Some(next) = self.goes_on('-')? {
                    return Ok(next);
                }
                let (days, part) = self.number()?;
                self.sum.add_days(days, 1)?;
                self.sum.add_part_of(part, DAY)?;
                return self.goes_on('-')?.ok_or(FieldError::BadFormat);
            }
            _ => return Err(FieldError::BadFormat),
        }
        Ok(Next::Field)
    }

    fn time_part(&mut self, designator: Option<char>, width: usize, value: i64, part: f64, any: bool) -> Result<Next, FieldError> {
        match designator {
            Some('H') => self.sum.add_micros(value, part, HOUR)?,
            Some('M') => self.sum.add_micros(value, part, MINUTE)?,
            Some('S') => self.sum.add_micros(value, part, SECOND)?,
            None if width == 6 && !any => {
                self.sum.add_micros(value / 10_000, 0.0, HOUR)?;
                self.sum.add_micros(value / 100 % 100, 0.0, MINUTE)?;
                self.sum.add_micros(value % 100, part, SECOND)?;
                return Ok(Next::End);
            }
            None | Some(':') if !any => {
                self.sum.add_micros(value, part, HOUR)?;
                if designator.is_none() {
                    return Ok(Next::End);
                }
                let (minutes, part) = self.number()?;
                self.sum.add_micros(minutes, part, MINUTE)?;
                if let Some(next) = self.goes_on(':')? {
                    return Ok(next);
                }
                let (seconds, part) = self.number()?;
                self.sum.add_micros(seconds, part, SECOND)?;
                return self.goes_on(':')?.ok_or(FieldError::BadFormat);
            }
            _ => return Err(FieldError::BadFormat),
        }
        Ok(Next::Field)
    }
}

/// An interval cut into the fields that are printed; all have the sign of their part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts {
    pub(crate) years: i64,
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) hours: i64,
    pub(crate) minutes: i64,
    pub(crate) seconds: i64,
    pub(crate) micros: i64,
}

impl From<Interval> for Parts {
    fn from(value: Interval) -> Self {
        Self {
            years: i64::from(value.months / 12),
            months: i64::from(value.months % 12),
            days: i64::from(value.days),
            hours: value.micros / HOUR,
            minutes: value.micros / MINUTE % 60,
            seconds: value.micros / SECOND % 60,
            micros: value.micros % SECOND,
        }
    }
}

impl Parts {
    fn has_time(&self) -> bool {
        self.hours != 0 || self.minutes != 0 || self.has_seconds()
    }

    fn has_seconds(&self) -> bool {
        self.seconds != 0 || self.micros != 0
    }

    fn time_is_negative(&self) -> bool {
        self.hours < 0 || self.minutes < 0 || self.seconds < 0 || self.micros < 0
    }

    fn all(&self) -> [i64; 7] {
        [self.years, self.months, self.days, self.hours, self.minutes, self.seconds, self.micros]
    }

    fn abs(&self) -> Self {
        Self {
            years: self.years.abs(),
            months: self.months.abs(),
            days: self.days.abs(),
            hours: self.hours.abs(),
            minutes: self.minutes.abs(),
            seconds: self.seconds.abs(),
            micros: self.micros.abs(),
        }
    }
}

/// Appends an interval.
pub fn write(value: Interval, style: IntervalStyle, out: &mut Vec<u8>) {
    let parts = Parts::from(value);
    match style {
        IntervalStyle::Postgres => write_postgres(parts, out),
        IntervalStyle::PostgresVerbose => write_verbose(parts, out),
        IntervalStyle::SqlStandard => write_standard(parts, out),
        IntervalStyle::Iso8601 => write_iso(parts, out),
    }
}

fn put(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_clock(parts: Parts, hour_width: usize, out: &mut Vec<u8>) {
    put_padded(parts.hours.abs(), hour_width, out);
    out.push(b':');
    put_padded(parts.minutes.abs(), 2, out);
    out.push(b':');
    put_padded(parts.seconds.abs(), 2, out);
    put_fraction(parts.micros.abs(), out);
}

fn write_postgres(parts: Parts, out: &mut Vec<u8>) {
    let start = out.len();
    let mut after_negative = false;
    for (value, name) in [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day")] {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.push(b' ');
        }
        if after_negative && value > 0 {
            out.push(b'+');
        }
        put(value, out);
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        if value != 1 {
            out.push(b's');
        }
        after_negative = value < 0;
    }
    let is_empty = out.len() == start;
    if is_empty || parts.has_time() {
        if !is_empty {
            out.push(b' ');
        }
        if parts.time_is_negative() {
            out.push(b'-');
        } else if after_negative {
            out.push(b'+');
        }
        put_clock(parts, 2, out);
    }
}

fn write_verbose(parts: Parts, out: &mut Vec<u8>) {
    out.push(b'@');
    // The first field that is not zero decides about "ago".
    let mut ago: Option<bool> = None;
    let fields = [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day"), (parts.hours, "hour"), (parts.minutes, "min")];
    for (value, name) in fields {
        if value == 0 {
            continue;
        }
        let value = if *ago.get_or_insert(value < 0) { -value } else { value };
        out.push(b' ');
        put(value, out);
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        if value != 1 {
            out.push(b's');
        }
    }
    if parts.has_seconds() {
        out.push(b' ');
        let negative = parts.seconds < 0 || parts.micros < 0;
        if *ago.get_or_insert(negative) != negative {
            out.push(b'-');
        }
        put(parts.seconds.abs(), out);
        put_fraction(parts.micros.abs(), out);
        let plural = parts.seconds.abs() != 1 || parts.micros != 0;
        out.extend_from_slice(if plural { b" secs" } else { b" sec" });
    }
    match ago {
        None => out.extend_from_slice(b" 0"),
        Some(true) => out.extend_from_slice(b" ago"),
        Some(false) => {}
    }
}

fn write_standard(parts: Parts, out: &mut Vec<u8>) {
    let negative = parts.all().iter().any(|v| *v < 0);
    let positive = parts.all().iter().any(|v| *v > 0);
    let year_month = parts.years != 0 || parts.months != 0;
    let day_time = parts.days != 0 || parts.has_time();
    if !negative && !positive {
        return out.push(b'0');
    }
    let sign = |negative: bool| if negative { b'-' } else { b'+' };
    if negative && positive || year_month && day_time {
        out.push(sign(parts.years < 0 || parts.months < 0));
        put(parts.years.abs(), out);
        out.push(b'-');
        put(parts.months.abs(), out);
        out.push(b' ');
        out.push(sign(parts.days < 0));
        put(parts.days.abs(), out);
        out.push(b' ');
        out.push(sign(parts.time_is_negative()));
        return put_clock(parts, 1, out);
    }
    if negative {
        out.push(b'-');
    }
    let parts = parts.abs();
    if year_month {
        put(parts.years, out);
        out.push(b'-');
        return put(parts.months, out);
    }
    if parts.days != 0 {
        put(parts.days, out);
        out.push(b' ');
    }
    put_clock(parts, 1, out);
}

fn write_iso(parts: Parts, out: &mut Vec<u8>) {
    if parts.all().iter().all(|v| *v == 0) {
        return out.extend_from_slice(b"PT0S");
    }
    let put_field = |value: i64, letter: u8, out: &mut Vec<u8>| {
        if value != 0 {
            put(value, out);
            out.push(letter);
        }
    };
    out.push(b'P');
    put_field(parts.years, b'Y', out);
    put_field(parts.months, b'M', out);
    put_field(parts.days, b'D', out);
    if parts.has_time() {
        out.push(b'T');
        put_field(parts.hours, b'H', out);
        put_field(parts.minutes, b'M', out);
        if parts.has_seconds() {
            if parts.seconds < 0 || parts.micros < 0 {
                out.push(b'-');
            }
            put(parts.seconds.abs(), out);
            put_fraction(parts.micros.abs(), out);
            out.push(b'S');
        }
    }
}
