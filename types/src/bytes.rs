//! Functions over byte strings: positions count bytes, from 1; `get_bit` and `set_bit` count bits from 0, the lowest of a byte first.

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::strings::{negative_length, substring_range};

/// `substr(bytes, start, length)`.
pub fn substring(bytes: &[u8], start: i32, length: Option<i32>) -> Result<&[u8], ValueError> {
    let (from, to) = substring_range(start, length)?;
    let to = to.unwrap_or(bytes.len()).min(bytes.len());
    Ok(bytes.get(from..to).unwrap_or_default())
}

/// Replaces bytes by others.
pub fn overlay(bytes: &[u8], by: &[u8], start: i32, length_replaced: Option<i32>) -> Result<Vec<u8>, ValueError> {
    let replaced = length_replaced.unwrap_or_else(|| length(by));
    if start <= 0 {
        return Err(negative_length());
    }
    let after = start.checked_add(replaced).ok_or_else(|| ValueError::out_of_range("integer"))?;
    Ok([substring(bytes, 1, Some(start - 1))?, by, substring(bytes, after, None)?].concat())
}

/// How many bytes.
pub fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}

/// Where bytes are first found, from 1; 0 if nowhere.
pub fn position(bytes: &[u8], wanted: &[u8]) -> i32 {
    memchr::memmem::find(bytes, wanted).and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0)
}

/// Without any of the listed bytes at the chosen ends.
pub fn trim<'a>(bytes: &'a [u8], listed: &[u8], start: bool, end: bool) -> &'a [u8] {
    let mut kept = bytes;
    while let (true, [first, rest @ ..]) = (start, kept)
        && listed.contains(first)
    {
        kept = rest;
    }
    while let (true, [rest @ .., last]) = (end, kept)
        && listed.contains(last)
    {
        kept = rest;
    }
    kept
}

fn out_of_valid_range(index: i64, count: i64) -> ValueError {
    ValueError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, format!("index {index} out of valid range, 0..{}", count - 1))
}

fn byte_index(bytes: &[u8], index: i32) -> Result<usize, ValueError> {
    let at = usize::try_from(index).ok().filter(|at| *at < bytes.len());
    at.ok_or_else(|| out_of_valid_range(i64::from(index), bytes.len() as i64))
}

fn bit_index(bytes: &[u8], index: i64) -> Result<(usize, u8), ValueError> {
    let count = bytes.len() as i64 * 8;
    let at = usize::try_from(index).ok().filter(|_| index < count).ok_or_else(|| out_of_valid_range(index, count))?;
    Ok((at / 8, 1 << (at % 8)))
}

/// A byte by its index from 0.
pub fn get_byte(bytes: &[u8], index: i32) -> Result<i32, ValueError> {
    Ok(i32::from(bytes[byte_index(bytes, index)?]))
}

/// The bytes with one of them set; only the lowest eight bits of the value count.
pub fn set_byte(bytes: &[u8], index: i32, value: i32) -> Result<Vec<u8>, ValueError> {
    let at = byte_index(bytes, index)?;
    let mut changed = bytes.to_vec();
    changed[at] = value.to_le_bytes()[0];
    Ok(changed)
}

/// A bit by its index from 0.
pub fn get_bit(bytes: &[u8], index: i64) -> Result<i32, ValueError> {
    let (at, mask) = bit_index(bytes, index)?;
    Ok(i32::from(bytes[at] & mask != 0))
}

/// The bytes with one bit set.
pub fn set_bit(bytes: &[u8], index: i64, value: i32) -> Result<Vec<u8>, ValueError> {
    let (at, mask) = bit_index(bytes, index)?;
    let mut changed = bytes.to_vec();
    match value {
        0 => changed[at] &= !mask,
        1 => changed[at] |= mask,
        _ => return Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1")),
    }
    Ok(changed)
}

/// How many bits are set.
pub fn bit_count(bytes: &[u8]) -> i64 {
    bytes.iter().map(|b| i64::from(b.count_ones())).sum()
}
