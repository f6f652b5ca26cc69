//! Macro nodes: how entries are packed together, to the byte.
//!
//! Clients see the packing through approximate trimming and through two numbers of XINFO STREAM.
//! A node never gives back the place of a deleted entry; it disappears as a whole.

use weir_core::EntryId;

/// Entries a node takes, deleted ones included, before the next one is begun.
const NODE_ENTRIES_MAX: usize = 100;
/// Bytes at which a node counts as full.
const NODE_BYTES_MAX: usize = 4096;
/// What a node needs besides its elements: a header of six bytes and one at the end.
const NODE_OVERHEAD: usize = 7;

/// Field names and values, in order, as they were given.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) fields: Fields,
    pub(super) deleted: bool,
}

/// A run of consecutive entries under the ID and the field names of the first.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) master: EntryId,
    pub(super) entries: Vec<Entry>,
    master_names: Vec<Vec<u8>>,
    entry_bytes: usize,
}

impl Node {
    pub(super) fn new(entry: Entry) -> Self {
        let master_names = entry.fields.iter().map(|(name, _)| name.clone()).collect();
        let mut node = Self { master: entry.id, entries: Vec::new(), master_names, entry_bytes: 0 };
        node.push(entry);
        node
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entry_bytes += self.encoded_size(&entry);
        self.entries.push(entry);
    }

    /// Whether an entry with these fields begins the next node.
    pub(super) fn is_full_for(&self, fields: &Fields) -> bool {
        let plain: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.bytes() + plain >= NODE_BYTES_MAX || self.entries.len() >= NODE_ENTRIES_MAX
    }

    /// Entries that are not deleted.
    pub(super) fn live(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.deleted).count()
    }

    /// The ID of the last entry, deleted or not.
    pub(super) fn last_id(&self) -> EntryId {
        self.entries.last().map_or(self.master, |entry| entry.id)
    }

    fn bytes(&self) -> usize {
        let live = self.live();
        let counts = [live, self.entries.len() - live, self.master_names.len(), 0];
        let counts: usize = counts.iter().map(|n| integer_size(*n as i64)).sum();
        let names: usize = self.master_names.iter().map(|name| element_size(name)).sum();
        NODE_OVERHEAD + counts + names + self.entry_bytes
    }

    fn encoded_size(&self, entry: &Entry) -> usize {
        let fields = entry.fields.len();
        let same_names = fields == self.master_names.len()
            && entry.fields.iter().zip(&self.master_names).all(|((name, _), master)| name == master);
        let flag = if same_names { 2 } else { 0 };
        let ms = entry.id.ms.wrapping_sub(self.master.ms) as i64;
        let seq = entry.id.seq.wrapping_sub(self.master.seq) as i64;
        let mut size = integer_size(flag) + integer_size(ms) + integer_size(seq);
        let mut elements = fields + 3;
        size += entry.fields.iter().map(|(_, value)| element_size(value)).sum::<usize>();
        if !same_names {
            size += integer_size(fields as i64);
            size += entry.fields.iter().map(|(name, _)| element_size(name)).sum::<usize>();
            elements += fields + 1;
        }
        size + integer_size(elements as i64)
    }
}

fn element_size(text: &[u8]) -> usize {
    if let Some(n) = super::canonical_integer(text) {
        return integer_size(n);
    }
    with_back_length(match text.len() {
        len @ 0..64 => len + 1,
        len @ 64..4096 => len + 2,
        len => len + 5,
    })
}

fn integer_size(n: i64) -> usize {
    with_back_length(match n {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    })
}

fn with_back_length(body: usize) -> usize {
    body + match body {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// How many nodes a radix tree needs that has these IDs, as 16 big-endian bytes, for keys.
///
/// Runs without a fork are one node, every fork is one, every key ends in one of its own.
pub(super) fn radix_nodes(masters: &[EntryId]) -> usize {
    let keys: Vec<[u8; 16]> =
        masters.iter().map(|id| ((u128::from(id.ms) << 64) | u128::from(id.seq)).to_be_bytes()).collect();
    if keys.is_empty() { 1 } else { radix_nodes_below(&keys, 0) }
}

fn radix_nodes_below(keys: &[[u8; 16]], depth: usize) -> usize {
    let (first, last) = (keys[0], keys[keys.len() - 1]);
    let shared = (depth..16).take_while(|at| first[*at] == last[*at]).count();
    let run = usize::from(shared > 0);
    let fork = depth + shared;
    if fork == 16 {
        return run + 1;
    }
    let children: usize =
        keys.chunk_by(|a, b| a[fork] == b[fork]).map(|below| radix_nodes_below(below, fork + 1)).sum();
    run + 1 + children
}
