//! Deadlocks, over all workers.
//!
//! A session that waits for a lock is in the list of its worker, with those who are in its way ([`LockWaiter`]). When a wait has lasted for the
//! session's `deadlock_timeout`, the worker where it waits asks all workers for their lists. A cycle through that session is looked at twice: a
//! wait that ended between two workers' answers can make a cycle that never was, but not the same one again with the same tickets. Then one
//! wait of the cycle is ended, wherever it is: the youngest transaction's, so that two workers that find a cycle at the same time choose the
//! same victim, and the one that has done most goes on.
//!
//! A session that waits at several workers at once needs all of these locks, so any cycle is a deadlock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use common::ids::WorkerId;
use rpc::locks::{EndOfWait, HeldLock, LockMode, LockOwner, LockTarget, LockWaiter, WaitTicket};
use rpc::worker_api::WorkerApi;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::locks::{LockKey, Owner};

/// Between the two looks at a cycle.
const CONFIRM_PAUSE: Duration = Duration::from_millis(20);
/// A worker that does not answer in this time is left out: a session that waits there is found later.
const ASK_LIMIT: Duration = Duration::from_millis(500);

/// A wait, and the worker where it is.
type Wait = (WorkerId, LockWaiter);

/// Looks for deadlocks of those who have waited long, until `stop`.
pub(crate) async fn watch(core: Arc<Core>, stop: CancellationToken) {
    while let Some(due) = stop.run_until_cancelled(core.locks.overdue()).await {
        if stop.run_until_cancelled(look(&core, &due)).await.is_none() {
            return;
        }
    }
}

async fn look(core: &Arc<Core>, due: &[WaitTicket]) {
    let first = all_waits(core).await;
    let starts = first.iter().filter(|(worker, wait)| *worker == core.id && due.contains(&wait.ticket));
    let cycles = cycles(&first, starts.map(|(_, wait)| Session::of(wait.owner)));
    if cycles.is_empty() {
        return;
    }
    tokio::time::sleep(CONFIRM_PAUSE).await;
    let second = all_waits(core).await;
    for cycle in cycles.into_iter().filter(|cycle| is_still_there(cycle, &second)) {
        let Some((worker, victim)) = cycle.iter().max_by_key(|(_, wait)| age(wait.owner)) else { continue };
        tracing::info!(session = victim.owner.session, waiting = cycle.len(), "a deadlock is ended");
        let why = EndOfWait::Deadlock(describe(&cycle));
        if *worker == core.id {
            core.locks.end_wait(victim.ticket, why);
        } else if let Ok(api) = core.directory.worker(*worker)
            && let Err(error) = api.end_wait(victim.ticket, why).await
        {
            tracing::warn!(%worker, %error, "a deadlock could not be ended");
        }
    }
}

async fn all_waits(core: &Arc<Core>) -> Vec<Wait> {
    let state = core.cache.current();
    let others = state.workers().map(|worker| worker.id).filter(|id| *id != core.id);
    let asked = others.map(|id| {
        let api: Result<Arc<dyn WorkerApi>, _> = core.directory.worker(id);
        async move {
            let waits = async { api?.lock_waits().await };
            let waits = tokio::time::timeout(ASK_LIMIT, waits).await.ok().and_then(Result::ok).unwrap_or_default();
            waits.into_iter().map(|wait| (id, wait)).collect::<Vec<_>>()
        }
    });
    let mut all: Vec<Wait> = futures::future::join_all(asked).await.into_iter().flatten().collect();
    all.extend(core.lock_waits().into_iter().map(|wait| (core.id, wait)));
    all
}

/// What the nodes of the graph are: sessions, or transactions whose session is not known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Session {
    Number(i32),
    Transaction(u64),
    Unknown,
}

impl Session {
    fn of(owner: LockOwner) -> Self {
        match (owner.session, owner.transaction) {
            (0, Some(id)) => Self::Transaction(id.0),
            (0, None) => Self::Unknown,
            (number, _) => Self::Number(number),
        }
    }
}

