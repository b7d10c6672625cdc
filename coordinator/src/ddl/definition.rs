//! What a table definition consists of, worked out from its syntax tree.

use std::sync::Arc;

use bytes::Bytes;
use catalog::objects::{
    Check, Column, Enforcement, Generated, Index, IndexColumn, IndexScope, IndexState, Maintenance, PartitionMap, PartitionMethod,
    PartitionPolicy, Partitioning, Sequence, Table, UniqueConstraint,
};
use catalog::placement;
use catalog::state::CatalogState;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use functions::context::SessionSettings;
use partition::hash::{HASH_VALUES, hash_split_points};
use partition::key::{KeyColumn, KeySchema};
use sql::bind::type_name::{NamedType, named_type};
use sql::object_syntax::{SequenceOptions, of_parser_options};
use sql::partition_clause::{Method, PartitionClause};
use sqlparser::ast::{ColumnDef, ColumnOption, ColumnOptionDef, Expr, GeneratedAs, Ident, IndexColumn as IndexColumnTree, TableConstraint};

use super::sequence::OwnedSequence;
use super::stored_expression::{self, stored_text};
use super::{Ids, Surroundings, folded};
use crate::row_expression::RowExpression;

/// The name of the hidden row id of tables without a primary key.
const ROW_ID: &str = "\u{1}row_id";
/// PostgreSQL's limit.
const COLUMNS_MAX: usize = 1_600;

/// A key or uniqueness constraint as written.
#[derive(Clone, Debug)]
pub(super) struct UniqueDraft {
    pub(super) name: Option<String>,
    pub(super) is_primary: bool,
    pub(super) columns: Vec<String>,
}

/// A table as written.
#[derive(Debug, Default)]
pub(super) struct TableDraft {
    pub(super) columns: Vec<Column>,
    pub(super) uniques: Vec<UniqueDraft>,
    /// (name, SQL text)
    pub(super) checks: Vec<(Option<String>, String)>,
    pub(super) sequences: Vec<OwnedSequence>,
    /// Columns that are declared to be NULL.
    pub(super) nulls: Vec<String>,
}

/// How a relation is to be cut, from the clause and the options.
#[derive(Debug, Default)]
pub(super) struct PartitionWish<'a> {
    pub(super) clause: Option<&'a PartitionClause>,
    pub(super) partitions: Option<u32>,
    pub(super) policy: Option<PartitionPolicy>,
    pub(super) colocate_with: Option<Arc<Table>>,
}

/// A table ready to be proposed, with its indexes and maps.
#[derive(Debug)]
pub(super) struct NewTable {
    pub(super) table: Table,
    pub(super) indexes: Vec<Index>,
    pub(super) maps: Vec<PartitionMap>,
    pub(super) sequences: Vec<Sequence>,
}

