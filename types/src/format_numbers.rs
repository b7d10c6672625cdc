//! `to_char` of numbers.
//!
//! A number is first brought into plain digits with as many after the point as the template has ([`Digits`]); then [`Writer`] goes through
//! the template and puts the digits where it says.

use common::numeric::Numeric;
use common::sqlstate::SqlState;

use crate::decimal;
use crate::error::ValueError;
use crate::format_number_template::{Key, NumberTemplate, Shape, SignPlace, number_template};
use crate::format_template::{Node, Ordinal, ordinal_ending};

/// A number in digits.
struct Digits {
    text: String,
    /// `+`, `-`, or NUL for none: Roman numbers have none.
    sign: char,
    /// Blanks before the first digit.
    spaces: i32,
}

/// Digits that a float4 and a float8 keep.
const FLOAT4_DIGITS: i32 = 6;
const FLOAT8_DIGITS: i32 = 15;

/// `to_char(integer, text)`.
pub fn int4_to_char(value: i32, template: &str) -> Result<String, ValueError> {
    to_char(template, |shape| {
        if shape.is_roman {
            return Ok(roman(i64::from(value)));
        }
        if shape.has_exponent {
            return Ok(scientific(f64::from(value), shape));
        }
        let factor = 10_i32.checked_pow(shape.shift.unsigned_abs());
        let shifted = factor.and_then(|factor| value.checked_mul(factor)).ok_or_else(|| ValueError::out_of_range("integer"))?;
        Ok(whole(&shifted.to_string(), shape))
    })
}

/// `to_char(bigint, text)`.
pub fn int8_to_char(value: i64, template: &str) -> Result<String, ValueError> {
    to_char(template, |shape| {
        if shape.is_roman {
            let small = i32::try_from(value).map_err(|_| ValueError::out_of_range("integer"))?;
            return Ok(roman(i64::from(small)));
        }
        if shape.has_exponent {
            return Ok(scientific_numeric(&Numeric::from(value), shape));
        }
        let factor = 10_i64.checked_pow(shape.shift.unsigned_abs());
        let shifted = factor.and_then(|factor| value.checked_mul(factor)).ok_or_else(|| ValueError::out_of_range("bigint"))?;
        Ok(whole(&shifted.to_string(), shape))
    })
}

/// `to_char(numeric, text)`.
pub fn numeric_to_char(value: &Numeric, template: &str) -> Result<String, ValueError> {
    to_char(template, |shape| {
        if shape.is_roman {
            return Ok(roman(i64::from(decimal::to_int4(&decimal::round(value, 0)?)?)));
        }
        if shape.has_exponent {
            return Ok(scientific_numeric(value, shape));
        }
        let shifted = if shape.is_shifted {
            let factor = decimal::pow(&Numeric::from(10_i64), &Numeric::from(i64::from(shape.shift)))?;
            decimal::mul(value, &factor)?
        } else {
            value.clone()
        };
        Ok(fitted(&decimal::round(&shifted, shape.post)?.to_string(), shape))
    })
}

/// `to_char(real, text)`.
pub fn float4_to_char(value: f32, template: &str) -> Result<String, ValueError> {
    to_char(template, |shape| {
        let shifted = if shape.is_shifted { value * 10_f64.powi(shape.shift) as f32 } else { value };
        Ok(float(f64::from(value), f64::from(shifted), FLOAT4_DIGITS, shape))
    })
}

/// `to_char(double precision, text)`.
pub fn float8_to_char(value: f64, template: &str) -> Result<String, ValueError> {
    to_char(template, |shape| {
        let shifted = if shape.is_shifted { value * 10_f64.powi(shape.shift) } else { value };
        Ok(float(value, shifted, FLOAT8_DIGITS, shape))
    })
}

