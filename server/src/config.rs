//! Settings: defaults, under the file, under the environment, under the command line.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::arguments::{
    Arguments, CatalogArguments, ClientArguments, Command, CommonArguments, CoordinatorArguments, StartArguments, WorkerArguments,
};
use crate::error::ServerError;

const LISTEN: &str = "127.0.0.1:5432";
const CATALOG_RPC: &str = "127.0.0.1:7400";
const WORKER_RPC: &str = "127.0.0.1:0";
const LOG: &str = "info";
const WORKERS_MAX: u64 = 64;
const GROUPS: u32 = 4;
const GROUPS_MAX: u64 = 64;
const CONNECTIONS: u64 = 2_000;
const CONNECTIONS_MAX: u64 = 100_000;
const MEMORY_MB: u64 = 1_024;
const MEMORY_MB_MIN: u64 = 64;
const MEMORY_MB_MAX: u64 = 16 << 20;

/// What a process is to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) log: String,
    pub(crate) settings: Settings,
}

#[derive(Debug)]
pub(crate) enum Settings {
    Start(StartSettings),
    Catalog(CatalogSettings),
    Worker(WorkerSettings),
    Coordinator(CoordinatorSettings),
}

#[derive(Debug)]
pub(crate) struct ClientSettings {
    pub(crate) listen: String,
    pub(crate) connections_max: usize,
    pub(crate) memory_bytes_max: usize,
}

#[derive(Debug)]
pub(crate) struct StartSettings {
    pub(crate) data: PathBuf,
    /// `None`: as many as there are.
    pub(crate) workers: Option<u32>,
    pub(crate) groups: u32,
    pub(crate) client: ClientSettings,
}

#[derive(Debug)]
pub(crate) struct CatalogSettings {
    pub(crate) data: PathBuf,
    pub(crate) rpc: String,
}

#[derive(Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) data: PathBuf,
    pub(crate) rpc: String,
    pub(crate) join: String,
    pub(crate) advertise: Option<String>,
    pub(crate) groups: u32,
}

#[derive(Debug)]
pub(crate) struct CoordinatorSettings {
    pub(crate) join: String,
    pub(crate) rpc: Option<String>,
    pub(crate) client: ClientSettings,
}

/// The file's keys. One file can serve all kinds of nodes: each reads the keys that it knows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    log: Option<String>,
    data: Option<PathBuf>,
    listen: Option<String>,
    connections_max: Option<u64>,
    memory_mb: Option<u64>,
    workers: Option<u64>,
    groups: Option<u64>,
    rpc: Option<String>,
    advertise: Option<String>,
    join: Option<String>,
}

impl File {
    fn load(path: Option<&Path>) -> Result<Self, ServerError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let failed = |cause: String| ServerError::ConfigFile { path: path.to_path_buf(), cause };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
            let message = error.message().replace('\n', " ");
            line.map_or(message.clone(), |line| format!("line {line}: {message}"))
        })
    }
}

impl Config {
    /// All sources together.
    pub(crate) fn load(arguments: Arguments) -> Result<Self, ServerError> {
        let command = arguments.command.unwrap_or(Command::Start(arguments.start));
        let common = match &command {
            Command::Start(a) => &a.common,
            Command::Catalog(a) => &a.common,
            Command::Worker(a) => &a.common,
            Command::Coordinator(a) => &a.common,
        };
        let CommonArguments { config, log } = common;
        let file = File::load(config.as_deref())?;
        let log = log.clone().or_else(|| file.log.clone()).unwrap_or_else(|| LOG.to_owned());
        let settings = match command {
            Command::Start(arguments) => Settings::Start(start(arguments, file)?),
            Command::Catalog(arguments) => Settings::Catalog(catalog(arguments, file)),
            Command::Worker(arguments) => Settings::Worker(worker(arguments, file)?),
            Command::Coordinator(arguments) => Settings::Coordinator(coordinator(arguments, file)?),
        };
        Ok(Self { log, settings })
    }
}

fn start(arguments: StartArguments, file: File) -> Result<StartSettings, ServerError> {
    let client = client(arguments.client, &file)?;
    Ok(StartSettings {
        data: arguments.data.or(file.data).unwrap_or_else(|| "partita-data".into()),
        workers: arguments.workers.or(file.workers).map(|n| within("workers", n, 1, WORKERS_MAX)).transpose()?.map(small),
        groups: groups(arguments.groups.or(file.groups))?,
        client,
    })
}

fn catalog(arguments: CatalogArguments, file: File) -> CatalogSettings {
    CatalogSettings {
        data: arguments.data.or(file.data).unwrap_or_else(|| "partita-catalog".into()),
        rpc: arguments.rpc.or(file.rpc).unwrap_or_else(|| CATALOG_RPC.to_owned()),
    }
}

fn worker(arguments: WorkerArguments, file: File) -> Result<WorkerSettings, ServerError> {
    Ok(WorkerSettings {
        data: arguments.data.or(file.data).unwrap_or_else(|| "partita-worker".into()),
        rpc: arguments.rpc.or(file.rpc).unwrap_or_else(|| WORKER_RPC.to_owned()),
        join: arguments.join.or(file.join).unwrap_or_else(|| CATALOG_RPC.to_owned()),
        advertise: arguments.advertise.or(file.advertise),
        groups: groups(arguments.groups.or(file.groups))?,
    })
}

