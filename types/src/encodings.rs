//! Bytes as text and back: `encode` and `decode`, `convert_from` and `convert_to`.

use common::sqlstate::SqlState;

use crate::error::ValueError;

/// base64 breaks its lines after so many characters.
const BASE64_LINE: usize = 76;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &[u8; 16] = b"0123456789abcdef";

fn bad(message: String) -> ValueError {
    ValueError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn unrecognized(name: &str) -> ValueError {
    bad(format!("unrecognized encoding: \"{name}\""))
}

/// `encode(bytes, 'hex' | 'base64' | 'escape')`.
pub fn encode(bytes: &[u8], name: &str) -> Result<String, ValueError> {
    match name.to_ascii_lowercase().as_str() {
        "hex" => Ok(to_hex(bytes)),
        "base64" => Ok(to_base64(bytes)),
        "escape" => Ok(to_escapes(bytes)),
        _ => Err(unrecognized(name)),
    }
}

/// `decode(text, 'hex' | 'base64' | 'escape')`.
pub fn decode(text: &str, name: &str) -> Result<Vec<u8>, ValueError> {
    match name.to_ascii_lowercase().as_str() {
        "hex" => from_hex(text),
        "base64" => from_base64(text),
        "escape" => from_escapes(text),
        _ => Err(unrecognized(name)),
    }
}

/// Two digits for each byte.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(HEX[usize::from(digit)])).collect()
}

/// Reads two digits for each byte; blanks may stand between bytes.
fn from_hex(text: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut high: Option<u32> = None;
    for c in text.chars() {
        if high.is_none() && matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{c}\"")))?;
        match high.take() {
            Some(high) => out.extend(u8::try_from(high << 4 | digit)),
            None => high = Some(digit),
        }
    }
    if high.is_some() { Err(bad("invalid hexadecimal data: odd number of digits".into())) } else { Ok(out) }
}

fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + bytes.len() / 57 + 4);
    let mut line = 0;
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        // A line break stands only where something follows it.
        if line == BASE64_LINE {
            out.push('\n');
            line = 0;
        }
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            out.push(if place > group.len() { '=' } else { char::from(BASE64[index as usize]) });
        }
        line += 4;
    }
    if line == BASE64_LINE && bytes.len().is_multiple_of(3) {
        out.push('\n');
    }
    out
}

fn from_base64(text: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut digits, mut end) = (0_u32, 0, 0);
    for c in text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')) {
        let value = if c == '=' {
            if end == 0 {
                end = match digits {
                    2 => 1,
                    3 => 2,
                    _ => return Err(bad("unexpected \"=\" while decoding base64 sequence".into())),
                };
            }
            0
        } else {
            let value = u8::try_from(c).ok().and_then(|b| BASE64.iter().position(|d| *d == b));
            value.ok_or_else(|| bad(format!("invalid symbol \"{c}\" found while decoding base64 sequence")))?
        };
        bits = bits << 6 | value as u32;
        digits += 1;
        if digits == 4 {
            let [_, first, second, third] = bits.to_be_bytes();
            out.push(first);
            if end == 0 || end > 1 {
                out.push(second);
            }
            if end == 0 || end > 2 {
                out.push(third);
            }
            (bits, digits) = (0, 0);
        }
    }
    if digits == 0 {
        return Ok(out);
    }
    Err(ValueError::Other {
        sqlstate: SqlState::INVALID_PARAMETER_VALUE,
        message: "invalid base64 end sequence".into(),
        detail: None,
        hint: Some("Input data is missing padding, is truncated, or is otherwise corrupted.".into()),
    })
}

fn to_escapes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
            b'\\' => out.push_str("\\\\"),
            other => out.push(char::from(*other)),
        }
    }
    out
}

fn from_escapes(text: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(out),
            [b'\\', b'\\', after @ ..] => {
                out.push(b'\\');
                after
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            [b'\\', ..] => return Err(ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea")),
            [other, after @ ..] => {
                out.push(*other);
                after
            }
        };
    }
}

/// The encodings that text converts from and to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    Latin1,
    Ascii,
}

fn charset(name: &str, role: &str) -> Result<Charset, ValueError> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match plain.as_str() {
        "utf8" | "unicode" => Ok(Charset::Utf8),
        "latin1" | "iso88591" => Ok(Charset::Latin1),
        "sqlascii" => Ok(Charset::Ascii),
        other if OTHER_CHARSETS.contains(&other) => {
            Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("conversion with encoding \"{name}\" is not supported")))
        }
        _ => Err(bad(format!("invalid {role} encoding name \"{name}\""))),
    }
}

