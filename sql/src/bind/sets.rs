//! Set-returning functions: in FROM, and in the select list.
//!
//! A call gives each row a list; unnesting makes rows of it. Several lists beside each other are padded with NULLs to the longest.

use common::error::Report;
use common::sqlstate::SqlState;
use datafusion::common::{Column, NullHandling, UnnestOptions};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use functions::resolve::{self, SetReturning};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor, TableFunctionArgs};

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::from_clause::{Source, rename_scope, scope_columns};
use super::relation::{Output, Relation};
use super::scope::{Scope, ScopeTable, folded};
use super::select::{SET, placeholders, replace_placeholders};
use crate::error::{BindError, Result};

/// A function in FROM.
pub(crate) struct FunctionItem<'t> {
    name: ObjectName,
    args: Vec<FunctionArg>,
    alias: Option<&'t TableAlias>,
    with_ordinality: bool,
}

impl<'t> FunctionItem<'t> {
    /// The call of a FROM item, when it is one.
    pub(crate) fn of(factor: &'t TableFactor) -> Option<Self> {
        match factor {
            TableFactor::Function { name, args, alias, with_ordinality, .. }
            | TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), alias, with_ordinality, .. } => {
                Some(Self { name: name.clone(), args: args.clone(), alias: alias.as_ref(), with_ordinality: *with_ordinality })
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                let args = array_exprs.iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e.clone()))).collect();
                let name = ObjectName::from(vec![Ident::new("unnest")]);
                Some(Self { name, args, alias: alias.as_ref(), with_ordinality: *with_ordinality })
            }
            _ => None,
        }
    }
}

