//! Many tasks that take and leave locks at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};

use common::ids::TransactionId;
use proptest::prelude::*;

use super::*;

fn key(n: u8) -> LockKey {
    LockKey::row(RelationId(1), Bytes::copy_from_slice(&[n]))
}

fn owner(n: u64) -> Owner {
    Owner::Transaction(TransactionId(n))
}

const UPDATE: LockMode = LockMode::ForUpdate;

/// What a task does: takes some locks in order, maybe gives up early, lets go of all.
#[derive(Clone, Debug)]
struct Work {
    keys: Vec<(u8, bool)>,
    patience: Option<u32>,
    pause: u64,
}

fn work() -> impl Strategy<Value = Work> {
    let keys = proptest::collection::vec((0u8..4, any::<bool>()), 1..5);
    (keys, proptest::option::of(0u32..3), 0u64..3).prop_map(|(mut keys, patience, pause)| {
        // In one order, each once: no deadlocks.
        keys.sort_unstable();
        keys.dedup_by_key(|(key, _)| *key);
        Work { keys, patience, pause }
    })
}

/// Readers count one, a writer counts so many that nobody fits beside it.
const WRITER: usize = 1_000;

async fn run(table: Arc<LockTable>, holders: Arc<Vec<AtomicUsize>>, me: u64, work: Vec<Work>) {
    for step in work {
        let mut held = Held::new(&table, owner(me));
        let mut mine = Vec::new();
        for (n, shared) in step.keys {
            let wait = LockWait::new(step.patience.map_or(WaitLimit::Forever, WaitLimit::Millis));
            let (mode, weight) = if shared { (LockMode::ForShare, 1) } else { (UPDATE, WRITER) };
            if held.take(key(n), mode, wait).await.is_err() {
                break;
            }
            let before = holders[usize::from(n)].fetch_add(weight, Ordering::SeqCst);
            assert!(if shared { before < WRITER } else { before == 0 }, "a key is held twice");
            mine.push((n, weight));
            tokio::time::sleep(Duration::from_micros(step.pause * 100)).await;
        }
        for (n, weight) in mine {
            holders[usize::from(n)].fetch_sub(weight, Ordering::SeqCst);
        }
        drop(held);
        tokio::task::yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// No two holders that conflict, nobody is forgotten in a queue, nothing is left behind.
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
                tokio::time::timeout(Duration::from_secs(10), task).await.expect("nobody waits for ever").unwrap();
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
    first.take(key(0), UPDATE, LockWait::NO).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for n in 0..10 {
        let (table, order) = (Arc::clone(&table), Arc::clone(&order));
        waiting.push(common::tasks::spawn("waiting", async move {
            let mut held = Held::new(&table, owner(n));
            held.take(key(0), UPDATE, LockWait::FOREVER).await.unwrap();
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
    first.take(key(0), UPDATE, LockWait::NO).await.unwrap();
    let mut second = Held::new(&table, owner(2));
    let mut third = Held::new(&table, owner(3));
    {
        let abandoned = second.take(key(0), UPDATE, LockWait::FOREVER);
        tokio::pin!(abandoned);
        assert!(futures::poll!(abandoned.as_mut()).is_pending());
        let behind = third.take(key(0), UPDATE, LockWait::FOREVER);
        tokio::pin!(behind);
        assert!(futures::poll!(behind.as_mut()).is_pending());
        // The lock is granted to the second, which never looks at it.
        drop(first);
    }
    assert_eq!(table.len(), 0, "both have gone without taking it");
    third.take(key(0), UPDATE, LockWait::NO).await.unwrap();
}

#[tokio::test]
async fn an_upgrade_goes_before_those_who_hold_nothing_and_is_given_back_alone() {
    let table = LockTable::new();
    let mut sharing: Vec<Held> = (0..2).map(|n| Held::new(&table, owner(n))).collect();
    for held in &mut sharing {
        held.take(key(0), LockMode::ForShare, LockWait::NO).await.unwrap();
    }
    let (second, mut first) = (sharing.pop().unwrap(), sharing.pop().unwrap());
    let mut third = Held::new(&table, owner(2));
    let behind = third.take(key(0), UPDATE, LockWait::FOREVER);
    tokio::pin!(behind);
    assert!(futures::poll!(behind.as_mut()).is_pending());
    {
        let upgrade = first.take(key(0), UPDATE, LockWait::FOREVER);
        tokio::pin!(upgrade);
        assert!(futures::poll!(upgrade.as_mut()).is_pending());
        drop(second);
        assert!(futures::poll!(behind.as_mut()).is_pending(), "the upgrade comes first");
        // Granted, and never looked at: the shared lock stays.
    }
    assert!(futures::poll!(behind.as_mut()).is_pending(), "the shared lock is still held");
    drop(first);
    behind.await.unwrap();
}

#[tokio::test]
async fn a_wait_is_ended_from_outside() {
    let table = LockTable::new();
    let mut first = Held::new(&table, owner(1));
    first.take(key(0), UPDATE, LockWait::NO).await.unwrap();
    let mut second = Held::new(&table, owner(2));
    let waiting = second.take(key(0), UPDATE, LockWait::FOREVER);
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let seen = table.seen_waits();
    assert_eq!((seen.len(), seen[0].owner, seen[0].blockers.as_slice()), (1, owner(2), [owner(1)].as_slice()));
    table.end_wait(seen[0].ticket, EndOfWait::Deadlock("x".to_owned()));
    assert!(matches!(waiting.await, Err(WorkerError::Deadlock { detail }) if detail == "x"));
    assert!(table.seen_waits().is_empty());
    drop(first);
    assert_eq!(table.len(), 0);
}
