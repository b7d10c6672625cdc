//! The commit pipeline: many writers, one log, one sync for all that wait.
//!
//! Jobs come with their locks held. A task takes what is queued and asks the oracle once for all of it, which puts every timestamp after the locks
//! of its job; a thread takes all batches that are stamped, appends them with one sync, and answers everybody. While it syncs, the
//! next batches are formed and stamped.
//!
//! # Snapshots
//!
//! A reader at snapshot T must see every commit at or below T, so it waits for the batches that were in flight when it came and that are not
//! known to be stamped above T ([`Pipeline::settle`]). A batch that enters later asks the oracle later than the reader did, and gets more than T.

use std::collections::VecDeque;
use std::sync::Arc;

use common::error::{Report, SqlError};
use common::ids::Timestamp;
use parking_lot::Mutex;
use rpc::catalog_api::CatalogApi;
use storage::{Engine, Frame, Record, StorageError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::error::WorkerError;
use crate::locks::Held;
use crate::writers::Writing;

/// Jobs that wait to be stamped; more wait in their senders.
const QUEUE_MAX: usize = 4_096;
/// Jobs of one oracle request.
const BATCH_MAX: usize = 1_024;
/// Stamped batches that wait for the log.
const BATCHES_MAX: usize = 64;
/// Frames of one append.
const APPEND_MAX: usize = 4_096;

/// Stands in a frame where the job's timestamp comes in.
pub(crate) const STAMP: Timestamp = Timestamp::MAX;

/// What happens once a job is applied (with its timestamp) or has failed (without), before it is answered.
pub(crate) type Then = Box<dyn FnOnce(Option<Timestamp>) + Send>;

/// A frame on its way to the log.
pub(crate) struct Job {
    frame: Frame,
    /// Whether it has [`STAMP`]s to fill.
    stamped: bool,
    /// Whether the answer waits for the sync.
    durable: bool,
    /// Released when it is applied.
    held: Option<(Held, Writing)>,
    then: Option<Then>,
    answer: Option<oneshot::Sender<Result<Timestamp, Report>>>,
}

impl Job {
    /// A durable frame whose [`STAMP`]s the pipeline fills.
    pub(crate) fn stamped(frame: Frame) -> Self {
        Self { frame, stamped: true, durable: true, held: None, then: None, answer: None }
    }

    /// A durable frame that has its timestamps.
    pub(crate) fn plain(frame: Frame) -> Self {
        let mut job = Self::stamped(frame);
        job.stamped = false;
        job
    }

    /// Without a sync.
    #[must_use]
    pub(crate) fn buffered(mut self) -> Self {
        self.durable = false;
        self
    }

    /// With locks to release.
    #[must_use]
    pub(crate) fn holding(mut self, held: Held, writing: Writing) -> Self {
        self.held = Some((held, writing));
        self
    }

    /// With something to do at its end.
    #[must_use]
    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = Some(then);
        self
    }

    fn end(mut self, result: Result<Timestamp, &Report>) {
        drop(self.held.take());
        if let Some(then) = self.then.take() {
            then(result.ok());
        }
        if let Some(answer) = self.answer.take() {
            // Who has stopped waiting needs no answer.
            let _gone = answer.send(result.map_err(Report::clone));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then(None);
        }
    }
}

struct Batch {
    /// Its place among those in flight, if it was stamped.
    number: Option<u64>,
    jobs: Vec<(Job, Timestamp)>,
}

/// The batches that have asked for timestamps, or are about to, and are not applied.
#[derive(Debug, Default)]
struct Flying {
    last: u64,
    /// In order: each with its first timestamp, once it has one.
    batches: VecDeque<(u64, Option<Timestamp>)>,
}

/// [`Flying`], and who waits for it.
#[derive(Debug)]
struct InFlight {
    flying: Mutex<Flying>,
    finished: watch::Sender<()>,
}

