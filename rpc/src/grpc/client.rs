//! The calling side: one client for each node, over two connections (calls, streams), so that batches do not stand before a small answer.

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;
use common::error::Report;
use common::ids::{CatalogVersion, Oid, PartitionId, RelationId, Timestamp, TransactionId, WorkerId};
use futures::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::catalog_api::{CatalogApi, RegisterRequest, SequenceAnswer, SequenceCall, StateStream};
use crate::error::RpcError;
use crate::grpc::calls::{Call, CatalogCall, EncodedFragment, StreamCall, WorkerCall};
use crate::grpc::envelope::Envelope;
use crate::grpc::{
    CALL_PATH, CALLS_MAX, CONNECT_TIMEOUT, CONNECTION_WINDOW, MESSAGE_MAX, PING_INTERVAL, PING_TIMEOUT, STREAM_PATH, STREAM_WINDOW, batches,
};
use crate::locks::{AdvisoryKey, EndOfWait, HeldLock, LockMode, LockWait, LockWaiter, WaitTicket};
use crate::worker_api::{
    Answer, BatchStream, CommitRequest, CommitResponse, FoundRow, FragmentRequest, GetRequest, IndexFeedRequest, IndexLag, LockRequest,
    LockTableRequest, LockedRow, Outcome, PartitionSize, PrepareRequest, PrepareResponse, RangeRequest, RangeResponse, UndoRequest, Vote,
    WorkerApi, WriteOutcome, WriteRequest, WriteResponse,
};

/// Connections to one node, made when they are first used and again whenever they broke.
#[derive(Clone, Debug)]
struct Connection {
    peer: String,
    address: String,
    calls: Channel,
    streams: Channel,
}

impl Connection {
    fn new(peer: String, address: &str) -> Result<Self, RpcError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .ok()
            .filter(|e| e.uri().port().is_some() && e.uri().path() == "/")
            .ok_or_else(|| RpcError::BadAddress {
                peer: peer.clone(),
                address: address.to_owned(),
                cause: "not of the form host:port".to_owned(),
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .buffer_size(CALLS_MAX as usize)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Ok(Self { peer, address: address.to_owned(), calls: endpoint.connect_lazy(), streams: endpoint.connect_lazy() })
    }

    fn grpc(channel: &Channel) -> Grpc<Channel> {
        Grpc::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX).max_encoding_message_size(MESSAGE_MAX)
    }

    async fn call<T: DeserializeOwned>(&self, call: &Call) -> Answer<T> {
        let request = Request::new(Envelope::value(call)?);
        let mut grpc = Self::grpc(&self.calls);
        grpc.ready().await.map_err(|e| self.unreachable(&e))?;
        let path = PathAndQuery::from_static(CALL_PATH);
        let answer = Box::pin(grpc.unary(request, path, ProstCodec::<Envelope, Envelope>::default())).await;
        answer.map_err(|status| self.failed(&status))?.into_inner().open_value()
    }

    async fn stream(&self, call: &StreamCall) -> Answer<Streaming<Envelope>> {
        let request = Request::new(Envelope::value(call)?);
        let mut grpc = Self::grpc(&self.streams);
        grpc.ready().await.map_err(|e| self.unreachable(&e))?;
        let path = PathAndQuery::from_static(STREAM_PATH);
        let answer = Box::pin(grpc.server_streaming(request, path, ProstCodec::<Envelope, Envelope>::default())).await;
        let mut envelopes = answer.map_err(|status| self.failed(&status))?.into_inner();
        match envelopes.message().await.map_err(|status| self.failed(&status))? {
            Some(first) => first.open()?,
            None => return Err(RpcError::Decode("a stream without a beginning".to_owned()).into()),
        };
        Ok(envelopes)
    }

