//! XACK and XACKDEL: take entries off a group's pending list.

use super::deleting;
use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::reply::Reply;

const ROW: Command =
    Command { flags: flag::STREAM | flag::WRITE | flag::FAST, key_use: KeyUse::Update, ..Command::STREAM };

pub(super) static XACK: Command = Command {
    name: "xack",
    arity: -4,
    since: "5.0.0",
    summary: "acknowledges entries and returns how many were pending",
    syntax: "key group id [id ...]",
    run: Run::Call(xack),
    ..ROW
};

fn xack(call: &mut Call<'_, '_>) -> Answer {
    let (key, group) = (call.key(1), call.arg(2));
    match call.ids(3, call.len()) {
        Ok(ids) => Ok(Reply::count(call.turn.ack(key, group, &ids)?)),
        // Where there is no group, nobody looks at the IDs.
        Err(_) if !call.turn.has_group(key, group)? => Ok(Reply::Int(0)),
        Err(stop) => Err(stop),
    }
}

pub(super) static XACKDEL: Command = Command {
    name: "xackdel",
    arity: -6,
    since: "8.2.0",
    summary: "acknowledges entries and removes them from the stream",
    syntax: "key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
    run: Run::Call(xackdel),
    key_use: KeyUse::Delete,
    ..ROW
};

fn xackdel(call: &mut Call<'_, '_>) -> Answer {
    let options = deleting::parse(call, 3)?;
    let (key, group) = (call.key(1), call.arg(2));
    if !call.turn.has_group(key, group)? {
        return Ok(deleting::none_found(options.count()));
    }
    let ids = call.ids(options.ids.0, options.ids.1)?;
    Ok(deleting::answers(&call.turn.ack_delete(key, group, &ids, options.references)?))
}
