//! How fresh an answer through an asynchronous index must be.

use common::ids::Timestamp;

/// `partita.index_freshness`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IndexFreshness {
    /// Everything that was committed before the statement began.
    #[default]
    Strong,
    /// Everything that this session committed: up to the timestamp of its last commit.
    Session(Timestamp),
    /// Nothing older than this many microseconds.
    Within(u64),
    /// Whatever the index has.
    Any,
}
