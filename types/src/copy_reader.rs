//! Reading the rows of COPY from chunks of any size.
//!
//! Two steps: find where a row ends (which may need the next chunk), then cut it into fields. A field that has nothing to unescape is a
//! slice of the chunk's copy; the others are unescaped into one buffer for the row. Scanning goes on where it stopped when a chunk
//! arrives, so no byte is looked at twice.

use common::sqlstate::SqlState;
use memchr::{memchr, memchr_iter, memchr2, memchr3};

use crate::binary::read_text;
use crate::copy::{BINARY_SIGNATURE, CopyFormat, CopyOptions};
use crate::error::ValueError;

/// A row longer than this is refused.
const ROW_BYTES_MAX: usize = 1 << 28;

/// Where a field of a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Span {
    Null,
    /// In the row as it came.
    Plain(usize, usize),
    /// In the buffer of unescaped fields.
    Unescaped(usize, usize),
}

/// A row, borrowed from its reader.
#[derive(Clone, Copy, Debug)]
pub struct CopyRow<'a> {
    line: &'a [u8],
    unescaped: &'a [u8],
    spans: &'a [Span],
}

impl<'a> CopyRow<'a> {
    /// How many fields the row has; no more than one above the columns that the reader was made for.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of a field; `None` for NULL and for a field that is not there.
    #[inline]
    pub fn bytes(&self, field: usize) -> Option<&'a [u8]> {
        match self.spans.get(field)? {
            Span::Null => None,
            Span::Plain(from, to) => self.line.get(*from..*to),
            Span::Unescaped(from, to) => self.unescaped.get(*from..*to),
        }
    }

    /// A field as text; 22021 when it is none.
    #[inline]
    pub fn text(&self, field: usize) -> Result<Option<&'a str>, ValueError> {
        self.bytes(field).map(read_text).transpose()
    }

    /// All fields in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + use<'a> {
        let row = *self;
        (0..row.spans.len()).map(move |i| row.bytes(i))
    }

    /// The row as it came, for the context of an error.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }
}

/// How lines end; found out from the first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineEnd {
    Unknown,
    Newline,
    Return,
    ReturnNewline,
}

/// What a step over the input came to.
enum Found {
    /// A row in `buffer[from..to]`; the next one begins at `next`.
    Row {
        from: usize,
        to: usize,
        next: usize,
    },
    NeedMore,
    End,
}

/// Reads rows. Push chunks, take rows until there is none, and [`CopyReader::finish`] after the last chunk.
#[derive(Debug)]
pub struct CopyReader {
    options: CopyOptions,
    columns: usize,
    buffer: Vec<u8>,
    /// The current row begins here.
    row: usize,
    /// Scanning goes on here.
    at: usize,
    in_quotes: bool,
    after_escape: bool,
    line_end: LineEnd,
    header_is_due: bool,
    finished: bool,
    ended: bool,
    lines: u64,
    /// Lines begun inside quotes of the current row.
    lines_inside: u64,
    spans: Vec<Span>,
    unescaped: Vec<u8>,
}

