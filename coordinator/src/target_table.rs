//! All that writing to a table needs, computed once for each catalog version: where columns stand in the stored row, how the key is made, which
//! constraints are checked, which synchronous index entries go along.
//!
//! A *visible row* has one value for each column that `*` shows; a *stored row* has one for each column that the table ever had, plus the hidden
//! row id of a table without a primary key.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use catalog::objects::{Enforcement, Generated, Index, IndexScope, IndexState, Maintenance, PartitionMap, Table};
use catalog::state::CatalogState;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::{CatalogVersion, Oid};
use common::row;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use common::user_types::UserType;
use functions::context::SessionSettings;
use partition::bounds::Bounds;
use rpc::worker_api::{LockMode, Precondition};
use types::format_settings::FormatSettings;

use crate::row_expression::RowExpression;
use crate::write_set::{Destination, Refusal, RefusalKind, WriteSet};

/// A CHECK constraint, ready to run over visible rows.
pub struct CompiledCheck {
    pub name: String,
    pub condition: RowExpression,
}

/// A domain that a column is of, or that its domain is made over.
struct CompiledDomain {
    /// The place of the column in a visible row.
    column: usize,
    /// The column's own domain.
    name: String,
    not_null: bool,
    checks: Vec<CompiledCheck>,
}

impl CompiledDomain {
    fn new(column: usize, name: &str, ty: &UserType, settings: &SessionSettings) -> Result<Option<Self>, Report> {
        let Some(domain) = ty.domain() else { return Ok(None) };
        let mut checks = Vec::with_capacity(domain.checks.len());
        for check in &domain.checks {
            let condition = domain_condition(&check.expression, domain.base, settings)?;
            checks.push(CompiledCheck { name: check.name.clone(), condition });
        }
        Ok(Some(Self { column, name: name.to_owned(), not_null: domain.not_null, checks }))
    }

    fn check(&self, value: &Datum) -> Result<(), Report> {
        if self.not_null && value.is_null() {
            return Err(Report::new(SqlState::NOT_NULL_VIOLATION, format!("domain {} does not allow null values", self.name)));
        }
        for check in &self.checks {
            if check.condition.evaluate(&[std::slice::from_ref(value)], &[])? == Datum::Bool(false) {
                let message = format!("value for domain {} violates check constraint \"{}\"", self.name, check.name);
                let mut report = Report::new(SqlState::CHECK_VIOLATION, message);
                report.constraint = Some(check.name.clone());
                return Err(report);
            }
        }
        Ok(())
    }
}

/// The condition of a domain, over a row that holds the value alone.
pub(crate) fn domain_condition(text: &str, base: SqlType, settings: &SessionSettings) -> Result<RowExpression, Report> {
    let names = [(sql::domain_syntax::VALUE.to_owned(), base)];
    let expr = sql::bind_check(text, &names, settings).map_err(|e| e.report())?;
    RowExpression::compile(&expr.expr, &[("t", &[base])], &[], Scalar::Bool.into(), settings)
}

/// A synchronous global index: its entries are written with the row.
pub struct SyncIndex {
    pub index: Arc<Index>,
    pub map: Arc<PartitionMap>,
    pub bounds: Arc<Bounds>,
    /// Places of the indexed columns and of the included ones in the stored row.
    columns: Vec<usize>,
    include: Vec<usize>,
    /// Types of the entry's value: the table key, then the included columns.
    value_types: Vec<SqlType>,
}

/// A table that is written to, at one catalog version.
pub struct TargetTable {
    pub version: CatalogVersion,
    pub table: Arc<Table>,
    pub schema_name: String,
    pub map: Arc<PartitionMap>,
    pub bounds: Arc<Bounds>,
    /// For each visible column, its place in the stored row.
    pub visible: Arc<[usize]>,
    pub row_types: Arc<[SqlType]>,
    pub missing: Arc<[Datum]>,
    /// For each key column, its place in the stored row.
    pub key_places: Vec<usize>,
    pub checks: Vec<CompiledCheck>,
    domains: Vec<CompiledDomain>,
    /// (place in the visible row, what makes the value of it)
    generated: Vec<(usize, RowExpression)>,
    pub sync_indexes: Vec<SyncIndex>,
    /// The place of the hidden row id.
    pub row_id: Option<usize>,
    /// The constraint that the table's own key enforces.
    pub key_constraint: Option<Oid>,
    /// Columns of some unique key: who changes one of them locks the row against those who look at its keys.
    key_columns: BTreeSet<i16>,
}

