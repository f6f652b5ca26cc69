//! What was answered survives; what cannot survive is not answered.

use std::sync::Arc;

use weir_core::SystemClock;
use weir_engine::{Engine, Fsync, KeyRef, NamespaceNo, Options, Range};
use weir_log::faulty::{Failure, FaultyDisk, Keep};
use weir_log::{Disk, LogOptions};

use crate::harness::TestServer;

const MISCONF: &str =
    "-MISCONF a write to disk failed; nothing is accepted until the server is restarted on a working disk";

fn open(disk: Arc<dyn Disk>) -> Engine {
    let log = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
    let options = Options { log, background: false, fsync: Fsync::Always, ..Options::default() };
    Engine::open(disk, Arc::new(SystemClock::new()), options).unwrap()
}

#[test]
fn after_a_failed_flush_nothing_is_told_of_keys() {
    let disk = FaultyDisk::new();
    let server = TestServer::on(open(Arc::new(disk.clone())));
    let mut client = server.client();
    client.check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    let mut reader = server.client();
    reader.send("XREAD BLOCK 0 STREAMS s $");
    server.until_waiting(1);
    for operation in 0..8 {
        disk.fail_at(disk.operations() + operation, Failure::Io);
    }
    client.check(&[
        ("XADD s 2-1 a 1", MISCONF),
        ("XLEN s", MISCONF),
        ("XADD s 3-1 a 1", MISCONF),
        ("PING", "+PONG"),
        ("CLIENT SETNAME me", "+OK"),
        ("MULTI", MISCONF),
    ]);
    // The reader was served from what the failed flush took back.
    assert_eq!(reader.reply(), MISCONF);
    let again = open(Arc::new(disk.after_crash(Keep::Nothing)));
    assert_eq!(ids(&again), ["1-1"]);
}

#[test]
fn what_was_answered_survives_a_power_cut() {
    for cut in 1..40 {
        let disk = FaultyDisk::new();
        let server = TestServer::on(open(Arc::new(disk.clone())));
        disk.cut_at(disk.operations() + cut);
        let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
        let mut answered = Vec::new();
        let mut is_cut = false;
        for nth in 1..=60_u64 {
            let client = &mut clients[nth as usize % 3];
            let reply = client.ask(&format!("XADD s {nth}-0 field value"));
            match reply.split_once(' ') {
                Some((_, id)) if reply.starts_with('$') => answered.push(id.to_owned()),
                _ => {
                    assert_eq!(reply, MISCONF);
                    is_cut = true;
                }
            }
        }
        assert!(is_cut, "the cut at {cut} did not come");
        for keep in [Keep::Nothing, Keep::Everything, Keep::Random(cut)] {
            let found = ids(&open(Arc::new(disk.after_crash(keep))));
            assert!(found.starts_with(&answered), "cut at {cut}: {found:?} lacks some of {answered:?}");
        }
    }
}

fn ids(engine: &Engine) -> Vec<String> {
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    let all =
        Range { start: weir_core::EntryId::MIN, end: weir_core::EntryId::MAX, count: None, reverse: false };
    let entries = engine.turn().range(key, &all).unwrap();
    entries.unwrap_or_default().iter().map(|entry| entry.id.to_string()).collect()
}
