//! EXPIRE and its kin: when keys go by themselves.

use weir_core::Timestamp;
use weir_engine::ExpireWhen;

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::reply::Reply;

const SET: Command = Command {
    arity: -3,
    flags: flag::KEYSPACE | flag::WRITE | flag::FAST,
    keys: Keys::at(1),
    key_use: KeyUse::Update,
    ..Command::BASE
};
const ASK: Command = Command {
    arity: 2,
    flags: flag::KEYSPACE | flag::READONLY | flag::FAST,
    keys: Keys::at(1),
    syntax: "key",
    ..Command::BASE
};

/// What a number given for a time means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Milliseconds in one of it.
    pub(super) unit: i64,
    /// Whether it counts from now.
    pub(super) relative: bool,
}

impl Scale {
    pub(super) const SECONDS: Self = Self { unit: 1000, relative: true };
    pub(super) const MILLIS: Self = Self { unit: 1, relative: true };
    pub(super) const UNIX_SECONDS: Self = Self { unit: 1000, relative: false };
    pub(super) const UNIX_MILLIS: Self = Self { unit: 1, relative: false };

    /// The time meant; `None` when there is no such time. Times before 1970 are 1970.
    pub(super) fn time(self, value: i64, now: Timestamp) -> Option<Timestamp> {
        let millis = value.checked_mul(self.unit)?;
        let base = if self.relative { i64::try_from(now.0).ok()? } else { 0 };
        let at = millis.checked_add(base)?;
        Some(Timestamp(u64::try_from(at).unwrap_or(0)))
    }
}

/// `-ERR invalid expire time in 'set' command`
pub(super) fn invalid_time(command: &str) -> Stop {
    format!("ERR invalid expire time in '{command}' command").into_bytes().into()
}

pub(super) static EXPIRE: Command = Command {
    name: "expire",
    summary: "says in how many seconds a key goes",
    syntax: "key seconds [NX | XX | GT | LT]",
    run: Run::Call(|call| expire(call, Scale::SECONDS)),
    ..SET
};

pub(super) static PEXPIRE: Command = Command {
    name: "pexpire",
    since: "2.6.0",
    summary: "says in how many milliseconds a key goes",
    syntax: "key milliseconds [NX | XX | GT | LT]",
    run: Run::Call(|call| expire(call, Scale::MILLIS)),
    ..SET
};

pub(super) static EXPIREAT: Command = Command {
    name: "expireat",
    since: "1.2.0",
    summary: "says at which Unix time, in seconds, a key goes",
    syntax: "key unix-time-seconds [NX | XX | GT | LT]",
    run: Run::Call(|call| expire(call, Scale::UNIX_SECONDS)),
    ..SET
};

pub(super) static PEXPIREAT: Command = Command {
    name: "pexpireat",
    since: "2.6.0",
    summary: "says at which Unix time, in milliseconds, a key goes",
    syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
    run: Run::Call(|call| expire(call, Scale::UNIX_MILLIS)),
    ..SET
};

fn expire(call: &mut Call<'_, '_>, scale: Scale) -> Answer {
    let when = conditions(call)?;
    let value = call.int(2)?;
    let at = scale.time(value, call.turn.now()).ok_or_else(|| invalid_time(call.command.name))?;
    let key = call.key(1);
    Ok(Reply::flag(call.turn.expire_at(key, at, when)?))
}

fn conditions(call: &Call<'_, '_>) -> Result<ExpireWhen, Stop> {
    let mut when = ExpireWhen::default();
    for at in 3..call.len() {
        let flag = match call.arg(at).to_ascii_lowercase().as_slice() {
            b"nx" => &mut when.absent,
            b"xx" => &mut when.present,
            b"gt" => &mut when.later,
            b"lt" => &mut when.earlier,
            _ => return Err([b"ERR Unsupported option ", call.arg(at)].concat().into()),
        };
        *flag = true;
    }
    if when.absent && (when.present || when.later || when.earlier) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if when.later && when.earlier {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    Ok(when)
}

pub(super) static TTL: Command = Command {
    name: "ttl",
    summary: "returns in how many seconds a key goes",
    tips: &["nondeterministic_output"],
    run: Run::Call(|call| ask(call, Scale::SECONDS)),
    ..ASK
};

pub(super) static PTTL: Command = Command {
    name: "pttl",
    since: "2.6.0",
    summary: "returns in how many milliseconds a key goes",
    tips: &["nondeterministic_output"],
    run: Run::Call(|call| ask(call, Scale::MILLIS)),
    ..ASK
};

pub(super) static EXPIRETIME: Command = Command {
    name: "expiretime",
    since: "7.0.0",
    summary: "returns at which Unix time, in seconds, a key goes",
    run: Run::Call(|call| ask(call, Scale::UNIX_SECONDS)),
    ..ASK
};

pub(super) static PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    since: "7.0.0",
    summary: "returns at which Unix time, in milliseconds, a key goes",
    run: Run::Call(|call| ask(call, Scale::UNIX_MILLIS)),
    ..ASK
};

fn ask(call: &mut Call<'_, '_>, scale: Scale) -> Answer {
    let key = call.key(1);
    let now = call.turn.now();
    Ok(Reply::Int(match call.turn.expiry(key)? {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let millis = if scale.relative { at.millis_since(now) } else { at.0 };
            let millis = i64::try_from(millis).unwrap_or(i64::MAX);
            if scale.unit == 1 { millis } else { millis.saturating_add(scale.unit / 2) / scale.unit }
        }
    }))
}

pub(super) static PERSIST: Command = Command {
    name: "persist",
    arity: 2,
    since: "2.2.0",
    summary: "lets a key stay for ever",
    syntax: "key",
    run: Run::Call(|call| {
        let key = call.key(1);
        Ok(Reply::flag(call.turn.persist(key)?))
    }),
    ..SET
};
