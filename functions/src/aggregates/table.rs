//! The aggregates by name: signatures, and what computes each.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use common::types::SqlType;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::AggregateUDF;

use super::rows::RowState;
use super::{documents, ordered, rows, statistics, totals};
use crate::definition::{Definition, fail, row};

/// The types of one call, as a state sees them.
pub(crate) struct Shape<'a> {
    pub(crate) name: &'a str,
    pub(crate) args: &'a [SqlType],
    pub(crate) result: SqlType,
}

/// An aggregate over rows.
pub(crate) struct RowKind {
    pub(crate) make: fn(&Shape<'_>) -> Box<dyn RowState>,
    /// The types of what [`RowState::state`] answers.
    pub(crate) state: fn(&Shape<'_>) -> Vec<SqlType>,
    /// Rows with a NULL argument do not count.
    pub(crate) strict: bool,
    /// The order of rows matters.
    pub(crate) ordered: bool,
    /// Whether a value that comes twice changes the result.
    pub(crate) counts_duplicates: bool,
    /// There is an accumulator over columns besides.
    pub(crate) total: Option<totals::Goal>,
    /// The function that makes each value a document first.
    pub(crate) document: Option<&'static str>,
}

impl RowKind {
    pub(crate) fn new(make: fn(&Shape<'_>) -> Box<dyn RowState>, state: fn(&Shape<'_>) -> Vec<SqlType>) -> Self {
        Self { make, state, strict: true, ordered: false, counts_duplicates: true, total: None, document: None }
    }

    pub(crate) fn nullable(self) -> Self {
        Self { strict: false, ..self }
    }

    pub(crate) fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }

    pub(crate) fn idempotent(self) -> Self {
        Self { counts_duplicates: false, ..self }
    }
}

/// What computes an aggregate.
pub(crate) enum Implementation {
    Count,
    Native(fn() -> Arc<AggregateUDF>),
    Rows(RowKind),
}

struct Table {
    by_name: HashMap<&'static str, Vec<&'static Definition>>,
    by_key: HashMap<&'static str, (&'static Definition, Implementation)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { by_name: HashMap::new(), by_key: HashMap::new() };
    let mut add = |signature: &str, implementation: Implementation| {
        // The body is never called: an aggregate is no scalar function, it only resolves like one.
        let definition = row(signature, |_| fail(common::sqlstate::SqlState::INTERNAL_ERROR, "an aggregate was called as a function"));
        let definition: &'static Definition = Box::leak(Box::new(definition));
        table.by_name.entry(&definition.name).or_default().push(definition);
        table.by_key.insert(&definition.key, (definition, implementation));
    };
    add("count(any) int8", Implementation::Count);
    for ty in [
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "numeric",
        "text",
        "bpchar",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "oid",
        "anyenum",
        "timetz",
        "inet",
    ] {
        add(&format!("min({ty}) {ty}"), Implementation::Native(min_udaf));
        add(&format!("max({ty}) {ty}"), Implementation::Native(max_udaf));
    }
    let families = [totals::kinds(), rows::kinds(), statistics::kinds(), ordered::kinds(), documents::kinds()];
    for (signature, kind) in families.into_iter().flatten() {
        add(&signature, Implementation::Rows(kind));
    }
    table
});

/// The definitions of a name.
pub(crate) fn named(name: &str) -> &'static [&'static Definition] {
    TABLE.by_name.get(name).map_or(&[], Vec::as_slice)
}

/// The definition of a key.
pub(crate) fn by_key(key: &str) -> Option<&'static Definition> {
    TABLE.by_key.get(key).map(|(definition, _)| *definition)
}

/// What computes the definition of a key.
pub(crate) fn implementation(key: &str) -> &'static Implementation {
    TABLE.by_key.get(key).map_or(&Implementation::Count, |(_, implementation)| implementation)
}

/// Whether the aggregate takes its order `WITHIN GROUP`.
pub(crate) fn is_ordered_set(name: &str) -> bool {
    matches!(name, "mode" | "percentile_cont" | "percentile_disc")
}
