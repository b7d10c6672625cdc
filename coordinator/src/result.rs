//! What executing a statement gives to the wire.

use std::pin::Pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use common::datum::Datum;
use common::error::Report;
use common::types::SqlType;
use futures::Stream;
use sql::bound::OutputColumn;

/// Batches of a result. Dropping it cancels the statement's work on every worker.
pub type ResultStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, Report>> + Send>>;

/// The rows of a result, in the form in which they were found.
pub enum Rows {
    /// Stored rows whose columns are given out unchanged: the point path.
    Stored(StoredRows),
    /// Values: small results that are computed a row at a time.
    Values(Vec<Vec<Datum>>),
    /// Batches as they come.
    Batches(ResultStream),
}

/// Stored rows and which of their columns the result shows.
pub struct StoredRows {
    /// Types of the stored row.
    pub types: Arc<[SqlType]>,
    /// What columns read as that a row is too short to have.
    pub missing: Arc<[Datum]>,
    /// For each output column, its place in the stored row.
    pub outputs: Arc<[usize]>,
    pub rows: Vec<Bytes>,
}

/// How CommandComplete words a result with rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsTag {
    /// `SELECT n`, n being the rows sent.
    Select,
    /// Another verb before the rows sent, such as `FETCH`.
    Verb(&'static str),
    /// Fixed, such as `INSERT 0 3` or `SHOW`.
    Fixed(String),
}

/// What became of a statement.
pub enum StatementResult {
    Rows {
        columns: Arc<[OutputColumn]>,
        rows: Rows,
        tag: RowsTag,
    },
    /// Done, with the command tag.
    Command(String),
    /// COPY … FROM STDIN: the wire feeds the data.
    CopyIn(Box<crate::execute::copy_in::CopyIn>),
    /// COPY … TO STDOUT: chunks of the data.
    CopyOut(crate::execute::copy_out::CopyOut),
    /// The empty statement.
    Empty,
}

impl StatementResult {
    /// Whether the statement still runs while its result is given out.
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Rows { rows: Rows::Batches(_), .. } | Self::CopyIn(_) | Self::CopyOut(_) => true,
            Self::Rows { rows: Rows::Stored(_) | Rows::Values(_), .. } | Self::Command(_) | Self::Empty => false,
        }
    }
}
