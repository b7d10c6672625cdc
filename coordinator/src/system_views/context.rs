//! What the system views and the functions that read the catalog know of the session.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use catalog::state::CatalogState;
use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::Scalar;
use common::user_types::UserType;
use datafusion::logical_expr::LogicalPlan;
use functions::context::{CatalogLookup, SessionSettings};
use query::context::StatementContext;
use rpc::locks::LockWait;

use super::rows::locks;
use super::sizes::{self, Sizes};
use super::{call, names, objects, roles, rows};
use crate::coordinator::{ConnectedSession, Coordinator};
use crate::schema_view::SchemaView;
use crate::sequences::{SequenceMemory, SequenceReader};
use crate::session::Session;
use crate::session_locks::SessionLocks;
use crate::settings::Settings;

/// A session's view of the catalog while one statement runs.
pub struct SystemContext {
    pub(super) catalog: Arc<CatalogState>,
    pub(super) settings: SessionSettings,
    pub(super) parameters: Settings,
    /// The transaction must not write.
    pub(super) read_only: bool,
    /// What `set_config` sets; see [`Session::set_by_functions`].
    pub(super) set_by_functions: Arc<parking_lot::Mutex<Vec<(String, String)>>>,
    /// Whether the statement runs in a block that the client has opened.
    pub(super) is_in_block: bool,
    /// None in a test that has no cluster.
    pub(super) coordinator: Option<Arc<Coordinator>>,
    pub(super) sequences: Arc<SequenceMemory>,
    /// What was asked of the workers before the statement's plan, for functions such as `pg_relation_size`.
    pub(super) sizes: OnceLock<Sizes>,
    /// The session's advisory locks, and how it waits for more of them.
    locks: Option<Arc<SessionLocks>>,
    wait: LockWait,
}

impl SystemContext {
    /// The context of a statement that was bound against `view`.
    pub fn new(session: &Session, view: &SchemaView) -> Self {
        Self {
            catalog: Arc::clone(view.state()),
            settings: session.expression_settings(),
            parameters: session.shown_settings(),
            read_only: session.modes().read_only,
            set_by_functions: Arc::clone(&session.set_by_functions),
            is_in_block: session.transaction.is_explicit(),
            coordinator: Some(Arc::clone(&session.coordinator)),
            sequences: Arc::clone(&session.sequences),
            sizes: OnceLock::new(),
            locks: Some(Arc::clone(&session.locks)),
            wait: session.lock_wait(),
        }
    }

    /// The context of a session without a cluster.
    #[cfg(test)]
    pub(super) fn alone(catalog: Arc<CatalogState>, settings: SessionSettings, parameters: Settings) -> Self {
        let sequences = Arc::default();
        Self {
            catalog,
            settings,
            parameters,
            read_only: false,
            set_by_functions: Arc::default(),
            is_in_block: false,
            coordinator: None,
            sequences,
            sizes: OnceLock::new(),
            locks: None,
            wait: LockWait::FOREVER,
        }
    }

    /// What must be asked of the workers before a plan is optimised: the sizes of partitions, if the plan has a function that tells them. Kernels
    /// cannot wait.
    pub async fn prepare(plan: &LogicalPlan, statement: &StatementContext) {
        let lookup = statement.lookup.as_deref().map(|lookup| lookup as &dyn Any);
        let Some(context) = lookup.and_then(|lookup| lookup.downcast_ref::<Self>()) else { return };
        let Some(coordinator) = &context.coordinator else { return };
        if sizes::are_asked_for(plan) {
            let sizes = Sizes::ask(&context.catalog, &coordinator.directory).await;
            // It is set at most once for each statement.
            let _ = context.sizes.set(sizes);
        }
    }

    /// The sequences as the statement sees them.
    pub(super) fn sequence_reader(&self) -> Result<SequenceReader, Report> {
        let coordinator = self.coordinator.as_ref().ok_or_else(|| Report::internal("sequences are asked outside of a coordinator"))?;
        Ok(SequenceReader { coordinator: Arc::clone(coordinator), memory: Arc::clone(&self.sequences), state: Arc::clone(&self.catalog) })
    }

    /// The connected clients.
    pub(super) fn connected(&self) -> Vec<Arc<ConnectedSession>> {
        self.coordinator.as_ref().map(|c| c.connected()).unwrap_or_default()
    }

    /// The schemas that unqualified names are looked up in: pg_catalog comes first unless it is named.
    pub(super) fn search_path(&self) -> Vec<&str> {
        let named = self.settings.search_path.iter().map(String::as_str);
        let first = if self.settings.search_path.iter().any(|s| s == "pg_catalog") { None } else { Some("pg_catalog") };
        first.into_iter().chain(named).collect()
    }

    fn relation_in(&self, schema: &str, name: &str) -> Option<Oid> {
        self.catalog.relation_named(schema, name).or_else(|| super::oid_of(&self.catalog, schema, name))
    }

