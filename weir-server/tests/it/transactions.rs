//! MULTI, EXEC, DISCARD, WATCH.

use crate::harness::{TestServer, check};

#[test]
fn queued_commands_run_together() {
    check(&[
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH s", "-ERR WATCH inside MULTI is not allowed"),
        ("XADD s * a 1", "+QUEUED"),
        ("XADD s * a 1", "+QUEUED"),
        ("XADD s 0-0 a 1", "+QUEUED"),
        ("XLEN s", "+QUEUED"),
        ("EXEC", "*4 $9 1000000-0 $9 1000000-1 -ERR The ID specified in XADD must be greater than 0-0 :2"),
        ("MULTI", "+OK"),
        ("XADD s * a 1", "+QUEUED"),
        ("DISCARD", "+OK"),
        ("XLEN s", ":2"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ]);
}

#[test]
fn a_refused_command_spoils_the_transaction() {
    check(&[
        ("MULTI", "+OK"),
        ("XADD s * a 1", "+QUEUED"),
        ("NOSUCH", "-ERR unknown command 'NOSUCH'"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("MULTI", "+OK"),
        ("XLEN", "-ERR wrong number of arguments for 'xlen' command"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("XLEN s", ":0"),
    ]);
}

#[test]
fn a_watched_key_that_changed_stops_the_transaction() {
    let server = TestServer::start();
    let (mut one, mut other) = (server.client(), server.client());
    one.check(&[("WATCH s", "+OK"), ("MULTI", "+OK"), ("XADD s 1-1 a 1", "+QUEUED")]);
    other.check(&[("XADD s 5-5 a 1", "$3 5-5")]);
    one.check(&[("EXEC", "*-1"), ("XLEN s", ":1"), ("WATCH s", "+OK"), ("UNWATCH", "+OK")]);
    other.check(&[("XADD s 6-6 a 1", "$3 6-6")]);
    one.check(&[
        ("MULTI", "+OK"),
        ("XADD s 7-7 a 1", "+QUEUED"),
        ("EXEC", "*1 $3 7-7"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("WATCH s", "+OK"),
    ]);
    other.check(&[
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 5-5 *2 $1 a $1 1"),
        ("XACK s g 5-5", ":1"),
    ]);
    one.check(&[("MULTI", "+OK"), ("XLEN s", "+QUEUED"), ("EXEC", "*1 :3")]);
}

#[test]
fn protocols_change_inside_a_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check(&[
        ("MULTI", "+OK"),
        ("XREAD STREAMS s 0", "+QUEUED"),
        ("HELLO 3", "+QUEUED"),
        ("XREAD STREAMS s 0", "+QUEUED"),
    ]);
    let reply = client.ask("EXEC");
    assert!(reply.starts_with("*3 *-1 %7 $6 server"), "{reply}");
    assert!(reply.ends_with(" _"), "{reply}");
}
