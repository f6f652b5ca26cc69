//! OBJECT, MEMORY: what a key is made of and what it takes.

use weir_engine::{KeyKind, NamespaceNo};

use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::door::DATABASES;
use crate::resp::errors;
use crate::resp::memory;
use crate::resp::number::parse_i64;
use crate::resp::reply::Reply;

const OBJECT_ROW: Command = Command {
    arity: 3,
    flags: flag::KEYSPACE | flag::READONLY,
    keys: Keys::at(2),
    key_use: KeyUse::Look,
    since: "2.2.3",
    syntax: "key",
    tips: &["nondeterministic_output"],
    ..Command::BASE
};

pub(super) static OBJECT: Command = Command {
    name: "object",
    arity: -2,
    since: "2.2.3",
    summary: "a container of commands about what keys are made of",
    run: Run::Container(&[&ENCODING, &FREQ, &OBJECT_HELP, &IDLETIME, &REFCOUNT]),
    ..Command::BASE
};

static ENCODING: Command = Command {
    name: "object|encoding",
    summary: "says how a key's value is kept",
    run: Run::Call(|call| {
        let key = call.key(2);
        Ok(match call.turn.kind(key)? {
            None => Reply::Null,
            Some(KeyKind::Stream) => Reply::Text("stream"),
            Some(KeyKind::Text) => Reply::Text(text_encoding(&call.turn.text(key)?.unwrap_or_default())),
        })
    }),
    ..OBJECT_ROW
};

/// What Redis calls its own ways to keep such a string.
fn text_encoding(text: &[u8]) -> &'static str {
    const EMBEDDED_MAX: usize = 44;
    match text.len() {
        _ if parse_i64(text).is_some() => "int",
        len if len <= EMBEDDED_MAX => "embstr",
        _ => "raw",
    }
}

static REFCOUNT: Command = Command {
    name: "object|refcount",
    summary: "returns how often a key's value is referred to, which is once",
    run: Run::Call(|call| if_exists(call, Reply::Int(1))),
    ..OBJECT_ROW
};

static IDLETIME: Command = Command {
    name: "object|idletime",
    summary: "returns 0: how long a key was not used is not recorded, for nothing is evicted",
    run: Run::Call(|call| if_exists(call, Reply::Int(0))),
    ..OBJECT_ROW
};

static FREQ: Command = Command {
    name: "object|freq",
    since: "4.0.0",
    summary: "refused: how often a key is used is not recorded, for nothing is evicted",
    run: Run::Call(|call| {
        if_exists(
            call,
            Reply::error(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ),
        )
    }),
    ..OBJECT_ROW
};

fn if_exists(call: &mut Call<'_, '_>, reply: Reply) -> Answer {
    let key = call.key(2);
    Ok(call.turn.kind(key)?.map_or(Reply::Null, |_| reply))
}

static OBJECT_HELP: Command = Command {
    name: "object|help",
    arity: 2,
    flags: flag::KEYSPACE | flag::LOADING | flag::STALE,
    keys: Keys::None,
    since: "6.2.0",
    summary: "returns a text about the subcommands",
    syntax: "",
    tips: &[],
    run: Run::Call(|call| Ok(call.help())),
    ..OBJECT_ROW
};

const MEMORY_ROW: Command = Command { arity: 2, group: "server", since: "4.0.0", ..Command::BASE };
const PER_SHARD: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub(super) static MEMORY: Command = Command {
    name: "memory",
    arity: -2,
    summary: "a container of commands about memory",
    run: Run::Container(&[&DOCTOR, &MEMORY_HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE]),
    ..MEMORY_ROW
};

static USAGE: Command = Command {
    name: "memory|usage",
    arity: -3,
    flags: flag::READONLY,
    keys: Keys::at(2),
    key_use: KeyUse::Look,
    summary: "returns how many bytes of memory a key takes, about; its entries are on disk",
    syntax: "key [SAMPLES count]",
    run: Run::Call(|call| {
        let mut at = 3;
        while at < call.len() {
            if !call.is(at, "SAMPLES") || at + 1 == call.len() || call.int(at + 1)? < 0 {
                return Err(errors::SYNTAX.into());
            }
            at += 2;
        }
        let key = call.key(2);
        Ok(Reply::count_or_null(call.turn.memory_usage(key)?))
    }),
    ..MEMORY_ROW
};

static DOCTOR: Command = Command {
    name: "memory|doctor",
    summary: "says whether memory needs attention",
    tips: PER_SHARD,
    run: Run::Call(|_| {
        let used = memory::resident_bytes();
        let text = format!(
            "weir keeps entries on disk and indexes, groups and buffers in memory: {} are resident. \
             Nothing needs attention.\n",
            memory::human(used)
        );
        Ok(Reply::Verbatim(text.into()))
    }),
    ..MEMORY_ROW
};

static STATS: Command = Command {
    name: "memory|stats",
    summary: "returns how much memory is used",
    tips: PER_SHARD,
    run: Run::Call(stats),
    ..MEMORY_ROW
};

fn stats(call: &mut Call<'_, '_>) -> Answer {
    let resident = memory::resident_bytes();
    let mut keys = 0;
    for ns in 0..DATABASES {
        keys += call.turn.key_count(NamespaceNo(ns))?;
    }
    let peak = memory::peak_bytes().max(resident);
    let per_key = resident.checked_div(keys).unwrap_or(0);
    let percentage = |part: u64, whole: u64| Reply::Double(part as f64 * 100.0 / whole.max(1) as f64);
    Ok(Reply::Map(vec![
        Reply::Text("peak.allocated"),
        Reply::count(peak),
        Reply::Text("total.allocated"),
        Reply::count(resident),
        Reply::Text("replication.backlog"),
        Reply::Int(0),
        Reply::Text("clients.slaves"),
        Reply::Int(0),
        Reply::Text("clients.normal"),
        Reply::count(call.door.buffered as u64),
        Reply::Text("keys.count"),
        Reply::count(keys),
        Reply::Text("keys.bytes-per-key"),
        Reply::count(per_key),
        Reply::Text("peak.percentage"),
        percentage(resident, peak),
    ]))
}

static MALLOC_STATS: Command = Command {
    name: "memory|malloc-stats",
    summary: "says that the system's allocator keeps no statistics",
    tips: PER_SHARD,
    run: Run::Call(|_| Ok(Reply::Verbatim("The system's allocator keeps no statistics.".into()))),
    ..MEMORY_ROW
};

static PURGE: Command = Command {
    name: "memory|purge",
    summary: "does nothing: memory is given back to the system as it becomes free",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: Run::Call(|_| Ok(Reply::Ok)),
    ..MEMORY_ROW
};

static MEMORY_HELP: Command = Command {
    name: "memory|help",
    flags: flag::LOADING | flag::STALE,
    summary: "returns a text about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..MEMORY_ROW
};
