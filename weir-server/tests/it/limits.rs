//! What clients may cost: memory that is counted, limits that refuse, and turns that are fair.

use std::io::Read;
use std::net::Shutdown;
use std::sync::Arc;

use weir_core::SystemClock;
use weir_engine::{Engine, Options};
use weir_server::Limits;
use weir_server::resp::Config;

use crate::harness::{TestClient, TestServer};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn start(limits: Limits) -> TestServer {
    TestServer::with(Config { limits, ..Config::default() }, Arc::new(SystemClock::new()))
}

/// What the server says of a client: the figure behind a word in its line of CLIENT LIST.
fn figure(asking: &mut TestClient, id: &str, name: &str) -> usize {
    let line = asking.ask(&format!("CLIENT LIST ID {id}"));
    let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{name} in {line}")).parse().unwrap()
}

fn id(client: &mut TestClient) -> String {
    client.ask("CLIENT ID").trim_start_matches(':').to_owned()
}

fn big(command: &[&str], bytes: usize) -> Vec<u8> {
    let mut request = Vec::new();
    let value = "x".repeat(bytes);
    weir_resp::command(&mut request, [command, &[&*value]].concat());
    request
}

#[test]
fn what_a_transaction_queues_counts_and_is_limited() {
    let server = start(Limits { queued_bytes: 4 * MIB, ..Limits::default() });
    let (mut client, mut other) = (server.client(), server.client());
    let id = id(&mut client);
    client.check(&[("MULTI", "+OK")]);
    for _ in 0..3 {
        client.send_bytes(&big(&["SET", "k"], MIB));
        assert_eq!(client.reply(), "+QUEUED");
    }
    assert!(figure(&mut other, &id, "multi-mem") >= 3 * MIB);
    assert!(figure(&mut other, &id, "tot-mem") >= 3 * MIB);
    let info = other.ask("INFO memory");
    let counted = info.split(' ').find_map(|line| line.strip_prefix("mem_clients_normal:")).unwrap();
    assert!(counted.parse::<usize>().unwrap() >= 3 * MIB, "{counted}");
    client.send_bytes(&big(&["SET", "k"], MIB));
    let refused = client.reply();
    assert!(refused.starts_with("-ERR the transaction is too large"), "{refused}");
    assert!(client.ask("EXEC").starts_with("-EXECABORT"));
    assert!(figure(&mut other, &id, "tot-mem") < MIB);
}

#[test]
fn who_holds_most_goes_when_all_hold_too_much() {
    let server = start(Limits { buffers_bytes: 32 * MIB, ..Limits::default() });
    let (mut modest, mut greedy, mut kept) = (server.client(), server.client(), server.client());
    modest.check(&[("MULTI", "+OK")]);
    modest.send_bytes(&big(&["SET", "k"], MIB));
    assert_eq!(modest.reply(), "+QUEUED");
    kept.check(&[("CLIENT NO-EVICT ON", "+OK"), ("MULTI", "+OK")]);
    for _ in 0..4 {
        kept.send_bytes(&big(&["SET", "k"], MIB));
        assert_eq!(kept.reply(), "+QUEUED");
    }
    greedy.check(&[("MULTI", "+OK")]);
    let request = big(&["SET", "k"], MIB);
    // It is gone before all of it has arrived.
    let sent =
        (0..64).take_while(|_| std::io::Write::write_all(&mut greedy.stream, &request).is_ok()).count();
    let mut rest = Vec::new();
    drop(greedy.stream.read_to_end(&mut rest));
    assert!(sent < 64 || rest.len() < 64 * "+QUEUED\r\n".len(), "{sent} taken");
    assert_eq!(modest.ask("EXEC"), "*1 +OK");
    assert_eq!(kept.ask("EXEC"), "*4 +OK +OK +OK +OK");
}

#[test]
fn watched_keys_count_once_and_are_limited() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    let id = id(&mut client);
    for _ in 0..100 {
        client.check(&[("WATCH a b a", "+OK")]);
    }
    assert_eq!(figure(&mut other, &id, "watch"), 2);
    other.check(&[("SET b 1", "+OK")]);
    client.check(&[("WATCH b", "+OK"), ("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*-1")]);
    assert_eq!(figure(&mut other, &id, "watch"), 0);
    let mut bytes = Vec::new();
    let names: Vec<String> = (0..65_536).map(|nth| format!("k{nth}")).collect();
    let words: Vec<&str> = std::iter::once("WATCH").chain(names.iter().map(|name| &**name)).collect();
    weir_resp::command(&mut bytes, words);
    client.send_bytes(&bytes);
    assert_eq!(client.reply(), "+OK");
    client
        .check(&[("WATCH k1 k65535", "+OK"), ("WATCH one-more", "-ERR too many watched keys of one client")]);
    assert!(figure(&mut other, &id, "tot-mem") > 65_536 * 16);
    client.check(&[("UNWATCH", "+OK"), ("WATCH one-more", "+OK")]);
    assert!(figure(&mut other, &id, "tot-mem") < MIB);
}

