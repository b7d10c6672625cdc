//! Locks of rows, tables and advisory keys at this worker: first come first served, gone when nobody holds or wants them.
//!
//! # Invariants
//!
//! - No two hold one key in modes that conflict; an entry of the table exists exactly while its key is held.
//! - A lock that is released goes straight to those who wait, in the order of [`entry`]: no wake-up is lost.
//! - Who waits is in the list of waits, with what it waits for, until its wait is over: [`crate::deadlocks`] reads the list of all workers
//!   and ends the wait of one in each cycle.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::ids::RelationId;
use parking_lot::Mutex;
use rpc::locks::{AdvisoryKey, EndOfWait, LockMode, LockTarget, LockWait, ModeSet, WaitLimit, WaitTicket};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::error::{Result, WorkerError};

mod entry;

pub(crate) use entry::Owner;
use entry::{Entry, Request, Waiter};

/// Parts of the table; a power of two.
const SHARDS: usize = 64;

/// What is locked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum LockKey {
    /// A row's key, or a unique index entry's.
    Row {
        relation: RelationId,
        key: Bytes,
    },
    Table(RelationId),
    Advisory(AdvisoryKey),
}

impl LockKey {
    /// A row's key, or a unique index entry's.
    pub(crate) fn row(relation: RelationId, key: Bytes) -> Self {
        Self::Row { relation, key }
    }

    /// What it is, without the row.
    pub(crate) fn target(&self) -> LockTarget {
        match self {
            Self::Row { relation, .. } => LockTarget::Row(*relation),
            Self::Table(relation) => LockTarget::Table(*relation),
            Self::Advisory(key) => LockTarget::Advisory(*key),
        }
    }
}

/// Stands for a key in the table: its hash. A transaction may lock millions of rows, and keys would take several times the memory. Two keys of
/// one hash (there are 2^64) are one lock: who wants the second waits for the first, and nothing else goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LockId(u64);

impl Hash for LockId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A lock's id is a hash already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

type Shard = HashMap<LockId, Entry, BuildHasherDefault<IdHasher>>;

/// A wait, as long as it lasts.
#[derive(Debug)]
struct Wait {
    id: LockId,
    owner: Owner,
    target: LockTarget,
    mode: LockMode,
    since: Instant,
    /// When to look for a deadlock next, and how long after that again.
    check_at: Instant,
    check_every: Duration,
    session: i32,
    /// For a wait that is in no queue.
    other: Option<OtherWait>,
}

#[derive(Debug)]
struct OtherWait {
    blockers: Vec<Owner>,
    end: oneshot::Sender<EndOfWait>,
}

impl Wait {
    fn new(id: LockId, owner: Owner, target: LockTarget, mode: LockMode, wait: LockWait) -> Self {
        let since = Instant::now();
        let check_every = Duration::from_millis(u64::from(wait.deadlock_ms.max(1)));
        Self { id, owner, target, mode, since, check_at: since + check_every, check_every, session: wait.session, other: None }
    }
}

/// A wait as others see it.
#[derive(Debug)]
pub(crate) struct SeenWait {
    pub(crate) ticket: WaitTicket,
    pub(crate) owner: Owner,
    pub(crate) target: LockTarget,
    pub(crate) mode: LockMode,
    pub(crate) waited: Duration,
    pub(crate) blockers: Vec<Owner>,
}

/// The table. Locks are taken through [`Held`].
#[derive(Debug)]
pub(crate) struct LockTable {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Never locked together with a shard.
    waits: Mutex<HashMap<WaitTicket, Wait>>,
    /// Somebody has begun to wait.
    waiting: Notify,
    /// Tables that somebody locks or wants to, and how many do ([`crate::table_locks`]).
    announced: Mutex<HashMap<RelationId, usize>>,
    /// The number of these tables: nobody looks further when it is 0.
    announced_count: AtomicUsize,
    tickets: AtomicU64,
    statements: AtomicU32,
}

