//! Three groups read one stream and one of them cannot handle its entries: what became of them is looked at, mended and
//! handed back to that group alone, by the trait and by the command line, on every engine.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use weir_core::{
    BatchOptions, Broker, Condition, ConditionTest, DeadLetterFilter, DeadLetterQuery, EntryId, FieldName,
    GroupOrigin, NewEntry, Policy, Redrive,
};
use weir_runtime::{Consumer, Context, Outcome, Shutdown};
use weir_testkit::differential::{Server, free_port};

const STREAM: &[u8] = b"orders";
const ENTRIES: usize = 1_200;
/// The first so many are of the kind that is handed back.
const MENDED: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Which entries a group's handler was given.
#[derive(Debug, Default)]
struct Seen {
    count: AtomicU64,
    ids: Mutex<BTreeSet<EntryId>>,
}

impl Seen {
    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

/// A consumer of a group that fails while it is broken.
fn consume(broker: &Arc<dyn Broker>, group: &str, broken: Arc<AtomicBool>) -> (Arc<Seen>, impl Fn() + use<>) {
    let seen = Arc::new(Seen::default());
    let (trigger, shutdown) = Shutdown::new();
    let noted = Arc::clone(&seen);
    let handler = move |order: Context| {
        noted.count.fetch_add(1, Ordering::SeqCst);
        noted.ids.lock().unwrap().insert(order.id());
        let is_broken = broken.load(Ordering::SeqCst);
        async move {
            if is_broken {
                Outcome::retry_as("no-rate", "there is no rate for this country")
            } else {
                Outcome::Done
            }
        }
    };
    let consumer = Consumer::builder(Arc::clone(broker))
        .stream(STREAM)
        .group(group)
        .consumer(format!("{group}-1"))
        .origin(GroupOrigin::Beginning)
        .policy(Policy::delayed(Vec::new()))
        .handler(handler);
    tokio::spawn(async move { consumer.run(shutdown).await.unwrap() });
    (seen, move || trigger.signal())
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it never came to this: {what}"));
}

async fn publish(broker: &dyn Broker) -> BTreeSet<EntryId> {
    let kind = |nth: usize| -> &'static [u8] { if nth < MENDED { b"domestic" } else { b"foreign" } };
    let fields: Vec<[(&[u8], &[u8]); 1]> = (0..ENTRIES).map(|nth| [(&b"kind"[..], kind(nth))]).collect();
    let batch: Vec<_> = fields.iter().map(|fields| NewEntry { fields, id: None, append_id: None }).collect();
    let appended = broker.append_batch(STREAM, &batch, BatchOptions::default()).await.unwrap();
    appended.into_iter().map(|appended| appended.id).collect()
}

fn domestic() -> DeadLetterFilter {
    let condition = Condition {
        field: FieldName::Exact(b"kind".to_vec()),
        test: ConditionTest::Equals(b"domestic".to_vec()),
    };
    DeadLetterFilter { conditions: vec![condition], ..DeadLetterFilter::default() }
}

/// How the letters are handed back: answers how many were.
type HandBack = fn(&str, &Arc<dyn Broker>) -> u64;

async fn tell(url: String, hand_back: HandBack) {
    let broker = weir_connect::open(&url).await.unwrap();
    let ids = publish(&*broker).await;
    let broken = Arc::new(AtomicBool::new(true));
    let whole = || Arc::new(AtomicBool::new(false));
    let (a, stop_a) = consume(&broker, "a", Arc::clone(&broken));
    let (b, stop_b) = consume(&broker, "b", whole());
    let (c, stop_c) = consume(&broker, "c", whole());
    // The groups come to be when their consumers start.
    let dead = async || broker.lag(STREAM, b"a").await.map_or(0, |lag| lag.dead);
    until("all of group a is dead", async || dead().await == ENTRIES as u64).await;
    until("b and c are done", async || b.count() + c.count() == 2 * ENTRIES as u64).await;

    let query = DeadLetterQuery { filter: domestic(), after: EntryId::MIN, count: 1 };
    let page = broker.dead_letters(STREAM, b"a", query).await.unwrap();
    assert_eq!(page.letters[0].last_failure.class, b"no-rate");
    assert_eq!(page.letters[0].entry_id, *ids.first().unwrap());

    broken.store(false, Ordering::SeqCst);
    a.ids.lock().unwrap().clear();
    let before = (a.count(), b.count(), c.count());
    let (blocking_url, blocking_broker) = (url.clone(), Arc::clone(&broker));
    let back = tokio::task::spawn_blocking(move || hand_back(&blocking_url, &blocking_broker)).await.unwrap();
    assert_eq!(back, MENDED as u64);
    let wanted = before.0 + MENDED as u64;
    until("group a has handled them", async || a.count() >= wanted).await;
    until("nothing is left of it", async || broker.lag(STREAM, b"a").await.unwrap().total() == 0).await;

    assert_eq!((a.count(), b.count(), c.count()), (wanted, before.1, before.2), "only the group that failed");
    let expected: BTreeSet<EntryId> = ids.iter().take(MENDED).copied().collect();
    assert_eq!(*a.ids.lock().unwrap(), expected, "under their own IDs");
    assert_eq!(dead().await, (ENTRIES - MENDED) as u64);
    assert_eq!(broker.stream_info(STREAM).await.unwrap().unwrap().length, ENTRIES as u64);
    for stop in [&stop_a as &dyn Fn(), &stop_b, &stop_c] {
        stop();
    }
}

fn by_the_trait(_: &str, broker: &Arc<dyn Broker>) -> u64 {
    let options = Redrive { filter: domestic(), count: u64::MAX, dry_run: false };
    let runtime = tokio::runtime::Handle::current();
    let redriven = runtime.block_on(broker.redrive(STREAM, b"a", options)).unwrap();
    assert!(redriven.gone.is_empty());
    assert_eq!(redriven.left, (ENTRIES - MENDED) as u64);
    redriven.entry_ids.len() as u64
}

fn by_the_command_line(url: &str, _: &Arc<dyn Broker>) -> u64 {
    let run = |extra: &[&str]| -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["dlq", "redrive", "orders", "a", "--where", "kind=domestic", "--json", "--url", url])
            .args(extra)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let preview = run(&["--dry-run"]);
    let done = run(&["--yes"]);
    assert_eq!(preview["redriven"], done["redriven"], "the preview said what happened");
    done["redriven"].as_u64().unwrap()
}

fn with_weir(hand_back: HandBack) {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--http", "none", "--resp"]);
    command.arg(format!("127.0.0.1:{port}")).arg("--dir").arg(folder.path().join("data"));
    let _server = Server::start(&mut command, SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    run(tell(format!("weir://127.0.0.1:{port}"), hand_back));
}

fn with_redis(hand_back: HandBack) {
    let server = Server::redis().unwrap();
    run(tell(format!("redis://{}", server.address()), hand_back));
}

fn run(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .unwrap()
        .block_on(story);
}

#[test]
fn dead_letters_go_back_to_the_group_that_failed_on_a_weir_server() {
    with_weir(by_the_trait);
}

#[test]
fn dead_letters_go_back_to_the_group_that_failed_on_a_redis() {
    with_redis(by_the_trait);
}

#[test]
fn weir_dlq_hands_them_back_on_a_weir_server() {
    with_weir(by_the_command_line);
}

#[test]
fn weir_dlq_hands_them_back_on_a_redis() {
    with_redis(by_the_command_line);
}
