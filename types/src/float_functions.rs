//! Functions over doubles, with PostgreSQL's errors at the edges: what is infinite or zero without reason is an error.

use common::sqlstate::SqlState;

use crate::error::ValueError;

fn out_of_range(message: &str) -> ValueError {
    ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn bad_input() -> ValueError {
    out_of_range("input is out of range")
}

/// 22003: a result that is too large.
pub fn overflow() -> ValueError {
    out_of_range("value out of range: overflow")
}

fn underflow() -> ValueError {
    out_of_range("value out of range: underflow")
}

fn bad_power(message: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

fn finite_unless(result: f64, reason: bool) -> Result<f64, ValueError> {
    if result.is_infinite() && !reason { Err(overflow()) } else { Ok(result) }
}

/// The square root.
pub fn sqrt(x: f64) -> Result<f64, ValueError> {
    if x < 0.0 { Err(bad_power("cannot take square root of a negative number")) } else { Ok(x.sqrt()) }
}

/// e to a power.
pub fn exp(x: f64) -> Result<f64, ValueError> {
    let result = x.exp();
    if result == 0.0 && x.is_finite() {
        return Err(underflow());
    }
    finite_unless(result, x.is_infinite())
}

/// A logarithm, natural or to base 10.
fn logarithm(x: f64, function: fn(f64) -> f64) -> Result<f64, ValueError> {
    let bad = |message| Err(ValueError::new(SqlState::INVALID_ARGUMENT_FOR_LOG, message));
    if x == 0.0 {
        return bad("cannot take logarithm of zero");
    }
    if x < 0.0 { bad("cannot take logarithm of a negative number") } else { Ok(function(x)) }
}

/// The natural logarithm.
pub fn ln(x: f64) -> Result<f64, ValueError> {
    logarithm(x, f64::ln)
}

/// The logarithm to base 10.
pub fn log10(x: f64) -> Result<f64, ValueError> {
    logarithm(x, f64::log10)
}

/// `x ^ y`.
pub fn power(x: f64, y: f64) -> Result<f64, ValueError> {
    if x.is_nan() || y.is_nan() {
        return Ok(if y == 0.0 || x == 1.0 { 1.0 } else { f64::NAN });
    }
    if x == 0.0 && y < 0.0 {
        return Err(bad_power("zero raised to a negative power is undefined"));
    }
    if x < 0.0 && y.floor() != y {
        return Err(bad_power("a negative number raised to a non-integer power yields a complex result"));
    }
    if y.is_infinite() {
        let magnitude = x.abs();
        return Ok(if magnitude == 1.0 {
            1.0
        } else if (magnitude > 1.0) == (y > 0.0) {
            f64::INFINITY
        } else {
            0.0
        });
    }
    let result = x.powf(y);
    if x.is_infinite() {
        return Ok(result);
    }
    if result == 0.0 && x != 0.0 {
        return Err(underflow());
    }
    finite_unless(result, false)
}

/// -1, 0 or 1; 0 for NaN.
pub fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// A function of an angle, which no infinity is.
pub fn of_angle(x: f64, function: fn(f64) -> f64) -> Result<f64, ValueError> {
    if x.is_infinite() { Err(bad_input()) } else { Ok(function(x)) }
}

/// The cotangent.
pub fn cot(x: f64) -> f64 {
    1.0 / x.tan()
}

/// A function of a sine or cosine, which lies between -1 and 1.
pub fn of_sine(x: f64, function: fn(f64) -> f64) -> Result<f64, ValueError> {
    if (-1.0..=1.0).contains(&x) || x.is_nan() { Ok(function(x)) } else { Err(bad_input()) }
}

// The inverse hyperbolic functions are computed as the C library does it, for the same last digits.

/// From here on the square of a number plus one is the square.
const LARGE: f64 = (1_u64 << 28) as f64;

/// The inverse of the hyperbolic sine.
pub fn asinh(x: f64) -> f64 {
    let magnitude = x.abs();
    let square = magnitude * magnitude;
    let result = if magnitude > LARGE {
        magnitude.ln() + std::f64::consts::LN_2
    } else if magnitude > 2.0 {
        (2.0 * magnitude + 1.0 / ((square + 1.0).sqrt() + magnitude)).ln()
    } else {
        (magnitude + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    result.copysign(x)
}

/// The inverse of the hyperbolic cosine.
pub fn acosh(x: f64) -> Result<f64, ValueError> {
    if x < 1.0 {
        return Err(bad_input());
    }
    Ok(if x > LARGE {
        x.ln() + std::f64::consts::LN_2
    } else if x > 2.0 {
        (2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt())).ln()
    } else {
        let above = x - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    })
}

/// The inverse of the hyperbolic tangent.
pub fn atanh(x: f64) -> Result<f64, ValueError> {
    of_sine(x, |x| {
        let magnitude = x.abs();
        let twice = magnitude + magnitude;
        let result = if magnitude == 1.0 {
            f64::INFINITY
        } else if magnitude < 0.5 {
            0.5 * (twice + twice * magnitude / (1.0 - magnitude)).ln_1p()
        } else {
            0.5 * (twice / (1.0 - magnitude)).ln_1p()
        };
        result.copysign(x)
    })
}

const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

/// Radians as degrees.
pub fn degrees(x: f64) -> Result<f64, ValueError> {
    finite_unless(x / RADIANS_PER_DEGREE, x.is_infinite())
}

/// Degrees as radians.
pub fn radians(x: f64) -> Result<f64, ValueError> {
    let result = x * RADIANS_PER_DEGREE;
    if result == 0.0 && x != 0.0 { Err(underflow()) } else { Ok(result) }
}

// The functions of degrees are exact at the angles whose values are: each is scaled so that it is right at 30, 45 or 60 degrees.

fn sine_to_30(x: f64) -> f64 {
    (x * RADIANS_PER_DEGREE).sin() / (30.0 * RADIANS_PER_DEGREE).sin() / 2.0
}

fn cosine_to_60(x: f64) -> f64 {
    let scale = 1.0 - (60.0 * RADIANS_PER_DEGREE).cos();
    1.0 - (1.0 - (x * RADIANS_PER_DEGREE).cos()) / scale / 2.0
}

/// The sine of 0 to 90 degrees.
fn first_sine(x: f64) -> f64 {
    if x <= 30.0 { sine_to_30(x) } else { cosine_to_60(90.0 - x) }
}

/// The cosine of 0 to 90 degrees.
fn first_cosine(x: f64) -> f64 {
    if x <= 60.0 { cosine_to_60(x) } else { sine_to_30(90.0 - x) }
}

/// An angle in 0 to 90 degrees, and the signs that the sine and the cosine take.
fn reduced(x: f64) -> (f64, f64, f64) {
    let mut x = x % 360.0;
    let (mut sine, mut cosine) = (1.0, 1.0);
    if x < 0.0 {
        x = -x;
        sine = -sine;
    }
    if x > 180.0 {
        x = 360.0 - x;
        sine = -sine;
    }
    if x > 90.0 {
        x = 180.0 - x;
        cosine = -cosine;
    }
    (x, sine, cosine)
}

/// The sine of degrees.
pub fn sind(x: f64) -> f64 {
    let (x, sign, _) = reduced(x);
    sign * first_sine(x)
}

/// The cosine of degrees.
pub fn cosd(x: f64) -> f64 {
    let (x, _, sign) = reduced(x);
    sign * first_cosine(x)
}

/// The tangent of degrees.
pub fn tand(x: f64) -> f64 {
    let (x, sine, cosine) = reduced(x);
    let scale = first_sine(45.0) / first_cosine(45.0);
    // No negative zero.
    sine * cosine * (first_sine(x) / first_cosine(x) / scale) + 0.0
}

/// The cotangent of degrees.
pub fn cotd(x: f64) -> f64 {
    let (x, sine, cosine) = reduced(x);
    let scale = first_cosine(45.0) / first_sine(45.0);
    sine * cosine * (first_cosine(x) / first_sine(x) / scale) + 0.0
}

fn first_arcsine(x: f64) -> f64 {
    if x <= 0.5 { x.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - x.acos() / 0.5_f64.acos() * 60.0 }
}

fn first_arccosine(x: f64) -> f64 {
    if x <= 0.5 { 90.0 - x.asin() / 0.5_f64.asin() * 30.0 } else { x.acos() / 0.5_f64.acos() * 60.0 }
}

/// The angle of a sine, in degrees.
pub fn asind(x: f64) -> f64 {
    if x >= 0.0 { first_arcsine(x) } else { -first_arcsine(-x) }
}

/// The angle of a cosine, in degrees.
pub fn acosd(x: f64) -> f64 {
    if x >= 0.0 { first_arccosine(x) } else { 90.0 + first_arcsine(-x) }
}

/// The angle of a tangent, in degrees.
pub fn atand(x: f64) -> f64 {
    x.atan() / 1.0_f64.atan() * 45.0
}

/// The angle of a point, in degrees.
pub fn atan2d(y: f64, x: f64) -> f64 {
    y.atan2(x) / 1.0_f64.atan() * 45.0
}

/// `width_bucket(operand, low, high, count)`.
pub fn width_bucket(operand: f64, low: f64, high: f64, count: i32) -> Result<i32, ValueError> {
    let bad = |message: &str| ValueError::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, message);
    if count <= 0 {
        return Err(bad("count must be greater than zero"));
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bad("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(bad("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(bad("lower bound cannot equal upper bound"));
    }
    let (before, behind) = if low < high { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
    if before {
        return Ok(0);
    }
    if behind {
        return count.checked_add(1).ok_or_else(|| ValueError::out_of_range("integer"));
    }
    let count = f64::from(count);
    let (before, width) = (count * (operand - low), high - low);
    // A share of the width, where the product or the width would be infinite.
    let bucket = if before.is_infinite() || width.is_infinite() {
        count * ((operand / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0))
    } else {
        before / width
    };
    (bucket as i32).checked_add(1).ok_or_else(|| ValueError::out_of_range("integer"))
}

fn euclid(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The greatest common divisor of integers.
pub fn gcd(a: i64, b: i64) -> i128 {
    euclid(i128::from(a), i128::from(b))
}

/// The least common multiple of integers.
pub fn lcm(a: i64, b: i64) -> i128 {
    let (a, b) = (i128::from(a), i128::from(b));
    if a == 0 || b == 0 { 0 } else { (a / euclid(a, b) * b).abs() }
}
