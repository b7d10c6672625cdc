//! PostgreSQL's numeric: exact decimals of any length with a display scale, NaN and the infinities.
//!
//! The digits are `bigdecimal`'s; this module adds what SQL adds: the special values, the total order (NaN equals itself
//! and is above infinity), the display scale, and a byte form that sorts.
//!
//! # The sortable form
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | class: 0 -infinity, 1 negative, 2 zero, 3 positive, 4 infinity, 5 NaN |
//! | 4 | only classes 1 and 3: exponent e of `0.d1d2… × 10^e`, big-endian with the sign bit flipped; all bits inverted for class 1 |
//! | n | the digits two a byte (`10*d1 + d2 + 1`), without trailing zeros, ended by 0; all bits inverted for class 1 |
//! | 2 | only finite: the display scale, big-endian; not part of the order's meaning, it only breaks ties |
//!
//! Two numerics are equal exactly when the forms without the last two bytes of a finite value are: see [`Numeric::sortable_prefix_len`].

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use bigdecimal::BigDecimal;
use num_bigint::{BigInt, Sign};
use num_traits::{Signed, Zero};
use serde::{Deserialize, Serialize};

/// The largest display scale of a result, as in PostgreSQL.
pub const MAX_DISPLAY_SCALE: u16 = 16383;

/// A value of type numeric. Finite values carry a display scale: the digits after the point that are printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Numeric {
    NegativeInfinity,
    /// The scale of the decimal is the display scale; it is never negative.
    Finite(BigDecimal),
    Infinity,
    NaN,
}

impl Numeric {
    /// Zero with no digits after the point.
    pub fn zero() -> Self {
        Self::Finite(BigDecimal::zero())
    }

    /// A finite value; a negative scale becomes zero, which changes no digit.
    pub fn finite(value: BigDecimal) -> Self {
        if value.fractional_digit_count() < 0 { Self::Finite(value.with_scale(0)) } else { Self::Finite(value) }
    }

    /// `unscaled × 10^-scale`, as Decimal128 carries it.
    pub fn from_unscaled(unscaled: i128, scale: i8) -> Self {
        Self::finite(BigDecimal::new(BigInt::from(unscaled), i64::from(scale)))
    }

    /// The value as `unscaled × 10^-scale` when it fits without losing a digit.
    pub fn to_unscaled(&self, scale: i8) -> Option<i128> {
        let Self::Finite(value) = self else { return None };
        let (digits, from) = value.as_bigint_and_exponent();
        let to = i64::from(scale);
        let scaled = match u32::try_from((to - from).unsigned_abs()).ok()? {
            0 => digits,
            up if to > from => digits * BigInt::from(10).pow(up),
            down => {
                let divisor = BigInt::from(10).pow(down);
                if !(&digits % &divisor).is_zero() {
                    return None;
                }
                digits / divisor
            }
        };
        i128::try_from(scaled).ok()
    }

    /// Digits after the point that are printed; 0 for the special values.
    pub fn display_scale(&self) -> i64 {
        match self {
            Self::Finite(value) => value.fractional_digit_count(),
            Self::NegativeInfinity | Self::Infinity | Self::NaN => 0,
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::NegativeInfinity => 0,
            Self::Finite(value) if value.is_negative() => 1,
            Self::Finite(value) if value.is_zero() => 2,
            Self::Finite(_) => 3,
            Self::Infinity => 4,
            Self::NaN => 5,
        }
    }

    /// Appends the sortable form.
    pub fn to_sortable(&self, out: &mut Vec<u8>) {
        let class = self.class();
        out.push(class);
        let Self::Finite(value) = self else { return };
        if class != 2 {
            let start = out.len();
            let (unscaled, scale) = value.as_bigint_and_exponent();
            let text = unscaled.magnitude().to_str_radix(10);
            let exponent = i64::try_from(text.len()).unwrap_or(i64::MAX) - scale;
            let exponent = i32::try_from(exponent).unwrap_or(if exponent < 0 { i32::MIN } else { i32::MAX });
            out.extend_from_slice(&(exponent.cast_unsigned() ^ 0x8000_0000).to_be_bytes());
            let digits = text.trim_end_matches('0').as_bytes();
            for pair in digits.chunks(2) {
                let second = pair.get(1).map_or(0, |d| d - b'0');
                out.push((pair[0] - b'0') * 10 + second + 1);
            }
            out.push(0);
            if class == 1 {
                for byte in &mut out[start..] {
                    *byte = !*byte;
                }
            }
        }
        let scale = u16::try_from(value.fractional_digit_count()).unwrap_or(MAX_DISPLAY_SCALE);
        out.extend_from_slice(&scale.to_be_bytes());
    }

    /// The sortable form as a new vector.
    pub fn sortable(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.to_sortable(&mut out);
        out
    }

    /// How many leading bytes of a sortable form decide equality and order.
    pub fn sortable_prefix_len(form: &[u8]) -> usize {
        match form.first() {
            Some(1..=3) => form.len().saturating_sub(2),
            _ => form.len(),
        }
    }

