//! From syntax trees to typed logical plans.
//!
//! A [`Binder`] binds one statement. Queries become a [`relation::Relation`]: a plan and its output columns, each a column of an opaque unique name
//! (`name␁q3_0`) with its SQL type. Names of the SQL text exist in [`scope`]s only, while a query is bound.
//!
//! | file | what it binds |
//! | --- | --- |
//! | `query` | WITH, set operations, ORDER BY and LIMIT around them |
//! | `select` | one SELECT: from, where, grouping, windows, distinct, order |
//! | `from_clause` | FROM items and joins |
//! | `sets` | set-returning functions, in FROM and in the select list |
//! | `expression`, `operators`, `literal`, `call`, `subquery` | expressions |
//! | `domain` | casts to domains |
//! | `grouping` | the step from rows to groups |
//! | `insert`, `change`, `merge`, `returning` | INSERT; UPDATE and DELETE; MERGE; RETURNING |
//! | `parts` | WITH before a statement: what of it is carried out by itself |
//! | `row_locks` | SELECT … FOR UPDATE |
//! | `view` | views, in FROM |
//! | `simple` | recognises statements for the point path |
//! | `type_name`, `output_name` | type names; PostgreSQL's names of output columns |

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::logical_expr::Expr;
use functions::context::{ExprContext, ParameterTypes, SessionSettings};
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{Ident, ObjectName, Statement};

use crate::bound::{Bound, BoundLocking, BoundPart, BoundStatement};
use crate::error::{BindError, Result};
use crate::parse::{self, ParsedStatement, Syntax};
use crate::schema::{CatalogView, RelationInfo, ViewInfo};

mod call;
mod change;
mod ctes;
mod domain;
mod environment;
mod expression;
mod from_clause;
mod grouping;
mod hypothetical;
mod insert;
mod literal;
mod merge;
mod missing;
mod operators;
mod output_name;
mod parts;
mod query;
mod relation;
mod returning;
pub(crate) mod row_locks;
mod sample;
mod scope;
mod select;
mod sets;
mod simple;
mod subquery;
pub mod type_name;
mod view;

use environment::Environment;
use scope::Scope;

/// Binds one statement.
pub(crate) struct Binder<'a> {
    view: &'a dyn CatalogView,
    settings: &'a SessionSettings,
    parameters: &'a ParameterTypes,
    /// The text that positions count in.
    source: &'a str,
    next_id: Cell<usize>,
    locking: RefCell<Vec<BoundLocking>>,
    /// The views that are being bound, the innermost last.
    views: RefCell<Vec<Arc<ViewInfo>>>,
    /// WITH queries that are carried out by themselves.
    parts: RefCell<Vec<BoundPart>>,
    /// Output columns that are literals of an open type, each with its literal: a set operation or an INSERT decides what they are.
    open_literals: RefCell<HashMap<Expr, TypedExpr>>,
}

/// Binds a statement; `declared` are the parameter types that the client gave, `None` where it left them open.
pub fn bind(
    statement: &ParsedStatement,
    view: &dyn CatalogView,
    settings: &SessionSettings,
    declared: Vec<Option<SqlType>>,
) -> Result<Bound> {
    let parameters = ParameterTypes::new(declared);
    let binder = Binder::new(view, settings, &parameters, statement.source());
    let bound = match &statement.syntax {
        Syntax::Empty => BoundStatement::Empty,
        Syntax::Maintenance(tag) => BoundStatement::Maintenance(tag),
        Syntax::Object(object) => BoundStatement::Object(Arc::clone(object)),
        Syntax::Statement(tree) => binder.statement(tree)?,
    };
    Ok(Bound { statement: bound, locking: binder.locking.take(), parameters: parameters.decided(), notices: Vec::new() })
}

/// Binds one expression over named columns, which become `t.<i>`, and casts it to `ty` as an assignment does: defaults, checks, partition bounds.
pub fn bind_expression(text: &str, columns: &[(String, SqlType)], ty: SqlType, settings: &SessionSettings) -> Result<TypedExpr> {
    bind_alone(text, columns, settings, "this expression", |binder, bound| {
        Ok(resolve::assignment_cast(&binder.cx(), bound, ty, "?column?")?)
    })
}

