//! The operating system's wish that the process end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::ServerError;

/// Cancels `stop` at the first SIGINT or SIGTERM; the second one ends the process at once, as a crash would.
pub(crate) fn watch(stop: CancellationToken) -> Result<(), ServerError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Runtime)?;
    common::tasks::spawn("signals", async move {
        for already_told in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if already_told {
                eprintln!("partita: stopped at once, at the second signal");
                std::process::exit(1);
            }
            tracing::info!("stopping");
            stop.cancel();
        }
    });
    Ok(())
}
