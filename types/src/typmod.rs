//! What a type's modifier does to a value: lengths of char and varchar, precision and scale of numeric, digits of seconds.

use bigdecimal::{BigDecimal, RoundingMode};
use common::datum::Datum;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use num_traits::Signed;

use crate::bits;
use crate::calendar::{MICROS_TO_2000, is_timestamp};
use crate::error::ValueError;
use crate::interval_text;
use crate::timetz::TimeTz;

/// Fits a value of the type without modifier into the type with it. An assignment refuses a text that is too long unless only blanks
/// are cut; an explicit cast cuts it.
pub fn apply_typmod(value: Datum, ty: SqlType, explicit: bool) -> Result<Datum, ValueError> {
    if ty.typmod < 0 {
        return Ok(value);
    }
    match value {
        Datum::Array(elements) => elements.try_map(|element| apply_typmod(element.clone(), ty.element(), explicit)).map(Datum::Array),
        Datum::Text(text) if matches!(ty.scalar, Scalar::Bit | Scalar::Varbit) => {
            bits::fit(text, ty.scalar, ty.typmod, explicit).map(Datum::Text)
        }
        Datum::Bytea(bytes) if ty.scalar == Scalar::Timetz => {
            let value = TimeTz::from_bytes(&bytes).map(|v| v.rounded(ty.typmod).to_bytes().to_vec().into());
            Ok(Datum::Bytea(value.unwrap_or(bytes)))
        }
        Datum::Text(text) => fit_text(text, ty, explicit).map(Datum::Text),
        Datum::Numeric(number) if ty.scalar == Scalar::Numeric => fit_numeric(number, ty).map(Datum::Numeric),
        Datum::Time(micros) => Ok(Datum::Time(interval_text::rounded(micros, ty.typmod).unwrap_or(micros))),
        Datum::Timestamp(micros) => fit_timestamp(micros, ty.typmod).map(Datum::Timestamp),
        Datum::Interval(interval) => interval_text::apply_typmod(interval, ty.typmod).map(Datum::Interval),
        other => Ok(other),
    }
}

/// Whether a value of that type can come out of [`apply_typmod`] changed.
pub fn has_effect(ty: SqlType) -> bool {
    ty.typmod >= 0
}

fn fit_text(mut text: String, ty: SqlType, explicit: bool) -> Result<String, ValueError> {
    let Some(length) = ty.char_length() else { return Ok(text) };
    // Bytes are at least as many as characters.
    let count = if text.len() <= length && text.is_ascii() { text.len() } else { text.chars().count() };
    if count > length {
        let cut = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        if !explicit && !text[cut..].bytes().all(|b| b == b' ') {
            let name = if ty.scalar == Scalar::Bpchar { "character" } else { "character varying" };
            return Err(ValueError::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {name}({length})")));
        }
        text.truncate(cut);
    } else if ty.scalar == Scalar::Bpchar {
        text.extend(std::iter::repeat_n(' ', length - count));
    }
    Ok(text)
}

fn overflow(detail: String) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        message: "numeric field overflow".to_owned(),
        detail: Some(detail),
        hint: None,
    }
}

fn fit_numeric(number: Numeric, ty: SqlType) -> Result<Numeric, ValueError> {
    let Some((precision, scale)) = ty.numeric_precision_scale() else { return Ok(number) };
    let value = match number {
        Numeric::Finite(value) => value,
        Numeric::NaN if !ty.is_decimal128() => return Ok(Numeric::NaN),
        Numeric::NaN => {
            return Err(ValueError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("NaN in a column of type {} is not supported", ty.element().display_name()),
            ));
        }
        Numeric::Infinity | Numeric::NegativeInfinity => {
            return Err(overflow(format!("A field with precision {precision}, scale {scale} cannot hold an infinite value.")));
        }
    };
    let rounded = if value.fractional_digit_count() == i64::from(scale) {
        value
    } else {
        value.with_scale_round(i64::from(scale), RoundingMode::HalfUp)
    };
    let whole_digits = i64::from(precision) - i64::from(scale);
    if digits_before_point(&rounded) > whole_digits {
        let (base, limit) = if whole_digits == 0 { ("", 1) } else { ("10^", whole_digits) };
        return Err(overflow(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than {base}{limit}."
        )));
    }
    Ok(Numeric::finite(rounded))
}

/// How many decimal digits stand before the point; negative when zeros follow it, the least number for zero.
fn digits_before_point(value: &BigDecimal) -> i64 {
    let (unscaled, scale) = value.as_bigint_and_scale();
    if let Ok(small) = i128::try_from(unscaled.as_ref()) {
        let digits = small.unsigned_abs().checked_ilog10().map_or(i64::MIN / 2, |log| i64::from(log) + 1);
        return digits - scale;
    }
    i64::try_from(unscaled.abs().to_str_radix(10).len()).unwrap_or(i64::MAX / 2) - scale
}

fn fit_timestamp(micros: i64, typmod: i32) -> Result<i64, ValueError> {
    if !is_timestamp(micros) {
        return Ok(micros);
    }
    // PostgreSQL rounds away from 2000, not from 1970.
    interval_text::rounded(micros - MICROS_TO_2000, typmod)
        .and_then(|rounded| rounded.checked_add(MICROS_TO_2000))
        .filter(|rounded| is_timestamp(*rounded))
        .ok_or_else(|| ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}
