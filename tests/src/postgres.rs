//! A PostgreSQL 15 of the tests' own, in a temporary directory: what the logic tests are held against.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::client::{Address, Client};
use crate::process::{PROCESS_LIMIT, Process, Signal};
use crate::wait;

/// Where Debian puts the programs of PostgreSQL 15.
const DEBIAN_PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A running server. Dropping it ends it and removes its directory.
#[derive(Debug)]
pub struct Postgres {
    address: Address,
    process: Process,
    directory: TempDir,
}

impl Postgres {
    /// Makes a data directory and starts a server on a free port. Nothing that it writes needs to survive a crash.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("partita-tests-pg-").tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let owner = owner_for(directory.path());
        let initdb = program("initdb");
        let mut command = as_owner(owner, &initdb);
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--lc-ctype=C.UTF-8", "--no-sync", "-D"]);
        let made = command.arg(&data).output().unwrap_or_else(|error| panic!("cannot run {}: {error}", initdb.display()));
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = as_owner(owner, &program("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
        for setting in ["unix_socket_directories=", "fsync=off", "full_page_writes=off", "timezone=UTC", "max_connections=100"] {
            command.args(["-c", setting]);
        }
        let mut server = Self {
            address: Address { port, database: "postgres".to_owned() },
            process: Process::start(&mut command, &directory.path().join("log")),
            directory,
        };
        server.wait_until_ready();
        server
    }

    /// The one server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn wait_until_ready(&mut self) {
        let ready = wait::until(PROCESS_LIMIT, || {
            assert!(self.process.is_running(), "PostgreSQL does not start:\n{}", self.process.log_end());
            Client::connect(&self.address).ok()
        });
        assert!(ready.is_some(), "PostgreSQL does not get ready:\n{}", self.process.log_end());
    }

    /// Where it listens, with the database `postgres`.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) -> Address {
        let mut client = Client::connect(&self.address).unwrap();
        client.execute(&format!("CREATE DATABASE \"{name}\" TEMPLATE template0")).unwrap();
        Address { database: name.to_owned(), ..self.address.clone() }
    }

    /// The directory of its data and log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it now: for a shared server, which is never dropped.
    pub fn stop_shared(&self) {
        self.process.signal(Signal::Interrupt);
        wait::until(PROCESS_LIMIT, || Client::connect(&self.address).is_err().then_some(()));
        _ = std::fs::remove_dir_all(self.directory.path());
    }
}

/// PostgreSQL refuses to run as root; then it runs as `postgres`, who gets the directory.
fn owner_for(directory: &Path) -> Option<&'static str> {
    const USER: &str = "postgres";
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout.trim_ascii() != b"0" {
        return None;
    }
    let given = Command::new("chown").args(["-R", USER]).arg(directory).status().unwrap();
    assert!(given.success(), "there is no user {USER}: is PostgreSQL installed?");
    Some(USER)
}

/// `setpriv` becomes the program, so that signals reach it.
fn as_owner(owner: Option<&str>, program: &Path) -> Command {
    let Some(user) = owner else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program).current_dir("/");
    command
}

/// A program of PostgreSQL 15: from `POSTGRES_BIN`, from where Debian puts it, or from the path.
pub fn program(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("POSTGRES_BIN") {
        return PathBuf::from(directory).join(name);
    }
    let debian = Path::new(DEBIAN_PROGRAMS).join(name);
    if debian.exists() { debian } else { PathBuf::from(name) }
}
