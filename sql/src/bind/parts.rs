//! WITH before a statement.
//!
//! A WITH query is bound anew wherever it is named, and becomes a part of the plan there. Two kinds are carried out by themselves instead, once and to
//! the end, and their rows are given to the plans that name them: a change of rows, and a query that answers something else each time it runs.

use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlan, TableScanBuilder};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{Cte as CteTree, Query, SetExpr, Statement, With};

use super::Binder;
use super::ctes::{Cte, CteBody, Ctes};
use super::relation::{Output, Relation};
use super::scope::folded;
use crate::bound::{BoundPart, BoundParts, BoundQuery, BoundStatement};
use crate::error::{BindError, Result};
use crate::given_rows::GivenRows;

impl Binder<'_> {
    /// A query as a statement; its body may be a change.
    pub(crate) fn query_statement(&self, query: &Query) -> Result<BoundStatement> {
        let own;
        let ctes = match &query.with {
            Some(with) => {
                own = self.statement_ctes(with, query)?;
                Some(&own)
            }
            None => None,
        };
        let main = match query.body.as_ref() {
            SetExpr::Insert(tree) | SetExpr::Update(tree) | SetExpr::Delete(tree) | SetExpr::Merge(tree) => self.change(tree, ctes)?,
            _ => {
                let simple = self.simple_select(query)?.map(Box::new);
                let relation = self.query_body(query, None, ctes)?;
                let columns = relation.output_columns();
                columns.iter().try_for_each(super::returning::reject_row)?;
                BoundStatement::Query { query: BoundQuery { plan: relation.plan, columns }, simple }
            }
        };
        let parts = self.parts.take();
        Ok(if parts.is_empty() { main } else { BoundStatement::Parts(Box::new(BoundParts { parts, main: Box::new(main) })) })
    }

    /// INSERT, UPDATE, DELETE or MERGE.
    pub(crate) fn change(&self, tree: &Statement, ctes: Option<&Ctes<'_>>) -> Result<BoundStatement> {
        Ok(match tree {
            Statement::Insert(insert) => BoundStatement::Insert(Box::new(self.insert(insert, ctes)?)),
            Statement::Update(update) => BoundStatement::Update(Box::new(self.update(update, ctes)?)),
            Statement::Delete(delete) => BoundStatement::Delete(Box::new(self.delete(delete, ctes)?)),
            Statement::Merge(merge) => BoundStatement::Merge(Box::new(self.merge(merge, ctes)?)),
            other => return Err(BindError::unsupported(format!("WITH before {other}"))),
        })
    }

    /// The WITH queries of a statement, with those that are carried out by themselves.
    fn statement_ctes<'t>(&self, with: &'t With, whole: &Query) -> Result<Ctes<'t>> {
        self.check_names(with)?;
        let all = Ctes::of_clause(with, None);
        let mut ctes = Ctes { outer: None, queries: Vec::with_capacity(with.cte_tables.len()) };
        for (at, tree) in with.cte_tables.iter().enumerate() {
            let body = if is_change(tree) {
                self.change_part(tree, &ctes)?
            } else {
                let relation = self.cte_relation(&all.queries[at], &ctes)?;
                let is_once = is_volatile(&relation.plan)? && names_of(whole, &folded(&tree.alias.name)) > 1;
                if !is_once {
                    ctes.queries.push(std::rc::Rc::clone(&all.queries[at]));
                    continue;
                }
                self.query_part(relation)?
            };
            let before = ctes.clone();
            ctes = before.with(Cte { name: folded(&tree.alias.name), alias: &tree.alias, body });
        }
        Ok(ctes)
    }

    fn change_part<'t>(&self, tree: &'t CteTree, seen: &Ctes<'t>) -> Result<CteBody<'t>> {
        let (SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) | SetExpr::Merge(statement)) =
            tree.query.body.as_ref()
        else {
            return Err(BindError::unsupported("this statement in WITH"));
        };
        let nested;
        let ctes = match &tree.query.with {
            Some(with) => {
                self.check_with(with)?;
                nested = Ctes::of_clause(with, Some(seen));
                &nested
            }
            None => seen,
        };
        let statement = self.change(statement, Some(ctes))?;
        let returned = match &statement {
            BoundStatement::Insert(insert) => insert.returning.as_ref(),
            BoundStatement::Update(update) => update.returning.as_ref(),
            BoundStatement::Delete(delete) => delete.returning.as_ref(),
            _ => return Err(BindError::new(SqlState::FEATURE_NOT_SUPPORTED, "MERGE not supported in WITH query")),
        };
        let rows = self.unique("part");
        let columns = returned.map(|r| r.columns.clone());
        let types: Vec<SqlType> = columns.iter().flatten().map(|c| c.ty).collect();
        let null = |ty: SqlType| functions::resolve::literal(&common::datum::Datum::Null, ty);
        let outputs = columns.map(|columns| columns.into_iter().map(|c| Output { name: c.name, value: null(c.ty), origin: c.origin }));
        let outputs: Option<Vec<Output>> = outputs.map(Iterator::collect);
        self.parts.borrow_mut().push(BoundPart { rows: rows.clone(), types, statement });
        Ok(match outputs {
            Some(columns) => CteBody::Part { rows, columns },
            None => CteBody::Silent,
        })
    }

    fn query_part<'t>(&self, relation: Relation) -> Result<CteBody<'t>> {
        let relation = self.in_own_form(self.settled(relation)?)?;
        let columns = relation.output_columns();
        columns.iter().try_for_each(super::returning::reject_row)?;
        let types = columns.iter().map(|c| c.ty).collect();
        let statement = BoundStatement::Query { query: BoundQuery { plan: relation.plan, columns }, simple: None };
        let rows = self.unique("part");
        self.parts.borrow_mut().push(BoundPart { rows: rows.clone(), types, statement });
        Ok(CteBody::Part { rows, columns: relation.columns })
    }

    /// All columns in the form that their types say.
    fn in_own_form(&self, relation: Relation) -> Result<Relation> {
        let types: Vec<SqlType> = relation.columns.iter().map(|c| c.value.ty).collect();
        self.cast_columns(relation, &types, false)
    }

    /// The rows of a part as a relation.
    pub(crate) fn part_relation(&self, rows: &str, columns: &[Output]) -> Result<Relation> {
        let types: Vec<SqlType> = columns.iter().map(|c| c.value.ty).collect();
        let plan = self.given_rows(rows, &types)?;
        let fields = plan.schema().columns();
        let outputs = columns.iter().zip(fields);
        let outputs = outputs.map(|(column, field)| Output {
            value: TypedExpr::new(datafusion::logical_expr::Expr::Column(field), column.value.ty),
            ..column.clone()
        });
        self.project(plan, outputs.collect())
    }

    /// A scan of rows that the executor has.
    pub(crate) fn given_rows(&self, rows: &str, types: &[SqlType]) -> Result<LogicalPlan> {
        let source = std::sync::Arc::new(GivenRows::new(rows, types));
        let scan = TableScanBuilder::new(TableReference::bare(self.unique("g")), source).build()?;
        Ok(LogicalPlan::TableScan(scan))
    }
}

/// A WITH query that changes rows.
pub(crate) fn is_change(cte: &CteTree) -> bool {
    matches!(cte.query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

/// Whether the plan answers something else each time.
fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| Ok(part.is_volatile_node()))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// How often a statement names a relation.
fn names_of(whole: &Query, name: &str) -> usize {
    let mut count = 0;
    let _: std::ops::ControlFlow<()> = sqlparser::ast::visit_relations(whole, |relation| {
        let is_it = relation.0.len() == 1 && relation.0[0].as_ident().is_some_and(|ident| folded(ident) == name);
        count += usize::from(is_it);
        std::ops::ControlFlow::Continue(())
    });
    count
}