impl InFlight {
    fn begin(&self) -> u64 {
        let mut flying = self.flying.lock();
        flying.last += 1;
        let number = flying.last;
        flying.batches.push_back((number, None));
        number
    }

    fn stamped(&self, number: u64, first: Timestamp) {
        if let Some(batch) = self.flying.lock().batches.iter_mut().find(|b| b.0 == number) {
            batch.1 = Some(first);
        }
    }

    fn finish(&self, number: u64) {
        self.flying.lock().batches.retain(|batch| batch.0 != number);
        self.finished.send_replace(());
    }

    fn last_at_or_below(&self, at: Timestamp) -> Option<u64> {
        let flying = self.flying.lock();
        flying.batches.iter().rev().find(|(_, first)| first.is_none_or(|first| first <= at)).map(|(number, _)| *number)
    }

    fn is_done(&self, number: u64) -> bool {
        self.flying.lock().batches.front().is_none_or(|(first, _)| *first > number)
    }
}

/// The way to the log.
#[derive(Debug)]
pub(crate) struct Pipeline {
    queue: mpsc::Sender<Job>,
    flight: Arc<InFlight>,
    stop: CancellationToken,
    stopped: watch::Receiver<bool>,
}

impl Pipeline {
    /// Starts the task and the thread. They end when the pipeline is dropped or [`Self::close`]d.
    pub(crate) fn start(engine: Arc<Engine>, catalog: Arc<dyn CatalogApi>) -> Result<Self, WorkerError> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (batches, stamped) = mpsc::channel(BATCHES_MAX);
        let flight = Arc::new(InFlight { flying: Mutex::default(), finished: watch::channel(()).0 });
        let (ended, stopped) = watch::channel(false);
        let stop = CancellationToken::new();
        let appender = Appender { engine, flight: Arc::clone(&flight) };
        std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || {
                appender.run(stamped);
                ended.send_replace(true);
            })
            .map_err(|error| WorkerError::Background(error.to_string()))?;
        let stamper = Stamper { catalog, flight: Arc::clone(&flight), batches };
        common::tasks::spawn("commit_batches", stamper.run(jobs, stop.clone()));
        Ok(Self { queue, flight, stop, stopped })
    }

    /// Sends a job and waits for its end. Once it is sent it happens, whether or not the caller goes on waiting.
    pub(crate) async fn submit(&self, mut job: Job) -> Result<Timestamp, Report> {
        let (answer, answered) = oneshot::channel();
        job.answer = Some(answer);
        self.queue.send(job).await.map_err(|_| WorkerError::ShutDown)?;
        answered.await.map_err(|_| WorkerError::ShutDown)?
    }

    /// Waits until every commit at or below `at` is applied; `at` came from the oracle before the call.
    pub(crate) async fn settle(&self, at: Timestamp) {
        let Some(number) = self.flight.last_at_or_below(at) else { return };
        let mut finished = self.flight.finished.subscribe();
        while !self.flight.is_done(number) {
            if finished.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends it: what is queued is done first.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        let mut stopped = self.stopped.clone();
        // An error: the thread is gone already.
        let _gone = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// Forms batches and stamps them.
struct Stamper {
    catalog: Arc<dyn CatalogApi>,
    flight: Arc<InFlight>,
    batches: mpsc::Sender<Batch>,
}

impl Stamper {
    async fn run(self, mut queue: mpsc::Receiver<Job>, stop: CancellationToken) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                count = queue.recv_many(&mut jobs, BATCH_MAX) => if count == 0 { return },
                () = stop.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
            }
            if let Some(batch) = self.stamp(&mut jobs).await
                && let Err(unsent) = self.batches.send(batch).await
            {
                let report = WorkerError::ShutDown.report();
                unsent.0.jobs.into_iter().for_each(|(job, _)| job.end(Err(&report)));
                return;
            }
        }
    }

    /// Fills in timestamps. When the oracle does not give any, the jobs that want one end here.
    async fn stamp(&self, jobs: &mut Vec<Job>) -> Option<Batch> {
        let count = jobs.iter().filter(|job| job.stamped).count();
        if count == 0 {
            return Some(Batch { number: None, jobs: jobs.drain(..).map(|job| (job, Timestamp::MIN)).collect() });
        }
        let number = self.flight.begin();
        let asked = self.catalog.timestamps(u32::try_from(count).unwrap_or(u32::MAX)).await;
        let mut next = match asked {
            Ok(first) => first,
            Err(error) => {
                self.flight.finish(number);
                let (failed, rest): (Vec<_>, Vec<_>) = jobs.drain(..).partition(|job| job.stamped);
                failed.into_iter().for_each(|job| job.end(Err(&error)));
                let rest: Vec<_> = rest.into_iter().map(|job| (job, Timestamp::MIN)).collect();
                return (!rest.is_empty()).then_some(Batch { number: None, jobs: rest });
            }
        };
        self.flight.stamped(number, next);
        let stamped = jobs.drain(..).map(|mut job| {
            if !job.stamped {
                return (job, Timestamp::MIN);
            }
            let at = next;
            next.0 += 1;
            fill_in(&mut job.frame, at);
            (job, at)
        });
        Some(Batch { number: Some(number), jobs: stamped.collect() })
    }
}

