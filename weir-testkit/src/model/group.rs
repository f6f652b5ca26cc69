//! A consumer group: where it stands, who is in it, and who holds what since when.

use std::collections::BTreeMap;

use weir_core::EntryId;

use super::Flavour;

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) last_id: EntryId,
    pub(super) entries_read: Option<i64>,
    pub(super) pending: BTreeMap<EntryId, Pending>,
    pub(super) consumers: BTreeMap<Vec<u8>, Consumer>,
    /// Grows with every released row, so that they are handed out in the order of their release.
    releases: u64,
}

/// One delivered and not yet acknowledged entry, which may be deleted by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) holder: Holder,
    /// Milliseconds since the Unix epoch; 0 for a released row.
    pub(super) delivered: i64,
    pub(super) deliveries: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Consumer(Vec<u8>),
    /// Given back with XNACK, the how-manieth.
    Released(u64),
}

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    /// The last attempt.
    pub(super) seen: i64,
    /// The last time something was delivered or claimed.
    pub(super) active: Option<i64>,
}

impl Group {
    pub(super) fn new(last_id: EntryId, entries_read: Option<i64>) -> Self {
        Self { last_id, entries_read, pending: BTreeMap::new(), consumers: BTreeMap::new(), releases: 0 }
    }

    /// Notes that this consumer wants something. Before 7.2, who gets nothing leaves no trace.
    pub(super) fn attempt(&mut self, consumer: &[u8], now: i64, flavour: Flavour) {
        if flavour == Flavour::Latest {
            self.see(consumer, now);
        }
    }

    /// Notes that this consumer was here; it comes to be with that.
    pub(super) fn see(&mut self, consumer: &[u8], now: i64) {
        let consumer =
            self.consumers.entry(consumer.to_vec()).or_insert(Consumer { seen: now, active: None });
        consumer.seen = now;
    }

    /// Notes that this consumer was given something.
    pub(super) fn activate(&mut self, consumer: &[u8], now: i64) {
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.active = Some(now);
        }
    }

    /// A first delivery, or the first again after the group was set back.
    pub(super) fn deliver(&mut self, id: EntryId, consumer: &[u8], now: i64) {
        let row = Pending { holder: Holder::Consumer(consumer.to_vec()), delivered: now, deliveries: 1 };
        self.pending.insert(id, row);
        self.activate(consumer, now);
    }

    pub(super) fn next_release(&mut self) -> Holder {
        self.releases += 1;
        Holder::Released(self.releases)
    }

    pub(super) fn pending_of<'a>(
        &'a self,
        consumer: &'a [u8],
    ) -> impl Iterator<Item = (&'a EntryId, &'a Pending)> {
        self.pending.iter().filter(move |(_, row)| row.is_held_by(consumer))
    }
}

impl Pending {
    pub(super) fn is_held_by(&self, consumer: &[u8]) -> bool {
        matches!(&self.holder, Holder::Consumer(name) if name == consumer)
    }

    pub(super) fn is_released(&self) -> bool {
        matches!(self.holder, Holder::Released(_))
    }

    /// The consumer's name; empty for a released row.
    pub(super) fn holder_name(&self) -> &[u8] {
        match &self.holder {
            Holder::Consumer(name) => name,
            Holder::Released(_) => b"",
        }
    }

    /// Whether a claim with this least idle time may take the row. A released row is always free.
    pub(super) fn is_claimable(&self, now: i64, idle_min: i64) -> bool {
        self.is_released() || idle_min == 0 || now - self.delivered >= idle_min
    }

    pub(super) fn count_delivery(&mut self, flavour: Flavour) {
        self.deliveries = match flavour {
            Flavour::Redis70 => self.deliveries.wrapping_add(1),
            Flavour::Latest => self.deliveries.saturating_add(1),
        };
    }
}
