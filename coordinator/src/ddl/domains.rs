//! CREATE DOMAIN and ALTER DOMAIN, which come as a column definition and as ALTER TABLE ([`sql::domain_syntax`]).

use std::sync::Arc;

use catalog::changes::Change;
use common::error::{Report, SqlError};
use common::sqlstate::SqlState;
use common::types::SqlType;
use common::user_types::{Domain, DomainCheck, UserType, UserTypeKind};
use functions::context::SessionSettings;
use sql::bind::type_name::named_type;
use sqlparser::ast::{AlterColumnOperation, AlterTableOperation, ColumnDef, ColumnOption, Expr, ObjectName, TableConstraint};

use super::user_types::{plain, rename_type};
use super::{ATTEMPTS_MAX, Ids, Surroundings, folded, propose, too_many_attempts};
use crate::result::StatementResult;
use crate::session::Session;
use crate::target_table::domain_condition;

/// CREATE DOMAIN: its definition is a column's.
pub(super) async fn create(session: &mut Session, name: &ObjectName, column: &ColumnDef) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let (schema, name) = around.new_type_name(name)?;
        let mut ids = Ids::take(session, column.options.len() + 2).await?;
        let (oid, array_oid) = (ids.oid()?, ids.oid()?);
        let named = named_type(&column.data_type, &around.settings).map_err(|e| e.report())?;
        let over = named.domain.map(|domain| domain.oid);
        let mut domain = Domain { base: named.ty, over, default: None, not_null: false, checks: Vec::new() };
        for option in &column.options {
            let called = option.name.as_ref().map(folded);
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => domain.not_null = true,
                ColumnOption::Default(default) => domain.default = Some(default_text(default, domain.base, &around.settings)?),
                ColumnOption::Check(check) => {
                    let called = called.or_else(|| check.name.as_ref().map(folded));
                    add_check(&mut domain, &name, called, &check.expr, ids.oid()?, &around.settings)?;
                }
                ColumnOption::Collation(_) => {}
                ColumnOption::Unique(_) => return Err(not_possible("unique")),
                ColumnOption::PrimaryKey(_) => return Err(not_possible("primary key")),
                ColumnOption::ForeignKey(_) => return Err(not_possible("foreign key")),
                other => return Err(Report::unsupported(format!("{other} in CREATE DOMAIN"))),
            }
        }
        let ty = UserType { oid, array_oid, schema: schema.oid, name, kind: UserTypeKind::Domain(domain) };
        if propose(session, around.state.version(), &[Change::CreateType(ty)]).await?.is_some() {
            return Ok(StatementResult::Command("CREATE DOMAIN".into()));
        }
    }
    Err(too_many_attempts())
}

fn not_possible(kind: &str) -> Report {
    Report::new(SqlState::SYNTAX_ERROR, format!("{kind} constraints not possible for domains"))
}

fn default_text(default: &Expr, base: SqlType, settings: &SessionSettings) -> Result<String, Report> {
    let text = default.to_string();
    sql::bind_expression(&text, &[], base, settings).map_err(|e| e.report())?;
    Ok(text)
}

fn add_check(
    domain: &mut Domain,
    domain_name: &str,
    called: Option<String>,
    condition: &Expr,
    oid: common::ids::Oid,
    settings: &SessionSettings,
) -> Result<(), Report> {
    let expression = condition.to_string();
    domain_condition(&expression, domain.base, settings)?;
    let is_taken = |name: &str| domain.checks.iter().any(|check| check.name == name);
    let name = match called {
        Some(name) if is_taken(&name) => {
            let message = format!("constraint \"{name}\" for domain \"{domain_name}\" already exists");
            return Err(Report::new(SqlState::DUPLICATE_OBJECT, message));
        }
        Some(name) => name,
        None => {
            let first = format!("{domain_name}_check");
            let numbered = (1..).map(|n| format!("{first}{n}"));
            std::iter::once(first.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(first)
        }
    };
    domain.checks.push(DomainCheck { oid, name, expression });
    Ok(())
}

/// ALTER DOMAIN.
pub(super) async fn alter(session: &mut Session, name: &ObjectName, operations: &[AlterTableOperation]) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let ty = around.existing_type(name)?;
        let mut new = UserType::clone(&ty);
        let mut ids = Ids::take(session, operations.len()).await?;
        for operation in operations {
            if let AlterTableOperation::RenameTable { table_name } = operation {
                let (sqlparser::ast::RenameTableNameKind::As(to) | sqlparser::ast::RenameTableNameKind::To(to)) = table_name;
                rename_type(&around, &mut new, &plain(to))?;
                continue;
            }
            let domain_name = new.name.clone();
            let UserTypeKind::Domain(domain) = &mut new.kind else {
                return Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("{} is not a domain", plain(name))));
            };
            change(session, &around, &ty, domain, &domain_name, operation, ids.oid()?).await?;
        }
        if propose(session, around.state.version(), &[Change::AlterType(new)]).await?.is_some() {
            return Ok(StatementResult::Command("ALTER DOMAIN".into()));
        }
    }
    Err(too_many_attempts())
}

