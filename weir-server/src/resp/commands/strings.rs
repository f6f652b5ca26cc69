//! SET, GET, INCR and a few more: small string values, so that a counter or a flag needs no second server.
//!
//! A string is at most [`weir_engine::Limits::text_bytes`] long and is written anew as a whole at each change.

use weir_core::Timestamp;
use weir_engine::{ExpireWhen, KeyKind, KeyRef};

use super::expiry::{Scale, invalid_time};
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::errors;
use crate::resp::number::parse_i64;
use crate::resp::reply::Reply;

const READ: Command = Command {
    flags: flag::STRING | flag::READONLY | flag::FAST,
    keys: Keys::at(1),
    group: "string",
    ..Command::BASE
};
const WRITE: Command = Command {
    flags: flag::STRING | flag::WRITE | flag::DENYOOM | flag::FAST,
    key_use: KeyUse::ReadUpdate,
    ..READ
};

pub(super) static GET: Command = Command {
    name: "get",
    arity: 2,
    summary: "returns a string",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(1);
        text_reply(call, key)
    }),
    ..READ
};

fn text_reply(call: &mut Call<'_, '_>, key: KeyRef<'_>) -> Answer {
    Ok(call.turn.text(key)?.map_or(Reply::Null, Reply::Bulk))
}

pub(super) static MGET: Command = Command {
    name: "mget",
    arity: -2,
    keys: Keys::Range { first: 1, last: -1, step: 1 },
    summary: "returns several strings, and a null for what is none",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard"],
    run: Run::Call(|call| {
        let mut texts = Vec::with_capacity(call.len() - 1);
        for at in 1..call.len() {
            let key = call.key(at);
            let is_text = call.turn.kind(key)? == Some(KeyKind::Text);
            texts.push(if is_text { text_reply(call, key)? } else { Reply::Null });
        }
        Ok(Reply::Array(texts))
    }),
    ..READ
};

pub(super) static STRLEN: Command = Command {
    name: "strlen",
    arity: 2,
    key_use: KeyUse::Look,
    since: "2.2.0",
    summary: "returns how many bytes a string has",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(1);
        Ok(Reply::count(call.turn.text(key)?.map_or(0, |text| text.len() as u64)))
    }),
    ..READ
};

// ---- setting ---------------------------------------------------------------------------------------------------

pub(super) static SET: Command = Command {
    name: "set",
    arity: -3,
    flags: flag::STRING | flag::WRITE | flag::DENYOOM,
    key_use: KeyUse::ReadUpdateVariable,
    summary: "sets a string, in place of whatever the key holds",
    syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | KEEPTTL]",
    run: Run::Call(set),
    ..WRITE
};

/// The options of SET.
#[derive(Debug, Default)]
struct SetOptions {
    /// `Some(true)` = only an existing key, `Some(false)` = only a missing one.
    exists: Option<bool>,
    get: bool,
    keep_ttl: bool,
    expires: Option<Timestamp>,
}

fn set(call: &mut Call<'_, '_>) -> Answer {
    let options = set_options(call)?;
    let key = call.key(1);
    let old = if options.get { text_reply(call, key)? } else { Reply::Ok };
    let is_there = call.turn.kind(key)?.is_some();
    if options.exists.is_some_and(|wanted| wanted != is_there) {
        return Ok(if options.get { old } else { Reply::Null });
    }
    write(call, key, call.arg(2), options.keep_ttl, options.expires)?;
    Ok(old)
}

