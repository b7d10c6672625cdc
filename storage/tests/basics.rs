//! What the engine promises, case by case.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::error::SqlError;
use common::ids::{GroupId, LogPosition, OwnWrites, RelationId, Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use storage::{Change, Engine, EngineOptions, Frame, ReadOutcome, Record, ScanEnd, ScanRange, StorageError, TransactionState};

const GROUP: GroupId = GroupId(1);
const TABLE: RelationId = RelationId(7);

fn options(dir: &Path) -> EngineOptions {
    EngineOptions { groups: 4, segment_bytes: 64 << 10, ..EngineOptions::new(dir) }
}

fn open(dir: &Path) -> Arc<Engine> {
    Engine::open(options(dir)).unwrap()
}

fn put(key: &str, value: &str) -> Change {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Change { relation: TABLE, key, value: Some(value), before: None }
}

fn delete(key: &str) -> Change {
    Change { value: None, ..put(key, "") }
}

fn write(at: u64, changes: Vec<Change>) -> Frame {
    vec![(GROUP, Record::Write { at: Timestamp(at), changes })]
}

fn provisional(id: u64, at: u64, changes: Vec<Change>) -> Frame {
    vec![(GROUP, Record::Provisional { transaction: TransactionId(id), at: Timestamp(at), changes })]
}

fn prepare(id: u64, at: u64) -> Frame {
    vec![(GROUP, Record::Prepare { transaction: TransactionId(id), at: Timestamp(at), participants: vec![WorkerId(1), WorkerId(2)] })]
}

fn decide(id: u64, outcome: Option<u64>) -> Frame {
    vec![(GROUP, Record::Decide { transaction: TransactionId(id), outcome: outcome.map(Timestamp) })]
}

/// A get as text: `version=value`, `-` or `?transaction`.
fn own_writes(id: u64, up_to: u64) -> OwnWrites {
    OwnWrites { transaction: TransactionId(id), up_to: Timestamp(up_to) }
}

fn get_as(engine: &Engine, key: &str, at: u64, own: Option<u64>) -> String {
    match engine.view(GROUP).get(TABLE, key.as_bytes(), Timestamp(at), own.map(|id| own_writes(id, at))).unwrap() {
        ReadOutcome::Missing => "-".to_owned(),
        ReadOutcome::Row { version: Timestamp::MAX, value } => format!("own={}", String::from_utf8_lossy(&value)),
        ReadOutcome::Row { version, value } => format!("{version}={}", String::from_utf8_lossy(&value)),
        ReadOutcome::Undecided(id) => format!("?{id}"),
    }
}

fn get(engine: &Engine, key: &str, at: u64) -> String {
    get_as(engine, key, at, None)
}

/// A scan as text.
fn scan(engine: &Engine, lo: &str, hi: Option<&str>, reverse: bool, at: u64) -> String {
    let mut out = Vec::new();
    let range = ScanRange { relation: TABLE, lo: lo.as_bytes(), hi: hi.map(str::as_bytes), reverse };
    let end = engine
        .view(GROUP)
        .scan(range, Timestamp(at), None, &mut |key, version, value| {
            out.push(format!("{}@{version}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
            ControlFlow::Continue(())
        })
        .unwrap();
    if let ScanEnd::Undecided(id) = end {
        out.push(format!("?{id}"));
    }
    out.join(" ")
}

/// Runs the checks on the state in memory, in the base, and after opening again.
fn everywhere(dir: &Path, engine: Arc<Engine>, check: impl Fn(&Engine)) -> Arc<Engine> {
    check(&engine);
    drop(engine);
    let engine = open(dir);
    check(&engine);
    engine.checkpoint().unwrap();
    check(&engine);
    drop(engine);
    let engine = open(dir);
    check(&engine);
    engine
}

#[test]
fn versions_are_seen_by_their_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(10, vec![put("a", "1"), put("b", "1")]), write(20, vec![put("a", "2"), delete("b")])]).unwrap();
    everywhere(dir.path(), engine, |engine| {
        assert_eq!(
            ["a@9", "a@10", "a@19", "a@20"].map(|read| get(engine, &read[..1], read[2..].parse().unwrap())),
            ["-", "10=1", "10=1", "20=2"]
        );
        assert_eq!((get(engine, "b", 19), get(engine, "b", 20)), ("10=1".to_owned(), "-".to_owned()));
        assert_eq!(scan(engine, "", None, false, 19), "a@10=1 b@10=1");
        assert_eq!(scan(engine, "", None, true, 19), "b@10=1 a@10=1");
        assert_eq!(scan(engine, "", None, false, 20), "a@20=2");
        assert_eq!(engine.last_timestamp(), Timestamp(20));
    });
}

