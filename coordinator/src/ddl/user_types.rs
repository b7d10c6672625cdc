//! CREATE TYPE … AS ENUM, ALTER TYPE, CREATE and ALTER DOMAIN, and what DROP needs of types.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::Schema;
use catalog::state::PUBLIC_SCHEMA;
use common::enums::{EnumDefinition, EnumLabel, EnumType, LABEL_DISTANCE};
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{SCALARS, Scalar};
use common::user_types::{UserType, UserTypeKind};
use sqlparser::ast::{
    AlterTypeAddValue, AlterTypeAddValuePosition, AlterTypeOperation, Ident, ObjectName, Statement, UserDefinedTypeRepresentation,
};
use types::quoting::quote_ident;

use super::{ATTEMPTS_MAX, Ids, Surroundings, folded, propose, split_name, too_many_attempts};
use crate::result::StatementResult;
use crate::session::Session;

/// The most bytes of a label.
const LABEL_BYTES_MAX: usize = 63;

/// CREATE TYPE and ALTER TYPE.
pub(super) async fn execute(session: &mut Session, tree: &Statement) -> Result<StatementResult, Report> {
    match tree {
        Statement::CreateType { name, representation: Some(UserDefinedTypeRepresentation::Enum { labels }) } => {
            create_enum(session, name, labels).await
        }
        Statement::CreateType { .. } => Err(Report::unsupported("a type that is no enum in CREATE TYPE")),
        Statement::AlterType(alter) => alter_type(session, &alter.name, &alter.operation).await,
        other => Err(Report::unsupported(format!("the statement {other}"))),
    }
}

impl Surroundings {
    /// A type that a user made.
    pub(super) fn user_type(&self, name: &ObjectName) -> Result<Option<Arc<UserType>>, Report> {
        let (schema, name) = split_name(name)?;
        let types = self.state.user_types();
        Ok(match schema {
            Some(schema) => types.named(&schema, &name),
            None => types.found(&self.settings.search_path, &name),
        }
        .cloned())
    }

    pub(super) fn existing_type(&self, name: &ObjectName) -> Result<Arc<UserType>, Report> {
        self.user_type(name)?.ok_or_else(|| missing_type(name))
    }

    /// Schema and name of a new type.
    pub(super) fn new_type_name(&self, name: &ObjectName) -> Result<(Arc<Schema>, String), Report> {
        let (schema, name) = self.new_name(name)?;
        let is_taken = self.state.user_types().named(&schema.name, &name).is_some()
            || self.state.relation_named(&schema.name, &name).is_some()
            || SCALARS.iter().any(|row| row.3 == name);
        if is_taken {
            return Err(Report::new(SqlState::DUPLICATE_OBJECT, format!("type \"{name}\" already exists")));
        }
        Ok((schema, name))
    }

    /// The tables with columns of a type.
    pub(super) fn tables_of<'a>(&'a self, ty: &'a UserType) -> impl Iterator<Item = Oid> + 'a {
        let uses = |column: &catalog::objects::Column| {
            column.domain == Some(ty.oid) || matches!(column.ty.scalar, Scalar::Enum(of) if of.definition().oid == ty.oid)
        };
        self.state.tables().filter(move |table| table.visible_columns().any(uses)).map(|table| table.oid)
    }

    /// What keeps a type from being dropped: `column c of table t depends on type x`.
    pub(super) fn dependents(&self, ty: &UserType) -> Vec<String> {
        let described = describe(ty);
        let mut out = Vec::new();
        for table in self.state.tables() {
            for column in table.visible_columns() {
                let uses = column.domain == Some(ty.oid) || matches!(column.ty.scalar, Scalar::Enum(of) if of.definition().oid == ty.oid);
                if uses {
                    out.push(format!("column {} of table {} depends on {described}", column.name, table.name));
                }
            }
        }
        for other in self.state.all_user_types() {
            let Some(domain) = other.domain() else { continue };
            if domain.over == Some(ty.oid) || matches!(domain.base.scalar, Scalar::Enum(of) if of.definition().oid == ty.oid) {
                out.push(format!("type {} depends on {described}", other.name));
            }
        }
        out
    }
}

