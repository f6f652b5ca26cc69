//! COPY, DUMP, RESTORE: whole keys as values.

use weir_core::Timestamp;
use weir_engine::{KeyCopy, KeyRef};

use super::keys::{SAME_OBJECTS, database_at};
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

const ROW: Command = Command { keys: Keys::at(1), ..Command::BASE };

pub(super) static COPY: Command = Command {
    name: "copy",
    arity: -3,
    flags: flag::KEYSPACE | flag::WRITE | flag::DENYOOM,
    more_keys: &[(Keys::at(2), KeyUse::Replace)],
    since: "6.2.0",
    summary: "copies a key with everything in it",
    syntax: "source destination [DB destination-db] [REPLACE]",
    run: Run::Call(copy),
    ..ROW
};

fn copy(call: &mut Call<'_, '_>) -> Answer {
    let source = call.key(1);
    let mut target = call.key(2);
    let mut replace = false;
    let mut at = 3;
    while at < call.len() {
        if call.is(at, "REPLACE") {
            replace = true;
            at += 1;
        } else if call.is(at, "DB") && at + 1 < call.len() {
            target.ns = database_at(call, at + 1)?;
            at += 2;
        } else {
            return Err(errors::SYNTAX.into());
        }
    }
    if source == target {
        return Err(SAME_OBJECTS.into());
    }
    // Entries need not be fetched for a copy that cannot be put down.
    if !replace && call.turn.kind(target)?.is_some() {
        return Ok(Reply::Int(0));
    }
    let Some(taken) = call.take_out(source)? else { return Ok(Reply::Int(0)) };
    put(call, target, &taken.copy, taken.expires, replace, "copy_to").map(Reply::flag)
}

fn put(
    call: &mut Call<'_, '_>,
    key: KeyRef<'_>,
    copy: &KeyCopy,
    expires: Option<Timestamp>,
    replace: bool,
    event: &'static str,
) -> Result<bool, Stop> {
    Ok(call.turn.put_copy(key, copy, expires, replace, event)?)
}

pub(super) static DUMP: Command = Command {
    name: "dump",
    arity: 2,
    flags: flag::KEYSPACE | flag::READONLY,
    since: "2.6.0",
    summary: "returns a key with everything in it as bytes for RESTORE; the format is weir's own, not Redis'",
    syntax: "key",
    tips: &["nondeterministic_output"],
    run: Run::Call(|call| {
        let key = call.key(1);
        Ok(call.take_out(key)?.map_or(Reply::Null, |taken| Reply::bulk(taken.copy.into_payload())))
    }),
    ..ROW
};

pub(super) static RESTORE: Command = Command {
    name: "restore",
    arity: -4,
    flags: flag::KEYSPACE | flag::WRITE | flag::DENYOOM | flag::DANGEROUS,
    key_use: KeyUse::Replace,
    since: "2.6.0",
    summary: "makes a key from what DUMP returned",
    syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    run: Run::Call(restore),
    ..ROW
};

fn restore(call: &mut Call<'_, '_>) -> Answer {
    let (replace, absolute) = restore_options(call)?;
    let key = call.key(1);
    if !replace && call.turn.kind(key)?.is_some() {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = call.int(2)?;
    let ttl = u64::try_from(ttl).map_err(|_| Stop::refused("ERR Invalid TTL value, must be >= 0"))?;
    let copy = KeyCopy::parse(call.arg(3)).map_err(Stop::Engine)?;
    let now = call.turn.now();
    let at = if absolute { ttl } else { ttl.saturating_add(now.0) };
    let expires = (ttl > 0).then_some(Timestamp(at));
    if expires.is_some_and(|at| at <= now) {
        call.turn.remove_key(key)?;
        return Ok(Reply::Ok);
    }
    put(call, key, &copy, expires, replace, "restore")?;
    Ok(Reply::Ok)
}

/// Whether to replace a key, and whether its time to live is a point in time.
fn restore_options(call: &Call<'_, '_>) -> Result<(bool, bool), Stop> {
    let (mut replace, mut absolute) = (false, false);
    let mut at = 4;
    while at < call.len() {
        let has_value = at + 1 < call.len();
        if call.is(at, "REPLACE") {
            replace = true;
        } else if call.is(at, "ABSTTL") {
            absolute = true;
        } else if call.is(at, "IDLETIME") && has_value {
            // Read and checked; nothing is evicted here, so nobody asks how idle a key is.
            if call.int(at + 1)? < 0 {
                return Err("ERR Invalid IDLETIME value, must be >= 0".into());
            }
            at += 1;
        } else if call.is(at, "FREQ") && has_value {
            if !(0..=255).contains(&call.int(at + 1)?) {
                return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into());
            }
            at += 1;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    Ok((replace, absolute))
}
