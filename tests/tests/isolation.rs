//! The isolation specs: each is one test on PostgreSQL and on Partita with one worker and with three; see [`tests::isolation`].
//!
//! `UPDATE=1 cargo test -p tests --test isolation -- NAME` writes what PostgreSQL answers into the expected files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tests::isolation::{Spec, differences, run};
use tests::logic::Engine;
use tests::partita::Partita;
use tests::postgres::Postgres;

/// How many workers Partita has.
const WORKERS: [u32; 2] = [1, 3];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let directory = tests::crate_directory().join("isolation");
    let mut names: Vec<String> = std::fs::read_dir(directory.join("specs"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    let is_update = std::env::var_os("UPDATE").is_some();
    let trials = names.iter().flat_map(|name| if is_update { vec![update(&directory, name)] } else { trials(&directory, name) });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    Postgres::shared().stop_shared();
    conclusion.exit_code()
}

fn spec(directory: &Path, name: &str) -> Spec {
    Spec::parse(&std::fs::read_to_string(directory.join("specs").join(format!("{name}.spec"))).unwrap())
}

fn expected_path(directory: &Path, name: &str) -> PathBuf {
    directory.join("expected").join(format!("{name}.out"))
}

fn on_postgres(directory: &Path, name: &str) -> String {
    run(&spec(directory, name), &Postgres::shared().create_database(name), Engine::Postgresql, None)
}

fn update(directory: &Path, name: &str) -> Trial {
    let (directory, name) = (directory.to_path_buf(), name.to_owned());
    Trial::test(format!("update::{name}"), move || {
        std::fs::write(expected_path(&directory, &name), on_postgres(&directory, &name)).unwrap();
        Ok(())
    })
}

fn trials(directory: &Path, name: &str) -> Vec<Trial> {
    let postgres = {
        let (directory, name) = (directory.to_path_buf(), name.to_owned());
        Trial::test(format!("postgresql::{name}"), move || passed(&directory, &name, &on_postgres(&directory, &name)))
    };
    let partita = WORKERS.map(|workers| {
        let (directory, name) = (directory.to_path_buf(), name.to_owned());
        Trial::test(format!("workers_{workers}::{name}"), move || passed(&directory, &name, &on_partita(&directory, &name, workers)?))
    });
    std::iter::once(postgres).chain(partita).collect()
}

fn on_partita(directory: &Path, name: &str, workers: u32) -> Result<String, String> {
    let data = tempfile::Builder::new().prefix("partita-tests-").tempdir().unwrap();
    let mut partita = Partita::start(data.path(), workers)?;
    let expected = std::fs::read_to_string(expected_path(directory, name)).unwrap_or_default();
    let found = run(&spec(directory, name), partita.address(), Engine::Partita, Some(&expected));
    let log = partita.process.log_end();
    if !partita.process.is_running() || log.contains("panicked at") {
        return Err(format!("the server has crashed or panicked:\n{log}\n{found}"));
    }
    Ok(found)
}

fn passed(directory: &Path, name: &str, found: &str) -> Result<(), Failed> {
    let expected = std::fs::read_to_string(expected_path(directory, name)).unwrap_or_default();
    let different = differences(&expected, found);
    if different.is_empty() { Ok(()) } else { Err(format!("{} differences:\n{}", different.len(), different.join("\n")).into()) }
}
