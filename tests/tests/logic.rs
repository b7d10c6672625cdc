//! The logic tests: each `slt/**.slt` is one test for each of its targets.
//!
//! `postgresql::FILE`, `workers_1::FILE`, `workers_3::FILE`; files under `slt/partita` have no PostgreSQL. Each run gets an empty database: a new one
//! in a shared PostgreSQL, a new process of Partita.
//!
//! `slt/pending.txt` names the files that Partita does not pass yet, each with the reason. They are run too, and one that passes everywhere is an
//! error until its line is gone.
//!
//! `UPDATE=1 cargo test -p tests --test logic -- FILE` writes PostgreSQL's answers into the files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tests::logic::{Engine, run_file, update_file};
use tests::partita::Partita;
use tests::postgres::Postgres;

/// How many workers Partita has.
const WORKERS: [u32; 2] = [1, 3];
/// The directory of what PostgreSQL does not have.
const PARTITA_ONLY: &str = "partita/";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two processes of Partita at a time are enough for a small machine.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let files = files(&tests::crate_directory().join("slt"));
    let trials = if std::env::var_os("UPDATE").is_some() { updates(&files) } else { trials(files) };
    let conclusion = libtest_mimic::run(&arguments, trials);
    stop_postgres();
    conclusion.exit_code()
}

fn updates(files: &BTreeMap<String, PathBuf>) -> Vec<Trial> {
    let on_postgres = files.iter().filter(|(name, _)| !name.starts_with(PARTITA_ONLY));
    let update = |(name, path): (&String, &PathBuf)| {
        let (name, path) = (name.clone(), path.clone());
        Trial::test(format!("update::{name}"), move || {
            let address = postgres().create_database(&name);
            Ok(update_file(&path, &address)?)
        })
    };
    on_postgres.map(update).collect()
}

fn trials(files: BTreeMap<String, PathBuf>) -> Vec<Trial> {
    let pending = pending();
    for name in pending.keys() {
        assert!(files.contains_key(name), "pending.txt names {name}, which is not there");
    }
    let mut trials = Vec::new();
    for (name, path) in files {
        if !name.starts_with(PARTITA_ONLY) {
            trials.push(postgres_trial(&name, path.clone()));
        }
        match pending.get(&name) {
            Some(reason) => trials.push(pending_trial(&name, path, reason.clone())),
            None => trials.extend(WORKERS.map(|workers| partita_trial(&name, path.clone(), workers))),
        }
    }
    trials
}

fn postgres_trial(name: &str, path: PathBuf) -> Trial {
    let database = name.to_owned();
    Trial::test(format!("postgresql::{name}"), move || {
        let address = postgres().create_database(&database);
        Ok(run_file(&path, &address, Engine::Postgresql)?)
    })
}

fn partita_trial(name: &str, path: PathBuf, workers: u32) -> Trial {
    Trial::test(format!("workers_{workers}::{name}"), move || Ok(run_on_partita(&path, workers)?))
}

/// Passes as long as the file fails with some number of workers.
fn pending_trial(name: &str, path: PathBuf, reason: String) -> Trial {
    let line = name.to_owned();
    let trial = Trial::test(format!("pending::{name}"), move || {
        let outcomes = WORKERS.map(|workers| run_on_partita(&path, workers));
        let differences: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
        let Some(first) = differences.first() else {
            return Err(Failed::from(format!("{line} passes: take its line out of slt/pending.txt")));
        };
        eprintln!("pending {line}: {reason}; {} lines of differences", first.lines().count());
        Ok(())
    });
    trial.with_kind("pending")
}

fn run_on_partita(path: &Path, workers: u32) -> Result<(), String> {
    let directory = tempfile::Builder::new().prefix("partita-tests-").tempdir().unwrap();
    let mut partita = Partita::start(directory.path(), workers)?;
    let outcome = run_file(path, partita.address(), Engine::Partita);
    let lost = if partita.process.is_running() { "" } else { "\nthe process has ended:\n" };
    let log = partita.process.log_end();
    let panicked = if log.contains("panicked at") { "\nthe log has a panic:\n" } else { lost };
    match (outcome, panicked) {
        (Ok(()), "") => {
            partita.stop();
            Ok(())
        }
        (Err(differences), "") => Err(differences),
        (outcome, told) => Err(format!("{}{told}{log}", outcome.err().unwrap_or_default())),
    }
}

/// The files by name: the path below `slt`.
fn files(directory: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "slt") {
                found.insert(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned(), path);
            }
        }
    }
    found
}

/// The lines of `pending.txt`: a file's name, blanks, the reason.
fn pending() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(tests::crate_directory().join("slt/pending.txt")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("a line without a reason: {line}")))
        .map(|(n, r)| (n.to_owned(), r.trim().to_owned()))
        .collect()
}

static POSTGRES_USED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

fn postgres() -> &'static Postgres {
    POSTGRES_USED.store(true, std::sync::atomic::Ordering::Relaxed);
    Postgres::shared()
}

fn stop_postgres() {
    if POSTGRES_USED.load(std::sync::atomic::Ordering::Relaxed) {
        Postgres::shared().stop_shared();
    }
}
