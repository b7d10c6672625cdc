//! Arithmetic of PostgreSQL's numeric, with the display scales that its results have.
//!
//! A quotient has at least 16 significant digits, a product all digits, a sum the larger scale. The functions that are not rational
//! are in [`crate::decimal_functions`].

use bigdecimal::BigDecimal;
use common::numeric::{MAX_DISPLAY_SCALE, Numeric};
use common::sqlstate::SqlState;
use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

pub use crate::decimal_functions::{exp, ln, log, log10, pow, sqrt};
use crate::error::ValueError;
use crate::text_input::{parse_float4, parse_float8, parse_numeric};
use crate::text_output::{format_float4, format_float8};

/// A quotient, a root, a logarithm has at least so many significant digits.
pub(crate) const MIN_SIGNIFICANT_DIGITS: i64 = 16;
/// And at most so many after the point.
pub(crate) const MAX_RESULT_SCALE: i64 = 1_000;
/// `round` and `trunc` take scales up to this.
const MAX_ROUND_SCALE: i64 = 2_000;
/// The most digits before the point.
pub(crate) const WHOLE_DIGITS_MAX: i64 = 131_072;
/// Decimal digits in a digit of PostgreSQL's base.
const BASE_DIGITS: i64 = 4;

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

/// 22003: the result has too many digits.
pub(crate) fn overflow() -> ValueError {
    ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// A finite value apart: the digits as a whole number, and how many of them stand after the point.
pub(crate) fn parts(value: &BigDecimal) -> (BigInt, i64) {
    value.clone().into_bigint_and_scale()
}

/// A finite result, if it is not too large.
pub(crate) fn finite(unscaled: BigInt, scale: i64) -> Result<Numeric, ValueError> {
    // Cheap for the usual sizes: 2^430000 has less than 131072 digits.
    if unscaled.bits() > 430_000 && digit_count(unscaled.magnitude()) - scale > WHOLE_DIGITS_MAX {
        return Err(overflow());
    }
    Ok(Numeric::Finite(BigDecimal::new(unscaled, scale)))
}

fn signed_power_of_ten(exponent: i64) -> BigInt {
    BigInt::from(power_of_ten(exponent.unsigned_abs()))
}

/// `numerator / denominator`, half away from zero.
pub(crate) fn divide_rounded(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let quotient = numerator / denominator;
    let rest: BigInt = numerator - &quotient * denominator;
    if (rest.abs() << 1_u8) < denominator.abs() {
        return quotient;
    }
    if numerator.is_negative() == denominator.is_negative() { quotient + 1 } else { quotient - 1 }
}

/// The same number with another scale, half away from zero.
pub(crate) fn rescaled(unscaled: BigInt, from: i64, to: i64) -> BigInt {
    match to - from {
        0 => unscaled,
        up if up > 0 => unscaled * signed_power_of_ten(up),
        down => divide_rounded(&unscaled, &signed_power_of_ten(down)),
    }
}

/// Both with the larger scale of the two.
fn aligned(a: &BigDecimal, b: &BigDecimal) -> (BigInt, BigInt, i64) {
    let ((a, a_scale), (b, b_scale)) = (parts(a), parts(b));
    let scale = a_scale.max(b_scale);
    (rescaled(a, a_scale, scale), rescaled(b, b_scale, scale), scale)
}

fn is_infinite(value: &Numeric) -> bool {
    matches!(value, Numeric::Infinity | Numeric::NegativeInfinity)
}

fn infinity(negative: bool) -> Numeric {
    if negative { Numeric::NegativeInfinity } else { Numeric::Infinity }
}

/// -1, 0 or 1; 0 for NaN.
pub(crate) fn signum(value: &Numeric) -> i32 {
    match value {
        Numeric::Infinity => 1,
        Numeric::NegativeInfinity => -1,
        Numeric::NaN => 0,
        Numeric::Finite(value) => match value.sign() {
            Sign::Minus => -1,
            Sign::NoSign => 0,
            Sign::Plus => 1,
        },
    }
}

/// `-a`.
pub fn neg(a: &Numeric) -> Numeric {
    match a {
        Numeric::Finite(value) => Numeric::Finite(-value),
        Numeric::Infinity => Numeric::NegativeInfinity,
        Numeric::NegativeInfinity => Numeric::Infinity,
        Numeric::NaN => Numeric::NaN,
    }
}

/// The magnitude.
pub fn abs(a: &Numeric) -> Numeric {
    if signum(a) < 0 { neg(a) } else { a.clone() }
}

/// -1, 0 or 1 as a numeric; NaN for NaN.
pub fn sign(a: &Numeric) -> Numeric {
    if matches!(a, Numeric::NaN) { Numeric::NaN } else { Numeric::from(i64::from(signum(a))) }
}

/// `a + b`.
pub fn add(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    match (a, b) {
        (Numeric::Finite(a), Numeric::Finite(b)) => {
            let (a, b, scale) = aligned(a, b);
            finite(a + b, scale)
        }
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (a, b) if is_infinite(a) && is_infinite(b) => Ok(if signum(a) == signum(b) { a.clone() } else { Numeric::NaN }),
        (a, b) => Ok(if is_infinite(a) { a.clone() } else { b.clone() }),
    }
}

/// `a - b`.
pub fn sub(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    add(a, &neg(b))
}

/// `a * b`.
pub fn mul(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    match (a, b) {
        (Numeric::Finite(a), Numeric::Finite(b)) => {
            let ((a, a_scale), (b, b_scale)) = (parts(a), parts(b));
            let scale = a_scale + b_scale;
            let kept = scale.min(i64::from(MAX_DISPLAY_SCALE));
            finite(rescaled(a * b, scale, kept), kept)
        }
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (a, b) => Ok(match signum(a) * signum(b) {
            0 => Numeric::NaN,
            sign => infinity(sign < 0),
        }),
    }
}

/// The weight of the first digit of base 10000, and that digit; zeros for zero.
fn first_digit(unscaled: &BigInt, scale: i64) -> (i64, i64) {
    if unscaled.is_zero() {
        return (0, 0);
    }
    let magnitude = unscaled.magnitude();
    // The place of the first decimal digit: 10^place.
    let place = digit_count(magnitude) - 1 - scale;
    let weight = place.div_euclid(BASE_DIGITS);
    // The number without all digits below that weight.
    let below = weight * BASE_DIGITS + scale;
    let digit = if below >= 0 { magnitude / power_of_ten(below.unsigned_abs()) } else { magnitude * power_of_ten(below.unsigned_abs()) };
    (weight, digit.to_i64().unwrap_or(0))
}

/// The scale of a quotient: enough for 16 significant digits, and not less than the operands'.
fn quotient_scale(a: (&BigInt, i64), b: (&BigInt, i64)) -> i64 {
    let ((a_weight, a_digit), (b_weight, b_digit)) = (first_digit(a.0, a.1), first_digit(b.0, b.1));
    let weight = a_weight - b_weight - i64::from(a_digit <= b_digit);
    (MIN_SIGNIFICANT_DIGITS - weight * BASE_DIGITS).max(a.1).max(b.1).clamp(0, MAX_RESULT_SCALE)
}

/// A quotient of finite numbers at a scale; `b` is not zero.
pub(crate) fn quotient(a: (&BigInt, i64), b: (&BigInt, i64), scale: i64) -> BigInt {
    // a.0 / 10^a.1 / (b.0 / 10^b.1) * 10^scale
    let shift = scale + b.1 - a.1;
    if shift >= 0 {
        divide_rounded(&(a.0 * signed_power_of_ten(shift)), b.0)
    } else {
        divide_rounded(a.0, &(b.0 * signed_power_of_ten(shift)))
    }
}

/// What a division is when an operand is not finite; `None` when both are.
fn special_quotient(a: &Numeric, b: &Numeric) -> Option<Result<Numeric, ValueError>> {
    Some(match (a, b) {
        (Numeric::Finite(_), Numeric::Finite(_)) => return None,
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (a, b) if is_infinite(a) && is_infinite(b) => Ok(Numeric::NaN),
        (a, b) if is_infinite(a) => match signum(b) {
            0 => Err(ValueError::division_by_zero()),
            sign => Ok(infinity(sign * signum(a) < 0)),
        },
        _ => Ok(Numeric::zero()),
    })
}

/// `a / b`.
pub fn div(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    let (Numeric::Finite(x), Numeric::Finite(y)) = (a, b) else {
        return special_quotient(a, b).unwrap_or(Ok(Numeric::NaN));
    };
    let ((x, x_scale), (y, y_scale)) = (parts(x), parts(y));
    if y.is_zero() {
        return Err(ValueError::division_by_zero());
    }
    let scale = quotient_scale((&x, x_scale), (&y, y_scale));
    finite(quotient((&x, x_scale), (&y, y_scale), scale), scale)
}

/// `div(a, b)`: the whole part of the quotient.
pub fn div_trunc(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    let (Numeric::Finite(x), Numeric::Finite(y)) = (a, b) else {
        return special_quotient(a, b).unwrap_or(Ok(Numeric::NaN));
    };
    let (x, y, _) = aligned(x, y);
    if y.is_zero() {
        return Err(ValueError::division_by_zero());
    }
    finite(x / y, 0)
}

/// `a % b`, with the sign of `a`.
pub fn rem(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    match (a, b) {
        (Numeric::Finite(x), Numeric::Finite(y)) => {
            let (x, y, scale) = aligned(x, y);
            if y.is_zero() {
                return Err(ValueError::division_by_zero());
            }
            finite(x % y, scale)
        }
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (a, b) if is_infinite(a) && signum(b) == 0 => Err(ValueError::division_by_zero()),
        (a, _) if is_infinite(a) => Ok(Numeric::NaN),
        (a, _) => Ok(a.clone()),
    }
}

/// How the digits behind a scale are taken away.
#[derive(Clone, Copy)]
enum Cut {
    Round,
    Truncate,
    Ceiling,
    Floor,
}

fn cut(a: &Numeric, scale: i64, how: Cut) -> Result<Numeric, ValueError> {
    let Numeric::Finite(value) = a else { return Ok(a.clone()) };
    let (unscaled, from) = parts(value);
    let cut_at = if scale >= from {
        rescaled(unscaled, from, scale)
    } else {
        let unit = signed_power_of_ten(from - scale);
        let whole = &unscaled / &unit;
        let rest = !(&unscaled % &unit).is_zero();
        match how {
            Cut::Round => divide_rounded(&unscaled, &unit),
            Cut::Ceiling if rest && unscaled.is_positive() => whole + 1,
            Cut::Floor if rest && unscaled.is_negative() => whole - 1,
            Cut::Truncate | Cut::Ceiling | Cut::Floor => whole,
        }
    };
    if scale < 0 { finite(cut_at * signed_power_of_ten(scale), 0) } else { finite(cut_at, scale) }
}

/// Rounds half away from zero to digits after the point, before it for a negative scale.
pub fn round(a: &Numeric, scale: i32) -> Result<Numeric, ValueError> {
    cut(a, i64::from(scale).clamp(-MAX_ROUND_SCALE, MAX_ROUND_SCALE), Cut::Round)
}

/// Cuts digits off.
pub fn trunc(a: &Numeric, scale: i32) -> Result<Numeric, ValueError> {
    cut(a, i64::from(scale).clamp(-MAX_ROUND_SCALE, MAX_ROUND_SCALE), Cut::Truncate)
}

/// The least whole number that is not less.
pub fn ceil(a: &Numeric) -> Result<Numeric, ValueError> {
    cut(a, 0, Cut::Ceiling)
}

/// The largest whole number that is not more.
pub fn floor(a: &Numeric) -> Result<Numeric, ValueError> {
    cut(a, 0, Cut::Floor)
}

/// `scale(a)`: digits after the point; `None` for the special values.
pub fn scale(a: &Numeric) -> Option<i32> {
    match a {
        Numeric::Finite(value) => i32::try_from(value.fractional_digit_count()).ok(),
        Numeric::Infinity | Numeric::NegativeInfinity | Numeric::NaN => None,
    }
}

/// `min_scale(a)`: digits after the point that are needed.
pub fn min_scale(a: &Numeric) -> Option<i32> {
    scale(&trim_scale(a))
}

/// Without the zeros at the end of the fraction.
pub fn trim_scale(a: &Numeric) -> Numeric {
    let Numeric::Finite(value) = a else { return a.clone() };
    let (mut unscaled, mut scale) = parts(value);
    let ten = BigInt::from(10);
    while scale > 0 && (&unscaled % &ten).is_zero() {
        unscaled /= &ten;
        scale -= 1;
    }
    Numeric::Finite(BigDecimal::new(unscaled, scale))
}

/// The greatest common divisor, with the larger scale.
pub fn gcd(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    let (Numeric::Finite(a), Numeric::Finite(b)) = (a, b) else { return Ok(Numeric::NaN) };
    let (mut a, mut b, scale) = aligned(a, b);
    while !b.is_zero() {
        let rest = &a % &b;
        (a, b) = (b, rest);
    }
    finite(a.abs(), scale)
}

/// The least common multiple, with the larger scale.
pub fn lcm(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    let (Numeric::Finite(x), Numeric::Finite(y)) = (a, b) else { return Ok(Numeric::NaN) };
    let (x, y, scale) = aligned(x, y);
    if x.is_zero() || y.is_zero() {
        return finite(BigInt::zero(), scale);
    }
    let (mut divisor, mut rest) = (x.clone(), y.clone());
    while !rest.is_zero() {
        let next = &divisor % &rest;
        (divisor, rest) = (rest, next);
    }
    finite((x / divisor * y).abs(), scale)
}

/// `n!`.
pub fn factorial(n: i64) -> Result<Numeric, ValueError> {
    /// The factorial of the next number has more digits than a numeric can have.
    const LARGEST: i64 = 32_177;
    if n < 0 {
        return Err(ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "factorial of a negative number is undefined"));
    }
    if n > LARGEST {
        return Err(overflow());
    }
    finite((2..=n).fold(BigInt::from(1), |product, factor| product * factor), 0)
}

