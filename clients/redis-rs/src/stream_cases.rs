//! Reading, blocking, pipelines and transactions.

use std::time::{Duration, Instant};

use redis::streams::{StreamId, StreamRangeReply, StreamReadOptions, StreamTrimOptions, StreamTrimmingMode};
use redis::{Cmd, RedisResult, Value};

use crate::Case;
use crate::bench::{
    Bench, Failure, Outcome, WAIT_MAX_MS, Wire, answer, entry, fails_with, later, same, streams, text_of,
    values,
};
use crate::consumer_cases::{SMALLER_ID, count, read_group};

pub const ALL: &[Case] = &[
    ("fields keep their order, repetitions and bytes", bytes_and_order),
    ("ranges, deletion and trimming", ranges),
    ("XREAD answers every stream that has something, and nil else", xread),
    ("XREAD from $ sees only what comes, on every connection", xread_tail),
    ("a BLOCK that ends without data answers nil, no sooner", block_times_out),
    ("a blocked reader is woken by another connection", block_wakes),
    ("blocked readers of a group are served in their order", block_order),
    ("a reader that hung up takes nothing", hung_up),
    ("pipelined commands are answered in order, and fail alone", pipelines),
    ("MULTI runs as one and answers errors in place", multi),
    ("WATCH lets a transaction through only when nothing changed", watch),
    ("a BLOCK longer than the default response time-out", long_block),
];

const BLOCK: Duration = Duration::from_millis(100);
const BLOCK_MS: usize = 100;

fn add(wire: &mut Wire, stream: &str, id: &str, n: &str) -> RedisResult<String> {
    wire.query(&Cmd::xadd(stream, id, &[("n", n)]))
}

fn empty_group(bench: &Bench<'_>, wire: &mut Wire) -> Result<String, Failure> {
    let stream = bench.stream();
    wire.query::<String>(&Cmd::xgroup_create_mkstream(&stream, &bench.story.group, "$"))?;
    Ok(stream)
}

/// A read of the next new entry, as the named consumer.
fn next(bench: &Bench<'_>, name: &str, stream: &str, block_ms: usize) -> Cmd {
    read_group(bench, name, stream, ">", count(1).block(block_ms))
}

fn range(wire: &mut Wire, command: &Cmd) -> RedisResult<Vec<StreamId>> {
    wire.query::<StreamRangeReply>(command).map(|reply| reply.ids)
}

/// XPENDING of one entry that one consumer holds.
fn holds(bench: &Bench<'_>, wire: &mut Wire, stream: &str, id: &str, name: &str) -> Outcome {
    type Summary = (usize, String, String, Vec<(String, usize)>);
    let summary: Summary = wire.query(&Cmd::xpending(stream, &bench.story.group))?;
    same("XPENDING", summary, (1, id.to_owned(), id.to_owned(), vec![(name.to_owned(), 1)]))
}

fn bytes_and_order(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = bench.stream();
    let big = vec![b'x'; 100_000];
    let fields: [(&[u8], &[u8]); 4] =
        [(b"b", b"1"), (b"a", b"\x00\xff\r\n"), (b"b", b""), ("ключ".as_bytes(), &big)];
    same("XADD", wire.query::<String>(&Cmd::xadd(&stream, "7-7", &fields))?, "7-7".to_owned())?;
    let reply: Vec<(String, Vec<Vec<u8>>)> = wire.query(&Cmd::xrange_all(&stream))?;
    let flat = fields.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect();
    same("XRANGE", reply, vec![("7-7".to_owned(), flat)])
}

fn ranges(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (stream, entries) = (bench.stream(), &bench.story.entries);
    for (fields, entry) in bench.story.fields.iter().zip(entries) {
        wire.query::<String>(&Cmd::xadd(&stream, &entry.id, fields))?;
    }
    let exclusive = format!("({}", entries[1].id);
    same(
        "XRANGE",
        range(&mut wire, &Cmd::xrange_count(&stream, &entries[1].id, "+", 2))?,
        entries[1..3].to_vec(),
    )?;
    same(
        "exclusive",
        range(&mut wire, &Cmd::xrange(&stream, &exclusive, &entries[3].id))?,
        entries[2..4].to_vec(),
    )?;
    let newest = vec![entries[4].clone(), entries[3].clone()];
    same("XREVRANGE", range(&mut wire, &Cmd::xrevrange_count(&stream, "+", "-", 2))?, newest)?;
    let first = entries[0].id.as_str();
    same("XDEL", wire.query(&Cmd::xdel(&stream, &[first, first, "1-1"]))?, 1)?;
    let longest = StreamTrimOptions::maxlen(StreamTrimmingMode::Exact, 3);
    same("XTRIM MAXLEN", wire.query(&Cmd::xtrim_options(&stream, &longest))?, 1)?;
    let oldest = StreamTrimOptions::minid(StreamTrimmingMode::Exact, &entries[3].id);
    same("XTRIM MINID", wire.query(&Cmd::xtrim_options(&stream, &oldest))?, 1)?;
    let two = redis::streams::StreamMaxlen::Equals(2);
    let id: String = wire.query(&Cmd::xadd_maxlen(&stream, two, "*", &[("n", "1")]))?;
    let well_formed = id
        .split_once('-')
        .is_some_and(|(ms, seq)| ms.len() == 13 && (ms.to_owned() + seq).parse::<u128>().is_ok());
    same("XADD * is a time and a number", (well_formed, id.as_str()), (true, id.as_str()))?;
    same(
        "what is left",
        range(&mut wire, &Cmd::xrange_all(&stream))?,
        vec![entries[4].clone(), entry(&id, "1")],
    )
}

