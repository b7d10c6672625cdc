//! Arithmetic of PostgreSQL's numeric, with the display scales that its results have.

use bigdecimal::BigDecimal;
use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{One, ToPrimitive, Zero};

/// A numeric as PostgreSQL keeps it: digits of base 10000, the first of which counts for 10000^weight; no zeros at either end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Base10000 {
    pub(crate) digits: Vec<u16>,
    pub(crate) weight: i64,
    pub(crate) negative: bool,
}

/// 10^n.
pub(crate) fn power_of_ten(exponent: u64) -> BigUint {
    if let Some(small) = u32::try_from(exponent).ok().and_then(|e| 10_u128.checked_pow(e)) {
        return BigUint::from(small);
    }
    BigUint::from(10_u8).pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

/// How many decimal digits a number has; 0 for zero.
pub(crate) fn digit_count(value: &BigUint) -> i64 {
    if value.is_zero() {
        return 0;
    }
    if let Some(small) = value.to_u128() {
        return i64::from(small.ilog10()) + 1;
    }
    // log10(2) from below; at most one too few.
    let low = ((value.bits() - 1) as f64 * std::f64::consts::LOG10_2) as u64;
    i64::try_from(if *value >= power_of_ten(low + 1) {
        low + 2
    } else if *value >= power_of_ten(low) {
        low + 1
    } else {
        low
    })
    .unwrap_or(i64::MAX)
}

/// How many digits stand before the point; not above 0 for numbers below 1.
pub(crate) fn whole_digits(value: &BigDecimal) -> i64 {
    let (unscaled, scale) = value.as_bigint_and_scale();
    if unscaled.is_zero() { 0 } else { digit_count(unscaled.magnitude()) - scale }
}

/// Takes a number apart into digits of base 10000.
pub(crate) fn to_base_10000(value: &BigDecimal) -> Base10000 {
    let (unscaled, scale) = value.as_bigint_and_scale();
    if unscaled.is_zero() {
        return Base10000 { digits: Vec::new(), weight: 0, negative: false };
    }
    // So many digits after the point that they fill whole groups of four.
    let padding = scale.rem_euclid(4);
    let padding = if padding == 0 { 0 } else { 4 - padding };
    let groups_after_point = (scale + padding) / 4;
    let padded = unscaled.magnitude() * power_of_ten(padding.unsigned_abs());
    let text = padded.to_str_radix(10);
    let bytes = text.as_bytes();
    let first = bytes.len() % 4;
    let (head, tail) = bytes.split_at(first);
    let number = |group: &[u8]| group.iter().fold(0_u16, |sum, d| sum * 10 + u16::from(d - b'0'));
    let mut digits: Vec<u16> = Vec::with_capacity(bytes.len() / 4 + 1);
    if !head.is_empty() {
        digits.push(number(head));
    }
    digits.extend(tail.chunks(4).map(number));
    let weight = digits.len() as i64 - 1 - groups_after_point;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    Base10000 { digits, weight, negative: unscaled.sign() == Sign::Minus }
}

/// Puts a number together from digits of base 10000, cut to a scale.
pub(crate) fn from_base_10000(form: &Base10000, scale: i64) -> BigDecimal {
    let mut text = String::with_capacity(form.digits.len() * 4);
    for digit in &form.digits {
        text.push_str(&format!("{digit:04}"));
    }
    let magnitude = BigInt::parse_bytes(text.as_bytes(), 10).unwrap_or_default();
    let value = BigDecimal::new(magnitude, (form.digits.len() as i64 - 1 - form.weight) * 4);
    let value = value.with_scale(scale);
    if form.negative { -value } else { value }
}

#[allow(dead_code, reason = "arithmetic follows")]
fn one() -> BigUint {
    BigUint::one()
}
