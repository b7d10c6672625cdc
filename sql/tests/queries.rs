//! Queries without tables against what PostgreSQL 15 answers. In `queries/*.txt` a query stands on one line; the lines after it that begin
//! with `=> ` are its rows, with ` | ` between columns, or its error; a value of several lines
//! takes as many.

use std::sync::Arc;

use common::columns::cell;
use common::error::{Report, SqlError};
use common::ids::Oid;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use functions::context::SessionSettings;
use sql::bound::BoundStatement;
use sql::schema::{CatalogView, RelationInfo};

/// A catalog without relations.
struct Empty;

impl CatalogView for Empty {
    fn relation(&self, _: &str, _: &str) -> Option<Arc<RelationInfo>> {
        None
    }

    fn schema_exists(&self, _: &str) -> bool {
        true
    }

    fn relation_by_oid(&self, _: Oid) -> Option<(String, String)> {
        None
    }

    fn relation_oid(&self, _: &str, _: &str) -> Option<Oid> {
        None
    }
}

fn shown(report: &Report) -> Vec<String> {
    vec![format!("ERROR {} {report}", report.sqlstate())]
}

fn failed(error: &DataFusionError) -> Vec<String> {
    match error.find_root() {
        DataFusionError::External(inner) if inner.is::<Report>() => shown(inner.downcast_ref().unwrap()),
        other => vec![format!("ERROR XX000 {other}")],
    }
}

async fn run(text: &str) -> Vec<String> {
    let settings = SessionSettings::default();
    let statement = match sql::parse::parse_statements(text) {
        Ok(mut statements) => statements.remove(0),
        Err(report) => return shown(&report),
    };
    let bound = match sql::bind::bind(&statement, &Empty, &settings, Vec::new()) {
        Ok(bound) => bound.statement,
        Err(error) => return shown(&error.report()),
    };
    let BoundStatement::Query { query, .. } = bound else { panic!("{text} is no query") };
    let mut config = SessionConfig::new();
    config.options_mut().optimizer.skip_failed_rules = false;
    config.options_mut().extensions.insert(settings.clone());
    let context = SessionContext::new_with_config(config);
    let plan = query.plan.clone();
    let batches = match context.execute_logical_plan(plan).await {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    let batches = match batches {
        Ok(batches) => batches,
        Err(error) => return failed(&error),
    };
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = query.columns.iter().zip(batch.columns()).map(|(column, array)| {
                let value = cell(array, row, column.ty).unwrap();
                if value.is_null() { "NULL".to_owned() } else { types::text_output::to_text(&value, column.ty, &settings.format) }
            });
            rows.extend(cells.collect::<Vec<_>>().join(" | ").split('\n').map(str::to_owned));
        }
    }
    rows
}

#[tokio::test]
async fn queries_answer_what_postgresql_answers() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/queries");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut failures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with("-- ")).peekable();
        while let Some(query) = lines.next() {
            let mut expected = Vec::new();
            while let Some(row) = lines.next_if(|l| l.starts_with("=> ")) {
                expected.push(row[3..].to_owned());
            }
            let found = run(query).await;
            if found != expected {
                failures.push(format!("{query}\n   expected {expected:?}\n   found    {found:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}
