//! XNACK: hands pending entries back to their group.

use weir_engine::{Nack, NackMode};

use crate::resp::call::{Answer, Call, OrRefuse, Stop, no_group};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xnack",
    arity: -7,
    flags: flag::STREAM | flag::WRITE | flag::FAST,
    key_use: KeyUse::Update,
    since: "8.8.0",
    summary: "hands pending entries back to the group without acknowledging them",
    syntax: "key group <SILENT | FAIL | FATAL> IDS numids id [id ...] [RETRYCOUNT count] [FORCE]",
    run: Run::Call(xnack),
    ..Command::STREAM
};

fn xnack(call: &mut Call<'_, '_>) -> Answer {
    let mode = mode(call)?;
    if !call.is(4, "IDS") {
        return Err("ERR syntax error, expected IDS keyword".into());
    }
    let count = count(call)?;
    if count > call.len() - 6 {
        return Err("ERR number of IDs doesn't match numids".into());
    }
    let end = 6 + count;
    let ids = call.ids(6, end)?;
    let (mut deliveries, mut force) = (None, false);
    let mut at = end;
    while at < call.len() {
        if call.is(at, "FORCE") {
            force = true;
            at += 1;
        } else if call.is(at, "RETRYCOUNT") && at + 1 < call.len() {
            const TEXT: &str = "ERR Invalid RETRYCOUNT value, must be >= 0";
            let count = call.int_or(at + 1, TEXT)?;
            deliveries = Some(if count < 0 { return Err(TEXT.into()) } else { count });
            at += 2;
        } else {
            return Err([b"ERR Unrecognized XNACK option '", call.arg(at), b"'"].concat().into());
        }
    }
    let (key, group) = (call.key(1), call.arg(2));
    let nack = Nack { group, mode, ids: &ids, deliveries, force };
    let released =
        call.turn.nack(key, &nack).or_refuse(no_group, || errors::no_key_or_group(key.name, group))?;
    Ok(Reply::count(released))
}

fn mode(call: &Call<'_, '_>) -> Result<NackMode, Stop> {
    if call.is(3, "SILENT") {
        Ok(NackMode::Silent)
    } else if call.is(3, "FAIL") {
        Ok(NackMode::Fail)
    } else if call.is(3, "FATAL") {
        Ok(NackMode::Fatal)
    } else {
        Err("ERR mode must be SILENT, FAIL, or FATAL".into())
    }
}

fn count(call: &Call<'_, '_>) -> Result<usize, Stop> {
    const TEXT: &str = "ERR numids must be a positive integer";
    let count = call.int_or(5, TEXT)?;
    usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Stop::refused(TEXT))
}