fn bad(message: impl Into<String>) -> ValueError {
    ValueError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

fn bad_with_hint(message: &str, hint: &str) -> ValueError {
    ValueError::Other { sqlstate: SqlState::BAD_COPY_FILE_FORMAT, message: message.to_owned(), detail: None, hint: Some(hint.to_owned()) }
}

impl CopyReader {
    /// A reader for rows of `columns` fields.
    pub fn new(options: CopyOptions, columns: usize) -> Self {
        let header_is_due = options.header || options.format == CopyFormat::Binary;
        Self {
            options,
            columns,
            buffer: Vec::new(),
            row: 0,
            at: 0,
            in_quotes: false,
            after_escape: false,
            line_end: LineEnd::Unknown,
            header_is_due,
            finished: false,
            ended: false,
            lines: 0,
            lines_inside: 0,
            spans: Vec::new(),
            unescaped: Vec::new(),
        }
    }

    /// Takes the next piece of the data.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.ended {
            return;
        }
        if self.row == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.row);
        }
        self.at -= self.row;
        self.row = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The number of the line (for the binary format, of the row) that was read last, from 1; the header counts.
    pub fn line(&self) -> u64 {
        self.lines
    }

    /// Whether the mark for the end of the data was read; what comes after it is ignored.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next whole row; `None` when more data is needed.
    pub fn next_row(&mut self) -> Result<Option<CopyRow<'_>>, ValueError> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let found = match self.options.format {
                CopyFormat::Text => self.find_text_line()?,
                CopyFormat::Csv => self.find_csv_line()?,
                CopyFormat::Binary => self.find_binary_row()?,
            };
            match found {
                Found::NeedMore if self.buffer.len() - self.row > ROW_BYTES_MAX => {
                    let message = format!("row of COPY data is longer than {ROW_BYTES_MAX} bytes");
                    return Err(ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
                }
                Found::NeedMore => return Ok(None),
                Found::End => {
                    self.ended = true;
                    return Ok(None);
                }
                Found::Row { from, to, next } => {
                    self.lines += 1 + self.lines_inside;
                    self.lines_inside = 0;
                    (self.row, self.at) = (next, next);
                    if std::mem::take(&mut self.header_is_due) {
                        continue;
                    }
                    return self.split(from, to).map(Some);
                }
            }
        }
    }

    /// Tells that there is no more data, and reads the last row if it had no line end. To be called until it answers `None`.
    pub fn finish(&mut self) -> Result<Option<CopyRow<'_>>, ValueError> {
        self.finished = true;
        self.next_row()
    }

    fn split(&mut self, from: usize, to: usize) -> Result<CopyRow<'_>, ValueError> {
        self.unescaped.clear();
        if self.options.format != CopyFormat::Binary {
            self.spans.clear();
            let line = &self.buffer[from..to];
            let mut splitter =
                Splitter { options: &self.options, limit: self.columns + 1, line, spans: &mut self.spans, unescaped: &mut self.unescaped };
            match self.options.format {
                CopyFormat::Csv => splitter.csv()?,
                CopyFormat::Text | CopyFormat::Binary => splitter.text(),
            }
        }
        Ok(CopyRow { line: &self.buffer[from..to], unescaped: &self.unescaped, spans: &self.spans })
    }

    /// The rest of the data as the last row, if there is any.
    fn last_row(&self) -> Found {
        let to = self.buffer.len();
        if self.row == to { Found::End } else { Found::Row { from: self.row, to, next: to } }
    }

    fn find_text_line(&mut self) -> Result<Found, ValueError> {
        loop {
            let Some(step) = memchr3(b'\n', b'\r', b'\\', &self.buffer[self.at..]) else {
                self.at = self.buffer.len();
                return Ok(if self.finished { self.last_row() } else { Found::NeedMore });
            };
            self.at += step;
            if self.buffer[self.at] != b'\\' {
                return self.line_end();
            }
            match self.buffer.get(self.at + 1) {
                None if self.finished => return Ok(self.last_row()),
                None => return Ok(Found::NeedMore),
                Some(b'.') => return self.end_mark(),
                // Whatever follows belongs to the backslash, a line end too.
                Some(_) => self.at += 2,
            }
        }
    }

    /// At `\.`: the end of the data, after what stands before it on the line.
    fn end_mark(&mut self) -> Result<Found, ValueError> {
        let after = self.buffer.get(self.at + 2).copied();
        match after {
            None if !self.finished => return Ok(Found::NeedMore),
            Some(b'\n' | b'\r') => {
                let style = if after == Some(b'\n') { LineEnd::Newline } else { LineEnd::Return };
                let fits = match self.line_end {
                    LineEnd::Unknown => true,
                    LineEnd::ReturnNewline => style == LineEnd::Return,
                    known => known == style,
                };
                if !fits {
                    return Err(bad("end-of-copy marker does not match previous newline style"));
                }
            }
            None | Some(_) => return Err(bad("end-of-copy marker corrupt")),
        }
        if self.at == self.row {
            return Ok(Found::End);
        }
        // The data on the line before the mark is a row; then the mark stands alone.
        let found = Found::Row { from: self.row, to: self.at, next: self.at };
        Ok(found)
    }

    /// At a carriage return or a newline that is no data.
    fn line_end(&mut self) -> Result<Found, ValueError> {
        let csv = self.options.format == CopyFormat::Csv;
        let to = self.at;
        let style = if self.buffer[to] == b'\n' {
            LineEnd::Newline
        } else if matches!(self.line_end, LineEnd::Unknown | LineEnd::ReturnNewline) {
            match self.buffer.get(to + 1) {
                Some(b'\n') => LineEnd::ReturnNewline,
                None if !self.finished => return Ok(Found::NeedMore),
                _ => LineEnd::Return,
            }
        } else {
            LineEnd::Return
        };
        if self.line_end != LineEnd::Unknown && self.line_end != style {
            return Err(match (style == LineEnd::Newline, csv) {
                (true, false) => bad_with_hint("literal newline found in data", "Use \"\\n\" to represent newline."),
                (true, true) => bad_with_hint("unquoted newline found in data", "Use quoted CSV field to represent newline."),
                (false, false) => bad_with_hint("literal carriage return found in data", "Use \"\\r\" to represent carriage return."),
                (false, true) => {
                    bad_with_hint("unquoted carriage return found in data", "Use quoted CSV field to represent carriage return.")
                }
            });
        }
        self.line_end = style;
        let width = if style == LineEnd::ReturnNewline { 2 } else { 1 };
        Ok(Found::Row { from: self.row, to, next: to + width })
    }

    fn find_csv_line(&mut self) -> Result<Found, ValueError> {
        let quote = self.options.quote;
        // Where both are the same, doubling works out by itself.
        let escape = (self.options.escape != quote).then_some(self.options.escape);
        loop {
            if self.at == self.row && !self.in_quotes && self.buffer.get(self.at) == Some(&b'\\') {
                match self.buffer.get(self.at + 1) {
                    None if !self.finished => return Ok(Found::NeedMore),
                    Some(b'.') => match self.buffer.get(self.at + 2) {
                        None if !self.finished => return Ok(Found::NeedMore),
                        Some(b'\n' | b'\r') => return self.end_mark(),
                        None | Some(_) => {}
                    },
                    _ => {}
                }
            }
            let rest = &self.buffer[self.at..];
            if !self.in_quotes {
                let Some(step) = memchr3(b'\n', b'\r', quote, rest) else {
                    self.at = self.buffer.len();
                    return Ok(if self.finished { self.last_row() } else { Found::NeedMore });
                };
                self.at += step;
                if self.buffer[self.at] != quote {
                    return self.line_end();
                }
                self.in_quotes = true;
                self.at += 1;
                continue;
            }
            if self.after_escape {
                if rest.is_empty() {
                    return Ok(if self.finished { self.last_row() } else { Found::NeedMore });
                }
                self.after_escape = false;
                self.at += 1;
                continue;
            }
            let step = memchr2(quote, escape.unwrap_or(quote), rest);
            let inside = &rest[..step.unwrap_or(rest.len())];
            let line_byte = if self.line_end == LineEnd::Newline { b'\n' } else { b'\r' };
            self.lines_inside += memchr_iter(line_byte, inside).count() as u64;
            let Some(step) = step else {
                self.at = self.buffer.len();
                return Ok(if self.finished { self.last_row() } else { Found::NeedMore });
            };
            self.at += step;
            if self.buffer[self.at] == quote {
                self.in_quotes = false;
            } else {
                self.after_escape = true;
            }
            self.at += 1;
        }
    }

    fn find_binary_row(&mut self) -> Result<Found, ValueError> {
        let data = &self.buffer[self.row..];
        if self.header_is_due {
            let Some(used) = binary_header(data, self.finished)? else { return Ok(Found::NeedMore) };
            self.header_is_due = false;
            self.row += used;
            self.at = self.row;
        }
        let data = &self.buffer[self.row..];
        let cut_off = || bad("unexpected EOF in COPY data");
        let Some((count, _)) = data.split_first_chunk::<2>() else {
            return if !self.finished {
                Ok(Found::NeedMore)
            } else if data.is_empty() {
                Ok(Found::End)
            } else {
                Err(cut_off())
            };
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return Ok(Found::End);
        }
        if usize::try_from(count).ok() != Some(self.columns) {
            return Err(bad(format!("row field count is {count}, expected {}", self.columns)));
        }
        self.spans.clear();
        let mut at = 2;
        for _ in 0..count {
            let length = data.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
            let Some(length) = length.map(|bytes| i32::from_be_bytes(*bytes)) else {
                return if self.finished { Err(cut_off()) } else { Ok(Found::NeedMore) };
            };
            at += 4;
            match usize::try_from(length) {
                Ok(length) if data.len() < at + length => {
                    return if self.finished { Err(cut_off()) } else { Ok(Found::NeedMore) };
                }
                Ok(length) => {
                    self.spans.push(Span::Plain(at, at + length));
                    at += length;
                }
                Err(_) if length == -1 => self.spans.push(Span::Null),
                Err(_) => return Err(bad("invalid field size")),
            }
        }
        Ok(Found::Row { from: self.row, to: self.row + at, next: self.row + at })
    }
}

