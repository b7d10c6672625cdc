//! CREATE, ALTER and DROP SEQUENCE, and the sequences that go with columns.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{Sequence, SequenceOwner, SequencePosition, SequenceRestart, Table};
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use sql::bind::type_name::sql_type;
use sql::object_syntax::SequenceOptions;
use sqlparser::ast::ObjectName;

use super::{ATTEMPTS_MAX, Ids, Surroundings, propose, split_name, too_many_attempts};
use crate::result::StatementResult;
use crate::sequences::SequenceReader;
use crate::session::Session;

pub(super) async fn create(
    session: &mut Session,
    if_not_exists: bool,
    name: &ObjectName,
    options: &SequenceOptions,
) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let (schema, name) = around.new_name(name)?;
        if around.state.relation_named(&schema.name, &name).is_some() {
            let report = Report::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"));
            if if_not_exists {
                session.notices.push(Report { message: format!("{}, skipping", report.message), ..report });
                return Ok(StatementResult::Command("CREATE SEQUENCE".into()));
            }
            return Err(report);
        }
        let oid = Ids::take(session, 1).await?.oid()?;
        let mut sequence = new_sequence(oid, schema.oid, name, options)?;
        if let Some(owned_by) = &options.owned_by {
            sequence.owner = owner(&around, schema.oid, owned_by.as_ref())?;
        }
        if propose(session, around.state.version(), &[Change::PutSequence(sequence)]).await?.is_some() {
            return Ok(StatementResult::Command("CREATE SEQUENCE".into()));
        }
    }
    Err(too_many_attempts())
}

pub(super) async fn alter(
    session: &mut Session,
    if_exists: bool,
    name: &ObjectName,
    options: &SequenceOptions,
) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let Some(sequence) = around.sequence(name)? else {
            if if_exists {
                session.notices.push(super::skipped_relation(name));
                return Ok(StatementResult::Command("ALTER SEQUENCE".into()));
            }
            return Err(super::missing_relation(name));
        };
        let reader = SequenceReader::of(session, &around.state);
        reader.give_back(&sequence).await?;
        let mut altered = defined(Sequence::clone(&sequence), options, false)?;
        if options.restart.is_none() {
            // It goes on where it stands; values in hand anywhere are of the former definition.
            check_position(&altered, reader.position(&sequence).await?.last)?;
            altered.generation += 1;
        }
        if let Some(owned_by) = &options.owned_by {
            if sequence.owner.is_some_and(|o| o.is_identity) {
                return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot change ownership of identity sequence")
                    .with_detail(identity_detail(&around, &sequence)));
            }
            altered.owner = owner(&around, sequence.schema, owned_by.as_ref())?;
        }
        if propose(session, around.state.version(), &[Change::PutSequence(altered)]).await?.is_some() {
            return Ok(StatementResult::Command("ALTER SEQUENCE".into()));
        }
    }
    Err(too_many_attempts())
}

fn identity_detail(around: &Surroundings, sequence: &Sequence) -> String {
    let table = sequence.owner.and_then(|o| around.state.table(o.table)).map(|t| t.name.clone()).unwrap_or_default();
    format!("Sequence \"{}\" is linked to table \"{table}\".", sequence.name)
}

/// The column that OWNED BY names.
fn owner(around: &Surroundings, schema: Oid, name: Option<&ObjectName>) -> Result<Option<SequenceOwner>, Report> {
    let Some(name) = name else { return Ok(None) };
    let mut parts = name.0.clone();
    let column = match parts.pop() {
        Some(column) if !parts.is_empty() => column,
        _ => {
            return Err(
                Report::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option").with_hint("Specify OWNED BY table.column or OWNED BY NONE.")
            );
        }
    };
    let table_name = ObjectName(parts);
    let table = around.table(&table_name)?.ok_or_else(|| super::missing_relation(&table_name))?;
    if table.schema != schema {
        return Err(Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "sequence must be in same schema as table it is linked to"));
    }
    let column = split_name(&ObjectName(vec![column]))?.1;
    let found = table.column_named(&column).ok_or_else(|| {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
        Report::new(SqlState::UNDEFINED_COLUMN, message)
    })?;
    Ok(Some(SequenceOwner { table: table.oid, attnum: found.attnum, is_identity: false }))
}

/// A sequence by its options.
pub(super) fn new_sequence(oid: Oid, schema: Oid, name: String, options: &SequenceOptions) -> Result<Sequence, Report> {
    let position = SequencePosition { last: 1, is_called: false };
    let blank = Sequence {
        oid,
        schema,
        name,
        ty: Scalar::Int8.into(),
        start: 1,
        increment: 1,
        min: 1,
        max: i64::MAX,
        cache: 1,
        cycle: false,
        owner: None,
        generation: 1,
        restart: SequenceRestart { generation: 1, position },
    };
    let mut sequence = defined(blank, options, true)?;
    sequence.restart.position.last = sequence.start;
    Ok(sequence)
}

