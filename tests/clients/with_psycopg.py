"""psycopg 3: server-side binding, types both ways, transactions, pipelines, cursors, COPY. Takes a DSN."""

import datetime
import decimal
import sys
import uuid

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb


def types_go_there_and_come_back(conn):
    values = {
        "smallint": 12,
        "int": -7,
        "bigint": 1 << 60,
        "real": 1.5,
        "float8": 0.1,
        "numeric": decimal.Decimal("12345678901234567890.0123456789"),
        "text": "täxt 'with' quotes",
        "varchar": "v",
        "boolean": True,
        "date": datetime.date(2024, 2, 29),
        "time": datetime.time(12, 34, 56, 789),
        "timestamp": datetime.datetime(2024, 2, 29, 12, 34, 56, 789),
        "timestamptz": datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=datetime.timezone.utc),
        "interval": datetime.timedelta(days=3, hours=4, microseconds=5),
        "bytea": bytes(range(256)),
        "uuid": uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        "int[]": [1, None, 3],
        "text[]": ["a", "b c", '"'],
    }
    for binary in (False, True):
        for name, value in values.items():
            query = sql.SQL("SELECT %s::{}").format(sql.SQL(name))
            found = conn.execute(query, [value], binary=binary).fetchone()[0]
            assert found == value, (name, binary, value, found)
            assert conn.execute(query, [None], binary=binary).fetchone()[0] is None, name
        found = conn.execute("SELECT %s::jsonb", [Jsonb({"a": [1, None]})], binary=binary).fetchone()[0]
        assert found == {"a": [1, None]}, found
        # The same values as parameters in the binary form.
        for name in ("int", "bigint", "text", "float8", "boolean", "date", "timestamp", "uuid", "bytea", "numeric"):
            query = sql.SQL("SELECT %b::{}").format(sql.SQL(name))
            found = conn.execute(query, [values[name]], binary=binary).fetchone()[0]
            assert found == values[name], (name, binary, found)


def rows_are_written_and_read(conn):
    conn.execute("DROP TABLE IF EXISTS psycopg_rows")
    conn.execute("CREATE TABLE psycopg_rows (id int PRIMARY KEY, name text, price numeric(10,2), tags text[])")
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO psycopg_rows VALUES (%s, %s, %s, %s)",
            [(n, f"n{n}", decimal.Decimal(n) / 4, [str(n)]) for n in range(100)],
        )
        assert cursor.rowcount == 100, cursor.rowcount
        cursor.executemany("INSERT INTO psycopg_rows (id) VALUES (%s) RETURNING id", [(n,) for n in range(100, 103)], returning=True)
        found = []
        while True:
            found.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
        assert found == [100, 101, 102], found
    row = conn.execute("SELECT name, price, tags FROM psycopg_rows WHERE id = %s", [7]).fetchone()
    assert row == ("n7", decimal.Decimal("1.75"), ["7"]), row
    for _ in range(10):  # after five of them psycopg prepares the statement
        assert conn.execute("SELECT count(*) FROM psycopg_rows WHERE id < %s", [10]).fetchone() == (10,)
    rows = conn.execute("SELECT id FROM psycopg_rows WHERE id = ANY(%s) ORDER BY id", [[3, 1, 2, 1000]]).fetchall()
    assert rows == [(1,), (2,), (3,)], rows
    with conn.cursor(row_factory=dict_row) as cursor:
        assert cursor.execute("SELECT id, name AS n FROM psycopg_rows WHERE id = 1").fetchone() == {"id": 1, "n": "n1"}
        assert [c.name for c in cursor.description] == ["id", "n"]
        assert [c.type_code for c in cursor.description] == [23, 25]
    cursor = conn.execute("UPDATE psycopg_rows SET name = %s WHERE id < %s", ["changed", 5])
    assert cursor.rowcount == 5 and cursor.statusmessage == "UPDATE 5", (cursor.rowcount, cursor.statusmessage)
    cursor = conn.execute("DELETE FROM psycopg_rows WHERE id >= %s RETURNING id", [100])
    assert len(cursor.fetchall()) == 3
    found = [row[0] for row in conn.cursor().stream("SELECT id FROM psycopg_rows ORDER BY id", size=1)]
    assert found == list(range(100))


def errors_have_their_fields(conn):
    try:
        conn.execute("INSERT INTO psycopg_rows (id) VALUES (1)")
        raise AssertionError("a duplicate was taken")
    except psycopg.errors.UniqueViolation as error:
        diag = error.diag
        assert (diag.sqlstate, diag.constraint_name, diag.table_name, diag.schema_name) == (
            "23505", "psycopg_rows_pkey", "psycopg_rows", "public"), diag.constraint_name
        assert diag.message_detail == "Key (id)=(1) already exists.", diag.message_detail
    for query, kind in [
        ("SELECT nosuch", psycopg.errors.UndefinedColumn),
        ("SELECT * FROM nosuch", psycopg.errors.UndefinedTable),
        ("SELEC 1", psycopg.errors.SyntaxError),
        ("SELECT 1 / 0", psycopg.errors.DivisionByZero),
        ("SELECT 'x'::int", psycopg.errors.InvalidTextRepresentation),
    ]:
        try:
            conn.execute(query)
            raise AssertionError(f"{query} was taken")
        except kind as error:
            if "nosuch" in query:
                assert error.diag.statement_position is not None, query
    assert conn.execute("SELECT 1").fetchone() == (1,)


