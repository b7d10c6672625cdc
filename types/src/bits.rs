//! Bit strings, which travel as texts of 0 and 1: their order is the bit strings'.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;

use crate::error::ValueError;

fn wrong_digit(kind: &str, digit: char) -> ValueError {
    ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("\"{digit}\" is not a valid {kind} digit"))
}

/// Reads a bit string: bits, `b…`, or hexadecimal digits behind `x`.
pub fn parse(text: &str) -> Result<String, ValueError> {
    match text.chars().next() {
        Some('x' | 'X') => hexadecimal(&text[1..]),
        Some('b' | 'B') => binary(&text[1..]),
        _ => binary(text),
    }
}

fn binary(digits: &str) -> Result<String, ValueError> {
    match digits.chars().find(|c| !matches!(c, '0' | '1')) {
        Some(digit) => Err(wrong_digit("binary", digit)),
        None => Ok(digits.to_owned()),
    }
}

fn hexadecimal(digits: &str) -> Result<String, ValueError> {
    let mut out = String::with_capacity(digits.len() * 4);
    for digit in digits.chars() {
        let value = digit.to_digit(16).ok_or_else(|| wrong_digit("hexadecimal", digit))?;
        out.push_str(&format!("{value:04b}"));
    }
    Ok(out)
}

/// Fits bits to a declared length: `bit(n)` has exactly that many, `bit varying(n)` at most. An explicit cast cuts and fills.
pub fn fit(bits: String, scalar: Scalar, length: i32, explicit: bool) -> Result<String, ValueError> {
    let wanted = usize::try_from(length).unwrap_or(0);
    let mut bits = bits;
    if scalar == Scalar::Bit {
        if bits.len() != wanted && !explicit {
            let message = format!("bit string length {} does not match type bit({wanted})", bits.len());
            return Err(ValueError::new(SqlState::STRING_DATA_LENGTH_MISMATCH, message));
        }
        bits.truncate(wanted);
        bits.extend(std::iter::repeat_n('0', wanted - bits.len()));
    } else if bits.len() > wanted {
        if !explicit {
            let message = format!("bit string too long for type bit varying({wanted})");
            return Err(ValueError::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, message));
        }
        bits.truncate(wanted);
    }
    Ok(bits)
}

/// The wire form: the number of bits, then bytes.
pub fn write_binary(bits: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(bits.len() as i32).to_be_bytes());
    for byte in bits.as_bytes().chunks(8) {
        let value = byte.iter().enumerate().fold(0_u8, |sum, (at, bit)| sum | (bit & 1) << (7 - at));
        out.push(value);
    }
}

/// Reads the wire form.
pub fn read_binary(bytes: &[u8]) -> Result<String, ValueError> {
    let wrong = || ValueError::new(SqlState::INVALID_BINARY_REPRESENTATION, "invalid length in external bit string");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| wrong())?;
    if rest.len() != length.div_ceil(8) {
        return Err(wrong());
    }
    Ok((0..length).map(|at| if rest[at / 8] >> (7 - at % 8) & 1 == 1 { '1' } else { '0' }).collect())
}

/// `a op b`, bit by bit; 22026 for different lengths.
pub fn combine(a: &str, b: &str, verb: &str, op: fn(bool, bool) -> bool) -> Result<Datum, ValueError> {
    if a.len() != b.len() {
        let message = format!("cannot {verb} bit strings of different sizes");
        return Err(ValueError::new(SqlState::STRING_DATA_LENGTH_MISMATCH, message));
    }
    let bit = |(x, y): (u8, u8)| if op(x == b'1', y == b'1') { '1' } else { '0' };
    Ok(Datum::Text(a.bytes().zip(b.bytes()).map(bit).collect()))
}

/// `~a`
pub fn invert(bits: &str) -> String {
    bits.bytes().map(|b| if b == b'1' { '0' } else { '1' }).collect()
}

/// `a << n`, or `a >> -n`: zeros come in, the length stays.
pub fn shift_left(bits: &str, count: i32) -> String {
    let distance = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(bits.len());
    let zeros = "0".repeat(distance);
    if count >= 0 { format!("{}{zeros}", &bits[distance..]) } else { format!("{zeros}{}", &bits[..bits.len() - distance]) }
}

/// The bits as a signed number of that many bits; 22003 where there are more.
pub fn to_integer(bits: &str, width: usize, name: &str) -> Result<i64, ValueError> {
    if bits.len() > width {
        return Err(ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range")));
    }
    let number = bits.bytes().fold(0_u64, |sum, b| sum << 1 | u64::from(b == b'1'));
    Ok(if width == 32 { i64::from((number as u32).cast_signed()) } else { number.cast_signed() })
}

/// The lowest bits of a number, its sign in front of them.
pub fn of_integer(number: i64, length: usize) -> String {
    (0..length).rev().map(|at| if number >> at.min(63) & 1 == 1 { '1' } else { '0' }).collect()
}
