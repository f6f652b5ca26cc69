//! Taking space back: dead segments become spares, dead ranges become holes.
//!
//! What is dead the owner of the log knows; here it only stops being there. A file is not touched while a reader
//! still holds it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::beside;
use crate::folder::{self, SEGMENTS};
use crate::frames::{Frames, Step};
use crate::log::Log;
use crate::lsn::{page_down, page_up};
use crate::segment::{Layout, Segment};
use crate::{LogError, Lsn, holes};

impl Log {
    /// Takes a dead segment away: it is kept for reuse, or removed. Its records are gone at once; its file follows
    /// when the last reader has let go of it, in [`Log::background_step`].
    ///
    /// Nothing in the segment may be needed at the next open: the owner's snapshot covers it, durably.
    pub fn recycle(&self, no: u64) -> Result<(), LogError> {
        let segment = self.sealed(no)?;
        self.segments.write().expect("no panic under this lock").remove(&no);
        self.retire(segment)
    }

    /// Takes away every segment that ends at or below `lsn`; returns how many.
    pub fn drop_segments_below(&self, lsn: Lsn) -> Result<u64, LogError> {
        let dead: Vec<_> = self.map().keys().copied().filter(|no| self.geometry.end(*no) <= lsn.0).collect();
        for no in &dead {
            self.recycle(*no)?;
        }
        Ok(dead.len() as u64)
    }

    /// Gives the space of dead ranges of a sealed segment back to the disk, as far as it makes up whole pages.
    ///
    /// Each range begins at a record and ends at a record, or at or behind the segment's end. Returns the bytes
    /// that were given back. Nothing in them may be needed at the next open. Can be repeated.
    pub fn punch(&self, no: u64, dead: &[Range<Lsn>]) -> Result<u64, LogError> {
        let segment = self.sealed(no)?;
        if matches!(segment.layout, Layout::Compacted(_)) {
            let what = "holes are not punched into a rewritten segment; rewrite it again".to_owned();
            return Err(LogError::Segment { segment: no, what });
        }
        let end = self.geometry.end(no);
        let dead: Vec<_> = dead.iter().map(|range| range.start.0..range.end.0.min(end)).collect();
        for range in &dead {
            self.check_range(&segment, range)?;
        }
        let old = segment.holes();
        let all: Arc<[Range<u64>]> = holes::merge(old.as_deref().unwrap_or_default(), &dead).into();
        let path = folder::holes_path(no);
        if old.as_ref() != Some(&all) {
            let bytes = holes::encode(&all, segment.salt);
            let written = folder::write_small(&*self.disk, &path, &bytes);
            written.map_err(|error| beside(format!("writing {path}"), error))?;
            segment.set_holes(Arc::clone(&all));
        }
        let mut given = 0;
        for hole in all.iter() {
            let (from, to) = (page_up(segment.offset(hole.start)), page_down(segment.offset(hole.end)));
            if from < to {
                let punched = segment.file.punch(from, to - from);
                punched.map_err(|error| beside(format!("punching {}", segment.path), error))?;
                given += to - from;
            }
        }
        self.counters.bytes_punched.fetch_add(given, Ordering::Relaxed);
        Ok(given)
    }

    /// Refuses a range that does not go from record to record: behind such a hole nothing would be found again.
    fn check_range(&self, segment: &Segment, range: &Range<u64>) -> Result<(), LogError> {
        let refuse = |what: &str| {
            let what = format!("{what}: {}..{}", range.start, range.end);
            Err(LogError::Segment { segment: segment.no, what })
        };
        if range.start >= range.end || range.start < self.geometry.first(segment.no) {
            return refuse("no range of this segment");
        }
        let mut frames = Frames::new(segment, range.start, range.end, Vec::new());
        loop {
            match frames.next().map_err(|error| beside(format!("reading {}", segment.path), error))? {
                Step::Frame { .. } => {}
                Step::Limit => return Ok(()),
                // Behind the frame that closes the segment there is nothing.
                Step::Bad(_) if range.end == self.geometry.end(segment.no) => return Ok(()),
                Step::Bad(_) => return refuse("this range does not go from record to record"),
            }
        }
    }

    /// A segment that is full and flushed.
    pub(crate) fn sealed(&self, no: u64) -> Result<Arc<Segment>, LogError> {
        let what = match self.map().get(&no) {
            Some(segment) if self.durable().0 >= self.geometry.end(no) => return Ok(Arc::clone(segment)),
            Some(_) => "it is not full and flushed yet",
            None => "there is no such segment",
        };
        Err(LogError::Segment { segment: no, what: what.into() })
    }

    /// Takes care of the file of a segment that is in use no more.
    pub(crate) fn retire(&self, segment: Arc<Segment>) -> Result<(), LogError> {
        let mut work = self.space.work();
        work.retired.push(segment);
        // There may be space now where there was none.
        work.full_since = None;
        drop(work);
        Ok(())
    }

    /// Makes spares of retired segments that nobody reads any more, or removes their files.
    pub(crate) fn clear_retired(&self) -> Result<(), LogError> {
        let mut work = self.space.work();
        let mut index = 0;
        while index < work.retired.len() {
            if Arc::strong_count(&work.retired[index]) > 1 {
                index += 1;
                continue;
            }
            let segment = work.retired.swap_remove(index);
            let holes = segment.holes().is_some();
            // A spare must take no space when it is used, so it is whole.
            let whole = segment.generation == 0 && !holes && segment.filled() == self.segment_bytes();
            let wanted = work.spares.len() < self.options.spares_max && !self.space.is_full();
            let cleared = if whole && wanted {
                self.make_spare(&segment).map(|spare| work.spares.push(spare))
            } else {
                self.disk.remove(&segment.path)
            };
            cleared.map_err(|error| beside(format!("reclaiming {}", segment.path), error))?;
            if holes {
                let path = folder::holes_path(segment.no);
                self.disk.remove(&path).map_err(|error| beside(format!("removing {path}"), error))?;
            }
        }
        Ok(())
    }

    fn make_spare(&self, segment: &Segment) -> std::io::Result<String> {
        let spare = folder::spare_path(segment.no);
        self.disk.rename(&segment.path, &spare)?;
        // Durable before its header becomes that of another segment.
        self.disk.sync_dir(SEGMENTS)?;
        Ok(spare)
    }
}