/// How many bytes the header of a binary file takes; `None` when it is not there as a whole.
fn binary_header(data: &[u8], finished: bool) -> Result<Option<usize>, ValueError> {
    const FLAGS_AT: usize = BINARY_SIGNATURE.len();
    /// Flags that a reader must know; none exists.
    const CRITICAL: u32 = 0xffff_0000;
    let known = data.len().min(FLAGS_AT);
    if data[..known] != BINARY_SIGNATURE[..known] || finished && known < FLAGS_AT {
        return Err(bad("COPY file signature not recognized"));
    }
    let word = |at: usize| data.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>()).map(|bytes| u32::from_be_bytes(*bytes));
    let Some(flags) = word(FLAGS_AT) else {
        return if finished { Err(bad("invalid COPY file header (missing flags)")) } else { Ok(None) };
    };
    if flags & 1 << 16 != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if flags & CRITICAL != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let Some(extension) = word(FLAGS_AT + 4) else {
        return if finished { Err(bad("invalid COPY file header (missing length)")) } else { Ok(None) };
    };
    let wrong = || bad("invalid COPY file header (wrong length)");
    let extension = i32::try_from(extension).ok().and_then(|e| usize::try_from(e).ok()).ok_or_else(wrong)?;
    let used = FLAGS_AT + 8 + extension;
    if data.len() < used {
        return if finished { Err(wrong()) } else { Ok(None) };
    }
    Ok(Some(used))
}

