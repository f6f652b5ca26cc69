//! MONITOR: shows every command to the client.

use crate::resp::command::{Command, Run, flag};
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "monitor",
    flags: flag::ADMIN | flag::DANGEROUS | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: "server",
    summary: "shows every command that the server executes",
    run: Run::Call(|call| {
        call.door.monitors.insert(call.who);
        Ok(Reply::Ok)
    }),
    ..Command::BASE
};
