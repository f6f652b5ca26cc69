//! Publish and subscribe, MONITOR.

use crate::harness::{TestServer, check, check3};
use weir_server::Limits;
use weir_server::resp::Config;

#[test]
fn subscribing_in_resp2() {
    let server = TestServer::start();
    let (mut listener, mut speaker) = (server.client(), server.client());
    listener.send("SUBSCRIBE x y");
    assert_eq!(listener.reply(), "*3 $9 subscribe $1 x :1");
    assert_eq!(listener.reply(), "*3 $9 subscribe $1 y :2");
    listener.check(&[("PSUBSCRIBE x*", "*3 $10 psubscribe $2 x* :3")]);
    speaker.check(&[
        ("PUBLISH x hello", ":2"),
        ("PUBLISH nobody hello", ":0"),
        ("PUBLISH x", "-ERR wrong number of arguments for 'publish' command"),
        ("PUBSUB CHANNELS", "*2 $1 x $1 y"),
        ("PUBSUB CHANNELS x*", "*1 $1 x"),
        (
            "PUBSUB CHANNELS a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
        ),
        ("PUBSUB NUMSUB x nobody", "*4 $1 x :1 $6 nobody :0"),
        ("PUBSUB NUMSUB", "*0"),
        ("PUBSUB NUMPAT", ":1"),
        ("PUBSUB FOO", "-ERR unknown subcommand 'FOO'. Try PUBSUB HELP."),
    ]);
    assert_eq!(listener.reply(), "*3 $7 message $1 x $5 hello");
    assert_eq!(listener.reply(), "*4 $8 pmessage $2 x* $1 x $5 hello");
    const REFUSED: &str =
        "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    listener.check(&[
        ("PING", "*2 $4 pong $0 "),
        ("PING q", "*2 $4 pong $1 q"),
        ("XLEN s", &format!("-ERR Can't execute 'xlen': {REFUSED}")),
        ("CLIENT ID", &format!("-ERR Can't execute 'client|id': {REFUSED}")),
        ("UNSUBSCRIBE x", "*3 $11 unsubscribe $1 x :2"),
        ("UNSUBSCRIBE", "*3 $11 unsubscribe $1 y :1"),
        ("UNSUBSCRIBE", "*3 $11 unsubscribe $-1 :1"),
        ("PUNSUBSCRIBE", "*3 $12 punsubscribe $2 x* :0"),
        ("XLEN s", ":0"),
    ]);
}

#[test]
fn unsubscribing_from_nothing() {
    check(&[("UNSUBSCRIBE", "*3 $11 unsubscribe $-1 :0"), ("PUNSUBSCRIBE", "*3 $12 punsubscribe $-1 :0")]);
    check3(&[("UNSUBSCRIBE", ">3 $11 unsubscribe _ :0"), ("UNSUBSCRIBE q", ">3 $11 unsubscribe $1 q :0")]);
}

#[test]
fn subscribing_in_resp3() {
    let server = TestServer::start();
    let mut client = server.client3();
    client.check(&[
        ("SUBSCRIBE x", ">3 $9 subscribe $1 x :1"),
        ("XLEN s", ":0"),
        ("PING", "+PONG"),
        ("PUBLISH x self", ":1"),
    ]);
    assert_eq!(client.reply(), ">3 $7 message $1 x $4 self");
    client.check(&[("MULTI", "+OK"), ("PUBLISH x in", "+QUEUED"), ("SUBSCRIBE q", "+QUEUED")]);
    assert_eq!(client.ask("EXEC"), "*2 :1 >3 $9 subscribe $1 q :2");
    assert_eq!(client.reply(), ">3 $7 message $1 x $2 in");
    client.check(&[("RESET", "+RESET"), ("PUBSUB CHANNELS", "*0")]);
}

#[test]
fn a_switched_off_client_gets_its_messages() {
    let server = TestServer::start();
    let (mut listener, mut speaker) = (server.client3(), server.client());
    listener.send("CLIENT REPLY OFF");
    listener.send("XLEN s");
    assert_eq!(listener.ask("SUBSCRIBE x"), ">3 $9 subscribe $1 x :1");
    speaker.check(&[("PUBLISH x m", ":1")]);
    assert_eq!(listener.reply(), ">3 $7 message $1 x $1 m");
}

#[test]
fn a_subscriber_that_has_gone_is_forgotten() {
    let server = TestServer::start();
    let mut speaker = server.client();
    for quit in [true, false] {
        let mut listener = server.client();
        listener.check(&[("SUBSCRIBE x", "*3 $9 subscribe $1 x :1")]);
        if quit {
            assert_eq!(listener.ask("QUIT"), "+OK");
        }
        drop(listener);
        server.until("the subscription ends", || speaker.ask("PUBSUB CHANNELS") == "*0");
        assert_eq!(speaker.ask("PUBLISH x m"), ":0");
    }
}

#[test]
fn a_subscriber_that_takes_nothing_is_disconnected() {
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let server = TestServer::with(config, std::sync::Arc::new(weir_core::SystemClock::new()));
    let (mut slow, mut speaker) = (server.client(), server.client());
    slow.check(&[("SUBSCRIBE x", "*3 $9 subscribe $1 x :1")]);
    let message = format!("PUBLISH x {}", "m".repeat(100_000));
    server.until("the slow one is disconnected", || speaker.ask(&message) == ":0");
    assert_eq!(speaker.ask("PUBSUB CHANNELS"), "*0");
}

#[test]
fn monitors_see_what_is_executed() {
    let (server, _) = TestServer::with_clock();
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    let from = format!("+1000.000000 [0 {}]", client.stream.local_addr().unwrap());
    client.check(&[
        ("XLEN a\"b", ":0"),
        ("AUTH default secret", "+OK"),
        ("MULTI", "+OK"),
        ("XLEN t", "+QUEUED"),
        ("EXEC", "*1 :0"),
        ("NOSUCH", "-ERR unknown command 'NOSUCH'"),
        ("SELECT 3", "+OK"),
    ]);
    client.ask("HELLO 2 AUTH default secret SETNAME me");
    for wanted in [
        "\"XLEN\" \"a\\\"b\"",
        "\"AUTH\" \"(redacted)\" \"(redacted)\"",
        "\"MULTI\"",
        "\"XLEN\" \"t\"",
        "\"EXEC\"",
    ] {
        assert_eq!(monitor.reply(), format!("{from} {wanted}"));
    }
    let from = from.replace("[0 ", "[3 ");
    assert_eq!(monitor.reply(), format!("{from} \"SELECT\" \"3\""));
    assert_eq!(
        monitor.reply(),
        format!("{from} \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"me\"")
    );
    monitor.check(&[("RESET", "+RESET")]);
    client.check(&[("PING", "+PONG")]);
    monitor.is_quiet();
}
