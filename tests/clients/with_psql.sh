#!/bin/bash
# psql: its output, \copy, variables, \gset, \watch-free scripts, ON_ERROR_STOP. Takes a DSN.
set -euo pipefail
dsn=$1
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

run() { psql -X -q -v ON_ERROR_STOP=1 "$dsn" "$@"; }
same() { # what, expected, found
    if [ "$2" != "$3" ]; then
        printf '%s: expected\n%s\nfound\n%s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
}

run -c 'DROP TABLE IF EXISTS psql_rows' -c 'CREATE TABLE psql_rows (id int PRIMARY KEY, v text, n numeric(6,2))' 2>/dev/null
printf '1,one,1.5\n2,"two, too",2\n3,,\n' >"$directory/in.csv"
run -c "\\copy psql_rows FROM '$directory/in.csv' CSV"
run -c "\\copy (SELECT * FROM psql_rows ORDER BY id) TO '$directory/out.csv' CSV HEADER"
same 'copied rows' $'id,v,n\n1,one,1.50\n2,"two, too",2.00\n3,,' "$(cat "$directory/out.csv")"
same 'aligned output' $' id |    v     |  n   \n----+----------+------\n  1 | one      | 1.50\n  2 | two, too | 2.00\n  3 |          |     \n(3 rows)' \
    "$(run -c 'SELECT * FROM psql_rows ORDER BY id' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}')"
same 'unaligned output' '1|one|1.50' "$(run -At -c 'SELECT * FROM psql_rows WHERE id = 1')"
same 'tags' $'INSERT 0 2\nUPDATE 5\nDELETE 2' \
    "$(psql -X "$dsn" -c "INSERT INTO psql_rows VALUES (4), (5)" -c "UPDATE psql_rows SET v = 'x'" -c 'DELETE FROM psql_rows WHERE id > 3')"
cat >"$directory/script.sql" <<'SQL'
\set wanted 2
SELECT count(*) AS found FROM psql_rows WHERE id <= :wanted \gset
\echo found :found
\if :{?found}
SELECT :'found' || '!' AS bang;
\endif
BEGIN;
SAVEPOINT s;
INSERT INTO psql_rows VALUES (10, 'lost');
ROLLBACK TO s;
INSERT INTO psql_rows VALUES (11, 'kept');
COMMIT;
PREPARE p(int) AS SELECT v FROM psql_rows WHERE id = $1;
EXECUTE p(11);
SELECT 1 AS a \; SELECT 2 AS b;
SELECT $1::int + 1 \bind 5 \g
SQL
# \bind came with psql 16.
if [ "$(psql --version | sed 's/.* \([0-9]*\)\..*/\1/')" -lt 16 ]; then sed -i '/\\bind/d' "$directory/script.sql"; fi
same 'script' $'found 2\n2!\nkept' "$(run -At -f "$directory/script.sql" | head -3)"
same 'one transaction' '0' "$( (run -1 -c 'INSERT INTO psql_rows VALUES (20)' -c 'SELECT 1 / 0' >/dev/null 2>&1 || true); run -At -c 'SELECT count(*) FROM psql_rows WHERE id = 20')"
same 'an error' 'ERROR:  42P01: relation "nosuch" does not exist' "$(run -v VERBOSITY=verbose -c 'SELECT * FROM nosuch' 2>&1 | head -1 || true)"
run -c 'DROP TABLE psql_rows'
