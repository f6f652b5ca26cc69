//! Delivery: giving entries to consumers, settling them, taking them over, setting them aside.
//!
//! # The life of a row
//!
//! ```text
//!                      read, claim                          ack, term, too many failures
//!   (undelivered) ───────────────────────► in flight ──────────────────────────────────► (off the list)
//!         │                                 ▲   │ │
//!         │ key is busy                     │   │ │ nak or release with a delay
//!         ▼                                 │   │ ▼
//!      waiting ──► ready ───────────────────┘   │ delayed ──► ready   when the delay is over
//!          key is free   ▲                      │
//!                        └──────────────────────┘ nak or release at once
//! ```
//!
//! * In flight: a consumer holds it. Idle for as long as the lease, anybody may take it.
//! * Ready: nobody holds it; the next reader is given it, lowest ID first, before anything new.
//! * Delayed: nobody is given it before its time.
//! * Waiting: it is behind an earlier entry with the same key; [`super::Policy::key`].
//!
//! A key is busy while an entry with it is in flight, ready or delayed. When that leaves the list, the lowest waiting one
//! becomes ready.

use std::time::Duration;

use super::{BoxFuture, Condition, Entry, Fields};
#[cfg(doc)]
use super::{Groups, Policy};
#[cfg(doc)]
use crate::ErrorKind;
use crate::{EntryId, Timestamp};

/// Tells one delivery of an entry to a group from every other. Opaque; not an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// Why a handler did not manage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure: a short name that programs compare, such as `timeout`. Cut after 64 bytes.
    pub class: Vec<u8>,
    /// What happened, for people. Cut after 1 024 bytes.
    pub reason: Vec<u8>,
    /// When it was reported.
    pub at: Timestamp,
}

impl Failure {
    /// The most bytes of a class that are kept.
    pub const CLASS_MAX: usize = 64;
    /// The most bytes of a reason that are kept.
    pub const REASON_MAX: usize = 1_024;
    /// The class of an entry that was given out too often: [`Policy::deliveries_max`].
    pub const DELIVERIES: &'static [u8] = b"max-deliveries";
    /// Its reason then.
    pub const DELIVERIES_REASON: &'static [u8] = b"given out too often";
}

/// An entry that a consumer was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The entry.
    pub entry: Entry,
    /// What settles this delivery and no other.
    pub token: Token,
    /// How often the entry was given out and not handed back uncounted, this time included.
    pub deliveries: u64,
    /// How often a handler reported failure.
    pub failures: u64,
    /// The first failure.
    pub first_failure: Option<Failure>,
    /// The last one.
    pub last_failure: Option<Failure>,
    /// When others may take it, unless the lease is extended; of a group without policy [`Timestamp`]'s greatest.
    pub lease_until: Timestamp,
    /// How often the entry was a dead letter and redriven.
    pub redrives: u32,
}

/// What a consumer asks for. Each comes lowest ID first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupSource {
    /// What nobody was given yet.
    New,
    /// What is ready, then what others or this one have held for at least `idle_min`.
    Reclaimed {
        /// `None` = the lease of the policy as it is now; without a policy nothing is old enough.
        idle_min: Option<Duration>,
    },
    /// What [`GroupSource::Reclaimed`] gives, then what is new, up to the count together.
    Available {
        /// As above.
        idle_min: Option<Duration>,
    },
    /// What this consumer holds, above an ID. It counts as given out once more, and earlier tokens are stale.
    History {
        /// Entries above this ID; [`EntryId::MIN`] = from the first.
        after: EntryId,
    },
}

/// How a consumer reads.
#[derive(Debug, Clone)]
pub struct ReadGroup {
    /// The group.
    pub group: Vec<u8>,
    /// Who reads; made on first use.
    pub consumer: Vec<u8>,
    /// What it asks for.
    pub source: GroupSource,
    /// At most so many; 0 = none, at once.
    pub count: u64,
    /// How long to wait for an entry when there is none; `None` = not at all, [`Duration::MAX`] = without end. History
    /// does not wait.
    pub wait: Option<Duration>,
    /// Reads although the group is paused: to try whether what it was paused for is over.
    pub while_paused: bool,
}

/// What becomes of an entry that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done: off the pending list.
    Ack,
    /// It failed: one failure more; it comes again, or becomes a dead letter when the policy says so. The class is
    /// compared where the policy resets on another class.
    Nak {
        /// When it comes again; `None` = as the policy's backoff says, at once without a policy. At most
        /// [`Policy::DELAY_MAX`].
        delay: Option<Duration>,
        /// What kind of failure. See [`Failure::class`].
        class: Vec<u8>,
        /// What happened.
        reason: Vec<u8>,
    },
    /// It was not tried: the delivery is given back (counted down), no failure; for others at once or after a delay of
    /// at most [`Policy::DELAY_MAX`].
    Release {
        /// `None` = at once.
        delay: Option<Duration>,
    },
    /// It will never succeed: one failure more, and a dead letter at once. In a group without policy it is taken off the
    /// list like an acknowledged one, and there is no dead letter.
    Term {
        /// What kind of failure.
        class: Vec<u8>,
        /// What happened.
        reason: Vec<u8>,
    },
    /// It takes longer: the lease begins anew, the token stays good.
    Extend,
}

