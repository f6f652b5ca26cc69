//! The engine's state, and the one door through which it changes: [`State::apply`].
//!
//! Invariants:
//! * State is a fold of records: the same records in the same order give the same state, live and in recovery.
//! * `apply` reads no clock, no randomness and no disk, and emits nothing.
//! * A key number is never used twice; a slot number may be. Records name keys by number.
//! * Each key remembers the LSN of the last record it took (its *stamp*). In recovery a record at
//!   or below the stamp is skipped, so a snapshot may catch each key at another moment.
//!
//! What is not durable by itself (when a consumer was last seen, how many duplicates a stream answered) is changed
//! directly and reaches the disk with the next snapshot only; it says so at its field.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::mpsc::SyncSender;

use hashbrown::HashTable;
use weir_core::EntryId;
use weir_log::Lsn;

use crate::group::{Group, PendingEntry};
use crate::record::{EntryRecord, GroupRef, IdempotenceLimits, KeyedRow, Record};
use crate::slab::Slab;
use crate::stream::Stream;

/// What a key holds.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly every key is a stream; a box would cost each of them")]
pub(crate) enum Value {
    Stream(Stream),
    Text(Box<[u8]>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) no: u64,
    pub(crate) ns: u32,
    pub(crate) name: Box<[u8]>,
    /// In milliseconds since the Unix epoch; 0 = never.
    pub(crate) expires: u64,
    pub(crate) stamp: Lsn,
    pub(crate) value: Value,
}

impl Key {
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match &self.value {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) => None,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.value {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Namespace {
    pub(crate) name: Box<[u8]>,
    /// The global position the next entry gets; the first is 1.
    pub(crate) next_gpos: u64,
    /// The append time of the last entry.
    pub(crate) last_at: u64,
    pub(crate) names: HashTable<u32>,
    /// Keys that expire, by time.
    pub(crate) expires: BTreeSet<(u64, u32)>,
}

/// A group whose policy names a stream for its dead letters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LetterOwner {
    pub(crate) slot: u32,
    pub(crate) key: u64,
    pub(crate) group: u32,
}

/// Owners of dead-letter streams that are never looked through for those that are gone.
const LETTER_OWNERS_KEPT: usize = 1_024;

/// Removed keys that wait to be freed; beyond that they are freed where they are removed.
pub(crate) const REMOVED_MAX: usize = 1024;

/// Blocks, or pending entries of one group, from which on freeing a key takes longer than handing it on.
const HEAVY: usize = 64;

impl Key {
    /// Whether freeing it takes a while.
    fn is_heavy(&self) -> bool {
        let Some(stream) = self.stream() else { return false };
        stream.sealed.as_ref().is_some_and(|sealed| sealed.heads.len() > HEAVY)
            || stream.groups().any(|group| group.pending.len() > HEAVY)
    }
}

/// How many entries were written into each segment of the log.
#[derive(Debug, Default, Clone)]
pub(crate) struct SegmentCounts {
    /// 0 until the engine knows its log.
    pub(crate) segment_bytes: u64,
    pub(crate) counts: BTreeMap<u64, u64>,
    /// The segment counted last, and its count, so that the usual entry needs no search.
    current: (u64, u64),
    /// Counts from a snapshot hold everything up to here.
    pub(crate) stamp: Lsn,
}

impl SegmentCounts {
    #[inline]
    fn add(&mut self, lsn: Lsn) {
        if self.segment_bytes == 0 || lsn <= self.stamp {
            return;
        }
        let segment = lsn.0 / self.segment_bytes;
        if segment != self.current.0 {
            self.settle();
            self.current = (segment, 0);
        }
        self.current.1 += 1;
    }

