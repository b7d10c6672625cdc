//! What a client was told, and what must therefore be there after a crash.
//!
//! A [`Writer`] changes rows of its own in patterns that it can check later, and money in accounts that all share:
//!
//! - *batches*: one statement inserts all rows of a batch, or deletes them. A batch is there with all of its rows or not at all.
//! - *counter*: one row, counted up by one. It has counted what was acknowledged, and perhaps the one statement more whose answer got lost.
//! - *transfers*: a transaction of two updates. The sum over all accounts never changes.
//!
//! A change without an answer is in doubt: both outcomes are right, until a read after the recovery has shown one; then that one must stay.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, ClientError};

/// Rows of a batch.
const BATCH_ROWS: u64 = 5;
/// Accounts that all writers share.
const ACCOUNTS: u32 = 40;
const BALANCE: u32 = 1_000;
/// A server that says one of these does not know whether the change was made (SQL's "unknown" outcomes).
const UNKNOWN_OUTCOMES: [&str; 3] = ["40003", "08007", "08006"];

/// Makes the tables. `clause` says how each is cut.
pub fn create_tables(client: &mut Client, clause: &str) -> Result<(), ClientError> {
    client.execute(&format!("CREATE TABLE batches (id bigint PRIMARY KEY, writer int, batch int, row_no int) {clause}"))?;
    client.execute("CREATE INDEX batches_writer ON batches (writer, batch)")?;
    client.execute(&format!("CREATE TABLE counters (writer int PRIMARY KEY, n bigint NOT NULL) {clause}"))?;
    client.execute(&format!("CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL) {clause}"))?;
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    client.execute(&format!("INSERT INTO accounts VALUES {}", accounts.join(", ")))?;
    Ok(())
}

/// Checks that no money came or went.
pub fn check_accounts(client: &mut Client) -> Result<(), String> {
    let answer = client.execute("SELECT sum(balance), count(*) FROM accounts").map_err(|error| error.to_string())?;
    let expected = [(ACCOUNTS * BALANCE).to_string(), ACCOUNTS.to_string()].map(Some);
    if answer.rows == [expected.to_vec()] { Ok(()) } else { Err(format!("the accounts hold {:?}, not {expected:?}", answer.rows)) }
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    InDoubt,
}

/// What is known of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    There,
    Gone,
    InDoubt,
}

/// One client and what it was told.
#[derive(Debug)]
pub struct Writer {
    number: u32,
    random: StdRng,
    batches: BTreeMap<u64, Batch>,
    batches_begun: u64,
    counted: u64,
    count_in_doubt: bool,
    acknowledged: u64,
    last_refusal: String,
}

