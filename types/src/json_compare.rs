//! Comparing two jsonb: their order, containment, and whether keys are there.

use std::cmp::Ordering;

use common::numeric::Numeric;

use crate::error::ValueError;
use crate::json_parse::{Json, parse_jsonb};

/// The order of kinds.
fn rank(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::String(_) => 1,
        Json::Number(_) => 2,
        Json::Bool(_) => 3,
        Json::Array(_) => 4,
        Json::Object(_) => 5,
    }
}

fn numbers(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    match (a.parse::<Numeric>(), b.parse::<Numeric>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// The order of two jsonb, as btree indexes and `ORDER BY` have it.
pub fn compare(a: &str, b: &str) -> Result<Ordering, ValueError> {
    if a == b {
        return Ok(Ordering::Equal);
    }
    let (a, b) = (parse_jsonb(a)?, parse_jsonb(b)?);
    Ok(match (&a, &b) {
        // At the top a scalar is stored as an array of one.
        (Json::Array(array), scalar) if rank(scalar) < 4 => array.len().cmp(&1).then(Ordering::Greater),
        (scalar, Json::Array(array)) if rank(scalar) < 4 => 1.cmp(&array.len()).then(Ordering::Less),
        (a, b) => order(a, b),
    })
}

fn order(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::String(a), Json::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Json::Number(a), Json::Number(b)) => numbers(a, b),
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        (Json::Array(a), Json::Array(b)) => {
            a.len().cmp(&b.len()).then_with(|| a.iter().zip(b).map(|(x, y)| order(x, y)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
        }
        (Json::Object(a), Json::Object(b)) => {
            let by_member =
                |((ka, va), (kb, vb)): (&(String, Json), &(String, Json))| ka.as_bytes().cmp(kb.as_bytes()).then_with(|| order(va, vb));
            a.len().cmp(&b.len()).then_with(|| a.iter().zip(b).map(by_member).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// `a @> b`.
pub fn contains(a: &str, b: &str) -> Result<bool, ValueError> {
    let (a, b) = (parse_jsonb(a)?, parse_jsonb(b)?);
    Ok(match (&a, &b) {
        // At the top an array contains its scalar elements on their own.
        (Json::Array(elements), scalar) if rank(scalar) < 4 => elements.iter().any(|e| order(e, scalar).is_eq()),
        (a, b) => contains_deep(a, b),
    })
}

fn contains_deep(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            b.iter().all(|(key, wanted)| a.iter().any(|(name, value)| name == key && contains_deep(value, wanted)))
        }
        (Json::Array(a), Json::Array(b)) => b.iter().all(|wanted| a.iter().any(|value| contains_deep(value, wanted))),
        (Json::Object(_) | Json::Array(_), _) | (_, Json::Object(_) | Json::Array(_)) => false,
        (a, b) => order(a, b).is_eq(),
    }
}

fn has(value: &Json, key: &str) -> bool {
    let is_key = |value: &Json| matches!(value, Json::String(text) if text == key);
    match value {
        Json::Object(members) => members.iter().any(|(name, _)| name == key),
        Json::Array(elements) => elements.iter().any(is_key),
        scalar => is_key(scalar),
    }
}

/// `a ? key`: a key of an object, a string of an array, or the string itself.
pub fn exists(a: &str, key: &str) -> Result<bool, ValueError> {
    Ok(has(&parse_jsonb(a)?, key))
}

/// `a ?| keys`; NULLs among the keys are left out by the caller.
pub fn exists_any(a: &str, keys: &[&str]) -> Result<bool, ValueError> {
    let value = parse_jsonb(a)?;
    Ok(keys.iter().any(|key| has(&value, key)))
}

/// `a ?& keys`.
pub fn exists_all(a: &str, keys: &[&str]) -> Result<bool, ValueError> {
    let value = parse_jsonb(a)?;
    Ok(keys.iter().all(|key| has(&value, key)))
}
