//! The consumer's story: group, pending first, new, acknowledge, malformed data, restart, claim, health.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamClaimOptions, StreamClaimReply, StreamId,
    StreamInfoConsumersReply, StreamInfoGroupsReply, StreamInfoStreamReply, StreamPendingCountReply,
    StreamPendingReply, StreamRangeReply, StreamReadOptions,
};
use redis::{Cmd, FromRedisValue, Value};

use crate::Case;
use crate::bench::{AnyConsumer, Bench, Failure, Outcome, Wire, fails_with, same, streams};
use crate::consumer::{Handler, Settings};

pub const ALL: &[Case] = &[
    ("the protocol asked for is spoken", protocol),
    ("a group is created once, and BUSYGROUP is tolerated", busy_group),
    ("the consumer handles, retries, sets aside and acknowledges", consumes),
    ("after a restart the same name finds what it held", restart),
    ("history is read page by page and counts deliveries", history),
    ("history shows a deleted entry without fields", deleted_in_history),
    ("the rows of a dead consumer are claimed", claim),
    ("the health check reads summaries by their true shape", health),
    ("a hole ahead of the group makes its lag unknown", unknown_lag),
    ("a missing group or stream is named in the error", missing),
];

pub const SMALLER_ID: &str =
    "ERR The ID specified in XADD is equal or smaller than the target stream top item";
pub const OTHER: &str = "consumer-host-2";

fn settings(bench: &Bench<'_>, name: &str) -> Settings {
    Settings {
        stream: bench.stream(),
        dead_letters: bench.key("dead-letters"),
        group: bench.story.group.clone(),
        name: name.to_owned(),
        count: 2,
        dead_letter_reason: bench.story.dead_letter_reason.clone(),
    }
}

fn publish(bench: &Bench<'_>, wire: &mut Wire, stream: &str) -> Outcome {
    for (fields, entry) in bench.story.fields.iter().zip(&bench.story.entries) {
        same("XADD", wire.query(&Cmd::xadd(stream, &entry.id, fields))?, entry.id.clone())?;
    }
    Ok(())
}

/// A read of the story's group.
pub fn read_group(bench: &Bench<'_>, name: &str, stream: &str, id: &str, options: StreamReadOptions) -> Cmd {
    Cmd::xread_options(&[stream], &[id], &options.group(&bench.story.group, name))
}

pub fn count(count: usize) -> StreamReadOptions {
    StreamReadOptions::default().count(count)
}

/// A stream with the story's events and its group, of which `name` has been given the first `given`.
pub fn delivered(bench: &Bench<'_>, wire: &mut Wire, name: &str, given: usize) -> Result<String, Failure> {
    let stream = bench.stream();
    publish(bench, wire, &stream)?;
    let created: String = wire.query(&Cmd::xgroup_create(&stream, &bench.story.group, "0"))?;
    same("XGROUP CREATE", created, "OK".to_owned())?;
    let reply = wire.read(&read_group(bench, name, &stream, ">", count(given)))?;
    same("XREADGROUP", reply, streams([(&stream, &bench.story.entries[..given])]))?;
    Ok(stream)
}

/// The pending entries as ID, consumer and deliveries.
pub fn rows(
    bench: &Bench<'_>,
    wire: &mut Wire,
    stream: &str,
) -> Result<Vec<(String, String, usize)>, Failure> {
    let reply: StreamPendingCountReply =
        wire.query(&Cmd::xpending_count(stream, &bench.story.group, "-", "+", 10))?;
    Ok(reply.ids.into_iter().map(|row| (row.id, row.consumer, row.times_delivered)).collect())
}

pub fn row(bench: &Bench<'_>, index: usize, name: &str, deliveries: usize) -> (String, String, usize) {
    (bench.story.id(index).to_owned(), name.to_owned(), deliveries)
}

/// What XINFO GROUPS says of the one group: consumers, pending, last delivered, entries read, lag.
type GroupInfo<'a> = (usize, usize, &'a str, Option<usize>, Option<usize>);