impl TargetTable {
    /// Collects it.
    pub fn new(state: &CatalogState, table: &Arc<Table>, settings: &SessionSettings) -> Result<Self, Report> {
        let missing_map = || Report::internal(format!("table \"{}\" has no partition map", table.name));
        let map = state.partition_map(table.storage).ok_or_else(missing_map)?;
        let bounds = state.bounds(table.storage).ok_or_else(missing_map)?;
        let visible: Arc<[usize]> = table.visible_columns().map(|c| place(c.attnum)).collect();
        let names: Vec<(String, SqlType)> = table.visible_columns().map(|c| (c.name.clone(), c.ty)).collect();
        let mut checks = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let expr = sql::bind_expression(&check.expression, &names, Scalar::Bool.into(), settings).map_err(|e| e.report())?;
            let types: Vec<SqlType> = names.iter().map(|(_, ty)| *ty).collect();
            checks.push(CompiledCheck {
                name: check.name.clone(),
                condition: RowExpression::compile(&expr.expr, &[("t", &types)], &[], Scalar::Bool.into(), settings)?,
            });
        }
        let mut domains = Vec::new();
        for (at, column) in table.visible_columns().enumerate() {
            let chain = column.domain.map(|domain| state.user_types().domain_chain(domain)).unwrap_or_default();
            let Some(name) = chain.first().map(|ty| &ty.name) else { continue };
            for ty in chain.iter().rev() {
                domains.extend(CompiledDomain::new(at, name, ty, settings)?);
            }
        }
        let types: Vec<SqlType> = names.iter().map(|(_, ty)| *ty).collect();
        let mut generated = Vec::new();
        for (at, column) in table.visible_columns().enumerate().filter(|(_, c)| c.generated == Some(Generated::Stored)) {
            let text = column.default.as_deref().unwrap_or("NULL");
            let bound = sql::bind_expression(text, &names, column.ty, settings).map_err(|e| e.report())?;
            generated.push((at, RowExpression::compile(&bound.expr, &[("t", &types)], &[], column.ty, settings)?));
        }
        let mut sync_indexes = Vec::new();
        for oid in &table.indexes {
            let Some(index) = state.index(*oid) else { continue };
            if matches!(index.scope, IndexScope::Global { maintenance: Maintenance::Sync, .. }) {
                sync_indexes.push(SyncIndex::new(state, &index, table)?);
            }
        }
        let key_constraint = table.uniques.iter().find(|u| u.enforced_by == Enforcement::TableKey).map(|u| u.oid);
        let unique_indexes = table.indexes.iter().filter_map(|oid| state.index(*oid)).filter(|index| index.unique);
        let mut key_columns: BTreeSet<i16> = unique_indexes.flat_map(|i| i.columns.iter().map(|c| c.attnum).collect::<Vec<_>>()).collect();
        key_columns.extend(table.uniques.iter().flat_map(|unique| &unique.columns));
        key_columns.extend(&table.partitioning.key_columns);
        Ok(Self {
            key_columns,
            version: state.version(),
            schema_name: state.schema(table.schema).map(|s| s.name.clone()).unwrap_or_default(),
            map,
            bounds,
            visible,
            row_types: table.row_types().into(),
            missing: table.missing_values().into(),
            key_places: table.partitioning.key_columns.iter().map(|a| place(*a)).collect(),
            checks,
            domains,
            generated,
            sync_indexes,
            row_id: table.columns.iter().position(|c| c.hidden),
            key_constraint,
            table: Arc::clone(table),
        })
    }

    /// How an UPDATE locks rows whose visible columns at these places it assigns.
    pub fn lock_mode(&self, mut assigned: impl Iterator<Item = usize>) -> LockMode {
        let is_key = |at: usize| {
            let attnum = self.visible.get(at).and_then(|stored| self.table.columns.get(*stored)).map(|column| column.attnum);
            attnum.is_some_and(|attnum| self.key_columns.contains(&attnum))
        };
        if assigned.any(is_key) { LockMode::ForUpdate } else { LockMode::ForNoKeyUpdate }
    }

    /// Refuses to write to a table whose rows are being copied: the statement tries again a little later.
    pub fn refuse_closed(&self) -> Result<(), Report> {
        if !self.table.options.iter().any(|(name, _)| name == crate::ddl::REWRITING) {
            return Ok(());
        }
        let message = format!("table \"{}\" is being altered by another session", self.table.name);
        let report = Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        Err(Report { retryable: true, ..report })
    }

    /// Where the table's rows go.
    pub fn destination(&self) -> Destination<'_> {
        Destination { relation: self.table.storage, map: &self.map, bounds: &self.bounds, constraint: self.key_constraint }
    }

    /// The stored row of a visible one; `row_id` fills the hidden column.
    pub fn stored(&self, visible: Vec<Datum>, row_id: Option<i64>) -> Vec<Datum> {
        let mut stored = vec![Datum::Null; self.row_types.len()];
        for (value, &at) in visible.into_iter().zip(self.visible.iter()) {
            stored[at] = value;
        }
        if let (Some(at), Some(id)) = (self.row_id, row_id) {
            stored[at] = Datum::Int8(id);
        }
        stored
    }

    /// The visible columns of a stored row.
    pub fn visible_of(&self, stored: &[Datum]) -> Vec<Datum> {
        self.visible.iter().map(|&at| stored[at].clone()).collect()
    }

    /// The encoded key of a stored row.
    pub fn key(&self, stored: &[Datum]) -> Result<Bytes, Report> {
        let values: Vec<Datum> = self.key_places.iter().map(|&at| stored[at].clone()).collect();
        let mut key = Vec::with_capacity(32);
        self.table.partitioning.key.encode(&values, &mut key).map_err(|e| e.report())?;
        Ok(key.into())
    }

    /// The bytes of a stored row.
    pub fn encode(&self, stored: &[Datum]) -> Result<Bytes, Report> {
        let mut out = Vec::with_capacity(64);
        row::encode_row(&self.row_types, stored, &mut out).map_err(|e| e.report())?;
        Ok(out.into())
    }

    /// The values of a stored row's bytes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Datum>, Report> {
        row::decode_row(&self.row_types, &self.missing, bytes).map_err(|e| e.report())
    }

    /// Fills in the columns that are made of a visible row's others.
    pub fn generate(&self, visible: &mut [Datum]) -> Result<(), Report> {
        for (at, expression) in &self.generated {
            visible[*at] = expression.evaluate(&[visible], &[])?;
        }
        Ok(())
    }

    /// Whether a column's value is made of the row's others.
    pub fn is_generated(&self, visible: usize) -> bool {
        self.generated.iter().any(|(at, _)| *at == visible)
    }

    /// What domains demand, NOT NULL and CHECK, over a visible row.
    pub fn check(&self, visible: &[Datum], format: &FormatSettings) -> Result<(), Report> {
        for domain in &self.domains {
            domain.check(&visible[domain.column])?;
        }
        for (column, value) in self.table.visible_columns().zip(visible) {
            if column.not_null && value.is_null() {
                let mut report = Report::new(
                    SqlState::NOT_NULL_VIOLATION,
                    format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", column.name, self.table.name),
                )
                .with_detail(self.failing_row(visible, format));
                report.column = Some(column.name.clone());
                return Err(self.named(report, None));
            }
        }
        for check in &self.checks {
            if check.condition.evaluate(&[visible], &[])? == Datum::Bool(false) {
                let report = Report::new(
                    SqlState::CHECK_VIOLATION,
                    format!("new row for relation \"{}\" violates check constraint \"{}\"", self.table.name, check.name),
                )
                .with_detail(self.failing_row(visible, format));
                return Err(self.named(report, Some(&check.name)));
            }
        }
        Ok(())
    }

    fn failing_row(&self, visible: &[Datum], format: &FormatSettings) -> String {
        /// PostgreSQL shows this many bytes of a value.
        const SHOWN_MAX: usize = 64;
        let shown = self.table.visible_columns().zip(visible).map(|(column, value)| {
            if value.is_null() {
                return "null".to_owned();
            }
            let text = types::text_output::to_text(value, column.ty, format);
            match text.char_indices().nth(SHOWN_MAX) {
                Some((cut, _)) => format!("{}...", &text[..cut]),
                None => text,
            }
        });
        format!("Failing row contains ({}).", shown.collect::<Vec<_>>().join(", "))
    }

    fn named(&self, mut report: Report, constraint: Option<&str>) -> Report {
        report.schema = Some(self.schema_name.clone());
        report.table = Some(self.table.name.clone());
        report.constraint = constraint.map(str::to_owned);
        report
    }

    /// Adds a new row and its synchronous index entries.
    pub fn add_insert(&self, writes: &mut WriteSet, key: Bytes, stored: &[Datum]) -> Result<(), Report> {
        let row = self.encode(stored)?;
        for index in &self.sync_indexes {
            let (entry, value) = index.entry(stored, &key)?;
            writes.add(index.destination(), entry, Some(value), index.precondition(stored));
        }
        writes.add(self.destination(), key, Some(row), Precondition::Absent);
        Ok(())
    }

    /// Adds the removal of a row and of its synchronous index entries.
    pub fn add_delete(&self, writes: &mut WriteSet, key: Bytes, old: &[Datum], precondition: Precondition) -> Result<(), Report> {
        for index in &self.sync_indexes {
            let (entry, _) = index.entry(old, &key)?;
            writes.add(index.destination(), entry, None, Precondition::None);
        }
        writes.add(self.destination(), key, None, precondition);
        Ok(())
    }

    /// Adds the change of a row: in place, or from one key to another.
    pub fn add_update(
        &self,
        writes: &mut WriteSet,
        key: Bytes,
        old: &[Datum],
        new: &[Datum],
        precondition: Precondition,
    ) -> Result<(), Report> {
        let new_key = self.key(new)?;
        if new_key != key {
            self.add_delete(writes, key, old, precondition)?;
            return self.add_insert(writes, new_key, new);
        }
        for index in &self.sync_indexes {
            let (before, before_value) = index.entry(old, &key)?;
            let (after, after_value) = index.entry(new, &key)?;
            if before == after {
                if before_value != after_value {
                    writes.add(index.destination(), after, Some(after_value), Precondition::None);
                }
                continue;
            }
            writes.add(index.destination(), before, None, Precondition::None);
            writes.add(index.destination(), after, Some(after_value), index.precondition(new));
        }
        writes.add(self.destination(), key, Some(self.encode(new)?), precondition);
        Ok(())
    }

    /// The error of a refused write that is a duplicate; `None` when the row merely changed. `state` names indexes without a constraint.
    pub fn duplicate_error(&self, refusal: &Refusal, state: &CatalogState, format: &FormatSettings) -> Option<Report> {
        let RefusalKind::Duplicate { constraint, .. } = &refusal.kind else { return None };
        let by_index = self.sync_indexes.iter().find(|i| i.index.storage == refusal.relation).map(|i| i.index.oid);
        let named = by_index.or(*constraint);
        let unique = named.and_then(|oid| self.table.uniques.iter().find(|u| u.oid == oid || u.enforced_by == Enforcement::Index(oid)));
        let index = named.and_then(|oid| state.index(oid));
        let (name, columns) = match (unique, &index) {
            (Some(unique), _) => (unique.name.clone(), unique.columns.clone()),
            (None, Some(index)) => (index.name.clone(), index.columns.iter().map(|c| c.attnum).collect()),
            (None, None) => (format!("{}_pkey", self.table.name), self.table.partitioning.key_columns.clone()),
        };
        let report = Report::new(SqlState::UNIQUE_VIOLATION, format!("duplicate key value violates unique constraint \"{name}\""));
        let report = match self.key_detail(refusal, &columns, index.as_deref(), format) {
            Some(detail) => report.with_detail(detail),
            None => report,
        };
        Some(self.named(report, Some(&name)))
    }

    /// `Key (a, b)=(1, x) already exists.`, as far as the refused key tells the columns.
    fn key_detail(&self, refusal: &Refusal, columns: &[i16], index: Option<&Index>, format: &FormatSettings) -> Option<String> {
        let (schema, attnums): (_, Vec<i16>) = match index {
            Some(index) if index.storage == refusal.relation => match &index.scope {
                IndexScope::Global { partitioning, .. } => (&partitioning.key, index.columns.iter().map(|c| c.attnum).collect()),
                IndexScope::Local => return None,
            },
            _ if refusal.relation == self.table.storage => (&self.table.partitioning.key, self.table.partitioning.key_columns.clone()),
            _ => return None,
        };
        let (values, _) = schema.decode(&refusal.key);
        let shown: Option<Vec<String>> = columns
            .iter()
            .map(|attnum| {
                let at = attnums.iter().position(|a| a == attnum)?;
                let ty = self.table.column(*attnum)?.ty;
                Some(types::text_output::to_text(values.get(at)?, ty, format))
            })
            .collect();
        let names: Vec<&str> = columns.iter().filter_map(|a| self.table.column(*a)).map(|c| c.name.as_str()).collect();
        Some(format!("Key ({})=({}) already exists.", names.join(", "), shown?.join(", ")))
    }
}

