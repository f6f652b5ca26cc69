//! XINFO STREAM, GROUPS, CONSUMERS.

use super::group::{Consumer, Group};
use super::groups::help_reply;
use super::parse::{Outcome, Refusal, integer, is, no_group, no_such_key, subcommand_syntax};
use super::stream::{Stream, entry_reply, id_reply};
use super::{Flavour, Model, Value};

/// Entries and pending rows shown by FULL without COUNT.
const FULL_COUNT_DEFAULT: usize = 10;

type Pairs = Vec<(Value, Value)>;

pub(super) fn stream(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let now_ms = model.now_ms;
    let stream = model.stream(&args[2])?.ok_or_else(no_such_key)?;
    stream.producers.expire(now_ms);
    match full_count(args)? {
        None => Ok(Value::Map(summary(stream))),
        Some(count) => Ok(Value::Map(full(stream, count))),
    }
}

/// How many rows of everything FULL shows; `None` without FULL.
fn full_count(args: &[Vec<u8>]) -> Result<Option<usize>, Refusal> {
    match &args[3..] {
        [] => Ok(None),
        [full] if is(full, "FULL") => Ok(Some(FULL_COUNT_DEFAULT)),
        [full, count, value] if is(full, "FULL") && is(count, "COUNT") => Ok(Some(match integer(value)? {
            ..0 => FULL_COUNT_DEFAULT,
            0 => usize::MAX,
            count => count as usize,
        })),
        _ => Err(subcommand_syntax("XINFO", &args[1])),
    }
}

fn summary(stream: &Stream) -> Pairs {
    let edge = |entry: Option<&_>| entry.map_or(Value::Null, entry_reply);
    let mut pairs = counters(stream);
    push(&mut pairs, "groups", Value::Int(stream.groups.len() as i64));
    push(&mut pairs, "first-entry", edge(stream.entries().next()));
    push(&mut pairs, "last-entry", edge(stream.entries().next_back()));
    pairs
}

fn full(stream: &Stream, count: usize) -> Pairs {
    let mut pairs = counters(stream);
    push(&mut pairs, "entries", Value::Array(stream.entries().take(count).map(entry_reply).collect()));
    let groups = stream.groups.iter().map(|(name, group)| full_group(stream, name, group, count));
    push(&mut pairs, "groups", Value::Array(groups.collect()));
    pairs
}

fn counters(stream: &Stream) -> Pairs {
    let mut pairs = Pairs::new();
    push(&mut pairs, "length", Value::Int(stream.len() as i64));
    push(&mut pairs, "radix-tree-keys", Value::Int(stream.nodes.len() as i64));
    push(&mut pairs, "radix-tree-nodes", Value::Int(stream.radix_nodes() as i64));
    push(&mut pairs, "last-generated-id", id_reply(stream.last_id));
    push(&mut pairs, "max-deleted-entry-id", id_reply(stream.max_deleted));
    push(&mut pairs, "entries-added", Value::Int(stream.entries_added as i64));
    push(&mut pairs, "recorded-first-entry-id", id_reply(stream.first_id()));
    if stream.flavour == Flavour::Latest {
        let producers = &stream.producers;
        push(&mut pairs, "idmp-duration", Value::Int(producers.duration_s));
        push(&mut pairs, "idmp-maxsize", Value::Int(producers.entries_max));
        push(&mut pairs, "pids-tracked", Value::Int(producers.producers_tracked()));
        push(&mut pairs, "iids-tracked", Value::Int(producers.iids_tracked()));
        push(&mut pairs, "iids-added", Value::Int(producers.added));
        push(&mut pairs, "iids-duplicates", Value::Int(producers.duplicates));
    }
    pairs
}

fn full_group(stream: &Stream, name: &[u8], group: &Group, count: usize) -> Value {
    let mut pairs = vec![(Value::bulk("name"), Value::bulk(name))];
    position(&mut pairs, stream, group);
    push(&mut pairs, "pel-count", Value::Int(group.pending.len() as i64));
    if stream.flavour == Flavour::Latest {
        let released = group.pending.values().filter(|row| row.is_released()).count();
        push(&mut pairs, "nacked-count", Value::Int(released as i64));
    }
    let rows = group.pending.iter().take(count).map(|(id, row)| {
        let holder = Value::bulk(row.holder_name());
        Value::Array(vec![id_reply(*id), holder, Value::Int(row.delivered), Value::Int(row.deliveries)])
    });
    push(&mut pairs, "pending", Value::Array(rows.collect()));
    let consumers = group.consumers.iter().map(|(name, consumer)| {
        let mut pairs = vec![
            (Value::bulk("name"), Value::bulk(name)),
            (Value::bulk("seen-time"), Value::Int(consumer.seen)),
        ];
        if stream.flavour == Flavour::Latest {
            push(&mut pairs, "active-time", Value::Int(consumer.active.unwrap_or(-1)));
        }
        push(&mut pairs, "pel-count", Value::Int(group.pending_of(name).count() as i64));
        let rows = group.pending_of(name).take(count).map(|(id, row)| {
            Value::Array(vec![id_reply(*id), Value::Int(row.delivered), Value::Int(row.deliveries)])
        });
        push(&mut pairs, "pending", Value::Array(rows.collect()));
        Value::Map(pairs)
    });
    push(&mut pairs, "consumers", Value::Array(consumers.collect()));
    Value::Map(pairs)
}

pub(super) fn groups(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let stream = model.stream(&args[2])?.ok_or_else(no_such_key)?;
    let groups = stream.groups.iter().map(|(name, group)| {
        let mut pairs = vec![
            (Value::bulk("name"), Value::bulk(name)),
            (Value::bulk("consumers"), Value::Int(group.consumers.len() as i64)),
            (Value::bulk("pending"), Value::Int(group.pending.len() as i64)),
        ];
        position(&mut pairs, stream, group);
        Value::Map(pairs)
    });
    Ok(Value::Array(groups.collect()))
}

fn position(pairs: &mut Pairs, stream: &Stream, group: &Group) {
    let or_null = |n: Option<i64>| n.map_or(Value::Null, Value::Int);
    let lag = stream.counters().lag(group.last_id, group.entries_read);
    push(pairs, "last-delivered-id", id_reply(group.last_id));
    push(pairs, "entries-read", or_null(group.entries_read));
    push(pairs, "lag", or_null(lag));
}

pub(super) fn consumers(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let (now, flavour) = (model.now(), model.flavour);
    let stream = model.stream(&args[2])?.ok_or_else(no_such_key)?;
    let group = stream.groups.get(&args[3]).ok_or_else(|| no_group(&args[2], &args[3]))?;
    let consumers = group.consumers.iter().map(|(name, Consumer { seen, active })| {
        let mut pairs = vec![
            (Value::bulk("name"), Value::bulk(name)),
            (Value::bulk("pending"), Value::Int(group.pending_of(name).count() as i64)),
            (Value::bulk("idle"), Value::Int((now - seen).max(0))),
        ];
        if flavour == Flavour::Latest {
            push(&mut pairs, "inactive", Value::Int(active.map_or(-1, |active| (now - active).max(0))));
        }
        Value::Map(pairs)
    });
    Ok(Value::Array(consumers.collect()))
}

fn push(pairs: &mut Pairs, name: &str, value: Value) {
    pairs.push((Value::bulk(name), value));
}

pub(super) fn help(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    Ok(help_reply(
        model.flavour,
        &args[0],
        &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
    ))
}