impl TableDraft {
    /// Adds a column with its own constraints.
    pub(super) fn add_column(&mut self, tree: &ColumnDef, table: &str, around: &Surroundings) -> Result<(), Report> {
        let name = folded(&tree.name);
        if self.columns.iter().any(|c| c.name == name && !c.dropped) {
            return Err(Report::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        refuse_system_name(&name)?;
        if self.columns.len() >= COLUMNS_MAX {
            return Err(Report::new(SqlState::TOO_MANY_COLUMNS, format!("tables can have at most {COLUMNS_MAX} columns")));
        }
        let serial = serial_type(&tree.data_type);
        let named = match serial {
            Some(ty) => NamedType { ty, domain: None },
            None => named_type(&tree.data_type, &around.settings).map_err(|e| e.report())?,
        };
        let ty = named.ty;
        let mut column = Column {
            attnum: attnum(self.columns.len())?,
            name: name.clone(),
            ty,
            not_null: serial.is_some(),
            default: None,
            missing: Datum::Null,
            dropped: false,
            hidden: false,
            domain: named.domain.map(|domain| domain.oid),
            generated: None,
        };
        if serial.is_some() {
            self.sequences.push(OwnedSequence { column: name.clone(), ty, options: SequenceOptions::default(), is_identity: false });
        }
        for option in &tree.options {
            self.column_option(&mut column, option, table, around)?;
        }
        if serial.is_some() && (column.default.is_some() || column.generated.is_some()) {
            let message = format!("multiple default values specified for column \"{name}\" of table \"{table}\"");
            return Err(Report::new(SqlState::SYNTAX_ERROR, message));
        }
        self.columns.push(column);
        Ok(())
    }

    fn column_option(&mut self, column: &mut Column, tree: &ColumnOptionDef, table: &str, around: &Surroundings) -> Result<(), Report> {
        let constraint = tree.name.as_ref().map(folded);
        let name = column.name.clone();
        match &tree.option {
            ColumnOption::Null if column.not_null => return Err(conflicting_null(&name, table)),
            ColumnOption::Null => self.nulls.push(name),
            ColumnOption::NotNull if self.nulls.contains(&name) => return Err(conflicting_null(&name, table)),
            ColumnOption::NotNull => column.not_null = true,
            ColumnOption::Default(expr) => {
                refuse_second(column, Second::Default, table)?;
                column.default = Some(default_text(expr, column, around)?);
            }
            ColumnOption::PrimaryKey(_) => {
                self.uniques.push(UniqueDraft { name: constraint, is_primary: true, columns: vec![name] });
            }
            ColumnOption::Unique(_) => {
                self.uniques.push(UniqueDraft { name: constraint, is_primary: false, columns: vec![name] });
            }
            ColumnOption::Check(check) => {
                let called = constraint.or_else(|| check.name.as_ref().map(folded));
                self.checks.push((called, check.expr.to_string()));
            }
            ColumnOption::Collation(collation) if is_c_collation(&collation.to_string()) => {}
            ColumnOption::Collation(collation) => return Err(Report::unsupported(format!("collation {collation}"))),
            ColumnOption::ForeignKey(_) => return Err(Report::unsupported("FOREIGN KEY")),
            ColumnOption::Generated { generation_expr: Some(expr), .. } => {
                refuse_second(column, Second::Generated, table)?;
                column.generated = Some(Generated::Stored);
                // Bound when all columns are known.
                column.default = Some(expr.to_string());
            }
            ColumnOption::Generated { generated_as, sequence_options, .. } => {
                refuse_second(column, Second::Identity, table)?;
                if column.ty.is_array || !matches!(column.ty.scalar, Scalar::Int2 | Scalar::Int4 | Scalar::Int8) {
                    let message = "identity column type must be smallint, integer, or bigint";
                    return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
                let options = of_parser_options(sequence_options.as_deref().unwrap_or_default());
                column.not_null = true;
                column.generated = Some(match generated_as {
                    GeneratedAs::Always => Generated::IdentityAlways,
                    GeneratedAs::ByDefault | GeneratedAs::ExpStored => Generated::IdentityByDefault,
                });
                self.sequences.push(OwnedSequence { column: name, ty: column.ty, options, is_identity: true });
            }
            other => return Err(Report::unsupported(format!("the column option {other}"))),
        }
        Ok(())
    }

    /// Adds a table constraint.
    pub(super) fn add_constraint(&mut self, tree: &TableConstraint) -> Result<(), Report> {
        match tree {
            TableConstraint::PrimaryKey(key) => {
                let columns = plain_columns(&key.columns)?;
                self.uniques.push(UniqueDraft { name: key.name.as_ref().map(folded), is_primary: true, columns });
            }
            TableConstraint::Unique(unique) => {
                let columns = plain_columns(&unique.columns)?;
                self.uniques.push(UniqueDraft { name: unique.name.as_ref().map(folded), is_primary: false, columns });
            }
            TableConstraint::Check(check) => self.checks.push((check.name.as_ref().map(folded), check.expr.to_string())),
            TableConstraint::ForeignKey(_) => return Err(Report::unsupported("FOREIGN KEY")),
            TableConstraint::Exclude(_) => return Err(Report::unsupported("EXCLUDE")),
            other => return Err(Report::unsupported(format!("the constraint {other}"))),
        }
        Ok(())
    }

    /// How many ids its parts need at most.
    pub(super) fn ids_needed(&self, partitions: usize) -> usize {
        8 + self.checks.len() + self.sequences.len() + self.uniques.len() * (4 + partitions) + partitions
    }
}

fn conflicting_null(column: &str, table: &str) -> Report {
    let message = format!("conflicting NULL/NOT NULL declarations for column \"{column}\" of table \"{table}\"");
    Report::new(SqlState::SYNTAX_ERROR, message)
}

/// 42701 for the name of a column that every table has.
fn refuse_system_name(name: &str) -> Result<(), Report> {
    if matches!(name, "ctid" | "xmin" | "cmin" | "xmax" | "cmax" | "tableoid") {
        return Err(Report::new(SqlState::DUPLICATE_COLUMN, format!("column name \"{name}\" conflicts with a system column name")));
    }
    Ok(())
}

/// The type of a serial column.
fn serial_type(ty: &sqlparser::ast::DataType) -> Option<SqlType> {
    let scalar = match ty.to_string().to_lowercase().as_str() {
        "serial" | "serial4" => Scalar::Int4,
        "bigserial" | "serial8" => Scalar::Int8,
        "smallserial" | "serial2" => Scalar::Int2,
        _ => return None,
    };
    Some(scalar.into())
}

/// What gives a column its value; there may be one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    Default,
    Identity,
    Generated,
}

fn refuse_second(column: &Column, new: Second, table: &str) -> Result<(), Report> {
    let old = match column.generated {
        Some(Generated::Stored) => Second::Generated,
        Some(_) => Second::Identity,
        None if column.default.is_some() => Second::Default,
        None => return Ok(()),
    };
    let what = match (old, new) {
        (Second::Default, Second::Default) => "multiple default values specified",
        (Second::Identity, Second::Identity) => "multiple identity specifications",
        (Second::Generated, Second::Generated) => "multiple generation clauses specified",
        (Second::Default | Second::Identity, Second::Default | Second::Identity) => "both default and identity specified",
        (Second::Default | Second::Generated, Second::Default | Second::Generated) => "both default and generation expression specified",
        _ => "both identity and generation expression specified",
    };
    Err(Report::new(SqlState::SYNTAX_ERROR, format!("{what} for column \"{}\" of table \"{table}\"", column.name)))
}

/// The text of a default, once it is known to fit its column.
pub(super) fn default_text(expr: &Expr, column: &Column, around: &Surroundings) -> Result<String, Report> {
    let text = stored_text(expr, around)?;
    if stored_expression::names_columns(expr) {
        return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot use column reference in DEFAULT expression"));
    }
    sql::bind_expression(&text, &[], column.ty, &around.settings).map_err(|e| default_error(e.report(), &column.name, column.ty))?;
    Ok(text)
}

/// Checks the generation expressions of a table.
pub(super) fn check_generated(columns: &[Column], settings: &SessionSettings) -> Result<(), Report> {
    let visible: Vec<&Column> = columns.iter().filter(|c| !c.dropped && !c.hidden).collect();
    let names: Vec<(String, SqlType)> = visible.iter().map(|c| (c.name.clone(), c.ty)).collect();
    for column in visible.iter().filter(|c| c.generated == Some(Generated::Stored)) {
        let text = column.default.as_deref().unwrap_or("NULL");
        let bound = sql::bind_expression(text, &names, column.ty, settings).map_err(|e| generation_error(e.report(), column))?;
        let used = bound.expr.column_refs();
        let generated = |name: &str| {
            name.parse().ok().and_then(|at: usize| visible.get(at).copied()).filter(|c| c.generated == Some(Generated::Stored))
        };
        if let Some(other) = used.iter().find_map(|c| generated(&c.name)) {
            let message = format!("cannot use generated column \"{}\" in column generation expression", other.name);
            return Err(Report::new(SqlState::INVALID_OBJECT_DEFINITION, message)
                .with_detail("A generated column cannot reference another generated column."));
        }
        if crate::row_expression::is_volatile(&bound.expr)? {
            return Err(Report::new(SqlState::INVALID_OBJECT_DEFINITION, "generation expression is not immutable"));
        }
    }
    Ok(())
}

fn generation_error(report: Report, column: &Column) -> Report {
    let mut report = default_error(report, &column.name, column.ty);
    report.message = report.message.replace("but default expression is of type", "but generation expression is of type");
    report
}

fn is_c_collation(name: &str) -> bool {
    let bare = name.trim_matches('"').rsplit('.').next().unwrap_or(name).trim_matches('"');
    matches!(bare, "C" | "POSIX" | "default" | "ucs_basic")
}

fn default_error(report: Report, column: &str, ty: SqlType) -> Report {
    if report.sqlstate == SqlState::DATATYPE_MISMATCH && report.message.starts_with("column ") {
        let expression = report.message.rsplit(" is of type ").next().and_then(|m| m.rsplit(' ').next()).unwrap_or("?").to_owned();
        return Report { message: format!("column \"{column}\" is of type {ty} but default expression is of type {expression}"), ..report };
    }
    report
}

pub(super) fn attnum(place: usize) -> Result<i16, Report> {
    i16::try_from(place + 1).map_err(|_| Report::new(SqlState::TOO_MANY_COLUMNS, "too many columns"))
}

/// The hidden row id of a table without a primary key.
pub(super) fn row_id(attnum: i16) -> Column {
    Column {
        attnum,
        name: ROW_ID.to_owned(),
        ty: Scalar::Int8.into(),
        not_null: true,
        default: None,
        missing: Datum::Int8(0),
        dropped: false,
        hidden: true,
        domain: None,
        generated: None,
    }
}

/// The names of an index column list without expressions.
pub(super) fn plain_columns(columns: &[IndexColumnTree]) -> Result<Vec<String>, Report> {
    columns
        .iter()
        .map(|c| match &c.column.expr {
            Expr::Identifier(ident) => Ok(folded(ident)),
            other => Err(Report::unsupported(format!("the key expression {other}"))),
        })
        .collect()
}

fn missing_key_column(name: &str) -> Report {
    Report::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" named in key does not exist"))
}

