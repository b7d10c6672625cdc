//! How fast the engine is (`cargo bench -p storage`): the numbers are printed, the floors are far below what a quiet machine reaches.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails by panicking and prints what it measured")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, SystemClock};
use common::ids::{GroupId, RelationId, Timestamp, TransactionId};
use storage::{Change, Engine, EngineOptions, Frame, ReadOutcome, Record, ScanRange};

const GROUP: GroupId = GroupId(0);
const TABLE: RelationId = RelationId(7);
const ROWS: u64 = 1_000_000;
const ROWS_PER_FRAME: u64 = 1000;

fn change(key: u64) -> Change {
    let mut bytes = vec![0x80];
    bytes.extend_from_slice(&key.to_be_bytes());
    Change { relation: TABLE, key: Bytes::from(bytes), value: Some(Bytes::from(vec![7; 100])), before: None }
}

fn load(engine: &Engine, step: u64, offset: u64, at: u64, tag: Option<u64>) {
    for first in (0..ROWS / step).step_by(ROWS_PER_FRAME as usize) {
        let changes: Vec<_> = (first..first + ROWS_PER_FRAME).map(|row| change((row * step + offset) % ROWS)).collect();
        let at = Timestamp(at);
        let frame: Frame = match tag {
            None => vec![(GROUP, Record::Write { at, changes })],
            Some(id) => vec![(GROUP, Record::Provisional { transaction: TransactionId(id), at, changes })],
        };
        engine.append_buffered(&[frame]).unwrap();
    }
    engine.append(&[]).unwrap();
}

fn scan(engine: &Engine, reverse: bool, at: u64) -> u64 {
    let mut rows = 0;
    let range = ScanRange { relation: TABLE, lo: b"", hi: None, reverse };
    let mut count = |_: &[u8], _: Timestamp, value: &[u8]| {
        rows += u64::from(value[0] == 7);
        ControlFlow::Continue(())
    };
    engine.view(GROUP).scan(range, Timestamp(at), None, &mut count).unwrap();
    rows
}

fn gets(engine: &Engine, count: u64, at: u64) {
    let view = engine.view(GROUP);
    let mut key = 1u64;
    for _ in 0..count {
        key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let found = view.get(TABLE, &change(key % ROWS).key, Timestamp(at), None).unwrap();
        assert!(matches!(found, ReadOutcome::Row { .. }));
    }
}

struct Bench(SystemClock);

impl Bench {
    fn time<T>(&self, what: &str, count: u64, least_per_second: f64, work: impl FnOnce() -> T) -> T {
        let start = self.0.monotonic();
        let result = work();
        let taken = self.0.monotonic() - start;
        let rate = count as f64 / taken.as_secs_f64();
        println!("{what}: {:.0} ms, {:.2} million/s", taken.as_secs_f64() * 1e3, rate / 1e6);
        assert!(rate > least_per_second, "{what} is too slow");
        result
    }
}

fn open(dir: &std::path::Path, memory: usize) -> Arc<Engine> {
    Engine::open(EngineOptions { memtable_bytes_max: memory, ..EngineOptions::new(dir) }).unwrap()
}

fn main() {
    let bench = Bench(SystemClock::new());
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 30);
    bench.time("append", ROWS, 1e5, || load(&engine, 1, 0, 10, None));
    println!("memory per row: {}", engine.stats().memtable_bytes / ROWS);
    bench.time("scan of memory", ROWS, 5e5, || assert_eq!(scan(&engine, false, 10), ROWS));
    bench.time("scan of memory backward", ROWS, 1e5, || assert_eq!(scan(&engine, true, 10), ROWS));
    bench.time("gets from memory", 500_000, 1e5, || gets(&engine, 500_000, 10));
    drop(engine);
    let engine = bench.time("recovery", ROWS, 1e5, || open(dir.path(), 1 << 30));
    bench.time("checkpoint", ROWS, 5e4, || engine.checkpoint().unwrap());
    for _ in 0..2 {
        bench.time("scan of the base", ROWS, 1e6, || assert_eq!(scan(&engine, false, 10), ROWS));
        bench.time("scan of the base backward", ROWS, 1e6, || assert_eq!(scan(&engine, true, 10), ROWS));
    }
    bench.time("gets from the base", 500_000, 5e4, || gets(&engine, 500_000, 10));
    load(&engine, 10, 3, 20, None);
    bench.time("scan of the base with a tenth in memory", ROWS, 5e5, || assert_eq!(scan(&engine, false, 20), ROWS));
    engine.set_oldest_snapshot(Timestamp(20));
    bench.time("checkpoint of a tenth", ROWS / 10, 2e4, || engine.checkpoint().unwrap());
    bench.time("sync appends", 2000, 100.0, || {
        for at in 0..2000 {
            engine.append(&[vec![(GROUP, Record::Write { at: Timestamp(30 + at), changes: vec![change(at)] })]]).unwrap();
        }
    });
    engine.shut_down().unwrap();
    drop(engine);
    let engine = bench.time("opening after a clean stop", 1, 5.0, || open(dir.path(), 64 << 20));
    bench.time("a provisional load", ROWS, 5e4, || load(&engine, 1, 0, 5000, Some(4000)));
    println!("memory after it: {} MiB", engine.stats().memtable_bytes >> 20);
    engine.append(&[vec![(GROUP, Record::Decide { transaction: TransactionId(4000), outcome: Some(Timestamp(6000)) })]]).unwrap();
    bench.time("scan of tagged rows", ROWS, 2e5, || assert_eq!(scan(&engine, false, 7000), ROWS));
    engine.set_oldest_snapshot(Timestamp(7000));
    std::thread::sleep(Duration::from_secs(1));
    bench.time("checkpoint", 1, 0.01, || engine.checkpoint().unwrap());
    println!("{:?}", engine.stats());
}
