//! Applying a path to a document.
//!
//! Each accessor hands its results on to the next ([`Run::steps`]); the end of the chain collects them, or stops at the first when only
//! their existence is asked. In lax mode arrays are unwrapped for accessors that want something else, scalars count as arrays of
//! themselves, and what is not there is not found; in strict mode these are errors. An error inside a condition makes it unknown.

use std::borrow::Cow;

use bigdecimal::ToPrimitive;
use common::numeric::Numeric;
use common::sqlstate::SqlState;

use super::{Arithmetic, Chain, Comparison, Head, Method, Path, Predicate, Step};
use crate::error::ValueError;
use crate::json_parse::{Json, parse_jsonb};
use crate::{decimal, text_input};

/// How a path is applied.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The document with the path's variables.
    pub variables: &'a str,
    /// Errors of the path over this document answer NULL or nothing.
    pub silent: bool,
}

/// An item that a path has come to: a part of the document, or something computed.
type Item<'a> = Cow<'a, Json>;

/// Why a path stopped.
enum Failure {
    /// An error over this document; conditions and silence take it.
    Soft(ValueError),
    /// An error of the path itself.
    Hard(ValueError),
}

impl From<Failure> for ValueError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Soft(error) | Failure::Hard(error) => error,
        }
    }
}

/// Whether something was found.
type Found = Result<bool, Failure>;
/// Where results go; `None` when it is enough that there is one.
type Results<'r, 'a> = Option<&'r mut Vec<Item<'a>>>;

fn soft<T>(sqlstate: SqlState, message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Soft(ValueError::new(sqlstate, message)))
}

/// `jsonb_path_query`: the canonical texts of all that the path finds; when silent, of what it finds before an error.
pub fn query(path: &Path, document: &str, options: Options<'_>) -> Result<Vec<String>, ValueError> {
    let (document, variables) = (parse_jsonb(document)?, variables(options)?);
    let mut results = Vec::new();
    match Run::new(path, &document, &variables).chain(&path.root, &Cow::Borrowed(&document), &mut Some(&mut results)) {
        Err(Failure::Hard(error)) => return Err(error),
        Err(Failure::Soft(error)) if !options.silent => return Err(error),
        _ => {}
    }
    Ok(results.iter().map(|item| item.to_text()).collect())
}

/// `jsonb_path_exists`; `None` for an error when silent.
pub fn exists(path: &Path, document: &str, options: Options<'_>) -> Result<Option<bool>, ValueError> {
    let (document, variables) = (parse_jsonb(document)?, variables(options)?);
    let mut results = Vec::new();
    // Strict mode looks at everything, as there may be an error.
    let mut wanted = path.strict.then_some(&mut results);
    let found = Run::new(path, &document, &variables).chain(&path.root, &Cow::Borrowed(&document), &mut wanted);
    match found {
        Ok(found) => Ok(Some(if path.strict { !results.is_empty() } else { found })),
        Err(Failure::Soft(_)) if options.silent => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// `jsonb_path_match`: the truth of a condition; `None` when it is unknown, and for an error when silent.
pub fn test(path: &Path, document: &str, options: Options<'_>) -> Result<Option<bool>, ValueError> {
    let (document, variables) = (parse_jsonb(document)?, variables(options)?);
    let mut results = Vec::new();
    match Run::new(path, &document, &variables).chain(&path.root, &Cow::Borrowed(&document), &mut Some(&mut results)) {
        Err(Failure::Hard(error)) => return Err(error),
        Err(Failure::Soft(error)) if !options.silent => return Err(error),
        _ => {}
    }
    match results.as_slice() {
        [only] if matches!(**only, Json::Bool(true)) => Ok(Some(true)),
        [only] if matches!(**only, Json::Bool(false)) => Ok(Some(false)),
        [only] if matches!(**only, Json::Null) => Ok(None),
        _ if options.silent => Ok(None),
        _ => Err(ValueError::new(SqlState::SINGLETON_SQL_JSON_ITEM_REQUIRED, "single boolean result is expected")),
    }
}

fn variables(options: Options<'_>) -> Result<Json, ValueError> {
    match parse_jsonb(options.variables)? {
        variables @ Json::Object(_) => Ok(variables),
        _ => Err(ValueError::Other {
            sqlstate: SqlState::INVALID_PARAMETER_VALUE,
            message: "\"vars\" argument is not an object".to_owned(),
            detail: Some("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object.".to_owned()),
            hint: None,
        }),
    }
}

fn is_container(json: &Json) -> bool {
    matches!(json, Json::Array(_) | Json::Object(_))
}

fn number(value: Numeric) -> Json {
    Json::Number(value.to_string())
}

/// The parts of an array or object.
fn parts<'a>(item: &Item<'a>) -> Vec<Item<'a>> {
    match item {
        Cow::Borrowed(json) => match json {
            Json::Array(elements) => elements.iter().map(Cow::Borrowed).collect(),
            Json::Object(members) => members.iter().map(|(_, value)| Cow::Borrowed(value)).collect(),
            _ => Vec::new(),
        },
        Cow::Owned(json) => match json {
            Json::Array(elements) => elements.iter().map(|e| Cow::Owned(e.clone())).collect(),
            Json::Object(members) => members.iter().map(|(_, value)| Cow::Owned(value.clone())).collect(),
            _ => Vec::new(),
        },
    }
}

