//! The called side.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use common::error::Report;
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::catalog_api::CatalogApi;
use crate::error::RpcError;
use crate::grpc::calls::{Call, CatalogCall, StreamCall, WorkerCall};
use crate::grpc::envelope::Envelope;
use crate::grpc::{
    CALL_PATH, CALLS_MAX, CANCELLED_MAX, CONNECTION_WINDOW, MESSAGE_MAX, PING_INTERVAL, PING_TIMEOUT, SERVICE, STOP_CLOSE, STOP_GRACE,
    STREAM_PATH, STREAM_WINDOW, batches,
};
use crate::worker_api::{Answer, WorkerApi};

/// Serves calls of other nodes until `stop`; then no new ones are taken, watches end, and running calls have a short time to end.
/// A call to a part that this node does not have is an error of class 08.
pub async fn serve(
    listener: TcpListener,
    worker: Option<Arc<dyn WorkerApi>>,
    catalog: Option<Arc<dyn CatalogApi>>,
    stop: CancellationToken,
) -> Result<(), Report> {
    let closed = CancellationToken::new();
    let node = NodeService(Arc::new(Node { worker, catalog, stop: stop.clone(), closed: closed.clone() }));
    let server = Server::builder()
        .max_concurrent_streams(CALLS_MAX)
        .http2_max_pending_accept_reset_streams(Some(CANCELLED_MAX))
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_with_incoming_shutdown(node, TcpIncoming::from(listener).with_nodelay(Some(true)), stop.clone().cancelled_owned());
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
        closed.cancel();
        tokio::time::sleep(STOP_CLOSE).await;
    };
    let mut server = Box::pin(server);
    tokio::select! {
        served = &mut server => served.map_err(|e| RpcError::Serve(e.to_string()))?,
        () = deadline => tracing::debug!("connections of other nodes were still open"),
    }
    closed.cancel();
    Ok(())
}

struct Node {
    worker: Option<Arc<dyn WorkerApi>>,
    catalog: Option<Arc<dyn CatalogApi>>,
    /// No new calls.
    stop: CancellationToken,
    /// No calls at all.
    closed: CancellationToken,
}

type EnvelopeStream = Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>;

impl Node {
    fn worker(&self) -> Answer<&Arc<dyn WorkerApi>> {
        self.worker.as_ref().ok_or_else(|| RpcError::NotServed("worker").into())
    }

    fn catalog(&self) -> Answer<&Arc<dyn CatalogApi>> {
        self.catalog.as_ref().ok_or_else(|| RpcError::NotServed("catalog").into())
    }

    async fn call(&self, request: Envelope) -> Envelope {
        let carried_out = async {
            match request.open_value()? {
                Call::Worker(call) => Ok(call_worker(self.worker()?.as_ref(), call).await),
                Call::Catalog(call) => Ok(call_catalog(self.catalog()?.as_ref(), call).await),
            }
        };
        let answer = self.closed.run_until_cancelled(Box::pin(carried_out)).await;
        answer.unwrap_or_else(|| Err(RpcError::Stopping.into())).unwrap_or_else(|report: Report| Envelope::error(&report))
    }

    async fn stream(&self, request: Envelope) -> EnvelopeStream {
        let opened = self.closed.run_until_cancelled(Box::pin(self.open_stream(request))).await;
        let stream = opened.unwrap_or_else(|| Err(RpcError::Stopping.into()));
        stream.unwrap_or_else(|report| futures::stream::iter([Ok(Envelope::error(&report))]).boxed())
    }

    async fn open_stream(&self, request: Envelope) -> Answer<EnvelopeStream> {
        match request.open_value()? {
            StreamCall::Fragment(fragment) => {
                let batches = self.worker()?.fragment(fragment.into_request()).await?;
                Ok(until(batches::encode(batches), self.closed.clone()))
            }
            StreamCall::Watch => {
                let states = self.catalog()?.watch().await?;
                let states = states.map(|state| match state {
                    Ok(bytes) => Envelope::raw(bytes),
                    Err(report) => Envelope::error(&report),
                });
                Ok(until(futures::stream::iter([Envelope::default()]).chain(states), self.stop.clone()))
            }
        }
    }
}

/// The stream, cut off by an error when the token is cancelled.
fn until(stream: impl Stream<Item = Envelope> + Send + 'static, token: CancellationToken) -> EnvelopeStream {
    let cut = token.clone();
    let told = futures::stream::once(async move { cut.is_cancelled().then(|| Envelope::error(&RpcError::Stopping.into())) });
    stream.take_until(token.cancelled_owned()).chain(told.filter_map(std::future::ready)).map(Ok).boxed()
}

fn answered<T: Serialize>(answer: Answer<T>) -> Envelope {
    Envelope::answer(answer)
}

