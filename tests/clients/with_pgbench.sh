#!/bin/bash
# pgbench: its tables, and its three transactions with each way of sending statements. Takes a DSN.
set -euo pipefail
dsn=$1
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
log="$directory/log"

bench() {
    if ! pgbench "$@" "$dsn" >"$log" 2>&1; then
        echo "pgbench $*" >&2
        cat "$log" >&2
        exit 1
    fi
}
# Tables, rows from the server and from the client, primary keys. VACUUM and fill factors are PostgreSQL's own affair.
bench -i -q -s 1 -I dtGp
bench -i -q -s 1 -I dtgp
for protocol in simple extended prepared; do
    for kind in -S -N; do
        bench -n -c 4 -j 2 -T 2 -M "$protocol" "$kind"
        if ! grep -q 'number of failed transactions: 0 ' "$log"; then
            cat "$log" >&2
            exit 1
        fi
    done
done
# All write one branch: the lock on its row decides the order.
bench -n -c 4 -j 2 -t 25 -M prepared
sums=$(psql -X -q -At "$dsn" -c 'SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)')
[ "$sums" = t ] || { echo "branches and tellers differ: $sums" >&2; exit 1; }
psql -X -q "$dsn" -c 'DROP TABLE pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers'
