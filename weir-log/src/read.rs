//! Reading records back: some by address, or all in order.
//!
//! Every record is checked against its checksum, wherever it comes from. Nothing above `written` is visible.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::disk::read_full;
use crate::frame::{self, END, HEADER, Head, Parsed, WATERMARK};
use crate::log::Log;
use crate::segment::Segment;
use crate::{Lsn, ReadError};

/// The most bytes one read fetches for several records.
const SPAN_MAX: u64 = 256 << 10;
/// Records further apart are fetched one by one.
const GAP_MAX: u64 = 16 << 10;
/// Read behind the beginning of the last record of a span, in the hope that it is no longer.
const GUESS: u64 = 1 << 10;
/// What a scan reads ahead.
const AHEAD: usize = 1 << 20;

/// Whether a read may wait for the disk.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Wait {
    Allowed,
    Refused,
}

impl Log {
    /// Shows `visit` the bodies of the records at `lsns`, in that order, each with its index there.
    ///
    /// Neighbours, in either direction, are fetched together.
    pub fn read_many(
        &self,
        lsns: &[Lsn],
        visit: &mut dyn FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.read_spans(lsns, Wait::Allowed, visit)
    }

    /// Like [`Log::read_many`], but [`ReadError::Cold`] instead of waiting for the disk. Records before the cold one
    /// were shown to `visit` already.
    pub fn read_many_cached(
        &self,
        lsns: &[Lsn],
        visit: &mut dyn FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.read_spans(lsns, Wait::Refused, visit)
    }

    fn read_spans(
        &self,
        lsns: &[Lsn],
        wait: Wait,
        visit: &mut dyn FnMut(usize, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let written = self.written().0;
        let mut buffer = Vec::new();
        let mut index = 0;
        while index < lsns.len() {
            let (count, span) = self.span_of(&lsns[index..]);
            if span.start >= written {
                return Err(ReadError::NotWritten(Lsn(span.start)));
            }
            let segment = self.segment_at(span.start)?;
            let limit = written.min(self.geometry.end(segment.no));
            let mut window = Window { segment: &segment, at: span.start, limit, buffer: &mut buffer };
            window.fetch(self, (span.end + GUESS).min(limit), wait)?;
            for (index, lsn) in lsns.iter().enumerate().skip(index).take(count) {
                let body = window.body(self, lsn.0, wait)?;
                if visit(index, body).is_break() {
                    return Ok(());
                }
            }
            index += count;
        }
        Ok(())
    }

    /// How many of the first `lsns` to fetch together, and where the first and the last of them begin.
    fn span_of(&self, lsns: &[Lsn]) -> (usize, Range<u64>) {
        let first = lsns[0].0;
        let segment = self.geometry.segment_of(first);
        let mut span = first..first;
        let mut count = 1;
        for pair in lsns.windows(2) {
            let (before, lsn) = (pair[0].0, pair[1].0);
            let wider = span.start.min(lsn)..span.end.max(lsn);
            let near = before.abs_diff(lsn) <= GAP_MAX && wider.end - wider.start <= SPAN_MAX;
            if !near || self.geometry.segment_of(lsn) != segment {
                break;
            }
            span = wider;
            count += 1;
        }
        (count, span)
    }

    fn segment_at(&self, lsn: u64) -> Result<Arc<Segment>, ReadError> {
        let no = self.geometry.segment_of(lsn);
        self.map().get(&no).cloned().ok_or(ReadError::Gone(Lsn(lsn)))
    }

    /// Shows `visit` every record from `from` on, in order, up to what is written; returns where to go on.
    ///
    /// `from` is the address of a record, or of the end of one; parts of the log that were taken back are skipped.
    pub fn scan(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(Lsn, &[u8]) -> ControlFlow<()>,
    ) -> Result<Lsn, ReadError> {
        let written = self.written().0;
        let mut at = from.0;
        let mut buffer = Vec::new();
        while at < written {
            let no = self.geometry.segment_of(at);
            let next = self.map().range(no..).next().map(|(_, segment)| Arc::clone(segment));
            let Some(segment) = next else { break };
            at = at.max(self.geometry.first(segment.no));
            let limit = written.min(self.geometry.end(segment.no));
            let mut frames = Frames::new(&segment, at, limit, std::mem::take(&mut buffer));
            loop {
                match frames.next().map_err(|source| disk_error(&segment, at, source))? {
                    Step::Frame { lsn, head, body } => {
                        at = lsn + head.frame_len() as u64;
                        if head.is(END) {
                            at = self.geometry.first(segment.no + 1);
                            break;
                        }
                        if !head.is(WATERMARK) && visit(Lsn(lsn), body).is_break() {
                            return Ok(Lsn(at));
                        }
                    }
                    Step::Limit => return Ok(Lsn(at)),
                    Step::Bad(lsn) => return Err(damaged(&segment, lsn)),
                }
            }
            buffer = frames.into_buffer();
        }
        Ok(Lsn(at))
    }
}

fn disk_error(segment: &Segment, lsn: u64, source: std::io::Error) -> ReadError {
    ReadError::Disk { file: segment.path.clone(), offset: segment.offset(lsn), source }
}

fn damaged(segment: &Segment, lsn: u64) -> ReadError {
    ReadError::Damaged { lsn: Lsn(lsn), file: segment.path.clone(), offset: segment.offset(lsn) }
}

/// Bytes of one segment from `at` on.
struct Window<'a> {
    segment: &'a Segment,
    at: u64,
    /// Nothing is visible from here on.
    limit: u64,
    buffer: &'a mut Vec<u8>,
}

