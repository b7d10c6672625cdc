//! What is no client: garbage, half of a message, counts that lie, too much of everything. The server answers with a clear error or closes the
//! connection, within a limit, and goes on with its work.
//!
//! `PARTITA_WIRE_SEED` repeats the random choices of a run; the seed is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its seed")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::client::{Address, Client, ClientError};
use tests::number_from_environment;
use tests::partita::Partita;

/// How long the server may take to close the connection of one that speaks no protocol.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
const IDLE_CONNECTIONS: usize = 1_000;
const GARBAGE_CONNECTIONS: usize = 200;
const LONG_STATEMENT_BYTES: usize = 5 << 20;
/// What an endless COPY sends before its client goes away.
const COPY_BYTES: usize = 32 << 20;

struct Server {
    partita: Partita,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("partita-wire-").tempdir().unwrap();
        Self { partita: Partita::start(directory.path(), 1).unwrap(), _directory: directory }
    }

    fn address(&self) -> &Address {
        self.partita.address()
    }

    fn connect(&self) -> Client {
        Client::connect(self.address()).unwrap()
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.address().port)).unwrap();
        stream.set_read_timeout(Some(CLOSE_LIMIT)).unwrap();
        stream.set_write_timeout(Some(CLOSE_LIMIT)).unwrap();
        stream
    }

    /// A connection that has started, at its first ReadyForQuery.
    fn started(&self) -> TcpStream {
        let mut stream = self.raw();
        let mut message = BytesMut::new();
        frontend::startup_message([("user", "postgres"), ("database", "postgres")], &mut message).unwrap();
        stream.write_all(&message).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"Z\0\0\0\x05I") {
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).unwrap();
            assert!(length > 0, "the connection was closed at its start");
            seen.extend_from_slice(&chunk[..length]);
        }
        stream
    }

    fn still_answers(&mut self) {
        assert!(self.partita.process.is_running(), "the server has ended");
        assert_eq!(self.connect().value("SELECT 40 + 2").unwrap().as_deref(), Some("42"));
    }
}

/// Sends bytes and nothing after them; gives all that comes until the server closes.
fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    // The server may close before it has read everything: that is an answer too.
    _ = stream.write_all(bytes);
    _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            panic!("the connection stays open after {} bytes of garbage", bytes.len())
        }
        _ => answer,
    }
}

#[test]
fn garbage_ends_its_own_connection_alone() {
    let mut server = Server::start();
    let seed = number_from_environment("PARTITA_WIRE_SEED", rand::rng().random_range(0..1_000_000));
    println!("PARTITA_WIRE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..GARBAGE_CONNECTIONS {
        let mut bytes = vec![0; random.random_range(1..2_000)];
        random.fill(bytes.as_mut_slice());
        match round % 4 {
            // In place of the startup message; and with a length that may be true.
            0 => _ = exchange(server.raw(), &bytes),
            1 => {
                let length = u32::try_from(bytes.len() + 4).unwrap();
                _ = exchange(server.raw(), &[&length.to_be_bytes(), bytes.as_slice()].concat());
            }
            // In place of a message; and inside of a message whose kind and length are right.
            2 => _ = exchange(server.started(), &bytes),
            _ => {
                let kind = b"QPBDECSHdcfFXp"[random.random_range(0..14)];
                let length = u32::try_from(bytes.len() + 4).unwrap();
                _ = exchange(server.started(), &[&[kind], length.to_be_bytes().as_slice(), &bytes].concat());
            }
        }
    }
    server.still_answers();
}

#[test]
fn counts_that_lie_are_protocol_violations() {
    let mut server = Server::start();
    // Bind: portal, statement, then more formats than there are bytes.
    for body in [b"\0\0\x7f\xff\0\0".as_slice(), b"\0\0\0\0\x7f\xff", b"\0\0\0\0\0\x01\x7f\xff\xff\xff", b"\0\0\xff\xff\0\0"] {
        let mut message = BytesMut::new();
        frontend::parse("", "SELECT 1", [], &mut message).unwrap();
        message.put_u8(b'B');
        message.put_u32(u32::try_from(body.len() + 4).unwrap());
        message.put_slice(body);
        frontend::sync(&mut message);
        let answer = exchange(server.started(), &message);
        assert!(answer.windows(6).any(|part| part == b"C08P01"), "no protocol violation in {:?}", String::from_utf8_lossy(&answer));
    }
    // A message that says it is of two gigabytes.
    let answer = exchange(server.started(), b"Q\x7f\xff\xff\xff");
    assert!(!answer.is_empty() || server.partita.process.is_running());
    server.still_answers();
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let server = Server::start();
    let mut message = BytesMut::new();
    message.put_u8(b'Q');
    message.put_u32(4 + 12);
    message.put_slice(b"SELECT '\xff\xfe'\0");
    let answer = exchange(server.started(), &message);
    assert!(answer.windows(6).any(|part| part == b"C22021"), "not refused: {:?}", String::from_utf8_lossy(&answer));
}

