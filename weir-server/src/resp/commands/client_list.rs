//! CLIENT LIST, INFO and KILL: who is connected, and ending that.

use std::fmt::Write as _;

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::client::{Client, ClientNo, Closing, Peer};
use crate::resp::command::{Command, Run, flag};
use crate::resp::door::Door;
use crate::resp::errors;
use crate::resp::number::parse_i64;
use crate::resp::pubsub::Kind;
use crate::resp::reply::Reply;
use weir_resp::Proto;

pub(super) static INFO: Command = Command {
    name: "client|info",
    arity: 2,
    since: "6.2.0",
    summary: "returns what is known of the connection",
    run: Run::Call(|call| Ok(Reply::Verbatim(line(call.door, call.who).into()))),
    ..super::client::ROW
};

pub(super) static LIST: Command = Command {
    name: "client|list",
    arity: -2,
    flags: super::client::ROW.flags | flag::ADMIN | flag::DANGEROUS,
    summary: "returns what is known of all connections, or of some",
    syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
    run: Run::Call(list),
    ..super::client::ROW
};

fn list(call: &mut Call<'_, '_>) -> Answer {
    let filter = match call.len() {
        2 => Filter::default(),
        4 if call.is(2, "TYPE") => Filter { kind: Some(kind(call.arg(3))?), ..Filter::default() },
        4.. if call.is(2, "ID") => Filter { ids: ids(call)?, ..Filter::default() },
        _ => return Err(errors::SYNTAX.into()),
    };
    let lines = filter.select(call.door).into_iter().map(|who| line(call.door, who));
    Ok(Reply::Verbatim(lines.collect::<String>().into()))
}

fn ids(call: &Call<'_, '_>) -> Result<Vec<i64>, Stop> {
    let ids = (3..call.len()).map(|at| parse_i64(call.arg(at)).ok_or("ERR Invalid client ID"));
    ids.collect::<Result<_, _>>().map_err(Stop::from)
}

pub(super) static KILL: Command = Command {
    name: "client|kill",
    arity: -3,
    flags: super::client::ROW.flags | flag::ADMIN | flag::DANGEROUS,
    summary: "disconnects clients",
    syntax: "<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] [ADDR ip:port] \
             [LADDR ip:port] [SKIPME <YES | NO>] [MAXAGE seconds]>",
    run: Run::Call(kill),
    ..super::client::ROW
};

fn kill(call: &mut Call<'_, '_>) -> Answer {
    if call.len() == 3 {
        let filter = Filter { address: Some(call.arg(2)), ..Filter::default() };
        let found = filter.select(call.door);
        found.iter().for_each(|who| call.disconnect(*who));
        return if found.is_empty() { Err("ERR No such client".into()) } else { Ok(Reply::Ok) };
    }
    let mut filter = Filter { not: Some(call.who), ..Filter::default() };
    let mut at = 2;
    while at < call.len() {
        if at + 1 == call.len() {
            return Err(errors::SYNTAX.into());
        }
        narrow(call, &mut filter, at)?;
        at += 2;
    }
    let found = filter.select(call.door);
    found.iter().for_each(|who| call.disconnect(*who));
    Ok(Reply::count(found.len() as u64))
}

/// Reads one condition of CLIENT KILL.
fn narrow<'c>(call: &Call<'c, '_>, filter: &mut Filter<'c>, at: usize) -> Result<(), Stop> {
    let value = call.arg(at + 1);
    if call.is(at, "ID") {
        let id = call.int_or(at + 1, "ERR client-id should be greater than 0")?;
        if id < 1 {
            return Err("ERR client-id should be greater than 0".into());
        }
        filter.ids = vec![id];
    } else if call.is(at, "TYPE") {
        filter.kind = Some(kind(value)?);
    } else if call.is(at, "ADDR") {
        filter.address = Some(value);
    } else if call.is(at, "LADDR") {
        filter.local = Some(value);
    } else if call.is(at, "USER") {
        if !call.door.knows_user(value) {
            return Err([b"ERR No such user '", value, b"'"].concat().into());
        }
        filter.user = Some(value);
    } else if call.is(at, "MAXAGE") {
        let age = call.int_or(at + 1, "ERR maxage is not an integer or out of range")?;
        let age = u64::try_from(age).ok().filter(|age| *age > 0);
        filter.age_min = Some(age.ok_or(Stop::refused("ERR maxage should be greater than 0"))?);
    } else if call.is(at, "SKIPME") && call.is(at + 1, "YES") {
        filter.not = Some(call.who);
    } else if call.is(at, "SKIPME") && call.is(at + 1, "NO") {
        filter.not = None;
    } else {
        return Err(errors::SYNTAX.into());
    }
    Ok(())
}

