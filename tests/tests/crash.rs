//! The crash loop: clients write, a process is killed at a random moment and started again, and everything that was acknowledged is there.
//!
//! `PARTITA_CRASH_SECONDS` says how long each loop runs (default 15), `PARTITA_CRASH_SEED` repeats the random choices of a run (not the moments at
//! which processes are scheduled). The seed is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its seed")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::acknowledged::{Writer, check_accounts, create_tables};
use tests::client::{Address, Client, ClientError};
use tests::partita::{Cluster, Partita};
use tests::postgres::Postgres;
use tests::{number_from_environment, wait};

const WRITERS: u32 = 4;
/// How long writers write before the process is killed.
const WRITE_MS: std::ops::Range<u64> = 50..1_500;
/// How long a killed worker stays away.
const AWAY_MS: std::ops::Range<u64> = 0..500;
/// How long a recovered server may take until it answers.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
/// Tables are cut by the hash of their primary key.
const CLAUSE: &str = "WITH (partitions = 8)";

/// One loop: its clients, its random choices and its end.
struct Loop {
    writers: Vec<Writer>,
    random: StdRng,
    clock: SystemClock,
    length: Duration,
    rounds: u32,
}

impl Loop {
    fn new(name: &str) -> Self {
        let seed = number_from_environment("PARTITA_CRASH_SEED", rand::rng().random_range(0..1_000_000));
        println!("{name}: PARTITA_CRASH_SEED={seed}");
        let length = Duration::from_secs(number_from_environment("PARTITA_CRASH_SECONDS", 15));
        let writers = (1..=WRITERS).map(|number| Writer::new(number, seed)).collect();
        Self { writers, random: StdRng::seed_from_u64(seed), clock: SystemClock::new(), length, rounds: 0 }
    }

    fn prepare(&mut self, address: &Address, clause: &str) {
        let mut client = Client::connect(address).unwrap();
        create_tables(&mut client, clause).unwrap();
        for writer in &self.writers {
            writer.begin(&mut client).unwrap();
        }
    }

    fn goes_on(&mut self) -> bool {
        self.rounds += 1;
        self.clock.monotonic() < self.length
    }

    /// Lets all clients write while `disturb` does what it does.
    fn write_while(&mut self, address: &Address, disturb: impl FnOnce(&mut StdRng)) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in &mut self.writers {
                let stop = &stop;
                scope.spawn(move || write_until(writer, address, stop));
            }
            disturb(&mut self.random);
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Holds what is there against what the clients were told.
    fn check(&mut self, address: &Address, log: impl Fn() -> String) {
        let mut last_error = String::new();
        let checked = wait::until(RECOVERY_LIMIT, || match self.try_check(address) {
            Ok(checked) => Some(checked),
            Err(error) => {
                last_error = error.to_string();
                None
            }
        });
        let outcome = checked.unwrap_or_else(|| Err(format!("the server does not answer: {last_error}")));
        assert!(outcome.is_ok(), "round {}: {}\n{}", self.rounds, outcome.unwrap_err(), log());
    }

    /// `Err`: not now, perhaps later.
    fn try_check(&mut self, address: &Address) -> Result<Result<(), String>, ClientError> {
        let mut client = Client::connect(address)?;
        client.execute("SELECT count(*) FROM batches")?;
        client.execute("SELECT count(*) FROM accounts")?;
        let checked = self.writers.iter_mut().try_for_each(|writer| writer.check(&mut client));
        Ok(checked.and_then(|()| check_accounts(&mut client)))
    }

    fn tell(&self, name: &str) {
        let acknowledged: u64 = self.writers.iter().map(Writer::acknowledged).sum();
        println!("{name}: {} rounds, {acknowledged} acknowledged changes", self.rounds);
        assert!(acknowledged > 0, "nothing was written; {}", self.writers[0].last_refusal());
    }
}

/// Writes until told to stop. One whose connection breaks connects again while the server is there.
fn write_until(writer: &mut Writer, address: &Address, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(address) else {
            _ = wait::until(Duration::from_millis(20), || stop.load(Ordering::Relaxed).then_some(()));
            continue;
        };
        while !stop.load(Ordering::Relaxed) && writer.step(&mut client).is_ok() {}
    }
}

fn pass(milliseconds: u64) {
    _ = wait::until(Duration::from_millis(milliseconds), || None::<()>);
}

#[test]
fn what_one_process_acknowledged_survives_its_crash() {
    crash_one_process("one worker", 1);
}

#[test]
fn what_several_workers_of_one_process_acknowledged_survives_its_crash() {
    crash_one_process("three workers", 3);
}

fn crash_one_process(name: &str, workers: u32) {
    let directory = tempfile::Builder::new().prefix("partita-crash-").tempdir().unwrap();
    let mut state = Loop::new(name);
    let mut partita = Partita::start(directory.path(), workers).unwrap();
    state.prepare(&partita.address().clone(), CLAUSE);
    while state.goes_on() {
        let address = partita.address().clone();
        state.write_while(&address, |random| {
            pass(random.random_range(WRITE_MS));
            partita.process.kill();
        });
        partita = restart(directory.path(), workers);
        state.check(&partita.address().clone(), || partita.process.log_end());
    }
    partita.stop();
    let partita = restart(directory.path(), workers);
    state.check(&partita.address().clone(), || partita.process.log_end());
    state.tell(name);
}

fn restart(directory: &Path, workers: u32) -> Partita {
    Partita::start(directory, workers).unwrap_or_else(|told| panic!("it does not come back: {told}"))
}

#[test]
fn what_a_cluster_acknowledged_survives_the_crash_of_a_worker() {
    let name = "a worker of a cluster";
    let directory = tempfile::Builder::new().prefix("partita-crash-").tempdir().unwrap();
    let mut state = Loop::new(name);
    let mut cluster = Cluster::start(directory.path(), 3).unwrap();
    let address = cluster.address().clone();
    state.prepare(&address, CLAUSE);
    while state.goes_on() {
        state.write_while(&address, |random| {
            pass(random.random_range(WRITE_MS));
            let worker = random.random_range(0..cluster.workers.len());
            cluster.workers[worker].process.kill();
            pass(random.random_range(AWAY_MS));
            cluster.restart_worker(worker).unwrap();
            pass(random.random_range(AWAY_MS));
        });
        state.check(&address, || cluster.log_end());
    }
    state.tell(name);
}

/// The patterns themselves are right: PostgreSQL keeps to them.
#[test]
fn the_patterns_hold_on_postgresql() {
    let server = Postgres::start();
    let mut state = Loop::new("postgresql");
    state.prepare(server.address(), "");
    for _ in 0..3 {
        state.goes_on();
        state.write_while(server.address(), |_| pass(300));
        state.check(server.address(), String::new);
    }
    state.tell("postgresql");
}
