//! What an engine can be told at the start, with the default of each.

use std::time::Duration;

use weir_core::{Error, ErrorKind};
use weir_log::LogOptions;

use crate::node::NodeLimits;

/// When a result may leave the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Flushed to disk: survives a power cut.
    Always,
    /// Handed to the system, flushed every second: survives the death of the process; a power cut may take a second.
    #[default]
    EverySecond,
    /// Handed to the system, flushed when it sees fit.
    No,
}

/// What is bounded, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a key, group or consumer name, at most a quarter of what a record of the log may hold. Default 1 KiB.
    pub name_bytes: usize,
    /// Names and values of one entry together. Default 131 072, that is 65 536 fields.
    pub entry_strings: usize,
    /// Bytes of one entry's names and values. Default 64 MiB, lowered to what a segment holds.
    pub entry_bytes: usize,
    /// Entries in one answer. Default 1 000 000.
    pub reply_entries: usize,
    /// Groups of one stream. Default 10 000.
    pub groups: usize,
    /// Consumers of one group. Default 1 000 000.
    pub consumers: usize,
    /// Pending entries of one group. Default 10 000 000.
    pub pending: usize,
    /// Producers whose idempotent IDs one stream remembers. Default 65 536.
    pub producers: usize,
    /// Keys in all namespaces. Default 100 000 000.
    pub keys: usize,
    /// Waiting reads. Default 100 000.
    pub waiting: usize,
    /// Entries that COPY and RESTORE write anew at once. Default 100 000.
    pub copied_entries: usize,
    /// Bytes of a key that COPY, DUMP and RESTORE hold at once: names, values and pending entries. Default 64 MiB.
    pub copied_bytes: usize,
    /// Bytes of a string value. Default 1 MiB.
    pub text_bytes: usize,
    /// Entries appended at once. Default 10 000.
    pub batch_entries: usize,
    /// Bytes of the entries appended at once. Default 64 MiB.
    pub batch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_bytes: 1024,
            entry_strings: 131_072,
            entry_bytes: 64 << 20,
            reply_entries: 1_000_000,
            groups: 10_000,
            consumers: 1_000_000,
            pending: 10_000_000,
            producers: 65_536,
            keys: 100_000_000,
            waiting: 100_000,
            copied_entries: 100_000,
            copied_bytes: 64 << 20,
            text_bytes: 1 << 20,
            batch_entries: 10_000,
            batch_bytes: 64 << 20,
        }
    }
}

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// When a result may leave the engine. Default every second.
    pub fsync: Fsync,
    /// The log: segment size, ring size.
    pub log: LogOptions,
    /// What is bounded.
    pub limits: Limits,
    /// When a macro node is full.
    pub nodes: NodeLimits,
    /// How long a new stream remembers idempotent IDs, in seconds. Default 100.
    pub idempotence_duration: u64,
    /// How many idempotent IDs a new stream remembers per producer. Default 100.
    pub idempotence_max: u64,
    /// Bytes of decoded index blocks kept in memory. Default 8 MiB.
    pub block_cache_bytes: usize,
    /// Bytes of log after which a snapshot is due. Default 256 MiB.
    pub snapshot_log_bytes: u64,
    /// How often the limits of streams are looked at although nobody appends; at most a minute, so that ages are what
    /// is promised. Default 30 seconds.
    pub retention_every: Duration,
    /// Whether the engine runs its own background threads, two of them. Tests that want to decide when work is done say `false` and
    /// call [`crate::Engine::background_step`]. Default `true`.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: Fsync::default(),
            log: LogOptions::default(),
            limits: Limits::default(),
            nodes: NodeLimits::default(),
            idempotence_duration: 100,
            idempotence_max: 100,
            block_cache_bytes: 8 << 20,
            snapshot_log_bytes: 256 << 20,
            retention_every: Duration::from_secs(30),
            background: true,
        }
    }
}

impl Options {
    /// Whether the records of every command fit a log whose records have at most so many bytes: one holds two names,
    /// or a name and a string value, which takes half of it.
    pub(crate) fn check(&self, record_max: usize) -> Result<(), Error> {
        let (given, most) = (self.limits.name_bytes, record_max / 4);
        if given > most {
            let context = format!("name_bytes is {given}; segments of this size allow {most}");
            return Err(Error::new(ErrorKind::Invalid("a limit")).with_context(context));
        }
        Ok(())
    }
}
