//! Delivery in order of a key: which keys are taken, and which entries wait for theirs.
//!
//! A key is known by a 64-bit hash of its value. Two values with one hash are ordered as if they were one: that costs a
//! wait and never an order.
//!
//! Invariant: where an entry waits, its key is taken by another one (but for the moment in which that leaves).

use std::collections::{BTreeSet, HashMap};

use weir_core::EntryId;
use xxhash_rust::xxh3::xxh3_64;

/// The hash of a value that orders delivery; never 0.
pub(crate) fn key_hash(value: &[u8]) -> u64 {
    xxh3_64(value).max(1)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lane {
    /// Rows with this key that are in flight, ready or delayed; more than one only where somebody put them there.
    busy: u32,
    waiting: BTreeSet<EntryId>,
}

/// The keys that rows of one group have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    lanes: HashMap<u64, Lane, foldhash::fast::FixedState>,
    waiting: usize,
}

impl Lanes {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The lowest of those that wait. Looks at every key that is taken.
    pub(crate) fn first_waiting(&self) -> Option<EntryId> {
        self.lanes.values().filter_map(|lane| lane.waiting.first()).min().copied()
    }

    /// How many rows have a key.
    pub(crate) fn busy(&self, key: u64) -> u32 {
        self.lanes.get(&key).map_or(0, |lane| lane.busy)
    }

    /// Who is next where nobody has the key.
    pub(crate) fn next(&self, key: u64) -> Option<EntryId> {
        let lane = self.lanes.get(&key).filter(|lane| lane.busy == 0)?;
        lane.waiting.first().copied()
    }

    pub(crate) fn enter(&mut self, key: u64, id: EntryId, waiting: bool) {
        let lane = self.lanes.entry(key).or_default();
        if waiting {
            self.waiting += usize::from(lane.waiting.insert(id));
        } else {
            lane.busy += 1;
        }
    }

    pub(crate) fn leave(&mut self, key: u64, id: EntryId, waiting: bool) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if waiting {
            self.waiting -= usize::from(lane.waiting.remove(&id));
        } else {
            lane.busy -= 1;
        }
        if lane.busy == 0 && lane.waiting.is_empty() {
            self.lanes.remove(&key);
        }
    }

    /// Whether whoever waits waits for somebody.
    pub(crate) fn is_sound(&self) -> bool {
        self.lanes.values().all(|lane| lane.busy > 0)
    }
}
