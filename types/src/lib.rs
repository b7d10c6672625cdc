//! PostgreSQL's values without a plan: their text and binary forms, and what can be computed with them one at a time.
//!
//! - [`text_input`], [`text_output`]: the forms that `SELECT` prints and literals have.
//! - [`binary`]: the binary forms of the wire protocol and of COPY BINARY.
//! - [`format_settings`]: the session settings that these depend on (time zone, DateStyle, …).
//! - `datetime`, `interval_text`, `decimal`, `json`, `strings`, `regexp`, …: arithmetic and formatting, one concept a file.
//! - `copy`: rows of COPY in text, csv and binary.
//!
//! Invariant: pure functions; the time zone database is the only table read. DataFusion is not known here: `functions` lifts these to
//! columns.

pub mod array;
mod array_text;
pub mod binary;
pub mod bits;
mod byte_forms;
pub mod bytes;
pub mod calendar;
pub mod character_sets;
pub mod copy;
mod copy_reader;
pub mod datetime;
mod datetime_cut;
mod datetime_extract;
pub mod datetime_parse;
pub mod datetime_print;
mod datetime_tokens;
pub mod decimal;
mod decimal_functions;
pub mod encodings;
pub mod error;
pub mod float_functions;
mod format_date_keywords;
pub mod format_dates;
pub mod format_dates_parse;
mod format_dates_read;
mod format_number_template;
pub mod format_numbers;
pub mod format_numbers_read;
pub mod format_settings;
pub mod format_string;
mod format_template;
pub mod interval;
pub mod interval_text;
pub mod json;
mod json_change;
mod json_compare;
pub mod json_parse;
pub mod json_record;
pub mod jsonpath;
pub mod like;
pub mod network;
pub mod overlap;
pub mod quoting;
pub mod range;
pub mod range_text;
pub mod regexp;
mod regexp_brackets;
pub mod regexp_functions;
mod regexp_parse;
mod regexp_syntax;
pub mod settings_text;
pub mod size_text;
pub mod strings;
pub mod text_input;
pub mod text_output;
pub mod timetz;
pub mod typmod;
pub mod zone;
mod zone_abbreviations;
