//! The session's settings (PostgreSQL's GUCs): their names, defaults, checks and what they mean to the rest.
//!
//! A setting is a row of [`REGISTRY`]. Those with a meaning here are parsed when they are set, so that a wrong value fails with PostgreSQL's
//! words at SET; those without one are kept and shown, because drivers set them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::error::Report;
use common::sqlstate::SqlState;
pub use common::version::SERVER_VERSION;
use functions::context::SessionSettings;
use query::freshness::IndexFreshness;
use types::format_settings::FormatSettings;
use types::settings_text;

use crate::coordinator::ConnectedSession;
use crate::isolation::{Isolation, Modes};

/// How a value is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Bool,
    /// Whole number between two bounds.
    Integer(i64, i64),
    /// Milliseconds, with units.
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    DateStyle,
    TimeZone,
    /// Not to be changed.
    Fixed,
    IndexFreshness,
    /// Only UTF8.
    Encoding,
}

struct Definition {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Told to the client when it changes, in ParameterStatus.
    reported: bool,
    description: &'static str,
}

const fn setting(name: &'static str, default: &'static str, kind: Kind, description: &'static str) -> Definition {
    Definition { name, default, kind, reported: false, description }
}

const fn reported(name: &'static str, default: &'static str, kind: Kind, description: &'static str) -> Definition {
    Definition { name, default, kind, reported: true, description }
}

