//! Expressions and column names as people write them.
//!
//! Columns of plans have names that are unique ([`PLAN_NAME_SEPARATOR`]), functions have names that tell their signature, and comparisons go through
//! keys. None of that is shown.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use functions::typed_expr::PLAN_NAME_SEPARATOR;

/// An expression.
pub(super) fn text(expr: &Arc<dyn PhysicalExpr>) -> String {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return name(column.name());
    }
    if let Some(constant) = expr.downcast_ref::<Literal>() {
        return literal(constant.value());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let level = level(binary.op());
        // AND and OR chain without parentheses.
        let side = |expr: &Arc<dyn PhysicalExpr>| match expr.downcast_ref::<BinaryExpr>() {
            Some(inner) if self::level(inner.op()) > level || (inner.op() == binary.op() && level < COMPARISON) => text(expr),
            Some(_) => format!("({})", text(expr)),
            None => operand(expr),
        };
        return format!("{} {} {}", side(binary.left()), binary.op(), side(binary.right()));
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return text(cast.expr());
    }
    if let Some(not) = expr.downcast_ref::<NotExpr>() {
        return format!("NOT {}", operand(not.arg()));
    }
    if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
        return format!("{} IS NULL", operand(null.arg()));
    }
    if let Some(null) = expr.downcast_ref::<IsNotNullExpr>() {
        return format!("{} IS NOT NULL", operand(null.arg()));
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        let not = if list.negated() { "NOT " } else { "" };
        return format!("{} {not}IN ({})", operand(list.expr()), texts(list.list()));
    }
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        return self::case(case);
    }
    if let Some(like) = expr.downcast_ref::<LikeExpr>() {
        let not = if like.negated() { "NOT " } else { "" };
        let word = if like.case_insensitive() { "ILIKE" } else { "LIKE" };
        return format!("{} {not}{word} {}", operand(like.expr()), operand(like.pattern()));
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return function(call.fun().name(), call.args());
    }
    if expr.downcast_ref::<ScalarSubqueryExpr>().is_some() {
        return "(subquery)".to_owned();
    }
    name(&expr.to_string())
}

/// How an operator that is a comparison binds; arithmetic binds closer.
const COMPARISON: u8 = 2;

fn level(op: &Operator) -> u8 {
    match op {
        Operator::Or => 0,
        Operator::And => 1,
        op if op.supports_propagation() => COMPARISON,
        _ => 3,
    }
}

/// The columns of a projection: a column of a computed name goes by the name that it gets.
pub(super) fn outputs(exprs: &[ProjectionExpr]) -> String {
    let output = |output: &ProjectionExpr| {
        let alias = name(&output.alias);
        let is_plain = output.expr.downcast_ref::<Column>().is_some();
        match is_plain && !alias.is_empty() {
            true => alias,
            false => text(&output.expr),
        }
    };
    exprs.iter().map(output).collect::<Vec<_>>().join(", ")
}

/// Expressions with commas between them.
pub(super) fn texts<'e>(exprs: impl IntoIterator<Item = &'e Arc<dyn PhysicalExpr>>) -> String {
    exprs.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Sort keys.
pub(super) fn sort_keys<'e>(keys: impl IntoIterator<Item = &'e PhysicalSortExpr>) -> String {
    let key = |key: &PhysicalSortExpr| {
        let direction = if key.options.descending { " DESC" } else { "" };
        let nulls = match (key.options.descending, key.options.nulls_first) {
            (false, true) => " NULLS FIRST",
            (true, false) => " NULLS LAST",
            _ => "",
        };
        format!("{}{direction}{nulls}", text(&key.expr))
    };
    keys.into_iter().map(key).collect::<Vec<_>>().join(", ")
}

/// An aggregate's call.
pub(super) fn aggregate(call: &AggregateFunctionExpr) -> String {
    let distinct = if call.is_distinct() { "DISTINCT " } else { "" };
    let args = call.expressions();
    let is_star = call.fun().name() == "count" && args.iter().all(|a| a.downcast_ref::<Literal>().is_some());
    let args = if is_star { "*".to_owned() } else { texts(&args) };
    format!("{}({distinct}{args})", plain_function(call.fun().name()))
}

/// A name without what makes it unique.
pub(super) fn name(of: &str) -> String {
    let of = of.split(PLAN_NAME_SEPARATOR).next().unwrap_or(of);
    if let Some((signature, args)) = of.split_once(";").and_then(|(head, rest)| Some((head, rest.split_once('(')?.1))) {
        return format!("{}({})", plain_function(signature), name(args.trim_end_matches(')')));
    }
    if of == "count(Int64(1))" {
        return "count(*)".to_owned();
    }
    without_qualifiers(of)
}

