//! From the queue to the file: one writer at a time, whole pages, group commit.
//!
//! Whoever needs something written drains the queue for everybody; whoever needs it durable flushes for everybody
//! who is written by then, and the others wait for that flush instead of starting their own.
//!
//! Invariants:
//! * `written` and `durable` move only to the end of a submit, never into a transaction.
//! * The bytes of a page that were written before are written again exactly as they were.
//! * After a failure nothing is written or flushed any more.
//!
//! Locks are taken in the order gate, writer, space, queue or map of segments; the gate is not held during a flush.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use crate::log::{Level, Log};
use crate::lsn::{PAGE_LEN, page_down, page_up};
use crate::segment::Segment;
use crate::stats::Stopwatch;
use crate::{LogError, Lsn};

/// Chunks are put together while they wait, so that they cost one write: small ones only, since copying much costs more
/// than another write, and up to this size.
const MERGE_SMALL: usize = 16 << 10;
const MERGE_MAX: usize = 256 << 10;
/// Buffers kept for reuse, and how large one of them may be.
const FREE_MAX: usize = 4;
const FREE_BYTES_MAX: usize = 1 << 20;

/// Bytes on their way to one segment.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Address of the first new byte.
    pub(crate) at: u64,
    /// How many bytes of `bytes` lie before it, back to the border of the page.
    pub(crate) lead: usize,
    pub(crate) salt: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// An empty chunk whose first byte will stand at `at`. Its buffer begins at the border of that page, so that the
    /// writer can put in front what the page holds already and write whole pages without copying the rest.
    pub(crate) fn starting_at(at: u64, salt: u64, mut buffer: Vec<u8>) -> Self {
        let lead = (at - page_down(at)) as usize;
        buffer.clear();
        buffer.resize(lead, 0);
        Self { at, lead, salt, bytes: buffer }
    }

    /// New bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.lead
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn end(&self) -> u64 {
        self.at + self.len() as u64
    }
}

/// Between appender and writer.
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    free: Vec<Vec<u8>>,
    pub(crate) submitted: u64,
    salts: Box<dyn FnMut() -> u64 + Send>,
    /// Salts of segments that are not entered yet.
    planned: BTreeMap<u64, u64>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("chunks", &self.chunks.len())
            .field("submitted", &self.submitted)
            .finish()
    }
}

impl Queue {
    pub(crate) fn new(
        submitted: u64,
        salts: Box<dyn FnMut() -> u64 + Send>,
        planned: BTreeMap<u64, u64>,
    ) -> Self {
        Self { chunks: VecDeque::new(), free: Vec::new(), submitted, salts, planned }
    }

    /// The salt of a segment that is not entered yet: chosen once, at random.
    pub(crate) fn salt_of(&mut self, no: u64) -> u64 {
        let Self { planned, salts, .. } = self;
        *planned.entry(no).or_insert_with(salts)
    }

    /// The writer is in this segment: nobody asks for earlier ones again. Whoever prepares segments may be many
    /// ahead of it, so what was asked for last says nothing.
    fn forget_salts_below(&mut self, no: u64) {
        self.planned = self.planned.split_off(&no);
    }

    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.chunks.push_back(chunk);
    }

    /// Takes what `chunk` holds, merging it into what waits if that is small, and leaves in its place an empty chunk
    /// that begins at `head`. Everything up to there is in the queue then.
    pub(crate) fn hand_over(&mut self, chunk: &mut Chunk, head: u64) {
        self.submitted = head;
        let waiting = self.chunks.back_mut();
        let fits = |last: &&mut Chunk| last.end() == chunk.at && last.bytes.len() + chunk.len() <= MERGE_MAX;
        if let Some(last) = waiting.filter(|last| chunk.len() <= MERGE_SMALL && fits(last)) {
            last.bytes.extend_from_slice(&chunk.bytes[chunk.lead..]);
            let buffer = std::mem::take(&mut chunk.bytes);
            *chunk = Chunk::starting_at(head, chunk.salt, buffer);
            return;
        }
        let next = Chunk::starting_at(head, chunk.salt, self.free.pop().unwrap_or_default());
        self.chunks.push_back(std::mem::replace(chunk, next));
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if self.free.len() < FREE_MAX && buffer.capacity() <= FREE_BYTES_MAX {
            self.free.push(buffer);
        }
    }
}

/// What the writer alone knows.
#[derive(Debug)]
pub(crate) struct Writer {
    segment: Arc<Segment>,
    /// The page that is only partly full, from its border on.
    tail: Box<[u8; PAGE_LEN]>,
    /// Segments written since the last flush, oldest first.
    unsynced: Vec<Arc<Segment>>,
    /// Emptied and filled in turn with the queue's.
    taken: VecDeque<Chunk>,
}

impl Writer {
    pub(crate) fn new(segment: Arc<Segment>, tail: Box<[u8; PAGE_LEN]>) -> Self {
        Self { segment, tail, unsynced: Vec::new(), taken: VecDeque::new() }
    }
}

/// Who flushes, and for how many.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    leading: bool,
    /// Callers who wait for the next flush.
    waiting: u32,
    /// Callers who may soon wait: those the last flush served, and those it came too early for.
    expected: u32,
}

/// With so many callers a flush serves enough of them without waiting for more.
const JOIN_CALLERS: std::ops::Range<u32> = 2..32;

