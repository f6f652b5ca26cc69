//! A durable, checksummed, append-only log of opaque records.
//!
//! [`Log::open`] finds the end of the log in a folder, replays what is there and hands out two halves: the
//! [`Appender`], which its owner keeps behind a lock of its own and which does no I/O at all, and the [`Log`],
//! shared by everybody, which writes what was submitted, flushes it, reads it back and takes space back.
//!
//! A record's address ([`Lsn`]) never changes. Two watermarks only grow: [`Log::written`] (handed to the
//! operating system: survives a killed process) and [`Log::durable`] (flushed: survives a power cut).
//!
//! Invariants:
//! * What is found at an open is a prefix of what was appended, and contains everything that was durable.
//! * Records between [`Appender::begin`] and [`Appender::end`] are found together or not at all.
//! * After a failed write or flush nothing is written any more, and no flush is ever tried again.
//!
//! The crate stores bytes and never looks inside. It reads the clock to measure how long the disk takes and how long
//! something has been waiting for a flush; nothing that is stored depends on it.

mod appender;
mod check;
mod compact;
mod disk;
mod error;
pub mod faulty;
mod folder;
mod frame;
mod frames;
mod holes;
mod log;
mod lsn;
mod options;
mod read;
mod reclaim;
mod recovery;
mod repair;
mod ring;
mod segment;
mod space;
mod stats;
mod tail;
mod writer;

pub use appender::Appender;
pub use check::{CheckReport, Finding, Severity, check};
pub use compact::{Compacted, Compaction};
pub use disk::{Disk, DiskFile, DiskLock, MemoryDisk, Open, RealDisk, read_full};
pub use error::{LogError, OpenError, ReadError};
pub use folder::Found;
pub use log::{Level, Log, Opened};
pub use lsn::Lsn;
pub use options::{LogOptions, Preparation};
pub use read::{VisitBody, VisitRecord};
pub use recovery::{RecoveryReport, Replay, Salts};
pub use repair::{RepairReport, repair};
pub use segment::{SegmentInfo, SegmentState};
pub use space::Room;
pub use stats::{Elapsed, LogStats};
