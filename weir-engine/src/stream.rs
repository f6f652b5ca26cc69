//! One stream: its counters, the index of its entries, its groups and its producers.
//!
//! Invariants:
//! * Positions count the entries ever added in this incarnation, without a gap; an entry keeps its position.
//! * The index covers every live entry: sealed blocks first, then the tail. A block without a live entry is dropped.
//! * `first_id` is the first live entry's ID, 0-0 when there is none; `len` is the number of live entries.
//!
//! Changes come through the `apply_*` methods only. Sealed blocks live in the log; whoever needs one passes a
//! [`BlockSource`], which may answer that it is not in memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::EntryId;
use weir_log::Lsn;

use crate::ahead::{Missing, WIDE_BLOCKS};
use crate::api::Cold;
use crate::block::{BLOCK_MAX, Block, BlockHead, Located};
use crate::chunked::Chunked;
use crate::group::Groups;
use crate::idempotence::{Idempotence, Known};
use crate::node::{Node, NodeLimits};
use crate::record::{EntryRecord, Fields, IdempotenceLimits, Removal};
use crate::retention::Keeping;

/// Where sealed blocks come from; [`Cold::Index`] when one has to be read from the log first.
pub(crate) trait BlockSource {
    fn block(&self, lsn: Lsn) -> Result<Arc<Block>, Cold>;
    /// Whether a block can be had at once.
    fn holds(&self, lsn: Lsn) -> bool;
}

/// What a walk over entries is to visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The lowest ID.
    pub(crate) from: EntryId,
    /// The highest ID.
    pub(crate) to: EntryId,
    /// At most so many live entries.
    pub(crate) most: u64,
}

impl Span {
    /// Every entry.
    pub(crate) const ALL: Self = Self { from: EntryId::MIN, to: EntryId::MAX, most: u64::MAX };

    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.from <= id && id <= self.to
    }

    fn is_empty(&self) -> bool {
        self.most == 0 || self.from > self.to
    }
}

/// The sealed part of a stream's index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sealed {
    pub(crate) heads: Chunked<BlockHead>,
    /// Deleted entries of a block (the tail too), by the block's first position: bit n = n-th entry.
    pub(crate) deleted: BTreeMap<u64, u128>,
    /// The nodes before the last one, at most [`CLOSED_NODES_MAX`] of them, latest last.
    pub(crate) closed: Vec<Node>,
}

/// How many closed nodes are remembered. When the last node loses its last entry, Redis fills up the one before, so
/// its size has to be known. Without it the next entry begins a node.
pub(crate) const CLOSED_NODES_MAX: usize = 4;

impl Sealed {
    /// Whether a sealed block begins at `from` or later, and before `to`.
    fn has_block(&self, from: EntryId, to: Option<EntryId>) -> bool {
        let first = self.heads.iter_from(|head| head.first >= from).next();
        first.is_some_and(|head| to.is_none_or(|to| head.first < to))
    }

    /// Forgets closed nodes that have lost their last block. A node's blocks lie between its master and the next one's.
    fn forget_nodes(&mut self, last: Node) {
        let mut next = (last.count > 0).then_some(last.master);
        for nth in (0..self.closed.len()).rev() {
            let master = self.closed[nth].master;
            if !self.has_block(master, next) {
                self.closed.remove(nth);
            }
            next = Some(master);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    pub(crate) block: Block,
    pub(crate) live: u16,
    pub(crate) node_start: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) last_id: EntryId,
    pub(crate) first_id: EntryId,
    pub(crate) max_deleted: EntryId,
    pub(crate) entries_added: u64,
    pub(crate) next_pos: u64,
    pub(crate) len: u64,
    pub(crate) tail: Tail,
    pub(crate) node: Node,
    pub(crate) sealed: Option<Box<Sealed>>,
    pub(crate) groups: Option<Box<Groups>>,
    pub(crate) idempotence_limits: IdempotenceLimits,
    pub(crate) idempotence: Option<Box<Idempotence>>,
    /// Only where not everything is kept.
    pub(crate) keeping: Option<Box<Keeping>>,
}

/// A block in the walk over a stream: what the walker needs to know of sealed ones and the tail alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockInfo {
    pub(crate) first: EntryId,
    pub(crate) first_pos: u64,
    pub(crate) live: u64,
    pub(crate) count: u64,
    pub(crate) node_start: bool,
    /// `None` = the tail.
    pub(crate) lsn: Option<Lsn>,
}

/// A block's entries, wherever they are.
enum Loaded<'a> {
    Sealed(Arc<Block>),
    Tail(&'a Block),
}

