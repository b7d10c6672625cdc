//! The isolation tester: sessions take their steps in a given order, and what each of them sees is compared.
//!
//! A spec (`isolation/specs/NAME.spec`, see [`spec`]) is written in the style of PostgreSQL's isolation tester; `isolation/expected/NAME.out` is what
//! PostgreSQL 15 answers. A step that waits for a lock is noted as `<waiting …>`, and its answer stands where it came.
//!
//! On PostgreSQL, whether a step waits is asked of the server. Elsewhere the expected file says which steps wait: such a step must not end within
//! [`WAITS`], every other one must end.

pub mod spec;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub use self::spec::Spec;
use crate::client::{Address, Answer, Client, ClientError};
use crate::logic::Engine;
use crate::partita_clauses::without_partita_clauses;
use crate::wait;

/// A step that waits is watched for this long.
const WAITS: Duration = Duration::from_millis(150);
/// A step that does not wait ends within this time.
const ENDS: Duration = Duration::from_secs(20);
const WAITING: &str = " <waiting ...>";
const COMPLETED: &str = " <... completed>";

/// What happens next, as the expected file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Begun { step: String, waits: bool },
    Completed { step: String },
}

/// Runs a spec's permutations; gives the text to compare. `expected` guides the run where the server cannot be asked who waits.
pub fn run(spec: &Spec, address: &Address, engine: Engine, expected: Option<&str>) -> String {
    let mut out = String::new();
    let levels: Vec<Option<&str>> =
        if spec.isolation.is_empty() { vec![None] } else { spec.isolation.iter().map(|level| Some(level.as_str())).collect() };
    let mut sections = expected.map(sections).unwrap_or_default().into_iter();
    for level in levels {
        for permutation in &spec.permutations {
            let events = sections.next();
            let mut run = Run::new(spec, address, engine, level);
            run.permutation(permutation, events.as_deref());
            out.push_str(&run.out);
        }
    }
    out
}

/// The events of each permutation of an expected file.
fn sections(expected: &str) -> Vec<Vec<Event>> {
    let mut sections: Vec<Vec<Event>> = Vec::new();
    for line in expected.lines() {
        if line.starts_with("starting permutation") {
            sections.push(Vec::new());
        }
        let (Some(step), Some(section)) = (line.strip_prefix("step "), sections.last_mut()) else { continue };
        let name = step.split(':').next().unwrap_or_default().to_owned();
        section.push(if step.ends_with(COMPLETED) {
            Event::Completed { step: name }
        } else {
            Event::Begun { step: name, waits: step.ends_with(WAITING) }
        });
    }
    sections
}

type Outcome = Result<Vec<Answer>, ClientError>;

/// A session on a thread of its own.
struct Worker {
    send: Sender<String>,
    receive: Receiver<Outcome>,
    /// The server's process, where it is known.
    pid: Option<String>,
    /// The step that is not answered.
    running: Option<String>,
    failed: bool,
}

impl Worker {
    fn start(address: &Address, asks_for_pid: bool) -> Self {
        let mut client = Client::connect(address).unwrap();
        let pid = if asks_for_pid { client.value("SELECT pg_backend_pid()").unwrap() } else { None };
        let (send, texts) = channel::<String>();
        let (answer, receive) = channel();
        std::thread::spawn(move || {
            for sql in texts {
                if answer.send(client.execute_all(&sql)).is_err() {
                    break;
                }
            }
        });
        Self { send, receive, pid, running: None, failed: false }
    }

    fn begin(&self, sql: String) {
        self.send.send(sql).unwrap();
    }

    fn end_within(&self, limit: Duration) -> Option<Outcome> {
        match self.receive.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("a session's thread has gone"),
        }
    }
}

struct Run<'a> {
    spec: &'a Spec,
    engine: Engine,
    level: Option<&'a str>,
    control: Client,
    workers: Vec<Worker>,
    shows_results: bool,
    out: String,
}

impl<'a> Run<'a> {
    fn new(spec: &'a Spec, address: &Address, engine: Engine, level: Option<&'a str>) -> Self {
        let control = Client::connect(address).unwrap();
        let workers = spec.sessions.iter().map(|_| Worker::start(address, engine == Engine::Postgresql)).collect();
        let shows_results = !spec.outcome.iter().any(|name| Some(name.as_str()) == level);
        Self { spec, engine, level, control, workers, shows_results, out: String::new() }
    }

