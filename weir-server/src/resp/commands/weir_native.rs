//! The WEIR.* commands that are asked most, carried out within the reactor's turn: one lock and one flush for the commands
//! of many clients, and entries that go from the log straight into the answer.

use smallvec::SmallVec;
use weir_core::{Error, ErrorKind, GroupSource};
use weir_engine::{BatchEntry, Entries, Given, Halt, NewId, ReadOutcome, ReadSource, Terms};
use weir_wire::{AppendEntry, ReadAsGroup, SettleEntries, Verb, Words, error_line};

use super::weir::ask;
use crate::resp::asks::reply;
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::reply::Reply;

/// WEIR.ADD.
pub(super) fn add(call: &mut Call<'_, '_>) -> Answer {
    let AppendEntry { fields, options, .. } = decode::<AppendEntry<'_>>(call)?;
    let refused_for = match &options.producer {
        _ if fields.is_empty() => Some("an entry needs at least one field"),
        Some(by) if by.name.is_empty() => Some("a producer needs a name"),
        Some(by) if by.append_id.is_empty() => Some("an append ID is not empty"),
        _ => None,
    };
    if let Some(why) = refused_for {
        return Err(said(&ErrorKind::Invalid(why).into()));
    }
    let fields: SmallVec<[&[u8]; 16]> = fields.iter().flat_map(|(name, value)| [*name, *value]).collect();
    let producer = options.producer.as_ref();
    let terms = Terms { expected: options.expected, remembers: producer.is_some() };
    let entry = BatchEntry {
        id: options.id.map_or(NewId::Auto, NewId::Exact),
        fields: &fields,
        append_id: producer.map(|producer| &*producer.append_id),
    };
    let key = call.key(1);
    let added = call.turn.append_batch(key, &[entry], producer.map(|producer| &*producer.name), &terms);
    let added = added.map_err(|halt| refused(halt, key.name, b""))?;
    Ok(reply(AppendEntry::reply(added[0])))
}

/// WEIR.SETTLE.
pub(super) fn settle(call: &mut Call<'_, '_>) -> Answer {
    let SettleEntries { group, settlements, .. } = decode::<SettleEntries<'_>>(call)?;
    let key = call.key(1);
    let settled =
        call.turn.settle(key, group, &settlements).map_err(|halt| refused(halt, key.name, group))?;
    Ok(reply(SettleEntries::reply(settled)))
}

/// WEIR.READGROUP. Where it has to wait it goes on as a call of the traits does.
pub(super) fn read_group(call: &mut Call<'_, '_>) -> Answer {
    let ReadAsGroup { options, .. } = decode::<ReadAsGroup<'_>>(call)?;
    if options.wait.is_some() && matches!(options.source, GroupSource::History { .. }) {
        return Err(said(&ErrorKind::Invalid("a history read does not wait").into()));
    }
    let key = call.key(1);
    let read = ReadSource {
        ns: key.ns,
        stream: key.name.into(),
        group: options.group.into(),
        consumer: options.consumer.into(),
        source: options.source,
        count: options.count,
        while_paused: options.while_paused,
    };
    let outcome = call.turn.read_group_from(&read).map_err(|halt| refused(halt, key.name, &read.group))?;
    let waits = options.wait.is_some() && options.count > 0 && !call.in_exec;
    if outcome.streams.is_empty() && waits {
        return ask(call);
    }
    Ok(Reply::Given(given(outcome)))
}

fn given(outcome: ReadOutcome) -> Vec<Given> {
    let given = outcome.streams.into_iter().flat_map(|stream| match stream.entries {
        Entries::Given(given) => given,
        Entries::Plain(_) | Entries::Claimed(_) => unreachable!("a read by source answers deliveries"),
    });
    given.collect()
}

/// The verb of a command that is one word.
fn decode<'c, V: Verb<'c>>(call: &Call<'c, '_>) -> Result<V, Stop> {
    let words: SmallVec<[&'c [u8]; 32]> = call.args.iter().skip(1).collect();
    V::decode(&mut Words::new(&words)).map_err(|error| said(&error))
}

fn refused(halt: Halt, stream: &[u8], group: &[u8]) -> Stop {
    match halt {
        Halt::Error(error) => said(&error.about_group(stream, group)),
        Halt::Cold(cold) => Stop::Cold(cold),
    }
}

fn said(error: &Error) -> Stop {
    error_line(error).into()
}
