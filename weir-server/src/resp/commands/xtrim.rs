//! XTRIM: removes entries from the old end of a stream.

use super::trimming::{self, Purpose};
use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xtrim",
    arity: -4,
    flags: flag::STREAM | flag::WRITE,
    key_use: KeyUse::Delete,
    since: "5.0.0",
    summary: "removes entries from the old end of a stream",
    syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]",
    tips: &["nondeterministic_output"],
    run: Run::Call(xtrim),
    ..Command::STREAM
};

fn xtrim(call: &mut Call<'_, '_>) -> Answer {
    let options = trimming::parse(call, Purpose::Trim)?;
    let trim = options.trim.expect("XTRIM without a strategy is refused while parsing");
    let key = call.key(1);
    Ok(Reply::count(call.turn.trim(key, &trim)?))
}
