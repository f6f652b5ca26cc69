//! XSETID: sets a stream's counters; made for copying streams between servers.

use weir_engine::SetId;

use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xsetid",
    arity: -3,
    flags: flag::STREAM | flag::WRITE | flag::DENYOOM | flag::FAST,
    key_use: KeyUse::Update,
    since: "5.0.0",
    summary: "sets the last ID of a stream and its counters",
    syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
    run: Run::Call(xsetid),
    ..Command::STREAM
};

fn xsetid(call: &mut Call<'_, '_>) -> Answer {
    let mut request = SetId { last_id: call.id(2)?, entries_added: None, max_deleted: None };
    let mut at = 3;
    while at < call.len() {
        if call.is(at, "ENTRIESADDED") && at + 1 < call.len() {
            let added = u64::try_from(call.int(at + 1)?);
            request.entries_added = Some(added.map_err(|_| "ERR entries_added must be positive")?);
        } else if call.is(at, "MAXDELETEDID") && at + 1 < call.len() {
            let max_deleted = call.id(at + 1)?;
            if request.last_id < max_deleted {
                let text = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                return Err(text.into());
            }
            request.max_deleted = Some(max_deleted);
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 2;
    }
    let key = call.key(1);
    call.turn.set_id(key, &request)?;
    Ok(Reply::Ok)
}
