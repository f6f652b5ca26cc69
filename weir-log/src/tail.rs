//! What lies behind the end of the log: looked at, and made harmless, before anything is appended.

use std::io;

use crate::disk::read_full;
use crate::frame::{Parsed, WATERMARK_FRAME, WATERMARK_HEAD, parse, u64_at};
use crate::lsn::{PAGE_LEN, page_down, page_up};
use crate::segment::Segment;

/// Segments are looked through in pieces of this size.
const PIECE: usize = 256 << 10;
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

/// Shows `visit` address and claim of every valid watermark frame in these bytes of the file, wherever it begins.
/// `end` is the segment's.
fn watermarks(segment: &Segment, offset: u64, bytes: &[u8], end: u64, visit: &mut dyn FnMut(u64, u64)) {
    let pattern = WATERMARK_HEAD.to_le_bytes();
    for (index, window) in bytes.windows(WATERMARK_FRAME).enumerate() {
        if window[..4] != pattern {
            continue;
        }
        let lsn = segment.base + offset + index as u64;
        if let Parsed::Frame(_, body) = parse(window, end.saturating_sub(lsn), segment.salt, lsn) {
            visit(lsn, u64_at(body, 0));
        }
    }
}

/// What stands behind a place in a segment.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Behind {
    /// The highest address that a watermark claims; 0 if there is none.
    pub(crate) watermark: u64,
    /// Bytes that are not zero.
    pub(crate) nonzero: u64,
}

/// Looks at everything from `from` on. `end` is the segment's.
pub(crate) fn look_behind(segment: &Segment, from: u64, end: u64) -> io::Result<Behind> {
    let mut behind = Behind::default();
    let overlap = WATERMARK_FRAME - 1;
    let mut counted = segment.offset(from);
    each_piece(segment, counted, overlap, &mut |offset, bytes| {
        watermarks(segment, offset, bytes, end, &mut |_, claim| {
            behind.watermark = behind.watermark.max(claim)
        });
        let fresh = counted.saturating_sub(offset).min(bytes.len() as u64) as usize;
        behind.nonzero += bytes[fresh..].iter().filter(|byte| **byte != 0).count() as u64;
        counted = offset + bytes.len() as u64;
    })?;
    Ok(behind)
}

/// The address of the first watermark frame at or behind `from`.
pub(crate) fn next_watermark(segment: &Segment, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut first = None;
    each_piece(segment, segment.offset(from), WATERMARK_FRAME - 1, &mut |offset, bytes| {
        watermarks(segment, offset, bytes, end, &mut |lsn, _| first = first.or(Some(lsn)));
    })?;
    Ok(first)
}

/// Makes everything in the file from `offset` on read as zeroes. The caller flushes.
pub(crate) fn clear(segment: &Segment, offset: u64, segment_bytes: u64) -> io::Result<()> {
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
        return Ok(());
    }
    for at in pages {
        segment.file.write_at(&[0; PAGE_LEN], at)?;
    }
    Ok(())
}
