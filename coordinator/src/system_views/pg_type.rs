//! The types that exist here, as PostgreSQL's pg_type has them.

use std::collections::HashMap;
use std::sync::LazyLock;

use common::ids::Oid;

/// PostgreSQL's row of a type; the numbers of functions are their oids.
pub(super) struct PgType {
    pub(super) oid: Oid,
    pub(super) name: &'static str,
    pub(super) len: i16,
    pub(super) by_value: bool,
    pub(super) kind: &'static str,
    pub(super) category: &'static str,
    pub(super) preferred: bool,
    pub(super) delimiter: &'static str,
    pub(super) element: Oid,
    pub(super) array: Oid,
    /// typsubscript, typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze.
    pub(super) functions: [u32; 8],
    pub(super) align: &'static str,
    pub(super) storage: &'static str,
    pub(super) collation: Oid,
}

static TYPES: LazyLock<Vec<PgType>> =
    LazyLock::new(|| include_str!("pg_type.txt").lines().filter(|l| !l.starts_with('#')).map(read).collect());
static BY_OID: LazyLock<HashMap<Oid, usize>> = LazyLock::new(|| TYPES.iter().enumerate().map(|(at, ty)| (ty.oid, at)).collect());

/// All types, by oid.
pub(super) fn all() -> &'static [PgType] {
    &TYPES
}

/// A type by oid.
pub(super) fn by_oid(oid: Oid) -> Option<&'static PgType> {
    BY_OID.get(&oid).map(|at| &TYPES[*at])
}

fn read(line: &'static str) -> PgType {
    let words: Vec<&'static str> = line.split(' ').collect();
    let number = |at: usize| words[at].parse().expect("the list of types is a part of the program, and a test reads it");
    PgType {
        oid: Oid(number(0)),
        name: words[1],
        len: words[2].parse().expect("the list of types is a part of the program, and a test reads it"),
        by_value: words[3] == "t",
        kind: words[4],
        category: words[5],
        preferred: words[6] == "t",
        delimiter: words[7],
        element: Oid(number(8)),
        array: Oid(number(9)),
        functions: std::array::from_fn(|at| number(10 + at)),
        align: words[18],
        storage: words[19],
        collation: Oid(number(20)),
    }
}
