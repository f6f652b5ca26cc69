//! XCFGSET and XIDMPRECORD: what a stream remembers of its idempotent producers.

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

pub(super) static XCFGSET: Command = Command {
    name: "xcfgset",
    arity: -2,
    flags: flag::STREAM | flag::WRITE | flag::FAST,
    key_use: KeyUse::Update,
    since: "8.6.0",
    summary: "sets how long and how many idempotent IDs a stream remembers",
    syntax: "key [IDMP-DURATION seconds] [IDMP-MAXSIZE entries]",
    run: Run::Call(xcfgset),
    ..Command::STREAM
};

fn xcfgset(call: &mut Call<'_, '_>) -> Answer {
    let key = call.key(1);
    if call.turn.last_id(key)?.is_none() {
        return Err(errors::NO_SUCH_KEY.into());
    }
    let (mut duration, mut most) = (None, None);
    let mut at = 2;
    while at < call.len() {
        if call.is(at, "IDMP-DURATION") && at + 1 < call.len() {
            let text = "ERR IDMP-DURATION must be between 1 and 86400 seconds";
            let seconds = within(call, at + 1, 86_400, text)?;
            if duration.replace(seconds).is_some() {
                return Err("ERR IDMP-DURATION specified multiple times".into());
            }
        } else if call.is(at, "IDMP-MAXSIZE") && at + 1 < call.len() {
            let text = "ERR IDMP-MAXSIZE must be between 1 and 10000 entries";
            let entries = within(call, at + 1, 10_000, text)?;
            if most.replace(entries).is_some() {
                return Err("ERR IDMP-MAXSIZE specified multiple times".into());
            }
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 2;
    }
    if duration.is_none() && most.is_none() {
        return Err("ERR At least one parameter must be specified".into());
    }
    call.turn.configure_idempotence(key, duration, most)?;
    Ok(Reply::Ok)
}

fn within(call: &Call<'_, '_>, at: usize, most: u64, text: &'static str) -> Result<u64, Stop> {
    let value = u64::try_from(call.int(at)?).unwrap_or(0);
    Some(value).filter(|value| (1..=most).contains(value)).ok_or(Stop::refused(text))
}

pub(super) static XIDMPRECORD: Command = Command {
    name: "xidmprecord",
    arity: 5,
    flags: flag::STREAM | flag::WRITE | flag::DENYOOM | flag::FAST,
    key_use: KeyUse::Update,
    since: "8.6.2",
    summary: "ties an idempotent ID to an entry that exists",
    syntax: "key producer-id idempotent-id id",
    run: Run::Call(xidmprecord),
    ..Command::STREAM
};

fn xidmprecord(call: &mut Call<'_, '_>) -> Answer {
    let (producer, iid) = (call.arg(2), call.arg(3));
    if producer.is_empty() {
        return Err("ERR producer ID must be non-empty".into());
    }
    if iid.is_empty() {
        return Err("ERR idempotent ID must be non-empty".into());
    }
    let id = call.id(4)?;
    let key = call.key(1);
    call.turn.record_idempotent(key, producer, iid, id)?;
    Ok(Reply::Ok)
}