/// A double with its 15 sure digits.
pub fn from_float8(value: f64) -> Result<Numeric, ValueError> {
    from_float_text(|out| format_float8(value, 0, out))
}

/// A single float with its 6 sure digits.
pub fn from_float4(value: f32) -> Result<Numeric, ValueError> {
    from_float_text(|out| format_float4(value, 0, out))
}

fn from_float_text(write: impl FnOnce(&mut Vec<u8>)) -> Result<Numeric, ValueError> {
    let mut text = Vec::new();
    write(&mut text);
    parse_numeric(&String::from_utf8_lossy(&text))
}

/// The nearest double.
pub fn to_float8(a: &Numeric) -> Result<f64, ValueError> {
    parse_float8(&a.to_string())
}

/// The nearest single float.
pub fn to_float4(a: &Numeric) -> Result<f32, ValueError> {
    parse_float4(&a.to_string())
}

/// A double for an estimate: too large becomes infinite.
pub(crate) fn estimate(a: &BigDecimal) -> f64 {
    Numeric::Finite(a.clone()).to_string().parse().unwrap_or(f64::NAN)
}

fn to_integer<T: TryFrom<BigInt>>(a: &Numeric, type_name: &str) -> Result<T, ValueError> {
    let unsupported = |what: &str| Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to {type_name}")));
    let value = match a {
        Numeric::NaN => return unsupported("NaN"),
        Numeric::Infinity | Numeric::NegativeInfinity => return unsupported("infinity"),
        Numeric::Finite(value) => value,
    };
    // Anything longer is out of range whatever its digits are.
    if whole_digits(value) > 20 {
        return Err(ValueError::out_of_range(type_name));
    }
    let (unscaled, scale) = parts(value);
    T::try_from(rescaled(unscaled, scale, 0)).map_err(|_| ValueError::out_of_range(type_name))
}