#[test]
fn keys_that_are_prefixes_of_each_other_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let keys = ["", "\0", "\0\0", "a", "a\0", "a\0\0\0\0\0\0\0\0\0", "a\u{1}", "aa", "b"];
    for (index, key) in keys.iter().enumerate() {
        engine.append(&[write(u64::MAX - 1 - index as u64, vec![put(key, "x")])]).unwrap();
    }
    everywhere(dir.path(), engine, |engine| {
        let mut seen = Vec::new();
        let range = ScanRange { relation: TABLE, lo: b"", hi: None, reverse: false };
        let mut collect = |key: &[u8], _, _: &[u8]| {
            seen.push(String::from_utf8(key.to_vec()).unwrap());
            ControlFlow::Continue(())
        };
        engine.view(GROUP).scan(range, Timestamp::MAX, None, &mut collect).unwrap();
        assert_eq!(seen, keys);
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(get(engine, key, u64::MAX), format!("{}=x", u64::MAX - 1 - index as u64));
            assert_eq!(get(engine, key, u64::MAX - 2 - index as u64), "-");
        }
        assert_eq!(scan(engine, "a", Some("a\0"), false, u64::MAX).matches('@').count(), 1);
        assert_eq!(scan(engine, "a\0", Some("aa"), true, u64::MAX).matches('@').count(), 3);
    });
}

#[test]
fn a_transaction_shows_itself_only_to_itself_until_it_commits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(10, vec![put("a", "old"), put("b", "old")])]).unwrap();
    engine.append_buffered(&[provisional(5, 20, vec![put("a", "new"), delete("b"), put("c", "new")])]).unwrap();
    engine.append_buffered(&[provisional(5, 25, vec![put("c", "newer")])]).unwrap();
    engine.append(&[]).unwrap();
    let engine = everywhere(dir.path(), engine, |engine| {
        assert_eq!(
            (get(engine, "a", 30), get_as(engine, "a", 30, Some(5)), get_as(engine, "a", 19, Some(5))),
            ("10=old".into(), "own=new".into(), "10=old".into())
        );
        assert_eq!(
            (get_as(engine, "b", 30, Some(5)), get_as(engine, "c", 24, Some(5)), get_as(engine, "c", 30, Some(5))),
            ("-".into(), "own=new".into(), "own=newer".into())
        );
        assert_eq!(scan(engine, "", None, false, 30), "a@10=old b@10=old");
        assert_eq!(engine.transaction_state(TransactionId(5)), TransactionState::Open);
    });
    assert_eq!(
        engine.recovered().iter().map(|one| (one.id, one.state.clone(), one.keys.len())).collect::<Vec<_>>(),
        [(TransactionId(5), TransactionState::Open, 0)]
    );
    engine.append(&[prepare(5, 30)]).unwrap();
    let engine = everywhere(dir.path(), engine, |engine| {
        assert_eq!(
            (get(engine, "a", 29), get(engine, "a", 30), get_as(engine, "a", 30, Some(5))),
            ("10=old".into(), "?5".into(), "own=new".into())
        );
        assert_eq!((scan(engine, "", None, false, 30), scan(engine, "", None, true, 30)), ("?5".into(), "?5".into()));
        assert_eq!(scan(engine, "", None, false, 29), "a@10=old b@10=old");
        let participants = vec![WorkerId(1), WorkerId(2)];
        assert_eq!(engine.transaction_state(TransactionId(5)), TransactionState::Prepared { at: Timestamp(30), participants });
    });
    let [recovered] = &engine.recovered()[..] else { panic!("one transaction is prepared") };
    assert_eq!(recovered.keys, ["a", "b", "c"].map(|key| (GROUP, TABLE, Bytes::from(key))));
    engine.append(&[decide(5, Some(40))]).unwrap();
    everywhere(dir.path(), engine, |engine| {
        assert_eq!(
            (get(engine, "a", 39), get(engine, "a", 40), get(engine, "b", 40), get(engine, "c", 40)),
            ("10=old".into(), "40=new".into(), "-".into(), "40=newer".into())
        );
        assert_eq!(scan(engine, "", None, true, 40), "c@40=newer a@40=new");
        assert_eq!(engine.transaction_state(TransactionId(5)), TransactionState::Committed(Timestamp(40)));
    });
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(10, vec![put("a", "old")]), provisional(5, 20, vec![put("a", "new"), put("b", "new")])]).unwrap();
    engine.checkpoint().unwrap();
    engine.append(&[decide(5, None), provisional(5, 21, vec![put("c", "late")]), prepare(5, 22)]).unwrap();
    everywhere(dir.path(), engine, |engine| {
        assert_eq!(scan(engine, "", None, false, 99), "a@10=old");
        assert_eq!(engine.transaction_state(TransactionId(5)), TransactionState::Aborted);
        assert!(engine.recovered().is_empty());
    });
}

