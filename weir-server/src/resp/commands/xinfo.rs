//! XINFO: what there is to know about streams, groups and consumers.

use weir_core::EntryId;
use weir_engine::{ConsumerInfo, EntryRef, GroupDetail, GroupInfo, PendingRow, StreamInfo};

use crate::resp::call::{Answer, Call, OrRefuse, Stop, no_group};
use crate::resp::command::{Command, Keys, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

/// Entries and pending rows that FULL shows unless told otherwise.
const FULL_DEFAULT: u64 = 10;

const ROW: Command =
    Command { flags: flag::STREAM | flag::READONLY, keys: Keys::at(2), since: "5.0.0", ..Command::STREAM };

pub(super) static COMMAND: Command = Command {
    name: "xinfo",
    arity: -2,
    flags: 0,
    keys: Keys::None,
    summary: "a container of commands that tell about streams",
    run: Run::Container(&[&CONSUMERS, &GROUPS, &HELP, &STREAM]),
    ..ROW
};

static STREAM: Command = Command {
    name: "xinfo|stream",
    arity: -3,
    summary: "returns counters, the first and the last entry of a stream, or everything about it",
    syntax: "key [FULL [COUNT count]]",
    run: Run::Call(stream),
    ..ROW
};

static GROUPS: Command = Command {
    name: "xinfo|groups",
    arity: 3,
    summary: "returns the consumer groups of a stream",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(2);
        Ok(Reply::Array(call.turn.groups_info(key)?.into_iter().map(group).collect()))
    }),
    ..ROW
};

static CONSUMERS: Command = Command {
    name: "xinfo|consumers",
    arity: 4,
    summary: "returns the consumers of a group",
    syntax: "key group",
    tips: &["nondeterministic_output"],
    run: Run::Call(consumers),
    ..ROW
};

static HELP: Command = Command {
    name: "xinfo|help",
    arity: 2,
    flags: flag::STREAM | flag::LOADING | flag::STALE,
    keys: Keys::None,
    summary: "returns a text about the subcommands",
    run: Run::Call(|_| Ok(Reply::lines(HELP_LINES))),
    ..ROW
};

fn stream(call: &mut Call<'_, '_>) -> Answer {
    let key = call.key(2);
    if call.len() == 3 {
        let info = call.turn.stream_info(key)?;
        let mut pairs = counters(&info);
        pairs.push(Reply::Text("groups"));
        pairs.push(Reply::count(info.groups));
        pairs.push(Reply::Text("first-entry"));
        pairs.push(entry_or_null(info.first));
        pairs.push(Reply::Text("last-entry"));
        pairs.push(entry_or_null(info.last));
        return Ok(Reply::Map(pairs));
    }
    if call.turn.last_id(key)?.is_none() {
        return Err(errors::NO_SUCH_KEY.into());
    }
    let count = full_count(call)?;
    let detail = call.turn.stream_detail(key, count)?;
    let mut pairs = counters(&detail.info);
    pairs.push(Reply::Text("entries"));
    pairs.push(Reply::Entries(detail.entries));
    pairs.push(Reply::Text("groups"));
    pairs.push(Reply::Array(detail.groups.into_iter().map(full_group).collect()));
    Ok(Reply::Map(pairs))
}

/// Reads `FULL [COUNT n]`.
fn full_count(call: &Call<'_, '_>) -> Result<u64, Stop> {
    let is_full = call.is(3, "FULL");
    match call.len() {
        4 if is_full => Ok(FULL_DEFAULT),
        6 if is_full && call.is(4, "COUNT") => Ok(u64::try_from(call.int(5)?).unwrap_or(FULL_DEFAULT)),
        _ => Err(errors::bad_subcommand("xinfo", call.arg(1)).into()),
    }
}

