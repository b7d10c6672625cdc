//! CREATE and DROP VIEW, and what depends on a relation.

use std::ops::ControlFlow;
use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{View, ViewQuery, ViewUse, relation_reference};
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::SqlType;
use sql::bound::BoundStatement;
use sqlparser::ast::{CreateView, Ident, ObjectName, Query, Statement, visit_relations_mut};
use sqlparser::tokenizer::{Token, Tokenizer};
use types::quoting::quote_ident;

use super::{ATTEMPTS_MAX, Ids, Surroundings, folded, propose, split_name, stored_expression, too_many_attempts};
use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;
use crate::system_views;

pub(super) async fn create(session: &mut Session, prepared: &Prepared, create: &CreateView) -> Result<StatementResult, Report> {
    if create.materialized {
        return Err(Report::unsupported("CREATE MATERIALIZED VIEW"));
    }
    if create.temporary {
        return Err(Report::unsupported("CREATE TEMPORARY VIEW"));
    }
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let (schema, name) = around.new_name(&create.name)?;
        let columns = columns(session, prepared, create)?;
        let query = stored_query(&around, &create.query)?;
        let existing = around.state.relation_named(&schema.name, &name);
        let oid = match existing {
            None => Ids::take(session, 1).await?.oid()?,
            Some(_) if !create.or_replace => {
                return Err(Report::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
            }
            Some(oid) => {
                let Some(old) = around.state.view(oid) else {
                    return Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a view")));
                };
                check_replacement(&old, &columns)?;
                refuse_recursion(&around.state, &old, &query)?;
                oid
            }
        };
        let options = super::create_table::parameters(&create.options)?;
        let view = View { oid, schema: schema.oid, name, columns, query, options };
        if propose(session, around.state.version(), &[Change::PutView(view)]).await?.is_some() {
            return Ok(StatementResult::Command("CREATE VIEW".into()));
        }
    }
    Err(too_many_attempts())
}

