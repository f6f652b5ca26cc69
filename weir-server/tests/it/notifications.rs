//! Keyspace notifications.

use std::time::Duration;

use weir_core::Timestamp;
use weir_engine::{KeyRef, NamespaceNo};

use crate::harness::{START, TestClient, TestServer, check};

const OK: &str = "+OK";

/// A server that tells these events, somebody who does things and somebody who listens to everything.
fn start(flags: &str) -> (TestServer, TestClient, TestClient) {
    let server = TestServer::start();
    let (mut client, mut listener) = (server.client(), server.client());
    client.check(&[(&format!("CONFIG SET notify-keyspace-events {flags}"), OK)]);
    listener.check(&[("PSUBSCRIBE *", "*3 $10 psubscribe $1 * :1")]);
    (server, client, listener)
}

/// What a listener to everything hears.
fn hears(listener: &mut TestClient, wanted: &[(&str, &str)]) {
    for (channel, message) in wanted {
        let told = format!("*4 $8 pmessage $1 * ${} {channel} ${} {message}", channel.len(), message.len());
        assert_eq!(listener.reply(), told);
    }
}

/// Nothing more was told.
fn hears_nothing(listener: &mut TestClient) {
    assert_eq!(listener.ask("PING"), "*2 $4 pong $0 ");
}

#[test]
fn the_setting_is_read_back_in_order() {
    check(&[
        ("CONFIG SET notify-keyspace-events KEA", OK),
        ("CONFIG GET notify-keyspace-events", "*2 $22 notify-keyspace-events $3 AKE"),
        ("CONFIG SET notify-keyspace-events tE", OK),
        ("CONFIG GET notify-keyspace-events", "*2 $22 notify-keyspace-events $2 tE"),
        ("CONFIG SET notify-keyspace-events \"\"", OK),
        ("CONFIG GET notify-keyspace-events", "*2 $22 notify-keyspace-events $0 "),
    ]);
}

#[test]
fn both_forms_are_told() {
    let (_server, mut client, mut listener) = start("KEA");
    client.check(&[("SELECT 2", OK), ("XADD s 1-1 a 1", "$3 1-1")]);
    hears(&mut listener, &[("__keyspace@2__:s", "xadd"), ("__keyevent@2__:xadd", "s")]);
    hears_nothing(&mut listener);
}

/// Nobody asks for anything when a key expires, and the clock stands long before the next tick.
#[test]
fn a_key_expires_on_an_idle_server_when_its_time_comes() {
    let (server, clock) = TestServer::with_clock();
    let (mut client, mut listener) = (server.client(), server.client());
    client.check(&[("CONFIG SET notify-keyspace-events Ex", OK)]);
    listener.check(&[("PSUBSCRIBE *", "*3 $10 psubscribe $1 * :1")]);
    client.check(&[("SET first v PX 20", OK), ("SET second v PX 50", OK), ("SET later v PX 500", OK)]);
    clock.advance(Duration::from_millis(30));
    hears(&mut listener, &[("__keyevent@0__:expired", "first")]);
    assert_eq!(server.engine.turn().next_expiry(), Some(Timestamp(START + 50)));
    clock.advance(Duration::from_millis(30));
    hears(&mut listener, &[("__keyevent@0__:expired", "second")]);
    hears_nothing(&mut listener);
}

#[test]
fn what_happens_to_streams() {
    let (_server, mut client, mut listener) = start("Kt");
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s MAXLEN 1 1-2 a 1", "$3 1-2"),
        ("XTRIM s MAXLEN 5", ":0"),
        ("XDEL s 7-7", ":0"),
        ("XGROUP CREATE s g 0", OK),
        ("XGROUP CREATECONSUMER s g c", ":1"),
        ("XREADGROUP GROUP g d STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 a $1 1"),
        ("XACK s g 1-2", ":1"),
        ("XGROUP DELCONSUMER s g c", ":0"),
        ("XGROUP SETID s g 0", OK),
        ("XGROUP DESTROY s g", ":1"),
        ("XSETID s 9-9", OK),
        ("XDELEX s IDS 1 1-2", "*1 :1"),
        ("DEL s", ":1"),
    ]);
    let events = [
        "xadd",
        "xadd",
        "xtrim",
        "xgroup-create",
        "xgroup-createconsumer",
        "xgroup-createconsumer",
        "xgroup-delconsumer",
        "xgroup-setid",
        "xgroup-destroy",
        "xsetid",
        "xdel",
    ];
    hears(&mut listener, &events.map(|event| ("__keyspace@0__:s", event)));
    hears_nothing(&mut listener);
}

#[test]
fn what_happens_to_keys() {
    let (server, mut client, mut listener) = start("Egx");
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("EXPIRE s 100", ":1"),
        ("PERSIST s", ":1"),
        ("RENAME s t", OK),
        ("COPY t u", ":1"),
        ("MOVE u 1", ":1"),
        ("DEL t", ":1"),
        ("SELECT 1", OK),
        ("PEXPIRE u 1", ":1"),
    ]);
    hears(
        &mut listener,
        &[
            ("__keyevent@0__:expire", "s"),
            ("__keyevent@0__:persist", "s"),
            ("__keyevent@0__:rename_from", "s"),
            ("__keyevent@0__:rename_to", "t"),
            ("__keyevent@0__:copy_to", "u"),
            ("__keyevent@0__:move_from", "u"),
            ("__keyevent@1__:move_to", "u"),
            ("__keyevent@0__:del", "t"),
            ("__keyevent@1__:expire", "u"),
            // Told although nobody asks for the key.
            ("__keyevent@1__:expired", "u"),
        ],
    );
    drop(server);
}

#[test]
fn transactions_tell_after_their_answer_and_switching_off_ends_it() {
    let server = TestServer::start();
    let mut client = server.client3();
    client.check(&[
        ("CONFIG SET notify-keyspace-events Kt", OK),
        ("SUBSCRIBE __keyspace@0__:s", ">3 $9 subscribe $16 __keyspace@0__:s :1"),
        ("MULTI", OK),
        ("XADD s 1-1 a 1", "+QUEUED"),
        ("XDEL s 1-1", "+QUEUED"),
        ("EXEC", "*2 $3 1-1 :1"),
    ]);
    for event in ["$4 xadd", "$4 xdel"] {
        assert_eq!(client.reply(), format!(">3 $7 message $16 __keyspace@0__:s {event}"));
    }
    client.check(&[("CONFIG SET notify-keyspace-events \"\"", OK), ("XADD s 1-2 a 1", "$3 1-2")]);
    client.is_quiet();
}

#[test]
fn what_others_do_in_the_engine_is_told_too() {
    let (server, mut client, mut listener) = start("Eg");
    client.check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    assert!(server.engine.turn().remove_key(key).unwrap());
    client.is_quiet();
    hears(&mut listener, &[("__keyevent@0__:del", "s")]);
}
