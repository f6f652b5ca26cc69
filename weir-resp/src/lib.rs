//! The RESP2 and RESP3 codec, without I/O.
//!
//! A server reads requests with a [`Decoder`] and writes replies with a [`Writer`]; a client writes
//! [`command`]s and reads replies as a [`Value`], or only finds their ends with [`skip_reply`].
//!
//! Invariants:
//! * Nothing here reads, writes, waits or looks at a clock: bytes come in as slices and go out into a `Vec`.
//! * What a peer sends never causes a panic, nor memory beyond a small multiple of the bytes received so far.
//! * The outcome does not depend on how the bytes were cut into pieces.

mod args;
mod cursor;
mod encode;
#[doc(hidden)]
pub mod fuzz;
mod inline;
mod number;
mod protocol_error;
mod reply;
mod request;
mod scan;

pub use args::{Args, ArgsIter, Request};
pub use cursor::ReplyCursor;
pub use encode::{DeferredArray, Proto, Writer, command, push_command_header};
pub use protocol_error::ProtocolError;
pub use reply::{Reply, ReplyError, ReplyLimits, Value, decode_reply};
pub use request::{Decoder, Limits, Peer, Progress};
pub use scan::{ReplyScanner, skip_reply};
