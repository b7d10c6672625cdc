//! Roots, powers, exponentials and logarithms of numeric, to as many digits as PostgreSQL gives.
//!
//! Irrational values are computed in binary fixed point, [`Fixed`], with [`GUARD_BITS`] more bits than the result shows, and rounded
//! once at the end.

use bigdecimal::BigDecimal;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use num_bigint::{BigInt, BigUint};
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::decimal::{
    MAX_RESULT_SCALE, MIN_SIGNIFICANT_DIGITS, WHOLE_DIGITS_MAX, digit_count, divide_rounded, estimate, finite, overflow, parts,
    power_of_ten, quotient, rescaled, signum, to_base_10000,
};
use crate::error::ValueError;

/// Bits that are computed and not shown.
const GUARD_BITS: u64 = 96;
/// Exponents whose absolute value is above this times three overflow or vanish.
const EXPONENT_MAX: f64 = 2_000.0;
/// A whole power is multiplied out when its digits are no more than this.
const EXACT_DIGITS_MAX: f64 = 300_000.0;

use std::f64::consts::LOG10_E;

/// A fixed-point number: `mantissa / 2^bits`.
#[derive(Clone)]
struct Fixed {
    mantissa: BigInt,
    bits: u64,
}

/// Bits that `digits` decimal digits need.
fn bits_for(digits: i64) -> u64 {
    (digits.max(0).unsigned_abs() * 3_322).div_ceil(1_000) + GUARD_BITS
}

fn ten_to(exponent: i64) -> BigInt {
    BigInt::from(power_of_ten(exponent.unsigned_abs()))
}

impl Fixed {
    fn of(value: &BigDecimal, bits: u64) -> Self {
        let (unscaled, scale) = parts(value);
        Self { mantissa: divide_rounded(&(unscaled << bits), &ten_to(scale)), bits }
    }

    /// The decimal digits at a scale.
    fn to_decimal(&self, scale: i64) -> BigInt {
        divide_rounded(&(&self.mantissa * ten_to(scale)), &(BigInt::one() << self.bits))
    }

    fn times(&self, other: &Self) -> Self {
        Self { mantissa: (&self.mantissa * &other.mantissa) >> other.bits, bits: self.bits }
    }

    fn over(&self, other: &Self) -> Self {
        Self { mantissa: (&self.mantissa << other.bits) / &other.mantissa, bits: self.bits }
    }

    fn with_bits(&self, bits: u64) -> Self {
        let mantissa = if bits >= self.bits { &self.mantissa << (bits - self.bits) } else { &self.mantissa >> (self.bits - bits) };
        Self { mantissa, bits }
    }

    /// 2 × atanh: the sum of z^k / k over the odd k, twice. Converges for |z| < 1, fast for small ones.
    fn twice_atanh(&self) -> Self {
        let square = self.times(self);
        let mut power = self.clone();
        let mut sum = self.mantissa.clone();
        let mut k = 1_u32;
        loop {
            power = power.times(&square);
            k += 2;
            let term = &power.mantissa / k;
            if term.is_zero() {
                return Self { mantissa: sum << 1_u8, bits: self.bits };
            }
            sum += term;
        }
    }

    fn ln_2(bits: u64) -> Self {
        Self { mantissa: (BigInt::one() << bits) / 3, bits }.twice_atanh()
    }

    /// The natural logarithm of a positive number.
    fn ln(&self) -> Self {
        // self = y × 2^shift with y near 1.
        let shift = i64::try_from(self.mantissa.bits()).unwrap_or(i64::MAX) - i64::try_from(self.bits).unwrap_or(i64::MAX);
        let mut shift = shift;
        let one = BigInt::one() << self.bits;
        let near_one = |shift: i64| -> BigInt {
            if shift >= 0 { &self.mantissa >> shift.unsigned_abs() } else { &self.mantissa << shift.unsigned_abs() }
        };
        // Exact for numbers near 1, whose logarithm has its digits far behind the point.
        let mut y = near_one(shift);
        if &y * 4 < &one * 3 {
            shift -= 1;
            y = near_one(shift);
        }
        let (below, above) = (&y - &one, &y + &one);
        let z = Self { mantissa: (below << self.bits) / above, bits: self.bits };
        let rest = z.twice_atanh();
        let mantissa = if shift == 0 { rest.mantissa } else { rest.mantissa + Self::ln_2(self.bits).mantissa * shift };
        Self { mantissa, bits: self.bits }
    }

