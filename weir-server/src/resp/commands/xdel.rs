//! XDEL and XDELEX: remove entries by ID.

use super::deleting;
use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::reply::Reply;

const ROW: Command =
    Command { flags: flag::STREAM | flag::WRITE | flag::FAST, key_use: KeyUse::Delete, ..Command::STREAM };

pub(super) static XDEL: Command = Command {
    name: "xdel",
    arity: -3,
    since: "5.0.0",
    summary: "removes entries from a stream and returns how many there were",
    syntax: "key id [id ...]",
    run: Run::Call(xdel),
    ..ROW
};

fn xdel(call: &mut Call<'_, '_>) -> Answer {
    let key = call.key(1);
    if call.turn.last_id(key)?.is_none() {
        return Ok(Reply::Int(0));
    }
    let ids = call.ids(2, call.len())?;
    Ok(Reply::count(call.turn.delete(key, &ids)?))
}

pub(super) static XDELEX: Command = Command {
    name: "xdelex",
    arity: -5,
    since: "8.2.0",
    summary: "removes entries from a stream with a policy about pending references",
    syntax: "key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
    run: Run::Call(xdelex),
    ..ROW
};

fn xdelex(call: &mut Call<'_, '_>) -> Answer {
    let options = deleting::parse(call, 2)?;
    let key = call.key(1);
    if call.turn.last_id(key)?.is_none() {
        return Ok(deleting::none_found(options.count()));
    }
    let ids = call.ids(options.ids.0, options.ids.1)?;
    Ok(deleting::answers(&call.turn.delete_with(key, &ids, options.references)?))
}
