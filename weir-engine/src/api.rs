//! What doors ask of the engine and what it answers: plain values, no wire format, no text of errors.
//!
//! Requests borrow from the caller's buffers. Entries are answered as [`EntryRef`]s, places in the log, whose fields
//! are fetched with [`crate::Engine::fetch`] after the lock is released.

use weir_core::{EntryId, Error, ErrorKind, Failure, GroupSource, Timestamp, Token};
use weir_log::Lsn;

use crate::ahead::Missing;

/// The number of a namespace as doors see it; RESP database n is namespace n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NamespaceNo(pub u32);

/// A key: a name in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRef<'a> {
    /// Where.
    pub ns: NamespaceNo,
    /// Arbitrary bytes, at most [`crate::Limits::name_bytes`].
    pub name: &'a [u8],
}

/// Why a request was not carried out. Nothing was changed.
#[derive(Debug)]
pub enum Halt {
    /// It was refused, or the engine cannot serve.
    Error(Error),
    /// The disk has to do something first: leave the lock, call [`crate::Engine::warm`] with this, and ask again with
    /// what was read. [`crate::Engine::ask`] does all of that.
    Cold(Cold),
}

/// What the disk has to do before a request can be carried out.
#[derive(Debug)]
pub enum Cold {
    /// Read a part of the index.
    Index(Box<Missing>),
    /// Prepare space for so many bytes.
    Room(u64),
    /// Write what was appended, so that it can be read.
    Unwritten,
    /// Nothing: the request goes on in another turn, so that others have theirs.
    Again,
}

impl From<Cold> for Halt {
    fn from(cold: Cold) -> Self {
        Self::Cold(cold)
    }
}

impl From<ErrorKind> for Halt {
    fn from(kind: ErrorKind) -> Self {
        Self::Error(kind.into())
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A place in the log where an entry's fields are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef {
    /// The entry's ID.
    pub id: EntryId,
    pub(crate) lsn: Lsn,
}

impl EntryRef {
    /// Whether the entry was deleted meanwhile: it has an ID and no fields.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lsn == Lsn::default()
    }

    pub(crate) fn gone(id: EntryId) -> Self {
        Self { id, lsn: Lsn::default() }
    }
}

// ---- appending and removing ------------------------------------------------------------------------------------

/// Which ID a new entry gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewId {
    /// `*`: the time, never below the last ID.
    Auto,
    /// `ms-*`: this millisecond, the next sequence number.
    AutoSeq(u64),
    /// This one.
    Exact(EntryId),
}

/// `XADD`.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// Which ID.
    pub id: NewId,
    /// Names and values in turn; an even number, at least two.
    pub fields: &'a [&'a [u8]],
    /// Whether a missing stream is made. `false` = NOMKSTREAM.
    pub create: bool,
    /// What to trim afterwards.
    pub trim: Option<Trim>,
    /// The producer and its ID of this append.
    pub producer: Option<Producer<'a>>,
}

/// Who appends, so that a repeated append is recognised.
#[derive(Debug, Clone, Copy)]
pub struct Producer<'a> {
    /// Whose append it is.
    pub id: &'a [u8],
    /// Which append of this producer; `None` = derived from the fields.
    pub iid: Option<&'a [u8]>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The entry was added; `trimmed` entries were removed after it.
    Added {
        /// The new entry's ID.
        id: EntryId,
        /// Entries removed by the trim.
        trimmed: u64,
    },
    /// The producer had added it before, as this entry.
    Duplicate(EntryId),
    /// There is no stream, and none was to be made.
    NoStream,
}

/// `XTRIM`, and the trimming options of `XADD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What may stay.
    pub bound: TrimBound,
    /// Whether only whole macro nodes need to go (`~`).
    pub approximate: bool,
    /// Remove at most this many; 0 = no limit.
    pub limit: u64,
    /// What to do about groups that refer to an entry.
    pub references: References,
}

/// What a trim leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimBound {
    /// So many entries.
    MaxLen(u64),
    /// Entries from this ID on.
    MinId(EntryId),
}

/// What removing entries does about groups that refer to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum References {
    /// Remove the entry, leave pending rows behind.
    #[default]
    Keep,
    /// Remove the entry and its pending rows in every group.
    Delete,
    /// Remove only what no group still has to see or acknowledge.
    Acked,
}

