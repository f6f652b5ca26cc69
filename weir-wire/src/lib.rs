//! The calls of the broker traits as lists of byte strings, and their replies as trees of values: the `WEIR.*` commands.
//!
//! One declaration for each verb ([`Verb`]) says how it is called, read, answered and carried out; client, server and
//! proxy all use it, so that they cannot disagree. Errors have one table ([`error_line`], [`error_from_line`]).
//!
//! * Reading what somebody sent never panics, and allocates no more than what was sent.
//! * Every list has a named limit: [`limits`].
//! * No I/O, no RESP framing, no serialisation framework.
//!
//! # What all commands have in common
//!
//! Words are written in any case. Times are milliseconds since the Unix epoch, durations are milliseconds. A missing
//! value is a null. Options may stand in any order unless their place is fixed; of an option that is given twice the
//! last one counts.

mod call;
mod dead;
mod delivery;
mod entry;
mod error;
mod group;
mod info;
pub mod limits;
mod number;
mod policy;
mod settle;
mod stream;
mod value;
mod verb;
mod words;

pub use call::{COMMANDS, Request, call, call_words, find};
pub use dead::{DeadLetterPeek, DeadLetters, PurgeDeadLetters, RedriveDeadLetters};
pub use delivery::{
    AutoClaimEntries, ClaimEntries, PendingRows, PendingSummaryOf, ReadAsGroup, RestorePending,
};
pub use entry::{DeliveryNumbers, EntryNumbers};
pub use error::{error_from_line, error_line};
pub use group::{
    CreateConsumer, CreateGroupOf, DeleteConsumer, DeleteGroup, GetGroup, LagOf, ListConsumers, ListGroups,
    PauseGroup, ResumeGroup, SeekGroup, SetPolicy,
};
pub use settle::{ExtendEntries, NackEntries, ReleaseEntries, SettleEntries, TermEntries};
pub use stream::{
    AppendBatch, AppendEntry, BatchEntry, DeleteEntries, DeleteStream, GetRetention, HeadOf, InfoOf,
    ListStreamNames, LostEntries, ReadStream, SetRetention, TrimStream,
};
pub use value::Value;
pub use verb::{Command, Effect, Verb, encode_call};
pub use words::{Sink, Words};