fn to_char(template: &str, digits: impl FnOnce(&mut Shape) -> Result<Digits, ValueError>) -> Result<String, ValueError> {
    if template.is_empty() {
        return Ok(String::new());
    }
    let parsed = number_template(template)?;
    let mut shape = parsed.shape;
    let digits = digits(&mut shape)?;
    if shape.has_exponent { Ok(digits.text) } else { write(&parsed, shape, &digits) }
}

fn roman(value: i64) -> Digits {
    const THOUSANDS_MAX: i64 = 3;
    const DIGITS: [[&str; 10]; 3] = [
        ["", "C", "CC", "CCC", "CD", "D", "DC", "DCC", "DCCC", "CM"],
        ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"],
        ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"],
    ];
    let text = if value < 1 || value / 1000 > THOUSANDS_MAX {
        "#".repeat(15)
    } else {
        let value = value.unsigned_abs() as usize;
        let places = [value / 100 % 10, value / 10 % 10, value % 10];
        let rest: String = DIGITS.iter().zip(places).map(|(digits, place)| digits[place]).collect();
        format!("{}{rest}", "M".repeat(value / 1000))
    };
    Digits { text, sign: '\0', spaces: 0 }
}

fn in_digits(text: String) -> Digits {
    Digits { text, sign: '+', spaces: 0 }
}

/// What stands for a number that has no exponent: NaN and the infinities.
fn no_exponent(shape: &Shape) -> Digits {
    let pre = shape.pre.unsigned_abs() as usize;
    let mut marks = vec!['#'; pre + shape.post.unsigned_abs() as usize + 6];
    marks[0] = ' ';
    if let Some(point) = marks.get_mut(pre + 1) {
        *point = '.';
    }
    in_digits(marks.into_iter().collect())
}

