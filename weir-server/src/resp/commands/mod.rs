//! One file for each command; here is the list of them.
//!
//! To add a command: a file with a `COMMAND` row and the function it names, and a line in [`FAMILIES`].

pub(crate) mod client_list;

mod acl;
mod client;
mod client_control;
mod command;
mod config;
mod connection;
mod copying;
mod expiry;
mod info;
mod keys;
mod latency;
mod monitor;
mod object;
mod pubsub;
mod scan;
mod server;
mod slowlog;
mod strings;
mod transaction;
mod weir;
mod weir_native;
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
        &acl::COMMAND,
        &client::COMMAND,
        &command::COMMAND,
    ],
    &[
        &copying::COPY,
        &copying::DUMP,
        &copying::RESTORE,
        &expiry::EXPIRE,
        &expiry::EXPIREAT,
        &expiry::EXPIRETIME,
        &expiry::PERSIST,
        &expiry::PEXPIRE,
        &expiry::PEXPIREAT,
        &expiry::PEXPIRETIME,
        &expiry::PTTL,
        &expiry::TTL,
        &keys::DBSIZE,
        &keys::DEL,
        &keys::EXISTS,
        &keys::FLUSHALL,
        &keys::FLUSHDB,
        &keys::MOVE,
        &keys::RANDOMKEY,
        &keys::RENAME,
        &keys::RENAMENX,
        &keys::SWAPDB,
        &keys::TOUCH,
        &keys::TYPE,
        &keys::UNLINK,
        &object::MEMORY,
        &object::OBJECT,
        &scan::KEYS,
        &scan::SCAN,
    ],
    &[
        &server::ASKING,
        &server::BGREWRITEAOF,
        &server::BGSAVE,
        &server::CLUSTER,
        &config::COMMAND,
        &server::DEBUG,
        &server::FUNCTION,
        &info::COMMAND,
        &server::LASTSAVE,
        &latency::COMMAND,
        &server::READONLY,
        &server::READWRITE,
        &server::REPLICAOF,
        &server::ROLE,
        &server::SAVE,
        &server::SCRIPT,
        &server::SHUTDOWN,
        &server::SLAVEOF,
        &slowlog::COMMAND,
        &server::TIME,
        &server::WAIT,
        &server::WAITAOF,
    ],
    &[
        &strings::APPEND,
        &strings::DECR,
        &strings::DECRBY,
        &strings::GET,
        &strings::GETDEL,
        &strings::GETSET,
        &strings::INCR,
        &strings::INCRBY,
        &strings::MGET,
        &strings::MSET,
        &strings::PSETEX,
        &strings::SET,
        &strings::SETEX,
        &strings::SETNX,
        &strings::STRLEN,
    ],
    &[
        &monitor::COMMAND,
        &pubsub::PSUBSCRIBE,
        &pubsub::PUBLISH,
        &pubsub::PUBSUB,
        &pubsub::PUNSUBSCRIBE,
        &pubsub::SUBSCRIBE,
        &pubsub::UNSUBSCRIBE,
    ],
    &[
        &transaction::DISCARD,
        &transaction::EXEC,
        &transaction::MULTI,
        &transaction::UNWATCH,
        &transaction::WATCH,
    ],
    &[
        &weir::ADD,
        &weir::ADDBATCH,
        &weir::AUTOCLAIM,
        &weir::CLAIM,
        &weir::CONSUMER,
        &weir::DEL,
        &weir::DELENTRIES,
        &weir::DLQ,
        &weir::EXTEND,
        &weir::GROUP,
        &weir::HEAD,
        &weir::INFO,
        &weir::LAG,
        &weir::LOST,
        &weir::NACK,
        &weir::NAMESPACES,
        &weir::PAUSE,
        &weir::PENDING,
        &weir::READ,
        &weir::READGROUP,
        &weir::RELEASE,
        &weir::RESTORE,
        &weir::RESUME,
        &weir::RETENTION,
        &weir::SEEK,
        &weir::SETTLE,
        &weir::STREAMS,
        &weir::TERM,
        &weir::TRIM,
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

/// Every command, and every subcommand behind its container.
pub(crate) fn all_with_subcommands() -> impl Iterator<Item = &'static Command> {
    all().flat_map(|row| std::iter::once(row).chain(row.subcommands().iter().copied()))
}
