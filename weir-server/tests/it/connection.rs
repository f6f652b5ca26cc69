//! Connections: greeting, authentication, protocols, the end.

use std::sync::Arc;

use weir_core::SystemClock;
use weir_server::resp::Config;

use crate::harness::{TestServer, check};

#[test]
fn greetings() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(
        client.ask("HELLO"),
        "*14 $6 server $5 redis $7 version $6 8.10.0 $5 proto :2 $2 id :1 $4 mode $10 standalone $4 role $6 master \
         $7 modules *0"
    );
    assert!(client.ask("hello 3 setname me").starts_with("%7 $6 server $5 redis"));
    client.check(&[
        ("CLIENT GETNAME", "$2 me"),
        ("HELLO 1", "-NOPROTO unsupported protocol version"),
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ("RESET", "+RESET"),
        ("CLIENT GETNAME", "$-1"),
        ("CLIENT SETINFO LIB-NAME redis-py", "+OK"),
        ("CLIENT SETINFO lib-ver 1.0", "+OK"),
        ("CLIENT SETINFO NOPE x", "-ERR Unrecognized option 'NOPE'"),
        ("CLIENT MAINT_NOTIFICATIONS ON", "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."),
        ("CLIENT ID", ":1"),
    ]);
}

#[test]
fn small_talk() {
    check(&[
        ("PING", "+PONG"),
        ("ping hello", "$5 hello"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("ECHO x", "$1 x"),
        ("SELECT 15", "+OK"),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT -1", "-ERR DB index is out of range"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("FOOO", "-ERR unknown command 'FOOO'"),
        ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
    ]);
}

#[test]
fn databases_are_apart() {
    check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("SELECT 1", "+OK"),
        ("XLEN s", ":0"),
        ("XADD s 5-1 a 1", "$3 5-1"),
        ("SELECT 0", "+OK"),
        ("XRANGE s - +", "*1 *2 $3 1-1 *2 $1 a $1 1"),
    ]);
}

#[test]
fn a_password_is_asked_for() {
    let config = Config { password: Some("secret".into()), ..Config::default() };
    let server = TestServer::with(config, Arc::new(SystemClock::new()));
    let mut client = server.client();
    client.check(&[
        ("XLEN s", "-NOAUTH Authentication required."),
        ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH nobody secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH default secret", "+OK"),
        ("XLEN s", ":0"),
        ("RESET", "+RESET"),
        ("XLEN s", "-NOAUTH Authentication required."),
    ]);
    assert!(client.ask("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert!(client.ask("HELLO 3 AUTH default secret").starts_with("%7"));
    // Authenticated in the same packet, a large request behind it is read under the larger limits.
    let mut bytes = Vec::new();
    weir_resp::command(&mut bytes, ["AUTH", "secret"]);
    let words: Vec<String> = (0..40).map(|nth| nth.to_string()).collect();
    weir_resp::command(
        &mut bytes,
        ["XADD", "s", "1-1"].into_iter().chain(words.iter().map(|w| &**w)).collect::<Vec<_>>(),
    );
    let mut other = server.client();
    other.send_bytes(&bytes);
    assert_eq!(other.reply(), "+OK");
    assert_eq!(other.reply(), "$3 1-1");
}

#[test]
fn without_a_password_any_is_right_for_the_default_user() {
    check(&[
        (
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ),
        ("AUTH default x", "+OK"),
        ("AUTH nobody x", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH a b c", "-ERR syntax error"),
    ]);
}

#[test]
fn replies_can_be_switched_off() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("CLIENT REPLY SKIP");
    client.send("XADD s 1-1 a 1");
    assert_eq!(client.ask("XLEN s"), ":1");
    client.send("CLIENT REPLY OFF");
    client.send("XADD s 1-2 a 1");
    assert_eq!(client.ask("CLIENT REPLY ON"), "+OK");
    assert_eq!(client.ask("XLEN s"), ":2");
}

#[test]
fn quitting() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("QUIT"), "+OK");
    assert!(client.is_closed());
}

#[test]
fn a_stopping_server_answers_what_it_has_received() {
    let mut server = TestServer::start();
    let mut client = server.client();
    client.is_quiet();
    for nth in 1..=100 {
        client.send(&format!("XADD s {nth} a 1"));
    }
    server.until("appends", || {
        server.engine.turn().len(weir_engine::KeyRef { ns: weir_engine::NamespaceNo(0), name: b"s" }).unwrap()
            > 0
    });
    server.stop();
    for nth in 1..=100 {
        assert!(client.reply().ends_with(&format!(" {nth}-0")));
    }
    assert!(client.is_closed());
}
