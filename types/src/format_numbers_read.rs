//! `to_number`.
//!
//! The template is walked along the text: digits, point and sign are collected, other characters of the template skip one of the text.

use common::datum::Datum;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};

use crate::decimal;
use crate::error::ValueError;
use crate::format_number_template::{Key, Shape, SignPlace, number_template};
use crate::format_settings::FormatSettings;
use crate::format_template::Node;
use crate::text_input;
use crate::typmod::apply_typmod;

/// `to_number(text, text)`; `None` is NULL: for an empty template.
pub fn to_number(text: &str, template: &str) -> Result<Option<Numeric>, ValueError> {
    if template.is_empty() {
        return Ok(None);
    }
    let parsed = number_template(template)?;
    let shape = parsed.shape;
    for (used, name) in [(shape.has_exponent, "EEEE"), (shape.is_roman, "RN")] {
        if used {
            return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("\"{name}\" not supported for input")));
        }
    }
    let mut reader = Reader { shape, text, at: 0, sign: ' ', digits: String::new(), pre: 0, post: 0, point: false };
    for node in &parsed.nodes {
        if reader.is_at_end() {
            break;
        }
        match node {
            Node::Key(keyword, _) => reader.key(keyword.key),
            Node::Separator(_) | Node::Space(_) | Node::Char(_) => reader.skip_one(),
        }
    }
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    let written = format!("{}{digits}", reader.sign);
    let number = text_input::parse(&written, Scalar::Numeric.into(), &FormatSettings::default())?;
    let precision = u16::try_from(shape.pre + shape.shift + reader.post).unwrap_or(u16::MAX);
    let ty = SqlType::numeric(precision, i16::try_from(reader.post).unwrap_or(i16::MAX));
    let Datum::Numeric(number) = apply_typmod(number, ty, false)? else { return Ok(None) };
    if !shape.is_shifted {
        return Ok(Some(number));
    }
    let factor = decimal::pow(&Numeric::from(10_i64), &Numeric::from(i64::from(-shape.shift)))?;
    decimal::mul(&number, &factor).map(Some)
}

struct Reader<'a> {
    shape: Shape,
    text: &'a str,
    at: usize,
    sign: char,
    digits: String,
    /// Digits read before and after the point.
    pre: i32,
    post: i32,
    /// The point was read.
    point: bool,
}

impl Reader<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn skip_one(&mut self) {
        self.at += self.peek().map_or(1, char::len_utf8);
    }

    /// Skips characters that belong to no number.
    fn skip_others(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                None => break,
                Some(c) if "0123456789.,+-".contains(c) => break,
                Some(_) => self.skip_one(),
            }
        }
    }

    fn key(&mut self, key: Key) {
        match key {
            Key::Nine | Key::Zero | Key::Point | Key::LocalePoint => {
                self.digit(key);
                self.skip_one();
            }
            Key::Comma | Key::LocaleGroup => {
                let before_number_in_fill = self.shape.fill;
                if !before_number_in_fill && self.peek() == Some(',') {
                    self.skip_one();
                }
            }
            Key::Currency => self.skip_others(1),
            Key::Ending(_) => {
                if self.sign != '#' && !self.shape.has_point {
                    self.skip_others(2);
                }
            }
            Key::Minus | Key::Plus | Key::PlusMinus => match self.peek() {
                Some('-') if key != Key::Plus => self.take_sign('-'),
                Some('+') if key != Key::Minus => self.take_sign('+'),
                _ => self.skip_others(1),
            },
            Key::Blank | Key::Ignored | Key::Exponent | Key::Fill | Key::Bracket | Key::LocaleSign | Key::Shift | Key::Roman(_) => {}
        }
    }

    fn take_sign(&mut self, sign: char) {
        self.sign = sign;
        self.at += 1;
    }

    /// Reads what stands at a digit or a point. The caller goes on by one character.
    fn digit(&mut self, key: Key) {
        if self.peek() == Some(' ') {
            self.at += 1;
        }
        if self.is_at_end() {
            return;
        }
        if self.sign == ' ' && matches!(key, Key::Zero | Key::Nine) && self.pre + self.post == 0 {
            self.sign_before();
            if self.is_at_end() {
                return;
            }
        }
        let mut is_read = false;
        match self.peek() {
            Some(digit) if digit.is_ascii_digit() => {
                if self.point && self.post == self.shape.post {
                    return;
                }
                self.digits.push(digit);
                *(if self.point { &mut self.post } else { &mut self.pre }) += 1;
                is_read = true;
            }
            Some('.') if self.shape.has_point && !self.point => {
                self.digits.push('.');
                self.point = true;
                is_read = true;
            }
            _ => {}
        }
        if self.sign == ' ' && self.pre + self.post > 0 {
            self.sign_after(is_read);
        }
    }

    fn sign_before(&mut self) {
        let anchored = self.shape.has_sign && self.shape.sign_place == SignPlace::Before;
        match self.peek() {
            Some('-') => self.take_sign('-'),
            Some('<') if self.shape.has_bracket && !anchored => self.take_sign('-'),
            Some('+') => self.take_sign('+'),
            _ => {}
        }
    }

    /// A sign behind the last digit.
    fn sign_after(&mut self, is_read: bool) {
        if self.shape.has_sign && is_read {
            let next = self.text.as_bytes().get(self.at + 1);
            if let Some(sign @ (b'-' | b'+')) = next {
                self.sign = char::from(*sign);
                self.at += 1;
            }
        } else if !is_read
            && !self.shape.has_sign
            && (self.shape.has_plus || self.shape.has_minus)
            && let Some(sign @ ('-' | '+')) = self.peek()
        {
            self.sign = sign;
        }
    }
}
