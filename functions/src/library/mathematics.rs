//! Mathematics over integers, numerics and doubles; the operators of arithmetic are in [`crate::operators_arithmetic`].

use std::sync::Arc;

use common::datum::Datum;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use datafusion::arrow::array::{AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;
use types::{decimal, float_functions as float};

use crate::casts::kernel::on_array;
use crate::decimals::two;
use crate::definition::{Args, ColumnFn, Definition, columns, fail, row};
use crate::error::{Result, internal, raise};
use crate::set_returning::{series, zero_step};

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    [integers(), numerics(), doubles(), angles(), buckets(), sets()].into_iter().flatten().collect()
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
fn of_double(out: &mut Vec<Definition>, names: &[&str], body: ColumnFn) {
    out.extend(names.iter().map(|name| columns(&format!("{name}(float8) float8"), body)));
}

/// Applies a function to a column of doubles. There is one NaN only.
fn each(args: &ScalarFunctionArgs, function: impl Fn(f64) -> Result<f64, ValueError>) -> DataFusionResult<ColumnarValue> {
    let operand = args.args.first().ok_or_else(|| internal("no argument"))?;
    on_array(operand, |array| {
        let doubles = array.as_primitive_opt::<Float64Type>().ok_or_else(|| internal("a double has another form"))?;
        let result: PrimitiveArray<Float64Type> =
            doubles.try_unary(|x| function(x).map(|y| if y.is_nan() { f64::NAN } else { y })).map_err(raise)?;
        Ok(Arc::new(result))
    })
}

fn doubles() -> Vec<Definition> {
    let mut out = vec![row("pi() float8", |_| Ok(Datum::Float8(std::f64::consts::PI)))];
    for name in ["power", "pow", "^", "dpow"] {
        out.push(row(&format!("{name}(float8,float8) float8"), |a| float::power(a.float8(0)?, a.float8(1)?).map(Datum::Float8)));
    }
    of_double(&mut out, &["round", "dround"], |_, a| each(a, |x| Ok(x.round_ties_even())));
    of_double(&mut out, &["trunc", "dtrunc"], |_, a| each(a, |x| Ok(x.trunc())));
    of_double(&mut out, &["ceil", "ceiling"], |_, a| each(a, |x| Ok(x.ceil())));
    of_double(&mut out, &["floor"], |_, a| each(a, |x| Ok(x.floor())));
    of_double(&mut out, &["sign"], |_, a| each(a, |x| Ok(float::sign(x))));
    of_double(&mut out, &["sqrt", "|/", "dsqrt"], |_, a| each(a, float::sqrt));
    of_double(&mut out, &["cbrt", "||/", "dcbrt"], |_, a| each(a, |x| Ok(x.cbrt())));
    of_double(&mut out, &["exp", "dexp"], |_, a| each(a, float::exp));
    of_double(&mut out, &["ln", "dlog1"], |_, a| each(a, float::ln));
    of_double(&mut out, &["log", "log10", "dlog10"], |_, a| each(a, float::log10));
    of_double(&mut out, &["degrees"], |_, a| each(a, float::degrees));
    of_double(&mut out, &["radians"], |_, a| each(a, float::radians));
    out
}

fn angles() -> Vec<Definition> {
    let mut out = vec![
        row("atan2(float8,float8) float8", |a| Ok(Datum::Float8(a.float8(0)?.atan2(a.float8(1)?)))),
        row("atan2d(float8,float8) float8", |a| Ok(Datum::Float8(float::atan2d(a.float8(0)?, a.float8(1)?)))),
    ];
    of_double(&mut out, &["sin"], |_, a| each(a, |x| float::of_angle(x, f64::sin)));
    of_double(&mut out, &["cos"], |_, a| each(a, |x| float::of_angle(x, f64::cos)));
    of_double(&mut out, &["tan"], |_, a| each(a, |x| float::of_angle(x, f64::tan)));
    of_double(&mut out, &["cot"], |_, a| each(a, |x| float::of_angle(x, float::cot)));
    of_double(&mut out, &["sind"], |_, a| each(a, |x| float::of_angle(x, float::sind)));
    of_double(&mut out, &["cosd"], |_, a| each(a, |x| float::of_angle(x, float::cosd)));
    of_double(&mut out, &["tand"], |_, a| each(a, |x| float::of_angle(x, float::tand)));
    of_double(&mut out, &["cotd"], |_, a| each(a, |x| float::of_angle(x, float::cotd)));
    of_double(&mut out, &["asin"], |_, a| each(a, |x| float::of_sine(x, f64::asin)));
    of_double(&mut out, &["acos"], |_, a| each(a, |x| float::of_sine(x, f64::acos)));
    of_double(&mut out, &["asind"], |_, a| each(a, |x| float::of_sine(x, float::asind)));
    of_double(&mut out, &["acosd"], |_, a| each(a, |x| float::of_sine(x, float::acosd)));
    of_double(&mut out, &["atan"], |_, a| each(a, |x| Ok(x.atan())));
    of_double(&mut out, &["atand"], |_, a| each(a, |x| Ok(float::atand(x))));
    of_double(&mut out, &["sinh"], |_, a| each(a, |x| Ok(x.sinh())));
    of_double(&mut out, &["cosh"], |_, a| each(a, |x| Ok(x.cosh())));
    of_double(&mut out, &["tanh"], |_, a| each(a, |x| Ok(x.tanh())));
    of_double(&mut out, &["asinh"], |_, a| each(a, |x| Ok(float::asinh(x))));
    of_double(&mut out, &["acosh"], |_, a| each(a, float::acosh));
    of_double(&mut out, &["atanh"], |_, a| each(a, float::atanh));
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
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, message);
    }
    let ty = args.ty(0);
    let above = |threshold: &Datum| crate::conditional::compare(threshold, args.value(0), ty).is_ok_and(std::cmp::Ordering::is_le);
    int4(thresholds.partition_point(above) as i128)
}

fn sets() -> Vec<Definition> {
    let signatures = ["set_of_generate_series(numeric,numeric) numeric[]", "set_of_generate_series(numeric,numeric,numeric) numeric[]"];
    signatures.into_iter().map(|signature| row(signature, numeric_series)).collect()
}

fn numeric_series(args: &Args<'_>) -> Value {
    for (index, name) in ["start value", "stop value", "step size"].into_iter().enumerate().take(args.len()) {
        let kind = match args.numeric(index)? {
            Numeric::Finite(_) => continue,
            Numeric::NaN => "NaN",
            Numeric::Infinity | Numeric::NegativeInfinity => "infinity",
        };
        return fail(SqlState::INVALID_PARAMETER_VALUE, format!("{name} cannot be {kind}"));
    }
    let one = Numeric::from(1_i64);
    let step = if args.len() > 2 { args.numeric(2)? } else { &one };
    if *step == Numeric::zero() {
        return zero_step();
    }
    let (ascending, stop) = (*step > Numeric::zero(), args.numeric(1)?);
    let mut current = args.numeric(0)?.clone();
    series(|| {
        if if ascending { current > *stop } else { current < *stop } {
            return Ok(None);
        }
        let next = decimal::add(&current, step)?;
        Ok(Some(Datum::Numeric(std::mem::replace(&mut current, next))))
    })
}
