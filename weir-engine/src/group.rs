//! A consumer group: its place in the stream, its consumers, and who holds which entry since when.
//!
//! Invariants:
//! * An entry ID is pending for at most one consumer; a row whose owner is [`NO_CONSUMER`] was handed back.
//! * A consumer's own list holds exactly the IDs of the rows it owns.
//! * A pending ID may outlive its entry: trims do not look in here unless their policy says so.
//!
//! Reads no clock and never sees the fields of an entry.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_core::{EntryId, Failure, GroupOrigin, Policy};

use crate::charter::Charter;
use crate::chunked::{Chunked, Keyed};
use crate::filter::Matching;
use crate::lag::Rate;
use crate::lanes::Lanes;
use crate::record::{PlacedRow, ReturnedRow};

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
    /// Not delivered again before this time, in milliseconds of steady time; 0 = at once.
    pub(crate) not_before: u64,
    /// What the number of assignments is above the delivery count, see [`epoch`].
    pub(crate) epoch_shift: u32,
    /// The row's turn among those that were handed back; 0 = not handed back.
    pub(crate) released: u64,
    /// How often it was a dead letter and came back.
    pub(crate) redrives: u32,
    /// The hash of the value that orders delivery; 0 = none does.
    pub(crate) key: u64,
    /// Whether it waits for an earlier entry with its key.
    pub(crate) waiting: bool,
    /// Of which generation its tokens are; 0 = what the group says of its ID.
    pub(crate) generation: u32,
}

/// The failures of a row that are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) first: Failure,
    pub(crate) last: Failure,
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
    failed: Option<HashMap<EntryId, Box<Failed>>>,
    /// Ready rows in the order they were handed back.
    released: BTreeMap<u64, EntryId>,
    released_next: u64,
    /// The same by ID.
    ready: BTreeSet<EntryId>,
    /// Rows whose delay was not over when they were last looked at, by the time it will be. The state is what the row
    /// says; from here to `ready` it is moved by whoever knows the time, see [`Pending::ripen`].
    delayed: BTreeSet<(u64, EntryId)>,
    lanes: Option<Box<Lanes>>,
    /// Owned rows by delivery time, those left out whose entry was found to be gone; built when it is first asked for.
    by_time: Option<BTreeSet<(u64, EntryId)>>,
}

