//! The table that a COPY names, and the columns that it copies.

use std::sync::Arc;

use common::error::{Report, SqlError};
use common::sqlstate::SqlState;
use sql::schema::{RelationInfo, RelationKind};
use sqlparser::ast::{Ident, ObjectName};

use crate::session::Session;

/// A table and some of its visible columns, by their places.
pub(super) struct CopyTable {
    pub relation: Arc<RelationInfo>,
    pub columns: Vec<usize>,
}

impl CopyTable {
    /// Finds a table by name; without a list all of its columns are meant.
    pub(super) fn find(session: &Session, name: &ObjectName, columns: &[Ident]) -> Result<Self, Report> {
        let view = session.view();
        let relation = sql::find_relation(name, view.as_ref(), &session.expression_settings()).map_err(|e| e.report())?;
        if relation.kind != RelationKind::Table {
            return Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot copy to or from view \"{}\"", relation.name)));
        }
        if columns.is_empty() {
            let all = (0..relation.columns.len()).collect();
            return Ok(Self { relation, columns: all });
        }
        let mut places = Vec::with_capacity(columns.len());
        for ident in columns {
            let column = sql::ident_name(ident);
            let at = relation.columns.iter().position(|c| c.name == column).ok_or_else(|| {
                let message = format!("column \"{column}\" of relation \"{}\" does not exist", relation.name);
                Report::new(SqlState::UNDEFINED_COLUMN, message)
            })?;
            if places.contains(&at) {
                return Err(Report::new(SqlState::DUPLICATE_COLUMN, format!("column \"{column}\" specified more than once")));
            }
            places.push(at);
        }
        Ok(Self { relation, columns: places })
    }
}