/// Names and types of the view's columns.
fn columns(session: &Session, prepared: &Prepared, create: &CreateView) -> Result<Vec<(String, SqlType)>, Report> {
    let parsed = prepared.statement.with_statement(Statement::Query(create.query.clone()));
    let bound = session.prepare(&parsed, Vec::new())?;
    let BoundStatement::Query { query, .. } = &bound.bound.statement else {
        return Err(Report::unsupported("a view of something that is no query"));
    };
    if !bound.bound.parameters.is_empty() {
        return Err(Report::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    if create.columns.len() > query.columns.len() {
        return Err(Report::new(SqlState::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns"));
    }
    let mut columns: Vec<(String, SqlType)> = Vec::with_capacity(query.columns.len());
    for (at, column) in query.columns.iter().enumerate() {
        let name = create.columns.get(at).map_or_else(|| column.name.clone(), |c| folded(&c.name));
        if columns.iter().any(|(other, _)| *other == name) {
            return Err(Report::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        columns.push((name, column.ty));
    }
    Ok(columns)
}

/// A view keeps the columns that it has: others may read them.
fn check_replacement(old: &View, new: &[(String, SqlType)]) -> Result<(), Report> {
    let refused = |message: String| Report::new(SqlState::INVALID_TABLE_DEFINITION, message);
    if new.len() < old.columns.len() {
        return Err(refused("cannot drop columns from view".into()));
    }
    for ((old_name, old_type), (new_name, new_type)) in old.columns.iter().zip(new) {
        if old_name != new_name {
            return Err(refused(format!("cannot change name of view column \"{old_name}\" to \"{new_name}\""))
                .with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if old_type != new_type {
            let message = format!("cannot change data type of view column \"{old_name}\" from {old_type} to {new_type}");
            return Err(refused(message));
        }
    }
    Ok(())
}

fn refuse_recursion(state: &CatalogState, view: &View, query: &ViewQuery) -> Result<(), Report> {
    let above: Vec<Oid> = std::iter::once(view.oid).chain(dependents(state, view.oid).into_iter().map(|d| d.view.oid)).collect();
    if query.uses.iter().any(|u| above.contains(&u.relation)) {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", view.name);
        return Err(Report::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    Ok(())
}

/// The query with its relations by oid.
pub(super) fn stored_query(around: &Surroundings, query: &Query) -> Result<ViewQuery, Report> {
    let mut query = query.clone();
    let words = Words::of(&query.to_string());
    stored_expression::with_oids(&mut query, around)?;
    let mut with_names = Vec::new();
    collect_with_names(&query, &mut with_names);
    let mut uses: Vec<ViewUse> = Vec::new();
    let found = visit_relations_mut(&mut query, |name| {
        if let [only] = name.0.as_slice()
            && only.as_ident().is_some_and(|ident| with_names.contains(&folded(ident)))
        {
            return ControlFlow::Continue(());
        }
        match found_relation(around, name) {
            // A function, say.
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(oid)) => {
                *name = ObjectName::from(vec![Ident::with_quote('"', relation_reference(oid))]);
                if !uses.iter().any(|u| u.relation == oid) {
                    uses.push(used(&around.state, oid, &words));
                }
                ControlFlow::Continue(())
            }
            Err(report) => ControlFlow::Break(report),
        }
    });
    match found {
        ControlFlow::Break(report) => Err(report),
        ControlFlow::Continue(()) => Ok(ViewQuery { text: query.to_string(), uses }),
    }
}

/// The names of all WITH queries.
fn collect_with_names(query: &Query, names: &mut Vec<String>) {
    let tokens = Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, &query.to_string()).tokenize().unwrap_or_default();
    let words: Vec<&Token> = tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    if !words.iter().any(|t| matches!(t, Token::Word(w) if w.value.eq_ignore_ascii_case("with"))) {
        return;
    }
    // `name AS (` and `name (columns) AS (`: what stands before AS and its list of columns.
    for (at, token) in words.iter().enumerate() {
        let is_as = matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("as"));
        let opens = words.get(at + 1..at + 4).unwrap_or_default().iter().any(|t| **t == Token::LParen);
        if !is_as || !opens || at == 0 {
            continue;
        }
        let mut before = at - 1;
        if *words[before] == Token::RParen {
            while before > 0 && *words[before] != Token::LParen {
                before -= 1;
            }
            before = before.saturating_sub(1);
        }
        if let Token::Word(word) = words[before] {
            names.push(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() });
        }
    }
}

fn found_relation(around: &Surroundings, name: &ObjectName) -> Result<Option<Oid>, Report> {
    let mut bare = name.clone();
    if bare.0.len() == 3 {
        // The database, which is this one.
        bare.0.remove(0);
    }
    let (schema, name) = split_name(&bare)?;
    let find = |schema: &str| around.state.relation_named(schema, &name).or_else(|| system_views::oid_of(&around.state, schema, &name));
    Ok(match schema {
        Some(schema) => find(&schema),
        None => find("pg_catalog").or_else(|| around.settings.search_path.iter().find_map(|schema| find(schema))),
    })
}

/// The names in a query's text.
struct Words {
    names: Vec<String>,
    /// Whether it has a `*` that stands for columns.
    star: bool,
}

impl Words {
    fn of(text: &str) -> Self {
        let tokens = Tokenizer::new(&sqlparser::dialect::PostgreSqlDialect {}, text).tokenize().unwrap_or_default();
        let significant: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
        let before_star = |t: &Token| match t {
            Token::Word(word) => matches!(word.value.to_ascii_uppercase().as_str(), "SELECT" | "DISTINCT" | "ALL"),
            Token::Comma | Token::Period => true,
            _ => false,
        };
        let star = significant.windows(2).any(|pair| pair[1] == Token::Mul && before_star(&pair[0]));
        let natural = significant.iter().any(|t| matches!(t, Token::Word(w) if w.value.eq_ignore_ascii_case("natural")));
        let names = significant.into_iter().filter_map(|t| match t {
            Token::Word(word) if word.quote_style.is_some() => Some(word.value),
            Token::Word(word) => Some(word.value.to_lowercase()),
            _ => None,
        });
        Self { names: names.collect(), star: star || natural }
    }
}

fn used(state: &CatalogState, oid: Oid, words: &Words) -> ViewUse {
    let (name, columns) = if let Some(table) = state.table(oid) {
        (table.name.clone(), table.visible_columns().map(|c| (c.attnum, c.name.clone())).collect())
    } else if let Some(view) = state.view(oid) {
        (view.name.clone(), view.columns.iter().zip(1..).map(|((name, _), attnum)| (attnum, name.clone())).collect())
    } else {
        let named = system_views::name_of(state, oid).map(|(_, name)| name);
        let sequence = state.sequence(oid).map(|s| s.name.clone());
        (named.or(sequence).unwrap_or_default(), system_views::column_names(state, oid))
    };
    let columns: Vec<(i16, String)> = columns;
    let needed = columns.iter().filter(|(_, name)| words.star || words.names.contains(name)).map(|(attnum, _)| *attnum).collect();
    ViewUse { relation: oid, name, columns, needed }
}

/// A view that something depends on another relation through.
pub(super) struct Dependent {
    pub(super) view: Arc<View>,
    /// What it reads.
    pub(super) of: Oid,
}

/// The views that read a relation, directly or not: each is followed by those that read it, as PostgreSQL lists them.
pub(super) fn dependents(state: &CatalogState, relation: Oid) -> Vec<Dependent> {
    fn collect(state: &CatalogState, of: Oid, found: &mut Vec<Dependent>) {
        let views: Vec<&Arc<View>> = state.views_of(of).collect();
        for view in views.into_iter().rev() {
            if !found.iter().any(|d| d.view.oid == view.oid) {
                collect(state, view.oid, found);
                found.push(Dependent { view: Arc::clone(view), of });
            }
        }
    }
    // The newest first, each behind what reads it; the list is told from its end.
    let mut found = Vec::new();
    collect(state, relation, &mut found);
    found.reverse();
    found
}

/// `table t`, `view v`: a relation as messages name it.
pub(super) fn described(around: &Surroundings, oid: Oid) -> String {
    let state = &around.state;
    let (kind, schema, name) = if let Some(table) = state.table(oid) {
        ("table", table.schema, table.name.clone())
    } else if let Some(view) = state.view(oid) {
        ("view", view.schema, view.name.clone())
    } else if let Some(sequence) = state.sequence(oid) {
        ("sequence", sequence.schema, sequence.name.clone())
    } else {
        return format!("relation {oid}");
    };
    let schema = state.schema(schema).map(|s| s.name.clone()).unwrap_or_default();
    let found = around.settings.search_path.iter().find_map(|path| state.relation_named(path, &name));
    if found == Some(oid) {
        format!("{kind} {}", quote_ident(&name))
    } else {
        format!("{kind} {}.{}", quote_ident(&schema), quote_ident(&name))
    }
}

/// Drops the views that read relations which go, or refuses when there are any.
pub(super) fn drop_dependents(
    around: &Surroundings,
    session: &mut Session,
    gone: &[Oid],
    cascade: bool,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    let mut lines = Vec::new();
    let mut dropped: Vec<Arc<View>> = Vec::new();
    for relation in gone {
        for dependent in dependents(&around.state, *relation) {
            if gone.contains(&dependent.view.oid) || dropped.iter().any(|v| v.oid == dependent.view.oid) {
                continue;
            }
            lines.push(format!("{} depends on {}", described(around, dependent.view.oid), described(around, dependent.of)));
            dropped.push(dependent.view);
        }
    }
    if dropped.is_empty() {
        return Ok(());
    }
    if !cascade {
        let what = match gone {
            [only] => described(around, *only),
            _ => "desired object(s)".to_owned(),
        };
        return Err(Report::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop {what} because other objects depend on {}", if gone.len() == 1 { "it" } else { "them" }),
        )
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let names: Vec<String> = dropped.iter().map(|v| described(around, v.oid)).collect();
    session.notices.push(super::cascades_to(&names));
    changes.extend(dropped.iter().map(|v| Change::DropView(v.oid)));
    Ok(())
}
