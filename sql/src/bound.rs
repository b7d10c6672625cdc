//! What binding makes of a statement.

use common::error::Report;
use common::ids::Oid;
use common::types::SqlType;
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::ast::Statement;

/// A column of a result, as RowDescription tells it.
#[derive(Clone, PartialEq, Debug)]
pub struct OutputColumn {
    pub name: String,
    pub ty: SqlType,
    /// The table column that it comes from unchanged: (relation, attnum).
    pub origin: Option<(Oid, i16)>,
}

/// A query: the plan's output columns are `columns`, in order (the plan's own names are opaque). Parameters are placeholders `$n`.
#[derive(Clone, Debug)]
pub struct BoundQuery {
    pub plan: LogicalPlan,
    pub columns: Vec<OutputColumn>,
}

/// Expressions over the rows that a change wrote: RETURNING. The input schema is that of [`BoundInsert`], [`BoundUpdate`], [`BoundDelete`].
#[derive(Clone, Debug)]
pub struct BoundReturning {
    pub expressions: Vec<Expr>,
    pub columns: Vec<OutputColumn>,
    /// Types of the `from.<i>` columns, which stand at the end of the source's rows; empty for INSERT.
    pub from_types: Vec<SqlType>,
    /// With a subquery among the expressions: the list as a plan over the rows named [`WRITTEN_ROWS`], which are the columns `t.<i>` and then `from.<i>`.
    pub plan: Option<LogicalPlan>,
}

/// The [`crate::given_rows::GivenRows`] that plans of RETURNING and ON CONFLICT read.
pub const WRITTEN_ROWS: &str = "written";

/// What ON CONFLICT does.
#[derive(Clone, Debug)]
pub enum ConflictAction {
    Nothing,
    Update {
        /// (place in the table's visible columns, new value). Column names in the expressions: `t.<i>` the existing row's i-th visible column,
        /// `excluded.<i>` the proposed one's.
        assignments: Vec<(usize, Expr)>,
        filter: Option<Expr>,
        /// With a subquery among them: a plan over the rows named [`WRITTEN_ROWS`], the columns `t.<i>` and then `excluded.<i>`. It gives the assigned
        /// values, and then whether the filter holds.
        plan: Option<Box<LogicalPlan>>,
    },
}

/// ON CONFLICT.
#[derive(Clone, Debug)]
pub struct OnConflict {
    /// The unique key that it names, by oid; `None`: any.
    pub arbiter: Option<Oid>,
    pub action: ConflictAction,
}

/// INSERT: the source gives the table's visible columns, all of them, in order, with defaults filled in and assignment casts applied.
/// RETURNING and checks see columns named `t.<i>`.
#[derive(Clone, Debug)]
pub struct BoundInsert {
    pub target: Oid,
    pub source: LogicalPlan,
    /// The rows, when the source is a VALUES list or a single row without any column reference: one expression for each visible column.
    pub rows: Option<Vec<Vec<Expr>>>,
    pub on_conflict: Option<OnConflict>,
    pub returning: Option<BoundReturning>,
}

/// UPDATE: the source gives, for each row to change (each target row once at most): the row key, the row version, the old visible columns, the new visible columns (all of them, cast), then the
/// columns of FROM items that RETURNING names. RETURNING sees `t.<i>` (new values) and `from.<i>`.
#[derive(Clone, Debug)]
pub struct BoundUpdate {
    pub target: Oid,
    pub source: LogicalPlan,
    /// Places in the visible columns that are assigned.
    pub assigned: Vec<usize>,
    pub returning: Option<BoundReturning>,
    /// When there is no FROM and no subquery: the WHERE condition and the assignments over columns `t.<i>`, for the point path.
    pub simple: Option<SimpleChange>,
}

/// DELETE: the source gives the row key, the row version, the old visible columns, then the columns of USING items that RETURNING names.
/// RETURNING sees `t.<i>` (old values) and `from.<i>`.
#[derive(Clone, Debug)]
pub struct BoundDelete {
    pub target: Oid,
    pub source: LogicalPlan,
    pub returning: Option<BoundReturning>,
    pub simple: Option<SimpleChange>,
}

/// MERGE: the source gives the row key and version of the target's row (NULL without one), its old visible columns, what is to be done
/// ([`MergeAction`]), and the new visible columns of an update or an insertion.
#[derive(Clone, Debug)]
pub struct BoundMerge {
    pub target: Oid,
    pub source: LogicalPlan,
}

/// What MERGE does with a row; the numbers stand in its plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MergeAction {
    Nothing = 0,
    Update = 1,
    Delete = 2,
    Insert = 3,
}

