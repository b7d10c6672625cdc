//! `pg_sleep` waits without keeping a thread, and ends when the query is dropped.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::Duration;

use common::datum::Datum;
use common::types::Scalar;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::SessionContext;
use functions::context::{ExprContext, ParameterTypes, SessionSettings};
use functions::resolve;

async fn sleep(seconds: f64) {
    let settings = SessionSettings::default();
    let parameters = ParameterTypes::default();
    let cx = ExprContext { settings: &settings, parameters: &parameters };
    let argument = resolve::literal(&Datum::Float8(seconds), Scalar::Float8.into());
    let call = resolve::call(&cx, "pg_sleep", vec![argument], false).unwrap();
    let plan = LogicalPlanBuilder::empty(true).project(vec![call.expr]).unwrap().build().unwrap();
    let batches = SessionContext::new().execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 1);
}

#[tokio::test]
async fn sleeping_takes_its_time_and_can_be_ended() {
    let start = tokio::time::Instant::now();
    sleep(-1.0).await;
    sleep(f64::NAN).await;
    sleep(0.2).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    let ended = tokio::time::timeout(Duration::from_millis(50), sleep(f64::INFINITY)).await;
    assert!(ended.is_err());
}
