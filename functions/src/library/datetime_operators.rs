//! Sums, differences and multiples of dates, times and intervals.
//!
//! The kernels bear the names of PostgreSQL's functions behind the operators. An operator over constants is computed at once, so that
//! `date '1998-12-01' - interval '90 days'` can be compared with a column as a constant.

use std::cmp::Ordering;

use common::datum::Datum;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Float64Type, Int32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;
use types::{datetime, interval};

use crate::definition::{Args, Build, Call, Definition, build, columns, row};
use crate::error::{FunctionError, Result, internal};
use crate::literals::fold;
use crate::primitive_columns::{self, interval_for, interval_of};
use crate::registry::call_hidden;
use crate::typed_expr::TypedExpr;

type Days = Date32Type;
type Int = Int32Type;
type Float = Float64Type;
type Span = IntervalMonthDayNanoType;
type Clock = Time64MicrosecondType;
type Instant = TimestampMicrosecondType;

/// Which function computes an operator.
const OPERATORS: &[(&str, &str)] = &[
    ("+(date,int4)", "date_pli(date,int4) date"),
    ("+(int4,date)", "integer_pl_date(int4,date) date"),
    ("-(date,int4)", "date_mii(date,int4) date"),
    ("-(date,date)", "date_mi(date,date) int4"),
    ("+(date,interval)", "date_pl_interval(date,interval) timestamp"),
    ("+(interval,date)", "interval_pl_date(interval,date) timestamp"),
    ("-(date,interval)", "date_mi_interval(date,interval) timestamp"),
    ("+(date,time)", "datetime_pl(date,time) timestamp"),
    ("+(time,date)", "timedate_pl(time,date) timestamp"),
    ("+(timestamp,interval)", "timestamp_pl_interval(timestamp,interval) timestamp"),
    ("+(interval,timestamp)", "interval_pl_timestamp(interval,timestamp) timestamp"),
    ("-(timestamp,interval)", "timestamp_mi_interval(timestamp,interval) timestamp"),
    ("-(timestamp,timestamp)", "timestamp_mi(timestamp,timestamp) interval"),
    ("+(timestamptz,interval)", "timestamptz_pl_interval(timestamptz,interval) timestamptz"),
    ("+(interval,timestamptz)", "interval_pl_timestamptz(interval,timestamptz) timestamptz"),
    ("-(timestamptz,interval)", "timestamptz_mi_interval(timestamptz,interval) timestamptz"),
    ("-(timestamptz,timestamptz)", "timestamptz_mi(timestamptz,timestamptz) interval"),
    ("+(time,interval)", "time_pl_interval(time,interval) time"),
    ("+(interval,time)", "interval_pl_time(interval,time) time"),
    ("-(time,interval)", "time_mi_interval(time,interval) time"),
    ("-(time,time)", "time_mi_time(time,time) interval"),
    ("+(interval,interval)", "interval_pl(interval,interval) interval"),
    ("-(interval,interval)", "interval_mi(interval,interval) interval"),
    ("*(interval,float8)", "interval_mul(interval,float8) interval"),
    ("*(float8,interval)", "mul_d_interval(float8,interval) interval"),
    ("/(interval,float8)", "interval_div(interval,float8) interval"),
    ("-(interval)", "interval_um(interval) interval"),
];

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = dates();
    out.extend(timestamps());
    out.extend(timestamps_with_zone());
    out.extend(times());
    out.extend(intervals());
    for ty in ["date", "time", "timestamp", "timestamptz", "interval"] {
        out.push(row(&format!("{ty}_larger({ty},{ty}) {ty}"), |a| Ok(chosen(a, Ordering::Greater))));
        out.push(row(&format!("{ty}_smaller({ty},{ty}) {ty}"), |a| Ok(chosen(a, Ordering::Less))));
    }
    for (operator, function) in OPERATORS {
        let result = function.rsplit_once(' ').map_or("void", |(_, result)| result);
        let definition = build(&format!("{operator} {result}"), by_function);
        out.push(if operator.contains("timestamptz,i") || operator.contains("l,timestamptz") { definition.stable() } else { definition });
    }
    out
}