impl Binder<'_> {
    /// A function in FROM, over each row of what stands left of it. `keeps_left`: a row for which it gives nothing stays, with NULLs.
    pub(crate) fn function_item(
        &self,
        left: Source,
        item: &FunctionItem<'_>,
        keeps_left: bool,
        (outer, ctes): (Option<&Environment<'_>>, Option<&Ctes<'_>>),
    ) -> Result<Source> {
        let function = super::call::function_name(&item.name)?;
        let env = Environment::new(&left.scope, outer, ctes, "functions in FROM");
        let args = self.function_arguments(&item.args, &env)?;
        if let Some(outer) = outer {
            outer.absorb(&env);
        }
        let column_name = item.alias.map_or_else(|| function.clone(), |a| folded(&a.name));
        let defined = self.defined_set(&function, &args, item.alias)?;
        let is_record = defined.is_some();
        let (plan, columns) = if is_record || resolve::is_set_returning(&function) {
            let sets = self.sets_of(&function, args, defined, item.with_ordinality)?;
            self.unnest(left.plan, sets, &column_name, keeps_left)?
        } else {
            self.set_of_one(left.plan, &function, args, item.with_ordinality, &column_name)?
        };
        let relation = Relation { plan, columns };
        let columns = scope_columns(&relation)?;
        let mut table = ScopeTable { name: column_name, is_value: columns.len() == 1 && !is_record, columns, ..ScopeTable::default() };
        if let Some(alias) = item.alias {
            rename_scope(&mut table, alias)?;
        }
        let mut scope = left.scope;
        scope.append(Scope { tables: vec![table], merged: Vec::new() })?;
        Ok(Source { plan: relation.plan, scope })
    }

    /// The set of a function whose columns a column definition list names.
    fn defined_set(&self, function: &str, args: &[TypedExpr], alias: Option<&TableAlias>) -> Result<Option<SetReturning>> {
        let definitions = alias.map(|a| a.columns.as_slice()).unwrap_or_default();
        if definitions.is_empty() || definitions.iter().any(|column| column.data_type.is_none()) {
            return Ok(None);
        }
        if !resolve::is_defined_record_set(function) {
            let message = "a column definition list is only allowed for functions returning \"record\"";
            return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
        }
        let mut columns = Vec::with_capacity(definitions.len());
        for column in definitions {
            if let Some(data_type) = &column.data_type {
                columns.push((folded(&column.name), super::type_name::sql_type(data_type, self.settings)?));
            }
        }
        Ok(Some(resolve::defined_record_set(&self.cx(), function, args, columns)?))
    }

    /// The lists of a set-returning function in FROM: one, or several for `unnest(a, b)`, and their rows' numbers.
    fn sets_of(
        &self,
        function: &str,
        args: Vec<TypedExpr>,
        defined: Option<SetReturning>,
        with_ordinality: bool,
    ) -> Result<Vec<SetReturning>> {
        let cx = self.cx();
        let mut sets = Vec::with_capacity(args.len() + 1);
        if let Some(defined) = defined {
            sets.push(defined);
        } else if function == "unnest" && args.len() > 1 {
            for arg in args {
                sets.push(resolve::set_returning(&cx, function, vec![arg])?);
            }
        } else {
            sets.push(resolve::set_returning(&cx, function, args)?);
        }
        if with_ordinality {
            sets.push(resolve::ordinality(&sets));
        }
        Ok(sets)
    }

    /// A function in FROM that answers one value: one row.
    fn set_of_one(
        &self,
        plan: LogicalPlan,
        function: &str,
        args: Vec<TypedExpr>,
        with_ordinality: bool,
        name: &str,
    ) -> Result<(LogicalPlan, Vec<Output>)> {
        let value = resolve::call(&self.cx(), function, args, false)?;
        let (mut plan, value) = self.extend(plan, value)?;
        let mut columns = vec![Output { name: name.to_owned(), value, origin: None }];
        if with_ordinality {
            let one = resolve::literal(&common::datum::Datum::Int8(1), common::types::Scalar::Int8.into());
            let (extended, value) = self.extend(plan, one)?;
            plan = extended;
            columns.push(Output { name: "ordinality".into(), value, origin: None });
        }
        Ok((plan, columns))
    }

    /// The sets of a select list; the result of each, in order. A set whose arguments name another's result is unnested after that one.
    pub(crate) fn unnest_select_list(&self, plan: LogicalPlan, sets: Vec<SetReturning>) -> Result<(LogicalPlan, Vec<Expr>)> {
        let mut plan = plan;
        let mut results: Vec<Option<Expr>> = vec![None; sets.len()];
        while results.iter().any(Option::is_none) {
            let is_ready =
                |set: &SetReturning| placeholders(&set.expr.expr, SET).iter().all(|at| results.get(*at).is_some_and(Option::is_some));
            let round: Vec<usize> = (0..sets.len()).filter(|at| results[*at].is_none() && is_ready(&sets[*at])).collect();
            let known: Vec<Expr> = results.iter().map(|r| r.clone().unwrap_or_default()).collect();
            let mut together = Vec::with_capacity(round.len());
            for at in &round {
                let mut set = sets[*at].clone();
                set.expr.expr = replace_placeholders(set.expr.expr, SET, &known)?;
                together.push(set);
            }
            let (unnested, columns) = self.unnest(plan, together, "", false)?;
            plan = unnested;
            for (at, column) in round.into_iter().zip(columns) {
                results[at] = Some(column.value.expr);
            }
        }
        Ok((plan, results.into_iter().flatten().collect()))
    }

    /// Unnests lists beside each other, padded with NULLs to the longest; the other columns stay. One output for each column of each set.
    fn unnest(&self, plan: LogicalPlan, sets: Vec<SetReturning>, name: &str, keeps_empty: bool) -> Result<(LogicalPlan, Vec<Output>)> {
        let kept = plan.schema().columns();
        // Unnesting takes the qualifier from a column's name: what is unnested has a name of its own.
        let mut exprs: Vec<Expr> = kept.iter().cloned().map(Expr::Column).collect();
        let mut lists = Vec::with_capacity(sets.len());
        let mut outputs = Vec::new();
        for set in sets {
            let list = Column::from_name(self.unique("u"));
            exprs.push(set.expr.expr.alias(list.name.clone()));
            outputs.push((Expr::Column(list.clone()), set.of_records, set.columns));
            lists.push(list);
        }
        let handling = if keeps_empty { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
        let options = UnnestOptions::new().with_null_handling(handling);
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.unnest_columns_with_options(lists, options)?.build()?;
        let mut results = Vec::new();
        for (element, of_records, fields) in outputs {
            for (at, (field, ty)) in fields.into_iter().enumerate() {
                let value = match of_records {
                    true => datafusion::functions::core::expr_fn::get_field(element.clone(), at.to_string()),
                    false => element.clone(),
                };
                let field = if field.is_empty() { name.to_owned() } else { field };
                results.push(Output { name: field, value: TypedExpr::new(value, ty), origin: None });
            }
        }
        self.put_beside(plan, kept, results)
    }

    /// A plan of some of its columns, as they are, and outputs of new names.
    fn put_beside(&self, plan: LogicalPlan, kept: Vec<Column>, outputs: Vec<Output>) -> Result<(LogicalPlan, Vec<Output>)> {
        let alias = datafusion::common::TableReference::bare(self.unique("q"));
        let mut exprs: Vec<Expr> = kept.into_iter().map(Expr::Column).collect();
        let mut columns = Vec::with_capacity(outputs.len());
        for (at, output) in outputs.into_iter().enumerate() {
            let name = super::plan_name(&output.name, &format!("{}_{at}", alias.table()));
            let column = Expr::Column(Column::new(Some(alias.clone()), name.clone()));
            exprs.push(output.value.expr.clone().alias_qualified(Some(alias.clone()), name));
            columns.push(Output { value: TypedExpr { expr: column, ..output.value }, ..output });
        }
        let plan = datafusion::logical_expr::Projection::try_new(exprs, std::sync::Arc::new(plan))?;
        Ok((LogicalPlan::Projection(plan), columns))
    }
}

/// A call of a set-returning function where none may be.
pub(crate) fn not_allowed(clause: &str) -> BindError {
    let message = match clause {
        "aggregate" | "window" => format!("{clause} function calls cannot contain set-returning function calls"),
        clause => format!("set-returning functions are not allowed in {clause}"),
    };
    let report = Report::new(SqlState::FEATURE_NOT_SUPPORTED, message);
    match clause {
        "aggregate" | "window" => report.with_hint("You might be able to move the set-returning function into a LATERAL FROM item.").into(),
        _ => report.into(),
    }
}
