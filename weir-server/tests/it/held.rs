//! Rounds whose answers wait for a flush while others are executed: who gets what, and in which order.

use std::net::Shutdown;
use std::sync::Arc;

use weir_core::SystemClock;
use weir_engine::{Engine, Fsync, KeyRef, NamespaceNo, Options};

use crate::gates::{Gate, GatedDisk};
use crate::harness::{TestClient, TestServer};

const MISCONF: &str =
    "-MISCONF a write to disk failed; nothing is accepted until the server is restarted on a working disk";

/// A server that flushes before it answers, and on whose disk flushes wait at a gate.
struct Story {
    gate: OpenAtTheEnd,
    server: TestServer,
    /// Entries appended to `s` so far.
    appended: u64,
}

/// A server whose flush never ends does not stop either.
struct OpenAtTheEnd(Arc<Gate>);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Story {
    fn start() -> Self {
        let disk = GatedDisk::new();
        let options = Options { background: false, fsync: Fsync::Always, ..Options::default() };
        let engine = Engine::open(Arc::new(disk.clone()), Arc::new(SystemClock::new()), options).unwrap();
        Self { gate: OpenAtTheEnd(disk.flushes.clone()), server: TestServer::on(engine), appended: 0 }
    }

    fn gate(&self) -> &Gate {
        &self.gate.0
    }

    /// Waits until so many entries were appended.
    fn until_appended(&mut self, more: u64) {
        self.appended += more;
        let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
        let wanted = self.appended;
        self.server.until("appends", || self.server.engine.turn().len(key).is_ok_and(|len| len == wanted));
    }

    /// Has what these clients send, an append each among it, executed in one round whose flush waits at the gate.
    fn hold(&mut self, commands: &[(&mut TestClient, &[&str])]) {
        self.gate().shut();
        // A single client's round is waited for on the spot, and meanwhile the others' requests arrive.
        let mut first = self.server.client();
        first.send("XADD s 1-0 a 1");
        self.gate().until_reached();
        let mut bytes = Vec::new();
        for (client, lines) in commands {
            bytes.clear();
            for line in *lines {
                weir_resp::command(&mut bytes, line.split(' ').collect::<Vec<_>>());
            }
            std::io::Write::write_all(&mut &client.stream, &bytes).unwrap();
        }
        self.gate().let_one_pass();
        assert_eq!(first.reply(), "$3 1-0");
        self.until_appended(1 + commands.len() as u64);
        self.gate().until_reached();
    }
}

#[test]
fn held_answers_come_in_order_to_whom_they_belong() {
    let mut story = Story::start();
    let (mut one, mut two) = (story.server.client(), story.server.client());
    let lines = ["XADD s * who x", "PING a", "XLEN none", "PING b"];
    story.hold(&[(&mut one, &lines), (&mut two, &lines)]);
    // More of them, and of somebody else, are executed while the first wait.
    let mut three = story.server.client();
    for client in [&mut one, &mut two, &mut three] {
        client.send("XADD s * who x");
        client.send("ECHO late");
    }
    story.until_appended(3);
    for client in [&one, &two, &three] {
        client.stream.set_nonblocking(true).unwrap();
        let nothing = client.stream.peek(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock, "answered before the flush");
        client.stream.set_nonblocking(false).unwrap();
    }
    story.gate().open();
    for client in [&mut one, &mut two] {
        assert!(client.reply().starts_with('$'));
        for wanted in ["$1 a", ":0", "$1 b"] {
            assert_eq!(client.reply(), wanted);
        }
    }
    for client in [&mut one, &mut two, &mut three] {
        assert!(client.reply().starts_with('$'));
        assert_eq!(client.reply(), "$4 late");
        client.is_quiet();
    }
}

#[test]
fn a_failed_flush_fails_every_answer_that_waits_for_it() {
    let mut story = Story::start();
    let (mut one, mut two) = (story.server.client(), story.server.client());
    let lines = ["XADD s * a 1", "XLEN s", "PING"];
    story.hold(&[(&mut one, &lines), (&mut two, &lines)]);
    let mut three = story.server.client();
    three.send("XADD s * a 1");
    three.send("PING");
    story.until_appended(1);
    story.gate().fail();
    story.gate().open();
    for client in [&mut one, &mut two] {
        for wanted in [MISCONF, MISCONF, "+PONG"] {
            assert_eq!(client.reply(), wanted);
        }
    }
    assert_eq!(three.reply(), MISCONF);
    assert_eq!(three.reply(), "+PONG");
}