/// The attnums of named columns.
pub(super) fn attnums(columns: &[Column], names: &[String], is_primary: bool) -> Result<Vec<i16>, Report> {
    let mut found: Vec<i16> = Vec::with_capacity(names.len());
    for name in names {
        let column = columns.iter().find(|c| c.name == *name && !c.dropped && !c.hidden).ok_or_else(|| missing_key_column(name))?;
        if found.contains(&column.attnum) {
            return Err(Report::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in {} constraint", if is_primary { "primary key" } else { "unique" }),
            ));
        }
        found.push(column.attnum);
    }
    Ok(found)
}

fn key_column(columns: &[Column], attnum: i16) -> Result<KeyColumn, Report> {
    let at = usize::try_from(attnum - 1).unwrap_or(0);
    let column = KeyColumn::ascending(columns[at].ty);
    if column.is_ordered() {
        Ok(column)
    } else {
        let message = format!("data type {} has no default operator class for access method \"btree\"", columns[at].ty.without_typmod());
        Err(Report::new(SqlState::UNDEFINED_OBJECT, message)
            .with_hint("You must specify an operator class for the index or define a default operator class for the data type."))
    }
}

/// A key over these columns, the first `hashed` of them hashed.
pub(super) fn key_schema(columns: &[Column], attnums: &[i16], hashed: usize) -> Result<KeySchema, Report> {
    let columns: Result<Vec<KeyColumn>, Report> = attnums.iter().map(|a| key_column(columns, *a)).collect();
    Ok(KeySchema { columns: columns?, hash_columns: hashed })
}

