//! The traits that make a broker, in their first form: append, read, groups, information.
//!
//! They are object-safe, so that a program holds an `Arc<dyn Broker>` and does not know which engine it talks to.
//! Delivery is at least once: an entry that was delivered and not acknowledged is delivered again, to whoever claims
//! it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

#[cfg(doc)]
use crate::ErrorKind;
use crate::{EntryId, Error, Timestamp};

/// What a trait's method gives back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The names and values of an entry, in the order they were given; a name may occur more than once.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The same, borrowed: `&[(b"type", b"placed")]`.
pub type FieldRefs<'a> = &'a [(&'a [u8], &'a [u8])];

/// An entry as readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its ID in the stream.
    pub id: EntryId,
    /// Its place in the stream, counted from 0 over everything that was ever added.
    pub position: u64,
    /// Its place in the namespace, counted from 1 over all streams.
    pub global_position: u64,
    /// When it was appended.
    pub appended_at: Timestamp,
    /// Names and values.
    pub fields: Fields,
}

/// How an entry is appended.
#[derive(Debug, Clone, Default)]
pub struct AppendOptions {
    /// Its ID; `None` = the broker gives one from the time.
    pub id: Option<EntryId>,
    /// Who appends and which append it is, so that a repeated one is recognised.
    pub producer: Option<(Vec<u8>, Vec<u8>)>,
}

/// Which entries of a stream are read.
#[derive(Debug, Clone, Copy)]
pub struct RangeOptions {
    /// The lowest ID.
    pub start: EntryId,
    /// The highest ID.
    pub end: EntryId,
    /// At most so many; 0 = none.
    pub count: u64,
    /// Newest first.
    pub reverse: bool,
}

/// How a consumer reads what is new.
#[derive(Debug, Clone)]
pub struct GroupReadOptions {
    /// The group.
    pub group: Vec<u8>,
    /// Who reads; made on first use.
    pub consumer: Vec<u8>,
    /// At most so many; 0 = none, at once.
    pub count: u64,
    /// How long to wait for an entry when there is none; `None` = not at all, [`Duration::MAX`] = without end.
    pub wait: Option<Duration>,
}

/// How a consumer reads what it has pending.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// The group.
    pub group: Vec<u8>,
    /// Who reads; made on first use.
    pub consumer: Vec<u8>,
    /// Entries above this ID; [`EntryId::MIN`] = from the first.
    pub after: EntryId,
    /// At most so many; 0 = none.
    pub count: u64,
}

/// How a consumer takes over what others have pending.
#[derive(Debug, Clone)]
pub struct AutoClaimOptions {
    /// The group.
    pub group: Vec<u8>,
    /// Who takes over; made on first use.
    pub consumer: Vec<u8>,
    /// Entries that were delivered at least so long ago; counted in milliseconds.
    pub idle_min: Duration,
    /// The lowest ID that is looked at.
    pub start: EntryId,
    /// At most so many; 0 = none.
    pub count: u64,
}

/// Where a new group starts. There is no default: a group that starts elsewhere than meant loses entries or repeats
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOrigin {
    /// With the first entry there is.
    Beginning,
    /// With the first entry above this ID.
    After(EntryId),
    /// With the first entry that is appended from now on.
    End,
}

/// What there is to know of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Entries in it.
    pub length: u64,
    /// The last ID given out.
    pub last_id: EntryId,
    /// Entries ever added.
    pub entries_added: u64,
    /// Its groups.
    pub groups: u64,
}

/// What there is to know of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub name: Vec<u8>,
    /// The last ID it was given.
    pub last_id: EntryId,
    /// Entries delivered and not acknowledged.
    pub pending: u64,
    /// Its consumers.
    pub consumers: u64,
    /// Entries it was not yet given: always a number.
    pub lag: u64,
}

/// Appending to streams and reading them. See [`Broker`] for what all methods have in common.
pub trait Streams: Send + Sync {
    /// Appends an entry and answers its ID, once it is as durable as the broker was told to be. An append that its
    /// producer repeats is answered with the ID of the first.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without fields; [`ErrorKind::WrongType`], [`ErrorKind::IdZero`],
    /// [`ErrorKind::IdNotGreater`], [`ErrorKind::StreamExhausted`], [`ErrorKind::EntryTooLarge`],
    /// [`ErrorKind::LimitReached`], [`ErrorKind::DiskFull`].
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, EntryId>;