impl std::ops::Deref for Loaded<'_> {
    type Target = Block;
    fn deref(&self) -> &Block {
        match self {
            Self::Sealed(block) => block,
            Self::Tail(block) => block,
        }
    }
}

impl Stream {
    pub(crate) fn new(limits: IdempotenceLimits) -> Self {
        Self { idempotence_limits: limits, ..Self::default() }
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &crate::group::Group> {
        self.groups.iter().flat_map(|groups| groups.iter())
    }

    pub(crate) fn group(&self, name: &[u8]) -> Option<&crate::group::Group> {
        self.groups.as_ref()?.get(name)
    }

    /// Whether the next entry has to begin a new node, and whether the tail must be sealed before it.
    pub(crate) fn next_block(&self, plain: u64, limits: NodeLimits) -> (bool, bool) {
        let node_start = self.node.is_full(plain, limits);
        (node_start, self.seals_before(node_start))
    }

    /// Whether the tail must be sealed before the next entry, which begins a new node or not.
    pub(crate) fn seals_before(&self, node_start: bool) -> bool {
        let full = self.tail.block.count() == BLOCK_MAX;
        self.tail.block.count() > 0 && (node_start || full)
    }

    // ---- reading the index -------------------------------------------------------------------------------------

    fn tail_info(&self) -> Option<BlockInfo> {
        (self.tail.live > 0).then(|| BlockInfo {
            first: self.tail.block.first_id(),
            first_pos: self.tail.block.first_pos(),
            live: u64::from(self.tail.live),
            count: self.tail.block.count() as u64,
            node_start: self.tail.node_start,
            lsn: None,
        })
    }

    /// Blocks from the one that may hold `from` on, oldest first.
    pub(crate) fn blocks_from(&self, from: EntryId) -> impl Iterator<Item = BlockInfo> + '_ {
        let heads = self.sealed.as_ref().map(|sealed| &sealed.heads);
        let holding = heads.and_then(|heads| heads.iter_back_from(move |head| head.first > from).next());
        let later = heads.into_iter().flat_map(move |heads| heads.iter_from(move |head| head.first > from));
        holding.into_iter().chain(later).map(BlockInfo::from_head).chain(self.tail_info())
    }

