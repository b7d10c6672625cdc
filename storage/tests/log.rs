//! Torn tails and corruption of the log's files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::error::SqlError;
use common::ids::{GroupId, LogPosition, OwnWrites, RelationId, Timestamp, TransactionId};
use common::sqlstate::SqlState;
use storage::disk::{FaultDisk, FaultPoint};
use storage::{Change, Engine, EngineOptions, Frame, ReadOutcome, Record, StorageError};

const GROUPS: [GroupId; 2] = [GroupId(0), GroupId(1)];
const TABLE: RelationId = RelationId(7);

fn options(dir: &Path) -> EngineOptions {
    EngineOptions { groups: 2, segment_bytes: 4096, ..EngineOptions::new(dir) }
}

/// A frame that writes the key `at` in both groups. Its last byte is no zero, so that any cut is one.
fn frame(at: u64) -> Frame {
    let change = Change {
        relation: TABLE,
        key: Bytes::from(at.to_string()),
        value: Some(Bytes::from(vec![b'v'; 40])),
        before: Some(Bytes::from("before")),
    };
    GROUPS.map(|group| (group, Record::Write { at: Timestamp(at), changes: vec![change.clone()] })).to_vec()
}

/// Which of the frames up to 100 are there; a frame must be there in both groups or in none.
fn frames(engine: &Engine) -> Vec<u64> {
    let is_there = |group: GroupId, at: u64| {
        engine.view(group).get(TABLE, at.to_string().as_bytes(), Timestamp(at), None).unwrap() != ReadOutcome::Missing
    };
    (1..=100)
        .filter(|at| {
            let there = GROUPS.map(|group| is_there(group, *at));
            assert_eq!(there[0], there[1], "half of frame {at}");
            there[0]
        })
        .collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A directory whose log has frames 1 to 5, synced one by one, and the end of each.
fn five_frames() -> (tempfile::TempDir, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path())).unwrap();
    let ends = (1..=5).map(|at| engine.append(&[frame(at)]).unwrap().0).collect();
    (dir, ends)
}

/// Opens, checks which frames are there, appends frame 9, and opens again.
fn check_and_go_on(dir: &Path, expected: &[u64]) {
    let engine = Engine::open(options(dir)).unwrap();
    assert_eq!(frames(&engine), expected);
    engine.append(&[frame(9)]).unwrap();
    drop(engine);
    let engine = Engine::open(options(dir)).unwrap();
    assert_eq!(frames(&engine), [expected, &[9]].concat());
    assert_eq!(engine.read_log(LogPosition(0), usize::MAX).unwrap().len(), expected.len() + 1);
}

#[test]
fn a_tail_cut_at_any_byte_loses_only_its_frame() {
    let (dir, ends) = five_frames();
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for cut in ends[3]..ends[4] {
        for zeros in [false, true] {
            let mut bytes = whole[..cut as usize].to_vec();
            if zeros {
                bytes.resize(whole.len(), 0);
            }
            let copy = tempfile::tempdir().unwrap();
            Engine::open(options(copy.path())).unwrap();
            fs::write(copy.path().join("log").join(path.file_name().unwrap()), bytes).unwrap();
            check_and_go_on(copy.path(), &[1, 2, 3, 4]);
        }
    }
}

#[test]
fn a_damaged_last_frame_is_cut_and_any_other_is_an_error() {
    let (dir, ends) = five_frames();
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for at in 0..ends[4] {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        if at >= ends[3] {
            let engine = Engine::open(options(dir.path())).unwrap();
            assert_eq!(frames(&engine), [1, 2, 3, 4]);
            continue;
        }
        let start = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
        let error = Engine::open(options(dir.path())).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::DATA_CORRUPTED);
        assert!(error.to_string().starts_with(&format!("\"{}\" is corrupt at byte {start}: ", path.display())), "byte {at}: {error}");
        // Nothing was changed by the refusal.
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::write(&path, &whole).unwrap();
    check_and_go_on(dir.path(), &[1, 2, 3, 4, 5]);
}

#[test]
fn an_unsynced_batch_may_lose_any_part_of_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path())).unwrap();
    let first = engine.append(&[frame(1)]).unwrap().0;
    let middle = engine.append_buffered(&[frame(2)]).unwrap().0;
    engine.append_buffered(&[frame(3)]).unwrap();
    drop(engine);
    // The disk kept the later frame of the batch and lost the earlier one.
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[first as usize..middle as usize].fill(0);
    fs::write(&path, &bytes).unwrap();
    check_and_go_on(dir.path(), &[1]);
}

