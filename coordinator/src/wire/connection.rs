//! A client's socket: whole messages in, a buffer of messages out.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use common::error::Report;
use common::sqlstate::SqlState;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Output that is flushed although nothing asks for it.
pub(super) const FLUSH_BYTES: usize = 64 << 10;
/// What is read at once, and kept for a connection that is idle.
const READ_BYTES: usize = 8 << 10;
/// Capacity of the output that is kept.
const KEPT_BYTES: usize = 2 * FLUSH_BYTES;
/// What is read ahead while a statement runs, to notice a client that goes.
const READ_AHEAD_BYTES_MAX: usize = 1 << 20;
/// The longest message of the kinds that carry statements or data, as in PostgreSQL.
const LONG_MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;
/// The longest message of all other kinds, as in PostgreSQL.
const SHORT_MESSAGE_BYTES_MAX: usize = 10_000;
/// Kind and length before each message's body.
const HEADER_BYTES: usize = 5;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client is told, and the connection ends.
    #[error("{0}")]
    Fatal(Box<Report>),
}

impl ConnectionError {
    pub(super) fn violation(message: impl Into<String>) -> Self {
        Self::Fatal(Box::new(Report::new(SqlState::PROTOCOL_VIOLATION, message)))
    }
}

/// How much a notice matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoticeSeverity {
    Notice,
    Warning,
}

impl NoticeSeverity {
    /// PostgreSQL warns where it says that a statement had no effect.
    pub(super) fn of(report: &Report) -> Self {
        let code = report.sqlstate.as_str();
        if code.starts_with("01") || code.starts_with("25") { Self::Warning } else { Self::Notice }
    }

    /// Whether a client with this `client_min_messages` wants it.
    pub(super) fn is_wanted(self, client_min_messages: &str) -> bool {
        match client_min_messages {
            "error" => false,
            "warning" => self == Self::Warning,
            _ => true,
        }
    }
}

/// A client's socket.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    /// So much of the output has been sent.
    sent: usize,
    scratch: BytesMut,
    decoding: DecodeContext,
    /// The client expects an answer: flush before waiting for its next message.
    flush_due: bool,
    ended: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let mut decoding = DecodeContext::default();
        decoding.awaiting_frontend_ssl = false;
        decoding.awaiting_frontend_startup = false;
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            sent: 0,
            scratch: BytesMut::new(),
            decoding,
            flush_due: false,
            ended: false,
        }
    }

    /// Where the client is, as text.
    pub(super) fn peer(&self) -> String {
        self.stream.peer_addr().map(|a| a.to_string()).unwrap_or_default()
    }

    /// The next message; `None` when the client has closed the connection. What is due is flushed before it waits. May be dropped and called again.
    pub(super) async fn receive(&mut self) -> Result<Option<PgWireFrontendMessage>, ConnectionError> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return decode(frame, &self.decoding).map(Some);
            }
            if self.flush_due {
                self.flush().await?;
            }
            if self.ended || !self.read().await? {
                return if self.input.is_empty() { Ok(None) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) };
            }
        }
    }

    /// The first packet of a connection, which has no kind: its bytes behind the length.
    pub(super) async fn receive_startup(&mut self) -> Result<Option<BytesMut>, ConnectionError> {
        loop {
            if let Some(length) = self.input.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) as usize) {
                if !(8..=SHORT_MESSAGE_BYTES_MAX).contains(&length) {
                    return Err(ConnectionError::violation("invalid length of startup packet"));
                }
                if self.input.len() >= length {
                    return Ok(Some(self.input.split_to(length)));
                }
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> io::Result<bool> {
        self.input.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.input).await?;
        self.ended = count == 0;
        Ok(count > 0)
    }

    /// Comes back when the client has closed the connection. Reads ahead, within a limit.
    pub(super) async fn closed(&mut self) {
        while self.input.len() < READ_AHEAD_BYTES_MAX && !self.ended {
            if self.read().await.is_err() {
                self.ended = true;
            }
        }
        if !self.ended {
            std::future::pending::<()>().await;
        }
    }

    fn next_frame(&mut self) -> Result<Option<BytesMut>, ConnectionError> {
        let Some(header) = self.input.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let kind = header[0];
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let longest = match kind {
            b'Q' | b'P' | b'B' | b'd' => LONG_MESSAGE_BYTES_MAX,
            b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' | b'F' => SHORT_MESSAGE_BYTES_MAX,
            other => return Err(ConnectionError::violation(format!("invalid frontend message type {other}"))),
        };
        if !(4..=longest).contains(&length) {
            return Err(ConnectionError::violation("invalid message length"));
        }
        if self.input.len() <= length {
            return Ok(None);
        }
        Ok(Some(self.input.split_to(1 + length)))
    }

    /// Whether the next message has arrived and is of this kind.
    pub(super) fn next_is(&self, kind: u8) -> bool {
        self.input.first() == Some(&kind)
    }

    /// Adds a message to the output.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) {
        self.scratch.clear();
        match message.encode(&mut self.scratch) {
            Ok(()) => self.output.extend_from_slice(&self.scratch),
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    /// Adds an error, or with `fatal` the last words before the connection ends.
    pub(super) fn put_error(&mut self, report: &Report, fatal: bool) {
        let severity = if fatal { "FATAL" } else { "ERROR" };
        self.put(&PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(report, severity))));
    }

    /// Adds a notice.
    pub(super) fn put_notice(&mut self, report: &Report, severity: NoticeSeverity) {
        let word = match severity {
            NoticeSeverity::Warning => "WARNING",
            NoticeSeverity::Notice => "NOTICE",
        };
        self.put(&PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields(report, word))));
    }

    /// Adds a message of our own making: `body` appends its body.
    pub(super) fn put_raw(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.output.len();
        self.output.extend_from_slice(&[kind, 0, 0, 0, 0]);
        body(&mut self.output);
        let length = u32::try_from(self.output.len() - start - 1).unwrap_or(u32::MAX);
        self.output[start + 1..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    }

    /// As [`Self::put_raw`], but a message without a body is left out.
    pub(super) fn put_raw_unless_empty(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.output.len();
        self.put_raw(kind, body);
        if self.output.len() == start + HEADER_BYTES {
            self.output.truncate(start);
        }
    }

    /// Bytes that wait to be sent.
    pub(super) fn pending(&self) -> usize {
        self.output.len()
    }

    /// The output goes out before the next wait for the client.
    pub(super) fn flush_soon(&mut self) {
        self.flush_due = true;
    }

    /// Sends the output. May be dropped and called again.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.sent += count,
            }
        }
        self.output.clear();
        self.output.shrink_to(KEPT_BYTES);
        (self.sent, self.flush_due) = (0, false);
        Ok(())
    }

    /// Sends the output when it is much.
    pub(super) async fn flush_if_much(&mut self) -> io::Result<()> {
        if self.output.len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// The last words of a connection.
    pub(super) async fn farewell(&mut self, report: &Report) -> io::Result<()> {
        self.put_error(report, true);
        self.flush().await?;
        self.stream.shutdown().await
    }
}

