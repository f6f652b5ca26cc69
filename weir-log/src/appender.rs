//! Puts records one behind the other in memory and hands them over to be written.
//!
//! Invariants:
//! * Chunks handed over lie in log order and never end inside a transaction.
//! * Eight bytes always stay free at the end of a segment, so that it can be closed.
//! * A frame's head and checksum are filled in when the next record comes or on submit, never later.
//!
//! Does no I/O; takes only the queue's lock, for moments.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Lsn;
use crate::frame::{self, BODY_MAX, END, HEADER, TXN_MORE, WATERMARK};
use crate::log::Log;
use crate::lsn::PAGE;
use crate::writer::Chunk;

/// The writing end of a [`Log`]. There is one, and its owner orders its use (`&mut`).
#[derive(Debug)]
pub struct Appender {
    log: Arc<Log>,
    /// Whole chunks of earlier segments, waiting for the transaction's end.
    closed: Vec<Chunk>,
    chunk: Chunk,
    segment_end: u64,
    head: u64,
    /// Where in the chunk the newest frame begins, while its head and checksum are still missing.
    unsealed: Option<usize>,
    in_transaction: bool,
    /// Where the newest watermark frame ends, and what it says.
    watermark_at: u64,
    watermark: u64,
    max_record: usize,
}

impl Appender {
    /// Goes on at `head`, which lies in a segment with this `salt`.
    pub(crate) fn new(log: Arc<Log>, head: u64, salt: u64) -> Self {
        let geometry = log.geometry;
        let segment = geometry.segment_of(head);
        let room = (geometry.segment_bytes() - PAGE) as usize - 2 * HEADER;
        Self {
            chunk: Chunk::starting_at(head, salt, Vec::new()),
            log,
            closed: Vec::new(),
            segment_end: geometry.end(segment),
            head,
            unsealed: None,
            in_transaction: false,
            watermark_at: head,
            watermark: 0,
            max_record: room.min(BODY_MAX),
        }
    }

    /// The end of everything appended so far.
    pub fn head(&self) -> Lsn {
        Lsn(self.head)
    }

    /// The largest body that fits, in bytes.
    pub fn max_record(&self) -> usize {
        self.max_record
    }

    /// Bytes appended but not yet submitted, frames included.
    pub fn buffered(&self) -> usize {
        let closed: usize = self.closed.iter().map(Chunk::len).sum();
        closed + self.chunk.len()
    }

    /// Appends one record, whose body `encode` writes at the end of the buffer it is given; returns its address.
    ///
    /// # Panics
    /// When the body is longer than [`Appender::max_record`], or `encode` takes away bytes that are not its own.
    pub fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Lsn {
        if !self.in_transaction {
            self.append_watermark_when_due();
        }
        let flags = if self.in_transaction { TXN_MORE } else { 0 };
        self.seal(flags);
        let at = self.begin_frame();
        encode(&mut self.chunk.bytes);
        self.end_frame(at)
    }

    /// Opens a transaction: the records up to [`Appender::end`] are found together after a crash or not at all.
    /// Nothing can be submitted before its end.
    pub fn begin(&mut self) {
        assert!(!self.in_transaction, "transactions do not nest");
        self.append_watermark_when_due();
        self.seal(0);
        self.in_transaction = true;
    }

    /// Closes the transaction.
    pub fn end(&mut self) {
        assert!(self.in_transaction, "no transaction is open");
        self.in_transaction = false;
    }

    /// Hands everything over to be written by the next [`Log::commit`].
    pub fn submit(&mut self) {
        assert!(!self.in_transaction, "a transaction is handed over whole");
        self.seal(0);
        if self.closed.is_empty() && self.chunk.is_empty() {
            return;
        }
        let mut queue = self.log.queue();
        for chunk in self.closed.drain(..) {
            queue.push(chunk);
        }
        queue.hand_over(&mut self.chunk, self.head);
    }

    /// Puts in how far the log is durable, if that is news, so that the log moves on although nobody appends.
    pub fn mark(&mut self) {
        assert!(!self.in_transaction, "a mark stands between transactions");
        self.append_watermark();
    }

    fn append_watermark_when_due(&mut self) {
        if self.head - self.watermark_at >= self.log.options.watermark_bytes {
            self.append_watermark();
        }
    }

    /// Puts in how far the log is durable, if that is news.
    pub(crate) fn append_watermark(&mut self) {
        let durable = self.log.durable().0;
        if durable <= self.watermark {
            return;
        }
        self.seal(0);
        let at = self.begin_frame();
        self.chunk.bytes.extend_from_slice(&durable.to_le_bytes());
        self.end_frame(at);
        self.seal(WATERMARK);
        self.watermark = durable;
        self.watermark_at = self.head;
    }

    /// Leaves room for head and checksum; returns where the frame begins in the chunk.
    fn begin_frame(&mut self) -> usize {
        let at = self.chunk.bytes.len();
        self.chunk.bytes.extend_from_slice(&[0; HEADER]);
        at
    }

    /// Closes the frame at `at`, moving it to the next segment if it does not fit into this one.
    fn end_frame(&mut self, at: usize) -> Lsn {
        let whole = self.chunk.bytes.len().checked_sub(at).filter(|len| *len >= HEADER);
        let whole = whole.expect("encode only adds bytes");
        assert!(whole - HEADER <= self.max_record, "a record of {} bytes does not fit", whole - HEADER);
        let mut at = at;
        if self.head + (whole + HEADER) as u64 > self.segment_end {
            at = self.change_segment(at);
        }
        let lsn = self.head;
        self.unsealed = Some(at);
        self.head += whole as u64;
        self.log.head.store(self.head, Ordering::Relaxed);
        Lsn(lsn)
    }

    /// Closes the segment in front of the frame at `at` and begins the next one with that frame.
    fn change_segment(&mut self, at: usize) -> usize {
        let geometry = self.log.geometry;
        let frame = self.chunk.bytes.split_off(at);
        self.chunk.bytes.extend_from_slice(&[0; HEADER]);
        frame::seal(&mut self.chunk.bytes[at..], self.chunk.salt, self.head, END);
        let no = geometry.segment_of(self.head) + 1;
        self.head = geometry.first(no);
        self.segment_end = geometry.end(no);
        let salt = self.log.queue().salt_of(no);
        let next = Chunk { at: self.head, lead: 0, salt, bytes: frame };
        self.closed.push(std::mem::replace(&mut self.chunk, next));
        0
    }

    /// Fills in head and checksum of the newest frame.
    fn seal(&mut self, flags: u32) {
        if let Some(at) = self.unsealed.take() {
            let bytes = &mut self.chunk.bytes[at..];
            let lsn = self.head - bytes.len() as u64;
            frame::seal(bytes, self.chunk.salt, lsn, flags);
        }
    }
}
