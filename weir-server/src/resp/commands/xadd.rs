//! XADD: appends an entry.

use smallvec::SmallVec;
use weir_core::EntryId;
use weir_engine::{Append, Appended, NewId};

use super::trimming::{self, Purpose};
use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xadd",
    arity: -5,
    flags: flag::STREAM | flag::WRITE | flag::DENYOOM | flag::FAST,
    key_use: KeyUse::Update,
    since: "5.0.0",
    summary: "appends an entry to a stream, which is made if there is none",
    syntax: "key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMP producer-id idempotent-id | IDMPAUTO producer-id] \
             [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
    tips: &["nondeterministic_output"],
    run: Run::Call(xadd),
    ..Command::STREAM
};

fn xadd(call: &mut Call<'_, '_>) -> Answer {
    let options = trimming::parse(call, Purpose::Add)?;
    let strings = call.args.skip(options.next);
    let Some(id) = options.id.filter(|_| strings.len() >= 2 && strings.len().is_multiple_of(2)) else {
        return Err(call.wrong_arity());
    };
    if id == NewId::Exact(EntryId::MIN) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let fields: SmallVec<[&[u8]; 16]> = strings.iter().collect();
    let append = Append {
        id,
        fields: &fields,
        create: options.create,
        trim: options.trim,
        producer: options.producer,
    };
    let key = call.key(1);
    Ok(match call.turn.append(key, &append)? {
        Appended::Added { id, .. } | Appended::Duplicate(id) => Reply::Id(id),
        Appended::NoStream => Reply::Null,
    })
}
