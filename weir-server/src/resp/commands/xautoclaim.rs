//! XAUTOCLAIM: takes over pending entries that others have held for too long.

use weir_engine::AutoClaim;

use super::reading::lower_bound;
use crate::resp::call::{Answer, Call, OrRefuse, Stop, no_group};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

/// Entries claimed at once unless told otherwise.
const COUNT_DEFAULT: u64 = 100;
/// The greatest COUNT that is read.
const COUNT_MAX: i64 = i64::MAX / 16;

pub(super) static COMMAND: Command = Command {
    name: "xautoclaim",
    arity: -6,
    flags: flag::STREAM | flag::WRITE | flag::FAST,
    key_use: KeyUse::Delete,
    since: "6.2.0",
    summary: "gives a consumer pending entries that others have held for too long",
    syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
    tips: &["nondeterministic_output"],
    run: Run::Call(xautoclaim),
    ..Command::STREAM
};

fn xautoclaim(call: &mut Call<'_, '_>) -> Answer {
    let idle_min = call.int_or(4, "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = lower_bound(call.arg(5))?;
    let (mut count, mut just_ids) = (COUNT_DEFAULT, false);
    let mut at = 6;
    while at < call.len() {
        if call.is(at, "COUNT") && at + 1 < call.len() {
            count = counted(call, at + 1)?;
            at += 2;
        } else if call.is(at, "JUSTID") {
            just_ids = true;
            at += 1;
        } else {
            return Err(errors::SYNTAX.into());
        }
    }
    let (key, group) = (call.key(1), call.arg(2));
    let idle_min = u64::try_from(idle_min).unwrap_or(0);
    let request = AutoClaim { group, consumer: call.arg(3), idle_min, start, count, just_ids };
    let claimed = call
        .turn
        .auto_claim(key, &request)
        .or_refuse(no_group, || errors::no_key_or_group(key.name, group))?;
    let entries = if just_ids {
        Reply::Ids(claimed.entries.iter().map(|entry| entry.id).collect())
    } else {
        Reply::Entries(claimed.entries)
    };
    Ok(Reply::Array(vec![Reply::Id(claimed.cursor), entries, Reply::Ids(claimed.deleted)]))
}

fn counted(call: &Call<'_, '_>, at: usize) -> Result<u64, Stop> {
    const TEXT: &str = "ERR COUNT must be > 0";
    let count = call.int_or(at, TEXT)?;
    u64::try_from(count).ok().filter(|_| (1..=COUNT_MAX).contains(&count)).ok_or(Stop::refused(TEXT))
}
