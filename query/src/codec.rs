//! Plans to bytes and back: `datafusion-proto`, with our leaf and our functions.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::ipc::convert::{IpcSchemaEncoder, try_schema_from_ipc_buffer};
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
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
    schema: Vec<u8>,
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
        let schema: Schema = try_schema_from_ipc_buffer(&scan.schema)?;
        Ok(Arc::new(ScanExec::new(Arc::new(scan.spec), Arc::new(schema))))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, _converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        let scan = node
            .downcast_ref::<ScanExec>()
            .ok_or_else(|| DataFusionError::NotImplemented(format!("sending the operator {}", node.name())))?;
        let mut tracker = arrow::ipc::writer::DictionaryTracker::new(true);
        let schema = IpcSchemaEncoder::new().with_dictionary_tracker(&mut tracker).schema_to_fb(&node.schema());
        let scan = EncodedScan { spec: ScanSpec::clone(scan.spec()), schema: schema.finished_data().to_vec() };
        buf.extend(rmp_serde::to_vec(&scan).map_err(|e| DataFusionError::External(Box::new(e)))?);
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, _: &[u8]) -> Result<Arc<ScalarUDF>> {
        // The only one of DataFusion's own functions in plans: columns of sets of records.
        let field = datafusion::functions::core::get_field();
        if name == field.name() {
            return Ok(field);
        }
        registry::scalar_udf(name).ok_or_else(|| unknown(name))
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        registry::aggregate_udf(name).ok_or_else(|| unknown(name))
    }

    fn try_decode_udwf(&self, name: &str, _: &[u8]) -> Result<Arc<WindowUDF>> {
        registry::window_udf(name).ok_or_else(|| unknown(name))
    }
}

fn unknown(name: &str) -> DataFusionError {
    DataFusionError::Internal(format!("the fragment names an unknown function {name}"))
}