/// What became of one entry that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone (`1`).
    Yes,
    /// Some group refers to it (`2`).
    Referenced,
    /// There was none (`-1`).
    NotFound,
}

// ---- reading ---------------------------------------------------------------------------------------------------

/// `XRANGE` and `XREVRANGE`.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The lowest ID.
    pub start: EntryId,
    /// The highest ID.
    pub end: EntryId,
    /// At most so many; `None` = all, up to [`crate::Limits::reply_entries`].
    pub count: Option<u64>,
    /// Newest first.
    pub reverse: bool,
}

/// Where a plain read of one stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Entries above this ID.
    After(EntryId),
    /// The newest entry there is (`+`).
    Newest,
    /// What is added from now on. A read that waits takes it as the end at the time it was first asked.
    End,
    /// Entries from this position on.
    Position(u64),
    /// Entries from the first on that was appended at this time or later, in milliseconds since the epoch.
    Time(u64),
}

/// How much a read answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadLimits {
    /// Entries per stream; `None` = all.
    pub count: Option<u64>,
    /// Entries over all streams (MAXCOUNT).
    pub count_total: Option<u64>,
    /// Bytes over all streams (MAXSIZE); the first entry is answered in any case.
    pub bytes_total: Option<u64>,
}

/// `XREAD`. `$` was replaced by the last ID already.
#[derive(Debug, Clone)]
pub struct Read {
    /// Which namespace.
    pub ns: NamespaceNo,
    /// Stream names and where to start.
    pub streams: Vec<(Box<[u8]>, ReadFrom)>,
    /// How much.
    pub limits: ReadLimits,
}

/// Where a group read of one stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupReadFrom {
    /// `>`: what the group was never given.
    New,
    /// The consumer's own pending entries above this ID.
    History(EntryId),
}

/// `XREADGROUP`.
#[derive(Debug, Clone)]
pub struct ReadGroup {
    /// Which namespace.
    pub ns: NamespaceNo,
    /// The group, of the same name in every stream.
    pub group: Box<[u8]>,
    /// Who reads; made on first use.
    pub consumer: Box<[u8]>,
    /// Stream names and where to start.
    pub streams: Vec<(Box<[u8]>, GroupReadFrom)>,
    /// How much.
    pub limits: ReadLimits,
    /// Deliver without making pending rows.
    pub noack: bool,
    /// First take over rows that are idle for so many milliseconds.
    pub claim_idle_min: Option<u64>,
}

/// An entry that was claimed or delivered by a reading with `CLAIM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The entry.
    pub entry: EntryRef,
    /// Milliseconds since its delivery before this one; 0 for a new entry.
    pub idle: u64,
    /// Deliveries before this one; 0 for a new entry.
    pub deliveries: i64,
}

/// What one stream has for a reader.
#[derive(Debug, Clone)]
pub struct StreamEntries {
    /// Which of the request's streams, from 0.
    pub stream: usize,
    /// Its entries.
    pub entries: Entries,
}

/// Entries, with or without what is known of earlier deliveries.
#[derive(Debug, Clone)]
pub enum Entries {
    /// Just entries.
    Plain(Vec<EntryRef>),
    /// The request had `CLAIM`.
    Claimed(Vec<Delivery>),
    /// The request was a [`ReadSource`].
    Given(Vec<Given>),
}

/// Reading for a consumer of a group by where the entries come from.
#[derive(Debug, Clone)]
pub struct ReadSource {
    /// Which namespace.
    pub ns: NamespaceNo,
    /// Which stream.
    pub stream: Box<[u8]>,
    /// Which group.
    pub group: Box<[u8]>,
    /// Who reads; made on first use.
    pub consumer: Box<[u8]>,
    /// What it asks for.
    pub source: GroupSource,
    /// At most so many.
    pub count: u64,
    /// Reads although the group is paused.
    pub while_paused: bool,
}

/// An entry that a consumer was given: a [`weir_core::Delivery`] without its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The entry.
    pub entry: EntryRef,
    /// What settles this delivery and no other.
    pub token: Token,
    /// How often it was given out, this time included.
    pub deliveries: u64,
    /// How often it failed.
    pub failures: u64,
    /// How often it was redriven.
    pub redrives: u32,
    /// When others may take it, in steady time.
    pub lease_until: Timestamp,
    /// The first failure and the last one.
    pub failed: Option<Box<(Failure, Failure)>>,
}

