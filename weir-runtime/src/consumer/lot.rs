//! Entries that a consumer was given and has not settled: who looks after their leases, and which of them are stuck.
//!
//! A lot is what one read gave. The loop that runs handlers says of each entry when it begins and ends; a task beside it
//! ([`super::caretaker`]) extends leases meanwhile. Both only touch atomic numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use weir_core::{Delivery, EntryId, Timestamp, Token};

/// What all lots of a subscription have in common.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) stream: Vec<u8>,
    pub(crate) group: Vec<u8>,
    /// Immediate retries per delivery.
    pub(crate) immediate: u32,
    is_stopping: AtomicBool,
    /// Rings when the subscription stops or a lease is lost.
    changed: Notify,
}

impl Scope {
    pub(crate) fn new(stream: &[u8], group: &[u8], immediate: u32) -> Self {
        Self {
            stream: stream.to_vec(),
            group: group.to_vec(),
            immediate,
            is_stopping: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Tells handlers to come to an end.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }
}

/// What one read gave.
#[derive(Debug)]
pub(crate) struct Lot {
    pub(crate) scope: Arc<Scope>,
    /// When it was read, by the steady clock.
    pub(crate) taken_at: Duration,
    held: Box<[Held]>,
}

#[derive(Debug)]
struct Held {
    id: EntryId,
    token: Token,
    state: AtomicU8,
    /// The lease as the keeper extended it; 0 = never.
    lease_until: AtomicU64,
    /// When the handler's future was last polled, in microseconds of the steady clock; 0 = it is not being polled.
    polled_at: AtomicU64,
    is_stuck: AtomicBool,
}

/// Where an entry of a lot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    /// Its handler has not begun.
    InHand,
    /// Its handler runs.
    Running,
    /// It has an outcome.
    Finished,
    /// Somebody else has it, or may have it.
    Lost,
}

impl Standing {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::InHand,
            1 => Self::Running,
            2 => Self::Finished,
            _ => Self::Lost,
        }
    }

    /// Whether its lease is wanted.
    pub(crate) fn is_held(self) -> bool {
        matches!(self, Self::InHand | Self::Running)
    }
}

impl Lot {
    pub(crate) fn new(scope: Arc<Scope>, taken_at: Duration, deliveries: &[Delivery]) -> Self {
        let held = deliveries.iter().map(|delivery| Held {
            id: delivery.entry.id,
            token: delivery.token,
            state: AtomicU8::new(Standing::InHand as u8),
            lease_until: AtomicU64::new(0),
            polled_at: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
        });
        Self { scope, taken_at, held: held.collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// What settles the entry at a place.
    pub(crate) fn delivery(&self, place: usize) -> (EntryId, Token) {
        (self.held[place].id, self.held[place].token)
    }

    pub(crate) fn standing(&self, place: usize) -> Standing {
        self.held.get(place).map_or(Standing::Lost, |held| Standing::of(held.state.load(Ordering::Acquire)))
    }

    /// Says that the handler begins; `false` when the lease was lost before.
    pub(crate) fn begin(&self, place: usize) -> bool {
        let (from, to) = (Standing::InHand as u8, Standing::Running as u8);
        self.held[place].state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Says that an entry has its outcome; `false` when its lease was lost.
    pub(crate) fn finish(&self, place: usize) -> bool {
        let before = self.held[place].state.swap(Standing::Finished as u8, Ordering::AcqRel);
        Standing::of(before) != Standing::Lost
    }

    /// Says that somebody else has an entry, unless it has its outcome already; whether that was so.
    pub(crate) fn lose(&self, place: usize) -> bool {
        let state = &self.held[place].state;
        let lost = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |number| {
            Standing::of(number).is_held().then_some(Standing::Lost as u8)
        });
        self.scope.changed.notify_waiters();
        lost.is_ok()
    }

    /// Entries whose lease is wanted, by their places.
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, EntryId, Token)> {
        let held = self.held.iter().enumerate();
        held.filter(|(place, _)| self.standing(*place).is_held())
            .map(|(place, held)| (place, held.id, held.token))
    }

    pub(crate) fn is_settled(&self) -> bool {
        !(0..self.len()).any(|place| self.standing(place).is_held())
    }

    pub(crate) fn extend(&self, place: usize, until: Timestamp) {
        self.held[place].lease_until.store(until.0, Ordering::Release);
    }

    pub(crate) fn lease_until(&self, place: usize) -> Option<Timestamp> {
        let until = self.held.get(place)?.lease_until.load(Ordering::Acquire);
        (until > 0).then_some(Timestamp(until))
    }

    /// Says that the handler's future is being polled from now on.
    pub(crate) fn poll_begins(&self, place: usize, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX).max(1);
        self.held[place].polled_at.store(micros, Ordering::Release);
    }

    /// Says that it is no longer being polled.
    pub(crate) fn poll_ends(&self, place: usize) {
        self.held[place].polled_at.store(0, Ordering::Release);
    }

    /// Entries whose handlers have not given back their thread since before `since`, each told once.
    pub(crate) fn stuck(&self, since: Duration) -> impl Iterator<Item = EntryId> {
        let since = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.held.iter().filter_map(move |held| {
            let polled_at = held.polled_at.load(Ordering::Acquire);
            let is_stuck = polled_at > 0 && polled_at <= since;
            (is_stuck && !held.is_stuck.swap(true, Ordering::AcqRel)).then_some(held.id)
        })
    }

    pub(crate) fn is_cancelled(&self, place: usize) -> bool {
        self.scope.is_stopping.load(Ordering::Acquire) || self.standing(place) == Standing::Lost
    }

    pub(crate) async fn cancelled(&self, place: usize) {
        loop {
            let changed = self.scope.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.is_cancelled(place) {
                return;
            }
            changed.await;
        }
    }
}
