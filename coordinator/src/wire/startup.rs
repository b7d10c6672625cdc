//! The beginning of a connection: encryption is declined, a cancel request is carried out, a client is admitted.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ReadyForQuery, SslResponse, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use tokio::net::TcpStream;

use crate::coordinator::Coordinator;
use crate::session::Session;
use crate::settings::Settings;
use crate::wire::client::Client;
use crate::wire::connection::{Connection, ConnectionError};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// The protocol's major version.
const PROTOCOL_MAJOR: u16 = 3;
/// The only role and the only database, for now.
const ONLY_NAME: &str = "postgres";
/// Requests for encryption that are declined before the client must go on without.
const DECLINED_MAX: u32 = 2;

/// Takes a socket to an admitted client; `None` when it was a cancel request, or gave up.
pub(super) async fn start(coordinator: &Arc<Coordinator>, stream: TcpStream) -> Result<Option<Client>, ConnectionError> {
    let mut connection = Connection::new(stream);
    match greet(coordinator, &mut connection).await {
        Ok(Some(session)) => Ok(Some(Client::new(connection, session))),
        Ok(None) => Ok(None),
        Err(ConnectionError::Fatal(report)) => {
            connection.farewell(&report).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn greet(coordinator: &Arc<Coordinator>, connection: &mut Connection) -> Result<Option<Session>, ConnectionError> {
    let mut declined = 0;
    loop {
        let Some(packet) = connection.receive_startup().await? else { return Ok(None) };
        let code = packet[4..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        match code {
            SSL_REQUEST | GSS_REQUEST if declined < DECLINED_MAX => {
                declined += 1;
                connection.put(&PgWireBackendMessage::SslResponse(SslResponse::Refuse));
                connection.flush().await?;
            }
            CANCEL_REQUEST => {
                let number = |at: usize| packet.get(at..at + 4).and_then(|b| b.try_into().ok()).map(i32::from_be_bytes);
                if let (Some(pid), Some(secret), 16) = (number(8), number(12), packet.len()) {
                    coordinator.cancel(pid, secret);
                }
                return Ok(None);
            }
            _ => return admit(coordinator, connection, code, &packet[8..]).await.map(Some),
        }
    }
}

async fn admit(coordinator: &Arc<Coordinator>, connection: &mut Connection, version: u32, body: &[u8]) -> Result<Session, ConnectionError> {
    let [major_high, major_low, minor_high, minor_low] = version.to_be_bytes();
    let (major, minor) = (u16::from_be_bytes([major_high, major_low]), u16::from_be_bytes([minor_high, minor_low]));
    if major != PROTOCOL_MAJOR {
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        return Err(fatal(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)));
    }
    let parameters = parameters(body)?;
    let (extensions, parameters): (BTreeMap<_, _>, BTreeMap<_, _>) =
        parameters.into_iter().partition(|(name, _)| name.starts_with("_pq_."));
    if minor > 0 || !extensions.is_empty() {
        let message = NegotiateProtocolVersion::new(0, extensions.into_keys().collect());
        connection.put(&PgWireBackendMessage::NegotiateProtocolVersion(message));
    }
    let user = parameters.get("user").filter(|u| !u.is_empty()).cloned().ok_or_else(|| {
        fatal(Report::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "no PostgreSQL user name specified in startup packet"))
    })?;
    let database = parameters.get("database").filter(|d| !d.is_empty()).unwrap_or(&user).clone();
    if user != ONLY_NAME {
        return Err(fatal(Report::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, format!("role \"{user}\" does not exist"))));
    }
    if database != ONLY_NAME {
        return Err(fatal(Report::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{database}\" does not exist"))));
    }
    let settings = settings(&user, &database, &parameters).map_err(fatal)?;
    let application = settings.show("application_name").unwrap_or_default();
    let pid = coordinator.next_pid().await.map_err(fatal)?;
    let connected = coordinator.connect(pid, user, database, application, connection.peer()).map_err(fatal)?;
    let session = Session::new(Arc::clone(coordinator), connected, settings);
    welcome(connection, &session);
    Ok(session)
}

fn fatal(report: Report) -> ConnectionError {
    ConnectionError::Fatal(Box::new(report))
}

/// Names and values up to an empty name.
fn parameters(body: &[u8]) -> Result<BTreeMap<String, String>, ConnectionError> {
    let invalid = || ConnectionError::violation("invalid startup packet layout: expected terminator as last byte");
    if body.last() != Some(&0) {
        return Err(invalid());
    }
    let mut texts = body[..body.len() - 1].split(|b| *b == 0);
    let mut parameters = BTreeMap::new();
    while let Some(name) = texts.next().filter(|name| !name.is_empty()) {
        let value = texts.next().ok_or_else(invalid)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| invalid());
        parameters.insert(text(name)?, text(value)?);
    }
    Ok(parameters)
}

/// The settings that the startup packet asks for, `options` (`-c name=value`) included.
fn settings(user: &str, database: &str, parameters: &BTreeMap<String, String>) -> Result<Settings, Report> {
    let mut settings = Settings::new(user, database);
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value) {
                    settings.set_default(&name, &value)?;
                }
            }
            _ => settings.set_default(name, value)?,
        }
    }
    Ok(settings)
}

/// `-c name=value`, `-cname=value` and `--name=value`, separated by blanks; a backslash takes the next character as it is.
fn options(text: &str) -> Vec<(String, String)> {
    let (mut words, mut word, mut escaped) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            _ if std::mem::take(&mut escaped) => word.push(c),
            '\\' => escaped = true,
            c if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    let mut words = words.into_iter().filter(|w| !w.is_empty());
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(rest), _) => rest.to_owned(),
            (None, Some("")) => words.next().unwrap_or_default(),
            (None, Some(rest)) => rest.to_owned(),
            (None, None) => continue,
        };
        if let Some((name, value)) = assignment.split_once('=') {
            found.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    found
}

/// What a client is told before its first statement.
fn welcome(connection: &mut Connection, session: &Session) {
    connection.put(&PgWireBackendMessage::Authentication(Authentication::Ok));
    for (name, value) in session.settings.reported() {
        connection.put(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value)));
    }
    let user = session.connected.user.clone();
    for (name, value) in
        [("is_superuser", "on".to_owned()), ("session_authorization", user), ("standard_conforming_strings", "on".to_owned())]
    {
        connection.put(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value)));
    }
    let secret = SecretKey::I32(session.connected.secret);
    connection.put(&PgWireBackendMessage::BackendKeyData(BackendKeyData::new(session.connected.pid, secret)));
    connection.put(&PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(TransactionStatus::Idle)));
    connection.flush_soon();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_options_are_assignments() {
        let found = options("-c geqo=off -csearch_path=a\\ b  --statement-timeout=5s -d");
        let pairs: Vec<(&str, &str)> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("geqo", "off"), ("search_path", "a b"), ("statement_timeout", "5s")]);
    }

    #[test]
    fn a_packet_without_its_end_is_refused() {
        assert!(parameters(b"user\0x").is_err());
        assert_eq!(parameters(b"user\0x\0\0").unwrap().len(), 1);
    }
}