/// The number of partitions of a hashed relation; 1 when nothing is said.
pub(super) fn hash_lowers(partitions: Option<u32>) -> Result<Vec<Bytes>, Report> {
    let count = partitions.unwrap_or(1);
    if count == 0 || count > HASH_VALUES {
        return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("value {count} out of bounds for option \"partitions\""))
            .with_detail(format!("Valid values are between \"1\" and \"{HASH_VALUES}\".")));
    }
    Ok(std::iter::once(Bytes::new()).chain(hash_split_points(count)).collect())
}

/// The lower bounds of a relation that is cut at values.
pub(super) fn range_lowers(key: &KeySchema, splits: &[Vec<Expr>], settings: &SessionSettings) -> Result<Vec<Bytes>, Report> {
    let mut lowers = vec![Bytes::new()];
    for split in splits {
        if split.len() > key.columns.len() {
            return Err(Report::new(SqlState::SYNTAX_ERROR, "a split has more values than the key has columns"));
        }
        let mut values = Vec::with_capacity(split.len());
        for (tree, column) in split.iter().zip(&key.columns) {
            let bound = sql::bind_expression(&tree.to_string(), &[], column.ty, settings).map_err(|e| e.report())?;
            values.push(RowExpression::compile(&bound.expr, &[], &[], column.ty, settings)?.evaluate(&[], &[])?);
        }
        let lower = Bytes::from(key.key(&values).map_err(|e| e.report())?);
        if lowers.last().is_some_and(|last| *last >= lower) {
            return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, "split values must be in ascending order"));
        }
        lowers.push(lower);
    }
    Ok(lowers)
}

