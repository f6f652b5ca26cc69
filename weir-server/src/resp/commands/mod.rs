//! One file for each command; here is the list of them.
//!
//! To add a command: a file with a `COMMAND` row and the function it names, and a line in [`FAMILIES`].

pub(crate) mod client_list;

mod client;
mod client_control;
mod command;
mod connection;
mod monitor;
mod pubsub;
mod transaction;
mod xack;
mod xadd;
mod xautoclaim;
mod xcfgset;
mod xclaim;
mod xdel;
mod xgroup;
mod xinfo;
mod xlen;
mod xnack;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;
mod xtrim;

mod deleting;
mod reading;
mod trimming;

use super::command::Command;

/// All top-level commands, by family.
static FAMILIES: &[&[&Command]] = &[
    &[
        &connection::AUTH,
        &connection::ECHO,
        &connection::HELLO,
        &connection::PING,
        &connection::QUIT,
        &connection::RESET,
        &connection::SELECT,
        &client::COMMAND,
        &command::COMMAND,
    ],
    &[
        &pubsub::PSUBSCRIBE,
        &pubsub::PUBLISH,
        &pubsub::PUBSUB,
        &pubsub::PUNSUBSCRIBE,
        &pubsub::SUBSCRIBE,
        &pubsub::UNSUBSCRIBE,
        &monitor::COMMAND,
    ],
    &[
        &transaction::DISCARD,
        &transaction::EXEC,
        &transaction::MULTI,
        &transaction::UNWATCH,
        &transaction::WATCH,
    ],
    &[
        &xack::XACK,
        &xack::XACKDEL,
        &xadd::COMMAND,
        &xautoclaim::COMMAND,
        &xcfgset::XCFGSET,
        &xcfgset::XIDMPRECORD,
        &xclaim::COMMAND,
        &xdel::XDEL,
        &xdel::XDELEX,
        &xgroup::COMMAND,
        &xinfo::COMMAND,
        &xlen::COMMAND,
        &xnack::COMMAND,
        &xpending::COMMAND,
        &xrange::XRANGE,
        &xrange::XREVRANGE,
        &xread::COMMAND,
        &xreadgroup::COMMAND,
        &xsetid::COMMAND,
        &xtrim::COMMAND,
    ],
];

/// Every top-level command.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.iter().copied())
}
