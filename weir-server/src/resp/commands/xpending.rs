//! XPENDING: what a group has pending.

use weir_core::EntryId;
use weir_engine::{PendingQuery, PendingRow};

use super::reading::{lower_bound, upper_bound};
use crate::resp::call::{Answer, Call, OrRefuse, Stop, no_group};
use crate::resp::command::{Command, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xpending",
    arity: -3,
    flags: flag::STREAM | flag::READONLY,
    since: "5.0.0",
    summary: "returns what a group has pending, in short or row by row",
    syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
    tips: &["nondeterministic_output"],
    run: Run::Call(xpending),
    ..Command::STREAM
};

fn xpending(call: &mut Call<'_, '_>) -> Answer {
    match call.len() {
        3 => summary(call),
        6..=9 => rows(call),
        _ => Err(errors::SYNTAX.into()),
    }
}

fn summary(call: &mut Call<'_, '_>) -> Answer {
    let (key, group) = (call.key(1), call.arg(2));
    let summary = call
        .turn
        .pending_summary(key, group)
        .or_refuse(no_group, || errors::no_key_or_group(key.name, group))?;
    let id = |id: Option<EntryId>| id.map_or(Reply::Null, Reply::Id);
    let consumers = match summary.bounds {
        None => Reply::NullArray,
        Some(_) => Reply::Array(
            summary
                .consumers
                .into_iter()
                .map(|(name, count)| {
                    let count = i64::try_from(count).unwrap_or(i64::MAX);
                    Reply::Array(vec![Reply::Bulk(name), Reply::BulkInt(count)])
                })
                .collect(),
        ),
    };
    Ok(Reply::Array(vec![
        Reply::count(summary.count),
        id(summary.bounds.map(|(first, _)| first)),
        id(summary.bounds.map(|(_, last)| last)),
        consumers,
    ]))
}

fn rows(call: &mut Call<'_, '_>) -> Answer {
    let (idle_min, at) = if call.is(3, "IDLE") {
        let idle = call.int(4)?;
        if call.len() < 8 {
            return Err(errors::SYNTAX.into());
        }
        (u64::try_from(idle).unwrap_or(0), 5)
    } else {
        (0, 3)
    };
    let count = u64::try_from(call.int(at + 2)?).unwrap_or(0);
    let start = lower_bound(call.arg(at))?;
    let end = upper_bound(call.arg(at + 1))?;
    let group = call.arg(2);
    let query = PendingQuery { group, idle_min, start, end, count, consumer: call.args.get(at + 3) };
    let rows = query_rows(call, &query)?;
    Ok(Reply::Array(rows.into_iter().map(row).collect()))
}

fn query_rows(call: &mut Call<'_, '_>, query: &PendingQuery<'_>) -> Result<Vec<PendingRow>, Stop> {
    let key = call.key(1);
    call.turn.pending_rows(key, query).or_refuse(no_group, || errors::no_key_or_group(key.name, query.group))
}

fn row(row: PendingRow) -> Reply {
    let idle = row.idle.map_or(Reply::Int(-1), Reply::count);
    Reply::Array(vec![Reply::Id(row.id), Reply::Bulk(row.consumer), idle, Reply::Int(row.deliveries)])
}
