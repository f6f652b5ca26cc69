//! XLEN, XRANGE, XREVRANGE.

use super::parse::{self, Outcome, integer, is, syntax_error};
use super::stream::entry_reply;
use super::{Model, Value};

pub(super) fn xlen(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    Ok(Value::Int(model.stream(&args[1])?.map_or(0, |stream| stream.len()) as i64))
}

pub(super) fn xrange(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    range(model, args, &args[2], &args[3], false)
}

pub(super) fn xrevrange(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    range(model, args, &args[3], &args[2], true)
}

fn range(model: &mut Model, args: &[Vec<u8>], start: &[u8], end: &[u8], reverse: bool) -> Outcome {
    let start = parse::start(start)?;
    let end = parse::end(end)?;
    let mut count = None;
    for option in args[4..].chunks(2) {
        match option {
            [name, value] if is(name, "COUNT") => count = Some(integer(value)?.max(0) as usize),
            _ => return Err(syntax_error()),
        }
    }
    let Some(stream) = model.stream(&args[1])? else { return Ok(Value::Array(Vec::new())) };
    if count == Some(0) {
        return Ok(Value::NullArray);
    }
    let count = count.unwrap_or(usize::MAX);
    let between = stream.between(start, end);
    let entries = if reverse {
        between.rev().take(count).map(entry_reply).collect()
    } else {
        between.take(count).map(entry_reply).collect()
    };
    Ok(Value::Array(entries))
}
