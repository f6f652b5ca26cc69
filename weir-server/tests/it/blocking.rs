//! Reads that wait: who is served, with what, when, and who is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_core::SystemClock;
use weir_server::Limits;
use weir_server::resp::Config;

use crate::harness::TestServer;

const ENTRY: &str = "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1";

#[test]
fn a_waiting_read_is_served_by_an_append() {
    let server = TestServer::start();
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.send("XREAD BLOCK 0 STREAMS s $");
    server.until_waiting(1);
    writer.check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    assert_eq!(reader.reply(), ENTRY);
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let server = TestServer::start();
    server.client().check(&[
        ("XREAD BLOCK 5 STREAMS s $", "*-1"),
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("XREADGROUP GROUP g c BLOCK 5 STREAMS s >", "*-1"),
    ]);
    assert_eq!(server.client3().ask("XREAD BLOCK 5 STREAMS s $"), "_");
    server.until_waiting(0);
}

#[test]
fn group_readers_are_served_in_the_order_they_came() {
    let server = TestServer::start();
    let mut writer = server.client();
    writer.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK")]);
    let mut readers: Vec<_> = (0..3)
        .map(|nth| {
            let mut reader = server.client();
            reader.send(&format!("XREADGROUP GROUP g c{nth} COUNT 1 BLOCK 0 STREAMS s >"));
            server.until_waiting(nth + 1);
            reader
        })
        .collect();
    writer.check(&[("MULTI", "+OK"), ("XADD s 1-1 a 1", "+QUEUED"), ("XADD s 1-2 a 1", "+QUEUED")]);
    assert_eq!(writer.ask("EXEC"), "*2 $3 1-1 $3 1-2");
    assert_eq!(readers[0].reply(), "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1");
    assert_eq!(readers[1].reply(), "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 1");
    server.until_waiting(1);
    writer.check(&[("XADD s 1-3 a 1", "$3 1-3")]);
    assert_eq!(readers[2].reply(), "*1 *2 $1 s *1 *2 $3 1-3 *2 $1 a $1 1");
}

#[test]
fn info_counts_the_streams_that_reads_wait_for() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK")]);
    let mut readers: Vec<_> = (0..3).map(|_| server.client()).collect();
    readers[0].send("XREADGROUP GROUP g a BLOCK 0 STREAMS s >");
    readers[1].send("XREADGROUP GROUP g b BLOCK 0 STREAMS s >");
    readers[2].send("XREAD BLOCK 0 STREAMS s t $ $");
    server.until_waiting(3);
    let info = client.ask("INFO clients");
    for line in ["blocked_clients:3", "total_blocking_keys:2", "total_blocking_keys_on_nokey:1"] {
        assert!(info.contains(&format!(" {line} ")), "{line} in {info}");
    }
}

#[test]
fn plain_readers_each_get_a_copy() {
    let server = TestServer::start();
    let mut readers: Vec<_> = (0..3).map(|_| server.client()).collect();
    for reader in &mut readers {
        reader.send("XREAD BLOCK 0 STREAMS other s $ $");
    }
    server.until_waiting(3);
    server.client().check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    for reader in &mut readers {
        assert_eq!(reader.reply(), ENTRY);
    }
}

#[test]
fn what_is_pipelined_behind_a_waiting_read_waits_too() {
    let server = TestServer::start();
    let mut reader = server.client();
    reader.send("XREAD BLOCK 0 STREAMS s $");
    reader.send("XLEN s");
    reader.send("PING");
    server.until_waiting(1);
    server.client().check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    assert_eq!(reader.reply(), ENTRY);
    assert_eq!(reader.reply(), ":1");
    assert_eq!(reader.reply(), "+PONG");
}

#[test]
fn a_pipeline_ends_at_each_waiting_read() {
    let server = TestServer::start();
    let mut reader = server.client();
    let mut bytes = Vec::new();
    for command in ["XREAD BLOCK 1 STREAMS s $", "PING", "XREAD BLOCK 1 STREAMS s $", "XLEN s"] {
        weir_resp::command(&mut bytes, command.split(' ').collect::<Vec<_>>());
    }
    reader.send_bytes(&bytes);
    for wanted in ["*-1", "+PONG", "*-1", ":0"] {
        assert_eq!(reader.reply(), wanted);
    }
}

#[test]
fn a_reader_that_left_is_given_nothing() {
    let server = TestServer::start();
    let mut writer = server.client();
    writer.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK")]);
    let mut reader = server.client();
    reader.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    server.until_waiting(1);
    drop(reader);
    server.until_waiting(0);
    writer.check(&[("XADD s 1-1 a 1", "$3 1-1"), ("XPENDING s g", "*4 :0 $-1 $-1 *-1")]);
}

/// The end of a connection is noticed behind a buffer that is full and that nobody empties while the read waits.
#[test]
fn a_reader_that_left_with_a_full_buffer_is_given_nothing() {
    let limits = Limits { input_bytes: 64 << 10, ..Limits::default() };
    let server = TestServer::with(Config { limits, ..Config::default() }, Arc::new(SystemClock::new()));
    let mut writer = server.client();
    writer.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK")]);
    let mut reader = server.client();
    reader.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    server.until_waiting(1);
    let ping = b"PING\r\n".repeat(14 << 10);
    reader.send_bytes(&ping);
    drop(reader);
    server.until_waiting(0);
    writer.check(&[("XADD s 1-1 a 1", "$3 1-1"), ("XPENDING s g", "*4 :0 $-1 $-1 *-1")]);
}

