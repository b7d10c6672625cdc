//! Row locks: exclusive, first come first served, gone when nobody holds or wants them.
//!
//! # Invariants
//!
//! - A key has one owner at a time; an entry of the table exists exactly while its key is owned.
//! - A lock that is released goes straight to the first waiter, so nobody overtakes a queue and no wake-up is lost.
//! - Nobody waits in a cycle: who would close one is refused when it enters ([`WorkerError::Deadlock`]). The wait-for graph is
//!   read from the queues at that moment; as queues are handed over in order, leaving one never adds an edge to it.
//!
//! The graph covers this worker. A cycle through several workers is bounded by [`FOREVER`]: a wait "as long as it takes" that lasts longer is
//! answered as a deadlock too.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{RelationId, TransactionId};
use parking_lot::Mutex;
use rpc::worker_api::LockWait;
use tokio::sync::oneshot;

use crate::error::{Result, WorkerError};

/// A wait without a limit of its own ends here: only a deadlock across workers, or a transaction that sits on its locks, takes longer.
pub(crate) const FOREVER: Duration = Duration::from_secs(10);
/// Parts of the table; a power of two.
const SHARDS: usize = 64;

/// Who holds locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    Transaction(TransactionId),
    /// A statement that commits by itself, numbered by [`LockTable::new_statement`].
    Statement(u64),
}

/// What is locked: a row's key, or a unique index entry's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LockKey {
    pub(crate) relation: RelationId,
    pub(crate) key: Bytes,
}

#[derive(Debug)]
struct Waiter {
    owner: Owner,
    ticket: u64,
    wake: oneshot::Sender<()>,
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

#[derive(Debug)]
struct Entry {
    owner: Owner,
    /// Made for the first who waits.
    queue: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The ticket with which the owner waited, if it did.
    ticket: u64,
    waiters: VecDeque<Waiter>,
}

type Shard = HashMap<LockId, Entry, BuildHasherDefault<IdHasher>>;

/// The table. Locks are taken through [`Held`].
#[derive(Debug)]
pub(crate) struct LockTable {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// What each waiting owner waits for. Locked before any shard, never after one.
    waits: Mutex<HashMap<Owner, Vec<LockId>>>,
    tickets: AtomicU64,
    statements: AtomicU64,
}

/// How an attempt to take a lock went.
enum Entered {
    Taken,
    /// By the same owner, earlier.
    Already,
    Waits(Waiting),
}

impl LockTable {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            waits: Mutex::default(),
            tickets: AtomicU64::new(1),
            statements: AtomicU64::new(1),
        })
    }

    /// An owner for one statement.
    pub(crate) fn new_statement(&self) -> Owner {
        Owner::Statement(self.statements.fetch_add(1, Ordering::Relaxed))
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

    /// Takes the lock if it is free; otherwise tells whether the owner has it already.
    fn try_lock(&self, id: LockId, owner: Owner) -> Option<Entered> {
        let mut shard = self.shard(id).lock();
        match shard.get(&id) {
            None => {
                shard.insert(id, Entry { owner, queue: None });
                Some(Entered::Taken)
            }
            Some(entry) if entry.owner == owner => Some(Entered::Already),
            Some(_) => None,
        }
    }

    /// Takes the lock or enters its queue, unless that would close a cycle.
    fn enter(self: &Arc<Self>, id: LockId, owner: Owner) -> Result<Entered> {
        if let Some(entered) = self.try_lock(id, owner) {
            return Ok(entered);
        }
        let mut waits = self.waits.lock();
        if let Some(through) = self.cycle(&waits, id, owner) {
            return Err(WorkerError::Deadlock { detail: through });
        }
        let mut shard = self.shard(id).lock();
        let Some(entry) = shard.get_mut(&id) else {
            shard.insert(id, Entry { owner, queue: None });
            return Ok(Entered::Taken);
        };
        if entry.owner == owner {
            return Ok(Entered::Already);
        }
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (wake, woken) = oneshot::channel();
        entry.queue.get_or_insert_default().waiters.push_back(Waiter { owner, ticket, wake });
        waits.entry(owner).or_default().push(id);
        Ok(Entered::Waits(Waiting { table: Arc::clone(self), id, owner, ticket, woken, taken: false }))
    }

    /// Whether somebody who holds or waits for `key` waits, directly or not, for `owner`. Nobody can begin to wait meanwhile.
    fn cycle(&self, waits: &HashMap<Owner, Vec<LockId>>, id: LockId, owner: Owner) -> Option<String> {
        let mut seen = HashSet::new();
        let mut open = self.ahead_of(id, None);
        while let Some(other) = open.pop() {
            if other == owner {
                return Some(format!("{} waits for a lock in a cycle of {} waiting transactions.", name(owner), seen.len().max(1) + 1));
            }
            if seen.insert(other) {
                for id in waits.get(&other).into_iter().flatten() {
                    open.extend(self.ahead_of(*id, Some(other)));
                }
            }
        }
        None
    }

    /// Who comes before `waiter` in the queue of `key`, or all who are there. Nobody, when the waiter has left the queue.
    fn ahead_of(&self, id: LockId, waiter: Option<Owner>) -> Vec<Owner> {
        let shard = self.shard(id).lock();
        let Some(entry) = shard.get(&id) else { return Vec::new() };
        let waiters = || entry.queue.iter().flat_map(|queue| &queue.waiters);
        let place = match waiter {
            None => usize::MAX,
            Some(waiter) => match waiters().position(|w| w.owner == waiter) {
                Some(place) => place,
                None => return Vec::new(),
            },
        };
        std::iter::once(entry.owner).chain(waiters().take(place).map(|w| w.owner)).collect()
    }

    fn stop_waiting(&self, id: LockId, owner: Owner) {
        let mut waits = self.waits.lock();
        if let Some(keys) = waits.get_mut(&owner) {
            if let Some(place) = keys.iter().position(|k| *k == id) {
                keys.swap_remove(place);
            }
            if keys.is_empty() {
                waits.remove(&owner);
            }
        }
    }

    fn release(&self, id: LockId, owner: Owner) {
        let mut shard = self.shard(id).lock();
        if shard.get(&id).is_some_and(|entry| entry.owner == owner) {
            hand_over(&mut shard, id);
        }
    }

    /// Takes a waiter out of the queue, or gives back what it was given meanwhile.
    fn leave(&self, id: LockId, ticket: u64) {
        let mut shard = self.shard(id).lock();
        let Some(entry) = shard.get_mut(&id) else { return };
        let Some(queue) = &mut entry.queue else { return };
        if queue.ticket == ticket {
            hand_over(&mut shard, id);
        } else {
            queue.waiters.retain(|waiter| waiter.ticket != ticket);
        }
    }
}

