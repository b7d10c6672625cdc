//! CREATE TABLE and CREATE TABLE AS.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::PartitionPolicy;
use common::error::Report;
use common::sqlstate::SqlState;
use sql::bound::BoundStatement;
use sql::partition_clause::PartitionClause;
use sql::table_syntax::{LIKE_COLUMN, like_of};
use sqlparser::ast::{CreateTable, CreateTableOptions, Expr, SqlOption, Statement, Value};

use super::definition::{Definer, NewTable, PartitionWish, TableDraft};
use super::{ATTEMPTS_MAX, Ids, Surroundings, propose, too_many_attempts};
use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;

pub(super) async fn execute(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    create: &CreateTable,
    clause: Option<&PartitionClause>,
) -> Result<StatementResult, Report> {
    refuse_unknown(create)?;
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let (schema, name) = around.new_name(&create.name)?;
        if around.state.relation_named(&schema.name, &name).is_some() {
            let report = Report::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"));
            if create.if_not_exists {
                session.notices.push(Report { message: format!("{}, skipping", report.message), ..report });
                return Ok(StatementResult::Command("CREATE TABLE".into()));
            }
            return Err(report);
        }
        let draft = draft(session, prepared, create, &name, &around)?;
        let options = parameters(&create.table_options)?;
        let wish = wish(&options, clause, &around)?;
        let count = wish.partitions.map_or(1, |n| usize::try_from(n).unwrap_or(usize::MAX)).max(clause.map_or(1, |c| c.splits.len() + 1));
        let count = wish.colocate_with.as_ref().and_then(|t| around.state.partition_map(t.storage)).map_or(count, |m| m.partitions.len());
        let mut ids = Ids::take(session, draft.ids_needed(count)).await?;
        let definer = Definer {
            state: &around.state,
            settings: &around.settings,
            schema: schema.oid,
            name: &name,
            ids: &mut ids,
            wish,
            taken: Vec::new(),
        };
        let NewTable { mut table, indexes, maps, sequences } = definer.define(draft, options)?;
        // The changes that make indexes name them in the table.
        table.indexes.clear();
        let changes = std::iter::once(Change::CreateTable(table))
            .chain(indexes.into_iter().map(Change::CreateIndex))
            .chain(maps.into_iter().map(Change::PutPartitionMap))
            .chain(sequences.into_iter().map(Change::PutSequence));
        if propose(session, around.state.version(), &changes.collect::<Vec<_>>()).await?.is_some() {
            return match &create.query {
                None => Ok(StatementResult::Command("CREATE TABLE".into())),
                Some(query) => fill(session, create, query).await,
            };
        }
    }
    Err(too_many_attempts())
}

fn refuse_unknown(create: &CreateTable) -> Result<(), Report> {
    let refused = [
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.like.is_some(), "CREATE TABLE … LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_of.is_some(), "PARTITION OF"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
    ];
    match refused.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => Err(Report::unsupported(what)),
        None => Ok(()),
    }
}

fn draft(session: &Session, prepared: &Prepared, create: &CreateTable, name: &str, around: &Surroundings) -> Result<TableDraft, Report> {
    let mut draft = TableDraft::default();
    if let Some(query) = &create.query {
        let parsed = prepared.statement.with_statement(Statement::Query(query.clone()));
        let bound = session.prepare(&parsed, Vec::new())?;
        let BoundStatement::Query { query, .. } = &bound.bound.statement else {
            return Err(Report::unsupported("CREATE TABLE AS of something that is no query"));
        };
        for (at, column) in query.columns.iter().enumerate() {
            let shown = create.columns.get(at).map_or_else(|| column.name.clone(), |c| super::folded(&c.name));
            if draft.columns.iter().any(|c| c.name == shown) {
                return Err(Report::new(SqlState::DUPLICATE_COLUMN, format!("column \"{shown}\" specified more than once")));
            }
            draft.columns.push(catalog::objects::Column {
                attnum: super::definition::attnum(at)?,
                name: shown,
                ty: column.ty,
                not_null: false,
                default: None,
                missing: common::datum::Datum::Null,
                dropped: false,
                hidden: false,
                domain: None,
                generated: None,
            });
        }
        return Ok(draft);
    }
    for column in &create.columns {
        match like_of(&column.data_type).filter(|_| column.name.value == LIKE_COLUMN) {
            Some(like) => super::like::expand(&mut draft, &like, name, around)?,
            None => draft.add_column(column, name, around)?,
        }
    }
    for constraint in &create.constraints {
        draft.add_constraint(constraint)?;
    }
    Ok(draft)
}

