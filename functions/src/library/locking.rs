//! Advisory locks, and who waits for whom: what the coordinator must ask other nodes for, each time it is called.

use crate::definition::{Definition, ask};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for arguments in ["int8", "int4,int4"] {
        for shared in ["", "_shared"] {
            for scope in ["", "_xact"] {
                out.push(ask(&format!("pg_advisory{scope}_lock{shared}({arguments}) void")));
                out.push(ask(&format!("pg_try_advisory{scope}_lock{shared}({arguments}) bool")));
            }
            out.push(ask(&format!("pg_advisory_unlock{shared}({arguments}) bool")));
        }
    }
    out.push(ask("pg_advisory_unlock_all() void"));
    out.push(ask("pg_blocking_pids(int4) int4[]"));
    out
}
