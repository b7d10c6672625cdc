//! Where sequences stand, and the arithmetic of their next values.
//!
//! What a sequence is ([`Sequence`]) is a part of the catalog state. Where it stands is not: it changes with every run of values, and no plan depends
//! on it. The catalog node keeps it beside the state, durable before a run of values leaves the node, so that no value is given twice. A coordinator
//! takes a run and hands out its values one by one; what it has left when it dies is a gap, as after a crash of PostgreSQL.
//!
//! A sequence's *generation* rises with each change of it; runs of an older generation are thrown away by whoever holds them.

use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use serde::{Deserialize, Serialize};

use crate::objects::{Sequence, SequencePosition};

/// Where a sequence stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stand {
    /// The generation of the sequence that this was brought up to.
    pub generation: u64,
    pub position: SequencePosition,
}

impl Stand {
    /// Where a sequence begins.
    pub fn first(sequence: &Sequence) -> Self {
        Self { generation: sequence.generation, position: sequence.restart.position }
    }

    /// The stand in the sequence's own generation: begun again, where the sequence was restarted since.
    #[must_use]
    pub fn brought_up_to(self, sequence: &Sequence) -> Self {
        if sequence.restart.generation > self.generation {
            return Self::first(sequence);
        }
        Self { generation: sequence.generation, position: self.position }
    }
}

/// Values one after the other: `first`, `first + increment`, …
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    pub generation: u64,
    pub first: i64,
    pub count: u32,
    pub increment: i64,
}

impl Run {
    /// The last value of the run.
    pub fn last(&self) -> i64 {
        self.first.saturating_add(self.increment.saturating_mul(i64::from(self.count) - 1))
    }
}

/// The next values, at most `count`, and where the sequence stands behind them.
pub fn take(sequence: &Sequence, stand: Stand, count: u32) -> Result<(Run, Stand), Report> {
    let stand = stand.brought_up_to(sequence);
    let SequencePosition { last, is_called } = stand.position;
    let first = if is_called { next(sequence, last)? } else { last };
    let bound = if sequence.increment > 0 { sequence.max } else { sequence.min };
    let more = (i128::from(bound) - i128::from(first)) / i128::from(sequence.increment);
    let more = u32::try_from(more.max(0)).unwrap_or(u32::MAX);
    let count = count.max(1).min(more.saturating_add(1));
    let run = Run { generation: sequence.generation, first, count, increment: sequence.increment };
    let position = SequencePosition { last: run.last(), is_called: true };
    Ok((run, Stand { generation: sequence.generation, position }))
}

/// The value after `last`.
fn next(sequence: &Sequence, last: i64) -> Result<i64, Report> {
    let next = last.checked_add(sequence.increment).filter(|n| *n <= sequence.max && *n >= sequence.min);
    match next {
        Some(next) => Ok(next),
        None if sequence.cycle => Ok(if sequence.increment > 0 { sequence.min } else { sequence.max }),
        None => {
            let (which, bound) = if sequence.increment > 0 { ("maximum", sequence.max) } else { ("minimum", sequence.min) };
            let message = format!("nextval: reached {which} value of sequence \"{}\" ({bound})", sequence.name);
            Err(Report::new(SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED, message))
        }
    }
}

/// The sequence as `setval` leaves it.
pub fn set(sequence: &Sequence, value: i64, is_called: bool) -> Result<Sequence, Report> {
    if value < sequence.min || value > sequence.max {
        let message =
            format!("setval: value {value} is out of bounds for sequence \"{}\" ({}..{})", sequence.name, sequence.min, sequence.max);
        return Err(Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    Ok(sequence.clone().restarted(SequencePosition { last: value, is_called }))
}

/// 42704 for an oid of no sequence.
pub fn missing(oid: Oid) -> Report {
    Report::new(SqlState::UNDEFINED_TABLE, format!("could not open relation with OID {oid}"))
}

#[cfg(test)]
mod tests {
    use common::types::Scalar;

    use super::*;
    use crate::objects::SequenceRestart;

    fn sequence(increment: i64, min: i64, max: i64, cycle: bool) -> Sequence {
        let start = if increment > 0 { min } else { max };
        Sequence {
            oid: Oid(1),
            schema: Oid(2),
            name: "s".into(),
            ty: Scalar::Int8.into(),
            start,
            increment,
            min,
            max,
            cache: 1,
            cycle,
            owner: None,
            generation: 1,
            restart: SequenceRestart { generation: 1, position: SequencePosition { last: start, is_called: false } },
        }
    }

    #[test]
    fn runs_end_at_the_bound() {
        let s = sequence(5, 5, 17, false);
        let (run, stand) = take(&s, Stand::first(&s), 10).unwrap();
        assert_eq!((run.first, run.count, run.last()), (5, 3, 15));
        assert_eq!(take(&s, stand, 1).unwrap_err().message, "nextval: reached maximum value of sequence \"s\" (17)");
        let down = sequence(-1, i64::MIN, i64::MIN + 1, true);
        let (run, stand) = take(&down, Stand::first(&down), 10).unwrap();
        assert_eq!((run.first, run.count), (i64::MIN + 1, 2));
        assert_eq!(take(&down, stand, 1).unwrap().0.first, i64::MIN + 1);
    }

    #[test]
    fn a_restart_counts_from_its_generation() {
        let s = sequence(1, 1, 100, false);
        let (_, stand) = take(&s, Stand::first(&s), 10).unwrap();
        let altered = Sequence { generation: 2, increment: 2, ..s.clone() };
        assert_eq!(take(&altered, stand, 1).unwrap().0.first, 12);
        let set = set(&altered, 50, true).unwrap();
        assert_eq!((take(&set, stand, 1).unwrap().0.first, set.generation), (52, 3));
        assert!(super::set(&altered, 0, true).is_err());
    }
}
