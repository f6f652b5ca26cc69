//! Wide reads: the part of a stream's index that one wants, as it was in one turn, looked up without the lock.
//!
//! Under the lock only the heads of the blocks are noted, with what is deleted in them. Blocks never change, so the
//! answer is exactly what it would have been in that turn, whatever is added or removed meanwhile. Only where a block's
//! space was given back before it was read, the scan is dropped, and the request leaves another one behind.

use std::ops::ControlFlow;

use weir_core::Error;
use weir_log::{Log, Lsn};

use crate::ahead::{Looked, read_blocks};
use crate::api::EntryRef;
use crate::block::Block;
use crate::stream::{Span, Stream};

/// Blocks read at a time.
const BLOCKS_AT_ONCE: usize = 256;

/// Which question a scan answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanOf {
    /// The number of the stream's key; never given twice.
    pub(crate) key: u64,
    pub(crate) span: Span,
    /// Newest first.
    pub(crate) reverse: bool,
}

impl ScanOf {
    /// Whether the answer to this one answers another, perhaps with more than is wanted.
    pub(crate) fn answers(&self, other: &Self) -> bool {
        let span = Span { most: other.span.most, ..self.span };
        self.span.most >= span.most && Self { span, ..*self } == *other
    }

    fn most(&self) -> usize {
        usize::try_from(self.span.most).unwrap_or(usize::MAX)
    }
}

/// A wide read that is to be looked up.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) of: ScanOf,
    /// Sealed blocks in the order wanted, and what is deleted in each.
    sealed: Vec<(Lsn, u128)>,
    /// The tail, when it is wanted: last, or first of all where the newest come first.
    tail: Option<(Block, u128)>,
}

impl Scan {
    /// Notes what is wanted of a stream.
    pub(crate) fn of(stream: &Stream, of: ScanOf) -> Self {
        let mut scan = Self { of, sealed: Vec::new(), tail: None };
        stream.blocks_of(&of.span, of.reverse, |info| {
            let mask = stream.deleted_mask(info.first_pos);
            match info.lsn {
                Some(lsn) => scan.sealed.push((lsn, mask)),
                None => scan.tail = Some((stream.tail.block.clone(), mask)),
            }
            ControlFlow::Continue(())
        });
        scan
    }

    /// How many blocks are to be read.
    pub(crate) fn blocks(&self) -> usize {
        self.sealed.len()
    }

    /// The highest place that is to be read.
    pub(crate) fn last(&self) -> Option<Lsn> {
        self.sealed.iter().map(|(lsn, _)| *lsn).max()
    }

    /// Looks everything up. Waits for the disk. Where a block is gone meanwhile, the question has to be asked anew.
    pub(crate) fn resolve(&self, log: &Log) -> Result<Looked<Vec<EntryRef>>, Error> {
        let mut refs = Vec::new();
        if let Some((block, mask)) = self.tail.as_ref().filter(|_| self.of.reverse) {
            self.take(block, *mask, &mut refs);
        }
        for part in self.sealed.chunks(BLOCKS_AT_ONCE) {
            if refs.len() >= self.of.most() {
                break;
            }
            let lsns: Vec<Lsn> = part.iter().map(|(lsn, _)| *lsn).collect();
            let mut masks = part.iter().map(|(_, mask)| *mask);
            let looked = read_blocks(log, &lsns, &mut |block| {
                self.take(&block, masks.next().unwrap_or_default(), &mut refs);
                if refs.len() >= self.of.most() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if let Looked::Gone(lsn) = looked {
                return Ok(Looked::Gone(lsn));
            }
        }
        if let Some((block, mask)) = self.tail.as_ref().filter(|_| !self.of.reverse) {
            self.take(block, *mask, &mut refs);
        }
        refs.truncate(self.of.most());
        Ok(Looked::Whole(refs))
    }

    fn take(&self, block: &Block, mask: u128, refs: &mut Vec<EntryRef>) {
        let before = refs.len();
        let wanted = block
            .iter()
            .enumerate()
            .filter(|(nth, entry)| mask & (1 << nth) == 0 && self.of.span.holds(entry.id));
        refs.extend(wanted.map(|(_, entry)| EntryRef::from(entry)));
        if self.of.reverse {
            refs[before..].reverse();
        }
    }
}
