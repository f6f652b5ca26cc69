//! Consumer groups: making them, moving them, looking at them.

use std::time::Duration;

use super::{BoxFuture, Policy};
#[cfg(doc)]
use crate::ErrorKind;
use crate::{EntryId, Timestamp};

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

/// How a group is made.
#[derive(Debug, Clone)]
pub struct CreateGroup {
    /// Where it starts.
    pub origin: GroupOrigin,
    /// What it does with failures and what it is given.
    pub policy: Policy,
}

/// Whether a group came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// Just now.
    New,
    /// It was made before, with the same origin; its policy was left as it is.
    Existing,
}

/// Where a group is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// The first entry there is comes next; the last-delivered ID becomes 0-0.
    Start,
    /// The first entry that is appended from now on comes next.
    End,
    /// The first entry above this ID comes next.
    After(EntryId),
    /// The first entry that was appended at this time or later comes next: the last-delivered ID becomes the one below
    /// its ID. Without such an entry it is as [`SeekTo::End`].
    Time(Timestamp),
    /// So many entries from where the group is now are left out, whether its filter would let them through or not; all
    /// there are when they are fewer.
    Skip(u64),
}

/// How a group is moved.
#[derive(Debug, Clone, Copy)]
pub struct Seek {
    /// Where to.
    pub to: SeekTo,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// What a seek did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// The last-delivered ID before.
    pub from: EntryId,
    /// The last-delivered ID afterwards.
    pub to: EntryId,
    /// Rows above the new place that are pending no longer, since their entries come again.
    pub dropped: u64,
}

/// What becomes of a removed consumer's pending entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingFate {
    /// They are handed back to the group, for others at once; their deliveries stay counted.
    HandBack,
    /// They are taken off the pending list, as `XGROUP DELCONSUMER` does: nobody is given them again.
    Drop,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: Vec<u8>,
    /// Entries it holds.
    pub pending: u64,
    /// Time since it last asked for entries, in whole milliseconds.
    pub idle: Duration,
}

/// What there is to know of a group, beside its [`Lag`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: Vec<u8>,
    /// Where it was made to start; `None` when it was made by `XGROUP CREATE`.
    pub origin: Option<GroupOrigin>,
    /// The last ID it was given or has passed over.
    pub last_delivered_id: EntryId,
    /// Rows on its pending list, whatever their state.
    pub pending: u64,
    /// Its consumers.
    pub consumers: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Entries that its filter passed over, ever.
    pub filtered: u64,
    /// Settlements that came with a token of an earlier delivery and were refused, ever.
    pub stale_settlements: u64,
    /// Its policy; `None` = none, as Redis would have it: nothing becomes a dead letter.
    pub policy: Option<Policy>,
}

/// How far behind a group is. Always numbers: nothing is unknown, nothing negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Entries that it was not yet given and that its filter lets through; among them those that wait for an earlier
    /// entry with their key.
    pub undelivered: u64,
    /// Entries that a consumer holds.
    pub pending: u64,
    /// Entries that were handed back, or whose delay is over, and that anybody would be given. As with all rows, one
    /// counts until it is settled or dropped, though its entry was deleted.
    pub ready: u64,
    /// Entries whose delay is not over.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Time since the oldest undelivered entry was appended, in whole milliseconds; `None` when there is none.
    pub oldest_undelivered: Option<Duration>,
    /// Time since the longest held entry was given out, in whole milliseconds; `None` when none is held.
    pub oldest_pending: Option<Duration>,
    /// Entries appended per second, lately (about a minute).
    pub arrivals_per_s: f64,
    /// Entries settled for good per second, lately.
    pub drained_per_s: f64,
    /// Time until nothing is left at these rates, zero when nothing is; `None` = never.
    pub eta: Option<Duration>,
    /// Whether `undelivered` was counted; otherwise it was estimated from counters (on a Redis, after deletions in a
    /// very long backlog).
    pub exact: bool,
}

impl Lag {
    /// What is left to do: undelivered, pending, ready and delayed together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.undelivered + self.pending + self.ready + self.delayed
    }

    /// Time until so much is left to do that nothing is, given what comes and goes per second.
    #[must_use]
    pub fn eta_at(total: u64, arrivals_per_s: f64, drained_per_s: f64) -> Option<Duration> {
        if total == 0 {
            return Some(Duration::ZERO);
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate of seconds")]
        let seconds = total as f64 / (drained_per_s - arrivals_per_s);
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Consumer groups: making, moving and watching them. See the [module](super) for what all methods have in common.
///
/// Every method answers [`ErrorKind::NoSuchGroup`] when the stream or the group is missing, unless it says otherwise,
/// and [`ErrorKind::WrongType`] when the key is no stream.
pub trait Groups: Send + Sync {
    /// Makes a group, and the stream too when there is none. Made again with the same origin it is left as it is.
    ///
    /// # Errors
    /// [`ErrorKind::GroupExists`] when it exists with another origin, or was made by `XGROUP CREATE`
    /// ([`Groups::set_policy`] adopts such a group); [`ErrorKind::Invalid`] for a policy that cannot be kept;
    /// [`ErrorKind::DeadLetterTaken`] when the stream for its dead letters is this stream, a side stream of another
    /// purpose ([`crate::is_side_stream`]), the one of another group, or when the first entry in it is no dead letter of
    /// this group; [`ErrorKind::LimitReached`], [`ErrorKind::DiskFull`].
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: CreateGroup,
    ) -> BoxFuture<'a, Created>;

    /// Ends a group with everything it has pending; `false` when there is none, or no stream. Its dead letters stay.
    fn delete_group<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, bool>;

    /// The groups of a stream, by name. A missing stream has none.
    fn groups<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupInfo>>;

    /// One group; `None` when there is none.
    fn group_info<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Option<GroupInfo>>;

    /// Gives a group another policy. It holds for what is given out or settled from now on. A changed key or filter
    /// holds for entries that were not yet given out or passed over; changing the key lets go all that waits for an
    /// earlier entry with its key, and what is pending then keeps nothing waiting.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a policy that cannot be kept; [`ErrorKind::DeadLetterTaken`] as
    /// [`Groups::create_group`].
    fn set_policy<'a>(&'a self, stream: &'a [u8], group: &'a [u8], policy: Policy) -> BoxFuture<'a, ()>;

    /// Moves a group. Rows above the new place leave the pending list, since their entries come again; tokens for them
    /// are stale. Rows at or below it stay as they are. An ID above the stream's last is taken as the last.
    fn seek<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Seek) -> BoxFuture<'a, Sought>;

    /// Gives nothing out any more to whoever reads or claims, until [`Groups::resume`]; `duration` ends it by itself.
    /// What is held may be settled; nothing is counted while it lasts, but leases run. Paused again, the new end holds.
    fn pause<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        duration: Option<Duration>,
    ) -> BoxFuture<'a, ()>;

    /// Ends a pause. Not paused, nothing happens.
    fn resume<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, ()>;

    /// Makes a consumer; `false` when it exists. Reading makes one, too.
    fn create_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
    ) -> BoxFuture<'a, bool>;

    /// The consumers of a group, by name.
    fn consumers<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Vec<ConsumerInfo>>;

    /// Removes a consumer; answers how many entries it held. A missing one held none.
    fn delete_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
        pending: PendingFate,
    ) -> BoxFuture<'a, u64>;

    /// How far behind a group is.
    fn lag<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Lag>;
}
