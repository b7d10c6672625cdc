//! `slt/pending.txt`: the tests that Partita does not pass yet. They are run all the same.
//!
//! A line is a test's name, the number of its differences, and the reason: `types/json.slt 12 functions of json`. More differences than that are
//! a failure, and so are none at all: then the line has to go.

use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How many differences there may be.
    pub differences_max: usize,
    pub reason: String,
}

impl Pending {
    /// Judges a run by its differences. `Ok` has what to tell of it.
    pub fn judge(&self, name: &str, differences: usize) -> Result<String, String> {
        let Self { differences_max, reason } = self;
        match differences {
            0 => Err(format!("{name} passes: take its line out of slt/pending.txt")),
            _ if differences > *differences_max => {
                Err(format!("{name} had {differences_max} differences ({reason}), and now has {differences}"))
            }
            _ => Ok(format!("pending {name}: {differences} of {differences_max} differences ({reason})")),
        }
    }
}

/// The lines by name.
pub fn pending() -> BTreeMap<String, Pending> {
    parse(&std::fs::read_to_string(crate::crate_directory().join("slt/pending.txt")).unwrap_or_default())
}

fn parse(text: &str) -> BTreeMap<String, Pending> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse_line(line).unwrap_or_else(|| panic!("not NAME DIFFERENCES REASON: {line}"))).collect()
}

fn parse_line(line: &str) -> Option<(String, Pending)> {
    let (name, rest) = line.split_once(' ')?;
    let (differences, reason) = rest.trim_start().split_once(' ')?;
    Some((name.to_owned(), Pending { differences_max: differences.parse().ok()?, reason: reason.trim().to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_differences_pass_and_more_or_none_do_not() {
        let lines = parse("# comment\n\ntypes/json.slt  12 functions of json\n");
        let pending = &lines["types/json.slt"];
        assert_eq!(*pending, Pending { differences_max: 12, reason: "functions of json".to_owned() });
        assert!(pending.judge("types/json.slt", 12).is_ok() && pending.judge("types/json.slt", 1).is_ok());
        assert!(pending.judge("types/json.slt", 13).is_err() && pending.judge("types/json.slt", 0).is_err());
    }
}
