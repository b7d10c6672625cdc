//! The functions and operators of network addresses.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use types::error::ValueError;
use types::network::{Inet, address_text};

use crate::definition::{Args, Definition, RowFn, fail, row, text};

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = [inclusion(), parts(), arithmetic(), hardware()].into_iter().flatten().collect::<Vec<_>>();
    for name in ["inet_client_addr", "inet_server_addr"] {
        out.push(row(&format!("{name}() inet"), |_| Ok(Datum::Null)).stable());
    }
    out
}

fn inet(args: &Args<'_>, index: usize) -> Result<Inet, ValueError> {
    match Inet::from_bytes(args.bytes(index)?) {
        Some(value) => Ok(value),
        None => fail(SqlState::DATA_CORRUPTED, "a network address is malformed"),
    }
}

fn datum(value: Inet) -> Value {
    Ok(Datum::Bytea(value.to_bytes().into()))
}

fn inclusion() -> Vec<Definition> {
    let of: [(&str, &str, RowFn); 5] = [
        ("<<", "network_sub", |a| Ok(Datum::Bool(is_within(a, 1, 0)? && inet(a, 0)?.mask != inet(a, 1)?.mask))),
        ("<<=", "network_subeq", |a| Ok(Datum::Bool(is_within(a, 1, 0)?))),
        (">>", "network_sup", |a| Ok(Datum::Bool(is_within(a, 0, 1)? && inet(a, 0)?.mask != inet(a, 1)?.mask))),
        (">>=", "network_supeq", |a| Ok(Datum::Bool(is_within(a, 0, 1)?))),
        ("&&", "network_overlap", |a| Ok(Datum::Bool(inet(a, 0)?.overlaps(inet(a, 1)?)))),
    ];
    let named = |(symbol, name, body): (&str, &str, RowFn)| [symbol, name].map(|n| row(&format!("{n}(inet,inet) bool"), body));
    of.into_iter().flat_map(named).collect()
}

/// Whether one argument's network includes the other's.
fn is_within(args: &Args<'_>, outer: usize, inner: usize) -> Result<bool, ValueError> {
    Ok(inet(args, outer)?.includes(inet(args, inner)?))
}

fn parts() -> Vec<Definition> {
    vec![
        row("abbrev(inet) text", |a| text(inet(a, 0)?.abbreviated(false))),
        row("abbrev(cidr) text", |a| text(inet(a, 0)?.abbreviated(true))),
        row("broadcast(inet) inet", |a| datum(inet(a, 0)?.broadcast())),
        row("family(inet) int4", |a| Ok(Datum::Int4(if inet(a, 0)?.address.is_ipv4() { 4 } else { 6 }))),
        row("host(inet) text", |a| text(address_text(inet(a, 0)?.address))),
        row("hostmask(inet) inet", |a| datum(inet(a, 0)?.hostmask())),
        row("masklen(inet) int4", |a| Ok(Datum::Int4(i32::from(inet(a, 0)?.mask)))),
        row("netmask(inet) inet", |a| datum(inet(a, 0)?.netmask())),
        row("network(inet) cidr", |a| datum(inet(a, 0)?.network())),
        row("set_masklen(inet,int4) inet", |a| datum(inet(a, 0)?.with_mask(a.int4(1)?)?)),
        row("set_masklen(cidr,int4) cidr", |a| datum(inet(a, 0)?.with_mask(a.int4(1)?)?.network())),
        row("inet_merge(inet,inet) cidr", |a| datum(inet(a, 0)?.merge(inet(a, 1)?)?)),
        row("inet_same_family(inet,inet) bool", |a| Ok(Datum::Bool(inet(a, 0)?.width() == inet(a, 1)?.width()))),
    ]
}

fn arithmetic() -> Vec<Definition> {
    vec![
        row("~(inet) inet", |a| datum(inet(a, 0)?.inverted())),
        row("&(inet,inet) inet", |a| datum(inet(a, 0)?.combine(inet(a, 1)?, "&", |x, y| x & y)?)),
        row("|(inet,inet) inet", |a| datum(inet(a, 0)?.combine(inet(a, 1)?, "|", |x, y| x | y)?)),
        row("+(inet,int8) inet", |a| datum(inet(a, 0)?.add(a.int8(1)?)?)),
        row("+(int8,inet) inet", |a| datum(inet(a, 1)?.add(a.int8(0)?)?)),
        row("-(inet,int8) inet", |a| match a.int8(1)?.checked_neg() {
            Some(count) => datum(inet(a, 0)?.add(count)?),
            None => fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "result is out of range"),
        }),
        row("-(inet,inet) int8", |a| inet(a, 0)?.minus(inet(a, 1)?).map(Datum::Int8)),
    ]
}

fn hardware() -> Vec<Definition> {
    fn both(args: &Args<'_>, op: fn(u8, u8) -> u8) -> Value {
        let bytes: Vec<u8> = args.bytes(0)?.iter().zip(args.bytes(1)?).map(|(a, b)| op(*a, *b)).collect();
        Ok(Datum::Bytea(bytes.into()))
    }
    vec![
        row("~(macaddr) macaddr", |a| Ok(Datum::Bytea(a.bytes(0)?.iter().map(|b| !b).collect::<Vec<u8>>().into()))),
        row("&(macaddr,macaddr) macaddr", |a| both(a, |x, y| x & y)),
        row("|(macaddr,macaddr) macaddr", |a| both(a, |x, y| x | y)),
        row("trunc(macaddr) macaddr", |a| {
            let kept = a.bytes(0)?.iter().take(3).copied();
            Ok(Datum::Bytea(kept.chain([0; 3]).collect::<Vec<u8>>().into()))
        }),
    ]
}

/// An inet or a cidr as a value of the other type: a cidr has no bits behind its mask.
pub(crate) fn cast(bytes: &[u8], to: Scalar) -> Option<Datum> {
    let value = Inet::from_bytes(bytes)?;
    let value = if to == Scalar::Cidr { value.network() } else { value };
    Some(Datum::Bytea(value.to_bytes().into()))
}
