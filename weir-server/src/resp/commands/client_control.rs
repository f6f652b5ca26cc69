//! CLIENT PAUSE, UNPAUSE, UNBLOCK and what clients say about how they want to be treated.

use std::time::Duration;

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, Run, flag};
use crate::resp::door::Pause;
use crate::resp::errors;
use crate::resp::reply::Reply;

const ADMIN: u32 = super::client::ROW.flags | flag::ADMIN | flag::DANGEROUS;

pub(super) static PAUSE: Command = Command {
    name: "client|pause",
    arity: -3,
    flags: ADMIN,
    since: "3.0.0",
    summary: "makes all clients wait, or those that write",
    syntax: "timeout [WRITE | ALL]",
    run: Run::Call(pause),
    ..super::client::ROW
};

fn pause(call: &mut Call<'_, '_>) -> Answer {
    let writes_only = match call.len() {
        3 => false,
        4 if call.is(3, "WRITE") => true,
        4 if call.is(3, "ALL") => false,
        4 => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
        _ => return Err(errors::bad_subcommand("client", call.arg(1)).into()),
    };
    let timeout = call.int_or(2, "ERR timeout is not an integer or out of range")?;
    let timeout = u64::try_from(timeout).map_err(|_| Stop::refused("ERR timeout is negative"))?;
    let until = call.door.clock.elapsed().saturating_add(Duration::from_millis(timeout));
    let before = call.door.pause.take();
    // The longer and the stricter of two pauses holds.
    let until = before.as_ref().map_or(until, |before| before.until.max(until));
    let writes_only = writes_only && before.is_none_or(|before| before.writes_only);
    call.door.pause = Some(Pause { until, writes_only });
    call.door.timers.pause_until = Some(until);
    Ok(Reply::Ok)
}

pub(super) static UNPAUSE: Command = Command {
    name: "client|unpause",
    arity: 2,
    flags: ADMIN,
    since: "6.2.0",
    summary: "ends a pause",
    run: Run::Call(|call| {
        call.door.end_pause();
        Ok(Reply::Ok)
    }),
    ..super::client::ROW
};

pub(super) static UNBLOCK: Command = Command {
    name: "client|unblock",
    arity: -3,
    flags: ADMIN,
    since: "5.0.0",
    summary: "ends the waiting of a client",
    syntax: "client-id [TIMEOUT | ERROR]",
    run: Run::Call(unblock),
    ..super::client::ROW
};

fn unblock(call: &mut Call<'_, '_>) -> Answer {
    let is_error = match call.len() {
        3 => false,
        4 if call.is(3, "TIMEOUT") => false,
        4 if call.is(3, "ERROR") => true,
        4 => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err(errors::bad_subcommand("client", call.arg(1)).into()),
    };
    let id = call.int(2)?;
    let meant = call.door.clients.iter().find(|(_, client)| u64::try_from(id) == Ok(client.id));
    let Some(who) = meant.map(|(who, _)| who) else { return Ok(Reply::flag(false)) };
    let unblocked = match call.door.unblock(who) {
        Some(blocked) => {
            call.turn.cancel(blocked.waiter);
            Reply::NullArray
        }
        None if call.door.end_ask(who) => Reply::Array(Vec::new()),
        None if call.door.end_flush_wait(who) => Reply::Array(vec![Reply::Int(0), Reply::Int(0)]),
        None => return Ok(Reply::flag(false)),
    };
    let reply = match is_error {
        false => unblocked,
        true => Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    };
    call.door.answer(who, reply);
    Ok(Reply::flag(true))
}

pub(super) static NO_EVICT: Command = Command {
    name: "client|no-evict",
    arity: 3,
    flags: ADMIN,
    since: "7.0.0",
    summary: "says whether the client may be disconnected for the memory it holds",
    syntax: "<ON | OFF>",
    run: Run::Call(|call| {
        call.client().is_kept = on_or_off(call)?;
        Ok(Reply::Ok)
    }),
    ..super::client::ROW
};

pub(super) static NO_TOUCH: Command = Command {
    name: "client|no-touch",
    arity: 3,
    since: "7.2.0",
    summary: "says whether the client's commands count as use of keys",
    syntax: "<ON | OFF>",
    run: Run::Call(|call| {
        call.client().leaves_no_trace = on_or_off(call)?;
        Ok(Reply::Ok)
    }),
    ..super::client::ROW
};

fn on_or_off(call: &Call<'_, '_>) -> Result<bool, Stop> {
    match (call.is(2, "ON"), call.is(2, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(errors::SYNTAX.into()),
    }
}

pub(super) static TRACKING: Command = Command {
    name: "client|tracking",
    arity: -3,
    since: "6.0.0",
    summary: "says whether the client is told of changes to what it has read; it never is",
    syntax: "<ON | OFF>",
    run: Run::Call(|call| match on_or_off(call)? {
        true => Err("ERR client tracking is not supported".into()),
        false => Ok(Reply::Ok),
    }),
    ..super::client::ROW
};

pub(super) static TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    arity: 2,
    since: "6.2.0",
    summary: "returns how the client is told of changes to what it has read",
    run: Run::Call(|_| {
        Ok(Reply::Map(vec![
            Reply::Text("flags"),
            Reply::Set(vec![Reply::Text("off")]),
            Reply::Text("redirect"),
            Reply::Int(-1),
            Reply::Text("prefixes"),
            Reply::Array(Vec::new()),
        ]))
    }),
    ..super::client::ROW
};

pub(super) static GETREDIR: Command = Command {
    name: "client|getredir",
    arity: 2,
    since: "6.0.0",
    summary: "returns which client is told of changes in place of this one",
    run: Run::Call(|_| Ok(Reply::Int(-1))),
    ..super::client::ROW
};

pub(super) static CACHING: Command = Command {
    name: "client|caching",
    arity: 3,
    since: "6.0.0",
    summary: "says whether the client is told of changes to what its next command reads",
    syntax: "<YES | NO>",
    run: Run::Call(|_| {
        Err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled"
            .into())
    }),
    ..super::client::ROW
};