    /// Brings what was counted last into `counts`.
    pub(crate) fn settle(&mut self) {
        if self.current.1 > 0 {
            *self.counts.entry(self.current.0).or_default() += self.current.1;
            self.current.1 = 0;
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) keys: Slab<Key>,
    /// By inner number. What callers call namespace n is `namespaces[directory[n]]`, so that swapping is cheap.
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) directory: Vec<u32>,
    pub(crate) directory_stamp: Lsn,
    /// In recovery: the last record that the snapshot may have taken in; 0 without a snapshot.
    pub(crate) snapshot_end: Lsn,
    pub(crate) next_key: u64,
    /// Entries ever written into each segment, by segment number; a hint for reclaiming.
    pub(crate) written: SegmentCounts,
    /// Where large keys go that were removed, so that nobody waits under the lock until they are freed.
    pub(crate) removed: Option<SyncSender<Box<Key>>>,
    /// Records applied since the engine was opened that made others dead: trims, deletes, flushes.
    pub(crate) removals: u64,
    /// Slots of streams that keep only so much.
    pub(crate) keeping: BTreeSet<u32>,
    /// Whose dead letters a stream holds whose name a policy gave, by inner namespace and name. What is in here may be
    /// out of date: look whether the group is there and still names it.
    pub(crate) letter_owners: HashMap<(u32, Box<[u8]>), LetterOwner>,
    /// How many of them were up to date when they were last looked through.
    letter_owners_live: usize,
    hasher: foldhash::fast::FixedState,
    /// During recovery: slots by key number. Names are looked up only after it.
    recovering: Option<HashMap<u64, u32>>,
}

impl State {
    // ---- looking up --------------------------------------------------------------------------------------------

    pub(crate) fn inner(&self, namespace: u32) -> Option<u32> {
        self.directory.get(namespace as usize).copied()
    }

    pub(crate) fn slot(&self, inner: u32, name: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        let same = |slot: &u32| self.keys.get(*slot).is_some_and(|key| *key.name == *name);
        self.namespaces.get(inner as usize)?.names.find(hash, same).copied()
    }

    fn add_name(&mut self, slot: u32) {
        let Self { keys, namespaces, hasher, recovering, .. } = self;
        let Some(key) = keys.get(slot).filter(|_| recovering.is_none()) else { return };
        let space = &mut namespaces[key.ns as usize];
        let rehash = |slot: &u32| hasher.hash_one(&*keys.get(*slot).expect("a named slot is in use").name);
        space.names.insert_unique(hasher.hash_one(&*key.name), slot, rehash);
        if key.expires != 0 {
            space.expires.insert((key.expires, slot));
        }
    }

    fn remove_name(&mut self, slot: u32) {
        let Self { keys, namespaces, hasher, recovering, .. } = self;
        let Some(key) = keys.get(slot).filter(|_| recovering.is_none()) else { return };
        let space = &mut namespaces[key.ns as usize];
        if let Ok(found) = space.names.find_entry(hasher.hash_one(&*key.name), |other| *other == slot) {
            found.remove();
        }
        space.expires.remove(&(key.expires, slot));
    }

    // ---- recovery ----------------------------------------------------------------------------------------------

    /// Names are not kept until [`State::end_recovery`]: a snapshot may hold two keys that had one name in turn.
    pub(crate) fn begin_recovery(&mut self) {
        let slots = self.keys.iter().map(|(slot, key)| (key.no, slot)).collect();
        self.recovering = Some(slots);
    }

    /// Takes over a key from a snapshot; `false` when there is one with its number.
    pub(crate) fn restore_key(&mut self, key: Key) -> bool {
        let no = key.no;
        self.next_key = self.next_key.max(no + 1);
        let slot = self.keys.insert(key);
        self.recovering.as_mut().is_some_and(|slots| slots.insert(no, slot).is_none())
    }

    /// Builds the tables of names; `false` when two keys claim one name.
    pub(crate) fn end_recovery(&mut self) -> bool {
        self.recovering = None;
        let slots: Vec<u32> = self.keys.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let key = self.keys.get(slot).expect("listed above");
            if self.namespaces.get(key.ns as usize).is_none() || self.slot(key.ns, &key.name).is_some() {
                return false;
            }
            if key.stream().is_some_and(|stream| stream.keeping.is_some()) {
                self.keeping.insert(slot);
            }
            self.add_name(slot);
            self.note_letters(slot);
        }
        true
    }

