//! Locks under several clients at once: deadlocks over workers, queues with SKIP LOCKED, advisory locks over coordinators, clients that vanish.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use tests::client::{Address, Client, ClientError};
use tests::partita::{Cluster, Partita};
use tests::process::Signal;
use tests::wait;

/// Long enough for a machine that does much else.
const SOON: Duration = Duration::from_secs(20);
/// PostgreSQL's default for `deadlock_timeout`, and a second.
const DEADLOCK_LIMIT: Duration = Duration::from_secs(2);

fn start(workers: u32) -> (tempfile::TempDir, Partita) {
    let directory = tempfile::Builder::new().prefix("partita-locks-").tempdir().unwrap();
    let partita = Partita::start(directory.path(), workers).unwrap();
    (directory, partita)
}

fn connect(address: &Address) -> Client {
    let mut client = Client::connect(address).unwrap();
    client.set_limit(SOON);
    client
}

fn run(client: &mut Client, sql: &str) {
    client.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client.value(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).unwrap().parse().unwrap()
}

fn code(result: &Result<impl Sized, ClientError>) -> String {
    match result {
        Ok(_) => "00000".to_owned(),
        Err(ClientError::Server(report)) => report.code.clone(),
        Err(other) => panic!("{other}"),
    }
}

fn create_rows(client: &mut Client) {
    run(client, "create table t (id int primary key, v int) partition by hash (id) with (partitions = 12)");
    run(client, "insert into t select g, 0 from generate_series(1, 100) as g");
}

/// Until somebody waits for a lock.
fn until_waiting(client: &mut Client, count: i64) {
    let waiting = wait::until(SOON, || (number(client, "select count(*) from partita.lock_waits") >= count).then_some(()));
    assert!(waiting.is_some(), "nobody waits");
}

/// Each client locks a row of its own and then its neighbour's: a circle over the workers. One fails, in time, and the others go on.
#[test]
fn a_deadlock_over_workers_has_one_victim() {
    let (_directory, partita) = start(3);
    let address = partita.address();
    let mut admin = connect(address);
    create_rows(&mut admin);
    for circle in 0..3_usize {
        let size = circle + 2;
        let mut clients: Vec<Client> = (0..size).map(|_| connect(address)).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            run(client, "begin");
            run(client, &format!("update t set v = v + 1 where id = {}", n + 1));
        }
        let clock = SystemClock::new();
        let codes: Vec<String> = std::thread::scope(|scope| {
            let running: Vec<_> = clients
                .iter_mut()
                .enumerate()
                .map(|(n, client)| {
                    scope.spawn(move || {
                        let result = client.execute(&format!("update t set v = v + 1 where id = {}", (n + 1) % size + 1));
                        let code = code(&result);
                        run(client, if result.is_ok() { "commit" } else { "rollback" });
                        code
                    })
                })
                .collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let took = clock.monotonic();
        assert_eq!(codes.iter().filter(|code| *code == "40P01").count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| *code == "00000").count(), size - 1, "{codes:?}");
        assert!(took < DEADLOCK_LIMIT + Duration::from_secs(1), "it took {took:?}");
    }
    partita.stop();
}

/// A statement over all rows waits in the same order as another: no deadlock.
#[test]
fn statements_over_all_rows_are_no_deadlock() {
    let (_directory, partita) = start(3);
    let address = partita.address();
    create_rows(&mut connect(address));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = connect(address);
                for _ in 0..5 {
                    run(&mut client, "update t set v = v + 1");
                }
            });
        }
    });
    assert_eq!(number(&mut connect(address), "select sum(v) from t"), 4 * 5 * 100);
    partita.stop();
}

