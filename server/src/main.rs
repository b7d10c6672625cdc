//! The `partita` binary: one process as a whole database (`partita start`), or as one node of a cluster (`partita catalog`, `worker`,
//! `coordinator`).
//!
//! - [`arguments`]: the command line. [`config`]: what it, the environment, a file and the defaults come to.
//! - [`data_directory`]: whose directory this is, and that no other process has it.
//! - [`nodes`]: what each kind of process consists of, how it starts and how it stops.
//!
//! Invariants: a process that cannot start says why in one line on stderr and ends with 1; one that is told to stop (SIGINT, SIGTERM)
//! closes its storage cleanly and ends with 0. The one line on stdout says that it is ready, and where.

mod arguments;
mod config;
mod data_directory;
mod error;
mod listeners;
mod nodes;
mod signals;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;
use crate::config::{Config, Settings};
use crate::error::ServerError;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plans nest; so do the functions that walk over them.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("partita: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), ServerError> {
    let config = Config::load(arguments)?;
    start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("partita")
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(ServerError::Runtime)?;
    let stop = tokio_util::sync::CancellationToken::new();
    runtime.block_on(async {
        signals::watch(stop.clone())?;
        match config.settings {
            Settings::Start(settings) => nodes::start::run(settings, stop).await,
            Settings::Catalog(settings) => nodes::catalog::run(settings, stop).await,
            Settings::Worker(settings) => nodes::worker::run(settings, stop).await,
            Settings::Coordinator(settings) => nodes::coordinator::run(settings, stop).await,
        }
    })
}

fn start_log(filter: &str) -> Result<(), ServerError> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| ServerError::LogFilter { filter: filter.to_owned(), cause: error.to_string() })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