#[test]
fn a_forbidden_vote_stays_forbidden() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[decide(9, None)]).unwrap();
    let engine = everywhere(dir.path(), engine, |engine| assert_eq!(engine.transaction_state(TransactionId(9)), TransactionState::Aborted));
    engine.append(&[prepare(9, 50), decide(9, Some(60))]).unwrap();
    assert_eq!(engine.transaction_state(TransactionId(9)), TransactionState::Aborted);
}

#[test]
fn dropped_ranges_hide_what_came_before_in_every_layer() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let drop_range = |lo: &'static str, hi: Option<&'static str>| {
        vec![(GROUP, Record::DropRange { relation: TABLE, lo: Bytes::from(lo), hi: hi.map(Bytes::from) })]
    };
    engine.append(&[write(10, vec![put("a", "1"), put("b", "1"), put("c", "1")])]).unwrap();
    engine.checkpoint().unwrap();
    engine
        .append(&[write(11, vec![put("b", "2"), put("bb", "2")]), drop_range("b", Some("c")), write(9, vec![put("bz", "moved in")])])
        .unwrap();
    let engine = everywhere(dir.path(), engine, |engine| {
        assert_eq!(scan(engine, "", None, false, 99), "a@10=1 bz@9=moved in c@10=1");
        assert_eq!(scan(engine, "", None, true, 99), "c@10=1 bz@9=moved in a@10=1");
        assert_eq!((get(engine, "b", 99), get(engine, "b", 10), get(engine, "bz", 99)), ("-".into(), "-".into(), "9=moved in".into()));
    });
    engine.append(&[drop_range("", None)]).unwrap();
    everywhere(dir.path(), engine, |engine| assert_eq!(scan(engine, "", None, false, 99), ""));
}

#[test]
fn a_copied_old_version_does_not_hide_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(60, vec![put("k", "new")])]).unwrap();
    engine.checkpoint().unwrap();
    engine.append(&[write(50, vec![put("k", "old")])]).unwrap();
    everywhere(dir.path(), engine, |engine| {
        assert_eq!((get(engine, "k", 100), get(engine, "k", 55)), ("60=new".into(), "50=old".into()));
        assert_eq!((scan(engine, "", None, false, 100), scan(engine, "", None, true, 55)), ("k@60=new".into(), "k@50=old".into()));
    });
}

#[test]
fn versions_that_no_snapshot_needs_go() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(10, vec![put("a", "1"), put("b", "1")])]).unwrap();
    engine.checkpoint().unwrap();
    engine.append(&[write(20, vec![put("a", "2"), delete("b")]), write(30, vec![put("a", "3")])]).unwrap();
    engine.set_oldest_snapshot(Timestamp(20));
    engine.checkpoint().unwrap();
    // 10 is gone, 20 is still what a snapshot at 20 sees.
    assert_eq!((get(&engine, "a", 15), get(&engine, "a", 25), get(&engine, "a", 30)), ("-".into(), "20=2".into(), "30=3".into()));
    engine.set_oldest_snapshot(Timestamp(30));
    engine.checkpoint().unwrap();
    // Nothing touched the key: the sweep did it.
    assert_eq!((get(&engine, "a", 25), get(&engine, "a", 30), get(&engine, "b", 15)), ("-".into(), "30=3".into(), "-".into()));
}

