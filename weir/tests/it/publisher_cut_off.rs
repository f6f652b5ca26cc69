//! A publisher appends while its engine is killed (`SIGKILL`) and restarted again and again: every entry is there once,
//! in the order of the calls.
//!
//! `WEIR_FULL=1` publishes 100 000 entries.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use weir_core::{Broker, ReadFrom, ReadOptions};
use weir_runtime::Publisher;
use weir_testkit::differential::{Server, free_port};

const STREAM: &[u8] = b"orders";
const ENTRIES: u64 = 10_000;
const ENTRIES_FULL: u64 = 100_000;
/// Appends that are waited for together.
const TOGETHER: u64 = 500;
/// Restarts while the entries are published, at the least.
const KILLS_MIN: u32 = 3;
/// The engine is killed when so many more were taken.
const BETWEEN_KILLS: u64 = 1_500;
/// Longer than any restart takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);
const CLOSE_MAX: Duration = Duration::from_secs(30);

/// Publishes at least so many entries, and goes on until the engine was killed often enough; answers how many it were.
async fn publish(publisher: &Publisher, least: u64, kills: &AtomicU32, taken: &AtomicU64) -> u64 {
    let mut next = 0;
    while next < least || kills.load(Ordering::SeqCst) < KILLS_MIN {
        let numbers: Vec<String> = (next..next + TOGETHER).map(|number| number.to_string()).collect();
        let appends = numbers.iter().map(|number| async move {
            let fields: [(&[u8], &[u8]); 1] = [(b"n", number.as_bytes())];
            publisher.append(STREAM, &fields).await.unwrap();
            taken.fetch_add(1, Ordering::SeqCst);
        });
        futures_util::future::join_all(appends).await;
        next += TOGETHER;
    }
    next
}

async fn published(broker: &dyn Broker) -> Vec<u64> {
    let (mut numbers, mut from) = (Vec::new(), ReadFrom::Start);
    loop {
        let options = ReadOptions { from, to: None, backward: false, count: 5_000, wait: None };
        let entries = broker.read(STREAM, options).await.unwrap();
        let Some(last) = entries.last() else { return numbers };
        from = ReadFrom::After(last.id);
        let number = |value: &[u8]| String::from_utf8_lossy(value).parse::<u64>().unwrap();
        numbers.extend(entries.iter().map(|entry| number(&entry.fields[0].1)));
    }
}

async fn tell(url: String, start: &(dyn Fn() -> Server + Sync)) {
    let least = if std::env::var_os("WEIR_FULL").is_some() { ENTRIES_FULL } else { ENTRIES };
    let (is_over, kills, taken) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU64::new(0));
    let mut server = start();
    let broker = weir_connect::open(&url).await.unwrap();
    let publisher =
        Publisher::builder(broker.clone()).name("till-1").patience(PATIENCE).open().await.unwrap();
    let killing = async {
        let mut next_at = BETWEEN_KILLS;
        while !is_over.load(Ordering::SeqCst) {
            if taken.load(Ordering::SeqCst) < next_at {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            next_at += BETWEEN_KILLS;
            server.kill();
            server = start();
            kills.fetch_add(1, Ordering::SeqCst);
        }
    };
    let publishing = async {
        let entries = publish(&publisher, least, &kills, &taken).await;
        is_over.store(true, Ordering::SeqCst);
        entries
    };
    let ((), entries) = tokio::join!(killing, publishing);
    assert_eq!(publisher.close(CLOSE_MAX).await.unwrap().queued, 0);
    let numbers = published(&*broker).await;
    let expected: Vec<u64> = (0..entries).collect();
    let lost = expected.len() - numbers.iter().collect::<std::collections::BTreeSet<_>>().len();
    let doubled = numbers.len() - (expected.len() - lost);
    eprintln!(
        "{entries} entries published to {url} over {} kills: {lost} lost, {doubled} doubled",
        kills.into_inner()
    );
    assert_eq!((lost, doubled), (0, 0));
    // What is waited for together may be called in any order; what was called after it stands behind it.
    let parts = |numbers: &[u64]| numbers.iter().map(|number| number / TOGETHER).collect::<Vec<_>>();
    assert_eq!(parts(&numbers), parts(&expected), "in the order of the calls");
}

fn run(scheme: &str, server: impl Fn(&Path, u16) -> Command + Sync) {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let start = || Server::start(&mut server(folder.path(), port), address).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(tell(format!("{scheme}://{address}"), &start));
}

#[test]
fn a_redis_that_is_killed_loses_and_doubles_nothing_of_a_publisher() {
    run("redis", |folder, port| {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder);
        command
    });
}

#[test]
fn a_weir_server_that_is_killed_loses_and_doubles_nothing_of_a_publisher() {
    run("weir", |folder, port| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["serve", "--fsync", "always", "--http", "none", "--log-format", "json", "--resp"]);
        command.arg(format!("127.0.0.1:{port}")).arg("--dir").arg(folder.join("data"));
        command
    });
}