/// What makes one table out of a draft.
pub(super) struct Definer<'a> {
    pub(super) state: &'a CatalogState,
    pub(super) settings: &'a SessionSettings,
    pub(super) schema: Oid,
    pub(super) name: &'a str,
    pub(super) ids: &'a mut Ids,
    pub(super) wish: PartitionWish<'a>,
    /// Names that constraints of this statement have taken.
    pub(super) taken: Vec<String>,
}

impl<'a> Definer<'a> {
    /// What adds to a table that is there.
    pub(super) fn of(around: &'a Surroundings, table: &'a Table, ids: &'a mut Ids) -> Self {
        Self {
            state: &around.state,
            settings: &around.settings,
            schema: table.schema,
            name: &table.name,
            ids,
            wish: PartitionWish::default(),
            taken: Vec::new(),
        }
    }

    /// The table with its indexes and maps.
    pub(super) fn define(mut self, mut draft: TableDraft, options: Vec<(String, String)>) -> Result<NewTable, Report> {
        if draft.uniques.iter().filter(|u| u.is_primary).count() > 1 {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", self.name);
            return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        let oid = self.ids.oid()?;
        let storage = self.ids.relation()?;
        let primary = draft.uniques.iter().find(|u| u.is_primary).map(|u| attnums(&draft.columns, &u.columns, true)).transpose()?;
        for attnum in primary.iter().flatten() {
            draft.columns[usize::try_from(attnum - 1).unwrap_or(0)].not_null = true;
        }
        let (partitioning, lowers) = self.partitioning(&mut draft, primary.as_deref())?;
        let map = match &self.wish.colocate_with {
            Some(other) => {
                let map = self.colocated_map(other, &partitioning)?;
                placement::colocate(&map, storage, self.ids.run(map.partitions.len())?)
            }
            None => placement::place(self.state, storage, &lowers, self.ids.run(lowers.len())?)?,
        };
        let mut table = Table {
            oid,
            schema: self.schema,
            name: self.name.to_owned(),
            storage,
            columns: draft.columns,
            partitioning,
            colocated_with: self.wish.colocate_with.as_ref().map(|t| t.oid),
            checks: Vec::new(),
            uniques: Vec::new(),
            indexes: Vec::new(),
            options,
        };
        check_generated(&table.columns, self.settings)?;
        let sequences = draft.sequences.iter().map(|owned| self.owned_sequence(&mut table, owned)).collect::<Result<_, _>>()?;
        for (name, text) in std::mem::take(&mut draft.checks) {
            let check = self.check(&table, name, text)?;
            table.checks.push(check);
        }
        let mut new = NewTable { table, indexes: Vec::new(), maps: vec![map], sequences };
        for unique in std::mem::take(&mut draft.uniques) {
            self.unique(&mut new, unique, IndexState::Ready)?;
        }
        Ok(new)
    }

    /// How the table is keyed and where it is cut.
    fn partitioning(&mut self, draft: &mut TableDraft, primary: Option<&[i16]>) -> Result<(Partitioning, Vec<Bytes>), Report> {
        let clause = self.wish.clause;
        let named = clause.map(|c| partition_columns(&draft.columns, &c.columns)).transpose()?;
        let columns = match (named, primary, &self.wish.colocate_with) {
            (Some(named), ..) => named,
            (None, Some(primary), Some(other)) => primary.iter().copied().take(other.partitioning.columns.len()).collect(),
            (None, Some(primary), None) => primary.to_vec(),
            (None, None, _) => Vec::new(),
        };
        let mut key_columns = columns.clone();
        key_columns.extend(primary.unwrap_or_default().iter().copied().filter(|a| !columns.contains(a)));
        if primary.is_none() {
            let row_id = attnum(draft.columns.len())?;
            draft.columns.push(self::row_id(row_id));
            key_columns.push(row_id);
        }
        let columns = if columns.is_empty() { key_columns.clone() } else { columns };
        let method = match clause.map(|c| c.method) {
            Some(Method::Range) => PartitionMethod::Range,
            Some(Method::Hash) | None => PartitionMethod::Hash,
        };
        let hashed = if method == PartitionMethod::Hash { columns.len() } else { 0 };
        let key = key_schema(&draft.columns, &key_columns, hashed)?;
        let lowers = match (&method, clause) {
            (PartitionMethod::Range, Some(clause)) => range_lowers(&key, &clause.splits, self.settings)?,
            _ => hash_lowers(self.wish.partitions)?,
        };
        let fixed = self.wish.partitions.is_some() || clause.is_some();
        let policy = self.wish.policy.unwrap_or(if fixed { PartitionPolicy::Fixed } else { PartitionPolicy::Dynamic });
        Ok((Partitioning { method, policy, columns, key_columns, key }, lowers))
    }

    fn colocated_map(&self, other: &Table, partitioning: &Partitioning) -> Result<Arc<PartitionMap>, Report> {
        let theirs = &other.partitioning;
        let types =
            |p: &Partitioning| -> Vec<SqlType> { p.key.columns.iter().take(p.columns.len()).map(|c| c.ty.without_typmod()).collect() };
        if types(theirs) != types(partitioning) || theirs.method != partitioning.method {
            return Err(Report::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("cannot colocate \"{}\" with \"{}\"", self.name, other.name),
            )
            .with_detail("Colocated tables are partitioned by the same method and by columns of the same types."));
        }
        self.state.partition_map(other.storage).ok_or_else(|| Report::internal("a table has no partition map"))
    }