/// Clients take jobs from one table: each job is done once, and nobody waits for anybody.
#[test]
fn a_queue_gives_each_job_to_one() {
    const JOBS: i64 = 120;
    let (_directory, partita) = start(3);
    let address = partita.address();
    let mut admin = connect(address);
    run(&mut admin, "create table jobs (id int primary key, state text) partition by hash (id) with (partitions = 12)");
    run(&mut admin, &format!("insert into jobs select g, 'new' from generate_series(1, {JOBS}) as g"));
    // One who holds the first jobs all the time holds up nobody.
    let mut slow = connect(address);
    run(&mut slow, "begin");
    let held = slow.execute("select id from jobs where state = 'new' order by id limit 2 for update").unwrap().rows.len();
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 0..6 {
            let done = &done;
            scope.spawn(move || {
                let mut client = connect(address);
                run(&mut client, "set lock_timeout = '10s'");
                loop {
                    let taken = if n % 2 == 0 {
                        run(&mut client, "begin");
                        let jobs =
                            client.execute("select id from jobs where state = 'new' order by id for update skip locked limit 1").unwrap();
                        let id = jobs.rows.first().and_then(|row| row[0].clone());
                        if let Some(id) = &id {
                            run(&mut client, &format!("update jobs set state = 'done' where id = {id}"));
                        }
                        run(&mut client, "commit");
                        id
                    } else {
                        let sql = "update jobs set state = 'done' where id = \
                                   (select id from jobs where state = 'new' order by id for update skip locked limit 1) returning id";
                        client.execute(sql).unwrap().rows.first().and_then(|row| row[0].clone())
                    };
                    match taken {
                        Some(id) => done.lock().unwrap().push(id),
                        None => break,
                    }
                }
            });
        }
    });
    run(&mut slow, "rollback");
    let done = done.into_inner().unwrap();
    let different: HashSet<&String> = done.iter().collect();
    assert_eq!(done.len(), different.len(), "a job was done twice");
    assert_eq!(i64::try_from(done.len()).unwrap(), JOBS - i64::try_from(held).unwrap());
    assert_eq!(number(&mut admin, "select count(*) from jobs where state = 'new'"), 2);
    partita.stop();
}

/// Who waits for a row sees what the other one made of it.
#[test]
fn a_locked_row_is_looked_at_again() {
    let (_directory, partita) = start(3);
    let address = partita.address();
    let mut first = connect(address);
    create_rows(&mut first);
    run(&mut first, "begin");
    run(&mut first, "update t set v = 7 where id in (1, 2)");
    let rows = std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| connect(address).execute("select id, v from t where id < 4 and v < 7 order by id for update").unwrap().rows);
        until_waiting(&mut connect(address), 1);
        run(&mut first, "update t set v = 3 where id = 2");
        run(&mut first, "commit");
        waiting.join().unwrap()
    });
    let row = |id: &str, v: &str| vec![Some(id.to_owned()), Some(v.to_owned())];
    assert_eq!(rows, vec![row("2", "3"), row("3", "0")]);
    partita.stop();
}

/// Limits and cancel requests end a wait at once, and the queue goes on without the one that has left.
#[test]
fn waits_end_when_they_shall() {
    let (_directory, partita) = start(3);
    let address = partita.address();
    let mut holder = connect(address);
    create_rows(&mut holder);
    run(&mut holder, "begin");
    run(&mut holder, "update t set v = 1 where id = 1");
    let mut client = connect(address);
    let clock = SystemClock::new();
    for (setting, expected) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        run(&mut client, &format!("set {setting} = '100ms'"));
        for sql in ["update t set v = 2 where id = 1", "delete from t", "select * from t where id = 1 for share"] {
            assert_eq!(code(&client.execute(sql)), expected, "{sql}");
        }
        run(&mut client, &format!("set {setting} = 0"));
    }
    let took = clock.monotonic();
    assert!(took < Duration::from_secs(3), "six limits of 0.1 s took {took:?}");
    let pid = number(&mut client, "select pg_backend_pid()");
    let holder_pid = number(&mut holder, "select pg_backend_pid()");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| code(&client.execute("update t set v = 2 where id = 1")));
        let mut admin = connect(address);
        until_waiting(&mut admin, 1);
        assert_eq!(admin.value(&format!("select pg_blocking_pids({pid})")).unwrap().unwrap(), format!("{{{holder_pid}}}"));
        let activity = format!("select wait_event_type || ' ' || wait_event || ' ' || state from pg_stat_activity where pid = {pid}");
        assert_eq!(admin.value(&activity).unwrap().unwrap(), "Lock transactionid active");
        assert_eq!(number(&mut admin, &format!("select count(*) from pg_locks where not granted and pid = {pid}")), 1);
        let clock = SystemClock::new();
        run(&mut admin, &format!("select pg_cancel_backend({pid})"));
        assert_eq!(waiting.join().unwrap(), "57014");
        assert!(clock.monotonic() < Duration::from_secs(1));
    });
    assert_eq!(number(&mut holder, "select count(*) from partita.lock_waits"), 0);
    run(&mut holder, "commit");
    run(&mut client, "update t set v = 2 where id = 1");
    partita.stop();
}

