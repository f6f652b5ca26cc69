//! What there is to know of groups, consumers and lag, as values.

use weir_core::{ConsumerInfo, EntryId, Error, GroupInfo, GroupOrigin, Lag};

use crate::policy::{policy, read_policy};
use crate::value::{MapWriter, Value, malformed};

pub(crate) fn group_info(info: GroupInfo) -> Value {
    MapWriter::default()
        .put("name", Value::Bulk(info.name))
        .put("origin", Value::option(info.origin, origin))
        .put("last-delivered-id", Value::id(info.last_delivered_id))
        .put("pending", Value::count(info.pending))
        .put("consumers", Value::count(info.consumers))
        .put("paused", Value::flag(info.paused))
        .put("filtered", Value::count(info.filtered))
        .put("stale-settlements", Value::count(info.stale_settlements))
        .put("policy", Value::option(info.policy, policy))
        .done()
}

pub(crate) fn read_group_info(value: Value) -> Result<GroupInfo, Error> {
    let mut map = value.into_map()?;
    Ok(GroupInfo {
        name: map.take("name").into_bytes()?,
        origin: map.take("origin").into_option(read_origin)?,
        last_delivered_id: map.take("last-delivered-id").into_id()?,
        pending: map.take("pending").into_u64()?,
        consumers: map.take("consumers").into_u64()?,
        paused: map.take("paused").into_flag()?,
        filtered: map.take("filtered").into_u64()?,
        stale_settlements: map.take("stale-settlements").into_u64()?,
        policy: map.take("policy").into_option(read_policy)?,
    })
}

/// `BEGINNING`, `END`, or the ID after which it starts.
fn origin(origin: GroupOrigin) -> Value {
    match origin {
        GroupOrigin::Beginning => Value::simple("BEGINNING"),
        GroupOrigin::End => Value::simple("END"),
        GroupOrigin::After(id) => Value::id(id),
    }
}

fn read_origin(value: Value) -> Result<GroupOrigin, Error> {
    let text = value.into_bytes()?;
    Ok(match &text[..] {
        b"BEGINNING" => GroupOrigin::Beginning,
        b"END" => GroupOrigin::End,
        id => GroupOrigin::After(EntryId::parse(id, 0).map_err(|_| malformed("where a group starts"))?),
    })
}

pub(crate) fn consumer_info(info: ConsumerInfo) -> Value {
    MapWriter::default()
        .put("name", Value::Bulk(info.name))
        .put("pending", Value::count(info.pending))
        .put("idle", Value::millis(info.idle))
        .done()
}

pub(crate) fn read_consumer_info(value: Value) -> Result<ConsumerInfo, Error> {
    let mut map = value.into_map()?;
    Ok(ConsumerInfo {
        name: map.take("name").into_bytes()?,
        pending: map.take("pending").into_u64()?,
        idle: map.take("idle").into_millis()?,
    })
}

pub(crate) fn lag(lag: Lag) -> Value {
    MapWriter::default()
        .put("undelivered", Value::count(lag.undelivered))
        .put("pending", Value::count(lag.pending))
        .put("ready", Value::count(lag.ready))
        .put("delayed", Value::count(lag.delayed))
        .put("dead", Value::count(lag.dead))
        .put("oldest-undelivered", Value::option(lag.oldest_undelivered, Value::millis))
        .put("oldest-pending", Value::option(lag.oldest_pending, Value::millis))
        .put("arrivals-per-s", Value::Double(lag.arrivals_per_s))
        .put("drained-per-s", Value::Double(lag.drained_per_s))
        .put("eta", Value::option(lag.eta, Value::millis))
        .put("exact", Value::flag(lag.exact))
        .done()
}

pub(crate) fn read_lag(value: Value) -> Result<Lag, Error> {
    let mut map = value.into_map()?;
    Ok(Lag {
        undelivered: map.take("undelivered").into_u64()?,
        pending: map.take("pending").into_u64()?,
        ready: map.take("ready").into_u64()?,
        delayed: map.take("delayed").into_u64()?,
        dead: map.take("dead").into_u64()?,
        oldest_undelivered: map.take("oldest-undelivered").into_option(Value::into_millis)?,
        oldest_pending: map.take("oldest-pending").into_option(Value::into_millis)?,
        arrivals_per_s: map.take("arrivals-per-s").into_f64()?,
        drained_per_s: map.take("drained-per-s").into_f64()?,
        eta: map.take("eta").into_option(Value::into_millis)?,
        exact: map.take("exact").into_flag()?,
    })
}