/// Later ones are younger; a statement by itself has done nothing yet.
fn age(owner: LockOwner) -> (u64, i32) {
    (owner.transaction.map_or(u64::MAX, |id| id.0), owner.session)
}

/// A cycle through each of the sessions that is in one; a wait is in one of them at most.
fn cycles(waits: &[Wait], starts: impl Iterator<Item = Session>) -> Vec<Vec<Wait>> {
    let mut by_session: HashMap<Session, Vec<&Wait>> = HashMap::new();
    for wait in waits {
        by_session.entry(Session::of(wait.1.owner)).or_default().push(wait);
    }
    let (mut found, mut in_cycle) = (Vec::new(), HashSet::new());
    for start in starts.filter(|start| *start != Session::Unknown) {
        if in_cycle.contains(&start) {
            continue;
        }
        if let Some(cycle) = cycle_through(&by_session, start) {
            in_cycle.extend(cycle.iter().map(|(_, wait)| Session::of(wait.owner)));
            found.push(cycle);
        }
    }
    found
}

/// A way from a session back to itself, over waits: the shortest.
fn cycle_through(by_session: &HashMap<Session, Vec<&Wait>>, start: Session) -> Option<Vec<Wait>> {
    let mut reached_by: HashMap<Session, &Wait> = HashMap::new();
    let mut open = std::collections::VecDeque::from([start]);
    while let Some(session) = open.pop_front() {
        for wait in by_session.get(&session).into_iter().flatten() {
            for next in wait.1.blockers.iter().map(|blocker| Session::of(*blocker)) {
                if next == Session::Unknown || reached_by.contains_key(&next) {
                    continue;
                }
                reached_by.insert(next, wait);
                if next == start {
                    return Some(way_back(&reached_by, start));
                }
                open.push_back(next);
            }
        }
    }
    None
}

fn way_back(reached_by: &HashMap<Session, &Wait>, start: Session) -> Vec<Wait> {
    let (mut cycle, mut at) = (Vec::new(), start);
    while let Some(wait) = reached_by.get(&at) {
        cycle.push((*wait).clone());
        at = Session::of(wait.1.owner);
        if at == start {
            break;
        }
    }
    cycle.reverse();
    cycle
}

/// Whether each wait of a cycle still waits for the session behind the next one.
fn is_still_there(cycle: &[Wait], waits: &[Wait]) -> bool {
    (0..cycle.len()).all(|at| {
        let (worker, wait) = &cycle[at];
        let next = Session::of(cycle[(at + 1) % cycle.len()].1.owner);
        let now = waits.iter().find(|(w, now)| w == worker && now.ticket == wait.ticket);
        now.is_some_and(|(_, now)| now.blockers.iter().any(|blocker| Session::of(*blocker) == next))
    })
}

