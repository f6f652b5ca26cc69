//! COMMAND: the command table, told to clients.

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::errors;
use crate::resp::glob;
use crate::resp::reply::Reply;
use crate::resp::syntax::{self, Argument};
use crate::resp::table::find_subcommand;

const ROW: Command = Command {
    flags: flag::CONNECTION | flag::LOADING | flag::STALE,
    group: "server",
    since: "2.8.13",
    ..Command::BASE
};
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

pub(super) static COMMAND: Command = Command {
    name: "command",
    arity: -1,
    summary: "returns what is known of all commands",
    tips: ANY_ORDER,
    run: Run::Both(
        |_| Ok(Reply::Array(super::all().map(description).collect())),
        &[&COUNT, &DOCS, &GETKEYS, &GETKEYSANDFLAGS, &HELP, &INFO, &LIST],
    ),
    ..ROW
};

static COUNT: Command = Command {
    name: "command|count",
    arity: 2,
    summary: "returns how many commands there are",
    run: Run::Call(|call| Ok(Reply::count(call.door.table.len() as u64))),
    ..ROW
};

static HELP: Command = Command {
    name: "command|help",
    arity: 2,
    since: "5.0.0",
    summary: "returns a text about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};

/// The row of a command, or of a subcommand as `container|name`.
fn find(call: &Call<'_, '_>, name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        None => call.door.table.find(name),
        Some(bar) => find_subcommand(call.door.table.find(&name[..bar])?, &name[bar + 1..]),
    }
}

// ---- INFO ------------------------------------------------------------------------------------------------------

static INFO: Command = Command {
    name: "command|info",
    arity: -2,
    summary: "returns what is known of some commands, or of all",
    syntax: "[command-name ...]",
    tips: ANY_ORDER,
    run: Run::Call(|call| {
        if call.len() == 2 {
            return Ok(Reply::Array(super::all().map(description).collect()));
        }
        let rows = (2..call.len()).map(|at| find(call, call.arg(at)));
        Ok(Reply::Array(rows.map(|row| row.map_or(Reply::Null, description)).collect()))
    }),
    ..ROW
};

fn description(row: &'static Command) -> Reply {
    let (first, last, step) = row.key_range();
    let categories = row.categories().map(|name| Reply::Line(format!("@{name}").into())).collect();
    let tips = row.tips.iter().map(|tip| Reply::Text(tip)).collect();
    let specs = row.key_specs().map(|(keys, key_use)| key_spec(keys, key_use)).collect();
    let subcommands = row.subcommands().iter().map(|row| description(row)).collect();
    Reply::Array(vec![
        Reply::Text(row.name),
        Reply::Int(i64::from(row.arity)),
        Reply::Set(flag_names(row).map(Reply::Simple).collect()),
        Reply::Int(first),
        Reply::Int(last),
        Reply::Int(step),
        Reply::Set(categories),
        Reply::Set(tips),
        Reply::Set(specs),
        Reply::Set(subcommands),
    ])
}

/// The flags of a row as Redis names them, in the order in which it tells them.
fn flag_names(row: &Command) -> impl Iterator<Item = &'static str> {
    const NAMES: [(u32, &str); 17] = [
        (flag::WRITE, "write"),
        (flag::READONLY, "readonly"),
        (flag::DENYOOM, "denyoom"),
        (flag::ADMIN, "admin"),
        (flag::PUBSUB, "pubsub"),
        (flag::NOSCRIPT, "noscript"),
        (flag::BLOCKING, "blocking"),
        (flag::LOADING, "loading"),
        (flag::STALE, "stale"),
        (flag::SKIP_MONITOR, "skip_monitor"),
        (flag::SKIP_SLOWLOG, "skip_slowlog"),
        (flag::FAST, "fast"),
        (flag::NO_AUTH, "no_auth"),
        (flag::NO_ASYNC_LOADING, "no_async_loading"),
        (flag::NO_MULTI, "no_multi"),
        (flag::MOVABLE_KEYS, "movablekeys"),
        (flag::ALLOW_BUSY, "allow_busy"),
    ];
    NAMES.into_iter().filter(|(bit, _)| row.has(*bit)).map(|(_, name)| name)
}

