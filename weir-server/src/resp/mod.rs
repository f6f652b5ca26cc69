//! The RESP door: one thread, one `epoll` loop, any number of Redis clients.
//!
//! In the order in which a command passes through:
//! [`reactor`](self) reads sockets, `round` decodes requests and executes them in short turns of the engine,
//! `dispatch` finds the row of the command table and applies what holds for every command, `commands` has a file for
//! each command, `reply` is what it answers, `render` turns that into bytes after the engine has flushed.
//!
//! Invariants:
//! * No byte of an answer leaves before the engine's flush of the turn it was made in, reads included.
//! * A client's commands are executed in order, and its answers leave in that order.
//! * A client that is slow, silent or hostile costs bounded memory and nobody else's time.

mod acl;
mod asks;
mod call;
mod client;
mod command;
mod commands;
mod config;
mod dispatch;
mod door;
mod errors;
mod held;
mod keyspec;
mod latency;
mod link;
#[cfg(test)]
mod manual;
mod memory;
mod monitor;
mod notify;
mod number;
mod pending;
mod pool;
mod pubsub;
mod random;
mod reactor;
mod readers;
mod render;
mod reply;
mod round;
mod settings;
mod slowlog;
mod socket;
mod spin;
mod stats;
mod syntax;
mod table;
mod timers;
mod version;

pub use config::Config;
pub use reactor::{Server, Stopper};
pub use socket::Listener;
pub(crate) use weir_core::glob;
