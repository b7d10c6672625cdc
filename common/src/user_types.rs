//! The types that users make, and how their names are found.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::enums::EnumType;
use crate::ids::Oid;
use crate::types::{Scalar, SqlType};

/// A CHECK constraint of a domain. Its expression is over `value`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DomainCheck {
    pub oid: Oid,
    pub name: String,
    /// SQL text of the condition.
    pub expression: String,
}

/// A type of CREATE DOMAIN: values are its base type's, and fulfil conditions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Domain {
    pub base: SqlType,
    /// The domain that this one is made over, if it is no plain type.
    pub over: Option<Oid>,
    /// SQL text of the default.
    pub default: Option<String>,
    pub not_null: bool,
    pub checks: Vec<DomainCheck>,
}

/// What kind of type it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum UserTypeKind {
    Enum(EnumType),
    Domain(Domain),
}

/// A type that a user made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UserType {
    pub oid: Oid,
    pub array_oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub kind: UserTypeKind,
}

impl UserType {
    /// The type of its values: a domain's is its base type.
    pub fn value_type(&self) -> SqlType {
        match &self.kind {
            UserTypeKind::Enum(ty) => Scalar::Enum(*ty).into(),
            UserTypeKind::Domain(domain) => domain.base,
        }
    }

    /// The domain, if it is one.
    pub fn domain(&self) -> Option<&Domain> {
        if let UserTypeKind::Domain(domain) = &self.kind { Some(domain) } else { None }
    }
}

/// The types of one catalog state by schema and name.
#[derive(Debug, Default)]
pub struct UserTypes {
    by_name: HashMap<(String, String), Arc<UserType>>,
    by_oid: HashMap<Oid, Arc<UserType>>,
}

impl UserTypes {
    /// Of types, each with the name of its schema.
    pub fn new(types: impl IntoIterator<Item = (String, Arc<UserType>)>) -> Self {
        let mut out = Self::default();
        for (schema, ty) in types {
            out.by_oid.insert(ty.oid, Arc::clone(&ty));
            out.by_name.insert((schema, ty.name.clone()), ty);
        }
        out
    }

    /// A type by schema and name.
    pub fn named(&self, schema: &str, name: &str) -> Option<&Arc<UserType>> {
        self.by_name.get(&(schema.to_owned(), name.to_owned()))
    }

    /// The first type of that name in the schemas of a search path.
    pub fn found(&self, search_path: &[String], name: &str) -> Option<&Arc<UserType>> {
        if self.by_name.is_empty() { None } else { search_path.iter().find_map(|schema| self.named(schema, name)) }
    }

    /// A type by oid.
    pub fn by_oid(&self, oid: Oid) -> Option<&Arc<UserType>> {
        self.by_oid.get(&oid)
    }

    /// The type of values, by the oid of a type or of its array.
    pub fn value_type(&self, oid: Oid) -> Option<SqlType> {
        match self.by_oid(oid) {
            Some(ty) => Some(ty.value_type()),
            None => self.by_oid.values().find(|ty| ty.array_oid == oid).map(|ty| SqlType::array_of(ty.value_type())),
        }
    }

    /// A domain with those it is made over, itself first.
    pub fn domain_chain(&self, oid: Oid) -> Vec<&Arc<UserType>> {
        let mut chain = Vec::new();
        let mut next = Some(oid);
        while let Some(ty) = next.and_then(|oid| self.by_oid(oid)) {
            let Some(domain) = ty.domain() else { break };
            chain.push(ty);
            next = domain.over;
        }
        chain
    }
}

/// Two states of a catalog are told apart by their versions.
impl PartialEq for UserTypes {
    fn eq(&self, other: &Self) -> bool {
        self.by_oid == other.by_oid
    }
}
