//! Roles and databases. There is no list of either: whoever connects is a superuser in a database of the name that was asked for, and all names mean
//! the same objects. So the roles are the owner of everything and the users that are connected, and the databases are the ones they named.

use std::collections::BTreeSet;

use common::ids::Oid;

use super::context::SystemContext;

/// The role that owns all objects, with PostgreSQL's oid of the bootstrap superuser.
pub(super) const OWNER: &str = "postgres";
/// Its oid.
pub(super) const OWNER_OID: Oid = Oid(10);
const DATABASE: &str = "postgres";
/// PostgreSQL's oid of the database `postgres`.
const DATABASE_OID: Oid = Oid(5);

/// Names of roles: the owner and the connected users.
pub(super) fn roles(system: &SystemContext) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = system.connected().iter().map(|s| s.user.clone()).collect();
    names.extend([OWNER.to_owned(), system.settings.user.to_string()]);
    names
}

/// Names of databases.
pub(super) fn databases(system: &SystemContext) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = system.connected().iter().map(|s| s.database.clone()).collect();
    names.extend([DATABASE.to_owned(), system.settings.database.to_string()]);
    names
}

/// The oid of a role: made of its name.
pub(super) fn role_oid(name: &str) -> Oid {
    if name == OWNER { OWNER_OID } else { named_oid(name) }
}

/// The oid of a database: made of its name.
pub(super) fn database_oid(name: &str) -> Oid {
    if name == DATABASE { DATABASE_OID } else { named_oid(name) }
}

/// The role with that oid.
pub(super) fn role_name(system: &SystemContext, oid: Oid) -> Option<String> {
    roles(system).into_iter().find(|name| role_oid(name) == oid)
}

/// FNV-1a of the name, in the range from 2^30 to 2^31, which no catalog reaches.
fn named_oid(name: &str) -> Oid {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Oid((hash & 0x3fff_ffff) | 1 << 30)
}
