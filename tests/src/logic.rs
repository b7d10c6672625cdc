//! Logic tests: files of statements and their answers (`slt/**.slt`), in sqllogictest's format.
//!
//! An answer is compared to the letter: the text forms that PostgreSQL prints, the columns' types, the SQLSTATE, message, detail and hint of
//! errors. How it is written:
//!
//! - A row is its values with `|` between them. NULL is `NULL`, the empty string `(empty)`, a line end in a value `\n`; a value that begins or ends
//!   with a blank stands in double quotes.
//! - A column's type is one letter ([`ColumnKind`]).
//! - A line may end with `…` for what differs between runs, and an answer with a line `…`: for plans.
//! - `\notices` in place of a statement gives the notices since the last one that asked, a line each.
//! - `onlyif partita` and `skipif partita` (or `postgresql`) before a record: for what one of the two has alone.
//!
//! Files are written with `UPDATE=1`: then PostgreSQL's answers are put into them.

mod column_kind;
mod update;

use std::path::Path;

use sqllogictest::{DB, DBOutput, Record, Runner};

pub use self::column_kind::ColumnKind;
pub use self::update::update_file;
use crate::client::{Address, Answer, Client, ClientError};
use crate::partita_clauses::without_partita_clauses;

/// In place of a statement: the notices so far.
const NOTICES: &str = "\\notices";

/// A file is given up after so many statements without an answer.
const CONNECTIONS_LOST_MAX: usize = 2;
/// At the end of an expected line: whatever the line goes on with. As the last line: any more lines, at least one.
const OPEN_END: &str = "…";

/// What a file runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Partita,
    /// Gets the statements without Partita's clauses.
    Postgresql,
}

impl Engine {
    fn label(self) -> &'static str {
        match self {
            Self::Partita => "partita",
            Self::Postgresql => "postgresql",
        }
    }
}

/// Runs a file against a database that has nothing in it, to its end. Gives all differences.
pub fn run_file(path: &Path, address: &Address, engine: Engine) -> Vec<String> {
    let records = match sqllogictest::parse_file::<ColumnKind>(path) {
        Ok(records) => records,
        Err(error) => return vec![error.to_string()],
    };
    let mut runner = runner(address, engine);
    let mut differences = Vec::new();
    let mut connections_lost = 0;
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        let Err(error) = runner.run(record) else { continue };
        let told = error.to_string();
        connections_lost += usize::from(told.contains(": connection: "));
        differences.push(told);
        if connections_lost == CONNECTIONS_LOST_MAX || !can_go_on(address) {
            differences.push("not run further: the server hangs or is gone".to_owned());
            break;
        }
    }
    runner.shutdown();
    differences
}

/// Whether the server still takes connections.
fn can_go_on(address: &Address) -> bool {
    Client::connect(address).is_ok()
}

/// A runner without the leniency of its defaults: nothing is trimmed, and types are compared.
fn runner(address: &Address, engine: Engine) -> Runner<Session, impl sqllogictest::MakeConnection<Conn = Session> + use<>> {
    let address = address.clone();
    let connect = move || Ok(Session { client: Some(Client::connect(&address)?), address: address.clone(), engine });
    let mut runner = Runner::new(move || std::future::ready(connect()));
    runner.with_normalizer(String::clone);
    runner.with_validator(is_same);
    runner.with_column_validator(sqllogictest::strict_column_validator);
    runner
}

fn is_same(_: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let ends_early = expected.last().is_some_and(|line| line == OPEN_END);
    let expected = &expected[..expected.len() - usize::from(ends_early)];
    let is_right = |(row, line): (&Vec<String>, &String)| match line.strip_suffix(OPEN_END) {
        Some(start) => row.concat().starts_with(start),
        None => row.concat() == *line,
    };
    (if ends_early { actual.len() > expected.len() } else { actual.len() == expected.len() }) && actual.iter().zip(expected).all(is_right)
}

#[derive(Debug)]
struct Session {
    address: Address,
    /// `None` after a failure of the connection: what comes over it later belongs to an older statement.
    client: Option<Client>,
    engine: Engine,
}

impl Session {
    fn client(&mut self) -> Result<&mut Client, ClientError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.address)?,
        };
        Ok(self.client.insert(client))
    }

    fn execute(&mut self, sql: &str) -> Result<Answer, ClientError> {
        let outcome = match self.engine {
            Engine::Partita => self.client()?.execute(sql),
            Engine::Postgresql => self.client()?.execute(&without_partita_clauses(sql)),
        };
        if matches!(outcome, Err(ClientError::Connection(_))) {
            self.client = None;
        }
        outcome
    }
}

impl DB for Session {
    type Error = ClientError;
    type ColumnType = ColumnKind;

    fn run(&mut self, sql: &str) -> Result<DBOutput<ColumnKind>, ClientError> {
        if sql == NOTICES {
            let told = |notice: &crate::client::Report| vec![format!("{}: {}", notice.severity, notice.to_string().replace('\n', "\\n"))];
            return Ok(DBOutput::Rows { types: vec![ColumnKind::Text], rows: self.client()?.take_notices().iter().map(told).collect() });
        }
        let answer = self.execute(sql)?;
        let Some(columns) = &answer.columns else { return Ok(DBOutput::StatementComplete(answer.count())) };
        let types = columns.iter().map(|column| ColumnKind::of(column.type_oid)).collect();
        Ok(DBOutput::Rows { types, rows: answer.rows.iter().map(|row| vec![written_row(row)]).collect() })
    }

    fn engine_name(&self) -> &str {
        self.engine.label()
    }
}

fn written_row(row: &[Option<String>]) -> String {
    row.iter().map(|value| written_value(value.as_deref())).collect::<Vec<_>>().join("|")
}

fn written_value(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) if text.starts_with(' ') || text.ends_with(' ') => format!("\"{}\"", text.replace('\n', "\\n")),
        Some(text) => text.replace('\n', "\\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_so_that_nothing_is_lost() {
        let row = [None, Some(String::new()), Some("ab  ".to_owned()), Some("x\ny".to_owned()), Some("plain text".to_owned())];
        assert_eq!(written_row(&row), "NULL|(empty)|\"ab  \"|x\\ny|plain text");
    }

    #[test]
    fn an_open_end_is_open_and_the_rest_is_exact() {
        let check = |actual: &[&str], expected: &[&str]| {
            let actual: Vec<Vec<String>> = actual.iter().map(|line| vec![(*line).to_owned()]).collect();
            let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
            is_same(String::clone, &actual, &expected)
        };
        assert!(check(&["a", "b"], &["a", "b"]) && check(&["a", "b"], &["a", "…"]) && check(&["abc"], &["ab…"]));
        assert!(!check(&["a", "b"], &["a"]) && !check(&["a"], &["a", "…"]) && !check(&["a "], &["a"]) && !check(&["xbc"], &["ab…"]));
    }
}
