//! What recovery takes: whether a record can follow the state it meets.
//!
//! Live, a record is right because the command that wrote it decided so. In recovery it comes from outside, and a
//! record that does not fit means that log and snapshot contradict each other: then opening is refused, since going
//! on would spoil what is still whole. Every record that is admitted here can be applied without a panic.
//!
//! Changes nothing and reads no disk, so whether a first entry is the right one is not seen here; see `verify`.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::EntryId;
use weir_log::Lsn;

use crate::block::BLOCK_MAX;
use crate::group::{Group, NO_CONSUMER};
use crate::record::{EntryRecord, GroupRef, KeyedRow, Record, Removal};
use crate::retention::Measure;
use crate::state::{Key, State, Value};
use crate::stream::{Stream, run_mask};

/// Positions, global positions and key numbers at or above this were never given out.
pub(crate) const COUNTED_MAX: u64 = 1 << 62;

impl State {
    /// Whether a record can be applied. `slot` is that of its key, if it has one that exists.
    pub(crate) fn admits(&self, slot: Option<u32>, lsn: Lsn, record: &Record<'_>) -> bool {
        let known = |ns: u32| (ns as usize) < self.namespaces.len();
        let key = slot.and_then(|slot| self.keys.get(slot));
        match record {
            Record::Namespace { ns, .. } => *ns as usize <= self.namespaces.len(),
            Record::SwapNamespaces { a, b } => [a, b].iter().all(|n| (**n as usize) < self.directory.len()),
            Record::Flush { ns } => known(*ns),
            Record::KeyNew { key: no, ns, .. } => key.is_none() && known(*ns) && *no < COUNTED_MAX,
            Record::Text { key: no, ns, .. } => {
                key.is_none_or(|key| key.stream().is_none()) && known(*ns) && *no < COUNTED_MAX
            }
            Record::KeyMove { ns, .. } => key.is_some() && known(*ns),
            Record::KeyDelete { .. } | Record::Expire { .. } => key.is_some(),
            _ => key.and_then(Key::stream).is_some_and(|stream| stream.admits(lsn, record)),
        }
    }

    /// Whether what a snapshot said fits together, as far as no single key shows it.
    pub(crate) fn fits_together(&self) -> bool {
        let mut directory = self.directory.clone();
        directory.sort_unstable();
        let spaces = self.namespaces.len();
        directory.len() == spaces
            && directory.iter().enumerate().all(|(nth, inner)| nth == *inner as usize)
            && self.namespaces.iter().all(|space| space.next_gpos < COUNTED_MAX)
            && self.keys.iter().all(|(_, key)| (key.ns as usize) < spaces && key.no < self.next_key)
    }
}

impl Key {
    /// Whether a key of a snapshot fits together.
    pub(crate) fn is_consistent(&self) -> bool {
        let Value::Stream(stream) = &self.value else { return true };
        stream.is_consistent()
            && stream.next_pos < COUNTED_MAX
            // Owners' lists are made from the rows and fit them anyhow.
            && stream.groups().all(|group| group.pending.has_sound_tables())
            && (stream.tail.live == 0 || stream.tail.block.last_lsn() <= self.stamp)
    }
}

/// Whether each row that waits for its key waits for another one.
fn admits_lanes(group: &Group, rows: &[KeyedRow]) -> bool {
    let mut given = BTreeSet::new();
    rows.iter().all(|row| {
        let fits = !row.waiting || given.contains(&row.key) || group.pending.is_busy(row.key, Some(row.id));
        if !row.waiting {
            given.insert(row.key);
        }
        fits
    })
}