/// Rounded half away from zero.
pub fn to_int2(a: &Numeric) -> Result<i16, ValueError> {
    to_integer(a, "smallint")
}

/// Rounded half away from zero.
pub fn to_int4(a: &Numeric) -> Result<i32, ValueError> {
    to_integer(a, "integer")
}

/// Rounded half away from zero.
pub fn to_int8(a: &Numeric) -> Result<i64, ValueError> {
    to_integer(a, "bigint")
}

/// `width_bucket(operand, low, high, count)`.
pub fn width_bucket(operand: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> Result<i32, ValueError> {
    let bad = |message: &str| ValueError::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, message);
    if count <= 0 {
        return Err(bad("count must be greater than zero"));
    }
    if [operand, low, high].iter().any(|n| matches!(n, Numeric::NaN)) {
        return Err(bad("operand, lower bound, and upper bound cannot be NaN"));
    }
    if is_infinite(low) || is_infinite(high) {
        return Err(bad("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(bad("lower bound cannot equal upper bound"));
    }
    let ascending = low < high;
    let (before, at_end) = if ascending { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
    if before {
        return Ok(0);
    }
    if at_end {
        return count.checked_add(1).ok_or_else(|| ValueError::out_of_range("integer"));
    }
    let scaled = mul(&sub(operand, low)?, &Numeric::from(i64::from(count)))?;
    let bucket = div_trunc(&scaled, &sub(high, low)?)?;
    Ok(to_int4(&bucket)? + 1)
}