#[test]
fn a_big_transaction_goes_to_the_base_tagged_and_loses_its_tags_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[provisional(5, 20, vec![put("a", "1"), put("b", "1")])]).unwrap();
    engine.checkpoint().unwrap();
    engine.append(&[provisional(5, 21, vec![put("a", "2")]), decide(5, Some(30))]).unwrap();
    let check = |engine: &Engine| {
        assert_eq!((get(engine, "a", 29), get(engine, "a", 30), get(engine, "b", 30)), ("-".into(), "30=2".into(), "30=1".into()));
        assert_eq!(scan(engine, "", None, true, 30), "b@30=1 a@30=2");
    };
    let engine = everywhere(dir.path(), engine, check);
    engine.set_oldest_snapshot(Timestamp(30));
    engine.checkpoint().unwrap();
    check(&engine);
    engine.append(&[write(40, vec![put("b", "2")])]).unwrap();
    everywhere(dir.path(), engine, |engine| assert_eq!(scan(engine, "", None, false, 50), "a@30=2 b@40=2"));
}

#[test]
fn a_scan_stops_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(10, vec![put("a", "1"), put("b", "1"), put("c", "1")])]).unwrap();
    for reverse in [false, true] {
        let mut seen = Vec::new();
        let range = ScanRange { relation: TABLE, lo: b"", hi: None, reverse };
        let mut one = |key: &[u8], _, _: &[u8]| {
            seen.push(key.to_vec());
            ControlFlow::Break(())
        };
        assert_eq!(engine.view(GROUP).scan(range, Timestamp(99), None, &mut one).unwrap(), ScanEnd::Stopped);
        assert_eq!(seen, [if reverse { b"c" } else { b"a" }]);
    }
    assert_eq!(scan(&engine, "c", Some("a"), false, 99), "");
    assert_eq!(scan(&engine, "c", Some("a"), true, 99), "");
}

#[test]
fn an_undecided_key_ends_a_scan_after_the_rows_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine
        .append(&[write(10, vec![put("a", "1"), put("b", "1"), put("c", "1")]), provisional(5, 11, vec![put("b", "2")]), prepare(5, 12)])
        .unwrap();
    everywhere(dir.path(), engine, |engine| {
        assert_eq!(scan(engine, "", None, false, 20), "a@10=1 ?5");
        assert_eq!(scan(engine, "", None, true, 20), "c@10=1 ?5");
        assert_eq!(scan(engine, "", None, false, 11), "a@10=1 b@10=1 c@10=1");
    });
}

#[test]
fn metadata_is_the_last_written() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let set = |key: &'static str, value: Option<&'static str>| {
        vec![(GROUP, Record::Metadata { key: Bytes::from(key), value: value.map(Bytes::from) })]
    };
    engine.append(&[set("x", Some("1")), set("y", Some("1"))]).unwrap();
    engine.checkpoint().unwrap();
    engine.append(&[set("x", Some("2")), set("y", None)]).unwrap();
    everywhere(dir.path(), engine, |engine| {
        assert_eq!((engine.metadata(GROUP, b"x"), engine.metadata(GROUP, b"y")), (Some(Bytes::from("2")), None));
        assert_eq!(engine.metadata(GroupId(0), b"x"), None);
    });
}

#[test]
fn the_log_is_readable_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let big = "x".repeat(3000);
    let mut positions = vec![engine.log_end()];
    for at in 1..=100 {
        let mut change = put("k", &big);
        change.before = Some(Bytes::from(format!("before {at}")));
        positions.push(engine.append(&[write(at, vec![change])]).unwrap());
    }
    assert_eq!(engine.log_end(), positions[100]);
    let all = engine.read_log(LogPosition(0), usize::MAX).unwrap();
    assert_eq!(all.iter().map(|(end, _)| *end).collect::<Vec<_>>(), positions[1..]);
    let Record::Write { at, changes } = &all[41].1[0].1 else { panic!("a write") };
    assert_eq!((at.0, changes[0].before.as_deref()), (42, Some(&b"before 42"[..])));
    assert_eq!(engine.read_log(positions[50], 1).unwrap(), all[50..51]);
    assert_eq!(engine.read_log(positions[50], 10_000).unwrap(), all[50..54]);
    assert_eq!(engine.read_log(positions[100], 10_000).unwrap(), []);
    assert!(matches!(engine.read_log(LogPosition(positions[50].0 + 1), 1), Err(StorageError::NoSuchPosition { .. })));
    engine.checkpoint().unwrap();
    assert_eq!(engine.log_start(), LogPosition(0));
    engine.hold_log(positions[60]);
    engine.checkpoint().unwrap();
    assert!(engine.log_start() > LogPosition(0) && engine.log_start() <= positions[60]);
    assert_eq!(engine.read_log(positions[60], usize::MAX).unwrap(), all[60..]);
    assert!(matches!(engine.read_log(LogPosition(0), 1), Err(StorageError::LogRemoved { .. })));
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(engine.log_end(), positions[100]);
    assert_eq!(engine.read_log(positions[60], usize::MAX).unwrap(), all[60..]);
}