#[test]
fn half_open_connections_hinder_nobody() {
    let mut server = Server::start();
    let mut half_open: Vec<TcpStream> = (0..100).map(|_| server.raw()).collect();
    for (at, stream) in half_open.iter_mut().enumerate() {
        // Nothing, part of a length, part of a startup message.
        let sent: &[u8] = [b"".as_slice(), b"\0\0", b"\0\0\0\x40\0\x03\0\0user"][at % 3];
        stream.write_all(sent).unwrap();
    }
    server.still_answers();
}

#[test]
fn a_thousand_idle_connections_stay_usable() {
    let server = Server::start();
    let mut idle: Vec<Client> = (0..IDLE_CONNECTIONS).map(|_| server.connect()).collect();
    for at in [0, IDLE_CONNECTIONS / 2, IDLE_CONNECTIONS - 1] {
        assert_eq!(idle[at].value("SELECT 1").unwrap().as_deref(), Some("1"));
    }
}

#[test]
fn a_statement_of_five_megabytes_is_answered() {
    let server = Server::start();
    let mut client = server.connect();
    let text = "é".repeat(LONG_STATEMENT_BYTES / 2);
    let length = client.value(&format!("SELECT octet_length('{text}')")).unwrap();
    assert_eq!(length, Some(LONG_STATEMENT_BYTES.to_string()));
    client.execute("CREATE TABLE long (id int PRIMARY KEY, body text)").unwrap();
    let rows: Vec<String> = (0..50_000)
        .map(|id| {
            format!("({id}, 'row number {id} of a very long statement, the body of which is padded so that all reaches five megabytes')")
        })
        .collect();
    client.execute(&format!("INSERT INTO long VALUES {}", rows.join(", "))).unwrap();
    assert_eq!(client.value("SELECT count(*) FROM long").unwrap().as_deref(), Some("50000"));
    let nested = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    match client.execute(&nested) {
        Err(ClientError::Server(report)) => assert_eq!(report.code, "54001", "{report}"),
        other => panic!("nested without end: {other:?}"),
    }
    assert_eq!(client.value("SELECT 1").unwrap().as_deref(), Some("1"));
}

#[test]
fn an_endless_copy_whose_client_goes_away_leaves_nothing() {
    let mut server = Server::start();
    server.connect().execute("CREATE TABLE endless (a int, b text)").unwrap();
    let mut stream = server.started();
    let mut message = BytesMut::new();
    frontend::query("COPY endless FROM STDIN", &mut message).unwrap();
    stream.write_all(&message).unwrap();
    let line = b"1\tone of the lines that do not end\n".repeat(1_000);
    let mut sent = 0;
    while sent < COPY_BYTES {
        let mut chunk = BytesMut::new();
        frontend::CopyData::new(line.as_slice()).unwrap().write(&mut chunk);
        stream.write_all(&chunk).unwrap();
        sent += chunk.len();
    }
    drop(stream);
    server.still_answers();
    let mut client = server.connect();
    assert_eq!(client.value("SELECT count(*) FROM endless").unwrap().as_deref(), Some("0"));
    // Nothing of it holds the table.
    client.execute("DROP TABLE endless").unwrap();
}

#[test]
fn a_bound_parameter_of_the_wrong_length_is_refused() {
    let server = Server::start();
    for (length, code) in [(3, b"C08P01"), (5, b"C22P03")] {
        let mut message = BytesMut::new();
        frontend::parse("", "SELECT $1::int4 + 1", [], &mut message).unwrap();
        let value = |(): (), buffer: &mut BytesMut| {
            buffer.put_bytes(0, length);
            Ok(IsNull::No)
        };
        assert!(frontend::bind("", "", [1], [()], value, [], &mut message).is_ok());
        frontend::sync(&mut message);
        let answer = exchange(server.started(), &message);
        assert!(answer.windows(6).any(|part| part == code), "not refused: {:?}", String::from_utf8_lossy(&answer));
    }
}