fn append<'a>(results: &mut Results<'_, 'a>, item: Item<'a>) -> Found {
    if let Some(results) = results {
        results.push(item);
    }
    Ok(true)
}

/// One application of a path.
struct Run<'a> {
    root: &'a Json,
    variables: &'a Json,
    lax: bool,
    /// What is not there is not found; besides in lax mode, below `.**`.
    forgiving: bool,
    /// `@`
    current: Option<Item<'a>>,
    /// The length of the innermost array whose subscripts are computed: what `last` counts from.
    length: usize,
}

/// A walk down a tree: which levels count.
#[derive(Clone, Copy)]
struct Levels {
    level: u32,
    /// `None` is the last level: what has no parts.
    first: Option<u32>,
    last: Option<u32>,
    forgiving: bool,
    unwrap: bool,
}

impl<'a> Run<'a> {
    fn new(path: &Path, root: &'a Json, variables: &'a Json) -> Self {
        Self { root, variables, lax: !path.strict, forgiving: !path.strict, current: None, length: 0 }
    }

    /// Evaluates a chain; `item` is what subscripts and nested conditions stand in.
    fn chain(&mut self, chain: &Chain, item: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let value = match &chain.head {
            Head::Root => Cow::Borrowed(self.root),
            Head::Current => self.current.clone().unwrap_or(Cow::Borrowed(self.root)),
            Head::Last => {
                let last = i64::try_from(self.length).unwrap_or(i64::MAX) - 1;
                Cow::Owned(number(Numeric::from(last)))
            }
            Head::Literal(value) => Cow::Owned(value.clone()),
            Head::Variable(name) => Cow::Borrowed(self.variable(name)?),
            Head::Binary(op, left, right) => Cow::Owned(self.binary(*op, left, right, item)?),
            Head::Sign { negative, operand } => return self.sign(*negative, operand, &chain.steps, item, results),
            Head::Predicate(predicate) => Cow::Owned(match self.predicate(predicate, item)? {
                Some(truth) => Json::Bool(truth),
                None => Json::Null,
            }),
        };
        self.next(&chain.steps, value, results)
    }

