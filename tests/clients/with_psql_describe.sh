#!/bin/bash
# psql's describing commands, which read the system catalogs. Takes a DSN.
set -euo pipefail
dsn=$1
run() { psql -X -q -v ON_ERROR_STOP=1 "$dsn" "$@"; }
has() { # what, text, found
    if [[ "$3" != *"$2"* ]]; then
        printf '%s: no %s in\n%s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
}
run -c 'DROP TABLE IF EXISTS described' 2>/dev/null
run -c 'CREATE TABLE described (id serial PRIMARY KEY, v varchar(20) NOT NULL, n numeric(6,2) DEFAULT 1.5, CHECK (n > 0), UNIQUE (v))'
run -c 'CREATE INDEX described_n ON described (n DESC, id)'
found=$(run -c '\d described')
has '\d table' 'Table "public.described"' "$found"
has '\d table' 'nextval('"'"'described_id_seq'"'"'::regclass)' "$found"
has '\d table' '"described_pkey" PRIMARY KEY, btree (id)' "$found"
has '\d table' '"described_n" btree (n DESC, id)' "$found"
has '\d table' '"described_v_key" UNIQUE CONSTRAINT, btree (v)' "$found"
has '\d table' '"described_n_check" CHECK (n > 0' "$found"
has '\d table' 'character varying(20)' "$found"
has '\dt' 'described' "$(run -c '\dt')"
has '\di' 'described_n' "$(run -c '\di')"
has '\ds' 'described_id_seq' "$(run -c '\ds')"
has '\dn' 'public' "$(run -c '\dn')"
has '\du' 'postgres' "$(run -c '\du')"
has '\l' 'UTF8' "$(run -c '\l')"
has '\df' 'upper' "$(run -c '\df pg_catalog.upper')"
has '\dT' 'integer' "$(run -c '\dT pg_catalog.int4')"
has '\d+' 'described' "$(run -c '\d+ described')"
run -c 'DROP TABLE described'
