//! A child process whose output goes to a file, and which does not outlive its owner.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::wait;

/// How long a process may take to say that it is ready, and to end when it is told to.
pub const PROCESS_LIMIT: Duration = Duration::from_secs(60);

/// A signal, as `kill` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end.
    Terminate,
    /// Asks it to end at once (PostgreSQL's fast shutdown).
    Interrupt,
    /// Ends it without its doing.
    Kill,
    /// Freezes it.
    Stop,
    /// Lets it go on.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "-TERM",
            Self::Interrupt => "-INT",
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a process; what it writes goes to the end of `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = open_log(log);
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")), log: log.to_path_buf() }
    }

    /// Starts a process that says on stdout, in one line, that it is ready; gives that line too. `Err` has what the log says.
    pub fn start_ready(command: &mut Command, log: &Path) -> Result<(Self, String), String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(open_log(log)).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let out = child.stdout.take().unwrap();
        let process = Self { child, log: log.to_path_buf() };
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            _ = BufReader::new(out).read_line(&mut line);
            _ = send.send(line);
        });
        let line = receive.recv_timeout(PROCESS_LIMIT).unwrap_or_default();
        if line.is_empty() { Err(format!("{command:?} did not get ready:\n{}", process.log_end())) } else { Ok((process, line)) }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let sent = Command::new("kill").args([signal.name(), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "cannot send {signal:?}");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it without its doing, as a crash does.
    pub fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// Sends a signal that asks it to end, and gives its exit code (`None`: ended by a signal).
    pub fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.wait(PROCESS_LIMIT)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let Some(status) = wait::until(limit, || self.child.try_wait().unwrap()) else {
            panic!("the process does not end:\n{}", self.log_end());
        };
        status.code()
    }

    /// Waits for its end, and makes one after the limit. `None`: it was ended, or ended by a signal.
    pub fn wait_or_kill(&mut self, limit: Duration) -> Option<i32> {
        let status = wait::until(limit, || self.child.try_wait().unwrap());
        if status.is_none() {
            self.kill();
        }
        status.and_then(|status| status.code())
    }

    /// The last lines of what it wrote.
    pub fn log_end(&self) -> String {
        const LINES: usize = 40;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn open_log(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}
