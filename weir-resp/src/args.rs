//! The arguments of one request: ranges into the read buffer, reused from request to request.
//!
//! Invariants:
//! * A range lies inside the bytes it refers to: the buffer given to the decoder, or the own scratch of an
//!   inline request (whose quotes and escapes have to be resolved somewhere).
//! * Clearing keeps a small capacity and gives a large one back.

use std::ops::Index;

/// Ranges that stay allocated between requests (32 KiB); what one huge request needed beyond is given back.
const RANGES_KEPT: usize = 4_096;
/// Scratch bytes that stay allocated between inline requests.
const SCRATCH_KEPT: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range32 {
    start: u32,
    end: u32,
}

/// Where the ranges point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Source {
    #[default]
    Buffer,
    Scratch,
}

/// The arguments of one request, without their bytes.
///
/// Filled by [`crate::Decoder::decode`]; [`Args::of`] puts the bytes back. One `Args` may serve all
/// connections of a thread, as long as a connection that stopped in mid-request keeps its own.
#[derive(Debug, Default)]
pub struct Args {
    ranges: Vec<Range32>,
    scratch: Vec<u8>,
    source: Source,
}

impl Args {
    /// No arguments, nothing allocated.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new(), scratch: Vec::new(), source: Source::Buffer }
    }

    /// How many arguments there are, the command's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The request, given the same buffer the decoder completed it from (or one that begins with the same bytes).
    #[must_use]
    #[inline]
    pub fn of<'a>(&'a self, buffer: &'a [u8]) -> Request<'a> {
        let bytes = match self.source {
            Source::Buffer => buffer,
            Source::Scratch => &self.scratch,
        };
        Request { ranges: &self.ranges, bytes }
    }

    /// Heap bytes held, for accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Range32>() + self.scratch.capacity()
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
        if self.ranges.capacity() > RANGES_KEPT {
            self.ranges.shrink_to(RANGES_KEPT);
        }
        if self.source == Source::Scratch {
            self.scratch.clear();
            self.scratch.shrink_to(SCRATCH_KEPT);
            self.source = Source::Buffer;
        }
    }

    /// Adds the range `start..end` of the buffer. Offsets fit, since no request exceeds `u32::MAX` bytes.
    #[inline]
    pub(crate) fn push(&mut self, start: usize, end: usize) {
        self.ranges.push(Range32 { start: offset(start), end: offset(end) });
    }

    /// The scratch that from now on backs the arguments; ranges are added with [`Args::push`].
    pub(crate) fn use_scratch(&mut self) -> &mut Vec<u8> {
        self.source = Source::Scratch;
        &mut self.scratch
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("Limits::request_max is a u32, and it bounds every offset")
}

/// One request: the command's name and its arguments.
///
/// Indexing panics beyond the last argument, as for slices; [`Request::get`] does not.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    ranges: &'a [Range32],
    bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// How many arguments there are, the command's name included.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none; never so for a request that was completed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`; 0 is the command's name.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        self.bytes.get(range.start as usize..range.end as usize)
    }

    /// The arguments from `index` on; empty when there are not that many.
    #[must_use]
    pub fn skip(&self, index: usize) -> Self {
        Self { ranges: self.ranges.get(index..).unwrap_or_default(), bytes: self.bytes }
    }

    /// All arguments in order.
    #[must_use]
    pub fn iter(&self) -> ArgsIter<'a> {
        ArgsIter { ranges: self.ranges.iter(), bytes: self.bytes }
    }

    /// The sum of the arguments' lengths in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.ranges.iter().map(|range| (range.end - range.start) as usize).sum()
    }
}

impl Index<usize> for Request<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        let range = self.ranges[index];
        &self.bytes[range.start as usize..range.end as usize]
    }
}

impl<'a> IntoIterator for Request<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgsIter<'a>;

    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Request<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgsIter<'a>;

    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

/// Goes over the arguments of a [`Request`].
#[derive(Debug, Clone)]
pub struct ArgsIter<'a> {
    ranges: std::slice::Iter<'a, Range32>,
    bytes: &'a [u8],
}

impl<'a> Iterator for ArgsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let range = self.ranges.next()?;
        self.bytes.get(range.start as usize..range.end as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}

impl ExactSizeIterator for ArgsIter<'_> {}