/// What [`crate::Core::take_over_old`] did.
#[derive(Debug, Clone, Default)]
pub struct TakenOver {
    /// What the consumer got.
    pub given: Vec<Given>,
    /// Where to go on; 0-0 = everything was looked at.
    pub cursor: EntryId,
    /// Rows that went because their entry is gone.
    pub deleted: Vec<EntryId>,
}

/// What a read answered.
#[derive(Debug, Clone, Default)]
pub struct ReadOutcome {
    /// Streams that have something to say; empty = nothing now.
    pub streams: Vec<StreamEntries>,
    /// For a reading that found nothing: when it may find something though nothing changes (a row is old enough, a delay
    /// or a pause is over), in milliseconds of steady time; see [`crate::Core::steady`].
    pub retry_at: Option<u64>,
}

// ---- groups ----------------------------------------------------------------------------------------------------

/// Where a group starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStart {
    /// After this ID.
    After(EntryId),
    /// `$`: after the newest entry.
    End,
}

/// `XCLAIM`.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Which group.
    pub group: &'a [u8],
    /// Who gets the entries; made on first use.
    pub consumer: &'a [u8],
    /// Rows younger than this stay, in milliseconds.
    pub idle_min: u64,
    /// Which entries.
    pub ids: &'a [EntryId],
    /// The delivery time to note, in milliseconds since the epoch; `None` = now.
    pub time: Option<u64>,
    /// The delivery count to note; `None` = one more than before.
    pub deliveries: Option<i64>,
    /// Claim existing entries that are not pending, too.
    pub force: bool,
    /// The count stays as it is, and only IDs are wanted.
    pub just_ids: bool,
    /// Raise the group's last-delivered ID to this.
    pub last_id: Option<EntryId>,
}

/// `XAUTOCLAIM`.
#[derive(Debug, Clone, Copy)]
pub struct AutoClaim<'a> {
    /// Which group.
    pub group: &'a [u8],
    /// Who gets the entries; made on first use.
    pub consumer: &'a [u8],
    /// Rows younger than this stay, in milliseconds.
    pub idle_min: u64,
    /// Where to go on looking.
    pub start: EntryId,
    /// Claim at most so many.
    pub count: u64,
    /// The count stays as it is, and only IDs are wanted.
    pub just_ids: bool,
}

/// What `XAUTOCLAIM` did.
#[derive(Debug, Clone, Default)]
pub struct AutoClaimed {
    /// Where to go on; 0-0 = everything was looked at.
    pub cursor: EntryId,
    /// What the consumer got.
    pub entries: Vec<EntryRef>,
    /// Rows that went because their entry is gone.
    pub deleted: Vec<EntryId>,
}

/// How `XNACK` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NackMode {
    /// The delivery did not count: one less.
    Silent,
    /// The count stays.
    Fail,
    /// The count becomes the greatest there is.
    Fatal,
}

/// `XNACK`.
#[derive(Debug, Clone, Copy)]
pub struct Nack<'a> {
    /// Which group.
    pub group: &'a [u8],
    /// How to count.
    pub mode: NackMode,
    /// Which entries.
    pub ids: &'a [EntryId],
    /// The delivery count to note instead.
    pub deliveries: Option<i64>,
    /// Make rows for existing entries that are not pending, too.
    pub force: bool,
}

/// `XPENDING key group`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingSummary {
    /// Rows in all.
    pub count: u64,
    /// The lowest and the highest pending ID.
    pub bounds: Option<(EntryId, EntryId)>,
    /// Consumers that have rows, in the order of their names' bytes, and how many.
    pub consumers: Vec<(Box<[u8]>, u64)>,
}

/// `XPENDING key group … start end count`.
#[derive(Debug, Clone, Copy)]
pub struct PendingQuery<'a> {
    /// Which group.
    pub group: &'a [u8],
    /// Rows younger than this are left out, in milliseconds.
    pub idle_min: u64,
    /// The lowest ID.
    pub start: EntryId,
    /// The highest ID.
    pub end: EntryId,
    /// At most so many.
    pub count: u64,
    /// Only this consumer's rows.
    pub consumer: Option<&'a [u8]>,
}