    /// Reads entries between two IDs. A missing stream has none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn range<'a>(&'a self, stream: &'a [u8], options: RangeOptions) -> BoxFuture<'a, Vec<Entry>>;

    /// Reads up to `count` entries above `after`, waiting for the first when there is none. With a `count` of 0 it
    /// answers none, at once. A missing stream has none, and may come to be while it waits.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::LimitReached`] when too many reads wait.
    fn read<'a>(
        &'a self,
        stream: &'a [u8],
        after: EntryId,
        count: u64,
        wait: Option<Duration>,
    ) -> BoxFuture<'a, Vec<Entry>>;

    /// Counters of a stream; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn stream_summary<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamSummary>>;

    /// Removes entries; answers how many there were. They stay pending where they are.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64>;

    /// Removes whatever is under this name, a stream with its groups; `false` when there is nothing.
    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool>;
}

/// Consumer groups. See [`Broker`] for what all methods have in common.
pub trait Groups: Send + Sync {
    /// Makes a group, and the stream too when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], [`ErrorKind::GroupExists`], [`ErrorKind::LimitReached`], [`ErrorKind::DiskFull`].
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        origin: GroupOrigin,
    ) -> BoxFuture<'a, ()>;

    /// Delivers new entries to a consumer, which has them pending afterwards. Waits for the first when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::NoSuchGroup`], also when it goes while this waits;
    /// [`ErrorKind::LimitReached`] when the group has too much pending or too many reads wait.
    fn read_group<'a>(&'a self, stream: &'a [u8], options: GroupReadOptions) -> BoxFuture<'a, Vec<Entry>>;

    /// A consumer's own pending entries above an ID, counted as delivered once more. Those deleted meanwhile are left
    /// out.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], [`ErrorKind::NoSuchGroup`].
    fn read_history<'a>(&'a self, stream: &'a [u8], options: HistoryOptions) -> BoxFuture<'a, Vec<Entry>>;

    /// Takes entries off the pending list; answers how many were on it. A missing stream or group has none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    fn acknowledge<'a>(&'a self, stream: &'a [u8], group: &'a [u8], ids: &'a [EntryId])
    -> BoxFuture<'a, u64>;

    /// Takes over entries that others have held for long enough; answers them and where to go on, [`EntryId::MIN`] at
    /// the end.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], [`ErrorKind::NoSuchGroup`].
    fn auto_claim<'a>(
        &'a self,
        stream: &'a [u8],
        options: AutoClaimOptions,
    ) -> BoxFuture<'a, (Vec<Entry>, EntryId)>;

    /// The groups of a stream.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], [`ErrorKind::NoSuchStream`].
    fn group_summaries<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupSummary>>;
}

/// A broker for one namespace.
///
/// # Errors
///
/// Beside the kinds that a method names, every method may answer [`ErrorKind::Closed`], [`ErrorKind::Faulted`] (what
/// was asked may be lost at a restart), [`ErrorKind::Io`], [`ErrorKind::Corrupt`], [`ErrorKind::Invalid`] and, when a
/// name is longer than allowed or too much waits already, [`ErrorKind::LimitReached`]. What is refused has changed
/// nothing; after `Faulted`, `Io` or `Corrupt` the change may have happened, and only its answer is missing.
///
/// # Cancellation
///
/// A future does nothing before it is first polled. Dropped later, it may or may not have done what it was asked to,
/// and a read that waits waits no longer. So a dropped append may have appended: give it a producer and repeat it. A
/// dropped [`Groups::read_group`] or [`Groups::auto_claim`] may have delivered entries that nobody saw. They are not
/// lost: the consumer has them pending, [`Groups::read_history`] shows them, others may claim them. Everything else
/// may simply be asked again.
pub trait Broker: Streams + Groups {}

impl<T: Streams + Groups> Broker for T {}
