//! `partita catalog`.

use std::sync::Arc;

use ::catalog::service::CatalogService;
use rpc::catalog_api::CatalogApi;
use tokio_util::sync::CancellationToken;

use crate::config::CatalogSettings;
use crate::data_directory::DataDirectory;
use crate::error::ServerError;
use crate::{listeners, nodes};

pub(crate) async fn run(settings: CatalogSettings, stop: CancellationToken) -> Result<(), ServerError> {
    let bound = listeners::bind(&settings.rpc).await?;
    let data = DataDirectory::claim(&settings.data, "catalog")?;
    let service = CatalogService::open(&data.part("catalog"), nodes::clock()).map_err(ServerError::part("cannot open the catalog"))?;
    common::tasks::spawn("watch_workers", Arc::clone(&service).watch_workers(stop.clone()));
    listeners::say_ready(&format!("partita catalog is ready: {}", bound.address));
    let api = Arc::clone(&service) as Arc<dyn CatalogApi>;
    let served = rpc::grpc::serve(bound.listener, None, Some(api), stop).await;
    service.shut_down();
    served.map_err(ServerError::part("the catalog's port failed"))
}
