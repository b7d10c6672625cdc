//! Statements by themselves.

use std::sync::Arc;
use std::time::Duration;

use common::ids::{Epoch, Timestamp};
use common::sqlstate::SqlState;
use rpc::worker_api::*;

use crate::cluster::{Cluster, n_of, row};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_written_and_read() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(2).await;
    let first = cluster.insert(&table, 1, Some(10)).await;
    cluster.insert(&table, 1_500, Some(20)).await;
    let found = cluster.get(&table, 1, ReadAt::Newest, None).await.unwrap();
    assert_eq!((found.version, n_of(&found.row)), (first, Some(10)));
    assert_eq!(cluster.get(&table, 2, ReadAt::Newest, None).await, None);

    let snapshot = cluster.now().await;
    let changed = cluster.put(&table, 1, Some(row(1, Some(11), "y")), Precondition::Version(first)).await;
    assert!(matches!(changed, CommitResponse::Committed(at) if at > snapshot));
    assert_eq!(cluster.n(&table, 1).await, Some(11));
    let old = cluster.get(&table, 1, ReadAt::Snapshot(snapshot), None).await.unwrap();
    assert_eq!(n_of(&old.row), Some(10), "a snapshot does not move");

    let refused = cluster.put(&table, 1, None, Precondition::Version(first)).await;
    assert_eq!(refused, CommitResponse::Refused(WriteOutcome::Changed { at: (0, 0) }));
    let refused = cluster.put(&table, 1, Some(row(1, None, "")), Precondition::Absent).await;
    let duplicate = WriteOutcome::Duplicate { at: (0, 0), constraint: Some(table.oid), existing: table.row_key(1) };
    assert_eq!(refused, CommitResponse::Refused(duplicate));

    cluster.put(&table, 1, None, Precondition::None).await;
    assert_eq!(cluster.get(&table, 1, ReadAt::Newest, None).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_applied_as_a_whole_or_not_at_all() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(2).await;
    cluster.insert(&table, 1_003, Some(1)).await;
    let writes = vec![
        cluster.write(&table, 1, Some(row(1, Some(1), "")), Precondition::Absent),
        cluster.write(&table, 1_003, Some(row(1_003, Some(2), "")), Precondition::Absent),
    ];
    let request = CommitRequest {
        catalog_version: cluster.version(),
        transaction: None,
        writes,
        wait: LockWait::FOREVER,
        is_known: false,
        validation: None,
    };
    let answer = cluster.worker(1).commit(request).await.unwrap();
    assert!(matches!(answer, CommitResponse::Refused(WriteOutcome::Duplicate { at: (1, 0), .. })), "{answer:?}");
    assert_eq!(cluster.n(&table, 1).await, None);
    // A key twice in one request: the second meets the first.
    let mut twice = cluster.write(&table, 5, Some(row(5, Some(1), "")), Precondition::Absent);
    twice.writes.push(twice.writes[0].clone());
    let request = CommitRequest {
        catalog_version: cluster.version(),
        transaction: None,
        writes: vec![twice],
        wait: LockWait::FOREVER,
        is_known: false,
        validation: None,
    };
    let answer = cluster.worker(1).commit(request).await.unwrap();
    assert!(matches!(answer, CommitResponse::Refused(WriteOutcome::Duplicate { at: (0, 1), .. })), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_go_both_ways_and_stop_at_the_limit() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    for id in 0..20 {
        cluster.insert(&table, id, Some(id as i32)).await;
    }
    let (worker, partition) = cluster.route(&table, 0);
    let ask = |reverse, limit| {
        let request = RangeRequest {
            context: cluster.context(ReadAt::Newest, None),
            relation: table.storage,
            partition,
            lo: table.row_key(5),
            hi: Some(table.row_key(15)),
            reverse,
            limit,
        };
        let worker = Arc::clone(&worker);
        async move {
            let answer = worker.range(request).await.unwrap();
            (answer.rows.iter().map(|(_, found)| n_of(&found.row).unwrap()).collect::<Vec<_>>(), answer.more)
        }
    };
    assert_eq!(ask(false, 3).await, (vec![5, 6, 7], true));
    assert_eq!(ask(true, 3).await, (vec![14, 13, 12], true));
    assert_eq!(ask(false, 100).await, ((5..15).collect(), false));
    assert_eq!(ask(false, 10).await, ((5..15).collect(), false), "a limit that is met exactly leaves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_epoch_is_refused() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    let mut write = cluster.write(&table, 1, Some(row(1, None, "")), Precondition::Absent);
    write.partition.epoch = Epoch(7);
    let request = CommitRequest {
        catalog_version: cluster.version(),
        transaction: None,
        writes: vec![write],
        wait: LockWait::FOREVER,
        is_known: false,
        validation: None,
    };
    let error = cluster.worker(1).commit(request).await.unwrap_err();
    assert_eq!((error.sqlstate, error.retryable), (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, true));
    assert_eq!(error.message, "partition map is stale");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_survive_a_crash_and_a_shutdown() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(1).await;
    cluster.insert(&table, 1, Some(1)).await;
    cluster.crash(1);
    let worker = cluster.open(1).await;
    assert_eq!(cluster.n(&table, 1).await, Some(1));
    cluster.insert(&table, 2, Some(2)).await;
    worker.shut_down().await;
    cluster.crash(1);
    drop(worker);
    cluster.open(1).await;
    assert_eq!((cluster.n(&table, 1).await, cluster.n(&table, 2).await), (Some(1), Some(2)));
}

/// Money moves between rows while readers sum it at snapshots: every snapshot has all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn snapshots_are_consistent_under_load() {
    const ROWS: i64 = 8;
    let cluster = Arc::new(Cluster::start(1).await);
    let table = Arc::new(cluster.table(2).await);
    let id_of = |n: i64| (n % 2) * 1_000 + n;
    for n in 0..ROWS {
        cluster.insert(&table, id_of(n), Some(100)).await;
    }
    let mover = |seed: i64| {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        async move {
            let mut done = 0;
            let mut step = seed;
            while done < 100 {
                step = (step * 31 + 7) % 1_000_003;
                let (from, to) = (id_of(step.rem_euclid(ROWS)), id_of((step / 5).rem_euclid(ROWS)));
                if from == to {
                    continue;
                }
                let mut writes = Vec::new();
                for (id, by) in [(from, -1), (to, 1)] {
                    let found = cluster.get(&table, id, ReadAt::Newest, None).await.unwrap();
                    let n = n_of(&found.row).unwrap() + by;
                    writes.push(cluster.write(&table, id, Some(row(id, Some(n), "")), Precondition::Version(found.version)));
                }
                let request = CommitRequest {
                    catalog_version: cluster.version(),
                    transaction: None,
                    writes,
                    wait: LockWait::FOREVER,
                    is_known: false,
                    validation: None,
                };
                if matches!(cluster.worker(1).commit(request).await.unwrap(), CommitResponse::Committed(_)) {
                    done += 1;
                }
            }
        }
    };
    let reader = {
        let (cluster, table) = (Arc::clone(&cluster), Arc::clone(&table));
        async move {
            for _ in 0..100 {
                let at = ReadAt::Snapshot(cluster.now().await);
                let rows = cluster.all(table.storage, &cluster.map(table.storage), at).await;
                let sum: i32 = rows.iter().map(|(_, found)| n_of(&found.row).unwrap()).sum();
                assert_eq!(sum, 100 * ROWS as i32);
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        }
    };
    let (a, b, c, r) = (mover(1), mover(2), mover(3), reader);
    let tasks = [
        common::tasks::spawn("mover", a),
        common::tasks::spawn("mover", b),
        common::tasks::spawn("mover", c),
        common::tasks::spawn("reader", r),
    ];
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_follow_commits() {
    let cluster = Cluster::start(1).await;
    let table = cluster.table(2).await;
    for id in 0..10 {
        cluster.insert(&table, id, Some(1)).await;
    }
    let asked: Vec<_> = cluster.map(table.storage).partitions.iter().map(|p| (table.storage, p.id)).collect();
    let rows = |sizes: Vec<PartitionSize>| sizes.iter().map(|s| s.rows).collect::<Vec<_>>();
    assert_eq!(rows(cluster.worker(1).sizes(asked.clone()).await.unwrap()), [10, 0]);
    cluster.insert(&table, 1_200, Some(1)).await;
    let found = cluster.get(&table, 3, ReadAt::Newest, None).await.unwrap();
    cluster.put(&table, 3, None, Precondition::Version(found.version)).await;
    assert_eq!(rows(cluster.worker(1).sizes(asked).await.unwrap()), [9, 1]);
    assert!(found.version > Timestamp::MIN);
}