    fn unreachable(&self, error: &(dyn Error + 'static)) -> Report {
        RpcError::NotConnected { peer: self.peer.clone(), cause: root_cause(error) }.into()
    }

    fn failed(&self, status: &Status) -> Report {
        let (peer, cause) = (self.peer.clone(), status_cause(status));
        match status.code() {
            Code::OutOfRange | Code::ResourceExhausted => {
                Report::new(common::sqlstate::SqlState::PROGRAM_LIMIT_EXCEEDED, format!("message between nodes is too large: {cause}"))
            }
            Code::Unavailable if causes(status).any(|e| e.is::<ConnectError>()) => RpcError::NotConnected { peer, cause }.into(),
            _ => RpcError::ConnectionLost { peer, cause }.into(),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e: &&'a (dyn Error + 'static)| (*e).source())
}

/// The last of the chain says what happened; what stands above it says `transport error`.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string().to_lowercase()
}

fn status_cause(status: &Status) -> String {
    match status.source() {
        Some(source) => root_cause(source),
        None => status.message().to_owned(),
    }
}

/// A worker at the other end of a connection.
#[derive(Clone, Debug)]
pub struct WorkerClient(Connection);

impl WorkerClient {
    /// A client for the worker that listens at `address` (`host:port`). It connects when it is first called.
    pub fn new(id: WorkerId, address: &str) -> Result<Self, RpcError> {
        Connection::new(format!("worker {id}"), address).map(Self)
    }

    /// Where the worker listens.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    async fn call<T: DeserializeOwned>(&self, call: WorkerCall) -> Answer<T> {
        self.0.call(&Call::Worker(call)).await
    }
}

#[async_trait]
impl WorkerApi for WorkerClient {
    async fn get(&self, request: GetRequest) -> Answer<Vec<Option<FoundRow>>> {
        self.call(WorkerCall::Get(request)).await
    }

    async fn range(&self, request: RangeRequest) -> Answer<RangeResponse> {
        self.call(WorkerCall::Range(request)).await
    }

    async fn fragment(&self, request: FragmentRequest) -> Answer<BatchStream> {
        let call = StreamCall::Fragment(EncodedFragment::new(request, &self.0.peer)?);
        let connection = self.0.clone();
        let envelopes = connection.stream(&call).await?;
        Ok(batches::decode(envelopes.map_err(move |status| connection.failed(&status))))
    }

    async fn lock(&self, request: LockRequest) -> Answer<Vec<LockedRow>> {
        self.call(WorkerCall::Lock(request)).await
    }

    async fn lock_table(&self, request: LockTableRequest) -> Answer<()> {
        self.call(WorkerCall::LockTable(request)).await
    }

    async fn advisory_lock(&self, key: AdvisoryKey, mode: LockMode, wait: LockWait) -> Answer<bool> {
        self.call(WorkerCall::AdvisoryLock(key, mode, wait)).await
    }

    async fn advisory_unlock(&self, session: i32, key: AdvisoryKey, keep: Option<LockMode>) -> Answer<()> {
        self.call(WorkerCall::AdvisoryUnlock(session, key, keep)).await
    }

    async fn keep_sessions(&self, sessions: Vec<i32>) -> Answer<()> {
        self.call(WorkerCall::KeepSessions(sessions)).await
    }

    async fn end_session(&self, session: i32) -> Answer<()> {
        self.call(WorkerCall::EndSession(session)).await
    }

    async fn lock_waits(&self) -> Answer<Vec<LockWaiter>> {
        self.call(WorkerCall::LockWaits).await
    }

    async fn held_locks(&self) -> Answer<Vec<HeldLock>> {
        self.call(WorkerCall::HeldLocks).await
    }

    async fn end_wait(&self, ticket: WaitTicket, why: EndOfWait) -> Answer<()> {
        self.call(WorkerCall::EndWait(ticket, why)).await
    }

    async fn cancel_waits(&self, session: i32) -> Answer<()> {
        self.call(WorkerCall::CancelWaits(session)).await
    }

    async fn write(&self, request: WriteRequest) -> Answer<WriteResponse> {
        self.call(WorkerCall::Write(request)).await
    }