    /// A name for a constraint or index: the one that was given, or one of PostgreSQL's making.
    pub(super) fn constraint_name(&mut self, given: Option<String>, columns: &[&str], suffix: &str) -> String {
        if let Some(name) = given {
            self.taken.push(name.clone());
            return name;
        }
        let mut stem = self.name.to_owned();
        for column in columns {
            stem.push('_');
            stem.push_str(column);
        }
        let schema = self.state.schema(self.schema).map(|s| s.name.clone()).unwrap_or_default();
        let mut name = format!("{stem}_{suffix}");
        let mut number = 0;
        while self.taken.contains(&name) || self.state.relation_named(&schema, &name).is_some() {
            number += 1;
            name = format!("{stem}_{suffix}{number}");
        }
        self.taken.push(name.clone());
        name
    }

    /// The sequence of a serial or identity column, which asks it from now on.
    pub(super) fn owned_sequence(&mut self, table: &mut Table, owned: &OwnedSequence) -> Result<Sequence, Report> {
        let name = self.constraint_name(None, &[&owned.column], "seq");
        let oid = self.ids.oid()?;
        let column = table.columns.iter_mut().find(|c| c.name == owned.column && !c.dropped);
        let column = column.ok_or_else(|| Report::internal("the column of a sequence has gone"))?;
        column.default = Some(super::sequence::next_value(oid));
        let attnum = column.attnum;
        owned.make(oid, name, table, attnum)
    }

