//! A consumer group: its place in the stream, its consumers, and who holds which entry since when.
//!
//! Invariants:
//! * An entry ID is pending for at most one consumer; a row whose owner is [`NO_CONSUMER`] was handed back.
//! * A consumer's own list holds exactly the IDs of the rows it owns.
//! * A pending ID may outlive its entry: trims do not look in here unless their policy says so.
//!
//! Reads no clock and never sees the fields of an entry.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_core::EntryId;

use crate::chunked::{Chunked, Keyed};

/// The owner of a row that was handed back to the group.
pub(crate) const NO_CONSUMER: u32 = u32::MAX;
/// Delivery counts from here on are kept in the side table.
const COUNT_ASIDE: u32 = u32::MAX;

/// One pending entry, as the list keeps it: 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    id: EntryId,
    /// When it was last delivered, in milliseconds since the Unix epoch; 0 when handed back.
    time: u64,
    consumer: u32,
    count: u32,
}

impl Keyed for Row {
    type Key = EntryId;
    fn key(&self) -> EntryId {
        self.id
    }
}

impl Keyed for EntryId {
    type Key = Self;
    fn key(&self) -> Self {
        *self
    }
}

/// What only few rows have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// The delivery count where it does not fit the row.
    pub(crate) count: i64,
    /// How often a handler reported failure.
    pub(crate) failures: u32,
    /// Not delivered again before this time, in milliseconds since the Unix epoch; 0 = at once.
    pub(crate) not_before: u64,
    /// How many assignments did not raise the delivery count; epoch = deliveries + this.
    pub(crate) epoch_shift: u32,
    /// The row's turn among those that were handed back; 0 = not handed back.
    pub(crate) released: u64,
}

/// A pending entry as callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingEntry {
    pub(crate) id: EntryId,
    pub(crate) consumer: u32,
    pub(crate) time: u64,
    pub(crate) deliveries: i64,
}

impl PendingEntry {
    /// Milliseconds since the last delivery; `None` when it was handed back.
    pub(crate) fn idle(&self, now: u64) -> Option<u64> {
        (self.consumer != NO_CONSUMER).then(|| now.saturating_sub(self.time))
    }
}

/// A row as a snapshot keeps it: without what the side table adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotRow {
    pub(crate) id: EntryId,
    pub(crate) time: u64,
    pub(crate) consumer: u32,
    pub(crate) count: u32,
}

/// The pending entries list of a group.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    rows: Chunked<Row>,
    extras: Option<HashMap<EntryId, Extra>>,
    /// Rows that were handed back, in that order.
    released: BTreeMap<u64, EntryId>,
    released_next: u64,
    /// Owned rows by delivery time, those left out whose entry was found to be gone; built when it is first asked for.
    by_time: Option<BTreeSet<(u64, EntryId)>>,
}

impl Clone for Pending {
    /// Shares the rows. The index of times is left behind; it is built again when asked for.
    fn clone(&self) -> Self {
        Self {
            rows: self.rows.clone(),
            extras: self.extras.clone(),
            released: self.released.clone(),
            released_next: self.released_next,
            by_time: None,
        }
    }
}

impl Pending {
    pub(crate) fn released_next(&self) -> u64 {
        self.released_next
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = SnapshotRow> + '_ {
        self.rows.iter().map(|row| SnapshotRow {
            id: row.id,
            time: row.time,
            consumer: row.consumer,
            count: row.count,
        })
    }

