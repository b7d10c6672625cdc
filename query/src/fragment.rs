//! Runs a fragment on a worker.

use std::sync::Arc;

use common::error::Report;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use functions::context::SessionSettings;
use futures::StreamExt;
use rpc::worker_api::{Answer, BatchStream, FragmentPlan, FragmentRequest};

use crate::codec;
use crate::errors::report;
use crate::scan::ScanSource;
use crate::scan_exec::FragmentContext;
use crate::scatter_exec::LocalFragment;

/// Starts the fragment; batches come as they are asked for.
pub fn run(request: FragmentRequest, source: Arc<dyn ScanSource>) -> Answer<BatchStream> {
    let settings =
        SessionSettings::from_bytes(&request.settings).ok_or_else(|| Report::internal("the settings of a fragment cannot be read"))?;
    let mut config = SessionConfig::new().with_extension(Arc::new(FragmentContext { read: request.context, source }));
    config.options_mut().extensions.insert(settings);
    let context = Arc::new(TaskContext::default().with_session_config(config).with_runtime(Arc::new(RuntimeEnv::default())));
    let plan = decoded(&request.plan, &context)?;
    let output = usize::try_from(request.output).unwrap_or(usize::MAX);
    if output >= plan.properties().partitioning.partition_count() {
        return Err(Report::internal(format!("the fragment has no output {output}")));
    }
    let stream = plan.execute(output, context).map_err(|e| report(&e))?;
    Ok(stream.map(|batch| batch.map_err(|e| report(&e))).boxed())
}

fn decoded(plan: &FragmentPlan, context: &TaskContext) -> Answer<Arc<dyn ExecutionPlan>> {
    match plan {
        FragmentPlan::Encoded(bytes) => codec::decode(bytes, context).map_err(|e| report(&e)),
        FragmentPlan::Local(plan) => match plan.downcast_ref::<LocalFragment>() {
            Some(LocalFragment(plan)) => Ok(Arc::clone(plan)),
            None => Err(Report::internal("a local fragment of another kind")),
        },
    }
}
