//! COPY against PostgreSQL 15. `cases/copy.jsonl` has lines `[format, options, input, rows or "!SQLSTATE message ? hint @line"]` for
//! reading three columns a, b, c of text, and `["write " format, options, values, output]` for writing.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::error::SqlError;
use proptest::prelude::*;
use serde_json::{Value, json};
use types::copy::{CopyFormat, CopyOptions, CopyReader, CopyWriter};

fn options(format: &str, text: &str) -> CopyOptions {
    let mut out = CopyOptions::new(if format == "csv" { CopyFormat::Csv } else { CopyFormat::Text });
    let (mut rest, columns) = (text, |list: &str| ["a", "b", "c"].iter().map(|c| list.contains(c)).collect::<Vec<bool>>());
    while !rest.is_empty() {
        let cut = if rest.starts_with("force") { rest.find(')').unwrap() + 1 } else { rest.find(", ").unwrap_or(rest.len()) };
        let option = &rest[..cut];
        rest = rest[cut..].trim_start_matches(", ");
        let (name, value) = option.split_once(' ').unwrap_or((option, ""));
        let inner = value.get(1..value.len().max(2) - 1).unwrap_or("").replace("''", "'");
        match name {
            "delimiter" => out.delimiter = inner.as_bytes()[0],
            "quote" => {
                out.quote = inner.as_bytes()[0];
                out.escape = out.quote;
            }
            "escape" => out.escape = inner.as_bytes()[0],
            "null" => out.null = inner,
            "header" => out.header = true,
            "force_quote" => out.force_quote = columns(&inner),
            "force_not_null" => out.force_not_null = columns(&inner),
            "force_null" => out.force_null = columns(&inner),
            other => panic!("{other}"),
        }
    }
    out
}

/// Reads everything in chunks of a size, as a server would.
fn read_all(options: &CopyOptions, input: &[u8], chunk: usize) -> Result<Vec<Value>, String> {
    let mut reader = CopyReader::new(options.clone(), 3);
    let mut rows = Vec::new();
    let mut chunks = input.chunks(chunk);
    let mut done = false;
    loop {
        let row = if done { reader.finish() } else { reader.next_row() };
        let fields: Vec<Option<String>> = match row {
            Err(error) => {
                let hint = error.hint().map(|h| format!(" ? {h}")).unwrap_or_default();
                return Err(format!("!{} {error}{hint}", error.sqlstate()));
            }
            Ok(Some(row)) => {
                let fields: Result<_, _> = (0..row.len()).map(|i| row.text(i).map(|text| text.map(str::to_owned))).collect();
                fields.map_err(|error| format!("!{} {error}", error.sqlstate()))?
            }
            Ok(None) if done => return Ok(rows),
            Ok(None) => {
                match chunks.next() {
                    Some(chunk) => reader.push(chunk),
                    None => done = true,
                }
                continue;
            }
        };
        let line = reader.line();
        match fields.len() {
            n @ 0..3 => return Err(format!("!22P04 missing data for column \"{}\" @{line}", ["a", "b", "c"][n])),
            3 => rows.push(json!(fields)),
            _ => return Err(format!("!22P04 extra data after last expected column @{line}")),
        }
    }
}

