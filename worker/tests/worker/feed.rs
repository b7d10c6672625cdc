//! Asynchronous global indexes: complete, at a snapshot, through crashes of either side.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::objects::{Index, Maintenance};
use common::ids::{Timestamp, WorkerId};
use rpc::worker_api::*;

use crate::cluster::{Cluster, TestTable, entry_key, row};

/// Waits until the index is as new as `at` everywhere.
async fn fresh(cluster: &Cluster, index: &Index, at: Timestamp, workers: u32) {
    for number in 1..=workers {
        let mut is_fresh = false;
        for _ in 0..10 {
            is_fresh = cluster.worker(number).index_fresh(index.oid, at, 2_000).await.unwrap();
            if is_fresh {
                break;
            }
        }
        assert!(is_fresh, "{:?}", cluster.worker(number).index_lag().await.unwrap());
    }
}

/// The index has exactly one entry for each row, at the snapshot.
async fn check(cluster: &Cluster, table: &TestTable, index: &Index, at: Timestamp) -> usize {
    let at = ReadAt::Snapshot(at);
    let rows = cluster.all(table.storage, &cluster.map(table.storage), at).await;
    let expected: BTreeSet<(Bytes, Timestamp)> = rows.into_iter().map(|(key, found)| (key, found.version)).collect();
    let entries = cluster.all(index.storage, &cluster.map(index.storage), at).await;
    let found: BTreeSet<(Bytes, Timestamp)> = entries.iter().map(|(_, found)| (entry_key(&found.row), found.version)).collect();
    assert_eq!(found.len(), entries.len(), "no row has two entries");
    assert_eq!(found, expected);
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_over_rows_that_are_there_is_built_and_follows() {
    let cluster = Cluster::start(2).await;
    let table = cluster.table(2).await;
    for id in 0..200 {
        cluster.insert(&table, id * 10, Some(id as i32 * 5)).await;
    }
    let index = cluster.index(&table, false, Some(Maintenance::Async)).await;
    let at = cluster.now().await;
    fresh(&cluster, &index, at, 2).await;
    assert_eq!(check(&cluster, &table, &index, at).await, 200);
    for id in 0..100 {
        cluster.put(&table, id * 10, Some(row(id * 10, Some(999 - id as i32), "moved")), Precondition::None).await;
        cluster.put(&table, 1_000 + id * 10, None, Precondition::None).await;
        cluster.insert(&table, id * 10 + 1, None).await;
    }
    let at = cluster.now().await;
    fresh(&cluster, &index, at, 2).await;
    assert_eq!(check(&cluster, &table, &index, at).await, 200);
    let lags = cluster.worker(1).index_lag().await.unwrap();
    assert_eq!(lags.len(), 2, "two sources: {lags:?}");
    assert!(lags.iter().all(|lag| lag.watermark >= at && lag.lag_ms < 60_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_fed_when_they_are_decided() {
    let cluster = Cluster::start(2).await;
    let table = cluster.table(2).await;
    let index = cluster.index(&table, false, Some(Maintenance::Async)).await;
    let (first, second) = (cluster.route(&table, 1).0, cluster.route(&table, 1_001).0);
    let (open, aborted) = (cluster.begin().await, cluster.begin().await);
    // A participant that is not heard of for a while is aborted, and a busy machine may take that while.
    let keeping = common::tasks::spawn("keep_alive", {
        let first = Arc::clone(&first);
        async move {
            loop {
                first.keep_alive(vec![open]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let part = |id: i64, n: i32| vec![cluster.write(&table, id, Some(row(id, Some(n), "")), Precondition::None)];
    let version = cluster.version();
    let write = |transaction, partitions| WriteRequest {
        catalog_version: version,
        transaction,
        partitions,
        wait: LockWait::FOREVER,
        is_known: false,
        undos: 0,
        is_serializable: false,
    };
    first.write(write(open, part(1, 10))).await.unwrap();
    first.write(write(open, part(1, 20))).await.unwrap();
    first.write(write(aborted, part(2, 10))).await.unwrap();
    first.decide(aborted, Outcome::Aborted).await.unwrap();
    let before = cluster.now().await;
    fresh(&cluster, &index, before, 2).await;
    assert_eq!(check(&cluster, &table, &index, before).await, 0);

    let mut at = Timestamp::MIN;
    for (worker, id) in [(&first, 5), (&second, 1_001)] {
        let request = PrepareRequest {
            catalog_version: version,
            transaction: open,
            participants: vec![WorkerId(1), WorkerId(2)],
            writes: part(id, 30),
            wait: LockWait::FOREVER,
            is_known: false,
            validation: None,
        };
        let PrepareResponse::Voted(vote) = worker.prepare(request).await.unwrap() else { panic!("refused") };
        at = at.max(vote);
    }
    let voted = cluster.now().await;
    let held_up = first.index_fresh(index.oid, voted, 300).await.unwrap();
    assert!(!held_up, "a vote without a decision holds the closed timestamp back");
    keeping.abort();
    for worker in [&first, &second] {
        worker.decide(open, Outcome::Committed(at)).await.unwrap();
    }
    fresh(&cluster, &index, voted, 2).await;
    assert_eq!(check(&cluster, &table, &index, voted).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crashes_of_either_side_lose_nothing() {
    let cluster = Arc::new(Cluster::start(2).await);
    let table = Arc::new(cluster.table(2).await);
    for id in 0..50 {
        cluster.insert(&table, id * 40, Some(id as i32 * 20)).await;
    }
    let index = cluster.index(&table, false, Some(Maintenance::Async)).await;
    let mut expected = 50;
    for round in 0..6_i64 {
        // Also before the first build is through.
        let number = 1 + (round % 2) as u32;
        for step in 0..20 {
            let id = 3 + round * 20 + step;
            for id in [id, 1_000 + id] {
                if cluster.get(&table, id, ReadAt::Newest, None).await.is_none() {
                    expected += 1;
                }
                cluster.put(&table, id, Some(row(id, Some(((id * 37) % 1_000) as i32), "")), Precondition::None).await;
            }
        }
        cluster.crash(number);
        cluster.open(number).await;
        if round % 3 == 2 {
            let away = cluster.hide(number);
            tokio::time::sleep(Duration::from_millis(100)).await;
            cluster.show(away);
        }
    }
    let at = cluster.now().await;
    fresh(&cluster, &index, at, 2).await;
    assert_eq!(check(&cluster, &table, &index, at).await, expected);
}
