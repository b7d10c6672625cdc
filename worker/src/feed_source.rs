//! Asynchronous indexes, at the owner of the rows: reads this worker's log and sends the entries' changes to their owners.
//!
//! # How
//!
//! One task for each index reads the log from where it was. Committed changes go to the owners of the entries as they are read, and count as sent when
//! they are durable there. A transaction's changes wait in memory until the log has its decision. Then the *closed timestamp* goes out: a
//! timestamp from the oracle, lowered below every vote that the log has no decision for, once the log has been read as far as it was when the
//! timestamp's commits were all applied. Every commit at or below it has been sent, so it is the receivers' new watermark.
//!
//! # A new index
//!
//! First every writer that does not know the index must end (only then do all changes in the log tell what a row was before), and every
//! transaction that is open. Then a snapshot is taken, made durable, and scanned; the log is read from before the snapshot on. While that
//! goes on the snapshot is pinned: a worker that dies half-way scans the same snapshot again, so that it never sends an entry that
//! the log's changes would not take back.
//!
//! # Invariants
//!
//! - The log is held from the position from which a restarted task would read; that position is durable before anything older is let go.
//! - Sending twice is harmless: entries carry their rows' commit timestamps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::error::SqlError;
use common::ids::{GroupId, LogPosition, Oid, RelationId, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Frame, Record};
use tokio_util::sync::CancellationToken;

use crate::commit::Job;
use crate::core::Core;
use crate::error::{Result, WorkerError};
use crate::feed_log::{LogReader, Reread};
use crate::feed_send::{Sender, Target};
use crate::feed_target::is_async;
use crate::reads::read;

/// Between looks at the log when there is nothing to send.
const IDLE: Duration = Duration::from_millis(20);
/// After a failure.
const RETRY: Duration = Duration::from_millis(500);
/// How long writers from before an index may take to end; then they are waited for again.
const OLD_WRITERS_LIMIT: Duration = Duration::from_secs(600);
/// The position to restart from is made durable when it is this far behind.
const SAVE_BYTES: u64 = 4 << 20;
/// Bytes of the log that are read at once.
const READ_BYTES: usize = 1 << 20;
const FEEDS_GROUP: GroupId = GroupId(0);

/// What a feed has on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Saved {
    /// The snapshot that the index was, or is to be, built from.
    snapshot: Timestamp,
    built: bool,
    /// From where to read the log.
    position: LogPosition,
}

/// What the feeds of this worker need to be kept, by the index's key space: an index that gets a new one is built anew.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    kept: Mutex<BTreeMap<RelationId, Saved>>,
}

impl Feeds {
    /// The oldest snapshot that a feed still has to scan.
    pub(crate) fn oldest_pinned(&self) -> Option<Timestamp> {
        self.kept.lock().values().filter(|saved| !saved.built).map(|saved| saved.snapshot).min()
    }

    fn get(&self, storage: RelationId) -> Option<Saved> {
        self.kept.lock().get(&storage).copied()
    }
}

fn saved_key(storage: RelationId) -> Bytes {
    [b"index_feed/".as_slice(), &storage.0.to_be_bytes()].concat().into()
}

/// Reads what the feeds had saved, and holds what they need.
pub(crate) fn load(core: &Core) {
    let state = core.cache.current();
    for index in state.indexes().filter(|index| is_async(index)) {
        let stored = core.engine.metadata(FEEDS_GROUP, &saved_key(index.storage));
        if let Some(saved) = stored.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()) {
            core.feeds.kept.lock().insert(index.storage, saved);
        }
    }
    hold(core);
}

/// Lets the log go up to what the feeds need.
fn hold(core: &Core) {
    let from = core.feeds.kept.lock().values().map(|saved| saved.position).min();
    core.engine.hold_log(from.unwrap_or(LogPosition(u64::MAX)));
}

/// Keeps a task for each index whose table has rows here, until `stop`.
pub(crate) async fn supervise(core: Arc<Core>, stop: CancellationToken) {
    let mut running: HashMap<RelationId, (CancellationToken, tokio::task::JoinHandle<()>)> = HashMap::new();
    let mut versions = core.cache.subscribe();
    loop {
        let state = core.cache.current();
        let has_rows = |table: Oid| state.table(table).is_some_and(|table| !core.owned(&state, table.storage).is_empty());
        let wanted = state.indexes().filter(|index| is_async(index) && has_rows(index.table));
        let wanted: HashMap<RelationId, Oid> = wanted.map(|index| (index.storage, index.oid)).collect();
        for (&storage, &index) in &wanted {
            running.entry(storage).or_insert_with(|| {
                let stop = stop.child_token();
                let feed = Feed { core: Arc::clone(&core), index, storage };
                (stop.clone(), common::tasks::spawn("index_feed", follow(feed, stop)))
            });
        }
        let gone: Vec<RelationId> = running.keys().filter(|storage| !wanted.contains_key(storage)).copied().collect();
        for storage in gone {
            if let Some((stop, task)) = running.remove(&storage) {
                stop.cancel();
                let _ended = task.await;
                core.feeds.kept.lock().remove(&storage);
                hold(&core);
            }
        }
        if !matches!(stop.run_until_cancelled(versions.changed()).await, Some(Ok(()))) {
            for (_, task) in running.into_values() {
                let _ended = task.await;
            }
            return;
        }
    }
}

/// One index's task: goes on after failures.
async fn follow(feed: Feed, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(feed.run()).await {
            None => return,
            Some(Ok(never)) => match never {},
            Some(Err(error)) => tracing::debug!(index = %feed.index, %error, state = %error.sqlstate(), "an index feed starts again"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
            return;
        }
    }
}

