//! What makes a new jsonb of an old one: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`, `jsonb_strip_nulls`, `jsonb_pretty`.

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::json::{bad_argument, path_index};
use crate::json_parse::{Json, canonicalize, parse_json, parse_jsonb, write_string};

fn is_scalar(value: &Json) -> bool {
    !matches!(value, Json::Array(_) | Json::Object(_))
}

/// `a || b`: two objects become one, anything else becomes an array.
pub fn concat(a: &str, b: &str) -> Result<String, ValueError> {
    let joined = match (parse_jsonb(a)?, parse_jsonb(b)?) {
        (Json::Object(mut a), Json::Object(b)) => {
            a.extend(b);
            canonicalize(&mut a);
            Json::Object(a)
        }
        (a, b) => {
            let list = |value| if let Json::Array(elements) = value { elements } else { vec![value] };
            let mut elements = list(a);
            elements.extend(list(b));
            Json::Array(elements)
        }
    };
    Ok(joined.to_text())
}

/// `a - key`: without a key, or without the strings that are equal to it.
pub fn delete_key(a: &str, key: &str) -> Result<String, ValueError> {
    delete_keys(a, &[key])
}

/// `a - keys`.
pub fn delete_keys(a: &str, keys: &[&str]) -> Result<String, ValueError> {
    let mut value = parse_jsonb(a)?;
    match &mut value {
        Json::Object(members) => members.retain(|(name, _)| !keys.contains(&name.as_str())),
        Json::Array(elements) => elements.retain(|element| !matches!(element, Json::String(text) if keys.contains(&text.as_str()))),
        _ => return Err(bad_argument("cannot delete from scalar")),
    }
    Ok(value.to_text())
}

/// `a - index`, from the end for a negative one.
pub fn delete_index(a: &str, index: i32) -> Result<String, ValueError> {
    let mut value = parse_jsonb(a)?;
    match &mut value {
        Json::Object(_) => return Err(bad_argument("cannot delete from object using integer index")),
        Json::Array(elements) => {
            let length = elements.len() as i64;
            let at = if index < 0 { length + i64::from(index) } else { i64::from(index) };
            if (0..length).contains(&at) {
                elements.remove(at as usize);
            }
        }
        _ => return Err(bad_argument("cannot delete from scalar")),
    }
    Ok(value.to_text())
}

/// What to do at the end of a path.
enum Change {
    Delete,
    Set { value: Json, create: bool },
    Insert { value: Json, after: bool },
}

/// `a #- path`.
pub fn delete_path(a: &str, path: &[Option<&str>]) -> Result<String, ValueError> {
    change(a, path, &Change::Delete, "cannot delete path in scalar")
}

/// `jsonb_set(a, path, value, create_if_missing)`.
pub fn set(a: &str, path: &[Option<&str>], value: &str, create: bool) -> Result<String, ValueError> {
    change(a, path, &Change::Set { value: parse_jsonb(value)?, create }, "cannot set path in scalar")
}

/// `jsonb_insert(a, path, value, insert_after)`.
pub fn insert(a: &str, path: &[Option<&str>], value: &str, after: bool) -> Result<String, ValueError> {
    change(a, path, &Change::Insert { value: parse_jsonb(value)?, after }, "cannot set path in scalar")
}

fn change(a: &str, path: &[Option<&str>], what: &Change, in_scalar: &str) -> Result<String, ValueError> {
    let mut value = parse_jsonb(a)?;
    if is_scalar(&value) {
        return Err(bad_argument(in_scalar));
    }
    if !path.is_empty() {
        change_at(&mut value, path, 0, what)?;
    }
    Ok(value.to_text())
}

