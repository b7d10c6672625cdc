//! Settings, and the sessions of this coordinator.

use common::datum::Datum;
use common::interval::Interval;
use types::format_settings::TimeZone;

use super::super::roles::{database_oid, role_oid};
use super::{FALSE, NULL, Reading, Row, oid, text};

pub(super) fn pg_settings(reading: &Reading<'_>) -> Vec<Row> {
    let parameters = &reading.system.parameters;
    let row = |known: crate::settings::DescribedSetting| {
        let source = if known.value == known.default { "default" } else { "session" };
        let words = known.words.map_or(NULL, |words| Datum::Array(words.iter().map(|word| text(*word)).collect()));
        vec![
            text(known.name),
            text(known.value.clone()),
            NULL, // unit: durations carry theirs in the value
            NULL, // category
            text(known.description),
            NULL, // extra_desc
            text(if known.is_fixed { "internal" } else { "user" }),
            text(known.kind),
            text(source),
            known.bounds.map_or(NULL, |(low, _)| text(low.to_string())),
            known.bounds.map_or(NULL, |(_, high)| text(high.to_string())),
            words,
            text(known.default),
            text(known.reset),
            NULL, // sourcefile
            NULL, // sourceline
            FALSE,
        ]
    };
    parameters.described().map(row).collect()
}

pub(super) fn pg_stat_activity(reading: &Reading<'_>) -> Vec<Row> {
    let mut sessions = reading.system.connected();
    sessions.sort_by_key(|session| session.pid);
    let row = |session: std::sync::Arc<crate::coordinator::ConnectedSession>| {
        let query = session.query.lock().to_string();
        vec![
            oid(database_oid(&session.database)),
            text(&session.database),
            Datum::Int4(session.pid),
            NULL, // leader_pid
            oid(role_oid(&session.user)),
            text(&session.user),
            text(session.application_name.lock().clone()),
            text(&session.client_address),
            NULL, // client_hostname
            NULL, // client_port
            NULL, // backend_start
            NULL, // xact_start
            NULL, // query_start
            NULL, // state_change
            NULL, // wait_event_type
            NULL, // wait_event
            text(if query.is_empty() { "idle" } else { "active" }),
            NULL, // backend_xid
            NULL, // backend_xmin
            NULL, // query_id
            text(query),
            text("client backend"),
        ]
    };
    sessions.into_iter().map(row).collect()
}

pub(super) fn pg_timezone_names(reading: &Reading<'_>) -> Vec<Row> {
    let now = reading.system.settings.statement_micros;
    let row = |name: &str| {
        let zone = types::zone::named(name)?;
        let moment = types::zone::moment(TimeZone::Named(zone), now);
        let offset = Interval { months: 0, days: 0, micros: i64::from(moment.offset) * 1_000_000 };
        Some(vec![text(name), text(moment.abbreviation.clone()), Datum::Interval(offset), Datum::Bool(moment.is_dst)])
    };
    types::zone::names().filter_map(row).collect()
}
