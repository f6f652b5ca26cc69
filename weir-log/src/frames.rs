//! Walks the frames of one segment in order, whatever its layout.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{DiskFile, read_full};
use crate::frame::{self, HEADER, Head, Parsed, u64_at};
use crate::holes;
use crate::ring::Ring;
use crate::segment::{Layout, Segment};

/// What is read ahead, bytes: little at first, since many walks are short, then twice as much each time.
const AHEAD_MIN: usize = 8 << 10;
const AHEAD_MAX: usize = 256 << 10;

/// Whether a read may wait for the disk.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    Allowed,
    /// Fails with [`io::ErrorKind::WouldBlock`] instead.
    Refused,
}

/// Fills `buf` from `at`; returns how much there was before the end of the file.
pub(crate) fn read_with(file: &dyn DiskFile, buf: &mut [u8], at: u64, wait: Wait) -> io::Result<usize> {
    if wait == Wait::Allowed {
        return read_full(file, buf, at);
    }
    let n = file.read_at_cached(buf, at)?;
    // Short: the rest is not in memory, or the file ends. Who may wait will see.
    if n == buf.len() { Ok(n) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// Walks the frames of one segment in order.
pub(crate) struct Frames<'a> {
    segment: &'a Segment,
    holes: Option<Arc<[Range<u64>]>>,
    /// Frames below this address are passed over.
    from: u64,
    /// Behind the last frame.
    passed: u64,
    /// Position in the file of the next frame (in a compacted segment: of the address in front of it).
    offset: u64,
    /// Where the frames end, in the file.
    limit: u64,
    buffer: Vec<u8>,
    /// Position in the file of the buffer's first byte.
    buffer_at: u64,
    ahead: usize,
    wait: Wait,
    ring: Option<&'a Ring>,
}

/// What [`Frames`] came upon.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Frame {
        lsn: u64,
        head: Head,
        body: &'a [u8],
    },
    /// Nothing valid where a frame should be; [`Frames::offset`] tells the place in the file.
    Bad(u64),
    /// The limit is reached, between two frames.
    Limit,
}

impl<'a> Frames<'a> {
    /// Begins at the frame at address `from` and ends at address `to`; `buffer` is an old one to use again.
    pub(crate) fn new(segment: &'a Segment, from: u64, to: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        let holes = segment.holes();
        let (offset, limit) = match &segment.layout {
            Layout::Plain { .. } => (segment.offset(from), segment.offset(to)),
            Layout::Compacted(index) => (index.floor(segment.offset(from)), index.data_end()),
        };
        let (buffer_at, ahead, wait, ring) = (offset, AHEAD_MIN, Wait::Allowed, None);
        let passed = from;
        Self { segment, holes, from, passed, offset, limit, buffer, buffer_at, ahead, wait, ring }
    }

    /// Lets the walk wait for the disk or not.
    pub(crate) fn waiting(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Takes what it can from the ring.
    pub(crate) fn through(self, ring: &'a Ring) -> Self {
        Self { ring: Some(ring), ..self }
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The place in the file of the next frame, or of the one that is bad.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        let (lsn, head) = loop {
            let plain_lsn = self.segment.base + self.offset;
            if let Some(hole) = self.holes.as_ref().and_then(|holes| holes::find(holes, plain_lsn)) {
                self.offset = self.segment.offset(hole.end).min(self.limit);
                continue;
            }
            if self.offset >= self.limit {
                return Ok(Step::Limit);
            }
            match self.parse()? {
                (_, None) if self.prefix() > 0 => return Ok(Step::Bad(self.passed)),
                (lsn, None) => return Ok(Step::Bad(lsn)),
                (lsn, Some(head)) => {
                    self.offset += (self.prefix() + head.frame_len()) as u64;
                    self.passed = lsn + head.frame_len() as u64;
                    if lsn >= self.from {
                        break (lsn, head);
                    }
                }
            }
        };
        let end = (self.offset - self.buffer_at) as usize;
        Ok(Step::Frame { lsn, head, body: &self.buffer[end - head.len()..end] })
    }

    /// Bytes in front of each frame.
    fn prefix(&self) -> usize {
        match self.segment.layout {
            Layout::Plain { .. } => 0,
            Layout::Compacted(_) => 8,
        }
    }

    /// Address and head of the frame at `offset`, which is then in the buffer; no head if it is not valid.
    fn parse(&mut self) -> io::Result<(u64, Option<Head>)> {
        let prefix = self.prefix();
        let mut need = prefix + HEADER;
        loop {
            let room = self.limit - self.offset;
            if (need as u64) > room || !self.ensure(need)? {
                return Ok((self.segment.base + self.offset, None));
            }
            let bytes = &self.buffer[(self.offset - self.buffer_at) as usize..];
            let lsn = if prefix > 0 { u64_at(bytes, 0) } else { self.segment.base + self.offset };
            match frame::parse(&bytes[prefix..], room - prefix as u64, self.segment.salt, lsn) {
                Parsed::Need(bytes) => need = prefix + bytes,
                Parsed::Bad => return Ok((lsn, None)),
                Parsed::Frame(head, _) => return Ok((lsn, Some(head))),
            }
        }
    }

    /// Makes sure that `need` bytes from the current frame on are in the buffer; false when there are not so many.
    fn ensure(&mut self, need: usize) -> io::Result<bool> {
        let buffered = self.buffer_at + self.buffer.len() as u64;
        if self.offset >= self.buffer_at && self.offset + need as u64 <= buffered {
            return Ok(true);
        }
        let wanted = (self.ahead.max(need) as u64).min(self.limit - self.offset);
        self.ahead = (self.ahead * 2).min(AHEAD_MAX);
        self.buffer_at = self.offset;
        if let (Some(ring), Layout::Plain { .. }) = (self.ring, &self.segment.layout) {
            let lsn = self.segment.base + self.offset;
            if ring.copy(lsn..lsn + wanted, &mut self.buffer) {
                return Ok(wanted >= need as u64);
            }
        }
        self.buffer.resize(wanted as usize, 0);
        let n = read_with(&*self.segment.file, &mut self.buffer, self.offset, self.wait)?;
        self.buffer.truncate(n);
        Ok(n >= need)
    }
}
