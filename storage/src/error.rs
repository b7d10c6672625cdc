//! What can go wrong with a disk, and what a client is told.

use std::io;
use std::path::{Path, PathBuf};

use common::error::SqlError;
use common::ids::{GroupId, LogPosition};
use common::sqlstate::SqlState;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused a call on a file of ours.
    #[error("could not {action} \"{}\": {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Another engine has the directory open.
    #[error("data directory \"{}\" is in use by another process", path.display())]
    InUse { path: PathBuf },
    /// The directory holds files that are not ours; nothing was touched.
    #[error("\"{}\" is not a data directory: it is not empty and has no file FORMAT", path.display())]
    NotOurs { path: PathBuf },
    /// The directory was written by a version that this one cannot read.
    #[error("data directory \"{}\" has format \"{found}\", this version reads \"{expected}\"", path.display())]
    Format { path: PathBuf, found: String, expected: String },
    /// The directory holds more groups than the engine was opened with.
    #[error("data directory \"{}\" holds group {found}, but only {groups} groups are configured", path.display())]
    TooFewGroups { path: PathBuf, found: GroupId, groups: u32 },
    /// A file's content is not what was written.
    #[error("\"{}\" is corrupt at byte {offset}: {what}", path.display())]
    Corrupt { path: PathBuf, offset: u64, what: String },
    /// The base file reported an error.
    #[error("base file of group {group}: {source}")]
    Base { group: GroupId, source: Box<redb::Error> },
    /// An earlier write or sync failed: what is on the disk is unknown, so nothing more is written until the engine is opened again.
    #[error("the log cannot be written since an earlier failure: {cause}")]
    Poisoned { cause: String },
    /// Memory for new rows is full because checkpoints fail.
    #[error("no room for new rows: the last checkpoint failed: {cause}")]
    CheckpointFailing { cause: String },
    /// The engine was shut down.
    #[error("the storage engine is shut down")]
    ShutDown,
    /// The group is not one of the engine's.
    #[error("group {group} does not exist: there are {groups}")]
    NoSuchGroup { group: GroupId, groups: u32 },
    /// A frame is larger than the log takes.
    #[error("a log frame of {bytes} bytes exceeds the limit of {limit}")]
    FrameTooLarge { bytes: usize, limit: usize },
    /// The log before this position was removed.
    #[error("log position {from} is no longer there: the log starts at {start}")]
    LogRemoved { from: LogPosition, start: LogPosition },
    /// The position is not one that an append returned.
    #[error("log position {from} is not the start of a frame")]
    NoSuchPosition { from: LogPosition },
}

impl StorageError {
    /// An input or output error with what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A content error at an offset of a file.
    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), offset, what: what.into() }
    }

    /// Wraps any of redb's errors.
    pub(crate) fn base<E: Into<redb::Error>>(group: GroupId) -> impl FnOnce(E) -> Self {
        move |source| Self::Base { group, source: Box::new(source.into()) }
    }
}

impl SqlError for StorageError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => SqlState::DISK_FULL,
            Self::Io { .. } | Self::Poisoned { .. } | Self::CheckpointFailing { .. } => SqlState::IO_ERROR,
            Self::InUse { .. } => SqlState::OBJECT_IN_USE,
            Self::NotOurs { .. } | Self::Format { .. } | Self::TooFewGroups { .. } => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Corrupt { .. } => SqlState::DATA_CORRUPTED,
            Self::Base { source, .. } => match source.as_ref() {
                redb::Error::Corrupted(_) => SqlState::DATA_CORRUPTED,
                redb::Error::Io(source) if source.kind() == io::ErrorKind::StorageFull => SqlState::DISK_FULL,
                _ => SqlState::IO_ERROR,
            },
            Self::ShutDown => SqlState::ADMIN_SHUTDOWN,
            Self::FrameTooLarge { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
            Self::NoSuchGroup { .. } | Self::LogRemoved { .. } | Self::NoSuchPosition { .. } => SqlState::INTERNAL_ERROR,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => Some("Stop the other process, or start this one with another data directory.".to_owned()),
            Self::NotOurs { .. } => Some("Give an empty directory, or one that was made by this software.".to_owned()),
            Self::Poisoned { .. } => Some("Look at the disk, then restart this worker.".to_owned()),
            _ => None,
        }
    }
}
