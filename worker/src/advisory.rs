//! Advisory locks: they belong to sessions, not to transactions; the coordinator counts how often and for how long a session wants one.
//!
//! A session's locks go when its coordinator says that it has ended, or when the coordinator has not spoken of the session for
//! [`SILENCE_MAX`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rpc::locks::{AdvisoryKey, LockMode, LockWait, ModeSet, WaitLimit};

use crate::core::Core;
use crate::error::{Result, WorkerError};
use crate::locks::{Held, LockKey, Owner};

/// A session whose coordinator is silent for this long has no locks any more.
const SILENCE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Locked {
    held: Held,
    keys: HashSet<AdvisoryKey>,
    heard: Duration,
}

/// The sessions that hold advisory locks here.
#[derive(Debug, Default)]
pub(crate) struct Advisory(Mutex<HashMap<i32, Locked>>);

impl Advisory {
    /// All keys that are locked.
    pub(crate) fn keys(&self) -> HashSet<AdvisoryKey> {
        self.0.lock().values().flat_map(|locked| locked.keys.iter().copied()).collect()
    }

    /// Notes that sessions live.
    pub(crate) fn keep(&self, sessions: &[i32], now: Duration) {
        let mut all = self.0.lock();
        for session in sessions {
            if let Some(locked) = all.get_mut(session) {
                locked.heard = now;
            }
        }
    }

    /// Lets go of all that a session has.
    pub(crate) fn end(&self, session: i32) {
        let ended = self.0.lock().remove(&session);
        drop(ended);
    }

    /// Lets go of what sessions have that nobody speaks of.
    pub(crate) fn forget_silent(&self, now: Duration) {
        let silent: Vec<Locked> =
            self.0.lock().extract_if(|_, locked| now.saturating_sub(locked.heard) > SILENCE_MAX).map(|(_, locked)| locked).collect();
        if !silent.is_empty() {
            tracing::info!(sessions = silent.len(), "advisory locks go: the coordinator of their sessions is silent");
        }
    }
}

impl Core {
    /// See [`rpc::worker_api::WorkerApi::advisory_lock`].
    pub(crate) async fn advisory_lock(self: &Arc<Self>, key: AdvisoryKey, mode: LockMode, wait: LockWait) -> Result<bool> {
        let owner = Owner::Session(wait.session);
        let mut held = Held::new(&self.locks, owner);
        match held.take(LockKey::Advisory(key), mode, wait).await {
            Ok(()) => {}
            Err(WorkerError::LockNotAvailable(_)) if wait.limit == WaitLimit::No => return Ok(false),
            Err(error) => return Err(error),
        }
        let now = self.clock.monotonic();
        let mut all = self.advisory.0.lock();
        let locked =
            all.entry(wait.session).or_insert_with(|| Locked { held: Held::new(&self.locks, owner), keys: HashSet::new(), heard: now });
        locked.held.absorb(held);
        locked.keys.insert(key);
        locked.heard = now;
        Ok(true)
    }

    /// See [`rpc::worker_api::WorkerApi::advisory_unlock`].
    pub(crate) fn advisory_unlock(&self, session: i32, key: AdvisoryKey, keep: Option<LockMode>) {
        let mut all = self.advisory.0.lock();
        if let Some(locked) = all.get_mut(&session) {
            if keep.is_none() {
                locked.keys.remove(&key);
                locked.held.forget(&LockKey::Advisory(key));
            }
            if locked.keys.is_empty() {
                all.remove(&session);
            }
        }
        drop(all);
        let keep = keep.map_or(ModeSet::EMPTY, |mode| ModeSet::of(&[mode]));
        self.locks.reduce(&LockKey::Advisory(key), Owner::Session(session), keep);
    }
}
