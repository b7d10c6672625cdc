//! Batches as an Arrow IPC stream, cut into messages.
//!
//! A stream is: one empty message once the fragment runs (so that a fragment that does not start is an error of the call, as inside one
//! process), then the IPC stream's bytes (schema with the first batch, end mark last), or the report of an error, which is the last message.

use std::collections::VecDeque;

use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamEncoder;
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use common::error::Report;
use futures::{Stream, StreamExt};

use crate::error::RpcError;
use crate::grpc::CHUNK_MAX;
use crate::grpc::envelope::Envelope;
use crate::worker_api::{Answer, BatchStream};

struct Encoding {
    batches: Option<BatchStream>,
    encoder: Option<StreamEncoder>,
    ready: VecDeque<Envelope>,
}

impl Encoding {
    fn push(&mut self, buffers: &[Buffer]) {
        let mut whole = BytesMut::with_capacity(buffers.iter().map(Buffer::len).sum());
        for buffer in buffers {
            whole.extend_from_slice(buffer);
        }
        let mut whole = whole.freeze();
        while whole.len() > CHUNK_MAX {
            self.ready.push_back(Envelope::raw(whole.split_to(CHUNK_MAX)));
        }
        self.ready.push_back(Envelope::raw(whole));
    }

    fn push_batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => StreamEncoder::try_new(&batch.schema())?,
        };
        let buffers = encoder.encode(batch)?;
        self.encoder = Some(encoder);
        self.push(&buffers);
        Ok(())
    }

    fn push_end(&mut self) -> Result<(), ArrowError> {
        if let Some(encoder) = self.encoder.take() {
            self.push(&encoder.finish()?);
        }
        Ok(())
    }

    async fn step(&mut self) -> Option<()> {
        let batches = self.batches.as_mut()?;
        let pushed = match batches.next().await {
            Some(Ok(batch)) => self.push_batch(&batch).map_err(encode_failed),
            None => {
                self.batches = None;
                self.push_end().map_err(encode_failed)
            }
            Some(Err(report)) => Err(report),
        };
        if let Err(report) = pushed {
            self.batches = None;
            self.ready.push_back(Envelope::error(&report));
        }
        Some(())
    }
}

fn encode_failed(error: ArrowError) -> Report {
    RpcError::Encode(error.to_string()).into()
}

/// The messages for the batches. It runs ahead of its reader by one batch at most.
pub(crate) fn encode(batches: BatchStream) -> impl Stream<Item = Envelope> + Send {
    let start = VecDeque::from([Envelope::default()]);
    futures::stream::unfold(Encoding { batches: Some(batches), encoder: None, ready: start }, |mut encoding| async move {
        loop {
            if let Some(envelope) = encoding.ready.pop_front() {
                return Some((envelope, encoding));
            }
            encoding.step().await?;
        }
    })
}

struct Decoding<S> {
    envelopes: Option<S>,
    decoder: StreamDecoder,
    rest: Buffer,
}

impl<S: Stream<Item = Answer<Envelope>> + Unpin> Decoding<S> {
    async fn next(&mut self) -> Answer<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.rest).map_err(decode_failed)? {
                return Ok(Some(batch));
            }
            let Some(envelopes) = self.envelopes.as_mut() else { return Ok(None) };
            match envelopes.next().await {
                Some(envelope) => self.rest = buffer(envelope?.open()?),
                None => {
                    self.envelopes = None;
                    self.decoder.finish().map_err(decode_failed)?;
                }
            }
        }
    }
}

fn decode_failed(error: ArrowError) -> Report {
    RpcError::Decode(error.to_string()).into()
}

fn buffer(bytes: Bytes) -> Buffer {
    Buffer::from(bytes)
}

/// The batches in the messages that follow the first, empty one.
pub(crate) fn decode<S>(envelopes: S) -> BatchStream
where
    S: Stream<Item = Answer<Envelope>> + Send + Unpin + 'static,
{
    let decoding = Decoding { envelopes: Some(envelopes), decoder: StreamDecoder::new(), rest: Buffer::default() };
    futures::stream::unfold(Some(decoding), |decoding| async move {
        let mut decoding = decoding?;
        match decoding.next().await {
            Ok(Some(batch)) => Some((Ok(batch), Some(decoding))),
            Ok(None) => None,
            Err(report) => Some((Err(report), None)),
        }
    })
    .boxed()
}
