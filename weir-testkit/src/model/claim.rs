//! XPENDING, XCLAIM, XAUTOCLAIM: looking at pending rows and taking them over.

use weir_core::EntryId;

use super::group::{Group, Holder, Pending};
use super::parse::{
    self, Outcome, Refusal, canonical_integer, err, err_quoting, integer, integer_or, is, syntax_error,
};
use super::stream::{Stream, entry_reply, id_reply};
use super::{Model, Value};

/// Rows looked at by XAUTOCLAIM for each one asked for.
const AUTOCLAIM_ATTEMPTS: usize = 10;
/// What XAUTOCLAIM takes for COUNT at most.
const AUTOCLAIM_COUNT_MAX: i64 = i64::MAX / 16;

pub(super) fn xpending(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let now = model.now();
    if args.len() == 3 {
        return Ok(summary(model.stream_with_group(&args[1], &args[2])?.group(&args[2])));
    }
    if args.len() < 6 || args.len() > 9 {
        return Err(syntax_error());
    }
    let mut words = &args[3..];
    let mut idle_min = 0;
    if is(&words[0], "IDLE") {
        idle_min = integer(&words[1])?;
        if args.len() < 8 {
            return Err(syntax_error());
        }
        words = &words[2..];
    }
    let count = integer(&words[2])?.max(0) as usize;
    let (start, end) = (parse::start(&words[0])?, parse::end(&words[1])?);
    let consumer = words.get(3);
    let group = model.stream_with_group(&args[1], &args[2])?.group(&args[2]);
    let rows = group.pending.iter().filter(|(id, row)| {
        (start..=end).contains(*id)
            && row.is_claimable(now, idle_min)
            && consumer.is_none_or(|name| row.is_held_by(name) && group.consumers.contains_key(name))
    });
    let reply = |(id, row): (&EntryId, &Pending)| {
        let idle = if row.is_released() { -1 } else { (now - row.delivered).max(0) };
        let holder = Value::bulk(row.holder_name());
        Value::Array(vec![id_reply(*id), holder, Value::Int(idle), Value::Int(row.deliveries)])
    };
    Ok(Value::Array(rows.take(count).map(reply).collect()))
}

fn summary(group: &Group) -> Value {
    let ends = group.pending.first_key_value().zip(group.pending.last_key_value());
    let Some(((first, _), (last, _))) = ends else {
        return Value::Array(vec![Value::Int(0), Value::Null, Value::Null, Value::NullArray]);
    };
    let counts = group.consumers.keys().filter_map(|name| {
        let held = group.pending_of(name).count();
        (held > 0).then(|| Value::Array(vec![Value::bulk(name), Value::bulk(held.to_string())]))
    });
    let counts = Value::Array(counts.collect());
    Value::Array(vec![Value::Int(group.pending.len() as i64), id_reply(*first), id_reply(*last), counts])
}

struct Claim {
    ids: Vec<EntryId>,
    delivered: i64,
    retry_count: Option<i64>,
    force: bool,
    just_id: bool,
    last_id: EntryId,
}

pub(super) fn xclaim(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let (now, flavour, consumer) = (model.now(), model.flavour, &args[3]);
    let stream = model.stream_with_group(&args[1], &args[2])?;
    let idle_min = integer_or(&args[4], "Invalid min-idle-time argument for XCLAIM")?.max(0);
    let claim = parse_claim(args, now)?;
    let group = stream.group(&args[2]);
    group.last_id = group.last_id.max(claim.last_id);
    group.attempt(consumer, now, flavour);
    let mut replies = Vec::new();
    for id in &claim.ids {
        let Some(entry) = stream.entry(*id).cloned() else {
            stream.group(&args[2]).pending.remove(id);
            continue;
        };
        let fresh = Pending { holder: Holder::Released(0), delivered: now, deliveries: 1 };
        let mut row = match stream.group(&args[2]).pending.get(id) {
            Some(row) if !row.is_claimable(now, idle_min) => continue,
            Some(row) => row.clone(),
            None if claim.force => fresh,
            None => continue,
        };
        row.delivered = claim.delivered;
        match claim.retry_count {
            Some(count) => row.deliveries = count,
            None if !claim.just_id => row.count_delivery(stream.flavour),
            None => {}
        }
        take_over(stream, &args[2], consumer, *id, row, now);
        replies.push(if claim.just_id { id_reply(*id) } else { entry_reply(&entry) });
    }
    Ok(Value::Array(replies))
}

