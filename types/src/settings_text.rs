//! What SET takes and SHOW prints for the settings that value formats depend on.

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::format_settings::{ByteaOutput, DateFormat, DateOrder, FormatSettings, IntervalStyle, TimeZone};
use crate::interval_text;
use crate::zone;

fn invalid(name: &str, value: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn with_detail(name: &str, value: &str, detail: String) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_PARAMETER_VALUE,
        message: format!("invalid value for parameter \"{name}\": \"{value}\""),
        detail: Some(detail),
        hint: None,
    }
}

/// Reads DateStyle: `ISO, MDY`, either part alone, or `default`. What the value leaves open stays as in `current`.
pub fn parse_date_style(value: &str, current: &FormatSettings) -> Result<(DateFormat, DateOrder), ValueError> {
    let mut format: Option<DateFormat> = None;
    let mut order: Option<DateOrder> = None;
    let mut conflict = false;
    for raw in value.split(',') {
        let word = raw.trim().trim_matches('"').to_ascii_lowercase();
        let (new_format, new_order) = match word.as_str() {
            "iso" => (Some(DateFormat::Iso), None),
            "sql" => (Some(DateFormat::Sql), None),
            "german" => {
                // German implies its order unless one is named.
                conflict |= format.is_some_and(|f| f != DateFormat::German);
                format = Some(DateFormat::German);
                order = order.or(Some(DateOrder::Dmy));
                continue;
            }
            word if word.starts_with("postgres") => (Some(DateFormat::Postgres), None),
            "ymd" => (None, Some(DateOrder::Ymd)),
            word if word.starts_with("dmy") || word.starts_with("euro") => (None, Some(DateOrder::Dmy)),
            word if word.starts_with("mdy") || word.starts_with("us") || word.starts_with("noneuro") => (None, Some(DateOrder::Mdy)),
            "default" => {
                let default = FormatSettings::default();
                format = format.or(Some(default.date_format));
                order = order.or(Some(default.date_order));
                continue;
            }
            _ => return Err(with_detail("DateStyle", value, format!("Unrecognized key word: \"{word}\"."))),
        };
        if let Some(new) = new_format {
            conflict |= format.is_some_and(|f| f != new);
            format = Some(new);
        }
        if let Some(new) = new_order {
            let implied = format == Some(DateFormat::German) && order == Some(DateOrder::Dmy);
            conflict |= !implied && order.is_some_and(|o| o != new);
            order = Some(new);
        }
    }
    if conflict {
        return Err(with_detail("DateStyle", value, "Conflicting \"datestyle\" specifications.".to_owned()));
    }
    Ok((format.unwrap_or(current.date_format), order.unwrap_or(current.date_order)))
}

/// `ISO, MDY`.
pub fn print_date_style(format: DateFormat, order: DateOrder) -> String {
    let format = match format {
        DateFormat::Iso => "ISO",
        DateFormat::Sql => "SQL",
        DateFormat::Postgres => "Postgres",
        DateFormat::German => "German",
    };
    let order = match order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    format!("{format}, {order}")
}

/// Reads TimeZone: a name in any case, hours east of Greenwich (`-7`, `5.5`), `INTERVAL '-08:00'`, a POSIX specification.
pub fn parse_time_zone(value: &str) -> Result<TimeZone, ValueError> {
    let word = value.trim();
    if word.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("interval")) {
        let quoted = word[8..].trim().strip_prefix('\'').and_then(|rest| rest.split_once('\''));
        let (text, _) = quoted.ok_or_else(|| invalid("TimeZone", value))?;
        let interval = interval_text::parse(text, -1, IntervalStyle::Postgres)?;
        if interval.months != 0 {
            return Err(with_detail("TimeZone", value, "Cannot specify months in time zone interval.".to_owned()));
        }
        if interval.days != 0 {
            return Err(with_detail("TimeZone", value, "Cannot specify days in time zone interval.".to_owned()));
        }
        let seconds = i32::try_from(interval.micros / 1_000_000).map_err(|_| invalid("TimeZone", value))?;
        return Ok(TimeZone::Fixed(seconds));
    }
    if word.eq_ignore_ascii_case("default") || word.eq_ignore_ascii_case("local") {
        return Ok(FormatSettings::default().time_zone);
    }
    let is_number = word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if let (true, Ok(hours)) = (is_number, word.parse::<f64>()) {
        if hours.abs() > 167.0 {
            return Err(with_detail("TimeZone", value, "UTC timezone offset is out of range.".to_owned()));
        }
        return Ok(TimeZone::Fixed((hours * 3600.0) as i32));
    }
    zone::named(word).map(TimeZone::Named).or_else(|| zone::posix(word)).ok_or_else(|| invalid("TimeZone", value))
}