/// In order of name without regard to case.
const REGISTRY: &[Definition] = &[
    reported("application_name", "", Kind::Text, "Sets the application name to be reported in statistics and logs."),
    setting("array_nulls", "on", Kind::Bool, "Enable input of NULL elements in arrays."),
    setting("backslash_quote", "safe_encoding", Kind::Text, "Sets whether \"\\'\" is allowed in string literals."),
    setting("bytea_output", "hex", Kind::Word(&["hex", "escape"]), "Sets the output format for bytea."),
    setting("check_function_bodies", "on", Kind::Bool, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    reported("client_encoding", "UTF8", Kind::Encoding, "Sets the client's character set encoding."),
    setting(
        "client_min_messages",
        "notice",
        Kind::Word(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]),
        "Sets the message levels that are sent to the client.",
    ),
    reported("DateStyle", "ISO, MDY", Kind::DateStyle, "Sets the display format for date and time values."),
    setting("deadlock_timeout", "1s", Kind::Duration, "Sets the time to wait on a lock before checking for deadlock."),
    setting("default_table_access_method", "heap", Kind::Text, "Sets the default table access method for new tables."),
    setting("default_tablespace", "", Kind::Text, "Sets the default tablespace to create tables and indexes in."),
    setting("default_transaction_deferrable", "off", Kind::Bool, "Sets the default deferrable status of new transactions."),
    setting(
        "default_transaction_isolation",
        "read committed",
        Kind::Word(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        "Sets the transaction isolation level of each new transaction.",
    ),
    reported("default_transaction_read_only", "off", Kind::Bool, "Sets the default read-only status of new transactions."),
    setting("enable_hashjoin", "on", Kind::Bool, "Enables the planner's use of hash join plans."),
    setting("enable_indexscan", "on", Kind::Bool, "Enables the planner's use of index-scan plans."),
    setting("enable_mergejoin", "on", Kind::Bool, "Enables the planner's use of merge join plans."),
    setting("enable_nestloop", "on", Kind::Bool, "Enables the planner's use of nested-loop join plans."),
    setting("enable_seqscan", "on", Kind::Bool, "Enables the planner's use of sequential-scan plans."),
    setting("enable_sort", "on", Kind::Bool, "Enables the planner's use of explicit sort steps."),
    setting("extra_float_digits", "1", Kind::Integer(-15, 3), "Sets the number of digits displayed for floating-point values."),
    setting("geqo", "on", Kind::Bool, "Enables genetic query optimization."),
    setting(
        "idle_in_transaction_session_timeout",
        "0",
        Kind::Duration,
        "Sets the maximum allowed idle time between queries, when in a transaction.",
    ),
    setting("idle_session_timeout", "0", Kind::Duration, "Sets the maximum allowed idle time between queries, when not in a transaction."),
    reported("in_hot_standby", "off", Kind::Fixed, "Shows whether hot standby is currently active."),
    reported("integer_datetimes", "on", Kind::Fixed, "Shows whether datetimes are integer based."),
    reported(
        "IntervalStyle",
        "postgres",
        Kind::Word(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "Sets the display format for interval values.",
    ),
    setting("jit", "off", Kind::Bool, "Allow JIT compilation."),
    setting("lc_collate", "C", Kind::Fixed, "Shows the collation order locale."),
    setting("lc_ctype", "C.UTF-8", Kind::Fixed, "Shows the character classification and case conversion locale."),
    setting("lc_messages", "C", Kind::Text, "Sets the language in which messages are displayed."),
    setting("lc_monetary", "C", Kind::Text, "Sets the locale for formatting monetary amounts."),
    setting("lc_numeric", "C", Kind::Text, "Sets the locale for formatting numbers."),
    setting("lc_time", "C", Kind::Text, "Sets the locale for formatting date and time values."),
    setting("lock_timeout", "0", Kind::Duration, "Sets the maximum allowed duration of any wait for a lock."),
    setting("maintenance_work_mem", "64MB", Kind::Text, "Sets the maximum memory to be used for maintenance operations."),
    setting("max_connections", "2000", Kind::Fixed, "Sets the maximum number of concurrent connections."),
    setting("max_identifier_length", "63", Kind::Fixed, "Shows the maximum identifier length."),
    setting("max_index_keys", "32", Kind::Fixed, "Shows the maximum number of index keys."),
    setting(
        "max_parallel_workers_per_gather",
        "2",
        Kind::Integer(0, 1024),
        "Sets the maximum number of parallel processes per executor node.",
    ),
    setting(
        "partita.index_freshness",
        "strong",
        Kind::IndexFreshness,
        "Sets how fresh an answer from an asynchronous global index must be.",
    ),
    setting("plan_cache_mode", "auto", Kind::Text, "Controls the planner's selection of custom or generic plan."),
    setting("quote_all_identifiers", "off", Kind::Bool, "When generating SQL fragments, quote all identifiers."),
    setting("random_page_cost", "4", Kind::Text, "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    setting("role", "none", Kind::Text, "Sets the current role."),
    setting("row_security", "on", Kind::Bool, "Enable row security."),
    setting("search_path", "\"$user\", public", Kind::Text, "Sets the schema search order for names that are not schema-qualified."),
    reported("server_encoding", "UTF8", Kind::Fixed, "Shows the server (database) character set encoding."),
    reported("server_version", SERVER_VERSION, Kind::Fixed, "Shows the server version."),
    setting("server_version_num", "150018", Kind::Fixed, "Shows the server version as an integer."),
    setting("standard_conforming_strings", "on", Kind::Fixed, "Causes '...' strings to treat backslashes literally."),
    setting("statement_timeout", "0", Kind::Duration, "Sets the maximum allowed duration of any statement."),
    setting("synchronize_seqscans", "on", Kind::Bool, "Enable synchronized sequential scans."),
    setting("synchronous_commit", "on", Kind::Text, "Sets the current transaction's synchronization level."),
    setting("tcp_keepalives_idle", "0", Kind::Text, "Time between issuing TCP keepalives."),
    reported("TimeZone", "UTC", Kind::TimeZone, "Sets the time zone for displaying and interpreting time stamps."),
    setting("timezone_abbreviations", "Default", Kind::Text, "Selects a file of time zone abbreviations."),
    setting(
        "transaction_deferrable",
        "off",
        Kind::Bool,
        "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures.",
    ),
    setting(
        "transaction_isolation",
        "read committed",
        Kind::Word(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        "Sets the current transaction's isolation level.",
    ),
    setting("transaction_read_only", "off", Kind::Bool, "Sets the current transaction's read-only status."),
    setting("vacuum_cost_delay", "0", Kind::Text, "Vacuum cost delay in milliseconds."),
    setting("work_mem", "64MB", Kind::Text, "Sets the maximum memory to be used for query workspaces."),
    setting(
        "xmloption",
        "content",
        Kind::Word(&["content", "document"]),
        "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments.",
    ),
];

/// A session's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// What RESET goes back to: the client's startup parameters.
    defaults: BTreeMap<String, String>,
    format: FormatSettings,
    freshness: FreshnessSetting,
    search_path: Arc<[String]>,
    timeouts: Timeouts,
    default_modes: Modes,
    binding_key: Arc<str>,
    user: Arc<str>,
    database: Arc<str>,
}

/// The settings that bound waits; `None` means without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub lock: Option<Duration>,
    /// How long a wait for a lock lasts before a deadlock is looked for; `None`: as long as by default.
    pub deadlock: Option<Duration>,
    pub statement: Option<Duration>,
    pub idle: Option<Duration>,
    pub idle_in_transaction: Option<Duration>,
}

/// `partita.index_freshness` as it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreshnessSetting {
    Strong,
    Session,
    Within(Duration),
    Any,
}

/// A setting and what it may be.
#[derive(Clone, Debug)]
pub struct DescribedSetting {
    pub name: &'static str,
    pub value: String,
    /// What RESET goes back to.
    pub reset: String,
    pub default: &'static str,
    pub description: &'static str,
    /// pg_settings.vartype.
    pub kind: &'static str,
    /// The lowest and the highest value of an integer.
    pub bounds: Option<(i64, i64)>,
    /// The values of an enum.
    pub words: Option<&'static [&'static str]>,
    /// It cannot be changed.
    pub is_fixed: bool,
}