/// One row of a pending entries list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// The entry.
    pub id: EntryId,
    /// Who holds it; empty when it was handed back.
    pub consumer: Box<[u8]>,
    /// When it was last delivered, in milliseconds since the epoch; 0 when it was handed back.
    pub delivered_at: u64,
    /// Milliseconds since then; `None` when it was handed back.
    pub idle: Option<u64>,
    /// How often it was delivered.
    pub deliveries: i64,
}

// ---- information -----------------------------------------------------------------------------------------------

/// `XINFO STREAM`.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Live entries.
    pub length: u64,
    /// Macro nodes.
    pub nodes: u64,
    /// Nodes of the radix tree in which Redis would keep the macro nodes.
    pub radix_nodes: u64,
    /// The last ID given out.
    pub last_id: EntryId,
    /// The highest ID that was deleted by name.
    pub max_deleted: EntryId,
    /// Entries ever added.
    pub entries_added: u64,
    /// The first live entry's ID, 0-0 when there is none.
    pub first_id: EntryId,
    /// The position the next entry gets.
    pub next_position: u64,
    /// How long idempotent IDs are remembered, in seconds.
    pub idempotence_duration: u64,
    /// How many idempotent IDs are remembered per producer.
    pub idempotence_max: u64,
    /// Producers that are remembered.
    pub producers: u64,
    /// Idempotent IDs that are remembered.
    pub idempotent_ids: u64,
    /// Idempotent IDs ever added.
    pub idempotent_added: u64,
    /// Appends that were answered from memory.
    pub idempotent_duplicates: u64,
    /// Consumer groups.
    pub groups: u64,
    /// The oldest entry.
    pub first: Option<EntryRef>,
    /// The newest entry.
    pub last: Option<EntryRef>,
}

/// One item of `XINFO GROUPS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub name: Box<[u8]>,
    /// Its consumers.
    pub consumers: u64,
    /// Its pending entries.
    pub pending: u64,
    /// Pending entries that were handed back.
    pub nacked: u64,
    /// The last ID it was given.
    pub last_id: EntryId,
    /// Entries ever added up to there; `None` = Redis could not say.
    pub entries_read: Option<u64>,
    /// Entries it was not yet given, as Redis computes it; `None` = Redis could not say.
    pub lag: Option<i64>,
}

/// One item of `XINFO CONSUMERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// The consumer.
    pub name: Box<[u8]>,
    /// Its pending entries.
    pub pending: u64,
    /// When it last asked, in milliseconds since the epoch.
    pub seen: u64,
    /// When it last got something.
    pub active: Option<u64>,
}

/// One group of `XINFO STREAM … FULL`.
#[derive(Debug, Clone)]
pub struct GroupDetail {
    /// As in `XINFO GROUPS`.
    pub info: GroupInfo,
    /// The first rows of its pending list.
    pub pending: Vec<PendingRow>,
    /// Its consumers and the first of their rows.
    pub consumers: Vec<(ConsumerInfo, Vec<PendingRow>)>,
}

/// `XINFO STREAM … FULL`.
#[derive(Debug, Clone)]
pub struct StreamDetail {
    /// As in `XINFO STREAM`.
    pub info: StreamInfo,
    /// The first entries.
    pub entries: Vec<EntryRef>,
    /// All groups.
    pub groups: Vec<GroupDetail>,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A stream.
    Stream,
    /// A string.
    Text,
}

/// `XSETID`.
#[derive(Debug, Clone, Copy)]
pub struct SetId {
    /// The new last ID.
    pub last_id: EntryId,
    /// The new count of entries ever added.
    pub entries_added: Option<u64>,
    /// The new highest deleted ID.
    pub max_deleted: Option<EntryId>,
}

/// When an expiry is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpireWhen {
    /// Only if the key has none.
    pub absent: bool,
    /// Only if the key has one.
    pub present: bool,
    /// Only if it is later than the one it has; none counts as never.
    pub later: bool,
    /// Only if it is earlier than the one it has; none counts as never.
    pub earlier: bool,
}

/// Something that happened to a key, as keyspace notifications tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// Where.
    pub ns: NamespaceNo,
    /// To which key.
    pub key: Box<[u8]>,
    /// What: the name Redis gives it, for example `xadd`.
    pub event: &'static str,
}
