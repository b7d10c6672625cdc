//! Waiting for a condition, never for a time.

use std::time::Duration;

use common::clock::{Clock, SystemClock};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Calls `attempt` until it gives something; `None` after `limit`.
pub fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let clock = SystemClock::new();
    loop {
        if let Some(found) = attempt() {
            return Some(found);
        }
        if clock.monotonic() >= limit {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}
