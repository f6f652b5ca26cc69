//! A policy as names and values of the group's hash, which the scripts read.

use std::time::Duration;

use weir_core::{
    Backoff, Condition, ConditionTest, Error, FieldName, Filter, Policy, dead_letters_of, slot_name,
};

/// Names and values, as `HSET` takes them.
pub(crate) type Stored = Vec<(Vec<u8>, Vec<u8>)>;

/// Of a policy everything but what is left out.
///
/// # Errors
/// `Invalid` when no key can be kept beside the stream or its dead letters.
pub(crate) fn encode(stream: &[u8], group: &[u8], policy: &Policy) -> Result<Stored, Error> {
    let default_dead = dead_letters_of(stream, group)?;
    let dead = policy.dead_letter.as_ref().unwrap_or(&default_dead);
    let dead_side = [&slot_name(dead)?, b":weir:stream".as_slice()].concat();
    let mut stored = vec![
        pair("failures_max", policy.failures_max.to_string()),
        pair("deliveries_max", policy.deliveries_max.to_string()),
        pair("backoff", encode_backoff(&policy.backoff)),
        pair("lease", millis(policy.lease).to_string()),
        pair("dead", dead.clone()),
        pair("dead_side", dead_side),
    ];
    if policy.dead_letter.is_some() {
        stored.push(pair("dead_custom", "1"));
    }
    stored.extend(policy.key.as_ref().map(|key| pair("key", key.clone())));
    stored.extend(policy.filter.as_ref().map(|filter| pair("filter", encode_filter(filter))));
    if policy.required {
        stored.push(pair("required", "1"));
    }
    stored.extend(policy.retry_for_max.map(|max| pair("retry_for", millis(max).to_string())));
    if policy.reset_on_class {
        stored.push(pair("reset", "1"));
    }
    Ok(stored)
}

/// The policy among the names and values of a group; `None` when it has none.
pub(crate) fn decode(stored: &[(Vec<u8>, Vec<u8>)]) -> Option<Policy> {
    let bytes =
        |name: &str| stored.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| value);
    let number = |name: &str| std::str::from_utf8(bytes(name)?).ok()?.parse::<u64>().ok();
    Some(Policy {
        failures_max: u32::try_from(number("failures_max")?).ok()?,
        deliveries_max: u32::try_from(number("deliveries_max")?).ok()?,
        backoff: decode_backoff(std::str::from_utf8(bytes("backoff")?).ok()?)?,
        lease: Duration::from_millis(number("lease")?),
        dead_letter: bytes("dead_custom").and_then(|_| bytes("dead")).cloned(),
        key: bytes("key").cloned(),
        filter: match bytes("filter") {
            Some(packed) => Some(decode_filter(packed)?),
            None => None,
        },
        required: bytes("required").is_some(),
        retry_for_max: number("retry_for").map(Duration::from_millis),
        reset_on_class: bytes("reset").is_some(),
    })
}

/// The most that a script counts to: its numbers are floating.
const EXACT_MAX: u64 = 1 << 53;

