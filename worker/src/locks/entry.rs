//! One lock: who holds it, who waits for it. Pure: what happens is told by the answers.
//!
//! - A request is granted when its mode conflicts with no other holder's and with nobody's who waits already: nobody overtakes a queue that is in
//!   his way.
//! - Who holds the lock and wants a stronger mode waits before those who hold nothing: they wait for him anyway.
//! - After each release the queue is gone through from its head: everyone is granted who conflicts neither with a holder nor with anyone
//!   who waits before him.
//!
//! A lock with one holder and nobody who waits takes 24 bytes in the table: a transaction may hold millions of them.

use std::collections::VecDeque;

use common::ids::TransactionId;
use rpc::locks::{EndOfWait, LockMode, ModeSet, WaitTicket};
use tokio::sync::oneshot;

/// What conflicts with every mode of its kind.
const STRONGEST: ModeSet = ModeSet::of(&[LockMode::ForUpdate, LockMode::AccessExclusive]);

/// Who holds locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    Transaction(TransactionId),
    /// A statement that commits by itself: its session's number, and its own.
    Statement {
        session: u32,
        number: u32,
    },
    /// A session by its number: advisory locks.
    Session(i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OwnerKind {
    Transaction,
    Statement,
    Session,
}

/// An owner in 9 bytes that need not be aligned together.
fn packed(owner: Owner) -> (OwnerKind, u64) {
    match owner {
        Owner::Transaction(id) => (OwnerKind::Transaction, id.0),
        Owner::Statement { session, number } => (OwnerKind::Statement, u64::from(session) << 32 | u64::from(number)),
        Owner::Session(session) => (OwnerKind::Session, u64::from(session.cast_unsigned())),
    }
}

/// How somebody who waits learns what became of it.
pub(crate) type Wake = oneshot::Sender<Result<(), EndOfWait>>;

/// Somebody in the queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) owner: Owner,
    pub(crate) mode: LockMode,
    pub(crate) ticket: WaitTicket,
    pub(crate) wake: Wake,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    owner: Owner,
    modes: ModeSet,
}

/// Granted to somebody who waited and has not yet taken note.
#[derive(Clone, Copy, Debug)]
struct Granted {
    ticket: WaitTicket,
    owner: Owner,
    /// What it held before.
    before: ModeSet,
}

#[derive(Debug, Default)]
struct More {
    /// The holders but the first.
    holders: Vec<Holder>,
    waiters: VecDeque<Waiter>,
    granted: Vec<Granted>,
}

/// A lock that somebody holds.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    kind: OwnerKind,
    modes: ModeSet,
    more: Option<Box<More>>,
}

/// How a request went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// The owner holds the lock now.
    Granted,
    /// The owner has held the lock before, in this mode or a weaker one.
    Already,
    /// Somebody is in its way.
    Busy,
}

impl Entry {
    /// A lock with its first holder.
    pub(crate) fn new(owner: Owner, mode: LockMode) -> Self {
        let (kind, id) = packed(owner);
        Self { id, kind, modes: ModeSet::of(&[mode]), more: None }
    }

    fn first(&self) -> Holder {
        let owner = match self.kind {
            OwnerKind::Transaction => Owner::Transaction(TransactionId(self.id)),
            OwnerKind::Statement => Owner::Statement { session: (self.id >> 32) as u32, number: self.id as u32 },
            OwnerKind::Session => Owner::Session((self.id as u32).cast_signed()),
        };
        Holder { owner, modes: self.modes }
    }

    fn set_first(&mut self, holder: Holder) {
        (self.kind, self.id) = packed(holder.owner);
        self.modes = holder.modes;
    }

    fn holders(&self) -> impl Iterator<Item = Holder> {
        std::iter::once(self.first()).chain(self.more.iter().flat_map(|more| more.holders.iter().copied()))
    }

