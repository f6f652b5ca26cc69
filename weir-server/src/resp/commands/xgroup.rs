//! XGROUP: makes, moves and ends consumer groups and their consumers.

use weir_core::EntryId;
use weir_engine::GroupStart;

use crate::resp::call::{Answer, Call, OrRefuse, Stop};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

const ROW: Command = Command {
    flags: flag::STREAM | flag::WRITE,
    keys: Keys::at(2),
    key_use: KeyUse::Update,
    since: "5.0.0",
    ..Command::STREAM
};

pub(super) static COMMAND: Command = Command {
    name: "xgroup",
    arity: -2,
    flags: 0,
    keys: Keys::None,
    summary: "a container of commands about consumer groups",
    run: Run::Container(&[&CREATE, &CREATECONSUMER, &DELCONSUMER, &DESTROY, &HELP, &SETID]),
    ..ROW
};

static CREATE: Command = Command {
    name: "xgroup|create",
    arity: -5,
    flags: flag::STREAM | flag::WRITE | flag::DENYOOM,
    summary: "makes a consumer group",
    syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
    run: Run::Call(create),
    ..ROW
};

static SETID: Command = Command {
    name: "xgroup|setid",
    arity: -5,
    summary: "sets the last-delivered ID of a group",
    syntax: "key group <id | $> [ENTRIESREAD entries-read]",
    run: Run::Call(set_id),
    ..ROW
};

static DESTROY: Command = Command {
    name: "xgroup|destroy",
    arity: 4,
    key_use: KeyUse::Delete,
    summary: "ends a group with everything it has pending",
    syntax: "key group",
    run: Run::Call(destroy),
    ..ROW
};

static CREATECONSUMER: Command = Command {
    name: "xgroup|createconsumer",
    arity: 5,
    flags: flag::STREAM | flag::WRITE | flag::DENYOOM,
    since: "6.2.0",
    summary: "makes a consumer in a group",
    syntax: "key group consumer",
    run: Run::Call(create_consumer),
    ..ROW
};

static DELCONSUMER: Command = Command {
    name: "xgroup|delconsumer",
    arity: 5,
    key_use: KeyUse::Delete,
    summary: "removes a consumer with everything it has pending",
    syntax: "key group consumer",
    run: Run::Call(delete_consumer),
    ..ROW
};

static HELP: Command = Command {
    name: "xgroup|help",
    arity: 2,
    flags: flag::STREAM | flag::LOADING | flag::STALE,
    keys: Keys::None,
    summary: "returns a text about the subcommands",
    run: Run::Call(|_| Ok(Reply::lines(HELP_LINES))),
    ..ROW
};

/// MKSTREAM and ENTRIESREAD.
#[derive(Debug, Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

fn options(call: &Call<'_, '_>, may_make: bool, words_max: usize) -> Result<Options, Stop> {
    let mut options = Options::default();
    let mut at = 5;
    while at < call.len() {
        if may_make && call.is(at, "MKSTREAM") {
            options.make_stream = true;
            at += 1;
        } else if call.is(at, "ENTRIESREAD") && at + 1 < call.len() {
            let read = call.int(at + 1)?;
            if read < -1 {
                return Err("ERR value for ENTRIESREAD must be positive or -1".into());
            }
            options.entries_read = u64::try_from(read).ok();
            at += 2;
        } else {
            return Err(bad_subcommand(call));
        }
    }
    Ok(options)
        .and_then(|options| if call.len() > words_max { Err(bad_subcommand(call)) } else { Ok(options) })
}

fn bad_subcommand(call: &Call<'_, '_>) -> Stop {
    errors::bad_subcommand("xgroup", call.arg(1)).into()
}

fn create(call: &mut Call<'_, '_>) -> Answer {
    let options = options(call, true, 8)?;
    if !options.make_stream {
        require_stream(call)?;
    } else {
        // Another type is reported before a bad ID.
        let key = call.key(2);
        call.turn.last_id(key)?;
    }
    let start = match call.arg(4) {
        b"$" => GroupStart::End,
        _ => GroupStart::After(call.id(4)?),
    };
    let (key, group) = (call.key(2), call.arg(3));
    call.turn.group_create(key, group, start, options.entries_read, options.make_stream)?;
    Ok(Reply::Ok)
}

fn set_id(call: &mut Call<'_, '_>) -> Answer {
    let options = options(call, false, 7)?;
    require_group(call)?;
    let start = match call.arg(4) {
        b"$" => GroupStart::End,
        b"-" => GroupStart::After(EntryId::MIN),
        b"+" => GroupStart::After(EntryId::MAX),
        _ => GroupStart::After(call.id(4)?),
    };
    let (key, group) = (call.key(2), call.arg(3));
    call.turn.group_set_id(key, group, start, options.entries_read)?;
    Ok(Reply::Ok)
}

fn destroy(call: &mut Call<'_, '_>) -> Answer {
    require_stream(call)?;
    let (key, group) = (call.key(2), call.arg(3));
    Ok(Reply::flag(call.turn.group_destroy(key, group)?))
}

fn create_consumer(call: &mut Call<'_, '_>) -> Answer {
    require_group(call)?;
    let (key, group, consumer) = (call.key(2), call.arg(3), call.arg(4));
    Ok(Reply::flag(call.turn.consumer_create(key, group, consumer)?))
}

fn delete_consumer(call: &mut Call<'_, '_>) -> Answer {
    require_group(call)?;
    let (key, group, consumer) = (call.key(2), call.arg(3), call.arg(4));
    Ok(Reply::count(call.turn.consumer_delete(key, group, consumer)?))
}

fn require_stream(call: &mut Call<'_, '_>) -> Result<(), Stop> {
    let key = call.key(2);
    match call.turn.last_id(key)? {
        Some(_) => Ok(()),
        None => Err(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                     the MKSTREAM option to create an empty stream automatically."
                .into(),
        ),
    }
}

fn require_group(call: &mut Call<'_, '_>) -> Result<(), Stop> {
    require_stream(call)?;
    let (key, group) = (call.key(2), call.arg(3));
    let found = call.turn.has_group(key, group).or_refuse(|_| false, Vec::new)?;
    if found { Ok(()) } else { Err(errors::no_group_for_key(key.name, group).into()) }
}

const HELP_LINES: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
    "HELP",
    "    Print this help.",
];