    /// Applies a record in recovery; `false` when it cannot belong to this state.
    pub(crate) fn replay(&mut self, lsn: Lsn, record: &Record<'_>) -> bool {
        let slots = self.recovering.as_ref().expect("called between begin and end of recovery");
        let slot = record.key().and_then(|key| slots.get(&key).copied());
        let creates = matches!(record, Record::KeyNew { .. } | Record::Text { .. });
        match slot {
            // The snapshot has it. It took the namespaces in last, so their counters have it too.
            Some(slot) if self.keys.get(slot).is_some_and(|key| lsn <= key.stamp) => true,
            // The key was deleted before the snapshot reached it.
            None if record.key().is_some() && !creates => lsn <= self.snapshot_end,
            _ if self.admits(slot, lsn, record) => {
                self.apply(slot, lsn, record);
                true
            }
            _ => false,
        }
    }

    // ---- changes -----------------------------------------------------------------------------------------------

    /// Applies one record. `slot` is the key's, where the record is about an existing key. Returns the slot of a key
    /// that came to be.
    #[inline]
    pub(crate) fn apply(&mut self, slot: Option<u32>, lsn: Lsn, record: &Record<'_>) -> Option<u32> {
        match (record, slot) {
            (Record::Entry(entry), Some(slot)) => {
                self.apply_entry(slot, lsn, entry);
                None
            }
            (Record::KeyNew { key, ns, name, idempotence }, _) => {
                Some(self.new_key(lsn, *key, *ns, name, Value::Stream(Stream::new(*idempotence))))
            }
            (Record::Text { key, ns, name, value }, None) => {
                Some(self.new_key(lsn, *key, *ns, name, Value::Text((*value).into())))
            }
            (Record::KeyDelete { .. }, Some(slot)) => {
                self.removals += 1;
                self.drop_key(slot);
                None
            }
            (Record::KeyMove { ns, name, .. }, Some(slot)) => {
                self.move_key(slot, lsn, *ns, name);
                None
            }
            (Record::Expire { at, .. }, Some(slot)) => {
                self.set_expiry(slot, lsn, *at);
                None
            }
            (_, Some(slot)) => {
                self.removals += u64::from(matches!(record, Record::Remove(_)));
                let key = self.keys.get_mut(slot)?;
                key.stamp = lsn;
                match (&mut key.value, record) {
                    (Value::Text(text), Record::Text { value, .. }) => *text = (*value).into(),
                    (Value::Stream(stream), _) => stream.apply(lsn, record),
                    (Value::Text(_), _) => {}
                }
                if let Record::Retention { kept, .. } = record {
                    self.note_keeping(slot, kept.is_some());
                } else if let Record::GroupPolicy { .. } = record {
                    self.note_letters(slot);
                }
                None
            }
            (_, None) => {
                self.apply_namespace(lsn, record);
                None
            }
        }
    }

    #[inline]
    fn apply_entry(&mut self, slot: u32, lsn: Lsn, entry: &EntryRecord<'_>) {
        let Some(key) = self.keys.get_mut(slot) else { return };
        key.stamp = lsn;
        let space = &mut self.namespaces[key.ns as usize];
        space.next_gpos = space.next_gpos.max(entry.gpos + 1);
        space.last_at = space.last_at.max(entry.at);
        self.written.add(lsn);
        if let Value::Stream(stream) = &mut key.value {
            stream.apply_entry(lsn, entry);
        }
    }

    fn apply_namespace(&mut self, lsn: Lsn, record: &Record<'_>) {
        match record {
            Record::Namespace { ns, name } => {
                while self.namespaces.len() <= *ns as usize {
                    let inner = self.namespaces.len() as u32;
                    self.namespaces.push(Namespace { next_gpos: 1, ..Namespace::default() });
                    self.directory.push(inner);
                }
                self.namespaces[*ns as usize].name = (*name).into();
            }
            Record::SwapNamespaces { a, b } if lsn > self.directory_stamp => {
                self.directory.swap(*a as usize, *b as usize);
                self.directory_stamp = lsn;
            }
            Record::Flush { ns } => self.flush(lsn, *ns),
            _ => {}
        }
    }

