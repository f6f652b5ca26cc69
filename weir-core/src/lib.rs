//! The words of weir: ids, names, entries, groups, errors, the clock, and the traits that make a broker.
//!
//! Everything here is vocabulary: the engines, the doors and users' programs all speak it.
//! This crate does no I/O, knows no async runtime and no serialisation format.

pub mod broker;
mod clock;
mod entry_id;
mod error;
pub mod glob;
mod side;

pub use broker::*;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use entry_id::{EntryId, ParseEntryIdError};
pub use error::{Error, ErrorKind};
pub use side::{alerts_of, dead_letters_of, hash_tag, is_side_stream, lost_of, slot_name};
