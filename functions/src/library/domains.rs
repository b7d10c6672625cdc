//! What casts to domains call.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};

use crate::casts::canonical;
use crate::definition::{Definition, fail, row};
use crate::literals::literal;
use crate::registry::call_hidden;
use crate::typed_expr::TypedExpr;

const NOT_NULL: &str = "domain_not_null(any,text) any";
const CHECK: &str = "domain_check(any,bool,text,text) any";

pub(crate) fn definitions() -> Vec<Definition> {
    let not_null = row(NOT_NULL, |a| match a.value(0) {
        Datum::Null => fail(SqlState::NOT_NULL_VIOLATION, format!("domain {} does not allow null values", a.text(1)?)),
        value => Ok(value.clone()),
    });
    let check = row(CHECK, |a| match a.value(1) {
        Datum::Bool(false) => {
            let message = format!("value for domain {} violates check constraint \"{}\"", a.text(2)?, a.text(3)?);
            fail(SqlState::CHECK_VIOLATION, message)
        }
        _ => Ok(a.value(0).clone()),
    });
    vec![not_null.nullable().hidden(), check.nullable().hidden()]
}

fn text(value: &str) -> TypedExpr {
    literal(&Datum::Text(value.to_owned()), Scalar::Text.into())
}

fn call(key: &str, ty: SqlType, args: Vec<TypedExpr>) -> TypedExpr {
    let types = args.iter().map(|a| a.ty).collect();
    TypedExpr::new(call_hidden(key, types, ty, args.into_iter().map(|a| a.expr).collect()), ty)
}

/// The value, unless it is NULL; 23502.
pub fn domain_not_null(value: TypedExpr, domain: &str) -> TypedExpr {
    let value = canonical(value);
    call(NOT_NULL, value.ty, vec![value, text(domain)])
}

/// The value, unless the condition is false; 23514.
pub fn domain_check(value: TypedExpr, condition: TypedExpr, domain: &str, constraint: &str) -> TypedExpr {
    let value = canonical(value);
    call(CHECK, value.ty, vec![value, condition, text(domain), text(constraint)])
}
