//! The WITH queries that are in sight. Each is bound anew where it is used, so that its columns have names of their own there.

use std::rc::Rc;

use datafusion::arrow::datatypes::SchemaRef;
use sqlparser::ast::{Query, TableAlias, With};

use super::relation::Output;
use super::scope::folded;

/// One WITH query.
pub(crate) struct Cte<'a> {
    pub(crate) name: String,
    pub(crate) alias: &'a TableAlias,
    pub(crate) body: CteBody<'a>,
}

/// What a WITH query's name stands for.
pub(crate) enum CteBody<'a> {
    /// A query that may name itself when `recursive`.
    Query { query: &'a Query, recursive: bool },
    /// A query that is carried out by itself: its rows, under this name.
    Part { rows: String, columns: Vec<Output> },
    /// A change without RETURNING: it has no rows.
    Silent,
    /// Inside a recursive query: its working table, under this name in the plan.
    WorkTable { table: String, schema: SchemaRef, columns: Vec<Output> },
}

/// A WITH clause and what it could see itself.
#[derive(Clone)]
pub(crate) struct Ctes<'a> {
    pub(crate) outer: Option<&'a Ctes<'a>>,
    pub(crate) queries: Vec<Rc<Cte<'a>>>,
}

impl<'a> Ctes<'a> {
    pub(crate) fn of_clause(with: &'a With, outer: Option<&'a Ctes<'a>>) -> Self {
        let queries = with.cte_tables.iter().map(|cte| {
            let body = CteBody::Query { query: &cte.query, recursive: with.recursive };
            Rc::new(Cte { name: folded(&cte.alias.name), alias: &cte.alias, body })
        });
        Self { outer, queries: queries.collect() }
    }

    /// The query of that name, and what its own body sees.
    pub(crate) fn find(&self, wanted: &str) -> Option<(Rc<Cte<'a>>, Self)> {
        match self.queries.iter().rposition(|q| q.name == wanted) {
            Some(at) => {
                let seen = Self { outer: self.outer, queries: self.queries[..at].to_vec() };
                Some((Rc::clone(&self.queries[at]), seen))
            }
            None => self.outer.and_then(|outer| outer.find(wanted)),
        }
    }

    /// The same with one more.
    pub(crate) fn with(&self, cte: Cte<'a>) -> Self {
        let mut more = self.clone();
        more.queries.push(Rc::new(cte));
        more
    }
}
