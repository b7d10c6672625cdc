//! A statement that was parsed and bound, with everything that can be done once: its result columns, its point template, its optimised plan.
//!
//! Statements are cached by text for the whole coordinator, so that clients that send the same text again and again, in the simple protocol too,
//! pay for parsing and binding once. The key holds what binding depends on besides the text: the catalog version, the search path, declared
//! parameter types, and the settings that constants are read with.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::CatalogVersion;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use sql::bound::{Bound, BoundStatement, OutputColumn};
use sql::literals::{self, Literal};
use sql::parse::{ParsedStatement, parse_statements};

use types::text_input;

use crate::execute::point::PointPlan;
use crate::schema_view::SchemaView;
use crate::session::Session;

/// Statements that are kept of each kind.
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
        let view = session.view();
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
        statement_is_bound_to_nothing || (self.is_of(&session.view()) && self.settings_key == *session.settings.binding_key())
    }

    fn is_of(&self, view: &SchemaView) -> bool {
        self.view.state().version() == view.state().version() && self.view.number() == view.number()
    }

    /// Whether its result is rows, be they without columns.
    pub fn returns_rows(&self) -> bool {
        let is_query = match &self.bound.statement {
            BoundStatement::Parts(parts) => matches!(*parts.main, BoundStatement::Query { .. }),
            other => matches!(other, BoundStatement::Query { .. }),
        };
        is_query || !self.columns.is_empty()
    }
}

/// What RowDescription tells of a statement.
fn result_columns(statement: &BoundStatement) -> Vec<OutputColumn> {
    match statement {
        BoundStatement::Query { query, .. } => query.columns.clone(),
        BoundStatement::Insert(insert) => insert.returning.as_ref().map(|r| r.columns.clone()).unwrap_or_default(),
        BoundStatement::Update(update) => update.returning.as_ref().map(|r| r.columns.clone()).unwrap_or_default(),
        BoundStatement::Delete(delete) => delete.returning.as_ref().map(|r| r.columns.clone()).unwrap_or_default(),
        BoundStatement::Parts(parts) => result_columns(&parts.main),
        other => crate::execute::utility::result_columns(other),
    }
}

#[derive(PartialEq, Eq, Hash)]
struct CacheKey {
    text: Arc<str>,
    version: CatalogVersion,
    /// [`SchemaView::number`].
    view: u64,
    settings: Arc<str>,
    declared: Vec<Option<SqlType>>,
}

impl CacheKey {
    fn new(session: &Session, text: Arc<str>, declared: Vec<Option<SqlType>>) -> Self {
        let view = session.view();
        Self { text, version: view.state().version(), view: view.number(), settings: Arc::clone(session.settings.binding_key()), declared }
    }
}

/// The statements that a coordinator has bound lately.
#[derive(Default)]
pub struct StatementCache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    parsed: Generations<Arc<str>, Arc<[ParsedStatement]>>,
    by_key: Generations<CacheKey, Arc<Prepared>>,
    /// Statements without their literals ([`sql::literals`]); `None`: the literals are needed.
    lifted: Generations<CacheKey, Option<Arc<Prepared>>>,
}

/// A bounded map that forgets what was not asked for lately: what is found in the old half moves to the young one, and when that is full it becomes
/// the old one.
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V: Clone> Generations<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= CACHED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl StatementCache {
    /// The statements of a text: from the cache where it is.
    pub fn get_or_parse(&self, text: &str) -> Result<Arc<[ParsedStatement]>, Report> {
        if text.len() > TEXT_BYTES_MAX {
            return Ok(parse_statements(text)?.into());
        }
        if let Some(found) = self.0.lock().parsed.get(text) {
            return Ok(found);
        }
        let parsed: Arc<[ParsedStatement]> = parse_statements(text)?.into();
        self.0.lock().parsed.insert(text.into(), Arc::clone(&parsed));
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
        let key = CacheKey::new(session, statement.shared_text(), declared);
        if let Some(found) = self.0.lock().by_key.get(&key) {
            return Ok(found);
        }
        let prepared = Arc::new(Prepared::bind(session, statement, key.declared.clone())?);
        self.0.lock().by_key.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }

    /// The statement that a text is without its literals, with their values: from the cache where it is. `None` when the text must be taken as it
    /// is, be it only to say what is wrong with it.
    pub fn get_or_lift(&self, session: &Session, text: &str) -> Option<(Arc<Prepared>, Vec<Datum>)> {
        let lifted = literals::lift(text)?;
        let declared = lifted.literals.iter().map(|literal| match literal {
            Literal::Int4(_) => Some(Scalar::Int4.into()),
            Literal::Int8(_) => Some(Scalar::Int8.into()),
            Literal::Unknown(_) => None,
        });
        let key = CacheKey::new(session, lifted.template.as_str().into(), declared.collect());
        let known = self.0.lock().lifted.get(&key);
        let prepared = match known {
            Some(known) => known,
            None => {
                let prepared = bind_lifted(session, &key);
                self.0.lock().lifted.insert(key, prepared.clone());
                prepared
            }
        }?;
        let values = lifted.literals.into_iter().zip(&prepared.bound.parameters).map(|(literal, ty)| match literal {
            Literal::Int4(value) => Some(Datum::Int4(value)),
            Literal::Int8(value) => Some(Datum::Int8(value)),
            Literal::Unknown(text) => text_input::parse(&text, *ty, session.settings.format()).ok(),
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        Some((prepared, values))
    }
}

/// Binds a text without literals; `None` unless it is a read or change by key.
fn bind_lifted(session: &Session, key: &CacheKey) -> Option<Arc<Prepared>> {
    let parsed = parse_statements(&key.text).ok()?;
    let [statement] = parsed.as_slice() else { return None };
    let prepared = Prepared::bind(session, statement, key.declared.clone()).ok()?;
    let serves = prepared.point.is_some() && prepared.bound.notices.is_empty() && prepared.bound.parameters.len() == key.declared.len();
    serves.then(|| Arc::new(prepared))
}
