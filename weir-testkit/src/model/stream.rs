//! A stream: entries in macro nodes, counters, groups, idempotent producers; and what may happen to its entries.

use std::collections::BTreeMap;

use weir_core::EntryId;

use super::counters::Counters;
use super::group::Group;
use super::node::{self, Entry, Fields, Node};
use super::producers::Producers;
use super::{Flavour, Value};

#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) nodes: Vec<Node>,
    pub(super) last_id: EntryId,
    pub(super) entries_added: u64,
    pub(super) max_deleted: EntryId,
    pub(super) groups: BTreeMap<Vec<u8>, Group>,
    pub(super) producers: Producers,
    pub(super) flavour: Flavour,
}

/// What to do about groups that still refer to an entry about to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// The entry goes, pending rows stay behind.
    KeepRef,
    /// The entry goes, and every pending row of it.
    DelRef,
    /// The entry goes only when every group has read and acknowledged it.
    Acked,
}

/// How far a stream is cut from its oldest end.
#[derive(Debug, Clone)]
pub(super) struct Trim {
    pub(super) threshold: Threshold,
    /// With `~`: whole nodes only.
    pub(super) approximate: bool,
    /// Entries removed at most; 0 is without limit.
    pub(super) limit: u64,
    pub(super) policy: Policy,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Threshold {
    MaxLen(u64),
    MinId(EntryId),
}

impl Stream {
    pub(super) fn new(flavour: Flavour) -> Self {
        Self {
            nodes: Vec::new(),
            last_id: EntryId::MIN,
            entries_added: 0,
            max_deleted: EntryId::MIN,
            groups: BTreeMap::new(),
            producers: Producers::new(),
            flavour,
        }
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            length: self.len() as u64,
            entries_added: self.entries_added,
            first_id: self.first_id(),
            last_id: self.last_id,
            max_deleted: self.max_deleted,
            flavour: self.flavour,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.iter().map(Node::live).sum()
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.nodes.iter().flat_map(|node| &node.entries).filter(|entry| !entry.deleted)
    }

    pub(super) fn between(&self, start: EntryId, end: EntryId) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries().filter(move |entry| (start..=end).contains(&entry.id))
    }

    /// Entries above `id`, oldest first.
    pub(super) fn after(&self, id: EntryId) -> impl Iterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.id > id)
    }

    pub(super) fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries().find(|entry| entry.id == id)
    }

    /// The oldest entry's ID, `0-0` when there is none.
    pub(super) fn first_id(&self) -> EntryId {
        self.entries().next().map_or(EntryId::MIN, |entry| entry.id)
    }

    /// The newest existing entry's ID; deleted ones do not count.
    pub(super) fn top_id(&self) -> Option<EntryId> {
        self.entries().next_back().map(|entry| entry.id)
    }

    pub(super) fn radix_nodes(&self) -> usize {
        node::radix_nodes(&self.nodes.iter().map(|node| node.master).collect::<Vec<_>>())
    }

    /// Appends under an ID that the caller has found to be greater than the last one.
    pub(super) fn append(&mut self, id: EntryId, fields: Fields) {
        let entry = Entry { id, fields, deleted: false };
        match self.nodes.last_mut() {
            Some(node) if !node.is_full_for(&entry.fields) => node.push(entry),
            _ => self.nodes.push(Node::new(entry)),
        }
        self.last_id = id;
        self.entries_added = self.entries_added.wrapping_add(1);
    }

    /// Deletes one entry by name; false when there is none.
    pub(super) fn delete(&mut self, id: EntryId) -> bool {
        let entry =
            self.nodes.iter_mut().flat_map(|node| &mut node.entries).find(|e| e.id == id && !e.deleted);
        let Some(entry) = entry else { return false };
        entry.deleted = true;
        self.nodes.retain(|node| node.live() > 0 || node.last_id() < id || node.master > id);
        self.max_deleted = self.max_deleted.max(id);
        true
    }

    /// Whether some group has yet to read `id`, or to acknowledge it.
    pub(super) fn is_referenced(&self, id: EntryId) -> bool {
        self.groups.values().any(|group| group.last_id < id || group.pending.contains_key(&id))
    }

    /// Takes `id` out of every pending list.
    pub(super) fn forget(&mut self, id: EntryId) {
        for group in self.groups.values_mut() {
            group.pending.remove(&id);
        }
    }

    /// Cuts the oldest entries away; answers how many.
    pub(super) fn trim(&mut self, trim: &Trim) -> u64 {
        let mut removed = 0;
        let mut at = 0;
        while at < self.nodes.len() {
            let length = self.len() as u64;
            let live = self.nodes[at].live() as u64;
            if matches!(trim.threshold, Threshold::MaxLen(max) if length <= max) {
                break;
            }
            if trim.limit > 0 && removed + live > trim.limit {
                break;
            }
            let eligible = match trim.threshold {
                Threshold::MaxLen(max) => length - live >= max,
                Threshold::MinId(min) => self.nodes[at].last_id() < min,
            };
            if eligible && trim.policy == Policy::KeepRef {
                self.nodes.remove(at);
                removed += live;
                continue;
            }
            if !eligible && trim.policy == Policy::KeepRef && trim.approximate {
                break;
            }
            removed += self.trim_inside(at, trim, length);
            let emptied = self.flavour == Flavour::Latest && self.nodes[at].live() == 0;
            if emptied {
                self.nodes.remove(at);
            }
            if !eligible {
                break;
            }
            at += usize::from(!emptied);
        }
        removed
    }

    /// Deletes entry by entry inside one node, up to the threshold.
    fn trim_inside(&mut self, node: usize, trim: &Trim, mut length: u64) -> u64 {
        let mut removed = 0;
        for at in 0..self.nodes[node].entries.len() {
            let entry = &self.nodes[node].entries[at];
            let id = entry.id;
            let reached = match trim.threshold {
                Threshold::MaxLen(max) => length <= max,
                Threshold::MinId(min) => id >= min,
            };
            if reached {
                break;
            }
            if entry.deleted || (trim.policy == Policy::Acked && self.is_referenced(id)) {
                continue;
            }
            if trim.policy == Policy::DelRef {
                self.forget(id);
            }
            self.nodes[node].entries[at].deleted = true;
            removed += 1;
            length -= 1;
        }
        removed
    }
}

/// An entry as every reading command shows it: its ID and a flat list of names and values.
pub(super) fn entry_reply(entry: &Entry) -> Value {
    Value::Array(vec![id_reply(entry.id), fields_reply(entry)])
}

pub(super) fn fields_reply(entry: &Entry) -> Value {
    Value::Array(entry.fields.iter().flat_map(|(name, value)| [name, value]).map(Value::bulk).collect())
}

pub(super) fn id_reply(id: EntryId) -> Value {
    Value::bulk(id.to_string())
}
