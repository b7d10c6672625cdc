//! The part of SQLite's sqllogictest corpus that PostgreSQL answers as it is written there.
//!
//! The files are not in the repository: [`directory`] tells where they are looked for. Their format is the classic one: a value a line, and for long
//! answers `N values hashing to <md5>`, of the values with a line end behind each. A type letter tells how a value is written: `I` as an integer,
//! `R` with three decimals, `T` as it is.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::client::{Address, Client};

/// Names the directory, where it is another one.
const DIRECTORY_VARIABLE: &str = "PARTITA_SQLLOGICTEST";
/// Differences of one file that are told; there are as many as queries when something is wrong.
const TOLD_MAX: usize = 20;

/// Where the files are, if they are there: in `PARTITA_SQLLOGICTEST`, or in `shared/suites/sqllogictest` beside the checkout.
pub fn directory() -> Option<PathBuf> {
    let beside = || crate::crate_directory().join("../../shared/suites/sqllogictest");
    let directory = std::env::var_os(DIRECTORY_VARIABLE).map_or_else(beside, PathBuf::from);
    directory.is_dir().then_some(directory)
}

/// Runs a file against an empty database. Gives the differences.
pub fn run_file(path: &Path, address: &Address) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut client = Client::connect(address).map_err(|error| error.to_string())?;
    let mut differences = Vec::new();
    let mut offset = 0;
    for block in text.split("\n\n") {
        let start = offset + block.len() - block.trim_start().len();
        offset += block.len() + 2;
        let Some(difference) = Record::read(block).and_then(|record| record.run(&mut client)) else { continue };
        let at = text[..start].matches('\n').count() + 1;
        differences.push(format!("{}:{at}: {difference}", path.display()));
        if Client::connect(address).is_err() {
            differences.push("not run further: the server hangs or is gone".to_owned());
            break;
        }
    }
    let count = differences.len();
    if count > TOLD_MAX {
        differences.truncate(TOLD_MAX);
        differences.push(format!("{count} differences in all"));
    }
    Ok(differences)
}

/// One record of a file.
struct Record<'t> {
    sql: String,
    expected: Expected<'t>,
}

enum Expected<'t> {
    Success,
    Failure,
    Rows { types: &'t str, sort: &'t str, values: Vec<&'t str> },
}

impl<'t> Record<'t> {
    /// `None`: a block without a statement.
    fn read(block: &'t str) -> Option<Self> {
        let mut lines = block.lines().skip_while(|line| line.is_empty() || line.starts_with('#'));
        let head: Vec<&str> = lines.next()?.split_whitespace().collect();
        let body: Vec<&str> = lines.collect();
        let end = body.iter().position(|line| *line == "----").unwrap_or(body.len());
        let sql = body[..end].join("\n");
        let expected = match head.as_slice() {
            ["statement", "ok"] => Expected::Success,
            ["statement", "error"] => Expected::Failure,
            ["query", types, rest @ ..] => {
                let values = body.get(end + 1..).unwrap_or_default().iter().copied().filter(|line| !line.is_empty()).collect();
                Expected::Rows { types, sort: rest.first().copied().unwrap_or("nosort"), values }
            }
            _ => return None,
        };
        Some(Self { sql, expected })
    }

    /// Gives what is different.
    fn run(&self, client: &mut Client) -> Option<String> {
        let outcome = client.execute(&self.sql);
        let told = |what: String| Some(format!("{what}\n{}", self.sql));
        match (&self.expected, outcome) {
            (Expected::Success, Ok(_)) | (Expected::Failure, Err(_)) => None,
            (Expected::Failure, Ok(_)) => told("no error".to_owned()),
            (_, Err(error)) => told(error.to_string()),
            (Expected::Rows { types, sort, values }, Ok(answer)) => {
                let shown = |row: &Vec<Option<String>>| -> Vec<String> {
                    row.iter().zip(types.chars()).map(|(value, letter)| written(value.as_deref(), letter)).collect()
                };
                let actual = sorted(answer.rows.iter().map(shown).collect(), sort);
                let is_same = match values.as_slice() {
                    [hashed] if hashed.contains(" values hashing to ") => *hashed == hash(&actual),
                    plain => plain.iter().eq(actual.iter()),
                };
                if is_same { None } else { told(format!("expected {values:?}, got {actual:?}")) }
            }
        }
    }
}

/// A value as a type letter asks for it.
fn written(value: Option<&str>, letter: char) -> String {
    match (value, letter) {
        (None, _) => "NULL".to_owned(),
        (Some(""), _) => "(empty)".to_owned(),
        // SQLite has no truth values.
        (Some("t"), 'I') => "1".to_owned(),
        (Some("f"), 'I') => "0".to_owned(),
        (Some(text), 'I') if text.parse::<i128>().is_err() => {
            text.parse::<f64>().map_or_else(|_| text.to_owned(), |v| format!("{:.0}", v.trunc()))
        }
        (Some(text), 'R') => text.parse::<f64>().map_or_else(|_| text.to_owned(), |v| format!("{v:.3}")),
        (Some(text), _) => text.to_owned(),
    }
}

/// The values in order: rows, or all values, sorted as asked.
fn sorted(mut rows: Vec<Vec<String>>, sort: &str) -> Vec<String> {
    if sort == "rowsort" {
        rows.sort();
    }
    let mut values: Vec<String> = rows.into_iter().flatten().collect();
    if sort == "valuesort" {
        values.sort();
    }
    values
}

fn hash(values: &[String]) -> String {
    let mut digest = Md5::new();
    for value in values {
        digest.update(value.as_bytes());
        digest.update(b"\n");
    }
    format!("{} values hashing to {:x}", values.len(), digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_and_sorted_as_asked() {
        assert_eq!(
            [written(Some("12.75"), 'I'), written(Some("2"), 'R'), written(None, 'T'), written(Some("-0.3"), 'I')],
            ["12", "2.000", "NULL", "-0"]
        );
        let rows = || vec![vec!["2".to_owned(), "1".to_owned()], vec!["1".to_owned(), "3".to_owned()]];
        assert_eq!(sorted(rows(), "rowsort"), ["1", "3", "2", "1"]);
        assert_eq!(sorted(rows(), "valuesort"), ["1", "1", "2", "3"]);
        assert_eq!(hash(&["1".to_owned()]), "1 values hashing to b026324c6904b2a9cb4b88d6d61c81d1");
    }
}
