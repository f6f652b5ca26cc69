//! Streams: appending, reading, trimming, and what may be trimmed.

use std::time::Duration;

use super::BoxFuture;
#[cfg(doc)]
use super::Policy;
#[cfg(doc)]
use crate::ErrorKind;
use crate::{EntryId, Timestamp};

/// The names and values of an entry, in the order they were given; a name may occur more than once.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The same, borrowed: `&[(b"type", b"placed")]`.
pub type FieldRefs<'a> = &'a [(&'a [u8], &'a [u8])];

/// An entry as readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its ID in the stream.
    pub id: EntryId,
    /// Its place in the stream, counted from 0 over everything that was ever added; `None` where the engine does not
    /// count (a Redis that others write to).
    pub position: Option<u64>,
    /// Its place in the namespace, counted from 1 over all streams; `None` like the position.
    pub global_position: Option<u64>,
    /// When it was appended. On a Redis the time part of its ID stands in for it.
    pub appended_at: Timestamp,
    /// Names and values.
    pub fields: Fields,
}

/// Who appends and which append it is, so that a repeated one is recognised.
///
/// An engine remembers at least the last 10 000 appends of each producer to a stream for at least an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Who appends; not empty.
    pub name: Vec<u8>,
    /// Which append of this producer it is; not empty.
    pub append_id: Vec<u8>,
}

/// What the appender knows of the stream's end. The version of a stream is the position of its last entry, whether
/// that is still there or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    #[default]
    Any,
    /// Nothing was ever added to it.
    NoEntries,
    /// This is its version.
    Version(u64),
}

/// How an entry is appended.
#[derive(Debug, Clone, Default)]
pub struct AppendOptions {
    /// Its ID; `None` = the broker gives one from the time.
    pub id: Option<EntryId>,
    /// Who appends, for idempotent retries.
    pub producer: Option<Producer>,
    /// What the end of the stream has to be.
    pub expected: Expected,
}

/// One of several entries that are appended together.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// Names and values; at least one.
    pub fields: FieldRefs<'a>,
    /// Its ID; `None` = the broker gives one.
    pub id: Option<EntryId>,
    /// Which append of [`BatchOptions::producer`] it is.
    pub append_id: Option<&'a [u8]>,
}

/// How several entries are appended.
#[derive(Debug, Clone, Default)]
pub struct BatchOptions {
    /// Who appends; then every entry needs an append ID.
    pub producer: Option<Vec<u8>>,
    /// What the end of the stream has to be before the first.
    pub expected: Expected,
}

/// An entry that was appended, now or by the same producer before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its ID.
    pub id: EntryId,
    /// Whether its producer had appended it before; nothing was added then.
    pub is_duplicate: bool,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Before the first entry. Read backwards, there is nothing.
    Start,
    /// Behind the last entry: forwards, what is appended from now on; backwards, the newest first.
    End,
    /// At this ID or the next one in reading direction.
    Id(EntryId),
    /// Beyond this ID in reading direction.
    After(EntryId),
    /// At this position in the stream or the next one in reading direction.
    Position(u64),
    /// At the first entry that was appended at this time or later; backwards, at this time or earlier.
    Time(Timestamp),
}

/// Which entries are read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Where it starts.
    pub from: ReadFrom,
    /// Where it ends: this ID is the last one in reading direction that may come; `None` = the end of the stream.
    pub to: Option<EntryId>,
    /// Newest first.
    pub backward: bool,
    /// At most so many; 0 = none, at once.
    pub count: u64,
    /// How long to wait for an entry when there is none; `None` = not at all, [`Duration::MAX`] = without end. A
    /// backward read does not wait, nor does one with a `to`.
    pub wait: Option<Duration>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last ID that was given out, whether its entry is still there or not.
    pub last_id: EntryId,
    /// The position of the last entry that was added; `None` when nothing ever was.
    pub version: Option<u64>,
}

/// What there is to know of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Entries in it.
    pub length: u64,
    /// The last ID given out.
    pub last_id: EntryId,
    /// Entries ever added.
    pub entries_added: u64,
    /// The first entry's ID; `None` when it is empty.
    pub first_id: Option<EntryId>,
    /// Its groups.
    pub groups: u64,
}

/// Which streams are listed.
#[derive(Debug, Clone)]
pub struct ListStreams {
    /// A glob as in `KEYS`: `*`, `?`, `[a-z]`, `\`.
    pub pattern: Vec<u8>,
    /// Names above this one; `None` = from the first. On a Redis the order is that of `SCAN` and this is what the last
    /// page's [`StreamPage::next`] said.
    pub after: Option<Vec<u8>>,
    /// At most so many names; 0 is taken as 1.
    pub count: u64,
    /// Whether the streams that the broker keeps beside others (dead letters, lost entries, alerts) are listed too.
    pub with_side_streams: bool,
}

/// Names of streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPage {
    /// The names. They may be fewer than asked for though there are more.
    pub names: Vec<Vec<u8>>,
    /// Where to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// What a trim leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimTo {
    /// The newest so many entries.
    Length(u64),
    /// The entries from this ID on.
    MinId(EntryId),
    /// The newest entries whose names and values have together at most so many bytes.
    Bytes(u64),
    /// The entries that were appended at this time or later.
    Time(Timestamp),
}

/// What a trim did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries it removed.
    pub removed: u64,
    /// Entries it would have removed, had a required group acknowledged them.
    pub held: u64,
}

