"""asyncpg: prepared statements, binary values only, cursors, transactions, COPY. Takes a DSN."""

import asyncio
import datetime
import decimal
import sys
import uuid

import asyncpg


def arguments(dsn):
    parts = dict(part.split("=", 1) for part in dsn.split())
    return {"host": parts["host"], "port": int(parts["port"]), "user": parts["user"], "database": parts["dbname"]}


async def values(conn):
    for name, value in {
        "smallint": 12, "int": -7, "bigint": 1 << 60, "real": 1.5, "float8": 0.1,
        "numeric": decimal.Decimal("-12345.678900"), "text": "täxt", "varchar": "v", "boolean": False,
        "date": datetime.date(2024, 2, 29), "time": datetime.time(1, 2, 3, 4),
        "timestamp": datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
        "timestamptz": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        "interval": datetime.timedelta(days=400, seconds=5), "bytea": b"\x00\xff",
        "uuid": uuid.UUID(int=7), "jsonb": '{"a": [1, 2]}', "int[]": [1, None], "text[]": ["x", ""],
    }.items():
        found = await conn.fetchval(f"SELECT $1::{name}", value)
        assert found == value, (name, value, found)
        assert await conn.fetchval(f"SELECT $1::{name}", None) is None, name
    assert await conn.fetchval("SELECT 'NaN'::numeric::text || $1", "x") == "NaNx"
    assert await conn.fetchval("SELECT 'infinity'::timestamp") == datetime.datetime.max


async def statements(conn):
    await conn.execute("DROP TABLE IF EXISTS asyncpg_rows")
    await conn.execute("CREATE TABLE asyncpg_rows (id int PRIMARY KEY, v text, n numeric)")
    await conn.executemany("INSERT INTO asyncpg_rows VALUES ($1, $2, $3)", [(n, f"v{n}", decimal.Decimal(n)) for n in range(200)])
    statement = await conn.prepare("SELECT v, n FROM asyncpg_rows WHERE id = $1")
    assert [p.name for p in statement.get_parameters()] == ["int4"]
    assert [(a.name, a.type.name) for a in statement.get_attributes()] == [("v", "text"), ("n", "numeric")]
    for n in range(50):
        row = await statement.fetchrow(n)
        assert (row["v"], row["n"]) == (f"v{n}", n), row
    rows = await conn.fetch("SELECT id FROM asyncpg_rows WHERE id BETWEEN $1 AND $2 ORDER BY id", 5, 8)
    assert [row["id"] for row in rows] == [5, 6, 7, 8]
    assert await conn.execute("UPDATE asyncpg_rows SET v = $1 WHERE id < $2", "new", 10) == "UPDATE 10"
    assert await conn.execute("INSERT INTO asyncpg_rows VALUES ($1)", 1000) == "INSERT 0 1"
    assert await conn.fetchval("DELETE FROM asyncpg_rows WHERE id = $1 RETURNING id", 1000) == 1000
    assert await conn.fetch("SELECT * FROM asyncpg_rows WHERE id = -1") == []
    assert await conn.fetchval("SELECT count(*) FROM asyncpg_rows WHERE id = ANY($1)", [1, 2, 999]) == 2
    try:
        await conn.execute("INSERT INTO asyncpg_rows VALUES ($1)", 1)
        raise AssertionError("a duplicate was taken")
    except asyncpg.UniqueViolationError as error:
        assert error.constraint_name == "asyncpg_rows_pkey", error.constraint_name
    try:
        await conn.fetchval("SELECT $1::int", "not a number")
        raise AssertionError("a text was taken for an int")
    except asyncpg.DataError:
        pass


async def transactions(conn):
    async with conn.transaction():
        # A portal that is read in pieces.
        found = [row["id"] async for row in conn.cursor("SELECT id FROM asyncpg_rows ORDER BY id", prefetch=30)]
        assert found == list(range(200))
        cursor = await conn.cursor("SELECT id FROM asyncpg_rows WHERE id >= $1 ORDER BY id", 100)
        assert [row["id"] for row in await cursor.fetch(3)] == [100, 101, 102]
        assert await cursor.forward(10) == 10
        assert (await cursor.fetchrow())["id"] == 113
    try:
        async with conn.transaction():
            await conn.execute("DELETE FROM asyncpg_rows")
            async with conn.transaction():
                await conn.execute("INSERT INTO asyncpg_rows VALUES (1)")
            raise KeyError
    except KeyError:
        pass
    assert await conn.fetchval("SELECT count(*) FROM asyncpg_rows") == 200


async def copies(conn):
    rows = [(n, f"c{n}", decimal.Decimal(n) / 8) for n in range(1000, 1500)]
    assert await conn.copy_records_to_table("asyncpg_rows", records=rows) == "COPY 500"
    assert await conn.fetchval("SELECT sum(n) FROM asyncpg_rows WHERE id >= 1000") == sum(row[2] for row in rows)
    taken = bytearray()

    async def take(data):
        taken.extend(data)

    await conn.copy_from_query("SELECT id, v FROM asyncpg_rows WHERE id < 3 ORDER BY id", output=take)
    assert bytes(taken) == b"0\tnew\n1\tnew\n2\tnew\n", taken


async def many_at_once(parameters):
    pool = await asyncpg.create_pool(**parameters, min_size=1, max_size=8)

    async def add(n):
        async with pool.acquire() as conn:
            await conn.execute("UPDATE asyncpg_rows SET n = n + 1 WHERE id = 0")
            return await conn.fetchval("SELECT $1::int", n)

    assert await asyncio.gather(*(add(n) for n in range(40))) == list(range(40))
    assert await pool.fetchval("SELECT n FROM asyncpg_rows WHERE id = 0") == 40
    await pool.close()


async def main(dsn):
    parameters = arguments(dsn)
    conn = await asyncpg.connect(**parameters)
    await values(conn)
    await statements(conn)
    await transactions(conn)
    await copies(conn)
    await many_at_once(parameters)
    await conn.execute("DROP TABLE asyncpg_rows")
    await conn.close()


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(sys.argv[1]), 120))
