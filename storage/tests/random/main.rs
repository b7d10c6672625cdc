//! Random histories against a model; then the same with a disk that fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;

use std::path::Path;
use std::sync::Arc;

use model::{GROUPS, Model, Step, apply, step};
use proptest::prelude::*;
use storage::disk::{FaultDisk, FaultPoint};
use storage::{Engine, EngineOptions};

fn options(dir: &Path) -> EngineOptions {
    // Blocks of columns are as small as can be, and some must go.
    let small = EngineOptions { column_block_rows: 3, column_cache_bytes: 16 << 10, ..EngineOptions::new(dir) };
    EngineOptions { groups: GROUPS, segment_bytes: 2048, base_cache_bytes: 1 << 20, ..small }
}

/// Runs a history without failures, checking after each step. With little memory, checkpoints run in the background all the time,
/// and on the way through recovery.
fn run(steps: &[Step], memtable_bytes_max: usize) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let options = |dir: &Path| EngineOptions { memtable_bytes_max, ..options(dir) };
    let mut engine = Engine::open(options(dir.path())).unwrap();
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        let frame = model.take(step);
        if matches!(step, Step::Reopen) {
            drop(engine);
            engine = Engine::open(options(dir.path())).unwrap();
        } else {
            apply(&engine, &model, step, frame).unwrap();
        }
        model.check(&engine).map_err(|what| TestCaseError::fail(format!("after step {number} {step:?}: {what}")))?;
    }
    Ok(())
}

/// The states that an engine may be in after a crash: the acknowledged one, and those of later frames that were not durable.
struct Crash {
    dir: tempfile::TempDir,
    possible: Vec<Model>,
}

/// Runs a history on a disk that fails at `fault`; without a fault, at the end.
fn run_to_failure(steps: &[Step], fault: Option<FaultPoint>, disk: &FaultDisk) -> Crash {
    let dir = tempfile::tempdir().unwrap();
    if let Some(fault) = fault {
        disk.fail_at(fault);
    }
    let open = || Engine::open(EngineOptions { disk: Arc::new(disk.clone()), ..options(dir.path()) });
    let mut model = Model::default();
    let mut possible = vec![model.clone()];
    let Ok(mut engine) = open() else { return Crash { dir, possible } };
    for step in steps {
        if matches!(step, Step::Reopen) {
            drop(engine);
            match open() {
                // Opening syncs what it reads.
                Ok(new) => engine = new,
                Err(_) => return Crash { dir, possible },
            }
            possible = vec![model.clone()];
            continue;
        }
        let frame = model.take(step);
        let durable = matches!(step, Step::Checkpoint) || frame.as_ref().is_some_and(|(_, durable)| *durable);
        possible.push(model.clone());
        if apply(&engine, &model, step, frame).is_err() {
            return Crash { dir, possible };
        }
        if durable {
            possible = vec![model.clone()];
        }
    }
    Crash { dir, possible }
}

/// Opens what the crash left, and checks that it is one of the possible states and works on.
fn check_after_crash(crash: &Crash, more: &[Step]) -> Result<(), TestCaseError> {
    let mut engine =
        Engine::open(options(crash.dir.path())).map_err(|error| TestCaseError::fail(format!("opening after the crash: {error}")))?;
    let checked: Vec<_> = crash.possible.iter().map(|model| (model, model.check(&engine))).collect();
    // The newest that fits: an older one may look the same.
    let Some((model, _)) = checked.iter().rev().find(|(_, result)| result.is_ok()) else {
        let what: Vec<_> = checked.iter().map(|(model, result)| format!("clock {}: {:?}", model.clock(), result)).collect();
        return Err(TestCaseError::fail(format!("no possible state:\n{}", what.join("\n"))));
    };
    let mut model = (*model).clone();
    for step in more {
        let frame = model.take(step);
        if matches!(step, Step::Reopen) {
            drop(engine);
            engine = Engine::open(options(crash.dir.path())).unwrap();
        } else {
            apply(&engine, &model, step, frame).unwrap();
        }
    }
    model.check(&engine).map_err(|what| TestCaseError::fail(format!("some steps after the crash: {what}")))
}

fn crash(steps: &[Step], fault: FaultPoint, lose: u64) -> Result<bool, TestCaseError> {
    let disk = FaultDisk::new();
    let (before, after) = steps.split_at(steps.len() * 3 / 4);
    let crash = run_to_failure(before, Some(fault), &disk);
    let failed = disk.failed();
    // A pattern of its own for each case: bit by bit of a simple generator.
    let mut bits = lose;
    disk.lose_unsynced(&mut || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        lose % 4 == 1 || (lose % 4 >= 2 && bits >> 63 == 1)
    })
    .unwrap();
    check_after_crash(&crash, after).map_err(|error| TestCaseError::fail(format!("{fault:?}: {error}")))?;
    Ok(failed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn histories_read_as_in_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        run(&steps, 1 << 20)?;
    }

    #[test]
    fn histories_read_as_in_the_model_while_checkpoints_run(steps in proptest::collection::vec(step(), 1..60), memory in 500usize..3000) {
        run(&steps, memory)?;
    }

    #[test]
    fn crashes_lose_nothing_acknowledged(
        steps in proptest::collection::vec(step(), 8..60),
        after in 0u64..400,
        torn_permille in 0u32..1000,
        lose in any::<u64>(),
    ) {
        crash(&steps, FaultPoint { after, torn_permille }, lose)?;
    }
}

/// One history of all kinds of steps, failing at each of its operations in turn.
#[test]
fn every_operation_may_be_the_last() {
    let rows = |seed: u8| (0..5).map(|row| (seed.wrapping_mul(37).wrapping_add(row * 11), seed, row == 3)).collect::<Vec<_>>();
    let mut steps = Vec::new();
    for round in 0..2u8 {
        steps.extend([
            Step::Write { rows: rows(round) },
            Step::Provisional { slot: 0, rows: rows(round + 50), buffered: true },
            Step::Provisional { slot: 1, rows: rows(round + 90), buffered: round % 2 == 0 },
            Step::Prepare { slot: 0 },
            Step::Checkpoint,
            Step::Decide { slot: 0, commit: true },
            Step::Metadata { group: 1 },
            Step::Oldest { back: 2 },
            Step::DropRange { group: 0, relation: 0, lo: 4, hi: Some(6) },
            Step::Checkpoint,
            Step::Decide { slot: 1, commit: round % 2 == 1 },
            Step::Reopen,
        ]);
    }
    let mut after = 0;
    while crash(&steps, FaultPoint { after, torn_permille: u32::try_from(after % 7 * 140).unwrap() }, after).unwrap() {
        after += 1;
    }
    assert!(after > 100, "only {after} operations");
}
