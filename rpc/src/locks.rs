//! Locks as coordinators and workers speak of them: modes and what conflicts with what, how long to wait, who waits for whom.
//!
//! A session is the unit that can be in a deadlock: it holds locks as a transaction, as a statement that commits by itself, or as itself
//! (advisory locks), at several workers at once. Whoever waits tells its session's number with the request ([`LockWait::session`]).

use common::ids::{RelationId, TransactionId};
use serde::{Deserialize, Serialize};

/// What a holder keeps others from. Rows have the first four, in increasing strength; tables have the others, which are PostgreSQL's, and advisory
/// locks use [`LockMode::Share`] and [`LockMode::Exclusive`] of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum LockMode {
    ForKeyShare,
    ForShare,
    ForNoKeyUpdate,
    ForUpdate,
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

use LockMode::{
    AccessExclusive, AccessShare, Exclusive, ForKeyShare, ForNoKeyUpdate, ForShare, ForUpdate, RowExclusive, RowShare, Share,
    ShareRowExclusive, ShareUpdateExclusive,
};

impl LockMode {
    /// All of them.
    pub const ALL: [Self; 12] = [
        ForKeyShare,
        ForShare,
        ForNoKeyUpdate,
        ForUpdate,
        AccessShare,
        RowShare,
        RowExclusive,
        ShareUpdateExclusive,
        Share,
        ShareRowExclusive,
        Exclusive,
        AccessExclusive,
    ];

    /// The modes that another may not hold beside this one: PostgreSQL's two matrices.
    pub const fn conflicts(self) -> ModeSet {
        match self {
            ForKeyShare => ModeSet::of(&[ForUpdate]),
            ForShare => ModeSet::of(&[ForNoKeyUpdate, ForUpdate]),
            ForNoKeyUpdate => ModeSet::of(&[ForShare, ForNoKeyUpdate, ForUpdate]),
            ForUpdate => ModeSet::of(&[ForKeyShare, ForShare, ForNoKeyUpdate, ForUpdate]),
            AccessShare => ModeSet::of(&[AccessExclusive]),
            RowShare => ModeSet::of(&[Exclusive, AccessExclusive]),
            RowExclusive => ModeSet::of(&[Share, ShareRowExclusive, Exclusive, AccessExclusive]),
            ShareUpdateExclusive => ModeSet::of(&[ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive]),
            Share => ModeSet::of(&[RowExclusive, ShareUpdateExclusive, ShareRowExclusive, Exclusive, AccessExclusive]),
            ShareRowExclusive => ModeSet::of(&[RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive]),
            Exclusive => ModeSet::of(&[RowShare, RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive]),
            AccessExclusive => ModeSet::of(&[
                AccessShare,
                RowShare,
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
        }
    }

    /// As `pg_locks` names it; a row's modes by their clauses.
    pub const fn name(self) -> &'static str {
        match self {
            ForKeyShare => "For Key Share",
            ForShare => "For Share",
            ForNoKeyUpdate => "For No Key Update",
            ForUpdate => "For Update",
            AccessShare => "AccessShareLock",
            RowShare => "RowShareLock",
            RowExclusive => "RowExclusiveLock",
            ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            Share => "ShareLock",
            ShareRowExclusive => "ShareRowExclusiveLock",
            Exclusive => "ExclusiveLock",
            AccessExclusive => "AccessExclusiveLock",
        }
    }
}

/// Some modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ModeSet(u16);

impl ModeSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// These.
    pub const fn of(modes: &[LockMode]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < modes.len() {
            bits |= 1 << modes[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    pub fn contains(self, mode: LockMode) -> bool {
        self.0 & (1 << mode as u16) != 0
    }

    /// Whether one of them may not be held beside `mode`.
    pub fn conflicts_with(self, mode: LockMode) -> bool {
        self.0 & mode.conflicts().0 != 0
    }

    /// Whether holding them keeps others from all that holding `mode` would.
    pub fn covers(self, mode: LockMode) -> bool {
        let kept = self.modes().fold(0, |bits, held| bits | held.conflicts().0);
        !self.is_empty() && mode.conflicts().0 & !kept == 0
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, mode: LockMode) -> Self {
        Self(self.0 | 1 << mode as u16)
    }

    /// All that are in one of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each.
    pub fn modes(self) -> impl Iterator<Item = LockMode> {
        LockMode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }
}

/// How long to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WaitLimit {
    /// As long as it takes; deadlocks are found.
    Forever,
    Millis(u32),
    /// NOWAIT: 55P03 at once.
    No,
    /// SKIP LOCKED: what is locked is left out. Only for rows that are locked, not for writes.
    Skip,
}

/// Who waits for a lock, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LockWait {
    pub limit: WaitLimit,
    /// The session's number (what clients know as its process id); 0 for nobody's.
    pub session: i32,
    /// A wait that lasts longer looks for a deadlock.
    pub deadlock_ms: u32,
}

impl LockWait {
    /// PostgreSQL's default for `deadlock_timeout`.
    pub const DEADLOCK_MS: u32 = 1_000;
    /// Nobody's wait without a limit.
    pub const FOREVER: Self = Self::new(WaitLimit::Forever);
    /// No wait.
    pub const NO: Self = Self::new(WaitLimit::No);

