//! The step from rows to groups.
//!
//! Expressions are bound over the rows first; [`Binder::over_groups`] then replaces what equals a grouping expression by the group's column, and refuses
//! any other column of the rows, unless its table is grouped by its primary key: then the column joins the grouping, which changes no group.

use std::sync::Arc;

use common::sqlstate::SqlState;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Subquery};
use functions::resolve::{self, AggregateCall};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{Expr as Tree, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Select, Value};

use super::Binder;
use super::environment::Environment;
use super::query::output_by_number;
use super::relation::Output;
use super::scope::{Scope, folded};
use super::select::{SET, placeholders, replace_placeholders, result_column};
use crate::error::{BindError, Result};
use crate::rewrites::DISTINCT_GROUPS;

/// A grouping expression.
#[derive(Clone)]
struct Key {
    value: Expr,
    /// The form by which values are compared; when it is another one, `shown` gives a value of the group.
    compared: Expr,
    shown: Option<Expr>,
}

/// GROUP BY.
#[derive(Clone, Default)]
pub(crate) struct Grouping {
    keys: Vec<Key>,
    /// GROUPING SETS: places in `keys`.
    sets: Option<Vec<Vec<usize>>>,
}

impl Grouping {
    /// Whether all rows are one group.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key is made of set-returning functions: then these come before the groups.
    pub(crate) fn names_sets(&self) -> bool {
        self.keys.iter().any(|k| !placeholders(&k.value, SET).is_empty())
    }

    /// The keys over the results of set-returning functions.
    pub(crate) fn with_sets(&mut self, results: &[Expr]) -> Result<()> {
        for key in &mut self.keys {
            for expr in [Some(&mut key.value), Some(&mut key.compared), key.shown.as_mut()].into_iter().flatten() {
                *expr = replace_placeholders(std::mem::take(expr), SET, results)?;
            }
        }
        Ok(())
    }

    /// The arguments of GROUPING, as the aggregation knows its keys.
    fn grouping_arguments(&self, args: &[Expr]) -> Result<Vec<Expr>> {
        let compared = |arg: &Expr| {
            self.keys.iter().find(|k| k.value == *arg).map(|k| k.compared.clone()).ok_or_else(|| {
                let message = "arguments to GROUPING must be grouping expressions of the associated query level";
                BindError::new(SqlState::GROUPING_ERROR, message)
            })
        };
        args.iter().map(compared).collect()
    }

    /// The aggregation on a plan.
    pub(crate) fn plan(&self, input: LogicalPlan, mut aggregates: Vec<Expr>) -> Result<LogicalPlan> {
        let compared = |at: &usize| self.keys[*at].compared.clone();
        let group: Vec<Expr> = match &self.sets {
            None => self.keys.iter().map(|k| k.compared.clone()).collect(),
            Some(sets) => {
                let sets = sets.iter().map(|set| set.iter().map(compared).collect()).collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
            }
        };
        for aggregate in &mut aggregates {
            let name = aggregate.schema_name().to_string();
            if let Expr::AggregateFunction(call) = aggregate
                && call.func.name() == "grouping"
            {
                let args = self.grouping_arguments(&call.params.args)?;
                if args != call.params.args {
                    call.params.args = args;
                    *aggregate = aggregate.clone().alias(name);
                }
            }
        }
        for shown in self.keys.iter().filter_map(|k| k.shown.clone()) {
            if !aggregates.contains(&shown) {
                aggregates.push(shown);
            }
        }
        Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, aggregates)?))
    }
}

impl Key {
    fn result(&self) -> Expr {
        Expr::Column(result_column(self.shown.as_ref().unwrap_or(&self.compared)))
    }
}

