//! Index blocks: where the entries of one run of a stream lie in the log.
//!
//! A stream's index is a list of blocks. The last one, the tail, is in memory; when it is full it is written to the
//! log as a record of its own and memory keeps only a [`BlockHead`]. A block never spans two macro nodes (the unit in
//! which Redis trims approximately), so dropping whole nodes is dropping whole blocks.
//!
//! ```text
//!  first id, first pos, first lsn │ per further entry: varint ms delta, varint seq (delta or new), varint lsn delta
//! ```
//!
//! A block knows nothing about deletions; they are kept beside it as a bitmap.

use weir_core::EntryId;
use weir_log::Lsn;

use crate::chunked::Keyed;
use crate::varint::{self, Reader};

/// Entries in a block at most: the width of the deletion bitmap.
pub(crate) const BLOCK_MAX: usize = 128;

/// One entry as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) id: EntryId,
    pub(crate) pos: u64,
    pub(crate) lsn: Lsn,
}

/// The places of up to [`BLOCK_MAX`] consecutive entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    first: EntryId,
    first_pos: u64,
    first_lsn: Lsn,
    last: EntryId,
    last_lsn: Lsn,
    count: u32,
    deltas: Vec<u8>,
}

impl Block {
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn first_id(&self) -> EntryId {
        self.first
    }

    pub(crate) fn last_id(&self) -> EntryId {
        self.last
    }

    pub(crate) fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    pub(crate) fn first_pos(&self) -> u64 {
        self.first_pos
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.deltas.capacity()
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: Located) {
        if self.count == 0 {
            (self.first, self.first_pos, self.first_lsn) = (entry.id, entry.pos, entry.lsn);
        } else {
            debug_assert!(entry.id > self.last && entry.lsn > self.last_lsn, "entries are indexed in order");
            debug_assert_eq!(entry.pos, self.first_pos + u64::from(self.count), "positions have no gap");
            let ms = entry.id.ms - self.last.ms;
            varint::put(&mut self.deltas, ms);
            varint::put(&mut self.deltas, if ms == 0 { entry.id.seq - self.last.seq } else { entry.id.seq });
            varint::put(&mut self.deltas, entry.lsn.0 - self.last_lsn.0);
        }
        (self.last, self.last_lsn) = (entry.id, entry.lsn);
        self.count += 1;
    }

    /// Empties the block and keeps its memory, unless it holds much more than a small stream needs.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.deltas.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Located> + '_ {
        let mut reader = Reader::new(&self.deltas);
        let mut at = Located { id: self.first, pos: self.first_pos, lsn: self.first_lsn };
        (0..self.count).map_while(move |nth| {
            if nth > 0 {
                at = Self::step(at, &mut reader)?;
            }
            Some(at)
        })
    }

    fn step(at: Located, reader: &mut Reader<'_>) -> Option<Located> {
        let (ms, seq, lsn) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let id = match ms {
            0 => EntryId::new(at.id.ms, at.id.seq.checked_add(seq)?),
            _ => EntryId::new(at.id.ms.checked_add(ms)?, seq),
        };
        Some(Located { id, pos: at.pos + 1, lsn: Lsn(at.lsn.0.checked_add(lsn)?) })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for value in [
            u64::from(self.count),
            self.first.ms,
            self.first.seq,
            self.first_pos,
            self.first_lsn.0,
            self.last.ms,
            self.last.seq,
            self.last_lsn.0,
        ] {
            varint::put(out, value);
        }
        varint::put_bytes(out, &self.deltas);
    }

    /// Reads what [`Block::encode`] wrote; `None` when the bytes are no block.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let count = u32::try_from(reader.varint()?).ok().filter(|n| *n as usize <= BLOCK_MAX)?;
        let first = EntryId::new(reader.varint()?, reader.varint()?);
        let (first_pos, first_lsn) = (reader.varint()?, Lsn(reader.varint()?));
        let last = EntryId::new(reader.varint()?, reader.varint()?);
        let last_lsn = Lsn(reader.varint()?);
        first_pos.checked_add(u64::from(count))?;
        let block =
            Self { first, first_pos, first_lsn, last, last_lsn, count, deltas: reader.bytes()?.to_vec() };
        let consistent = count == 0
            || block.iter().enumerate().last().is_some_and(|(nth, entry)| {
                nth + 1 == count as usize && entry.id == last && entry.lsn == last_lsn
            });
        consistent.then_some(block)
    }
}

/// What memory keeps of a block that was written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) first: EntryId,
    pub(crate) first_pos: u64,
    /// Where the block's record is.
    pub(crate) lsn: Lsn,
    /// Entries in it, deleted ones included.
    pub(crate) count: u16,
    /// Entries in it that are not deleted; never 0, such a head is dropped.
    pub(crate) live: u16,
    /// Whether its first entry began a macro node.
    pub(crate) node_start: bool,
}

impl Keyed for BlockHead {
    type Key = EntryId;
    fn key(&self) -> EntryId {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Block {
        let mut block = Block::default();
        for n in 0..BLOCK_MAX as u64 {
            let id = EntryId::new(1_000 + n / 3, if n % 3 == 0 { 5 } else { 5 + n % 3 });
            block.push(Located { id, pos: 40 + n, lsn: Lsn(9_000 + n * n) });
        }
        block
    }

    #[test]
    fn remembers_every_entry() {
        let block = sample();
        let all: Vec<_> = block.iter().collect();
        assert_eq!(all.len(), BLOCK_MAX);
        assert_eq!(all[7], Located { id: EntryId::new(1_002, 6), pos: 47, lsn: Lsn(9_049) });
        let mut bytes = Vec::new();
        block.encode(&mut bytes);
        assert_eq!(Block::decode(&mut Reader::new(&bytes)), Some(block));
    }

    #[test]
    fn refuses_bytes_that_are_no_block() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Block::decode(&mut Reader::new(&bytes[..cut])), None);
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(Block::decode(&mut Reader::new(&flipped)), None);
    }
}