/// One settlement of a batch.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The entry.
    pub id: EntryId,
    /// The delivery that is settled; `None` settles whatever row there is, in any state. But it extends only what is in
    /// flight, anything else is [`Settled::Stale`]; and what waits for an earlier entry goes on waiting when it is handed
    /// back or has failed (the failure counts).
    pub token: Option<Token>,
    /// What becomes of it.
    pub settlement: Settlement,
}

/// What a settlement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// What was asked.
    Done,
    /// It became a dead letter.
    DeadLettered,
    /// Nothing: the token is of an earlier delivery, somebody else has the entry or may get it. (It counts as
    /// [`super::GroupInfo::stale_settlements`] when there was a token.)
    Stale,
    /// Nothing: the entry is not pending.
    NotPending,
}

/// How a consumer takes over named entries.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The group.
    pub group: Vec<u8>,
    /// Who takes over; made on first use.
    pub consumer: Vec<u8>,
    /// Entries that are in flight and were given out at least so long ago, or are ready. Those that are delayed or
    /// waiting stay where they are.
    pub idle_min: Duration,
    /// Which.
    pub ids: Vec<EntryId>,
}

/// How a consumer takes over whatever is old.
#[derive(Debug, Clone)]
pub struct AutoClaim {
    /// The group.
    pub group: Vec<u8>,
    /// Who takes over; made on first use.
    pub consumer: Vec<u8>,
    /// As [`Claim::idle_min`].
    pub idle_min: Duration,
    /// The lowest ID that is looked at.
    pub start: EntryId,
    /// At most so many.
    pub count: u64,
}

/// What was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoClaimed {
    /// The entries, lowest ID first.
    pub deliveries: Vec<Delivery>,
    /// Where to go on: the first row that was not looked at, whatever its state; [`EntryId::MIN`] at the end.
    pub cursor: EntryId,
    /// Rows that were dropped, since their entries are gone.
    pub deleted: Vec<EntryId>,
}

/// In which state a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingState {
    /// A consumer holds it.
    InFlight,
    /// The next reader is given it.
    Ready,
    /// Nobody is given it before this time.
    Delayed {
        /// The time.
        until: Timestamp,
    },
    /// It is behind an earlier entry with its key.
    Waiting,
}

/// A row of the pending list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// The entry.
    pub id: EntryId,
    /// Who holds it; `None` when nobody does.
    pub consumer: Option<Vec<u8>>,
    /// Its state.
    pub state: PendingState,
    /// Time since it was last given out or its lease extended, in whole milliseconds; zero when nobody holds it.
    pub idle: Duration,
    /// As [`Delivery::deliveries`].
    pub deliveries: u64,
    /// As [`Delivery::failures`].
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<Failure>,
}

/// Which rows are listed.
#[derive(Debug, Clone)]
pub struct PendingQuery {
    /// Only those of this consumer.
    pub consumer: Option<Vec<u8>>,
    /// Only rows in flight that are idle for so long.
    pub idle_min: Option<Duration>,
    /// The lowest ID.
    pub start: EntryId,
    /// The highest ID.
    pub end: EntryId,
    /// At most so many.
    pub count: u64,
}

/// What a group has pending, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSummary {
    /// Rows, whatever their state.
    pub count: u64,
    /// The lowest and the highest ID; `None` when there is no row.
    pub bounds: Option<(EntryId, EntryId)>,
    /// How many each consumer holds, by name; those that hold none are left out.
    pub consumers: Vec<(Vec<u8>, u64)>,
}

/// A row as it was elsewhere: for copying a group from one engine to another.
#[derive(Debug, Clone)]
pub struct RestoredRow {
    /// The entry.
    pub id: EntryId,
    /// Who held it; `None` = it is ready, or delayed.
    pub consumer: Option<Vec<u8>>,
    /// Time since it was given out.
    pub idle: Duration,
    /// How often it was given out.
    pub deliveries: u64,
    /// How often it failed.
    pub failures: u64,
    /// How long nobody is given it; only without a consumer.
    pub delay: Option<Duration>,
}

/// A dead letter: a copy of the entry and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own ID in the dead-letter stream.
    pub id: EntryId,
    /// The ID that the entry has in its stream.
    pub entry_id: EntryId,
    /// The entry's fields; none when it was gone already.
    pub fields: Fields,
    /// Who held it when it became a dead letter; `None` when nobody did.
    pub consumer: Option<Vec<u8>>,
    /// How often it was given out.
    pub deliveries: u64,
    /// How often a handler reported failure, the last time included.
    pub failures: u64,
    /// The first failure that was reported; `None` when none was ([`Failure::DELIVERIES`]).
    pub first_failure: Option<Failure>,
    /// What made it a dead letter, and when.
    pub last_failure: Failure,
    /// How often it was redriven before.
    pub redrives: u32,
}