impl Clone for Pending {
    /// Shares the rows. The index of times is left behind; it is built again when asked for.
    fn clone(&self) -> Self {
        Self {
            rows: self.rows.clone(),
            extras: self.extras.clone(),
            failed: self.failed.clone(),
            released: self.released.clone(),
            released_next: self.released_next,
            ready: self.ready.clone(),
            delayed: self.delayed.clone(),
            lanes: self.lanes.clone(),
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

    pub(crate) fn failures(&self) -> impl Iterator<Item = (EntryId, &Failed)> + '_ {
        self.failed.iter().flat_map(|failed| failed.iter()).map(|(id, failed)| (*id, &**failed))
    }

    /// Takes over an extra from a snapshot; `false` when it does not fit its row.
    pub(crate) fn restore_extra(&mut self, id: EntryId, extra: Extra) -> bool {
        let Some(row) = self.get(id) else { return false };
        let handed_back = row.consumer == NO_CONSUMER;
        let queued = extra.released != 0;
        let fits = if handed_back { queued != extra.waiting } else { !queued && !extra.waiting };
        let keyed = (!extra.waiting || extra.key != 0) && (extra.not_before == 0 || queued);
        let in_turn = extra.released <= self.released_next && !self.released.contains_key(&extra.released);
        let new = self.extras.get_or_insert_default().insert(id, extra).is_none();
        if !(fits && keyed && in_turn && new) {
            return false;
        }
        self.note(&row, &extra);
        true
    }

    /// Takes over failures from a snapshot; `false` when there is no such row.
    pub(crate) fn restore_failed(&mut self, id: EntryId, failed: Failed) -> bool {
        let known = self.get(id).is_some();
        known && self.failed.get_or_insert_default().insert(id, Box::new(failed)).is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that nobody holds.
    pub(crate) fn unheld_len(&self) -> usize {
        self.released.len() + self.delayed.len() + self.waiting_len()
    }

    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn delayed_len(&self) -> usize {
        self.delayed.len()
    }

    /// Rows that wait for an earlier entry with their key.
    pub(crate) fn waiting_len(&self) -> usize {
        self.lanes.as_ref().map_or(0, |lanes| lanes.waiting())
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

    pub(crate) fn failed(&self, id: EntryId) -> Option<&Failed> {
        self.failed.as_ref()?.get(&id).map(|failed| &**failed)
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

    /// Rows that were handed back and are ready, first come first. [`Pending::ripen`] comes before.
    pub(crate) fn handed_back(&self) -> impl Iterator<Item = PendingEntry> + '_ {
        self.released.values().filter_map(|id| self.get(*id))
    }

    /// The same by ID.
    pub(crate) fn ready(&self) -> impl Iterator<Item = PendingEntry> + '_ {
        self.ready.iter().filter_map(|id| self.get(*id))
    }

    /// Whether an unheld row may be given to somebody. [`Pending::ripen`] comes before.
    pub(crate) fn is_ready(&self, id: EntryId) -> bool {
        self.ready.contains(&id)
    }

    /// Rows that nobody holds, in the order of their turns, those that wait for their key last.
    pub(crate) fn unheld(&self) -> Vec<PendingEntry> {
        let unheld = self.rows.iter().filter(|row| row.consumer == NO_CONSUMER);
        let mut rows: Vec<_> = unheld.map(|row| self.view(row)).collect();
        rows.sort_by_key(|row| match self.extra(row.id) {
            Extra { waiting: true, .. } => (u64::MAX, row.id),
            extra => (extra.released, row.id),
        });
        rows
    }

    /// When the next delay is over, in milliseconds of steady time.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Makes rows ready whose delay is over. It changes what is found, not what is true.
    pub(crate) fn ripen(&mut self, now: u64) {
        while let Some((at, id)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, id));
            self.released.insert(self.extra(id).released, id);
            self.ready.insert(id);
        }
    }

    /// The first row that waits for an earlier entry with its key.
    pub(crate) fn first_waiting(&self) -> Option<EntryId> {
        self.lanes.as_ref()?.first_waiting()
    }

    /// Rows that a consumer holds.
    pub(crate) fn held(&self) -> impl Iterator<Item = PendingEntry> + '_ {
        self.rows.iter().filter(|row| row.consumer != NO_CONSUMER).map(|row| self.view(row))
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

    /// Whether a key is taken by a row other than `except`.
    pub(crate) fn is_busy(&self, key: u64, except: Option<EntryId>) -> bool {
        let own = except.is_some_and(|id| {
            self.rows.get(id).is_some() && {
                let extra = self.extra(id);
                extra.key == key && !extra.waiting
            }
        });
        self.lanes.as_ref().is_some_and(|lanes| lanes.busy(key) > u32::from(own))
    }

