//! Settings of a log.

use std::time::Duration;

use crate::lsn::{Lsn, PAGE};
use crate::stats::Elapsed;

/// How space ahead of the writer is prepared.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Preparation {
    /// Zeroes are written: every byte is handed to the disk twice, and a flush costs about half. For logs that are
    /// flushed before each answer.
    #[default]
    Zeroes,
    /// Space is only allocated, where the file system can: half the bytes. For logs that are flushed now and then.
    Allocation,
}

/// Settings of a log. A folder keeps the `segment_bytes` it was made with; everything else may change at every open.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Size of a segment: a power of two from 64 KiB to 1 GiB. Default 256 MiB. An existing folder's own size wins.
    pub segment_bytes: u64,
    /// Bytes of the newest part of the log kept in memory for readers; rounded down to a power of two, at least
    /// 64 KiB. Default 8 MiB.
    pub ring_bytes: usize,
    /// Space at the end of what is allocated that only acknowledgements, deletes and trims may use. Default 16 MiB,
    /// never more than a quarter of a segment.
    pub reserve_bytes: u64,
    /// Space on the disk that is left to others, such as the owner's snapshots: where less than this is available,
    /// the disk counts as full. [`crate::Log::set_headroom`] changes it. Default 0.
    pub headroom_bytes: u64,
    /// A watermark record is put in after so many bytes. Default 64 KiB.
    pub watermark_bytes: u64,
    /// How space ahead of the writer is prepared. Default [`Preparation::Zeroes`].
    pub preparation: Preparation,
    /// How many dead segments are kept for reuse. Default 2.
    pub spares_max: usize,
    /// How long after a full disk was seen it is asked again. Default 200 ms.
    pub full_retry: Duration,
    /// A flush wanted by few callers waits for others at most so long, and at most a quarter of a usual flush.
    /// Default 250 µs; zero turns it off.
    pub join_wait_max: Duration,
    /// The owner knows that everything below was durable once: a log that ends before it has rotted. Default 0.
    pub durable: Lsn,
    /// By which [`crate::Log::unflushed_for`] goes. Default the system's.
    pub elapsed: Elapsed,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            ring_bytes: 8 << 20,
            reserve_bytes: 16 << 20,
            headroom_bytes: 0,
            watermark_bytes: 64 << 10,
            preparation: Preparation::Zeroes,
            spares_max: 2,
            full_retry: Duration::from_millis(200),
            join_wait_max: Duration::from_micros(250),
            durable: Lsn(0),
            elapsed: Elapsed::default(),
        }
    }
}

/// Smallest and largest size of a segment.
pub(crate) const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

impl LogOptions {
    pub(crate) fn reserve(&self, segment_bytes: u64) -> u64 {
        self.reserve_bytes.min(segment_bytes / 4)
    }

    /// The size of the ring in bytes: a power of two.
    pub(crate) fn ring_size(&self) -> usize {
        let wanted = self.ring_bytes.max(64 << 10);
        1 << wanted.ilog2()
    }

    pub(crate) fn segment_bytes_valid(bytes: u64) -> bool {
        bytes.is_power_of_two() && SEGMENT_BYTES.contains(&bytes) && bytes > PAGE
    }
}
