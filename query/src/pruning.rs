//! From filters to what they say of single columns.

use std::collections::HashMap;

use common::datum::Datum;
use common::types::SqlType;
use datafusion::common::Column;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use functions::resolve;
use partition::prune::{Constraint, POINTS_MAX};

/// What is known of a table's columns, by name.
#[derive(Debug, Default)]
pub struct Constraints(HashMap<String, Constraint>);

impl Constraints {
    /// Collects what `filters` (a conjunction) say. `types` gives a column's type.
    pub fn of(filters: &[Expr], types: impl Fn(&str) -> Option<SqlType>) -> Self {
        let mut found = Self::default();
        for conjunct in filters.iter().flat_map(split_conjunction) {
            if let Some((column, constraint)) = constraint(conjunct, &types) {
                found.add(column, constraint);
            }
        }
        found
    }

    /// What is known of a column.
    pub fn get(&self, column: &str) -> Option<&Constraint> {
        self.0.get(column)
    }

    fn add(&mut self, column: String, constraint: Constraint) {
        match self.0.remove(&column) {
            None => {
                self.0.insert(column, constraint);
            }
            Some(before) => {
                self.0.insert(column, both(before, constraint));
            }
        }
    }
}

/// What two constraints of one column say together; it may be less than they say, never more.
fn both(a: Constraint, b: Constraint) -> Constraint {
    match (a, b) {
        (Constraint::OneOf(values), other) | (other, Constraint::OneOf(values)) => {
            Constraint::OneOf(values.into_iter().filter(|v| allows(&other, v)).collect())
        }
        (Constraint::Between { lo: l1, hi: h1 }, Constraint::Between { lo: l2, hi: h2 }) => {
            Constraint::Between { lo: tighter(l1, l2, std::cmp::Ordering::Greater), hi: tighter(h1, h2, std::cmp::Ordering::Less) }
        }
    }
}

type Bound = Option<(Datum, bool)>;

fn tighter(a: Bound, b: Bound, wins: std::cmp::Ordering) -> Bound {
    match (a, b) {
        (Some(a), Some(b)) => {
            let order = a.0.sql_cmp(&b.0);
            if order == wins || (order == std::cmp::Ordering::Equal && !a.1) { Some(a) } else { Some(b) }
        }
        (one, None) | (None, one) => one,
    }
}

fn allows(constraint: &Constraint, value: &Datum) -> bool {
    use std::cmp::Ordering;
    match constraint {
        Constraint::OneOf(values) => values.iter().any(|v| v.is_null() == value.is_null() && v.sql_cmp(value) == Ordering::Equal),
        Constraint::Between { .. } if value.is_null() => false,
        Constraint::Between { lo, hi } => {
            let above = lo.as_ref().is_none_or(|(lo, with)| match value.sql_cmp(lo) {
                Ordering::Greater => true,
                Ordering::Equal => *with,
                Ordering::Less => false,
            });
            let below = hi.as_ref().is_none_or(|(hi, with)| match value.sql_cmp(hi) {
                Ordering::Less => true,
                Ordering::Equal => *with,
                Ordering::Greater => false,
            });
            above && below
        }
    }
}

fn constraint(expr: &Expr, types: &impl Fn(&str) -> Option<SqlType>) -> Option<(String, Constraint)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            // Alternatives of one column.
            let (first, a) = constraint(left, types)?;
            let (second, b) = constraint(right, types)?;
            match (a, b) {
                (Constraint::OneOf(mut a), Constraint::OneOf(b)) if first == second && a.len() + b.len() <= POINTS_MAX => {
                    a.extend(b);
                    Some((first, Constraint::OneOf(a)))
                }
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), value) => (column, *op, value),
                (value, Expr::Column(column)) => (column, op.swap()?, value),
                _ => return None,
            };
            let value = constant(column, value, types)?;
            if value.is_null() {
                // A comparison with NULL is true of no row.
                return matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
                    .then(|| (column.name.clone(), Constraint::OneOf(Vec::new())));
            }
            let constraint = match op {
                Operator::Eq => Constraint::OneOf(vec![value]),
                Operator::Lt => Constraint::Between { lo: None, hi: Some((value, false)) },
                Operator::LtEq => Constraint::Between { lo: None, hi: Some((value, true)) },
                Operator::Gt => Constraint::Between { lo: Some((value, false)), hi: None },
                Operator::GtEq => Constraint::Between { lo: Some((value, true)), hi: None },
                _ => return None,
            };
            Some((column.name.clone(), constraint))
        }
        Expr::InList(InList { expr, list, negated: false }) if list.len() <= POINTS_MAX => {
            let Expr::Column(column) = expr.as_ref() else { return None };
            let values: Option<Vec<Datum>> = list.iter().map(|value| constant(column, value, types)).collect();
            let values = values?.into_iter().filter(|v| !v.is_null()).collect();
            Some((column.name.clone(), Constraint::OneOf(values)))
        }
        Expr::Between(between) if !between.negated => {
            let Expr::Column(column) = between.expr.as_ref() else { return None };
            let (lo, hi) = (constant(column, &between.low, types)?, constant(column, &between.high, types)?);
            if lo.is_null() || hi.is_null() {
                return Some((column.name.clone(), Constraint::OneOf(Vec::new())));
            }
            Some((column.name.clone(), Constraint::Between { lo: Some((lo, true)), hi: Some((hi, true)) }))
        }
        Expr::IsNull(inner) => match inner.as_ref() {
            Expr::Column(column) => {
                types(&column.name)?;
                Some((column.name.clone(), Constraint::OneOf(vec![Datum::Null])))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A literal of the column's own type.
fn constant(column: &Column, value: &Expr, types: &impl Fn(&str) -> Option<SqlType>) -> Option<Datum> {
    let ty = types(&column.name)?;
    let Expr::Literal(scalar, _) = value else { return None };
    if scalar.data_type() != ty.arrow() && !scalar.is_null() {
        return None;
    }
    resolve::constant(value, ty)
}