fn xread(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (one, two) = (bench.key("one"), bench.key("two"));
    for id in ["1-1", "2-2", "3-3"] {
        add(&mut wire, &one, id, id)?;
    }
    add(&mut wire, &two, "5-5", "5-5")?;
    let from_two: (&str, &[StreamId]) = (&two, &[entry("5-5", "5-5")]);
    let mut read = |ids: [&str; 2], options| wire.read(&Cmd::xread_options(&[&one, &two], &ids, &options));
    same("both", read(["1-1", "0"], count(1))?, streams([(&one, &[entry("2-2", "2-2")]), from_two]))?;
    same("one", read(["3-3", "0"], StreamReadOptions::default())?, streams([from_two]))?;
    same("none", read(["3-3", "5-5"], StreamReadOptions::default())?, None)
}

fn xread_tail(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = bench.stream();
    add(&mut wire, &stream, "1-1", "old")?;
    let tail =
        |block_ms| Cmd::xread_options(&[&stream], &["$"], &StreamReadOptions::default().block(block_ms));
    same("time-out", wire.read(&tail(BLOCK_MS))?, None)?;
    let mut readers = Vec::new();
    for label in ["tail-1", "tail-2"] {
        readers.push(later(bench.open_reader(label)?, tail(WAIT_MAX_MS)));
        bench.until_blocked(&mut wire, label)?;
    }
    add(&mut wire, &stream, "2-2", "new")?;
    for reader in readers {
        same("tail", answer(reader)?, streams([(&stream, &[entry("2-2", "new")])]))?;
    }
    Ok(())
}

fn block_times_out(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = empty_group(bench, &mut wire)?;
    let started = Instant::now();
    same("time-out", wire.read(&next(bench, &bench.story.consumer, &stream, BLOCK_MS))?, None)?;
    let elapsed = started.elapsed();
    same(&format!("answered after {elapsed:?}"), elapsed >= BLOCK - Duration::from_millis(5), true)
}

/// BLOCK 0 waits for ever, so here the client's own time-out is the only one.
fn block_wakes(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let (name, first) = (&bench.story.consumer, &bench.story.entries[0]);
    let stream = empty_group(bench, &mut wire)?;
    let reader = later(bench.open_reader(name)?, next(bench, name, &stream, 0));
    bench.until_blocked(&mut wire, name)?;
    wire.query::<String>(&Cmd::xadd(&stream, &first.id, &bench.story.fields[0]))?;
    same("woken", answer(reader)?, streams([(&stream, std::slice::from_ref(first))]))?;
    holds(bench, &mut wire, &stream, &first.id, name)
}

fn block_order(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = empty_group(bench, &mut wire)?;
    let mut readers = Vec::new();
    for name in ["first", "second"] {
        readers.push(later(bench.open_reader(name)?, next(bench, name, &stream, WAIT_MAX_MS)));
        bench.until_blocked(&mut wire, name)?;
    }
    let mut transaction = redis::pipe();
    transaction.atomic().xadd(&stream, "1-1", &[("n", "1")]).xadd(&stream, "2-2", &[("n", "2")]);
    same("EXEC", wire.query_all(&transaction)?, vec!["1-1".to_owned(), "2-2".to_owned()])?;
    for (reader, expected) in readers.into_iter().zip([entry("1-1", "1"), entry("2-2", "2")]) {
        same("served", answer(reader)?, streams([(&stream, &[expected])]))?;
    }
    Ok(())
}

/// A read that the client gives up on, and whose connection it then closes.
fn hung_up(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = empty_group(bench, &mut wire)?;
    let mut gone = bench.open_impatient("gone")?;
    if let Wire::Sync(connection) = &gone {
        connection.set_read_timeout(Some(2 * BLOCK))?; // the asynchronous connection has one of 500 ms
    }
    let lost = gone.read(&next(bench, "gone", &stream, WAIT_MAX_MS));
    same("the client gave up", lost.is_err_and(|error| error.is_timeout()), true)?;
    drop(gone);
    bench.until_gone(&mut wire, "gone")?;
    add(&mut wire, &stream, "1-1", "1")?;
    let name = &bench.story.consumer;
    let read = bench.open_reader(name)?.read(&next(bench, name, &stream, 1_000))?;
    same("the next reader", read, streams([(&stream, &[entry("1-1", "1")])]))?;
    holds(bench, &mut wire, &stream, "1-1", name)
}