fn take_over(stream: &mut Stream, group: &[u8], consumer: &[u8], id: EntryId, mut row: Pending, now: i64) {
    row.holder = Holder::Consumer(consumer.to_vec());
    let group = stream.group(group);
    group.pending.insert(id, row);
    group.see(consumer, now);
    group.activate(consumer, now);
}

fn parse_claim(args: &[Vec<u8>], now: i64) -> Result<Claim, Refusal> {
    let ids: Vec<EntryId> = args[5..].iter().map_while(|word| parse::id(word).ok()).collect();
    let mut words = args[5 + ids.len()..].iter();
    let mut claim =
        Claim { ids, delivered: now, retry_count: None, force: false, just_id: false, last_id: EntryId::MIN };
    let invalid = |option: &str| format!("Invalid {option} option argument for XCLAIM");
    while let Some(word) = words.next() {
        let value = words.as_slice().first();
        match value {
            _ if is(word, "FORCE") => claim.force = true,
            _ if is(word, "JUSTID") => claim.just_id = true,
            Some(value) if is(word, "IDLE") => {
                claim.delivered = now.saturating_sub(integer_or(value, &invalid("IDLE"))?);
                words.next();
            }
            Some(value) if is(word, "TIME") => {
                claim.delivered = integer_or(value, &invalid("TIME"))?;
                words.next();
            }
            Some(value) if is(word, "RETRYCOUNT") => {
                let count = integer_or(value, &invalid("RETRYCOUNT"))?;
                claim.retry_count = (count >= 0).then_some(count);
                words.next();
            }
            Some(value) if is(word, "LASTID") => {
                claim.last_id = parse::id(value)?;
                words.next();
            }
            _ => return Err(err_quoting("Unrecognized XCLAIM option '", word, "'")),
        }
    }
    if !(0..=now).contains(&claim.delivered) {
        claim.delivered = now;
    }
    Ok(claim)
}

pub(super) fn xautoclaim(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let (now, flavour, consumer) = (model.now(), model.flavour, &args[3]);
    let idle_min = integer_or(&args[4], "Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = parse::start(&args[5])?;
    let (count, just_id) = parse_autoclaim_options(&args[6..])?;
    let stream = model.stream_with_group(&args[1], &args[2])?;
    stream.group(&args[2]).attempt(consumer, now, flavour);
    let rows: Vec<(EntryId, Pending)> =
        stream.group(&args[2]).pending.range(start..).map(|(id, row)| (*id, row.clone())).collect();
    let (mut claimed, mut purged) = (Vec::new(), Vec::new());
    let mut looked_at = 0;
    for (id, mut row) in rows.iter().cloned() {
        if looked_at == count.saturating_mul(AUTOCLAIM_ATTEMPTS) || claimed.len() + purged.len() == count {
            break;
        }
        looked_at += 1;
        let Some(entry) = stream.entry(id).cloned() else {
            stream.group(&args[2]).pending.remove(&id);
            purged.push(id_reply(id));
            continue;
        };
        if !row.is_claimable(now, idle_min) {
            continue;
        }
        row.delivered = now;
        if !just_id {
            row.count_delivery(stream.flavour);
        }
        take_over(stream, &args[2], consumer, id, row, now);
        claimed.push(if just_id { id_reply(id) } else { entry_reply(&entry) });
    }
    let cursor = rows.get(looked_at).map_or(EntryId::MIN, |(id, _)| *id);
    Ok(Value::Array(vec![id_reply(cursor), Value::Array(claimed), Value::Array(purged)]))
}

fn parse_autoclaim_options(words: &[Vec<u8>]) -> Result<(usize, bool), Refusal> {
    let (mut count, mut just_id) = (100, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if is(word, "JUSTID") {
            just_id = true;
        } else if is(word, "COUNT")
            && let Some(value) = words.next()
        {
            let value = canonical_integer(value).filter(|n| (1..=AUTOCLAIM_COUNT_MAX).contains(n));
            count = value.ok_or_else(|| err("COUNT must be > 0"))? as usize;
        } else {
            return Err(syntax_error());
        }
    }
    Ok((count, just_id))
}