/// Decodes one whole message. pgwire's decoders trust counts and lengths inside of a message; a message that lies is caught here.
fn decode(mut frame: BytesMut, context: &DecodeContext) -> Result<PgWireFrontendMessage, ConnectionError> {
    check_text(&frame)?;
    let malformed = || ConnectionError::violation("invalid message format");
    let decoded = catch_unwind(AssertUnwindSafe(|| PgWireFrontendMessage::decode(&mut frame, context)));
    decoded.map_err(|_| malformed())?.map_err(|_| malformed())?.ok_or_else(malformed)
}

/// Statements are UTF-8: pgwire would put replacement characters in place of anything else.
fn check_text(frame: &[u8]) -> Result<(), ConnectionError> {
    let mut texts = frame[HEADER_BYTES..].split(|b| *b == 0);
    let text = match frame[0] {
        b'Q' => texts.next(),
        b'P' => texts.nth(1),
        _ => return Ok(()),
    };
    let bytes = text.unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => {
            let rest = &bytes[error.valid_up_to()..];
            let shown: Vec<String> = rest.iter().take(error.error_len().unwrap_or(rest.len())).map(|b| format!("0x{b:02x}")).collect();
            let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
            Err(ConnectionError::Fatal(Box::new(Report::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message))))
        }
    }
}

/// The fields of an ErrorResponse or NoticeResponse: the only place where a report takes the protocol's form.
fn fields(report: &Report, severity: &str) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', report.sqlstate.as_str().to_owned()),
        (b'M', report.message.clone()),
    ];
    let optional = [
        (b'D', &report.detail),
        (b'H', &report.hint),
        (b'W', &report.context),
        (b's', &report.schema),
        (b't', &report.table),
        (b'c', &report.column),
        (b'd', &report.data_type),
        (b'n', &report.constraint),
    ];
    fields.extend(optional.into_iter().filter_map(|(code, value)| value.clone().map(|v| (code, v.replace('\0', "")))));
    if let Some(position) = report.position {
        fields.push((b'P', position.to_string()));
    }
    fields
}