/// `%e` with a blank for a plus.
fn scientific(value: f64, shape: &Shape) -> Digits {
    if !value.is_finite() {
        return no_exponent(shape);
    }
    let text = format!("{value:.*e}", shape.post.unsigned_abs() as usize);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let space = if value.is_sign_negative() { "" } else { " " };
    in_digits(format!("{space}{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()))
}

fn scientific_numeric(value: &Numeric, shape: &Shape) -> Digits {
    let Numeric::Finite(number) = value else { return no_exponent(shape) };
    let (unscaled, scale) = number.as_bigint_and_exponent();
    let digits = unscaled.magnitude().to_string();
    let exponent = if digits == "0" { 0 } else { digits.len() as i64 - 1 - scale };
    // Rounding may carry into one more digit, which PostgreSQL leaves there.
    let mantissa = Numeric::finite(bigdecimal::BigDecimal::new(unscaled, scale + exponent));
    let mantissa = decimal::round(&mantissa, shape.post).map_or_else(|_| String::new(), |m| m.to_string());
    let space = if mantissa.starts_with('-') { "" } else { " " };
    in_digits(format!("{space}{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()))
}

/// An integer, with zeros after the point.
fn whole(text: &str, shape: &mut Shape) -> Digits {
    if shape.post > 0 {
        let zeros = "0".repeat(shape.post.unsigned_abs() as usize);
        fitted(&format!("{text}.{zeros}"), shape)
    } else {
        fitted(text, shape)
    }
}

/// A number that has its digits after the point, aligned to those before the point.
fn fitted(text: &str, shape: &mut Shape) -> Digits {
    shape.pre += shape.shift;
    let (sign, number) = text.strip_prefix('-').map_or(('+', text), |number| ('-', number));
    let length = i32::try_from(number.find('.').unwrap_or(number.len())).unwrap_or(i32::MAX);
    if length > shape.pre {
        let marks = |count: i32| "#".repeat(count.unsigned_abs() as usize);
        return Digits { text: format!("{}.{}", marks(shape.pre), marks(shape.post)), sign, spaces: 0 };
    }
    Digits { text: number.to_owned(), sign, spaces: shape.pre - length }
}

fn float(value: f64, shifted: f64, digits: i32, shape: &mut Shape) -> Digits {
    if shape.is_roman {
        // Out of range is out of range of Roman numbers, too.
        return roman(value.round_ties_even() as i64);
    }
    if shape.has_exponent {
        return scientific(value, shape);
    }
    let print = |value: f64, post: i32| match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => format!("{value:.*}", post.unsigned_abs() as usize),
    };
    let length = i32::try_from(print(shifted.abs(), 0).len()).unwrap_or(i32::MAX);
    // No more digits than the type keeps.
    shape.post = if length >= digits { 0 } else { shape.post.min(digits - length) };
    fitted(&print(shifted, shape.post), shape)
}

fn write(template: &NumberTemplate, mut shape: Shape, digits: &Digits) -> Result<String, ValueError> {
    if shape.is_roman {
        shape = Shape { fill: shape.fill, is_roman: true, zero_start: shape.zero_start, zero_end: shape.zero_end, ..Shape::default() };
    }
    let mut writer = Writer::new(shape, digits);
    for node in &template.nodes {
        match node {
            Node::Key(keyword, _) => writer.key(keyword.key)?,
            Node::Separator(c) | Node::Space(c) | Node::Char(c) => writer.out.push(*c),
        }
    }
    // The text ends where the digits were used up, as C's strings do.
    let end = writer.out.find('\0').unwrap_or(writer.out.len());
    writer.out.truncate(end);
    Ok(writer.out)
}

struct Writer<'a> {
    shape: Shape,
    number: &'a [u8],
    sign: char,
    spaces: i32,
    out: String,
    /// The next digit.
    at: usize,
    /// The position in the template, in digits.
    position: i32,
    /// The position at which the number ends.
    count: i32,
    /// The last digit that FM leaves.
    last: Option<usize>,
    sign_written: bool,
    /// Whether a digit stands before this position.
    in_number: bool,
}

impl<'a> Writer<'a> {
    fn new(mut shape: Shape, digits: &'a Digits) -> Self {
        let (sign, number) = (digits.sign, digits.text.as_bytes());
        shape.zero_start = (shape.zero_start - 1).max(0);
        let sign_written = if shape.has_plus || shape.has_minus {
            // MI, PL and SG write it.
            shape.has_minus || !shape.has_plus
        } else {
            if sign != '-' && shape.fill {
                shape.has_bracket = false;
            }
            if shape.sign_place == SignPlace::Before && shape.pre == shape.pre_sign {
                shape.sign_place = SignPlace::After;
            }
            sign == '+' && shape.fill && !shape.has_sign
        };
        let last = if shape.fill && shape.has_point { last_relevant(number, shape.zero_end - digits.spaces) } else { None };
        let count = shape.post + shape.pre - 1 + i32::from(!sign_written && digits.spaces == 0);
        Self {
            shape,
            number,
            sign,
            spaces: digits.spaces,
            out: String::new(),
            at: 0,
            position: 0,
            count,
            last,
            sign_written,
            in_number: false,
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.number.get(at).copied().unwrap_or(0)
    }

    fn last_is_point(&self) -> bool {
        self.last.is_some_and(|last| self.byte(last) == b'.')
    }

    /// Whether a zero before the point stays away, as in ` .1`.
    fn hides_zero(&self) -> bool {
        !self.shape.has_zero && self.at == 0 && self.byte(0) == b'0' && self.shape.post != 0
    }

    fn key(&mut self, key: Key) -> Result<(), ValueError> {
        match key {
            Key::Nine | Key::Zero | Key::Point | Key::LocalePoint => self.digit(key),
            Key::Comma | Key::LocaleGroup if self.in_number => self.out.push(','),
            Key::Comma | Key::LocaleGroup => self.blank(),
            Key::Currency => self.out.push(' '),
            Key::Roman(upper) => {
                let number = String::from_utf8_lossy(&self.number[self.at.min(self.number.len())..]);
                let number = if upper { number.into_owned() } else { number.to_ascii_lowercase() };
                let width = if self.shape.fill { 0 } else { 15 };
                self.out.push_str(&format!("{number:>width$}"));
            }
            Key::Ending(form) => self.ending(form)?,
            Key::Minus if self.sign == '-' => self.out.push('-'),
            Key::Plus if self.sign == '+' => self.out.push('+'),
            Key::Minus | Key::Plus => self.blank(),
            Key::PlusMinus => self.out.push(self.sign),
            Key::Blank | Key::Ignored | Key::Exponent | Key::Fill | Key::Bracket | Key::LocaleSign | Key::Shift => {}
        }
        Ok(())
    }

    fn ending(&mut self, form: Ordinal) -> Result<(), ValueError> {
        if self.shape.is_roman || self.byte(0) == b'#' || self.sign == '-' || self.shape.has_point {
            return Ok(());
        }
        let number = String::from_utf8_lossy(self.number);
        if !number.ends_with(|c: char| c.is_ascii_digit()) {
            let message = format!("\"{number}\" is not a number");
            return Err(ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
        }
        self.out.push_str(ordinal_ending(&number, form));
        Ok(())
    }

    fn blank(&mut self) {
        if !self.shape.fill {
            self.out.push(' ');
        }
    }

    fn digit(&mut self, key: Key) {
        if self.shape.is_roman {
            return;
        }
        self.in_number = false;
        let shape = self.shape;
        let begins = self.position >= self.spaces || shape.has_zero && shape.zero_start == self.position;
        if !self.sign_written && begins && (!self.hides_zero() || self.last_is_point()) {
            self.leading_sign();
        }
        if self.position < self.spaces && (shape.zero_start > self.position || !shape.has_zero) {
            self.blank();
        } else if self.position < self.spaces {
            self.out.push('0');
            self.in_number = true;
        } else {
            self.number_part(key);
        }
        let whole_end = self.count + i32::from(self.spaces != 0) + i32::from(shape.has_point);
        let end = if self.last == Some(self.at) { self.position } else { whole_end };
        if self.position + 1 == end {
            self.trailing_sign();
        }
        self.position += 1;
    }

    fn leading_sign(&mut self) {
        if self.shape.has_sign {
            if self.shape.sign_place == SignPlace::Before {
                self.out.push(if self.sign == '-' { '-' } else { '+' });
                self.sign_written = true;
            }
        } else if self.shape.has_bracket {
            self.out.push(if self.sign == '+' { ' ' } else { '<' });
            self.sign_written = true;
        } else if self.sign == '+' {
            self.blank();
            self.sign_written = true;
        } else if self.sign == '-' {
            self.out.push('-');
            self.sign_written = true;
        }
    }

    fn trailing_sign(&mut self) {
        if self.sign_written && self.shape.has_bracket {
            self.out.push(if self.sign == '+' { ' ' } else { '>' });
        } else if self.shape.has_sign && self.shape.sign_place == SignPlace::After {
            self.out.push(if self.sign == '-' { '-' } else { '+' });
        }
    }

    /// The next of the number's characters.
    fn number_part(&mut self, key: Key) {
        if self.byte(self.at) == b'.' {
            if !self.last_is_point() || self.shape.fill {
                self.out.push('.');
            }
        } else if self.last.is_some_and(|last| self.at > last) && key != Key::Zero {
            // FM leaves these zeros away.
        } else if self.hides_zero() {
            if !self.shape.fill {
                self.out.push(' ');
            } else if self.last_is_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(char::from(self.byte(self.at)));
            self.in_number = true;
        }
        if self.at < self.number.len() {
            self.at += 1;
        }
    }
}

/// The last digit after the point that is no zero, or the point; digits up to `zeros` stay, too.
fn last_relevant(number: &[u8], zeros: i32) -> Option<usize> {
    let point = number.iter().position(|b| *b == b'.')?;
    let last = number.iter().enumerate().skip(point).rev().find(|(_, b)| **b != b'0').map_or(point, |(at, _)| at);
    let kept = usize::try_from(zeros).unwrap_or(0).min(number.len() - 1);
    Some(if zeros > 0 { last.max(kept) } else { last })
}
