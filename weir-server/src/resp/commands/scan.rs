//! KEYS, SCAN: which keys there are.

use weir_engine::KeyKind;

use super::keys::type_name;
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, Run, flag};
use crate::resp::errors;
use crate::resp::glob;
use crate::resp::reply::Reply;

/// Slots looked at per key that is wanted, so that a page takes bounded time where few keys match.
const SLOTS_PER_KEY: u64 = 10;
/// Slots looked at in one go.
const SLICE_MAX: u64 = 1 << 16;
/// Keys of one page, whatever was asked for: nobody else is served meanwhile.
const PAGE_MAX: u64 = 1 << 14;

const ROW: Command = Command { flags: flag::KEYSPACE | flag::READONLY, ..Command::BASE };

pub(super) static KEYS: Command = Command {
    name: "keys",
    arity: 2,
    flags: flag::KEYSPACE | flag::READONLY | flag::DANGEROUS,
    summary: "returns the names of all keys that match a pattern",
    syntax: "pattern",
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    run: Run::Call(keys),
    ..ROW
};

fn keys(call: &mut Call<'_, '_>) -> Answer {
    let pattern = call.arg(1);
    let ns = call.client().ns;
    let mut names = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = call.turn.scan(ns, cursor, SLICE_MAX as u32, &mut |name, _| {
            if glob::matches(pattern, name) {
                names.push(Reply::bulk(name));
            }
        })?;
        if cursor == 0 {
            return Ok(Reply::Array(names));
        }
    }
}

pub(super) static SCAN: Command = Command {
    name: "scan",
    arity: -2,
    since: "2.8.0",
    summary: "returns some names of keys, and where to go on",
    syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
    tips: &["nondeterministic_output", "request_policy:special"],
    run: Run::Call(scan),
    ..ROW
};

/// Which keys a page shows.
#[derive(Debug)]
struct Filter<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    count: u64,
}

impl Filter<'_> {
    fn shows(&self, name: &[u8], kind: KeyKind) -> bool {
        self.kind.is_none_or(|wanted| wanted.eq_ignore_ascii_case(type_name(kind).as_bytes()))
            && self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

fn scan(call: &mut Call<'_, '_>) -> Answer {
    let mut cursor = parse_cursor(call.arg(1))?;
    let filter = filter(call)?;
    let ns = call.client().ns;
    let mut names = Vec::new();
    let (mut seen, mut slots) = (0, filter.count.saturating_mul(SLOTS_PER_KEY));
    while seen < filter.count && slots > 0 {
        let slice = slots.min(filter.count - seen).min(SLICE_MAX);
        cursor = call.turn.scan(ns, cursor, slice as u32, &mut |name, kind| {
            seen += 1;
            if filter.shows(name, kind) {
                names.push(Reply::bulk(name));
            }
        })?;
        if cursor == 0 {
            break;
        }
        slots -= slice;
    }
    Ok(Reply::Array(vec![Reply::bulk(cursor.to_string()), Reply::Array(names)]))
}

/// A cursor that was never given out ends the scan; what is no number is refused.
fn parse_cursor(text: &[u8]) -> Result<u64, Stop> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i128>().ok());
    match number {
        Some(cursor) if (-i128::from(u64::MAX)..0).contains(&cursor) => Ok(u64::MAX),
        Some(cursor) => u64::try_from(cursor).map_err(|_| Stop::refused("ERR invalid cursor")),
        None => Err("ERR invalid cursor".into()),
    }
}

fn filter<'c>(call: &Call<'c, '_>) -> Result<Filter<'c>, Stop> {
    let mut filter = Filter { pattern: None, kind: None, count: 10 };
    let mut at = 2;
    while at < call.len() {
        if at + 1 == call.len() {
            return Err(errors::SYNTAX.into());
        }
        if call.is(at, "COUNT") {
            let count = call.int(at + 1)?;
            filter.count =
                u64::try_from(count).ok().filter(|count| *count > 0).ok_or(Stop::refused(errors::SYNTAX))?;
            filter.count = filter.count.min(PAGE_MAX);
        } else if call.is(at, "MATCH") {
            filter.pattern = Some(call.arg(at + 1)).filter(|pattern| *pattern != b"*");
        } else if call.is(at, "TYPE") {
            filter.kind = Some(call.arg(at + 1));
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 2;
    }
    Ok(filter)
}
