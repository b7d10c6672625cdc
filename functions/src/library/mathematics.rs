//! Mathematics over integers, numerics and doubles; the operators of arithmetic are in [`crate::operators_arithmetic`].

use common::datum::Datum;
use common::numeric::Numeric;
use types::error::ValueError;
use types::{decimal, float_functions as float};

use crate::decimals::two;
use crate::definition::{Args, Definition, row};
use crate::error::Result;

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    [integers(), numerics(), doubles(), angles(), buckets()].into_iter().flatten().collect()
}

fn integers() -> Vec<Definition> {
    vec![
        row("gcd(int4,int4) int4", |a| int4(float::gcd(i64::from(a.int4(0)?), i64::from(a.int4(1)?)))),
        row("gcd(int8,int8) int8", |a| int8(float::gcd(a.int8(0)?, a.int8(1)?))),
        row("lcm(int4,int4) int4", |a| int4(float::lcm(i64::from(a.int4(0)?), i64::from(a.int4(1)?)))),
        row("lcm(int8,int8) int8", |a| int8(float::lcm(a.int8(0)?, a.int8(1)?))),
        row("factorial(int8) numeric", |a| decimal::factorial(a.int8(0)?).map(Datum::Numeric)),
    ]
}

fn int4(value: i128) -> Value {
    i32::try_from(value).map(Datum::Int4).map_err(|_| ValueError::out_of_range("integer"))
}

fn int8(value: i128) -> Value {
    i64::try_from(value).map(Datum::Int8).map_err(|_| ValueError::out_of_range("bigint"))
}

/// A function of one numeric under each of the names.
fn of_numeric(out: &mut Vec<Definition>, names: &[&str], body: crate::definition::RowFn) {
    out.extend(names.iter().map(|name| row(&format!("{name}(numeric) numeric"), body)));
}

fn numerics() -> Vec<Definition> {
    let mut out = vec![
        row("round(numeric,int4) numeric", |a| decimal::round(a.numeric(0)?, a.int4(1)?).map(Datum::Numeric)),
        row("trunc(numeric,int4) numeric", |a| decimal::trunc(a.numeric(0)?, a.int4(1)?).map(Datum::Numeric)),
        row("div(numeric,numeric) numeric", |a| two(a, decimal::div_trunc)),
        row("gcd(numeric,numeric) numeric", |a| two(a, decimal::gcd)),
        row("lcm(numeric,numeric) numeric", |a| two(a, decimal::lcm)),
        row("log(numeric,numeric) numeric", |a| two(a, decimal::log)),
        row("scale(numeric) int4", |a| Ok(decimal::scale(a.numeric(0)?).map_or(Datum::Null, Datum::Int4))),
        row("min_scale(numeric) int4", |a| Ok(decimal::min_scale(a.numeric(0)?).map_or(Datum::Null, Datum::Int4))),
        row("numeric_inc(numeric) numeric", |a| decimal::add(a.numeric(0)?, &Numeric::from(1_i64)).map(Datum::Numeric)),
    ];
    for name in ["power", "pow", "^"] {
        out.push(row(&format!("{name}(numeric,numeric) numeric"), |a| two(a, decimal::pow)));
    }
    of_numeric(&mut out, &["abs", "@"], |a| Ok(Datum::Numeric(decimal::abs(a.numeric(0)?))));
    of_numeric(&mut out, &["sign"], |a| Ok(Datum::Numeric(decimal::sign(a.numeric(0)?))));
    of_numeric(&mut out, &["trim_scale"], |a| Ok(Datum::Numeric(decimal::trim_scale(a.numeric(0)?))));
    of_numeric(&mut out, &["round"], |a| decimal::round(a.numeric(0)?, 0).map(Datum::Numeric));
    of_numeric(&mut out, &["trunc"], |a| decimal::trunc(a.numeric(0)?, 0).map(Datum::Numeric));
    of_numeric(&mut out, &["ceil", "ceiling"], |a| decimal::ceil(a.numeric(0)?).map(Datum::Numeric));
    of_numeric(&mut out, &["floor"], |a| decimal::floor(a.numeric(0)?).map(Datum::Numeric));
    of_numeric(&mut out, &["sqrt"], |a| decimal::sqrt(a.numeric(0)?).map(Datum::Numeric));
    of_numeric(&mut out, &["exp"], |a| decimal::exp(a.numeric(0)?).map(Datum::Numeric));
    of_numeric(&mut out, &["ln"], |a| decimal::ln(a.numeric(0)?).map(Datum::Numeric));
    of_numeric(&mut out, &["log", "log10"], |a| decimal::log10(a.numeric(0)?).map(Datum::Numeric));
    out
}

/// A function of one double under each of the names.
fn of_double(out: &mut Vec<Definition>, names: &[&str], body: crate::definition::RowFn) {
    out.extend(names.iter().map(|name| row(&format!("{name}(float8) float8"), body)));
}