/// Which clients are meant.
#[derive(Default)]
struct Filter<'c> {
    ids: Vec<i64>,
    kind: Option<ClientKind>,
    address: Option<&'c [u8]>,
    local: Option<&'c [u8]>,
    user: Option<&'c [u8]>,
    not: Option<ClientNo>,
    /// Connected for at least so many seconds.
    age_min: Option<u64>,
}

/// What Redis takes clients apart by; replicas and masters there are none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientKind {
    Normal,
    PubSub,
    Replication,
}

fn kind(name: &[u8]) -> Result<ClientKind, Stop> {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    match () {
        () if is("normal") => Ok(ClientKind::Normal),
        () if is("pubsub") => Ok(ClientKind::PubSub),
        () if is("master") || is("replica") || is("slave") => Ok(ClientKind::Replication),
        () => Err([b"ERR Unknown client type '", name, b"'"].concat().into()),
    }
}

impl Filter<'_> {
    /// The clients that are meant, in the order in which they connected.
    fn select(&self, door: &Door) -> Vec<ClientNo> {
        let now = door.clock.elapsed();
        let mut found: Vec<(u64, ClientNo)> = door
            .clients
            .iter()
            .filter(|(no, client)| client.closing == Closing::No && self.means(*no, client, now))
            .map(|(no, client)| (client.id, no))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, no)| no).collect()
    }

    fn means(&self, no: ClientNo, client: &Client, now: std::time::Duration) -> bool {
        let kind = if client.subscriptions > 0 { ClientKind::PubSub } else { ClientKind::Normal };
        let (peer, local) = addresses(client);
        let age = now.saturating_sub(client.connected_at).as_secs();
        self.not != Some(no)
            && (self.ids.is_empty() || self.ids.iter().any(|id| u64::try_from(*id) == Ok(client.id)))
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.address.is_none_or(|wanted| wanted == peer.as_bytes())
            && self.local.is_none_or(|wanted| wanted == local.as_bytes())
            && self.user.is_none_or(|wanted| wanted == client.user_name())
            && self.age_min.is_none_or(|least| age >= least)
    }
}

/// The addresses of the other end and of this one.
fn addresses(client: &Client) -> (String, String) {
    match client.peer {
        Peer::Tcp { peer, local } => (peer.to_string(), local.to_string()),
        Peer::Unix => ("unix:0".to_owned(), "unix:0".to_owned()),
    }
}

/// The line of a client in CLIENT LIST, with its end.
pub(crate) fn line(door: &Door, who: ClientNo) -> String {
    let Some(client) = door.clients.get(who) else { return String::new() };
    let now = door.clock.elapsed();
    let seconds = |since: std::time::Duration| now.saturating_sub(since).as_secs();
    let (addr, laddr) = addresses(client);
    let mut line = String::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let multi = client.multi.as_ref().map_or(-1, |multi| i64::try_from(multi.count).unwrap_or(i64::MAX));
    writeln!(
        line,
        "id={} addr={addr} laddr={laddr} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub=0 \
         multi={multi} watch={} multi-mem={} tot-mem={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        who.0,
        text(&client.name),
        seconds(client.connected_at),
        seconds(client.asked_at),
        flags(door, who, client),
        client.ns.0,
        door.channels.count(Kind::Channel, who),
        door.channels.count(Kind::Pattern, who),
        client.watched.len(),
        client.multi.as_ref().map_or(0, |multi| multi.queued.capacity()),
        client.buffer_bytes + client.own_bytes() + size_of::<Client>(),
        client.last_command,
        text(client.user_name()),
        if client.proto == Proto::Resp3 { 3 } else { 2 },
        text(&client.lib_name),
        text(&client.lib_version),
    )
    .expect("a string takes everything");
    line
}

fn flags(door: &Door, who: ClientNo, client: &Client) -> String {
    let all = [
        (door.monitors.contains(&who), 'O'),
        (client.subscriptions > 0, 'P'),
        (client.multi.is_some(), 'x'),
        (client.is_waiting() || client.is_flushing || client.is_postponed, 'b'),
        (client.closing == Closing::AfterReplies, 'c'),
        (client.closing == Closing::Now, 'A'),
        (matches!(client.peer, Peer::Unix), 'U'),
        (client.is_kept, 'e'),
        (client.leaves_no_trace, 'T'),
    ];
    let flags: String = all.iter().filter(|(holds, _)| *holds).map(|(_, letter)| *letter).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}
