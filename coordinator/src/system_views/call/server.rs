//! Settings, and the sessions of this coordinator.

use common::datum::Datum;
use common::error::Report;

use super::super::context::SystemContext;
use super::Arguments;

/// `current_setting`, `pg_cancel_backend` and their relatives.
pub(super) fn call(system: &SystemContext, name: &str, args: &Arguments<'_>) -> Result<Datum, Report> {
    match name {
        "current_setting" => match system.parameters.show(args.text(0)?) {
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

/// Ends a session's statement, or the session; whether there is such a session.
fn end(system: &SystemContext, pid: i32, connection: bool) -> bool {
    let Some(session) = system.connected().into_iter().find(|s| s.pid == pid) else { return false };
    if connection {
        session.connection.cancel();
    }
    session.statement.lock().cancel();
    true
}