    /// A CHECK constraint over the table's columns.
    pub(super) fn check(&mut self, table: &Table, name: Option<String>, expression: String) -> Result<Check, Report> {
        let columns: Vec<(String, SqlType)> = table.visible_columns().map(|c| (c.name.clone(), c.ty)).collect();
        let bound = sql::bind_check(&expression, &columns, self.settings).map_err(|e| e.report())?;
        // A check of one column has the column in its name.
        let used = bound.expr.column_refs();
        let place = |name: &str| name.parse().ok().and_then(|at: usize| columns.get(at)).map(|(name, _)| name.as_str());
        let only: Vec<&str> = match used.len() {
            1 => used.iter().filter_map(|c| place(&c.name)).collect(),
            _ => Vec::new(),
        };
        let is_taken = |name: &String| self.taken.contains(name) || table.checks.iter().any(|c| c.name == *name);
        if let Some(name) = name.as_ref().filter(|name| is_taken(name)) {
            let message = if self.taken.contains(name) {
                format!("check constraint \"{name}\" already exists")
            } else {
                format!("constraint \"{name}\" for relation \"{}\" already exists", table.name)
            };
            return Err(Report::new(SqlState::DUPLICATE_OBJECT, message));
        }
        self.taken.extend(table.checks.iter().map(|c| c.name.clone()));
        let name = self.constraint_name(name, &only, "check");
        Ok(Check { oid: self.ids.oid()?, name, expression })
    }

    /// A key or uniqueness constraint, enforced by the table's own key, a local index, or a synchronous global one.
    pub(super) fn unique(&mut self, new: &mut NewTable, draft: UniqueDraft, state: IndexState) -> Result<(), Report> {
        let columns = attnums(&new.table.columns, &draft.columns, draft.is_primary)?;
        let shown: Vec<&str> = if draft.is_primary { Vec::new() } else { draft.columns.iter().map(String::as_str).collect() };
        let suffix = if draft.is_primary { "pkey" } else { "key" };
        let name = self.constraint_name(draft.name, &shown, suffix);
        let oid = self.ids.oid()?;
        let partitioning = &new.table.partitioning;
        let is_key = sorted(&columns) == sorted(&partitioning.key_columns)
            && columns.iter().all(|a| new.table.column(*a).is_some_and(|c| c.not_null))
            && !new.table.uniques.iter().any(|u| u.enforced_by == Enforcement::TableKey);
        let enforced_by = if is_key {
            Enforcement::TableKey
        } else {
            let plain = columns.iter().map(|a| IndexColumn { attnum: *a, descending: false, nulls_first: false }).collect();
            let local = partitioning.columns.iter().all(|a| columns.contains(a));
            let (index, map) = self.index(
                &new.table,
                IndexDraft {
                    name: name.clone(),
                    columns: plain,
                    include: Vec::new(),
                    unique: true,
                    local,
                    maintenance: Maintenance::Sync,
                    partitions: None,
                    clause: None,
                    state,
                    options: Vec::new(),
                },
            )?;
            new.table.indexes.push(index.oid);
            let by = Enforcement::Index(index.oid);
            new.indexes.push(index);
            new.maps.extend(map);
            by
        };
        new.table.uniques.push(UniqueConstraint { oid, name, is_primary: draft.is_primary, columns, enforced_by });
        Ok(())
    }

