//! Hypothetical-set aggregates: the rank that a row would have among the rows of a group. They are said by counting the rows that stand before it.

use common::sqlstate::SqlState;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::Binder;
use super::environment::Environment;
use super::query::direction;
use crate::error::{BindError, Result};

/// Whether a name means one, when WITHIN GROUP follows.
pub(crate) fn is_hypothetical(name: &str) -> bool {
    matches!(name, "rank" | "dense_rank" | "percent_rank" | "cume_dist")
}

impl Binder<'_> {
    pub(crate) fn hypothetical(&self, name: &str, function: &Function, env: &Environment<'_>) -> Result<TypedExpr> {
        let arguments = match &function.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
        };
        let keys = &function.within_group;
        if arguments.len() != keys.len() {
            let message = format!("function {name} does not exist");
            let report = common::error::Report::new(SqlState::UNDEFINED_FUNCTION, message);
            return Err(report
                .with_hint(format!(
                    "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here {}) must match the number of ordering columns (here {}).",
                    arguments.len(),
                    keys.len()
                ))
                .into());
        }
        // Whether a row stands before the hypothetical one: it does by the first key in which they differ.
        let (mut before, mut same) = (String::from("false"), String::from("true"));
        for (argument, item) in arguments.iter().zip(keys).rev() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument else {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{argument}\"")));
            };
            let (descending, nulls_first) = direction(item)?;
            let (key, op) = (&item.expr, if descending { ">" } else { "<" });
            let (null, other) = if nulls_first { (key, value) } else { (value, key) };
            let equal = format!("(({key}) IS NOT DISTINCT FROM ({value}))");
            before = format!(
                "(coalesce(({key}) {op} ({value}), false) OR (({null}) IS NULL AND ({other}) IS NOT NULL) OR ({equal} AND {before}))"
            );
            same = format!("({equal} AND {same})");
        }
        let counted = |condition: &str| match &function.filter {
            Some(filter) => format!("count(*) FILTER (WHERE ({filter}) AND {condition})"),
            None => format!("count(*) FILTER (WHERE {condition})"),
        };
        let text = match (name, keys.as_slice()) {
            ("rank", _) => format!("{} + 1", counted(&before)),
            ("percent_rank", _) => format!("coalesce({}::float8 / nullif({}, 0), 0)", counted(&before), counted("true")),
            ("cume_dist", _) => {
                format!("({} + 1)::float8 / ({} + 1)", counted(&format!("({before} OR {same})")), counted("true"))
            }
            (_, [item]) => {
                let distinct = counted(&before).replacen("count(*)", &format!("count(DISTINCT {})", item.expr), 1);
                let nulls = counted(&format!("({before} AND ({}) IS NULL)", item.expr));
                format!("{distinct} + least({nulls}, 1) + 1")
            }
            _ => return Err(BindError::unsupported("dense_rank(…) WITHIN GROUP of several keys")),
        };
        let tree = crate::parse::parse_expression(&text)?;
        self.expression(&tree, env)
    }
}