/// PostgreSQL's detail: a line for each wait.
fn describe(cycle: &[Wait]) -> String {
    let lines = (0..cycle.len()).map(|at| {
        let wait = &cycle[at].1;
        let blocker = cycle[(at + 1) % cycle.len()].1.owner;
        let what = match wait.target {
            // Who waits for a row waits for the transaction that has it.
            LockTarget::Row(_) => match blocker.transaction {
                Some(id) => format!("ShareLock on transaction {id}"),
                None => "ShareLock on a statement".to_owned(),
            },
            LockTarget::Table(relation) => format!("{} on relation {relation}", wait.mode.name()),
            LockTarget::Advisory(key) => {
                let (high, low, kind) = key.parts();
                format!("{} on advisory lock [{high},{low},{kind}]", wait.mode.name())
            }
        };
        format!("Process {} waits for {what}; blocked by process {}.", wait.owner.session, blocker.session)
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Core {
    /// Everybody who waits here.
    pub(crate) fn lock_waits(&self) -> Vec<LockWaiter> {
        let seen = self.locks.seen_waits().into_iter();
        let told = seen.map(|wait| LockWaiter {
            ticket: wait.ticket,
            owner: self.lock_owner(wait.owner),
            target: wait.target,
            mode: wait.mode,
            waited_ms: u64::try_from(wait.waited.as_millis()).unwrap_or(u64::MAX),
            blockers: wait.blockers.into_iter().map(|owner| self.lock_owner(owner)).collect(),
        });
        told.collect()
    }

    /// The session behind an owner.
    pub(crate) fn lock_owner(&self, owner: Owner) -> LockOwner {
        match owner {
            Owner::Transaction(id) => {
                let session = self.participants.get(id).map_or(0, |participant| participant.session());
                LockOwner { session, transaction: Some(id) }
            }
            Owner::Statement { session, .. } => LockOwner { session: session.cast_signed(), transaction: None },
            Owner::Session(session) => LockOwner { session, transaction: None },
        }
    }

    /// The tables and advisory keys that are locked here; a table that is written counts as locked by its writers.
    pub(crate) fn held_locks(&self) -> Vec<HeldLock> {
        let keys = self.advisory.keys().into_iter().map(LockKey::Advisory);
        let tables = self.locks.strong_tables().into_iter().map(LockKey::Table);
        let held = keys.chain(tables).flat_map(|key| {
            let holders = self.locks.holders(&key).into_iter();
            holders
                .flat_map(|(owner, modes)| modes.modes().map(move |mode| (owner, mode)))
                .map(move |(owner, mode)| (owner, key.target(), mode))
        });
        let written =
            self.writers.written().into_iter().map(|(owner, relation)| (owner, LockTarget::Table(relation), LockMode::RowExclusive));
        let mut all: Vec<HeldLock> =
            held.chain(written).map(|(owner, target, mode)| HeldLock { owner: self.lock_owner(owner), target, mode }).collect();
        all.sort_unstable_by_key(|lock| (lock.owner, lock.target, lock.mode));
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use common::ids::{RelationId, TransactionId};

    use super::*;

    fn owner(n: i32) -> LockOwner {
        LockOwner { session: n, transaction: Some(TransactionId(u64::from(n.cast_unsigned()))) }
    }

    fn wait(worker: u32, ticket: WaitTicket, who: i32, blockers: &[i32]) -> Wait {
        let blockers = blockers.iter().map(|n| owner(*n)).collect();
        let (target, mode) = (LockTarget::Row(RelationId(1)), LockMode::ForUpdate);
        (WorkerId(worker), LockWaiter { ticket, owner: owner(who), target, mode, waited_ms: 0, blockers })
    }

    fn sessions(cycle: &[Wait]) -> Vec<i32> {
        cycle.iter().map(|(_, wait)| wait.owner.session).collect()
    }

    #[test]
    fn a_cycle_over_workers_is_found_and_a_queue_is_none() {
        let waits = [wait(1, 1, 1, &[2]), wait(2, 1, 2, &[4, 3]), wait(3, 1, 3, &[1]), wait(3, 2, 5, &[3, 1]), wait(1, 9, 6, &[7])];
        let start = |n| std::iter::once(Session::Number(n));
        assert_eq!(sessions(&cycles(&waits, start(1))[0]), [1, 2, 3]);
        assert_eq!(sessions(&cycles(&waits, start(3))[0]), [3, 1, 2]);
        assert!(cycles(&waits, start(5)).is_empty(), "who waits behind a cycle is not in it");
        assert!(cycles(&waits, start(6)).is_empty());
    }

    #[test]
    fn one_cycle_is_found_once_and_only_while_it_lasts() {
        let waits = [wait(1, 1, 1, &[2]), wait(2, 5, 2, &[1])];
        let found = cycles(&waits, [1, 2].into_iter().map(Session::Number));
        assert_eq!(found.len(), 1);
        assert!(is_still_there(&found[0], &waits));
        let later = [wait(1, 1, 1, &[2]), wait(2, 6, 2, &[1])];
        assert!(!is_still_there(&found[0], &later), "another wait is another ticket");
        assert_eq!(
            describe(&found[0]),
            "Process 1 waits for ShareLock on transaction 2; blocked by process 2.\n\
             Process 2 waits for ShareLock on transaction 1; blocked by process 1."
        );
    }
}
