//! The one message of the wire: a serialised value, or the report of an error.

use bytes::Bytes;
use common::error::Report;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RpcError;
use crate::grpc::MESSAGE_MAX;
use crate::worker_api::Answer;

/// What every protobuf message is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Envelope {
    /// What was asked or answered; its form depends on the method.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) body: Bytes,
    /// A serialised [`Report`]; when it is not empty the body means nothing.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) error: Bytes,
}

impl Envelope {
    /// Bytes as they are.
    pub(crate) fn raw(body: Bytes) -> Self {
        Self { body, error: Bytes::new() }
    }

    /// A serialised value.
    pub(crate) fn value<T: Serialize>(value: &T) -> Answer<Self> {
        let body = rmp_serde::to_vec(value).map_err(|e| RpcError::Encode(e.to_string()))?;
        // The envelope itself takes a few bytes more.
        if body.len() > MESSAGE_MAX - 64 {
            return Err(RpcError::TooLarge { bytes: body.len(), max: MESSAGE_MAX }.into());
        }
        Ok(Self::raw(body.into()))
    }

    /// An error.
    pub(crate) fn error(report: &Report) -> Self {
        // A report is a few strings: it always serialises. Were it otherwise, the client would see the plain text of it.
        let error = rmp_serde::to_vec(report).unwrap_or_else(|_| report.message.clone().into_bytes());
        Self { body: Bytes::new(), error: error.into() }
    }

    /// An answer, whichever it is.
    pub(crate) fn answer<T: Serialize>(answer: Answer<T>) -> Self {
        answer.and_then(|value| Self::value(&value)).unwrap_or_else(|report| Self::error(&report))
    }

    /// The bytes, or the error that came instead.
    pub(crate) fn open(self) -> Answer<Bytes> {
        if self.error.is_empty() {
            return Ok(self.body);
        }
        Err(rmp_serde::from_slice(&self.error).unwrap_or_else(|_| Report::internal(String::from_utf8_lossy(&self.error))))
    }

    /// The value, or the error that came instead.
    pub(crate) fn open_value<T: DeserializeOwned>(self) -> Answer<T> {
        let body = self.open()?;
        Ok(rmp_serde::from_slice(&body).map_err(|e| RpcError::Decode(e.to_string()))?)
    }
}
