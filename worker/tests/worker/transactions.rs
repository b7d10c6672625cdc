//! Transactions that last longer than a call, or that two workers share.

use std::sync::Arc;
use std::time::Duration;

use common::ids::{Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use rpc::worker_api::*;

use crate::cluster::{Cluster, TestTable, n_of, row};

async fn lock(cluster: &Cluster, table: &TestTable, transaction: TransactionId, id: i64, wait: LockWait) -> Answer<Vec<Option<FoundRow>>> {
    let (worker, partition) = cluster.route(table, id);
    let keys = vec![table.row_key(id)];
    let (catalog_version, relation, mode) = (cluster.version(), table.storage, LockMode::ForUpdate);
    let request = LockRequest { catalog_version, transaction, relation, partition, keys, mode, wait, rows_max: None, is_known: false };
    Ok(worker.lock(request).await?.into_iter().map(LockedRow::found).collect())
}

async fn write(cluster: &Cluster, table: &TestTable, transaction: TransactionId, id: i64, n: i32) -> Answer<WriteResponse> {
    let (worker, _) = cluster.route(table, id);
    let partitions = vec![cluster.write(table, id, Some(row(id, Some(n), "")), Precondition::None)];
    worker
        .write(WriteRequest {
            catalog_version: cluster.version(),
            transaction,
            partitions,
            wait: LockWait::FOREVER,
            is_known: false,
            undos: 0,
            is_serializable: false,
        })
        .await
}

fn commit(cluster: &Cluster, transaction: TransactionId, writes: Vec<PartitionWrites>) -> CommitRequest {
    CommitRequest {
        catalog_version: cluster.version(),
        transaction: Some(transaction),
        writes,
        wait: LockWait::FOREVER,
        is_known: false,
        validation: None,
    }
}

fn prepare(cluster: &Cluster, transaction: TransactionId, writes: Vec<PartitionWrites>) -> PrepareRequest {
    let participants = vec![WorkerId(1), WorkerId(2)];
    PrepareRequest {
        catalog_version: cluster.version(),
        transaction,
        participants,
        writes,
        wait: LockWait::FOREVER,
        is_known: false,
        validation: None,
    }
}

/// A row on worker 1 and a row on worker 2.
fn one_each(cluster: &Cluster, table: &TestTable) -> (i64, i64) {
    let first = cluster.route(table, 1).0.id();
    if first == WorkerId(1) { (1, 1_001) } else { (1_001, 1) }
}

fn undo(transaction: TransactionId, after: Timestamp, undos: u32) -> UndoRequest {
    UndoRequest { transaction, after, undos, is_known: false }
}

async fn written(cluster: &Cluster, table: &TestTable, transaction: TransactionId, id: i64, n: i32) -> Timestamp {
    match write(cluster, table, transaction, id, n).await.unwrap() {
        WriteResponse::Written(at) => at,
        WriteResponse::Refused(outcome) => panic!("{outcome:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_undone_was_never_written() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    cluster.insert(&table, 1, Some(1)).await;
    let transaction = cluster.begin().await;
    let own = |id| {
        let (cluster, table) = (&cluster, &table);
        async move { cluster.get(table, id, ReadAt::Newest, Some(transaction)).await.map(|found| n_of(&found.row).unwrap()) }
    };
    let kept = written(&cluster, &table, transaction, 1, 2).await;
    written(&cluster, &table, transaction, 1, 3).await;
    written(&cluster, &table, transaction, 5, 5).await;
    assert_eq!((own(1).await, own(5).await), (Some(3), Some(5)));
    let undone = cluster.worker(1).undo(undo(transaction, kept, 1)).await.unwrap();
    assert!(undone > kept);
    assert_eq!((own(1).await, own(5).await), (Some(2), None));
    // A request from before the undo that arrives late is refused, and so is an older undo.
    assert_eq!(write(&cluster, &table, transaction, 5, 6).await.unwrap_err().sqlstate, SqlState::TRANSACTION_ROLLBACK);
    assert!(cluster.worker(1).undo(undo(transaction, kept, 1)).await.is_err());
    let again = WriteRequest {
        catalog_version: cluster.version(),
        transaction,
        partitions: vec![cluster.write(&table, 6, Some(row(6, Some(6), "")), Precondition::Absent)],
        wait: LockWait::FOREVER,
        is_known: true,
        undos: 1,
        is_serializable: false,
    };
    cluster.worker(1).write(again).await.unwrap();
    let CommitResponse::Committed(_) = cluster.worker(1).commit(commit(&cluster, transaction, Vec::new())).await.unwrap() else {
        panic!("refused")
    };
    let rows = [cluster.n(&table, 1).await, cluster.n(&table, 5).await, cluster.n(&table, 6).await];
    assert_eq!(rows, [Some(2), None, Some(6)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_overtakes_the_write_that_it_undoes() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    let transaction = cluster.begin().await;
    cluster.worker(1).undo(undo(transaction, Timestamp::MIN, 1)).await.unwrap();
    assert!(write(&cluster, &table, transaction, 1, 2).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_a_restart_has_forgotten_takes_no_further_calls() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    cluster.insert(&table, 1, Some(1)).await;
    let transaction = cluster.begin().await;
    let request =
        CommitRequest { is_known: true, ..commit(&cluster, transaction, vec![cluster.write(&table, 1, None, Precondition::None)]) };
    assert_eq!(cluster.worker(1).commit(request).await.unwrap_err().sqlstate, SqlState::TRANSACTION_ROLLBACK);
    assert_eq!(cluster.n(&table, 1).await, Some(1));
}

/// A serializable transaction that has read `reads` and writes n of `id`.
async fn serializable(cluster: &Cluster, table: &TestTable, snapshot: Timestamp, reads: &[i64], id: i64) -> PrepareRequest {
    let part = |id: &i64| {
        let key = table.row_key(*id);
        let hi = partition::range::KeyRange::point(&key).hi;
        PartitionReads { partition: cluster.route(table, *id).1, relation: table.storage, rows_of: None, ranges: vec![(key, hi)] }
    };
    let writes = vec![cluster.write(table, id, Some(row(id, Some(9), "")), Precondition::None)];
    let validation = Some(Validation { snapshot, reads: reads.iter().map(part).collect() });
    PrepareRequest { validation, ..prepare(cluster, cluster.begin().await, writes) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_read_what_the_other_writes_the_second_fails() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    for id in [1, 2, 3] {
        cluster.insert(&table, id, Some(1)).await;
    }
    let snapshot = cluster.now().await;
    let mut others = Vec::new();
    // One that writes what the first has read, one that has read what it writes, one that fills a gap that it has looked at.
    for (reads, writes) in [(&[3][..], 1), (&[2], 3), (&[], 20)] {
        others.push(serializable(&cluster, &table, snapshot, reads, writes).await);
    }
    let first = serializable(&cluster, &table, snapshot, &[1, 20], 2).await;
    let first_id = first.transaction;
    cluster.worker(1).prepare(first).await.unwrap();
    for other in others {
        let id = other.transaction;
        assert_eq!(cluster.worker(1).prepare(other).await.unwrap_err().sqlstate, SqlState::SERIALIZATION_FAILURE, "{id}");
        cluster.worker(1).decide(id, Outcome::Aborted).await.unwrap();
    }
    let apart = serializable(&cluster, &table, snapshot, &[3], 30).await;
    cluster.worker(1).prepare(apart).await.unwrap();
    // Once it is committed, its write is a change of what others have read before.
    // A younger one that writes what the first has read waits for the decision, which is all that it needs.
    let younger = serializable(&cluster, &table, snapshot, &[], 1).await;
    let (worker, younger_id) = (cluster.worker(1), younger.transaction);
    let waiting = common::tasks::spawn("younger", async move { worker.prepare(younger).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    cluster.worker(1).decide(first_id, Outcome::Committed(cluster.now().await)).await.unwrap();
    waiting.await.unwrap().unwrap();
    cluster.worker(1).decide(younger_id, Outcome::Aborted).await.unwrap();
    let late = serializable(&cluster, &table, snapshot, &[2], 1).await;
    assert_eq!(cluster.worker(1).prepare(late).await.unwrap_err().sqlstate, SqlState::SERIALIZATION_FAILURE);
    let fresh = serializable(&cluster, &table, cluster.now().await, &[2], 40).await;
    cluster.worker(1).prepare(fresh).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provisional_writes_are_their_own_transactions_alone() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    cluster.insert(&table, 1, Some(1)).await;
    let transaction = cluster.begin().await;
    let locked = lock(&cluster, &table, transaction, 1, LockWait::FOREVER).await.unwrap();
    assert_eq!(n_of(&locked[0].as_ref().unwrap().row), Some(1));
    assert!(matches!(write(&cluster, &table, transaction, 1, 2).await.unwrap(), WriteResponse::Written(_)));
    assert_eq!(cluster.n(&table, 1).await, Some(1));
    let own = cluster.get(&table, 1, ReadAt::Snapshot(cluster.now().await), Some(transaction)).await.unwrap();
    assert_eq!((own.version, n_of(&own.row)), (Timestamp::MAX, Some(2)));
    let last = cluster.write(&table, 2, Some(row(2, Some(5), "")), Precondition::Absent);
    let before = cluster.now().await;
    let answer = cluster.worker(1).commit(commit(&cluster, transaction, vec![last])).await.unwrap();
    let CommitResponse::Committed(at) = answer else { panic!("{answer:?}") };
    assert!(at > before);
    assert_eq!((cluster.n(&table, 1).await, cluster.n(&table, 2).await), (Some(2), Some(5)));
    assert_eq!(cluster.get(&table, 1, ReadAt::Newest, None).await.unwrap().version, at);
    let old = cluster.get(&table, 1, ReadAt::Snapshot(before), None).await.unwrap();
    assert_eq!(n_of(&old.row), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_takes_everything_back() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    cluster.insert(&table, 1, Some(1)).await;
    let transaction = cluster.begin().await;
    write(&cluster, &table, transaction, 1, 2).await.unwrap();
    cluster.worker(1).decide(transaction, Outcome::Aborted).await.unwrap();
    assert_eq!(cluster.n(&table, 1).await, Some(1));
    let late = write(&cluster, &table, transaction, 1, 3).await.unwrap_err();
    assert_eq!(late.sqlstate, SqlState::TRANSACTION_ROLLBACK);
    let other = cluster.begin().await;
    lock(&cluster, &table, other, 1, LockWait::NO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_are_waited_for_as_the_caller_says() {
    let cluster = Arc::new(Cluster::start(1).await);
    let table = Arc::new(cluster.table(1).await);
    let (first, second) = (cluster.begin().await, cluster.begin().await);
    lock(&cluster, &table, first, 1, LockWait::FOREVER).await.unwrap();
    let error = lock(&cluster, &table, second, 1, LockWait::NO).await.unwrap_err();
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        (SqlState::LOCK_NOT_AVAILABLE, "could not obtain lock on row in relation \"t16384\"")
    );
    let error = lock(&cluster, &table, second, 1, LockWait::new(WaitLimit::Millis(30))).await.unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), (SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout"));
    let waiting = {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        common::tasks::spawn("waiting", async move { lock(&cluster, &table, second, 1, LockWait::FOREVER).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    let writes = vec![cluster.write(&table, 1, Some(row(1, Some(9), "")), Precondition::None)];
    cluster.worker(1).commit(commit(&cluster, first, writes)).await.unwrap();
    let rows = waiting.await.unwrap().unwrap();
    assert_eq!(n_of(&rows[0].as_ref().unwrap().row), Some(9), "the row is read under the lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_found() {
    let cluster = Arc::new(Cluster::start(1).await);
    let table = Arc::new(cluster.table(1).await);
    let (first, second) = (cluster.begin().await, cluster.begin().await);
    lock(&cluster, &table, first, 1, LockWait::FOREVER).await.unwrap();
    lock(&cluster, &table, second, 2, LockWait::FOREVER).await.unwrap();
    let waiting = {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        common::tasks::spawn("waiting", async move { lock(&cluster, &table, first, 2, LockWait::FOREVER).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = lock(&cluster, &table, second, 1, LockWait::FOREVER).await.unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), (SqlState::DEADLOCK_DETECTED, "deadlock detected"));
    cluster.worker(1).decide(second, Outcome::Aborted).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_ends_a_wait() {
    let cluster = Arc::new(Cluster::start(1).await);
    let table = Arc::new(cluster.table(1).await);
    let (first, second) = (cluster.begin().await, cluster.begin().await);
    lock(&cluster, &table, first, 1, LockWait::FOREVER).await.unwrap();
    let waiting = {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        common::tasks::spawn("waiting", async move { lock(&cluster, &table, second, 1, LockWait::FOREVER).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.worker(1).decide(second, Outcome::Aborted).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().sqlstate, SqlState::TRANSACTION_ROLLBACK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_of_two_workers_make_a_commit() {
    let cluster = Cluster::start(2).await;
    let table = cluster.table(2).await;
    let (a, b) = one_each(&cluster, &table);
    let transaction = cluster.begin().await;
    write(&cluster, &table, transaction, a, 1).await.unwrap();
    let mut at = Timestamp::MIN;
    for (number, id) in [(1, a), (2, b)] {
        let writes = vec![cluster.write(&table, id, Some(row(id, Some(7), "")), Precondition::None)];
        match cluster.worker(number).prepare(prepare(&cluster, transaction, writes)).await.unwrap() {
            PrepareResponse::Voted(vote) => at = at.max(vote),
            PrepareResponse::Refused(outcome) => panic!("{outcome:?}"),
        }
    }
    let before = Timestamp(at.0 - 1);
    let vote = cluster.worker(1).vote_of(transaction).await.unwrap();
    assert!(matches!(vote, Vote::Prepared(vote) if vote < at), "{vote:?}");
    for number in [1, 2] {
        cluster.worker(number).decide(transaction, Outcome::Committed(at)).await.unwrap();
    }
    for id in [a, b] {
        let found = cluster.get(&table, id, ReadAt::Newest, None).await.unwrap();
        assert_eq!((found.version, n_of(&found.row)), (at, Some(7)));
        assert_eq!(cluster.get(&table, id, ReadAt::Snapshot(before), None).await, None, "both appear at one timestamp");
    }
    assert_eq!(cluster.worker(2).vote_of(transaction).await.unwrap(), Vote::Decided(Outcome::Committed(at)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_that_is_missing_is_forbidden_and_stays_so() {
    let cluster = Cluster::start(2).await;
    let table = cluster.table(2).await;
    let (a, b) = one_each(&cluster, &table);
    let transaction = cluster.begin().await;
    let writes = vec![cluster.write(&table, a, Some(row(a, Some(7), "")), Precondition::None)];
    cluster.worker(1).prepare(prepare(&cluster, transaction, writes)).await.unwrap();
    // The coordinator is gone. A reader meets the vote, and finds out that worker 2 has not voted.
    assert_eq!(cluster.n(&table, a).await, None);
    let writes = vec![cluster.write(&table, b, Some(row(b, Some(7), "")), Precondition::None)];
    let late = cluster.worker(2).prepare(prepare(&cluster, transaction, writes)).await.unwrap_err();
    assert_eq!(late.sqlstate, SqlState::TRANSACTION_ROLLBACK);
    cluster.crash(2);
    cluster.open(2).await;
    let vote = cluster.worker(2).vote_of(transaction).await.unwrap();
    assert_eq!(vote, Vote::Decided(Outcome::Aborted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_voted_and_crashed_commits() {
    let cluster = Cluster::start(2).await;
    let table = cluster.table(2).await;
    let (a, b) = one_each(&cluster, &table);
    let transaction = cluster.begin().await;
    for (number, id) in [(1, a), (2, b)] {
        let writes = vec![cluster.write(&table, id, Some(row(id, Some(7), "")), Precondition::None)];
        cluster.worker(number).prepare(prepare(&cluster, transaction, writes)).await.unwrap();
    }
    cluster.crash(1);
    cluster.crash(2);
    cluster.open(1).await;
    // Worker 1 has its vote and its locks, and cannot know more while worker 2 is away.
    let other = cluster.begin().await;
    let locked = lock(&cluster, &table, other, a, LockWait::NO).await.unwrap_err();
    assert_eq!(locked.sqlstate, SqlState::LOCK_NOT_AVAILABLE);
    cluster.open(2).await;
    assert_eq!(cluster.n(&table, a).await, Some(7));
    assert_eq!(cluster.n(&table, b).await, Some(7));
    let version = |found: Option<FoundRow>| found.unwrap().version;
    let (va, vb) = (cluster.get(&table, a, ReadAt::Newest, None).await, cluster.get(&table, b, ReadAt::Newest, None).await);
    assert_eq!(version(va), version(vb));
    lock(&cluster, &table, other, a, LockWait::FOREVER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_does_not_survive_a_crash() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    let transaction = cluster.begin().await;
    write(&cluster, &table, transaction, 1, 1).await.unwrap();
    // Something durable behind it, so that the provisional write is in the log.
    cluster.insert(&table, 2, Some(2)).await;
    cluster.crash(1);
    cluster.open(1).await;
    assert_eq!(cluster.n(&table, 1).await, None);
    let error = cluster.worker(1).commit(commit(&cluster, transaction, Vec::new())).await.unwrap_err();
    assert_eq!(error.sqlstate, SqlState::TRANSACTION_ROLLBACK);
    cluster.insert(&table, 1, Some(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_waits_for_the_call_that_makes_it() {
    let cluster = Arc::new(Cluster::start(2).await);
    let table = Arc::new(cluster.table(2).await);
    let (a, _) = one_each(&cluster, &table);
    let (first, second) = (cluster.begin().await, cluster.begin().await);
    lock(&cluster, &table, first, a, LockWait::FOREVER).await.unwrap();
    let preparing = {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        common::tasks::spawn("preparing", async move {
            let writes = vec![cluster.write(&table, a, Some(row(a, Some(7), "")), Precondition::None)];
            cluster.worker(1).prepare(prepare(&cluster, second, writes)).await
        })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asked = {
        let cluster = Arc::clone(&cluster);
        common::tasks::spawn("asked", async move { cluster.worker(1).vote_of(second).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.worker(1).decide(first, Outcome::Aborted).await.unwrap();
    let PrepareResponse::Voted(at) = preparing.await.unwrap().unwrap() else { panic!("refused") };
    assert_eq!(asked.await.unwrap().unwrap(), Vote::Prepared(at));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_transaction_is_aborted_and_one_that_is_heard_of_is_not() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    let (silent, loud) = (cluster.begin().await, cluster.begin().await);
    write(&cluster, &table, silent, 1, 1).await.unwrap();
    write(&cluster, &table, loud, 2, 1).await.unwrap();
    for _ in 0..13 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.worker(1).keep_alive(vec![loud]).await.unwrap();
    }
    let other = cluster.begin().await;
    lock(&cluster, &table, other, 1, LockWait::NO).await.unwrap();
    assert!(lock(&cluster, &table, other, 2, LockWait::NO).await.is_err());
    cluster.worker(1).commit(commit(&cluster, loud, Vec::new())).await.unwrap();
    assert_eq!((cluster.n(&table, 1).await, cluster.n(&table, 2).await), (None, Some(1)));
}
