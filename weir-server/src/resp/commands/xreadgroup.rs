//! XREADGROUP: entries for a consumer of a group, which has them pending afterwards.

use weir_core::EntryId;
use weir_engine::{GroupReadFrom, ReadGroup};

use super::reading::ReadOptions;
use crate::resp::call::{Answer, Call, OrRefuse, Stop, Wait, no_group};
use crate::resp::command::{Command, KeyUse, Keys, Run, flag};
use crate::resp::dispatch::{reads_history, streams_reply};
use crate::resp::errors;
use crate::resp::reply::ReadRequest;

pub(super) static COMMAND: Command = Command {
    name: "xreadgroup",
    arity: -7,
    flags: flag::STREAM | flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS,
    keys: Keys::Streams { from: 4 },
    key_use: KeyUse::ReadGroup,
    since: "5.0.0",
    summary: "returns entries to a consumer of a group, new ones or those it has pending; waits for them if asked to",
    syntax: "GROUP group consumer [COUNT count] [MAXCOUNT count] [MAXSIZE bytes] [BLOCK milliseconds] \
             [CLAIM min-idle-time] [NOACK] STREAMS key [key ...] id [id ...]",
    run: Run::Call(xreadgroup),
    ..Command::STREAM
};

fn xreadgroup(call: &mut Call<'_, '_>) -> Answer {
    let options = ReadOptions::parse(call, true)?;
    let (group, consumer) = options.group.expect("without GROUP it is refused while parsing");
    let (streams, bad_id) = streams(call, &options);
    let read = ReadGroup {
        ns: call.client().ns,
        group: group.into(),
        consumer: consumer.into(),
        streams,
        limits: options.limits,
        noack: options.noack,
        claim_idle_min: options.claim_idle_min,
    };
    if bad_id.is_some() || read.streams.len() > 1 {
        check_groups(call, &read)?;
    }
    if let Some(stop) = bad_id {
        return Err(stop);
    }
    let name = call.arg(options.name_at(0));
    let outcome =
        call.turn.read_group(&read).or_refuse(no_group, || errors::no_group_to_read(name, group))?;
    let may_wait = outcome.streams.is_empty() && !call.in_exec && !reads_history(&read);
    match options.block.filter(|_| may_wait) {
        None => Ok(streams_reply(ReadRequest::Group(read), outcome)),
        Some(timeout) => {
            let retry_at = outcome.retry_at;
            Err(Stop::Wait(Box::new(Wait { request: ReadRequest::Group(read), timeout, retry_at })))
        }
    }
}

/// A stream and where to start in it.
type Start = (Box<[u8]>, GroupReadFrom);

/// Streams and where to start in them; up to the first ID that is none, with its error.
///
/// Each stream's group is checked before its ID, so the stream with the bad ID is included.
fn streams(call: &mut Call<'_, '_>, options: &ReadOptions<'_>) -> (Vec<Start>, Option<Stop>) {
    let mut streams = Vec::with_capacity(options.streams);
    for nth in 0..options.streams {
        let (from, stop) = match from(call, options.id_at(nth)) {
            Ok(from) => (from, None),
            Err(stop) => (GroupReadFrom::History(EntryId::MAX), Some(stop)),
        };
        streams.push((call.arg(options.name_at(nth)).into(), from));
        if stop.is_some() {
            return (streams, stop);
        }
    }
    (streams, None)
}

fn from(call: &Call<'_, '_>, at: usize) -> Result<GroupReadFrom, Stop> {
    match call.arg(at) {
        b">" => Ok(GroupReadFrom::New),
        b"$" => Err(DOLLAR.into()),
        b"+" => Err(PLUS.into()),
        _ => match call.id(at)? {
            // Nothing is above the greatest ID, and clients came to rely on its meaning the same as `>`.
            EntryId::MAX => Ok(GroupReadFrom::New),
            id => Ok(GroupReadFrom::History(id)),
        },
    }
}

fn check_groups(call: &mut Call<'_, '_>, read: &ReadGroup) -> Result<(), Stop> {
    call.turn.check_groups(read).or_else(|(nth, halt)| {
        let name = &read.streams[nth].0;
        Err(halt).or_refuse(no_group, || errors::no_group_to_read(name, &read.group))
    })
}

const DOLLAR: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                      consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                      return an empty result set.";
const PLUS: &str = "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                    consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just \
                    return an empty result set.";
