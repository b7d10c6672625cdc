//! Removes the rows of key spaces that the catalog has dropped, once nobody can still read them.
//!
//! The last catalog version whose drops are done is in group 0's metadata, so a worker that was away catches up.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{CatalogVersion, GroupId, RelationId, Timestamp};
use storage::{Engine, Frame, Record, ScanEnd, ScanRange};
use tokio_util::sync::CancellationToken;

use crate::commit::Job;
use crate::core::Core;
use crate::error::Result;
use crate::reads::read;

/// How long statements that were planned before a drop may go on reading.
const GRACE: Duration = Duration::from_secs(60);
/// Between looks.
const PAUSE: Duration = Duration::from_secs(5);
/// Group 0's key for the version up to which drops are done.
const DONE_KEY: &[u8] = b"dropped_until";

/// Follows the catalog until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut done = CatalogVersion(stored(&core));
    // Versions that have been seen, and when.
    let mut seen: BTreeMap<CatalogVersion, Duration> = BTreeMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        let state = core.cache.current();
        core.sizes.retain(|id| state.partition_maps().any(|map| map.partitions.iter().any(|p| p.id == id)));
        let now = core.clock.monotonic();
        if state.version() > done {
            seen.entry(state.version()).or_insert(now);
        }
        let Some(due) = seen.iter().rev().find(|(_, at)| now.saturating_sub(**at) >= GRACE).map(|(version, _)| *version) else { continue };
        let later: HashSet<RelationId> = state.dropped_since(due).collect();
        let dropped: Vec<RelationId> = state.dropped_since(done).filter(|relation| !later.contains(relation)).collect();
        match stop.run_until_cancelled(drop_all(&core, due, &dropped)).await {
            Some(Ok(())) => {
                done = due;
                seen.retain(|version, _| *version > due);
            }
            Some(Err(error)) => tracing::warn!(%error, "dropped relations could not be removed"),
            None => return,
        }
    }
}

fn stored(core: &Core) -> u64 {
    let stored = core.engine.metadata(GroupId(0), DONE_KEY);
    stored.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes)
}

async fn drop_all(core: &Core, due: CatalogVersion, dropped: &[RelationId]) -> Result<()> {
    let (engine, groups, relations) = (Arc::clone(&core.engine), core.groups, dropped.to_vec());
    let held = read(false, move || held(&engine, groups, &relations)).await?;
    let drop_range = |(group, relation)| (group, Record::DropRange { relation, lo: Bytes::new(), hi: None });
    let mut frame: Frame = held.into_iter().map(drop_range).collect();
    let value = Some(Bytes::copy_from_slice(&due.0.to_be_bytes()));
    frame.push((GroupId(0), Record::Metadata { key: Bytes::from_static(DONE_KEY), value }));
    core.pipeline.submit(Job::plain(frame)).await?;
    Ok(())
}

/// Where dropped rows are. A drop costs every read a little until it is carried out, so none is written for nothing.
fn held(engine: &Engine, groups: u32, relations: &[RelationId]) -> Result<Vec<(GroupId, RelationId)>> {
    let mut held = Vec::new();
    for group in (0..groups).map(GroupId) {
        let view = engine.view(group);
        for &relation in relations {
            let all = ScanRange { relation, lo: &[], hi: None, reverse: false };
            let end = view.scan(all, Timestamp::MAX, None, &mut |_, _, _| ControlFlow::Break(()))?;
            if end != ScanEnd::Done {
                held.push((group, relation));
            }
        }
    }
    Ok(held)
}
