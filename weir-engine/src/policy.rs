//! How policies and origins of groups stand in records and snapshots.
//!
//! Decoding trusts nothing: what is cut off or cannot be kept is `None`. Durations are whole milliseconds.

use std::time::Duration;

use weir_core::{Backoff, Condition, ConditionTest, FieldName, Filter, GroupOrigin, Policy};

use crate::record::{put_id, put_option, read_id};
use crate::varint::{Reader, put, put_bytes};

/// Bytes of a policy as it is stored, at most: what a record of the smallest log has room for.
pub(crate) const POLICY_BYTES_MAX: usize = 16 << 10;

const REQUIRED: u8 = 1;
const RESET_ON_CLASS: u8 = 2;

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The bytes of a policy.
pub(crate) fn encoded(policy: &Policy) -> Vec<u8> {
    let mut out = Vec::new();
    put_policy(&mut out, policy);
    out
}

pub(crate) fn put_policy(out: &mut Vec<u8>, policy: &Policy) {
    put(out, u64::from(policy.failures_max));
    put(out, u64::from(policy.deliveries_max));
    put_backoff(out, &policy.backoff);
    put(out, millis(policy.lease));
    put_name(out, policy.dead_letter.as_deref());
    put_name(out, policy.key.as_deref());
    let conditions = policy.filter.as_ref().map_or(&[][..], |filter| &filter.conditions);
    put(out, conditions.len() as u64);
    conditions.iter().for_each(|condition| put_condition(out, condition));
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(flag(policy.required, REQUIRED) | flag(policy.reset_on_class, RESET_ON_CLASS));
    put_option(out, policy.retry_for_max.map(millis));
}

pub(crate) fn read_policy(r: &mut Reader<'_>) -> Option<Policy> {
    let (failures_max, deliveries_max) = (read_u32(r)?, read_u32(r)?);
    let backoff = read_backoff(r)?;
    let lease = Duration::from_millis(r.varint()?);
    let (dead_letter, key) = (read_name(r)?, read_name(r)?);
    let conditions = (0..r.length()?).map(|_| read_condition(r)).collect::<Option<Vec<_>>>()?;
    let flags = r.byte()?;
    let retry_for_max = r.varint()?.checked_sub(1).map(Duration::from_millis);
    let policy = Policy {
        failures_max,
        deliveries_max,
        backoff,
        lease,
        dead_letter,
        key,
        filter: (!conditions.is_empty()).then_some(Filter { conditions }),
        required: flags & REQUIRED != 0,
        retry_for_max,
        reset_on_class: flags & RESET_ON_CLASS != 0,
    };
    policy.check().is_ok().then_some(policy)
}

fn put_backoff(out: &mut Vec<u8>, backoff: &Backoff) {
    match backoff {
        Backoff::List(delays) => {
            put(out, delays.len() as u64);
            delays.iter().for_each(|delay| put(out, millis(*delay)));
        }
        Backoff::Exponential { first, factor_percent, max, jitter_percent } => {
            // A list is never empty.
            put(out, 0);
            put(out, millis(*first));
            put(out, u64::from(*factor_percent));
            put(out, millis(*max));
            put(out, u64::from(*jitter_percent));
        }
    }
}

fn read_backoff(r: &mut Reader<'_>) -> Option<Backoff> {
    let delays = r.length()?;
    if delays > 0 {
        let delays = (0..delays).map(|_| r.varint().map(Duration::from_millis));
        return delays.collect::<Option<_>>().map(Backoff::List);
    }
    Some(Backoff::Exponential {
        first: Duration::from_millis(r.varint()?),
        factor_percent: read_u32(r)?,
        max: Duration::from_millis(r.varint()?),
        jitter_percent: read_u32(r)?,
    })
}

mod field {
    pub(super) const EXACT: u8 = 0;
    pub(super) const TYPE: u8 = 1;
    pub(super) const TENANT: u8 = 2;
}

mod test {
    pub(super) const EQUALS: u8 = 0;
    pub(super) const IN: u8 = 1;
    pub(super) const PREFIX: u8 = 2;
}

