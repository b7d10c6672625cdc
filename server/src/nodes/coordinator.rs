//! `partita coordinator`.

use std::sync::Arc;

use ::catalog::client::CatalogCache;
use ::coordinator::coordinator::{Coordinator, CoordinatorOptions};
use rpc::catalog_api::CatalogApi;
use rpc::directory::DynamicDirectory;
use rpc::grpc::CatalogClient;
use tokio_util::sync::CancellationToken;

use crate::config::{ClientSettings, CoordinatorSettings};
use crate::error::ServerError;
use crate::{listeners, nodes};

pub(crate) async fn run(settings: CoordinatorSettings, stop: CancellationToken) -> Result<(), ServerError> {
    let clients = listeners::bind(&settings.client.listen).await?;
    let nodes_port = match &settings.rpc {
        Some(address) => Some(listeners::bind(address).await?),
        None => None,
    };
    let catalog = CatalogClient::new(&settings.join).map_err(|error| ServerError::part("cannot join the cluster")(error.into()))?;
    let catalog: Arc<dyn CatalogApi> = Arc::new(catalog);
    let beside = CancellationToken::new();
    let _stop_beside = beside.clone().drop_guard();
    let Some(cache) = stop.run_until_cancelled(CatalogCache::start(Arc::clone(&catalog), beside.clone())).await else { return Ok(()) };
    let cache = cache.map_err(ServerError::part("cannot join the cluster"))?;
    let directory = Arc::new(DynamicDirectory::new());
    nodes::follow_workers(&cache, &directory, beside.clone());
    if let Some(port) = nodes_port {
        common::tasks::spawn("rpc", rpc::grpc::serve(port.listener, None, None, stop.clone()));
    }
    let coordinator = Coordinator::new(options(&settings.client), catalog, cache, directory, nodes::clock())
        .map_err(ServerError::part("cannot start the coordinator"))?;
    let serving = common::tasks::spawn("clients", coordinator.serve(clients.listener, stop.clone()));
    listeners::say_ready(&format!("partita coordinator is ready: {}", listeners::psql(clients.address)));
    nodes::served(&stop, "the coordinator", serving).await
}

/// The name tells coordinators apart in the whole cluster, and need not outlive the process, as nothing of a coordinator does.
pub(super) fn options(settings: &ClientSettings) -> CoordinatorOptions {
    CoordinatorOptions {
        name: format!("coordinator-{}", uuid::Uuid::new_v4()),
        connections_max: settings.connections_max,
        memory_bytes_max: settings.memory_bytes_max,
    }
}
