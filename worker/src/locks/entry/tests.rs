//! An entry against a model: a list of holders and a queue.

use proptest::prelude::*;
use rpc::locks::LockMode;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Request { owner: u64, mode: usize },
    Release { owner: u64 },
    Leave { nth: usize },
    Refuse { nth: usize },
    Accept { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..5, 0usize..4).prop_map(|(owner, mode)| Step::Request { owner, mode }),
        3 => (0u64..5).prop_map(|owner| Step::Release { owner }),
        1 => (0usize..4).prop_map(|nth| Step::Leave { nth }),
        1 => (0usize..4).prop_map(|nth| Step::Refuse { nth }),
        1 => (0usize..4).prop_map(|nth| Step::Accept { nth }),
    ]
}

#[derive(Clone, Debug)]
struct Queued {
    owner: u64,
    mode: LockMode,
    ticket: WaitTicket,
}

/// The same in plain lists: the holders' strongest modes, the queue, and what was granted out of the queue and not looked at.
#[derive(Default, Debug)]
struct Model {
    holders: Vec<(u64, LockMode)>,
    queue: Vec<Queued>,
    granted: Vec<(Queued, Option<LockMode>)>,
}

impl Model {
    fn mode_of(&self, owner: u64) -> Option<LockMode> {
        self.holders.iter().find(|(o, _)| *o == owner).map(|(_, mode)| *mode)
    }

    fn is_free(&self, owner: u64, mode: LockMode) -> bool {
        self.holders.iter().all(|(o, held)| *o == owner || !held.conflicts().contains(mode))
    }

    fn hold(&mut self, owner: u64, mode: Option<LockMode>) {
        self.holders.retain(|(o, _)| *o != owner);
        self.holders.extend(mode.map(|mode| (owner, mode)));
    }

    fn grant(&mut self) {
        let mut at = 0;
        while at < self.queue.len() {
            let Queued { owner, mode, .. } = self.queue[at];
            let overtakes = self.queue[..at].iter().any(|q| q.mode.conflicts().contains(mode));
            if overtakes || !self.is_free(owner, mode) {
                at += 1;
                continue;
            }
            let queued = self.queue.remove(at);
            let before = self.mode_of(owner);
            self.hold(owner, before.max(Some(mode)));
            self.granted.push((queued, before));
        }
    }
}

const ROWS: [LockMode; 4] = [LockMode::ForKeyShare, LockMode::ForShare, LockMode::ForNoKeyUpdate, LockMode::ForUpdate];

fn owner(n: u64) -> Owner {
    Owner::Transaction(TransactionId(n))
}

fn compare(entry: Option<&Entry>, model: &Model) {
    let Some(entry) = entry else {
        assert!(model.holders.is_empty() && model.queue.is_empty(), "{model:?}");
        return;
    };
    let mut held: Vec<(u64, LockMode)> = entry
        .held()
        .map(|(owner, modes)| {
            let Owner::Transaction(id) = owner else { panic!("a transaction") };
            (id.0, modes.modes().max().expect("a holder holds something"))
        })
        .collect();
    held.sort_unstable();
    let mut expected = model.holders.clone();
    expected.sort_unstable();
    assert_eq!(held, expected);
    let queue: Vec<WaitTicket> = entry.waiters().map(|w| w.ticket).collect();
    assert_eq!(queue, model.queue.iter().map(|q| q.ticket).collect::<Vec<_>>());
    for (at, (one, mode)) in expected.iter().enumerate() {
        for (other, other_mode) in &expected[at + 1..] {
            assert!(!mode.conflicts().contains(*other_mode), "{one} and {other} hold it together");
        }
    }
    for queued in &model.queue {
        assert!(!entry.blockers(queued.ticket).is_empty(), "{queued:?} waits for nobody");
    }
}

proptest! {
    /// Every holder, every place in the queue and every grant are the model's; nobody waits for nothing.
    #[test]
    fn an_entry_is_its_model(steps in proptest::collection::vec(step(), 1..80)) {
        let mut entry: Option<Entry> = None;
        let mut model = Model::default();
        // The receiving ends stay open: nobody is woken for nothing.
        let mut woken = Vec::new();
        let mut tickets = 1;
        for step in steps {
            let mut gone = false;
            match step {
                Step::Request { owner: n, mode } => {
                    // One that waits asks for nothing else.
                    if model.queue.iter().any(|q| q.owner == n) || model.granted.iter().any(|(q, _)| q.owner == n) {
                        continue;
                    }
                    let mode = ROWS[mode];
                    let held = model.mode_of(n);
                    let expected = if held >= Some(mode) {
                        Request::Already
                    } else if !model.is_free(n, mode) || (held.is_none() && model.queue.iter().any(|q| q.mode.conflicts().contains(mode))) {
                        Request::Busy
                    } else if held.is_some() { Request::Already } else { Request::Granted };
                    let answer = match &mut entry {
                        Some(entry) => entry.request(owner(n), mode),
                        None => {
                            entry = Some(Entry::new(owner(n), mode));
                            Request::Granted
                        }
                    };
                    prop_assert_eq!(answer, expected);
                    if expected == Request::Busy {
                        let ticket = tickets;
                        tickets += 1;
                        let (wake, receiver) = oneshot::channel();
                        woken.push(receiver);
                        let at = if held.is_some() { model.queue.iter().take_while(|q| model.mode_of(q.owner).is_some()).count() } else { model.queue.len() };
                        model.queue.insert(at, Queued { owner: n, mode, ticket });
                        entry.as_mut().unwrap().wait(Waiter { owner: owner(n), mode, ticket, wake });
                    } else {
                        model.hold(n, held.max(Some(mode)));
                    }
                }
                Step::Release { owner: n } => {
                    if model.queue.iter().any(|q| q.owner == n) || model.granted.iter().any(|(q, _)| q.owner == n) {
                        continue;
                    }
                    model.hold(n, None);
                    model.grant();
                    gone = entry.as_mut().is_some_and(|entry| entry.release(owner(n)));
                }
                Step::Leave { nth } => {
                    let all: Vec<WaitTicket> =
                        model.queue.iter().map(|q| q.ticket).chain(model.granted.iter().map(|(q, _)| q.ticket)).collect();
                    let Some(ticket) = all.get(nth).copied() else { continue };
                    model.queue.retain(|q| q.ticket != ticket);
                    if let Some(at) = model.granted.iter().position(|(q, _)| q.ticket == ticket) {
                        let (queued, before) = model.granted.remove(at);
                        model.hold(queued.owner, before);
                    }
                    model.grant();
                    gone = entry.as_mut().is_some_and(|entry| entry.leave(ticket));
                }
                Step::Refuse { nth } => {
                    let Some(queued) = model.queue.get(nth).cloned() else { continue };
                    model.queue.remove(nth);
                    model.grant();
                    entry.as_mut().unwrap().refuse(queued.ticket, EndOfWait::Canceled);
                }
                Step::Accept { nth } => {
                    if nth >= model.granted.len() {
                        continue;
                    }
                    let (queued, _) = model.granted.remove(nth);
                    entry.as_mut().unwrap().accept(queued.ticket);
                }
            }
            if gone {
                entry = None;
            }
            compare(entry.as_ref(), &model);
        }
    }
}

#[test]
fn an_exclusive_lock_takes_little() {
    assert!(size_of::<Entry>() <= 24);
}
