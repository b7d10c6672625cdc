//! The options of COPY: from the statement's list to [`CopyOptions`].

use common::error::Report;
use common::sqlstate::SqlState;
use sql::copy_syntax::ALL_COLUMNS;
use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, Ident};
use types::copy::{CopyFormat, CopyOptions};

fn wrong(message: impl Into<String>) -> Report {
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

fn invalid(message: impl Into<String>) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// Reads both forms of the list: `(FORMAT csv, …)`, and the one from before PostgreSQL 9.0. `columns` are the names of the columns that are copied.
pub fn copy_options(options: &[CopyOption], legacy: &[CopyLegacyOption], columns: &[&str]) -> Result<CopyOptions, Report> {
    let mut read = CopyOptions::new(format(options, legacy)?);
    let is_csv = read.format == CopyFormat::Csv;
    for option in options {
        match option {
            CopyOption::Format(_) | CopyOption::Freeze(_) => {}
            CopyOption::Delimiter(c) => read.delimiter = byte(*c, "delimiter")?,
            CopyOption::Null(text) => read.null.clone_from(text),
            CopyOption::Header(on) => read.header = *on,
            CopyOption::Quote(c) => read.quote = csv_byte(*c, "quote", is_csv)?,
            CopyOption::Escape(c) => read.escape = csv_byte(*c, "escape", is_csv)?,
            CopyOption::ForceQuote(names) => read.force_quote = chosen(names, columns)?,
            CopyOption::ForceNotNull(names) => read.force_not_null = chosen(names, columns)?,
            CopyOption::ForceNull(names) => read.force_null = chosen(names, columns)?,
            CopyOption::Encoding(name) => encoding(name)?,
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Binary => {}
            CopyLegacyOption::Delimiter(c) => read.delimiter = byte(*c, "delimiter")?,
            CopyLegacyOption::Null(text) => read.null.clone_from(text),
            CopyLegacyOption::Header => read.header = true,
            CopyLegacyOption::Csv(list) => {
                for option in list {
                    match option {
                        CopyLegacyCsvOption::Header => read.header = true,
                        CopyLegacyCsvOption::Quote(c) => read.quote = csv_byte(*c, "quote", true)?,
                        CopyLegacyCsvOption::Escape(c) => read.escape = csv_byte(*c, "escape", true)?,
                        CopyLegacyCsvOption::ForceQuote(names) => read.force_quote = chosen(names, columns)?,
                        CopyLegacyCsvOption::ForceNotNull(names) => read.force_not_null = chosen(names, columns)?,
                    }
                }
            }
            other => return Err(Report::unsupported(format!("COPY option {other}"))),
        }
    }
    // A quote that is changed is its own escape, unless that is given.
    if is_csv && !options.iter().any(|o| matches!(o, CopyOption::Escape(_))) && !has_legacy_escape(legacy) {
        read.escape = read.quote;
    }
    check(&read)?;
    Ok(read)
}

fn has_legacy_escape(legacy: &[CopyLegacyOption]) -> bool {
    legacy.iter().any(|o| matches!(o, CopyLegacyOption::Csv(list) if list.iter().any(|o| matches!(o, CopyLegacyCsvOption::Escape(_)))))
}

fn format(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<CopyFormat, Report> {
    for option in options {
        if let CopyOption::Format(name) = option {
            return match name.value.to_ascii_lowercase().as_str() {
                "text" => Ok(CopyFormat::Text),
                "csv" => Ok(CopyFormat::Csv),
                "binary" => Ok(CopyFormat::Binary),
                _ => Err(invalid(format!("COPY format \"{}\" not recognized", name.value))),
            };
        }
    }
    Ok(legacy.iter().fold(CopyFormat::Text, |format, option| match option {
        CopyLegacyOption::Csv(_) => CopyFormat::Csv,
        CopyLegacyOption::Binary => CopyFormat::Binary,
        _ => format,
    }))
}

fn byte(c: char, what: &str) -> Result<u8, Report> {
    u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| wrong(format!("COPY {what} must be a single one-byte character")))
}

fn csv_byte(c: char, what: &str, is_csv: bool) -> Result<u8, Report> {
    if is_csv { byte(c, what) } else { Err(wrong(format!("COPY {what} available only in CSV mode"))) }
}

fn encoding(name: &str) -> Result<(), Report> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if matches!(plain.as_str(), "utf8" | "unicode" | "sqlascii") {
        Ok(())
    } else {
        Err(Report::unsupported(format!("COPY encoding \"{name}\"")))
    }
}

fn chosen(names: &[Ident], columns: &[&str]) -> Result<Vec<bool>, Report> {
    if let [all] = names
        && all.value == ALL_COLUMNS
    {
        return Ok(vec![true; columns.len()]);
    }
    let mut chosen = vec![false; columns.len()];
    for name in names {
        let name = sql::ident_name(name);
        let at = columns
            .iter()
            .position(|c| *c == name)
            .ok_or_else(|| Report::new(SqlState::INVALID_COLUMN_REFERENCE, format!("FORCE_ column \"{name}\" not referenced by COPY")))?;
        chosen[at] = true;
    }
    Ok(chosen)
}

fn check(options: &CopyOptions) -> Result<(), Report> {
    if options.format == CopyFormat::Binary {
        return if options.header { Err(wrong("cannot specify HEADER in BINARY mode")) } else { Ok(()) };
    }
    let line_end = |c: u8| matches!(c, b'\n' | b'\r');
    if line_end(options.delimiter) {
        return Err(invalid("COPY delimiter cannot be newline or carriage return"));
    }
    if options.null.bytes().any(line_end) {
        return Err(invalid("COPY null representation cannot use newline or carriage return"));
    }
    if options.format == CopyFormat::Text && (options.delimiter.is_ascii_alphanumeric() || matches!(options.delimiter, b'\\' | b'.')) {
        return Err(invalid(format!("COPY delimiter cannot be \"{}\"", char::from(options.delimiter))));
    }
    if options.format == CopyFormat::Csv && options.delimiter == options.quote {
        return Err(invalid("COPY delimiter and quote must be different"));
    }
    if options.null.as_bytes().contains(&options.delimiter) {
        return Err(invalid("COPY delimiter must not appear in the NULL specification"));
    }
    if options.format == CopyFormat::Csv && options.null.as_bytes().contains(&options.quote) {
        return Err(invalid("CSV quote character must not appear in the NULL specification"));
    }
    Ok(())
}
