//! Idempotent producers: which entry each producer's recent idempotent IDs led to.

use std::collections::BTreeMap;

use weir_core::EntryId;

use super::node::Fields;

#[derive(Debug, Clone)]
pub(super) struct Producers {
    pub(super) duration_s: i64,
    /// Idempotent IDs kept for each producer.
    pub(super) entries_max: i64,
    pub(super) added: i64,
    pub(super) duplicates: i64,
    /// Oldest first.
    recent: BTreeMap<Vec<u8>, Vec<(IdempotentId, EntryId)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IdempotentId {
    Given(Vec<u8>),
    /// Stands for the fields whatever their order.
    OfFields(Fields),
}

impl IdempotentId {
    pub(super) fn of_fields(fields: &Fields) -> Self {
        let mut sorted = fields.clone();
        sorted.sort();
        Self::OfFields(sorted)
    }
}

impl Producers {
    pub(super) fn new() -> Self {
        Self { duration_s: 100, entries_max: 100, added: 0, duplicates: 0, recent: BTreeMap::new() }
    }

    pub(super) fn find(&self, producer: &[u8], wanted: &IdempotentId) -> Option<EntryId> {
        let known = self.recent.get(producer)?;
        known.iter().find(|(known, _)| known == wanted).map(|(_, entry)| *entry)
    }

    pub(super) fn record(&mut self, producer: &[u8], iid: IdempotentId, entry: EntryId) {
        let known = self.recent.entry(producer.to_vec()).or_default();
        known.push((iid, entry));
        if known.len() as i64 > self.entries_max {
            known.remove(0);
        }
        self.added += 1;
    }

    /// Drops what is too old; the age of an idempotent ID is that of the entry it led to.
    pub(super) fn expire(&mut self, now_ms: u64) {
        let horizon = now_ms.saturating_sub(self.duration_s as u64 * 1000);
        for known in self.recent.values_mut() {
            known.retain(|(_, entry)| entry.ms > horizon);
        }
        self.recent.retain(|_, known| !known.is_empty());
    }

    pub(super) fn configure(&mut self, duration_s: Option<i64>, entries_max: Option<i64>) {
        let (duration, entries) =
            (duration_s.unwrap_or(self.duration_s), entries_max.unwrap_or(self.entries_max));
        if (duration, entries) != (self.duration_s, self.entries_max) {
            self.recent.clear();
        }
        (self.duration_s, self.entries_max) = (duration, entries);
    }

    pub(super) fn producers_tracked(&self) -> i64 {
        self.recent.len() as i64
    }

    pub(super) fn iids_tracked(&self) -> i64 {
        self.recent.values().map(Vec::len).sum::<usize>() as i64
    }
}
