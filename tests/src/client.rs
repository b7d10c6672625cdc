//! A blocking client of the simple protocol that gives everything that the server says: types of columns, command tags, all fields of errors,
//! notices. Other clients hide some of it.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message};
use postgres_protocol::message::frontend;

/// How long one statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const USER: &str = "postgres";

/// Where a server listens, and one of its databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub port: u16,
    pub database: String,
}

impl Address {
    /// As libpq takes it.
    pub fn dsn(&self) -> String {
        format!("host=127.0.0.1 port={} user={USER} dbname={}", self.port, self.database)
    }
}

/// What a server says of an error or a notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub position: Option<u32>,
    pub context: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl Report {
    fn read(mut fields: ErrorFields<'_>) -> std::io::Result<Self> {
        let mut report = Self::default();
        while let Some(field) = fields.next()? {
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'V' => report.severity = value,
                b'C' => report.code = value,
                b'M' => report.message = value,
                b'D' => report.detail = Some(value),
                b'H' => report.hint = Some(value),
                b'P' => report.position = value.parse().ok(),
                b'W' => report.context = Some(value),
                b's' => report.schema = Some(value),
                b't' => report.table = Some(value),
                b'c' => report.column = Some(value),
                b'n' => report.constraint = Some(value),
                _ => {}
            }
        }
        Ok(report)
    }
}

/// Code and message, then detail and hint, if there are any, each in its line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT: {hint}")?;
        }
        Ok(())
    }
}

/// Why a statement has no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The server says so.
    Server(Box<Report>),
    /// The connection is gone, or what came is no message.
    Connection(std::io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(report) => report.fmt(f),
            Self::Connection(error) => write!(f, "connection: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error)
    }
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
}

/// The answer to one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `None`: a statement that gives no rows.
    pub columns: Option<Vec<Column>>,
    pub rows: Vec<Vec<Option<String>>>,
    pub tag: String,
}

impl Answer {
    /// How many rows the command tag tells of.
    pub fn count(&self) -> u64 {
        self.tag.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: BytesMut,
    notices: Vec<Report>,
    /// `I`, `T` or `E`: outside of a transaction, in one, in a failed one.
    status: u8,
}

impl Client {
    /// Connects, as user postgres, without a password.
    pub fn connect(address: &Address) -> Result<Self, ClientError> {
        let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], address.port).into(), CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STATEMENT_LIMIT))?;
        stream.set_write_timeout(Some(STATEMENT_LIMIT))?;
        let mut client = Self { stream, received: BytesMut::with_capacity(8 << 10), notices: Vec::new(), status: b'I' };
        let mut message = BytesMut::new();
        let parameters = [("user", USER), ("database", &address.database), ("application_name", "tests"), ("client_encoding", "UTF8")];
        frontend::startup_message(parameters, &mut message)?;
        client.stream.write_all(&message)?;
        client.answers()?;
        Ok(client)
    }

    /// Sends a text and gives the answer to its last statement.
    pub fn execute(&mut self, sql: &str) -> Result<Answer, ClientError> {
        Ok(self.execute_all(sql)?.pop().unwrap_or_default())
    }

    /// Sends a text of several statements and gives the answer to each.
    pub fn execute_all(&mut self, sql: &str) -> Result<Vec<Answer>, ClientError> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message)?;
        self.stream.write_all(&message)?;
        self.answers()
    }

    /// The one value of an answer of one row and one column.
    pub fn value(&mut self, sql: &str) -> Result<Option<String>, ClientError> {
        let mut answer = self.execute(sql)?;
        assert!(answer.rows.len() == 1 && answer.rows[0].len() == 1, "{sql} gives not one value, but {:?}", answer.rows);
        Ok(answer.rows.remove(0).remove(0))
    }

    /// The notices since this was asked last.
    pub fn take_notices(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.notices)
    }

    /// `I`, `T` or `E`: outside of a transaction, in one, in a failed one.
    pub fn transaction_status(&self) -> char {
        char::from(self.status)
    }

    /// How long the next statements may take.
    pub fn set_limit(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).unwrap();
    }

    fn answers(&mut self) -> Result<Vec<Answer>, ClientError> {
        let (mut answers, mut answer, mut failure) = (Vec::new(), Answer::default(), None);
        loop {
            match self.message()? {
                Message::RowDescription(body) => {
                    let columns = body.fields().map(|f| Ok(Column { name: f.name().to_owned(), type_oid: f.type_oid() }));
                    answer.columns = Some(columns.collect()?);
                }
                Message::DataRow(body) => answer.rows.push(row(&body)?),
                Message::CommandComplete(body) => {
                    body.tag()?.clone_into(&mut answer.tag);
                    answers.push(std::mem::take(&mut answer));
                }
                Message::EmptyQueryResponse => answers.push(Answer::default()),
                Message::NoticeResponse(body) => self.notices.push(Report::read(body.fields())?),
                Message::ErrorResponse(body) => {
                    let report = Report::read(body.fields())?;
                    let ends = report.severity == "FATAL";
                    failure = Some(report);
                    if ends {
                        break;
                    }
                }
                Message::ReadyForQuery(body) => {
                    self.status = body.status();
                    break;
                }
                Message::AuthenticationOk | Message::ParameterStatus(_) | Message::BackendKeyData(_) | Message::NotificationResponse(_) => {
                }
                _ => return Err(std::io::Error::other("a message that was not expected").into()),
            }
        }
        failure.map_or(Ok(answers), |report| Err(ClientError::Server(Box::new(report))))
    }

    fn message(&mut self) -> Result<Message, ClientError> {
        const CHUNK: usize = 8 << 10;
        loop {
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            let mut chunk = [0; CHUNK];
            let length = self.stream.read(&mut chunk)?;
            if length == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            self.received.extend_from_slice(&chunk[..length]);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        _ = self.stream.write_all(&message);
    }
}

fn row(body: &DataRowBody) -> std::io::Result<Vec<Option<String>>> {
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&body.buffer()[range]).into_owned();
    body.ranges().map(|range| Ok(range.map(text))).collect()
}