    /// Reads one sortable form from the front of `bytes`; answers the value and the bytes used, `None` when malformed.
    pub fn from_sortable(bytes: &[u8]) -> Option<(Self, usize)> {
        let class = *bytes.first()?;
        match class {
            0 => return Some((Self::NegativeInfinity, 1)),
            4 => return Some((Self::Infinity, 1)),
            5 => return Some((Self::NaN, 1)),
            2 => {
                let scale = u16::from_be_bytes(bytes.get(1..3)?.try_into().ok()?);
                return Some((Self::Finite(BigDecimal::new(BigInt::zero(), i64::from(scale))), 3));
            }
            1 | 3 => {}
            _ => return None,
        }
        let flip = if class == 1 { 0xff } else { 0 };
        let mut exponent = [0; 4];
        for (to, from) in exponent.iter_mut().zip(bytes.get(1..5)?) {
            *to = from ^ flip;
        }
        let exponent = (u32::from_be_bytes(exponent) ^ 0x8000_0000).cast_signed();
        let mut digits = Vec::new();
        let mut at = 5;
        loop {
            let pair = *bytes.get(at)? ^ flip;
            at += 1;
            if pair == 0 {
                break;
            }
            digits.push(b'0' + (pair - 1) / 10);
            digits.push(b'0' + (pair - 1) % 10);
        }
        let scale = u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
        let length = i64::try_from(digits.len()).ok()?;
        let magnitude = BigInt::parse_bytes(&digits, 10)?;
        let signed = if class == 1 { -magnitude } else { magnitude };
        let value = BigDecimal::new(signed, length - i64::from(exponent)).with_scale(i64::from(scale));
        Some((Self::Finite(value), at + 2))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Finite(a), Self::Finite(b)) => a.cmp(b),
            _ => {
                let rank = |n: &Self| match n {
                    Self::NegativeInfinity => 0,
                    Self::Finite(_) => 1,
                    Self::Infinity => 2,
                    Self::NaN => 3,
                };
                rank(self).cmp(&rank(other))
            }
        }
    }
}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let form = self.sortable();
        form[..Self::sortable_prefix_len(&form)].hash(state);
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NegativeInfinity => f.write_str("-Infinity"),
            Self::Infinity => f.write_str("Infinity"),
            Self::NaN => f.write_str("NaN"),
            Self::Finite(value) => {
                let (unscaled, scale) = value.as_bigint_and_exponent();
                let digits = unscaled.magnitude().to_str_radix(10);
                if unscaled.sign() == Sign::Minus {
                    f.write_str("-")?;
                }
                let Ok(scale @ 1..) = usize::try_from(scale) else { return f.write_str(&digits) };
                let padded = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = padded.split_at(padded.len() - scale);
                write!(f, "{whole}.{fraction}")
            }
        }
    }
}

/// A text that is no numeric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid numeric")]
pub struct ParseNumericError;

impl FromStr for Numeric {
    type Err = ParseNumericError;

    /// Reads PostgreSQL's text form: optional blanks around, sign, digits, point, exponent, or a special name in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        match text.to_ascii_lowercase().as_str() {
            "nan" => return Ok(Self::NaN),
            "infinity" | "inf" | "+infinity" | "+inf" => return Ok(Self::Infinity),
            "-infinity" | "-inf" => return Ok(Self::NegativeInfinity),
            _ => {}
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
            return Err(ParseNumericError);
        }
        let exponent: i64 = exponent.parse().map_err(|_| ParseNumericError)?;
        if exponent.abs() > 200_000 {
            return Err(ParseNumericError);
        }
        let digits = format!("{whole}{fraction}");
        let mut unscaled = BigInt::parse_bytes(digits.as_bytes(), 10).ok_or(ParseNumericError)?;
        if text.starts_with('-') {
            unscaled = -unscaled;
        }
        let scale = i64::try_from(fraction.len()).map_err(|_| ParseNumericError)? - exponent;
        Ok(Self::finite(BigDecimal::new(unscaled, scale)))
    }
}

impl From<Numeric> for String {
    fn from(value: Numeric) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Numeric {
    type Error = ParseNumericError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

macro_rules! from_integer {
    ($($int:ty),*) => {$(
        impl From<$int> for Numeric {
            fn from(value: $int) -> Self {
                Self::Finite(BigDecimal::from(value))
            }
        }
    )*};
}
from_integer!(i16, i32, i64, i128);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Numeric {
        text.parse().unwrap()
    }

    #[test]
    fn text_keeps_the_display_scale() {
        for text in ["0", "0.00", "-1.50", "123456789012345678901234567890.123", "0.001", "NaN", "Infinity", "-Infinity"] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse("1e3").to_string(), "1000");
        assert_eq!(parse("1.5e-3").to_string(), "0.0015");
        assert_eq!(parse(" .5 ").to_string(), "0.5");
        assert!("1e".parse::<Numeric>().is_err() && ".".parse::<Numeric>().is_err() && "".parse::<Numeric>().is_err());
    }

    #[test]
    fn sortable_form_keeps_order_and_value() {
        let ordered = [
            "-Infinity",
            "-1e30",
            "-123.4",
            "-123.39",
            "-1",
            "-0.999",
            "-0.001",
            "0",
            "0.0009",
            "0.001",
            "0.5",
            "1",
            "1.01",
            "9",
            "10",
            "99",
            "100",
            "1e30",
            "Infinity",
            "NaN",
        ];
        for (i, a) in ordered.iter().enumerate() {
            let form = parse(a).sortable();
            let (back, used) = Numeric::from_sortable(&form).unwrap();
            assert_eq!((back.to_string(), used), (parse(a).to_string(), form.len()));
            for b in &ordered[i + 1..] {
                assert!(form < parse(b).sortable(), "{a} < {b}");
                assert!(parse(a) < parse(b), "{a} < {b}");
            }
        }
        let (a, b) = (parse("1.50").sortable(), parse("1.5").sortable());
        assert_eq!(a[..Numeric::sortable_prefix_len(&a)], b[..Numeric::sortable_prefix_len(&b)]);
    }
}