impl Window<'_> {
    /// Makes the window reach to `end`.
    fn fetch(&mut self, log: &Log, end: u64, wait: Wait) -> Result<(), ReadError> {
        self.buffer.clear();
        if log.ring.copy(self.at..end, self.buffer) {
            return Ok(());
        }
        self.buffer.resize((end - self.at) as usize, 0);
        let offset = self.segment.offset(self.at);
        let got = match wait {
            Wait::Allowed => read_full(&*self.segment.file, self.buffer, offset),
            Wait::Refused => self.segment.file.read_at_cached(self.buffer, offset),
        };
        match got {
            Ok(n) if n == self.buffer.len() => Ok(()),
            Ok(_) if wait == Wait::Refused => Err(ReadError::Cold),
            Ok(n) => {
                self.buffer.truncate(n);
                Ok(())
            }
            Err(error) if wait == Wait::Refused && error.kind() == std::io::ErrorKind::WouldBlock => {
                Err(ReadError::Cold)
            }
            Err(error) => Err(disk_error(self.segment, self.at, error)),
        }
    }

    /// The body of the record at `lsn`, which lies in the window at least with its first byte.
    fn body(&mut self, log: &Log, lsn: u64, wait: Wait) -> Result<&[u8], ReadError> {
        if lsn >= self.limit {
            return Err(ReadError::NotWritten(Lsn(lsn)));
        }
        let mut need = HEADER;
        loop {
            let from = ((lsn - self.at) as usize).min(self.buffer.len());
            if self.buffer.len() - from < need {
                let end = lsn + need as u64;
                if end > self.limit {
                    return Err(damaged(self.segment, lsn));
                }
                self.fetch(log, end, wait)?;
                if self.buffer.len() - from < need {
                    return Err(damaged(self.segment, lsn));
                }
            }
            match frame::parse(&self.buffer[from..], self.limit - lsn, self.segment.salt, lsn) {
                Parsed::Need(bytes) => need = bytes,
                Parsed::Frame(head, _) if !head.is(END | WATERMARK) => {
                    return Ok(&self.buffer[from + HEADER..from + head.frame_len()]);
                }
                _ => return Err(damaged(self.segment, lsn)),
            }
        }
    }
}

/// Walks the frames of one segment in order.
pub(crate) struct Frames<'a> {
    segment: &'a Segment,
    at: u64,
    limit: u64,
    buffer: Vec<u8>,
    /// Address of the buffer's first byte.
    buffer_at: u64,
}

/// What [`Frames`] came upon.
pub(crate) enum Step<'a> {
    Frame {
        lsn: u64,
        head: Head,
        body: &'a [u8],
    },
    /// Nothing valid at this address.
    Bad(u64),
    /// The limit is reached, between two frames.
    Limit,
}

impl<'a> Frames<'a> {
    /// Begins at the frame at `at`, ends at `limit`; `buffer` is an old one to use again.
    pub(crate) fn new(segment: &'a Segment, at: u64, limit: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { segment, at, limit, buffer, buffer_at: at }
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> std::io::Result<Step<'_>> {
        let lsn = self.at;
        if lsn >= self.limit {
            return Ok(Step::Limit);
        }
        let room = self.limit - lsn;
        let salt = self.segment.salt;
        let mut need = HEADER;
        let head = loop {
            let from = (lsn - self.buffer_at) as usize;
            if self.buffer.len() < from + need && !self.refill(need)? {
                return Ok(Step::Bad(lsn));
            }
            let from = (lsn - self.buffer_at) as usize;
            match frame::parse(&self.buffer[from..], room, salt, lsn) {
                Parsed::Need(bytes) => need = bytes,
                Parsed::Bad => return Ok(Step::Bad(lsn)),
                Parsed::Frame(head, _) => break head,
            }
        };
        let from = (lsn - self.buffer_at) as usize;
        self.at += head.frame_len() as u64;
        Ok(Step::Frame { lsn, head, body: &self.buffer[from + HEADER..from + head.frame_len()] })
    }

    /// Reads ahead from the current frame on, at least `need` bytes; false when there are not so many.
    fn refill(&mut self, need: usize) -> std::io::Result<bool> {
        let wanted = AHEAD.max(need).min((self.limit - self.at) as usize);
        self.buffer.resize(wanted, 0);
        self.buffer_at = self.at;
        let n = read_full(&*self.segment.file, &mut self.buffer, self.segment.offset(self.at))?;
        self.buffer.truncate(n);
        Ok(n >= need)
    }
}
