//! What can go wrong, one type for each of: opening, writing, reading.

use std::io;
use std::sync::Arc;

use crate::Lsn;

/// Why a log could not be opened. `E` is what the caller's replay function refused with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E> {
    /// The disk failed.
    #[error("cannot open the log: {what}")]
    Disk {
        /// What was being done, and to which file.
        what: String,
        /// The failure.
        #[source]
        source: io::Error,
    },
    /// A setting makes no sense.
    #[error("cannot open the log: {0}")]
    Options(String),
    /// Bytes that were durable once cannot be read any more.
    #[error(
        "the log is damaged: {file} at byte {offset} (log address {lsn}): {what}; the log was durable up to address \
         {watermark}. Restore a backup, or run `weir check DIR --repair`, which keeps a copy of what it cuts"
    )]
    Rot {
        /// The file, relative to the data folder.
        file: String,
        /// Where in the file.
        offset: u64,
        /// The log address of the first bad byte.
        lsn: Lsn,
        /// The highest address for which there is proof that everything below it was durable.
        watermark: Lsn,
        /// What is wrong there.
        what: String,
    },
    /// A segment of another log, or of a newer version.
    #[error("cannot open the log: {file} {what}")]
    Foreign {
        /// The file, relative to the data folder.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The caller's replay function refused a record.
    #[error("the record at log address {lsn} was refused while the log was replayed")]
    Replay {
        /// The record.
        lsn: Lsn,
        /// What the replay function said.
        error: E,
    },
}

/// Why the log could not be written or flushed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A write or a flush has failed, now or earlier. Nothing is written any more until the log is opened anew.
    #[error("the log takes no more writes until it is opened again: {reason}")]
    Faulted {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The log was shut; somebody else may have its folder now.
    #[error("the log was closed")]
    Shut,
    /// A commit of something that was never submitted.
    #[error("the log was asked to commit up to {upto}, but only {submitted} was submitted")]
    NotSubmitted {
        /// What was asked for.
        upto: Lsn,
        /// What there is.
        submitted: Lsn,
    },
    /// A failure beside the log's data (preparing or reclaiming space): nothing is lost and it may be tried again.
    #[error("{what}: {source}")]
    Disk {
        /// What was being done, and to which file.
        what: String,
        /// The failure.
        source: Arc<io::Error>,
    },
    /// Not possible for this segment.
    #[error("segment {segment}: {what}")]
    Segment {
        /// Its number.
        segment: u64,
        /// Why not.
        what: String,
    },
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Its segment is not there, or compaction dropped it.
    #[error("the record at log address {0} is gone: its space was taken back")]
    Gone(Lsn),
    /// Not written yet: commit first.
    #[error("the record at log address {0} is not written yet")]
    NotWritten(Lsn),
    /// No valid record begins there: a wrong address, or damage.
    #[error(
        "no valid record at log address {lsn} ({file} at byte {offset}): a wrong address, or the disk lost it"
    )]
    Damaged {
        /// The address.
        lsn: Lsn,
        /// The file, relative to the data folder.
        file: String,
        /// Where in the file.
        offset: u64,
    },
    /// Would have to wait for the disk ([`crate::Log::read_many_cached`] only).
    #[error("not in memory")]
    Cold,
    /// The disk failed.
    #[error("cannot read {file} at byte {offset}: {source}")]
    Disk {
        /// The file, relative to the data folder.
        file: String,
        /// Where in the file.
        offset: u64,
        /// The failure.
        #[source]
        source: io::Error,
    },
}

impl LogError {
    /// Whether there was no space for something beside the log's data. It may be tried again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if is_full(source))
    }
}

/// Says that the disk is full, or a quota reached.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(crate) fn beside(what: impl Into<String>, source: io::Error) -> LogError {
    LogError::Disk { what: what.into(), source: Arc::new(source) }
}
