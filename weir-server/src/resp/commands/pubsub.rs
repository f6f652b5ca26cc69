//! SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE, PUNSUBSCRIBE, PUBLISH, PUBSUB: messages that are kept by nobody.

use weir_resp::Writer;

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, Run, flag};
use crate::resp::glob;
use crate::resp::pubsub::{self, Kind, NAME_MAX, SUBSCRIPTIONS_MAX};
use crate::resp::reply::Reply;

const FLAGS: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;
const ROW: Command = Command { flags: FLAGS, group: "pubsub", since: "2.0.0", ..Command::BASE };
/// A row of a command about the client's own subscriptions.
const OWN: Command = Command { flags: FLAGS | flag::NOSCRIPT | flag::SUBSCRIBED, ..ROW };

pub(super) static SUBSCRIBE: Command = Command {
    name: "subscribe",
    arity: -2,
    summary: "receives the messages of channels from now on",
    syntax: "channel [channel ...]",
    run: Run::Call(|call| subscribe(call, Kind::Channel)),
    ..OWN
};

pub(super) static PSUBSCRIBE: Command = Command {
    name: "psubscribe",
    arity: -2,
    summary: "receives the messages of all channels that match patterns from now on",
    syntax: "pattern [pattern ...]",
    run: Run::Call(|call| subscribe(call, Kind::Pattern)),
    ..OWN
};

pub(super) static UNSUBSCRIBE: Command = Command {
    name: "unsubscribe",
    arity: -1,
    summary: "receives messages of channels no more; without a name of any",
    syntax: "[channel [channel ...]]",
    run: Run::Call(|call| unsubscribe(call, Kind::Channel)),
    ..OWN
};

pub(super) static PUNSUBSCRIBE: Command = Command {
    name: "punsubscribe",
    arity: -1,
    summary: "receives messages for patterns no more; without a name for any",
    syntax: "[pattern [pattern ...]]",
    run: Run::Call(|call| unsubscribe(call, Kind::Pattern)),
    ..OWN
};

fn subscribe(call: &mut Call<'_, '_>, kind: Kind) -> Answer {
    let who = call.who;
    if call.door.channels.total(who) + call.len() - 1 > SUBSCRIPTIONS_MAX {
        return Err(Stop::refused("ERR too many subscriptions of one client"));
    }
    if (1..call.len()).any(|at| call.arg(at).len() > NAME_MAX) {
        return Err(Stop::refused("ERR the name of a channel to subscribe to is limited to 64 KiB"));
    }
    let mut confirmed = Vec::new();
    for at in 1..call.len() {
        let name = call.arg(at);
        call.door.channels.subscribe(kind, name, who);
        confirm(call, &mut confirmed, Some(name));
    }
    finish(call, confirmed)
}

fn unsubscribe(call: &mut Call<'_, '_>, kind: Kind) -> Answer {
    let who = call.who;
    let mut confirmed = Vec::new();
    let names = match call.len() {
        1 => call.door.channels.of(kind, who),
        _ => (1..call.len()).map(|at| call.arg(at).into()).collect(),
    };
    if names.is_empty() {
        confirm(call, &mut confirmed, None);
    }
    for name in names {
        call.door.channels.unsubscribe(kind, &name, who);
        confirm(call, &mut confirmed, Some(&name));
    }
    finish(call, confirmed)
}

/// Appends the message that tells of one change.
fn confirm(call: &mut Call<'_, '_>, confirmed: &mut Vec<u8>, name: Option<&[u8]>) {
    let total = call.door.channels.total(call.who);
    let mut writer = Writer::new(confirmed, call.client().proto);
    writer.push(3);
    writer.bulk(call.command.name);
    match name {
        Some(name) => writer.bulk(name),
        None => writer.null(),
    }
    writer.int(i64::try_from(total).expect("subscriptions are limited"));
}

/// Confirmations are messages: CLIENT REPLY does not hold them back.
fn finish(call: &mut Call<'_, '_>, confirmed: Vec<u8>) -> Answer {
    let total = call.door.channels.total(call.who);
    let bytes = call.door.channels.heap_bytes(call.who);
    let client = call.client();
    (client.subscriptions, client.subscription_bytes) = (total, bytes);
    let reply = Reply::Raw(confirmed.into());
    if call.in_exec {
        return Ok(reply);
    }
    call.door.confirm(call.who, reply);
    Ok(Reply::Nothing)
}

pub(super) static PUBLISH: Command = Command {
    name: "publish",
    arity: 3,
    flags: FLAGS | flag::FAST,
    summary: "sends a message to the subscribers of a channel",
    syntax: "channel message",
    run: Run::Call(|call| Ok(Reply::count(pubsub::publish(call.door, call.arg(1), call.arg(2))))),
    ..ROW
};

pub(super) static PUBSUB: Command = Command {
    name: "pubsub",
    arity: -2,
    flags: 0,
    since: "2.8.0",
    summary: "a container of commands about subscriptions",
    run: Run::Container(&[&CHANNELS, &HELP, &NUMPAT, &NUMSUB]),
    ..ROW
};

static CHANNELS: Command = Command {
    name: "pubsub|channels",
    arity: -2,
    since: "2.8.0",
    summary: "returns the channels that have subscribers",
    syntax: "[pattern]",
    run: Run::Call(|call| {
        if call.len() > 3 {
            return Err(bad_subcommand(call));
        }
        let pattern = call.args.get(2).unwrap_or(b"*");
        let found = call.door.channels.active().filter(|name| glob::matches(pattern, name));
        Ok(Reply::Array(found.map(Reply::bulk).collect()))
    }),
    ..ROW
};

static NUMSUB: Command = Command {
    name: "pubsub|numsub",
    arity: -2,
    since: "2.8.0",
    summary: "returns how many subscribers channels have, patterns apart",
    syntax: "[channel [channel ...]]",
    run: Run::Call(|call| {
        let names = (2..call.len()).map(|at| call.arg(at));
        let channels = &call.door.channels;
        let counts =
            names.flat_map(|name| [Reply::bulk(name), Reply::count(channels.subscribers(name) as u64)]);
        Ok(Reply::Array(counts.collect()))
    }),
    ..ROW
};

static NUMPAT: Command = Command {
    name: "pubsub|numpat",
    arity: 2,
    since: "2.8.0",
    summary: "returns how many patterns have subscribers",
    run: Run::Call(|call| Ok(Reply::count(call.door.channels.patterns() as u64))),
    ..ROW
};

fn bad_subcommand(call: &Call<'_, '_>) -> Stop {
    crate::resp::errors::bad_subcommand("pubsub", call.arg(1)).into()
}

static HELP: Command = Command {
    name: "pubsub|help",
    arity: 2,
    since: "6.2.0",
    summary: "returns texts about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};
