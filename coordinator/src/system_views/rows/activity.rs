//! Settings, and the sessions of this coordinator.

use common::datum::Datum;
use common::ids::WorkerId;
use common::interval::Interval;
use futures::FutureExt;
use futures::future::BoxFuture;
use rpc::locks::LockWaiter;
use types::format_settings::TimeZone;

use super::super::roles::{database_oid, role_oid};
use super::locks::{all_waits, lock_type, transaction_number};
use super::{FALSE, NULL, Reading, Row, oid, text};
use crate::coordinator::{ConnectedSession, SessionState};

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

/// The sessions of this coordinator.
pub(super) fn pg_stat_activity(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let waits = match &reading.system.coordinator {
            Some(coordinator) => all_waits(coordinator).await,
            None => Vec::new(),
        };
        let mut sessions = reading.system.connected();
        sessions.sort_by_key(|session| session.pid);
        sessions.iter().map(|session| session_row(session, &waits)).collect()
    }
    .boxed()
}

fn session_row(session: &ConnectedSession, waits: &[(WorkerId, LockWaiter)]) -> Row {
    let activity = session.activity.lock().clone();
    let time = |micros: Option<i64>| micros.map_or(NULL, Datum::Timestamp);
    let wait = waits.iter().find(|(_, wait)| wait.owner.session == session.pid);
    let (wait_type, wait_event) = match (activity.state, wait) {
        (SessionState::Active, Some((_, wait))) => (text("Lock"), text(lock_type(wait.target))),
        (SessionState::Active, None) => (NULL, NULL),
        _ => (text("Client"), text("ClientRead")),
    };
    let transaction = wait.and_then(|(_, wait)| wait.owner.transaction);
    let (address, port) = match session.client_address.rsplit_once(':') {
        Some((address, port)) => (address, port.parse().map_or(NULL, Datum::Int4)),
        None => (session.client_address.as_str(), NULL),
    };
    vec![
        oid(database_oid(&session.database)),
        text(&session.database),
        Datum::Int4(session.pid),
        NULL, // leader_pid
        oid(role_oid(&session.user)),
        text(&session.user),
        text(session.application_name.lock().clone()),
        text(address),
        NULL, // client_hostname
        port,
        time(Some(session.started_micros)),
        time(activity.transaction_micros),
        time(activity.query_micros),
        time(Some(activity.state_micros)),
        wait_type,
        wait_event,
        text(activity.state.name()),
        transaction.map_or(NULL, transaction_number),
        NULL, // backend_xmin
        NULL, // query_id
        text(&*activity.query),
        text("client backend"),
    ]
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