fn group_is(bench: &Bench<'_>, wire: &mut Wire, stream: &str, expected: GroupInfo<'_>) -> Outcome {
    let reply: StreamInfoGroupsReply = wire.query(&Cmd::xinfo_groups(stream))?;
    let [group] = reply.groups.as_slice() else {
        return Err(format!("XINFO GROUPS: {reply:?}").into());
    };
    same("group", group.name.as_str(), &bench.story.group)?;
    let last = group.last_delivered_id.as_str();
    same("XINFO GROUPS", (group.consumers, group.pending, last, group.entries_read, group.lag), expected)
}

/// The properties of a map, or of the flat array RESP2 has for it.
fn properties(wire: &mut Wire, command: &Cmd) -> Result<HashMap<String, Value>, Failure> {
    Ok(wire.query(command)?)
}

fn protocol(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let hello = properties(&mut wire, &redis::cmd("HELLO"))?;
    same("proto", &hello["proto"], &Value::Int(if bench.mode.resp3 { 3 } else { 2 }))?;
    same("PING", wire.query::<String>(&Cmd::ping())?, "PONG".to_owned())
}

fn busy_group(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = bench.stream();
    let create = Cmd::xgroup_create_mkstream(&stream, &bench.story.group, "0");
    same("XGROUP CREATE", wire.query::<String>(&create)?, "OK".to_owned())?;
    fails_with(wire.query::<Value>(&create), "BUSYGROUP Consumer Group name already exists")?;
    let unused: Handler = Box::new(|_, _, _| Err("no entry is due".to_owned()));
    AnyConsumer::new(bench.open()?, settings(bench, &bench.story.consumer), unused).set_up_group()?;
    group_is(bench, &mut wire, &stream, (0, 0, "0-0", None, Some(0)))
}

fn consumes(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = bench.stream();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (log, fails_once, mut failed) = (Arc::clone(&handled), bench.story.fails_once.clone(), false);
    let handler: Handler = Box::new(move |id, event_type, data| {
        if id == fails_once && !failed {
            failed = true;
            return Err("try again".to_owned());
        }
        let user = data["userId"].as_str().unwrap_or_default();
        log.lock().map_err(|error| error.to_string())?.push(format!("{id} {event_type} {user}"));
        Ok(())
    });
    let mut consumer = AnyConsumer::new(bench.open()?, settings(bench, &bench.story.consumer), handler);
    consumer.set_up_group()?;
    publish(bench, &mut wire, &stream)?;
    let seen = (0..4).map(|_| consumer.turn(50)).collect::<Result<Vec<_>, _>>()?;

    // The second turn meets the entry that failed, then the next two new ones.
    same("entries per turn", seen, vec![2, 3, 1, 0])?;
    let handled = handled.lock().map_err(|error| error.to_string())?;
    same("handled", &*handled, &bench.story.handled)?;
    let malformed = bench.story.entries.iter().find(|entry| entry.id == bench.story.malformed);
    let mut letter = malformed.ok_or("the story has no malformed entry")?.map.clone();
    letter.insert("originalId".to_owned(), Value::BulkString(bench.story.malformed.clone().into_bytes()));
    letter
        .insert("reason".to_owned(), Value::BulkString(bench.story.dead_letter_reason.clone().into_bytes()));
    let letters: StreamRangeReply = wire.query(&Cmd::xrange_all(bench.key("dead-letters")))?;
    same("dead letters", letters.ids.into_iter().map(|entry| entry.map).collect(), vec![letter])?;
    let summary: Value = wire.query(&Cmd::xpending(&stream, &bench.story.group))?;
    same("XPENDING", summary, Value::Array(vec![Value::Int(0), Value::Nil, Value::Nil, Value::Nil]))?;
    group_is(bench, &mut wire, &stream, (1, 0, bench.story.id(4), Some(5), Some(0)))
}