fn key_spec(keys: Keys, key_use: KeyUse) -> Reply {
    let int = |value: i64| Reply::Int(value);
    let typed = |kind: &'static str, spec: Vec<(&'static str, Reply)>| {
        map(vec![("type", Reply::Text(kind)), ("spec", map(spec))])
    };
    let (begin, (last, step, limit)) = match keys {
        Keys::Range { first, last, step } => {
            let offset = if last < 0 { i64::from(last) } else { i64::from(last) - i64::from(first) };
            (typed("index", vec![("index", int(i64::from(first)))]), (offset, i64::from(step), 0))
        }
        Keys::Streams { from } => {
            let spec = vec![("keyword", Reply::Text("STREAMS")), ("startfrom", int(i64::from(from)))];
            (typed("keyword", spec), (-1, 1, 2))
        }
        Keys::None => return Reply::Null,
    };
    let range = vec![("lastkey", int(last)), ("keystep", int(step)), ("limit", int(limit))];
    map(vec![
        ("flags", Reply::Set(key_use.flags().iter().map(|flag| Reply::Simple(flag)).collect())),
        ("begin_search", begin),
        ("find_keys", typed("range", range)),
    ])
}

fn map(pairs: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(pairs.into_iter().flat_map(|(name, value)| [Reply::Text(name), value]).collect())
}

// ---- DOCS ------------------------------------------------------------------------------------------------------

static DOCS: Command = Command {
    name: "command|docs",
    arity: -2,
    since: "7.0.0",
    summary: "returns documentation of commands",
    syntax: "[command-name ...]",
    tips: ANY_ORDER,
    run: Run::Call(|call| {
        let rows: Vec<&Command> = match call.len() {
            2 => super::all().collect(),
            _ => (2..call.len()).filter_map(|at| find(call, call.arg(at))).collect(),
        };
        Ok(map(rows.into_iter().map(|row| (row.name, documentation(row))).collect()))
    }),
    ..ROW
};

fn documentation(row: &'static Command) -> Reply {
    let mut pairs = vec![
        ("summary", Reply::Text(row.summary)),
        ("since", Reply::Text(row.since)),
        ("group", Reply::Text(row.group)),
    ];
    let arguments = syntax::parse(row.syntax).unwrap_or_default();
    if !arguments.is_empty() {
        let specs = row.key_specs().count();
        pairs.push(("arguments", arguments_reply(arguments, &mut KeySpecs { next: 0, count: specs })));
    }
    let subcommands = row.subcommands();
    if !subcommands.is_empty() {
        let rows = subcommands.iter().map(|row| (row.name, documentation(row)));
        pairs.push(("subcommands", map(rows.collect())));
    }
    map(pairs)
}

/// Gives arguments that are keys the numbers of their key specifications.
struct KeySpecs {
    next: usize,
    count: usize,
}

impl KeySpecs {
    fn take(&mut self) -> Option<usize> {
        let index = self.next;
        self.next += 1;
        (index < self.count).then_some(index)
    }
}

fn arguments_reply(arguments: Vec<Argument>, keys: &mut KeySpecs) -> Reply {
    Reply::Array(arguments.into_iter().map(|argument| argument_reply(argument, keys)).collect())
}

