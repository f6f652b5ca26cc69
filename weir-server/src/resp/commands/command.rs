//! COMMAND: the command table, told to clients.

use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, Keys, Run, flag};
use crate::resp::reply::Reply;

const FLAGS: u32 = flag::CONNECTION | flag::LOADING | flag::STALE;
const ROW: Command = Command { flags: FLAGS, group: "server", since: "2.8.13", ..Command::BASE };

pub(super) static COMMAND: Command = Command {
    name: "command",
    arity: -1,
    summary: "returns what is known of all commands",
    run: Run::Both(all, &[&COUNT, &DOCS]),
    ..ROW
};

fn all(_: &mut Call<'_, '_>) -> Answer {
    Ok(Reply::Array(super::all().map(description).collect()))
}

static COUNT: Command = Command {
    name: "command|count",
    arity: 2,
    summary: "returns how many commands there are",
    run: Run::Call(|call| Ok(Reply::count(call.door.table.len() as u64))),
    ..ROW
};

static DOCS: Command = Command {
    name: "command|docs",
    arity: -2,
    since: "7.0.0",
    summary: "returns documentation of commands",
    syntax: "[command-name ...]",
    run: Run::Call(|call| {
        let names = (2..call.len()).map(|at| call.arg(at));
        let rows: Vec<&Command> = match call.len() {
            2 => super::all().collect(),
            _ => names.filter_map(|name| call.door.table.find(name)).collect(),
        };
        Ok(Reply::Map(rows.into_iter().flat_map(|row| [Reply::Text(row.name), documentation(row)]).collect()))
    }),
    ..ROW
};

fn documentation(row: &Command) -> Reply {
    Reply::Map(vec![
        Reply::Text("summary"),
        Reply::Text(row.summary),
        Reply::Text("since"),
        Reply::Text(row.since),
        Reply::Text("group"),
        Reply::Text(row.group),
    ])
}

fn description(row: &Command) -> Reply {
    let (first, last, step) = match row.keys {
        Keys::Range { first, last, step } => (i64::from(first), i64::from(last), i64::from(step)),
        Keys::None | Keys::Streams { .. } => (0, 0, 0),
    };
    Reply::Array(vec![
        Reply::Text(row.name),
        Reply::Int(i64::from(row.arity)),
        Reply::Set(flags(row)),
        Reply::Int(first),
        Reply::Int(last),
        Reply::Int(step),
    ])
}

fn flags(row: &Command) -> Vec<Reply> {
    let names = [
        (flag::WRITE, "write"),
        (flag::READONLY, "readonly"),
        (flag::DENYOOM, "denyoom"),
        (flag::ADMIN, "admin"),
        (flag::PUBSUB, "pubsub"),
        (flag::NOSCRIPT, "noscript"),
        (flag::BLOCKING, "blocking"),
        (flag::LOADING, "loading"),
        (flag::STALE, "stale"),
        (flag::FAST, "fast"),
        (flag::NO_AUTH, "no_auth"),
        (flag::MOVABLE_KEYS, "movablekeys"),
    ];
    names.iter().filter(|(bit, _)| row.has(*bit)).map(|(_, name)| Reply::Simple(name)).collect()
}
