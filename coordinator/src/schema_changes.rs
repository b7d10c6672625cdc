//! Schema changes inside a transaction.
//!
//! They are kept in the session, which binds its statements against the catalog with them applied. Workers learn what they must know of new tables and
//! indexes through the transaction's shadow ([`catalog::shadow`]). The end of the transaction publishes all of it in one step, together with the rows, or
//! discards it.
//!
//! Two transactions that change one table or index: the second to commit gets 40001. What only one of them changes does not disturb the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use catalog::changes::Change;
use catalog::objects::{Index, Table};
use catalog::shadow::{Prepared, Shadow, Step};
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::{CatalogVersion, Oid, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use parking_lot::Mutex;
use rpc::worker_api::{Outcome, Vote};

use crate::coordinator::{CATALOG_WAIT, Coordinator};
use crate::schema_view::SchemaView;

/// How often a change is proposed again when the catalog changes under it.
const ATTEMPTS_MAX: usize = 50;
/// How long a transaction may stay prepared before others find out what became of it.
const PREPARED_LIMIT: Duration = Duration::from_secs(10);
/// How often they look.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// The schema changes of one open transaction. Dropping it discards them.
pub struct SchemaChanges {
    coordinator: Arc<Coordinator>,
    transaction: TransactionId,
    changes: Mutex<Changes>,
}

#[derive(Default)]
struct Changes {
    made: Vec<Change>,
    /// Tables and indexes as they were when a change of them was worked out first.
    bases: Bases,
    /// What the workers know.
    shadow: Shadow,
    view: Option<Arc<SchemaView>>,
    ended: bool,
}

#[derive(Default)]
struct Bases {
    tables: HashMap<Oid, Arc<Table>>,
    indexes: HashMap<Oid, Arc<Index>>,
}

impl Bases {
    fn note(&mut self, before: &CatalogState, changes: &[Change]) {
        for change in changes {
            match change {
                Change::AlterTable(table) => {
                    if let Some(base) = before.table(table.oid) {
                        self.tables.entry(table.oid).or_insert(base);
                    }
                }
                Change::AlterIndex(index) => {
                    if let Some(base) = before.index(index.oid) {
                        self.indexes.entry(index.oid).or_insert(base);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the changes still go from what they were worked out for.
    fn hold(&self, before: &CatalogState) -> bool {
        let same = |a: &Table, b: &Table| Table { indexes: Vec::new(), ..a.clone() } == Table { indexes: Vec::new(), ..b.clone() };
        self.tables.iter().all(|(oid, base)| before.table(*oid).is_some_and(|now| Arc::ptr_eq(&now, base) || same(&now, base)))
            && self.indexes.iter().all(|(oid, base)| before.index(*oid).is_some_and(|now| now == *base))
    }
}

/// Numbers for views that one session sees.
static VIEWS: AtomicU64 = AtomicU64::new(1);

impl SchemaChanges {
    /// None yet.
    pub fn new(coordinator: &Arc<Coordinator>, transaction: TransactionId) -> Self {
        coordinator.schema_changes.lock().insert(transaction);
        Self { coordinator: Arc::clone(coordinator), transaction, changes: Mutex::default() }
    }

    /// The catalog as the transaction sees it.
    pub fn view(&self) -> Arc<SchemaView> {
        let raw = self.coordinator.cache.current();
        let mut changes = self.changes.lock();
        if let Some(view) = &changes.view
            && view.state().version() == raw.version()
        {
            return Arc::clone(view);
        }
        let before = self.before(&raw);
        let seen = if before.is_ok_and(|before| changes.bases.hold(&before)) {
            raw.with_changes(self.transaction, &changes.made).ok()
        } else {
            None
        };
        match (seen, &changes.view) {
            (Some(state), _) => {
                let view = Arc::new(SchemaView::private(Arc::new(state), VIEWS.fetch_add(1, Ordering::Relaxed)));
                changes.view = Some(Arc::clone(&view));
                view
            }
            // Somebody else has changed the same things: the commit will say so.
            (None, Some(view)) => Arc::clone(view),
            (None, None) => self.coordinator.view(),
        }
    }

    /// The catalog as it would be without this transaction.
    fn before(&self, raw: &CatalogState) -> Result<CatalogState, Report> {
        Ok(raw.with_changes(self.transaction, &[])?)
    }

    /// Whether the transaction itself made the table.
    pub fn has_made(&self, table: Oid) -> bool {
        self.changes.lock().shadow.tables.iter().any(|made| made.oid == table)
    }

    /// Adds changes, and tells the workers of them what they must know; `None` when the catalog has moved on since `base`.
    pub async fn add(&self, base: CatalogVersion, added: &[Change]) -> Result<Option<CatalogVersion>, Report> {
        let raw = self.coordinator.cache.current();
        if base < raw.schema_version() {
            return Ok(None);
        }
        let before = self.before(&raw)?;
        let mut made = self.changes.lock().made.clone();
        made.extend(added.iter().map(|change| as_made(&before, change)));
        let version = self.put(&raw, &before, made).await?;
        if version.is_some() {
            self.changes.lock().bases.note(&before, added);
        }
        Ok(version)
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.lock().made.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Undoes all but the first `length` changes.
    pub async fn back_to(&self, length: usize) -> Result<(), Report> {
        for _ in 0..ATTEMPTS_MAX {
            let raw = self.coordinator.cache.current();
            let before = self.before(&raw)?;
            let made: Vec<Change> = self.changes.lock().made.iter().take(length).cloned().collect();
            if self.put(&raw, &before, made).await?.is_some() {
                return Ok(());
            }
        }
        Err(Report::internal("the catalog kept changing"))
    }

    /// Puts these changes in place of the former ones; `None` when the catalog has moved on.
    async fn put(&self, raw: &CatalogState, before: &CatalogState, made: Vec<Change>) -> Result<Option<CatalogVersion>, Report> {
        let state = raw.with_changes(self.transaction, &made)?;
        let shadow = before.shadow_of(&state, &self.coordinator.options.name);
        let mut version = raw.version();
        if shadow != self.changes.lock().shadow {
            let put = Change::OfTransaction(self.transaction, Step::Shadow(shadow.clone()));
            match self.coordinator.propose(raw.version(), &[put]).await {
                Ok(new) => version = new,
                Err(error) if error.retryable => {
                    self.coordinator.cache.wait_for(CatalogVersion(raw.version().0 + 1), CATALOG_WAIT).await?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let mut changes = self.changes.lock();
        changes.made = made;
        changes.shadow = shadow;
        changes.view = None;
        Ok(Some(version))
    }

    /// The changes, ready to be published: where the session's own sequences stand is written into them.
    pub fn settled(&self, sequences: &crate::sequences::SequenceMemory) -> Vec<Change> {
        let mut made = self.changes.lock().made.clone();
        sequences.settle(&mut made);
        made
    }

    /// Publishes the changes of a transaction that wrote no rows.
    pub async fn publish(&self, changes: Vec<Change>) -> Result<(), Report> {
        self.propose_last(Step::Publish(changes)).await?;
        self.end();
        Ok(())
    }

    /// Makes sure that the changes can follow the commit of the rows.
    pub async fn prepare(&self, participants: Vec<WorkerId>, changes: Vec<Change>) -> Result<(), Report> {
        let prepared = Prepared { participants, changes };
        let node = self.coordinator.options.name.clone();
        self.propose_last(Step::Prepare { node, prepared }).await
    }

    /// The rows are committed: the changes follow.
    pub async fn finish(&self) -> Result<(), Report> {
        conclude(&self.coordinator, self.transaction, Step::Finish).await?;
        self.end();
        Ok(())
    }

    /// Nothing of it happens.
    pub async fn discard(&self) {
        let is_known = !self.changes.lock().shadow.is_empty() || self.is_prepared();
        self.end();
        if is_known && let Err(error) = conclude(&self.coordinator, self.transaction, Step::Discard).await {
            tracing::warn!(%error, "schema changes of a transaction could not be discarded yet");
        }
    }

    /// The outcome of the rows is not known: whoever finds out decides about the changes.
    pub fn leave(&self) {
        self.end();
    }

    fn is_prepared(&self) -> bool {
        self.coordinator.cache.current().shadows().any(|(id, shadow)| id == self.transaction && shadow.prepared.is_some())
    }

    fn end(&self) {
        self.changes.lock().ended = true;
        self.coordinator.schema_changes.lock().remove(&self.transaction);
    }

    async fn propose_last(&self, step: Step) -> Result<(), Report> {
        let change = Change::OfTransaction(self.transaction, step);
        for _ in 0..ATTEMPTS_MAX {
            let base = self.coordinator.cache.current().version();
            let before = self.before(&self.coordinator.cache.current())?;
            if !self.changes.lock().bases.hold(&before) {
                break;
            }
            match self.coordinator.propose(base, std::slice::from_ref(&change)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.retryable => {
                    self.coordinator.cache.wait_for(CatalogVersion(base.0 + 1), CATALOG_WAIT).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Report::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent schema change"))
    }
}

impl Drop for SchemaChanges {
    fn drop(&mut self) {
        let changes = self.changes.get_mut();
        if changes.ended {
            return;
        }
        let (coordinator, transaction) = (Arc::clone(&self.coordinator), self.transaction);
        let is_known = !changes.shadow.is_empty();
        common::tasks::spawn("discard_schema_changes", async move {
            if is_known && let Err(error) = conclude(&coordinator, transaction, Step::Discard).await {
                tracing::warn!(%error, "schema changes of a transaction could not be discarded yet");
            }
            coordinator.schema_changes.lock().remove(&transaction);
        });
    }
}

/// A change as it is kept: a map whose epochs rise becomes just that, for the map may change until the commit.
fn as_made(before: &CatalogState, change: &Change) -> Change {
    if let Change::PutPartitionMap(map) = change
        && let Some(known) = before.partition_map(map.relation)
        && known.partitions.iter().map(|p| p.id).eq(map.partitions.iter().map(|p| p.id))
    {
        return Change::RaiseEpochs(map.relation);
    }
    change.clone()
}

/// Proposes what nobody can object to until it is made.
async fn conclude(coordinator: &Coordinator, transaction: TransactionId, step: Step) -> Result<(), Report> {
    let change = Change::OfTransaction(transaction, step);
    for _ in 0..ATTEMPTS_MAX {
        let base = coordinator.cache.current().version();
        match coordinator.propose(base, std::slice::from_ref(&change)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.retryable => {
                coordinator.cache.wait_for(CatalogVersion(base.0 + 1), CATALOG_WAIT).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Report::internal("the catalog kept changing"))
}

/// Ends, until `stop`, what coordinators have left behind: changes of transactions of this coordinator's former life, and prepared ones whose outcome
/// nobody has told.
pub async fn tend_schema_changes(coordinator: Arc<Coordinator>, stop: tokio_util::sync::CancellationToken) {
    let mut prepared_since: HashMap<TransactionId, Duration> = HashMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_PAUSE)).await.is_some() {
        let raw = coordinator.cache.current();
        let now = coordinator.clock.monotonic();
        prepared_since.retain(|id, _| raw.shadows().any(|(known, _)| known == *id));
        for (id, shadow) in raw.shadows() {
            if coordinator.schema_changes.lock().contains(&id) {
                continue;
            }
            let decided = match &shadow.prepared {
                None if shadow.node == coordinator.options.name => Some(Step::Discard),
                None => None,
                Some(_) if now.saturating_sub(*prepared_since.entry(id).or_insert(now)) < PREPARED_LIMIT => None,
                Some(prepared) => outcome(&coordinator, id, &prepared.participants).await,
            };
            if let Some(step) = decided
                && let Err(error) = conclude(&coordinator, id, step).await
            {
                tracing::warn!(%id, %error, "left schema changes could not be ended yet");
            }
        }
    }
}

/// What became of a prepared transaction, when its participants say so.
async fn outcome(coordinator: &Coordinator, id: TransactionId, participants: &[WorkerId]) -> Option<Step> {
    let votes = participants.iter().map(|worker| async move { coordinator.worker(*worker)?.vote_of(id).await });
    let votes: Result<Vec<Vote>, Report> = futures::future::join_all(votes).await.into_iter().collect();
    let votes = votes.ok()?;
    let is_lost = |vote: &Vote| matches!(vote, Vote::Forbidden | Vote::Decided(Outcome::Aborted));
    let is_committed = |vote: &Vote| matches!(vote, Vote::Decided(Outcome::Committed(_)));
    // Votes alone decide nothing: a worker that is not named here, where a serializable transaction has only read, may have refused its own.
    match (votes.iter().any(is_lost), votes.iter().any(is_committed)) {
        (true, _) => Some(Step::Discard),
        (false, true) => Some(Step::Finish),
        (false, false) => None,
    }
}
