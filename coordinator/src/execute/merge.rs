//! What MERGE does with the rows of its plan ([`BoundMerge`](sql::bound::BoundMerge)).

use std::sync::Arc;

use bytes::Bytes;
use common::datum::Datum;
use common::error::Report;
use common::ids::Timestamp;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::LogicalPlan;
use rpc::worker_api::{FoundRow, Precondition};
use sql::bound::MergeAction;

use crate::execute::change::add_new_row;
use crate::execute::given::Given;
use crate::execute::parts::{Stale, visible_types};
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::write_set::WriteSet;

/// A row of the target that is changed.
struct Matched {
    key: Bytes,
    version: Timestamp,
    /// The new visible columns; `None`: the row is deleted.
    new: Option<Vec<Datum>>,
}

/// What there is to do.
pub struct Merge {
    matched: Vec<Matched>,
    new: Vec<Vec<Datum>>,
}

impl Merge {
    /// Runs the plan.
    pub async fn find(session: &Session, given: &Given<'_>, target: &Arc<TargetTable>, source: &LogicalPlan) -> Result<Self, Report> {
        let visible = visible_types(target);
        let identity: [SqlType; 2] = [Scalar::Bytea.into(), Scalar::Int8.into()];
        let types: Vec<SqlType> =
            identity.iter().chain(&visible).copied().chain([Scalar::Int4.into()]).chain(visible.iter().copied()).collect();
        let mut merge = Self { matched: Vec::new(), new: Vec::new() };
        for mut row in given.rows(session, source, &types).await? {
            let values = row.split_off(3 + visible.len());
            let action = match row.pop() {
                Some(Datum::Int4(number)) => MergeAction::of(number),
                _ => return Err(Report::internal("the plan of a MERGE gives no action")),
            };
            match (action, row.first(), row.get(1)) {
                (MergeAction::Nothing, ..) => {}
                (MergeAction::Insert, ..) => merge.new.push(values),
                (_, Some(Datum::Bytea(key)), Some(Datum::Int8(version))) => merge.matched.push(Matched {
                    key: Bytes::copy_from_slice(key),
                    version: Timestamp(version.cast_unsigned()),
                    new: (action == MergeAction::Update).then_some(values),
                }),
                _ => return Err(Report::internal("the plan of a MERGE gives no row keys")),
            }
        }
        Ok(merge)
    }

    /// The keys of the rows that are changed.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.matched.iter().map(|row| &row.key)
    }

    /// How many rows are changed or new.
    pub fn count(&self) -> usize {
        self.matched.len() + self.new.len()
    }

    /// Adds the changes of the locked rows; gives the new rows.
    pub fn add(
        self,
        session: &Session,
        target: &TargetTable,
        locked: Vec<Option<FoundRow>>,
        writes: &mut WriteSet,
    ) -> Result<Result<Vec<Vec<Datum>>, Stale>, Report> {
        for (row, found) in self.matched.into_iter().zip(locked) {
            let Some(found) = found.filter(|found| found.version == row.version) else { return Ok(Err(Stale)) };
            let old = target.decode(&found.row)?;
            match row.new {
                Some(mut new) => add_new_row(target, session, row.key, &old, &mut new, writes)?,
                None => target.add_delete(writes, row.key, &old, Precondition::None)?,
            }
        }
        Ok(Ok(self.new))
    }
}