/// Whole milliseconds, at most what a script can count.
pub(crate) fn millis(duration: Duration) -> u64 {
    countable(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A count, at most what a script can count.
pub(crate) fn countable(count: u64) -> u64 {
    count.min(EXACT_MAX)
}

fn pair(name: &str, value: impl Into<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.into())
}

fn encode_backoff(backoff: &Backoff) -> String {
    match backoff {
        Backoff::List(delays) => {
            let delays: Vec<_> = delays.iter().map(|delay| millis(*delay).to_string()).collect();
            format!("list {}", delays.join(" "))
        }
        Backoff::Exponential { first, factor_percent, max, jitter_percent } => {
            format!("exp {} {factor_percent} {} {jitter_percent}", millis(*first), millis(*max))
        }
    }
}

fn decode_backoff(text: &str) -> Option<Backoff> {
    let mut words = text.split_ascii_whitespace();
    let kind = words.next()?;
    let numbers = words.map(str::parse::<u64>).collect::<Result<Vec<_>, _>>().ok()?;
    match (kind, &numbers[..]) {
        ("list", _) => Some(Backoff::List(numbers.into_iter().map(Duration::from_millis).collect())),
        ("exp", [first, factor, max, jitter]) => Some(Backoff::Exponential {
            first: Duration::from_millis(*first),
            factor_percent: u32::try_from(*factor).ok()?,
            max: Duration::from_millis(*max),
            jitter_percent: u32::try_from(*jitter).ok()?,
        }),
        _ => None,
    }
}

/// Per condition: kind of name, name, test, number of values, values; each as length, colon, bytes.
fn encode_filter(filter: &Filter) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut put = |text: &[u8]| {
        packed.extend_from_slice(text.len().to_string().as_bytes());
        packed.push(b':');
        packed.extend_from_slice(text);
    };
    for condition in &filter.conditions {
        let (kind, name): (&[u8], &[u8]) = match &condition.field {
            FieldName::Exact(name) => (b"exact", name),
            FieldName::Type => (b"type", b""),
            FieldName::Tenant => (b"tenant", b""),
        };
        let (test, values): (&[u8], &[Vec<u8>]) = match &condition.test {
            ConditionTest::Equals(value) => (b"equals", std::slice::from_ref(value)),
            ConditionTest::In(values) => (b"in", values),
            ConditionTest::Prefix(value) => (b"prefix", std::slice::from_ref(value)),
        };
        put(kind);
        put(name);
        put(test);
        put(values.len().to_string().as_bytes());
        values.iter().for_each(|value| put(value));
    }
    packed
}

fn decode_filter(mut packed: &[u8]) -> Option<Filter> {
    let mut texts = Vec::new();
    while !packed.is_empty() {
        let colon = packed.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&packed[..colon]).ok()?.parse().ok()?;
        let text = packed.get(colon + 1..)?.get(..length)?;
        texts.push(text.to_vec());
        packed = &packed[colon + 1 + length..];
    }
    let mut texts = texts.into_iter();
    let mut conditions = Vec::new();
    while let Some(kind) = texts.next() {
        let (name, test) = (texts.next()?, texts.next()?);
        let count: usize = std::str::from_utf8(&texts.next()?).ok()?.parse().ok()?;
        let values = (0..count).map(|_| texts.next()).collect::<Option<Vec<_>>>()?;
        let field = match &kind[..] {
            b"exact" => FieldName::Exact(name),
            b"type" => FieldName::Type,
            b"tenant" => FieldName::Tenant,
            _ => return None,
        };
        let test = match &test[..] {
            b"in" => ConditionTest::In(values),
            b"equals" => ConditionTest::Equals(values.into_iter().next()?),
            b"prefix" => ConditionTest::Prefix(values.into_iter().next()?),
            _ => return None,
        };
        conditions.push(Condition { field, test });
    }
    Some(Filter { conditions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_back_as_it_was() {
        let conditions = vec![
            Condition { field: FieldName::Type, test: ConditionTest::Prefix(b"order.".to_vec()) },
            Condition {
                field: FieldName::Tenant,
                test: ConditionTest::In(vec![b"a:b".to_vec(), Vec::new()]),
            },
            Condition {
                field: FieldName::Exact(b"\0:1".to_vec()),
                test: ConditionTest::Equals(b"3:x".to_vec()),
            },
        ];
        let full = Policy {
            backoff: Backoff::List(vec![Duration::from_millis(200), Duration::from_secs(1)]),
            dead_letter: Some(b"{s}:failed".to_vec()),
            key: Some(b"customer".to_vec()),
            filter: Some(Filter { conditions }),
            required: true,
            retry_for_max: Some(Duration::from_secs(60)),
            reset_on_class: true,
            ..Policy::recommended()
        };
        for policy in [full, Policy::recommended()] {
            assert_eq!(decode(&encode(b"s", b"g", &policy).unwrap()), Some(policy));
        }
        assert_eq!(decode(&[]), None);
    }
}
