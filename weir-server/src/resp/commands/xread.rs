//! XREAD: entries of several streams above given IDs, waiting for them if asked to.

use weir_core::EntryId;
use weir_engine::{Read, ReadFrom};

use super::reading::ReadOptions;
use crate::resp::call::{Answer, Call, Stop, Wait};
use crate::resp::command::{Command, Keys, Run, flag};
use crate::resp::dispatch::streams_reply;
use crate::resp::reply::ReadRequest;

pub(super) static COMMAND: Command = Command {
    name: "xread",
    arity: -4,
    flags: flag::STREAM | flag::READONLY | flag::BLOCKING | flag::MOVABLE_KEYS,
    keys: Keys::Streams { from: 1 },
    since: "5.0.0",
    summary: "returns entries of several streams with IDs greater than those given; waits for them if asked to",
    syntax: "[COUNT count] [MAXCOUNT count] [MAXSIZE bytes] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
    run: Run::Call(xread),
    ..Command::STREAM
};

fn xread(call: &mut Call<'_, '_>) -> Answer {
    let options = ReadOptions::parse(call, false)?;
    let mut streams = Vec::with_capacity(options.streams);
    for nth in 0..options.streams {
        let key = call.key(options.name_at(nth));
        let last_id = call.turn.last_id(key)?;
        let from = match call.arg(options.id_at(nth)) {
            b"$" => ReadFrom::After(last_id.unwrap_or(EntryId::MIN)),
            b"+" => ReadFrom::Newest,
            b">" => return Err(NOT_HERE.into()),
            _ => ReadFrom::After(call.id(options.id_at(nth))?),
        };
        streams.push((Box::from(key.name), from));
    }
    let ns = call.client().ns;
    let read = Read { ns, streams, limits: options.limits };
    let outcome = call.turn.read(&read)?;
    match options.block.filter(|_| outcome.streams.is_empty() && !call.in_exec) {
        None => Ok(streams_reply(ReadRequest::Plain(read), outcome)),
        Some(timeout) => {
            let request = ReadRequest::Plain(waiting(read));
            Err(Stop::Wait(Box::new(Wait { request, timeout, retry_at: None })))
        }
    }
}

/// Who waits for the newest entry of a stream that has none waits for any.
fn waiting(mut read: Read) -> Read {
    for (_, from) in &mut read.streams {
        if *from == ReadFrom::Newest {
            *from = ReadFrom::After(EntryId::MIN);
        }
    }
    read
}

const NOT_HERE: &str =
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