async fn change(
    session: &mut Session,
    around: &Surroundings,
    ty: &Arc<UserType>,
    domain: &mut Domain,
    name: &str,
    operation: &AlterTableOperation,
    oid: common::ids::Oid,
) -> Result<(), Report> {
    let missing = |constraint: &str| {
        Report::new(SqlState::UNDEFINED_OBJECT, format!("constraint \"{constraint}\" of domain \"{name}\" does not exist"))
    };
    match operation {
        AlterTableOperation::AlterColumn { op, .. } => match op {
            AlterColumnOperation::SetNotNull => {
                check_rows(session, around, ty, "value IS NOT NULL", None).await?;
                domain.not_null = true;
            }
            AlterColumnOperation::DropNotNull => domain.not_null = false,
            AlterColumnOperation::SetDefault { value } => domain.default = Some(default_text(value, domain.base, &around.settings)?),
            AlterColumnOperation::DropDefault => domain.default = None,
            other => return Err(Report::unsupported(format!("ALTER DOMAIN … {other}"))),
        },
        AlterTableOperation::AddConstraint { constraint: TableConstraint::Check(check), not_valid } => {
            add_check(domain, name, check.name.as_ref().map(folded), &check.expr, oid, &around.settings)?;
            if let (Some(added), false) = (domain.checks.last(), not_valid) {
                check_rows(session, around, ty, &added.expression, Some(&added.name)).await?;
            }
        }
        AlterTableOperation::AddConstraint { .. } => return Err(Report::unsupported("a constraint of a domain that is no CHECK")),
        AlterTableOperation::DropConstraint { if_exists, name: constraint, .. } => {
            let wanted = folded(constraint);
            let before = domain.checks.len();
            domain.checks.retain(|check| check.name != wanted);
            if domain.checks.len() == before {
                if !if_exists {
                    return Err(missing(&wanted));
                }
                let report = missing(&wanted);
                session.notices.push(Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", report.message)));
            }
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            let wanted = folded(old_name);
            let check = domain.checks.iter_mut().find(|check| check.name == wanted).ok_or_else(|| missing(&wanted))?;
            check.name = folded(new_name);
        }
        AlterTableOperation::ValidateConstraint { name: constraint } => {
            let wanted = folded(constraint);
            let check = domain.checks.iter().find(|check| check.name == wanted).ok_or_else(|| missing(&wanted))?;
            check_rows(session, around, ty, &check.expression, Some(&check.name)).await?;
        }
        other => return Err(Report::unsupported(format!("ALTER DOMAIN … {other}"))),
    }
    Ok(())
}

/// Checks that the values in columns of the domain, and of domains made over it, fulfil a condition. A row that is written while the domain
/// changes may slip through: then it stays as a row under NOT VALID does.
async fn check_rows(
    session: &mut Session,
    around: &Surroundings,
    ty: &UserType,
    condition: &str,
    constraint: Option<&str>,
) -> Result<(), Report> {
    let types = around.state.user_types();
    for table in around.state.tables() {
        let schema = around.state.schema(table.schema).map(|s| s.name.clone()).unwrap_or_default();
        for column in table.visible_columns() {
            let Some(of) = column.domain else { continue };
            if !types.domain_chain(of).iter().any(|domain| domain.oid == ty.oid) {
                continue;
            }
            let (quoted, relation) = (quote(&column.name), format!("{}.{}", quote(&schema), quote(&table.name)));
            let text = format!("SELECT 1 FROM (SELECT {quoted} AS value FROM {relation}) AS t WHERE NOT ({condition}) LIMIT 1");
            if super::alter_table::has_row(session, &text).await? {
                let (code, message) = match constraint {
                    Some(_) => (SqlState::CHECK_VIOLATION, "contains values that violate the new constraint"),
                    None => (SqlState::NOT_NULL_VIOLATION, "contains null values"),
                };
                return Err(Report::new(code, format!("column \"{}\" of table \"{}\" {message}", column.name, table.name)));
            }
        }
    }
    Ok(())
}

fn quote(name: &str) -> String {
    types::quoting::quote_ident(name)
}