impl Writer {
    /// The writer of that number (from 1). Its choices follow from the seed.
    pub fn new(number: u32, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed ^ u64::from(number) << 32);
        Self {
            number,
            random,
            batches: BTreeMap::new(),
            batches_begun: 0,
            counted: 0,
            count_in_doubt: false,
            acknowledged: 0,
            last_refusal: String::new(),
        }
    }

    /// Makes its counter. To be called once, while nothing crashes.
    pub fn begin(&self, client: &mut Client) -> Result<(), ClientError> {
        client.execute(&format!("INSERT INTO counters VALUES ({}, 0)", self.number)).map(|_| ())
    }

    /// How many changes it was told of.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The last statement that was refused, and why.
    pub fn last_refusal(&self) -> &str {
        &self.last_refusal
    }

    /// Makes one change. `Err`: the connection is of no use any more.
    pub fn step(&mut self, client: &mut Client) -> Result<(), ClientError> {
        match self.random.random_range(0..10) {
            0..4 => self.insert_batch(client),
            4..5 => self.delete_batch(client),
            5..7 => self.count(client),
            _ => self.transfer(client),
        }
    }

    fn insert_batch(&mut self, client: &mut Client) -> Result<(), ClientError> {
        self.batches_begun += 1;
        let (writer, batch) = (self.number, self.batches_begun);
        // The rows of a batch are far from each other, so that they lie in several partitions.
        let row = |n: u64| format!("({}, {writer}, {batch}, {n})", n * 1_000_000_000 + u64::from(writer) * 1_000_000 + batch);
        let rows: Vec<String> = (1..=BATCH_ROWS).map(row).collect();
        let sql = format!("INSERT INTO batches VALUES {}", rows.join(", "));
        let (outcome, result) = self.change(client, &sql);
        self.batches.insert(batch, state(outcome, Batch::There, Batch::Gone));
        result
    }

    fn delete_batch(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let known: Vec<u64> = self.batches.iter().filter(|(_, state)| **state == Batch::There).map(|(batch, _)| *batch).collect();
        if known.is_empty() {
            return Ok(());
        }
        let batch = known[self.random.random_range(0..known.len())];
        let sql = format!("DELETE FROM batches WHERE writer = {} AND batch = {batch}", self.number);
        let (outcome, result) = self.change(client, &sql);
        self.batches.insert(batch, state(outcome, Batch::Gone, Batch::There));
        result
    }

    fn count(&mut self, client: &mut Client) -> Result<(), ClientError> {
        if self.count_in_doubt {
            return Ok(());
        }
        let sql = format!("UPDATE counters SET n = n + 1 WHERE writer = {}", self.number);
        let (outcome, result) = self.change(client, &sql);
        self.counted += u64::from(outcome == Outcome::Done);
        self.count_in_doubt = outcome == Outcome::InDoubt;
        result
    }

    fn transfer(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let (from, to) = (self.random.random_range(1..=ACCOUNTS), self.random.random_range(1..=ACCOUNTS));
        let amount = self.random.random_range(1..20);
        for sql in [
            "BEGIN".to_owned(),
            format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}"),
            format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}"),
            "COMMIT".to_owned(),
        ] {
            let (outcome, result) = self.change(client, &sql);
            result?;
            if outcome != Outcome::Done {
                break;
            }
        }
        if client.transaction_status() != 'I' {
            self.change(client, "ROLLBACK").1?;
        }
        Ok(())
    }

    fn change(&mut self, client: &mut Client, sql: &str) -> (Outcome, Result<(), ClientError>) {
        match client.execute(sql) {
            Ok(_) => {
                self.acknowledged += 1;
                (Outcome::Done, Ok(()))
            }
            Err(ClientError::Server(report)) if UNKNOWN_OUTCOMES.contains(&report.code.as_str()) => (Outcome::InDoubt, Ok(())),
            // The server goes down: whether before or after the change, it does not say.
            Err(ClientError::Server(report)) if report.severity == "FATAL" => (Outcome::InDoubt, Err(ClientError::Server(report))),
            Err(ClientError::Server(report)) => {
                self.last_refusal = format!("{sql}: {report}");
                (Outcome::Refused, Ok(()))
            }
            Err(error) => (Outcome::InDoubt, Err(error)),
        }
    }

    /// Compares what is there with what it was told, and settles what was in doubt.
    pub fn check(&mut self, client: &mut Client) -> Result<(), String> {
        self.check_batches(client)?;
        let sql = format!("SELECT n FROM counters WHERE writer = {}", self.number);
        let found = client.value(&sql).map_err(|error| format!("{sql}: {error}"))?.unwrap_or_default();
        let found: u64 = found.parse().map_err(|_| format!("the counter says {found:?}"))?;
        let most = self.counted + u64::from(self.count_in_doubt);
        if !(self.counted..=most).contains(&found) {
            return Err(format!("writer {} has counted to {}..={most}, and finds {found}", self.number, self.counted));
        }
        (self.counted, self.count_in_doubt) = (found, false);
        Ok(())
    }

    fn check_batches(&mut self, client: &mut Client) -> Result<(), String> {
        let writer = self.number;
        let sql = format!("SELECT batch, count(*), count(DISTINCT row_no) FROM batches WHERE writer = {writer} GROUP BY batch");
        let answer = client.execute(&sql).map_err(|error| format!("{sql}: {error}"))?;
        let number = |value: &Option<String>| value.as_ref().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        for row in &answer.rows {
            let (batch, rows, different) = (number(&row[0]), number(&row[1]), number(&row[2]));
            if rows != different {
                return Err(format!("batch {batch} of writer {writer} has {rows} rows, of which {different} are different"));
            }
            found.insert(batch, rows);
        }
        for (batch, state) in &mut self.batches {
            let rows = found.remove(batch).unwrap_or(0);
            let right = match state {
                Batch::There => rows == BATCH_ROWS,
                Batch::Gone => rows == 0,
                Batch::InDoubt => rows == 0 || rows == BATCH_ROWS,
            };
            if !right {
                return Err(format!("batch {batch} of writer {writer} is {state:?}, and {rows} of its {BATCH_ROWS} rows are found"));
            }
            *state = if rows == 0 { Batch::Gone } else { Batch::There };
        }
        if found.is_empty() { Ok(()) } else { Err(format!("writer {writer} never wrote {found:?}")) }
    }
}

fn state(outcome: Outcome, done: Batch, refused: Batch) -> Batch {
    match outcome {
        Outcome::Done => done,
        Outcome::Refused => refused,
        Outcome::InDoubt => Batch::InDoubt,
    }
}
