//! `json_agg`, `json_object_agg` and their jsonb twins. The values come as documents already: `to_json` or `to_jsonb` was put around them.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::json_parse;

use super::rows::RowState;
use super::table::{RowKind, Shape};
use crate::definition::fail;
use crate::library::json_building::LINE;

pub(crate) fn kinds() -> Vec<(String, RowKind)> {
    let kind = |document: &'static str| RowKind { document: Some(document), ..RowKind::new(make, state_types).nullable().ordered() };
    vec![
        ("json_agg(any) json".into(), kind("to_json")),
        ("jsonb_agg(any) jsonb".into(), kind("to_jsonb")),
        ("json_object_agg(any,any) json".into(), kind("to_json")),
        ("jsonb_object_agg(any,any) jsonb".into(), kind("to_jsonb")),
    ]
}

fn state_types(_: &Shape<'_>) -> Vec<SqlType> {
    vec![Scalar::Text.into()]
}

fn make(shape: &Shape<'_>) -> Box<dyn RowState> {
    Box::new(Documents { object: shape.args.len() == 2, binary: shape.result.scalar == Scalar::Jsonb, text: None })
}

#[derive(Debug)]
struct Documents {
    object: bool,
    binary: bool,
    /// The members so far, with what stands between them.
    text: Option<String>,
}

fn document(value: Option<&Datum>) -> &str {
    match value {
        Some(Datum::Text(text)) => text,
        _ => "null",
    }
}

impl RowState for Documents {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        let mut member = String::new();
        if self.object {
            let Some(Datum::Text(key)) = args.first() else {
                return fail(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null");
            };
            json_parse::write_string(key, &mut member);
            member.push_str(" : ");
            member.push_str(document(args.get(1)));
        } else {
            member.push_str(document(args.first()));
        }
        self.append(&member);
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.text.clone().map_or(Datum::Null, Datum::Text)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        if let Some(Datum::Text(members)) = state.first() {
            self.append(members);
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        let Some(members) = &self.text else { return Ok(Datum::Null) };
        let members = members.strip_prefix(LINE).unwrap_or(members);
        let text = if self.object { format!("{{ {members} }}") } else { format!("[{members}]") };
        Ok(Datum::Text(if self.binary { json_parse::to_jsonb(&text)? } else { text }))
    }

    fn size(&self) -> usize {
        self.text.as_ref().map_or(0, String::capacity) + 64
    }
}

impl Documents {
    fn append(&mut self, members: &str) {
        match &mut self.text {
            Some(text) => {
                text.push_str(", ");
                text.push_str(members);
            }
            None => self.text = Some(members.to_owned()),
        }
    }
}