fn doubles() -> Vec<Definition> {
    let mut out = vec![row("pi() float8", |_| Ok(Datum::Float8(std::f64::consts::PI)))];
    for name in ["power", "pow", "^", "dpow"] {
        out.push(row(&format!("{name}(float8,float8) float8"), |a| float::power(a.float8(0)?, a.float8(1)?).map(Datum::Float8)));
    }
    of_double(&mut out, &["round", "dround"], |a| Ok(Datum::Float8(a.float8(0)?.round_ties_even())));
    of_double(&mut out, &["trunc", "dtrunc"], |a| Ok(Datum::Float8(a.float8(0)?.trunc())));
    of_double(&mut out, &["ceil", "ceiling"], |a| Ok(Datum::Float8(a.float8(0)?.ceil())));
    of_double(&mut out, &["floor"], |a| Ok(Datum::Float8(a.float8(0)?.floor())));
    of_double(&mut out, &["sign"], |a| Ok(Datum::Float8(float::sign(a.float8(0)?))));
    of_double(&mut out, &["sqrt", "|/", "dsqrt"], |a| float::sqrt(a.float8(0)?).map(Datum::Float8));
    of_double(&mut out, &["cbrt", "||/", "dcbrt"], |a| Ok(Datum::Float8(a.float8(0)?.cbrt())));
    of_double(&mut out, &["exp", "dexp"], |a| float::exp(a.float8(0)?).map(Datum::Float8));
    of_double(&mut out, &["ln"], |a| float::ln(a.float8(0)?).map(Datum::Float8));
    of_double(&mut out, &["log", "log10"], |a| float::log10(a.float8(0)?).map(Datum::Float8));
    of_double(&mut out, &["degrees"], |a| float::degrees(a.float8(0)?).map(Datum::Float8));
    of_double(&mut out, &["radians"], |a| float::radians(a.float8(0)?).map(Datum::Float8));
    out
}

fn angle(args: &Args<'_>, function: fn(f64) -> f64) -> Value {
    float::of_angle(args.float8(0)?, function).map(Datum::Float8)
}

fn sine(args: &Args<'_>, function: fn(f64) -> f64) -> Value {
    float::of_sine(args.float8(0)?, function).map(Datum::Float8)
}

fn angles() -> Vec<Definition> {
    let mut out = vec![
        row("atan2(float8,float8) float8", |a| Ok(Datum::Float8(a.float8(0)?.atan2(a.float8(1)?)))),
        row("atan2d(float8,float8) float8", |a| Ok(Datum::Float8(float::atan2d(a.float8(0)?, a.float8(1)?)))),
    ];
    of_double(&mut out, &["sin"], |a| angle(a, f64::sin));
    of_double(&mut out, &["cos"], |a| angle(a, f64::cos));
    of_double(&mut out, &["tan"], |a| angle(a, f64::tan));
    of_double(&mut out, &["cot"], |a| angle(a, float::cot));
    of_double(&mut out, &["sind"], |a| angle(a, float::sind));
    of_double(&mut out, &["cosd"], |a| angle(a, float::cosd));
    of_double(&mut out, &["tand"], |a| angle(a, float::tand));
    of_double(&mut out, &["cotd"], |a| angle(a, float::cotd));
    of_double(&mut out, &["asin"], |a| sine(a, f64::asin));
    of_double(&mut out, &["acos"], |a| sine(a, f64::acos));
    of_double(&mut out, &["asind"], |a| sine(a, float::asind));
    of_double(&mut out, &["acosd"], |a| sine(a, float::acosd));
    of_double(&mut out, &["atan"], |a| Ok(Datum::Float8(a.float8(0)?.atan())));
    of_double(&mut out, &["atand"], |a| Ok(Datum::Float8(float::atand(a.float8(0)?))));
    of_double(&mut out, &["sinh"], |a| Ok(Datum::Float8(a.float8(0)?.sinh())));
    of_double(&mut out, &["cosh"], |a| Ok(Datum::Float8(a.float8(0)?.cosh())));
    of_double(&mut out, &["tanh"], |a| Ok(Datum::Float8(a.float8(0)?.tanh())));
    of_double(&mut out, &["asinh"], |a| Ok(Datum::Float8(a.float8(0)?.asinh())));
    of_double(&mut out, &["acosh"], |a| float::acosh(a.float8(0)?).map(Datum::Float8));
    of_double(&mut out, &["atanh"], |a| float::atanh(a.float8(0)?).map(Datum::Float8));
    out
}

fn buckets() -> Vec<Definition> {
    vec![
        row("width_bucket(numeric,numeric,numeric,int4) int4", |a| {
            decimal::width_bucket(a.numeric(0)?, a.numeric(1)?, a.numeric(2)?, a.int4(3)?).map(Datum::Int4)
        }),
        row("width_bucket(float8,float8,float8,int4) int4", |a| {
            float::width_bucket(a.float8(0)?, a.float8(1)?, a.float8(2)?, a.int4(3)?).map(Datum::Int4)
        }),
        row("width_bucket(anycompatible,anycompatiblearray) int4", bucket_of_thresholds),
    ]
}

/// How many thresholds, which are sorted, are not above the operand.
fn bucket_of_thresholds(args: &Args<'_>) -> Value {
    let thresholds = args.array(1)?;
    if thresholds.iter().any(Datum::is_null) {
        let message = "thresholds array must not contain NULLs";
        return crate::definition::fail(common::sqlstate::SqlState::NULL_VALUE_NOT_ALLOWED, message);
    }
    let ty = args.ty(0);
    let above = |threshold: &Datum| crate::conditional::compare(threshold, args.value(0), ty).is_ok_and(std::cmp::Ordering::is_le);
    int4(thresholds.partition_point(above) as i128)
}