async fn call_worker(worker: &dyn WorkerApi, call: WorkerCall) -> Envelope {
    match call {
        WorkerCall::Get(request) => answered(worker.get(request).await),
        WorkerCall::Range(request) => answered(worker.range(request).await),
        WorkerCall::Lock(request) => answered(worker.lock(request).await),
        WorkerCall::LockTable(request) => answered(worker.lock_table(request).await),
        WorkerCall::AdvisoryLock(key, mode, wait) => answered(worker.advisory_lock(key, mode, wait).await),
        WorkerCall::AdvisoryUnlock(session, key, keep) => answered(worker.advisory_unlock(session, key, keep).await),
        WorkerCall::KeepSessions(sessions) => answered(worker.keep_sessions(sessions).await),
        WorkerCall::EndSession(session) => answered(worker.end_session(session).await),
        WorkerCall::LockWaits => answered(worker.lock_waits().await),
        WorkerCall::HeldLocks => answered(worker.held_locks().await),
        WorkerCall::EndWait(ticket, why) => answered(worker.end_wait(ticket, why).await),
        WorkerCall::CancelWaits(session) => answered(worker.cancel_waits(session).await),
        WorkerCall::Write(request) => answered(worker.write(request).await),
        WorkerCall::Undo(request) => answered(worker.undo(request).await),
        WorkerCall::Commit(request) => answered(worker.commit(request).await),
        WorkerCall::Prepare(request) => answered(worker.prepare(request).await),
        WorkerCall::Decide(transaction, outcome) => answered(worker.decide(transaction, outcome).await),
        WorkerCall::VoteOf(transaction) => answered(worker.vote_of(transaction).await),
        WorkerCall::KeepAlive(transactions) => answered(worker.keep_alive(transactions).await),
        WorkerCall::IndexFeed(request) => answered(worker.index_feed(request).await),
        WorkerCall::IndexFresh { index, at, wait_ms } => answered(worker.index_fresh(index, at, wait_ms).await),
        WorkerCall::IndexLag => answered(worker.index_lag().await),
        WorkerCall::BuildIndex(version, index) => answered(worker.build_index(version, index).await),
        WorkerCall::Sizes(partitions) => answered(worker.sizes(partitions).await),
    }
}

async fn call_catalog(catalog: &dyn CatalogApi, call: CatalogCall) -> Envelope {
    match call {
        CatalogCall::Propose(base, changes) => answered(catalog.propose(base, changes).await),
        CatalogCall::Timestamps(count) => answered(catalog.timestamps(count).await),
        CatalogCall::AllocateIds(count) => answered(catalog.allocate_ids(count).await),
        CatalogCall::Sequence(sequence, call) => answered(catalog.sequence(sequence, call).await),
        CatalogCall::Register(request) => answered(catalog.register(request).await),
        CatalogCall::Heartbeat(worker) => answered(catalog.heartbeat(worker).await),
        CatalogCall::OldestSnapshot(node, oldest) => answered(catalog.oldest_snapshot(node, oldest).await),
    }
}

/// What tonic's code generator would write for the service.
#[derive(Clone)]
struct NodeService(Arc<Node>);

impl NamedService for NodeService {
    const NAME: &'static str = SERVICE;
}

type Handled<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for NodeService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Handled<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let node = Arc::clone(&self.0);
        let mut grpc = Grpc::new(ProstCodec::<Envelope, Envelope>::default())
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        match request.uri().path() {
            CALL_PATH => Box::pin(async move { Ok(grpc.unary(CallHandler(node), request).await) }),
            STREAM_PATH => Box::pin(async move { Ok(grpc.server_streaming(StreamHandler(node), request).await) }),
            path => {
                let status = Status::unimplemented(format!("{SERVICE} has no method {path}"));
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

struct CallHandler(Arc<Node>);

impl UnaryService<Envelope> for CallHandler {
    type Response = Envelope;
    type Future = Handled<Result<Response<Envelope>, Status>>;

    fn call(&mut self, request: Request<Envelope>) -> Self::Future {
        let node = Arc::clone(&self.0);
        Box::pin(async move { Ok(Response::new(node.call(request.into_inner()).await)) })
    }
}

struct StreamHandler(Arc<Node>);

impl ServerStreamingService<Envelope> for StreamHandler {
    type Response = Envelope;
    type ResponseStream = EnvelopeStream;
    type Future = Handled<Result<Response<EnvelopeStream>, Status>>;

    fn call(&mut self, request: Request<Envelope>) -> Self::Future {
        let node = Arc::clone(&self.0);
        Box::pin(async move { Ok(Response::new(node.stream(request.into_inner()).await)) })
    }
}