impl SyncIndex {
    /// Collects what writing entries needs.
    pub fn new(state: &CatalogState, index: &Arc<Index>, table: &Table) -> Result<Self, Report> {
        let missing_map = || Report::internal(format!("index \"{}\" has no partition map", index.name));
        let include: Vec<usize> = index.include.iter().map(|a| place(*a)).collect();
        let mut value_types = vec![Scalar::Bytea.into()];
        value_types.extend(include.iter().map(|&at| table.columns[at].ty));
        Ok(Self {
            map: state.partition_map(index.storage).ok_or_else(missing_map)?,
            bounds: state.bounds(index.storage).ok_or_else(missing_map)?,
            columns: index.columns.iter().map(|c| place(c.attnum)).collect(),
            include,
            value_types,
            index: Arc::clone(index),
        })
    }

    /// Whether it may be read.
    pub fn is_ready(&self) -> bool {
        self.index.state == IndexState::Ready
    }

    pub(crate) fn destination(&self) -> Destination<'_> {
        Destination { relation: self.index.storage, map: &self.map, bounds: &self.bounds, constraint: Some(self.index.oid) }
    }

    /// A unique index refuses a second entry, unless one of the columns is NULL.
    pub(crate) fn precondition(&self, stored: &[Datum]) -> Precondition {
        if self.is_unique_for(stored) { Precondition::Absent } else { Precondition::None }
    }

    fn is_unique_for(&self, stored: &[Datum]) -> bool {
        self.index.unique && !self.columns.iter().any(|&at| stored[at].is_null())
    }

    /// The table key in an entry's value.
    pub(crate) fn table_key(&self, value: &[u8]) -> Result<Bytes, Report> {
        let values = row::decode_row(&self.value_types, &[], value).map_err(|e| e.report())?;
        match values.into_iter().next() {
            Some(Datum::Bytea(key)) => Ok(key),
            _ => Err(Report::internal("an index entry has no table key")),
        }
    }

    /// The key and value of a stored row's entry.
    pub(crate) fn entry(&self, stored: &[Datum], table_key: &Bytes) -> Result<(Bytes, Bytes), Report> {
        let values: Vec<Datum> = self.columns.iter().map(|&at| stored[at].clone()).collect();
        let key_schema = match &self.index.scope {
            IndexScope::Global { partitioning, .. } => &partitioning.key,
            IndexScope::Local => &self.index.key,
        };
        let mut key = Vec::with_capacity(48);
        key_schema.encode(&values, &mut key).map_err(|e| e.report())?;
        if !self.is_unique_for(stored) {
            key.extend_from_slice(table_key);
        }
        let mut value = vec![Datum::Bytea(table_key.clone())];
        value.extend(self.include.iter().map(|&at| stored[at].clone()));
        let mut out = Vec::with_capacity(32);
        row::encode_row(&self.value_types, &value, &mut out).map_err(|e| e.report())?;
        Ok((key.into(), out.into()))
    }
}

/// A column's place in the stored row.
pub fn place(attnum: i16) -> usize {
    usize::try_from(attnum).unwrap_or(1).saturating_sub(1)
}