pub(super) fn missing_type(name: &ObjectName) -> Report {
    Report::new(SqlState::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", plain(name)))
}

/// A name as messages show it.
pub(super) fn plain(name: &ObjectName) -> String {
    let part = |part: &sqlparser::ast::ObjectNamePart| part.as_ident().map_or_else(|| part.to_string(), folded);
    name.0.iter().map(part).collect::<Vec<_>>().join(".")
}

fn describe(ty: &UserType) -> String {
    format!("type {}", ty.name)
}

/// The change that drops a type; 2BP01 when something is of it.
pub(super) fn drop_type(around: &Surroundings, ty: &UserType, cascade: bool) -> Result<Change, Report> {
    let dependents = around.dependents(ty);
    if dependents.is_empty() {
        return Ok(Change::DropType(ty.oid));
    }
    if cascade {
        return Err(Report::unsupported("DROP … CASCADE of a type that columns have"));
    }
    let message = format!("cannot drop {} because other objects depend on it", describe(ty));
    Err(Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(dependents.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

fn label_name(ident: &Ident) -> Result<String, Report> {
    if ident.value.len() > LABEL_BYTES_MAX {
        return Err(Report::new(SqlState::INVALID_NAME, format!("invalid enum label \"{}\"", ident.value))
            .with_detail(format!("Labels must be {LABEL_BYTES_MAX} bytes or less.")));
    }
    Ok(ident.value.clone())
}

/// A type's name as SQL writes it.
pub(super) fn display_name(schema: &Schema, name: &str) -> String {
    let quoted = quote_ident(name);
    if schema.oid == PUBLIC_SCHEMA { quoted } else { format!("{}.{quoted}", quote_ident(&schema.name)) }
}

async fn create_enum(session: &mut Session, name: &ObjectName, labels: &[Ident]) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let (schema, name) = around.new_type_name(name)?;
        let mut ids = Ids::take(session, labels.len() + 2).await?;
        let (oid, array_oid) = (ids.oid()?, ids.oid()?);
        let mut made: Vec<EnumLabel> = Vec::with_capacity(labels.len());
        for (label, at) in labels.iter().zip(1..) {
            let name = label_name(label)?;
            if made.iter().any(|other| other.name == name) {
                let message = "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"";
                let detail = format!("Key (enumtypid, enumlabel)=({}, {name}) already exists.", oid.0);
                return Err(Report::new(SqlState::UNIQUE_VIOLATION, message).with_detail(detail));
            }
            made.push(EnumLabel { oid: ids.oid()?, value: at * LABEL_DISTANCE, name });
        }
        let definition = EnumDefinition { oid, array_oid, name: name.clone(), display_name: display_name(&schema, &name), labels: made };
        let kind = UserTypeKind::Enum(EnumType::intern(definition));
        let change = Change::CreateType(UserType { oid, array_oid, schema: schema.oid, name, kind });
        if propose(session, around.state.version(), &[change]).await?.is_some() {
            return Ok(StatementResult::Command("CREATE TYPE".into()));
        }
    }
    Err(too_many_attempts())
}

async fn alter_type(session: &mut Session, name: &ObjectName, operation: &AlterTypeOperation) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let ty = around.existing_type(name)?;
        let mut new = UserType::clone(&ty);
        let changed = match operation {
            AlterTypeOperation::Rename(rename) => {
                rename_type(&around, &mut new, &folded(&rename.new_name))?;
                true
            }
            AlterTypeOperation::AddValue(add) => {
                let mut definition = enum_of(&ty, name)?;
                let mut ids = Ids::take(session, 1).await?;
                let added = add_label(session, &mut definition, add, ids.oid()?)?;
                new.kind = UserTypeKind::Enum(EnumType::intern(definition));
                added
            }
            AlterTypeOperation::RenameValue(rename) => {
                let mut definition = enum_of(&ty, name)?;
                rename_label(&mut definition, &rename.from.value, label_name(&rename.to)?)?;
                new.kind = UserTypeKind::Enum(EnumType::intern(definition));
                true
            }
        };
        if !changed || propose(session, around.state.version(), &[Change::AlterType(new)]).await?.is_some() {
            return Ok(StatementResult::Command("ALTER TYPE".into()));
        }
    }
    Err(too_many_attempts())
}