#[test]
fn buffered_frames_are_not_in_the_durable_log_yet() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let end = engine.append_buffered(&[provisional(5, 20, vec![put("a", "1")])]).unwrap();
    assert_eq!((engine.log_end(), engine.read_log(LogPosition(0), 99).unwrap().len()), (LogPosition(0), 0));
    assert_eq!(get_as(&engine, "a", 20, Some(5)), "own=1");
    engine.append(&[]).unwrap();
    assert_eq!((engine.log_end(), engine.read_log(LogPosition(0), 99).unwrap().len()), (end, 1));
}

#[test]
fn a_directory_is_open_once_and_ours() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let error = Engine::open(options(dir.path())).unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::OBJECT_IN_USE);
    assert_eq!(error.to_string(), format!("data directory \"{}\" is in use by another process", dir.path().display()));
    engine.shut_down().unwrap();
    assert!(matches!(engine.append(&[write(1, vec![])]), Err(StorageError::ShutDown)));
    drop(engine);
    open(dir.path());

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("thesis.txt"), "draft").unwrap();
    assert!(matches!(Engine::open(options(other.path())), Err(StorageError::NotOurs { .. })));
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);

    fs::write(dir.path().join("FORMAT"), "partita data directory, format 9\n").unwrap();
    assert!(Engine::open(options(dir.path())).unwrap_err().to_string().contains("format 9"));
}

#[test]
fn fewer_groups_than_before_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    assert!(matches!(
        engine.append(&[vec![(GroupId(4), Record::Write { at: Timestamp(1), changes: vec![] })]]),
        Err(StorageError::NoSuchGroup { .. })
    ));
    engine.append(&[vec![(GroupId(3), Record::Write { at: Timestamp(1), changes: vec![put("a", "1")] })]]).unwrap();
    drop(engine);
    let fewer = || EngineOptions { groups: 2, ..options(dir.path()) };
    assert!(matches!(Engine::open(fewer()), Err(StorageError::TooFewGroups { .. })));
    open(dir.path()).shut_down().unwrap();
    assert!(matches!(Engine::open(fewer()), Err(StorageError::TooFewGroups { .. })));
}

#[test]
fn full_memtables_are_folded_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memtable_bytes_max: 100 << 10, segment_bytes: 1 << 20, ..options(dir.path()) }).unwrap();
    for at in 1..=200u64 {
        let changes = (0..50).map(|row| put(&format!("{at:03}-{row:02}"), "some value of a row")).collect();
        engine.append(&[write(at, changes)]).unwrap();
        assert!(engine.stats().memtable_bytes < 500 << 10, "{:?}", engine.stats());
    }
    assert!(engine.stats().base_bytes > 0);
    assert_eq!(scan(&engine, "", None, false, 200).matches('@').count(), 10_000);
    assert_eq!(scan(&engine, "", None, true, 100).matches('@').count(), 5_000);
    drop(engine);
    assert_eq!(scan(&open(dir.path()), "", None, false, 200).matches('@').count(), 10_000);
}

#[test]
fn a_view_stays_valid_across_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.append(&[write(10, vec![put("a", "1")]), provisional(5, 11, vec![put("b", "1")]), decide(5, Some(12))]).unwrap();
    let view = engine.view(GROUP);
    for at in 20..40 {
        engine.append(&[write(at, vec![put("a", "2"), delete("b")])]).unwrap();
        engine.set_oldest_snapshot(Timestamp(at));
        engine.checkpoint().unwrap();
    }
    let row = |version, value: &'static str| ReadOutcome::Row { version: Timestamp(version), value: Bytes::from(value) };
    assert_eq!(view.get(TABLE, b"a", Timestamp(15), None).unwrap(), row(10, "1"));
    assert_eq!(view.get(TABLE, b"b", Timestamp(15), None).unwrap(), row(12, "1"));
    assert_eq!(get(&engine, "a", 99), "39=2");
}
