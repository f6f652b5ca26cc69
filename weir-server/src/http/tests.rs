//! The HTTP door without a socket, and once with one.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use weir_core::{EntryId, Error, ErrorKind, SystemClock};
use weir_engine::{
    Append, Engine, Fsync, GroupReadFrom, GroupStart, Halt, KeyRef, NamespaceNo, NewId, Options, ReadGroup,
    ReadLimits, Turn,
};
use weir_log::LogOptions;
use weir_log::faulty::{Failure, FaultyDisk};

use super::{CONNECTIONS_MAX, Facts, GROUPS_MAX, HttpServer, METRICS, MetricKind, app};
use crate::{DoorCounts, DoorStats};

struct Page {
    status: StatusCode,
    content: String,
    text: String,
}

impl Page {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The value of the line that begins so.
    #[track_caller]
    fn value(&self, line: &str) -> f64 {
        let found = self.text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in\n{}", self.text)).parse().unwrap()
    }
}

fn get(facts: &Arc<Facts>, path: &str, token: Option<&str>) -> Page {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let service = app(facts.clone());
    runtime.block_on(async {
        let answer = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let content = answer.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).into();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 16 << 20).await.unwrap();
        Page { status, content, text: String::from_utf8(body.to_vec()).unwrap() }
    })
}

fn facts(engine: &Engine, token: Option<&str>) -> Arc<Facts> {
    Arc::new(Facts::new(engine.clone(), Arc::default(), "0.0.0-test", token))
}

fn key(name: &[u8]) -> KeyRef<'_> {
    KeyRef { ns: NamespaceNo(0), name }
}

const APPEND: Append<'_> =
    Append { id: NewId::Auto, fields: &[b"type", b"placed"], create: true, trim: None, producer: None };

fn append(engine: &Engine, stream: &[u8]) {
    ask(engine, |turn| turn.append(key(stream), &APPEND)).unwrap();
}

/// Asks until nothing has to be done first.
fn ask<T>(engine: &Engine, question: impl Fn(&mut Turn<'_>) -> Result<T, Halt>) -> Result<T, Error> {
    engine.ask(question)
}

#[test]
fn probes_answer_and_say_when_not_ready() {
    let facts = facts(&Engine::memory(), None);
    for path in ["/livez", "/readyz"] {
        let page = get(&facts, path, None);
        assert_eq!((page.status, &*page.text), (StatusCode::OK, "ok\n"), "{path}");
    }
    facts.stopping();
    assert_eq!(get(&facts, "/livez", None).status, StatusCode::OK);
    let stats = Arc::new(DoorStats::default());
    let of_door = Arc::new(Facts::new(Engine::memory(), stats.clone(), "0.0.0-test", None));
    assert_eq!(get(&of_door, "/readyz", None).status, StatusCode::OK);
    stats.stopping();
    assert_eq!(get(&of_door, "/readyz", None).status, StatusCode::SERVICE_UNAVAILABLE);
    let page = get(&facts, "/readyz", None);
    assert_eq!((page.status, &*page.text), (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"));
    assert_eq!(get(&facts, "/health", None).json()["status"], "stopping");
}

#[test]
fn version_and_unknown_pages() {
    let facts = facts(&Engine::memory(), None);
    let page = get(&facts, "/version", None);
    assert_eq!(page.content, "application/json");
    assert_eq!(page.json(), serde_json::json!({ "name": "weir", "version": "0.0.0-test" }));
    let page = get(&facts, "/metric", None);
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("/metrics"), "{}", page.text);
}

#[test]
fn health_tells_what_the_engine_is_like() {
    let engine = Engine::memory();
    append(&engine, b"orders");
    let page = get(&facts(&engine, None), "/health", None);
    assert_eq!(page.status, StatusCode::OK);
    let health = page.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["fsync"], "no");
    assert_eq!(health["faulted"], false);
    assert!(health["log_bytes"].as_u64().unwrap() > 0, "{health}");
    assert!(health.get("remedy").is_none(), "{health}");
}

/// An engine in small segments on a disk that can be told to fail.
fn engine_on(disk: &FaultyDisk) -> Engine {
    let log = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
    let options = Options { log, background: false, fsync: Fsync::Always, ..Options::default() };
    Engine::open(Arc::new(disk.clone()), Arc::new(SystemClock::new()), options).unwrap()
}

#[test]
fn a_full_disk_keeps_the_server_ready_and_says_what_helps() {
    let disk = FaultyDisk::new();
    let engine = engine_on(&disk);
    disk.set_quota(Some(512 << 10));
    let refused = (0..1_000).find_map(|_| {
        let append = Append { fields: &[b"f", &[7; 4096]], ..APPEND };
        let refused = ask(&engine, |turn| turn.append(key(b"orders"), &append)).err();
        engine.flush().unwrap();
        refused
    });
    assert_eq!(*refused.expect("a megabyte does not fit").kind(), ErrorKind::DiskFull);
    let facts = facts(&engine, None);
    let page = get(&facts, "/health", None);
    assert_eq!((page.status, &page.json()["status"]), (StatusCode::OK, &"disk_full".into()));
    assert!(page.json()["remedy"].as_str().unwrap().contains("trim"));
    assert_eq!(get(&facts, "/readyz", None).status, StatusCode::OK, "consumers can still work");
    assert_eq!(get(&facts, "/metrics", None).value("weir_disk_full"), 1.0);
}

#[test]
fn after_a_failed_flush_the_server_is_not_ready() {
    let disk = FaultyDisk::new();
    let engine = engine_on(&disk);
    append(&engine, b"orders");
    for operation in 0..8 {
        disk.fail_at(disk.operations() + operation, Failure::Io);
    }
    assert!(engine.flush().is_err());
    let facts = facts(&engine, None);
    for path in ["/readyz", "/health"] {
        let page = get(&facts, path, None);
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(page.text.contains("faulted"), "{}", page.text);
    }
    assert_eq!(get(&facts, "/livez", None).status, StatusCode::OK, "a restart is the operator's decision");
    assert_eq!(get(&facts, "/metrics", None).value("weir_faulted"), 1.0);
}

#[test]
fn with_a_token_only_probes_are_for_everyone() {
    let facts = facts(&Engine::memory(), Some("s3cret"));
    for path in ["/livez", "/readyz", "/version"] {
        assert_eq!(get(&facts, path, None).status, StatusCode::OK, "{path}");
    }
    for path in ["/health", "/metrics"] {
        for wrong in [None, Some(""), Some("s3cre"), Some("s3crets")] {
            let page = get(&facts, path, wrong);
            assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path} {wrong:?}");
            assert!(page.text.contains("Bearer"), "{}", page.text);
        }
        assert_eq!(get(&facts, path, Some("s3cret")).status, StatusCode::OK, "{path}");
    }
}