/// A logical expression's text with constants in SQL's form.
pub(super) fn logical(of: &str) -> String {
    const TYPES: [&str; 8] = ["Int16(", "Int32(", "Int64(", "Float64(", "Utf8(", "Boolean(", "outer_ref(", "Date32("];
    let mut shown = without_qualifiers(of);
    for ty in TYPES {
        while let Some(start) = shown.find(ty) {
            let inner = start + ty.len();
            let Some(end) = shown[inner..].find(')').map(|at| at + inner) else { break };
            let value = shown[inner..end].replace('"', "'");
            shown.replace_range(start..=end, &value);
        }
    }
    let mut plain = String::with_capacity(shown.len());
    let mut is_unique_part = false;
    for c in shown.chars() {
        is_unique_part = c == PLAN_NAME_SEPARATOR || (is_unique_part && (c.is_alphanumeric() || c == '_'));
        if !is_unique_part {
            plain.push(c);
        }
    }
    plain
}

/// The text without the names that plans give to relations.
fn without_qualifiers(of: &str) -> String {
    let mut shown = String::with_capacity(of.len());
    let mut word = String::new();
    for c in of.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if c == '.' && is_qualifier(&word) {
            word.clear();
            continue;
        }
        shown.push_str(&word);
        word.clear();
        shown.push(c);
    }
    shown.push_str(&word);
    shown
}

fn is_qualifier(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = &word[..word.len() - digits.len()];
    let is_ours = matches!(letters, "r" | "q" | "x" | "apply" | "rest") && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_ours || word.starts_with("__")
}

/// A function's name without its signature.
fn plain_function(unique: &str) -> &str {
    unique.split('(').next().unwrap_or(unique)
}

fn function(unique: &str, args: &[Arc<dyn PhysicalExpr>]) -> String {
    let plain = plain_function(unique);
    let is_operator = !plain.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match args {
        // Keys stand for the value in comparisons; conversions of a number's form change no value.
        [only] if plain.ends_with("_key") || plain == "numeric_bytes" => text(only),
        [left, right] if is_operator => format!("{} {plain} {}", operand(left), operand(right)),
        [left, right] if plain.starts_with("decimal_") => {
            let op = match plain {
                "decimal_add" => "+",
                "decimal_subtract" => "-",
                "decimal_multiply" => "*",
                "decimal_divide" => "/",
                _ => return format!("{plain}({})", texts(args)),
            };
            format!("{} {op} {}", operand(left), operand(right))
        }
        [only] if is_operator => format!("{plain}{}", operand(only)),
        _ => format!("{plain}({})", texts(args)),
    }
}

/// An expression as an operand: in parentheses when it has operands itself.
fn operand(expr: &Arc<dyn PhysicalExpr>) -> String {
    let shown = text(expr);
    let is_compound = expr.downcast_ref::<BinaryExpr>().is_some()
        || expr.downcast_ref::<InListExpr>().is_some()
        || expr.downcast_ref::<CaseExpr>().is_some()
        || expr.downcast_ref::<NotExpr>().is_some();
    if is_compound { format!("({shown})") } else { shown }
}

fn case(case: &CaseExpr) -> String {
    let mut shown = "CASE".to_owned();
    if let Some(of) = case.expr() {
        shown.push_str(&format!(" {}", text(of)));
    }
    for (when, then) in case.when_then_expr() {
        shown.push_str(&format!(" WHEN {} THEN {}", text(when), text(then)));
    }
    if let Some(otherwise) = case.else_expr() {
        shown.push_str(&format!(" ELSE {}", text(otherwise)));
    }
    shown.push_str(" END");
    shown
}

/// A constant in SQL's form.
fn literal(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        ScalarValue::Boolean(Some(value)) => value.to_string(),
        ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..) => {
            value.to_array().ok().and_then(|array| arrow::util::display::array_value_to_string(&array, 0).ok()).unwrap_or_default()
        }
        number if number.data_type().is_numeric() => number.to_string(),
        other => {
            let shown = other.to_array().ok().and_then(|array| arrow::util::display::array_value_to_string(&array, 0).ok());
            format!("'{}'", shown.unwrap_or_else(|| other.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_plain() {
        assert_eq!(name("qty\u{1}q2_0"), "qty");
        assert_eq!(name("sum(int4) int8#int4>int8;1;;(r1.qty)"), "sum(qty)");
        assert_eq!(name("count(Int64(1))"), "count(*)");
        assert_eq!(name("max(r4.id)"), "max(id)");
        assert_eq!(name("order_id"), "order_id");
    }
}
