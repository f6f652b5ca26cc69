//! Policies of groups and the conditions of filters, as words and as values.

use std::time::Duration;

use weir_core::{Backoff, Condition, ConditionTest, Error, FieldName, Filter, Policy};

use crate::limits::{CONDITIONS_MAX, DELAYS_MAX, VALUES_MAX};
use crate::value::{MapWriter, malformed};
use crate::words::millis;
use crate::{Sink, Value, Words};

/// The arguments of a policy, as a manual shows them.
macro_rules! policy_syntax {
    () => {
        "[FAILURES count] [DELIVERIES count] [BACKOFF <LIST count milliseconds [milliseconds ...] | EXPONENTIAL \
         first-milliseconds factor-percent max-milliseconds jitter-percent>] [LEASE milliseconds] \
         [DEADLETTER stream] [KEY field] [FILTER numconditions condition ...] [REQUIRED] \
         [RETRYFOR milliseconds] [RESETONCLASS]"
    };
}
pub(crate) use policy_syntax;

/// Writes all of a policy.
pub(crate) fn encode_policy(policy: &Policy, out: &mut dyn Sink) {
    out.option_u64("FAILURES", Some(policy.failures_max.into()));
    out.option_u64("DELIVERIES", Some(policy.deliveries_max.into()));
    out.token("BACKOFF");
    match &policy.backoff {
        Backoff::List(delays) => {
            out.option_u64("LIST", Some(delays.len() as u64));
            delays.iter().for_each(|delay| out.millis(*delay));
        }
        Backoff::Exponential { first, factor_percent, max, jitter_percent } => {
            out.option_millis("EXPONENTIAL", Some(*first));
            out.u64((*factor_percent).into());
            out.millis(*max);
            out.u64((*jitter_percent).into());
        }
    }
    out.option_millis("LEASE", Some(policy.lease));
    out.option_word("DEADLETTER", policy.dead_letter.as_deref());
    out.option_word("KEY", policy.key.as_deref());
    if let Some(filter) = &policy.filter {
        out.token("FILTER");
        encode_conditions(&filter.conditions, out);
    }
    out.flag("REQUIRED", policy.required);
    out.option_millis("RETRYFOR", policy.retry_for_max);
    out.flag("RESETONCLASS", policy.reset_on_class);
}

/// Reads a policy up to the end of the words. What is not named is as [`Policy::recommended`] has it.
pub(crate) fn decode_policy(words: &mut Words<'_, '_>) -> Result<Policy, Error> {
    let mut policy = Policy::recommended();
    while !words.is_empty() {
        if words.takes("FAILURES") {
            policy.failures_max = words.u32()?;
        } else if words.takes("DELIVERIES") {
            policy.deliveries_max = words.u32()?;
        } else if words.takes("BACKOFF") {
            policy.backoff = decode_backoff(words)?;
        } else if words.takes("LEASE") {
            policy.lease = words.millis()?;
        } else if words.takes("DEADLETTER") {
            policy.dead_letter = Some(words.owned()?);
        } else if words.takes("KEY") {
            policy.key = Some(words.owned()?);
        } else if words.takes("FILTER") {
            policy.filter = Some(Filter { conditions: decode_conditions(words)? });
        } else if words.takes("REQUIRED") {
            policy.required = true;
        } else if words.takes("RETRYFOR") {
            policy.retry_for_max = Some(words.millis()?);
        } else if words.takes("RESETONCLASS") {
            policy.reset_on_class = true;
        } else {
            return Err(words.unexpected());
        }
    }
    Ok(policy)
}

fn decode_backoff(words: &mut Words<'_, '_>) -> Result<Backoff, Error> {
    if words.takes("LIST") {
        let count = words.count(1, DELAYS_MAX)?;
        return (0..count).map(|_| words.millis()).collect::<Result<_, _>>().map(Backoff::List);
    }
    if !words.takes("EXPONENTIAL") {
        return Err(words.unexpected());
    }
    Ok(Backoff::Exponential {
        first: words.millis()?,
        factor_percent: words.u32()?,
        max: words.millis()?,
        jitter_percent: words.u32()?,
    })
}

/// Writes conditions: how many, then `<TYPE | TENANT | FIELD name> <EQUALS value | IN count value … | PREFIX value>` each.
pub(crate) fn encode_conditions(conditions: &[Condition], out: &mut dyn Sink) {
    out.u64(conditions.len() as u64);
    for condition in conditions {
        match &condition.field {
            FieldName::Exact(name) => out.option_word("FIELD", Some(name)),
            FieldName::Type => out.token("TYPE"),
            FieldName::Tenant => out.token("TENANT"),
        }
        match &condition.test {
            ConditionTest::Equals(value) => out.option_word("EQUALS", Some(value)),
            ConditionTest::In(values) => {
                out.option_u64("IN", Some(values.len() as u64));
                values.iter().for_each(|value| out.word(value));
            }
            ConditionTest::Prefix(value) => out.option_word("PREFIX", Some(value)),
        }
    }
}

pub(crate) fn decode_conditions(words: &mut Words<'_, '_>) -> Result<Vec<Condition>, Error> {
    let count = words.count(3, CONDITIONS_MAX)?;
    (0..count).map(|_| decode_condition(words)).collect()
}

