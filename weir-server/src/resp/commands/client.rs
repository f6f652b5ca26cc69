//! CLIENT: names and facts of connections.

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::client::Replies;
use crate::resp::command::{Command, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

use super::{client_control, client_list};

const FLAGS: u32 = flag::CONNECTION | flag::NOSCRIPT | flag::LOADING | flag::STALE;
pub(super) const ROW: Command =
    Command { flags: FLAGS, group: "connection", since: "2.4.0", ..Command::BASE };

pub(super) static COMMAND: Command = Command {
    name: "client",
    arity: -2,
    flags: 0,
    summary: "a container of commands about client connections",
    run: Run::Container(&[
        &client_control::CACHING,
        &GETNAME,
        &client_control::GETREDIR,
        &HELP,
        &ID,
        &client_list::INFO,
        &client_list::KILL,
        &client_list::LIST,
        &client_control::NO_EVICT,
        &client_control::NO_TOUCH,
        &client_control::PAUSE,
        &REPLY,
        &SETINFO,
        &SETNAME,
        &client_control::TRACKING,
        &client_control::TRACKINGINFO,
        &client_control::UNBLOCK,
        &client_control::UNPAUSE,
    ]),
    ..ROW
};

static ID: Command = Command {
    name: "client|id",
    arity: 2,
    since: "5.0.0",
    summary: "returns the number of the connection",
    run: Run::Call(|call| Ok(Reply::count(call.client().id))),
    ..ROW
};

static GETNAME: Command = Command {
    name: "client|getname",
    arity: 2,
    since: "2.6.9",
    summary: "returns the name of the connection",
    run: Run::Call(|call| match &*call.client().name {
        [] => Ok(Reply::Null),
        name => Ok(Reply::bulk(name)),
    }),
    ..ROW
};

static SETNAME: Command = Command {
    name: "client|setname",
    arity: 3,
    since: "2.6.9",
    summary: "names the connection",
    syntax: "connection-name",
    run: Run::Call(|call| {
        let name = checked_name(call.arg(2))?;
        call.client().name = name.into();
        Ok(Reply::Ok)
    }),
    ..ROW
};

/// A client's name, if it can stand in a line of CLIENT LIST.
pub(super) fn checked_name(name: &[u8]) -> Result<&[u8], Stop> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(name);
    }
    Err(Stop::refused("ERR Client names cannot contain spaces, newlines or special characters."))
}

static SETINFO: Command = Command {
    name: "client|setinfo",
    arity: 4,
    since: "7.2.0",
    summary: "says which library the client uses",
    syntax: "<LIB-NAME libname | LIB-VER libver>",
    run: Run::Call(setinfo),
    ..ROW
};

fn setinfo(call: &mut Call<'_, '_>) -> Answer {
    let (is_name, is_version) = (call.is(2, "LIB-NAME"), call.is(2, "LIB-VER"));
    if !is_name && !is_version {
        return Err([b"ERR Unrecognized option '", call.arg(2), b"'"].concat().into());
    }
    let value = call.arg(3);
    if checked_name(value).is_err() {
        let option = call.arg(2).to_ascii_uppercase();
        let rest = b" cannot contain spaces, newlines or special characters.";
        return Err([&b"ERR "[..], &option, rest].concat().into());
    }
    let client = call.client();
    if is_name {
        client.lib_name = value.into();
    } else {
        client.lib_version = value.into();
    }
    Ok(Reply::Ok)
}

static REPLY: Command = Command {
    name: "client|reply",
    arity: 3,
    since: "3.2.0",
    summary: "says which commands are answered",
    syntax: "<ON | OFF | SKIP>",
    run: Run::Call(|call| {
        if call.is(2, "ON") {
            call.client().replies = Replies::On;
            return Ok(Reply::Ok);
        }
        if call.is(2, "OFF") {
            call.client().replies = Replies::Off;
        } else if call.is(2, "SKIP") {
            // Switched off for good stays so.
            if call.client().replies != Replies::Off {
                call.client().replies = Replies::SkipNext;
            }
        } else {
            return Err(errors::SYNTAX.into());
        }
        Ok(Reply::Nothing)
    }),
    ..ROW
};

static HELP: Command = Command {
    name: "client|help",
    arity: 2,
    since: "5.0.0",
    summary: "returns texts about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};