#[test]
fn subscriptions_count_and_are_limited() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    let id = id(&mut client);
    client.send_bytes(&big(&["SUBSCRIBE"], 65 * KIB));
    assert_eq!(client.reply(), "-ERR the name of a channel to subscribe to is limited to 64 KiB");
    client.send_bytes(&big(&["SUBSCRIBE"], 64 * KIB));
    assert!(client.reply().ends_with(" :1"));
    assert!(figure(&mut other, &id, "tot-mem") >= 2 * 64 * KIB);
    client.send("UNSUBSCRIBE");
    assert!(client.reply().ends_with(" :0"));
    assert!(figure(&mut other, &id, "tot-mem") < 64 * KIB);
    let mut bytes = Vec::new();
    let names: Vec<String> = (0..65_536).map(|nth| format!("c{nth}")).collect();
    let words: Vec<&str> = std::iter::once("SUBSCRIBE").chain(names.iter().map(|name| &**name)).collect();
    weir_resp::command(&mut bytes, words);
    client.send_bytes(&bytes);
    for nth in 1..=65_536 {
        assert!(client.reply().ends_with(&format!(" :{nth}")));
    }
    assert_eq!(client.ask("PSUBSCRIBE x*"), "-ERR too many subscriptions of one client");
}

#[test]
fn names_that_are_only_noted_are_cut() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(&big(&["CLIENT", "SETNAME"], MIB));
    assert_eq!(client.reply(), "+OK");
    let long = "u".repeat(MIB);
    assert!(client.ask(&format!("AUTH {long} wrong")).starts_with("-WRONGPASS"));
    assert!(client.ask("ACL LOG").len() < 8 * KIB);
    client.check(&[("CONFIG SET slowlog-log-slower-than 0", "+OK"), ("PING", "+PONG")]);
    assert!(client.ask("SLOWLOG GET").len() < 4 * KIB);
}

/// Long answers are made piece by piece, as they are taken, and a piece is bounded in bytes, not only in entries.
#[test]
fn a_reader_that_stops_holds_little_whatever_its_entries_are_like() {
    let server = TestServer::start();
    let mut writer = server.client();
    for _ in 0..2_100 {
        writer.send("XADD s * a 1");
    }
    (0..2_100).for_each(|_| assert!(writer.reply().starts_with('$')));
    for _ in 0..60 {
        writer.send_bytes(&big(&["XADD", "s", "*", "f"], MIB));
        assert!(writer.reply().starts_with('$'));
    }
    for command in ["XRANGE s - +", "XREVRANGE s + - COUNT 60", "XREAD COUNT 9999 STREAMS s 0"] {
        let mut reader = server.client();
        let id = id(&mut reader);
        reader.send(command);
        // It takes a little and then no more.
        reader.stream.read_exact(&mut vec![0; 80 * KIB]).unwrap();
        server.until("as much is rendered as will be", || {
            let before = figure(&mut writer, &id, "tot-mem");
            (0..10).for_each(|_| writer.is_quiet());
            before == figure(&mut writer, &id, "tot-mem")
        });
        let held = figure(&mut writer, &id, "tot-mem");
        assert!(held < 6 * MIB, "{command}: {held}");
    }
}

#[test]
fn a_transaction_that_answers_or_tells_too_much_is_cut_short() {
    const REFUSED: &str = "-ERR the transaction answers too much for one; send smaller ones";
    let server = TestServer::start();
    let (mut client, mut listener) = (server.client(), server.client());
    client.send_bytes(&big(&["SET", "k"], MIB - KIB));
    assert_eq!(client.reply(), "+OK");
    client.check(&[("MULTI", "+OK")]);
    (0..80).for_each(|_| client.check(&[("GET k", "+QUEUED")]));
    client.check(&[("SET late 1", "+QUEUED")]);
    let answer = client.ask("EXEC");
    assert!(answer.len() < 70 * MIB && answer.ends_with(REFUSED), "{}", answer.len());
    client.check(&[("EXISTS late", ":0")]);

    assert!(listener.ask("SUBSCRIBE c").ends_with(":1"));
    client.check(&[("MULTI", "+OK")]);
    for _ in 0..40 {
        client.send_bytes(&big(&["PUBLISH", "c"], MIB));
        assert_eq!(client.reply(), "+QUEUED");
    }
    let answer = client.ask("EXEC");
    assert!(answer.starts_with("*40 :1 ") && answer.ends_with(REFUSED), "{answer}");
    let told = answer.matches(":1").count();
    assert!((16..20).contains(&told), "{told}");
    for _ in 0..told {
        assert!(listener.reply().starts_with("*3 $7 message $1 c "));
    }
    client.check(&[("PUBLISH c last", ":1")]);
    assert_eq!(listener.reply(), "*3 $7 message $1 c $4 last");
}