struct Feed {
    core: Arc<Core>,
    index: Oid,
    storage: RelationId,
}

impl Feed {
    async fn run(&self) -> Result<std::convert::Infallible> {
        let saved = match self.core.feeds.get(self.storage) {
            Some(saved) => saved,
            None => self.begin().await?,
        };
        let mut sender = Sender::new(Arc::clone(&self.core), self.index, self.storage);
        let saved = if saved.built { saved } else { self.build(saved, &mut sender).await? };
        let mut log = LogReader::new(saved.position, saved.snapshot);
        let mut saved = saved;
        loop {
            let was_idle = self.step(&mut log, &mut sender).await?;
            let position = log.restart_position();
            if position.0.saturating_sub(saved.position.0) >= SAVE_BYTES {
                saved.position = position;
                self.save(saved).await?;
                hold(&self.core);
            }
            if was_idle {
                tokio::time::sleep(IDLE).await;
            }
        }
    }

    /// Chooses the snapshot that the index is built from.
    async fn begin(&self) -> Result<Saved> {
        let core = &self.core;
        let state = core.cache.current();
        let index = state.index(self.index).filter(|index| index.storage == self.storage);
        let table = index.and_then(|index| state.table(index.table)).ok_or(WorkerError::UnknownIndex(self.index))?;
        let position = core.engine.log_end();
        core.feeds.kept.lock().insert(self.storage, Saved { snapshot: Timestamp::MAX, built: true, position });
        hold(core);
        let begun = async {
            core.writers.wait_for_version(table.storage, state.version(), OLD_WRITERS_LIMIT).await?;
            core.writers.wait_for_present(table.storage, OLD_WRITERS_LIMIT).await?;
            let snapshot = core.timestamp().await?;
            let saved = Saved { snapshot, built: false, position };
            self.save(saved).await?;
            Ok(saved)
        };
        begun.await.inspect_err(|_: &WorkerError| {
            core.feeds.kept.lock().remove(&self.storage);
        })
    }

    async fn save(&self, saved: Saved) -> Result<()> {
        let value = rmp_serde::to_vec(&saved).map_err(|error| WorkerError::Background(error.to_string()))?;
        let record = Record::Metadata { key: saved_key(self.storage), value: Some(value.into()) };
        self.core.pipeline.submit(Job::plain(vec![(FEEDS_GROUP, record)])).await?;
        self.core.feeds.kept.lock().insert(self.storage, saved);
        Ok(())
    }

    /// Sends the entries of all rows of the snapshot.
    async fn build(&self, saved: Saved, sender: &mut Sender) -> Result<Saved> {
        self.core.pipeline.settle(saved.snapshot).await;
        sender.open().await?;
        let state = self.core.cache.current();
        let table = state.index(self.index).and_then(|index| state.table(index.table)).ok_or(WorkerError::UnknownIndex(self.index))?;
        let target = sender.target(&state)?;
        for partition in self.core.owned(&state, table.storage) {
            let mut from = Some(partition.range.lo.clone());
            while let Some(lo) = from {
                let rows = self.core.rows(table.storage, &partition, lo, saved.snapshot).await?;
                for (key, version, row) in &rows.rows {
                    sender.add(&target, *version, key, None, Some(row))?;
                }
                sender.send(None).await?;
                from = rows.next;
            }
        }
        sender.send(Some(saved.snapshot)).await?;
        let built = Saved { built: true, ..saved };
        self.save(built).await?;
        tracing::info!(index = %self.index, "an asynchronous index is built from this worker's rows");
        Ok(built)
    }

    /// Reads the log to its end and sends what it says; answers whether that was nothing.
    async fn step(&self, log: &mut LogReader, sender: &mut Sender) -> Result<bool> {
        let core = &self.core;
        if !sender.is_open() {
            sender.open().await?;
        }
        let closing = core.timestamp().await?;
        core.pipeline.settle(closing).await;
        if log.has_votes() {
            // A decision may be in the log without having been synced; only what is durable can be read.
            core.pipeline.submit(Job::plain(Vec::new())).await?;
        }
        let end = core.engine.log_end();
        let mut was_idle = true;
        while log.position() < end {
            let frames = self.read_log(log.position()).await?;
            if frames.is_empty() {
                break;
            }
            // Loaded after the frames were written: it knows every relation in them that still exists.
            let state = core.cache.current();
            let target = sender.target(&state)?;
            let rereads = log.take(&target, frames, sender)?;
            for reread in rereads {
                self.read_again(&reread, &target, sender).await?;
            }
            was_idle &= sender.is_empty();
            sender.send(None).await?;
        }
        sender.send(Some(closing.min(log.below_votes()))).await?;
        Ok(was_idle)
    }

    async fn read_log(&self, from: LogPosition) -> Result<Vec<(LogPosition, Frame)>> {
        let engine = Arc::clone(&self.core.engine);
        read(false, move || Ok(engine.read_log(from, READ_BYTES)?)).await
    }

    /// Sends the changes of a transaction that was too large to be kept until its decision.
    async fn read_again(&self, reread: &Reread, target: &Target, sender: &mut Sender) -> Result<()> {
        let mut position = reread.from;
        while position < reread.to {
            let frames = self.read_log(position).await?;
            let Some((next, _)) = frames.last() else { break };
            position = *next;
            for (_, frame) in frames {
                reread.take(target, frame, sender)?;
            }
            sender.send(None).await?;
        }
        Ok(())
    }
}
