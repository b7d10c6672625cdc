//! PostgreSQL's interval: months, days and microseconds, which do not convert into each other until compared.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// An interval. Two intervals are equal when they last equally long with months of 30 days and days of 24 hours.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Interval {
    /// Microseconds, counting 30 days a month and 24 hours a day: the order of intervals.
    pub fn total_micros(self) -> i128 {
        const DAY: i128 = 86_400_000_000;
        i128::from(self.micros) + (i128::from(self.months) * 30 + i128::from(self.days)) * DAY
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Self) -> bool {
        self.total_micros() == other.total_micros()
    }
}

impl Eq for Interval {}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Self) -> Ordering {
        self.total_micros().cmp(&other.total_micros())
    }
}

impl Hash for Interval {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.total_micros().hash(state);
    }
}
