//! The system views: pg_catalog, information_schema, partita.

use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::types::Scalar;
use functions::context::CatalogLookup;
use sql::schema::RelationInfo;

use crate::session::Session;

/// A system view by name.
pub fn relation(_schema: &str, _name: &str) -> Option<RelationInfo> {
    None
}

/// Schema and name of a system view.
pub fn name_of(_oid: Oid) -> Option<(String, String)> {
    None
}

/// The oid of a system view.
pub fn oid_of(_schema: &str, _name: &str) -> Option<Oid> {
    None
}

/// What functions may ask of the catalog for one statement.
#[derive(Debug)]
pub struct SystemContext;

impl SystemContext {
    /// For a statement of this session.
    pub fn new(_session: &Session) -> Self {
        Self
    }
}

impl CatalogLookup for SystemContext {
    fn object_by_name(&self, _kind: Scalar, _name: &str) -> Result<Option<u32>, Report> {
        Ok(None)
    }

    fn object_name(&self, _kind: Scalar, _oid: u32) -> Option<String> {
        None
    }

    fn is_visible(&self, _kind: Scalar, _oid: u32) -> Option<bool> {
        None
    }

    fn call(&self, name: &str, _args: &[Datum]) -> Result<Datum, Report> {
        Err(Report::unsupported(name))
    }
}
