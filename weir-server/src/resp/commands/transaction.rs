//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: several commands as one.
//!
//! EXEC ties everything its commands write into one transaction of the log: after a crash all of it is there or
//! nothing. The time stands still inside.

use weir_resp::{Args, Decoder, Limits, Progress};

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::client::{ClientNo, Multi};
use crate::resp::command::{Command, Keys, Run, flag};
use crate::resp::dispatch::execute_queued;
use crate::resp::pending::heap_bytes;
use crate::resp::reply::Reply;

/// Bytes of answers of one transaction, as they are before their entries are fetched; what would come then is refused.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Messages that one transaction may cause, each counted for everyone who gets it, and bytes of them; as above.
const MESSAGES_MAX: usize = 262_144;
const MESSAGE_BYTES_MAX: usize = 16 << 20;

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
            let watched = &mut call.door.client(call.who).watched;
            if !watched.add(key.ns, key.name, || call.turn.watch(key)) {
                return Err(Stop::refused("ERR too many watched keys of one client"));
            }
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
    let watched = call.client().watched.take();
    watched.for_each(|watch| call.turn.unwatch(watch));
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
    let mut is_spoilt = false;
    for watch in call.client().watched.take() {
        is_spoilt |= call.turn.is_dirty(watch);
        call.turn.unwatch(watch);
    }
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
    let mut made = Made { answers: 0, messages: call.door.messages.len(), message_bytes: 0 };
    while let Progress::Complete { consumed } = decoder.decode(rest, &mut args, &Limits::DEFAULT) {
        let reply = match made.is_too_much() {
            true => Reply::error("ERR the transaction answers too much for one; send smaller ones"),
            false => execute_queued(call, args.of(rest)),
        };
        made.add(&reply, &call.door.messages);
        replies.push((call.client().proto, reply));
        rest = &rest[consumed..];
    }
    // The array is rendered in the protocol of its end; a HELLO may have come in between.
    let proto = call.client().proto;
    let in_order = replies.into_iter();
    in_order.map(|(own, reply)| if own == proto { reply } else { Reply::In(own, Box::new(reply)) }).collect()
}

/// What a transaction has made so far.
struct Made {
    /// Bytes of its answers.
    answers: usize,
    /// Messages that wait, and bytes of those that it caused.
    messages: usize,
    message_bytes: usize,
}

impl Made {
    fn add(&mut self, reply: &Reply, messages: &[(ClientNo, Reply)]) {
        self.answers += heap_bytes(reply);
        self.message_bytes +=
            messages[self.messages..].iter().map(|(_, reply)| heap_bytes(reply)).sum::<usize>();
        self.messages = messages.len();
    }

    fn is_too_much(&self) -> bool {
        self.answers > ANSWER_BYTES_MAX
            || self.messages > MESSAGES_MAX
            || self.message_bytes > MESSAGE_BYTES_MAX
    }
}
