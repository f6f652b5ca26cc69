//! XRANGE and XREVRANGE: entries between two IDs.

use weir_engine::Range;

use super::reading::{lower_bound, upper_bound};
use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

const ROW: Command =
    Command { arity: -4, flags: flag::STREAM | flag::READONLY, since: "5.0.0", ..Command::STREAM };

pub(super) static XRANGE: Command = Command {
    name: "xrange",
    summary: "returns entries between two IDs, oldest first",
    syntax: "key start end [COUNT count]",
    run: Run::Call(|call| range(call, false)),
    ..ROW
};

pub(super) static XREVRANGE: Command = Command {
    name: "xrevrange",
    summary: "returns entries between two IDs, newest first",
    syntax: "key end start [COUNT count]",
    run: Run::Call(|call| range(call, true)),
    ..ROW
};

fn range(call: &mut Call<'_, '_>, reverse: bool) -> Answer {
    let (start_at, end_at) = if reverse { (3, 2) } else { (2, 3) };
    let start = lower_bound(call.arg(start_at))?;
    let end = upper_bound(call.arg(end_at))?;
    let mut count = None;
    let mut at = 4;
    while at < call.len() {
        if !call.is(at, "COUNT") || at + 1 >= call.len() {
            return Err(errors::SYNTAX.into());
        }
        count = Some(u64::try_from(call.int(at + 1)?).unwrap_or(0));
        at += 2;
    }
    let key = call.key(1);
    if count == Some(0) {
        let exists = call.turn.last_id(key)?.is_some();
        return Ok(if exists { Reply::NullArray } else { Reply::Array(Vec::new()) });
    }
    let entries = call.turn.range(key, &Range { start, end, count, reverse })?;
    Ok(Reply::Entries(entries.unwrap_or_default()))
}
