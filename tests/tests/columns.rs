//! Scans by columns answer as scans by rows do. Two servers are told the same; one is stopped and started again between the rounds, so that its
//! rows are in the base and its scans leave columns in memory, the other keeps all that it was told in its memtables, where there are rows only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tests::client::{Answer, Client};
use tests::partita::Partita;

const TABLES: [&str; 2] = [
    "CREATE TABLE many (id int PRIMARY KEY, a int, b bigint, c numeric(12,2), n numeric, t text, ts timestamptz, d date, f float8, ok bool,
       arr int[], u uuid, iv interval, x varchar(10)) WITH (partitions = 2)",
    "CREATE TABLE plain (k text, v int)",
];

const ROWS: [&str; 2] = [
    "INSERT INTO many SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 100 END, i::bigint * 1000003, i / 7.0,
       CASE WHEN i % 5 = 0 THEN NULL ELSE i * 1.000001 END, CASE WHEN i % 3 = 0 THEN NULL ELSE 'text ' || i % 50 END,
       timestamptz '2020-01-01 00:00+00' + i * interval '1 minute', date '2020-01-01' + i % 1000, i / 3.0, i % 2 = 0, array[i, i % 9, NULL],
       ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, i * interval '1 hour', 'v' || i % 10 FROM generate_series(1, 9000) i",
    "INSERT INTO plain SELECT 'k' || i % 1000, i FROM generate_series(1, 2000) i",
];

/// What changes from round to round; after some of the changes the rows of the base and those of memtables are one table.
const ROUNDS: [&[&str]; 5] = [
    &[],
    &[
        "UPDATE many SET a = a + 1, t = 'changed' WHERE id % 97 = 0",
        "DELETE FROM many WHERE id % 101 = 0",
        "INSERT INTO many (id, a) SELECT i, i FROM generate_series(100001, 100500) i",
        "INSERT INTO plain VALUES ('new', 1)",
    ],
    &[
        "ALTER TABLE many ADD COLUMN extra int DEFAULT 7",
        "SELECT extra, count(*) FROM many GROUP BY extra ORDER BY extra",
        "UPDATE many SET extra = 8 WHERE id % 3 = 0",
        "SELECT extra, count(*) FROM many GROUP BY extra ORDER BY extra",
        "ALTER TABLE many DROP COLUMN f",
    ],
    &["UPDATE many SET b = 1", "DELETE FROM many WHERE id % 2 = 0", "UPDATE plain SET v = v + 1 WHERE k < 'k5'"],
    &["TRUNCATE plain", "INSERT INTO plain VALUES ('again', 2)", "DELETE FROM many WHERE id < 8500"],
];

const READS: [&str; 9] = [
    "SELECT count(*) FROM many",
    "SELECT count(a), sum(a), min(b), max(b), sum(c), sum(n), count(t), min(t), max(ts), min(d), count(ok) FROM many",
    "SELECT a, count(*), sum(b) FROM many GROUP BY a ORDER BY a",
    "SELECT * FROM many WHERE id BETWEEN 5000 AND 5040 ORDER BY id",
    "SELECT id, a, b, c, n, t, ts, d, ok, arr, u, iv, x FROM many ORDER BY id",
    "SELECT d, count(*) FROM many WHERE ok AND d > '2021-06-01' GROUP BY d ORDER BY d LIMIT 5",
    "SELECT count(*), sum(v), count(DISTINCT k) FROM plain",
    "SELECT count(*) FROM many JOIN plain ON plain.v = many.id WHERE many.a < 50",
    "SELECT id FROM many WHERE a IS NULL ORDER BY id DESC LIMIT 5 OFFSET 100",
];

/// A transaction that sees what it has written, and takes it back.
const OWN_WRITES: [&str; 5] = [
    "BEGIN",
    "UPDATE many SET a = 5 WHERE id % 50 = 0",
    "DELETE FROM many WHERE id % 10 = 3",
    "SELECT count(*), sum(a), count(t) FROM many",
    "ROLLBACK",
];

fn all(client: &mut Client, statements: &[&str]) -> Vec<Answer> {
    statements.iter().map(|sql| client.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))).collect()
}

fn same(by_columns: &mut Client, by_rows: &mut Client, statements: &[&str], when: &str) {
    let (found, expected) = (all(by_columns, statements), all(by_rows, statements));
    for ((sql, found), expected) in statements.iter().zip(found).zip(expected) {
        let differs = found.rows.iter().zip(&expected.rows).find(|(found, expected)| found != expected);
        assert!(found == expected, "{when}: {sql}: {} rows, {} expected; {differs:?}", found.rows.len(), expected.rows.len());
    }
}

#[test]
fn columns_say_what_rows_say() {
    let directories = [(); 2].map(|()| tempfile::Builder::new().prefix("partita-columns-").tempdir().unwrap());
    let rows_only = Partita::start(directories[1].path(), 1).unwrap();
    let mut by_rows = Client::connect(rows_only.address()).unwrap();
    let mut folding = Partita::start(directories[0].path(), 1).unwrap();
    {
        let mut client = Client::connect(folding.address()).unwrap();
        same(&mut client, &mut by_rows, &TABLES, "tables");
        same(&mut client, &mut by_rows, &ROWS, "rows");
    }
    for (round, changes) in ROUNDS.iter().enumerate() {
        let mut client = Client::connect(folding.address()).unwrap();
        same(&mut client, &mut by_rows, changes, &format!("round {round}, changes"));
        same(&mut client, &mut by_rows, &READS, &format!("round {round}, rows of memtables over the base"));
        drop(client);
        folding.stop();
        folding = Partita::start(directories[0].path(), 1).unwrap();
        let mut client = Client::connect(folding.address()).unwrap();
        same(&mut client, &mut by_rows, &READS, &format!("round {round}, making columns"));
        same(&mut client, &mut by_rows, &READS, &format!("round {round}, from columns"));
        same(&mut client, &mut by_rows, &OWN_WRITES, &format!("round {round}, own writes"));
        same(&mut client, &mut by_rows, &READS, &format!("round {round}, after a rollback"));
    }
}
