//! SLOWLOG: commands that took long.

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, Run, flag};
use crate::resp::number::parse_i64;
use crate::resp::reply::Reply;
use crate::resp::slowlog::SlowCommand;

const ROW: Command = Command {
    arity: 2,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: "server",
    since: "2.2.12",
    ..Command::BASE
};

pub(super) static COMMAND: Command = Command {
    name: "slowlog",
    arity: -2,
    flags: 0,
    summary: "a container of commands about slow commands",
    run: Run::Container(&[&GET, &HELP, &LEN, &RESET]),
    ..ROW
};

static GET: Command = Command {
    name: "slowlog|get",
    arity: -2,
    summary: "returns slow commands, newest first; 10 unless told otherwise, all for -1",
    syntax: "[count]",
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    run: Run::Call(get),
    ..ROW
};

fn get(call: &mut Call<'_, '_>) -> Answer {
    let count = match call.len() {
        2 => 10,
        3 => parse_i64(call.arg(2))
            .filter(|count| *count >= -1)
            .ok_or(Stop::refused("ERR count should be greater than or equal to -1"))?,
        _ => return Err(call.wrong_arity()),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Reply::Array(call.door.slowlog.rows().take(count).map(row).collect()))
}

fn row(slow: &SlowCommand) -> Reply {
    Reply::Array(vec![
        Reply::count(slow.id),
        Reply::count(slow.at),
        Reply::count(u64::try_from(slow.took.as_micros()).unwrap_or(u64::MAX)),
        Reply::Array(slow.args.iter().map(Reply::bulk).collect()),
        Reply::bulk(&slow.address),
        Reply::bulk(&slow.client_name),
    ])
}

static LEN: Command = Command {
    name: "slowlog|len",
    summary: "returns how many slow commands are kept",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    run: Run::Call(|call| Ok(Reply::count(call.door.slowlog.rows().len() as u64))),
    ..ROW
};

static RESET: Command = Command {
    name: "slowlog|reset",
    summary: "forgets all slow commands",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Call(|call| {
        call.door.slowlog.clear();
        Ok(Reply::Ok)
    }),
    ..ROW
};

static HELP: Command = Command {
    name: "slowlog|help",
    flags: flag::LOADING | flag::STALE,
    since: "6.2.0",
    summary: "returns a text about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};