fn decode_condition(words: &mut Words<'_, '_>) -> Result<Condition, Error> {
    let field = if words.takes("FIELD") {
        FieldName::Exact(words.owned()?)
    } else if words.takes("TYPE") {
        FieldName::Type
    } else if words.takes("TENANT") {
        FieldName::Tenant
    } else {
        return Err(words.unexpected());
    };
    let test = if words.takes("EQUALS") {
        ConditionTest::Equals(words.owned()?)
    } else if words.takes("IN") {
        let count = words.count(1, VALUES_MAX)?;
        ConditionTest::In((0..count).map(|_| words.owned()).collect::<Result<_, _>>()?)
    } else if words.takes("PREFIX") {
        ConditionTest::Prefix(words.owned()?)
    } else {
        return Err(words.unexpected());
    };
    Ok(Condition { field, test })
}

pub(crate) fn policy(policy: Policy) -> Value {
    MapWriter::default()
        .put("failures", Value::count(policy.failures_max.into()))
        .put("deliveries", Value::count(policy.deliveries_max.into()))
        .put("backoff", backoff(&policy.backoff))
        .put("lease", Value::millis(policy.lease))
        .put("dead-letter", Value::option(policy.dead_letter, Value::Bulk))
        .put("key", Value::option(policy.key, Value::Bulk))
        .put("filter", Value::option(policy.filter, |filter| Value::array(filter.conditions, condition)))
        .put("required", Value::flag(policy.required))
        .put("retry-for", Value::option(policy.retry_for_max, Value::millis))
        .put("reset-on-class", Value::flag(policy.reset_on_class))
        .done()
}

pub(crate) fn read_policy(value: Value) -> Result<Policy, Error> {
    let mut map = value.into_map()?;
    Ok(Policy {
        failures_max: map.take("failures").into_u32()?,
        deliveries_max: map.take("deliveries").into_u32()?,
        backoff: read_backoff(map.take("backoff"))?,
        lease: map.take("lease").into_millis()?,
        dead_letter: map.take("dead-letter").into_option(Value::into_bytes)?,
        key: map.take("key").into_option(Value::into_bytes)?,
        filter: map
            .take("filter")
            .into_option(|value| Ok(Filter { conditions: value.into_list(read_condition)? }))?,
        required: map.take("required").into_flag()?,
        retry_for_max: map.take("retry-for").into_option(Value::into_millis)?,
        reset_on_class: map.take("reset-on-class").into_flag()?,
    })
}

/// `[LIST, milliseconds …]` or `[EXPONENTIAL, first, factor, max, jitter]`
fn backoff(backoff: &Backoff) -> Value {
    let (name, numbers) = match backoff {
        Backoff::List(delays) => ("LIST", delays.iter().map(|delay| millis(*delay)).collect()),
        Backoff::Exponential { first, factor_percent, max, jitter_percent } => {
            let (factor, jitter) = (u64::from(*factor_percent), u64::from(*jitter_percent));
            ("EXPONENTIAL", vec![millis(*first), factor, millis(*max), jitter])
        }
    };
    let mut items = vec![Value::simple(name)];
    items.extend(numbers.into_iter().map(Value::count));
    Value::Array(items)
}

fn read_backoff(value: Value) -> Result<Backoff, Error> {
    let mut items = value.into_items()?.into_iter();
    let name = items.next().ok_or_else(|| malformed("a backoff"))?.into_bytes()?;
    let numbers: Vec<u64> = items.map(Value::into_u64).collect::<Result<_, _>>()?;
    match (&name[..], &numbers[..]) {
        (b"LIST", delays) => Ok(Backoff::List(delays.iter().copied().map(Duration::from_millis).collect())),
        (b"EXPONENTIAL", &[first, factor, max, jitter]) => {
            let percent = |number| u32::try_from(number).map_err(|_| malformed("a percentage"));
            Ok(Backoff::Exponential {
                first: Duration::from_millis(first),
                factor_percent: percent(factor)?,
                max: Duration::from_millis(max),
                jitter_percent: percent(jitter)?,
            })
        }
        _ => Err(malformed("a backoff")),
    }
}

/// `[FIELD, name | TYPE | TENANT, EQUALS | IN | PREFIX, value …]`
fn condition(condition: Condition) -> Value {
    let mut items = match condition.field {
        FieldName::Exact(name) => vec![Value::simple("FIELD"), Value::Bulk(name)],
        FieldName::Type => vec![Value::simple("TYPE")],
        FieldName::Tenant => vec![Value::simple("TENANT")],
    };
    match condition.test {
        ConditionTest::Equals(value) => items.extend([Value::simple("EQUALS"), Value::Bulk(value)]),
        ConditionTest::In(values) => {
            items.push(Value::simple("IN"));
            items.extend(values.into_iter().map(Value::Bulk));
        }
        ConditionTest::Prefix(value) => items.extend([Value::simple("PREFIX"), Value::Bulk(value)]),
    }
    Value::Array(items)
}

fn read_condition(value: Value) -> Result<Condition, Error> {
    let mut items = value.into_items()?.into_iter();
    let mut word = || items.next().ok_or_else(|| malformed("a condition"))?.into_bytes();
    let field = match &word()?[..] {
        b"FIELD" => FieldName::Exact(word()?),
        b"TYPE" => FieldName::Type,
        b"TENANT" => FieldName::Tenant,
        _ => return Err(malformed("a condition")),
    };
    let test = match &word()?[..] {
        b"EQUALS" => ConditionTest::Equals(word()?),
        b"IN" => ConditionTest::In(items.map(Value::into_bytes).collect::<Result<_, _>>()?),
        b"PREFIX" => ConditionTest::Prefix(word()?),
        _ => return Err(malformed("a condition")),
    };
    Ok(Condition { field, test })
}