/// How much of a stream is kept. Exceeding one limit is enough for the oldest entries to go.
///
/// Limits on length and bytes hold after every append; the age is looked at with every append and, where the engine
/// runs in this process or behind a weir server, at least once a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Entries.
    pub length: Option<u64>,
    /// Bytes of names and values.
    pub bytes: Option<u64>,
    /// Time since the append, in whole milliseconds; what is older goes. As [`Entry::appended_at`] it is a matter of the
    /// wall clock.
    pub age: Option<Duration>,
    /// How many entries beyond the limits may be kept for required groups ([`Policy::required`]); `None` = as many as
    /// it takes. When they are spent, the oldest go all the same and each is listed by [`Streams::lost`].
    pub hold: Option<u64>,
}

/// An entry that was trimmed before a required group had acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEntry {
    /// The group that never acknowledged it.
    pub group: Vec<u8>,
    /// The entry.
    pub id: EntryId,
    /// Whether the group had it pending; otherwise it was never given it.
    pub was_pending: bool,
    /// When it was trimmed.
    pub at: Timestamp,
}

/// Which lost entries are listed.
#[derive(Debug, Clone)]
pub struct LostQuery {
    /// Only those of this group.
    pub group: Option<Vec<u8>>,
    /// Where to go on: what the last page's [`LostPage::next`] said.
    pub after: Option<EntryId>,
    /// At most so many.
    pub count: u64,
}

/// Lost entries, in the order they were lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPage {
    /// The entries.
    pub entries: Vec<LostEntry>,
    /// Where to go on; `None` at the end.
    pub next: Option<EntryId>,
}

/// Appending to streams and reading them. See the [module](super) for what all methods have in common.
pub trait Streams: Send + Sync {
    /// Appends an entry, once it is as durable as the broker was told to be. A missing stream is made. An append that
    /// its producer repeats is answered with the ID of the first and adds nothing, whatever is `expected`; otherwise
    /// `expected` is looked at before the ID is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without fields; [`ErrorKind::WrongType`], [`ErrorKind::IdZero`],
    /// [`ErrorKind::IdNotGreater`], [`ErrorKind::StreamExhausted`], [`ErrorKind::EntryTooLarge`],
    /// [`ErrorKind::VersionMismatch`], [`ErrorKind::LimitReached`], [`ErrorKind::DiskFull`].
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, Appended>;

    /// Appends several entries: all of them or none, and nobody sees some without the others. Those that their producer
    /// repeats, also within the batch, are answered with the ID of the first; `expected` counts when any is left. No
    /// entries, nothing happens.
    ///
    /// # Errors
    /// As [`Streams::append`], for the whole batch; [`ErrorKind::Invalid`] when a producer is given and an entry has no
    /// append ID or the other way round; [`ErrorKind::LimitReached`] with more entries than a batch may have (10 000).
    fn append_batch<'a>(
        &'a self,
        stream: &'a [u8],
        entries: &'a [NewEntry<'a>],
        options: BatchOptions,
    ) -> BoxFuture<'a, Vec<Appended>>;

    /// Reads entries, waiting for the first when there is none. A missing stream has none, and may come to be while
    /// this waits.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::LimitReached`] when too many reads wait; [`ErrorKind::Unsupported`] for a
    /// position where the engine does not count them; [`ErrorKind::Invalid`] for a waiting read that is backward or has
    /// a `to`.
    fn read<'a>(&'a self, stream: &'a [u8], options: ReadOptions) -> BoxFuture<'a, Vec<Entry>>;

    /// The end of a stream; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn head<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Head>>;

    /// Counters of a stream; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn stream_info<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamInfo>>;

    /// Names of streams, a page at a time. What comes or goes while somebody turns pages may be listed or not.
    fn list_streams(&self, options: ListStreams) -> BoxFuture<'_, StreamPage>;

    /// Removes a stream with its groups, its retention and its lost entries; `false` when there is none. Its dead
    /// letters and alerts are streams of their own and stay.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool>;

    /// Removes entries; answers how many there were. No guard holds them. Where a group has one pending, the row stays
    /// until it is settled or somebody would be given it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64>;

    /// Removes the oldest entries, exactly to the limit, but none that a required group has not acknowledged
    /// ([`Policy::required`]). A missing stream has none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn trim<'a>(&'a self, stream: &'a [u8], to: TrimTo) -> BoxFuture<'a, Trimmed>;

    /// Says how much of a stream is kept, from now on and for what is there; `None` = everything. It is stored with the
    /// stream and enforced by the engine. A missing stream is made.
    ///
    /// While entries beyond a limit are held for a required group, an alert stands in the stream's alerts
    /// ([`crate::alerts_of`]): one entry when the first is held, one each when half, four fifths and all of
    /// [`Retention::hold`] are used; each comes again only after nothing was held. Those that one append reaches come
    /// together, in this order. An alert names the required group whose first entry that is not acknowledged is the
    /// lowest (of several, the first by name).
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::Invalid`] for an age of zero.
    fn set_retention<'a>(&'a self, stream: &'a [u8], retention: Option<Retention>) -> BoxFuture<'a, ()>;

    /// How much of a stream is kept; `None` = everything.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn retention<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Retention>>;

    /// Entries that were trimmed before a required group had acknowledged them.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn lost<'a>(&'a self, stream: &'a [u8], query: LostQuery) -> BoxFuture<'a, LostPage>;
}