fn argument_reply(argument: Argument, keys: &mut KeySpecs) -> Reply {
    let kind = argument.kind.name();
    let mut pairs = vec![("name", Reply::bulk(argument.name)), ("type", Reply::Text(kind))];
    if kind == "key"
        && let Some(index) = keys.take()
    {
        pairs.push(("key_spec_index", Reply::Int(index as i64)));
    }
    if let Some(token) = argument.token {
        pairs.push(("token", Reply::Text(token)));
    }
    let flags = [(argument.optional, "optional"), (argument.multiple, "multiple")];
    let flags: Vec<Reply> =
        flags.iter().filter(|(holds, _)| *holds).map(|(_, name)| Reply::Simple(name)).collect();
    if !flags.is_empty() {
        pairs.push(("flags", Reply::Set(flags)));
    }
    if !argument.parts.is_empty() {
        pairs.push(("arguments", arguments_reply(argument.parts, keys)));
    }
    map(pairs)
}

// ---- LIST ------------------------------------------------------------------------------------------------------

static LIST: Command = Command {
    name: "command|list",
    arity: -2,
    since: "7.0.0",
    summary: "returns the names of commands",
    syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    tips: ANY_ORDER,
    run: Run::Call(list),
    ..ROW
};

fn list(call: &mut Call<'_, '_>) -> Answer {
    let names = |rows: &mut dyn Iterator<Item = &'static Command>| {
        Ok(Reply::Array(rows.map(|row| Reply::Text(row.name)).collect()))
    };
    if call.len() == 2 {
        return names(&mut super::all());
    }
    if call.len() != 5 || !call.is(2, "FILTERBY") {
        return Err(errors::SYNTAX.into());
    }
    let wanted = call.arg(4);
    let all = super::all_with_subcommands();
    if call.is(3, "MODULE") {
        Ok(Reply::Array(Vec::new()))
    } else if call.is(3, "ACLCAT") {
        let is_in = |row: &Command| row.categories().any(|name| wanted.eq_ignore_ascii_case(name.as_bytes()));
        names(&mut all.filter(|row| row.subcommands().is_empty() && is_in(row)))
    } else if call.is(3, "PATTERN") {
        names(&mut all.filter(|row| glob::matches_any_case(wanted, row.name.as_bytes())))
    } else {
        Err(errors::SYNTAX.into())
    }
}

// ---- GETKEYS ---------------------------------------------------------------------------------------------------

static GETKEYS: Command = Command {
    name: "command|getkeys",
    arity: -4,
    summary: "returns which words of a command are keys",
    syntax: "command [arg ...]",
    run: Run::Call(|call| {
        let keys = keys_of_inner(call)?;
        Ok(Reply::Array(keys.into_iter().map(|(key, _)| Reply::bulk(key)).collect()))
    }),
    ..ROW
};

static GETKEYSANDFLAGS: Command = Command {
    name: "command|getkeysandflags",
    since: "7.0.0",
    summary: "returns which words of a command are keys, and what is done with them",
    run: Run::Call(|call| {
        let keys = keys_of_inner(call)?;
        let item = |(key, key_use): (&[u8], KeyUse)| {
            let flags = key_use.flags().iter().filter(|flag| **flag != "variable_flags");
            Reply::Array(vec![Reply::bulk(key), Reply::Set(flags.map(|flag| Reply::Simple(flag)).collect())])
        };
        Ok(Reply::Array(keys.into_iter().map(item).collect()))
    }),
    ..GETKEYS
};

/// The keys of the command that follows as words.
fn keys_of_inner<'c>(call: &Call<'c, '_>) -> Result<Vec<(&'c [u8], KeyUse)>, Stop> {
    let inner = call.args.skip(2);
    let unknown = || Stop::refused("ERR Invalid command specified");
    let mut row = call.door.table.find(call.arg(2)).ok_or_else(unknown)?;
    if !row.subcommands().is_empty() && inner.len() > 1 {
        row = find_subcommand(row, call.arg(3)).ok_or_else(unknown)?;
    }
    if row.key_specs().next().is_none() {
        return Err("ERR The command has no key arguments".into());
    }
    if !row.accepts(inner.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let keys =
        row.keys_in(inner).map_err(|_| Stop::refused("ERR Invalid arguments specified for command"))?;
    Ok(keys.into_iter().map(|(at, key_use)| (inner.get(at).unwrap_or_default(), key_use)).collect())
}
