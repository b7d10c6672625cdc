//! CREATE TABLE … (LIKE other …): columns of another table, and what the options say of the rest.

use catalog::objects::{Column, Generated, Table};
use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;
use sql::object_syntax::SequenceOptions;
use sql::table_syntax::Like;

use super::definition::{TableDraft, UniqueDraft, attnum};
use super::sequence::OwnedSequence;
use super::{Surroundings, missing_relation};

/// What is taken over beside names, types and NOT NULL.
#[derive(Clone, Copy, Default)]
struct Included {
    defaults: bool,
    constraints: bool,
    identity: bool,
    generated: bool,
    indexes: bool,
}

impl Included {
    fn of(options: &[(bool, String)]) -> Result<Self, Report> {
        let mut included = Self::default();
        for (including, what) in options {
            let on = *including;
            match what.as_str() {
                "defaults" => included.defaults = on,
                "constraints" => included.constraints = on,
                "identity" => included.identity = on,
                "generated" => included.generated = on,
                "indexes" => included.indexes = on,
                "all" => included = Self { defaults: on, constraints: on, identity: on, generated: on, indexes: on },
                "comments" | "compression" | "statistics" | "storage" => {}
                other => return Err(Report::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
            }
        }
        Ok(included)
    }
}

/// Adds the other table's columns to a table.
pub(super) fn expand(draft: &mut TableDraft, like: &Like, table: &str, around: &Surroundings) -> Result<(), Report> {
    let other = around.table(&like.table)?.ok_or_else(|| missing_relation(&like.table))?;
    let included = Included::of(&like.options)?;
    for column in other.visible_columns() {
        let copy = copied(draft, column, &other, included, around)?;
        if draft.columns.iter().any(|c| c.name == copy.name) {
            return Err(Report::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" specified more than once", copy.name)));
        }
        draft.columns.push(copy);
    }
    if included.constraints {
        draft.checks.extend(other.checks.iter().map(|c| (Some(c.name.clone()), c.expression.clone())));
    }
    if included.indexes {
        let is_plain = |index: &&std::sync::Arc<catalog::objects::Index>| !index.unique;
        if around.state.indexes_of(&other).any(|i| is_plain(&i)) {
            return Err(Report::unsupported(format!("the indexes of \"{}\" in \"{table}\" (LIKE … INCLUDING INDEXES)", other.name)));
        }
        for unique in &other.uniques {
            let columns = unique.columns.iter().filter_map(|a| other.column(*a)).map(|c| c.name.clone()).collect();
            draft.uniques.push(UniqueDraft { name: None, is_primary: unique.is_primary, columns });
        }
    }
    Ok(())
}

fn copied(draft: &mut TableDraft, column: &Column, other: &Table, included: Included, around: &Surroundings) -> Result<Column, Report> {
    let mut copy = Column { attnum: attnum(draft.columns.len())?, default: None, generated: None, missing: Datum::Null, ..column.clone() };
    match column.generated {
        Some(Generated::Stored) if included.generated => {
            copy.generated = column.generated;
            copy.default.clone_from(&column.default);
        }
        Some(generated) if generated.is_identity() && included.identity => {
            let owned = |s: &&std::sync::Arc<catalog::objects::Sequence>| s.owner.is_some_and(|o| o.attnum == column.attnum);
            let options = around.state.sequences_of(other.oid).find(owned).map(|s| SequenceOptions {
                increment: Some(s.increment),
                min: Some(Some(s.min)),
                max: Some(Some(s.max)),
                start: Some(s.start),
                cache: Some(s.cache),
                cycle: Some(s.cycle),
                ..SequenceOptions::default()
            });
            copy.generated = Some(generated);
            draft.sequences.push(OwnedSequence {
                column: column.name.clone(),
                ty: column.ty,
                options: options.unwrap_or_default(),
                is_identity: true,
            });
        }
        None if included.defaults => copy.default.clone_from(&column.default),
        Some(_) | None => {}
    }
    Ok(copy)
}