#[test]
fn requests_are_limited() {
    let server = start(Limits { request_bytes: 1_000, ..Limits::default() });
    let mut client = server.client();
    client.send_bytes(&big(&["ECHO"], 900));
    assert!(client.reply().starts_with("$900 "));
    client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$1001\r\n");
    assert_eq!(client.reply(), "-ERR Protocol error: invalid bulk length");
    assert!(client.is_closed());
}

/// Behind a read that waits, only so much is taken in; the rest stays with the system until it is needed.
#[test]
fn input_that_waits_is_limited_and_none_of_it_is_lost() {
    const REQUESTS: usize = 400;
    let server = start(Limits { input_bytes: 64 * KIB, ..Limits::default() });
    let (mut client, mut other) = (server.client(), server.client());
    let id = id(&mut client);
    client.send("XREAD BLOCK 0 STREAMS s $");
    server.until_waiting(1);
    let request = big(&["ECHO"], 10 * KIB);
    let mut stream = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        (0..REQUESTS).for_each(|_| std::io::Write::write_all(&mut stream, &request).unwrap());
    });
    server.until("its buffer is full", || figure(&mut other, &id, "tot-mem") > 64 * KIB);
    (0..100).for_each(|_| other.is_quiet());
    assert!(figure(&mut other, &id, "tot-mem") < 160 * KIB);
    other.check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    assert!(client.reply().starts_with("*1 "));
    (0..REQUESTS).for_each(|_| assert!(client.reply().starts_with("$10240 ")));
    sending.join().unwrap();
}

/// A client that has sent a thousand commands does not make another wait for all of them.
#[test]
fn clients_take_turns() {
    let limits = Limits { client_commands: 4, turn_commands: 8, round_commands: 8, ..Limits::default() };
    let server = start(limits);
    let (mut greedy, mut modest) = (server.client(), server.client());
    // Until then both only collect what they have to do.
    greedy.check(&[("CLIENT PAUSE 100000 WRITE", "+OK")]);
    let mut bytes = Vec::new();
    (0..1_000).for_each(|_| weir_resp::command(&mut bytes, ["INCR", "n"]));
    greedy.send_bytes(&bytes);
    modest.send("INCR n");
    server.until("both wait", || {
        let list = server.client().ask("CLIENT LIST");
        list.matches("flags=b").count() == 2
    });
    server.client().check(&[("CLIENT UNPAUSE", "+OK")]);
    let place: usize = modest.reply().trim_start_matches(':').parse().unwrap();
    assert!(place <= 8, "after {place}");
    for wanted in (1..=1_001).filter(|nth| *nth != place) {
        assert_eq!(greedy.reply(), format!(":{wanted}"));
    }
}

#[test]
fn waiting_reads_are_limited() {
    let limits = weir_engine::Limits { waiting: 2, ..weir_engine::Limits::default() };
    let engine = Engine::memory_with(Arc::new(SystemClock::new()), Options { limits, ..Options::default() });
    let server = TestServer::on(engine);
    let mut waiting: Vec<_> = (0..2).map(|_| server.client()).collect();
    waiting.iter_mut().for_each(|client| client.send("XREAD BLOCK 0 STREAMS s $"));
    server.until_waiting(2);
    let mut client = server.client();
    let refused = client.ask("XREAD BLOCK 0 STREAMS s $");
    assert!(refused.starts_with("-ERR ") && refused.contains("waiting reads"), "{refused}");
    client.check(&[("XADD s 1-1 a 1", "$3 1-1")]);
    waiting.iter_mut().for_each(|client| assert!(client.reply().starts_with("*1 ")));
}

#[test]
fn who_sends_no_more_is_answered_to_the_end() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(&big(&["XADD", "s", "1-1", "f"], MIB));
    assert_eq!(client.reply(), "$3 1-1");
    for _ in 0..20 {
        client.send("XRANGE s - +");
    }
    client.send("PING");
    client.stream.shutdown(Shutdown::Write).unwrap();
    (0..20).for_each(|_| assert!(client.reply().starts_with("*1 *2 $3 1-1 ")));
    assert_eq!(client.reply(), "+PONG");
    assert!(client.is_closed());
}
