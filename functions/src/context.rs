//! What binding and evaluation know of the session.
//!
//! [`SessionSettings`] travels with every plan: as an extension of DataFusion's `ConfigOptions` (prefix `partita`), and as bytes in a
//! fragment request. A kernel reads it from `ScalarFunctionArgs::config_options` ([`settings_of`]).
//!
//! Functions that read the catalog (`'t'::regclass`, `pg_table_is_visible`) find a [`CatalogLookup`] in the same place
//! ([`CatalogExtension`], prefix `partita_catalog`); only a coordinator has one.

use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use common::datum::Datum;
use common::error::Report;
use common::types::{Scalar, SqlType};
use common::user_types::UserTypes;
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use serde::{Deserialize, Serialize};
use types::format_settings::{ByteaOutput, DateFormat, DateOrder, FormatSettings, IntervalStyle, TimeZone};

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
    /// The types that users made; only a coordinator knows them.
    pub types: Arc<UserTypes>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            format: FormatSettings::default(),
            user: "postgres".into(),
            database: "postgres".into(),
            search_path: Arc::from(["public".to_owned()]),
            transaction_micros: 0,
            statement_micros: 0,
            backend_pid: 0,
            types: Arc::default(),
        }
    }
}

/// The settings as they travel: the time zone as text.
#[derive(Serialize, Deserialize)]
struct WireSettings {
    date_format: DateFormat,
    date_order: DateOrder,
    interval_style: IntervalStyle,
    time_zone: String,
    extra_float_digits: i32,
    bytea_output: ByteaOutput,
    format_transaction_micros: i64,
    user: String,
    database: String,
    search_path: Vec<String>,
    transaction_micros: i64,
    statement_micros: i64,
    backend_pid: i32,
}

impl SessionSettings {
    /// The settings for a fragment request.
    pub fn to_bytes(&self) -> Vec<u8> {
        let format = self.format;
        let wire = WireSettings {
            date_format: format.date_format,
            date_order: format.date_order,
            interval_style: format.interval_style,
            time_zone: match format.time_zone {
                TimeZone::Named(zone) => zone.name().to_owned(),
                TimeZone::Fixed(seconds) => format!("@{seconds}"),
            },
            extra_float_digits: format.extra_float_digits,
            bytea_output: format.bytea_output,
            format_transaction_micros: format.transaction_micros,
            user: self.user.to_string(),
            database: self.database.to_string(),
            search_path: self.search_path.to_vec(),
            transaction_micros: self.transaction_micros,
            statement_micros: self.statement_micros,
            backend_pid: self.backend_pid,
        };
        rmp_serde::to_vec(&wire).expect("plain data always serialises")
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let wire: WireSettings = rmp_serde::from_slice(bytes).ok()?;
        let time_zone = match wire.time_zone.strip_prefix('@') {
            Some(seconds) => TimeZone::Fixed(seconds.parse().ok()?),
            None => TimeZone::Named(wire.time_zone.parse().ok()?),
        };
        Some(Self {
            format: FormatSettings {
                date_format: wire.date_format,
                date_order: wire.date_order,
                interval_style: wire.interval_style,
                time_zone,
                extra_float_digits: wire.extra_float_digits,
                bytea_output: wire.bytea_output,
                transaction_micros: wire.format_transaction_micros,
            },
            user: wire.user.into(),
            database: wire.database.into(),
            search_path: wire.search_path.into(),
            transaction_micros: wire.transaction_micros,
            statement_micros: wire.statement_micros,
            backend_pid: wire.backend_pid,
            types: Arc::default(),
        })
    }
}

impl ExtensionOptions for SessionSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> DataFusionResult<()> {
        Err(DataFusionError::Configuration(format!("{key} is set through the session, not by name")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

impl ConfigExtension for SessionSettings {
    const PREFIX: &'static str = "partita";
}

/// The settings that a kernel runs under; the defaults where the configuration carries none.
pub fn settings_of(config: &ConfigOptions) -> &SessionSettings {
    static DEFAULTS: LazyLock<SessionSettings> = LazyLock::new(SessionSettings::default);
    config.extensions.get::<SessionSettings>().unwrap_or(&DEFAULTS)
}

/// What functions may ask the catalog. The coordinator answers, from the state that the statement sees.
#[async_trait]
pub trait CatalogLookup: Any + std::fmt::Debug + Send + Sync {
    /// The object that a text names, for casts to reg* types (`Scalar::Regclass`, `Regtype`, `Regnamespace`, `Regrole`, `Regproc`);
    /// `Ok(None)` when there is none.
    fn object_by_name(&self, kind: Scalar, name: &str) -> Result<Option<u32>, Report>;
    /// How a reg* value prints; `None` when there is no such object.
    fn object_name(&self, kind: Scalar, oid: u32) -> Option<String>;
    /// Whether a bare name finds this relation, as `pg_table_is_visible` answers.
    fn is_visible(&self, kind: Scalar, oid: u32) -> Option<bool>;
    /// Any other function that reads the catalog, by name: `pg_get_indexdef`, `pg_relation_size`, …
    fn call(&self, name: &str, args: &[Datum]) -> Result<Datum, Report>;
    /// A function for which other nodes are asked, or waited for: advisory locks, `pg_blocking_pids`.
    async fn ask(&self, name: &str, args: &[Datum]) -> Result<Datum, Report>;
}

/// Carries a [`CatalogLookup`] in DataFusion's configuration.
#[derive(Debug, Clone)]
pub struct CatalogExtension(pub Arc<dyn CatalogLookup>);

impl ExtensionOptions for CatalogExtension {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> DataFusionResult<()> {
        Err(DataFusionError::Configuration(format!("{key} cannot be set")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

impl ConfigExtension for CatalogExtension {
    const PREFIX: &'static str = "partita_catalog";
}

/// The catalog that a kernel may ask, where the configuration carries one.
pub fn catalog_of(config: &ConfigOptions) -> Option<Arc<dyn CatalogLookup>> {
    config.extensions.get::<CatalogExtension>().map(|extension| Arc::clone(&extension.0))
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