fn counters(info: &StreamInfo) -> Vec<Reply> {
    vec![
        Reply::Text("length"),
        Reply::count(info.length),
        Reply::Text("radix-tree-keys"),
        Reply::count(info.nodes),
        Reply::Text("radix-tree-nodes"),
        Reply::count(info.radix_nodes),
        Reply::Text("last-generated-id"),
        Reply::Id(info.last_id),
        Reply::Text("max-deleted-entry-id"),
        Reply::Id(info.max_deleted),
        Reply::Text("entries-added"),
        Reply::Int(info.entries_added as i64),
        Reply::Text("recorded-first-entry-id"),
        Reply::Id(if info.length == 0 { EntryId::MIN } else { info.first_id }),
        Reply::Text("idmp-duration"),
        Reply::count(info.idempotence_duration),
        Reply::Text("idmp-maxsize"),
        Reply::count(info.idempotence_max),
        Reply::Text("pids-tracked"),
        Reply::count(info.producers),
        Reply::Text("iids-tracked"),
        Reply::count(info.idempotent_ids),
        Reply::Text("iids-added"),
        Reply::count(info.idempotent_added),
        Reply::Text("iids-duplicates"),
        Reply::count(info.idempotent_duplicates),
    ]
}

fn entry_or_null(entry: Option<EntryRef>) -> Reply {
    entry.map_or(Reply::Null, Reply::Entry)
}

fn group(info: GroupInfo) -> Reply {
    Reply::Map(vec![
        Reply::Text("name"),
        Reply::Bulk(info.name),
        Reply::Text("consumers"),
        Reply::count(info.consumers),
        Reply::Text("pending"),
        Reply::count(info.pending),
        Reply::Text("last-delivered-id"),
        Reply::Id(info.last_id),
        Reply::Text("entries-read"),
        Reply::count_or_null(info.entries_read),
        Reply::Text("lag"),
        Reply::int_or_null(info.lag),
    ])
}

fn full_group(detail: GroupDetail) -> Reply {
    let pending = |row: PendingRow| {
        let (id, at) = (Reply::Id(row.id), Reply::count(row.delivered_at));
        Reply::Array(vec![id, Reply::Bulk(row.consumer), at, Reply::Int(row.deliveries)])
    };
    Reply::Map(vec![
        Reply::Text("name"),
        Reply::Bulk(detail.info.name),
        Reply::Text("last-delivered-id"),
        Reply::Id(detail.info.last_id),
        Reply::Text("entries-read"),
        Reply::count_or_null(detail.info.entries_read),
        Reply::Text("lag"),
        Reply::int_or_null(detail.info.lag),
        Reply::Text("pel-count"),
        Reply::count(detail.info.pending),
        Reply::Text("nacked-count"),
        Reply::count(detail.info.nacked),
        Reply::Text("pending"),
        Reply::Array(detail.pending.into_iter().map(pending).collect()),
        Reply::Text("consumers"),
        Reply::Array(detail.consumers.into_iter().map(full_consumer).collect()),
    ])
}

fn full_consumer((info, rows): (ConsumerInfo, Vec<PendingRow>)) -> Reply {
    let row = |row: PendingRow| {
        Reply::Array(vec![Reply::Id(row.id), Reply::count(row.delivered_at), Reply::Int(row.deliveries)])
    };
    Reply::Map(vec![
        Reply::Text("name"),
        Reply::Bulk(info.name),
        Reply::Text("seen-time"),
        Reply::count(info.seen),
        Reply::Text("active-time"),
        info.active.map_or(Reply::Int(-1), Reply::count),
        Reply::Text("pel-count"),
        Reply::count(info.pending),
        Reply::Text("pending"),
        Reply::Array(rows.into_iter().map(row).collect()),
    ])
}

fn consumers(call: &mut Call<'_, '_>) -> Answer {
    let (key, group) = (call.key(2), call.arg(3));
    let now = call.turn.steady().0;
    if call.turn.last_id(key)?.is_none() {
        return Err(errors::NO_SUCH_KEY.into());
    }
    let consumers = call
        .turn
        .consumers_info(key, group)
        .or_refuse(no_group, || errors::no_group_for_key(key.name, group))?;
    let consumer = |info: ConsumerInfo| {
        let inactive = info.active.map_or(Reply::Int(-1), |active| Reply::count(now.saturating_sub(active)));
        Reply::Map(vec![
            Reply::Text("name"),
            Reply::Bulk(info.name),
            Reply::Text("pending"),
            Reply::count(info.pending),
            Reply::Text("idle"),
            Reply::count(now.saturating_sub(info.seen)),
            Reply::Text("inactive"),
            inactive,
        ])
    };
    Ok(Reply::Array(consumers.into_iter().map(consumer).collect()))
}

const HELP_LINES: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Print this help.",
];
