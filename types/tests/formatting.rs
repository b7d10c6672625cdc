//! `to_char`, `to_date`, `to_timestamp` and `to_number` against PostgreSQL 15: `cases/formatting.jsonl` has lines
//! `[time zone, operation, value, template, result]`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use common::datum::Datum;
use common::error::SqlError;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::format_settings::FormatSettings;
use types::{format_dates, format_dates_parse, format_numbers, format_numbers_read, settings_text, text_input, text_output};

fn show(value: &Datum, scalar: Scalar, settings: &FormatSettings) -> String {
    text_output::to_text(value, scalar.into(), settings)
}

/// What the operation answers; `None` is NULL.
fn run(operation: &str, value: &str, template: &str, settings: &FormatSettings) -> Result<Option<String>, ValueError> {
    match operation {
        "to_date" => return Ok(Some(show(&Datum::Date(format_dates_parse::to_date(value, template)?), Scalar::Date, settings))),
        "to_timestamp" => {
            let instant = format_dates_parse::to_timestamp(value, template, settings.time_zone)?;
            return Ok(Some(show(&Datum::Timestamp(instant), Scalar::Timestamptz, settings)));
        }
        "to_number" => return Ok(format_numbers_read::to_number(value, template)?.map(|n| n.to_string())),
        _ => {}
    }
    let ty: SqlType = text_input::type_by_name(operation).unwrap();
    match (text_input::parse(value, ty, settings)?, ty.scalar) {
        (Datum::Timestamp(t), Scalar::Timestamp) => format_dates::timestamp_to_char(t, template),
        (Datum::Timestamp(t), _) => format_dates::timestamptz_to_char(t, template, settings.time_zone),
        (Datum::Interval(span), _) => format_dates::interval_to_char(span, template),
        (Datum::Int4(n), _) => format_numbers::int4_to_char(n, template).map(Some),
        (Datum::Int8(n), _) => format_numbers::int8_to_char(n, template).map(Some),
        (Datum::Numeric(n), _) => format_numbers::numeric_to_char(&n, template).map(Some),
        (Datum::Float4(n), _) => format_numbers::float4_to_char(n, template).map(Some),
        (Datum::Float8(n), _) => format_numbers::float8_to_char(n, template).map(Some),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn results_are_postgresqls() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("cases/formatting.jsonl").lines() {
        let [zone, operation, value, template, expected]: [String; 5] = serde_json::from_str(line).unwrap();
        let settings = FormatSettings { time_zone: settings_text::parse_time_zone(&zone).unwrap(), ..FormatSettings::default() };
        count += 1;
        let got = match run(&operation, &value, &template, &settings) {
            Ok(text) => text.unwrap_or_else(|| "NULL".to_owned()),
            Err(error) => {
                let detail = error.detail().map(|d| format!(" / {d}")).unwrap_or_default();
                let hint = error.hint().map(|d| format!(" ? {d}")).unwrap_or_default();
                format!("!{} {error}{detail}{hint}", error.sqlstate())
            }
        };
        if got != expected {
            wrong.push(format!("{line}\n     is {got:?}"));
        }
    }
    assert!(count > 4000);
    let shown = wrong.len().min(60);
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..shown].join("\n"));
}
