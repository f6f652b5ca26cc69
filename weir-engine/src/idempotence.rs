//! Idempotent producers: which IDs a producer has used lately, and which entries they became.
//!
//! Kept per stream and producer, first in first out, bounded by [`IdempotenceLimits`]. What has expired is not found
//! any more; it is removed when the producer next adds an entry.

use std::collections::{BTreeMap, HashMap, VecDeque};

use weir_core::EntryId;

use crate::record::IdempotenceLimits;

impl Default for IdempotenceLimits {
    /// 100 seconds and 100 IDs, as Redis.
    fn default() -> Self {
        Self { duration_s: 100, ids_max: 100 }
    }
}

impl IdempotenceLimits {
    fn expired(self, id: EntryId, now: u64) -> bool {
        id.ms <= now.saturating_sub(self.duration_s.saturating_mul(1_000))
    }
}

#[derive(Debug, Clone, Default)]
struct Producer {
    order: VecDeque<Box<[u8]>>,
    ids: HashMap<Box<[u8]>, EntryId>,
}

/// The idempotent IDs of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Idempotence {
    producers: BTreeMap<Box<[u8]>, Producer>,
    /// How many IDs were ever remembered.
    pub(crate) added: u64,
    /// How many appends were answered from memory. Not durable by itself.
    pub(crate) duplicates: u64,
}

impl Idempotence {
    pub(crate) fn with_counters(added: u64, duplicates: u64) -> Self {
        Self { producers: BTreeMap::new(), added, duplicates }
    }

    pub(crate) fn find(
        &self,
        producer: &[u8],
        iid: &[u8],
        limits: IdempotenceLimits,
        now: u64,
    ) -> Option<EntryId> {
        let id = *self.producers.get(producer)?.ids.get(iid)?;
        (!limits.expired(id, now)).then_some(id)
    }

    pub(crate) fn add(
        &mut self,
        producer: &[u8],
        iid: &[u8],
        id: EntryId,
        limits: IdempotenceLimits,
        now: u64,
    ) {
        self.added += 1;
        let entry = self.producers.entry(producer.into()).or_default();
        if entry.ids.insert(iid.into(), id).is_none() {
            entry.order.push_back(iid.into());
        }
        while entry.order.len() as u64 > limits.ids_max
            || entry.order.front().is_some_and(|first| limits.expired(entry.ids[first], now))
        {
            let Some(first) = entry.order.pop_front() else { break };
            entry.ids.remove(&first);
        }
    }

    /// Forgets all IDs; the lifetime counters stay.
    pub(crate) fn clear(&mut self) {
        self.producers.clear();
    }

    /// Producers and IDs that are remembered at `now`.
    pub(crate) fn tracked(&self, limits: IdempotenceLimits, now: u64) -> (u64, u64) {
        self.producers.values().fold((0, 0), |(producers, ids), producer| {
            let live = producer.ids.values().filter(|id| !limits.expired(**id, now)).count() as u64;
            (producers + u64::from(live > 0), ids + live)
        })
    }

    /// Everything that is remembered, oldest first per producer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], EntryId)> {
        self.producers.iter().flat_map(|(name, producer)| {
            producer.order.iter().map(|iid| (&**name, &**iid, producer.ids[iid]))
        })
    }

    /// Whether the order and the table of each producer hold the same IDs.
    pub(crate) fn is_sound(&self) -> bool {
        self.producers.values().all(|producer| {
            producer.order.len() == producer.ids.len()
                && producer.order.iter().all(|iid| producer.ids.contains_key(iid))
        })
    }

    /// Puts back what [`Idempotence::iter`] gave.
    pub(crate) fn restore(&mut self, producer: &[u8], iid: &[u8], id: EntryId) {
        let entry = self.producers.entry(producer.into()).or_default();
        if entry.ids.insert(iid.into(), id).is_none() {
            entry.order.push_back(iid.into());
        }
    }
}
