//! XGROUP: making, moving and removing groups and their consumers.

use weir_core::EntryId;

use super::group::Group;
use super::parse::{self, Outcome, Refusal, err, integer, is, no_group, subcommand_syntax};
use super::stream::Stream;
use super::{Flavour, Model, Value};

struct Options {
    make_stream: bool,
    entries_read: Option<i64>,
}

pub(super) fn create(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let (flavour, key, name) = (model.flavour, &args[2], &args[3]);
    let options = parse_options(args, true)?;
    let existing = model.stream(key)?;
    if existing.is_none() && !options.make_stream {
        return Err(key_required());
    }
    if args.len() > 8 {
        return Err(subcommand_syntax("XGROUP", &args[1]));
    }
    let last_id = match args[4].as_slice() {
        b"$" => existing.map_or(EntryId::MIN, |stream| stream.last_id),
        text => parse::id(text)?,
    };
    if model.stream(key)?.is_none() {
        model.touch(key);
    }
    let stream = model.stream_or_new(key)?;
    if stream.groups.contains_key(name) {
        return Err(Refusal(b"BUSYGROUP Consumer Group name already exists".to_vec()));
    }
    let entries_read = capped(flavour, stream, options.entries_read);
    stream.groups.insert(name.clone(), Group::new(last_id, entries_read));
    Ok(Value::ok())
}

pub(super) fn setid(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let flavour = model.flavour;
    let options = parse_options(args, false)?;
    let stream = existing_group(model, args)?;
    if args.len() != 5 && args.len() != 7 {
        return Err(subcommand_syntax("XGROUP", &args[1]));
    }
    let last_id = match args[4].as_slice() {
        b"$" => stream.last_id,
        text => parse::id_or_edge(text, 0)?,
    };
    let entries_read = capped(flavour, stream, options.entries_read);
    let group = stream.group(&args[3]);
    group.last_id = last_id;
    group.entries_read = entries_read;
    Ok(Value::ok())
}

pub(super) fn destroy(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let stream = model.stream(&args[2])?.ok_or_else(key_required)?;
    Ok(Value::Int(i64::from(stream.groups.remove(&args[3]).is_some())))
}

pub(super) fn createconsumer(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let now = model.now();
    let group = existing_group(model, args)?.group(&args[3]);
    if group.consumers.contains_key(&args[4]) {
        return Ok(Value::Int(0));
    }
    group.see(&args[4], now);
    Ok(Value::Int(1))
}

pub(super) fn delconsumer(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let group = existing_group(model, args)?.group(&args[3]);
    let before = group.pending.len();
    group.pending.retain(|_, row| !row.is_held_by(&args[4]));
    group.consumers.remove(&args[4]);
    Ok(Value::Int((before - group.pending.len()) as i64))
}

fn existing_group<'a>(model: &'a mut Model, args: &[Vec<u8>]) -> Result<&'a mut Stream, Refusal> {
    let stream = model.stream(&args[2])?.ok_or_else(key_required)?;
    if stream.groups.contains_key(&args[3]) { Ok(stream) } else { Err(no_group(&args[2], &args[3])) }
}

fn parse_options(args: &[Vec<u8>], create: bool) -> Result<Options, Refusal> {
    let mut options = Options { make_stream: false, entries_read: None };
    let mut words = args[5..].iter();
    while let Some(word) = words.next() {
        if create && is(word, "MKSTREAM") {
            options.make_stream = true;
        } else if is(word, "ENTRIESREAD")
            && let Some(value) = words.next()
        {
            options.entries_read = match integer(value)? {
                ..-1 => return Err(err("value for ENTRIESREAD must be positive or -1")),
                -1 => None,
                read => Some(read),
            };
        } else {
            return Err(subcommand_syntax("XGROUP", &args[1]));
        }
    }
    Ok(options)
}

fn capped(flavour: Flavour, stream: &Stream, entries_read: Option<i64>) -> Option<i64> {
    match flavour {
        Flavour::Redis70 => entries_read,
        Flavour::Latest => entries_read.map(|read| read.min(stream.entries_added as i64)),
    }
}

fn key_required() -> Refusal {
    err(
        "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    )
}

pub(super) fn help(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    Ok(help_reply(
        model.flavour,
        &args[0],
        &[
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
        ],
    ))
}

pub(super) fn help_reply(flavour: Flavour, container: &[u8], lines: &[&str]) -> Value {
    let container = String::from_utf8_lossy(container).to_uppercase();
    let title = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let own = match flavour {
        Flavour::Redis70 => "    Prints this help.",
        Flavour::Latest => "    Print this help.",
    };
    let all = [title.as_str()].into_iter().chain(lines.iter().copied()).chain(["HELP", own]);
    Value::Array(all.map(|line| Value::Simple(line.as_bytes().to_vec())).collect())
}