fn coordinator(arguments: CoordinatorArguments, file: File) -> Result<CoordinatorSettings, ServerError> {
    let client = client(arguments.client, &file)?;
    Ok(CoordinatorSettings {
        join: arguments.join.or(file.join).unwrap_or_else(|| CATALOG_RPC.to_owned()),
        rpc: arguments.rpc.or(file.rpc),
        client,
    })
}

fn client(arguments: ClientArguments, file: &File) -> Result<ClientSettings, ServerError> {
    let connections = arguments.connections_max.or(file.connections_max).unwrap_or(CONNECTIONS);
    let memory = arguments.memory_mb.or(file.memory_mb).unwrap_or(MEMORY_MB);
    let memory = within("memory_mb", memory, MEMORY_MB_MIN, MEMORY_MB_MAX)?;
    Ok(ClientSettings {
        listen: arguments.listen.or_else(|| file.listen.clone()).unwrap_or_else(|| LISTEN.to_owned()),
        connections_max: size(within("connections_max", connections, 1, CONNECTIONS_MAX)?),
        memory_bytes_max: size(memory << 20),
    })
}

fn groups(asked: Option<u64>) -> Result<u32, ServerError> {
    asked.map_or(Ok(GROUPS), |n| within("groups", n, 1, GROUPS_MAX).map(small))
}

fn within(name: &'static str, found: u64, min: u64, max: u64) -> Result<u64, ServerError> {
    if (min..=max).contains(&found) { Ok(found) } else { Err(ServerError::OutOfRange { name, min, max, found }) }
}

fn small(checked: u64) -> u32 {
    u32::try_from(checked).unwrap_or(u32::MAX)
}

fn size(checked: u64) -> usize {
    usize::try_from(checked).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const EXAMPLE: &str = include_str!("../../partita.example.toml");

    fn load(arguments: &[&str]) -> Result<Config, ServerError> {
        Config::load(Arguments::try_parse_from([&["partita"], arguments].concat()).unwrap())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    /// The example as it stands, and with every key switched on: a line `# key = value` is one that can be.
    #[test]
    fn the_example_has_every_key_and_says_the_defaults() {
        let untouched = File::parse(EXAMPLE).unwrap();
        assert!(format!("{untouched:?}").matches("None").count() == 10, "{untouched:?}");
        let is_key = |line: &str| line.strip_prefix("# ").is_some_and(|l| l.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')));
        let switched_on: Vec<&str> = EXAMPLE.lines().map(|l| if is_key(l) { &l[2..] } else { l }).collect();
        let all = File::parse(&switched_on.join("\n")).unwrap();
        assert!(!format!("{all:?}").contains("None"), "{all:?}");
        assert_eq!(all.listen.as_deref(), Some(LISTEN));
        assert_eq!(all.join.as_deref(), Some(CATALOG_RPC));
        assert_eq!(all.log.as_deref(), Some(LOG));
        assert_eq!((all.connections_max, all.memory_mb, all.groups), (Some(CONNECTIONS), Some(MEMORY_MB), Some(u64::from(GROUPS))));
    }

    #[test]
    fn no_command_is_start() {
        let config = load(&["--listen", "127.0.0.1:0", "--workers", "3"]).unwrap();
        let Settings::Start(start) = config.settings else { panic!("{config:?}") };
        assert_eq!((start.client.listen.as_str(), start.workers, start.data.to_str()), ("127.0.0.1:0", Some(3), Some("partita-data")));
        assert!(matches!(load(&["start"]).unwrap().settings, Settings::Start(_)));
    }

    #[test]
    fn arguments_come_before_the_file() {
        let file = file("listen = \"0.0.0.0:1\"\nworkers = 2\nlog = \"warn\"\njoin = \"there:1\"\n");
        let path = file.path().to_str().unwrap();
        let config = load(&["start", "--config", path, "--workers", "4"]).unwrap();
        assert_eq!(config.log, "warn");
        let Settings::Start(start) = config.settings else { panic!() };
        assert_eq!((start.client.listen.as_str(), start.workers), ("0.0.0.0:1", Some(4)));
        let Settings::Worker(worker) = load(&["worker", "--config", path]).unwrap().settings else { panic!() };
        assert_eq!((worker.join.as_str(), worker.groups), ("there:1", GROUPS));
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        let unknown = file("listen = \"x\"\n\nlisten_on = 1\n");
        let told = load(&["--config", unknown.path().to_str().unwrap()]).unwrap_err().to_string();
        assert!(told.contains("line 3: unknown field `listen_on`") && !told.contains('\n'), "{told}");
        let wrong = file("workers = \"two\"\n");
        let told = load(&["--config", wrong.path().to_str().unwrap()]).unwrap_err().to_string();
        assert!(told.contains("line 1: invalid type"), "{told}");
        let told = load(&["--config", "/nowhere/partita.toml"]).unwrap_err().to_string();
        assert!(told.starts_with("cannot read configuration file /nowhere/partita.toml: "), "{told}");
        let told = load(&["--workers", "0"]).unwrap_err().to_string();
        assert_eq!(told, "workers must be between 1 and 64, not 0");
    }
}