fn restart(bench: &Bench<'_>) -> Outcome {
    let name = &bench.story.consumer;
    let stream = delivered(bench, &mut bench.open()?, name, 2)?;

    let mut wire = bench.open()?;
    same("before", rows(bench, &mut wire, &stream)?, vec![row(bench, 0, name, 1), row(bench, 1, name, 1)])?;
    let met = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&met);
    let handler: Handler = Box::new(move |id, _, _| {
        log.lock().map_err(|error| error.to_string())?.push(id.to_owned());
        Ok(())
    });
    let mut consumer = AnyConsumer::new(bench.open()?, settings(bench, name), handler);
    same("pending after the restart", consumer.process_pending()?, 2)?;
    let met = met.lock().map_err(|error| error.to_string())?;
    same("met", &*met, &vec![bench.story.id(0).to_owned(), bench.story.id(1).to_owned()])?;
    same("after", rows(bench, &mut wire, &stream)?, vec![])?;
    let unused: Handler = Box::new(|_, _, _| Err("no entry is due".to_owned()));
    let mut other = AnyConsumer::new(bench.open()?, settings(bench, OTHER), unused);
    same("pending of another name", other.process_pending()?, 0)
}

fn history(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (name, entries) = (&bench.story.consumer, &bench.story.entries);
    let stream = delivered(bench, &mut wire, name, 3)?;
    let mut page = |id: &str| wire.read(&read_group(bench, name, &stream, id, count(2).block(50)));
    same("first page", page("0")?, streams([(&stream, &entries[..2])]))?;
    same("second page", page(bench.story.id(1))?, streams([(&stream, &entries[2..3])]))?;
    same("end", page(bench.story.id(2))?, streams([(&stream, &[])]))?;
    let expected = (0..3).map(|index| row(bench, index, name, 2)).collect();
    same("XPENDING", rows(bench, &mut wire, &stream)?, expected)
}

fn deleted_in_history(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = delivered(bench, &mut wire, &bench.story.consumer, 2)?;
    same("XDEL", wire.query(&Cmd::xdel(&stream, &[bench.story.id(0)]))?, 1)?;
    let gone = StreamId { id: bench.story.id(0).to_owned(), ..StreamId::default() };
    let read = read_group(bench, &bench.story.consumer, &stream, "0", StreamReadOptions::default());
    same("history", wire.read(&read)?, streams([(&stream, &[gone, bench.story.entries[1].clone()])]))
}

fn claim(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (name, group, entries) = (&bench.story.consumer, &bench.story.group, &bench.story.entries);
    let stream = delivered(bench, &mut wire, "dead", 4)?;
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|index| bench.story.id(index));
    let mut auto_claim = |min_idle: usize, start: &str, options: StreamAutoClaimOptions| {
        let reply: StreamAutoClaimReply =
            wire.query(&Cmd::xautoclaim_options(&stream, group, name, min_idle, start, options))?;
        Ok::<_, Failure>((reply.next_stream_id, reply.claimed, reply.deleted_ids))
    };
    let options = StreamAutoClaimOptions::default;

    same("too young", auto_claim(3_600_000, "0-0", options())?, ("0-0".to_owned(), vec![], vec![]))?;
    let claimed = auto_claim(0, "0-0", options().count(1))?;
    same("XAUTOCLAIM", claimed, (second.to_owned(), entries[..1].to_vec(), vec![]))?;
    let claimed: StreamClaimReply = wire.query(&Cmd::xclaim(&stream, group, name, 0, &[second, "1-1"]))?;
    same("XCLAIM", claimed.ids, entries[1..2].to_vec())?;
    let only_id = StreamClaimOptions::default().with_justid();
    let claimed: Vec<String> =
        wire.query(&Cmd::xclaim_options(&stream, group, name, 0, &[third], only_id))?;
    same("XCLAIM JUSTID", claimed, vec![third.to_owned()])?;
    let expected = vec![
        row(bench, 0, name, 2),
        row(bench, 1, name, 2),
        row(bench, 2, name, 1),
        row(bench, 3, "dead", 1),
    ];
    same("XPENDING", rows(bench, &mut wire, &stream)?, expected)?;

    same("XDEL", wire.query(&Cmd::xdel(&stream, &[fourth]))?, 1)?;
    let reply: StreamAutoClaimReply =
        wire.query(&Cmd::xautoclaim_options(&stream, group, name, 0, fourth, options()))?;
    same(
        "XAUTOCLAIM of a deleted entry",
        (reply.claimed, reply.deleted_ids),
        (vec![], vec![fourth.to_owned()]),
    )?;
    same("XACK", wire.query(&Cmd::xack(&stream, group, &[first, second, third, fourth]))?, 3)?;
    same("XGROUP DELCONSUMER", wire.query(&Cmd::xgroup_delconsumer(&stream, group, "dead"))?, 0)
}