    /// The relation that a name means.
    pub(super) fn relation_by_name(&self, text: &str) -> Result<Option<Oid>, Report> {
        let parts = names::split(text)?;
        Ok(match parts.as_slice() {
            [name] => self.search_path().into_iter().find_map(|schema| self.relation_in(schema, name)),
            [schema, name] => self.relation_in(schema, name),
            [database, schema, name] if *database == *self.settings.database => self.relation_in(schema, name),
            _ => {
                let message = format!("cross-database references are not implemented: {text}");
                return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
        })
    }

    /// Whether a bare name finds the relation; `None` when there is no such relation.
    pub(super) fn is_relation_visible(&self, oid: Oid) -> Option<bool> {
        let (name, _) = objects::by_oid(&self.catalog, oid)?;
        Some(self.search_path().into_iter().find_map(|schema| self.relation_in(schema, &name)) == Some(oid))
    }

    /// The type that a user made, or an array of it, of a name.
    fn user_type_by_name(&self, text: &str) -> Result<Option<Oid>, Report> {
        let (base, is_array) = text.strip_suffix("[]").map_or((text, false), |base| (base, true));
        let parts = names::split(base)?;
        let types = self.catalog.user_types();
        let found = match parts.as_slice() {
            [name] => types.found(&self.settings.search_path, name),
            [schema, name] => types.named(schema, name),
            _ => None,
        };
        Ok(found.map(|ty| if is_array { ty.array_oid } else { ty.oid }))
    }

    /// A type that a user made, by its oid or by its array's; whether it is the array's.
    fn user_type(&self, oid: Oid) -> Option<(&Arc<UserType>, bool)> {
        let found = self.catalog.all_user_types().find(|ty| ty.oid == oid || ty.array_oid == oid)?;
        Some((found, found.array_oid == oid))
    }

    fn is_user_type_visible(&self, oid: Oid) -> Option<bool> {
        let (ty, _) = self.user_type(oid)?;
        let found = self.catalog.user_types().found(&self.settings.search_path, &ty.name);
        Some(found.is_some_and(|found| found.oid == ty.oid))
    }

    /// The name of a type that a user made, as `format_type` prints it.
    pub(super) fn user_type_name(&self, oid: Oid) -> Option<String> {
        let (ty, is_array) = self.user_type(oid)?;
        let mut name = if self.is_user_type_visible(oid)? {
            names::quoted(&ty.name)
        } else {
            names::qualified(objects::schema_name(&self.catalog, ty.schema)?, &ty.name)
        };
        if is_array {
            name.push_str("[]");
        }
        Some(name)
    }

    pub(super) fn relation_name(&self, oid: Oid) -> Option<String> {
        let (name, schema) = objects::by_oid(&self.catalog, oid)?;
        if self.is_relation_visible(oid)? {
            return Some(names::quoted(&name));
        }
        Some(names::qualified(objects::schema_name(&self.catalog, schema)?, &name))
    }
}

#[async_trait]
impl CatalogLookup for SystemContext {
    fn object_by_name(&self, kind: Scalar, name: &str) -> Result<Option<u32>, Report> {
        let single = || names::split(name).map(|mut parts| if parts.len() == 1 { parts.pop() } else { None });
        let found = match kind {
            Scalar::Regclass => self.relation_by_name(name)?,
            Scalar::Regnamespace => single()?.and_then(|name| objects::schema_oid(&self.catalog, &name)),
            Scalar::Regrole => single()?.filter(|name| roles::roles(self).contains(name)).map(|name| roles::role_oid(&name)),
            Scalar::Regproc => rows::functions::by_name(name)?,
            Scalar::Regtype => match name.strip_prefix("pg_catalog.").and_then(types::text_input::type_by_name) {
                Some(ty) => Some(ty.oid()),
                None => self.user_type_by_name(name)?,
            },
            _ => None,
        };
        Ok(found.map(|oid| oid.0))
    }

    fn object_name(&self, kind: Scalar, oid: u32) -> Option<String> {
        let oid = Oid(oid);
        match kind {
            Scalar::Regclass => self.relation_name(oid),
            Scalar::Regnamespace => objects::schema_name(&self.catalog, oid).map(names::quoted),
            Scalar::Regrole => roles::role_name(self, oid).map(|name| names::quoted(&name)),
            Scalar::Regtype => self.user_type_name(oid),
            Scalar::Regproc => rows::functions::name(oid).map(str::to_owned),
            _ => None,
        }
    }

    fn is_visible(&self, kind: Scalar, oid: u32) -> Option<bool> {
        let oid = Oid(oid);
        match kind {
            Scalar::Regclass => self.is_relation_visible(oid),
            Scalar::Regtype => match super::pg_type::by_oid(oid) {
                Some(_) => Some(true),
                None => self.is_user_type_visible(oid),
            },
            Scalar::Regproc => rows::functions::name(oid).map(|_| true),
            _ => None,
        }
    }

    fn call(&self, name: &str, args: &[Datum]) -> Result<Datum, Report> {
        call::call(self, name, args)
    }

    async fn ask(&self, name: &str, args: &[Datum]) -> Result<Datum, Report> {
        let Some((coordinator, session)) = self.coordinator.as_ref().zip(self.locks.as_ref()) else {
            return Err(Report::unsupported(format!("function {name}()")));
        };
        match (name, args) {
            ("pg_blocking_pids", [Datum::Int4(pid)]) => Ok(locks::blocking_pids(coordinator, *pid).await),
            _ => session.call(name, args, self.wait).await,
        }
    }
}

impl std::fmt::Debug for SystemContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemContext").field("catalog_version", &self.catalog.version()).finish_non_exhaustive()
    }
}