fn change_at(value: &mut Json, path: &[Option<&str>], level: usize, what: &Change) -> Result<(), ValueError> {
    let Some(step) = path.get(level) else { return Ok(()) };
    let position = level + 1;
    let Some(step) = step else {
        return Err(ValueError::new(SqlState::NULL_VALUE_NOT_ALLOWED, format!("path element at position {position} is null")));
    };
    let is_last = position == path.len();
    match value {
        Json::Object(members) => change_member(members, step, path, level, what, is_last),
        Json::Array(elements) => {
            let index = path_index(step).ok_or_else(|| {
                ValueError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!("path element at position {position} is not an integer: \"{step}\""),
                )
            })?;
            change_element(elements, index, path, level, what, is_last)
        }
        _ => Ok(()),
    }
}

fn change_member(
    members: &mut Vec<(String, Json)>,
    key: &str,
    path: &[Option<&str>],
    level: usize,
    what: &Change,
    is_last: bool,
) -> Result<(), ValueError> {
    let found = members.iter().position(|(name, _)| name == key);
    match (found, what) {
        (Some(at), _) if !is_last => return change_at(&mut members[at].1, path, level + 1, what),
        (Some(at), Change::Delete) => {
            members.remove(at);
        }
        (Some(at), Change::Set { value, .. }) => members[at].1 = value.clone(),
        (Some(_), Change::Insert { .. }) => {
            return Err(ValueError::Other {
                sqlstate: SqlState::INVALID_PARAMETER_VALUE,
                message: "cannot replace existing key".to_owned(),
                detail: None,
                hint: Some("Try using the function jsonb_set to replace key value.".to_owned()),
            });
        }
        (None, Change::Set { value, create: true } | Change::Insert { value, .. }) if is_last => {
            members.push((key.to_owned(), value.clone()));
            canonicalize(members);
        }
        (None, _) => {}
    }
    Ok(())
}

fn change_element(
    elements: &mut Vec<Json>,
    index: i32,
    path: &[Option<&str>],
    level: usize,
    what: &Change,
    is_last: bool,
) -> Result<(), ValueError> {
    let length = elements.len() as i64;
    let at = if index < 0 { length + i64::from(index) } else { i64::from(index) };
    let found = usize::try_from(at).ok().filter(|_| at < length);
    match (found, what) {
        (Some(at), _) if !is_last => return change_at(&mut elements[at], path, level + 1, what),
        (Some(at), Change::Delete) => {
            elements.remove(at);
        }
        (Some(at), Change::Set { value, .. }) => elements[at] = value.clone(),
        (Some(at), Change::Insert { value, after }) => elements.insert(at + usize::from(*after), value.clone()),
        // Beyond either end it goes to that end.
        (None, Change::Set { value, create: true } | Change::Insert { value, .. }) if is_last => {
            elements.insert(if at < 0 { 0 } else { elements.len() }, value.clone());
        }
        (None, _) => {}
    }
    Ok(())
}

/// `jsonb_strip_nulls`: objects without the members that are null.
pub fn strip_nulls(a: &str) -> Result<String, ValueError> {
    Ok(without_nulls(parse_jsonb(a)?).to_text())
}

/// `json_strip_nulls`: the same, written without blanks.
pub fn strip_nulls_of_json(a: &str) -> Result<String, ValueError> {
    let mut out = String::new();
    write_dense(&without_nulls(parse_json(a)?), &mut out);
    Ok(out)
}

fn without_nulls(value: Json) -> Json {
    match value {
        Json::Array(elements) => Json::Array(elements.into_iter().map(without_nulls).collect()),
        Json::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !matches!(value, Json::Null));
            Json::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        scalar => scalar,
    }
}

fn write_dense(value: &Json, out: &mut String) {
    match value {
        Json::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_dense(element, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_dense(value, out);
            }
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}

/// `jsonb_pretty`.
pub fn pretty(a: &str) -> Result<String, ValueError> {
    let mut out = String::new();
    write_pretty(&parse_jsonb(a)?, 0, &mut out);
    Ok(out)
}

fn write_pretty(value: &Json, depth: usize, out: &mut String) {
    fn line(depth: usize, out: &mut String) {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    }
    match value {
        Json::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                write_pretty(element, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                write_string(key, out);
                out.push_str(": ");
                write_pretty(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}
