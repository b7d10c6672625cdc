//! The session settings that the text forms of values depend on.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// The first part of DateStyle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum DateFormat {
    #[default]
    Iso,
    Sql,
    Postgres,
    German,
}

/// The second part of DateStyle: how ambiguous dates are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// IntervalStyle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum IntervalStyle {
    #[default]
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

/// TimeZone: a zone of the IANA database, or a fixed offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeZone {
    Named(Tz),
    /// Seconds east of Greenwich.
    Fixed(i32),
}

/// bytea_output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ByteaOutput {
    #[default]
    Hex,
    Escape,
}

/// All of them. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FormatSettings {
    pub date_format: DateFormat,
    pub date_order: DateOrder,
    pub interval_style: IntervalStyle,
    pub time_zone: TimeZone,
    pub extra_float_digits: i32,
    pub bytea_output: ByteaOutput,
    /// When the transaction began, microseconds since 1970 UTC: what 'now', 'today' mean in a literal.
    pub transaction_micros: i64,
}

impl Default for FormatSettings {
    fn default() -> Self {
        Self {
            date_format: DateFormat::Iso,
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            time_zone: TimeZone::Named(Tz::UTC),
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            transaction_micros: 0,
        }
    }
}
