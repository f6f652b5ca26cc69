//! PING, ECHO, HELLO, AUTH, SELECT, RESET, QUIT: about the connection itself.

use weir_resp::Proto;

use crate::resp::acl::DEFAULT;
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::client::{Client, Closing};
use crate::resp::command::{Command, Run, flag};
use crate::resp::door::Door;
use crate::resp::number::parse_i64;
use crate::resp::reply::Reply;
use crate::resp::version::REDIS_VERSION;

/// Flags of most commands about the connection.
pub(super) const FLAGS: u32 = flag::FAST | flag::CONNECTION | flag::LOADING | flag::STALE;

pub(super) static PING: Command = Command {
    name: "ping",
    arity: -1,
    flags: FLAGS | flag::SUBSCRIBED,
    group: "connection",
    summary: "returns PONG, or its argument",
    syntax: "[message]",
    run: Run::Call(ping),
    ..Command::BASE
};

fn ping(call: &mut Call<'_, '_>) -> Answer {
    let is_listening = call.client().subscriptions > 0 && call.client().proto == Proto::Resp2;
    match call.len() {
        1 | 2 if is_listening => Ok(Reply::Array(vec![Reply::Text("pong"), Reply::bulk(call.arg(1))])),
        1 => Ok(Reply::Simple("PONG")),
        2 => Ok(Reply::bulk(call.arg(1))),
        _ => Err(call.wrong_arity()),
    }
}

pub(super) static ECHO: Command = Command {
    name: "echo",
    arity: 2,
    flags: FLAGS,
    group: "connection",
    summary: "returns its argument",
    syntax: "message",
    run: Run::Call(|call| Ok(Reply::bulk(call.arg(1)))),
    ..Command::BASE
};

pub(super) static QUIT: Command = Command {
    name: "quit",
    arity: -1,
    flags: FLAGS | flag::NO_AUTH | flag::AT_ONCE | flag::SUBSCRIBED | flag::NOSCRIPT,
    group: "connection",
    summary: "closes the connection",
    run: Run::Call(|call| {
        call.door.close(call.who, Closing::AfterReplies);
        Ok(Reply::Ok)
    }),
    ..Command::BASE
};

pub(super) static SELECT: Command = Command {
    name: "select",
    arity: 2,
    flags: FLAGS,
    group: "connection",
    summary: "changes the database of the connection",
    syntax: "index",
    run: Run::Call(select),
    ..Command::BASE
};

fn select(call: &mut Call<'_, '_>) -> Answer {
    let number = call.int(1)?;
    let ns = Door::database(number).ok_or(Stop::refused("ERR DB index is out of range"))?;
    call.client().ns = ns;
    Ok(Reply::Ok)
}

pub(super) static RESET: Command = Command {
    name: "reset",
    arity: 1,
    flags: FLAGS | flag::NO_AUTH | flag::AT_ONCE | flag::SUBSCRIBED | flag::NOSCRIPT,
    group: "connection",
    since: "6.2.0",
    summary: "makes the connection as it was when it was new",
    run: Run::Call(reset),
    ..Command::BASE
};

fn reset(call: &mut Call<'_, '_>) -> Answer {
    call.door.release(call.who, call.turn);
    let user = call.door.acl.default_user().clone();
    let client = call.client();
    let fresh = Client::new(client.id, client.peer, user, client.connected_at);
    let old = std::mem::replace(client, fresh);
    // What it was answered before is still on its way to it.
    (client.unrendered, client.owed, client.buffer_bytes) = (old.unrendered, old.owed, old.buffer_bytes);
    (client.lib_name, client.lib_version) = (old.lib_name, old.lib_version);
    client.asked_at = old.asked_at;
    Ok(Reply::Simple("RESET"))
}

pub(super) static AUTH: Command = Command {
    name: "auth",
    arity: -2,
    flags: FLAGS | flag::NO_AUTH | flag::NOSCRIPT | flag::SKIP_SLOWLOG,
    group: "connection",
    summary: "authenticates the connection",
    syntax: "[username] password",
    run: Run::Call(auth),
    ..Command::BASE
};

fn auth(call: &mut Call<'_, '_>) -> Answer {
    match call.len() {
        2 if call.door.acl.default_user().no_password => Err(Stop::refused(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        )),
        2 => authenticate(call, DEFAULT, call.arg(1)),
        3 => authenticate(call, call.arg(1), call.arg(2)),
        _ => Err(crate::resp::errors::SYNTAX.into()),
    }?;
    Ok(Reply::Ok)
}

/// Lets the client in, or says that name or password is wrong.
fn authenticate(call: &mut Call<'_, '_>, name: &[u8], password: &[u8]) -> Result<(), Stop> {
    let Some(user) = call.door.acl.authenticate(name, password).cloned() else {
        call.door.note_refusal(call.who, "auth", call.arg(0), name);
        return Err(Stop::refused("WRONGPASS invalid username-password pair or user is disabled."));
    };
    let client = call.client();
    client.user = user;
    client.is_authenticated = true;
    Ok(())
}

pub(super) static HELLO: Command = Command {
    name: "hello",
    arity: -1,
    flags: FLAGS | flag::NO_AUTH | flag::NOSCRIPT | flag::SKIP_SLOWLOG,
    group: "connection",
    since: "6.0.0",
    summary: "agrees on the protocol and introduces both sides",
    syntax: "[protover [AUTH username password] [SETNAME clientname]]",
    run: Run::Call(hello),
    ..Command::BASE
};

fn hello(call: &mut Call<'_, '_>) -> Answer {
    let proto = match call.args.get(1) {
        None => None,
        Some(version) => Some(protocol(version)?),
    };
    let (mut credentials, mut name) = (None, None);
    let mut at = 2;
    while at < call.len() {
        let left = call.len() - 1 - at;
        if call.is(at, "AUTH") && left >= 2 {
            credentials = Some((call.arg(at + 1), call.arg(at + 2)));
            at += 3;
        } else if call.is(at, "SETNAME") && left >= 1 {
            name = Some(super::client::checked_name(call.arg(at + 1))?);
            at += 2;
        } else {
            return Err([b"ERR Syntax error in HELLO option '", call.arg(at), b"'"].concat().into());
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(call, user, password)?;
    }
    let client = call.client();
    if !client.is_authenticated {
        return Err(Stop::refused(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        ));
    }
    if let Some(name) = name {
        client.name = name.into();
    }
    if let Some(proto) = proto {
        client.proto = proto;
    }
    Ok(introduction(client))
}

fn protocol(version: &[u8]) -> Result<Proto, Stop> {
    match parse_i64(version) {
        Some(2) => Ok(Proto::Resp2),
        Some(3) => Ok(Proto::Resp3),
        Some(_) => Err(Stop::refused("NOPROTO unsupported protocol version")),
        None => Err(Stop::refused("ERR Protocol version is not an integer or out of range")),
    }
}

fn introduction(client: &Client) -> Reply {
    let proto = if client.proto == Proto::Resp3 { 3 } else { 2 };
    Reply::Map(vec![
        Reply::Text("server"),
        Reply::Text("redis"),
        Reply::Text("version"),
        Reply::Text(REDIS_VERSION),
        Reply::Text("proto"),
        Reply::Int(proto),
        Reply::Text("id"),
        Reply::count(client.id),
        Reply::Text("mode"),
        Reply::Text("standalone"),
        Reply::Text("role"),
        Reply::Text("master"),
        Reply::Text("modules"),
        Reply::Array(Vec::new()),
    ])
}