    /// Everybody who holds it, and how.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Owner, ModeSet)> {
        self.holders().map(|holder| (holder.owner, holder.modes))
    }

    fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.more.iter().flat_map(|more| &more.waiters)
    }

    fn modes_of(&self, owner: Owner) -> ModeSet {
        self.holders().find(|holder| holder.owner == owner).map_or(ModeSet::EMPTY, |holder| holder.modes)
    }

    fn is_free_for(&self, owner: Owner, mode: LockMode) -> bool {
        !self.holders().any(|holder| holder.owner != owner && holder.modes.conflicts_with(mode))
    }

    /// Takes the lock if nobody is in the way.
    pub(crate) fn request(&mut self, owner: Owner, mode: LockMode) -> Request {
        let held = self.modes_of(owner);
        if held.covers(mode) {
            return Request::Already;
        }
        let in_queue = held.is_empty() && self.waiters().any(|waiter| ModeSet::of(&[waiter.mode]).conflicts_with(mode));
        if in_queue || !self.is_free_for(owner, mode) {
            return Request::Busy;
        }
        self.grant(owner, mode);
        if held.is_empty() { Request::Granted } else { Request::Already }
    }

    fn grant(&mut self, owner: Owner, mode: LockMode) {
        let first = self.first();
        if first.owner == owner || first.modes.is_empty() {
            self.set_first(Holder { owner, modes: if first.owner == owner { first.modes.with(mode) } else { ModeSet::of(&[mode]) } });
            return;
        }
        let more = self.more.get_or_insert_default();
        match more.holders.iter_mut().find(|holder| holder.owner == owner) {
            Some(holder) => holder.modes = holder.modes.with(mode),
            None => more.holders.push(Holder { owner, modes: ModeSet::of(&[mode]) }),
        }
    }

    /// Enters the queue.
    pub(crate) fn wait(&mut self, waiter: Waiter) {
        let holders: Vec<Owner> = self.holders().map(|holder| holder.owner).collect();
        let holds = |owner: &Owner| holders.contains(owner);
        let more = self.more.get_or_insert_default();
        let at = if holds(&waiter.owner) { more.waiters.iter().take_while(|w| holds(&w.owner)).count() } else { more.waiters.len() };
        more.waiters.insert(at, waiter);
    }

    /// Lets go of all that an owner holds. Answers whether nobody holds it any more.
    pub(crate) fn release(&mut self, owner: Owner) -> bool {
        self.set_modes(owner, ModeSet::EMPTY);
        self.wake()
    }

    fn set_modes(&mut self, owner: Owner, modes: ModeSet) {
        if self.first().owner == owner {
            self.modes = modes;
            if modes.is_empty()
                && let Some(next) = self.more.as_mut().and_then(|more| more.holders.pop())
            {
                self.set_first(next);
            }
            return;
        }
        if let Some(more) = &mut self.more {
            match more.holders.iter_mut().find(|holder| holder.owner == owner) {
                Some(holder) if !modes.is_empty() => holder.modes = modes,
                Some(_) => more.holders.retain(|holder| holder.owner != owner),
                None => {}
            }
        }
    }

    /// Grants what has become free, from the head of the queue. Answers whether nobody holds the lock.
    fn wake(&mut self) -> bool {
        let (mut at, mut before) = (0, ModeSet::EMPTY);
        loop {
            let Some((owner, mode)) = self.waiters().nth(at).map(|waiter| (waiter.owner, waiter.mode)) else { break };
            if before.conflicts_with(mode) || !self.is_free_for(owner, mode) {
                before = before.with(mode);
                // Behind one that conflicts with everything nobody is granted.
                if STRONGEST.contains(mode) {
                    break;
                }
                at += 1;
                continue;
            }
            let held = self.modes_of(owner);
            self.grant(owner, mode);
            let Some(more) = &mut self.more else { break };
            let Some(waiter) = more.waiters.remove(at) else { break };
            more.granted.push(Granted { ticket: waiter.ticket, owner, before: held });
            // A receiver that is gone is inside its drop, which comes for this lock next and gives back what was granted.
            let _gone = waiter.wake.send(Ok(()));
        }
        self.more.take_if(|more| more.holders.is_empty() && more.waiters.is_empty() && more.granted.is_empty());
        self.modes.is_empty()
    }

    /// The one who waited has taken note of what it was granted.
    pub(crate) fn accept(&mut self, ticket: WaitTicket) {
        if let Some(more) = &mut self.more {
            more.granted.retain(|granted| granted.ticket != ticket);
        }
        self.more.take_if(|more| more.holders.is_empty() && more.waiters.is_empty() && more.granted.is_empty());
    }

    /// Takes somebody out of the queue, or takes back what was granted meanwhile. Answers whether nobody holds the lock any more.
    pub(crate) fn leave(&mut self, ticket: WaitTicket) -> bool {
        let Some(more) = &mut self.more else { return false };
        match more.granted.iter().position(|granted| granted.ticket == ticket) {
            Some(at) => {
                let granted = more.granted.swap_remove(at);
                self.set_modes(granted.owner, granted.before);
            }
            None => more.waiters.retain(|waiter| waiter.ticket != ticket),
        }
        self.wake()
    }

    /// Ends somebody's wait, unless it has been granted. Who waited finds itself out of the queue.
    pub(crate) fn refuse(&mut self, ticket: WaitTicket, why: EndOfWait) {
        let Some(more) = &mut self.more else { return };
        let Some(at) = more.waiters.iter().position(|waiter| waiter.ticket == ticket) else { return };
        if let Some(waiter) = more.waiters.remove(at) {
            let _gone = waiter.wake.send(Err(why));
        }
        self.wake();
    }

    /// Who is in the way of somebody in the queue: holders, and those who come before, in a mode that conflicts. Of these, nobody before one
    /// who waits for all of them itself.
    pub(crate) fn blockers(&self, ticket: WaitTicket) -> Vec<Owner> {
        let Some(more) = &self.more else { return Vec::new() };
        let Some(at) = more.waiters.iter().position(|waiter| waiter.ticket == ticket) else { return Vec::new() };
        let waiter = &more.waiters[at];
        let holders = self.holders().filter(|holder| holder.modes.conflicts_with(waiter.mode)).map(|holder| holder.owner);
        let mut before = Vec::new();
        for earlier in more.waiters.range(..at).rev() {
            if earlier.mode.conflicts().contains(waiter.mode) {
                before.push(earlier.owner);
            }
            if STRONGEST.contains(earlier.mode) {
                break;
            }
        }
        holders.chain(before).filter(|owner| *owner != waiter.owner).collect()
    }

    /// Leaves an owner nothing but `keep` of what it holds. Answers whether nobody holds the lock any more.
    pub(crate) fn reduce(&mut self, owner: Owner, keep: ModeSet) -> bool {
        if !self.modes_of(owner).is_empty() {
            self.set_modes(owner, keep);
        }
        self.wake()
    }
}

#[cfg(test)]
mod tests;
