//! Rewriting a sealed segment without its dead records. Addresses stay: each record carries its own, and a sparse
//! index finds it.
//!
//! ```text
//! header page | (u64 address | frame, unchanged)* | (u32 address in the segment, u32 position in the file)*
//!             4096                                data_end
//! ```
//!
//! The new file is whole and durable before it gets its name; from then on it wins over the old one, which goes.
//! A crash leaves one of the two.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{DiskFile, Open, read_full};
use crate::error::beside;
use crate::folder::{self, SEGMENTS};
use crate::frame::{END, HEADER, Head, WATERMARK, u32_at, u64_at};
use crate::frames::{Frames, Step};
use crate::log::Log;
use crate::lsn::PAGE;
use crate::segment::{Header, Layout, Segment};
use crate::{LogError, Lsn};

/// The index has an entry every so many bytes of the file.
const INDEX_STEP: u64 = 4 << 10;
/// Bytes gathered for one write.
const WRITE: usize = 256 << 10;
/// The most one [`Compaction::step`] reads.
const SLICE: u64 = 4 << 20;

/// Where in a compacted file to begin looking for an address.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Address in the segment, position in the file; both ascending.
    entries: Vec<(u32, u32)>,
    data_end: u64,
}

impl Index {
    /// The position at or in front of the first record at or behind this address in the segment.
    pub(crate) fn floor(&self, address: u64) -> u64 {
        let behind = self.entries.partition_point(|(at, _)| u64::from(*at) <= address);
        behind.checked_sub(1).map_or(PAGE, |index| u64::from(self.entries[index].1))
    }

    pub(crate) fn data_end(&self) -> u64 {
        self.data_end
    }

    fn note(&mut self, address: u64, position: u64) {
        let due = self.entries.last().is_none_or(|(_, last)| position - u64::from(*last) >= INDEX_STEP);
        if due {
            self.entries.push((address as u32, position as u32));
        }
    }

    fn encode(&self) -> Vec<u8> {
        self.entries
            .iter()
            .flat_map(|(at, position)| [at.to_le_bytes(), position.to_le_bytes()])
            .flatten()
            .collect()
    }

    /// Reads the index behind the records; makes it anew from the records if it is damaged.
    pub(crate) fn load(file: &dyn DiskFile, header: &Header) -> io::Result<Self> {
        let mut bytes = vec![0; header.index_entries as usize * 8];
        let n = read_full(file, &mut bytes, header.data_end)?;
        if n < bytes.len() || crc32c::crc32c(&bytes) != header.index_crc {
            return Self::rebuild(file, header);
        }
        let entries = bytes.chunks_exact(8).map(|pair| (u32_at(pair, 0), u32_at(pair, 4))).collect();
        Ok(Self { entries, data_end: header.data_end })
    }

    /// Follows the lengths of the records, as far as they make sense; whoever reads them checks them.
    fn rebuild(file: &dyn DiskFile, header: &Header) -> io::Result<Self> {
        let mut index = Self { entries: Vec::new(), data_end: header.data_end };
        let mut at = PAGE;
        let mut start = [0; 8 + HEADER];
        while at + start.len() as u64 <= header.data_end {
            if read_full(file, &mut start, at)? < start.len() {
                break;
            }
            let Some(head) = Head::parse(u32_at(&start, 8)) else { break };
            index.note(u64_at(&start, 0) % header.segment_bytes, at);
            at += 8 + head.frame_len() as u64;
        }
        Ok(index)
    }
}

/// What a compaction did.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Records kept.
    pub kept: u64,
    /// Records dropped.
    pub dropped: u64,
    /// Bytes of the new file; 0 when nothing was kept and the segment is gone.
    pub bytes: u64,
}

/// A segment being rewritten, a slice at a time. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Compaction {
    log: Arc<Log>,
    old: Arc<Segment>,
    /// Address of the next record to look at.
    next: u64,
    path: String,
    /// None when nothing is to be done any more.
    file: Option<Arc<dyn DiskFile>>,
    buffer: Vec<u8>,
    /// Position in the file of the buffer's first byte.
    written: u64,
    index: Index,
    done: Compacted,
}

impl Log {
    /// Rewrites a sealed segment, keeping the records for which `keep` says so; addresses stay what they are.
    pub fn compact(
        self: &Arc<Self>,
        no: u64,
        keep: &mut dyn FnMut(Lsn, &[u8]) -> bool,
    ) -> Result<Compacted, LogError> {
        let mut compaction = self.compaction(no)?;
        loop {
            if let Some(done) = compaction.step(keep)? {
                return Ok(done);
            }
        }
    }

    /// Begins to rewrite a sealed segment; see [`Compaction::step`].
    pub fn compaction(self: &Arc<Self>, no: u64) -> Result<Compaction, LogError> {
        let old = self.sealed(no)?;
        let path = format!("{}.new", folder::compacted_path(no, old.generation + 1));
        let file =
            self.disk.open(&path, Open::Create).map_err(|error| beside(format!("making {path}"), error))?;
        Ok(Compaction {
            log: Arc::clone(self),
            next: self.geometry.first(no),
            old,
            path,
            file: Some(file),
            buffer: Vec::new(),
            written: PAGE,
            index: Index::default(),
            done: Compacted::default(),
        })
    }
}

