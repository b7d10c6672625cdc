//! Time as a dependency: servers take a [`Clock`], so that a simulation can own time.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a server reads time. Two implementations: [`SystemClock`], and [`ManualClock`] for tests and simulation.
pub trait Clock: Send + Sync + Debug {
    /// Microseconds since 1970-01-01 00:00 UTC.
    fn unix_micros(&self) -> i64;
    /// A point in time that only grows, for measuring durations.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else takes")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else takes")]
    fn unix_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock(parking_lot::Mutex<Duration>);

impl ManualClock {
    /// Moves time forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn unix_micros(&self) -> i64 {
        i64::try_from(self.0.lock().as_micros()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }
}