    /// Puts or replaces a row; returns the one it replaced.
    fn put(&mut self, entry: PendingEntry, extra: Extra) -> Option<PendingEntry> {
        let replaced = self.get(entry.id);
        let mut key_before = 0;
        if let Some(old) = replaced {
            key_before = self.extra(old.id).key;
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
        self.note(&entry, &extra);
        if let (Some(times), true) = (&mut self.by_time, entry.consumer != NO_CONSUMER) {
            times.insert((entry.time, entry.id));
        }
        for key in [key_before, extra.key] {
            self.move_up(key);
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
        let key = self.extra(id).key;
        self.forget(&old);
        if let Some(failed) = &mut self.failed {
            failed.remove(&id);
            if failed.is_empty() {
                self.failed = None;
            }
        }
        self.rows.remove(id);
        self.move_up(key);
        Some(old)
    }

    /// Enters a row into the tables that its extra says.
    fn note(&mut self, row: &PendingEntry, extra: &Extra) {
        if row.consumer == NO_CONSUMER && !extra.waiting {
            if extra.not_before > 0 {
                self.delayed.insert((extra.not_before, row.id));
            } else {
                self.released.insert(extra.released, row.id);
                self.ready.insert(row.id);
            }
        }
        if extra.key != 0 {
            self.lanes.get_or_insert_default().enter(extra.key, row.id, extra.waiting);
        }
    }

    /// Takes a row out of the side tables; its failures stay.
    fn forget(&mut self, old: &PendingEntry) {
        if let Some(times) = &mut self.by_time {
            times.remove(&(old.time, old.id));
        }
        let Some(extras) = &mut self.extras else { return };
        let Some(extra) = extras.remove(&old.id) else { return };
        if extras.is_empty() {
            self.extras = None;
        }
        if extra.released != 0 {
            self.released.remove(&extra.released);
            self.ready.remove(&old.id);
            self.delayed.remove(&(extra.not_before, old.id));
        }
        if extra.key != 0
            && let Some(lanes) = &mut self.lanes
        {
            lanes.leave(extra.key, old.id, extra.waiting);
            if lanes.is_empty() {
                self.lanes = None;
            }
        }
    }

    /// Makes the lowest row that waits for a key ready when nothing else has the key.
    fn move_up(&mut self, key: u64) {
        if key == 0 {
            return;
        }
        let next = self.lanes.as_ref().and_then(|lanes| lanes.next(key));
        if let Some(row) = next.and_then(|id| self.get(id)) {
            self.let_go(&row);
        }
    }

    /// Makes a waiting row ready.
    fn let_go(&mut self, row: &PendingEntry) {
        let mut extra = self.extra(row.id);
        self.forget(row);
        self.released_next += 1;
        (extra.waiting, extra.released) = (false, self.released_next);
        self.extras.get_or_insert_default().insert(row.id, extra);
        self.note(row, &extra);
    }

    /// Forgets by which keys rows are ordered: what waits for its key is ready, lowest ID first.
    pub(crate) fn forget_keys(&mut self) {
        let mut keyed: Vec<_> = self.extras().filter(|(_, extra)| extra.key != 0).collect();
        keyed.sort_unstable_by_key(|(id, _)| *id);
        for (id, extra) in keyed {
            let Some(row) = self.get(id) else { continue };
            self.forget(&row);
            let mut extra = Extra { key: 0, waiting: false, ..extra };
            if row.consumer == NO_CONSUMER && extra.released == 0 {
                self.released_next += 1;
                extra.released = self.released_next;
            }
            if extra != Extra::default() {
                self.extras.get_or_insert_default().insert(id, extra);
            }
            self.note(&row, &extra);
            if let (Some(times), true) = (&mut self.by_time, row.consumer != NO_CONSUMER) {
                times.insert((row.time, row.id));
            }
        }
    }

    fn fail(&mut self, id: EntryId, failures: u32, failure: Failure) {
        let failed = self.failed.get_or_insert_default();
        match failed.get_mut(&id).filter(|_| failures > 1) {
            Some(failed) => failed.last = failure,
            None => {
                failed.insert(id, Box::new(Failed { first: failure.clone(), last: failure }));
            }
        }
    }
}

/// How often a row was given to somebody, counted or not.
fn epoch(row: &PendingEntry, extra: &Extra) -> u32 {
    (row.deliveries as u32).wrapping_add(extra.epoch_shift)
}

/// What to keep beside a delivery count so that the epoch is this.
fn shift(epoch: u32, deliveries: i64) -> u32 {
    epoch.wrapping_sub(deliveries as u32)
}

impl Pending {
    /// Whether rows, extras, the queue of what was handed back, the lanes and the index of times say the same.
    pub(crate) fn has_sound_tables(&self) -> bool {
        let aside = self.rows.iter().all(|row| row.count != COUNT_ASIDE || self.extra(row.id).count != 0);
        let extras = self.extras().all(|(id, extra)| {
            let handed_back = self.get(id).map(|row| row.consumer == NO_CONSUMER);
            let queued = self.released.get(&extra.released) == Some(&id);
            let delayed = self.delayed.contains(&(extra.not_before, id));
            handed_back == Some(extra.released != 0 || extra.waiting)
                && (extra.released == 0 || !extra.waiting)
                && (queued != delayed) == (extra.released != 0)
                && queued == self.ready.contains(&id)
                && (!extra.waiting || extra.key != 0)
        });
        let handed_back = self.rows.iter().filter(|row| row.consumer == NO_CONSUMER).count();
        let queue = self.unheld_len() == handed_back
            && self.ready.len() == self.released.len()
            && self.released.last_key_value().is_none_or(|(last, _)| *last <= self.released_next);
        let times = self.by_time.as_ref().is_none_or(|times| {
            let known = times.iter().all(|(time, id)| self.get(*id).is_some_and(|row| row.time == *time));
            known && times.len() <= self.rows.len() - handed_back
        });
        let failed = self.failures().all(|(id, _)| self.rows.get(id).is_some());
        aside && extras && queue && times && failed && self.has_sound_lanes()
    }

    fn has_sound_lanes(&self) -> bool {
        let mut lanes = Lanes::default();
        for (id, extra) in self.extras().filter(|(_, extra)| extra.key != 0) {
            lanes.enter(extra.key, id, extra.waiting);
        }
        let same = self.lanes.as_deref().map_or(lanes.is_empty(), |own| *own == lanes);
        same && lanes.is_sound()
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

/// What a copy of a group leaves behind, so that copying stays cheap.
#[derive(Debug)]
pub(crate) struct Unshared<T>(Option<Box<T>>);

impl<T> Default for Unshared<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for Unshared<T> {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl<T> std::ops::Deref for Unshared<T> {
    type Target = Option<Box<T>>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Unshared<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
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
    /// What its filter lets through of what it was not given yet. In memory only.
    pub(crate) matching: Unshared<Matching>,
    /// Entries settled for good lately. In memory only.
    pub(crate) drained: Rate,
    consumers: BTreeMap<u32, Consumer>,
    by_name: BTreeMap<Box<[u8]>, u32>,
    next_consumer: u32,
    /// What it was told beyond what Redis knows; none for most.
    pub(crate) charter: Option<Box<Charter>>,
}

impl Group {
    pub(crate) fn new(no: u32, name: &[u8], last_id: EntryId, entries_read: Option<u64>) -> Self {
        Self {
            no,
            name: name.into(),
            last_id,
            entries_read,
            pending: Pending::default(),
            matching: Unshared::default(),
            drained: Rate::default(),
            consumers: BTreeMap::new(),
            by_name: BTreeMap::new(),
            next_consumer: 0,
            charter: None,
        }
    }

    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.charter.as_ref()?.policy.as_deref()
    }

    pub(crate) fn is_paused(&self, now: u64) -> bool {
        self.charter.as_ref().is_some_and(|charter| charter.is_paused(now))
    }

    /// What settles the delivery that a row stands for and no other. `key` is the stream's number: a token is good in
    /// no other group.
    pub(crate) fn token(&self, key: u64, row: &PendingEntry) -> u64 {
        let extra = self.pending.extra(row.id);
        let generation = match extra.generation {
            0 => self.charter.as_ref().map_or(0, |charter| charter.generation_of(row.id)),
            own => own,
        };
        let count = u64::from(generation) << 32 | u64::from(epoch(row, &extra));
        count ^ mix(key, self.no)
    }

    fn next_generation(&mut self) -> u32 {
        let charter = self.charter.get_or_insert_default();
        charter.generation += 1;
        charter.generation
    }

    /// Moves the group. What lies above its new place comes again, so that tokens for it are stale.
    pub(crate) fn set_last_id(&mut self, last_id: EntryId, entries_read: Option<u64>) {
        if last_id < self.last_id {
            self.charter.get_or_insert_default().reset(last_id);
        }
        (self.last_id, self.entries_read) = (last_id, entries_read);
    }

    /// As [`Group::set_last_id`]; rows above the new place leave the list.
    pub(crate) fn seek(&mut self, last_id: EntryId, entries_read: Option<u64>) {
        let above: Vec<EntryId> =
            last_id.next().map_or_else(Vec::new, |from| self.pending.from(from).map(|row| row.id).collect());
        // From the last one down, so that none of them moves up meanwhile.
        for id in above.into_iter().rev() {
            self.remove_pending(id);
        }
        self.set_last_id(last_id, entries_read);
    }

    pub(crate) fn set_policy(&mut self, origin: Option<GroupOrigin>, policy: Option<Policy>) {
        let charter = self.charter.get_or_insert_default();
        let key_of = |policy: Option<&Policy>| policy.and_then(|policy| policy.key.clone());
        let is_other_key = key_of(charter.policy.as_deref()) != key_of(policy.as_ref());
        (charter.origin, charter.policy) = (origin, policy.map(Box::new));
        if is_other_key {
            self.pending.forget_keys();
        }
        // Without a policy, rows whose entries are gone were left out of it; with one they are dropped.
        self.pending.by_time = None;
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
            self.hold(entry, 0, 0);
        }
    }

    /// Gives an entry to a consumer, taking it from whoever held it.
    pub(crate) fn assign(&mut self, entry: PendingEntry) {
        let generation = if self.pending.get(entry.id).is_none() { self.next_generation() } else { 0 };
        self.hold(entry, generation, 0);
    }

    /// Gives a new entry to a consumer, or has it wait for an earlier one with its key.
    pub(crate) fn assign_keyed(&mut self, entry: PendingEntry, key: u64, waiting: bool) {
        if key == 0 {
            return self.assign_new(entry);
        }
        if !waiting {
            return self.hold(entry, 0, key);
        }
        let before = self.pending.get(entry.id);
        let extra = Extra { key, waiting, ..Extra::default() };
        self.pending.put(PendingEntry { consumer: NO_CONSUMER, time: 0, deliveries: 0, ..entry }, extra);
        self.move_own(before.map(|old| old.consumer), NO_CONSUMER, entry.id);
    }

    /// `generation` is that of a row that came to be out of its turn, `key` that of one that came to be in it.
    fn hold(&mut self, entry: PendingEntry, generation: u32, key: u64) {
        let before = self.pending.get(entry.id);
        let extra = self.pending.extra(entry.id);
        let next = before.map_or(1, |old| epoch(&old, &extra).wrapping_add(1));
        let extra = Extra {
            epoch_shift: shift(next, entry.deliveries),
            released: 0,
            not_before: 0,
            waiting: false,
            generation: if generation == 0 { extra.generation } else { generation },
            key: if key == 0 { extra.key } else { key },
            ..extra
        };
        self.pending.put(entry, extra);
        self.move_own(before.map(|old| old.consumer), entry.consumer, entry.id);
    }

    /// Hands an entry back to the group: nobody's, and first in line for the next claim.
    pub(crate) fn release(&mut self, id: EntryId, deliveries: i64) {
        self.hand_back(&ReturnedRow { id, deliveries, failures: None, until: 0, failure: None });
    }

    /// Hands an entry back to the group, and notes why. One that waits for its key goes on waiting.
    pub(crate) fn hand_back(&mut self, returned: &ReturnedRow) {
        let ReturnedRow { id, deliveries, failures, until, ref failure } = *returned;
        let before = self.pending.get(id);
        let mut extra = self.pending.extra(id);
        match &before {
            Some(old) => extra.epoch_shift = shift(epoch(old, &extra), deliveries),
            None => {
                extra.generation = self.next_generation();
                extra.epoch_shift = shift(0, deliveries);
            }
        }
        extra.failures = failures.unwrap_or(extra.failures);
        if !extra.waiting {
            self.pending.released_next += 1;
            (extra.released, extra.not_before) = (self.pending.released_next, until);
        }
        self.pending.put(PendingEntry { id, consumer: NO_CONSUMER, time: 0, deliveries }, extra);
        self.move_own(before.map(|old| old.consumer), NO_CONSUMER, id);
        if let Some(failure) = failure {
            self.pending.fail(id, extra.failures, failure.clone());
        }
    }

    /// Begins the lease of an entry anew; whoever holds it holds it still.
    pub(crate) fn extend(&mut self, id: EntryId, time: u64) {
        let Some(row) = self.pending.get(id).filter(|row| row.consumer != NO_CONSUMER) else { return };
        let extra = self.pending.extra(id);
        self.pending.put(PendingEntry { time, ..row }, extra);
    }

    /// Puts a row in place as it was elsewhere. `generation` as in [`Extra::generation`].
    pub(crate) fn place(&mut self, placed: &PlacedRow, generation: u32) {
        self.remove_pending(placed.id);
        let PlacedRow { id, consumer, time, deliveries, failures, until, redrives, key, .. } = *placed;
        let unheld = consumer == NO_CONSUMER;
        let waiting = unheld && key != 0 && self.pending.is_busy(key, None);
        let mut extra = Extra { failures, redrives, key, waiting, generation, ..Extra::default() };
        // The rows of a copied group were never given out by it, and need no more than they had.
        extra.epoch_shift = if generation == 0 { 0 } else { shift(u32::from(!unheld), deliveries) };
        if unheld && !waiting {
            self.pending.released_next += 1;
            (extra.released, extra.not_before) = (self.pending.released_next, until);
        }
        self.pending
            .put(PendingEntry { id, consumer, time: if unheld { 0 } else { time }, deliveries }, extra);
        self.move_own(None, consumer, id);
        if let Some((first, last)) = placed.failed.clone() {
            self.pending.failed.get_or_insert_default().insert(id, Box::new(Failed { first, last }));
        }
    }

    /// As [`Group::place`], for rows that may have been there before.
    pub(crate) fn place_all(&mut self, rows: &[PlacedRow], fresh: bool) {
        let generation = if fresh { 0 } else { self.next_generation() };
        rows.iter().for_each(|row| self.place(row, generation));
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

/// A number that tells a group from every other of the engine.
fn mix(key: u64, group: u32) -> u64 {
    // The finalizer of SplitMix64: no two inputs have the same output.
    let mut mixed = key.rotate_left(32) ^ u64::from(group).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The groups of one stream, by name and by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    list: BTreeMap<u32, Group>,
    by_name: BTreeMap<Box<[u8]>, u32>,
    next_no: u32,
    /// Those whose filters look at new entries. In memory only.
    filtering: Vec<u32>,
    /// Entries added lately. In memory only.
    pub(crate) arrivals: Rate,
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

    /// Whether some group's filter looks at new entries.
    pub(crate) fn has_filters(&self) -> bool {
        !self.filtering.is_empty()
    }

    /// Has a group's filter look at new entries.
    pub(crate) fn note_filter(&mut self, no: u32) {
        if !self.filtering.contains(&no) {
            self.filtering.push(no);
        }
    }

    /// Visits the groups whose filters look at new entries.
    pub(crate) fn each_filtering(&mut self, mut visit: impl FnMut(&mut Group)) {
        let Self { list, filtering, .. } = self;
        filtering.retain(|no| {
            let Some(group) = list.get_mut(no).filter(|group| group.matching.is_some()) else { return false };
            visit(group);
            true
        });
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