/// Gives the lock to the first waiter, or removes the entry.
fn hand_over(shard: &mut Shard, id: LockId) {
    let Some(entry) = shard.get_mut(&id) else { return };
    let next = entry.queue.as_mut().and_then(|queue| {
        let next = queue.waiters.pop_front()?;
        queue.ticket = next.ticket;
        Some(next)
    });
    match next {
        Some(next) => {
            entry.owner = next.owner;
            // A receiver that is gone is inside its drop, which comes for this shard's lock next and finds its ticket on the entry.
            let _gone = next.wake.send(());
        }
        None => {
            shard.remove(&id);
        }
    }
}

fn name(owner: Owner) -> String {
    match owner {
        Owner::Transaction(id) => format!("Transaction {id}"),
        Owner::Statement(_) => "A statement".to_owned(),
    }
}

/// A place in a queue. Dropping it leaves the queue, or releases the lock if it has been granted meanwhile.
struct Waiting {
    table: Arc<LockTable>,
    id: LockId,
    owner: Owner,
    ticket: u64,
    woken: oneshot::Receiver<()>,
    taken: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.table.stop_waiting(self.id, self.owner);
        if !self.taken {
            self.table.leave(self.id, self.ticket);
        }
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

    /// Locks for a statement by itself.
    pub(crate) fn for_statement(table: &Arc<LockTable>) -> Self {
        Self::new(table, table.new_statement())
    }

    /// Takes a lock that nobody can hold yet (after a restart); tells whether it could.
    pub(crate) fn take_free(&mut self, key: LockKey) -> bool {
        let id = self.table.id(&key);
        match self.table.try_lock(id, self.owner) {
            Some(Entered::Taken) => {
                self.ids.push(id);
                true
            }
            Some(Entered::Already) => true,
            Some(Entered::Waits(_)) | None => false,
        }
    }