struct Splitter<'a> {
    options: &'a CopyOptions,
    /// So many fields at most.
    limit: usize,
    line: &'a [u8],
    spans: &'a mut Vec<Span>,
    unescaped: &'a mut Vec<u8>,
}

impl Splitter<'_> {
    fn text(&mut self) {
        let null = self.options.null.as_bytes();
        let delimiter = self.options.delimiter;
        let line = self.line;
        // Most lines have no backslash but in NULL marks.
        let escapes = memchr(b'\\', line).is_some();
        let mut from = 0;
        while self.spans.len() < self.limit {
            let (to, unescape) =
                if escapes { end_of_text_field(line, from, delimiter) } else { (end_of_field(line, from, delimiter), false) };
            let field = &line[from..to];
            let span = if field == null {
                Span::Null
            } else if unescape {
                let start = self.unescaped.len();
                unescape_text(field, self.unescaped);
                Span::Unescaped(start, self.unescaped.len())
            } else {
                Span::Plain(from, to)
            };
            self.spans.push(span);
            if to == line.len() {
                return;
            }
            from = to + 1;
        }
    }

    fn csv(&mut self) -> Result<(), ValueError> {
        let mut from = 0;
        while self.spans.len() < self.limit {
            let (span, to) = self.csv_field(from)?;
            self.spans.push(span);
            if to == self.line.len() {
                break;
            }
            from = to + 1;
        }
        Ok(())
    }

    fn csv_field(&mut self, from: usize) -> Result<(Span, usize), ValueError> {
        let (delimiter, quote, line) = (self.options.delimiter, self.options.quote, self.line);
        let null = self.options.null.as_bytes();
        let column = self.spans.len();
        let flag = |flags: &[bool]| flags.get(column).copied().unwrap_or(false);
        let rest = &line[from..];
        // Plain to the delimiter.
        let step = memchr2(delimiter, quote, rest);
        if step.is_none_or(|at| rest[at] == delimiter) {
            let to = from + step.unwrap_or(rest.len());
            let is_null = &line[from..to] == null && !flag(&self.options.force_not_null);
            return Ok((if is_null { Span::Null } else { Span::Plain(from, to) }, to));
        }
        let (span, to) = match self.simply_quoted(from) {
            Some(found) => found,
            None => self.quoted(from)?,
        };
        let bytes = match span {
            Span::Null => return Ok((span, to)),
            Span::Plain(a, b) => &line[a..b],
            Span::Unescaped(a, b) => &self.unescaped[a..b],
        };
        let is_null = flag(&self.options.force_null) && bytes == null;
        Ok((if is_null { Span::Null } else { span }, to))
    }

    /// Quotes around the whole field and nothing to unescape inside.
    fn simply_quoted(&self, from: usize) -> Option<(Span, usize)> {
        let (quote, escape) = (self.options.quote, self.options.escape);
        if self.line[from] != quote {
            return None;
        }
        let inside = from + 1;
        let close = inside + memchr2(quote, escape, &self.line[inside..])?;
        if self.line[close] != quote {
            return None;
        }
        match self.line.get(close + 1) {
            Some(byte) if *byte != self.options.delimiter => None,
            _ => Some((Span::Plain(inside, close), close + 1)),
        }
    }

    fn quoted(&mut self, from: usize) -> Result<(Span, usize), ValueError> {
        let (delimiter, quote, escape) = (self.options.delimiter, self.options.quote, self.options.escape);
        let start = self.unescaped.len();
        let mut in_quotes = false;
        let mut at = from;
        while at < self.line.len() {
            let byte = self.line[at];
            if !in_quotes {
                if byte == delimiter {
                    break;
                }
                in_quotes = byte == quote;
                if !in_quotes {
                    self.unescaped.push(byte);
                }
            } else if byte == escape && self.line.get(at + 1).is_some_and(|next| *next == escape || *next == quote) {
                at += 1;
                self.unescaped.push(self.line[at]);
            } else if byte == quote {
                in_quotes = false;
            } else {
                self.unescaped.push(byte);
            }
            at += 1;
        }
        if in_quotes {
            return Err(bad("unterminated CSV quoted field"));
        }
        Ok((Span::Unescaped(start, self.unescaped.len()), at))
    }
}

