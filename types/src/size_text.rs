//! Sizes in bytes as people write them: `pg_size_pretty` and `pg_size_bytes`.

use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive};
use common::numeric::Numeric;
use common::sqlstate::SqlState;

use crate::datetime_tokens::is_space;
use crate::error::ValueError;

/// The units, each 1024 times the one before.
const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
/// A size goes on to the next unit when it would have more than this many of one.
const PER_UNIT_MAX: u64 = 10 * 1024;

/// `pg_size_pretty(bigint)`.
pub fn pretty(size: i64) -> String {
    let mut size = i128::from(size);
    let mut unit = 0;
    // The last bit of a larger unit is kept until the end, for rounding.
    let mut halves = false;
    loop {
        let limit = if halves { 2 * PER_UNIT_MAX - 1 } else { PER_UNIT_MAX };
        if unit == UNITS.len() - 1 || size.unsigned_abs() < u128::from(limit) {
            let shown = if halves { (size + size.signum()) / 2 } else { size };
            return format!("{shown} {}", UNITS[unit]);
        }
        size /= if halves { 1024 } else { 512 };
        halves = true;
        unit += 1;
    }
}

/// `pg_size_pretty(numeric)`.
pub fn pretty_numeric(size: &Numeric) -> String {
    let Numeric::Finite(size) = size else { return format!("{size} bytes") };
    let mut size = size.clone();
    let mut unit = 0;
    let mut halves = false;
    loop {
        let limit = BigDecimal::from(if halves { 2 * PER_UNIT_MAX - 1 } else { PER_UNIT_MAX });
        if unit == UNITS.len() - 1 || size.abs() < limit {
            let shown = if halves { whole((&size + size.signum()) / 2) } else { size };
            return format!("{} {}", Numeric::finite(shown), UNITS[unit]);
        }
        size = whole(size / if halves { 1024 } else { 512 });
        halves = true;
        unit += 1;
    }
}

fn whole(value: BigDecimal) -> BigDecimal {
    value.with_scale_round(0, RoundingMode::Down)
}

/// `pg_size_bytes`.
pub fn bytes(text: &str) -> Result<i64, ValueError> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8));
    let number = number_prefix(trimmed);
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return Err(invalid(text));
    }
    let value: BigDecimal = number.parse().map_err(|_| invalid(text))?;
    let unit = trimmed[number.len()..].trim_start_matches(|c: char| c.is_ascii() && is_space(c as u8));
    let power = if unit.is_empty() {
        0
    } else {
        UNITS.iter().position(|name| name.eq_ignore_ascii_case(unit)).ok_or_else(|| ValueError::Other {
            sqlstate: SqlState::INVALID_PARAMETER_VALUE,
            message: format!("invalid size: \"{text}\""),
            detail: Some(format!("Invalid size unit: \"{unit}\".")),
            hint: Some("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".".to_owned()),
        })?
    };
    let total = value * BigDecimal::from(1_u64 << (10 * power));
    // Casting to bigint rounds halves away from zero.
    let rounded = total.with_scale_round(0, RoundingMode::HalfUp);
    rounded.to_i64().ok_or_else(|| ValueError::out_of_range("bigint"))
}

fn invalid(text: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid size: \"{text}\""))
}

/// The number that a text begins with, with its sign and exponent.
fn number_prefix(text: &str) -> &str {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    end += digits(end);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    &text[..end]
}