/// The locks of a client that is killed go within a second, whether it waited for a lock or was between two statements.
#[test]
fn a_client_that_vanishes_lets_go() {
    let (_directory, partita) = start(3);
    let address = partita.address();
    let mut admin = connect(address);
    create_rows(&mut admin);
    let psql = |sql: &str| {
        let mut command = Command::new("psql");
        command
            .args([&address.dsn(), "-c", sql, "-f", "/dev/stdin"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let is_locked =
        |client: &mut Client, id: i32| code(&client.execute(&format!("select * from t where id = {id} for update nowait"))) == "55P03";
    let mut idle = psql("begin; update t set v = 1 where id = 1");
    // A simple query of several statements is a block of its own: begin leaves it open.
    assert!(wait::until(SOON, || is_locked(&mut admin, 1).then_some(())).is_some(), "the first client has locked nothing");
    let mut waiting = psql("begin; update t set v = 1 where id = 2; select pg_advisory_lock(5); update t set v = 1 where id = 1");
    until_waiting(&mut admin, 1);
    assert!(is_locked(&mut admin, 2));
    for (child, id) in [(&mut waiting, 2), (&mut idle, 1)] {
        child.kill().unwrap();
        child.wait().unwrap();
        let clock = SystemClock::new();
        assert!(wait::until(SOON, || (!is_locked(&mut admin, id)).then_some(())).is_some(), "row {id} stays locked");
        let took = clock.monotonic();
        assert!(took < Duration::from_secs(1), "row {id} was locked for {took:?}");
    }
    assert_eq!(admin.value("select pg_try_advisory_lock(5)").unwrap().as_deref(), Some("t"));
    partita.stop();
}

/// Advisory locks exclude across coordinators, take part in deadlocks, and go when their coordinator dies.
#[test]
fn advisory_locks_exclude_across_coordinators() {
    let directory = tempfile::Builder::new().prefix("partita-locks-").tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), 3).unwrap();
    let (mut second_coordinator, second) = cluster.another_coordinator("second").unwrap();
    let mut here = connect(cluster.address());
    let mut there = connect(&second);
    assert_ne!(number(&mut here, "select pg_backend_pid()"), number(&mut there, "select pg_backend_pid()"));
    create_rows(&mut here);
    run(&mut here, "select pg_advisory_lock(1)");
    assert_eq!(there.value("select pg_try_advisory_lock(1)").unwrap().as_deref(), Some("f"));
    assert_eq!(number(&mut there, "select count(*) from pg_locks where locktype = 'advisory' and granted"), 1);
    // A row there, an advisory lock here, and each wants the other's.
    assert!(wait::until(SOON, || there.execute("begin; update t set v = 1 where id = 1").ok()).is_some());
    let codes = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let code = code(&there.execute("select pg_advisory_xact_lock(1)"));
            run(&mut there, "rollback");
            code
        });
        until_waiting(&mut connect(cluster.address()), 1);
        let own = code(&here.execute("update t set v = 2 where id = 1"));
        if own == "40P01" {
            run(&mut here, "select pg_advisory_unlock(1)");
        }
        [own, waiting.join().unwrap()]
    });
    assert!(codes.contains(&"40P01".to_owned()) && codes.contains(&"00000".to_owned()), "{codes:?}");
    run(&mut here, "select pg_advisory_unlock_all()");
    assert_eq!(there.value("select pg_try_advisory_lock(2)").unwrap().as_deref(), Some("t"));
    second_coordinator.stop(Signal::Kill);
    let freed = wait::until(SOON, || (here.value("select pg_try_advisory_lock(2)").unwrap().as_deref() == Some("t")).then_some(()));
    assert!(freed.is_some(), "the lock of a dead coordinator's session stays");
}
