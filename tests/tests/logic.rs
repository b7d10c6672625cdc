//! The logic tests: each `slt/**.slt` is one test for each of its targets.
//!
//! `postgresql::FILE`, `workers_1::FILE`, `workers_3::FILE`; files under `slt/partita` have no PostgreSQL. Each run gets an empty database: a new one
//! in a shared PostgreSQL, a new process of Partita.
//!
//! The files of SQLite's corpus ([`tests::sqlite_corpus`]), where they are there, are `workers_1::sqlite/FILE` and `workers_3::sqlite/FILE`.
//!
//! `slt/pending.txt` names the files that Partita does not pass yet ([`tests::pending`]): `pending::FILE`.
//!
//! `UPDATE=1 cargo test -p tests --test logic -- FILE` writes PostgreSQL's answers into the files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tests::client::Address;
use tests::logic::{Engine, run_file, update_file};
use tests::partita::Partita;
use tests::pending::{Pending, pending};
use tests::postgres::Postgres;
use tests::sqlite_corpus;

/// How many workers Partita has.
const WORKERS: [u32; 2] = [1, 3];
/// The directory of what PostgreSQL does not have.
const PARTITA_ONLY: &str = "partita/";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two processes of Partita at a time are enough for a small machine.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let files = files(&tests::crate_directory().join("slt"), "slt");
    let trials =
        if std::env::var_os("UPDATE").is_some() { updates(&files) } else { trials(files).into_iter().chain(sqlite_trials()).collect() };
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
    for name in pending.keys().filter(|name| name.ends_with(".slt")) {
        assert!(files.contains_key(name), "pending.txt names {name}, which is not there");
    }
    let mut trials = Vec::new();
    for (name, path) in files {
        if !name.starts_with(PARTITA_ONLY) {
            trials.push(postgres_trial(&name, path.clone()));
        }
        match pending.get(&name) {
            Some(pending) => trials.push(pending_trial(&name, path, pending.clone())),
            None => trials.extend(WORKERS.map(|workers| partita_trial(&name, path.clone(), workers))),
        }
    }
    trials
}

fn postgres_trial(name: &str, path: PathBuf) -> Trial {
    let database = name.to_owned();
    Trial::test(format!("postgresql::{name}"), move || {
        let address = postgres().create_database(&database);
        passed(&run_file(&path, &address, Engine::Postgresql))
    })
}

fn partita_trial(name: &str, path: PathBuf, workers: u32) -> Trial {
    Trial::test(format!("workers_{workers}::{name}"), move || passed(&run_on_partita(&path, workers)?))
}

/// The files of SQLite's corpus.
fn sqlite_trials() -> Vec<Trial> {
    let Some(directory) = sqlite_corpus::directory() else { return Vec::new() };
    let mut trials = Vec::new();
    for (name, path) in files(&directory, "test") {
        for workers in WORKERS {
            let path = path.clone();
            trials.push(Trial::test(format!("workers_{workers}::sqlite/{name}"), move || {
                passed(&on_partita(workers, |address| sqlite_corpus::run_file(&path, address))?)
            }));
        }
    }
    trials
}

/// Passes as long as there are no more differences than there were, with any number of workers.
fn pending_trial(name: &str, path: PathBuf, pending: Pending) -> Trial {
    let file = name.to_owned();
    let trial = Trial::test(format!("pending::{name}"), move || {
        let runs = WORKERS.map(|workers| run_on_partita(&path, workers)).into_iter().collect::<Result<Vec<_>, String>>()?;
        let most = runs.iter().max_by_key(|differences| differences.len()).map(Vec::as_slice).unwrap_or_default();
        match pending.judge(&file, most.len()) {
            Ok(told) => eprintln!("{told}"),
            Err(told) => return Err(Failed::from(format!("{told}\n{}", most.join("\n")))),
        }
        Ok(())
    });
    trial.with_kind("pending")
}

fn passed(differences: &[String]) -> Result<(), Failed> {
    if differences.is_empty() { Ok(()) } else { Err(format!("{} differences:\n{}", differences.len(), differences.join("\n")).into()) }
}

fn run_on_partita(path: &Path, workers: u32) -> Result<Vec<String>, String> {
    on_partita(workers, |address| Ok(run_file(path, address, Engine::Partita)))
}

/// Runs something on a new Partita. Gives the differences. `Err`: the server has crashed or panicked.
fn on_partita(workers: u32, run: impl FnOnce(&Address) -> Result<Vec<String>, String>) -> Result<Vec<String>, String> {
    let directory = tempfile::Builder::new().prefix("partita-tests-").tempdir().unwrap();
    let mut partita = Partita::start(directory.path(), workers)?;
    let differences = run(partita.address())?;
    let log = partita.process.log_end();
    if !partita.process.is_running() || log.contains("panicked at") {
        return Err(format!("the server has crashed or panicked:\n{log}\n{}", differences.join("\n")));
    }
    // One that may still be busy with a statement that was given up is killed.
    if differences.is_empty() {
        partita.stop();
    }
    Ok(differences)
}

/// The files of an extension by name: the path below the directory.
fn files(directory: &Path, extension: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.insert(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned(), path);
            }
        }
    }
    found
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