impl LockTable {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            waits: Mutex::default(),
            waiting: Notify::new(),
            announced: Mutex::default(),
            announced_count: AtomicUsize::new(0),
            tickets: AtomicU64::new(1),
            statements: AtomicU32::new(1),
        })
    }

    /// An owner for one statement of a session.
    fn new_statement(&self, session: i32) -> Owner {
        Owner::Statement { session: session.cast_unsigned(), number: self.statements.fetch_add(1, Ordering::Relaxed) }
    }

    /// How many keys are locked.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn id(&self, key: &LockKey) -> LockId {
        LockId(self.hasher.hash_one(key))
    }

    fn shard(&self, id: LockId) -> &Mutex<Shard> {
        // Bits that a shard's own table uses last.
        &self.shards[(id.0 >> 40) as usize % SHARDS]
    }

    fn request(&self, id: LockId, owner: Owner, mode: LockMode) -> Request {
        let mut shard = self.shard(id).lock();
        match shard.get_mut(&id) {
            Some(entry) => entry.request(owner, mode),
            None => {
                shard.insert(id, Entry::new(owner, mode));
                Request::Granted
            }
        }
    }

    /// Takes the lock or enters its queue.
    fn enter(self: &Arc<Self>, key: &LockKey, id: LockId, owner: Owner, mode: LockMode, wait: LockWait) -> Result<Waiting, Request> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        self.waits.lock().insert(ticket, Wait::new(id, owner, key.target(), mode, wait));
        let (wake, woken) = oneshot::channel();
        let mut shard = self.shard(id).lock();
        let request = match shard.get_mut(&id) {
            Some(entry) => match entry.request(owner, mode) {
                Request::Busy => {
                    entry.wait(Waiter { owner, mode, ticket, wake });
                    None
                }
                done => Some(done),
            },
            None => {
                shard.insert(id, Entry::new(owner, mode));
                Some(Request::Granted)
            }
        };
        drop(shard);
        if let Some(done) = request {
            self.waits.lock().remove(&ticket);
            return Err(done);
        }
        self.waiting.notify_one();
        Ok(Waiting { table: Arc::clone(self), id, ticket, woken, is_taken: false })
    }

    fn at(&self, id: LockId, what: impl FnOnce(&mut Entry) -> bool) {
        let mut shard = self.shard(id).lock();
        if shard.get_mut(&id).is_some_and(what) {
            shard.remove(&id);
        }
    }

    fn release(&self, id: LockId, owner: Owner) {
        self.at(id, |entry| entry.release(owner));
    }

    /// Who holds what, of the keys given.
    pub(crate) fn holders(&self, key: &LockKey) -> Vec<(Owner, ModeSet)> {
        let id = self.id(key);
        self.shard(id).lock().get(&id).map(|entry| entry.held().collect()).unwrap_or_default()
    }

    /// Somebody begins to lock a table.
    pub(crate) fn announce_table(&self, relation: RelationId) {
        let mut announced = self.announced.lock();
        *announced.entry(relation).or_default() += 1;
        self.announced_count.store(announced.len(), Ordering::SeqCst);
    }

    /// Somebody has let go of a table.
    pub(crate) fn withdraw_table(&self, relation: RelationId) {
        let mut announced = self.announced.lock();
        if let Some(count) = announced.get_mut(&relation) {
            *count -= 1;
            if *count == 0 {
                announced.remove(&relation);
            }
        }
        self.announced_count.store(announced.len(), Ordering::SeqCst);
    }

    /// Whether somebody locks the table, or wants to.
    pub(crate) fn is_table_announced(&self, relation: RelationId) -> bool {
        self.announced_count.load(Ordering::SeqCst) > 0 && self.announced.lock().contains_key(&relation)
    }

    /// The tables that somebody locks or wants to.
    pub(crate) fn strong_tables(&self) -> Vec<RelationId> {
        self.announced.lock().keys().copied().collect()
    }

    /// Notes a wait for something else than a lock of the table.
    pub(crate) fn note_wait(self: &Arc<Self>, owner: Owner, target: LockTarget, mode: LockMode, wait: LockWait) -> NotedWait {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let noted = Wait { other: Some(OtherWait { blockers: Vec::new(), end }), ..Wait::new(LockId(0), owner, target, mode, wait) };
        self.waits.lock().insert(ticket, noted);
        self.waiting.notify_one();
        NotedWait { table: Arc::clone(self), ticket, ended }
    }

    /// Leaves an owner nothing but `keep` of what it holds of a key.
    pub(crate) fn reduce(&self, key: &LockKey, owner: Owner, keep: ModeSet) {
        self.at(self.id(key), |entry| entry.reduce(owner, keep));
    }

    /// Ends a wait, unless it is over.
    pub(crate) fn end_wait(&self, ticket: WaitTicket, why: EndOfWait) {
        let mut waits = self.waits.lock();
        let Some(wait) = waits.get_mut(&ticket) else { return };
        let id = wait.id;
        if let Some(other) = wait.other.take() {
            let _gone = other.end.send(why);
            return;
        }
        drop(waits);
        self.at(id, |entry| {
            entry.refuse(ticket, why);
            false
        });
    }

    /// Ends all waits of a session.
    pub(crate) fn end_waits_of(&self, session: i32) {
        let tickets: Vec<WaitTicket> =
            self.waits.lock().iter().filter(|(_, wait)| wait.session == session).map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.end_wait(ticket, EndOfWait::Canceled);
        }
    }

    /// All who wait.
    pub(crate) fn seen_waits(&self) -> Vec<SeenWait> {
        let now = Instant::now();
        let noted: Vec<(SeenWait, LockId)> = self
            .waits
            .lock()
            .iter()
            .map(|(ticket, w)| {
                let waited = now.saturating_duration_since(w.since);
                let blockers = w.other.as_ref().map(|other| other.blockers.clone()).unwrap_or_default();
                (SeenWait { ticket: *ticket, owner: w.owner, target: w.target, mode: w.mode, waited, blockers }, w.id)
            })
            .collect();
        let blocked = |(wait, id): (SeenWait, LockId)| {
            if !wait.blockers.is_empty() {
                return wait;
            }
            let shard = self.shard(id).lock();
            SeenWait { blockers: shard.get(&id).map(|entry| entry.blockers(wait.ticket)).unwrap_or_default(), ..wait }
        };
        noted.into_iter().map(blocked).filter(|wait| !wait.blockers.is_empty()).collect()
    }

    /// Comes back when somebody has waited for as long as it wants before a deadlock is looked for; answers who.
    pub(crate) async fn overdue(&self) -> Vec<WaitTicket> {
        loop {
            let begun = self.waiting.notified();
            let now = Instant::now();
            let (mut due, mut next) = (Vec::new(), None);
            for (ticket, wait) in self.waits.lock().iter_mut() {
                if wait.check_at <= now {
                    wait.check_at = now + wait.check_every;
                    due.push(*ticket);
                }
                next = Some(next.map_or(wait.check_at, |at: Instant| at.min(wait.check_at)));
            }
            if !due.is_empty() {
                return due;
            }
            match next {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = begun => {}
                    }
                }
                None => begun.await,
            }
        }
    }
}

