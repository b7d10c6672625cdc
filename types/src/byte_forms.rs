//! Types other than bytea that travel as bytes: their text and wire forms.

use bytes::Bytes;
use common::datum::Datum;
use common::types::{Scalar, SqlType};

use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::network::Inet;
use crate::timetz::TimeTz;
use crate::{datetime_parse, network, range, range_text};

/// Appends the text of a value; `false` for a bytea.
pub(crate) fn write_text(bytes: &[u8], ty: SqlType, settings: &FormatSettings, out: &mut Vec<u8>) -> bool {
    match ty.scalar {
        Scalar::Timetz => TimeTz::from_bytes(bytes).into_iter().for_each(|v| v.write(out)),
        Scalar::Inet | Scalar::Cidr => {
            let text = Inet::from_bytes(bytes).map(|v| v.text(ty.scalar == Scalar::Cidr)).unwrap_or_default();
            out.extend_from_slice(text.as_bytes());
        }
        Scalar::Macaddr => network::write_macaddr(bytes, out),
        Scalar::Range(kind) => range::from_bytes(bytes, kind).iter().for_each(|r| range_text::write(r, kind, settings, out)),
        _ => return false,
    }
    true
}

/// Appends the wire form of a value; `false` for one whose bytes are it.
pub(crate) fn write_binary(bytes: &[u8], ty: SqlType, out: &mut Vec<u8>) -> bool {
    match ty.scalar {
        Scalar::Timetz => TimeTz::from_bytes(bytes).into_iter().for_each(|v| v.write_binary(out)),
        Scalar::Inet | Scalar::Cidr => Inet::from_bytes(bytes).into_iter().for_each(|v| v.write_binary(ty.scalar == Scalar::Cidr, out)),
        Scalar::Range(kind) => range::from_bytes(bytes, kind).iter().for_each(|r| range_text::write_binary(r, kind, out)),
        _ => return false,
    }
    true
}

/// Reads a text; `None` for a type that does not travel so.
pub(crate) fn parse(text: &str, scalar: Scalar, settings: &FormatSettings) -> Result<Option<Datum>, ValueError> {
    let bytes = match scalar {
        Scalar::Timetz => datetime_parse::parse_timetz(text, settings)?.to_bytes().to_vec(),
        Scalar::Inet | Scalar::Cidr => network::parse(text, scalar == Scalar::Cidr)?.to_bytes(),
        Scalar::Macaddr => network::parse_macaddr(text)?.to_vec(),
        Scalar::Range(kind) => range::to_bytes(&range_text::parse(text, kind, settings)?),
        _ => return Ok(None),
    };
    Ok(Some(Datum::Bytea(Bytes::from(bytes))))
}