/// The rows of CREATE TABLE AS.
async fn fill(session: &mut Session, create: &CreateTable, query: &sqlparser::ast::Query) -> Result<StatementResult, Report> {
    if create.with_data.as_ref().is_some_and(|w| w.to_string().contains("NO DATA")) {
        return Ok(StatementResult::Command("CREATE TABLE AS".into()));
    }
    let text = format!("INSERT INTO {} {query}", create.name);
    let parsed = sql::parse::parse_statements(&text)?.into_iter().next().ok_or_else(|| Report::internal("no statement"))?;
    let insert = session.prepare(&parsed, Vec::new())?;
    match Box::pin(crate::execute::execute(session, &insert, Vec::new())).await? {
        StatementResult::Command(tag) => {
            let count = tag.rsplit(' ').next().unwrap_or("0").to_owned();
            Ok(StatementResult::Command(format!("SELECT {count}")))
        }
        _ => Ok(StatementResult::Command("SELECT 0".into())),
    }
}

/// Storage parameters as (name, value).
pub(super) fn parameters(options: &CreateTableOptions) -> Result<Vec<(String, String)>, Report> {
    let list = match options {
        CreateTableOptions::None => return Ok(Vec::new()),
        CreateTableOptions::With(list) | CreateTableOptions::Options(list) | CreateTableOptions::Plain(list) => list,
        CreateTableOptions::TableProperties(_) => return Err(Report::unsupported("TBLPROPERTIES")),
    };
    list.iter()
        .map(|option| match option {
            SqlOption::KeyValue { key, value } => Ok((super::folded(key), option_value(value))),
            SqlOption::Ident(key) => Ok((super::folded(key), "true".to_owned())),
            other => Err(Report::unsupported(format!("the table option {other}"))),
        })
        .collect()
}

/// The text of an option's value, without quotes.
pub(super) fn option_value(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(ident) => super::folded(ident),
        other => other.to_string(),
    }
}

/// Storage parameters that PostgreSQL knows and that mean nothing here.
fn is_ignored(name: &str) -> bool {
    name == "fillfactor"
        || name == "parallel_workers"
        || name.starts_with("autovacuum")
        || name.starts_with("toast")
        || name == "user_catalog_table"
}

fn wish<'a>(options: &[(String, String)], clause: Option<&'a PartitionClause>, around: &Surroundings) -> Result<PartitionWish<'a>, Report> {
    let mut wish = PartitionWish { clause, ..PartitionWish::default() };
    for (name, value) in options {
        let invalid = || Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for option \"{name}\": {value}"));
        match name.as_str() {
            "partitions" => wish.partitions = Some(value.parse().map_err(|_| invalid())?),
            "policy" => {
                wish.policy = Some(match value.as_str() {
                    "fixed" => PartitionPolicy::Fixed,
                    "dynamic" => PartitionPolicy::Dynamic,
                    _ => return Err(invalid()),
                });
            }
            "colocate_with" => {
                let parsed = sqlparser::ast::ObjectName::from(value.split('.').map(sqlparser::ast::Ident::new).collect::<Vec<_>>());
                wish.colocate_with = Some(around.table(&parsed)?.ok_or_else(|| super::missing_relation(&parsed))?);
            }
            known if is_ignored(known) => {}
            other => {
                let message = format!("unrecognized parameter \"{other}\"");
                return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
    }
    Ok(wish)
}