    fn flush(&mut self, lsn: Lsn, ns: u32) {
        self.removals += 1;
        let gone: Vec<u32> = match &self.recovering {
            None => self.namespaces[ns as usize].names.iter().copied().collect(),
            Some(_) => {
                let old = |(slot, key): (u32, &Key)| (key.ns == ns && key.stamp < lsn).then_some(slot);
                self.keys.iter().filter_map(old).collect()
            }
        };
        if self.recovering.is_none() {
            let space = &mut self.namespaces[ns as usize];
            space.names = HashTable::new();
            space.expires = BTreeSet::new();
        }
        for slot in gone {
            self.forget_slot(slot);
        }
    }

    fn new_key(&mut self, lsn: Lsn, no: u64, ns: u32, name: &[u8], value: Value) -> u32 {
        self.next_key = self.next_key.max(no + 1);
        let slot = self.keys.insert(Key { no, ns, name: name.into(), expires: 0, stamp: lsn, value });
        if let Some(slots) = &mut self.recovering {
            slots.insert(no, slot);
        }
        self.add_name(slot);
        slot
    }

    fn note_keeping(&mut self, slot: u32, keeps: bool) {
        if keeps {
            self.keeping.insert(slot);
        } else {
            self.keeping.remove(&slot);
        }
    }

    fn drop_key(&mut self, slot: u32) {
        self.remove_name(slot);
        self.forget_slot(slot);
    }

    fn forget_slot(&mut self, slot: u32) {
        let Some(key) = self.keys.remove(slot) else { return };
        self.keeping.remove(&slot);
        if let Some(slots) = &mut self.recovering {
            slots.remove(&key.no);
        }
        if let Some(removed) = self.removed.as_ref().filter(|_| key.is_heavy()) {
            // Where too many wait already it comes back, and is freed here.
            drop(removed.try_send(Box::new(key)));
        }
    }

    fn move_key(&mut self, slot: u32, lsn: Lsn, ns: u32, name: &[u8]) {
        self.remove_name(slot);
        if let Some(key) = self.keys.get_mut(slot) {
            key.stamp = lsn;
            key.ns = ns;
            key.name = name.into();
        }
        self.add_name(slot);
        self.note_letters(slot);
    }

    /// Notes which streams the groups of a stream named for their dead letters.
    fn note_letters(&mut self, slot: u32) {
        let Self { keys, letter_owners, recovering, .. } = self;
        let Some(key) = keys.get(slot).filter(|_| recovering.is_none()) else { return };
        let Some(stream) = key.stream() else { return };
        for group in stream.groups() {
            let name = group.policy().and_then(|policy| policy.dead_letter.as_deref());
            if let Some(name) = name {
                let owner = LetterOwner { slot, key: key.no, group: group.no };
                letter_owners.insert((key.ns, name.into()), owner);
            }
        }
        if letter_owners.len() > LETTER_OWNERS_KEPT.max(2 * self.letter_owners_live) {
            letter_owners.retain(|_, owner| keys.get(owner.slot).is_some_and(|key| key.no == owner.key));
            self.letter_owners_live = letter_owners.len();
        }
    }

    fn set_expiry(&mut self, slot: u32, lsn: Lsn, at: u64) {
        let Some(key) = self.keys.get_mut(slot) else { return };
        key.stamp = lsn;
        let before = std::mem::replace(&mut key.expires, at);
        if self.recovering.is_none() {
            let space = &mut self.namespaces[key.ns as usize];
            space.expires.remove(&(before, slot));
            if at != 0 {
                space.expires.insert((at, slot));
            }
        }
    }
}

