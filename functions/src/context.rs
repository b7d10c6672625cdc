//! What binding and evaluation know of the session.
//!
//! [`SessionSettings`] travels with every plan: as an extension of DataFusion's `ConfigOptions` (prefix `partita`), and as bytes in a
//! fragment request. A kernel reads it from `ScalarFunctionArgs::config_options`.

use std::cell::RefCell;
use std::sync::Arc;

use common::types::{Scalar, SqlType};
use serde::{Deserialize, Serialize};
use types::format_settings::FormatSettings;

/// The session's settings that expressions read.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    pub format: FormatSettings,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub search_path: Arc<[String]>,
    /// Microseconds since 1970 UTC: now(), and statement_timestamp().
    pub transaction_micros: i64,
    pub statement_micros: i64,
    pub backend_pid: i32,
}

/// Where casts may be applied without being written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// The types of a statement's parameters, decided while it is bound.
#[derive(Debug, Default)]
pub struct ParameterTypes(RefCell<Vec<Option<SqlType>>>);

impl ParameterTypes {
    /// Starts with what the client declared; `None` leaves it to the context.
    pub fn new(declared: Vec<Option<SqlType>>) -> Self {
        Self(RefCell::new(declared))
    }

    /// The type of `$index` (from 1), if it is decided.
    pub fn get(&self, index: usize) -> Option<SqlType> {
        self.0.borrow().get(index.checked_sub(1)?).copied().flatten()
    }

    /// Notes that `$index` (from 1) exists and, when `ty` is given, decides its type. Answers the type that it has now.
    pub fn note(&self, index: usize, ty: Option<SqlType>) -> Option<SqlType> {
        let mut types = self.0.borrow_mut();
        if types.len() < index {
            types.resize(index, None);
        }
        let slot = index.checked_sub(1).and_then(|i| types.get_mut(i))?;
        if slot.is_none() {
            *slot = ty;
        }
        *slot
    }

    /// All types; parameters that nothing decided are text, as PostgreSQL does for unknown ones in the end.
    pub fn decided(&self) -> Vec<SqlType> {
        self.0.borrow().iter().map(|ty| ty.unwrap_or(Scalar::Text.into())).collect()
    }
}

/// What resolution may look at and write to.
#[derive(Debug)]
pub struct ExprContext<'a> {
    pub settings: &'a SessionSettings,
    pub parameters: &'a ParameterTypes,
}