def transactions(dsn):
    with psycopg.connect(dsn) as conn:
        conn.execute("INSERT INTO psycopg_rows (id) VALUES (500)")
        try:
            with conn.transaction():
                conn.execute("INSERT INTO psycopg_rows (id) VALUES (501)")
                conn.execute("INSERT INTO psycopg_rows (id) VALUES (500)")
        except psycopg.errors.UniqueViolation:
            pass
        with conn.transaction():
            conn.execute("INSERT INTO psycopg_rows (id) VALUES (502)")
        conn.commit()
        conn.execute("INSERT INTO psycopg_rows (id) VALUES (503)")
        conn.rollback()
        rows = conn.execute("SELECT id FROM psycopg_rows WHERE id >= 500 ORDER BY id").fetchall()
        assert rows == [(500,), (502,)], rows
        conn.rollback()
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        assert conn.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
        conn.rollback()
        conn.read_only = True
        try:
            conn.execute("DELETE FROM psycopg_rows")
            raise AssertionError("a read-only transaction wrote")
        except psycopg.errors.ReadOnlySqlTransaction:
            conn.rollback()


def pipelines(conn):
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int * 2", [n]) for n in range(20)]
        assert [cursor.fetchone()[0] for cursor in cursors] == [n * 2 for n in range(20)]
    try:
        with conn.pipeline() as pipeline:
            first = conn.execute("SELECT 1")
            conn.execute("SELECT 1 / 0")
            after = conn.execute("SELECT 2")
            pipeline.sync()
        raise AssertionError("the pipeline had no error")
    except psycopg.errors.DivisionByZero:
        pass
    assert conn.execute("SELECT 3").fetchone() == (3,)


def copies(conn):
    conn.execute("DROP TABLE IF EXISTS psycopg_copy")
    conn.execute("CREATE TABLE psycopg_copy (id int PRIMARY KEY, t text, d date)")
    rows = [(n, None if n % 7 == 0 else f"line\n\t\\{n}", datetime.date(2024, 1, 1) + datetime.timedelta(n)) for n in range(500)]
    with conn.cursor().copy("COPY psycopg_copy FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    for options in ("", "(FORMAT binary)"):
        with conn.cursor().copy(f"COPY (SELECT * FROM psycopg_copy ORDER BY id) TO STDOUT {options}") as copy:
            copy.set_types(["int4", "text", "date"])
            assert list(copy.rows()) == rows, options
    with conn.cursor().copy("COPY psycopg_copy (id, t) FROM STDIN (FORMAT csv, HEADER)") as copy:
        copy.write('id,t\n1000,"a,b"\n1001,\n1002,""\n')
    found = conn.execute("SELECT id, t FROM psycopg_copy WHERE id >= 1000 ORDER BY id").fetchall()
    assert found == [(1000, "a,b"), (1001, None), (1002, "")], found
    with conn.cursor().copy("COPY psycopg_copy FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text", "date"])
        copy.write_row((2000, "binary", None))
    try:
        with conn.cursor().copy("COPY psycopg_copy FROM STDIN") as copy:
            copy.write("3000\tx\t2024-01-01\nnot a number\tx\t\\N\n")
        raise AssertionError("a bad line was taken")
    except psycopg.errors.InvalidTextRepresentation as error:
        assert "COPY psycopg_copy, line 2, column id" in (error.diag.context or ""), error.diag.context
    assert conn.execute("SELECT count(*) FROM psycopg_copy WHERE id >= 2000").fetchone() == (1,)


def cancelling_and_limits(conn):
    conn.execute("SET statement_timeout = '200ms'")
    try:
        conn.execute("SELECT count(*) FROM generate_series(1, 100000000) AS a, generate_series(1, 1000) AS b")
        raise AssertionError("the statement had no limit")
    except psycopg.errors.QueryCanceled:
        conn.execute("RESET statement_timeout")


def main(dsn):
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.info.parameter_status("server_encoding") == "UTF8"
        assert conn.info.parameter_status("standard_conforming_strings") == "on"
        assert conn.info.server_version // 10000 == 15, conn.info.server_version
        types_go_there_and_come_back(conn)
        rows_are_written_and_read(conn)
        errors_have_their_fields(conn)
        transactions(dsn)
        pipelines(conn)
        copies(conn)
        cancelling_and_limits(conn)
        conn.execute("DROP TABLE psycopg_rows, psycopg_copy")


if __name__ == "__main__":
    main(sys.argv[1])
