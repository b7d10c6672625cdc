//! Functions and operators over byte strings, hashes, and uuid.

use common::datum::Datum;
use md5::Digest as _;
use sha2::digest::Digest;
use types::{bytes, encodings};

use crate::definition::{Definition, row, text};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("||(bytea,bytea) bytea", |a| Ok(bytea([a.bytes(0)?, a.bytes(1)?].concat()))),
        row("byteacat(bytea,bytea) bytea", |a| Ok(bytea([a.bytes(0)?, a.bytes(1)?].concat()))),
        row("length(bytea) int4", |a| Ok(Datum::Int4(bytes::length(a.bytes(0)?)))),
        row("octet_length(bytea) int4", |a| Ok(Datum::Int4(bytes::length(a.bytes(0)?)))),
        row("bit_length(bytea) int4", |a| Ok(Datum::Int4(bytes::length(a.bytes(0)?).saturating_mul(8)))),
        row("length(bytea,name) int4", |a| Ok(Datum::Int4(types::strings::length(&encodings::convert_from(a.bytes(0)?, a.text(1)?)?))))
            .stable(),
        row("position(bytea,bytea) int4", |a| Ok(Datum::Int4(bytes::position(a.bytes(0)?, a.bytes(1)?)))),
        row("overlay(bytea,bytea,int4) bytea", |a| Ok(bytea(bytes::overlay(a.bytes(0)?, a.bytes(1)?, a.int4(2)?, None)?))),
        row("overlay(bytea,bytea,int4,int4) bytea", |a| Ok(bytea(bytes::overlay(a.bytes(0)?, a.bytes(1)?, a.int4(2)?, Some(a.int4(3)?))?))),
        row("btrim(bytea,bytea) bytea", |a| Ok(bytea(bytes::trim(a.bytes(0)?, a.bytes(1)?, true, true)))),
        row("ltrim(bytea,bytea) bytea", |a| Ok(bytea(bytes::trim(a.bytes(0)?, a.bytes(1)?, true, false)))),
        row("rtrim(bytea,bytea) bytea", |a| Ok(bytea(bytes::trim(a.bytes(0)?, a.bytes(1)?, false, true)))),
        row("get_byte(bytea,int4) int4", |a| Ok(Datum::Int4(bytes::get_byte(a.bytes(0)?, a.int4(1)?)?))),
        row("set_byte(bytea,int4,int4) bytea", |a| Ok(bytea(bytes::set_byte(a.bytes(0)?, a.int4(1)?, a.int4(2)?)?))),
        row("get_bit(bytea,int8) int4", |a| Ok(Datum::Int4(bytes::get_bit(a.bytes(0)?, a.int8(1)?)?))),
        row("set_bit(bytea,int8,int4) bytea", |a| Ok(bytea(bytes::set_bit(a.bytes(0)?, a.int8(1)?, a.int4(2)?)?))),
        row("bit_count(bytea) int8", |a| Ok(Datum::Int8(bytes::bit_count(a.bytes(0)?)))),
        row("sha224(bytea) bytea", |a| Ok(bytea(sha2::Sha224::digest(a.bytes(0)?).as_slice()))),
        row("sha256(bytea) bytea", |a| Ok(bytea(sha2::Sha256::digest(a.bytes(0)?).as_slice()))),
        row("sha384(bytea) bytea", |a| Ok(bytea(sha2::Sha384::digest(a.bytes(0)?).as_slice()))),
        row("sha512(bytea) bytea", |a| Ok(bytea(sha2::Sha512::digest(a.bytes(0)?).as_slice()))),
        row("md5(bytea) text", |a| text(md5_of(a.bytes(0)?))),
        row("md5(text) text", |a| text(md5_of(a.text(0)?.as_bytes()))),
        row("gen_random_uuid() uuid", |_| Ok(Datum::Uuid(uuid::Uuid::new_v4().into_bytes()))).volatile(),
    ];
    for name in ["substr", "substring"] {
        out.push(row(&format!("{name}(bytea,int4) bytea"), |a| Ok(bytea(bytes::substring(a.bytes(0)?, a.int4(1)?, None)?))));
        out.push(row(&format!("{name}(bytea,int4,int4) bytea"), |a| {
            Ok(bytea(bytes::substring(a.bytes(0)?, a.int4(1)?, Some(a.int4(2)?))?))
        }));
    }
    out
}

fn bytea(value: impl AsRef<[u8]>) -> Datum {
    Datum::Bytea(bytes_of(value.as_ref()))
}

fn bytes_of(value: &[u8]) -> ::bytes::Bytes {
    ::bytes::Bytes::copy_from_slice(value)
}

fn md5_of(value: &[u8]) -> String {
    encodings::to_hex(md5::Md5::digest(value).as_slice())
}