#[test]
fn a_frame_damaged_before_the_last_segment_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path())).unwrap();
    let mut ends = vec![0];
    while segments(dir.path()).len() < 3 {
        ends.push(engine.append(&[frame(ends.len() as u64)]).unwrap().0);
    }
    drop(engine);
    let paths = segments(dir.path());
    // The last frame of the first segment: what would be a torn tail in the last one.
    let mut bytes = fs::read(&paths[0]).unwrap();
    let offset = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[offset] ^= 1;
    fs::write(&paths[0], &bytes).unwrap();
    let error = Engine::open(options(dir.path())).unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt { path, .. } if *path == paths[0]), "{error}");
    bytes[offset] ^= 1;
    fs::write(&paths[0], &bytes).unwrap();
    // A missing segment too.
    fs::remove_file(&paths[1]).unwrap();
    assert!(matches!(Engine::open(options(dir.path())), Err(StorageError::Corrupt { .. })));
}

#[test]
fn damage_is_seen_by_readers_of_the_log() {
    let (dir, ends) = five_frames();
    let engine = Engine::open(options(dir.path())).unwrap();
    engine.checkpoint().unwrap();
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[ends[1] as usize + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = engine.read_log(LogPosition(0), usize::MAX).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { offset, .. } if offset == ends[1]), "{error}");
}

#[test]
fn a_log_that_ends_before_the_checkpoint_is_an_error() {
    let (dir, _) = five_frames();
    Engine::open(options(dir.path())).unwrap().shut_down().unwrap();
    let path = segments(dir.path()).remove(0);
    fs::write(&path, b"").unwrap();
    assert!(matches!(Engine::open(options(dir.path())), Err(StorageError::Corrupt { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Engine::open(options(dir.path())), Err(StorageError::Corrupt { .. })));
}

#[test]
fn after_a_failed_sync_nothing_is_appended_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new();
    let engine = Engine::open(EngineOptions { disk: Arc::new(disk.clone()), ..options(dir.path()) }).unwrap();
    engine.append(&[frame(1)]).unwrap();
    // The next write works, its sync does not.
    disk.fail_at(FaultPoint { after: disk.operations() + 1, torn_permille: 0 });
    let error = engine.append(&[frame(2)]).unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::IO_ERROR);
    assert!(matches!(engine.append(&[frame(3)]), Err(StorageError::Poisoned { .. })));
    assert!(matches!(engine.append_buffered(&[frame(3)]), Err(StorageError::Poisoned { .. })));
    assert_eq!(frames(&engine), [1]);
    assert!(engine.checkpoint().is_err());
    drop(engine);
    // What was written and not acknowledged may be there; what was never written is not.
    assert!([&[1][..], &[1, 2]].contains(&&frames(&Engine::open(options(dir.path())).unwrap())[..]));
}

#[test]
fn a_full_disk_for_checkpoints_ends_in_an_error_and_not_in_full_memory() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 64 << 10;
    let engine = Engine::open(EngineOptions { memtable_bytes_max: limit, segment_bytes: 64 << 20, ..options(dir.path()) }).unwrap();
    // A directory in the way of the base files: they cannot be made, while the log goes on.
    fs::create_dir(dir.path().join("base/0.redb.new")).unwrap();
    let mut at = 0;
    let error = loop {
        at += 1;
        if let Err(error) = engine.append(&[frame(at)]) {
            break error;
        }
        assert!(at < 10_000);
    };
    assert!(matches!(error, StorageError::CheckpointFailing { .. }), "{error}");
    fs::remove_dir(dir.path().join("base/0.redb.new")).unwrap();
    // Reads went on all the time, and so do writes when the cause is gone.
    assert_eq!(frames(&engine).len(), 100);
    engine.checkpoint().unwrap();
    while engine.append(&[frame(at)]).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(engine.stats().memtable_bytes < 2 * limit as u64);
}

#[test]
fn frames_larger_than_a_segment_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path())).unwrap();
    let value = Bytes::from((0..3_000_000u32).map(|byte| byte as u8).collect::<Vec<_>>());
    let change = Change { relation: TABLE, key: Bytes::from("big"), value: Some(value.clone()), before: None };
    let big = vec![(GroupId(0), Record::Provisional { transaction: TransactionId(1), at: Timestamp(1), changes: vec![change] })];
    engine.append(&[frame(1), big.clone(), frame(2), big, frame(3)]).unwrap();
    assert_eq!(engine.read_log(LogPosition(0), usize::MAX).unwrap().len(), 5);
    drop(engine);
    let engine = Engine::open(options(dir.path())).unwrap();
    assert_eq!(frames(&engine), [1, 2, 3]);
    let found = engine.view(GroupId(0)).get(TABLE, b"big", Timestamp(1), Some(OwnWrites::all(TransactionId(1)))).unwrap();
    assert_eq!(found, ReadOutcome::Row { version: Timestamp::MAX, value });
}
