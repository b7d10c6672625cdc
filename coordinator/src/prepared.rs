//! A statement that was parsed and bound, with everything that can be done once: its result columns, its point template, its optimised plan.
//!
//! Statements are cached by text for the whole coordinator, so that clients that send the same text again and again, in the simple protocol too,
//! pay for parsing and binding once. The key holds what binding depends on besides the text: the catalog version, the search path, declared
//! parameter types, and the settings that constants are read with.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use common::error::{Report, SqlError};
use common::ids::CatalogVersion;
use common::types::SqlType;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use sql::bound::{Bound, BoundStatement, OutputColumn};
use sql::parse::{ParsedStatement, parse_statements};

use crate::execute::point::PointPlan;
use crate::schema_view::SchemaView;
use crate::session::Session;

/// Statements that are kept; the oldest go first.
const CACHED_MAX: usize = 4_096;
/// A text longer than this is not kept.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A bound statement.
pub struct Prepared {
    pub statement: ParsedStatement,
    pub bound: Bound,
    pub point: Option<PointPlan>,
    /// The view that it was bound against.
    pub view: Arc<SchemaView>,
    /// The optimised logical plan with its placeholders, made at first use.
    pub optimised: OnceLock<LogicalPlan>,
    columns: Arc<[OutputColumn]>,
    settings_key: Arc<str>,
}

impl Prepared {
    /// Binds.
    pub fn bind(session: &Session, statement: &ParsedStatement, declared: Vec<Option<SqlType>>) -> Result<Self, Report> {
        let settings = session.expression_settings();
        let view = session.coordinator.view();
        let bound = sql::bind(statement, view.as_ref(), &settings, declared).map_err(|e| e.report())?;
        let columns: Arc<[OutputColumn]> = result_columns(&bound.statement).into();
        let point = PointPlan::plan(&bound, &view, &settings)?;
        Ok(Self {
            statement: statement.clone(),
            bound,
            point,
            view,
            optimised: OnceLock::new(),
            columns,
            settings_key: Arc::clone(session.settings.binding_key()),
        })
    }

    /// The same with other plans in the statement.
    pub fn with_statement(&self, statement: BoundStatement) -> Self {
        let bound = Bound { statement, locking: Vec::new(), ..self.bound.clone() };
        Self {
            statement: self.statement.clone(),
            bound,
            point: None,
            view: Arc::clone(&self.view),
            optimised: OnceLock::new(),
            columns: Arc::clone(&self.columns),
            settings_key: Arc::clone(&self.settings_key),
        }
    }

    /// The columns of its result; none for a statement that returns no rows.
    pub fn columns(&self) -> &Arc<[OutputColumn]> {
        &self.columns
    }

    /// Whether binding it now would give the same.
    pub fn is_current(&self, session: &Session) -> bool {
        let statement_is_bound_to_nothing = matches!(self.bound.statement, BoundStatement::Empty);
        statement_is_bound_to_nothing
            || (self.view.state().version() == session.coordinator.state().version()
                && self.settings_key == *session.settings.binding_key())
    }

    /// Whether its result is rows, be they without columns.
    pub fn returns_rows(&self) -> bool {
        matches!(self.bound.statement, BoundStatement::Query { .. }) || !self.columns.is_empty()
    }
}

/// What RowDescription tells of a statement.
fn result_columns(statement: &BoundStatement) -> Vec<OutputColumn> {
    match statement {
        BoundStatement::Query { query, .. } => query.columns.clone(),
        BoundStatement::Insert(insert) => insert.returning.as_ref().map(|r| r.columns.clone()).unwrap_or_default(),
        BoundStatement::Update(update) => update.returning.as_ref().map(|r| r.columns.clone()).unwrap_or_default(),
        BoundStatement::Delete(delete) => delete.returning.as_ref().map(|r| r.columns.clone()).unwrap_or_default(),
        other => crate::execute::utility::result_columns(other),
    }
}

#[derive(PartialEq, Eq, Hash)]
struct CacheKey {
    text: Arc<str>,
    version: CatalogVersion,
    settings: Arc<str>,
    declared: Vec<Option<SqlType>>,
}

/// The statements that a coordinator has bound lately.
#[derive(Default)]
pub struct StatementCache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    parsed: HashMap<Arc<str>, Arc<[ParsedStatement]>>,
    by_key: HashMap<CacheKey, Arc<Prepared>>,
}

impl StatementCache {
    /// The statements of a text: from the cache where it is.
    pub fn get_or_parse(&self, text: &str) -> Result<Arc<[ParsedStatement]>, Report> {
        if text.len() > TEXT_BYTES_MAX {
            return Ok(parse_statements(text)?.into());
        }
        if let Some(found) = self.0.lock().parsed.get(text) {
            return Ok(Arc::clone(found));
        }
        let parsed: Arc<[ParsedStatement]> = parse_statements(text)?.into();
        let mut entries = self.0.lock();
        if entries.parsed.len() >= CACHED_MAX {
            entries.parsed.clear();
        }
        entries.parsed.insert(text.into(), Arc::clone(&parsed));
        Ok(parsed)
    }

    /// The statement, bound for this session: from the cache where it is.
    pub fn get_or_bind(
        &self,
        session: &Session,
        statement: &ParsedStatement,
        declared: Vec<Option<SqlType>>,
    ) -> Result<Arc<Prepared>, Report> {
        let text = statement.text();
        if text.len() > TEXT_BYTES_MAX {
            return Ok(Arc::new(Prepared::bind(session, statement, declared)?));
        }
        let key = CacheKey {
            text: statement.shared_text(),
            version: session.coordinator.state().version(),
            settings: Arc::clone(session.settings.binding_key()),
            declared,
        };
        if let Some(found) = self.0.lock().by_key.get(&key) {
            return Ok(Arc::clone(found));
        }
        let prepared = Arc::new(Prepared::bind(session, statement, key.declared.clone())?);
        let mut entries = self.0.lock();
        if entries.by_key.len() >= CACHED_MAX {
            entries.by_key.clear();
        }
        entries.by_key.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }
}