    /// e to this power; the result keeps the bits after the point.
    fn exp(&self) -> Self {
        // Squaring loses bits, and a large result needs more before the point.
        let magnitude = (self.mantissa.abs() >> self.bits).to_u64().unwrap_or(u64::MAX).min(1 << 20);
        let bits = self.bits + magnitude * 2 + 64;
        let exponent = self.with_bits(bits);
        let ln_2 = Self::ln_2(bits);
        let twos = (&exponent.mantissa / &ln_2.mantissa).to_i64().unwrap_or(0);
        // Small enough for few terms.
        const HALVINGS: u64 = 12;
        let rest = Self { mantissa: (exponent.mantissa - ln_2.mantissa * twos) >> HALVINGS, bits };
        let mut term = BigInt::one() << bits;
        let mut sum = term.clone();
        for k in 1_u32.. {
            term = ((term * &rest.mantissa) >> bits) / k;
            if term.is_zero() || term == BigInt::from(-1) {
                break;
            }
            sum += &term;
        }
        let mut power = Self { mantissa: sum, bits };
        for _ in 0..HALVINGS {
            power = power.times(&power);
        }
        let mantissa = if twos >= 0 { power.mantissa << twos.unsigned_abs() } else { power.mantissa >> twos.unsigned_abs() };
        Self { mantissa, bits }.with_bits(self.bits)
    }
}

fn bad_power(message: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

fn bad_logarithm(message: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_ARGUMENT_FOR_LOG, message)
}

/// The square root.
pub fn sqrt(a: &Numeric) -> Result<Numeric, ValueError> {
    let value = match a {
        Numeric::NaN | Numeric::Infinity => return Ok(a.clone()),
        a if signum(a) < 0 => return Err(bad_power("cannot take square root of a negative number")),
        Numeric::Finite(value) => value,
        Numeric::NegativeInfinity => return Ok(Numeric::NaN),
    };
    let (unscaled, scale) = parts(value);
    let weight = to_base_10000(value).weight;
    // C's division cuts towards zero.
    let root_weight = (weight + 1) * 4 / 2 - 1;
    let result_scale = (MIN_SIGNIFICANT_DIGITS - root_weight).max(scale).clamp(0, MAX_RESULT_SCALE);
    // One digit more tells which way to round: the root of what is no square is never exactly half.
    let shift = 2 * (result_scale + 1) - scale;
    let shifted = if shift >= 0 { unscaled * ten_to(shift) } else { unscaled / ten_to(shift) };
    finite(divide_rounded(&shifted.sqrt(), &BigInt::from(10)), result_scale)
}

/// e to a power.
pub fn exp(a: &Numeric) -> Result<Numeric, ValueError> {
    let value = match a {
        Numeric::NaN | Numeric::Infinity => return Ok(a.clone()),
        Numeric::NegativeInfinity => return Ok(Numeric::zero()),
        Numeric::Finite(value) => value,
    };
    let exponent = estimate(value);
    let weight = (exponent * LOG10_E).clamp(-EXPONENT_MAX, EXPONENT_MAX) as i64;
    let scale = (MIN_SIGNIFICANT_DIGITS - weight).max(value.fractional_digit_count()).clamp(0, MAX_RESULT_SCALE);
    exp_at(value, exponent, scale)
}

fn exp_at(value: &BigDecimal, exponent: f64, scale: i64) -> Result<Numeric, ValueError> {
    if exponent.abs() >= EXPONENT_MAX * 3.0 {
        return if exponent > 0.0 { Err(overflow()) } else { finite(BigInt::zero(), scale) };
    }
    let whole = (exponent * LOG10_E).max(0.0) as i64;
    finite(Fixed::of(value, bits_for(scale + whole)).exp().to_decimal(scale), scale)
}

/// The decimal weight of a logarithm, estimated as PostgreSQL does; it decides about the digits that are shown.
fn ln_weight(value: &BigDecimal) -> i64 {
    let form = to_base_10000(value);
    let log10_to_i64 = |x: f64| x.log10() as i64;
    let near_one = *value >= BigDecimal::new(BigInt::from(9), 1) && *value <= BigDecimal::new(BigInt::from(11), 1);
    if near_one {
        let rest = to_base_10000(&(value - BigDecimal::one()));
        return match rest.digits.first() {
            Some(first) => rest.weight * 4 + log10_to_i64(f64::from(*first)),
            None => 0,
        };
    }
    let mut places = form.weight * 4;
    let digits = match form.digits.as_slice() {
        [] => return 0,
        [one] => f64::from(*one),
        [first, second, ..] => {
            places -= 4;
            f64::from(*first) * 10_000.0 + f64::from(*second)
        }
    };
    log10_to_i64((digits.ln() + places as f64 * std::f64::consts::LN_10).abs())
}