/// A wait that is in no queue, as long as it lasts.
#[derive(Debug)]
pub(crate) struct NotedWait {
    table: Arc<LockTable>,
    ticket: WaitTicket,
    ended: oneshot::Receiver<EndOfWait>,
}

impl NotedWait {
    /// Who is waited for now.
    pub(crate) fn set_blockers(&mut self, blockers: Vec<Owner>) {
        if let Some(OtherWait { blockers: noted, .. }) = self.table.waits.lock().get_mut(&self.ticket).and_then(|wait| wait.other.as_mut())
        {
            *noted = blockers;
        }
    }

    /// Comes back when somebody ends the wait.
    pub(crate) async fn ended(&mut self) -> EndOfWait {
        (&mut self.ended).await.unwrap_or(EndOfWait::Canceled)
    }
}

impl Drop for NotedWait {
    fn drop(&mut self) {
        self.table.waits.lock().remove(&self.ticket);
    }
}

/// A place in a queue. Dropping it leaves the queue, or gives back what has been granted meanwhile.
struct Waiting {
    table: Arc<LockTable>,
    id: LockId,
    ticket: WaitTicket,
    woken: oneshot::Receiver<Result<(), EndOfWait>>,
    is_taken: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.table.waits.lock().remove(&self.ticket);
        let (ticket, is_taken) = (self.ticket, self.is_taken);
        self.table.at(self.id, |entry| {
            if is_taken {
                entry.accept(ticket);
                return false;
            }
            entry.leave(ticket)
        });
    }
}

