//! Clients that send nonsense, never read, or want everything for themselves.

use std::io::Read;
use std::sync::Arc;

use weir_core::SystemClock;
use weir_server::Limits;
use weir_server::resp::Config;

use crate::harness::TestServer;

#[test]
fn protocol_errors_are_answered_and_end_the_connection() {
    let server = TestServer::start();
    for (bytes, wanted) in [
        (&b"*1\r\n:4\r\n"[..], "-ERR Protocol error: expected '$', got ':'"),
        (b"*x\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*99999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"SET \"x\r\n", "-ERR Protocol error: unbalanced quotes in request"),
    ] {
        let mut client = server.client();
        client.send_bytes(bytes);
        assert_eq!(client.reply(), wanted);
        assert!(client.is_closed());
    }
}

#[test]
fn what_came_before_a_protocol_error_is_answered() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n:4\r\nPING\r\n");
    assert_eq!(client.reply(), "+PONG");
    assert_eq!(client.reply(), "+PONG");
    assert_eq!(client.reply(), "-ERR Protocol error: expected '$', got ':'");
    assert!(client.is_closed());
}

#[test]
fn browsers_are_sent_away() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nXADD s * a 1\r\n");
    assert!(client.is_closed());
    server.client().check(&[("XLEN s", ":0")]);
}

#[test]
fn requests_arrive_in_any_pieces() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut bytes = Vec::new();
    for nth in 1..=20 {
        weir_resp::command(&mut bytes, ["XADD", "s", &nth.to_string(), "field", "value"]);
    }
    for piece in bytes.chunks(7) {
        client.send_bytes(piece);
    }
    for nth in 1..=20 {
        assert!(client.reply().ends_with(&format!(" {nth}-0")));
    }
    client.send_bytes(b"\r\n*0\r\n*-1\r\nPING\r\n");
    assert_eq!(client.reply(), "+PONG");
}

#[test]
fn large_requests_and_answers_pass() {
    let server = TestServer::start();
    let mut client = server.client();
    let value = "x".repeat(3 << 20);
    let mut bytes = Vec::new();
    weir_resp::command(&mut bytes, ["XADD", "s", "1-1", "field", &value]);
    client.send_bytes(&bytes);
    assert_eq!(client.reply(), "$3 1-1");
    assert_eq!(client.ask("XRANGE s - +").len(), "*1 *2 $3 1-1 *2 $5 field $3145728 ".len() + value.len());
    client.is_quiet();
}

#[test]
fn a_client_that_never_reads_is_not_served_for_ever() {
    let limits = Limits { output_pause_bytes: 64 << 10, output_bytes: 4 << 20, ..Limits::default() };
    let server = TestServer::with(Config { limits, ..Config::default() }, Arc::new(SystemClock::new()));
    let mut client = server.client();
    let value = "x".repeat(100_000);
    let mut bytes = Vec::new();
    weir_resp::command(&mut bytes, ["XADD", "s", "1-1", "field", &value]);
    client.send_bytes(&bytes);
    assert_eq!(client.reply(), "$3 1-1");
    // 500 answers of 100 kB each, 50 MB in all, are asked for and not read.
    let mut greedy = server.client();
    for _ in 0..500 {
        greedy.send("XRANGE s - +");
    }
    // Others are served meanwhile, and no more is kept for it than it may have waiting.
    for _ in 0..100 {
        client.is_quiet();
        let list = client.ask("CLIENT LIST");
        let sizes = list.split(' ').filter_map(|word| word.strip_prefix("tot-mem=")?.parse::<usize>().ok());
        let largest = sizes.max().unwrap();
        assert!(largest < 1 << 20, "{largest}");
    }
    // And all of it comes once the client reads.
    for _ in 0..500 {
        assert!(greedy.reply().starts_with("*1 *2 $3 1-1"));
    }
    greedy.is_quiet();
}

#[test]
fn a_full_house_says_so() {
    let limits = Limits { clients: 2, ..Limits::default() };
    let server = TestServer::with(Config { limits, ..Config::default() }, Arc::new(SystemClock::new()));
    let (mut one, mut two) = (server.client(), server.client());
    one.is_quiet();
    two.is_quiet();
    let mut three = server.client();
    assert_eq!(three.reply(), "-ERR max number of clients reached");
    assert!(three.is_closed());
    drop(one);
    server.until("a place is free", || {
        let mut client = server.client();
        client.send("PING");
        let mut byte = [0];
        client.stream.read(&mut byte).is_ok_and(|got| got == 1 && byte[0] == b'+')
    });
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let server = TestServer::start();
    for round in 0..20 {
        let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send("XADD s * a 1");
            if round % 2 == 0 {
                client.send("XREAD BLOCK 0 STREAMS none $");
            }
        }
    }
    server.until_waiting(0);
    server.until("all appends", || server.client().ask("XLEN s") == ":400");
}