    /// Blocks down from the one that may hold `from`, newest first.
    pub(crate) fn blocks_down(&self, from: EntryId) -> impl Iterator<Item = BlockInfo> + '_ {
        let heads = self.sealed.as_ref().map(|sealed| &sealed.heads);
        let tail = self.tail_info().filter(|tail| tail.first <= from);
        let earlier =
            heads.into_iter().flat_map(move |heads| heads.iter_back_from(move |head| head.first > from));
        tail.into_iter().chain(earlier.map(BlockInfo::from_head))
    }

    fn load(&self, info: &BlockInfo, source: &impl BlockSource) -> Result<Loaded<'_>, Cold> {
        match info.lsn {
            Some(lsn) => Ok(Loaded::Sealed(source.block(lsn)?)),
            None => Ok(Loaded::Tail(&self.tail.block)),
        }
    }

    pub(crate) fn deleted_mask(&self, first_pos: u64) -> u128 {
        self.sealed.as_ref().and_then(|sealed| sealed.deleted.get(&first_pos)).copied().unwrap_or(0)
    }

    /// Whether a block's first entry is there. Answered from memory.
    pub(crate) fn begins_alive(&self, block: &BlockInfo) -> bool {
        self.deleted_mask(block.first_pos) & 1 == 0
    }

    /// Visits the live entries of one block, oldest first; also says which is the block's very last ID.
    pub(crate) fn visit_block(
        &self,
        info: &BlockInfo,
        source: &impl BlockSource,
        mut visit: impl FnMut(Located) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Cold> {
        let mask = self.deleted_mask(info.first_pos);
        for (nth, entry) in self.load(info, source)?.iter().enumerate() {
            if mask & (1 << nth) == 0 && visit(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The ID of a block's last entry, deleted or not.
    pub(crate) fn block_last(&self, info: &BlockInfo, source: &impl BlockSource) -> Result<EntryId, Cold> {
        Ok(self.load(info, source)?.last_id())
    }

    /// Blocks that a walk over a span may visit, in its order.
    pub(crate) fn blocks_of(
        &self,
        span: &Span,
        reverse: bool,
        mut visit: impl FnMut(BlockInfo) -> ControlFlow<()>,
    ) {
        let mut left = span.most;
        // True while more is wanted. Of a block that may reach out of the span nothing is counted.
        let mut each = |info: BlockInfo, is_inside: bool| {
            if is_inside {
                left = left.saturating_sub(info.live);
            }
            visit(info).is_continue() && left > 0
        };
        if span.is_empty() {
            return;
        }
        if reverse {
            let mut is_inside = span.to >= self.last_id;
            for info in self.blocks_down(span.to) {
                if !each(info, is_inside && info.first >= span.from) || info.first <= span.from {
                    break;
                }
                is_inside = true;
            }
        } else {
            for info in self.blocks_from(span.from.max(self.first_id)) {
                if info.first > span.to || !each(info, info.first >= span.from) {
                    break;
                }
            }
        }
    }

    /// Whether a span lies in more than [`WIDE_BLOCKS`] blocks.
    pub(crate) fn is_wide(&self, span: &Span, reverse: bool) -> bool {
        if span.most <= WIDE_BLOCKS as u64 {
            return false;
        }
        let mut blocks = 0;
        self.blocks_of(span, reverse, |_| {
            blocks += 1;
            if blocks > WIDE_BLOCKS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        blocks > WIDE_BLOCKS
    }

    /// What a walk over a span has found missing, and all else that it will.
    pub(crate) fn missing(
        &self,
        mut cold: Cold,
        source: &impl BlockSource,
        span: &Span,
        reverse: bool,
    ) -> Cold {
        let mut missing = Missing::default();
        self.blocks_of(span, reverse, |info| {
            missing.blocks.extend(info.lsn.filter(|lsn| !source.holds(*lsn)));
            if missing.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        cold.join(missing.into());
        cold
    }

    /// Visits live entries of a span, oldest first.
    pub(crate) fn scan(
        &self,
        source: &impl BlockSource,
        span: Span,
        mut visit: impl FnMut(Located) -> ControlFlow<()>,
    ) -> Result<(), Cold> {
        let mut left = span.most;
        if span.is_empty() {
            return Ok(());
        }
        for info in self.blocks_from(span.from.max(self.first_id)) {
            if info.first > span.to {
                break;
            }
            let flow = self.visit_block(&info, source, |entry| {
                if entry.id > span.to {
                    return ControlFlow::Break(());
                }
                if entry.id < span.from {
                    return ControlFlow::Continue(());
                }
                left -= 1;
                if visit(entry).is_break() || left == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            let rest = Span { from: span.from.max(info.first), most: left, ..span };
            if flow.map_err(|cold| self.missing(cold, source, &rest, false))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits live entries of a span, newest first.
    pub(crate) fn scan_back(
        &self,
        source: &impl BlockSource,
        span: Span,
        mut visit: impl FnMut(Located) -> ControlFlow<()>,
    ) -> Result<(), Cold> {
        let (mut left, mut to) = (span.most, span.to);
        if span.is_empty() {
            return Ok(());
        }
        for info in self.blocks_down(span.to) {
            let mut entries = Vec::with_capacity(BLOCK_MAX);
            let flow = self.visit_block(&info, source, |entry| {
                if entry.id >= span.from && entry.id <= span.to {
                    entries.push(entry);
                }
                ControlFlow::Continue(())
            });
            let rest = Span { to, most: left, ..span };
            let flow = flow.map_err(|cold| self.missing(cold, source, &rest, true))?;
            debug_assert!(flow.is_continue(), "the visitor never breaks off");
            for entry in entries.into_iter().rev() {
                left -= 1;
                if visit(entry).is_break() || left == 0 {
                    return Ok(());
                }
            }
            if info.first < span.from {
                break;
            }
            to = info.first.previous().unwrap_or(EntryId::MIN);
        }
        Ok(())
    }

    /// A live entry by its ID.
    pub(crate) fn find(&self, source: &impl BlockSource, id: EntryId) -> Result<Option<Located>, Cold> {
        let mut found = None;
        if id >= self.first_id && id <= self.last_id && self.len > 0 {
            self.scan(source, Span { from: id, to: id, most: 1 }, |entry| {
                found = Some(entry);
                ControlFlow::Break(())
            })?;
        }
        Ok(found)
    }

    /// The newest live entry.
    pub(crate) fn newest(&self, source: &impl BlockSource) -> Result<Option<Located>, Cold> {
        let mut found = None;
        self.scan_back(source, Span { most: 1, ..Span::ALL }, |entry| {
            found = Some(entry);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The oldest live entry.
    pub(crate) fn oldest(&self, source: &impl BlockSource) -> Result<Option<Located>, Cold> {
        self.find(source, self.first_id)
    }

    /// How many live entries have an ID above `id`: whole blocks from the newest on are counted, one is looked into.
    pub(crate) fn count_above_down(&self, source: &impl BlockSource, id: EntryId) -> Result<u64, Cold> {
        let mut count = 0;
        for info in self.blocks_down(EntryId::MAX) {
            if info.first > id {
                count += info.live;
                continue;
            }
            let flow = self.visit_block(&info, source, |entry| {
                count += u64::from(entry.id > id);
                ControlFlow::Continue(())
            })?;
            debug_assert!(flow.is_continue(), "the visitor never breaks off");
            break;
        }
        Ok(count)
    }

    /// The first entry of each macro node, deleted or not.
    pub(crate) fn node_masters(&self) -> impl Iterator<Item = EntryId> + '_ {
        let blocks = self.blocks_from(EntryId::MIN).enumerate();
        blocks.filter(|(nth, info)| *nth == 0 || info.node_start).map(|(_, info)| info.first)
    }

    // ---- changes -----------------------------------------------------------------------------------------------

    #[inline]
    pub(crate) fn apply_entry(&mut self, lsn: Lsn, entry: &EntryRecord<'_>) {
        if self.tail.block.count() == 0 {
            self.tail.node_start = entry.node_start;
        }
        self.tail.block.push(Located { id: entry.id, pos: entry.pos, lsn });
        self.tail.live += 1;
        if entry.node_start {
            self.close_node();
        }
        self.node.add(entry.id, &entry.fields, entry.node_start);
        if self.len == 0 {
            self.first_id = entry.id;
        }
        self.len += 1;
        self.last_id = entry.id;
        self.entries_added = self.entries_added.saturating_add(1);
        self.next_pos = entry.pos + 1;
        let limits = self.idempotence_limits;
        if let Some(idempotence) = &mut self.idempotence {
            idempotence.forget_silent(limits, entry.at);
        }
        if let Some((producer, iid)) = entry.idempotent {
            let since = if entry.by_time { entry.at } else { entry.id.ms };
            let known = Known { id: entry.id, since };
            self.idempotence.get_or_insert_default().add(producer, iid, known, limits, entry.at);
        }
        if let Some(keeping) = &mut self.keeping {
            keeping.appended(entry);
        }
        if let Some(groups) = &mut self.groups {
            groups.arrivals.add(entry.at, 1);
        }
    }

    /// Remembers the last node, since another one begins.
    fn close_node(&mut self) {
        let Some(sealed) = self.sealed.as_mut().filter(|_| self.node.count > 0) else { return };
        if sealed.closed.len() == CLOSED_NODES_MAX {
            sealed.closed.remove(0);
        }
        sealed.closed.push(self.node);
    }

    /// The last node after the tail has lost its last entry: it goes on in earlier blocks, or the one before is last.
    fn reopen_node(&mut self) {
        let Some(sealed) = &mut self.sealed else {
            self.node = Node::default();
            return;
        };
        if self.node.count == 0 || !sealed.has_block(self.node.master, None) {
            self.node = sealed.closed.pop().unwrap_or_default();
        }
    }

    /// The tail becomes a sealed block whose home is the record at `lsn`.
    pub(crate) fn apply_block(&mut self, lsn: Lsn) {
        let tail = &mut self.tail;
        if tail.live > 0 {
            self.sealed.get_or_insert_default().heads.push(BlockHead {
                first: tail.block.first_id(),
                first_pos: tail.block.first_pos(),
                lsn,
                count: tail.block.count() as u16,
                live: tail.live,
                node_start: tail.node_start,
            });
        }
        self.clear_tail();
    }

    fn clear_tail(&mut self) {
        self.tail.block.clear();
        self.tail.live = 0;
    }

    pub(crate) fn apply_removal(&mut self, removal: &Removal) {
        if let Some(sealed) = &mut self.sealed {
            sealed.heads.drop_front(|head| head.first_pos < removal.blocks_below, |_| ());
            sealed.deleted = sealed.deleted.split_off(&removal.blocks_below);
        }
        if self.tail.live > 0 && self.tail.block.first_pos() < removal.blocks_below {
            self.clear_tail();
            self.node = Node::default();
        }
        if let Some(sealed) = &mut self.sealed {
            sealed.forget_nodes(self.node);
        }
        if self.tail.live == 0 {
            self.reopen_node();
        }
        for (first, count) in &removal.runs {
            self.remove_run(*first, *count);
        }
        if self.sealed.as_ref().is_some_and(|s| s.heads.is_empty() && s.deleted.is_empty()) {
            self.sealed = None;
        }
        self.len -= removal.removed;
        self.first_id = removal.first_id;
        if let Some(id) = removal.max_deleted {
            self.max_deleted = self.max_deleted.max(id);
        }
        self.forget_removed(removal);
    }

    /// Takes removed entries out of what is known beside the index.
    fn forget_removed(&mut self, removal: &Removal) {
        let filters = self.groups.as_ref().is_some_and(|groups| groups.has_filters());
        if self.keeping.is_none() && !filters {
            return;
        }
        let first = self.blocks_from(EntryId::MIN).next().map_or(self.next_pos, |block| block.first_pos);
        if let Some(measures) = self.keeping.as_mut().and_then(|keeping| keeping.measures.as_mut()) {
            removal.runs.iter().for_each(|(first, count)| measures.remove_run(*first, *count));
            measures.drop_below(first);
        }
        if let Some(groups) = self.groups.as_mut().filter(|_| filters) {
            groups.each_filtering(|group| {
                let Some(matching) = group.matching.as_mut() else { return };
                removal.runs.iter().for_each(|(first, count)| matching.remove_run(*first, *count));
                matching.drop_below(first);
            });
        }
    }

    /// Marks `count` live entries from position `first` on as deleted; they lie in one block.
    fn remove_run(&mut self, first: u64, count: u64) {
        let in_tail = self.tail.live > 0 && first >= self.tail.block.first_pos();
        let sealed = self.sealed.get_or_insert_default();
        let head = if in_tail {
            None
        } else {
            sealed.heads.iter_back_from(|head| head.first_pos > first).next().map(|head| head.first)
        };
        let block_pos = match head {
            None => self.tail.block.first_pos(),
            Some(key) => sealed.heads.get(key).map_or(first, |head| head.first_pos),
        };
        let mask = run_mask(first - block_pos, count);
        *sealed.deleted.entry(block_pos).or_insert(0) |= mask;
        let live = match head {
            None => {
                self.node.lose(count);
                self.tail.live -= count as u16;
                u64::from(self.tail.live)
            }
            Some(key) => {
                // A node may have several blocks: it is the last one whose master is not behind the block.
                let mut nodes = sealed.closed.iter_mut().chain([&mut self.node]);
                if let Some(node) = nodes.rfind(|node| node.count > 0 && node.master <= key) {
                    node.lose(count);
                }
                let head = sealed.heads.get_mut(key).expect("found by the same key above");
                head.live -= count as u16;
                u64::from(head.live)
            }
        };
        if live == 0 {
            sealed.deleted.remove(&block_pos);
            match head {
                None => {
                    self.clear_tail();
                    self.reopen_node();
                }
                Some(key) => self.drop_block(key),
            }
        }
    }

    /// Drops a sealed block without live entries. What is left of its node begins with the next block.
    fn drop_block(&mut self, key: EntryId) {
        let Some(sealed) = &mut self.sealed else { return };
        let dropped = sealed.heads.remove(key);
        sealed.forget_nodes(self.node);
        if !dropped.is_some_and(|head| head.node_start) {
            return;
        }
        let next = sealed.heads.iter_from(move |head| head.first > key).next().map(|head| head.first);
        match next.and_then(|next| sealed.heads.get_mut(next)) {
            Some(next) => next.node_start = true,
            None if self.tail.live > 0 => self.tail.node_start = true,
            // Nothing of it is left, and the tail is empty: the node before is the last one again.
            None => self.reopen_node(),
        }
    }

    /// The bytes this stream's own structures occupy beyond its slot.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let heads = self.sealed.as_ref().map_or(0, |s| {
            s.heads.len() * size_of::<BlockHead>() + s.deleted.len() * 48 + s.closed.len() * size_of::<Node>()
        });
        let groups: usize =
            self.groups().map(|g| 400 + g.name.len() + g.pending.len() * 48 + g.consumer_count() * 150).sum();
        let keeping = self.keeping.as_ref().map_or(0, |keeping| keeping.heap_bytes());
        (heads + self.tail.block.heap_bytes() + groups + keeping) as u64
    }
}

impl BlockInfo {
    fn from_head(head: &BlockHead) -> Self {
        Self {
            first: head.first,
            first_pos: head.first_pos,
            live: u64::from(head.live),
            count: u64::from(head.count),
            node_start: head.node_start,
            lsn: Some(head.lsn),
        }
    }
}

pub(crate) fn run_mask(first: u64, count: u64) -> u128 {
    let ones = if count >= 128 { u128::MAX } else { (1_u128 << count) - 1 };
    ones << first
}

/// The plain length of all names and values.
pub(crate) fn plain_len(fields: &Fields<'_>) -> u64 {
    let mut total = 0;
    fields.for_each(|bytes| total += bytes.len() as u64);
    total
}
