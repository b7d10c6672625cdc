//! What surrounds an expression while it is bound.

use std::cell::{Cell, RefCell};

use datafusion::logical_expr::Expr;
use functions::resolve::SetReturning;

use super::ctes::Ctes;
use super::scope::Scope;

/// What expressions of one SELECT leave to its later steps. Each is stood for by a column: an aggregate by its own name, a window function by
/// `w.<i>`, a set-returning function by `s.<i>`.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) aggregates: RefCell<Vec<Expr>>,
    pub(crate) windows: RefCell<Vec<Expr>>,
    pub(crate) sets: RefCell<Vec<SetReturning>>,
}

/// What becomes of a boolean expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Truth {
    /// One of the conditions that all must hold for a row to stay.
    Conjunct,
    /// A part of such a condition below AND and OR only: NULL counts as FALSE.
    Positive,
    /// A value: TRUE, FALSE and NULL are three things.
    Value,
}

/// What surrounds an expression.
pub(crate) struct Environment<'e> {
    pub(crate) scope: &'e Scope,
    /// The enclosing query's, for correlated references.
    pub(crate) outer: Option<&'e Environment<'e>>,
    /// References out of this query, to any enclosing one.
    pub(crate) outer_references: RefCell<Vec<Expr>>,
    pub(crate) ctes: Option<&'e Ctes<'e>>,
    /// The clause, for messages: `WHERE`, `GROUP BY`, `JOIN conditions`, …
    pub(crate) clause: &'static str,
    pub(crate) collected: Option<&'e Collected>,
    pub(crate) aggregates_allowed: bool,
    pub(crate) windows_allowed: bool,
    pub(crate) sets_allowed: bool,
    /// What becomes of the expression that is being bound.
    pub(crate) truth: Cell<Truth>,
    /// Named windows of the SELECT.
    pub(crate) named_windows: &'e [sqlparser::ast::NamedWindowDefinition],
}

impl<'e> Environment<'e> {
    pub(crate) fn new(scope: &'e Scope, outer: Option<&'e Environment<'e>>, ctes: Option<&'e Ctes<'e>>, clause: &'static str) -> Self {
        Self {
            scope,
            outer,
            outer_references: RefCell::default(),
            ctes,
            clause,
            collected: None,
            aggregates_allowed: false,
            windows_allowed: false,
            sets_allowed: false,
            truth: Cell::new(Truth::Value),
            named_windows: &[],
        }
    }

    /// For a condition that becomes a filter.
    pub(crate) fn filtering(self) -> Self {
        Self { truth: Cell::new(Truth::Conjunct), ..self }
    }

    /// For another clause of the same query, in which these are not allowed any more.
    pub(crate) fn inside(&'e self, clause: &'static str, aggregates: bool, windows: bool) -> Environment<'e> {
        Environment {
            scope: self.scope,
            outer: self.outer,
            outer_references: RefCell::default(),
            ctes: self.ctes,
            clause,
            collected: self.collected,
            aggregates_allowed: aggregates && self.aggregates_allowed,
            windows_allowed: windows && self.windows_allowed,
            sets_allowed: false,
            truth: Cell::new(Truth::Value),
            named_windows: self.named_windows,
        }
    }

    /// Takes over the outward references that were found in a part of this query.
    pub(crate) fn absorb(&self, part: &Environment<'_>) {
        self.note_references(part.outer_references.borrow().iter().cloned());
    }

    pub(crate) fn note_references(&self, references: impl IntoIterator<Item = Expr>) {
        let mut mine = self.outer_references.borrow_mut();
        for reference in references {
            if !mine.contains(&reference) {
                mine.push(reference);
            }
        }
    }
}
