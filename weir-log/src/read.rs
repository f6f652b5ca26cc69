//! Reading records back: some by address, or all in order.
//!
//! Every record is checked against its checksum, wherever it comes from. Nothing above `written` is visible.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use crate::frame::{self, END, HEADER, Parsed, WATERMARK};
use crate::frames::{Frames, Step, Wait, read_with};
use crate::holes;
use crate::log::Log;
use crate::segment::{Layout, Segment};
use crate::{Lsn, ReadError};

/// The most bytes one read fetches for several records.
const SPAN_MAX: u64 = 256 << 10;
/// Records further apart are fetched one by one.
const GAP_MAX: u64 = 16 << 10;
/// Read behind the beginning of the last record of a span, in the hope that it is no longer.
const GUESS: u64 = 1 << 10;

/// Buffers kept for reuse, and how large one of them may be.
const BUFFERS_MAX: usize = 8;
const BUFFER_BYTES_MAX: usize = 512 << 10;

/// Buffers of readers that are done.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.lock().expect("no panic under this lock").pop().unwrap_or_default()
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut free = self.0.lock().expect("no panic under this lock");
        if free.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_BYTES_MAX {
            free.push(buffer);
        }
    }
}

/// What a reader of many records does with the body of each, given its index.
pub type VisitBody<'a> = dyn FnMut(usize, &[u8]) -> ControlFlow<()> + 'a;
/// What a scan does with each record.
pub type VisitRecord<'a> = dyn FnMut(Lsn, &[u8]) -> ControlFlow<()> + 'a;

impl Log {
    /// Shows `visit` the bodies of the records at `lsns`, in that order, each with its index there.
    ///
    /// Neighbours, in either direction, are fetched together.
    pub fn read_many(&self, lsns: &[Lsn], visit: &mut VisitBody<'_>) -> Result<(), ReadError> {
        self.read_spans(lsns, Wait::Allowed, visit)
    }

    /// Like [`Log::read_many`], but [`ReadError::Cold`] instead of waiting for the disk. Records before the cold one
    /// were shown to `visit` already.
    pub fn read_many_cached(&self, lsns: &[Lsn], visit: &mut VisitBody<'_>) -> Result<(), ReadError> {
        self.read_spans(lsns, Wait::Refused, visit)
    }

    fn read_spans(&self, lsns: &[Lsn], wait: Wait, visit: &mut VisitBody<'_>) -> Result<(), ReadError> {
        let mut buffer = self.buffers.take();
        let read = self.read_into(lsns, wait, visit, &mut buffer);
        self.buffers.give_back(buffer);
        read
    }

