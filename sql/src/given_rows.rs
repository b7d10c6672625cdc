//! Rows that a plan reads and its executor has: what an earlier part of the statement returned, or the rows that it is about to write.

use std::collections::HashMap;
use std::sync::Arc;

use common::types::SqlType;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, TableScan, TableSource};

/// Stands in a plan for rows by their name; its columns are numbered from `0`.
#[derive(Debug)]
pub struct GivenRows {
    name: String,
    schema: SchemaRef,
}

impl GivenRows {
    /// Rows of these types.
    pub(crate) fn new(name: impl Into<String>, types: &[SqlType]) -> Self {
        Self { name: name.into(), schema: schema_of(types) }
    }
}

/// The schema of given rows of these types.
pub fn schema_of(types: &[SqlType]) -> SchemaRef {
    let field = |(at, ty): (usize, &SqlType)| Field::new(at.to_string(), ty.arrow(), true);
    Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()))
}

impl TableSource for GivenRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The plan with the rows themselves in place of what stands for them.
pub fn fill_in(plan: &LogicalPlan, given: &HashMap<String, Arc<dyn TableSource>>) -> Result<LogicalPlan> {
    let filled = plan.clone().transform_up_with_subqueries(|node| {
        let found = match &node {
            LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<GivenRows>().and_then(|rows| given.get(&rows.name)),
            _ => None,
        };
        Ok(match (found.map(Arc::clone), node) {
            (Some(source), LogicalPlan::TableScan(scan)) => Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })),
            (_, node) => Transformed::no(node),
        })
    })?;
    Ok(filled.data)
}
