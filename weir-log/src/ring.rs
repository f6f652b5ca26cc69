//! The newest part of the log in memory: one fixed circular buffer, byte `lsn % size`.
//!
//! Readers copy out under a shared lock, the writer copies in under an exclusive one. The gap between two segments
//! is part of the range and holds garbage there; no frame begins in it.

use std::ops::Range;
use std::sync::RwLock;

#[derive(Debug)]
pub(crate) struct Ring {
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// A power of two long.
    bytes: Box<[u8]>,
    range: Range<u64>,
}

impl Ring {
    /// An empty ring whose first byte will stand at `from`.
    pub(crate) fn new(size: usize, from: u64) -> Self {
        debug_assert!(size.is_power_of_two());
        Self { state: RwLock::new(State { bytes: vec![0; size].into(), range: from..from }) }
    }

    /// Puts `bytes`, which stand at `at`, behind what is there.
    pub(crate) fn push(&self, at: u64, bytes: &[u8]) {
        let mut state = self.state.write().expect("no panic under this lock");
        let size = state.bytes.len() as u64;
        debug_assert!(at >= state.range.end);
        let end = at + bytes.len() as u64;
        let kept = (bytes.len() as u64).min(size);
        state.put(end - kept, &bytes[(bytes.len() as u64 - kept) as usize..]);
        state.range = state.range.start.max(end.saturating_sub(size))..end;
    }

    /// Makes `into` the bytes of `range`; false, and `into` as it was, when they are not all here.
    pub(crate) fn copy(&self, range: Range<u64>, into: &mut Vec<u8>) -> bool {
        let state = self.state.read().expect("no panic under this lock");
        if range.start < state.range.start || range.end > state.range.end {
            return false;
        }
        into.clear();
        let len = (range.end - range.start) as usize;
        let from = state.index(range.start);
        let first = len.min(state.bytes.len() - from);
        into.extend_from_slice(&state.bytes[from..from + first]);
        into.extend_from_slice(&state.bytes[..len - first]);
        true
    }
}

impl State {
    fn index(&self, at: u64) -> usize {
        (at & (self.bytes.len() as u64 - 1)) as usize
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let from = self.index(at);
        let first = bytes.len().min(self.bytes.len() - from);
        self.bytes[from..from + first].copy_from_slice(&bytes[..first]);
        self.bytes[..bytes.len() - first].copy_from_slice(&bytes[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_bytes_across_its_seam_and_across_gaps() {
        let ring = Ring::new(8, 100);
        ring.push(100, b"abcdef");
        ring.push(106, b"ghij");
        let mut out = Vec::new();
        assert!(!ring.copy(101..104, &mut out));
        assert!(ring.copy(102..110, &mut out));
        assert_eq!(out, b"cdefghij");
        ring.push(113, b"k");
        assert!(ring.copy(108..110, &mut out));
        assert_eq!(out, b"ij");
        assert!(ring.copy(113..114, &mut out));
        assert_eq!(out, b"k");
        ring.push(200, b"0123456789");
        assert!(!ring.copy(113..114, &mut out) && !ring.copy(209..211, &mut out));
        assert!(ring.copy(202..210, &mut out));
        assert_eq!(out, b"23456789");
    }
}
