//! What the binder asks of a catalog.

use std::sync::Arc;

use common::ids::Oid;
use common::types::SqlType;
use datafusion::logical_expr::TableSource;

/// A column of a relation, as SQL sees it.
#[derive(Clone, Debug)]
pub struct ColumnInfo {
    pub name: String,
    pub ty: SqlType,
    pub not_null: bool,
    pub attnum: i16,
    /// SQL text of the default; for an identity column, of what asks its sequence.
    pub default: Option<String>,
    pub generated: Option<Generated>,
}

/// How a column's value is made when none is given, or always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generated {
    /// From the row's other columns, when the row is written.
    Stored,
    IdentityAlways,
    IdentityByDefault,
}

/// What kind of relation a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelationKind {
    Table,
    /// Rows come from somewhere else (pg_catalog, information_schema, partita); it cannot be written.
    SystemView,
    /// The one row that tells where a sequence stands.
    Sequence,
    /// A query under a name.
    View,
}

/// A relation that a view reads: its name and its columns' names inside of the view.
#[derive(Clone, Debug)]
pub struct ViewUse {
    pub relation: Oid,
    pub name: String,
    pub columns: Vec<(i16, String)>,
}

/// What a view shows.
#[derive(Clone, Debug)]
pub struct ViewInfo {
    /// SQL text; a relation in it is named by its oid behind [`RELATION_REFERENCE`].
    pub query: String,
    pub uses: Vec<ViewUse>,
}

/// Begins an identifier that names a relation by its oid: only views' texts have them.
pub const RELATION_REFERENCE: char = '\u{1}';

/// A unique key of a table: what ON CONFLICT may name.
#[derive(Clone, Debug)]
pub struct UniqueKey {
    /// The constraint's or index's oid.
    pub oid: Oid,
    pub name: String,
    pub is_primary: bool,
    pub attnums: Vec<i16>,
}

/// A relation in the FROM clause or the target of a change.
#[derive(Clone)]
pub struct RelationInfo {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// The visible columns, in order.
    pub columns: Vec<ColumnInfo>,
    pub unique_keys: Vec<UniqueKey>,
    /// (name, SQL text) of the CHECK constraints.
    pub checks: Vec<(String, String)>,
    /// Of a view.
    pub view: Option<Arc<ViewInfo>>,
    /// The provider. Its schema has the visible columns under their names, in order; a table's has two more at the end:
    /// [`ROW_KEY`] (Binary: the row's encoded key) and [`ROW_VERSION`] (UInt64: the commit timestamp that wrote it); a system view's has
    /// [`TABLE_OID`] (UInt32).
    pub source: Arc<dyn TableSource>,
}

pub use common::row::{ROW_KEY, ROW_VERSION};

/// The hidden column with the oid of the system view that a row is from.
pub const TABLE_OID: &str = "tableoid";

/// A catalog at one version.
pub trait CatalogView: Send + Sync {
    /// The relation of that name in that schema.
    fn relation(&self, schema: &str, name: &str) -> Option<Arc<RelationInfo>>;
    /// Whether a schema of that name exists.
    fn schema_exists(&self, schema: &str) -> bool;
    /// The name of a relation (schema, name) by oid: for regclass and error messages.
    fn relation_by_oid(&self, oid: Oid) -> Option<(String, String)>;
    /// The oid of a relation or index of that name in that schema: for regclass.
    fn relation_oid(&self, schema: &str, name: &str) -> Option<Oid>;
}

/// A catalog without any relation: for expressions that stand for themselves.
pub(crate) struct NoCatalog;

impl CatalogView for NoCatalog {
    fn relation(&self, _schema: &str, _name: &str) -> Option<Arc<RelationInfo>> {
        None
    }

    fn schema_exists(&self, _schema: &str) -> bool {
        false
    }

    fn relation_by_oid(&self, _oid: Oid) -> Option<(String, String)> {
        None
    }

    fn relation_oid(&self, _schema: &str, _name: &str) -> Option<Oid> {
        None
    }
}