fn definition(name: &str) -> Option<&'static Definition> {
    REGISTRY.iter().find(|d| d.name.eq_ignore_ascii_case(name))
}

impl Settings {
    /// A new session's settings.
    pub fn new(user: &str, database: &str) -> Self {
        let mut settings = Self {
            values: BTreeMap::new(),
            defaults: BTreeMap::new(),
            format: FormatSettings::default(),
            freshness: FreshnessSetting::Strong,
            search_path: Arc::from([]),
            timeouts: Timeouts::default(),
            default_modes: Modes::default(),
            binding_key: "".into(),
            user: user.into(),
            database: database.into(),
        };
        settings.refresh("search_path", "\"$user\", public").expect("the default search path is valid");
        settings
    }

    /// The settings that expressions read.
    pub fn for_expressions(&self, connected: &ConnectedSession, transaction_micros: i64, statement_micros: i64) -> SessionSettings {
        SessionSettings {
            format: FormatSettings { transaction_micros, ..self.format },
            user: Arc::clone(&self.user),
            database: Arc::clone(&self.database),
            search_path: Arc::clone(&self.search_path),
            transaction_micros,
            statement_micros,
            backend_pid: connected.pid,
            types: Arc::default(),
        }
    }

    /// How values are printed.
    pub fn format(&self) -> &FormatSettings {
        &self.format
    }

    /// The schemas that unqualified names are looked up in, in order.
    pub fn search_path(&self) -> &Arc<[String]> {
        &self.search_path
    }

    /// What an asynchronous index must have seen; `last_commit` is the session's newest commit.
    pub fn index_freshness(&self, last_commit: common::ids::Timestamp) -> IndexFreshness {
        match self.freshness {
            FreshnessSetting::Strong => IndexFreshness::Strong,
            FreshnessSetting::Session => IndexFreshness::Session(last_commit),
            FreshnessSetting::Within(duration) => IndexFreshness::Within(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
            FreshnessSetting::Any => IndexFreshness::Any,
        }
    }

    /// The settings that bound waits.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The modes that a new transaction has.
    pub fn default_modes(&self) -> Modes {
        self.default_modes
    }

    /// A text that is the same for two sessions that bind every statement alike.
    pub fn binding_key(&self) -> &Arc<str> {
        &self.binding_key
    }

    /// The value that SHOW prints; 42704 for an unknown name.
    pub fn show(&self, name: &str) -> Result<String, Report> {
        let known = definition(name);
        let key = known.map_or_else(|| name.to_ascii_lowercase(), |d| d.name.to_owned());
        if let Some(value) = self.values.get(&key).or_else(|| self.defaults.get(&key)) {
            return Ok(value.clone());
        }
        known.map(|d| d.default.to_owned()).ok_or_else(|| unknown(name))
    }

    /// (name, value, description) of all settings, in order.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, String, &'static str)> + '_ {
        REGISTRY.iter().map(|d| (d.name, self.show(d.name).unwrap_or_default(), d.description))
    }