/// The zone's name; a fixed offset as a POSIX specification, whose sign counts west: `<+05>-05`.
pub fn print_time_zone(zone: TimeZone) -> String {
    let offset = match zone {
        TimeZone::Named(tz) => return tz.name().to_owned(),
        TimeZone::Fixed(offset) => offset,
    };
    let clock = |sign: char| {
        let seconds = offset.unsigned_abs();
        let mut text = format!("{sign}{:02}", seconds / 3600);
        if !seconds.is_multiple_of(3600) {
            text.push_str(&format!(":{:02}", seconds / 60 % 60));
        }
        if !seconds.is_multiple_of(60) {
            text.push_str(&format!(":{:02}", seconds % 60));
        }
        text
    };
    let (east, west) = if offset < 0 { ('-', '+') } else { ('+', '-') };
    format!("<{}>{}", clock(east), clock(west))
}

/// Reads IntervalStyle.
pub fn parse_interval_style(value: &str) -> Result<IntervalStyle, ValueError> {
    match value.to_ascii_lowercase().as_str() {
        "postgres" => Ok(IntervalStyle::Postgres),
        "postgres_verbose" => Ok(IntervalStyle::PostgresVerbose),
        "sql_standard" => Ok(IntervalStyle::SqlStandard),
        "iso_8601" => Ok(IntervalStyle::Iso8601),
        _ => Err(choice("IntervalStyle", value, "postgres, postgres_verbose, sql_standard, iso_8601")),
    }
}

/// The word that SHOW prints.
pub fn print_interval_style(style: IntervalStyle) -> &'static str {
    match style {
        IntervalStyle::Postgres => "postgres",
        IntervalStyle::PostgresVerbose => "postgres_verbose",
        IntervalStyle::SqlStandard => "sql_standard",
        IntervalStyle::Iso8601 => "iso_8601",
    }
}

/// Reads bytea_output.
pub fn parse_bytea_output(value: &str) -> Result<ByteaOutput, ValueError> {
    match value.to_ascii_lowercase().as_str() {
        "hex" => Ok(ByteaOutput::Hex),
        "escape" => Ok(ByteaOutput::Escape),
        _ => Err(choice("bytea_output", value, "escape, hex")),
    }
}

/// The word that SHOW prints.
pub fn print_bytea_output(output: ByteaOutput) -> &'static str {
    match output {
        ByteaOutput::Hex => "hex",
        ByteaOutput::Escape => "escape",
    }
}

fn choice(name: &str, value: &str, available: &str) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_PARAMETER_VALUE,
        message: format!("invalid value for parameter \"{name}\": \"{value}\""),
        detail: None,
        hint: Some(format!("Available values: {available}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_styles() {
        let now = FormatSettings::default();
        let show = |value: &str| parse_date_style(value, &now).map(|(f, o)| print_date_style(f, o)).map_err(|e| e.to_string());
        assert_eq!(show("iso").unwrap(), "ISO, MDY");
        assert_eq!(show("German").unwrap(), "German, DMY");
        assert_eq!(show("German, ymd").unwrap(), "German, YMD");
        assert_eq!(show("postgresql, european").unwrap(), "Postgres, DMY");
        assert_eq!(show("sql, us").unwrap(), "SQL, MDY");
        assert_eq!(show("iso, sql").unwrap_err(), "invalid value for parameter \"DateStyle\": \"iso, sql\"");
        assert!(show("foo").is_err());
    }

    #[test]
    fn time_zones() {
        let show = |value: &str| parse_time_zone(value).map(print_time_zone).map_err(|e| e.to_string());
        assert_eq!(show("europe/berlin").unwrap(), "Europe/Berlin");
        assert_eq!(show("-7").unwrap(), "<-07>+07");
        assert_eq!(show("5.5").unwrap(), "<+05:30>-05:30");
        assert_eq!(show("INTERVAL '-08:00'").unwrap(), "<-08>+08");
        assert_eq!(show("<+03>-03").unwrap(), "<+03>-03");
        assert_eq!(show("Mars/Base").unwrap_err(), "invalid value for parameter \"TimeZone\": \"Mars/Base\"");
    }
}