#[inline]
fn end_of_field(line: &[u8], from: usize, delimiter: u8) -> usize {
    memchr(delimiter, &line[from..]).map_or(line.len(), |step| from + step)
}

/// The end of a field, past escaped delimiters, and whether it has a backslash.
fn end_of_text_field(line: &[u8], from: usize, delimiter: u8) -> (usize, bool) {
    let mut at = from;
    let mut escapes = false;
    while let Some(step) = memchr2(delimiter, b'\\', &line[at..]) {
        at += step;
        if line[at] == delimiter {
            return (at, escapes);
        }
        escapes = true;
        at = (at + 2).min(line.len());
    }
    (line.len(), escapes)
}

/// Undoes the backslashes of the text format.
fn unescape_text(field: &[u8], out: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(step) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..step]);
        rest = &rest[step + 1..];
        let Some((&letter, tail)) = rest.split_first() else { return };
        rest = tail;
        let byte = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(letter - b'0');
                for _ in 0..2 {
                    let [digit @ b'0'..=b'7', tail @ ..] = rest else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    rest = tail;
                }
                (value & 0xff) as u8
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    let Some(digit) = rest.first().and_then(|b| char::from(*b).to_digit(16)) else { break };
                    value = value * 16 + digit;
                    rest = &rest[1..];
                }
                value as u8
            }
            other => other,
        };
        out.push(byte);
    }
    out.extend_from_slice(rest);
}