/// Gives a type another name in its schema.
pub(super) fn rename_type(around: &Surroundings, ty: &mut UserType, name: &str) -> Result<(), Report> {
    let schema = around.state.schema(ty.schema).ok_or_else(|| Report::internal("a type without a schema"))?;
    if around.state.user_types().named(&schema.name, name).is_some() || around.state.relation_named(&schema.name, name).is_some() {
        return Err(Report::new(SqlState::DUPLICATE_OBJECT, format!("type \"{name}\" already exists")));
    }
    name.clone_into(&mut ty.name);
    if let UserTypeKind::Enum(old) = ty.kind {
        let definition = EnumDefinition { name: name.to_owned(), display_name: display_name(schema, name), ..old.definition().clone() };
        ty.kind = UserTypeKind::Enum(EnumType::intern(definition));
    }
    Ok(())
}

fn enum_of(ty: &UserType, name: &ObjectName) -> Result<EnumDefinition, Report> {
    match ty.kind {
        UserTypeKind::Enum(ty) => Ok(ty.definition().clone()),
        UserTypeKind::Domain(_) => Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("{} is not an enum", plain(name)))),
    }
}

fn unknown_label(name: &str) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("\"{name}\" is not an existing enum label"))
}

fn label_exists(name: &str) -> Report {
    Report::new(SqlState::DUPLICATE_OBJECT, format!("enum label \"{name}\" already exists"))
}

/// Puts a label into its place; `false` when it is there already and may be.
fn add_label(session: &mut Session, definition: &mut EnumDefinition, add: &AlterTypeAddValue, oid: Oid) -> Result<bool, Report> {
    let name = label_name(&add.value)?;
    if definition.label_named(&name).is_some() {
        let report = label_exists(&name);
        if !add.if_not_exists {
            return Err(report);
        }
        session.notices.push(Report { message: format!("{}, skipping", report.message), sqlstate: SqlState::DUPLICATE_OBJECT, ..report });
        return Ok(false);
    }
    let place =
        |neighbor: &Ident| definition.labels.iter().position(|l| l.name == neighbor.value).ok_or_else(|| unknown_label(&neighbor.value));
    let at = match &add.position {
        None => definition.labels.len(),
        Some(AlterTypeAddValuePosition::Before(neighbor)) => place(neighbor)?,
        Some(AlterTypeAddValuePosition::After(neighbor)) => place(neighbor)? + 1,
    };
    let before = at.checked_sub(1).and_then(|at| definition.labels.get(at)).map(|l| l.value);
    let behind = definition.labels.get(at).map(|l| l.value);
    let value = match (before, behind) {
        (None, None) => LABEL_DISTANCE,
        (Some(before), None) => before + LABEL_DISTANCE,
        (None, Some(behind)) => behind - LABEL_DISTANCE,
        (Some(before), Some(behind)) => before + (behind - before) / 2,
    };
    if before == Some(value) {
        return Err(Report::unsupported("a label where so many have been put between two others already"));
    }
    definition.labels.insert(at, EnumLabel { oid, value, name });
    Ok(true)
}

fn rename_label(definition: &mut EnumDefinition, from: &str, to: String) -> Result<(), Report> {
    if definition.label_named(from).is_none() {
        return Err(unknown_label(from));
    }
    if definition.label_named(&to).is_some() {
        return Err(label_exists(&to));
    }
    if let Some(label) = definition.labels.iter_mut().find(|l| l.name == from) {
        label.name = to;
    }
    Ok(())
}
