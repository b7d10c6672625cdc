//! What a name that is not there was perhaps meant to be: PostgreSQL's hints.

use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use sqlparser::ast::{Ident, ObjectName};

use super::Binder;
use super::environment::Environment;
use super::scope::ScopeTable;
use crate::error::BindError;

/// Names that differ by more are not alike.
const DISTANCE_MAX: usize = 3;

/// The columns that are nearest to a name: two at most, and none when there are more of them.
struct Nearest {
    /// What a column must not be farther than.
    distance: usize,
    found: Vec<String>,
}

impl Nearest {
    fn consider(&mut self, distance: usize, shown: &str) {
        if distance < self.distance {
            self.distance = distance;
            self.found = vec![shown.to_owned()];
        } else if distance == self.distance {
            match self.found.len() {
                2 => {
                    self.found.clear();
                    self.distance = distance.saturating_sub(1);
                }
                0 if self.distance > DISTANCE_MAX => {}
                _ => self.found.push(shown.to_owned()),
            }
        }
    }
}

impl Binder<'_> {
    /// 42703 for `name` or `table.name`, with the columns that are most like it.
    pub(crate) fn missing_column(&self, table: Option<&str>, name: &str, env: &Environment<'_>) -> BindError {
        let shown = table.map_or_else(|| format!("\"{name}\""), |table| format!("{table}.{name}"));
        let report = Report::new(SqlState::UNDEFINED_COLUMN, format!("column {shown} does not exist"));
        let mut nearest = Nearest { distance: DISTANCE_MAX + 1, found: Vec::new() };
        let mut level = Some(env);
        while let Some(around) = level {
            for item in around.scope.tables.iter().filter(|item| !item.name.is_empty()) {
                let penalty = table.map_or(0, |table| levenshtein(table, &item.name));
                for column in item.columns.iter().filter(|column| !column.name.is_empty()) {
                    let distance = levenshtein(&column.name, name);
                    // More than half of the characters are others.
                    if distance <= name.len() / 2 {
                        nearest.consider(distance + penalty, &format!("{}.{}", item.name, column.name));
                    }
                }
            }
            level = around.outer;
        }
        match nearest.found.as_slice() {
            [one] => report.with_hint(format!("Perhaps you meant to reference the column \"{one}\".")).into(),
            [one, other] => {
                report.with_hint(format!("Perhaps you meant to reference the column \"{one}\" or the column \"{other}\".")).into()
            }
            _ => report.into(),
        }
    }

    /// 42P01 for a table that no FROM item is called by; one that has another name here is told.
    pub(crate) fn missing_item(&self, table: &str, env: &Environment<'_>) -> BindError {
        let named = self.relation(&ObjectName::from(vec![Ident::with_quote('"', table)])).ok();
        let is_it = |item: &&ScopeTable, oid: Oid| item.columns.iter().any(|column| column.origin.is_some_and(|(of, _)| of == oid));
        let mut level = Some(env);
        while let (Some(around), Some(info)) = (level, &named) {
            if let Some(item) = around.scope.tables.iter().find(|item| is_it(item, info.oid) && item.name != table) {
                let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
                return Report::new(SqlState::UNDEFINED_TABLE, message)
                    .with_hint(format!("Perhaps you meant to reference the table alias \"{}\".", item.name))
                    .into();
            }
            level = around.outer;
        }
        super::select::missing_from(table)
    }
}

/// How many bytes have to be put in, taken out or replaced.
fn levenshtein(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, a) in left.bytes().enumerate() {
        let mut diagonal = at;
        row[0] = at + 1;
        for (place, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::levenshtein;

    #[test]
    fn distances() {
        assert_eq!(
            [levenshtein("id", "idd"), levenshtein("kitten", "sitting"), levenshtein("", "ab"), levenshtein("x", "x")],
            [1, 3, 2, 0]
        );
    }
}