    fn read_into(
        &self,
        lsns: &[Lsn],
        wait: Wait,
        visit: &mut VisitBody<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let written = self.written().0;
        let mut index = 0;
        while index < lsns.len() {
            let (count, span) = self.span_of(&lsns[index..]);
            if span.start >= written {
                return Err(ReadError::NotWritten(Lsn(span.start)));
            }
            let segment = self.segment_at(span.start)?;
            let limit = written.min(self.geometry.end(segment.no));
            let mut window = Window { log: self, segment: &segment, at: span.start, limit, buffer, wait };
            let flow = match segment.layout {
                Layout::Plain { .. } => window.plain(index, &lsns[index..index + count], span.end, visit)?,
                Layout::Compacted(_) => window.compacted(index, &lsns[index..index + count], visit)?,
            };
            if flow.is_break() {
                return Ok(());
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
    /// `from` is the address of a record, or of the end of one; what was taken back is passed over.
    pub fn scan(&self, from: Lsn, visit: &mut VisitRecord<'_>) -> Result<Lsn, ReadError> {
        let written = self.written().0;
        let mut at = from.0;
        let mut buffer = Vec::new();
        while at < written {
            let no = self.geometry.segment_of(at);
            let next = self.map().range(no..).next().map(|(_, segment)| Arc::clone(segment));
            let Some(segment) = next.filter(|segment| self.geometry.first(segment.no) < written) else {
                break;
            };
            at = at.max(self.geometry.first(segment.no));
            let limit = written.min(self.geometry.end(segment.no));
            let mut frames = Frames::new(&segment, at, limit, buffer).through(&self.ring);
            loop {
                let offset = frames.offset();
                match frames.next().map_err(|source| disk_error(&segment, offset, source))? {
                    Step::Frame { head, .. } if head.is(END) => break,
                    Step::Frame { lsn, head, body } => {
                        at = lsn + head.frame_len() as u64;
                        if !head.is(WATERMARK) && visit(Lsn(lsn), body).is_break() {
                            return Ok(Lsn(at));
                        }
                    }
                    Step::Limit if limit == written => return Ok(Lsn(written)),
                    Step::Limit => break,
                    Step::Bad(lsn) => return Err(damaged(&segment, lsn, frames.offset())),
                }
            }
            at = self.geometry.first(segment.no + 1);
            buffer = frames.into_buffer();
        }
        Ok(Lsn(at))
    }
}

fn disk_error(segment: &Segment, offset: u64, source: io::Error) -> ReadError {
    if source.kind() == io::ErrorKind::WouldBlock {
        return ReadError::Cold;
    }
    ReadError::Disk { file: segment.path.clone(), offset, source }
}

fn damaged(segment: &Segment, lsn: u64, offset: u64) -> ReadError {
    ReadError::Damaged { lsn: Lsn(lsn), file: segment.path.clone(), offset }
}

/// A part of one segment, in memory.
struct Window<'a> {
    log: &'a Log,
    segment: &'a Segment,
    /// Address of the first byte.
    at: u64,
    /// Nothing is visible from here on.
    limit: u64,
    buffer: &'a mut Vec<u8>,
    wait: Wait,
}

impl Window<'_> {
    /// Shows the records at `lsns`, the last of which begins at `last`.
    fn plain(
        &mut self,
        index: usize,
        lsns: &[Lsn],
        last: u64,
        visit: &mut VisitBody<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        self.fetch((last + GUESS).min(self.limit))?;
        let holes = self.segment.holes();
        for (n, lsn) in lsns.iter().enumerate() {
            // What is dead is gone at once, even where no page could be given back.
            if holes.as_ref().is_some_and(|holes| holes::find(holes, lsn.0).is_some()) {
                return Err(ReadError::Gone(*lsn));
            }
            let segment = self.segment;
            let body = match self.body(lsn.0) {
                // Its space may have been given back since we looked.
                Err(ReadError::Damaged { .. }) if segment.is_hole(lsn.0) => {
                    return Err(ReadError::Gone(*lsn));
                }
                body => body?,
            };
            if visit(index + n, body).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Makes the window reach to `end`, or to the end of the file.
    fn fetch(&mut self, end: u64) -> Result<(), ReadError> {
        if self.log.ring.copy(self.at..end, self.buffer) {
            return Ok(());
        }
        self.buffer.resize(end.saturating_sub(self.at) as usize, 0);
        let offset = self.segment.offset(self.at);
        let read = read_with(&*self.segment.file, self.buffer, offset, self.wait);
        let n = read.map_err(|source| disk_error(self.segment, offset, source))?;
        self.buffer.truncate(n);
        Ok(())
    }

    /// The body of the record at `lsn`, which does not lie below the window.
    fn body(&mut self, lsn: u64) -> Result<&[u8], ReadError> {
        if lsn >= self.limit {
            return Err(ReadError::NotWritten(Lsn(lsn)));
        }
        let damaged = |window: &Self| damaged(window.segment, lsn, window.segment.offset(lsn));
        let mut need = HEADER;
        loop {
            let mut from = ((lsn - self.at) as usize).min(self.buffer.len());
            if self.buffer.len() - from < need {
                let end = lsn + need as u64;
                if end > self.limit {
                    return Err(damaged(self));
                }
                self.fetch(end)?;
                from = ((lsn - self.at) as usize).min(self.buffer.len());
                if self.buffer.len() - from < need {
                    return Err(damaged(self));
                }
            }
            match frame::parse(&self.buffer[from..], self.limit - lsn, self.segment.salt, lsn) {
                Parsed::Need(bytes) => need = bytes,
                Parsed::Frame(head, _) if !head.is(END | WATERMARK) => {
                    return Ok(&self.buffer[from + HEADER..from + head.frame_len()]);
                }
                _ => return Err(damaged(self)),
            }
        }
    }

    /// Shows the records at `lsns` of a compacted segment.
    fn compacted(
        &mut self,
        index: usize,
        lsns: &[Lsn],
        visit: &mut VisitBody<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let mut frames: Option<(u64, Frames<'_>)> = None;
        for (n, lsn) in lsns.iter().enumerate() {
            let mut walk = match frames.take() {
                // Ahead of us and near, as all of a span are.
                Some((passed, walk)) if passed < lsn.0 => walk,
                earlier => {
                    let buffer = earlier.map_or_else(Vec::new, |(_, walk)| walk.into_buffer());
                    Frames::new(self.segment, lsn.0, self.limit, buffer).waiting(self.wait)
                }
            };
            loop {
                let offset = walk.offset();
                match walk.next().map_err(|source| disk_error(self.segment, offset, source))? {
                    Step::Frame { lsn: at, .. } if at < lsn.0 => {}
                    Step::Frame { lsn: at, body, .. } if at == lsn.0 => {
                        if visit(index + n, body).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                        break;
                    }
                    Step::Frame { .. } | Step::Limit => return Err(ReadError::Gone(*lsn)),
                    Step::Bad(at) => return Err(damaged(self.segment, at, offset)),
                }
            }
            frames = Some((lsn.0, walk));
        }
        Ok(ControlFlow::Continue(()))
    }
}