/// The first argument if it compares so with the second, else the second.
fn chosen(args: &Args<'_>, wanted: Ordering) -> Datum {
    let (a, b) = (args.value(0), args.value(1));
    let order = match (a, b) {
        (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Time(a), Datum::Time(b)) | (Datum::Timestamp(a), Datum::Timestamp(b)) => a.cmp(b),
        (Datum::Interval(a), Datum::Interval(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    if order == wanted { a.clone() } else { b.clone() }
}

fn by_function(build: &Build<'_>, args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let types: Vec<_> = args.iter().map(|a| a.ty.without_typmod()).collect();
    let names: Vec<&str> = types.iter().map(|ty| ty.scalar.internal_name()).collect();
    let operator = format!("{}({})", build.name, names.join(","));
    let (_, key) =
        OPERATORS.iter().find(|(o, _)| *o == operator).ok_or_else(|| FunctionError::Internal(format!("no function of {operator}")))?;
    let call = call_hidden(key, types, build.result, args.into_iter().map(|a| a.expr).collect());
    Ok(fold(TypedExpr::new(call, build.result)))
}

fn two<A: ArrowPrimitiveType, B: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    call: &Call<'_>,
    args: &ScalarFunctionArgs,
    op: impl Fn(A::Native, B::Native) -> Result<R::Native, ValueError>,
) -> DataFusionResult<ColumnarValue> {
    primitive_columns::binary::<A, B, R>(args, call.result.arrow(), op)
}

fn dates() -> Vec<Definition> {
    vec![
        columns("date_pli(date,int4) date", |c, a| two::<Days, Int, Days>(c, a, datetime::add_days)),
        columns("integer_pl_date(int4,date) date", |c, a| two::<Int, Days, Days>(c, a, |n, d| datetime::add_days(d, n))),
        columns("date_mii(date,int4) date", |c, a| two::<Days, Int, Days>(c, a, datetime::sub_days)),
        columns("date_mi(date,date) int4", |c, a| two::<Days, Days, Int>(c, a, datetime::sub_dates)),
        columns("date_pl_interval(date,interval) timestamp", |c, a| two::<Days, Span, Instant>(c, a, date_plus)),
        columns("interval_pl_date(interval,date) timestamp", |c, a| two::<Span, Days, Instant>(c, a, |s, d| date_plus(d, s))),
        columns("date_mi_interval(date,interval) timestamp", |c, a| {
            two::<Days, Span, Instant>(c, a, |d, s| datetime::sub_interval(datetime::date_to_timestamp(d)?, interval_of(s)))
        }),
        columns("datetime_pl(date,time) timestamp", |c, a| two::<Days, Clock, Instant>(c, a, datetime::date_and_time)),
        columns("timedate_pl(time,date) timestamp", |c, a| two::<Clock, Days, Instant>(c, a, |t, d| datetime::date_and_time(d, t))),
    ]
}

fn date_plus(date: i32, span: <Span as ArrowPrimitiveType>::Native) -> Result<i64, ValueError> {
    datetime::add_interval(datetime::date_to_timestamp(date)?, interval_of(span))
}

fn timestamps() -> Vec<Definition> {
    vec![
        columns("timestamp_pl_interval(timestamp,interval) timestamp", |c, a| {
            two::<Instant, Span, Instant>(c, a, |t, s| datetime::add_interval(t, interval_of(s)))
        }),
        columns("interval_pl_timestamp(interval,timestamp) timestamp", |c, a| {
            two::<Span, Instant, Instant>(c, a, |s, t| datetime::add_interval(t, interval_of(s)))
        }),
        columns("timestamp_mi_interval(timestamp,interval) timestamp", |c, a| {
            two::<Instant, Span, Instant>(c, a, |t, s| datetime::sub_interval(t, interval_of(s)))
        }),
        columns("timestamp_mi(timestamp,timestamp) interval", difference),
        columns("timestamptz_mi(timestamptz,timestamptz) interval", difference),
    ]
}

fn difference(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    two::<Instant, Instant, Span>(call, args, |a, b| interval_for(datetime::sub_timestamps(a, b)?))
}

fn timestamps_with_zone() -> Vec<Definition> {
    let definitions = vec![
        columns("timestamptz_pl_interval(timestamptz,interval) timestamptz", |c, a| {
            let zone = c.settings.format.time_zone;
            two::<Instant, Span, Instant>(c, a, |t, s| datetime::add_interval_tz(t, interval_of(s), zone))
        }),
        columns("interval_pl_timestamptz(interval,timestamptz) timestamptz", |c, a| {
            let zone = c.settings.format.time_zone;
            two::<Span, Instant, Instant>(c, a, |s, t| datetime::add_interval_tz(t, interval_of(s), zone))
        }),
        columns("timestamptz_mi_interval(timestamptz,interval) timestamptz", |c, a| {
            let zone = c.settings.format.time_zone;
            two::<Instant, Span, Instant>(c, a, |t, s| datetime::sub_interval_tz(t, interval_of(s), zone))
        }),
    ];
    definitions.into_iter().map(Definition::stable).collect()
}

fn times() -> Vec<Definition> {
    vec![
        columns("time_pl_interval(time,interval) time", |c, a| {
            two::<Clock, Span, Clock>(c, a, |t, s| Ok(datetime::time_add(t, interval_of(s))))
        }),
        columns("interval_pl_time(interval,time) time", |c, a| {
            two::<Span, Clock, Clock>(c, a, |s, t| Ok(datetime::time_add(t, interval_of(s))))
        }),
        columns("time_mi_interval(time,interval) time", |c, a| {
            two::<Clock, Span, Clock>(c, a, |t, s| Ok(datetime::time_sub(t, interval_of(s))))
        }),
        columns("time_mi_time(time,time) interval", |c, a| two::<Clock, Clock, Span>(c, a, |x, y| interval_for(datetime::sub_times(x, y)))),
    ]
}

fn intervals() -> Vec<Definition> {
    vec![
        columns("interval_pl(interval,interval) interval", |c, a| {
            two::<Span, Span, Span>(c, a, |x, y| interval_for(interval::add(interval_of(x), interval_of(y))?))
        }),
        columns("interval_mi(interval,interval) interval", |c, a| {
            two::<Span, Span, Span>(c, a, |x, y| interval_for(interval::sub(interval_of(x), interval_of(y))?))
        }),
        columns("interval_mul(interval,float8) interval", |c, a| {
            two::<Span, Float, Span>(c, a, |x, by| interval_for(interval::mul(interval_of(x), by)?))
        }),
        columns("mul_d_interval(float8,interval) interval", |c, a| {
            two::<Float, Span, Span>(c, a, |by, x| interval_for(interval::mul(interval_of(x), by)?))
        }),
        columns("interval_div(interval,float8) interval", |c, a| {
            two::<Span, Float, Span>(c, a, |x, by| interval_for(interval::div(interval_of(x), by)?))
        }),
        columns("interval_um(interval) interval", |c, a| {
            let operand = a.args.first().ok_or_else(|| internal("negation has one operand"))?;
            primitive_columns::unary::<Span, Span>(operand, c.result.arrow(), |x| interval_for(interval::neg(interval_of(x))?))
        }),
    ]
}
