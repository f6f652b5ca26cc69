//! Which ranges of a segment were given back to the disk.
//!
//! The frames in such a range are dead and read as zeroes, so whoever walks the segment must know where to jump to.
//! The list is durable before the first hole is punched.
//!
//! A repair lets a segment end early by the same means. If that is all that ever happened to the segment, an empty range
//! stands behind the hole and says so: below the cut every record is still there. Any hole that is added later takes
//! that mark away.
//!
//! ```text
//! magic "weir-gap" | u64 salt of the segment | (u64 from, u64 to)* | u32 CRC-32C of all before
//! ```

use std::ops::Range;

use crate::frame::{u32_at, u64_at};

const MAGIC: &[u8; 8] = b"weir-gap";

pub(crate) fn encode(holes: &[Range<u64>], salt: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&salt.to_le_bytes());
    for hole in holes {
        bytes.extend_from_slice(&hole.start.to_le_bytes());
        bytes.extend_from_slice(&hole.end.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// None when the bytes are not in order. A list of an earlier life of the segment is an empty one.
pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<Vec<Range<u64>>> {
    let body = bytes.len().checked_sub(4)?;
    if body < 16 || (body - 16) % 16 != 0 || &bytes[..8] != MAGIC {
        return None;
    }
    if crc32c::crc32c(&bytes[..body]) != u32_at(bytes, body) {
        return None;
    }
    if u64_at(bytes, 8) != salt {
        return Some(Vec::new());
    }
    Some((16..body).step_by(16).map(|at| u64_at(bytes, at)..u64_at(bytes, at + 8)).collect())
}

/// Both lists as one: in order, disjoint, touching ones joined.
pub(crate) fn merge(old: &[Range<u64>], new: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut all: Vec<_> = old.iter().chain(new).filter(|hole| hole.start < hole.end).cloned().collect();
    all.sort_by_key(|hole| hole.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for hole in all {
        match merged.last_mut() {
            Some(last) if hole.start <= last.end => last.end = last.end.max(hole.end),
            _ => merged.push(hole),
        }
    }
    merged
}

/// The list of a segment that a repair cuts at `at` and that ends at `end`.
pub(crate) fn cut(old: &[Range<u64>], at: u64, end: u64) -> Vec<Range<u64>> {
    let kept: Vec<_> = old.iter().filter(|hole| hole.start < at).cloned().collect();
    let mut holes = merge(&kept, std::slice::from_ref(&(at..end)));
    if kept.is_empty() {
        holes.push(end..end);
    }
    holes
}

/// Whether all that was taken out of a segment is what repairs have cut off its end.
pub(crate) fn is_only_cut(holes: &[Range<u64>]) -> bool {
    match holes {
        [] => true,
        [hole, mark] => mark.is_empty() && mark.start == hole.end,
        _ => false,
    }
}

/// The hole that holds `at`.
pub(crate) fn find(holes: &[Range<u64>], at: u64) -> Option<&Range<u64>> {
    let index = holes.partition_point(|hole| hole.end <= at);
    holes.get(index).filter(|hole| hole.contains(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_merged_found_and_read_back() {
        let old = [10..20, 40..50];
        let new = [18..25, 25..30, 60..60, 5..6];
        let holes = merge(&old, &new);
        assert_eq!(holes, [5..6, 10..30, 40..50]);
        assert_eq!(find(&holes, 29), Some(&(10..30)));
        assert_eq!(find(&holes, 30), None);
        assert_eq!(decode(&encode(&holes, 9), 9), Some(holes.clone()));
        assert_eq!(decode(&encode(&holes, 9), 8), Some(Vec::new()));
        let mut bent = encode(&holes, 9);
        bent[20] ^= 1;
        assert_eq!(decode(&bent, 9), None);
        assert_eq!(decode(b"weir-gap", 9), None);
    }

    #[test]
    fn a_cut_is_told_from_a_hole_until_there_are_others() {
        let cut_off = cut(&[], 50, 64);
        assert_eq!(cut_off, [50..64, 64..64]);
        assert!(is_only_cut(&cut_off) && is_only_cut(&[]));
        assert_eq!(find(&cut_off, 63), Some(&(50..64)));
        assert_eq!(find(&cut_off, 64), None);
        assert_eq!(cut(&cut_off, 40, 64), [40..64, 64..64], "cut again, further down");
        let given_back = std::slice::from_ref(&(50..64));
        assert!(!is_only_cut(given_back), "what was given back up to the end is no cut");
        assert_eq!(cut(&[10..20, 55..64], 50, 64), [10..20, 50..64]);
        let punched = merge(&cut_off, &[10..20, 50..64]);
        assert_eq!(punched, [10..20, 50..64]);
        assert!(!is_only_cut(&punched) && !is_only_cut(&merge(&cut_off, given_back)));
    }
}
