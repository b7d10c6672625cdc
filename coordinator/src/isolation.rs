//! Isolation levels and the other modes of a transaction.

use common::error::Report;
use common::sqlstate::SqlState;

/// How a transaction is kept apart from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// As READ COMMITTED: nothing uncommitted is ever seen.
    ReadUncommitted,
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// All statements see what was committed before the first; rows that others change since cannot be changed.
    RepeatableRead,
    /// As if transactions ran one after another.
    Serializable,
}

impl Isolation {
    /// Whether all statements read at one snapshot.
    pub fn keeps_snapshot(self) -> bool {
        matches!(self, Self::RepeatableRead | Self::Serializable)
    }

    /// As SHOW prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read uncommitted",
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }

    /// The level of that name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::ReadUncommitted, Self::ReadCommitted, Self::RepeatableRead, Self::Serializable];
        all.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

/// What BEGIN and SET TRANSACTION say of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modes {
    pub isolation: Isolation,
    pub read_only: bool,
    /// Kept and shown. A read-only serializable transaction never fails here, so it has nothing to wait for.
    pub deferrable: bool,
}

/// The modes that a statement names; the others stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NewModes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

/// A row that was changed, or deleted, after the snapshot of who wants to change it.
pub fn concurrent_change(is_deleted: bool) -> Report {
    let what = if is_deleted { "delete" } else { "update" };
    Report::new(SqlState::SERIALIZATION_FAILURE, format!("could not serialize access due to concurrent {what}"))
}
