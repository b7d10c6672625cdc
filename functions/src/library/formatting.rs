//! `to_char`, `to_date`, `to_timestamp` and `to_number` with templates.

use common::datum::Datum;
use types::error::ValueError;
use types::{format_dates, format_dates_parse, format_numbers, format_numbers_read};

use crate::definition::{Definition, row, text};

pub(crate) fn definitions() -> Vec<Definition> {
    let definitions = vec![
        row("to_char(timestamp,text) text", |a| written(format_dates::timestamp_to_char(a.timestamp(0)?, a.text(1)?))),
        row("to_char(timestamptz,text) text", |a| {
            written(format_dates::timestamptz_to_char(a.timestamp(0)?, a.text(1)?, a.settings().format.time_zone))
        }),
        row("to_char(interval,text) text", |a| written(format_dates::interval_to_char(a.interval(0)?, a.text(1)?))),
        row("to_char(int4,text) text", |a| text(format_numbers::int4_to_char(a.int4(0)?, a.text(1)?)?)),
        row("to_char(int8,text) text", |a| text(format_numbers::int8_to_char(a.int8(0)?, a.text(1)?)?)),
        row("to_char(numeric,text) text", |a| text(format_numbers::numeric_to_char(a.numeric(0)?, a.text(1)?)?)),
        row("to_char(float4,text) text", |a| text(format_numbers::float4_to_char(a.float4(0)?, a.text(1)?)?)),
        row("to_char(float8,text) text", |a| text(format_numbers::float8_to_char(a.float8(0)?, a.text(1)?)?)),
        row("to_date(text,text) date", |a| format_dates_parse::to_date(a.text(0)?, a.text(1)?).map(Datum::Date)),
        row("to_timestamp(text,text) timestamptz", |a| {
            format_dates_parse::to_timestamp(a.text(0)?, a.text(1)?, a.settings().format.time_zone).map(Datum::Timestamp)
        }),
        row("to_number(text,text) numeric", |a| {
            Ok(format_numbers_read::to_number(a.text(0)?, a.text(1)?)?.map_or(Datum::Null, Datum::Numeric))
        }),
    ];
    definitions.into_iter().map(Definition::stable).collect()
}

fn written(result: Result<Option<String>, ValueError>) -> Result<Datum, ValueError> {
    Ok(result?.map_or(Datum::Null, Datum::Text))
}