impl Compaction {
    /// Does a bounded piece of the work; the result when it is done. An error ends it and leaves the segment as it
    /// was.
    pub fn step(&mut self, keep: &mut dyn FnMut(Lsn, &[u8]) -> bool) -> Result<Option<Compacted>, LogError> {
        let Some(file) = self.file.clone() else { return Ok(Some(self.done)) };
        let more = self.copy(&*file, keep)?;
        if more {
            return Ok(None);
        }
        self.file = None;
        let installed = if self.done.kept == 0 { self.install_nothing() } else { self.install(file) };
        if installed.is_err() {
            drop(self.log.disk.remove(&self.path));
        }
        installed.map(|()| Some(self.done))
    }

    /// Copies what is kept of the next slice; false at the segment's end.
    fn copy(
        &mut self,
        file: &dyn DiskFile,
        keep: &mut dyn FnMut(Lsn, &[u8]) -> bool,
    ) -> Result<bool, LogError> {
        let old = Arc::clone(&self.old);
        let end = self.log.geometry.end(old.no);
        let mut frames = Frames::new(&old, self.next, end, Vec::new());
        let stop = frames.offset() + SLICE;
        loop {
            match frames.next().map_err(|error| beside(format!("reading {}", old.path), error))? {
                Step::Frame { head, .. } if head.is(END) => break,
                Step::Frame { head, .. } if head.is(WATERMARK) => {}
                Step::Frame { lsn, head, body } => {
                    self.next = lsn + 1;
                    if keep(Lsn(lsn), body) {
                        self.keep(lsn, head, body);
                    } else {
                        self.done.dropped += 1;
                    }
                }
                Step::Limit => break,
                Step::Bad(lsn) => {
                    let what = format!("not rewritten, since the record at log address {lsn} is damaged");
                    return Err(LogError::Segment { segment: old.no, what });
                }
            }
            if self.buffer.len() >= WRITE {
                self.write(file)?;
            }
            if frames.offset() >= stop {
                self.next = self.resume_at(&frames);
                return Ok(true);
            }
        }
        self.write(file)?;
        Ok(false)
    }

    /// The address to go on from: in a plain segment the next frame, in a compacted one the next address.
    fn resume_at(&self, frames: &Frames<'_>) -> u64 {
        match self.old.layout {
            Layout::Plain { .. } => self.old.base + frames.offset(),
            Layout::Compacted(_) => self.next,
        }
    }

    fn keep(&mut self, lsn: u64, head: Head, body: &[u8]) {
        self.index.note(lsn - self.old.base, self.written + self.buffer.len() as u64);
        self.buffer.extend_from_slice(&lsn.to_le_bytes());
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER]);
        self.buffer.extend_from_slice(body);
        crate::frame::seal(&mut self.buffer[at..], self.old.salt, lsn, head.flags());
        self.done.kept += 1;
    }

    fn write(&mut self, file: &dyn DiskFile) -> Result<(), LogError> {
        file.write_at(&self.buffer, self.written)
            .map_err(|error| beside(format!("writing {}", self.path), error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn install(&mut self, file: Arc<dyn DiskFile>) -> Result<(), LogError> {
        let log = &self.log;
        let index = self.index.encode();
        self.index.data_end = self.written;
        let plain = Header::plain(log.log_id, self.old.no, log.segment_bytes(), self.old.salt);
        let header = Header {
            generation: self.old.generation + 1,
            data_end: self.written,
            index_entries: self.index.entries.len() as u32,
            index_crc: crc32c::crc32c(&index),
            ..plain
        };
        let path = folder::compacted_path(header.no, header.generation);
        let named = (|| {
            file.write_at(&index, self.written)?;
            file.write_at(&header.encode(), 0)?;
            file.sync_data()?;
            log.disk.rename(&self.path, &path)?;
            log.disk.sync_dir(SEGMENTS)
        })();
        named.map_err(|error| beside(format!("finishing {path}"), error))?;
        self.done.bytes = self.written + index.len() as u64;
        let layout = Layout::Compacted(std::mem::take(&mut self.index));
        let new = Arc::new(Segment::with_layout(log.geometry, &header, path, file, layout));
        log.segments.write().expect("no panic under this lock").insert(header.no, new);
        log.counters.compacted.fetch_add(1, Ordering::Relaxed);
        log.retire(Arc::clone(&self.old))
    }

    fn install_nothing(&mut self) -> Result<(), LogError> {
        drop(self.log.disk.remove(&self.path));
        self.log.recycle(self.old.no)
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        if self.file.is_some() {
            // If this fails, the next open removes it.
            drop(self.log.disk.remove(&self.path));
        }
    }
}