    fn text(&self, sql: &str) -> String {
        let sql = sql.replace(":isolation", self.level.unwrap_or_default());
        if self.engine == Engine::Postgresql { without_partita_clauses(&sql) } else { sql }
    }

    fn permutation(&mut self, steps: &[String], events: Option<&[Event]>) {
        let level = self.level.map(|level| format!(" at {level}")).unwrap_or_default();
        _ = writeln!(self.out, "starting permutation{level}: {}", steps.join(" "));
        for sql in &self.spec.setups {
            let sql = self.text(sql);
            self.control.execute_all(&sql).unwrap_or_else(|error| panic!("setup: {error}\n{sql}"));
        }
        for (at, session) in self.spec.sessions.iter().enumerate() {
            if let Some(sql) = &session.setup {
                self.session_sql(at, sql);
            }
        }
        match (self.engine, events) {
            (Engine::Partita, Some(events)) => self.follow(events),
            _ => self.watch(steps),
        }
        for (at, session) in self.spec.sessions.iter().enumerate() {
            if let Some(sql) = &session.teardown {
                self.session_sql(at, sql);
            }
        }
        self.finish();
    }

    fn session_sql(&mut self, at: usize, sql: &str) {
        let text = self.text(sql);
        self.workers[at].begin(text);
        match self.workers[at].end_within(ENDS) {
            Some(Ok(_)) => {}
            Some(Err(error)) => _ = writeln!(self.out, "session {}: {error}", self.spec.sessions[at].name),
            None => panic!("session {} hangs in its setup or teardown\n{}", self.spec.sessions[at].name, self.out),
        }
    }

    fn finish(&mut self) {
        if !self.shows_results {
            let failed = self.workers.iter().filter(|worker| worker.failed).count();
            _ = writeln!(self.out, "sessions that failed to serialize: {failed}");
        }
        for sql in &self.spec.checks {
            let sql = self.text(sql);
            let answers = self.control.execute_all(&sql);
            _ = writeln!(self.out, "check: {}", one_line(&sql));
            self.out.push_str(&written(&answers));
        }
        for sql in &self.spec.teardowns {
            let sql = self.text(sql);
            self.control.execute_all(&sql).unwrap_or_else(|error| panic!("teardown: {error}\n{sql}"));
        }
        self.out.push('\n');
    }

    /// Takes the steps; the server tells who waits.
    fn watch(&mut self, steps: &[String]) {
        for name in steps {
            let session = self.begin(name);
            match self.until_it_waits(session) {
                Some(outcome) => self.answered(session, outcome, false),
                None => self.note(name, WAITING),
            }
            self.completed();
        }
        while self.workers.iter().any(|worker| worker.running.is_some()) {
            assert!(self.completed(), "steps wait for ever:\n{}", self.out);
        }
    }

    /// Tells the waiting steps that have ended, in the order of the sessions.
    fn completed(&mut self) -> bool {
        let mut some = false;
        for session in 0..self.workers.len() {
            if self.workers[session].running.is_some()
                && let Some(outcome) = self.until_it_waits(session)
            {
                self.answered(session, outcome, true);
                some = true;
            }
        }
        some
    }

    /// The outcome of a session's step, or `None` when it waits for a lock.
    fn until_it_waits(&mut self, session: usize) -> Option<Outcome> {
        let pid = self.workers[session].pid.clone().expect("a session of PostgreSQL");
        let sql = format!("SELECT cardinality(pg_blocking_pids({pid})) > 0");
        let (workers, control) = (&self.workers, &mut self.control);
        let found = wait::until(ENDS, || {
            if let Some(outcome) = workers[session].end_within(Duration::from_millis(5)) {
                return Some(Some(outcome));
            }
            let waits = control.value(&sql).unwrap();
            (waits.as_deref() == Some("t")).then_some(None)
        });
        found.unwrap_or_else(|| panic!("a step neither ends nor waits:\n{}", self.out))
    }

