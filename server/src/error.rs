//! Why a process does not start, in one line.

use std::io;
use std::path::PathBuf;

use common::error::{Report, SqlError};
use common::sqlstate::SqlState;

/// An error that ends the process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot read configuration file {}: {cause}", path.display())]
    ConfigFile { path: PathBuf, cause: String },
    #[error("\"{filter}\" is no log filter: {cause}")]
    LogFilter { filter: String, cause: String },
    #[error("{name} must be between {min} and {max}, not {found}")]
    OutOfRange { name: &'static str, min: u64, max: u64, found: u64 },
    #[error("cannot start the runtime: {}", plain(.0))]
    Runtime(io::Error),
    #[error("cannot listen on {address}: {}", plain(.cause))]
    Listen { address: String, cause: io::Error },
    #[error("cannot tell other nodes the address {0}: give the one where they reach this node with --advertise")]
    Advertise(String),
    #[error("cannot use data directory {}: {}", path.display(), plain(.cause))]
    DataIo { path: PathBuf, cause: io::Error },
    #[error("data directory {} has other files in it, and none of Partita's", path.display())]
    DataForeign { path: PathBuf },
    #[error("data directory {} is of another kind or version: it says \"{found}\", not \"{expected}\"", path.display())]
    DataFormat { path: PathBuf, found: String, expected: String },
    #[error("data directory {} is in use by another process", path.display())]
    DataInUse { path: PathBuf },
    #[error("data directory {} has {found} workers, and cannot be started with {asked}", path.display())]
    TooFewWorkers { path: PathBuf, found: u32, asked: u32 },
    #[error("{what}: {}", in_one_line(.report))]
    Part { what: String, report: Box<Report> },
    #[error("{0} ended before it was told to")]
    EndedEarly(&'static str),
}

impl ServerError {
    /// For a part's own error.
    pub(crate) fn part(what: impl Into<String>) -> impl FnOnce(Report) -> Self {
        move |report| Self::Part { what: what.into(), report: Box::new(report) }
    }
}

impl SqlError for ServerError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::ConfigFile { .. } | Self::LogFilter { .. } | Self::OutOfRange { .. } | Self::Advertise(_) => {
                SqlState::INVALID_PARAMETER_VALUE
            }
            Self::Runtime(_) | Self::EndedEarly(_) => SqlState::INTERNAL_ERROR,
            Self::Listen { .. } | Self::DataIo { .. } => SqlState::IO_ERROR,
            Self::DataForeign { .. } | Self::DataFormat { .. } | Self::TooFewWorkers { .. } => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::DataInUse { .. } => SqlState::OBJECT_IN_USE,
            Self::Part { report, .. } => report.sqlstate,
        }
    }
}

/// An operating system's error without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn in_one_line(report: &Report) -> String {
    let whole = match &report.detail {
        Some(detail) => format!("{} ({})", report.message, detail.trim_end_matches('.')),
        None => report.message.clone(),
    };
    whole.replace('\n', " ")
}
