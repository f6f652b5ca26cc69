//! Macro nodes: the unit in which Redis stores entries and trims approximately.
//!
//! weir stores nothing in nodes, yet clients see their boundaries: `XTRIM … ~` drops whole ones and `XINFO STREAM`
//! counts them. So the tail node's size is tracked exactly as Redis would encode it as a listpack.

use weir_core::EntryId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::record::{Fields, put_id, read_id};
use crate::varint::{Reader, put};

/// When a node is full; 0 means no limit. Settings `stream-node-max-entries` and `stream-node-max-bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLimits {
    /// Entries in a node, deleted ones counted. Default 100.
    pub entries_max: u64,
    /// Bytes of a node as Redis encodes it. Default 4096.
    pub bytes_max: u64,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { entries_max: 100, bytes_max: 4096 }
    }
}

/// No node is larger, whatever a payload of RESTORE claims.
pub(crate) const NODE_BYTES_MAX: u64 = (1 << 48) - 1;

/// A node of a stream: an estimate of what Redis would keep, on which nothing but the beginnings of nodes depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Entries in it, deleted ones included; 0 = there is no node.
    pub(crate) count: u32,
    pub(crate) deleted: u32,
    /// Encoded size without the two counters of the header.
    pub(crate) bytes: u64,
    pub(crate) master: EntryId,
    pub(crate) names_hash: u64,
}

impl Node {
    /// Whether an entry with `plain` bytes of names and values has to start a new node.
    pub(crate) fn is_full(&self, plain: u64, limits: NodeLimits) -> bool {
        if self.count == 0 {
            return true;
        }
        let counters = integer(i64::from(self.count - self.deleted)) + integer(i64::from(self.deleted));
        (limits.bytes_max != 0 && self.bytes + counters + plain >= limits.bytes_max)
            || (limits.entries_max != 0 && u64::from(self.count) >= limits.entries_max)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.count));
        put(out, u64::from(self.deleted));
        put(out, self.bytes);
        put_id(out, self.master);
        put(out, self.names_hash);
    }

    /// `None` when the bytes are no node.
    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (count, deleted) = (u32::try_from(r.varint()?).ok()?, u32::try_from(r.varint()?).ok()?);
        let node = Self { count, deleted, bytes: r.varint()?, master: read_id(r)?, names_hash: r.varint()? };
        (deleted <= count && node.bytes <= NODE_BYTES_MAX).then_some(node)
    }

    /// Counts an entry in; `start` makes it the master of a new node.
    pub(crate) fn add(&mut self, id: EntryId, fields: &Fields<'_>, start: bool) {
        let shape = Shape::of(fields);
        let pairs = integer((fields.len() / 2) as i64);
        if start {
            let bytes = 7 + pairs + shape.names + integer(0);
            *self = Self { count: 0, deleted: 0, bytes, master: id, names_hash: shape.names_hash };
        }
        let same = shape.names_hash == self.names_hash;
        let flag = integer(if same { 2 } else { 0 });
        let difference = integer(id.ms.wrapping_sub(self.master.ms) as i64)
            + integer(id.seq.wrapping_sub(self.master.seq) as i64);
        let elements = (fields.len() / 2 + 3 + if same { 0 } else { fields.len() / 2 + 1 }) as i64;
        let names = if same { 0 } else { pairs + shape.names };
        let bytes = flag + difference + names + shape.values + integer(elements);
        self.bytes = (self.bytes + bytes).min(NODE_BYTES_MAX);
        self.count = self.count.saturating_add(1);
    }

    /// Counts deleted entries.
    pub(crate) fn lose(&mut self, entries: u64) {
        let lost = u32::try_from(entries).unwrap_or(u32::MAX);
        self.deleted = self.deleted.saturating_add(lost).min(self.count);
    }
}

