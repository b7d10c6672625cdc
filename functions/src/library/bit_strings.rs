//! The functions and operators of bit strings.

use common::datum::Datum;
use common::sqlstate::SqlState;
use types::error::ValueError;
use types::{bits, strings};

use crate::definition::{Args, Definition, fail, row, text};

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("~(bit) bit", |a| text(bits::invert(a.text(0)?))),
        row("&(bit,bit) bit", |a| bits::combine(a.text(0)?, a.text(1)?, "AND", |x, y| x && y)),
        row("|(bit,bit) bit", |a| bits::combine(a.text(0)?, a.text(1)?, "OR", |x, y| x || y)),
        row("#(bit,bit) bit", |a| bits::combine(a.text(0)?, a.text(1)?, "XOR", |x, y| x != y)),
        row("<<(bit,int4) bit", |a| text(bits::shift_left(a.text(0)?, a.int4(1)?))),
        row(">>(bit,int4) bit", |a| text(bits::shift_left(a.text(0)?, a.int4(1)?.saturating_neg()))),
        row("length(bit) int4", count),
        row("bit_length(bit) int4", count),
        row("octet_length(bit) int4", |a| Ok(Datum::Int4(a.text(0)?.len().div_ceil(8) as i32))),
        row("bit_count(bit) int8", |a| Ok(Datum::Int8(a.text(0)?.bytes().filter(|b| *b == b'1').count() as i64))),
        row("position(bit,bit) int4", |a| Ok(Datum::Int4(strings::position(a.text(0)?, a.text(1)?)))),
        row("get_bit(bit,int4) int4", |a| Ok(Datum::Int4(i32::from(a.text(0)?.as_bytes()[place(a)?] == b'1')))),
        row("set_bit(bit,int4,int4) bit", set_bit),
        row("substring(bit,int4) bit", |a| text(strings::substring(a.text(0)?, a.int4(1)?, None)?)),
        row("substring(bit,int4,int4) bit", |a| text(strings::substring(a.text(0)?, a.int4(1)?, Some(a.int4(2)?))?)),
        row("overlay(bit,bit,int4) bit", |a| text(strings::overlay(a.text(0)?, a.text(1)?, a.int4(2)?, None)?)),
        row("overlay(bit,bit,int4,int4) bit", |a| text(strings::overlay(a.text(0)?, a.text(1)?, a.int4(2)?, Some(a.int4(3)?))?)),
    ];
    for name in ["||", "bitcat"] {
        out.push(row(&format!("{name}(varbit,varbit) varbit"), |a| text(format!("{}{}", a.text(0)?, a.text(1)?))));
    }
    out
}

fn count(args: &Args<'_>) -> Value {
    Ok(Datum::Int4(args.text(0)?.len() as i32))
}

/// The place of a bit that an argument numbers from the left.
fn place(args: &Args<'_>) -> Result<usize, ValueError> {
    let (length, index) = (args.text(0)?.len(), args.int4(1)?);
    match usize::try_from(index).ok().filter(|at| *at < length) {
        Some(at) => Ok(at),
        None => {
            let last = length as i64 - 1;
            fail(SqlState::ARRAY_SUBSCRIPT_ERROR, format!("bit index {index} out of valid range (0..{last})"))
        }
    }
}

fn set_bit(args: &Args<'_>) -> Value {
    let at = place(args)?;
    let bit = match args.int4(2)? {
        0 => "0",
        1 => "1",
        _ => return fail(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1"),
    };
    let mut bits = args.text(0)?.to_owned();
    bits.replace_range(at..=at, bit);
    text(bits)
}