    /// All settings as pg_settings lists them.
    pub fn described(&self) -> impl Iterator<Item = DescribedSetting> + '_ {
        REGISTRY.iter().map(|d| DescribedSetting {
            name: d.name,
            value: self.show(d.name).unwrap_or_default(),
            reset: self.defaults.get(d.name).map_or(d.default, String::as_str).to_owned(),
            default: d.default,
            description: d.description,
            kind: match d.kind {
                Kind::Bool => "bool",
                Kind::Integer(..) => "integer",
                Kind::Word(_) => "enum",
                _ => "string",
            },
            bounds: if let Kind::Integer(low, high) = d.kind { Some((low, high)) } else { None },
            words: if let Kind::Word(words) = d.kind { Some(words) } else { None },
            is_fixed: d.kind == Kind::Fixed,
        })
    }

    /// Name and value of everything that ParameterStatus tells at the start.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        REGISTRY.iter().filter(|d| d.reported).map(|d| (d.name, self.show(d.name).unwrap_or_default()))
    }

    /// Whether a change of this setting is told to the client; answers the name to tell.
    pub fn reported_name(name: &str) -> Option<&'static str> {
        definition(name).filter(|d| d.reported).map(|d| d.name)
    }

    /// Sets a setting. Custom names (`a.b`) are kept as they are.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Report> {
        let Some(known) = definition(name) else {
            if name.contains('.') {
                self.values.insert(name.to_ascii_lowercase(), value.to_owned());
                return Ok(());
            }
            return Err(unknown(name));
        };
        let value = check(known, value)?;
        self.refresh(known.name, &value)?;
        self.values.insert(known.name.to_owned(), value);
        Ok(())
    }

    /// Sets what RESET goes back to: the client's startup parameters.
    pub fn set_default(&mut self, name: &str, value: &str) -> Result<(), Report> {
        self.set(name, value)?;
        let key = definition(name).map_or_else(|| name.to_ascii_lowercase(), |d| d.name.to_owned());
        if let Some(value) = self.values.remove(&key) {
            self.defaults.insert(key, value);
        }
        Ok(())
    }

    /// Back to the default.
    pub fn reset(&mut self, name: &str) -> Result<(), Report> {
        let Some(known) = definition(name) else {
            let key = name.to_ascii_lowercase();
            return if self.values.remove(&key).is_some() || name.contains('.') { Ok(()) } else { Err(unknown(name)) };
        };
        if known.kind == Kind::Fixed {
            return Err(fixed(known.name));
        }
        self.values.remove(known.name);
        let value = self.show(known.name)?;
        self.refresh(known.name, &value)
    }

    /// Back to the defaults, all of them.
    pub fn reset_all(&mut self) {
        let names: Vec<String> = self.values.keys().cloned().collect();
        for name in names {
            // A default was valid when it became one.
            let _ = self.reset(&name);
        }
    }

    /// Brings what is derived from a setting up to date.
    fn refresh(&mut self, name: &str, value: &str) -> Result<(), Report> {
        match name {
            "DateStyle" => {
                let (format, order) = settings_text::parse_date_style(value, &self.format)?;
                (self.format.date_format, self.format.date_order) = (format, order);
            }
            "TimeZone" => self.format.time_zone = settings_text::parse_time_zone(value)?,
            "IntervalStyle" => self.format.interval_style = settings_text::parse_interval_style(value)?,
            "bytea_output" => self.format.bytea_output = settings_text::parse_bytea_output(value)?,
            "extra_float_digits" => self.format.extra_float_digits = value.parse().unwrap_or(1),
            "search_path" => {
                let names = split_identifiers(value).ok_or_else(|| invalid(name, value))?;
                let user = self.user.to_string();
                self.search_path = names.into_iter().map(|n| if n == "$user" { user.clone() } else { n }).collect();
            }
            "partita.index_freshness" => self.freshness = parse_freshness(value).ok_or_else(|| invalid(name, value))?,
            "deadlock_timeout" => self.timeouts.deadlock = bound(value),
            "lock_timeout" => self.timeouts.lock = bound(value),
            "statement_timeout" => self.timeouts.statement = bound(value),
            "default_transaction_isolation" => self.default_modes.isolation = Isolation::named(value).unwrap_or_default(),
            "default_transaction_read_only" => self.default_modes.read_only = value == "on",
            "default_transaction_deferrable" => self.default_modes.deferrable = value == "on",
            "idle_session_timeout" => self.timeouts.idle = bound(value),
            "idle_in_transaction_session_timeout" => self.timeouts.idle_in_transaction = bound(value),
            _ => return Ok(()),
        }
        let format = &self.format;
        self.binding_key = format!(
            "{:?}|{:?}|{:?}|{:?}|{:?}",
            self.search_path, format.time_zone, format.date_order, format.date_format, format.interval_style,
        )
        .into();
        Ok(())
    }
}

/// A duration setting as a bound; 0 turns it off.
fn bound(value: &str) -> Option<Duration> {
    parse_duration(value).filter(|millis| *millis > 0).map(Duration::from_millis)
}

fn unknown(name: &str) -> Report {
    Report::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn fixed(name: &str) -> Report {
    Report::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{name}\" cannot be changed"))
}