fn positive(a: &Numeric) -> Result<(), ValueError> {
    match signum(a) {
        _ if matches!(a, Numeric::NaN) => Ok(()),
        0 => Err(bad_logarithm("cannot take logarithm of zero")),
        -1 => Err(bad_logarithm("cannot take logarithm of a negative number")),
        _ => Ok(()),
    }
}

/// The natural logarithm.
pub fn ln(a: &Numeric) -> Result<Numeric, ValueError> {
    positive(a)?;
    let Numeric::Finite(value) = a else { return Ok(a.clone()) };
    let scale = (MIN_SIGNIFICANT_DIGITS - ln_weight(value)).max(value.fractional_digit_count()).clamp(0, MAX_RESULT_SCALE);
    finite(fixed_ln(value, scale).to_decimal(scale), scale)
}

/// A logarithm to so many digits after the point.
fn fixed_ln(value: &BigDecimal, scale: i64) -> Fixed {
    // Small numbers have their digits behind zeros.
    let zeros = (value.fractional_digit_count() - digit_count(parts(value).0.magnitude())).max(0);
    Fixed::of(value, bits_for(scale + 2 * zeros)).ln()
}

/// The logarithm to base 10.
pub fn log10(a: &Numeric) -> Result<Numeric, ValueError> {
    log(&Numeric::from(10_i64), a)
}

/// `log(base, a)`.
pub fn log(base: &Numeric, a: &Numeric) -> Result<Numeric, ValueError> {
    if matches!(base, Numeric::NaN) || matches!(a, Numeric::NaN) {
        return Ok(Numeric::NaN);
    }
    // Where a number is infinite, a negative one is told before zero.
    let finite_both = matches!((base, a), (Numeric::Finite(_), Numeric::Finite(_)));
    if !finite_both && signum(a) < 0 {
        positive(a)?;
    }
    positive(base)?;
    positive(a)?;
    let (x, y) = match (base, a) {
        (Numeric::Finite(x), Numeric::Finite(y)) => (x, y),
        (Numeric::Infinity, Numeric::Infinity) => return Ok(Numeric::NaN),
        (Numeric::Infinity, _) => return Ok(Numeric::zero()),
        _ => return Ok(Numeric::Infinity),
    };
    let (base_weight, weight) = (ln_weight(x), ln_weight(y));
    let scale = (MIN_SIGNIFICANT_DIGITS - (weight - base_weight))
        .max(x.fractional_digit_count())
        .max(y.fractional_digit_count())
        .clamp(0, MAX_RESULT_SCALE);
    let precision = scale + base_weight.abs() + weight.abs() + 8;
    let (below, above) = (fixed_ln(x, precision), fixed_ln(y, precision));
    if below.mantissa.is_zero() {
        return Err(ValueError::division_by_zero());
    }
    let bits = below.bits.max(above.bits);
    finite(above.with_bits(bits).over(&below.with_bits(bits)).to_decimal(scale), scale)
}

/// `a ^ b`.
pub fn pow(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    let (Numeric::Finite(x), Numeric::Finite(y)) = (a, b) else { return special_pow(a, b) };
    let (base_sign, exponent_sign) = (signum(a), signum(b));
    if base_sign == 0 && exponent_sign < 0 {
        return Err(bad_power("zero raised to a negative power is undefined"));
    }
    let whole = whole_number(y);
    if base_sign < 0 && whole.is_none() {
        return Err(bad_power("a negative number raised to a non-integer power yields a complex result"));
    }
    if let Some(exponent) = whole.as_ref().and_then(ToPrimitive::to_i32) {
        let scale = x.fractional_digit_count().clamp(MIN_SIGNIFICANT_DIGITS, MAX_RESULT_SCALE);
        return whole_pow(x, exponent, scale);
    }
    if base_sign == 0 {
        return finite(BigInt::zero(), MIN_SIGNIFICANT_DIGITS);
    }
    let negative = base_sign < 0 && whole.is_some_and(|n| n.bit(0));
    let result = real_pow(&x.abs(), y)?;
    Ok(if negative { crate::decimal::neg(&result) } else { result })
}

/// The value when it has no fraction.
fn whole_number(value: &BigDecimal) -> Option<BigInt> {
    let (unscaled, scale) = parts(value);
    let unit = ten_to(scale);
    (&unscaled % &unit).is_zero().then(|| unscaled / unit)
}

