//! The names that PostgreSQL gives to output columns without an alias.

use sqlparser::ast::{Expr, Function, ObjectName, SelectItem, SetExpr, Value};

use super::scope::folded;

/// The name of an expression's column.
pub(crate) fn of(expr: &Expr) -> String {
    strong(expr).or_else(|| weak(expr)).unwrap_or_else(|| "?column?".to_owned())
}

/// Names that also show through a cast.
fn strong(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => folded(parts.last()?),
        Expr::Function(function) => function_name(function)?,
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return strong(inner),
        Expr::Subquery(query) => return query_name(query.body.as_ref()),
        Expr::Extract { .. } => "extract".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Overlay { .. } => "overlay".into(),
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(sqlparser::ast::TrimWhereField::Leading) => "ltrim".into(),
            Some(sqlparser::ast::TrimWhereField::Trailing) => "rtrim".into(),
            _ => "btrim".into(),
        },
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::Exists { negated: false, .. } => "exists".into(),
        Expr::Array(_) => "array".into(),
        Expr::Tuple(_) => "row".into(),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                sqlparser::ast::AccessExpr::Dot(field) => Some(field),
                sqlparser::ast::AccessExpr::Subscript(_) => None,
            });
            return match field {
                Some(field) => strong(field),
                None => strong(root),
            };
        }
        // A cast shows what is below it when that has a name of its own.
        Expr::Cast { expr, .. } => return strong(expr),
        _ => return None,
    })
}

/// Names that a cast's type comes before.
fn weak(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => weak(inner),
        Expr::Cast { data_type, .. } => type_name(data_type),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Value(value) => matches!(value.value, Value::Boolean(_)).then(|| "bool".to_owned()),
        Expr::Case { else_result, .. } => {
            Some(else_result.as_ref().and_then(|e| strong(e).or_else(|| weak(e))).unwrap_or_else(|| "case".to_owned()))
        }
        _ => None,
    }
}

fn type_name(data_type: &sqlparser::ast::DataType) -> Option<String> {
    let settings = functions::context::SessionSettings::default();
    let ty = match (super::type_name::sql_type(data_type, &settings), data_type) {
        (Ok(ty), _) => ty,
        (Err(_), sqlparser::ast::DataType::Custom(name, _)) => return super::from_clause::name_parts(name).ok()?.pop(),
        (Err(_), _) => return None,
    };
    Some(ty.scalar.internal_name().to_owned())
}

fn last_part(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(folded)
}

fn function_name(function: &Function) -> Option<String> {
    last_part(&function.name)
}

fn query_name(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => Some(of(expr)),
            SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
            _ => None,
        },
        SetExpr::Query(query) => query_name(query.body.as_ref()),
        SetExpr::SetOperation { left, .. } => query_name(left),
        SetExpr::Values(_) => Some("column1".into()),
        _ => None,
    }
}