fn invalid(name: &str, value: &str) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// The value in the form in which SHOW prints it.
fn check(known: &Definition, value: &str) -> Result<String, Report> {
    let name = known.name;
    match known.kind {
        Kind::Text => Ok(value.to_owned()),
        // Setting it to what it is does no harm, and drivers do.
        Kind::Fixed if value.eq_ignore_ascii_case(known.default) => Ok(known.default.to_owned()),
        Kind::Fixed => Err(fixed(name)),
        Kind::Bool => parse_bool(value)
            .map(|on| if on { "on" } else { "off" }.to_owned())
            .ok_or_else(|| Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("parameter \"{name}\" requires a Boolean value"))),
        Kind::Integer(low, high) => {
            let number: i64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if (low..=high).contains(&number) {
                return Ok(number.to_string());
            }
            Err(Report::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("{number} is outside the valid range for parameter \"{name}\" ({low} .. {high})"),
            ))
        }
        Kind::Duration => parse_duration(value).map(print_duration).ok_or_else(|| {
            invalid(name, value).with_hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
        }),
        Kind::Word(words) => {
            let lower = value.to_ascii_lowercase();
            let list = words.join(", ");
            words
                .contains(&lower.as_str())
                .then_some(lower)
                .ok_or_else(|| invalid(name, value).with_hint(format!("Available values: {list}.")))
        }
        Kind::DateStyle => {
            let (format, order) = settings_text::parse_date_style(value, &FormatSettings::default())?;
            Ok(settings_text::print_date_style(format, order))
        }
        Kind::TimeZone => Ok(settings_text::print_time_zone(settings_text::parse_time_zone(value)?)),
        Kind::IndexFreshness => parse_freshness(value)
            .map(|_| value.to_ascii_lowercase())
            .ok_or_else(|| invalid(name, value).with_hint("Available values: strong, session, any, or a duration such as \"500ms\".")),
        Kind::Encoding => {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
            match plain.as_str() {
                "utf8" | "unicode" => Ok("UTF8".to_owned()),
                _ => Err(Report::unsupported(format!("client encoding \"{value}\""))),
            }
        }
    }
}

/// PostgreSQL's spellings of booleans: any beginning of true, false, yes, no; on, off; 1, 0.
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "" | "o" => None,
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if "true".starts_with(&text) || "yes".starts_with(&text) => Some(true),
        _ if "false".starts_with(&text) || "no".starts_with(&text) => Some(false),
        _ => None,
    }
}

/// Milliseconds of `5s`, `100 ms`, `250` …; -1 is taken for 0, as PostgreSQL's "off".
fn parse_duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let millis = match text[end..].trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1e3,
        "min" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => return None,
    };
    let total = (number * millis).round();
    (0.0..=f64::from(i32::MAX)).contains(&total).then_some(total as u64)
}

fn print_duration(millis: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    match UNITS.iter().find(|(unit, _)| millis != 0 && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0".to_owned(),
        None => format!("{millis}ms"),
    }
}

fn parse_freshness(text: &str) -> Option<FreshnessSetting> {
    match text.trim().to_ascii_lowercase().as_str() {
        "strong" => Some(FreshnessSetting::Strong),
        "session" => Some(FreshnessSetting::Session),
        "any" => Some(FreshnessSetting::Any),
        other => parse_duration(other).map(|ms| FreshnessSetting::Within(Duration::from_millis(ms))),
    }
}

/// The names of a list such as `"$user", public`; `None` when it is malformed.
fn split_identifiers(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            name = quoted[..end].to_owned();
            rest = quoted[end + 1..].trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            name = rest[..end].trim().trim_matches('\'').to_ascii_lowercase();
            rest = &rest[end..];
        }
        if !name.is_empty() {
            names.push(name);
        }
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_its_defaults_are_valid() {
        assert!(REGISTRY.windows(2).all(|w| w[0].name.to_ascii_lowercase() < w[1].name.to_ascii_lowercase()));
        let mut settings = Settings::new("u", "d");
        for d in REGISTRY {
            settings.set(d.name, d.default).unwrap();
            assert_eq!(settings.show(d.name).unwrap(), d.default, "{}", d.name);
        }
    }

    #[test]
    fn durations_and_lists() {
        assert_eq!(parse_duration("1.5 s"), Some(1500));
        assert_eq!(parse_duration("x"), None);
        assert_eq!(print_duration(60_000), "1min");
        assert_eq!(split_identifiers("\"$user\", Public , \"A b\"").unwrap(), ["$user", "public", "A b"]);
        assert_eq!(split_identifiers("\"a"), None);
    }

    #[test]
    fn reset_goes_back_to_the_startup_value() {
        let mut settings = Settings::new("u", "d");
        settings.set_default("TimeZone", "Europe/Berlin").unwrap();
        settings.set("timezone", "UTC").unwrap();
        settings.reset("timezone").unwrap();
        assert_eq!(settings.show("TIMEZONE").unwrap(), "Europe/Berlin");
        assert!(settings.set("nosuch", "1").is_err() && settings.set("a.b", "1").is_ok());
    }
}
