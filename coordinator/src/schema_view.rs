//! The binder's view of one catalog state, and everything else that is computed once for each catalog version.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use catalog::objects::{Enforcement, Generated, Table, View};
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::Oid;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use functions::context::SessionSettings;
use parking_lot::Mutex;
use query::table::PartitaTable;
use sql::schema::{CatalogView, ColumnInfo, RelationInfo, RelationKind, UniqueKey, ViewInfo, ViewUse};

use crate::system_views;
use crate::target_table::TargetTable;

/// One catalog state as the coordinator uses it.
pub struct SchemaView {
    state: Arc<CatalogState>,
    number: u64,
    relations: Mutex<HashMap<Oid, Arc<RelationInfo>>>,
    system: Mutex<HashMap<(String, String), Arc<RelationInfo>>>,
    targets: Mutex<HashMap<Oid, Arc<TargetTable>>>,
}

impl SchemaView {
    /// A view of a state.
    pub fn new(state: Arc<CatalogState>) -> Self {
        Self::private(state, 0)
    }

    /// A view of a state that one session alone sees, with a number of its own.
    pub fn private(state: Arc<CatalogState>, number: u64) -> Self {
        Self { state, number, relations: Mutex::default(), system: Mutex::default(), targets: Mutex::default() }
    }

    /// 0 for what everybody sees; what is bound against another view is of no use to anybody else.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The state.
    pub fn state(&self) -> &Arc<CatalogState> {
        &self.state
    }

    /// What writing to a table needs; `None` when there is no such table.
    pub fn target_table(&self, oid: Oid, settings: &SessionSettings) -> Result<Option<Arc<TargetTable>>, Report> {
        if let Some(found) = self.targets.lock().get(&oid) {
            return Ok(Some(Arc::clone(found)));
        }
        let Some(table) = self.state.table(oid) else { return Ok(None) };
        let target = Arc::new(TargetTable::new(&self.state, &table, settings)?);
        self.targets.lock().insert(oid, Arc::clone(&target));
        Ok(Some(target))
    }

    /// The default that a domain, or the nearest that it is made over, gives.
    fn domain_default(&self, domain: Oid) -> Option<String> {
        let types = self.state.user_types();
        types.domain_chain(domain).into_iter().find_map(|ty| ty.domain()?.default.clone())
    }

    /// What SQL sees of a table.
    fn table_info(&self, table: &Arc<Table>, schema: &str) -> Arc<RelationInfo> {
        if let Some(found) = self.relations.lock().get(&table.oid) {
            return Arc::clone(found);
        }
        let columns = table.visible_columns().map(|c| ColumnInfo {
            name: c.name.clone(),
            ty: c.ty,
            not_null: c.not_null,
            attnum: c.attnum,
            // What is made of the row's other columns is made when the row is written.
            default: c.default.clone().filter(|_| c.generated != Some(Generated::Stored)).or_else(|| self.domain_default(c.domain?)),
            generated: c.generated.map(|generated| match generated {
                Generated::Stored => sql::schema::Generated::Stored,
                Generated::IdentityAlways => sql::schema::Generated::IdentityAlways,
                Generated::IdentityByDefault => sql::schema::Generated::IdentityByDefault,
            }),
        });
        let unique_keys = table.uniques.iter().map(|u| UniqueKey {
            oid: match u.enforced_by {
                Enforcement::TableKey => u.oid,
                Enforcement::Index(index) => index,
            },
            name: u.name.clone(),
            is_primary: u.is_primary,
            attnums: u.columns.clone(),
        });
        let by_constraint: Vec<Oid> = table
            .uniques
            .iter()
            .filter_map(|u| match u.enforced_by {
                Enforcement::Index(index) => Some(index),
                Enforcement::TableKey => None,
            })
            .collect();
        let unique_indexes =
            table.indexes.iter().filter_map(|oid| self.state.index(*oid)).filter(|i| i.unique && !by_constraint.contains(&i.oid)).map(
                |i| UniqueKey {
                    oid: i.oid,
                    name: i.name.clone(),
                    is_primary: false,
                    attnums: i.columns.iter().map(|c| c.attnum).collect(),
                },
            );
        let info = Arc::new(RelationInfo {
            oid: table.oid,
            schema: schema.to_owned(),
            name: table.name.clone(),
            kind: RelationKind::Table,
            columns: columns.collect(),
            unique_keys: unique_keys.chain(unique_indexes).collect(),
            checks: table.checks.iter().map(|c| (c.name.clone(), c.expression.clone())).collect(),
            view: None,
            source: PartitaTable::source(&self.state, table),
        });
        self.relations.lock().insert(table.oid, Arc::clone(&info));
        info
    }
}

/// What SQL sees of a view.
fn view_info(view: &View, schema: &str) -> RelationInfo {
    let columns: Vec<ColumnInfo> = view
        .columns
        .iter()
        .zip(1..)
        .map(|((name, ty), attnum)| ColumnInfo { name: name.clone(), ty: *ty, not_null: false, attnum, default: None, generated: None })
        .collect();
    let uses = view.query.uses.iter().map(|u| ViewUse { relation: u.relation, name: u.name.clone(), columns: u.columns.clone() });
    let fields: Vec<Field> = view.columns.iter().map(|(name, ty)| Field::new(name, ty.arrow(), true)).collect();
    RelationInfo {
        oid: view.oid,
        schema: schema.to_owned(),
        name: view.name.clone(),
        kind: RelationKind::View,
        columns,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        view: Some(Arc::new(ViewInfo { query: view.query.text.clone(), uses: uses.collect() })),
        // Nobody scans it: its query stands in its place.
        source: provider_as_source(Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))))),
    }
}

impl CatalogView for SchemaView {
    fn relation(&self, schema: &str, name: &str) -> Option<Arc<RelationInfo>> {
        if let Some(table) = self.state.table_named(schema, name) {
            return Some(self.table_info(&table, schema));
        }
        if let Some(sequence) = self.state.sequence_named(schema, name) {
            return Some(Arc::new(system_views::sequence_relation(&sequence, schema)));
        }
        if let Some(view) = self.state.view_named(schema, name) {
            return Some(Arc::new(view_info(&view, schema)));
        }
        let key = (schema.to_owned(), name.to_owned());
        if let Some(found) = self.system.lock().get(&key) {
            return Some(Arc::clone(found));
        }
        let info = Arc::new(system_views::relation(schema, name)?);
        self.system.lock().insert(key, Arc::clone(&info));
        Some(info)
    }

    fn schema_exists(&self, schema: &str) -> bool {
        self.state.schema_named(schema).is_some() || system_views::schema_exists(schema)
    }

    fn relation_by_oid(&self, oid: Oid) -> Option<(String, String)> {
        let named = |schema: Oid, name: &str| Some((self.state.schema(schema)?.name.clone(), name.to_owned()));
        if let Some(table) = self.state.table(oid) {
            return named(table.schema, &table.name);
        }
        if let Some(index) = self.state.index(oid) {
            return named(index.schema, &index.name);
        }
        if let Some(sequence) = self.state.sequence(oid) {
            return named(sequence.schema, &sequence.name);
        }
        if let Some(view) = self.state.view(oid) {
            return named(view.schema, &view.name);
        }
        system_views::name_of(&self.state, oid)
    }

    fn relation_oid(&self, schema: &str, name: &str) -> Option<Oid> {
        if let Some(oid) = self.state.relation_named(schema, name) {
            return Some(oid);
        }
        system_views::oid_of(&self.state, schema, name)
    }
}