/// How many nodes Redis' radix tree needs for macro nodes with these masters, which come in order.
///
/// Its keys are the 16 big-endian bytes of an ID. Each key ends in a node of its own, each fork is one, and so is each
/// run of bytes in which nothing forks. One pass suffices, since the forks still open lie on the path of the last key.
pub(crate) fn radix_nodes(masters: impl Iterator<Item = EntryId>) -> u64 {
    const KEY_BYTES: u32 = 16;
    let (mut nodes, mut last) = (0, None);
    let mut forks: Vec<u32> = Vec::new();
    for id in masters {
        let key = (u128::from(id.ms) << 64) | u128::from(id.seq);
        let shared = last.map(|last: u128| (last ^ key).leading_zeros() / 8);
        last = Some(key);
        nodes += 1;
        let Some(shared) = shared else { continue };
        let mut below = KEY_BYTES;
        while let Some(fork) = forks.pop_if(|fork| *fork > shared) {
            nodes += u64::from(below > fork + 1);
            below = fork;
        }
        nodes += u64::from(below > shared + 1);
        if forks.last() != Some(&shared) {
            forks.push(shared);
            nodes += 1;
        }
    }
    if last.is_none() {
        return 1;
    }
    let mut below = KEY_BYTES;
    for fork in forks.into_iter().rev() {
        nodes += u64::from(below > fork + 1);
        below = fork;
    }
    nodes + u64::from(below > 0)
}

/// Sizes of the fields of an entry.
struct Shape {
    names: u64,
    values: u64,
    names_hash: u64,
}

impl Shape {
    fn of(fields: &Fields<'_>) -> Self {
        let (mut names, mut values, mut nth, mut hash) = (0, 0, 0_usize, 0);
        fields.for_each(|bytes| {
            if nth.is_multiple_of(2) {
                names += element(bytes);
                // Each name is hashed with what came before as its seed, so their order counts.
                hash = xxh3_64_with_seed(bytes, hash);
            } else {
                values += element(bytes);
            }
            nth += 1;
        });
        // Zero stands for "no fields seen", which an entry never has.
        Self { names, values, names_hash: hash | 1 }
    }
}

/// The encoded size of a string, which Redis keeps as an integer where it is one.
fn element(bytes: &[u8]) -> u64 {
    if let Some(value) = canonical_integer(bytes) {
        return integer(value);
    }
    let length = bytes.len() as u64;
    let body = length
        + if length < 64 {
            1
        } else if length < 4096 {
            2
        } else {
            5
        };
    body + back_length(body)
}

/// The encoded size of an integer.
fn integer(value: i64) -> u64 {
    let body = match value {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32_768..=32_767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    };
    body + 1
}

fn back_length(body: u64) -> u64 {
    match body {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let canonical = match digits {
        [b'0'] => bytes.len() == 1,
        [b'1'..=b'9', ..] => digits.len() <= 19,
        _ => false,
    };
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_listpack() {
        for (bytes, size) in [
            (&b"0"[..], 2),
            (b"127", 2),
            (b"128", 3),
            (b"-1", 3),
            (b"4096", 4),
            (b"00", 4),
            (b"-0", 4),
            (b"9223372036854775807", 10),
            (b"9223372036854775808", 21),
            (&[b'x'; 63], 65),
            (&[b'x'; 64], 67),
            (&[b'x'; 126], 130),
            (&[b'x'; 4096], 4103),
        ] {
            assert_eq!(element(bytes), size, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn radix_nodes_are_ends_forks_and_runs() {
        let count = |ids: &[(u64, u64)]| radix_nodes(ids.iter().map(|(ms, seq)| EntryId::new(*ms, *seq)));
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[(1, 0)]), 2, "a run and its end");
        assert_eq!(count(&[(0, 1), (0, 2)]), 4, "a run, a fork, two ends");
        assert_eq!(count(&[(0, 1), (0, 2), (0, 3)]), 5);
        assert_eq!(count(&[(1, 0), (2, 0)]), 6, "a run, a fork, twice a run and its end");
        assert_eq!(count(&[(1, 0), (1, 1), (2, 0)]), 8);
        assert_eq!(count(&[(0, 0), (1 << 63, 0)]), 5, "a fork at once");
    }
}