fn special_pow(a: &Numeric, b: &Numeric) -> Result<Numeric, ValueError> {
    let one = Numeric::from(1_i64);
    if matches!(a, Numeric::NaN) {
        return Ok(if signum(b) == 0 && !matches!(b, Numeric::NaN) { one } else { Numeric::NaN });
    }
    if matches!(b, Numeric::NaN) {
        return Ok(if *a == one { one } else { Numeric::NaN });
    }
    let exponent_is_infinite = matches!(b, Numeric::Infinity | Numeric::NegativeInfinity);
    let (base_sign, exponent_sign) = (signum(a), signum(b));
    if base_sign == 0 && exponent_sign < 0 {
        return Err(bad_power("zero raised to a negative power is undefined"));
    }
    let fraction_in_exponent = matches!(b, Numeric::Finite(y) if whole_number(y).is_none());
    if base_sign < 0 && fraction_in_exponent {
        return Err(bad_power("a negative number raised to a non-integer power yields a complex result"));
    }
    if *a == one || exponent_sign == 0 {
        return Ok(one);
    }
    if base_sign == 0 {
        return Ok(Numeric::zero());
    }
    if exponent_is_infinite {
        let magnitude = crate::decimal::abs(a);
        if magnitude == one {
            return Ok(one);
        }
        return Ok(if (magnitude > one) == (exponent_sign > 0) { Numeric::Infinity } else { Numeric::zero() });
    }
    // Only the base is infinite.
    if exponent_sign < 0 {
        return Ok(Numeric::zero());
    }
    let odd = matches!(b, Numeric::Finite(y) if whole_number(y).is_some_and(|n| n.bit(0)));
    Ok(if base_sign < 0 && odd { Numeric::NegativeInfinity } else { Numeric::Infinity })
}

fn whole_pow(base: &BigDecimal, exponent: i32, scale: i64) -> Result<Numeric, ValueError> {
    let (unscaled, base_scale) = parts(base);
    if unscaled.is_zero() {
        let value = if exponent == 0 { ten_to(scale) } else { BigInt::zero() };
        return finite(value, scale);
    }
    let digits = digit_count(unscaled.magnitude());
    let log10 = log10_of(unscaled.magnitude()) - base_scale as f64;
    let weight = log10 * f64::from(exponent);
    if weight > (WHOLE_DIGITS_MAX + 1) as f64 {
        return Err(overflow());
    }
    if weight + 1.0 < -(scale as f64) {
        return finite(BigInt::zero(), scale);
    }
    if digits as f64 * f64::from(exponent.unsigned_abs()) <= EXACT_DIGITS_MAX {
        let power = unscaled.pow(exponent.unsigned_abs());
        let power_scale = base_scale * i64::from(exponent.unsigned_abs());
        let value =
            if exponent >= 0 { rescaled(power, power_scale, scale) } else { quotient((&BigInt::one(), 0), (&power, power_scale), scale) };
        return finite(value, scale);
    }
    let negative = unscaled.is_negative() && exponent % 2 != 0;
    let whole = weight.max(0.0) as i64;
    let bits = bits_for(scale + whole) + 64;
    let logarithm = Fixed::of(&base.abs(), bits).ln();
    let value = Fixed { mantissa: logarithm.mantissa * exponent, bits }.exp().to_decimal(scale);
    finite(if negative { -value } else { value }, scale)
}

fn log10_of(value: &BigUint) -> f64 {
    // The first bits are enough.
    let drop = value.bits().saturating_sub(64);
    (value >> drop).to_f64().unwrap_or(1.0).log10() + drop as f64 * std::f64::consts::LOG10_2
}

fn real_pow(base: &BigDecimal, exponent: &BigDecimal) -> Result<Numeric, ValueError> {
    // PostgreSQL's estimate keeps 8 digits; the scale of the result follows from it.
    let places = (8 - ln_weight(base)).max(0);
    let logarithm = BigDecimal::new(fixed_ln(base, places).to_decimal(places), places);
    let (product, product_scale) = parts(&(logarithm * exponent));
    let approximate = estimate(&BigDecimal::new(rescaled(product, product_scale, places), places));
    if approximate.abs() > EXPONENT_MAX * 3.01 {
        return if approximate > 0.0 { Err(overflow()) } else { finite(BigInt::zero(), MAX_RESULT_SCALE) };
    }
    let weight = (approximate * LOG10_E) as i64;
    let scale = (MIN_SIGNIFICANT_DIGITS - weight)
        .max(base.fractional_digit_count())
        .max(exponent.fractional_digit_count())
        .clamp(0, MAX_RESULT_SCALE);
    // The error of the logarithm grows with the exponent.
    let exponent_digits = crate::decimal::whole_digits(exponent).max(0);
    let precision = scale + weight.max(0) + exponent_digits + 8;
    let logarithm = fixed_ln(base, precision);
    let product = logarithm.times(&Fixed::of(exponent, logarithm.bits));
    if approximate.abs() >= EXPONENT_MAX * 3.0 {
        return if approximate > 0.0 { Err(overflow()) } else { finite(BigInt::zero(), scale) };
    }
    finite(product.exp().to_decimal(scale), scale)
}
