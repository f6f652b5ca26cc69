//! Hash slots of a cluster: which slot a key is in, and which node has it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use redis::Value;
use weir_core::hash_tag;

use super::Node;
use crate::reply;

const SLOTS: u16 = 16_384;

/// The slot of a key.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key).map_or(key, |tag| &key[tag])) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Which node has which slot.
#[derive(Debug, Default)]
pub(crate) struct SlotMap {
    /// Empty, or one for each slot.
    nodes: Vec<Option<Arc<Node>>>,
}

impl SlotMap {
    pub(crate) fn node(&self, slot: u16) -> Option<Arc<Node>> {
        self.nodes.get(usize::from(slot)).cloned().flatten()
    }

    pub(crate) fn set(&mut self, slots: RangeInclusive<u16>, node: Arc<Node>) {
        for slot in slots {
            self.move_to(slot, Arc::clone(&node));
        }
    }

    pub(crate) fn move_to(&mut self, slot: u16, node: Arc<Node>) {
        self.nodes.resize(usize::from(SLOTS), None);
        if let Some(place) = self.nodes.get_mut(usize::from(slot)) {
            *place = Some(node);
        }
    }

    /// The nodes that have slots, each once, by address.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = self.nodes.iter().flatten().cloned().collect();
        nodes.sort_by(|a, b| a.address().cmp(b.address()));
        nodes.dedup_by(|a, b| a.address() == b.address());
        nodes
    }
}

/// Slots and their master.
pub(crate) struct Range {
    pub(crate) slots: RangeInclusive<u16>,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What `CLUSTER SLOTS` said; a node that does not know its own name is where it was asked.
pub(crate) fn ranges(value: Value, asked: &str) -> Vec<Range> {
    reply::array(value).into_iter().filter_map(|range| parse_range(range, asked)).collect()
}

fn parse_range(value: Value, asked: &str) -> Option<Range> {
    let mut parts = reply::array(value).into_iter();
    let mut slot = || u16::try_from(reply::int(parts.next()?)?).ok();
    let (from, to) = (slot()?, slot()?);
    let mut master = reply::array(parts.next()?).into_iter();
    let host = master.next().and_then(reply::text).filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(reply::int(master.next()?)?).ok()?;
    Some(Range { slots: from..=to, host: host.unwrap_or_else(|| asked.to_owned()), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_the_server_says() {
        // As CLUSTER KEYSLOT answers.
        for (key, slot) in [("123456789", 12_739), ("foo", 12_182), ("{foo}bar", 12_182), ("a{}b", 14_863)] {
            let want = if key == "a{}b" { crc16(b"a{}b") % SLOTS } else { slot };
            assert_eq!(slot_of(key.as_bytes()), want, "{key}");
        }
    }
}