impl Stream {
    /// Applies a record about this stream, other than an entry.
    fn apply(&mut self, lsn: Lsn, record: &Record<'_>) {
        match record {
            Record::Block { .. } => self.apply_block(lsn),
            Record::Remove(removal) => self.apply_removal(removal),
            Record::SetId { last_id, entries_added, max_deleted, .. } => {
                // Entries to come may have IDs of deleted ones, whose rows count again then.
                if let Some(groups) = self.groups.as_mut().filter(|_| *last_id < self.last_id) {
                    groups.forget_times();
                }
                self.last_id = *last_id;
                self.entries_added = entries_added.unwrap_or(self.entries_added);
                self.max_deleted = max_deleted.unwrap_or(self.max_deleted);
            }
            Record::Idempotence { limits, .. } => self.apply_idempotence(*limits),
            Record::IdempotentId { producer, iid, id, .. } => {
                let limits = self.idempotence_limits;
                self.idempotence.get_or_insert_default().tie(producer, iid, *id, limits);
            }
            Record::IdempotenceRaised { limits, .. } => {
                let own = &mut self.idempotence_limits;
                own.duration_s = own.duration_s.max(limits.duration_s);
                own.ids_max = own.ids_max.max(limits.ids_max);
            }
            Record::Retention { kept: None, .. } => self.keeping = None,
            Record::Retention { kept: Some((retention, told)), .. } => {
                self.keeping.get_or_insert_default().set(*retention, *told);
            }
            Record::Measured { upto, rows, .. } => {
                self.keeping.get_or_insert_default().measured(*upto, rows);
            }
            Record::Carried { node, idempotent_added, idempotent_duplicates, .. } => {
                self.node = *node;
                if (*idempotent_added, *idempotent_duplicates) != (0, 0) {
                    let idempotence = self.idempotence.get_or_insert_default();
                    (idempotence.added, idempotence.duplicates) = (*idempotent_added, *idempotent_duplicates);
                }
            }
            Record::GroupNew { at, name, last_id, entries_read } => {
                self.groups.get_or_insert_default().add(Group::new(at.group, name, *last_id, *entries_read));
            }
            Record::GroupDelete { at } => {
                if let Some(groups) = &mut self.groups {
                    groups.remove(at.group);
                }
            }
            _ => self.apply_group(record),
        }
    }

    fn apply_idempotence(&mut self, limits: IdempotenceLimits) {
        if limits != self.idempotence_limits {
            self.idempotence_limits = limits;
            if let Some(idempotence) = &mut self.idempotence {
                idempotence.clear();
            }
        }
    }

    fn group_no(&mut self, at: &GroupRef) -> Option<&mut Group> {
        self.groups.as_mut()?.by_no_mut(at.group)
    }

    fn apply_group(&mut self, record: &Record<'_>) {
        match record {
            Record::GroupSet { at, last_id, entries_read } => {
                if let Some(group) = self.group_no(at) {
                    group.set_last_id(*last_id, *entries_read);
                }
            }
            Record::ConsumerNew { at, consumer, name, seen, active } => {
                if let Some(group) = self.group_no(at) {
                    group.add_consumer(*consumer, name, *seen, *active);
                }
            }
            Record::ConsumerDelete { at, consumer } => {
                if let Some(group) = self.group_no(at) {
                    group.remove_consumer(*consumer);
                }
            }
            Record::Deliver { at, consumer, time, last_id, entries_read, ids } => {
                if let Some(group) = self.group_no(at) {
                    group.deliver(*consumer, *time, (*last_id, *entries_read), ids);
                }
            }
            Record::Assign { at, consumer, rows } => {
                if let Some(group) = self.group_no(at) {
                    for row in rows {
                        let (id, time, deliveries) = (row.id, row.time, row.deliveries);
                        group.assign(PendingEntry { id, consumer: *consumer, time, deliveries });
                    }
                }
            }
            Record::Acknowledge { at, ids } => {
                if let Some(group) = self.group_no(at) {
                    for id in ids {
                        group.remove_pending(*id);
                    }
                }
            }
            Record::Release { at, rows } => {
                if let Some(group) = self.group_no(at) {
                    for (id, deliveries) in rows {
                        group.release(*id, *deliveries);
                    }
                }
            }
            _ => self.apply_delivery(record),
        }
    }