#[test]
fn group_readers_learn_that_their_group_has_gone() {
    let server = TestServer::start();
    let mut writer = server.client();
    writer.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK"), ("XGROUP CREATE t g $ MKSTREAM", "+OK")]);
    let mut reader = server.client();
    reader.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s t > >");
    server.until_waiting(1);
    writer.check(&[("XGROUP DESTROY t g", ":1")]);
    assert_eq!(
        reader.reply(),
        "-NOGROUP No such key 't' or consumer group 'g' in XREADGROUP with GROUP option"
    );
}

#[test]
fn group_readers_learn_that_their_stream_has_expired() {
    let server = TestServer::start();
    let mut writer = server.client();
    writer.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK")]);
    let mut reader = server.client();
    reader.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    server.until_waiting(1);
    writer.check(&[("PEXPIRE s 5", ":1")]);
    // Nobody asks for anything meanwhile.
    assert_eq!(
        reader.reply(),
        "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
    );
}

#[test]
fn claiming_readers_wake_when_a_row_is_old_enough() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c STREAMS s >", ENTRY),
    ]);
    let reply = client.ask("XREADGROUP GROUP g d BLOCK 10000 CLAIM 30 STREAMS s >");
    let idle =
        reply.strip_prefix("*1 *2 $1 s *1 *4 $3 1-1 *2 $1 a $1 1 :").and_then(|r| r.strip_suffix(" :1"));
    let idle: u64 = idle.expect(&reply).parse().unwrap();
    assert!((30..5_000).contains(&idle), "{idle}");
}

/// Rows come of age for several readers at once; the claim of the first moves the log before the others are asked.
#[test]
fn claiming_readers_that_are_due_together_are_all_served() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[("XGROUP CREATE s g 0 MKSTREAM", "+OK")]);
    for nth in 1..=4 {
        client.check(&[(&format!("XADD s {nth}-1 a 1"), &format!("$3 {nth}-1"))]);
    }
    assert!(client.ask("XREADGROUP GROUP g c STREAMS s >").starts_with("*1 *2 $1 s *4 "));
    let mut readers: Vec<_> = (0..4)
        .map(|nth| {
            let mut reader = server.client();
            let limits = "COUNT 1 MAXSIZE 1000 BLOCK 10000 CLAIM 300";
            reader.send(&format!("XREADGROUP GROUP g w{nth} {limits} STREAMS s >"));
            server.until_waiting(nth + 1);
            reader
        })
        .collect();
    clock.advance(Duration::from_millis(300));
    let mut ids = BTreeSet::new();
    server.until("all are served", || {
        clock.advance(Duration::from_millis(1));
        client.ask("PING") == "+PONG" && server.engine.turn().waiting_counts().0 == 0
    });
    for reader in &mut readers {
        let reply = reader.reply();
        let id = reply.strip_prefix("*1 *2 $1 s *1 *4 $3 ").and_then(|rest| rest.split(' ').next());
        ids.insert(id.expect(&reply).to_owned());
    }
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["1-1", "2-1", "3-1", "4-1"]);
}

#[test]
fn nothing_waits_inside_a_transaction() {
    let server = TestServer::start();
    server.client().check(&[("MULTI", "+OK"), ("XREAD BLOCK 0 STREAMS s $", "+QUEUED"), ("EXEC", "*1 *-1")]);
}

#[test]
fn appends_of_other_threads_serve_waiting_reads() {
    let server = TestServer::start();
    let mut reader = server.client();
    reader.send("XREAD BLOCK 0 STREAMS s $");
    server.until_waiting(1);
    let key = weir_engine::KeyRef { ns: weir_engine::NamespaceNo(0), name: b"s" };
    let append = weir_engine::Append {
        id: weir_engine::NewId::Exact(weir_core::EntryId::new(1, 1)),
        fields: &[b"a", b"1"],
        create: true,
        trim: None,
        producer: None,
    };
    server.engine.turn().append(key, &append).unwrap();
    server.engine.flush().unwrap();
    assert_eq!(reader.reply(), ENTRY);
}

#[test]
fn many_readers_are_all_served() {
    let server = TestServer::start();
    let mut writer = server.client();
    writer.check(&[("XGROUP CREATE s g $ MKSTREAM", "+OK")]);
    let mut readers: Vec<_> = (0..200).map(|_| server.client()).collect();
    for (nth, reader) in readers.iter_mut().enumerate() {
        reader.send(&format!("XREADGROUP GROUP g c{nth} COUNT 1 BLOCK 0 STREAMS s >"));
        server.until_waiting(nth + 1);
    }
    for nth in 1..=200 {
        writer.send(&format!("XADD s {nth} a 1"));
    }
    for (nth, reader) in readers.iter_mut().enumerate() {
        let reply = reader.reply();
        assert!(reply.contains(&format!(" {}-0 ", nth + 1)), "{nth}: {reply}");
    }
}
