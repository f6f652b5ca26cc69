//! The traits that make a broker, in their first form: append, read, groups, information.
//!
//! They are object-safe, so that a program holds an `Arc<dyn Broker>` and does not know which engine it talks to.
//! Delivery is at least once: an entry that was delivered and not acknowledged is delivered again, to whoever claims
//! it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::{EntryId, Error, Timestamp};

/// What a trait's method gives back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The names and values of an entry, in the order they were given; a name may occur more than once.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

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
    /// At most so many.
    pub count: u64,
    /// Newest first.
    pub reverse: bool,
}

/// How a consumer reads.
#[derive(Debug, Clone)]
pub struct GroupReadOptions {
    /// The group.
    pub group: Vec<u8>,
    /// Who reads; made on first use.
    pub consumer: Vec<u8>,
    /// At most so many.
    pub count: u64,
    /// How long to wait for an entry when there is none; `None` = not at all.
    pub wait: Option<Duration>,
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

/// Appending to streams and reading them.
pub trait Streams: Send + Sync {
    /// Appends an entry and answers its ID, once it is as durable as the broker was told to be.
    ///
    /// # Errors
    /// [`crate::ErrorKind::IdNotGreater`], [`crate::ErrorKind::EntryTooLarge`], [`crate::ErrorKind::DiskFull`].
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: &'a Fields,
        options: AppendOptions,
    ) -> BoxFuture<'a, EntryId>;

    /// Reads entries between two IDs. A missing stream has none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::WrongType`].
    fn range<'a>(&'a self, stream: &'a [u8], options: RangeOptions) -> BoxFuture<'a, Vec<Entry>>;

    /// Reads up to `count` entries above `after`, waiting for the first when there is none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::WrongType`].
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
    /// [`crate::ErrorKind::WrongType`].
    fn stream_summary<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamSummary>>;

    /// Removes entries; answers how many there were.
    ///
    /// # Errors
    /// [`crate::ErrorKind::WrongType`].
    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64>;

    /// Removes a stream with its groups; `false` when there is none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Faulted`].
    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool>;
}

/// Consumer groups.
pub trait Groups: Send + Sync {
    /// Makes a group, and the stream too when there is none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::GroupExists`].
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        origin: GroupOrigin,
    ) -> BoxFuture<'a, ()>;

    /// Delivers new entries to a consumer, which has them pending afterwards.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoSuchGroup`].
    fn read_group<'a>(&'a self, stream: &'a [u8], options: GroupReadOptions) -> BoxFuture<'a, Vec<Entry>>;

    /// A consumer's own pending entries above an ID, counted as delivered once more.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoSuchGroup`].
    fn read_history<'a>(
        &'a self,
        stream: &'a [u8],
        options: GroupReadOptions,
        after: EntryId,
    ) -> BoxFuture<'a, Vec<Entry>>;

    /// Takes entries off the pending list; answers how many were on it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::WrongType`].
    fn acknowledge<'a>(&'a self, stream: &'a [u8], group: &'a [u8], ids: &'a [EntryId])
    -> BoxFuture<'a, u64>;

    /// Takes over entries that others have held for at least `idle_min`, from `start` on; answers them and where to
    /// go on, [`EntryId::MIN`] at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoSuchGroup`].
    fn auto_claim<'a>(
        &'a self,
        stream: &'a [u8],
        options: GroupReadOptions,
        idle_min: Duration,
        start: EntryId,
    ) -> BoxFuture<'a, (Vec<Entry>, EntryId)>;

    /// The groups of a stream.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoSuchStream`].
    fn group_summaries<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupSummary>>;
}

/// A broker for one namespace.
pub trait Broker: Streams + Groups {}

impl<T: Streams + Groups> Broker for T {}