    pub(crate) fn extras(&self) -> impl Iterator<Item = (EntryId, Extra)> + '_ {
        self.extras.iter().flat_map(|extras| extras.iter()).map(|(id, extra)| (*id, *extra))
    }

    /// Takes over an extra from a snapshot; `false` when it does not fit its row.
    pub(crate) fn restore_extra(&mut self, id: EntryId, extra: Extra) -> bool {
        let handed_back = self.get(id).map(|row| row.consumer == NO_CONSUMER);
        let queued = extra.released != 0;
        let in_turn = extra.released <= self.released_next
            && (!queued || self.released.insert(extra.released, id).is_none());
        let new = self.extras.get_or_insert_default().insert(id, extra).is_none();
        handed_back == Some(queued) && in_turn && new
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn released_len(&self) -> usize {
        self.released.len()
    }

    fn view(&self, row: &Row) -> PendingEntry {
        let deliveries = match row.count {
            COUNT_ASIDE => self.extra(row.id).count,
            count => i64::from(count),
        };
        PendingEntry { id: row.id, consumer: row.consumer, time: row.time, deliveries }
    }

    pub(crate) fn extra(&self, id: EntryId) -> Extra {
        self.extras.as_ref().and_then(|e| e.get(&id)).copied().unwrap_or_default()
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<PendingEntry> {
        self.rows.get(id).map(|row| self.view(row))
    }

    pub(crate) fn first(&self) -> Option<EntryId> {
        self.rows.first().map(|row| row.id)
    }

    pub(crate) fn last(&self) -> Option<EntryId> {
        self.rows.last().map(|row| row.id)
    }

    /// Rows from `start` on, by ID.
    pub(crate) fn from(&self, start: EntryId) -> impl Iterator<Item = PendingEntry> + '_ {
        self.rows.iter_from(move |row| row.id >= start).map(|row| self.view(row))
    }

    /// Rows that were handed back, first come first.
    pub(crate) fn handed_back(&self) -> impl Iterator<Item = PendingEntry> + '_ {
        self.released.values().filter_map(|id| self.get(*id))
    }

    /// Owned rows, longest idle first. Needs [`Pending::index_times`] before.
    pub(crate) fn longest_idle(&self) -> impl Iterator<Item = PendingEntry> + '_ {
        self.by_time.iter().flat_map(|times| times.iter()).filter_map(|(_, id)| self.get(*id))
    }

    /// Builds the index behind [`Pending::longest_idle`], once; it is kept up to date afterwards.
    pub(crate) fn index_times(&mut self) {
        if self.by_time.is_none() {
            let owned = self.rows.iter().filter(|row| row.consumer != NO_CONSUMER);
            self.by_time = Some(owned.map(|row| (row.time, row.id)).collect());
        }
    }

    /// Leaves rows out of [`Pending::longest_idle`] whose entries are gone: nobody will ever be given them by age, and
    /// looking at them each time takes time. Only a change of such a row brings it back.
    pub(crate) fn skip_times(&mut self, ghosts: &[PendingEntry]) {
        if let Some(times) = &mut self.by_time {
            for row in ghosts {
                times.remove(&(row.time, row.id));
            }
        }
    }

    /// Puts or replaces a row; returns the one it replaced.
    fn put(&mut self, entry: PendingEntry, extra: Extra) -> Option<PendingEntry> {
        let replaced = self.get(entry.id);
        if let Some(old) = replaced {
            self.forget(&old);
        }
        let aside = u32::try_from(entry.deliveries).ok().filter(|n| *n != COUNT_ASIDE);
        let extra = Extra { count: if aside.is_none() { entry.deliveries } else { 0 }, ..extra };
        self.rows.insert(Row {
            id: entry.id,
            time: entry.time,
            consumer: entry.consumer,
            count: aside.unwrap_or(COUNT_ASIDE),
        });
        if extra != Extra::default() {
            self.extras.get_or_insert_default().insert(entry.id, extra);
        }
        match (&mut self.by_time, entry.consumer) {
            (_, NO_CONSUMER) => drop(self.released.insert(extra.released, entry.id)),
            (Some(times), _) => drop(times.insert((entry.time, entry.id))),
            (None, _) => {}
        }
        replaced
    }

    /// The short way for the usual case: above all rows, delivered once, nobody asked for times.
    fn append(&mut self, entry: PendingEntry) {
        let count = u32::try_from(entry.deliveries).expect("a first delivery counts 1");
        self.rows.push(Row { id: entry.id, time: entry.time, consumer: entry.consumer, count });
    }

    fn remove(&mut self, id: EntryId) -> Option<PendingEntry> {
        let old = self.get(id)?;
        self.forget(&old);
        self.rows.remove(id);
        Some(old)
    }

    /// Takes a row out of the side tables.
    fn forget(&mut self, old: &PendingEntry) {
        if let Some(times) = &mut self.by_time {
            times.remove(&(old.time, old.id));
        }
        if let Some(extras) = &mut self.extras {
            if let Some(extra) = extras.remove(&old.id)
                && extra.released != 0
            {
                self.released.remove(&extra.released);
            }
            if extras.is_empty() {
                self.extras = None;
            }
        }
    }
}

