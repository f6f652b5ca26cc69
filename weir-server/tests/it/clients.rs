//! CLIENT: lists, ends, pauses.

use std::time::Duration;

use crate::harness::{TestClient, TestServer, check, check3};

/// The value of a field in a line of CLIENT LIST.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
    fields.find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name} in {line}")).1
}

fn local(client: &TestClient) -> String {
    client.stream.local_addr().unwrap().to_string()
}

#[test]
fn a_client_is_described() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("CLIENT SETNAME me", "+OK"),
        ("CLIENT SETINFO LIB-NAME lib", "+OK"),
        ("CLIENT SETINFO LIB-VER 1.2", "+OK"),
        ("SELECT 3", "+OK"),
        ("WATCH a b", "+OK"),
    ]);
    clock.advance(Duration::from_secs(5));
    let line = client.ask("CLIENT INFO");
    for (name, value) in [
        ("id", "1"),
        ("addr", &*local(&client)),
        ("laddr", &*server.address.to_string()),
        ("name", "me"),
        ("flags", "N"),
        ("db", "3"),
        ("sub", "0"),
        ("psub", "0"),
        ("ssub", "0"),
        ("multi", "-1"),
        ("watch", "2"),
        ("cmd", "client|info"),
        ("user", "default"),
        ("redir", "-1"),
        ("resp", "2"),
        ("lib-name", "lib"),
    ] {
        assert_eq!(field(&line, name), value, "{name} in {line}");
    }
    assert!(line.starts_with('$') && line.ends_with("lib-ver=1.2\n"), "{line}");
    client.check(&[("MULTI", "+OK"), ("CLIENT INFO", "+QUEUED"), ("PING", "+QUEUED")]);
    client.ask("EXEC");
    let verbatim = server.client3().ask("CLIENT INFO");
    assert!(verbatim.starts_with('=') && verbatim.contains(" txt:id=2 "), "{verbatim}");
}