    fn apply_delivery(&mut self, record: &Record<'_>) {
        let Some(group) = record.group().and_then(|at| self.group_no(&at)) else { return };
        match record {
            Record::GroupPolicy { origin, policy, .. } => {
                group.set_policy(*origin, policy.as_deref().cloned());
            }
            Record::GroupPause { until, .. } => group.charter.get_or_insert_default().paused_until = *until,
            Record::GroupSeek { last_id, entries_read, .. } => group.seek(*last_id, *entries_read),
            Record::HandBack { rows, .. } => rows.iter().for_each(|row| group.hand_back(row)),
            Record::Extend { time, ids, .. } => ids.iter().for_each(|id| group.extend(*id, *time)),
            Record::DeliverChosen { consumer, time, last_id, entries_read, passed, rows, .. } => {
                group.deliver_chosen((*consumer, *time), (*last_id, *entries_read), *passed, rows);
            }
            Record::Place { fresh, rows, .. } => group.place_all(rows, *fresh),
            Record::Stale { count, .. } => {
                let charter = group.charter.get_or_insert_default();
                charter.stale = charter.stale.saturating_add(*count);
            }
            _ => {}
        }
    }
}

impl Group {
    /// New entries go to a consumer: the group has read up to `progress`, and `ids` become pending.
    fn deliver(&mut self, consumer: u32, time: u64, progress: (EntryId, Option<u64>), ids: &[EntryId]) {
        (self.last_id, self.entries_read) = progress;
        for id in ids {
            self.assign_new(PendingEntry { id: *id, consumer, time, deliveries: 1 });
        }
        self.touch_consumer(consumer, time, !ids.is_empty());
    }

    /// As [`Group::deliver`]; `passed` entries were none of its own, and some rows may have to wait.
    fn deliver_chosen(
        &mut self,
        (consumer, time): (u32, u64),
        progress: (EntryId, Option<u64>),
        passed: u64,
        rows: &[KeyedRow],
    ) {
        (self.last_id, self.entries_read) = progress;
        for row in rows {
            let entry = PendingEntry { id: row.id, consumer, time, deliveries: 1 };
            self.assign_keyed(entry, row.key, row.waiting);
        }
        if passed > 0 {
            let charter = self.charter.get_or_insert_default();
            charter.filtered = charter.filtered.saturating_add(passed);
        }
        self.touch_consumer(consumer, time, rows.iter().any(|row| !row.waiting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Fields;

    fn state_with_stream(entries: u64) -> State {
        let mut state = State::default();
        state.apply(None, Lsn(1), &Record::Namespace { ns: 0, name: b"default" });
        let idempotence = IdempotenceLimits::default();
        state.apply(None, Lsn(2), &Record::KeyNew { key: 0, ns: 0, name: b"s", idempotence });
        for pos in 0..entries {
            let stream = state.keys.get(0).and_then(Key::stream).expect("made above");
            if stream.seals_before(false) {
                let block = std::borrow::Cow::Owned(stream.tail.block.clone());
                state.apply(Some(0), Lsn(1_000 + pos), &Record::Block { key: 0, block });
            }
            let record = EntryRecord {
                key: 0,
                pos,
                gpos: pos + 1,
                id: EntryId::new(pos + 1, 0),
                at: 0,
                node_start: pos == 0,
                fields: Fields::Slices(&[b"f", b"v"]),
                idempotent: None,
                by_time: false,
            };
            state.apply(Some(0), Lsn(1_000 + pos), &Record::Entry(record));
        }
        state
    }

    #[test]
    fn large_keys_are_handed_on_to_be_freed() {
        for (entries, handed_on) in [(1, false), (20_000, true)] {
            let mut state = state_with_stream(entries);
            let (removed, list) = std::sync::mpsc::sync_channel(1);
            state.removed = Some(removed);
            state.apply(Some(0), Lsn(100_000), &Record::KeyDelete { key: 0 });
            assert_eq!(list.try_recv().is_ok(), handed_on);
            assert_eq!(state.keys.len(), 0);
        }
    }

    #[test]
    fn a_full_list_refuses_no_removal() {
        let mut state = state_with_stream(20_000);
        let (removed, list) = std::sync::mpsc::sync_channel(0);
        state.removed = Some(removed);
        state.apply(None, Lsn(100_000), &Record::Flush { ns: 0 });
        assert!(list.try_recv().is_err());
        assert_eq!(state.keys.len(), 0);
    }
}