/// Binds the condition of a CHECK constraint.
pub fn bind_check(text: &str, columns: &[(String, SqlType)], settings: &SessionSettings) -> Result<TypedExpr> {
    let bound = bind_alone(text, columns, settings, "check constraints", |binder, bound| {
        if has_subquery(&bound.expr) {
            return Err(BindError::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot use subquery in check constraint"));
        }
        Ok(resolve::to_boolean(&binder.cx(), bound, "CHECK")?)
    })?;
    Ok(bound)
}

fn bind_alone(
    text: &str,
    columns: &[(String, SqlType)],
    settings: &SessionSettings,
    clause: &'static str,
    finish: impl FnOnce(&Binder<'_>, TypedExpr) -> Result<TypedExpr>,
) -> Result<TypedExpr> {
    let tree = parse::parse_expression(text)?;
    let parameters = ParameterTypes::default();
    let binder = Binder::new(&crate::schema::NoCatalog, settings, &parameters, text);
    let scope = Scope::of_row("t", columns);
    let bound = binder.expression(&tree, &Environment::new(&scope, None, None, clause))?;
    finish(&binder, bound)
}

/// The relation that a name stands for: COPY names one without a query around it.
pub fn find_relation(name: &ObjectName, view: &dyn CatalogView, settings: &SessionSettings) -> Result<Arc<RelationInfo>> {
    let parameters = ParameterTypes::default();
    let binder = Binder::new(view, settings, &parameters, "");
    binder.relation(name)
}

/// An identifier as it counts: in lower case unless it is quoted.
pub fn ident_name(ident: &Ident) -> String {
    scope::folded(ident)
}

impl<'a> Binder<'a> {
    fn new(view: &'a dyn CatalogView, settings: &'a SessionSettings, parameters: &'a ParameterTypes, source: &'a str) -> Self {
        Self {
            view,
            settings,
            parameters,
            source,
            next_id: Cell::new(0),
            parts: RefCell::default(),
            open_literals: RefCell::default(),
            views: RefCell::default(),
            locking: RefCell::default(),
        }
    }

    pub(crate) fn cx(&self) -> ExprContext<'a> {
        ExprContext { settings: self.settings, parameters: self.parameters }
    }

    /// A name that no other relation of the statement has.
    pub(crate) fn unique(&self, prefix: &str) -> String {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        format!("{prefix}{id}")
    }

    /// Where an identifier stands in the text.
    pub(crate) fn position(&self, ident: &Ident) -> Option<u32> {
        parse::position_of(ident.span.start, self.source)
    }

    /// An error at the place of an identifier.
    pub(crate) fn error_at(&self, ident: &Ident, error: BindError) -> BindError {
        error.at(self.position(ident))
    }

    fn statement(&self, tree: &Statement) -> Result<BoundStatement> {
        Ok(match tree {
            Statement::Query(query) => self.query_statement(query)?,
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Merge(_) => self.change(tree, None)?,
            Statement::Explain { analyze, verbose, statement, options, .. } => {
                let (analyze, verbose) = explain_options(*analyze, *verbose, options.as_deref().unwrap_or_default())?;
                BoundStatement::Explain { analyze, verbose, statement: Box::new(self.statement(statement)?) }
            }
            other => BoundStatement::Utility(Box::new(other.clone())),
        })
    }
}

fn explain_options(mut analyze: bool, mut verbose: bool, options: &[sqlparser::ast::UtilityOption]) -> Result<(bool, bool)> {
    for option in options {
        let on = !matches!(option.arg.as_ref().map(ToString::to_string).as_deref(), Some("false" | "off" | "0" | "FALSE" | "OFF"));
        match option.name.value.to_ascii_lowercase().as_str() {
            "analyze" => analyze = on,
            "verbose" => verbose = on,
            "format" => match option.arg.as_ref().map(|a| a.to_string().to_ascii_lowercase()).as_deref() {
                Some("text") | None => {}
                Some(other) => return Err(BindError::unsupported(format!("EXPLAIN (FORMAT {})", other.to_ascii_uppercase()))),
            },
            "costs" | "settings" | "buffers" | "wal" | "timing" | "summary" => {}
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
            }
        }
    }
    Ok((analyze, verbose))
}

/// The name of a column in a plan: its name in SQL, and what makes it the only one of the name. DataFusion gives columns of several relations one
/// qualifier when it joins a subquery, so the qualifier alone does not do.
pub(crate) fn plan_name(name: &str, unique: &str) -> String {
    format!("{name}{}{unique}", functions::typed_expr::PLAN_NAME_SEPARATOR)
}

/// Whether a plan names columns of a query around it.
pub(crate) fn has_outer_reference(plan: &datafusion::logical_expr::LogicalPlan) -> bool {
    use datafusion::common::tree_node::TreeNode;
    plan.exists(|node| Ok(node.expressions().iter().any(Expr::contains_outer))).unwrap_or(true)
}

/// Whether an expression has a subquery somewhere.
pub(crate) fn has_subquery(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    expr.exists(|e| Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))))
        .unwrap_or(true)
}
