//! The query of a view as SQL text: what `pg_get_viewdef` answers.
//!
//! It is the text that was written, with the relations under their present names and in PostgreSQL's layout; columns are not qualified, and a `*`
//! stays one.

use std::ops::ControlFlow;

use catalog::objects::{ViewQuery, relation_reference};
use sql::parse::{Syntax, parse_statements};
use sqlparser::ast::{Ident, ObjectName, Query, Select, SetExpr, Statement, TableAlias, TableFactor, VisitMut, VisitorMut};

use super::context::SystemContext;
use super::definition_text;

/// ` SELECT a,\n    b\n   FROM t;`
pub(super) fn definition(system: &SystemContext, view: &ViewQuery) -> String {
    let parsed = parse_statements(&view.text).ok().and_then(|statements| statements.into_iter().next());
    let Some(Syntax::Statement(tree)) = parsed.map(|p| p.syntax) else { return String::new() };
    let Statement::Query(query) = tree.as_ref() else { return String::new() };
    let mut query = query.clone();
    let _ = query.visit(&mut Names { system, view });
    let laid_out = laid_out(&query).unwrap_or_else(|| query.to_string());
    format!(" {};", definition_text::expression(system, &laid_out))
}

/// Puts names in place of references; a relation that has another name now keeps its former one as an alias.
struct Names<'a> {
    system: &'a SystemContext,
    view: &'a ViewQuery,
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, .. } = factor else { return ControlFlow::Continue(()) };
        let found =
            self.view.uses.iter().find(
                |u| matches!(name.0.as_slice(), [only] if only.as_ident().is_some_and(|i| i.value == relation_reference(u.relation))),
            );
        if let Some(used) = found {
            let shown = self.system.relation_name(used.relation).unwrap_or_else(|| used.name.clone());
            let parts = super::split_name(&shown).unwrap_or_default();
            if alias.is_none() && parts.last() != Some(&used.name) {
                *alias = Some(TableAlias { explicit: false, name: quoted(&used.name), columns: Vec::new(), at: None });
            }
            *name = ObjectName::from(parts.iter().map(|part| quoted(part)).collect::<Vec<_>>());
        }
        ControlFlow::Continue(())
    }
}

fn quoted(name: &str) -> Ident {
    if types::quoting::quote_ident(name) == name { Ident::new(name) } else { Ident::with_quote('"', name) }
}

/// One SELECT in PostgreSQL's layout; `None` for anything else.
fn laid_out(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    if query.with.is_some() {
        return None;
    }
    let whole = query.to_string();
    let list: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    // What stands behind FROM is laid out clause by clause.
    let rest = rest_of(select, &whole)?;
    let head = if select.distinct.is_some() { "SELECT DISTINCT" } else { "SELECT" };
    Some(format!("{head} {}{rest}", list.join(",\n    ")))
}

fn rest_of(select: &Select, whole: &str) -> Option<String> {
    if select.distinct.as_ref().is_some_and(|d| d.to_string() != "DISTINCT") || select.into.is_some() {
        return None;
    }
    let from: Vec<String> = select.from.iter().map(ToString::to_string).collect();
    let mut rest = String::new();
    if from.is_empty() {
        return whole.strip_prefix("SELECT ").map(|_| String::new()).filter(|_| select.selection.is_none());
    }
    let marker = format!(" FROM {}", from.join(", "));
    let at = whole.find(&marker)?;
    rest.push_str(&format!("\n   FROM {}", from.join(",\n    ")));
    let mut tail = whole[at + marker.len()..].to_owned();
    if let Some(condition) = &select.selection {
        tail = tail.strip_prefix(&format!(" WHERE {condition}"))?.to_owned();
        rest.push_str(&format!("\n  WHERE {condition}"));
    }
    for (word, shown) in
        [(" GROUP BY ", "\n  GROUP BY "), (" HAVING ", "\n HAVING "), (" ORDER BY ", "\n  ORDER BY "), (" LIMIT ", "\n LIMIT ")]
    {
        if tail.starts_with(word) {
            tail = tail.replacen(word, shown, 1);
        }
    }
    rest.push_str(&tail);
    Some(rest)
}
