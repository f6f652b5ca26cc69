//! DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX, MOVE, SWAPDB, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL: keys of
//! whatever kind.

use weir_core::ErrorKind;
use weir_engine::{KeyKind, KeyRef, NamespaceNo};

use crate::resp::call::{Answer, Call, OrRefuse, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::door::{DATABASES, Door};
use crate::resp::errors;
use crate::resp::number::parse_i64;
use crate::resp::reply::Reply;

const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const SUM_OF_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
/// How often RANDOMKEY looks for a key that has not expired.
const RANDOM_TRIES: usize = 100;

const READ: Command = Command {
    flags: flag::KEYSPACE | flag::READONLY | flag::FAST,
    keys: Keys::at(1),
    key_use: KeyUse::Look,
    ..Command::BASE
};
const WRITE: Command = Command { flags: flag::KEYSPACE | flag::WRITE | flag::FAST, ..READ };

pub(super) static DEL: Command = Command {
    name: "del",
    arity: -2,
    flags: flag::KEYSPACE | flag::WRITE,
    keys: Keys::Range { first: 1, last: -1, step: 1 },
    key_use: KeyUse::Remove,
    summary: "removes keys with everything in them",
    syntax: "key [key ...]",
    tips: SUM_OF_SHARDS,
    run: Run::Call(remove),
    ..WRITE
};

pub(super) static UNLINK: Command = Command {
    name: "unlink",
    flags: flag::KEYSPACE | flag::WRITE | flag::FAST,
    since: "4.0.0",
    summary: "removes keys with everything in them, as DEL does",
    ..DEL
};

fn remove(call: &mut Call<'_, '_>) -> Answer {
    let mut count = 0;
    for at in 1..call.len() {
        let key = call.key(at);
        count += i64::from(call.turn.remove_key(key)?);
    }
    Ok(Reply::Int(count))
}

pub(super) static EXISTS: Command = Command {
    name: "exists",
    arity: -2,
    keys: Keys::Range { first: 1, last: -1, step: 1 },
    summary: "counts which of the keys exist; a key named twice counts twice",
    syntax: "key [key ...]",
    tips: SUM_OF_SHARDS,
    run: Run::Call(count_existing),
    ..READ
};

pub(super) static TOUCH: Command = Command {
    name: "touch",
    since: "3.2.1",
    summary: "counts which of the keys exist, as EXISTS does",
    ..EXISTS
};

fn count_existing(call: &mut Call<'_, '_>) -> Answer {
    let mut count = 0;
    for at in 1..call.len() {
        let key = call.key(at);
        count += i64::from(call.turn.kind(key)?.is_some());
    }
    Ok(Reply::Int(count))
}

pub(super) static TYPE: Command = Command {
    name: "type",
    arity: 2,
    summary: "says what a key holds",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(1);
        Ok(Reply::Simple(call.turn.kind(key)?.map_or("none", type_name)))
    }),
    ..READ
};

/// What Redis calls a kind of value.
pub(super) fn type_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Stream => "stream",
        KeyKind::Text => "string",
    }
}

pub(super) static RENAME: Command = Command {
    name: "rename",
    arity: 3,
    flags: flag::KEYSPACE | flag::WRITE,
    key_use: KeyUse::ReadDelete,
    more_keys: &[(Keys::at(2), KeyUse::Replace)],
    summary: "gives a key another name, in place of the key that has it",
    syntax: "key newkey",
    run: Run::Call(|call| rename(call, true).map(|_| Reply::Ok)),
    ..WRITE
};

pub(super) static RENAMENX: Command = Command {
    name: "renamenx",
    arity: 3,
    key_use: KeyUse::ReadDelete,
    more_keys: &[(Keys::at(2), KeyUse::Put)],
    summary: "gives a key another name, unless a key has it",
    syntax: "key newkey",
    run: Run::Call(|call| rename(call, false).map(Reply::flag)),
    ..WRITE
};

fn rename(call: &mut Call<'_, '_>, replace: bool) -> Result<bool, Stop> {
    let key = call.key(1);
    let to = call.arg(2);
    let renamed = call.turn.rename(key, to, replace);
    renamed.or_refuse(|kind| *kind == ErrorKind::NoSuchStream, || errors::NO_SUCH_KEY)
}

