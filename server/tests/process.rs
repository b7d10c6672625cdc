//! The process from outside: what it prints, when it ends, and with what.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Starting and stopping take well under a second on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

fn partita(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partita"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A running process and its ready line.
struct Running {
    child: Child,
    ready: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = partita(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut ready = String::new();
            BufReader::new(out).read_line(&mut ready).unwrap();
            _ = send.send(ready);
        });
        let ready = receive.recv_timeout(LIMIT).unwrap_or_default();
        let mut running = Self { child, ready };
        if !running.ready.contains("is ready: ") {
            _ = running.child.kill();
            panic!("{arguments:?} did not get ready: {}", running.errors());
        }
        running
    }

    fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }

    /// What follows `is ready: `.
    fn told(&self) -> &str {
        self.ready.split_once("is ready: ").unwrap().1.trim_end()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops the process and asserts that it ended as it should.
    fn stop(mut self, signal: &str) {
        self.signal(signal);
        let code = wait(&mut self.child);
        assert_eq!(code, Some(0), "{}", self.errors());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    for _ in 0..LIMIT.as_millis() / 20 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the process does not end");
}

/// Runs a process that is to refuse; answers its one line.
fn refused(arguments: &[&str]) -> String {
    let mut child = partita(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let code = wait(&mut child);
    let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("partita: ")).collect();
    assert_eq!(errors.len(), 1, "{err}");
    errors[0].to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn start_gets_ready_and_stops_and_starts_again() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    for (signal, workers) in [("-TERM", "1"), ("-INT", "2")] {
        let running = Running::start(&["--data", text(&data), "--listen", "127.0.0.1:0", "--workers", workers]);
        let port = running.told().strip_prefix("psql -h 127.0.0.1 -p ").unwrap().strip_suffix(" -U postgres").unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
        running.stop(signal);
    }
    // The workers that are there are started without being asked for, and none is left out.
    Running::start(&["start", "--data", text(&data), "--listen", "127.0.0.1:0"]).stop("-TERM");
    assert!(data.join("worker-2").is_dir());
    let told = refused(&["start", "--data", text(&data), "--listen", "127.0.0.1:0", "--workers", "1"]);
    assert_eq!(told, format!("partita: data directory {} has 2 workers, and cannot be started with 1", text(&data)));
}

#[test]
fn a_busy_port_is_told_and_nothing_is_made() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let told = refused(&["--data", text(&data), "--listen", &address]);
    assert_eq!(told, format!("partita: cannot listen on {address}: address already in use"));
    assert!(!data.exists());
    let told = refused(&["catalog", "--data", text(&data), "--rpc", &address]);
    assert_eq!(told, format!("partita: cannot listen on {address}: address already in use"));
}

#[test]
fn a_data_directory_that_cannot_be_used_is_told() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let listen = ["--listen", "127.0.0.1:0"];
    let with = |data: &Path| refused(&[&["--data", text(data)], listen.as_slice()].concat());

    let running = Running::start(&[&["--data", text(&data)], listen.as_slice()].concat());
    assert_eq!(with(&data), format!("partita: data directory {} is in use by another process", text(&data)));
    running.stop("-TERM");
    let told = refused(&["catalog", "--data", text(&data), "--rpc", "127.0.0.1:0"]);
    assert!(told.contains("it says \"partita start 1\", not \"partita catalog 1\""), "{told}");

    let foreign = root.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letter.txt"), "x").unwrap();
    assert_eq!(with(&foreign), format!("partita: data directory {} has other files in it, and none of Partita's", text(&foreign)));

    let under_a_file = foreign.join("letter.txt/data");
    assert_eq!(with(&under_a_file), format!("partita: cannot use data directory {}: not a directory", text(&under_a_file)));
}

#[test]
fn a_bad_configuration_is_told() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("partita.toml");
    std::fs::write(&file, "port = 5432\n").unwrap();
    let told = refused(&["--config", text(&file)]);
    assert!(told.contains("line 1: unknown field `port`"), "{told}");
    let told = refused(&["--log", "worker=loud", "--data", text(root.path())]);
    assert!(told.starts_with("partita: \"worker=loud\" is no log filter: "), "{told}");
    let told = refused(&["worker", "--rpc", "0.0.0.0:0", "--data", text(root.path())]);
    assert!(told.contains("give the one where they reach this node with --advertise"), "{told}");
    let told = refused(&["worker", "--join", "nowhere", "--data", text(&root.path().join("w"))]);
    assert!(told.starts_with("partita: cannot join the cluster: address \"nowhere\" of the catalog is not valid"), "{told}");
}

#[test]
fn a_cluster_of_processes_comes_up_in_any_order_and_goes() {
    let root = tempfile::tempdir().unwrap();
    let directory = |name: &str| text(&root.path().join(name)).to_owned();
    let catalog = Running::start(&["catalog", "--data", &directory("catalog"), "--rpc", "127.0.0.1:0"]);
    let join = catalog.told().to_owned();
    let worker = |name: &str| Running::start(&["worker", "--data", &directory(name), "--rpc", "127.0.0.1:0", "--join", &join]);
    let first = worker("w1");
    assert!(first.ready.starts_with("partita worker 1 is ready: 127.0.0.1:"), "{}", first.ready);
    let coordinator = Running::start(&["coordinator", "--listen", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--join", &join]);
    assert!(coordinator.told().starts_with("psql -h 127.0.0.1 -p "), "{}", coordinator.ready);
    let second = worker("w2");
    assert!(second.ready.starts_with("partita worker 2 is ready: 127.0.0.1:"), "{}", second.ready);
    // A worker that comes back is the one that it was.
    first.stop("-TERM");
    let first = worker("w1");
    assert!(first.ready.starts_with("partita worker 1 is ready: "), "{}", first.ready);
    // A catalog that goes and comes back does not end the others, and those end without it too.
    catalog.stop("-TERM");
    let catalog = Running::start(&["catalog", "--data", &directory("catalog"), "--rpc", &join]);
    coordinator.stop("-INT");
    catalog.stop("-TERM");
    first.stop("-TERM");
    second.stop("-TERM");
}

#[test]
fn a_node_that_waits_for_the_catalog_can_be_stopped() {
    let root = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut worker = partita(&["worker", "--data", text(&root.path().join("w")), "--join", &free]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(worker.try_wait().unwrap().is_none(), "it waits");
    assert!(Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().unwrap().success());
    assert_eq!(wait(&mut worker), Some(0));
}