impl Binder<'_> {
    /// Binds GROUP BY; `None` when there is none.
    pub(crate) fn grouping(&self, select: &Select, outputs: &[Output], env: &Environment<'_>) -> Result<Option<Grouping>> {
        let items = match &select.group_by {
            GroupByExpr::Expressions(items, modifiers) if modifiers.is_empty() => items,
            GroupByExpr::Expressions(..) => return Err(BindError::unsupported("GROUP BY … WITH")),
            GroupByExpr::All(_) => return Err(BindError::unsupported("GROUP BY ALL")),
        };
        if items.is_empty() {
            return Ok(None);
        }
        let is_distinct = matches!(&items[0], Tree::Value(value) if value.value == Value::SingleQuotedString(DISTINCT_GROUPS.to_owned()));
        let items = &items[usize::from(is_distinct)..];
        let mut grouping = Grouping::default();
        // The product of the items' sets; a plain item is a set of one.
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        let mut has_sets = false;
        for item in items {
            let choices = self.group_item(item, outputs, env, &mut grouping, &mut has_sets)?;
            sets = sets.iter().flat_map(|set| choices.iter().map(move |choice| merged(set, choice))).collect();
        }
        if has_sets {
            if is_distinct {
                let mut seen = std::collections::HashSet::new();
                sets.retain(|set| {
                    let mut places = set.clone();
                    places.sort_unstable();
                    seen.insert(places)
                });
            }
            grouping.sets = Some(sets);
        }
        Ok(Some(grouping))
    }

    fn group_item(
        &self,
        item: &Tree,
        outputs: &[Output],
        env: &Environment<'_>,
        grouping: &mut Grouping,
        has_sets: &mut bool,
    ) -> Result<Vec<Vec<usize>>> {
        Ok(match item {
            Tree::GroupingSets(sets) => {
                *has_sets = true;
                let mut all = Vec::with_capacity(sets.len());
                for set in sets {
                    match nested_sets(set) {
                        Some(nested) => all.extend(self.group_item(&nested, outputs, env, grouping, has_sets)?),
                        None => all.extend(self.group_lists(std::slice::from_ref(set), outputs, env, grouping)?),
                    }
                }
                all
            }
            Tree::Rollup(parts) => {
                *has_sets = true;
                let parts = self.group_lists(parts, outputs, env, grouping)?;
                (0..=parts.len()).rev().map(|n| parts[..n].concat()).collect()
            }
            Tree::Cube(parts) => {
                *has_sets = true;
                let parts = self.group_lists(parts, outputs, env, grouping)?;
                let width = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                if width > 12 {
                    return Err(BindError::new(SqlState::TOO_MANY_COLUMNS, "CUBE is limited to 12 elements"));
                }
                let chosen = |bits: usize| {
                    parts.iter().enumerate().filter(move |(at, _)| bits & (1 << at) != 0).flat_map(|(_, p)| p.clone()).collect()
                };
                (0..1usize << width).rev().map(chosen).collect()
            }
            Tree::Tuple(parts) if parts.is_empty() => vec![Vec::new()],
            tree => vec![self.group_key(tree, outputs, env, grouping)?],
        })
    }

    fn group_lists(
        &self,
        lists: &[Vec<Tree>],
        outputs: &[Output],
        env: &Environment<'_>,
        grouping: &mut Grouping,
    ) -> Result<Vec<Vec<usize>>> {
        let mut places = Vec::with_capacity(lists.len());
        for list in lists {
            let mut set = Vec::new();
            for tree in list {
                if !matches!(tree, Tree::Tuple(parts) if parts.is_empty()) {
                    set.extend(self.group_key(tree, outputs, env, grouping)?);
                }
            }
            places.push(set);
        }
        Ok(places)
    }

    /// The places of a key, added where it is new; a parenthesised list is several keys.
    fn group_key(&self, tree: &Tree, outputs: &[Output], env: &Environment<'_>, grouping: &mut Grouping) -> Result<Vec<usize>> {
        let value = match tree {
            Tree::Tuple(parts) => {
                let mut places = Vec::new();
                for part in parts {
                    places.extend(self.group_key(part, outputs, env, grouping)?);
                }
                return Ok(places);
            }
            Tree::Nested(inner) => return self.group_key(inner, outputs, env, grouping),
            Tree::Value(value) => match &value.value {
                Value::Number(number, _) => output_by_number(outputs, number, "GROUP BY")?.value.clone(),
                _ => return Err(BindError::new(SqlState::SYNTAX_ERROR, "non-integer constant in GROUP BY")),
            },
            Tree::Identifier(ident) if env.scope.column(&folded(ident))?.is_none() => {
                let name = folded(ident);
                match outputs.iter().find(|o| o.name == name) {
                    Some(output) => output.value.clone(),
                    None => self.expression(tree, &env.inside("GROUP BY", false, false))?,
                }
            }
            tree => {
                let inside = env.inside("GROUP BY", false, false);
                let value = self.expression(tree, &inside)?;
                env.absorb(&inside);
                value
            }
        };
        let holds_aggregate = value.expr.exists(|e| Ok(matches!(e, Expr::Column(c) if c.relation.is_none())))?;
        if holds_aggregate {
            return Err(BindError::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in GROUP BY"));
        }
        Ok(vec![self.add_key(value, grouping)?])
    }

    fn add_key(&self, value: TypedExpr, grouping: &mut Grouping) -> Result<usize> {
        if let Some(at) = grouping.keys.iter().position(|k| k.value == value.expr) {
            return Ok(at);
        }
        let cx = self.cx();
        let original = value.expr.clone();
        let value = resolve::settle_unknown(&cx, value)?;
        let compared = resolve::group_key_expr(&cx, value.clone())?;
        let shown = if compared.expr == value.expr {
            None
        } else {
            let call = AggregateCall {
                name: "min".into(),
                args: vec![value],
                star: false,
                distinct: false,
                order_by: Vec::new(),
                filter: None,
                within_group: false,
            };
            resolve::aggregate(&cx, call).ok().map(|shown| shown.expr)
        };
        grouping.keys.push(Key { value: original, compared: compared.expr, shown });
        Ok(grouping.keys.len() - 1)
    }

    /// An expression over the rows as one over the groups.
    pub(crate) fn over_groups(&self, expr: Expr, grouping: &mut Grouping, scope: &Scope) -> Result<Expr> {
        let mut failure = None;
        let rewritten = expr.transform_down(|e| {
            if let Some(key) = grouping.keys.iter().find(|k| k.value == e) {
                return Ok(Transformed::new(key.result(), true, TreeNodeRecursion::Jump));
            }
            if let Expr::Column(Column { relation: Some(relation), .. }) = &e
                && !relation.table().starts_with('\u{1}')
            {
                return match self.ungrouped(&e, grouping, scope, false) {
                    Ok(column) => Ok(Transformed::new(column, true, TreeNodeRecursion::Jump)),
                    Err(error) => {
                        failure = Some(error);
                        Ok(Transformed::new(e, false, TreeNodeRecursion::Stop))
                    }
                };
            }
            let mut moved = Vec::new();
            for reference in subquery_of(&e).map_or(&[][..], |s| s.outer_ref_columns.as_slice()) {
                let Expr::OuterReferenceColumn(_, before) = reference else { continue };
                let column = Expr::Column(before.clone());
                if !scope.tables.iter().flat_map(|t| &t.columns).any(|c| c.value.expr == column) {
                    continue;
                }
                let after = match grouping.keys.iter().find(|k| k.value == column) {
                    Some(key) => Ok(key.result()),
                    None => self.ungrouped(&column, grouping, scope, true),
                };
                match after {
                    Ok(Expr::Column(after)) if after != *before => moved.push((before.clone(), after)),
                    Ok(_) => {}
                    Err(error) => failure = Some(error),
                }
            }
            if !moved.is_empty() {
                return Ok(Transformed::yes(super::subquery::with_outer_columns(e, &moved)?));
            }
            Ok(Transformed::no(e))
        })?;
        match failure {
            Some(error) => Err(error),
            None => Ok(rewritten.data),
        }
    }

    /// A column that is no grouping expression: fine when the primary key of its table is.
    fn ungrouped(&self, column: &Expr, grouping: &mut Grouping, scope: &Scope, in_subquery: bool) -> Result<Expr> {
        for table in &scope.tables {
            let Some(found) = table.columns.iter().find(|c| c.value.expr == *column) else { continue };
            let is_key = |at: &usize| grouping.keys.iter().any(|k| k.value == table.columns[*at].value.expr);
            if grouping.sets.is_none() && !table.primary_key.is_empty() && table.primary_key.iter().all(is_key) {
                let at = self.add_key(found.value.clone(), grouping)?;
                return Ok(grouping.keys[at].result());
            }
            let name = if table.name.is_empty() { found.name.clone() } else { format!("{}.{}", table.name, found.name) };
            let message = if in_subquery {
                format!("subquery uses ungrouped column \"{name}\" from outer query")
            } else {
                format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function")
            };
            return Err(BindError::new(SqlState::GROUPING_ERROR, message));
        }
        let merged = scope.merged.iter().find(|c| c.value.expr == *column).map_or("?column?", |c| c.name.as_str());
        let message = format!("column \"{merged}\" must appear in the GROUP BY clause or be used in an aggregate function");
        Err(BindError::new(SqlState::GROUPING_ERROR, message))
    }
}

/// ROLLUP, CUBE or GROUPING SETS as a member of GROUPING SETS; the parser takes the first two for functions there.
fn nested_sets(set: &[Tree]) -> Option<Tree> {
    match set {
        [nested @ (Tree::Rollup(_) | Tree::Cube(_) | Tree::GroupingSets(_))] => Some(nested.clone()),
        [Tree::Function(call)] => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let part = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Tree::Tuple(parts))) => Some(parts.clone()),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(tree)) => Some(vec![tree.clone()]),
                _ => None,
            };
            let parts = list.args.iter().map(part).collect::<Option<Vec<_>>>()?;
            match call.name.to_string().to_ascii_lowercase().as_str() {
                "rollup" => Some(Tree::Rollup(parts)),
                "cube" => Some(Tree::Cube(parts)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn merged(set: &[usize], choice: &[usize]) -> Vec<usize> {
    let mut both = set.to_vec();
    for at in choice {
        if !both.contains(at) {
            both.push(*at);
        }
    }
    both
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(within) => Some(&within.subquery),
        _ => None,
    }
}