fn pipelines(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = bench.stream();
    let ids: Vec<String> = (1..=500).map(|n| format!("{n}-0")).collect();
    let mut pipeline = redis::pipe();
    for id in &ids {
        pipeline.xadd(&stream, id, &[("n", id)]);
    }
    same("XADD × 500", &wire.query_all::<Vec<String>>(&pipeline)?, &ids)?;
    let expected = ids.iter().map(|id| entry(id, id)).collect();
    same("XRANGE", range(&mut wire, &Cmd::xrange_all(&stream))?, expected)?;

    let mut pipeline = redis::pipe();
    let shortest = StreamTrimOptions::maxlen(StreamTrimmingMode::Exact, 1);
    pipeline
        .xlen(&stream)
        .xadd(&stream, "1-0", &[("n", "x")])
        .xtrim_options(&stream, &shortest)
        .xlen(&stream);
    let replies = wire.query_all::<Vec<RedisResult<usize>>>(pipeline.ignore_errors())?;
    let shown: Vec<_> = replies.into_iter().map(|reply| reply.map_err(|error| text_of(&error))).collect();
    same("the second one fails", shown, vec![Ok(500), Err(SMALLER_ID.to_owned()), Ok(499), Ok(1)])
}

fn multi(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = empty_group(bench, &mut wire)?;
    let mut transaction = redis::pipe();
    transaction
        .atomic()
        .xadd(&stream, "5-5", &[("n", "1")])
        .xadd(&stream, "1-1", &[("n", "2")])
        .add_command(read_group(bench, &bench.story.consumer, &stream, ">", StreamReadOptions::default()))
        .add_command(next(bench, &bench.story.consumer, &stream, 60_000))
        .xack(&stream, &bench.story.group, &["5-5"]);
    let replies = wire.query_all::<Vec<RedisResult<Value>>>(transaction.ignore_errors())?;
    let [Ok(added), Err(refused), Ok(read), Ok(blocked), Ok(acknowledged)] = replies.as_slice() else {
        return Err(format!("EXEC: {replies:?}").into());
    };
    same("XADD", added, &Value::BulkString(b"5-5".to_vec()))?;
    same("XADD, refused", text_of(refused).as_str(), SMALLER_ID)?;
    let read = values(redis::from_redis_value(read.clone())?);
    same("XREADGROUP", read, streams([(&stream, &[entry("5-5", "1")])]))?;
    same("XREADGROUP BLOCK", blocked, &Value::Nil)?;
    same("XACK", acknowledged, &Value::Int(1))?;
    fails_with(wire.query::<Value>(&redis::cmd("EXEC")), "ERR EXEC without MULTI")
}

fn watch(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let mut other = bench.open()?;
    let stream = bench.stream();
    let watch = redis::cmd("WATCH").arg(&stream).take();
    let append = |id: &str| {
        let mut transaction = redis::pipe();
        transaction.atomic().xadd(&stream, id, &[("n", "w")]);
        transaction
    };
    add(&mut wire, &stream, "1-1", "1")?;
    same("WATCH", wire.query::<String>(&watch)?, "OK".to_owned())?;
    same("untouched", wire.query_all(&append("2-2"))?, Some(vec!["2-2".to_owned()]))?;

    wire.query::<String>(&watch)?;
    add(&mut other, &stream, "3-3", "3")?;
    same("changed", wire.query_all(&append("4-4"))?, None::<Vec<String>>)?;
    let written = vec![entry("1-1", "1"), entry("2-2", "w"), entry("3-3", "3")];
    same("what was written", range(&mut wire, &Cmd::xrange_all(&stream))?, written)?;

    wire.query::<String>(&watch)?;
    add(&mut other, &stream, "5-5", "5")?;
    same("UNWATCH", wire.query::<String>(&redis::cmd("UNWATCH"))?, "OK".to_owned())?;
    same("after UNWATCH", wire.query_all(&append("6-6"))?, Some(vec!["6-6".to_owned()]))
}

/// The asynchronous connection gives up after 500 ms by default. The server still serves the read, so what comes later
/// is delivered to nobody's ears; it is not lost, since the next read of the consumer's history finds it. With a
/// response time-out above BLOCK, and on the synchronous connection, which has none, the read just ends.
fn long_block(bench: &Bench<'_>) -> Outcome {
    let mut wire = bench.open()?;
    let stream = empty_group(bench, &mut wire)?;
    let name = &bench.story.consumer;
    if bench.mode.asynchronous {
        let mut impatient = bench.open_impatient(name)?;
        let lost = impatient.read(&next(bench, name, &stream, WAIT_MAX_MS));
        same("the client gave up", lost.is_err_and(|error| error.is_timeout()), true)?;
        add(&mut wire, &stream, "1-1", "1")?;
        let held = impatient.read(&read_group(bench, name, &stream, "0", count(10)))?;
        same("history", held, streams([(&stream, &[entry("1-1", "1")])]))?;
    }
    let mut patient = bench.open_reader("patient")?;
    same("time-out", patient.read(&next(bench, "patient", &stream, 800))?, None)?;
    let reader = later(patient, next(bench, "patient", &stream, WAIT_MAX_MS));
    bench.until_blocked(&mut wire, "patient")?;
    add(&mut wire, &stream, "2-2", "2")?;
    same("the same connection goes on", answer(reader)?, streams([(&stream, &[entry("2-2", "2")])]))
}
