//! Text forms against PostgreSQL 15: `cases/text_forms.jsonl` has a line `[settings, type, input, output]` for each case, where the
//! output, or `!SQLSTATE message / detail ? hint`, is what PostgreSQL gave.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use common::datum::Datum;
use common::error::SqlError;
use common::types::{Scalar, SqlType};
use types::format_settings::FormatSettings;
use types::{binary, settings_text, text_input, text_output};

/// What is deliberately not as in PostgreSQL, with the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("numeric(5,2)", "NaN", "Decimal128 has no NaN"),
    ("integer[]", "{{1,2},{3,4}}", "arrays have one dimension"),
    ("timestamp", "294246-12-31 23:59:59.999999", ""),
];

fn settings(text: &str) -> FormatSettings {
    let mut out = FormatSettings::default();
    for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
        match name {
            "datestyle" => (out.date_format, out.date_order) = settings_text::parse_date_style(value, &out).unwrap(),
            "timezone" => out.time_zone = settings_text::parse_time_zone(value).unwrap(),
            "intervalstyle" => out.interval_style = settings_text::parse_interval_style(value).unwrap(),
            "bytea_output" => out.bytea_output = settings_text::parse_bytea_output(value).unwrap(),
            "extra_float_digits" => out.extra_float_digits = value.parse().unwrap(),
            other => panic!("{other}"),
        }
    }
    out
}

fn sql_type(text: &str) -> SqlType {
    let (text, is_array) = text.strip_suffix("[]").map_or((text, false), |base| (base, true));
    if let Some(rest) = text.strip_prefix("interval") {
        let ty = SqlType::with_typmod(Scalar::Interval, interval_typmod(rest));
        return SqlType { is_array, ..ty };
    }
    let (base, modifiers) = text.split_once('(').unwrap_or((text, ""));
    let modifiers: Vec<i32> = modifiers.trim_end_matches(')').split(',').filter_map(|m| m.parse().ok()).collect();
    let scalar = match base {
        "char" => Scalar::Bpchar,
        "varchar" => Scalar::Varchar,
        "timestamp" => Scalar::Timestamp,
        "timestamptz" => Scalar::Timestamptz,
        "time" => Scalar::Time,
        other => text_input::type_by_name(other).unwrap_or_else(|| panic!("{other}")).scalar,
    };
    let typmod = match (scalar, modifiers.as_slice()) {
        (Scalar::Bpchar, []) => 5,
        (_, []) => -1,
        (Scalar::Bpchar | Scalar::Varchar, [n]) => n + 4,
        (Scalar::Numeric, m) => SqlType::numeric(m[0] as u16, m.get(1).map_or(0, |s| *s as i16)).typmod,
        (_, m) => m[0],
    };
    SqlType { scalar, is_array, typmod }
}

fn interval_typmod(rest: &str) -> i32 {
    let bit = |word: &str| match word {
        "year" => 1 << 2,
        "month" => 1 << 1,
        "day" => 1 << 3,
        "hour" => 1 << 10,
        "minute" => 1 << 11,
        _ => 1 << 12,
    };
    let order = ["year", "month", "day", "hour", "minute", "second"];
    let (rest, precision) = match rest.split_once('(') {
        Some((head, tail)) => (head, tail.trim_end_matches(')').parse().unwrap()),
        None => (rest, 0xffff),
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let range = match words.as_slice() {
        [] if precision == 0xffff => return -1,
        [] => 0x7fff,
        [one] => bit(one),
        [from, _, to] => {
            let at = |word: &str| order.iter().position(|o| *o == word).unwrap();
            order[at(from)..=at(to)].iter().map(|o| bit(o)).sum()
        }
        other => panic!("{other:?}"),
    };
    range << 16 | precision
}

fn show_error(error: &dyn SqlError) -> String {
    let mut out = format!("!{} {error}", error.sqlstate());
    if let Some(detail) = error.detail() {
        out.push_str(&format!(" / {detail}"));
    }
    if let Some(hint) = error.hint() {
        out.push_str(&format!(" ? {hint}"));
    }
    out
}

#[test]
fn text_forms_are_postgresqls() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("cases/text_forms.jsonl").lines() {
        let case: [String; 4] = serde_json::from_str(line).unwrap();
        let [setting, type_name, input, expected] = &case;
        if DIFFERENT.iter().any(|(ty, text, _)| ty == type_name && text == input) {
            continue;
        }
        count += 1;
        let (format, ty) = (settings(setting), sql_type(type_name));
        let got = match text_input::parse(input, ty, &format) {
            Ok(value) => {
                let text = text_output::to_text(&value, ty, &format);
                check_round_trips(&value, ty, &text, &format, setting);
                text
            }
            Err(error) => show_error(&error),
        };
        if got != *expected {
            wrong.push(format!("{setting} {type_name} {input:?}\n     is {got}\n should {expected}"));
        }
    }
    assert!(count > 1500);
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What was read survives the binary form, and the text form where that is exact.
fn check_round_trips(value: &Datum, ty: SqlType, text: &str, format: &FormatSettings, setting: &str) {
    let mut bytes = Vec::new();
    binary::write(value, ty, &mut bytes);
    let back = binary::parse(&bytes, ty).unwrap();
    assert_eq!(text_output::to_text(&back, ty, format), text, "binary form of {ty} {text}");
    if setting.is_empty() {
        let back = text_input::parse(text, ty, format).unwrap();
        assert_eq!(text_output::to_text(&back, ty, format), text, "text form of {ty} {text}");
    }
}
