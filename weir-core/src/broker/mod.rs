//! The traits that make a broker: streams, groups of consumers, and the delivery of entries to them.
//!
//! They are object-safe, so that a program holds an `Arc<dyn Broker>` and does not know which engine it talks to. Each
//! verb takes an options struct that the caller fills in. What follows holds for all of them.
//!
//! # At least once
//!
//! An entry that a group was given and that was not settled is given again: to whoever reads the consumer's own
//! history, or to anyone once its lease is over. So a handler may see an entry twice, never not at all. What tells the
//! second time from the first is [`Delivery::deliveries`].
//!
//! # Errors
//!
//! Beside the kinds that a method names, every method may answer [`ErrorKind::Closed`], [`ErrorKind::Faulted`] (what
//! was asked may be lost at a restart), [`ErrorKind::Io`], [`ErrorKind::Corrupt`], [`ErrorKind::Invalid`],
//! [`ErrorKind::Unavailable`] (an engine behind a network cannot be reached), [`ErrorKind::Denied`] and, when a name is
//! longer than allowed or too much waits already, [`ErrorKind::LimitReached`]. When several things are wrong, it names
//! any of them. What is refused has changed nothing;
//! after `Faulted`, `Io`, `Corrupt` or `Unavailable` the change may have happened, and only its answer is missing.
//!
//! An error about a group names it and its stream: [`crate::Error::about_group`].
//!
//! # Cancellation
//!
//! A future does nothing before it is first polled. Dropped later, it may or may not have done what it was asked to,
//! and a read that waits waits no longer. So a dropped append may have appended: give it a producer and repeat it. A
//! dropped [`Deliveries::read_group`] or [`Deliveries::auto_claim`] may have delivered entries that nobody saw. They
//! are not lost: the consumer has them pending, its history shows them, others get them when the lease is over.
//! Everything else may simply be asked again.
//!
//! # Where the namespace is foreign
//!
//! On a Redis that others write to as well, an engine cannot know the position of an entry: [`Entry::position`] and
//! [`Entry::global_position`] are `None` there, and reading by position answers [`ErrorKind::Unsupported`].

mod admin;
mod delivery;
mod group;
mod policy;
mod stream;

use std::future::Future;
use std::pin::Pin;

pub use admin::{Admin, DeadLetterStream, GroupPolicy};
pub use delivery::{
    AutoClaim, AutoClaimed, Claim, DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetterQuery, Deliveries,
    Delivery, Failure, GroupSource, PendingQuery, PendingRow, PendingState, PendingSummary, Purge, ReadGroup,
    Redrive, Redriven, RestoredRow, Settle, Settled, Settlement, Token,
};
pub use group::{
    ConsumerInfo, CreateGroup, Created, GroupInfo, GroupOrigin, Groups, Lag, PendingFate, Seek, SeekTo,
    Sought,
};
pub use policy::{
    Backoff, Condition, ConditionTest, FieldName, Filter, Policy, TENANT_FIELDS, TYPE_FIELDS, first_value,
};
pub use stream::{
    AppendOptions, Appended, BatchOptions, Entry, Expected, FieldRefs, Fields, Head, ListStreams, LostEntry,
    LostPage, LostQuery, NewEntry, Producer, ReadFrom, ReadOptions, Retention, StreamInfo, StreamPage,
    Streams, TrimTo, Trimmed,
};

use crate::Error;
#[cfg(doc)]
use crate::ErrorKind;

/// What a trait's method gives back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A broker for one namespace: its streams, their groups, and delivery.
///
/// The [module](self) says what all methods have in common.
pub trait Broker: Streams + Groups + Deliveries {}

impl<T: Streams + Groups + Deliveries + ?Sized> Broker for T {}
