//! What came after Redis 7.0, each with the release that brought it; older servers are not asked.

use std::collections::HashMap;

use redis::streams::{
    StreamAddOptions, StreamAutoClaimOptions, StreamAutoClaimReply, StreamClaimOptions, StreamConfigOptions,
    StreamDeletionPolicy, StreamInfoStreamReplyWithIdempotency, StreamNackMode, StreamNackOptions,
    StreamRangeReply, StreamReadOptions, XAckDelStatusCode, XDelExStatusCode,
};
use redis::{Cmd, Value};

use crate::Case;
use crate::bench::{Bench, Failure, Outcome, Wire, entry, same, streams};
use crate::consumer_cases::{OTHER, count, delivered, read_group, row, rows};

/// Major and minor version of Redis.
type Release = (u32, u32);

const ALL: [(Release, Case); 6] = [
    ((7, 4), ("XREAD from + answers the newest entry", xread_newest)),
    ((8, 2), ("deletion knows who still refers to an entry", references)),
    ((8, 4), ("one read claims what others left and takes what is new", read_and_claim)),
    ((8, 6), ("a repeated idempotent append is answered with the first id", idempotence)),
    ((8, 8), ("a released entry is claimable at once", released)),
    ((8, 10), ("MAXCOUNT caps a read over all its streams", capped)),
];

const HOUR_MS: usize = 3_600_000;

/// The cases whose release the server has reached; says how many it has not.
pub fn up_to_server(bench: &Bench<'_>) -> Result<Vec<Case>, Failure> {
    let hello: HashMap<String, Value> = bench.open()?.query(&redis::cmd("HELLO"))?;
    let version: String = redis::from_redis_value(hello["version"].clone())?;
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(format!("HELLO says version {version:?}").into());
    };
    let cases: Vec<Case> =
        ALL.iter().filter(|(since, _)| *since <= (major, minor)).map(|(_, case)| *case).collect();
    let left = ALL.len() - cases.len();
    if left > 0 {
        println!(
            "redis-rs: the server is a Redis {major}.{minor}, so {left} cases of later releases are left out"
        );
    }
    Ok(cases)
}

fn xread_newest(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = delivered(bench, &mut wire, &bench.story.consumer, 1)?;
    let reply = wire.read(&Cmd::xread_options(&[&stream], &["+"], &count(3)))?;
    same("XREAD", reply, streams([(&stream, &bench.story.entries[4..])]))
}

fn references(bench: &Bench<'_>) -> Outcome {
    use StreamDeletionPolicy::{Acked, DelRef, KeepRef};
    use XDelExStatusCode::{Deleted, IdNotFound, NotDeletedUnacknowledgedOrStillReferenced as Kept};
    let mut wire = bench.open()?;
    let (name, group) = (&bench.story.consumer, &bench.story.group);
    let stream = delivered(bench, &mut wire, name, 2)?;
    let [first, second, third] = [0, 1, 2].map(|index| bench.story.id(index));
    let delete = |wire: &mut Wire, ids: &[&str], policy| -> Result<Vec<XDelExStatusCode>, Failure> {
        Ok(wire.query(&Cmd::xdel_ex(&stream, ids, policy))?)
    };

    let unasked = delete(&mut wire, &[first, third, "1-1"], Acked)?;
    same("pending, undelivered, unknown", unasked, vec![Kept, Kept, IdNotFound])?;
    same("XACK", wire.query(&Cmd::xack(&stream, group, &[first]))?, 1)?;
    same("acknowledged", delete(&mut wire, &[first], Acked)?, vec![Deleted])?;
    let both: Vec<XAckDelStatusCode> =
        wire.query(&Cmd::xack_del(&stream, group, &[second, first], KeepRef))?;
    same("XACKDEL", both, vec![XAckDelStatusCode::AcknowledgedAndDeleted, XAckDelStatusCode::IdNotFound])?;
    wire.read(&read_group(bench, name, &stream, ">", count(1)))?;
    same("with its references", delete(&mut wire, &[third], DelRef)?, vec![Deleted])?;
    same("XPENDING", rows(bench, &mut wire, &stream)?, vec![])?;
    let left: StreamRangeReply = wire.query(&Cmd::xrange_all(&stream))?;
    same("what is left", left.ids, bench.story.entries[3..].to_vec())
}