fn put_condition(out: &mut Vec<u8>, condition: &Condition) {
    match &condition.field {
        FieldName::Exact(name) => {
            out.push(field::EXACT);
            put_bytes(out, name);
        }
        FieldName::Type => out.push(field::TYPE),
        FieldName::Tenant => out.push(field::TENANT),
    }
    match &condition.test {
        ConditionTest::Equals(value) => {
            out.push(test::EQUALS);
            put_bytes(out, value);
        }
        ConditionTest::In(values) => {
            out.push(test::IN);
            put(out, values.len() as u64);
            values.iter().for_each(|value| put_bytes(out, value));
        }
        ConditionTest::Prefix(value) => {
            out.push(test::PREFIX);
            put_bytes(out, value);
        }
    }
}

fn read_condition(r: &mut Reader<'_>) -> Option<Condition> {
    let field = match r.byte()? {
        field::EXACT => FieldName::Exact(r.bytes()?.to_vec()),
        field::TYPE => FieldName::Type,
        field::TENANT => FieldName::Tenant,
        _ => return None,
    };
    let test = match r.byte()? {
        test::EQUALS => ConditionTest::Equals(r.bytes()?.to_vec()),
        test::IN => {
            let values = (0..r.length()?).map(|_| r.bytes().map(<[u8]>::to_vec));
            ConditionTest::In(values.collect::<Option<_>>()?)
        }
        test::PREFIX => ConditionTest::Prefix(r.bytes()?.to_vec()),
        _ => return None,
    };
    Some(Condition { field, test })
}

/// 0 = none made it so, then as [`GroupOrigin`].
pub(crate) fn put_origin(out: &mut Vec<u8>, origin: Option<GroupOrigin>) {
    match origin {
        None => out.push(0),
        Some(GroupOrigin::Beginning) => out.push(1),
        Some(GroupOrigin::End) => out.push(2),
        Some(GroupOrigin::After(id)) => {
            out.push(3);
            put_id(out, id);
        }
    }
}

pub(crate) fn read_origin(r: &mut Reader<'_>) -> Option<Option<GroupOrigin>> {
    Some(match r.byte()? {
        0 => None,
        1 => Some(GroupOrigin::Beginning),
        2 => Some(GroupOrigin::End),
        3 => Some(GroupOrigin::After(read_id(r)?)),
        _ => return None,
    })
}

/// Nothing, or something that is not empty.
fn put_name(out: &mut Vec<u8>, name: Option<&[u8]>) {
    put_bytes(out, name.unwrap_or_default());
}

fn read_name(r: &mut Reader<'_>) -> Option<Option<Vec<u8>>> {
    let name = r.bytes()?;
    Some((!name.is_empty()).then(|| name.to_vec()))
}

fn read_u32(r: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(r.varint()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_what_was_given() {
        let recommended = Policy::recommended();
        let all = Policy {
            backoff: Backoff::List(vec![Duration::ZERO, Duration::from_secs(3)]),
            dead_letter: Some(b"dead".to_vec()),
            key: Some(b"customer".to_vec()),
            filter: Some(Filter {
                conditions: vec![
                    Condition { field: FieldName::Type, test: ConditionTest::Prefix(b"order.".to_vec()) },
                    Condition { field: FieldName::Tenant, test: ConditionTest::Equals(b"acme".to_vec()) },
                    Condition {
                        field: FieldName::Exact(b"region".to_vec()),
                        test: ConditionTest::In(vec![b"eu".to_vec(), b"us".to_vec()]),
                    },
                ],
            }),
            required: true,
            retry_for_max: Some(Duration::from_secs(60)),
            reset_on_class: true,
            ..Policy::recommended()
        };
        for policy in [recommended, all] {
            let bytes = encoded(&policy);
            let mut reader = Reader::new(&bytes);
            assert_eq!(read_policy(&mut reader), Some(policy));
            assert!(reader.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(read_policy(&mut Reader::new(&bytes[..cut])), None, "cut at {cut}");
            }
        }
        for origin in [
            None,
            Some(GroupOrigin::Beginning),
            Some(GroupOrigin::End),
            Some(GroupOrigin::After(weir_core::EntryId::new(7, 1))),
        ] {
            let mut bytes = Vec::new();
            put_origin(&mut bytes, origin);
            assert_eq!(read_origin(&mut Reader::new(&bytes)), Some(origin));
        }
    }
}
