//! `partita worker`.

use std::sync::Arc;

use ::catalog::client::CatalogCache;
use ::worker::{Worker, WorkerOptions};
use rpc::catalog_api::CatalogApi;
use rpc::directory::{DynamicDirectory, WorkerDirectory};
use rpc::grpc::CatalogClient;
use rpc::worker_api::WorkerApi;
use tokio_util::sync::CancellationToken;

use crate::config::WorkerSettings;
use crate::data_directory::DataDirectory;
use crate::error::ServerError;
use crate::{listeners, nodes};

pub(crate) async fn run(settings: WorkerSettings, stop: CancellationToken) -> Result<(), ServerError> {
    let bound = listeners::bind(&settings.rpc).await?;
    let address = listeners::advertised(bound.address, settings.advertise.as_deref())?;
    let data = DataDirectory::claim(&settings.data, "worker")?;
    let catalog = CatalogClient::new(&settings.join).map_err(|error| ServerError::part("cannot join the cluster")(error.into()))?;
    let catalog: Arc<dyn CatalogApi> = Arc::new(catalog);
    // What runs beside must outlive the worker's own end, which needs the catalog and other workers.
    let beside = CancellationToken::new();
    let _stop_beside = beside.clone().drop_guard();
    let Some(cache) = stop.run_until_cancelled(CatalogCache::start(Arc::clone(&catalog), beside.clone())).await else { return Ok(()) };
    let cache = cache.map_err(ServerError::part("cannot join the cluster"))?;
    let directory = Arc::new(DynamicDirectory::new());
    nodes::follow_workers(&cache, &directory, beside.clone());
    let options = WorkerOptions { data: data.part("worker"), address: address.clone(), groups: settings.groups };
    let shared: Arc<dyn WorkerDirectory> = Arc::clone(&directory) as _;
    let opened = Box::pin(Worker::open(options, catalog, cache, shared, nodes::clock())).await;
    let worker = opened.map_err(ServerError::part("cannot open the worker"))?;
    directory.set_local(worker.id(), Arc::clone(&worker) as Arc<dyn WorkerApi>);
    listeners::say_ready(&format!("partita worker {} is ready: {address}", worker.id()));
    let api = Arc::clone(&worker) as Arc<dyn WorkerApi>;
    let served = rpc::grpc::serve(bound.listener, Some(api), None, stop).await;
    worker.shut_down().await;
    served.map_err(ServerError::part("the worker's port failed"))
}
