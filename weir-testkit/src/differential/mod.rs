//! The differential test: the same random commands to two peers, and every reply compared.
//!
//! A [`Peer`] is a server behind TCP or the naive model. [`run`] sends seeded sequences from [`generate`] to two of
//! them and compares reply by reply, error texts included. Only what cannot be equal is evened out first: times,
//! within a tolerance, and entry IDs that the peers made up themselves (see `compare`). Where two versions of
//! Redis differ by design, an [`Exception`] says so by name; nothing else is excused. A difference is reported with
//! its seed and a sequence shrunk to what reproduces it.

mod command;
mod compare;
mod exceptions;
mod generate;
mod peer;
mod run;
mod server;
mod shrink;
mod vocabulary;

pub use command::{Command, Word};
pub use exceptions::{Exception, RESTARTED, VERSIONS, WEIR};
pub use generate::{Surface, generate};
pub use peer::{ModelPeer, Peer, TcpPeer};
pub use run::{Difference, Plan, Report, SHRINK_TRIES, run};
pub use server::{Server, free_port};
