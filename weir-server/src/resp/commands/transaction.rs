//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: several commands as one.
//!
//! EXEC ties everything its commands write into one transaction of the log: after a crash all of it is there or
//! nothing. The time stands still inside.

use weir_resp::{Args, Decoder, Limits, Progress};

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::client::Multi;
use crate::resp::command::{Command, Keys, Run, flag};
use crate::resp::dispatch::execute_queued;
use crate::resp::reply::Reply;

const FLAGS: u32 =
    flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::TRANSACTION | flag::AT_ONCE;
const ROW: Command =
    Command { arity: 1, flags: FLAGS, group: "transactions", since: "1.2.0", ..Command::BASE };

pub(super) static MULTI: Command = Command {
    name: "multi",
    summary: "starts a transaction",
    run: Run::Call(|call| {
        if call.in_exec || call.client().multi.is_some() {
            return Err(Stop::refused("ERR MULTI calls can not be nested"));
        }
        call.client().multi = Some(Box::new(Multi::default()));
        Ok(Reply::Ok)
    }),
    ..ROW
};

pub(super) static DISCARD: Command = Command {
    name: "discard",
    since: "2.0.0",
    summary: "forgets a transaction",
    run: Run::Call(|call| {
        if call.client().multi.take().is_none() {
            return Err(Stop::refused("ERR DISCARD without MULTI"));
        }
        unwatch_all(call);
        Ok(Reply::Ok)
    }),
    ..ROW
};

pub(super) static WATCH: Command = Command {
    name: "watch",
    arity: -2,
    keys: Keys::Range { first: 1, last: -1, step: 1 },
    since: "2.2.0",
    summary: "makes the next transaction depend on keys staying as they are",
    syntax: "key [key ...]",
    run: Run::Call(|call| {
        if call.client().multi.is_some() {
            return Err(Stop::refused("ERR WATCH inside MULTI is not allowed"));
        }
        for at in 1..call.len() {
            let key = call.key(at);
            let watch = call.turn.watch(key);
            call.client().watched.push(watch);
        }
        Ok(Reply::Ok)
    }),
    ..ROW
};

pub(super) static UNWATCH: Command = Command {
    name: "unwatch",
    flags: FLAGS & !flag::AT_ONCE,
    since: "2.2.0",
    summary: "lets go of all watched keys",
    run: Run::Call(|call| {
        unwatch_all(call);
        Ok(Reply::Ok)
    }),
    ..ROW
};

fn unwatch_all(call: &mut Call<'_, '_>) {
    for watch in std::mem::take(&mut call.client().watched) {
        call.turn.unwatch(watch);
    }
}

pub(super) static EXEC: Command = Command {
    name: "exec",
    flags: FLAGS & !flag::FAST,
    summary: "executes a transaction",
    run: Run::Call(exec),
    ..ROW
};

fn exec(call: &mut Call<'_, '_>) -> Answer {
    let Some(multi) = call.client().multi.take() else {
        return Err(Stop::refused("ERR EXEC without MULTI"));
    };
    let watched = std::mem::take(&mut call.client().watched);
    let is_spoilt = watched.iter().any(|watch| call.turn.is_dirty(*watch));
    watched.into_iter().for_each(|watch| call.turn.unwatch(watch));
    if multi.refused {
        return Err(Stop::refused("EXECABORT Transaction discarded because of previous errors."));
    }
    if is_spoilt {
        return Ok(Reply::NullArray);
    }
    call.turn.begin();
    let replies = execute_all(call, &multi);
    call.turn.end();
    Ok(Reply::Array(replies))
}

fn execute_all(call: &mut Call<'_, '_>, multi: &Multi) -> Vec<Reply> {
    let (mut decoder, mut args) = (Decoder::new(), Args::new());
    let mut replies = Vec::with_capacity(multi.count);
    let mut rest = &multi.queued[..];
    while let Progress::Complete { consumed } = decoder.decode(rest, &mut args, &Limits::DEFAULT) {
        let reply = execute_queued(call, args.of(rest));
        replies.push((call.client().proto, reply));
        rest = &rest[consumed..];
    }
    // The array is rendered in the protocol of its end; a HELLO may have come in between.
    let proto = call.client().proto;
    let in_order = replies.into_iter();
    in_order.map(|(own, reply)| if own == proto { reply } else { Reply::In(own, Box::new(reply)) }).collect()
}
