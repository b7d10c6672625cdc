//! The formats of COPY: what both directions share, and writing rows. Reading is in [`crate::copy_reader`].

use memchr::{memchr, memchr2, memchr3};

pub use crate::copy_reader::{CopyReader, CopyRow};

/// FORMAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CopyFormat {
    #[default]
    Text,
    Csv,
    Binary,
}

/// The options of a COPY, complete: whoever reads the statement fills in the format's defaults ([`CopyOptions::new`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
    /// For each column whether csv output quotes it always; shorter than the columns means no.
    pub force_quote: Vec<bool>,
    /// For each column whether csv input does not look for NULL in it.
    pub force_not_null: Vec<bool>,
    /// For each column whether csv input takes the NULL string for NULL even in quotes.
    pub force_null: Vec<bool>,
}

impl CopyOptions {
    /// The defaults of a format.
    pub fn new(format: CopyFormat) -> Self {
        let (delimiter, null) = if format == CopyFormat::Csv { (b',', "") } else { (b'\t', "\\N") };
        Self {
            format,
            delimiter,
            null: null.to_owned(),
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: Vec::new(),
            force_not_null: Vec::new(),
            force_null: Vec::new(),
        }
    }
}

/// The first bytes of a binary file, the flags and the length of the header's extension.
pub(crate) const BINARY_SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Writes rows in a format of COPY.
#[derive(Clone, Debug)]
pub struct CopyWriter {
    options: CopyOptions,
}

impl CopyWriter {
    /// A writer; nothing is written yet.
    pub fn new(options: CopyOptions) -> Self {
        Self { options }
    }

    /// Appends what comes before the first row: the binary header, or the column names when they are wanted.
    pub fn header<'a>(&mut self, names: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(BINARY_SIGNATURE);
            out.extend_from_slice(&[0; 8]);
            return;
        }
        if !self.options.header {
            return;
        }
        let names: Vec<&str> = names.into_iter().collect();
        for (i, name) in names.iter().enumerate() {
            if i > 0 {
                out.push(self.options.delimiter);
            }
            match self.options.format {
                CopyFormat::Csv => self.csv_field(name.as_bytes(), false, names.len() == 1, out),
                CopyFormat::Text | CopyFormat::Binary => self.text_field(name.as_bytes(), out),
            }
        }
        out.push(b'\n');
    }

    /// Appends a row: the values in their text form, or in their binary form for the binary format.
    pub fn row<'a, I>(&mut self, values: I, out: &mut Vec<u8>)
    where
        I: IntoIterator<Item = Option<&'a [u8]>>,
        I::IntoIter: ExactSizeIterator,
    {
        let values = values.into_iter();
        let count = values.len();
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&i16::try_from(count).unwrap_or(i16::MAX).to_be_bytes());
        }
        for (i, value) in values.enumerate() {
            match (self.options.format, value) {
                (CopyFormat::Binary, None) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                (CopyFormat::Binary, Some(bytes)) => {
                    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
                    out.extend_from_slice(bytes);
                }
                (format, value) => {
                    if i > 0 {
                        out.push(self.options.delimiter);
                    }
                    match value {
                        None => out.extend_from_slice(self.options.null.as_bytes()),
                        Some(bytes) if format == CopyFormat::Text => self.text_field(bytes, out),
                        Some(bytes) => {
                            let force = self.options.force_quote.get(i).copied().unwrap_or(false);
                            self.csv_field(bytes, force, count == 1, out);
                        }
                    }
                }
            }
        }
        if self.options.format != CopyFormat::Binary {
            out.push(b'\n');
        }
    }

    /// Appends what comes after the last row: the binary end mark.
    pub fn trailer(&mut self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&(-1_i16).to_be_bytes());
        }
    }

    fn text_field(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let delimiter = self.options.delimiter;
        let special = |b: &u8| *b < 0x20 || *b == b'\\' || *b == delimiter;
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(special) {
            out.extend_from_slice(&rest[..at]);
            let letter = match rest[at] {
                8 => b'b',
                9 => b't',
                10 => b'n',
                11 => b'v',
                12 => b'f',
                13 => b'r',
                byte if byte == b'\\' || byte == delimiter => byte,
                byte => {
                    out.push(byte);
                    rest = &rest[at + 1..];
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }

    fn csv_field(&self, bytes: &[u8], force: bool, alone: bool, out: &mut Vec<u8>) {
        let (quote, escape) = (self.options.quote, self.options.escape);
        let needs_quotes = force
            || bytes == self.options.null.as_bytes()
            // Alone on its line it would be the end of the data.
            || alone && bytes == b"\\."
            || memchr3(self.options.delimiter, quote, b'\n', bytes).is_some()
            || memchr(b'\r', bytes).is_some();
        if !needs_quotes {
            return out.extend_from_slice(bytes);
        }
        out.push(quote);
        let mut rest = bytes;
        while let Some(at) = memchr2(quote, escape, rest) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(&[escape, rest[at]]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(quote);
    }
}