impl Pending {
    /// Whether rows, extras, the queue of what was handed back and the index of times say the same.
    pub(crate) fn has_sound_tables(&self) -> bool {
        let aside = self.rows.iter().all(|row| row.count != COUNT_ASIDE || self.extra(row.id).count != 0);
        let extras = self.extras().all(|(id, extra)| {
            let handed_back = self.get(id).map(|row| row.consumer == NO_CONSUMER);
            let queued = self.released.get(&extra.released) == Some(&id);
            handed_back == Some(extra.released != 0) && queued == (extra.released != 0)
        });
        let handed_back = self.rows.iter().filter(|row| row.consumer == NO_CONSUMER).count();
        let queue = self.released.len() == handed_back
            && self.released.last_key_value().is_none_or(|(last, _)| *last <= self.released_next);
        let times = self.by_time.as_ref().is_none_or(|times| {
            let known = times.iter().all(|(time, id)| self.get(*id).is_some_and(|row| row.time == *time));
            known && times.len() <= self.rows.len() - handed_back
        });
        aside && extras && queue && times
    }
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) name: Box<[u8]>,
    /// When it last asked for entries. Not durable by itself: a crash may set it back to its last delivery.
    pub(crate) seen: u64,
    /// When it last got or claimed an entry.
    pub(crate) active: Option<u64>,
    pub(crate) pending: Chunked<EntryId>,
}

/// A consumer group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) no: u32,
    pub(crate) name: Box<[u8]>,
    pub(crate) last_id: EntryId,
    /// How many entries were ever added up to `last_id`; `None` when deletions made it uncountable.
    pub(crate) entries_read: Option<u64>,
    pub(crate) pending: Pending,
    consumers: BTreeMap<u32, Consumer>,
    by_name: BTreeMap<Box<[u8]>, u32>,
    next_consumer: u32,
}

impl Group {
    pub(crate) fn new(no: u32, name: &[u8], last_id: EntryId, entries_read: Option<u64>) -> Self {
        Self {
            no,
            name: name.into(),
            last_id,
            entries_read,
            pending: Pending::default(),
            consumers: BTreeMap::new(),
            by_name: BTreeMap::new(),
            next_consumer: 0,
        }
    }

    pub(crate) fn restore_counters(&mut self, next_consumer: u32, released_next: u64) {
        self.next_consumer = next_consumer;
        self.pending.released_next = released_next;
    }

    /// Takes over a row from a snapshot; `false` when it is out of order or its owner is unknown.
    pub(crate) fn restore_row(&mut self, row: SnapshotRow) -> bool {
        if self.pending.rows.last().is_some_and(|last| last.id >= row.id) {
            return false;
        }
        let SnapshotRow { id, time, consumer, count } = row;
        self.pending.rows.push(Row { id, time, consumer, count });
        match self.consumers.get_mut(&consumer) {
            Some(owner) => owner.pending.push(id),
            None => return consumer == NO_CONSUMER,
        }
        true
    }

    pub(crate) fn next_consumer_no(&self) -> u32 {
        self.next_consumer
    }

    pub(crate) fn consumer_no(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn consumer(&self, no: u32) -> Option<&Consumer> {
        self.consumers.get(&no)
    }

    pub(crate) fn consumer_name(&self, no: u32) -> &[u8] {
        self.consumers.get(&no).map_or(b"", |consumer| &consumer.name)
    }

    /// Consumers in the order of their names' bytes.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = (u32, &Consumer)> {
        self.by_name.values().filter_map(|no| Some((*no, self.consumers.get(no)?)))
    }

    pub(crate) fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    pub(crate) fn add_consumer(&mut self, no: u32, name: &[u8], seen: u64, active: Option<u64>) {
        self.next_consumer = self.next_consumer.max(no + 1);
        self.by_name.insert(name.into(), no);
        self.consumers.insert(no, Consumer { name: name.into(), seen, active, pending: Chunked::default() });
    }

    /// Removes a consumer with its rows; returns how many rows went.
    pub(crate) fn remove_consumer(&mut self, no: u32) -> usize {
        let Some(consumer) = self.consumers.remove(&no) else { return 0 };
        self.by_name.remove(&consumer.name);
        for id in consumer.pending.iter() {
            self.pending.remove(*id);
        }
        consumer.pending.len()
    }

    /// Notes that a consumer asked for entries, and whether it got any.
    pub(crate) fn touch_consumer(&mut self, no: u32, now: u64, active: bool) {
        if let Some(consumer) = self.consumers.get_mut(&no) {
            consumer.seen = now;
            if active {
                consumer.active = Some(now);
            }
        }
    }

