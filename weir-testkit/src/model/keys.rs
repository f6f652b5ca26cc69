//! Commands on keys of any type: existence, names, expiry; and the plainest strings, so that there is another type.

use super::parse::{Outcome, Refusal, err, err_quoting, integer, is, no_such_key, syntax_error, wrong_type};
use super::{Data, Key, Model, Value};

pub(super) fn del(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let mut removed = 0;
    for key in &args[1..] {
        if model.keys.remove(key).is_some() {
            model.touch(key);
            removed += 1;
        }
    }
    Ok(Value::Int(removed))
}

pub(super) fn exists(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    Ok(Value::Int(args[1..].iter().filter(|key| model.keys.contains_key(*key)).count() as i64))
}

pub(super) fn type_of(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let name = match model.keys.get(&args[1]).map(|key| &key.data) {
        Some(Data::Stream(_)) => "stream",
        Some(Data::String(_)) => "string",
        None => "none",
    };
    Ok(Value::Simple(name.into()))
}

pub(super) fn rename(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let Some(key) = model.keys.remove(&args[1]) else { return Err(no_such_key()) };
    model.keys.insert(args[2].clone(), key);
    if args[1] != args[2] {
        model.touch(&args[1]);
        model.touch(&args[2]);
    }
    Ok(Value::ok())
}

pub(super) fn renamenx(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    if model.keys.contains_key(&args[1]) && model.keys.contains_key(&args[2]) {
        return Ok(Value::Int(0));
    }
    rename(model, args).map(|_| Value::Int(1))
}

pub(super) fn copy(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let mut replace = false;
    for option in &args[3..] {
        if !is(option, "REPLACE") {
            return Err(syntax_error());
        }
        replace = true;
    }
    if args[1] == args[2] {
        return Err(err("source and destination objects are the same"));
    }
    let Some(source) = model.keys.get(&args[1]).cloned() else { return Ok(Value::Int(0)) };
    if model.keys.contains_key(&args[2]) && !replace {
        return Ok(Value::Int(0));
    }
    model.keys.insert(args[2].clone(), source);
    model.touch(&args[2]);
    Ok(Value::Int(1))
}

pub(super) fn expire(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    set_expiry(model, args, "expire", 1000, model.now())
}

pub(super) fn pexpire(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    set_expiry(model, args, "pexpire", 1, model.now())
}

pub(super) fn expireat(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    set_expiry(model, args, "expireat", 1000, 0)
}

pub(super) fn pexpireat(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    set_expiry(model, args, "pexpireat", 1, 0)
}

fn set_expiry(model: &mut Model, args: &[Vec<u8>], name: &str, unit_ms: i64, base: i64) -> Outcome {
    let conditions = parse_conditions(&args[3..])?;
    let invalid = || err(format!("invalid expire time in '{name}' command"));
    let at = integer(&args[2])?.checked_mul(unit_ms).ok_or_else(invalid)?;
    let at = at.checked_add(base).ok_or_else(invalid)?;
    let now = model.now();
    let Some(key) = model.keys.get_mut(&args[1]) else { return Ok(Value::Int(0)) };
    let refused = conditions.iter().any(|condition| match (condition, key.expires) {
        (Condition::Nx, current) => current.is_some(),
        (Condition::Xx, current) => current.is_none(),
        (Condition::Gt, current) => current.is_none_or(|current| at <= current),
        (Condition::Lt, current) => current.is_some_and(|current| at >= current),
    });
    if refused {
        return Ok(Value::Int(0));
    }
    key.expires = Some(at);
    if at <= now {
        model.keys.remove(&args[1]);
    }
    model.touch(&args[1]);
    Ok(Value::Int(1))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Nx,
    Xx,
    Gt,
    Lt,
}

fn parse_conditions(words: &[Vec<u8>]) -> Result<Vec<Condition>, Refusal> {
    let names = [("NX", Condition::Nx), ("XX", Condition::Xx), ("GT", Condition::Gt), ("LT", Condition::Lt)];
    let mut found = Vec::new();
    for word in words {
        let named = names.iter().find(|(name, _)| is(word, name));
        found.push(named.ok_or_else(|| err_quoting("Unsupported option ", word, ""))?.1);
    }
    let has = |condition| found.contains(&condition);
    if has(Condition::Nx) && (has(Condition::Xx) || has(Condition::Gt) || has(Condition::Lt)) {
        return Err(err("NX and XX, GT or LT options at the same time are not compatible"));
    }
    if has(Condition::Gt) && has(Condition::Lt) {
        return Err(err("GT and LT options at the same time are not compatible"));
    }
    Ok(found)
}

pub(super) fn ttl(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let now = model.now();
    expiry(model, &args[1], |at| (at - now + 500) / 1000)
}

pub(super) fn pttl(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let now = model.now();
    expiry(model, &args[1], |at| at - now)
}

pub(super) fn expiretime(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    expiry(model, &args[1], |at| (at + 500) / 1000)
}

pub(super) fn pexpiretime(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    expiry(model, &args[1], |at| at)
}

fn expiry(model: &Model, key: &[u8], show: impl Fn(i64) -> i64) -> Outcome {
    Ok(Value::Int(match model.keys.get(key) {
        None => -2,
        Some(Key { expires: None, .. }) => -1,
        Some(Key { expires: Some(at), .. }) => show(*at),
    }))
}

pub(super) fn persist(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    let had = model.keys.get_mut(&args[1]).is_some_and(|key| key.expires.take().is_some());
    if had {
        model.touch(&args[1]);
    }
    Ok(Value::Int(i64::from(had)))
}

pub(super) fn set(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    if args.len() > 3 {
        return Err(syntax_error());
    }
    model.keys.insert(args[1].clone(), Key { data: Data::String(args[2].clone()), expires: None });
    model.touch(&args[1]);
    Ok(Value::ok())
}

pub(super) fn get(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    match model.keys.get(&args[1]).map(|key| &key.data) {
        Some(Data::String(bytes)) => Ok(Value::bulk(bytes)),
        Some(Data::Stream(_)) => Err(wrong_type()),
        None => Ok(Value::Null),
    }
}

pub(super) fn dbsize(model: &mut Model, _: &[Vec<u8>]) -> Outcome {
    Ok(Value::Int(model.keys.len() as i64))
}

pub(super) fn flushall(model: &mut Model, args: &[Vec<u8>]) -> Outcome {
    match &args[1..] {
        [] => {}
        [mode] if is(mode, "ASYNC") || is(mode, "SYNC") => {}
        _ => return Err(syntax_error()),
    }
    let keys = std::mem::take(&mut model.keys);
    model.touched.extend(keys.into_keys());
    Ok(Value::ok())
}

pub(super) fn ping(_: &mut Model, args: &[Vec<u8>]) -> Outcome {
    match &args[1..] {
        [] => Ok(Value::Simple(b"PONG".to_vec())),
        [text] => Ok(Value::bulk(text)),
        _ => Err(super::parse::wrong_arity("ping")),
    }
}

pub(super) fn unwatch(_: &mut Model, _: &[Vec<u8>]) -> Outcome {
    Ok(Value::ok())
}