    /// Takes a lock, waiting as `wait` says. A lock that the owner has already is no wait.
    pub(crate) async fn take(&mut self, key: LockKey, wait: LockWait) -> Result<()> {
        let id = self.table.id(&key);
        let entered = match (self.table.try_lock(id, self.owner), wait) {
            (Some(entered), _) => entered,
            (None, LockWait::No) => return Err(WorkerError::LockNotAvailable),
            (None, LockWait::Forever | LockWait::Millis(_)) => self.table.enter(id, self.owner)?,
        };
        match entered {
            Entered::Already => return Ok(()),
            Entered::Taken => {}
            Entered::Waits(mut waiting) => {
                let limit = match wait {
                    LockWait::Millis(limit) => Duration::from_millis(u64::from(limit)),
                    LockWait::Forever | LockWait::No => FOREVER,
                };
                if !matches!(tokio::time::timeout(limit, &mut waiting.woken).await, Ok(Ok(()))) {
                    return Err(match wait {
                        LockWait::Millis(_) => WorkerError::LockTimeout,
                        LockWait::Forever | LockWait::No => {
                            WorkerError::Deadlock { detail: format!("{} waited for more than {FOREVER:?}.", name(self.owner)) }
                        }
                    });
                }
                waiting.taken = true;
            }
        }
        self.ids.push(id);
        Ok(())
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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> LockKey {
        LockKey { relation: RelationId(1), key: Bytes::copy_from_slice(&[n]) }
    }

    fn owner(n: u64) -> Owner {
        Owner::Transaction(TransactionId(n))
    }

    /// What a task does: takes some locks in any order (deadlocks are possible), maybe gives up early, lets go of all.
    #[derive(Clone, Debug)]
    struct Work {
        keys: Vec<u8>,
        patience: Option<u32>,
        pause: u64,
    }

    fn work() -> impl Strategy<Value = Work> {
        (proptest::collection::vec(0u8..4, 1..5), proptest::option::of(0u32..3), 0u64..3).prop_map(|(keys, patience, pause)| Work {
            keys,
            patience,
            pause,
        })
    }

    async fn run(table: Arc<LockTable>, holders: Arc<Vec<AtomicUsize>>, me: u64, work: Vec<Work>) {
        for step in work {
            let mut held = Held::new(&table, owner(me));
            let mut mine = Vec::new();
            for n in step.keys {
                let wait = step.patience.map_or(LockWait::Forever, LockWait::Millis);
                if held.take(key(n), wait).await.is_err() {
                    break;
                }
                if !mine.contains(&n) {
                    assert_eq!(holders[usize::from(n)].fetch_add(1, Ordering::SeqCst), 0, "two hold the same key");
                    mine.push(n);
                }
                tokio::time::sleep(Duration::from_micros(step.pause * 100)).await;
            }
            for n in mine {
                holders[usize::from(n)].fetch_sub(1, Ordering::SeqCst);
            }
            drop(held);
            tokio::task::yield_now().await;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// No two holders, nobody is forgotten in a queue, every deadlock is found, nothing is left behind.
        #[test]
        fn many_take_and_leave(tasks in proptest::collection::vec(proptest::collection::vec(work(), 1..6), 2..7)) {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
            runtime.block_on(async {
                let table = LockTable::new();
                let holders: Arc<Vec<AtomicUsize>> = Arc::new((0..4).map(|_| AtomicUsize::new(0)).collect());
                let running: Vec<_> = (1..)
                    .zip(tasks)
                    .map(|(me, work)| common::tasks::spawn("work", run(Arc::clone(&table), Arc::clone(&holders), me, work)))
                    .collect();
                for task in running {
                    // Less than the limit of an endless wait, so that a deadlock that is not found fails the test.
                    tokio::time::timeout(FOREVER / 2, task).await.expect("nobody waits for ever").unwrap();
                }
                assert_eq!(table.len(), 0);
                assert!(table.waits.lock().is_empty());
            });
        }
    }

    #[tokio::test]
    async fn the_queue_is_served_in_order() {
        let table = LockTable::new();
        let mut first = Held::new(&table, owner(100));
        first.take(key(0), LockWait::No).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for n in 0..10 {
            let (table, order) = (Arc::clone(&table), Arc::clone(&order));
            waiting.push(common::tasks::spawn("waiting", async move {
                let mut held = Held::new(&table, owner(n));
                held.take(key(0), LockWait::Forever).await.unwrap();
                order.lock().push(n);
                tokio::task::yield_now().await;
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        futures::future::join_all(waiting).await;
        assert_eq!(*order.lock(), (0..10).collect::<Vec<_>>());
        assert_eq!(table.len(), 0);
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_the_queue_or_passes_the_lock_on() {
        let table = LockTable::new();
        let mut first = Held::new(&table, owner(1));
        first.take(key(0), LockWait::No).await.unwrap();
        let mut second = Held::new(&table, owner(2));
        let mut third = Held::new(&table, owner(3));
        {
            let abandoned = second.take(key(0), LockWait::Forever);
            tokio::pin!(abandoned);
            assert!(futures::poll!(abandoned.as_mut()).is_pending());
            let behind = third.take(key(0), LockWait::Forever);
            tokio::pin!(behind);
            assert!(futures::poll!(behind.as_mut()).is_pending());
            // The lock is granted to the second, which never looks at it.
            drop(first);
        }
        assert_eq!(table.len(), 0, "both have gone without taking it");
        third.take(key(0), LockWait::No).await.unwrap();
    }

    #[tokio::test]
    async fn a_cycle_of_three_is_refused_and_a_queue_is_none() {
        let table = LockTable::new();
        let mut held: Vec<Held> = (0..4).map(|n| Held::new(&table, owner(n))).collect();
        for (n, held) in held.iter_mut().enumerate() {
            held.take(key(n as u8), LockWait::No).await.unwrap();
        }
        let [a, b, c, d] = &mut held[..] else { panic!("four") };
        let waits_a = a.take(key(1), LockWait::Forever);
        let waits_b = b.take(key(2), LockWait::Forever);
        let waits_d = d.take(key(2), LockWait::Forever);
        tokio::pin!(waits_a, waits_b, waits_d);
        assert!(futures::poll!(waits_a.as_mut()).is_pending());
        assert!(futures::poll!(waits_b.as_mut()).is_pending());
        assert!(futures::poll!(waits_d.as_mut()).is_pending(), "waiting behind somebody is no cycle");
        let closing = c.take(key(0), LockWait::Forever).await;
        assert!(matches!(closing, Err(WorkerError::Deadlock { .. })), "{closing:?}");
        let no_wait = c.take(key(0), LockWait::No).await;
        assert!(matches!(no_wait, Err(WorkerError::LockNotAvailable)), "{no_wait:?}");
    }
}
