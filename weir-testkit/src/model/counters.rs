//! The counters of a stream, and what follows from them: how much a group has read and how far it is behind.
//!
//! Redis does not count; it infers from five numbers, and says null where they do not suffice.
//! The inference changed between the versions, see [`Flavour`].

use weir_core::EntryId;

use super::Flavour;

/// A copy of a stream's counters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    pub(super) length: u64,
    pub(super) entries_added: u64,
    /// The first entry, `0-0` when there is none.
    pub(super) first_id: EntryId,
    pub(super) last_id: EntryId,
    pub(super) max_deleted: EntryId,
    pub(super) flavour: Flavour,
}

impl Counters {
    /// Entries read by a group that is at `id`, or `None` when nobody can tell.
    pub(super) fn estimate(&self, id: EntryId) -> Option<i64> {
        let added = self.entries_added as i64;
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id {
            return Some(added);
        }
        if self.flavour == Flavour::Latest && id != EntryId::MIN && id < self.max_deleted {
            return None;
        }
        if id == self.last_id {
            return Some(added);
        }
        if id > self.last_id {
            return None;
        }
        let before_first = added.wrapping_sub(self.length as i64);
        let whole = self.max_deleted == EntryId::MIN || self.max_deleted < self.first_id;
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less if whole => Some(before_first),
            std::cmp::Ordering::Equal if whole => Some(before_first + 1),
            _ => None,
        }
    }

    /// Entries read by a group after the entry `delivered` was handed out.
    pub(super) fn read_after(&self, group_at: EntryId, read: Option<i64>, delivered: EntryId) -> Option<i64> {
        let exact = match self.flavour {
            Flavour::Redis70 => !self.tombstone_from(delivered),
            Flavour::Latest => group_at >= self.first_id && !self.tombstone_from(group_at),
        };
        match read {
            Some(read) if exact => Some(read.wrapping_add(1)),
            _ if self.entries_added > 0 => self.estimate(delivered),
            _ => read,
        }
    }

    /// Entries a group has yet to read, or `None` when nobody can tell.
    pub(super) fn lag(&self, group_at: EntryId, read: Option<i64>) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.flavour == Flavour::Latest {
            if self.length == 0 {
                return Some(0);
            }
            if group_at < self.first_id && self.max_deleted < self.first_id {
                return Some(self.length as i64);
            }
        }
        let added = self.entries_added as i64;
        match read {
            Some(read) if !self.tombstone_from(group_at) => Some(added.wrapping_sub(read)),
            _ => self.estimate(group_at).map(|read| added.wrapping_sub(read)),
        }
    }

    /// Whether the latest deletion lies at or after `id`, so that counting from there goes wrong.
    fn tombstone_from(&self, id: EntryId) -> bool {
        let relevant = match self.flavour {
            Flavour::Redis70 => self.max_deleted >= self.first_id,
            Flavour::Latest => true,
        };
        self.length > 0 && self.max_deleted != EntryId::MIN && relevant && id <= self.max_deleted
    }
}
