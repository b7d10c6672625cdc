//! The command line. Every argument can also come from the environment; what is not given here comes from the file or the defaults,
//! so that nothing has a default here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A PostgreSQL-compatible distributed SQL database. Without a command: `start`.
#[derive(Debug, Parser)]
#[command(name = "partita", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) start: StartArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A whole database in one process: the catalog, one or more workers, and a coordinator.
    Start(StartArguments),
    /// The node that keeps schemas, placements and time. A cluster has one.
    Catalog(CatalogArguments),
    /// A node that keeps partitions. A cluster has as many as it likes.
    Worker(WorkerArguments),
    /// A node that clients talk to. A cluster has as many as it likes.
    Coordinator(CoordinatorArguments),
}

#[derive(Debug, Default, Args)]
pub(crate) struct CommonArguments {
    /// A file of settings (TOML); arguments and the environment come before it.
    #[arg(long, env = "PARTITA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to log, as in `info,worker=debug` [default: info].
    #[arg(long, env = "RUST_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct ClientArguments {
    /// Where PostgreSQL's clients connect; port 0 takes a free one [default: 127.0.0.1:5432].
    #[arg(long, env = "PARTITA_LISTEN", value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Connections at once [default: 2000].
    #[arg(long, env = "PARTITA_CONNECTIONS_MAX", value_name = "N")]
    pub(crate) connections_max: Option<u64>,
    /// Memory that statements may use together, in MB [default: 1024].
    #[arg(long, env = "PARTITA_MEMORY_MB", value_name = "MB")]
    pub(crate) memory_mb: Option<u64>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct StartArguments {
    /// The data directory; made if it is not there [default: partita-data].
    #[arg(long, env = "PARTITA_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Workers in this process; can grow, not shrink [default: as many as the directory has; 1 in a new one].
    #[arg(long, env = "PARTITA_WORKERS", value_name = "N")]
    pub(crate) workers: Option<u64>,
    /// Groups of each worker's partitions; can grow, not shrink [default: 4].
    #[arg(long, env = "PARTITA_GROUPS", value_name = "N")]
    pub(crate) groups: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogArguments {
    /// The data directory; made if it is not there [default: partita-catalog].
    #[arg(long, env = "PARTITA_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where other nodes connect; port 0 takes a free one [default: 127.0.0.1:7400].
    #[arg(long, env = "PARTITA_RPC", value_name = "HOST:PORT")]
    pub(crate) rpc: Option<String>,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// The data directory; made if it is not there [default: partita-worker].
    #[arg(long, env = "PARTITA_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where other nodes connect; port 0 takes a free one [default: 127.0.0.1:0].
    #[arg(long, env = "PARTITA_RPC", value_name = "HOST:PORT")]
    pub(crate) rpc: Option<String>,
    /// Where the catalog listens [default: 127.0.0.1:7400].
    #[arg(long, env = "PARTITA_JOIN", value_name = "HOST:PORT")]
    pub(crate) join: Option<String>,
    /// The address under which other nodes reach this one; without a port, the one of --rpc [default: where --rpc listens].
    #[arg(long, env = "PARTITA_ADVERTISE", value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<String>,
    /// Groups of this worker's partitions; can grow, not shrink [default: 4].
    #[arg(long, env = "PARTITA_GROUPS", value_name = "N")]
    pub(crate) groups: Option<u64>,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CoordinatorArguments {
    /// Where the catalog listens [default: 127.0.0.1:7400].
    #[arg(long, env = "PARTITA_JOIN", value_name = "HOST:PORT")]
    pub(crate) join: Option<String>,
    /// Where other nodes could connect. A coordinator has nothing to answer; a connection says that it is alive [default: none].
    #[arg(long, env = "PARTITA_RPC", value_name = "HOST:PORT")]
    pub(crate) rpc: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    #[command(flatten)]
    pub(crate) common: CommonArguments,
}
