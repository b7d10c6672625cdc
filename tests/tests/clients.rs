//! Programs that users have: drivers, psql, pgbench. Each file of `clients/` is a script that takes a DSN and fails when something is not as
//! it should be; it runs against PostgreSQL and against Partita with one worker and with three.
//!
//! `tests/run clients` installs what the scripts need, in `$PARTITA_CACHE`. node-postgres is left out where there is no node.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tests::client::Address;
use tests::partita::Partita;
use tests::pending::{Pending, pending};
use tests::postgres::Postgres;
use tests::process::Process;

const WORKERS: [u32; 2] = [1, 3];
const SCRIPT_LIMIT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let pending = pending();
    let mut trials = Vec::new();
    for script in scripts() {
        let name = format!("clients/{}", script.file_name().unwrap().to_str().unwrap());
        let on_postgres = script.clone();
        trials.push(Trial::test(format!("postgresql::{name}"), move || {
            let server = Postgres::start();
            Ok(run(&on_postgres, server.address())?)
        }));
        match pending.get(&name) {
            Some(pending) => trials.push(pending_trial(name, script, pending.clone())),
            None => trials.extend(WORKERS.map(|workers| {
                let script = script.clone();
                Trial::test(format!("workers_{workers}::{name}"), move || Ok(run_on_partita(&script, workers)?))
            })),
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Passes as long as the script fails: it tells one difference, its first.
fn pending_trial(name: String, script: PathBuf, pending: Pending) -> Trial {
    Trial::test(format!("pending::{name}"), move || {
        let failed: Vec<String> = WORKERS.iter().filter_map(|workers| run_on_partita(&script, *workers).err()).collect();
        let told = pending.judge(&name, failed.len().min(1)).map_err(Failed::from)?;
        eprintln!("{told}: {}", failed[0].lines().last().unwrap_or_default());
        Ok(())
    })
}

fn run_on_partita(script: &Path, workers: u32) -> Result<(), String> {
    let directory = tempfile::Builder::new().prefix("partita-clients-").tempdir().unwrap();
    let partita = Partita::start(directory.path(), workers)?;
    run(script, partita.address()).map_err(|told| format!("{}\n{told}", partita.process.log_end()))?;
    partita.stop();
    Ok(())
}

/// Runs a script to its end; `Err` has what it wrote.
fn run(script: &Path, address: &Address) -> Result<(), String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(interpreter(script));
    command.arg(script).arg(address.dsn()).env("NODE_PATH", cache().join("node/node_modules")).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut process = Process::start(&mut command, log.path());
    match process.wait_or_kill(SCRIPT_LIMIT) {
        Some(0) => Ok(()),
        _ => Err(process.log_end()),
    }
}

fn interpreter(script: &Path) -> PathBuf {
    match script.extension().and_then(|e| e.to_str()) {
        Some("py") => cache().join("venv/bin/python"),
        Some("js") => "node".into(),
        _ => "bash".into(),
    }
}

fn cache() -> PathBuf {
    let given = std::env::var_os("PARTITA_CACHE").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/partita"))
}

fn scripts() -> Vec<PathBuf> {
    let has_node = cache().join("node/node_modules/pg").is_dir();
    let entries = std::fs::read_dir(tests::crate_directory().join("clients")).unwrap();
    let mut scripts: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| match path.extension().and_then(|e| e.to_str()) {
        Some("py" | "sh") => true,
        Some("js") => has_node,
        _ => false,
    });
    scripts.sort();
    scripts
}