#[test]
fn every_metric_of_the_table_is_on_the_page() {
    let engine = Engine::memory();
    append(&engine, b"orders");
    engine
        .turn()
        .group_create(key(b"orders"), b"billing", GroupStart::After(EntryId::MIN), None, false)
        .unwrap();
    let page = get(&facts(&engine, None), "/metrics", None);
    assert!(page.content.starts_with("application/openmetrics-text"), "{}", page.content);
    assert!(page.text.ends_with("# EOF\n"), "{}", page.text);
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        let total = if metric.kind == MetricKind::Counter { "_total" } else { "" };
        let begin = format!("{}{total}{}", metric.name, if metric.labels.is_empty() { " " } else { "{" });
        let line = page.text.lines().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("no line of {begin} in\n{}", page.text));
        for label in metric.labels {
            assert!(line.contains(&format!("{label}=\"")), "{label} in {line}");
        }
    }
}

#[test]
fn counts_of_the_door_and_figures_of_groups() {
    let engine = Engine::memory();
    (0..5).for_each(|_| append(&engine, b"orders"));
    let mut turn = engine.turn();
    turn.group_create(key(b"orders"), b"billing", GroupStart::After(EntryId::MIN), None, false).unwrap();
    let read = ReadGroup {
        ns: NamespaceNo(0),
        group: b"billing".as_slice().into(),
        consumer: b"ann".as_slice().into(),
        streams: vec![(b"orders".as_slice().into(), GroupReadFrom::New)],
        limits: ReadLimits { count: Some(2), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    };
    turn.read_group(&read).unwrap();
    drop(turn);
    let stats = Arc::new(DoorStats::default());
    stats.publish(&DoorCounts { commands: 7, clients: 3, ..DoorCounts::default() });
    let facts = Arc::new(Facts::new(engine, stats, "0.0.0-test", None));
    let page = get(&facts, "/metrics", None);
    let of_group = |name: &str| page.value(&format!(r#"{name}{{db="0",stream="orders",group="billing"}}"#));
    assert_eq!(of_group("weir_group_lag"), 3.0);
    assert_eq!(of_group("weir_group_pending"), 2.0);
    assert_eq!(of_group("weir_group_consumers"), 1.0);
    assert_eq!(page.value("weir_commands_total"), 7.0);
    assert_eq!(page.value("weir_clients"), 3.0);
    assert_eq!(page.value(r#"weir_keys{db="0"}"#), 1.0);
    assert_eq!(page.value("weir_groups_left_out"), 0.0);
}

#[test]
fn there_is_an_end_to_the_groups_with_figures() {
    let engine = Engine::memory();
    append(&engine, b"orders");
    let mut turn = engine.turn();
    for no in 0..=GROUPS_MAX {
        let name = format!("group \"{no}\"\n");
        turn.group_create(key(b"orders"), name.as_bytes(), GroupStart::End, None, false).unwrap();
    }
    drop(turn);
    let page = get(&facts(&engine, None), "/metrics", None);
    let lines = page.text.lines().filter(|line| line.starts_with("weir_group_pending{")).count();
    assert_eq!(lines, GROUPS_MAX);
    assert_eq!(page.value("weir_groups_left_out"), 1.0);
}

#[test]
fn a_running_door_answers_many_silent_clients_later_ones_too_and_stops() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = HttpServer::start(listener, facts(&Engine::memory(), None)).unwrap();
    let silent: Vec<_> = (0..CONNECTIONS_MAX - 1).map(|_| TcpStream::connect(address).unwrap()).collect();
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
    drop(silent);
    server.stop();
    assert!(TcpStream::connect(address).is_err(), "the door is closed");
}
