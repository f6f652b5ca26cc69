//! What must always hold in memory, checked without looking at the log: counts against lists, lists against tables.
//!
//! Used where memory comes from outside (a snapshot) and where somebody asks whether all is well
//! ([`crate::Engine::verify`]). Changes nothing; what it finds it says in words.

use weir_core::EntryId;

use crate::block::BLOCK_MAX;
use crate::group::{Group, NO_CONSUMER};
use crate::node::NODE_BYTES_MAX;
use crate::stream::{CLOSED_NODES_MAX, Stream};

/// Takes what was found, one finding at a time.
pub(crate) type Say<'a> = dyn FnMut(String) + 'a;

/// Says `what` when `holds` does not.
fn check(holds: bool, say: &mut Say<'_>, what: impl FnOnce() -> String) {
    if !holds {
        say(what());
    }
}

impl Stream {
    /// Whether the index and the counters agree. Groups have their own check.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut sound = true;
        self.check(&mut |_| sound = false);
        sound
    }

    /// Checks the index and the counters against each other.
    pub(crate) fn check(&self, say: &mut Say<'_>) {
        self.check_counts(say);
        let first_block = self.blocks_from(EntryId::MIN).next();
        check(first_block.is_none_or(|block| block.first <= self.first_id), say, || {
            format!("its first entry {} lies before its first block", self.first_id)
        });
        check(self.first_id <= self.last_id, say, || {
            format!("its first entry {} lies behind its last ID {}", self.first_id, self.last_id)
        });
    }

    /// As [`Stream::check`], but for which entry is the first: that needs blocks that may be on disk.
    pub(crate) fn check_counts(&self, say: &mut Say<'_>) {
        let (sealed_live, sealed_end, masks) = self.check_heads(say);
        self.check_tail(sealed_end, say);
        let tail_mask = self.tail.live > 0 && self.mask_at(self.tail.block.first_pos()).is_some();
        let known = self.sealed.as_ref().map_or(0, |sealed| sealed.deleted.len());
        check(known == masks + usize::from(tail_mask), say, || {
            format!("{known} blocks have deleted entries, {masks} of them are known")
        });
        let live = sealed_live + u64::from(self.tail.live);
        check(self.len == live, say, || format!("its length is {}, its blocks hold {live}", self.len));
        check((self.len == 0) == (self.first_id == EntryId::MIN), say, || {
            format!("its first entry is {} of {}", self.first_id, self.len)
        });
        check(self.entries_added >= self.len, say, || {
            format!("{} entries were ever added, {} are there", self.entries_added, self.len)
        });
        self.check_keeping(say);
        let closed = self.sealed.as_ref().map_or(&[][..], |sealed| &sealed.closed);
        check(closed.len() <= CLOSED_NODES_MAX, say, || format!("{} closed nodes", closed.len()));
        for node in closed.iter().chain([&self.node]) {
            check(node.deleted <= node.count && node.bytes <= NODE_BYTES_MAX, say, || {
                format!("a node has lost {} of {} entries", node.deleted, node.count)
            });
        }
    }

    /// Checks that every live entry is measured, where limits need that.
    fn check_keeping(&self, say: &mut Say<'_>) {
        let Some(keeping) = &self.keeping else { return };
        let measured = keeping.measures.as_ref().map(|measures| (measures.upto, measures.totals().0));
        let needs = keeping.retention.as_ref().is_some_and(crate::retention::Keeping::needs_measures);
        check(measured.is_none_or(|(upto, _)| upto <= self.next_pos), say, || {
            "entries are measured that are to come".into()
        });
        check(!needs || measured.is_some_and(|(upto, _)| upto == self.next_pos), say, || {
            format!("limits on bytes or age hold, entries are measured up to {measured:?}")
        });
        check(measured.is_none_or(|(upto, live)| upto < self.next_pos || live == self.len), say, || {
            format!("{measured:?} entries are measured, {} are there", self.len)
        });
    }

    fn mask_at(&self, first_pos: u64) -> Option<u128> {
        self.sealed.as_ref()?.deleted.get(&first_pos).copied()
    }

    /// Checks the sealed blocks; returns their live entries, the position behind them, and how many have masks.
    fn check_heads(&self, say: &mut Say<'_>) -> (u64, u64, usize) {
        let (mut live, mut end, mut masks, mut lsn) = (0_u64, 0_u64, 0, 0);
        let heads = self.sealed.iter().flat_map(|sealed| sealed.heads.iter());
        for head in heads {
            let at = head.first_pos;
            check(at >= end, say, || format!("the block at position {at} begins before {end}"));
            check(head.lsn.0 > lsn, say, || {
                format!("the block at position {at} has its home at {lsn} or below")
            });
            let counted = head.live > 0 && head.live <= head.count && usize::from(head.count) <= BLOCK_MAX;
            check(counted, say, || format!("the block at position {at} counts {}/{}", head.live, head.count));
            let mask = self.mask_at(at);
            let deleted = u32::from(head.count.saturating_sub(head.live));
            check(fits(mask.unwrap_or(0), usize::from(head.count), deleted), say, || {
                format!("the block at position {at} counts {}/{}, deleted otherwise", head.live, head.count)
            });
            masks += usize::from(mask.is_some());
            live = live.saturating_add(u64::from(head.live));
            end = at.saturating_add(u64::from(head.count));
            lsn = head.lsn.0;
        }
        (live, end, masks)
    }

    fn check_tail(&self, sealed_end: u64, say: &mut Say<'_>) {
        let (block, live) = (&self.tail.block, usize::from(self.tail.live));
        check(self.next_pos >= sealed_end, say, || {
            format!("its next position is {}, its blocks reach {sealed_end}", self.next_pos)
        });
        if live == 0 {
            return check(block.count() == 0, say, || "its tail is not empty and has no live entry".into());
        }
        let (at, end) = (block.first_pos(), block.first_pos().saturating_add(block.count() as u64));
        check(at >= sealed_end && end <= self.next_pos, say, || {
            format!("its tail takes positions {at}..{end}, between {sealed_end} and {}", self.next_pos)
        });
        check(block.last_id() <= self.last_id, say, || {
            format!("its tail ends with {}, behind its last ID {}", block.last_id(), self.last_id)
        });
        let deleted = block.count().saturating_sub(live) as u32;
        let mask = self.mask_at(at).unwrap_or(0);
        check(live <= block.count() && fits(mask, block.count(), deleted), say, || {
            format!("its tail counts {live}/{}, deleted otherwise", block.count())
        });
    }
}

/// Whether a mask marks so many entries of a block with `count` entries.
fn fits(mask: u128, count: usize, deleted: u32) -> bool {
    let beyond = if count >= BLOCK_MAX { 0 } else { mask >> count };
    mask.count_ones() == deleted && beyond == 0
}

impl Group {
    /// Checks rows, owners' lists and side tables against each other.
    pub(crate) fn check(&self, say: &mut Say<'_>) {
        let mut owned = 0;
        for row in self.pending.from(EntryId::MIN) {
            if let Some(owner) = self.consumer(row.consumer) {
                owned += 1;
                let known = owner.pending.get(row.id).is_some();
                check(known, say, || format!("the owner of {} does not know of it", row.id));
            } else {
                let handed_back = row.consumer == NO_CONSUMER;
                check(handed_back, say, || format!("the owner of {} does not exist", row.id));
            }
        }
        let lists: usize = self.consumers().map(|(_, consumer)| consumer.pending.len()).sum();
        check(lists == owned, say, || format!("{owned} rows have owners, who list {lists}"));
        check(self.has_sound_tables(), say, || "its numbers and names do not fit together".into());
        check(self.pending.has_sound_tables(), say, || "its rows and their side tables do not fit".into());
    }
}
