//! Plans to bytes and back: `datafusion-proto`, with our leaf and our functions.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use functions::registry;
use serde::{Deserialize, Serialize};

use crate::scan::ScanSpec;
use crate::scan_exec::ScanExec;

/// A plan as bytes.
pub fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Bytes> {
    physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &PlanCodec)
}

/// Reads what [`encode`] wrote.
pub fn decode(bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
    physical_plan_from_bytes_with_extension_codec(bytes, context, &PlanCodec)
}

#[derive(Serialize, Deserialize)]
struct EncodedScan {
    spec: ScanSpec,
    /// Names of the output columns.
    names: Vec<String>,
}

#[derive(Debug)]
struct PlanCodec;

impl PhysicalExtensionCodec for PlanCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        _ctx: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan: EncodedScan = rmp_serde::from_slice(buf).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let schema = scan.spec.schema(&scan.names).ok_or_else(|| DataFusionError::Internal("a scan has columns without a type".into()))?;
        Ok(Arc::new(ScanExec::new(Arc::new(scan.spec), schema)))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, _converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        let scan = node
            .downcast_ref::<ScanExec>()
            .ok_or_else(|| DataFusionError::NotImplemented(format!("sending the operator {}", node.name())))?;
        let names = node.schema().fields().iter().map(|field| field.name().clone()).collect();
        let scan = EncodedScan { spec: ScanSpec::clone(scan.spec()), names };
        buf.extend(rmp_serde::to_vec(&scan).map_err(|e| DataFusionError::External(Box::new(e)))?);
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, _: &[u8]) -> Result<Arc<ScalarUDF>> {
        registry::scalar_udf(name).or_else(|| built_in(&BUILT_IN.scalars, name)).ok_or_else(|| unknown(name))
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        registry::aggregate_udf(name).or_else(|| built_in(&BUILT_IN.aggregates, name)).ok_or_else(|| unknown(name))
    }

    fn try_decode_udwf(&self, name: &str, _: &[u8]) -> Result<Arc<WindowUDF>> {
        registry::window_udf(name).or_else(|| built_in(&BUILT_IN.windows, name)).ok_or_else(|| unknown(name))
    }
}

/// DataFusion's own functions, which stay in plans where they mean what PostgreSQL's do (count, min, lag, …).
struct BuiltIn {
    scalars: Vec<Arc<ScalarUDF>>,
    aggregates: Vec<Arc<AggregateUDF>>,
    windows: Vec<Arc<WindowUDF>>,
}

static BUILT_IN: LazyLock<BuiltIn> = LazyLock::new(|| BuiltIn {
    scalars: datafusion::functions::all_default_functions(),
    aggregates: datafusion::functions_aggregate::all_default_aggregate_functions(),
    windows: datafusion::functions_window::all_default_window_functions(),
});

trait Named {
    fn name(&self) -> &str;
}

macro_rules! named {
    ($($function:ident),*) => {$(
        impl Named for $function {
            fn name(&self) -> &str {
                self.name()
            }
        }
    )*};
}

named!(ScalarUDF, AggregateUDF, WindowUDF);

fn built_in<F: Named>(functions: &[Arc<F>], name: &str) -> Option<Arc<F>> {
    functions.iter().find(|function| function.name() == name).map(Arc::clone)
}

/// Whether a worker finds that scalar function.
pub(crate) fn knows_scalar(name: &str) -> bool {
    registry::scalar_udf(name).is_some()
}

/// Whether a worker finds that aggregate.
pub(crate) fn knows_aggregate(name: &str) -> bool {
    registry::aggregate_udf(name).is_some() || native_aggregate(name).is_some()
}

/// The aggregates that the function library takes from DataFusion.
fn native_aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    match name {
        "count" => Some(count_udaf()),
        "min" => Some(min_udaf()),
        "max" => Some(max_udaf()),
        "sum" => Some(sum_udaf()),
        "bool_and" => Some(bool_and_udaf()),
        "bool_or" => Some(bool_or_udaf()),
        _ => None,
    }
}

fn unknown(name: &str) -> DataFusionError {
    DataFusionError::Internal(format!("the fragment names an unknown function {name}"))
}
