//! Roles, databases, tablespaces.

use common::datum::Datum;
use common::ids::Oid;

use super::super::roles::{OWNER_OID, database_oid, databases, role_oid, roles};
use super::{FALSE, NULL, Reading, Row, TRUE, oid, text};

/// PostgreSQL's oid of the tablespace pg_default.
const PG_DEFAULT: Oid = Oid(1663);
/// PostgreSQL's number of the encoding UTF8.
const UTF8: i32 = 6;

/// Whether a tablespace has that oid.
pub(super) fn is_tablespace(wanted: u32) -> bool {
    wanted == PG_DEFAULT.0
}

pub(super) fn pg_authid(reading: &Reading<'_>) -> Vec<Row> {
    let row = |name: String| vec![oid(role_oid(&name)), text(name), TRUE, TRUE, TRUE, TRUE, TRUE, TRUE, TRUE, Datum::Int4(-1), NULL, NULL];
    roles(reading.system).into_iter().map(row).collect()
}

pub(super) fn pg_roles(reading: &Reading<'_>) -> Vec<Row> {
    let row = |name: String| {
        let number = oid(role_oid(&name));
        let password = text("********");
        vec![text(name), TRUE, TRUE, TRUE, TRUE, TRUE, TRUE, Datum::Int4(-1), password, NULL, TRUE, NULL, number]
    };
    roles(reading.system).into_iter().map(row).collect()
}

pub(super) fn pg_user(reading: &Reading<'_>) -> Vec<Row> {
    let row = |name: String| {
        let number = oid(role_oid(&name));
        vec![text(name), number, TRUE, TRUE, TRUE, TRUE, text("********"), NULL, NULL]
    };
    roles(reading.system).into_iter().map(row).collect()
}

pub(super) fn pg_database(reading: &Reading<'_>) -> Vec<Row> {
    let row = |name: String| {
        vec![
            oid(database_oid(&name)),
            text(name),
            oid(OWNER_OID),
            Datum::Int4(UTF8),
            text("c"),
            FALSE, // datistemplate
            TRUE,  // datallowconn
            Datum::Int4(-1),
            Datum::Oid(0), // datfrozenxid
            Datum::Oid(0), // datminmxid
            oid(PG_DEFAULT),
            text("C"),
            text("C.UTF-8"),
        ]
    };
    databases(reading.system).into_iter().map(row).collect()
}

pub(super) fn pg_tablespace(_: &Reading<'_>) -> Vec<Row> {
    vec![vec![oid(PG_DEFAULT), text("pg_default"), oid(OWNER_OID)]]
}
