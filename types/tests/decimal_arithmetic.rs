//! Arithmetic of numeric against PostgreSQL 15: `cases/decimal.jsonl` has lines `[operation, a, b, result]`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use common::error::SqlError;
use common::numeric::Numeric;
use proptest::prelude::*;
use types::decimal;
use types::error::ValueError;
use types::text_output::{format_float4, format_float8};

fn float_text(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn compute(operation: &str, a: &str, b: Option<&str>) -> Result<String, ValueError> {
    if operation == "from_float8" {
        return decimal::from_float8(a.parse().unwrap()).map(|n| n.to_string());
    }
    if operation == "from_float4" {
        return decimal::from_float4(a.parse().unwrap()).map(|n| n.to_string());
    }
    let x: Numeric = a.parse().unwrap();
    let y = || -> Numeric { b.unwrap().parse().unwrap() };
    let digits = || -> i32 { b.unwrap().parse().unwrap() };
    let result = match operation {
        "add" => decimal::add(&x, &y()),
        "sub" => decimal::sub(&x, &y()),
        "mul" => decimal::mul(&x, &y()),
        "div" => decimal::div(&x, &y()),
        "rem" => decimal::rem(&x, &y()),
        "div_trunc" => decimal::div_trunc(&x, &y()),
        "pow" => decimal::pow(&x, &y()),
        "log" => decimal::log(&x, &y()),
        "gcd" => decimal::gcd(&x, &y()),
        "lcm" => decimal::lcm(&x, &y()),
        "round" => decimal::round(&x, digits()),
        "trunc" => decimal::trunc(&x, digits()),
        "sqrt" => decimal::sqrt(&x),
        "exp" => decimal::exp(&x),
        "ln" => decimal::ln(&x),
        "log10" => decimal::log10(&x),
        "ceil" => decimal::ceil(&x),
        "floor" => decimal::floor(&x),
        "neg" => Ok(decimal::neg(&x)),
        "abs" => Ok(decimal::abs(&x)),
        "sign" => Ok(decimal::sign(&x)),
        "trim_scale" => Ok(decimal::trim_scale(&x)),
        "int2" => return decimal::to_int2(&x).map(|v| v.to_string()),
        "int4" => return decimal::to_int4(&x).map(|v| v.to_string()),
        "int8" => return decimal::to_int8(&x).map(|v| v.to_string()),
        "float8" => return decimal::to_float8(&x).map(|v| float_text(|out| format_float8(v, 1, out))),
        "float4" => return decimal::to_float4(&x).map(|v| float_text(|out| format_float4(v, 1, out))),
        other => panic!("{other}"),
    };
    result.map(|n| n.to_string())
}

#[test]
fn results_are_postgresqls() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("cases/decimal.jsonl").lines() {
        let case: [Option<String>; 4] = serde_json::from_str(line).unwrap();
        let [Some(operation), Some(a), b, Some(expected)] = &case else { panic!("{line}") };
        count += 1;
        let got = compute(operation, a, b.as_deref()).unwrap_or_else(|e| format!("!{} {e}", e.sqlstate()));
        if got != *expected {
            wrong.push(format!("{operation} {a} {b:?}\n     is {:.300}\n should {:.300}", got, expected));
        }
    }
    assert!(count > 5000);
    let shown = wrong.len().min(60);
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..shown].join("\n"));
}

fn any_numeric() -> impl Strategy<Value = Numeric> {
    (any::<i64>(), 0_i8..18).prop_map(|(unscaled, scale)| Numeric::from_unscaled(i128::from(unscaled), scale))
}

proptest! {
    #[test]
    fn division_and_remainder_belong_together(a in any_numeric(), b in any_numeric()) {
        prop_assume!(b != Numeric::zero());
        let whole = decimal::mul(&decimal::div_trunc(&a, &b).unwrap(), &b).unwrap();
        prop_assert_eq!(decimal::add(&whole, &decimal::rem(&a, &b).unwrap()).unwrap(), a);
    }

    #[test]
    fn a_root_squared_is_near(a in any_numeric()) {
        let a = decimal::abs(&a);
        let root = decimal::sqrt(&a).unwrap();
        let next = decimal::sub(&decimal::mul(&root, &root).unwrap(), &a).unwrap();
        let near = decimal::add(&decimal::mul(&a, &"1e-14".parse().unwrap()).unwrap(), &"1e-14".parse().unwrap()).unwrap();
        prop_assert!(decimal::abs(&next) <= near, "{root}");
    }

    #[test]
    fn exponential_and_logarithm_are_inverse(unscaled in 1..1_000_000_000_i64, scale in 0_i8..9) {
        let a = Numeric::from_unscaled(i128::from(unscaled), scale);
        let back = decimal::exp(&decimal::ln(&a).unwrap()).unwrap();
        let error = decimal::abs(&decimal::sub(&back, &a).unwrap());
        prop_assert!(error <= decimal::mul(&a, &"1e-13".parse().unwrap()).unwrap(), "{a} came back as {back}");
    }
}
