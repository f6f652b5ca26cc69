//! The embedded broker: decides, logs, applies.
//!
//! [`Engine`] is the door: open it on a disk, take a [`Turn`], ask, let go, wait for the log. One idea carries it: the
//! log is the database. Every change is a record; memory is a fold of the records; a snapshot is a short cut.
//!
//! Invariants:
//! * State changes only through `State::apply`, live and in recovery alike.
//! * Under the core's lock nothing is parsed and nothing waits for the disk, except in a transaction.
//! * No result leaves before the log has reached the mark the policy demands.
//!
//! The crate knows no wire protocol: requests and answers are values, errors are kinds.

mod admission;
mod ahead;
mod api;
mod appending;
mod background;
mod block;
mod blocks;
mod broker;
mod charter;
mod check;
mod checks;
mod chunked;
mod copying;
mod core;
mod counters;
mod dead;
mod deliveries_face;
mod digest;
mod engine;
mod entries;
mod filter;
mod flusher;
#[doc(hidden)]
pub mod fuzz;
mod giving;
mod group;
mod groups;
mod groups_face;
mod guard;
mod idempotence;
mod info;
mod keys;
mod lag;
mod lanes;
mod listing;
mod mailbox;
mod node;
mod options;
mod places;
mod policy;
mod pool;
mod reading;
mod reclaim;
mod record;
mod recovery;
mod retention;
mod scan;
mod settling;
mod slab;
mod snapshot;
mod state;
mod steering;
mod stream;
mod streams_face;
mod tasks;
mod tuning;
mod varint;
mod verify;
mod waiting;

pub use ahead::{Ahead, Missing};
pub use api::{
    Append, Appended, AutoClaim, AutoClaimed, Claim, Cold, ConsumerInfo, Deleted, Delivery, Entries,
    EntryRef, ExpireWhen, Given, GroupDetail, GroupInfo, GroupReadFrom, GroupStart, Halt, KeyEvent, KeyKind,
    KeyRef, Nack, NackMode, NamespaceNo, NewId, PendingQuery, PendingRow, PendingSummary, Producer, Range,
    Read, ReadFrom, ReadGroup, ReadLimits, ReadOutcome, ReadSource, References, SetId, StreamDetail,
    StreamEntries, StreamInfo, TakenOver, Trim, TrimBound,
};
pub use appending::BatchEntry;
pub use broker::Namespace;
pub use check::{FolderReport, SnapshotReport, check_folder};
pub use copying::{KeyCopy, KeyImage};
pub use core::{Core, DATABASES};
pub use dead::LettersDone;
#[doc(hidden)]
pub use digest::Digests;
pub use engine::{Engine, EntryFields, Mark, Turn};
pub use entries::Terms;
pub use listing::Listing;
pub use node::NodeLimits;
pub use options::{Fsync, Limits, Options};
pub use places::ReadStream;
pub use streams_face::lost_entry;
pub use tuning::{IdempotenceDefaults, Lookups};
pub use verify::Verified;
pub use waiting::{Served, WaiterId, WatchId};
pub use weir_log::LogStats;
