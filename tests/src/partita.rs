//! Partita as processes: one for everything, or one for each node of a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::client::Address;
use crate::process::{Process, Signal};

/// The database that is always there.
const DATABASE: &str = "postgres";
const ANY_PORT: &str = "127.0.0.1:0";

/// The program: `PARTITA_BIN`, or else the one of this workspace, which is built first.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("PARTITA_BIN") {
            return given.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "--bin", "partita"]).current_dir(crate::workspace_directory()).output();
        let built = built.unwrap();
        assert!(built.status.success(), "the program does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        // A test's program is target/debug/deps/name.
        let test = std::env::current_exe().unwrap();
        test.parent().and_then(Path::parent).unwrap().join("partita")
    })
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments);
    for name in ["CONFIG", "LISTEN", "CONNECTIONS_MAX", "MEMORY_MB", "DATA", "WORKERS", "GROUPS", "RPC", "JOIN", "ADVERTISE"] {
        command.env_remove(format!("PARTITA_{name}"));
    }
    let log = std::env::var("PARTITA_TEST_LOG").unwrap_or_else(|_| "warn".to_owned());
    command.env("RUST_LOG", log).env("RUST_BACKTRACE", "1");
    command
}

/// Starts a process; gives what follows `is ready: ` too.
fn start(arguments: &[&str], log: &Path) -> Result<(Process, String), String> {
    let (process, line) = Process::start_ready(&mut command(arguments), log)?;
    let told = line.split_once("is ready: ").ok_or_else(|| format!("not a ready line: {line:?}"))?;
    Ok((process, told.1.trim_end().to_owned()))
}

/// From `psql -h 127.0.0.1 -p PORT -U postgres`.
fn client_address(told: &str) -> Address {
    let port = told.split_once(" -p ").and_then(|(_, rest)| rest.split(' ').next()).and_then(|port| port.parse().ok());
    Address { port: port.unwrap_or_else(|| panic!("no port in {told:?}")), database: DATABASE.to_owned() }
}

/// The one process of `partita start`. Dropping it kills it; its directory stays.
#[derive(Debug)]
pub struct Partita {
    pub process: Process,
    address: Address,
}

impl Partita {
    /// Starts it on a free port. `directory` holds its data and its log.
    pub fn start(directory: &Path, workers: u32) -> Result<Self, String> {
        Self::start_at(directory, workers, ANY_PORT)
    }

    /// Starts it at an address: for one that comes back and is to be found where it was.
    pub fn start_at(directory: &Path, workers: u32, listen: &str) -> Result<Self, String> {
        let data = directory.join("data");
        let (data, workers) = (data.to_str().unwrap(), workers.to_string());
        let arguments = ["start", "--data", data, "--listen", listen, "--workers", &workers];
        let (process, told) = start(&arguments, &directory.join("log"))?;
        Ok(Self { process, address: client_address(&told) })
    }

    /// Where clients connect.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks it to end, and asserts that it does so as it should.
    pub fn stop(mut self) {
        let code = self.process.stop(Signal::Terminate);
        assert_eq!(code, Some(0), "{}", self.process.log_end());
    }
}

/// A worker's process and how it was started.
#[derive(Debug)]
pub struct Worker {
    pub process: Process,
    name: String,
}

/// A catalog, workers and a coordinator, each in a process. Dropping it kills them; the directory stays.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    pub catalog: Process,
    catalog_address: String,
    pub workers: Vec<Worker>,
    pub coordinator: Process,
    address: Address,
}

impl Cluster {
    /// Starts a cluster with that many workers, all on free ports.
    pub fn start(directory: &Path, workers: usize) -> Result<Self, String> {
        let (catalog, catalog_address) = start_catalog(directory, ANY_PORT)?;
        let started = (1..=workers).map(|n| start_worker(directory, &format!("worker-{n}"), &catalog_address)).collect::<Result<_, _>>()?;
        let (coordinator, address) = start_coordinator(directory, &catalog_address, ANY_PORT)?;
        Ok(Self { directory: directory.to_path_buf(), catalog, catalog_address, workers: started, coordinator, address })
    }

    /// Where clients connect.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Starts a worker that has ended again.
    pub fn restart_worker(&mut self, at: usize) -> Result<(), String> {
        self.workers[at].process.kill();
        self.workers[at] = start_worker(&self.directory, &self.workers[at].name, &self.catalog_address)?;
        Ok(())
    }

    /// Starts the catalog again, where it was.
    pub fn restart_catalog(&mut self) -> Result<(), String> {
        self.catalog.kill();
        (self.catalog, _) = start_catalog(&self.directory, &self.catalog_address)?;
        Ok(())
    }

    /// Starts the coordinator again, where it was.
    pub fn restart_coordinator(&mut self) -> Result<(), String> {
        self.coordinator.kill();
        let listen = format!("127.0.0.1:{}", self.address.port);
        (self.coordinator, self.address) = start_coordinator(&self.directory, &self.catalog_address, &listen)?;
        Ok(())
    }

    /// Starts one more coordinator; the name is its log's.
    pub fn another_coordinator(&self, name: &str) -> Result<(Process, Address), String> {
        let directory = self.directory.join(name);
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        start_coordinator(&directory, &self.catalog_address, ANY_PORT)
    }

    /// The last lines of all logs.
    pub fn log_end(&self) -> String {
        let workers = self.workers.iter().map(|w| (w.name.as_str(), &w.process));
        let all = [("catalog", &self.catalog), ("coordinator", &self.coordinator)].into_iter().chain(workers);
        all.map(|(name, process)| format!("--- {name}\n{}\n", process.log_end())).collect()
    }
}

fn start_catalog(directory: &Path, rpc: &str) -> Result<(Process, String), String> {
    let data = directory.join("catalog");
    start(&["catalog", "--data", data.to_str().unwrap(), "--rpc", rpc], &directory.join("catalog.log"))
}

fn start_worker(directory: &Path, name: &str, join: &str) -> Result<Worker, String> {
    let data = directory.join(name);
    let arguments = ["worker", "--data", data.to_str().unwrap(), "--rpc", ANY_PORT, "--join", join];
    let (process, _) = start(&arguments, &directory.join(format!("{name}.log")))?;
    Ok(Worker { process, name: name.to_owned() })
}

fn start_coordinator(directory: &Path, join: &str, listen: &str) -> Result<(Process, Address), String> {
    let (process, told) = start(&["coordinator", "--listen", listen, "--join", join], &directory.join("coordinator.log"))?;
    Ok((process, client_address(&told)))
}