fn fill_in(frame: &mut Frame, stamp: Timestamp) {
    for (_, record) in frame {
        match record {
            Record::Write { at, .. }
            | Record::Provisional { at, .. }
            | Record::Undo { at, .. }
            | Record::Prepare { at, .. }
            | Record::Decide { outcome: Some(at), .. }
                if *at == STAMP =>
            {
                *at = stamp;
            }
            Record::Write { .. }
            | Record::Provisional { .. }
            | Record::Undo { .. }
            | Record::Prepare { .. }
            | Record::Decide { .. }
            | Record::Metadata { .. }
            | Record::DropRange { .. } => {}
        }
    }
}

/// The thread that writes the log.
struct Appender {
    engine: Arc<Engine>,
    flight: Arc<InFlight>,
}

impl Appender {
    fn run(self, mut batches: mpsc::Receiver<Batch>) {
        let (mut frames, mut jobs, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(first) = batches.blocking_recv() {
            let mut next = Some(first);
            while let Some(batch) = next {
                numbers.extend(batch.number);
                for (mut job, at) in batch.jobs {
                    frames.push(std::mem::take(&mut job.frame));
                    jobs.push((job, at));
                }
                next = if frames.len() < APPEND_MAX { batches.try_recv().ok() } else { None };
            }
            let durable = jobs.iter().any(|(job, _)| job.durable);
            let result = self.append(&frames, durable);
            // Readers may go on before the writers hear of it, never the other way round.
            if let Err(StorageError::FrameTooLarge { .. }) = result
                && frames.len() > 1
            {
                let results: Vec<_> = frames.iter().map(|frame| self.append(std::slice::from_ref(frame), durable)).collect();
                numbers.drain(..).for_each(|number| self.flight.finish(number));
                jobs.drain(..).zip(results).for_each(|((job, at), result)| end(job, at, result.as_ref().err()));
            } else {
                numbers.drain(..).for_each(|number| self.flight.finish(number));
                jobs.drain(..).for_each(|(job, at)| end(job, at, result.as_ref().err()));
            }
            frames.clear();
        }
    }

    fn append(&self, frames: &[Frame], durable: bool) -> Result<(), StorageError> {
        let result = if durable { self.engine.append(frames) } else { self.engine.append_buffered(frames) };
        result.map(drop).inspect_err(|error| tracing::error!(%error, "the log could not be written"))
    }
}

fn end(job: Job, at: Timestamp, failure: Option<&StorageError>) {
    match failure {
        None => job.end(Ok(at)),
        Some(error) => job.end(Err(&error.report())),
    }
}