#[test]
fn lists() {
    let server = TestServer::start();
    let (mut one, mut two, mut three) = (server.client(), server.client3(), server.client());
    assert_eq!(one.ask("CLIENT ID"), ":1");
    two.ask("SUBSCRIBE x");
    two.ask("PSUBSCRIBE y*");
    three.ask("MULTI");
    three.ask("PING");
    let ids = |reply: String| -> Vec<String> {
        reply.lines().map(|line| field(line.trim_start_matches(|c| c != 'i'), "id").to_owned()).collect()
    };
    assert_eq!(ids(one.ask("CLIENT LIST")), ["1", "2", "3"]);
    assert_eq!(ids(one.ask("CLIENT LIST TYPE normal")), ["1", "3"]);
    assert_eq!(ids(one.ask("CLIENT LIST TYPE PUBSUB")), ["2"]);
    assert_eq!(ids(one.ask("CLIENT LIST ID 3 1 77")), ["1", "3"]);
    let list = one.ask("CLIENT LIST");
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!((field(lines[1], "flags"), field(lines[1], "sub"), field(lines[1], "psub")), ("P", "1", "1"));
    assert_eq!((field(lines[2], "flags"), field(lines[2], "multi")), ("x", "1"));
    one.check(&[
        ("CLIENT LIST TYPE master", "$0 "),
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT LIST TYPE", "-ERR syntax error"),
        ("CLIENT LIST ID", "-ERR syntax error"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID"),
        ("CLIENT LIST FOO bar", "-ERR syntax error"),
    ]);
}

#[test]
fn kills() {
    let server = TestServer::start();
    let (mut one, mut two) = (server.client(), server.client());
    assert_eq!(one.ask("CLIENT ID"), ":1");
    assert_eq!(two.ask("CLIENT ID"), ":2");
    one.check(&[
        ("CLIENT KILL 1.2.3.4:5", "-ERR No such client"),
        ("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command"),
        ("CLIENT KILL ID 77", ":0"),
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL ID x", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT KILL USER nobody", "-ERR No such user 'nobody'"),
        ("CLIENT KILL SKIPME maybe", "-ERR syntax error"),
        ("CLIENT KILL ID 1 TYPE", "-ERR syntax error"),
        ("CLIENT KILL MAXAGE 0", "-ERR maxage should be greater than 0"),
        ("CLIENT KILL MAXAGE 1000", ":0"),
        ("CLIENT KILL ID 1", ":0"),
        (&format!("CLIENT KILL {}", local(&two)), "+OK"),
    ]);
    assert!(two.is_closed());
    let mut three = server.client();
    assert_eq!(three.ask("CLIENT ID"), ":3");
    three.send("XREAD BLOCK 0 STREAMS s $");
    server.until_waiting(1);
    one.check(&[
        ("CLIENT KILL TYPE normal USER default ID 3", ":1"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("CLIENT KILL TYPE normal SKIPME yes", ":0"),
        (&format!("CLIENT KILL LADDR {} SKIPME no", server.address), ":1"),
    ]);
    assert!(one.is_closed() && three.is_closed());
}

#[test]
fn a_waiting_read_is_ended() {
    let server = TestServer::start();
    let (mut waiting, mut other) = (server.client(), server.client());
    assert_eq!(waiting.ask("CLIENT ID"), ":1");
    for (how, reply) in [
        ("CLIENT UNBLOCK 1", "*-1"),
        ("CLIENT UNBLOCK 1 timeout", "*-1"),
        ("CLIENT UNBLOCK 1 ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        waiting.send("XREAD BLOCK 0 STREAMS s $");
        server.until_waiting(1);
        other.check(&[(how, ":1"), (how, ":0")]);
        assert_eq!(waiting.reply(), reply);
    }
    other.check(&[
        ("CLIENT UNBLOCK 1 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
        ("CLIENT UNBLOCK 77", ":0"),
    ]);
}

#[test]
fn pauses() {
    let server = TestServer::start();
    let (mut writer, mut other) = (server.client(), server.client());
    assert_eq!(writer.ask("CLIENT ID"), ":1");
    other.check(&[("CLIENT PAUSE 100000 WRITE", "+OK"), ("XLEN s", ":0")]);
    writer.send("XADD s 1-1 a 1");
    writer.send("XADD s 1-2 a 1");
    let is_waiting = |other: &mut TestClient| field(&other.ask("CLIENT LIST ID 1"), "flags") == "b";
    server.until("the writer waits", || is_waiting(&mut other));
    other.check(&[("XLEN s", ":0"), ("CLIENT UNPAUSE", "+OK")]);
    assert_eq!((writer.reply(), writer.reply()), ("$3 1-1".into(), "$3 1-2".into()));
    // A pause ends by itself, too, and one of everything can be ended by the one command that does that.
    other.check(&[("CLIENT PAUSE 20", "+OK")]);
    writer.check(&[("XLEN s", ":2")]);
    other.check(&[("CLIENT PAUSE 100000", "+OK"), ("CLIENT UNPAUSE", "+OK"), ("XLEN s", ":2")]);
    writer.check(&[("MULTI", "+OK"), ("XADD s 1-3 a 1", "+QUEUED")]);
    other.check(&[("CLIENT PAUSE 100000 WRITE", "+OK")]);
    writer.send("EXEC");
    server.until("the transaction waits", || field(&other.ask("CLIENT LIST ID 1"), "flags") == "xb");
    other.check(&[("XLEN s", ":2"), ("CLIENT UNPAUSE", "+OK")]);
    assert_eq!(writer.reply(), "*1 $3 1-3");
    other.check(&[
        ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
        ("CLIENT PAUSE -1", "-ERR timeout is negative"),
        ("CLIENT PAUSE 1 FOO", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
        (
            "CLIENT PAUSE 1 ALL x",
            "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
        ),
    ]);
}

#[test]
fn manners() {
    check(&[
        ("CLIENT NO-EVICT ON", "+OK"),
        ("CLIENT NO-EVICT off", "+OK"),
        ("CLIENT NO-EVICT maybe", "-ERR syntax error"),
        ("CLIENT NO-TOUCH ON", "+OK"),
        ("CLIENT NO-TOUCH maybe", "-ERR syntax error"),
        ("CLIENT GETREDIR", ":-1"),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING ON", "-ERR client tracking is not supported"),
        ("CLIENT TRACKING maybe", "-ERR syntax error"),
        ("CLIENT TRACKINGINFO", "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0"),
        (
            "CLIENT CACHING YES",
            "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        ),
        ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
        ("CLIENT maint_notifications on", "-ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP."),
    ]);
    check3(&[("CLIENT TRACKINGINFO", "%3 $5 flags ~1 $3 off $8 redirect :-1 $8 prefixes *0")]);
}