/// Encodings that PostgreSQL knows and this does not convert, without their punctuation.
const OTHER_CHARSETS: &[&str] = &[
    "abc",
    "alt",
    "big5",
    "euccn",
    "eucjis2004",
    "eucjp",
    "euckr",
    "euctw",
    "gb18030",
    "gbk",
    "iso885910",
    "iso885913",
    "iso885914",
    "iso885915",
    "iso885916",
    "iso88592",
    "iso88593",
    "iso88594",
    "iso88595",
    "iso88596",
    "iso88597",
    "iso88598",
    "iso88599",
    "johab",
    "koi8",
    "koi8r",
    "koi8u",
    "latin10",
    "latin2",
    "latin3",
    "latin4",
    "latin5",
    "latin6",
    "latin7",
    "latin8",
    "latin9",
    "mskanji",
    "muleinternal",
    "shiftjis",
    "shiftjis2004",
    "sjis",
    "tcvn",
    "tcvn5712",
    "uhc",
    "vscii",
    "win",
    "win1250",
    "win1251",
    "win1252",
    "win1253",
    "win1254",
    "win1255",
    "win1256",
    "win1257",
    "win1258",
    "win866",
    "win874",
    "win932",
    "win936",
    "win949",
    "win950",
    "windows1250",
    "windows1251",
    "windows1252",
    "windows1253",
    "windows1254",
    "windows1255",
    "windows1256",
    "windows1257",
    "windows1258",
    "windows866",
    "windows874",
    "windows932",
    "windows936",
    "windows949",
    "windows950",
];

/// Bytes in an encoding as text.
pub fn convert_from(bytes: &[u8], name: &str) -> Result<String, ValueError> {
    match charset(name, "source")? {
        Charset::Latin1 if !bytes.contains(&0) => Ok(bytes.iter().copied().map(char::from).collect()),
        Charset::Latin1 => Err(invalid_sequence("LATIN1", &[0])),
        Charset::Utf8 | Charset::Ascii => checked_utf8(bytes),
    }
}

/// Text as bytes in an encoding.
pub fn convert_to(text: &str, name: &str) -> Result<Vec<u8>, ValueError> {
    match charset(name, "destination")? {
        Charset::Utf8 | Charset::Ascii => Ok(text.as_bytes().to_vec()),
        Charset::Latin1 => text.chars().map(|c| u8::try_from(c).map_err(|_| untranslatable(c))).collect(),
    }
}

/// Bytes from one encoding in another.
pub fn convert(bytes: &[u8], from: &str, to: &str) -> Result<Vec<u8>, ValueError> {
    let (_, target) = (charset(from, "source")?, charset(to, "destination")?);
    if target == Charset::Ascii { Ok(bytes.to_vec()) } else { convert_to(&convert_from(bytes, from)?, to) }
}

fn untranslatable(c: char) -> ValueError {
    let mut buffer = [0; 4];
    let bytes = c.encode_utf8(&mut buffer).as_bytes();
    let message = format!("character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"", listed(bytes));
    ValueError::new(SqlState::UNTRANSLATABLE_CHARACTER, message)
}

fn listed(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("0x{b:02x}")).collect::<Vec<_>>().join(" ")
}

fn invalid_sequence(encoding: &str, bytes: &[u8]) -> ValueError {
    let message = format!("invalid byte sequence for encoding \"{encoding}\": {}", listed(bytes));
    ValueError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
}

fn checked_utf8(bytes: &[u8]) -> Result<String, ValueError> {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            if let Some(zero) = bytes[..at].iter().position(|b| *b == 0) {
                return Err(invalid_sequence("UTF8", &bytes[zero..=zero]));
            }
            // PostgreSQL lists as many bytes as the first one announces.
            let announced = match bytes[at] {
                0xf0..=0xf7 => 4,
                0xe0..=0xef => 3,
                0xc0..=0xdf => 2,
                _ => 1,
            };
            return Err(invalid_sequence("UTF8", &bytes[at..bytes.len().min(at + announced)]));
        }
    };
    if valid.contains('\0') { Err(invalid_sequence("UTF8", &[0])) } else { Ok(valid.to_owned()) }
}