/// Which dead letters are meant: those that meet everything given.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Entries by the IDs in their stream; empty = all.
    pub entry_ids: Vec<EntryId>,
    /// The class of the last failure.
    pub class: Option<Vec<u8>>,
    /// The reason of the last failure has this in it.
    pub reason_contains: Option<Vec<u8>>,
    /// Conditions on the entry's fields.
    pub conditions: Vec<Condition>,
    /// Redriven at most so often before.
    pub redrives_max: Option<u32>,
}

/// Which dead letters are listed.
#[derive(Debug, Clone)]
pub struct DeadLetterQuery {
    /// Which.
    pub filter: DeadLetterFilter,
    /// Above this ID in the dead-letter stream.
    pub after: EntryId,
    /// At most so many.
    pub count: u64,
}

/// Dead letters, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Where to go on; `None` at the end.
    pub next: Option<EntryId>,
}

/// Which dead letters go back to their group.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Which.
    pub filter: DeadLetterFilter,
    /// At most so many, the oldest first; those that are gone do not count.
    pub count: u64,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// What a redrive did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The entries, by the IDs in their stream.
    pub entry_ids: Vec<EntryId>,
    /// Entries that are no longer in the stream: their letters stay where they are.
    pub gone: Vec<EntryId>,
    /// Dead letters that are left afterwards, whether they meet the filter or not.
    pub left: u64,
}

/// Which dead letters are removed for good.
#[derive(Debug, Clone)]
pub struct Purge {
    /// Which.
    pub filter: DeadLetterFilter,
    /// At most so many, the oldest first.
    pub count: u64,
    /// Only says how many.
    pub dry_run: bool,
}

/// Giving entries to the consumers of a group. See the [module](super) for what all methods have in common.
///
/// Every method answers [`ErrorKind::NoSuchGroup`] when the stream or the group is missing, also when it goes while
/// this waits, and [`ErrorKind::WrongType`] when the key is no stream.
///
/// Wherever an entry would be given to somebody: when its row counts [`Policy::deliveries_max`] deliveries already, it
/// becomes a dead letter of class [`Failure::DELIVERIES`] instead; when the entry is gone, its row is dropped instead.
/// What becomes ready by that, since it waited for their key, comes with the next read.
pub trait Deliveries: Send + Sync {
    /// Gives a consumer entries, which it has pending afterwards. Waits for the first when there is none; it also ends
    /// when an entry becomes ready, its delay is over, its lease is over or a pause ends. A paused group gives nothing,
    /// from no source.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when the group has too much pending or too many reads wait; [`ErrorKind::Invalid`]
    /// for a history read that would wait.
    fn read_group<'a>(&'a self, stream: &'a [u8], options: ReadGroup) -> BoxFuture<'a, Vec<Delivery>>;

    /// Settles deliveries, one after the other; each is settled wholly or not at all, and a dead letter stands in its
    /// stream in the same moment as its row leaves the list. Answers what each did, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a delay that is too long, and then nothing is settled.
    fn settle<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        settlements: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Settled>>;

    /// Gives a consumer named entries that are pending, lowest ID first. It counts as given out once more. Those that it
    /// cannot have are left out. A paused group gives none.
    fn claim<'a>(&'a self, stream: &'a [u8], options: Claim) -> BoxFuture<'a, Vec<Delivery>>;

    /// Gives a consumer pending entries that are old enough or ready, and says where to go on. A paused group gives
    /// none.
    fn auto_claim<'a>(&'a self, stream: &'a [u8], options: AutoClaim) -> BoxFuture<'a, AutoClaimed>;

    /// What a group has pending, in short.
    fn pending_summary<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, PendingSummary>;

    /// Rows of the pending list, by ID.
    fn pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: PendingQuery,
    ) -> BoxFuture<'a, Vec<PendingRow>>;

    /// Puts rows on the pending list as they were elsewhere; answers how many. A row that there is already is replaced;
    /// a row whose entry is missing, or is above the group's last-delivered ID, which does not move, is left out. A row
    /// that nobody held waits when its key is busy.
    fn restore_pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        rows: &'a [RestoredRow],
    ) -> BoxFuture<'a, u64>;

    /// The dead letters of a group, the oldest first. A group without policy has none.
    fn dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: DeadLetterQuery,
    ) -> BoxFuture<'a, DeadLetterPage>;

    /// Hands dead letters back to the group that failed, and to no other: under the same ID, ready at once, its
    /// deliveries and failures counted from 0, one redrive more. A letter whose row is pending again already, or whose
    /// entry comes anyway since the group was moved back, is only removed. Where delivery is ordered by a key and that
    /// key is busy, the entry waits.
    fn redrive<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Redrive) -> BoxFuture<'a, Redriven>;

    /// Removes dead letters; answers how many.
    fn purge_dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: Purge,
    ) -> BoxFuture<'a, u64>;
}
