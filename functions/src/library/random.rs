//! `random` and `setseed`: xoroshiro128** seeded as PostgreSQL 15 does, so that a seeded session sees PostgreSQL's own numbers.
//!
//! A session that has called `setseed` has a generator of its own, found by its backend's number; all others draw from the thread's
//! generator. Only calls that are evaluated where `setseed` was (the coordinator) follow the seed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use common::datum::Datum;
use common::sqlstate::SqlState;
use types::error::ValueError;

use crate::definition::{Args, Definition, fail, row};
use crate::error::Result;

/// So many seeded sessions are remembered; the oldest is forgotten first, and draws unseeded numbers again.
const SEEDED_SESSIONS_MAX: usize = 1024;

pub(crate) fn definitions() -> Vec<Definition> {
    vec![row("random() float8", random).volatile(), row("setseed(float8) void", setseed).volatile()]
}

#[derive(Clone, Copy)]
struct Generator([u64; 2]);

impl Generator {
    /// As pg_prng_fseed: the seed's bits are spread by splitmix64.
    fn seeded(seed: f64) -> Self {
        const MANTISSA: f64 = ((1_u64 << 52) - 1) as f64;
        let mut state = ((MANTISSA * seed) as i64).cast_unsigned();
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        Self([next(), next()])
    }

    fn next(&mut self) -> u64 {
        let [first, second] = self.0;
        let mixed = second ^ first;
        let value = first.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        self.0 = [first.rotate_left(24) ^ mixed ^ (mixed << 16), mixed.rotate_left(37)];
        value
    }

    /// From 0 to below 1.
    fn double(&mut self) -> f64 {
        (self.next() >> 12) as f64 / (1_u64 << 52) as f64
    }
}

static ANY_SEEDED: AtomicBool = AtomicBool::new(false);
static SEEDED: LazyLock<Mutex<VecDeque<(i32, Generator)>>> = LazyLock::new(Mutex::default);

fn random(args: &Args<'_>) -> Result<Datum, ValueError> {
    if ANY_SEEDED.load(Ordering::Acquire) {
        let mut seeded = SEEDED.lock().unwrap_or_else(PoisonError::into_inner);
        let session = args.settings().backend_pid;
        if let Some((_, generator)) = seeded.iter_mut().find(|(pid, _)| *pid == session) {
            return Ok(Datum::Float8(generator.double()));
        }
    }
    Ok(Datum::Float8(rand::random::<f64>()))
}

fn setseed(args: &Args<'_>) -> Result<Datum, ValueError> {
    let seed = args.float8(0)?;
    if !(-1.0..=1.0).contains(&seed) {
        let shown = if seed.is_nan() { "NaN".to_owned() } else { seed.to_string() };
        return fail(SqlState::INVALID_PARAMETER_VALUE, format!("setseed parameter {shown} is out of allowed range [-1,1]"));
    }
    let session = args.settings().backend_pid;
    let mut seeded = SEEDED.lock().unwrap_or_else(PoisonError::into_inner);
    seeded.retain(|(pid, _)| *pid != session);
    if seeded.len() >= SEEDED_SESSIONS_MAX {
        seeded.pop_front();
    }
    seeded.push_back((session, Generator::seeded(seed)));
    ANY_SEEDED.store(true, Ordering::Release);
    Ok(Datum::Null)
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn seeded_numbers_are_postgresqls() {
        let mut generator = Generator::seeded(0.5);
        let numbers = [generator.double(), generator.double(), generator.double()];
        assert_eq!(numbers, [0.985_167_717_534_799_9, 0.825_301_858_027_981, 0.129_746_100_124_504_16]);
        assert_eq!(Generator::seeded(-1.0).double(), 0.725_656_831_544_149);
    }
}
