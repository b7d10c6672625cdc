//! Calls between nodes over gRPC.
//!
//! One service with two methods carries everything: `Call` (one request, one answer) and `Stream` (one request, many answers). Requests are
//! the enums in `calls`, answers are `envelope`s: a body, or the [`Report`](common::error::Report) of an error. A fragment's batches
//! cross as an Arrow IPC stream (`batches`).
//!
//! Invariants:
//! - HTTP/2 windows are the only backpressure. Each stream has its own small window and the connection's is as good as unlimited, so that a
//!   reader who stops reading holds up no other call of its connection, and holds [`STREAM_WINDOW`] bytes at most.
//! - Dropping a client's future or stream resets the HTTP/2 stream, which drops the server's future or stream.
//! - No call has a deadline, since a wait for a lock may be long. A peer that is gone is found by pings on the connection.

use std::time::Duration;

mod batches;
mod calls;
mod client;
mod envelope;
mod server;

pub use client::{CatalogClient, WorkerClient};
pub use server::serve;

/// The largest message, in bytes; a larger answer or request is an error.
pub const MESSAGE_MAX: usize = 256 << 20;
/// A batch's bytes cross in messages of this size at most.
const CHUNK_MAX: usize = 8 << 20;
/// What a stream may have in flight, in bytes.
pub const STREAM_WINDOW: u32 = 1 << 20;
/// HTTP/2's largest window.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Calls in flight on one connection. Waits for locks are among them, and the commit that ends these must find a place.
const CALLS_MAX: u32 = 1 << 16;
/// Cancelled calls that a server has not looked at yet; more of them close the connection.
const CANCELLED_MAX: usize = 1 << 14;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection is pinged this often, and closed when a ping is not answered in time.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// When a server stops, running calls have this long to end by themselves, and then this long to be told off.
const STOP_GRACE: Duration = Duration::from_secs(2);
const STOP_CLOSE: Duration = Duration::from_secs(1);

/// The service's name, and its methods' paths.
const SERVICE: &str = "partita.Node";
const CALL_PATH: &str = "/partita.Node/Call";
const STREAM_PATH: &str = "/partita.Node/Stream";
