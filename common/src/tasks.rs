//! The one place that starts a task, so that none runs unnamed and unseen.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Starts `future` on the current runtime under a span of that name. Dropping the handle does not stop the task.
#[allow(clippy::disallowed_methods, reason = "this is the spawner that everybody else uses")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)))
}