pub(super) static MOVE: Command = Command {
    name: "move",
    arity: 3,
    key_use: KeyUse::ReadUpdate,
    summary: "moves a key to another database, unless a key of its name is there",
    syntax: "key db",
    run: Run::Call(|call| {
        let to = database_at(call, 2)?;
        let key = call.key(1);
        if key.ns == to {
            return Err(SAME_OBJECTS.into());
        }
        Ok(Reply::flag(call.turn.move_key(key, to)?))
    }),
    ..WRITE
};

/// Where source and target are one.
pub(super) const SAME_OBJECTS: &str = "ERR source and destination objects are the same";
const DB_RANGE: &str = "ERR DB index is out of range";

/// The database whose number stands at `index`.
pub(super) fn database_at(call: &Call<'_, '_>, index: usize) -> Result<NamespaceNo, Stop> {
    Door::database(call.int(index)?).ok_or(Stop::refused(DB_RANGE))
}

pub(super) static SWAPDB: Command = Command {
    name: "swapdb",
    arity: 3,
    flags: flag::KEYSPACE | flag::WRITE | flag::FAST | flag::DANGEROUS,
    keys: Keys::None,
    group: "server",
    since: "4.0.0",
    summary: "lets two databases change places",
    syntax: "index1 index2",
    run: Run::Call(|call| {
        let first = parse_i64(call.arg(1)).ok_or(Stop::refused("ERR invalid first DB index"))?;
        let second = parse_i64(call.arg(2)).ok_or(Stop::refused("ERR invalid second DB index"))?;
        let both = Door::database(first).zip(Door::database(second));
        let (first, second) = both.ok_or(Stop::refused(DB_RANGE))?;
        call.turn.swap_namespaces(first, second)?;
        Ok(Reply::Ok)
    }),
    ..WRITE
};

pub(super) static RANDOMKEY: Command = Command {
    name: "randomkey",
    arity: 1,
    flags: flag::KEYSPACE | flag::READONLY,
    keys: Keys::None,
    summary: "returns the name of some key",
    tips: &["request_policy:all_shards", "nondeterministic_output"],
    run: Run::Call(|call| {
        let ns = call.client().ns;
        for _ in 0..RANDOM_TRIES {
            let nth = call.door.random.number();
            let Some(name) = call.turn.any_key(ns, nth)? else { break };
            if call.turn.kind(KeyRef { ns, name: &name })?.is_some() {
                return Ok(Reply::Bulk(name));
            }
        }
        Ok(Reply::Null)
    }),
    ..READ
};

pub(super) static DBSIZE: Command = Command {
    name: "dbsize",
    arity: 1,
    keys: Keys::None,
    group: "server",
    summary: "returns how many keys the database has",
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    run: Run::Call(|call| {
        let ns = call.client().ns;
        Ok(Reply::count(call.turn.key_count(ns)?))
    }),
    ..READ
};

const FLUSH: Command = Command {
    arity: -1,
    flags: flag::KEYSPACE | flag::WRITE | flag::DANGEROUS,
    keys: Keys::None,
    group: "server",
    syntax: "[ASYNC | SYNC]",
    tips: ALL_SHARDS,
    ..WRITE
};

pub(super) static FLUSHDB: Command = Command {
    name: "flushdb",
    summary: "removes all keys of the database",
    run: Run::Call(|call| {
        check_flush(call)?;
        let ns = call.client().ns;
        call.turn.flush_namespace(ns)?;
        Ok(Reply::Ok)
    }),
    ..FLUSH
};

pub(super) static FLUSHALL: Command = Command {
    name: "flushall",
    summary: "removes all keys of all databases",
    run: Run::Call(|call| {
        check_flush(call)?;
        call.turn.begin();
        let flushed = (0..DATABASES).try_for_each(|ns| call.turn.flush_namespace(NamespaceNo(ns)).map(drop));
        call.turn.end();
        flushed?;
        Ok(Reply::Ok)
    }),
    ..FLUSH
};

fn check_flush(call: &Call<'_, '_>) -> Result<(), Stop> {
    match call.len() {
        1 => Ok(()),
        2 if call.is(1, "ASYNC") || call.is(1, "SYNC") => Ok(()),
        _ => Err(errors::SYNTAX.into()),
    }
}
