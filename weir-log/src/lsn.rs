//! Addresses in the log.

use std::fmt;

/// A logical byte address in the log. It never changes, not even when the space around it is taken back.
///
/// Segment number = address / segment size; the first record of a segment stands right behind its 4 KiB header.
/// `Lsn(0)` lies before everything.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Size of a page: writes are whole pages, a segment's header is one page.
pub(crate) const PAGE: u64 = 4096;
/// [`PAGE`] for indexing.
pub(crate) const PAGE_LEN: usize = 4096;

/// How addresses map to segments.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    shift: u32,
}

impl Geometry {
    /// `segment_bytes` is a power of two.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        debug_assert!(segment_bytes.is_power_of_two());
        Self { shift: segment_bytes.trailing_zeros() }
    }

    pub(crate) fn segment_bytes(self) -> u64 {
        1 << self.shift
    }

    /// The segment that holds `at`.
    pub(crate) fn segment_of(self, at: u64) -> u64 {
        at >> self.shift
    }

    /// Address of the first byte (of the header) of segment `no`.
    pub(crate) fn base(self, no: u64) -> u64 {
        no << self.shift
    }

    /// Address of the first record of segment `no`.
    pub(crate) fn first(self, no: u64) -> u64 {
        self.base(no) + PAGE
    }

    /// Address behind the last byte of segment `no`.
    pub(crate) fn end(self, no: u64) -> u64 {
        self.base(no) + self.segment_bytes()
    }
}

/// The page border at or below `at`.
pub(crate) fn page_down(at: u64) -> u64 {
    at & !(PAGE - 1)
}

/// The page border at or above `at`.
pub(crate) fn page_up(at: u64) -> u64 {
    page_down(at + PAGE - 1)
}