    fn variable(&self, name: &str) -> Result<&'a Json, Failure> {
        let Json::Object(members) = self.variables else { return soft(SqlState::INTERNAL_ERROR, "variables are an object") };
        match members.iter().find(|(key, _)| key == name) {
            Some((_, value)) => Ok(value),
            None => {
                let message = format!("could not find jsonpath variable \"{name}\"");
                Err(Failure::Hard(ValueError::new(SqlState::UNDEFINED_OBJECT, message)))
            }
        }
    }

    /// Applies the rest of a chain.
    fn next(&mut self, steps: &[Step], item: Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let unwrap = self.lax;
        self.steps(steps, item, results, unwrap)
    }

    /// Applies accessors; `unwrap`: an array may stand for its elements.
    fn steps(&mut self, steps: &[Step], item: Item<'a>, results: &mut Results<'_, 'a>, unwrap: bool) -> Found {
        let Some((step, rest)) = steps.split_first() else { return append(results, item) };
        let unwraps = unwrap && matches!(*item, Json::Array(_));
        match step {
            Step::Key(key) => match &*item {
                Json::Object(_) => match member(&item, key) {
                    Some(value) => self.next(rest, value, results),
                    None if self.forgiving => Ok(false),
                    None => soft(SqlState::SQL_JSON_MEMBER_NOT_FOUND, format!("JSON object does not contain key \"{key}\"")),
                },
                _ if unwraps => self.each_element(steps, &item, results),
                _ => self.missing(SqlState::SQL_JSON_MEMBER_NOT_FOUND, "jsonpath member accessor can only be applied to an object"),
            },
            Step::AnyKey => match &*item {
                Json::Object(_) => {
                    let unwrap = self.lax;
                    self.walk(rest, &item, results, Levels { level: 1, first: Some(1), last: Some(1), forgiving: false, unwrap })
                }
                _ if unwraps => self.each_element(steps, &item, results),
                _ => {
                    self.missing(SqlState::SQL_JSON_OBJECT_NOT_FOUND, "jsonpath wildcard member accessor can only be applied to an object")
                }
            },
            Step::AnyElement => match &*item {
                Json::Array(_) => {
                    let unwrap = self.lax;
                    self.walk(rest, &item, results, Levels { level: 1, first: Some(1), last: Some(1), forgiving: false, unwrap })
                }
                _ if self.lax => self.next(rest, item, results),
                _ => self.missing(SqlState::SQL_JSON_ARRAY_NOT_FOUND, "jsonpath wildcard array accessor can only be applied to an array"),
            },
            Step::Elements(subscripts) => self.elements(subscripts, rest, &item, results),
            Step::AnyLevel { first, last } => self.any_level(*first, *last, rest, &item, results),
            Step::Filter(_) if unwraps => self.each_element(steps, &item, results),
            Step::Filter(condition) => {
                let before = self.current.replace(item.clone());
                let truth = self.condition(condition, &item);
                self.current = before;
                if truth? == Some(true) { self.next(rest, item, results) } else { Ok(false) }
            }
            Step::Method(method) if unwraps && !matches!(method, Method::Type | Method::Size) => self.each_element(steps, &item, results),
            Step::Method(method) => self.method(*method, rest, &item, results),
        }
    }

    /// A structural error, or nothing found where these are forgiven.
    fn missing(&self, sqlstate: SqlState, message: &str) -> Found {
        if self.forgiving { Ok(false) } else { soft(sqlstate, message) }
    }

    /// Applies accessors to each element of an array, which is not unwrapped further.
    fn each_element(&mut self, steps: &[Step], array: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        self.walk(steps, array, results, Levels { level: 1, first: Some(1), last: Some(1), forgiving: false, unwrap: false })
    }

    /// Applies accessors to the parts of a container, and to their parts, down to the last level.
    fn walk(&mut self, steps: &[Step], container: &Item<'a>, results: &mut Results<'_, 'a>, levels: Levels) -> Found {
        if levels.last.is_some_and(|last| levels.level > last) {
            return Ok(false);
        }
        let mut found = false;
        for part in parts(container) {
            let counts = match levels.first {
                Some(first) => levels.level >= first,
                None => levels.last.is_none() && !is_container(&part),
            };
            if counts {
                let before = self.forgiving;
                self.forgiving |= levels.forgiving;
                let answer = self.steps(steps, part.clone(), results, levels.unwrap);
                self.forgiving = before;
                found |= answer?;
                if found && results.is_none() {
                    return Ok(true);
                }
            }
            if levels.last.is_none_or(|last| levels.level < last) && is_container(&part) {
                found |= self.walk(steps, &part, results, Levels { level: levels.level + 1, ..levels })?;
                if found && results.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(found)
    }

    fn any_level(&mut self, first: Option<u32>, last: Option<u32>, rest: &[Step], item: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let mut found = false;
        if first == Some(0) {
            let before = std::mem::replace(&mut self.forgiving, true);
            let answer = self.next(rest, item.clone(), results);
            self.forgiving = before;
            found = answer?;
            if found && results.is_none() {
                return Ok(true);
            }
        }
        if is_container(item) {
            let unwrap = self.lax;
            found |= self.walk(rest, item, results, Levels { level: 1, first, last, forgiving: true, unwrap })?;
        }
        Ok(found)
    }

    fn elements(&mut self, subscripts: &[(Chain, Option<Chain>)], rest: &[Step], item: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let elements = match &**item {
            Json::Array(_) => parts(item),
            _ if self.lax => vec![item.clone()],
            _ => return self.missing(SqlState::SQL_JSON_ARRAY_NOT_FOUND, "jsonpath array accessor can only be applied to an array"),
        };
        let outer_length = std::mem::replace(&mut self.length, elements.len());
        let answer = self.chosen_elements(subscripts, rest, item, &elements, results);
        self.length = outer_length;
        answer
    }

    fn chosen_elements(
        &mut self,
        subscripts: &[(Chain, Option<Chain>)],
        rest: &[Step],
        item: &Item<'a>,
        elements: &[Item<'a>],
        results: &mut Results<'_, 'a>,
    ) -> Found {
        let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
        let mut found = false;
        for (from, to) in subscripts {
            let from = self.subscript(from, item)?;
            let to = to.as_ref().map_or(Ok(from), |to| self.subscript(to, item))?;
            if !self.forgiving && (from < 0 || from > to || to >= length) {
                return soft(SqlState::INVALID_SQL_JSON_SUBSCRIPT, "jsonpath array subscript is out of bounds");
            }
            for at in from.max(0)..=to.min(length - 1) {
                let Some(element) = usize::try_from(at).ok().and_then(|at| elements.get(at)) else { continue };
                found |= self.next(rest, element.clone(), results)?;
                if found && results.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(found)
    }

    fn subscript(&mut self, chain: &Chain, item: &Item<'a>) -> Result<i64, Failure> {
        let mut values = Vec::new();
        self.chain(chain, item, &mut Some(&mut values))?;
        let value = match values.as_slice() {
            [only] => only.as_numeric(),
            _ => None,
        };
        let Some(value) = value else {
            return soft(SqlState::INVALID_SQL_JSON_SUBSCRIPT, "jsonpath array subscript is not a single numeric value");
        };
        let whole = if let Numeric::Finite(value) = &value { value.to_i64().and_then(|v| i32::try_from(v).ok()) } else { None };
        match whole {
            Some(whole) => Ok(i64::from(whole)),
            None => soft(SqlState::INVALID_SQL_JSON_SUBSCRIPT, "jsonpath array subscript is out of integer range"),
        }
    }

    /// All that a chain answers, with arrays unwrapped in lax mode.
    fn unwrapped(&mut self, chain: &Chain, item: &Item<'a>) -> Result<Vec<Item<'a>>, Failure> {
        let mut values = Vec::new();
        self.chain(chain, item, &mut Some(&mut values))?;
        if !self.lax || !values.iter().any(|value| matches!(**value, Json::Array(_))) {
            return Ok(values);
        }
        Ok(values.into_iter().flat_map(|value| if matches!(*value, Json::Array(_)) { parts(&value) } else { vec![value] }).collect())
    }

    fn binary(&mut self, op: Arithmetic, left: &Chain, right: &Chain, item: &Item<'a>) -> Result<Json, Failure> {
        let (left, right) = (self.unwrapped(left, item)?, self.unwrapped(right, item)?);
        let single = |values: &[Item<'a>], side: &str| match values {
            [only] if matches!(**only, Json::Number(_)) => Ok(only.as_numeric().unwrap_or_else(Numeric::zero)),
            _ => {
                let message = format!("{side} operand of jsonpath operator {} is not a single numeric value", op.symbol());
                soft(SqlState::SINGLETON_SQL_JSON_ITEM_REQUIRED, message)
            }
        };
        let (left, right) = (single(&left, "left")?, single(&right, "right")?);
        let result = match op {
            Arithmetic::Add => decimal::add(&left, &right),
            Arithmetic::Subtract => decimal::sub(&left, &right),
            Arithmetic::Multiply => decimal::mul(&left, &right),
            Arithmetic::Divide => decimal::div(&left, &right),
            Arithmetic::Modulo => decimal::rem(&left, &right),
        };
        result.map(number).map_err(Failure::Soft)
    }

    fn sign(&mut self, negative: bool, operand: &Chain, rest: &[Step], item: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let mut found = false;
        for value in self.unwrapped(operand, item)? {
            let value = match (value.as_numeric(), negative) {
                (Some(value), true) => number(decimal::neg(&value)),
                (Some(value), false) => number(value),
                (None, _) if results.is_none() && rest.is_empty() => continue,
                (None, _) => {
                    let message = format!("operand of unary jsonpath operator {} is not a numeric value", if negative { "-" } else { "+" });
                    return soft(SqlState::SQL_JSON_NUMBER_NOT_FOUND, message);
                }
            };
            found |= self.next(rest, Cow::Owned(value), results)?;
            if found && results.is_none() {
                return Ok(true);
            }
        }
        Ok(found)
    }

    /// The truth of a chain that is a condition.
    fn condition(&mut self, chain: &Chain, item: &Item<'a>) -> Result<Option<bool>, Failure> {
        match &chain.head {
            Head::Predicate(predicate) => self.predicate(predicate, item),
            _ => soft(SqlState::INTERNAL_ERROR, "a jsonpath condition is no predicate"),
        }
    }

    /// True, false or unknown.
    fn predicate(&mut self, predicate: &Predicate, item: &Item<'a>) -> Result<Option<bool>, Failure> {
        match predicate {
            Predicate::And(left, right) => Ok(match self.condition(left, item)? {
                Some(false) => Some(false),
                left => match self.condition(right, item)? {
                    Some(true) => left,
                    right => right,
                },
            }),
            Predicate::Or(left, right) => Ok(match self.condition(left, item)? {
                Some(true) => Some(true),
                left => match self.condition(right, item)? {
                    Some(false) => left,
                    right => right,
                },
            }),
            Predicate::Not(operand) => Ok(self.condition(operand, item)?.map(|truth| !truth)),
            Predicate::IsUnknown(operand) => Ok(Some(self.condition(operand, item)?.is_none())),
            Predicate::Exists(operand) => {
                let mut all = Vec::new();
                let mut wanted = (!self.lax).then_some(&mut all);
                match self.chain(operand, item, &mut wanted) {
                    Ok(found) => Ok(Some(if self.lax { found } else { !all.is_empty() })),
                    Err(Failure::Soft(_)) => Ok(None),
                    Err(hard) => Err(hard),
                }
            }
            Predicate::Compare(op, left, right) => {
                let (Some(left), Some(right)) = (self.operands(left, item)?, self.operands(right, item)?) else { return Ok(None) };
                Ok(self.any_pair(&left, &right, |left, right| compare(*op, left, right)))
            }
            Predicate::StartsWith(left, right) => {
                let (Some(left), Some(right)) = (self.operands(left, item)?, self.operands(right, item)?) else { return Ok(None) };
                Ok(self.any_pair(&left, &right, |left, right| match (left, right) {
                    (Json::String(left), Json::String(right)) => Some(left.starts_with(right.as_str())),
                    _ => None,
                }))
            }
            Predicate::LikeRegex { operand, regex, .. } => {
                let Some(values) = self.operands(operand, item)? else { return Ok(None) };
                let nothing = [Cow::Owned(Json::Null)];
                Ok(self.any_pair(&values, &nothing, |value, _| match value {
                    Json::String(text) => regex.0.is_match(text).ok(),
                    _ => None,
                }))
            }
        }
    }

    /// The values of an operand of a condition; `None` when they end in an error.
    fn operands(&mut self, chain: &Chain, item: &Item<'a>) -> Result<Option<Vec<Item<'a>>>, Failure> {
        match self.unwrapped(chain, item) {
            Ok(values) => Ok(Some(values)),
            Err(Failure::Soft(_)) => Ok(None),
            Err(hard) => Err(hard),
        }
    }

    /// Whether a test holds for any pair of values. Lax mode stops at the first that it holds for, strict mode at the first where it
    /// makes no sense.
    fn any_pair(&self, left: &[Item<'a>], right: &[Item<'a>], test: impl Fn(&Json, &Json) -> Option<bool>) -> Option<bool> {
        let (mut found, mut unknown) = (false, false);
        for left in left {
            for right in right {
                match test(left, right) {
                    Some(true) if self.lax => return Some(true),
                    Some(true) => found = true,
                    Some(false) => {}
                    None if !self.lax => return None,
                    None => unknown = true,
                }
            }
        }
        match (found, unknown) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }

    fn method(&mut self, method: Method, rest: &[Step], item: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let refused = |sqlstate: SqlState, what: &str| {
            soft(sqlstate, format!("jsonpath item method .{}() can only be applied to {what}", method.name()))
        };
        let value = match method {
            Method::Type => Json::String(kind(item).to_owned()),
            Method::Size => match &**item {
                Json::Array(elements) => number(Numeric::from(i64::try_from(elements.len()).unwrap_or(i64::MAX))),
                _ if self.lax => number(Numeric::from(1_i64)),
                _ if self.forgiving => return Ok(false),
                _ => return refused(SqlState::SQL_JSON_ARRAY_NOT_FOUND, "an array"),
            },
            Method::Abs | Method::Floor | Method::Ceiling => match item.as_numeric() {
                Some(value) => number(rounded(method, &value)?),
                None => return refused(SqlState::NON_NUMERIC_SQL_JSON_ITEM, "a numeric value"),
            },
            Method::Double => return self.double(rest, item, results),
            Method::KeyValue => match &**item {
                Json::Object(members) => return self.key_values(members, rest, results),
                _ => return refused(SqlState::SQL_JSON_OBJECT_NOT_FOUND, "an object"),
            },
        };
        self.next(rest, Cow::Owned(value), results)
    }

    fn double(&mut self, rest: &[Step], item: &Item<'a>, results: &mut Results<'_, 'a>) -> Found {
        let value = match &**item {
            Json::Number(_) => item.as_numeric().and_then(|value| decimal::to_float8(&value).ok()),
            Json::String(text) => text_input::parse_float8(text).ok(),
            _ => {
                let message = "jsonpath item method .double() can only be applied to a string or numeric value";
                return soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, message);
            }
        };
        let value = value.filter(|value| value.is_finite()).and_then(|value| decimal::from_float8(value).ok());
        match (value, &**item) {
            (Some(value), _) => self.next(rest, Cow::Owned(number(value)), results),
            (None, Json::String(_)) => {
                let message =
                    "string argument of jsonpath item method .double() is not a valid representation of a double precision number";
                soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, message)
            }
            (None, _) => {
                let message = "numeric argument of jsonpath item method .double() is out of range for type double precision";
                soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, message)
            }
        }
    }

    /// The members of an object as objects. There the `id` tells objects of one document apart; PostgreSQL takes the place in its binary
    /// form for it, which does not exist here, so that all have 0.
    fn key_values(&mut self, members: &[(String, Json)], rest: &[Step], results: &mut Results<'_, 'a>) -> Found {
        let mut found = false;
        for (key, value) in members {
            let pair = Json::Object(vec![
                ("id".to_owned(), number(Numeric::zero())),
                ("key".to_owned(), Json::String(key.clone())),
                ("value".to_owned(), value.clone()),
            ]);
            found |= self.next(rest, Cow::Owned(pair), results)?;
            if found && results.is_none() {
                return Ok(true);
            }
        }
        Ok(found)
    }
}

fn member<'a>(item: &Item<'a>, key: &str) -> Option<Item<'a>> {
    let find = |members: &[(String, Json)]| members.iter().position(|(name, _)| name == key);
    match item {
        Cow::Borrowed(Json::Object(members)) => find(members).map(|at| Cow::Borrowed(&members[at].1)),
        Cow::Owned(Json::Object(members)) => find(members).map(|at| Cow::Owned(members[at].1.clone())),
        _ => None,
    }
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn rounded(method: Method, value: &Numeric) -> Result<Numeric, Failure> {
    let result = match method {
        Method::Floor => decimal::floor(value),
        Method::Ceiling => decimal::ceil(value),
        _ => Ok(decimal::abs(value)),
    };
    result.map_err(Failure::Soft)
}

fn compare(op: Comparison, left: &Json, right: &Json) -> Option<bool> {
    let order = match (left, right) {
        (Json::Null, Json::Null) => std::cmp::Ordering::Equal,
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        (Json::Number(_), Json::Number(_)) => left.as_numeric()?.cmp(&right.as_numeric()?),
        (Json::String(left), Json::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        // Nothing but null is null, and nothing is above or below it.
        (Json::Null, _) | (_, Json::Null) => return Some(op == Comparison::NotEqual),
        _ => return None,
    };
    Some(match op {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}