#[test]
fn who_quits_or_sends_no_more_still_gets_what_is_held() {
    let mut story = Story::start();
    let (mut one, mut two) = (story.server.client(), story.server.client());
    story.hold(&[(&mut one, &["XADD s * a 1", "QUIT"]), (&mut two, &["XADD s * a 1", "PING"])]);
    two.stream.shutdown(Shutdown::Write).unwrap();
    // The end of what the second sends has been seen when the connection made after it is served.
    let mut three = story.server.client();
    three.send("XADD s * a 1");
    story.until_appended(1);
    story.gate().open();
    assert!(one.reply().starts_with('$'));
    assert_eq!(one.reply(), "+OK");
    assert!(one.is_closed());
    assert!(two.reply().starts_with('$'));
    assert_eq!(two.reply(), "+PONG");
    assert!(two.is_closed());
    assert!(three.reply().starts_with('$'));
}

#[test]
fn the_successor_in_a_place_gets_nothing_of_what_was_held_for_its_predecessor() {
    let mut story = Story::start();
    let (mut one, mut two) = (story.server.client(), story.server.client());
    story.hold(&[(&mut one, &["XADD s * a 1", "PING"]), (&mut two, &["XADD s * a 1"])]);
    let mut three = story.server.client();
    three.send(&format!("CLIENT KILL ADDR {}", one.stream.local_addr().unwrap()));
    assert!(one.is_closed());
    let mut successor = story.server.client();
    successor.send("ECHO mine");
    three.send("XADD s * a 1");
    story.until_appended(1);
    story.gate().open();
    assert_eq!(successor.reply(), "$4 mine");
    successor.is_quiet();
    assert_eq!(three.reply(), ":1");
    assert!(two.reply().starts_with('$'));
}

/// Clients that wait for the disk share a flush, give up when they said so, and keep nobody else waiting.
#[test]
fn who_waits_for_the_disk_waits_alone() {
    let disk = GatedDisk::new();
    let options = Options { background: false, fsync: Fsync::No, ..Options::default() };
    let engine = Engine::open(Arc::new(disk.clone()), Arc::new(SystemClock::new()), options).unwrap();
    let gate = OpenAtTheEnd(disk.flushes.clone());
    let server = TestServer::on(engine);
    let (mut one, mut two, mut other) = (server.client(), server.client(), server.client());
    gate.0.shut();
    one.check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    for _ in 0..64 {
        one.send("WAITAOF 1 0 0");
    }
    gate.0.until_reached();
    other.check(&[("PING", "+PONG"), ("XLEN s", ":1")]);
    two.check(&[("WAITAOF 1 0 5", "*2 :0 :0"), ("PING", "+PONG")]);
    let id = two.ask("CLIENT ID").replace(':', "");
    two.send("WAITAOF 1 0 0");
    server.until("it waits", || other.ask("INFO clients").contains(" blocked_clients:2 "));
    other.check(&[(&format!("CLIENT UNBLOCK {id}"), ":1")]);
    assert_eq!(two.reply(), "*2 :0 :0");
    // One flush is enough for all of them.
    gate.0.let_one_pass();
    for _ in 0..64 {
        assert_eq!(one.reply(), "*2 :1 :0");
    }
    other.check(&[("XADD s 2-1 a 1", "$3 2-1")]);
    one.send("WAITAOF 1 0 0");
    gate.0.until_reached();
    gate.0.fail();
    gate.0.open();
    assert_eq!(one.reply(), MISCONF);
}

/// RESET makes the client as new, and what was answered to it before is still on its way.
#[test]
fn a_reset_does_not_forget_that_answers_are_held() {
    let mut story = Story::start();
    let (mut one, mut two, mut three) = (story.server.client(), story.server.client(), story.server.client());
    story.hold(&[(&mut one, &["XADD s * a 1"]), (&mut two, &["XADD s * a 1"])]);
    // A round of its own, whose flush comes after the one that waits.
    three.send("XADD s * a 1");
    story.until_appended(1);
    one.send("RESET");
    three.send("XADD s * a 1");
    story.until_appended(1);
    story.gate().let_one_pass();
    assert!(one.reply().starts_with('$'));
    story.gate().until_reached();
    two.send(&format!("CLIENT KILL ADDR {}", one.stream.local_addr().unwrap()));
    assert!(one.is_closed());
    let mut successor = story.server.client();
    successor.send("ECHO mine");
    two.send("XADD s * a 1");
    story.until_appended(1);
    story.gate().open();
    assert_eq!(successor.reply(), "$4 mine");
    successor.is_quiet();
}
