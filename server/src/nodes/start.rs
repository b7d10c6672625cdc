//! `partita start`: all parts in one process, calling each other directly.

use std::sync::Arc;

use ::catalog::client::CatalogCache;
use ::catalog::service::CatalogService;
use ::coordinator::coordinator::Coordinator;
use ::worker::{Worker, WorkerOptions};
use rpc::catalog_api::CatalogApi;
use rpc::directory::{DynamicDirectory, WorkerDirectory};
use rpc::worker_api::WorkerApi;
use tokio_util::sync::CancellationToken;

use crate::config::StartSettings;
use crate::data_directory::DataDirectory;
use crate::error::ServerError;
use crate::{listeners, nodes};

pub(crate) async fn run(settings: StartSettings, stop: CancellationToken) -> Result<(), ServerError> {
    let clients = listeners::bind(&settings.client.listen).await?;
    let data = DataDirectory::claim(&settings.data, "start")?;
    let count = data.workers(settings.workers)?;
    let clock = nodes::clock();
    let service = CatalogService::open(&data.part("catalog"), Arc::clone(&clock)).map_err(ServerError::part("cannot open the catalog"))?;
    let catalog = Arc::clone(&service) as Arc<dyn CatalogApi>;
    let beside = CancellationToken::new();
    let _stop_beside = beside.clone().drop_guard();
    common::tasks::spawn("watch_workers", Arc::clone(&service).watch_workers(beside.clone()));
    let cache = CatalogCache::start(Arc::clone(&catalog), beside.clone()).await.map_err(ServerError::part("cannot read the catalog"))?;
    let directory = Arc::new(DynamicDirectory::new());
    nodes::follow_workers(&cache, &directory, beside.clone());

    let shared: Arc<dyn WorkerDirectory> = Arc::clone(&directory) as _;
    let options = super::coordinator::options(&settings.client);
    let coordinator = Coordinator::new(options, Arc::clone(&catalog), Arc::clone(&cache), shared, Arc::clone(&clock))
        .map_err(ServerError::part("cannot start the coordinator"))?;
    let mut workers = Workers(Vec::new());
    for number in 1..=count {
        let options = WorkerOptions { data: data.worker(number), address: String::new(), groups: settings.groups };
        let shared: Arc<dyn WorkerDirectory> = Arc::clone(&directory) as _;
        match Box::pin(Worker::open(options, Arc::clone(&catalog), Arc::clone(&cache), shared, Arc::clone(&clock))).await {
            Ok(worker) => {
                directory.set_local(worker.id(), Arc::clone(&worker) as Arc<dyn WorkerApi>);
                workers.0.push(worker);
            }
            Err(report) => {
                workers.shut_down().await;
                return Err(ServerError::part(format!("cannot open worker {number}"))(report));
            }
        }
    }

    let serving = common::tasks::spawn("clients", coordinator.serve(clients.listener, stop.clone()));
    listeners::say_ready(&format!("partita is ready: {}", listeners::psql(clients.address)));
    let served = nodes::served(&stop, "the coordinator", serving).await;
    workers.shut_down().await;
    service.shut_down();
    served
}

struct Workers(Vec<Arc<Worker>>);

impl Workers {
    /// All at once: each of them has a checkpoint to write.
    async fn shut_down(self) {
        let closing: Vec<_> =
            self.0.into_iter().map(|worker| common::tasks::spawn("shut_down", async move { worker.shut_down().await })).collect();
        for worker in closing {
            if let Err(error) = worker.await {
                tracing::error!(%error, "a worker was not closed cleanly");
            }
        }
    }
}
