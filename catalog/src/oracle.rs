//! The timestamp oracle: increasing 64-bit timestamps, physical time in the upper bits and a counter in the lower ones.
//!
//! Its high-water mark is durable before any timestamp below it is used; after a restart it begins at the mark. Workers tell the highest
//! timestamp in their logs when they register, so that a catalog that lost its disk cannot go back either.

use std::sync::Arc;

use common::clock::Clock;
use common::ids::Timestamp;
use parking_lot::Mutex;

use crate::error::CatalogError;
use crate::store::Store;

/// The counter's bits: a thousand timestamps in a microsecond before the oracle runs ahead of the clock.
const COUNTER_BITS: u32 = 10;
/// How far ahead the mark is stored: ten seconds.
const WINDOW: u64 = 10_000_000 << COUNTER_BITS;

/// Hands out timestamps.
#[derive(Debug)]
pub struct Oracle {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    state: Mutex<OracleState>,
}

#[derive(Debug)]
struct OracleState {
    last: u64,
    /// Nothing at or above this may be given out yet.
    mark: u64,
}

impl Oracle {
    /// An oracle that begins above everything that was ever given out.
    pub fn open(store: Arc<Store>, clock: Arc<dyn Clock>) -> Result<Self, CatalogError> {
        let mark = store.oracle_mark()?;
        Ok(Self { store, clock, state: Mutex::new(OracleState { last: mark, mark }) })
    }

    /// The first of `count` consecutive timestamps, above all that were given before.
    pub fn take(&self, count: u32) -> Result<Timestamp, CatalogError> {
        let physical = u64::try_from(self.clock.unix_micros()).unwrap_or(0) << COUNTER_BITS;
        let mut state = self.state.lock();
        let first = physical.max(state.last + 1);
        let last = first + u64::from(count.max(1)) - 1;
        if last >= state.mark {
            let mark = last + WINDOW;
            self.store.set_oracle_mark(mark)?;
            state.mark = mark;
        }
        state.last = last;
        Ok(Timestamp(first))
    }

    /// Makes all later timestamps greater than `seen`.
    pub fn advance_beyond(&self, seen: Timestamp) {
        if seen != Timestamp::MAX {
            let mut state = self.state.lock();
            state.last = state.last.max(seen.0);
        }
    }
}

/// The physical part of a timestamp: microseconds since 1970 UTC.
pub fn physical_micros(at: Timestamp) -> i64 {
    i64::try_from(at.0 >> COUNTER_BITS).unwrap_or(i64::MAX)
}

/// The first timestamp of a moment.
pub fn at_micros(micros: i64) -> Timestamp {
    Timestamp(u64::try_from(micros).unwrap_or(0) << COUNTER_BITS)
}
