//! PostgreSQL's protocol, version 3: connections, messages, and how they drive a [`Session`].
//!
//! - [`startup`]: from a new socket to an admitted client, or to an answered cancel request.
//! - [`connection`]: bytes in, bytes out, whole messages. pgwire gives the messages their form; the loop is ours, because a statement
//!   runs while its connection is watched (for a client that goes, a cancel, a time limit), and rows go out as they come.
//! - [`client`]: the loop: one message after the other. [`simple`], [`extended`]: the two ways of sending statements.
//! - [`portal`]: a statement with its parameters, and its rows as far as they were sent. [`rows`]: values as DataRow.
//! - [`copy`]: the data of COPY in both directions. [`guard`]: what ends a statement before its time.
//!
//! Invariants: rows are encoded into one buffer that is flushed at [`connection::FLUSH_BYTES`], so a result of any size takes constant
//! memory; a client that does not read stops its statement, and nothing else; garbage ends its own connection with 08P01.

mod client;
mod connection;
mod copy;
mod extended;
mod guard;
mod portal;
mod rows;
mod simple;
mod startup;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coordinator::Coordinator;
use crate::schema_changes::tend_schema_changes;
use crate::session_locks::keeper;
use crate::snapshots::tell_oldest;
use crate::transaction::keep_transactions_alive;

/// How often the keeper of advisory locks hears of the sessions that have some.
const KEEP_SESSIONS: Duration = Duration::from_secs(1);
/// A client has this long to say who it is.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// Sockets that have not said who they are, at once; one more is closed.
const STARTING_MAX: usize = 1_000;
/// Before accepting goes on after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Coordinator {
    /// Serves clients until `stop`, then ends their connections and waits for them.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let keeping = common::tasks::spawn("keep_alive", keep_transactions_alive(Arc::clone(&self), stop.clone()));
        let keeping_sessions = common::tasks::spawn("keep_sessions", keep_sessions(Arc::clone(&self), stop.clone()));
        let tending = common::tasks::spawn("schema_changes", tend_schema_changes(Arc::clone(&self), stop.clone()));
        common::tasks::spawn("oldest_snapshot", tell_oldest(Arc::clone(&self), stop.clone()));
        let clients = TaskTracker::new();
        let starting = Arc::new(Semaphore::new(STARTING_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(permit) = Arc::clone(&starting).try_acquire_owned() else { continue };
                    let (coordinator, stop) = (Arc::clone(&self), stop.clone());
                    common::tasks::spawn(
                        "client",
                        clients.track_future(async move { serve_client(coordinator, stream, stop, permit).await }),
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        clients.close();
        clients.wait().await;
        for task in [keeping, keeping_sessions, tending] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the coordinator failed");
            }
        }
    }
}

/// Tells the keeper of advisory locks, until `stop`, which sessions live.
async fn keep_sessions(coordinator: Arc<Coordinator>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(KEEP_SESSIONS)).await.is_some() {
        let sessions: Vec<i32> = coordinator.advisory_sessions.lock().iter().copied().collect();
        if sessions.is_empty() {
            continue;
        }
        let Ok(worker) = keeper(&coordinator) else { continue };
        if let Some(Err(error)) = stop.run_until_cancelled(worker.keep_sessions(sessions)).await {
            tracing::debug!(%error, "the keeper of advisory locks does not answer");
        }
    }
}

async fn serve_client(
    coordinator: Arc<Coordinator>,
    stream: TcpStream,
    stop: CancellationToken,
    permit: tokio::sync::OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was lost at once");
        return;
    }
    let starting = tokio::select! {
        () = stop.cancelled() => return,
        started = tokio::time::timeout(STARTUP_TIMEOUT, startup::start(&coordinator, stream)) => started,
    };
    drop(permit);
    let client = match starting {
        Ok(Ok(Some(client))) => client,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client did not start");
            return;
        }
    };
    let connected = client.connected();
    let _stop_with_the_node = {
        let connected = Arc::clone(&connected);
        common::tasks::spawn("client_stop", async move {
            tokio::select! {
                () = stop.cancelled() => connected.connection.cancel(),
                () = connected.connection.cancelled() => {}
            }
        })
    };
    if let Err(error) = Box::pin(client.run()).await {
        tracing::debug!(%error, "a client's connection ended");
    }
    connected.connection.cancel();
    coordinator.disconnect(connected.pid);
}