/// Locks of one owner; dropping it releases them.
#[derive(Debug)]
pub(crate) struct Held {
    table: Arc<LockTable>,
    owner: Owner,
    ids: Vec<LockId>,
}

impl Held {
    /// No locks yet.
    pub(crate) fn new(table: &Arc<LockTable>, owner: Owner) -> Self {
        Self { table: Arc::clone(table), owner, ids: Vec::new() }
    }

    /// Locks for a statement by itself, of a session (0: nobody's).
    pub(crate) fn for_statement(table: &Arc<LockTable>, session: i32) -> Self {
        Self::new(table, table.new_statement(session))
    }

    /// Whose they are.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether the owner has a lock in that mode or a stronger one.
    pub(crate) fn holds(&self, key: &LockKey, mode: LockMode) -> bool {
        self.table.holders(key).iter().any(|(owner, modes)| *owner == self.owner && modes.covers(mode))
    }

    /// Takes a lock if nobody is in the way; tells whether it could.
    pub(crate) fn take_free(&mut self, key: &LockKey, mode: LockMode) -> bool {
        let id = self.table.id(key);
        match self.table.request(id, self.owner, mode) {
            Request::Granted => {
                self.ids.push(id);
                true
            }
            Request::Already => true,
            Request::Busy => false,
        }
    }

    /// Takes a lock, waiting as `wait` says. A lock that the owner has already is no wait.
    pub(crate) async fn take(&mut self, key: LockKey, mode: LockMode, wait: LockWait) -> Result<()> {
        if self.take_free(&key, mode) {
            return Ok(());
        }
        let limit = match wait.limit {
            WaitLimit::No | WaitLimit::Skip => return Err(WorkerError::LockNotAvailable(key.target())),
            WaitLimit::Millis(limit) => Some(Duration::from_millis(u64::from(limit))),
            WaitLimit::Forever => None,
        };
        let id = self.table.id(&key);
        let is_new = match self.table.enter(&key, id, self.owner, mode, wait) {
            Err(done) => done == Request::Granted,
            Ok(mut waiting) => {
                let woken = &mut waiting.woken;
                let answer = match limit {
                    Some(limit) => tokio::time::timeout(limit, woken).await.map_err(|_| WorkerError::LockTimeout)?,
                    None => woken.await,
                };
                match answer {
                    Ok(Ok(())) => {}
                    Ok(Err(EndOfWait::Deadlock(detail))) => return Err(WorkerError::Deadlock { detail }),
                    Ok(Err(EndOfWait::Canceled)) | Err(_) => return Err(WorkerError::WaitCanceled),
                }
                waiting.is_taken = true;
                // An upgrade of a lock that is in the list already is noted twice, and released twice, which does nothing.
                true
            }
        };
        if is_new {
            self.ids.push(id);
        }
        Ok(())
    }

    /// Forgets a lock that its owner has released otherwise.
    pub(crate) fn forget(&mut self, key: &LockKey) {
        let id = self.table.id(key);
        self.ids.retain(|held| *held != id);
    }

    /// Takes over the locks of another set of the same owner.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        debug_assert_eq!(self.owner, other.owner);
        self.ids.append(&mut other.ids);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            self.table.release(id, self.owner);
        }
    }
}

#[cfg(test)]
mod tests;