impl Stream {
    fn admits(&self, lsn: Lsn, record: &Record<'_>) -> bool {
        match record {
            Record::Entry(entry) => self.admits_entry(lsn, entry),
            Record::Block { block, .. } => self.tail.live > 0 && **block == self.tail.block,
            Record::Remove(removal) => self.admits_removal(removal),
            Record::SetId { last_id, entries_added, .. } => {
                let tail = &self.tail.block;
                (tail.count() == 0 || *last_id >= tail.last_id())
                    && entries_added.is_none_or(|added| added >= self.len)
            }
            // The node that is carried over is an estimate, which fits every stream.
            Record::Idempotence { .. }
            | Record::IdempotenceRaised { .. }
            | Record::IdempotentId { .. }
            | Record::Carried { .. }
            | Record::Retention { .. } => true,
            Record::Measured { upto, rows, .. } => self.admits_measures(*upto, rows),
            Record::GroupNew { at, name, .. } => {
                at.group < u32::MAX
                    && self
                        .groups
                        .as_ref()
                        .is_none_or(|g| g.by_no(at.group).is_none() && g.get(name).is_none())
            }
            Record::GroupSet { at, .. }
            | Record::GroupDelete { at }
            | Record::Acknowledge { at, .. }
            | Record::Release { at, .. }
            | Record::GroupPolicy { at, .. }
            | Record::GroupPause { at, .. }
            | Record::GroupSeek { at, .. }
            | Record::HandBack { at, .. }
            | Record::Extend { at, .. }
            | Record::Stale { at, .. } => self.group_at(at).is_some(),
            Record::ConsumerNew { at, consumer, name, .. } => {
                *consumer != NO_CONSUMER
                    && self
                        .group_at(at)
                        .is_some_and(|g| g.consumer(*consumer).is_none() && g.consumer_no(name).is_none())
            }
            Record::ConsumerDelete { at, consumer }
            | Record::Deliver { at, consumer, .. }
            | Record::Assign { at, consumer, .. } => {
                self.group_at(at).is_some_and(|group| group.consumer(*consumer).is_some())
            }
            Record::DeliverChosen { at, consumer, rows, .. } => {
                let keyed = |row: &KeyedRow| row.key != 0 || !row.waiting;
                let group = self.group_at(at).filter(|group| group.consumer(*consumer).is_some());
                // Who waits waits for somebody: for a row that is there or comes before it.
                group.is_some_and(|group| rows.iter().all(keyed) && admits_lanes(group, rows))
            }
            Record::Place { at, rows, .. } => self.group_at(at).is_some_and(|group| {
                rows.iter().all(|row| row.consumer == NO_CONSUMER || group.consumer(row.consumer).is_some())
            }),
            _ => false,
        }
    }

    /// Whether measures name positions in order, none of which is to come.
    fn admits_measures(&self, upto: u64, rows: &[Measure]) -> bool {
        let known = self.keeping.as_ref().and_then(|keeping| keeping.measures.as_ref()).map_or(0, |m| m.upto);
        let ascending = rows.windows(2).all(|pair| pair[0].pos < pair[1].pos);
        let inside =
            rows.first().is_none_or(|row| row.pos >= known) && rows.last().is_none_or(|row| row.pos < upto);
        ascending && inside && upto <= self.next_pos
    }

    fn group_at(&self, at: &GroupRef) -> Option<&crate::group::Group> {
        self.groups.as_ref()?.by_no(at.group)
    }

    fn admits_entry(&self, lsn: Lsn, entry: &EntryRecord<'_>) -> bool {
        let tail = &self.tail.block;
        let behind_tail =
            tail.count() == 0 || (entry.id > tail.last_id() && lsn > tail.last_lsn() && !entry.node_start);
        tail.count() < BLOCK_MAX
            && behind_tail
            && entry.id > self.last_id
            && entry.pos == self.next_pos
            && entry.pos < COUNTED_MAX
            && entry.gpos < COUNTED_MAX
    }

    /// Whether the removal names entries that are there, each once, and counts them right.
    fn admits_removal(&self, removal: &Removal) -> bool {
        let below = removal.blocks_below;
        let heads = self.sealed.iter().flat_map(|sealed| sealed.heads.iter());
        let whole: u64 =
            heads.take_while(|head| head.first_pos < below).map(|head| u64::from(head.live)).sum();
        let tail =
            (self.tail.live > 0).then(|| (self.tail.block.first_pos(), self.tail.block.count() as u64));
        let tail_goes = tail.is_some_and(|(first, _)| first < below);
        let mut removed = whole + if tail_goes { u64::from(self.tail.live) } else { 0 };
        let mut marks: BTreeMap<u64, u128> = BTreeMap::new();
        for (first, count) in &removal.runs {
            let Some((block, size)) = self.block_at(*first, tail).filter(|(block, _)| *block >= below) else {
                return false;
            };
            let offset = first - block;
            if *count == 0 || *count > size || offset > size - count {
                return false;
            }
            let mask = run_mask(offset, *count);
            let marked = marks.entry(block).or_insert_with(|| self.deleted_mask(block));
            if *marked & mask != 0 {
                return false;
            }
            *marked |= mask;
            removed += count;
        }
        removed == removal.removed && (removed == self.len) == (removal.first_id == EntryId::MIN)
    }

    /// First position and size of the block that holds a position.
    fn block_at(&self, pos: u64, tail: Option<(u64, u64)>) -> Option<(u64, u64)> {
        if let Some(tail) = tail.filter(|(first, _)| *first <= pos) {
            return Some(tail);
        }
        let heads = &self.sealed.as_ref()?.heads;
        let head = heads.iter_back_from(|head| head.first_pos > pos).next()?;
        Some((head.first_pos, u64::from(head.count)))
    }
}