fn set_options(call: &Call<'_, '_>) -> Result<SetOptions, Stop> {
    const TIMES: [(&str, Scale); 4] = [
        ("EX", Scale::SECONDS),
        ("PX", Scale::MILLIS),
        ("EXAT", Scale::UNIX_SECONDS),
        ("PXAT", Scale::UNIX_MILLIS),
    ];
    let mut options = SetOptions::default();
    let mut time = None;
    let mut at = 3;
    while at < call.len() {
        let scale = TIMES.iter().find(|(name, _)| call.is(at, name)).map(|(_, scale)| *scale);
        if (call.is(at, "NX") || call.is(at, "XX")) && options.exists != Some(call.is(at, "NX")) {
            options.exists = Some(call.is(at, "XX"));
        } else if call.is(at, "GET") {
            options.get = true;
        } else if call.is(at, "KEEPTTL") && time.is_none() {
            options.keep_ttl = true;
        } else if let Some(scale) = scale
            && time.is_none()
            && !options.keep_ttl
            && at + 1 < call.len()
        {
            time = Some((at + 1, scale));
            at += 1;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    if let Some((at, scale)) = time {
        options.expires = Some(positive_time(call, at, scale)?);
    }
    Ok(options)
}

/// The time to expire that stands at `at`.
fn positive_time(call: &Call<'_, '_>, at: usize, scale: Scale) -> Result<Timestamp, Stop> {
    let value = call.int(at)?;
    let time = scale.time(value, call.turn.now()).filter(|_| value > 0);
    time.ok_or_else(|| invalid_time(call.command.name))
}

/// Sets a string and when it expires, as one.
fn write(
    call: &mut Call<'_, '_>,
    key: KeyRef<'_>,
    value: &[u8],
    keep_ttl: bool,
    expires: Option<Timestamp>,
) -> Result<(), Stop> {
    let Some(expires) = expires else {
        return Ok(call.turn.set_text(key, value, keep_ttl, "set")?);
    };
    call.turn.begin();
    let done = call.turn.set_text(key, value, false, "set");
    let done = done.and_then(|()| call.turn.expire_at(key, expires, ExpireWhen::default()));
    call.turn.end();
    done?;
    Ok(())
}

pub(super) static SETEX: Command = Command {
    name: "setex",
    arity: 4,
    flags: flag::STRING | flag::WRITE | flag::DENYOOM,
    key_use: KeyUse::Replace,
    since: "2.0.0",
    summary: "sets a string that goes after some seconds",
    syntax: "key seconds value",
    run: Run::Call(|call| set_for(call, Scale::SECONDS)),
    ..WRITE
};

pub(super) static PSETEX: Command = Command {
    name: "psetex",
    since: "2.6.0",
    summary: "sets a string that goes after some milliseconds",
    syntax: "key milliseconds value",
    run: Run::Call(|call| set_for(call, Scale::MILLIS)),
    ..SETEX
};

fn set_for(call: &mut Call<'_, '_>, scale: Scale) -> Answer {
    let expires = positive_time(call, 2, scale)?;
    let key = call.key(1);
    write(call, key, call.arg(3), false, Some(expires))?;
    Ok(Reply::Ok)
}

pub(super) static SETNX: Command = Command {
    name: "setnx",
    arity: 3,
    key_use: KeyUse::Put,
    summary: "sets a string unless the key exists",
    syntax: "key value",
    run: Run::Call(|call| {
        let key = call.key(1);
        if call.turn.kind(key)?.is_some() {
            return Ok(Reply::Int(0));
        }
        write(call, key, call.arg(2), false, None)?;
        Ok(Reply::Int(1))
    }),
    ..WRITE
};

pub(super) static MSET: Command = Command {
    name: "mset",
    arity: -3,
    flags: flag::STRING | flag::WRITE | flag::DENYOOM,
    keys: Keys::Range { first: 1, last: -1, step: 2 },
    key_use: KeyUse::Replace,
    since: "1.0.1",
    summary: "sets several strings",
    syntax: "key value [key value ...]",
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    run: Run::Call(|call| {
        if call.len().is_multiple_of(2) {
            return Err(call.wrong_arity());
        }
        call.turn.begin();
        let done = (1..call.len()).step_by(2).try_for_each(|at| {
            let key = call.key(at);
            write(call, key, call.arg(at + 1), false, None)
        });
        call.turn.end();
        done.map(|()| Reply::Ok)
    }),
    ..WRITE
};

pub(super) static GETSET: Command = Command {
    name: "getset",
    arity: 3,
    summary: "sets a string and returns what it was",
    syntax: "key value",
    run: Run::Call(|call| {
        let key = call.key(1);
        let old = text_reply(call, key)?;
        write(call, key, call.arg(2), false, None)?;
        Ok(old)
    }),
    ..WRITE
};

pub(super) static GETDEL: Command = Command {
    name: "getdel",
    arity: 2,
    flags: flag::STRING | flag::WRITE | flag::FAST,
    key_use: KeyUse::ReadDelete,
    since: "6.2.0",
    summary: "removes a string and returns what it was",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(1);
        let old = text_reply(call, key)?;
        call.turn.remove_key(key)?;
        Ok(old)
    }),
    ..WRITE
};

pub(super) static APPEND: Command = Command {
    name: "append",
    arity: 3,
    key_use: KeyUse::Insert,
    since: "2.0.0",
    summary: "adds bytes to the end of a string and returns its length",
    syntax: "key value",
    run: Run::Call(|call| {
        let key = call.key(1);
        let mut text = call.turn.text(key)?.unwrap_or_default().into_vec();
        text.extend_from_slice(call.arg(2));
        call.turn.set_text(key, &text, true, "append")?;
        Ok(Reply::count(text.len() as u64))
    }),
    ..WRITE
};

// ---- counting --------------------------------------------------------------------------------------------------

pub(super) static INCR: Command = Command {
    name: "incr",
    arity: 2,
    summary: "adds one to the integer in a string",
    syntax: "key",
    run: Run::Call(|call| add(call, 1)),
    ..WRITE
};

pub(super) static DECR: Command = Command {
    name: "decr",
    summary: "takes one from the integer in a string",
    run: Run::Call(|call| add(call, -1)),
    ..INCR
};

pub(super) static INCRBY: Command = Command {
    name: "incrby",
    arity: 3,
    summary: "adds a number to the integer in a string",
    syntax: "key increment",
    run: Run::Call(|call| {
        let by = call.int(2)?;
        add(call, by)
    }),
    ..WRITE
};

pub(super) static DECRBY: Command = Command {
    name: "decrby",
    arity: 3,
    summary: "takes a number from the integer in a string",
    syntax: "key decrement",
    run: Run::Call(|call| {
        let by = call.int(2)?.checked_neg().ok_or(Stop::refused("ERR decrement would overflow"))?;
        add(call, by)
    }),
    ..WRITE
};

fn add(call: &mut Call<'_, '_>, by: i64) -> Answer {
    let key = call.key(1);
    let old = match call.turn.text(key)? {
        None => 0,
        Some(text) => parse_i64(&text).ok_or(Stop::refused(errors::NOT_AN_INTEGER))?,
    };
    let new = old.checked_add(by).ok_or(Stop::refused("ERR increment or decrement would overflow"))?;
    call.turn.set_text(key, new.to_string().as_bytes(), true, "incrby")?;
    Ok(Reply::Int(new))
}
