//! A session's advisory locks.
//!
//! The session counts: how often it has taken a key in a mode, for itself or until its transaction ends. The first time goes to the worker that
//! keeps the lock, the last time to let go goes there too, and nothing in between.
//!
//! All advisory locks of a cluster are kept by the worker with the lowest id, so that no coordinator looks for one elsewhere and a new worker moves
//! none. They go with the session; when its coordinator dies, the worker forgets them after some seconds.

use std::collections::HashMap;
use std::sync::Arc;

use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;
use parking_lot::Mutex;
use rpc::locks::{AdvisoryKey, LockMode, LockWait, WaitLimit};
use rpc::worker_api::WorkerApi;

use crate::coordinator::Coordinator;

/// How often a key is taken, in the two modes.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    shared: u32,
    exclusive: u32,
}

impl Counts {
    fn get(&self, mode: LockMode) -> u32 {
        if mode == LockMode::Exclusive { self.exclusive } else { self.shared }
    }

    fn of(&mut self, mode: LockMode) -> &mut u32 {
        if mode == LockMode::Exclusive { &mut self.exclusive } else { &mut self.shared }
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Taken {
    by_session: Counts,
    by_transaction: Counts,
}

impl Taken {
    /// The strongest mode that is still wanted.
    fn mode(&self) -> Option<LockMode> {
        if self.by_session.exclusive + self.by_transaction.exclusive > 0 {
            Some(LockMode::Exclusive)
        } else if self.by_session.shared + self.by_transaction.shared > 0 {
            Some(LockMode::Share)
        } else {
            None
        }
    }
}

/// The advisory locks of one session.
pub struct SessionLocks {
    coordinator: Arc<Coordinator>,
    session: i32,
    taken: Mutex<HashMap<AdvisoryKey, Taken>>,
    warnings: Mutex<Vec<Report>>,
}

/// What a function's name asks for.
struct Asked {
    waits: bool,
    for_transaction: bool,
    mode: LockMode,
}

impl Asked {
    fn of(name: &str) -> Self {
        Self {
            waits: !name.starts_with("pg_try_"),
            for_transaction: name.contains("_xact_"),
            mode: if name.ends_with("_shared") { LockMode::Share } else { LockMode::Exclusive },
        }
    }
}

impl SessionLocks {
    /// None yet.
    pub fn new(coordinator: &Arc<Coordinator>, session: i32) -> Arc<Self> {
        Arc::new(Self { coordinator: Arc::clone(coordinator), session, taken: Mutex::default(), warnings: Mutex::default() })
    }

    /// What the client is to be warned of.
    pub fn take_warnings(&self) -> Vec<Report> {
        std::mem::take(&mut *self.warnings.lock())
    }

    /// Answers one of the `pg_advisory_…` functions.
    pub async fn call(&self, name: &str, args: &[Datum], wait: LockWait) -> Result<Datum, Report> {
        if name == "pg_advisory_unlock_all" {
            self.let_go(|taken| taken.by_session = Counts::default()).await?;
            return Ok(Datum::Null);
        }
        let key = match args {
            [Datum::Int8(key)] => AdvisoryKey::One(*key),
            [Datum::Int4(high), Datum::Int4(low)] => AdvisoryKey::Two(*high, *low),
            _ => return Err(Report::internal(format!("{name} has other arguments than its signature"))),
        };
        let asked = Asked::of(name);
        if name.starts_with("pg_advisory_unlock") {
            return self.unlock(key, asked.mode).await.map(Datum::Bool);
        }
        let wait = if asked.waits { wait } else { wait.with_limit(WaitLimit::No) };
        let locked = self.lock(key, &asked, wait).await?;
        Ok(if asked.waits { Datum::Null } else { Datum::Bool(locked) })
    }

    async fn lock(&self, key: AdvisoryKey, asked: &Asked, wait: LockWait) -> Result<bool, Report> {
        let is_held =
            self.taken.lock().get(&key).is_some_and(|taken| taken.by_session.get(asked.mode) + taken.by_transaction.get(asked.mode) > 0);
        if !is_held {
            let unsure = Unsure { locks: self, key, is_settled: false };
            self.coordinator.advisory_sessions.lock().insert(self.session);
            let locked = keeper(&self.coordinator)?.advisory_lock(key, asked.mode, wait).await;
            unsure.settled();
            if !locked? {
                return Ok(false);
            }
        }
        let mut taken = self.taken.lock();
        let taken = taken.entry(key).or_default();
        let counts = if asked.for_transaction { &mut taken.by_transaction } else { &mut taken.by_session };
        *counts.of(asked.mode) += 1;
        Ok(true)
    }

    async fn unlock(&self, key: AdvisoryKey, mode: LockMode) -> Result<bool, Report> {
        let change = {
            let mut all = self.taken.lock();
            let Some(taken) = all.get_mut(&key).filter(|taken| taken.by_session.get(mode) > 0) else {
                drop(all);
                let message = format!("you don't own a lock of type {}", mode.name());
                self.warnings.lock().push(Report::new(SqlState::WARNING, message));
                return Ok(false);
            };
            let before = taken.mode();
            *taken.by_session.of(mode) -= 1;
            let after = taken.mode();
            if after.is_none() {
                all.remove(&key);
            }
            (before != after).then_some(after)
        };
        if let Some(keep) = change {
            keeper(&self.coordinator)?.advisory_unlock(self.session, key, keep).await?;
        }
        Ok(true)
    }

    /// The transaction has ended: what was taken until then goes.
    pub async fn end_transaction(&self) -> Result<(), Report> {
        self.let_go(|taken| taken.by_transaction = Counts::default()).await
    }

    async fn let_go(&self, change: impl Fn(&mut Taken)) -> Result<(), Report> {
        let mut changed = Vec::new();
        self.taken.lock().retain(|key, taken| {
            let before = taken.mode();
            change(taken);
            let after = taken.mode();
            if before != after {
                changed.push((*key, after));
            }
            after.is_some()
        });
        for (key, keep) in changed {
            keeper(&self.coordinator)?.advisory_unlock(self.session, key, keep).await?;
        }
        Ok(())
    }
}

/// A lock that is asked for: nobody knows who has it until the worker answers.
struct Unsure<'a> {
    locks: &'a SessionLocks,
    key: AdvisoryKey,
    is_settled: bool,
}

impl Unsure<'_> {
    fn settled(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let (coordinator, session, key) = (Arc::clone(&self.locks.coordinator), self.locks.session, self.key);
        let keep = self.locks.taken.lock().get(&key).and_then(Taken::mode);
        common::tasks::spawn("advisory_unlock", async move {
            if let Ok(worker) = keeper(&coordinator)
                && let Err(error) = worker.advisory_unlock(session, key, keep).await
            {
                tracing::debug!(%error, "an advisory lock may be held for nothing until its session ends");
            }
        });
    }
}

impl Drop for SessionLocks {
    fn drop(&mut self) {
        if !self.coordinator.advisory_sessions.lock().remove(&self.session) {
            return;
        }
        let (coordinator, session) = (Arc::clone(&self.coordinator), self.session);
        common::tasks::spawn("end_session", async move {
            if let Ok(worker) = keeper(&coordinator)
                && let Err(error) = worker.end_session(session).await
            {
                tracing::debug!(%error, "a session's advisory locks stay until the worker forgets it");
            }
        });
    }
}

/// The worker that keeps the advisory locks.
pub fn keeper(coordinator: &Coordinator) -> Result<Arc<dyn WorkerApi>, Report> {
    let state = coordinator.state();
    let first = state.workers().map(|worker| worker.id).min();
    coordinator.worker(first.ok_or_else(|| Report::new(SqlState::CONNECTION_FAILURE, "there is no worker to keep the lock"))?)
}
