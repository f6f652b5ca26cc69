//! The words of weir: ids, names, entries, groups, errors, the clock, and the traits that make a broker.
//!
//! Everything here is vocabulary: the engines, the doors and users' programs all speak it.
//! This crate does no I/O, knows no async runtime and no serialisation format.

mod broker;
mod clock;
mod entry_id;
mod error;

pub use broker::{
    AppendOptions, AutoClaimOptions, BoxFuture, Broker, Entry, FieldRefs, Fields, GroupOrigin,
    GroupReadOptions, GroupSummary, Groups, HistoryOptions, RangeOptions, StreamSummary, Streams,
};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use entry_id::{EntryId, ParseEntryIdError};
pub use error::{Error, ErrorKind};
