//! Types that CREATE TYPE … AS ENUM makes.
//!
//! A value of an enum is a number whose order is the labels' order, so that it compares, sorts and is a key as any bigint is. The definition,
//! which tells the label of a number, is interned for the life of the process: types stay plain copies, and each carries its definition with
//! it to wherever it goes. A changed type is a new definition; the old ones stay, which costs a few hundred bytes for each ALTER TYPE.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{LazyLock, RwLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Oid;

/// How far apart labels are that nothing stands between: so often can one be put before another.
pub const LABEL_DISTANCE: i64 = 1 << 32;

/// One label.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EnumLabel {
    /// The identifier in pg_enum.
    pub oid: Oid,
    /// The value that stands for it.
    pub value: i64,
    pub name: String,
}

/// A definition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EnumDefinition {
    pub oid: Oid,
    pub array_oid: Oid,
    pub name: String,
    /// The name as SQL writes it: quoted and qualified where that is needed.
    pub display_name: String,
    /// In the order of their values.
    pub labels: Vec<EnumLabel>,
}

impl EnumDefinition {
    /// The label of a value.
    pub fn label(&self, value: i64) -> Option<&EnumLabel> {
        self.labels.binary_search_by_key(&value, |label| label.value).ok().map(|at| &self.labels[at])
    }

    /// The label of a name.
    pub fn label_named(&self, name: &str) -> Option<&EnumLabel> {
        self.labels.iter().find(|label| label.name == name)
    }
}

/// An interned definition.
#[derive(Clone, Copy)]
pub struct EnumType {
    definition: &'static EnumDefinition,
    fingerprint: u64,
}

static INTERNED: LazyLock<RwLock<HashMap<u64, EnumType>>> = LazyLock::new(RwLock::default);

impl EnumType {
    /// The definition as a type.
    pub fn intern(definition: EnumDefinition) -> Self {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        definition.hash(&mut hasher);
        let mut interned = INTERNED.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut fingerprint = hasher.finish();
        loop {
            match interned.get(&fingerprint) {
                Some(found) if *found.definition == definition => return *found,
                // Another definition has this fingerprint.
                Some(_) => fingerprint = fingerprint.wrapping_add(1),
                None => break,
            }
        }
        let ty = Self { definition: Box::leak(Box::new(definition)), fingerprint };
        interned.insert(fingerprint, ty);
        ty
    }

    /// What stands for the definition in the names of functions; see [`Self::by_fingerprint`].
    pub fn fingerprint(self) -> u64 {
        self.fingerprint
    }

    /// The definition that has been interned under a fingerprint.
    pub fn by_fingerprint(fingerprint: u64) -> Option<Self> {
        INTERNED.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&fingerprint).copied()
    }

    /// The definition.
    pub fn definition(self) -> &'static EnumDefinition {
        self.definition
    }
}

/// A hash that is the same on every node.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Versions of one type are the same type.
impl PartialEq for EnumType {
    fn eq(&self, other: &Self) -> bool {
        self.definition.oid == other.definition.oid
    }
}

impl Eq for EnumType {}

impl PartialOrd for EnumType {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EnumType {
    fn cmp(&self, other: &Self) -> Ordering {
        self.definition.oid.cmp(&other.definition.oid)
    }
}

impl Hash for EnumType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.oid.hash(state);
    }
}

impl std::fmt::Debug for EnumType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.definition.display_name)
    }
}

impl Serialize for EnumType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.definition.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EnumType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        EnumDefinition::deserialize(deserializer).map(Self::intern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mood(labels: &[&str]) -> EnumDefinition {
        let labels = labels.iter().zip(1..).map(|(name, at)| EnumLabel { oid: Oid(100), value: at * LABEL_DISTANCE, name: (*name).into() });
        EnumDefinition { oid: Oid(1), array_oid: Oid(2), name: "mood".into(), display_name: "mood".into(), labels: labels.collect() }
    }

    #[test]
    fn versions_are_one_type_with_definitions_of_their_own() {
        let (old, new) = (EnumType::intern(mood(&["sad"])), EnumType::intern(mood(&["sad", "ok"])));
        assert_eq!(old, new);
        assert_ne!(old.fingerprint(), new.fingerprint());
        assert_eq!(EnumType::by_fingerprint(new.fingerprint()).unwrap().definition().labels.len(), 2);
        assert_eq!(new.definition().label(2 * LABEL_DISTANCE).unwrap().name, "ok");
        assert_eq!(EnumType::intern(mood(&["sad"])).fingerprint(), old.fingerprint());
    }
}