    /// Nobody's wait.
    pub const fn new(limit: WaitLimit) -> Self {
        Self { limit, session: 0, deadlock_ms: Self::DEADLOCK_MS }
    }

    /// The same session's wait with another limit.
    #[must_use]
    pub const fn with_limit(self, limit: WaitLimit) -> Self {
        Self { limit, ..self }
    }
}

/// Who holds or wants a lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct LockOwner {
    /// 0: unknown.
    pub session: i32,
    pub transaction: Option<TransactionId>,
}

/// Which of a session's waits: the ticket is its worker's.
pub type WaitTicket = u64;

/// What a lock is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum LockTarget {
    /// A row, or a unique index's entry.
    Row(RelationId),
    Table(RelationId),
    Advisory(AdvisoryKey),
}

/// The key of an advisory lock: the two forms are two key spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum AdvisoryKey {
    One(i64),
    Two(i32, i32),
}

impl AdvisoryKey {
    /// As `pg_locks` shows it: classid, objid, objsubid.
    pub fn parts(self) -> (u32, u32, i16) {
        match self {
            Self::One(key) => ((key.cast_unsigned() >> 32) as u32, key.cast_unsigned() as u32, 1),
            Self::Two(high, low) => (high.cast_unsigned(), low.cast_unsigned(), 2),
        }
    }
}

/// Somebody who waits at a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LockWaiter {
    pub ticket: WaitTicket,
    pub owner: LockOwner,
    pub target: LockTarget,
    pub mode: LockMode,
    pub waited_ms: u64,
    /// Who holds or is to get it before, in a mode that conflicts.
    pub blockers: Vec<LockOwner>,
}

/// Why somebody else ends a wait.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EndOfWait {
    /// 40P01, with the detail.
    Deadlock(String),
    /// 57014: the statement is cancelled.
    Canceled,
}

/// A lock that is held, as `pg_locks` shows it: tables and advisory locks one by one, rows only as a count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldLock {
    pub owner: LockOwner,
    pub target: LockTarget,
    pub mode: LockMode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_go_both_ways() {
        for a in LockMode::ALL {
            for b in LockMode::ALL {
                assert_eq!(a.conflicts().contains(b), b.conflicts().contains(a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_stronger_mode_covers_a_weaker_one() {
        let rows = [ForKeyShare, ForShare, ForNoKeyUpdate, ForUpdate];
        for (at, mode) in rows.iter().enumerate() {
            for (other_at, other) in rows.iter().enumerate() {
                assert_eq!(ModeSet::of(&[*mode]).covers(*other), at >= other_at);
            }
        }
        assert!(ModeSet::of(&[ShareRowExclusive]).covers(Share));
        assert!(!ModeSet::of(&[Share]).covers(RowExclusive));
        assert!(!ModeSet::EMPTY.covers(AccessShare));
    }
}