    /// Takes the steps as the expected file has them.
    fn follow(&mut self, events: &[Event]) {
        for event in events {
            let (name, waits) = match event {
                Event::Begun { step, waits } => {
                    self.begin(step);
                    (step, *waits)
                }
                Event::Completed { step } => (step, false),
            };
            let Some((session, _)) = self.spec.step(name) else { continue };
            if self.workers[session].running.is_none() {
                // It has ended before.
                continue;
            }
            let was_begun = matches!(event, Event::Begun { .. });
            match self.workers[session].end_within(if waits { WAITS } else { ENDS }) {
                Some(outcome) => self.answered(session, outcome, !was_begun),
                None if waits => self.note(name, WAITING),
                None => self.note(name, " <does not end>"),
            }
        }
    }

    /// Sends a step.
    fn begin(&mut self, name: &str) -> usize {
        let (session, step) = self.spec.step(name).expect("the spec was checked");
        let sql = self.text(&step.sql);
        if let Some(running) = self.workers[session].running.take() {
            // A step cannot begin before the session's last one has ended.
            match self.workers[session].end_within(ENDS) {
                Some(outcome) => {
                    self.workers[session].running = Some(running);
                    self.answered(session, outcome, true);
                }
                None => panic!("step {running} does not end, and {name} comes next:\n{}", self.out),
            }
        }
        self.workers[session].begin(sql);
        self.workers[session].running = Some(name.to_owned());
        session
    }

    fn note(&mut self, name: &str, what: &str) {
        let sql = self.spec.step(name).map(|(_, step)| one_line(&step.sql)).unwrap_or_default();
        _ = writeln!(self.out, "step {name}: {sql}{what}");
    }

    fn answered(&mut self, session: usize, outcome: Outcome, had_waited: bool) {
        let name = self.workers[session].running.take().expect("it was begun");
        if had_waited {
            _ = writeln!(self.out, "step {name}:{COMPLETED}");
        } else {
            self.note(&name, "");
        }
        if let Err(ClientError::Server(report)) = &outcome {
            self.workers[session].failed |= report.code == "40001";
        }
        if self.shows_results {
            self.out.push_str(&written(&outcome));
        }
    }
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn written(outcome: &Outcome) -> String {
    let mut out = String::new();
    match outcome {
        Ok(answers) => {
            for answer in answers {
                match &answer.columns {
                    None => _ = writeln!(out, "  {}", answer.tag),
                    Some(columns) => {
                        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                        _ = writeln!(out, "  {}", names.join("|"));
                        for row in &answer.rows {
                            let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                            _ = writeln!(out, "  {}", values.join("|"));
                        }
                        _ = writeln!(out, "  ({} rows)", answer.rows.len());
                    }
                }
            }
        }
        Err(ClientError::Server(report)) => _ = writeln!(out, "  ERROR {}: {}", report.code, report.message),
        Err(error) => _ = writeln!(out, "  {error}"),
    }
    out
}

/// The sections that differ, each with both texts.
pub fn differences(expected: &str, found: &str) -> Vec<String> {
    let cut = |text: &str| -> BTreeMap<usize, String> { text.split_inclusive("\n\n").map(str::to_owned).enumerate().collect() };
    let (expected, found) = (cut(expected), cut(found));
    let all = 0..expected.len().max(found.len());
    let different = all.filter(|at| expected.get(at) != found.get(at));
    let text = |side: &BTreeMap<usize, String>, at| side.get(&at).cloned().unwrap_or_else(|| "nothing\n".to_owned());
    different.map(|at| format!("--- expected\n{}--- found\n{}", text(&expected, at), text(&found, at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_an_expected_file() {
        let text = "starting permutation: a b\nstep a: SELECT 1; <waiting ...>\nstep b: COMMIT;\n  COMMIT\nstep a: <... completed>\n  (0 rows)\n\n";
        let begun = |step: &str, waits| Event::Begun { step: step.to_owned(), waits };
        assert_eq!(sections(text), [vec![begun("a", true), begun("b", false), Event::Completed { step: "a".to_owned() }]]);
        assert_eq!(differences(text, text), Vec::<String>::new());
        assert_eq!(differences(text, "").len(), 1);
    }
}