fn bounds_of_type(ty: SqlType) -> (i64, i64) {
    match ty.scalar {
        Scalar::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Scalar::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn invalid(message: String) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The sequence with the options applied: PostgreSQL's defaults, checks and their order.
fn defined(mut s: Sequence, options: &SequenceOptions, is_new: bool) -> Result<Sequence, Report> {
    let (mut reset_max, mut reset_min) = (is_new, is_new);
    if let Some(ty) = &options.ty {
        let ty = sql_type(ty, &functions::context::SessionSettings::default()).map_err(|e| e.report())?;
        if ty.is_array || !matches!(ty.scalar, Scalar::Int2 | Scalar::Int4 | Scalar::Int8) {
            return Err(invalid("sequence type must be smallint, integer, or bigint".into()));
        }
        let (low, high) = bounds_of_type(s.ty);
        reset_max |= s.max == high;
        reset_min |= s.min == low;
        s.ty = ty;
    }
    if let Some(increment) = options.increment {
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".into()));
        }
        s.increment = increment;
    }
    s.cycle = options.cycle.unwrap_or(s.cycle);
    let (low, high) = bounds_of_type(s.ty);
    let ascends = s.increment > 0;
    match options.max {
        Some(Some(max)) => s.max = max,
        None if !reset_max => {}
        _ => s.max = if ascends { high } else { -1 },
    }
    let name = s.ty.display_name();
    if s.max < low || s.max > high {
        return Err(invalid(format!("MAXVALUE ({}) is out of range for sequence data type {name}", s.max)));
    }
    match options.min {
        Some(Some(min)) => s.min = min,
        None if !reset_min => {}
        _ => s.min = if ascends { 1 } else { low },
    }
    if s.min < low || s.min > high {
        return Err(invalid(format!("MINVALUE ({}) is out of range for sequence data type {name}", s.min)));
    }
    if s.min >= s.max {
        return Err(invalid(format!("MINVALUE ({}) must be less than MAXVALUE ({})", s.min, s.max)));
    }
    match options.start {
        Some(start) => s.start = start,
        None if is_new => s.start = if ascends { s.min } else { s.max },
        None => {}
    }
    check_bounds("START", s.start, &s)?;
    if let Some(restart) = options.restart {
        let at = restart.unwrap_or(s.start);
        check_bounds("RESTART", at, &s)?;
        s = s.restarted(SequencePosition { last: at, is_called: false });
    }
    if let Some(cache) = options.cache {
        if cache <= 0 {
            return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
        }
        s.cache = cache;
    }
    Ok(s)
}

fn check_bounds(what: &str, value: i64, s: &Sequence) -> Result<(), Report> {
    if value < s.min {
        return Err(invalid(format!("{what} value ({value}) cannot be less than MINVALUE ({})", s.min)));
    }
    if value > s.max {
        return Err(invalid(format!("{what} value ({value}) cannot be greater than MAXVALUE ({})", s.max)));
    }
    Ok(())
}

fn check_position(s: &Sequence, last: i64) -> Result<(), Report> {
    check_bounds("RESTART", last, s)
}

/// The expression that asks a sequence: by its oid, so that it may be renamed.
pub(super) fn next_value(sequence: Oid) -> String {
    format!("nextval('{sequence}'::regclass)")
}

/// A sequence that a column brings with it.
#[derive(Clone, Debug)]
pub(super) struct OwnedSequence {
    /// The column's name.
    pub(super) column: String,
    pub(super) ty: SqlType,
    pub(super) options: SequenceOptions,
    pub(super) is_identity: bool,
}

impl OwnedSequence {
    /// The sequence, for a column of the table; the column's default is to ask it.
    pub(super) fn make(&self, oid: Oid, name: String, table: &Table, attnum: i16) -> Result<Sequence, Report> {
        let mut options = self.options.clone();
        options.ty = None;
        let base = new_sequence_of_type(oid, table.schema, name, self.ty, &options)?;
        Ok(Sequence { owner: Some(SequenceOwner { table: table.oid, attnum, is_identity: self.is_identity }), ..base })
    }
}

fn new_sequence_of_type(oid: Oid, schema: Oid, name: String, ty: SqlType, options: &SequenceOptions) -> Result<Sequence, Report> {
    let blank = new_sequence(oid, schema, name, &SequenceOptions::default())?;
    let mut sequence = defined(Sequence { ty, ..blank }, options, true)?;
    sequence.restart.position.last = sequence.start;
    Ok(sequence)
}

/// DROP SEQUENCE: the sequence with the defaults that ask it, if `cascade`.
pub(super) fn drop_sequence(
    around: &Surroundings,
    sequence: &Arc<Sequence>,
    cascade: bool,
    session: &mut Session,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    if let Some(owner) = sequence.owner.filter(|o| o.is_identity) {
        let table = around.state.table(owner.table);
        let (table, column) =
            table.as_ref().and_then(|t| t.column(owner.attnum).map(|c| (t.name.as_str(), c.name.as_str()))).unwrap_or_default();
        let message = format!("cannot drop sequence {} because column {column} of table {table} requires it", sequence.name);
        return Err(Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_hint(format!("You can drop column {column} of table {table} instead.")));
    }
    let mut dependents = Vec::new();
    for table in around.state.tables() {
        let mut altered = Table::clone(table);
        let mut names = false;
        for column in &mut altered.columns {
            if column.default.as_deref().is_some_and(|d| d.contains(&format!("'{}'::regclass", sequence.oid))) {
                dependents.push(format!("default value for column {} of table {}", column.name, table.name));
                column.default = None;
                names = true;
            }
        }
        if names && cascade {
            changes.push(Change::AlterTable(altered));
        }
    }
    if !dependents.is_empty() && !cascade {
        let lines: Vec<String> = dependents.iter().map(|d| format!("{d} depends on sequence {}", sequence.name)).collect();
        return Err(Report::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop sequence {} because other objects depend on it", sequence.name),
        )
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    if !dependents.is_empty() {
        session.notices.push(super::cascades_to(&dependents));
    }
    changes.push(Change::DropSequence(sequence.oid));
    Ok(())
}
