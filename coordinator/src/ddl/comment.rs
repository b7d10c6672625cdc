//! COMMENT ON: kept for schemas, relations, columns and indexes; of what is one of a kind (the database, its roles) accepted.

use catalog::changes::Change;
use catalog::objects::Comment;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use sqlparser::ast::{CommentObject, ObjectName, Statement};

use super::{ATTEMPTS_MAX, Surroundings, missing_relation, propose, split_name, too_many_attempts};
use crate::result::StatementResult;
use crate::session::Session;

pub(super) async fn execute(session: &mut Session, tree: &Statement) -> Result<StatementResult, Report> {
    let Statement::Comment { object_type, object_name, comment, .. } = tree else {
        return Err(Report::internal("COMMENT without its statement"));
    };
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let Some((object, attnum)) = target(&around, *object_type, object_name)? else {
            return Ok(StatementResult::Command("COMMENT".into()));
        };
        let change = match comment.as_deref() {
            None | Some("") => Change::DropComment(object, attnum),
            Some(text) => Change::PutComment(Comment { object, attnum, text: text.to_owned() }),
        };
        if propose(session, around.state.version(), &[change]).await?.is_some() {
            return Ok(StatementResult::Command("COMMENT".into()));
        }
    }
    Err(too_many_attempts())
}

/// What is commented on; `None` where a comment is accepted and not kept.
fn target(around: &Surroundings, kind: CommentObject, name: &ObjectName) -> Result<Option<(Oid, i16)>, Report> {
    let whole = |oid: Oid| Ok(Some((oid, 0)));
    let wrong = |what: &str| {
        let bare = split_name(name).map(|(_, name)| name).unwrap_or_default();
        Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{bare}\" is not {what}"))
    };
    let relation = found(around, name)?;
    match kind {
        CommentObject::Schema => {
            let name = split_name(name)?.1;
            let missing = || Report::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"));
            whole(around.state.schema_named(&name).ok_or_else(missing)?.oid)
        }
        CommentObject::Column => column(around, name).map(Some),
        CommentObject::Table | CommentObject::View | CommentObject::Sequence | CommentObject::Index => {
            let oid = relation.ok_or_else(|| missing_relation(name))?;
            let (state, is) = (&around.state, |what: &str, there: bool| if there { whole(oid) } else { Err(wrong(what)) });
            match kind {
                CommentObject::Table => is("a table", state.table(oid).is_some()),
                CommentObject::View => is("a view", state.view(oid).is_some()),
                CommentObject::Sequence => is("a sequence", state.sequence(oid).is_some()),
                _ => is("an index", state.table(oid).is_none() && state.view(oid).is_none() && state.sequence(oid).is_none()),
            }
        }
        CommentObject::MaterializedView => Err(relation.map_or_else(|| missing_relation(name), |_| wrong("a materialized view"))),
        CommentObject::Database | CommentObject::Extension | CommentObject::Role | CommentObject::User => Ok(None),
        other => Err(Report::unsupported(format!("COMMENT ON {other}"))),
    }
}

fn found(around: &Surroundings, name: &ObjectName) -> Result<Option<Oid>, Report> {
    if name.0.len() > 2 {
        return Ok(None);
    }
    let (schema, bare) = split_name(name)?;
    let named = match schema {
        Some(schema) => around.state.relation_named(&schema, &bare),
        None => around.settings.search_path.iter().find_map(|schema| around.state.relation_named(schema, &bare)),
    };
    Ok(match named {
        Some(oid) => Some(oid),
        None => super::rename::key_of(around, name)?.map(|(_, oid)| oid),
    })
}

fn column(around: &Surroundings, name: &ObjectName) -> Result<(Oid, i16), Report> {
    let mut parts = name.0.clone();
    let column = parts.pop().filter(|_| !parts.is_empty());
    let column = column.ok_or_else(|| Report::new(SqlState::SYNTAX_ERROR, "column name must be qualified"))?;
    let column = split_name(&ObjectName(vec![column]))?.1;
    let relation = ObjectName(parts);
    let oid = found(around, &relation)?.ok_or_else(|| missing_relation(&relation))?;
    let bare = split_name(&relation)?.1;
    let missing = || {
        let message = format!("column \"{column}\" of relation \"{bare}\" does not exist");
        Report::new(SqlState::UNDEFINED_COLUMN, message)
    };
    if let Some(table) = around.state.table(oid) {
        return Ok((oid, table.column_named(&column).ok_or_else(missing)?.attnum));
    }
    if let Some(view) = around.state.view(oid) {
        let at = view.columns.iter().zip(1..).find(|((name, _), _)| *name == column).map(|(_, at)| at);
        return Ok((oid, at.ok_or_else(missing)?));
    }
    Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot set comment on relation \"{bare}\""))
        .with_detail("This operation is not supported for this relation."))
}
