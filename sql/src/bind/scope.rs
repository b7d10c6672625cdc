//! The names that a query's expressions may use.

use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::Expr;
use functions::typed_expr::TypedExpr;

use super::row_locks::ScopeRow;
use crate::error::{BindError, Result};

/// An identifier as PostgreSQL folds it: lower case unless quoted, 63 bytes at most.
pub(crate) fn folded(ident: &sqlparser::ast::Ident) -> String {
    const NAME_BYTES_MAX: usize = 63;
    let mut name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    if name.len() > NAME_BYTES_MAX {
        let cut = (0..=NAME_BYTES_MAX).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
        name.truncate(cut);
    }
    name
}

/// A column that a name may mean.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub(crate) name: String,
    pub(crate) value: TypedExpr,
    /// What carries it in the plan.
    pub(crate) arrow: DataType,
    pub(crate) origin: Option<(Oid, i16)>,
    /// JOIN … USING merged it into another: only its qualified name is left.
    pub(crate) merged: bool,
}

/// A FROM item.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeTable {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    pub(crate) columns: Vec<ScopeColumn>,
    /// System columns: reached by their qualified names alone, and in no `*`.
    pub(crate) system: Vec<ScopeColumn>,
    /// Places of the primary key's columns, for grouping by it.
    pub(crate) primary_key: Vec<usize>,
    /// For a table: where its row is in the plan.
    pub(crate) row: Option<ScopeRow>,
    /// A function that answers one value a row: the item's name means that value.
    pub(crate) is_value: bool,
}

/// All FROM items of one query, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) tables: Vec<ScopeTable>,
    /// Columns that JOIN … USING made; they come first in a `*`.
    pub(crate) merged: Vec<ScopeColumn>,
}

impl Scope {
    /// The columns of one row, as `<qualifier>.<i>`, without a table name in SQL.
    pub(crate) fn of_row(qualifier: &str, columns: &[(String, SqlType)]) -> Self {
        let columns = columns.iter().enumerate().map(|(at, (name, ty))| ScopeColumn {
            name: name.clone(),
            value: TypedExpr::new(Expr::Column(Column::new(Some(TableReference::bare(qualifier)), at.to_string())), *ty),
            arrow: ty.arrow(),
            origin: None,
            merged: false,
        });
        Self { tables: vec![ScopeTable { columns: columns.collect(), ..ScopeTable::default() }], merged: Vec::new() }
    }

    /// The column of a bare name; `None` when there is none, 42702 when there are several.
    pub(crate) fn column(&self, name: &str) -> Result<Option<&ScopeColumn>> {
        let unmerged = self.tables.iter().flat_map(|t| &t.columns).filter(|c| !c.merged);
        let mut found = self.merged.iter().chain(unmerged).filter(|c| c.name == name);
        let first = found.next();
        if found.next().is_some() {
            return Err(BindError::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous")));
        }
        Ok(first)
    }

    /// The FROM item of a name.
    pub(crate) fn table(&self, schema: Option<&str>, name: &str) -> Result<Option<&ScopeTable>> {
        let matches = |t: &&ScopeTable| t.name == name && !t.name.is_empty() && (schema.is_none() || t.schema.as_deref() == schema);
        let mut found = self.tables.iter().filter(matches);
        let first = found.next();
        if found.next().is_some() {
            return Err(BindError::new(SqlState::AMBIGUOUS_ALIAS, format!("table reference \"{name}\" is ambiguous")));
        }
        Ok(first)
    }

    /// All columns, also those that only a qualified name reaches.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &ScopeColumn> {
        self.merged.iter().chain(self.tables.iter().flat_map(|t| t.columns.iter().chain(&t.system)))
    }

    /// What an unqualified `*` stands for.
    pub(crate) fn star(&self) -> impl Iterator<Item = &ScopeColumn> {
        self.merged.iter().chain(self.tables.iter().flat_map(|t| &t.columns).filter(|c| !c.merged))
    }

    /// Puts the items of another scope behind these; the same name twice is 42712.
    pub(crate) fn append(&mut self, other: Self) -> Result<()> {
        for table in &other.tables {
            let same = |t: &ScopeTable| !t.name.is_empty() && t.name == table.name && t.schema == table.schema;
            if self.tables.iter().any(same) {
                let message = format!("table name \"{}\" specified more than once", table.name);
                return Err(BindError::new(SqlState::DUPLICATE_ALIAS, message));
            }
        }
        self.tables.extend(other.tables);
        self.merged.extend(other.merged);
        Ok(())
    }
}