    /// Gives a new entry to a consumer; it was pending before only if the group was set back.
    pub(crate) fn assign_new(&mut self, entry: PendingEntry) {
        let above_all = self.pending.last().is_none_or(|last| last < entry.id);
        if above_all && self.pending.by_time.is_none() {
            self.pending.append(entry);
            if let Some(owner) = self.consumers.get_mut(&entry.consumer) {
                owner.pending.push(entry.id);
            }
        } else {
            self.assign(entry);
        }
    }

    /// Gives an entry to a consumer, taking it from whoever held it.
    pub(crate) fn assign(&mut self, entry: PendingEntry) {
        let before = self.pending.get(entry.id);
        let mut extra = self.pending.extra(entry.id);
        extra.released = 0;
        let counted = before.is_none_or(|old| entry.deliveries > old.deliveries);
        if !counted {
            // Whoever held it must not be able to settle it any more, though the count did not move.
            let old = before.map_or(0, |old| old.deliveries);
            let gap = u32::try_from(old.saturating_sub(entry.deliveries)).unwrap_or(u32::MAX);
            extra.epoch_shift = extra.epoch_shift.saturating_add(gap).saturating_add(1);
        }
        self.pending.put(entry, extra);
        self.move_own(before.map(|old| old.consumer), entry.consumer, entry.id);
    }

    /// Hands an entry back to the group: nobody's, and first in line for the next claim.
    pub(crate) fn release(&mut self, id: EntryId, deliveries: i64) {
        let before = self.pending.get(id);
        let mut extra = self.pending.extra(id);
        self.pending.released_next += 1;
        extra.released = self.pending.released_next;
        let row = PendingEntry { id, consumer: NO_CONSUMER, time: 0, deliveries };
        self.pending.put(row, extra);
        self.move_own(before.map(|old| old.consumer), NO_CONSUMER, id);
    }

    fn move_own(&mut self, from: Option<u32>, to: u32, id: EntryId) {
        if from == Some(to) {
            return;
        }
        if let Some(old) = from.and_then(|no| self.consumers.get_mut(&no)) {
            old.pending.remove(id);
        }
        if let Some(new) = self.consumers.get_mut(&to) {
            new.pending.insert(id);
        }
    }

    /// Takes an entry off the pending list.
    pub(crate) fn remove_pending(&mut self, id: EntryId) -> bool {
        let Some(old) = self.pending.remove(id) else { return false };
        if let Some(owner) = self.consumers.get_mut(&old.consumer) {
            owner.pending.remove(id);
        }
        true
    }
}

impl Group {
    /// Whether consumers' numbers and names say the same.
    pub(crate) fn has_sound_tables(&self) -> bool {
        let known = self
            .consumers
            .iter()
            .all(|(no, consumer)| self.by_name.get(&consumer.name) == Some(no) && *no < self.next_consumer);
        known && self.by_name.len() == self.consumers.len()
    }
}

/// The groups of one stream, by name and by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    list: BTreeMap<u32, Group>,
    by_name: BTreeMap<Box<[u8]>, u32>,
    next_no: u32,
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn next_no(&self) -> u32 {
        self.next_no
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Group> {
        self.list.get(self.by_name.get(name)?)
    }

    /// Groups in the order of their names' bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_name.values().filter_map(|no| self.list.get(no))
    }

    pub(crate) fn restore_next_no(&mut self, next_no: u32) {
        self.next_no = next_no;
    }

    pub(crate) fn by_no(&self, no: u32) -> Option<&Group> {
        self.list.get(&no)
    }

    pub(crate) fn by_no_mut(&mut self, no: u32) -> Option<&mut Group> {
        self.list.get_mut(&no)
    }

    /// Forgets which rows are old, as far as it was ever asked for.
    pub(crate) fn forget_times(&mut self) {
        self.list.values_mut().for_each(|group| group.pending.by_time = None);
    }

    pub(crate) fn add(&mut self, group: Group) {
        self.next_no = self.next_no.max(group.no + 1);
        self.by_name.insert(group.name.clone(), group.no);
        self.list.insert(group.no, group);
    }

    pub(crate) fn remove(&mut self, no: u32) -> Option<Group> {
        let group = self.list.remove(&no)?;
        self.by_name.remove(&group.name);
        Some(group)
    }

    /// Whether groups' numbers and names say the same.
    pub(crate) fn has_sound_tables(&self) -> bool {
        let known = self.list.iter().all(|(no, group)| {
            group.no == *no && self.by_name.get(&group.name) == Some(no) && *no < self.next_no
        });
        known && self.by_name.len() == self.list.len()
    }
}
