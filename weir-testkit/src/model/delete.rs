//! XDEL, XDELEX, XACK, XACKDEL, XNACK: entries and pending rows named by their IDs.

use weir_core::EntryId;

use super::append::policy;
use super::parse::{self, Outcome, Refusal, canonical_integer, err, err_quoting, is, syntax_error};
use super::stream::{Policy, Stream};
use super::{Model, Value};

/// Counter of a row that shall be delivered no more.
const FATAL_DELIVERIES: i64 = i64::MAX;

pub(super) fn xdel(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let Some(stream) = model.stream(&args[1])? else { return Ok(Value::Int(0)) };
    let deleted = parse::ids(&args[2..])?.into_iter().filter(|id| stream.delete(*id)).count();
    if deleted > 0 {
        model.touch(&args[1]);
    }
    Ok(Value::Int(deleted as i64))
}

pub(super) fn xack(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let Some(stream) = model.stream(&args[1])? else { return Ok(Value::Int(0)) };
    let Some(group) = stream.groups.get_mut(&args[2]) else { return Ok(Value::Int(0)) };
    let acknowledged = parse::ids(&args[3..])?.iter().filter(|id| group.pending.remove(id).is_some()).count();
    Ok(Value::Int(acknowledged as i64))
}

pub(super) fn xdelex(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let (policy, ids) = policy_and_ids(&args[2..])?;
    let Some(stream) = model.stream(&args[1])? else { return Ok(all_missing(ids)) };
    let mut answers = Vec::new();
    for id in parse::ids(ids)? {
        answers.push(match policy {
            Policy::Acked if stream.is_referenced(id) => 2,
            _ => delete_with(stream, id, policy),
        });
    }
    if answers.contains(&1) {
        model.touch(&args[1]);
    }
    Ok(integers(answers))
}

pub(super) fn xackdel(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let (policy, ids) = policy_and_ids(&args[3..])?;
    let Some(stream) = model.stream(&args[1])? else { return Ok(all_missing(ids)) };
    if !stream.groups.contains_key(&args[2]) {
        return Ok(all_missing(ids));
    }
    let length = stream.len();
    let mut answers = Vec::new();
    for id in parse::ids(ids)? {
        if stream.group(&args[2]).pending.remove(&id).is_none() {
            answers.push(-1);
        } else if policy == Policy::Acked && stream.is_referenced(id) {
            answers.push(2);
        } else {
            delete_with(stream, id, policy);
            answers.push(1);
        }
    }
    if stream.len() < length {
        model.touch(&args[1]);
    }
    Ok(integers(answers))
}

fn delete_with(stream: &mut Stream, id: EntryId, policy: Policy) -> i64 {
    if policy == Policy::DelRef {
        stream.forget(id);
    }
    if stream.delete(id) { 1 } else { -1 }
}

/// `[policy] IDS n id …`, the two in any order.
fn policy_and_ids(args: &[Vec<u8>]) -> Result<(Policy, &[Vec<u8>]), Refusal> {
    let mut found = None;
    let mut ids: Option<&[Vec<u8>]> = None;
    let mut at = 0;
    while at < args.len() {
        if found.is_none() && policy(&args[at]).is_some() {
            found = policy(&args[at]);
            at += 1;
        } else if is(&args[at], "IDS") && at + 1 < args.len() {
            let listed = canonical_integer(&args[at + 1]).and_then(|n| usize::try_from(n).ok());
            let listed =
                listed.filter(|n| *n > 0).ok_or_else(|| err("Number of IDs must be a positive integer"))?;
            let mismatch = "The `numids` parameter must match the number of arguments";
            ids = Some(args[at + 2..].get(..listed).ok_or_else(|| err(mismatch))?);
            at += 2 + listed;
        } else {
            return Err(syntax_error());
        }
    }
    Ok((found.unwrap_or(Policy::KeepRef), ids.ok_or_else(|| err("IDS option is required"))?))
}

fn all_missing(ids: &[Vec<u8>]) -> Value {
    integers(vec![-1; ids.len()])
}

fn integers(numbers: Vec<i64>) -> Value {
    Value::Array(numbers.into_iter().map(Value::Int).collect())
}

pub(super) fn xnack(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let request = parse_nack(args)?;
    let stream = model.stream_with_group(&args[1], &args[2])?;
    let mut released = 0;
    for &id in &request.ids {
        let exists = stream.entry(id).is_some();
        let group = stream.group(&args[2]);
        let holder = group.next_release();
        let deliveries = match group.pending.get(&id) {
            Some(row) => request.deliveries(row.deliveries),
            None if request.force && exists => match request.mode {
                Mode::Fatal => request.retry_count.unwrap_or(FATAL_DELIVERIES),
                _ => request.retry_count.unwrap_or(0),
            },
            None => continue,
        };
        group.pending.insert(id, super::group::Pending { holder, delivered: 0, deliveries });
        released += 1;
    }
    Ok(Value::Int(released))
}

#[derive(Clone, Copy)]
enum Mode {
    Silent,
    Fail,
    Fatal,
}

struct Nack {
    mode: Mode,
    ids: Vec<EntryId>,
    retry_count: Option<i64>,
    force: bool,
}

impl Nack {
    fn deliveries(&self, before: i64) -> i64 {
        self.retry_count.unwrap_or(match self.mode {
            Mode::Silent => (before - 1).max(0),
            Mode::Fail => before,
            Mode::Fatal => FATAL_DELIVERIES,
        })
    }
}

fn parse_nack(args: &[Vec<u8>]) -> Result<Nack, Refusal> {
    let mode = match &args[3] {
        word if is(word, "SILENT") => Mode::Silent,
        word if is(word, "FAIL") => Mode::Fail,
        word if is(word, "FATAL") => Mode::Fatal,
        _ => return Err(err("mode must be SILENT, FAIL, or FATAL")),
    };
    if !is(&args[4], "IDS") {
        return Err(err("syntax error, expected IDS keyword"));
    }
    let listed = canonical_integer(&args[5])
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| err("numids must be a positive integer"))?;
    let ids = args[6..].get(..listed).ok_or_else(|| err("number of IDs doesn't match numids"))?;
    let ids = parse::ids(ids)?;
    let mut nack = Nack { mode, ids, retry_count: None, force: false };
    let mut options = args[6 + listed..].iter();
    while let Some(option) = options.next() {
        if is(option, "FORCE") {
            nack.force = true;
        } else if is(option, "RETRYCOUNT")
            && let Some(value) = options.next()
        {
            let count = canonical_integer(value).filter(|n| *n >= 0);
            let count = count.ok_or_else(|| err("Invalid RETRYCOUNT value, must be >= 0"))?;
            nack.retry_count = Some(count);
        } else {
            return Err(err_quoting("Unrecognized XNACK option '", option, "'"));
        }
    }
    Ok(nack)
}