    /// An index with its map, if it has one of its own.
    pub(super) fn index(&mut self, table: &Table, draft: IndexDraft<'_>) -> Result<(Index, Option<PartitionMap>), Report> {
        let mut key_columns = Vec::with_capacity(draft.columns.len());
        for column in &draft.columns {
            let plain = key_column(&table.columns, column.attnum)?;
            key_columns.push(KeyColumn { descending: column.descending, nulls_first: column.nulls_first, ..plain });
        }
        let key = KeySchema { columns: key_columns.clone(), hash_columns: 0 };
        let storage = self.ids.relation()?;
        let (scope, map) = if draft.local {
            (IndexScope::Local, None)
        } else {
            let (partitioning, lowers) = self.index_partitioning(table, &draft, &key_columns)?;
            let map = placement::place(self.state, storage, &lowers, self.ids.run(lowers.len())?)?;
            (IndexScope::Global { partitioning, maintenance: draft.maintenance }, Some(map))
        };
        let index = Index {
            oid: self.ids.oid()?,
            schema: table.schema,
            name: draft.name,
            table: table.oid,
            storage,
            columns: draft.columns,
            include: draft.include,
            key,
            unique: draft.unique,
            scope,
            state: draft.state,
            options: draft.options,
        };
        Ok((index, map))
    }

    /// A global index is hashed on its columns, in as many partitions as its table, unless its clause says otherwise.
    fn index_partitioning(
        &self,
        table: &Table,
        draft: &IndexDraft<'_>,
        columns: &[KeyColumn],
    ) -> Result<(Partitioning, Vec<Bytes>), Report> {
        let attnums: Vec<i16> = draft.columns.iter().map(|c| c.attnum).collect();
        let count = self.state.partition_map(table.storage).map_or(1, |m| m.partitions.len());
        let count = draft.partitions.unwrap_or_else(|| u32::try_from(count).unwrap_or(1));
        let (method, hashed) = match draft.clause {
            Some(clause) if clause.method == Method::Range => (PartitionMethod::Range, 0),
            Some(clause) => {
                let named = partition_columns(&table.columns, &clause.columns)?;
                if !attnums.starts_with(&named) {
                    return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, "an index is partitioned by its first columns"));
                }
                (PartitionMethod::Hash, named.len())
            }
            None => (PartitionMethod::Hash, attnums.len()),
        };
        let key = KeySchema { columns: columns.to_vec(), hash_columns: hashed };
        let lowers = match draft.clause {
            Some(clause) if method == PartitionMethod::Range => range_lowers(&key, &clause.splits, self.settings)?,
            _ => hash_lowers(Some(count))?,
        };
        let partition_columns = if hashed > 0 { attnums[..hashed].to_vec() } else { attnums.clone() };
        Ok((Partitioning { method, policy: PartitionPolicy::Fixed, columns: partition_columns, key_columns: attnums, key }, lowers))
    }
}

/// An index as written.
pub(super) struct IndexDraft<'a> {
    pub(super) name: String,
    pub(super) columns: Vec<IndexColumn>,
    pub(super) include: Vec<i16>,
    pub(super) unique: bool,
    pub(super) local: bool,
    pub(super) maintenance: Maintenance,
    pub(super) partitions: Option<u32>,
    pub(super) clause: Option<&'a PartitionClause>,
    pub(super) state: IndexState,
    pub(super) options: Vec<(String, String)>,
}

fn partition_columns(columns: &[Column], names: &[String]) -> Result<Vec<i16>, Report> {
    let find = |name: &String| {
        columns
            .iter()
            .find(|c| c.name == *name && !c.dropped && !c.hidden)
            .map(|c| c.attnum)
            .ok_or_else(|| Report::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" named in partition key does not exist")))
    };
    names.iter().map(find).collect()
}

fn sorted(attnums: &[i16]) -> Vec<i16> {
    let mut sorted = attnums.to_vec();
    sorted.sort_unstable();
    sorted
}

/// The names of identifiers.
pub(super) fn names(idents: &[Ident]) -> Vec<String> {
    idents.iter().map(folded).collect()
}