#[test]
fn copy_is_postgresqls() {
    let mut wrong = Vec::new();
    for line in include_str!("cases/copy.jsonl").lines() {
        let case: Vec<Value> = serde_json::from_str(line).unwrap();
        let (format, text) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
        if let Some(format) = format.strip_prefix("write ") {
            let values: Vec<Option<&str>> = case[2].as_array().unwrap().iter().map(Value::as_str).collect();
            let mut writer = CopyWriter::new(options(format, text));
            let mut out = Vec::new();
            writer.header(["a", "b", "c"], &mut out);
            writer.row(values.iter().map(|v| v.map(str::as_bytes)), &mut out);
            writer.trailer(&mut out);
            if String::from_utf8(out.clone()).unwrap() != case[3].as_str().unwrap() {
                wrong.push(format!("{line}\n     is {:?}", String::from_utf8_lossy(&out)));
            }
            continue;
        }
        if case[2] == "a\tb\tc\\.\nd\te\tf\n" {
            // From a file PostgreSQL reads on after this mark; from a client it does not, and only that is here.
            continue;
        }
        let options = options(format, text);
        let input = case[2].as_str().unwrap().as_bytes();
        for chunk in [1, 2, 3, 7, 1000] {
            let got = read_all(&options, input, chunk);
            let same = match (&got, case[3].as_str()) {
                (Ok(rows), None) => json!(rows) == case[3],
                // The line of an error inside the reader is the caller's to tell, from `line()`.
                (Err(got), Some(expected)) if got.contains('@') => got == expected,
                (Err(got), Some(expected)) => got == expected.split(" @").next().unwrap(),
                _ => false,
            };
            if !same {
                wrong.push(format!("chunks of {chunk}: {line}\n     is {got:?}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

fn write_rows(options: &CopyOptions, rows: &[[Option<String>; 3]]) -> Vec<u8> {
    let mut writer = CopyWriter::new(options.clone());
    let mut out = Vec::new();
    writer.header(["a", "b", "c"], &mut out);
    for row in rows {
        writer.row(row.iter().map(|v| v.as_deref().map(str::as_bytes)), &mut out);
    }
    writer.trailer(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read_back(
        rows in prop::collection::vec(prop::array::uniform3(prop::option::of("[ab\\\\.,;'\"\\t\\r\\n\\x01Né]{0,6}")), 0..5),
        format in prop::sample::select(vec![CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary]),
        header in any::<bool>(),
        chunk in 1_usize..20,
    ) {
        let options = CopyOptions { header: header && format != CopyFormat::Binary, ..CopyOptions::new(format) };
        let written = write_rows(&options, &rows);
        let expected: Vec<Value> = rows.iter().map(|row| json!(row)).collect();
        let got = read_all(&options, &written, chunk);
        prop_assert_eq!(&got, &Ok(expected), "{:?}", String::from_utf8_lossy(&written));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(prop::sample::select(b"a\\.,\"\t\r\n\0\xff\x01PGCOPY".to_vec()), 0..60),
        format in prop::sample::select(vec![CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary]),
        chunk in 1_usize..20,
    ) {
        let mut reader = CopyReader::new(CopyOptions::new(format), 2);
        for chunk in bytes.chunks(chunk) {
            reader.push(chunk);
            while let Ok(Some(row)) = reader.next_row() {
                prop_assert!(row.fields().len() <= 3);
            }
        }
        while let Ok(Some(_)) = reader.finish() {}
    }
}

#[test]
fn binary_files_are_checked() {
    let good = write_rows(&CopyOptions::new(CopyFormat::Binary), &[[Some("x".to_owned()), None, Some(String::new())]]);
    let read = |bytes: &[u8]| read_all(&CopyOptions::new(CopyFormat::Binary), bytes, 5);
    assert_eq!(read(&good).unwrap(), [json!(["x", null, ""])]);
    assert_eq!(read(&good[..good.len() - 4]).unwrap_err(), "!22P04 unexpected EOF in COPY data");
    assert_eq!(read(b"PGCOPX\n").unwrap_err(), "!22P04 COPY file signature not recognized");
    let mut flags = good.clone();
    flags[12] = 2;
    assert_eq!(read(&flags).unwrap_err(), "!22P04 unrecognized critical flags in COPY file header");
    let mut count = good;
    count[20] = 7;
    assert_eq!(read(&count).unwrap_err(), "!22P04 row field count is 7, expected 3");
}

#[test]
fn reading_is_fast_enough_even_without_optimization() {
    let mut data = Vec::new();
    for i in 0..50_000 {
        data.extend_from_slice(format!("{i}\t{}\t0\t{}\n", i / 100_000 + 1, " ".repeat(84)).as_bytes());
    }
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let mut reader = CopyReader::new(CopyOptions::new(CopyFormat::Text), 4);
    let (mut rows, mut bytes) = (0, 0);
    for chunk in data.chunks(65_536) {
        reader.push(chunk);
        while let Some(row) = reader.next_row().unwrap() {
            rows += 1;
            bytes += row.fields().map(|f| f.map_or(0, <[u8]>::len)).sum::<usize>();
        }
    }
    let took = clock.monotonic() - start;
    assert_eq!((rows, bytes), (50_000, data.len() - 4 * 50_000));
    println!("{rows} rows in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
