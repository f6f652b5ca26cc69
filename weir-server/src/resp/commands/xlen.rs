//! XLEN: how many entries a stream has.

use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xlen",
    arity: 2,
    flags: flag::STREAM | flag::READONLY | flag::FAST,
    key_use: KeyUse::Look,
    since: "5.0.0",
    summary: "returns the number of entries in a stream",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(1);
        Ok(Reply::count(call.turn.len(key)?))
    }),
    ..Command::STREAM
};
