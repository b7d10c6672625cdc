//! COPY … TO STDOUT: the rows of a table or a query as data.

use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use sql::bound::{BoundStatement, OutputColumn};
use sql::parse::parse_statements;
use sqlparser::ast::{CopySource, CopyTarget, Statement};
use types::copy::CopyOptions;
use types::quoting::quote_ident;

use crate::execute::copy_options::copy_options;
use crate::execute::copy_target::CopyTable;
use crate::execute::query;
use crate::prepared::Prepared;
use crate::result::{ResultStream, Rows, StatementResult};
use crate::session::Session;

/// A COPY that gives data.
pub struct CopyOut {
    pub options: CopyOptions,
    pub columns: Arc<[OutputColumn]>,
    pub rows: ResultStream,
}

/// Checks the statement and starts the query.
pub async fn begin(session: &mut Session, outer: &Prepared, tree: &Statement) -> Result<CopyOut, Report> {
    let Statement::Copy { source, target, options, legacy_options, .. } = tree else {
        return Err(Report::internal("COPY TO without its statement"));
    };
    if *target != CopyTarget::Stdout {
        return Err(Report::unsupported("COPY to a file or program on the server"));
    }
    let statement = match source {
        CopySource::Query(query) => outer.statement.with_statement(Statement::Query(query.clone())),
        CopySource::Table { table_name, columns } => {
            let table = CopyTable::find(session, table_name, columns)?;
            let names: Vec<String> = table.columns.iter().map(|at| quote_ident(&table.relation.columns[*at].name)).collect();
            let text =
                format!("SELECT {} FROM {}.{}", names.join(", "), quote_ident(&table.relation.schema), quote_ident(&table.relation.name));
            let parsed = parse_statements(&text)?.pop();
            parsed.ok_or_else(|| Report::internal("the query of a COPY is empty"))?
        }
    };
    let prepared = session.prepare(&statement, Vec::new())?;
    let BoundStatement::Query { query: bound, .. } = &prepared.bound.statement else {
        return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, "COPY query must be a SELECT"));
    };
    let names: Vec<&str> = bound.columns.iter().map(|c| c.name.as_str()).collect();
    let options = copy_options(options, legacy_options, &names)?;
    match query::execute(session, &prepared, bound, &[]).await? {
        StatementResult::Rows { columns, rows: Rows::Batches(rows), .. } => Ok(CopyOut { options, columns, rows }),
        _ => Err(Report::internal("the query of a COPY gave no rows")),
    }
}
