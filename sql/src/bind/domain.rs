//! Domains: what a value must fulfil to be one of a domain.

use common::user_types::UserType;
use functions::resolve;
use functions::typed_expr::TypedExpr;

use super::Binder;
use super::environment::Environment;
use super::scope::{Scope, ScopeColumn, ScopeTable};
use crate::domain_syntax::VALUE;
use crate::error::Result;

impl Binder<'_> {
    /// The value, if it fulfils the conditions of the domain and of those it is made over.
    pub(crate) fn in_domain(&self, value: TypedExpr, domain: Option<&UserType>) -> Result<TypedExpr> {
        let Some(domain) = domain else { return Ok(value) };
        let (mut value, name) = (value, &domain.name);
        for ty in self.settings.types.domain_chain(domain.oid).into_iter().rev() {
            let Some(domain) = ty.domain() else { continue };
            if domain.not_null {
                value = resolve::domain_not_null(value, name);
            }
            for check in &domain.checks {
                let condition = self.domain_condition(&check.expression, value.clone())?;
                value = resolve::domain_check(value, condition, name, &check.name);
            }
        }
        Ok(value)
    }

    fn domain_condition(&self, text: &str, value: TypedExpr) -> Result<TypedExpr> {
        let tree = crate::parse::parse_expression(text)?;
        let scope = value_scope(value);
        let bound = self.expression(&tree, &Environment::new(&scope, None, None, "domain check constraints"))?;
        Ok(resolve::to_boolean(&self.cx(), bound, "CHECK")?)
    }
}

/// A scope in which the name of the value means that expression.
fn value_scope(value: TypedExpr) -> Scope {
    let arrow = value.arrow();
    let column = ScopeColumn { name: VALUE.to_owned(), value, arrow, origin: None, merged: false };
    Scope { tables: vec![ScopeTable { columns: vec![column], ..ScopeTable::default() }], merged: Vec::new() }
}