impl MergeAction {
    /// The action of a number.
    pub fn of(number: i32) -> Self {
        match number {
            1 => Self::Update,
            2 => Self::Delete,
            3 => Self::Insert,
            _ => Self::Nothing,
        }
    }
}

/// A statement that changes rows in its WITH list, or that reads a query of its WITH list more than once and must compute it once.
#[derive(Clone, Debug)]
pub struct BoundParts {
    /// The WITH queries that are carried out before, in order.
    pub parts: Vec<BoundPart>,
    /// What the statement answers.
    pub main: Box<BoundStatement>,
}

/// A WITH query that is carried out by itself, once.
#[derive(Clone, Debug)]
pub struct BoundPart {
    /// The [`crate::given_rows::GivenRows`] that stand for what it returns, and their types.
    pub rows: String,
    pub types: Vec<SqlType>,
    pub statement: BoundStatement,
}

/// A change of one table by a condition over its own columns.
#[derive(Clone, Debug)]
pub struct SimpleChange {
    pub filter: Option<Expr>,
    /// (place in the visible columns, new value); empty for DELETE.
    pub assignments: Vec<(usize, Expr)>,
}

/// `SELECT … FROM one table WHERE …` without aggregates, windows, subqueries, DISTINCT or grouping: what the point path may take.
/// Columns are named `t.<i>`.
#[derive(Clone, Debug)]
pub struct SimpleSelect {
    pub relation: Oid,
    pub filter: Option<Expr>,
    pub outputs: Vec<Expr>,
    /// ORDER BY over columns of the table: (place in the visible columns, descending, nulls first).
    pub order_by: Vec<(usize, bool, bool)>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

/// How strongly rows are locked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RowLockStrength {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

impl RowLockStrength {
    /// All, the weakest first.
    pub const ALL: [Self; 4] = [Self::KeyShare, Self::Share, Self::NoKeyUpdate, Self::Update];

    /// As the clause words it, behind FOR.
    pub const fn clause(self) -> &'static str {
        match self {
            Self::KeyShare => "KEY SHARE",
            Self::Share => "SHARE",
            Self::NoKeyUpdate => "NO KEY UPDATE",
            Self::Update => "UPDATE",
        }
    }
}

/// What becomes of a row that somebody else has locked. Where a table has several clauses, the last of these counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LockPolicy {
    Wait,
    SkipLocked,
    NoWait,
}

/// One table whose rows a query locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoundRowLock {
    pub relation: Oid,
    pub strength: RowLockStrength,
    pub policy: LockPolicy,
}

/// A query that locks the rows that it gives. The plan gives them in order, without LIMIT: first the result's columns, then key and version of the row for
/// each of the locks; a row that cannot be locked, or no longer matches, does not count for the limit.
#[derive(Clone, Debug)]
pub struct BoundLocking {
    pub plan: LogicalPlan,
    /// The types of the result's columns.
    pub types: Vec<SqlType>,
    pub locks: Vec<BoundRowLock>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

/// A statement, bound. Statements without expressions stay as the parser left them: whoever executes them reads the tree.
#[derive(Clone, Debug)]
pub enum BoundStatement {
    Query {
        query: BoundQuery,
        /// Present when the statement has that simple shape.
        simple: Option<Box<SimpleSelect>>,
    },
    Insert(Box<BoundInsert>),
    Update(Box<BoundUpdate>),
    Delete(Box<BoundDelete>),
    Merge(Box<BoundMerge>),
    Parts(Box<BoundParts>),
    /// EXPLAIN of a statement.
    Explain {
        analyze: bool,
        verbose: bool,
        statement: Box<BoundStatement>,
    },
    /// VACUUM and its like: the command tag.
    Maintenance(&'static str),
    /// DDL that the parser does not know.
    Object(std::sync::Arc<crate::object_syntax::ObjectStatement>),
    /// DDL, COPY, transaction control, SET, SHOW, …
    Utility(Box<Statement>),
    /// No statement at all.
    Empty,
}

/// A bound statement with its parameters' types.
#[derive(Clone, Debug)]
pub struct Bound {
    pub statement: BoundStatement,
    /// Queries that lock rows, in the order in which they are carried out before the statement; scans of
    /// [`crate::LockedRows`] stand for their rows, in the statement and in later ones of them.
    pub locking: Vec<BoundLocking>,
    pub parameters: Vec<SqlType>,
    /// Notices that binding has for the client.
    pub notices: Vec<Report>,
}