fn health(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (story, name) = (bench.story, bench.story.consumer.as_str());
    let stream = delivered(bench, &mut wire, name, 2)?;
    wire.read(&read_group(bench, OTHER, &stream, ">", count(1)))?;

    same("XLEN", wire.query(&Cmd::xlen(&stream))?, 5)?;
    let StreamPendingReply::Data(pending) = wire.query(&Cmd::xpending(&stream, &story.group))? else {
        return Err("XPENDING says that nothing is pending".into());
    };
    same(
        "XPENDING",
        (pending.count, pending.start_id.as_str(), pending.end_id.as_str()),
        (3, story.id(0), story.id(2)),
    )?;
    let shares: Vec<_> = pending.consumers.iter().map(|each| (each.name.as_str(), each.pending)).collect();
    same("XPENDING, per consumer", shares, vec![(name, 2), (OTHER, 1)])?;
    group_is(bench, &mut wire, &stream, (2, 3, story.id(2), Some(3), Some(2)))?;
    let consumers: StreamInfoConsumersReply = wire.query(&Cmd::xinfo_consumers(&stream, &story.group))?;
    let shown: Vec<_> = consumers
        .consumers
        .iter()
        .map(|each| (each.name.as_str(), each.pending, each.idle < 60_000))
        .collect();
    same("XINFO CONSUMERS", shown, vec![(name, 2, true), (OTHER, 1, true)])?;

    let info: StreamInfoStreamReply = wire.query(&Cmd::xinfo_stream(&stream))?;
    same("XINFO STREAM", (info.length, info.radix_tree_keys, info.groups), (5, 1, 1))?;
    same("last-generated-id", info.last_generated_id.as_str(), story.id(4))?;
    same("ends", (&info.first_entry, &info.last_entry), (&story.entries[0], &story.entries[4]))?;
    let by_name = properties(&mut wire, &Cmd::xinfo_stream(&stream))?;
    same("radix-tree-nodes", &by_name["radix-tree-nodes"], &Value::Int(2))?;
    same("entries-added", &by_name["entries-added"], &Value::Int(5))?;
    let id = |name: &str| String::from_redis_value_ref(&by_name[name]);
    same("max-deleted-entry-id", id("max-deleted-entry-id")?.as_str(), "0-0")?;
    same("recorded-first-entry-id", id("recorded-first-entry-id")?.as_str(), story.id(0))
}

fn unknown_lag(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = delivered(bench, &mut wire, &bench.story.consumer, 1)?;
    same("XDEL", wire.query(&Cmd::xdel(&stream, &[bench.story.id(3)]))?, 1)?;
    group_is(bench, &mut wire, &stream, (1, 1, bench.story.id(0), Some(1), None))
}

fn missing(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (stream, group) = (bench.stream(), &bench.story.group);
    let read = read_group(bench, &bench.story.consumer, &stream, ">", StreamReadOptions::default());
    let no_group =
        format!("NOGROUP No such key '{stream}' or consumer group '{group}' in XREADGROUP with GROUP option");
    fails_with(wire.read(&read), &no_group)?;
    fails_with(wire.query::<Value>(&Cmd::xinfo_stream(&stream)), "ERR no such key")?;
    fails_with(
        wire.query::<Value>(&Cmd::xgroup_create(&stream, group, "0")),
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    )?;
    publish(bench, &mut wire, &stream)?;
    fails_with(wire.query::<Value>(&Cmd::xadd(&stream, "1-1", &[("n", "1")])), SMALLER_ID)?;
    same("XGROUP CREATE", wire.query::<String>(&Cmd::xgroup_create(&stream, group, "$"))?, "OK".to_owned())?;
    same("nothing new", wire.read(&read)?, None)?;
    same("XGROUP DESTROY", wire.query(&Cmd::xgroup_destroy(&stream, group))?, 1)?;
    fails_with(wire.read(&read), &no_group)
}
