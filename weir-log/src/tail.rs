//! What lies behind the end of the log: looked at, and made harmless, before anything is appended.

use std::io;

use crate::disk::read_full;
use crate::frame::{Parsed, WATERMARK_FRAME, WATERMARK_HEAD, parse, u64_at};
use crate::lsn::{PAGE_LEN, page_down, page_up};
use crate::segment::Segment;

/// Segments are looked through in pieces of this size.
const PIECE: usize = 1 << 20;
/// Up to so many bytes behind the cut are zeroed in place; beyond that the file is cut, and filled anew later.
const ZERO_MAX: u64 = 1 << 20;

/// Shows `visit` the bytes of a segment's file from `offset` to its end, in pieces that overlap by `overlap` bytes.
/// Pieces of nothing but zeroes are left out.
fn each_piece(
    segment: &Segment,
    offset: u64,
    overlap: usize,
    visit: &mut dyn FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = offset;
    loop {
        // Space that was only allocated is skipped without being read.
        let Some(data) = segment.file.next_data(at)? else { return Ok(()) };
        at = at.max(page_down(data).saturating_sub(overlap as u64));
        let n = read_full(&*segment.file, &mut buffer, at)?;
        if !is_zero(&buffer[..n]) {
            visit(at, &buffer[..n]);
        }
        if n < PIECE {
            return Ok(());
        }
        at += (n - overlap) as u64;
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Compared with itself moved by one: the comparison of slices is fast.
    bytes.first().is_none_or(|first| *first == 0 && bytes[1..] == bytes[..bytes.len() - 1])
}

/// Shows `visit` address and claim of every valid watermark frame at or behind `from`, wherever it stands.
/// `end` is the segment's.
fn each_watermark(segment: &Segment, from: u64, end: u64, visit: &mut dyn FnMut(u64, u64)) -> io::Result<()> {
    let pattern = WATERMARK_HEAD.to_le_bytes();
    each_piece(segment, segment.offset(from), WATERMARK_FRAME - 1, &mut |offset, bytes| {
        for (index, window) in bytes.windows(WATERMARK_FRAME).enumerate() {
            if window[..4] != pattern {
                continue;
            }
            let lsn = segment.base + offset + index as u64;
            if let Parsed::Frame(_, body) = parse(window, end.saturating_sub(lsn), segment.salt, lsn) {
                visit(lsn, u64_at(body, 0));
            }
        }
    })
}

/// The highest address that a watermark at or behind `from` claims; 0 if there is none.
pub(crate) fn highest_watermark(segment: &Segment, from: u64, end: u64) -> io::Result<u64> {
    let mut highest = 0;
    each_watermark(segment, from, end, &mut |_, claim| highest = highest.max(claim))?;
    Ok(highest)
}

/// The address of the first watermark frame at or behind `from`.
pub(crate) fn next_watermark(segment: &Segment, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut first = None;
    each_watermark(segment, from, end, &mut |lsn, _| first = first.or(Some(lsn)))?;
    Ok(first)
}

/// How many bytes from `offset` on are not zero.
pub(crate) fn count_nonzero(segment: &Segment, offset: u64) -> io::Result<u64> {
    let mut count = 0;
    each_piece(segment, offset, 0, &mut |_, bytes| {
        count += bytes.iter().filter(|byte| **byte != 0).count() as u64;
    })?;
    Ok(count)
}

/// Makes everything in the file from `offset` on read as zeroes; returns how many bytes did not. The caller flushes.
pub(crate) fn clear(segment: &Segment, offset: u64, segment_bytes: u64) -> io::Result<u64> {
    let torn = count_nonzero(segment, offset)?;
    if torn == 0 {
        return Ok(0);
    }
    let first = page_down(offset);
    let mut pages = Vec::new();
    each_piece(segment, first, 0, &mut |at, bytes| {
        for (index, page) in bytes.chunks(PAGE_LEN).enumerate() {
            if !is_zero(page) {
                pages.push(at + (index * PAGE_LEN) as u64);
            }
        }
    })?;
    // The page of the cut: what is in front stays.
    if first < offset {
        let mut page = [0; PAGE_LEN];
        read_full(&*segment.file, &mut page[..(offset - first) as usize], first)?;
        segment.file.write_at(&page, first)?;
        pages.retain(|at| *at != first);
    }
    if pages.len() as u64 * PAGE_LEN as u64 > ZERO_MAX.min(segment_bytes / 8) {
        segment.shorten(page_up(offset))?;
        return Ok(torn);
    }
    for at in pages {
        segment.file.write_at(&[0; PAGE_LEN], at)?;
    }
    Ok(torn)
}