impl Log {
    /// Makes everything up to `upto` as safe as `level` says, doing the work for whoever else waits.
    pub fn commit(&self, upto: Lsn, level: Level) -> Result<(), LogError> {
        if self.reached(level) >= upto {
            return Ok(());
        }
        match level {
            Level::Written => self.write_up_to(upto)?,
            Level::Durable => self.flush_up_to(upto)?,
        }
        if self.reached(level) >= upto {
            return Ok(());
        }
        Err(LogError::NotSubmitted { upto, submitted: self.submitted() })
    }

    /// The end of what was submitted so far.
    #[must_use]
    pub fn submitted(&self) -> Lsn {
        Lsn(self.queue().submitted)
    }

    /// Commits everything submitted so far; returns its end.
    pub fn flush_submitted(&self, level: Level) -> Result<Lsn, LogError> {
        let submitted = self.submitted();
        self.commit(submitted, level)?;
        Ok(submitted)
    }

    /// How far the log is as safe as `level` says.
    #[must_use]
    pub fn reached(&self, level: Level) -> Lsn {
        match level {
            Level::Written => self.written(),
            Level::Durable => self.durable(),
        }
    }

    fn write_up_to(&self, upto: Lsn) -> Result<(), LogError> {
        let now = self.options.elapsed.micros();
        let mut writer = self.writer();
        if self.written() >= upto {
            return Ok(());
        }
        self.write_queued(&mut writer, now)
    }

    fn flush_up_to(&self, upto: Lsn) -> Result<(), LogError> {
        let now = self.options.elapsed.micros();
        let mut gate = self.gate();
        gate.waiting += 1;
        loop {
            if self.durable() >= upto {
                return Ok(());
            }
            self.fault.check()?;
            if !gate.leading {
                break;
            }
            gate = self.turn.wait(gate).expect("no panic under this lock");
        }
        gate.leading = true;
        drop(gate);
        self.let_others_join();
        // Whoever waits by now has submitted before, and is served by what follows.
        let served = std::mem::take(&mut self.gate().waiting);
        let flushed = self.flush(now);
        let mut gate = self.gate();
        gate.leading = false;
        gate.expected = served + gate.waiting;
        drop(gate);
        self.turn.notify_all();
        flushed
    }

    /// Gives those who usually come a moment to do so: one flush for all costs less than two in a row. With few
    /// callers only, and for a fraction of a flush.
    fn let_others_join(&self) {
        let longest = self.options.join_wait_max.min(self.counters.flush_usual() / 4);
        let expected = self.gate().expected;
        if !JOIN_CALLERS.contains(&expected) {
            return;
        }
        let watch = Stopwatch::start();
        while self.gate().waiting < expected && watch.elapsed() < longest {
            std::thread::yield_now();
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().expect("no panic under this lock")
    }

    /// Writes what is queued and flushes everything that is written. `now` is no later than now.
    fn flush(&self, now: u64) -> Result<(), LogError> {
        let (target, segments) = {
            let mut writer = self.writer();
            self.write_queued(&mut writer, now)?;
            (self.written(), std::mem::take(&mut writer.unsynced))
        };
        let watch = Stopwatch::start();
        for segment in &segments {
            segment.sync(&self.fault)?;
        }
        self.counters.flushed(watch.elapsed());
        // What was written since this flush began is younger. First this, then the mark: see `write_queued`.
        self.unflushed_since.store(now, Ordering::Release);
        self.durable.fetch_max(target.0, Ordering::AcqRel);
        Ok(())
    }

    /// Writes everything that is queued. `now` is no later than now.
    fn write_queued(&self, writer: &mut Writer, now: u64) -> Result<(), LogError> {
        self.fault.check()?;
        if self.durable() == self.written() {
            self.unflushed_since.store(now, Ordering::Release);
        }
        let mut taken = std::mem::take(&mut writer.taken);
        let submitted = {
            let mut queue = self.queue();
            std::mem::swap(&mut queue.chunks, &mut taken);
            queue.submitted
        };
        for chunk in &mut taken {
            self.write_chunk(writer, chunk)?;
        }
        // Only now: a transaction may span chunks, and nobody may see the first half of one.
        self.written.fetch_max(submitted, Ordering::AcqRel);
        let mut queue = self.queue();
        for chunk in taken.drain(..) {
            queue.give_back(chunk.bytes);
        }
        drop(queue);
        writer.taken = taken;
        Ok(())
    }

    fn write_chunk(&self, writer: &mut Writer, chunk: &mut Chunk) -> Result<(), LogError> {
        let no = self.geometry.segment_of(chunk.at);
        if writer.segment.no != no {
            writer.segment = self.enter_segment(no, chunk.salt)?;
            assert_eq!(writer.segment.salt, chunk.salt, "a segment has one salt");
            self.queue().forget_salts_below(no);
        }
        let segment = Arc::clone(&writer.segment);
        let end = chunk.end();
        self.ring.push(chunk.at, &chunk.bytes[chunk.lead..]);
        chunk.bytes[..chunk.lead].copy_from_slice(&writer.tail[..chunk.lead]);
        let start = page_down(chunk.at);
        chunk.bytes.resize((page_up(end) - start) as usize, 0);
        if let Err(error) = segment.write(&chunk.bytes, segment.offset(start)) {
            return Err(self.fault.latch(format!("writing {}: {error}", segment.path)));
        }
        let partial = (page_down(end) - start) as usize;
        if let Some(tail) = chunk.bytes.get(partial..partial + PAGE_LEN) {
            writer.tail.copy_from_slice(tail);
        }
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_written.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        self.counters.bytes_appended.fetch_add(end - chunk.at, Ordering::Relaxed);
        if !writer.unsynced.last().is_some_and(|last| Arc::ptr_eq(last, &segment)) {
            writer.unsynced.push(segment);
        }
        Ok(())
    }
}
