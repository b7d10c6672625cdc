//! Settings, and the sessions of this coordinator.

use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;

use super::super::context::SystemContext;
use super::Arguments;
use crate::settings::Settings;

/// `current_setting`, `pg_cancel_backend` and their relatives.
pub(super) fn call(system: &SystemContext, name: &str, args: &Arguments<'_>) -> Result<Datum, Report> {
    match name {
        "set_config" => set_config(system, args),
        "current_setting" => match current(system)?.show(args.text(0)?) {
            Ok(value) => Ok(Datum::Text(value)),
            Err(_) if args.is_true(1) => Ok(Datum::Null),
            Err(unknown) => Err(unknown),
        },
        "pg_postmaster_start_time" | "pg_conf_load_time" => {
            Ok(system.coordinator.as_ref().map_or(Datum::Null, |c| Datum::Timestamp(c.started_micros)))
        }
        "pg_cancel_backend" => Ok(Datum::Bool(end(system, args.int4(0)?, false))),
        "pg_terminate_backend" => Ok(Datum::Bool(end(system, args.int4(0)?, true))),
        _ => Err(Report::unsupported(format!("function {name}()"))),
    }
}

/// The settings with what this statement has set.
fn current(system: &SystemContext) -> Result<Settings, Report> {
    let mut settings = system.parameters.clone();
    for (name, value) in system.set_by_functions.lock().iter() {
        settings.set(name, value)?;
    }
    Ok(settings)
}

/// `set_config(name, value, is_local)`; NULL as the value sets the default.
fn set_config(system: &SystemContext, args: &Arguments<'_>) -> Result<Datum, Report> {
    let name = match args.value(0) {
        Datum::Null => return Err(Report::new(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name")),
        _ => args.text(0)?,
    };
    let mut settings = current(system)?;
    let value = match args.value(1) {
        Datum::Null => {
            settings.reset(name)?;
            settings.show(name)?
        }
        _ => args.text(1)?.to_owned(),
    };
    settings.set(name, &value)?;
    // What is local to a transaction ends with it, and a statement by itself is one.
    if !args.is_true(2) || system.is_in_block {
        system.set_by_functions.lock().push((name.to_owned(), value));
    }
    Ok(Datum::Text(settings.show(name)?))
}

/// Ends a session's statement, or the session; whether there is such a session.
fn end(system: &SystemContext, pid: i32, connection: bool) -> bool {
    let Some(session) = system.connected().into_iter().find(|s| s.pid == pid) else { return false };
    if connection {
        session.connection.cancel();
    }
    session.statement.lock().cancel();
    true
}