    async fn undo(&self, request: UndoRequest) -> Answer<Timestamp> {
        self.call(WorkerCall::Undo(request)).await
    }

    async fn commit(&self, request: CommitRequest) -> Answer<CommitResponse> {
        self.call(WorkerCall::Commit(request)).await
    }

    async fn prepare(&self, request: PrepareRequest) -> Answer<PrepareResponse> {
        self.call(WorkerCall::Prepare(request)).await
    }

    async fn decide(&self, transaction: TransactionId, outcome: Outcome) -> Answer<()> {
        self.call(WorkerCall::Decide(transaction, outcome)).await
    }

    async fn vote_of(&self, transaction: TransactionId) -> Answer<Vote> {
        self.call(WorkerCall::VoteOf(transaction)).await
    }

    async fn keep_alive(&self, transactions: Vec<TransactionId>) -> Answer<()> {
        self.call(WorkerCall::KeepAlive(transactions)).await
    }

    async fn index_feed(&self, request: IndexFeedRequest) -> Answer<Timestamp> {
        self.call(WorkerCall::IndexFeed(request)).await
    }

    async fn index_fresh(&self, index: Oid, at: Timestamp, wait_ms: u32) -> Answer<bool> {
        self.call(WorkerCall::IndexFresh { index, at, wait_ms }).await
    }

    async fn index_lag(&self) -> Answer<Vec<IndexLag>> {
        self.call(WorkerCall::IndexLag).await
    }

    async fn build_index(&self, catalog_version: CatalogVersion, index: Oid) -> Answer<Result<u64, WriteOutcome>> {
        self.call(WorkerCall::BuildIndex(catalog_version, index)).await
    }

    async fn sizes(&self, partitions: Vec<(RelationId, PartitionId)>) -> Answer<Vec<PartitionSize>> {
        self.call(WorkerCall::Sizes(partitions)).await
    }
}

/// The catalog at the other end of a connection. A watch that breaks ends with an error; whoever watches begins again.
#[derive(Clone, Debug)]
pub struct CatalogClient(Connection);

impl CatalogClient {
    /// A client for the catalog that listens at `address` (`host:port`). It connects when it is first called.
    pub fn new(address: &str) -> Result<Self, RpcError> {
        Connection::new("the catalog".to_owned(), address).map(Self)
    }

    async fn call<T: DeserializeOwned>(&self, call: CatalogCall) -> Answer<T> {
        self.0.call(&Call::Catalog(call)).await
    }
}

#[async_trait]
impl CatalogApi for CatalogClient {
    async fn propose(&self, base: CatalogVersion, changes: Bytes) -> Answer<CatalogVersion> {
        self.call(CatalogCall::Propose(base, changes)).await
    }

    async fn watch(&self) -> Answer<StateStream> {
        let connection = self.0.clone();
        let envelopes = connection.stream(&StreamCall::Watch).await?;
        let states = envelopes.map(move |item| item.map_err(|status| connection.failed(&status)).and_then(Envelope::open));
        Ok(states.boxed())
    }

    async fn timestamps(&self, count: u32) -> Answer<Timestamp> {
        self.call(CatalogCall::Timestamps(count)).await
    }

    async fn allocate_ids(&self, count: u32) -> Answer<u64> {
        self.call(CatalogCall::AllocateIds(count)).await
    }

    async fn sequence(&self, sequence: Oid, call: SequenceCall) -> Answer<SequenceAnswer> {
        self.call(CatalogCall::Sequence(sequence, call)).await
    }

    async fn register(&self, request: RegisterRequest) -> Answer<WorkerId> {
        self.call(CatalogCall::Register(request)).await
    }

    async fn heartbeat(&self, worker: WorkerId) -> Answer<()> {
        self.call(CatalogCall::Heartbeat(worker)).await
    }

    async fn oldest_snapshot(&self, node: String, oldest: Timestamp) -> Answer<Timestamp> {
        self.call(CatalogCall::OldestSnapshot(node, oldest)).await
    }
}