fn read_and_claim(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (name, group) = (&bench.story.consumer, &bench.story.group);
    let stream = delivered(bench, &mut wire, "dead", 1)?;
    let idle_for_long = StreamClaimOptions::default().idle(HOUR_MS).with_justid();
    wire.query::<Value>(&Cmd::xclaim_options(
        &stream,
        group,
        "dead",
        0,
        &[bench.story.id(0)],
        idle_for_long,
    ))?;

    let reply = wire.read(&read_group(bench, name, &stream, ">", count(3).claim(1_000)))?.unwrap_or_default();
    let idle = reply.first().and_then(|(_, entries)| entries.first()?.milliseconds_elapsed_from_delivery);
    same("idle", idle.is_some_and(|ms| (HOUR_MS..2 * HOUR_MS).contains(&ms)), true)?;
    let mut expected = bench.story.entries[..3].to_vec();
    for (entry, (idle, deliveries)) in expected.iter_mut().zip([(idle, 1), (Some(0), 0), (Some(0), 0)]) {
        entry.milliseconds_elapsed_from_delivery = idle;
        entry.delivered_count = Some(deliveries);
    }
    same("XREADGROUP CLAIM", Some(reply), streams([(&stream, &expected)]))?;
    let expected = vec![row(bench, 0, name, 2), row(bench, 1, name, 1), row(bench, 2, name, 1)];
    same("XPENDING", rows(bench, &mut wire, &stream)?, expected)
}

fn idempotence(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = bench.stream();
    wire.query::<String>(&Cmd::xadd(&stream, "1-1", &[("n", "old")]))?;
    let limits = StreamConfigOptions::with_idempotency_seconds(60)?.idempotency_maxsize(50)?;
    same("XCFGSET", wire.query::<String>(&Cmd::xcfgset(&stream, &limits))?, "OK".to_owned())?;
    let mut produce = |options: StreamAddOptions, n: &str| -> Result<String, Failure> {
        Ok(wire.query(&Cmd::xadd_options(&stream, "*", &[("n", n)], &options))?)
    };
    let options = StreamAddOptions::default;
    let id = produce(options().idmp("p1", "order-7"), "1")?;
    same("again", produce(options().idmp("p1", "order-7"), "2")?, id.clone())?;
    let other_producer = produce(options().idmp("p2", "order-7"), "3")?;
    let automatic = produce(options().idmpauto("p1"), "4")?;
    same("the same content", produce(options().idmpauto("p1"), "4")?, automatic.clone())?;
    let left: StreamRangeReply = wire.query(&Cmd::xrange_all(&stream))?;
    let expected =
        vec![entry("1-1", "old"), entry(&id, "1"), entry(&other_producer, "3"), entry(&automatic, "4")];
    same("XRANGE", left.ids, expected)?;
    let info: StreamInfoStreamReplyWithIdempotency = wire.query(&Cmd::xinfo_stream(&stream))?;
    same("limits", (info.idmp_duration, info.idmp_maxsize), (60, 50))?;
    let counters = (info.pids_tracked, info.iids_tracked, info.iids_added, info.iids_duplicates);
    same("counters", counters, (2, 3, 3, 2))
}

fn released(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (name, group) = (&bench.story.consumer, &bench.story.group);
    let stream = delivered(bench, &mut wire, name, 2)?;
    let failed = StreamNackOptions::new(StreamNackMode::Fail);
    same("XNACK", wire.query(&Cmd::xnack(&stream, group, &[bench.story.id(0), "1-1"], &failed))?, 1)?;
    same("XPENDING", rows(bench, &mut wire, &stream)?, vec![row(bench, 0, "", 1), row(bench, 1, name, 1)])?;
    let claim =
        Cmd::xautoclaim_options(&stream, group, OTHER, HOUR_MS, "0-0", StreamAutoClaimOptions::default());
    let reply: StreamAutoClaimReply = wire.query(&claim)?;
    same(
        "XAUTOCLAIM",
        (reply.next_stream_id.as_str(), reply.claimed),
        ("0-0", bench.story.entries[..1].to_vec()),
    )?;
    same("XPENDING", rows(bench, &mut wire, &stream)?, vec![row(bench, 0, OTHER, 2), row(bench, 1, name, 1)])
}

/// The library has no option for it yet, so the options come after it by hand.
fn capped(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (one, two) = (bench.key("one"), bench.key("two"));
    for id in ["1-1", "2-2", "3-3"] {
        for key in [&one, &two] {
            wire.query::<String>(&Cmd::xadd(key, id, &[("n", id)]))?;
        }
    }
    let read = redis::cmd("XREAD")
        .arg("MAXCOUNT")
        .arg(3)
        .arg(StreamReadOptions::default().count(2))
        .arg("STREAMS")
        .arg(&[&one, &two])
        .arg(&["0", "0"])
        .take();
    let (first, second) = (entry("1-1", "1-1"), entry("2-2", "2-2"));
    same("XREAD", wire.read(&read)?, streams([(&one, &[first.clone(), second]), (&two, &[first])]))
}
