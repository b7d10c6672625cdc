//! Which writers are at work, and with which catalog state: whoever begins something that every writer must know of (an index) waits for those
//! that began before.
//!
//! Invariant: a writer is entered in the same moment in which it loads its catalog state, so that a barrier set after a state has arrived sees
//! every writer that works with an older one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::client::CatalogCache;
use catalog::state::CatalogState;
use common::ids::{CatalogVersion, RelationId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Result, WorkerError};
use crate::locks::Owner;

#[derive(Debug)]
struct Active {
    version: CatalogVersion,
    owner: Owner,
    relations: Vec<RelationId>,
}

#[derive(Debug, Default)]
struct Entered {
    next: u64,
    active: BTreeMap<u64, Active>,
}

/// The writers that are at work. A transaction's stay until it ends.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    entered: Mutex<Entered>,
    left: Notify,
}

/// A writer at work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    writers: Arc<Writers>,
    number: u64,
    relations: Vec<RelationId>,
}

impl Writing {
    /// Whether keeping this one makes keeping `later` needless.
    pub(crate) fn covers(&self, later: &Self) -> bool {
        self.number < later.number && later.relations.iter().all(|relation| self.relations.contains(relation))
    }
}

impl Writers {
    /// Enters a writer of these relations, with the newest state.
    pub(crate) fn enter(
        self: &Arc<Self>,
        cache: &CatalogCache,
        relations: impl Iterator<Item = RelationId>,
        owner: Owner,
    ) -> (Arc<CatalogState>, Writing) {
        let mut relations: Vec<_> = relations.collect();
        relations.dedup();
        let mut entered = self.entered.lock();
        let state = cache.current();
        let number = entered.next;
        entered.next += 1;
        entered.active.insert(number, Active { version: state.version(), owner, relations: relations.clone() });
        drop(entered);
        (state, Writing { writers: Arc::clone(self), number, relations })
    }

    /// Waits until nobody writes `relation` who entered with a state before `version`.
    pub(crate) async fn wait_for_version(&self, relation: RelationId, version: CatalogVersion, limit: Duration) -> Result<()> {
        self.wait_until_gone(limit, |_, active| active.version < version && active.relations.contains(&relation)).await
    }

    /// Waits until all who write `relation` now have ended.
    pub(crate) async fn wait_for_present(&self, relation: RelationId, limit: Duration) -> Result<()> {
        let next = self.entered.lock().next;
        self.wait_until_gone(limit, |number, active| number < next && active.relations.contains(&relation)).await
    }

    /// The number that the next writer gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.entered.lock().next
    }

    /// Who else writes `relation` now and has a number below `next`.
    pub(crate) fn present(&self, relation: RelationId, next: u64, own: Owner) -> Vec<Owner> {
        let entered = self.entered.lock();
        let present = entered.active.range(..next).filter(|(_, active)| active.owner != own && active.relations.contains(&relation));
        present.map(|(_, active)| active.owner).collect()
    }

    /// Whether somebody writes `relation` already.
    pub(crate) fn is_present(&self, relation: RelationId, owner: Owner) -> bool {
        self.entered.lock().active.values().any(|active| active.owner == owner && active.relations.contains(&relation))
    }

    /// Comes back when a writer has left.
    pub(crate) fn left(&self) -> tokio::sync::futures::Notified<'_> {
        self.left.notified()
    }

    /// Who writes what.
    pub(crate) fn written(&self) -> Vec<(Owner, RelationId)> {
        let entered = self.entered.lock();
        entered.active.values().flat_map(|active| active.relations.iter().map(|relation| (active.owner, *relation))).collect()
    }

    async fn wait_until_gone(&self, limit: Duration, is_awaited: impl Fn(u64, &Active) -> bool) -> Result<()> {
        let gone = async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                if !self.entered.lock().active.iter().any(|(number, active)| is_awaited(*number, active)) {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(limit, gone).await.map_err(|_| WorkerError::OldWriters)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.writers.entered.lock().active.remove(&self.number);
        self.writers.left.notify_waiters();
    }
}
