//! Three consumers work off a stream while they and the engine are killed (`SIGKILL`) every few hundred milliseconds.
//!
//! Every entry is handled, none becomes a dead letter, each that was handled twice was so because of a kill, and what
//! commits its mark together with its effect happens exactly once.
//!
//! The consumers are processes of this very test program. `WEIR_FULL=1` has them work off 100 000 entries.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use weir_core::{
    BatchOptions, Broker, Clock as _, CreateGroup, EntryId, GroupOrigin, NewEntry, Policy, SystemClock,
};
use weir_runtime::{Consumer, Context, Outcome, Shutdown};
use weir_testkit::differential::{Server, free_port};

const STREAM: &[u8] = b"orders";
const GROUP: &[u8] = b"billing";
const CONSUMERS: usize = 3;
const ENTRIES: u64 = 6_000;
const ENTRIES_FULL: u64 = 100_000;
/// An entry that killed consumers held is free again after this.
const LEASE: Duration = Duration::from_millis(1_500);
/// A client of an engine that was away is back after this at the latest.
const RECONNECT_MS: u64 = 2_500;
/// Crashes alone never come near this.
const DELIVERIES_MAX: u32 = 200;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Variables by which a consumer process knows what it is.
const URL: &str = "WEIR_STORY_URL";
const NAME: &str = "WEIR_STORY_NAME";
const FOLDER: &str = "WEIR_STORY_FOLDER";

fn policy() -> Policy {
    Policy { lease: LEASE, deliveries_max: DELIVERIES_MAX, ..Policy::recommended() }
}

// ---- a consumer process --------------------------------------------------------------------------------------------

/// The ledger of the consumers: marks and effects in one database.
fn open_ledger(folder: &Path) -> Connection {
    let ledger = Connection::open(folder.join("ledger.sqlite")).unwrap();
    ledger.busy_timeout(Duration::from_secs(60)).unwrap();
    ledger.pragma_update(None, "journal_mode", "WAL").unwrap();
    // The process is killed, not the machine: what the system has is safe.
    ledger.pragma_update(None, "synchronous", "OFF").unwrap();
    ledger
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS marks (mark TEXT PRIMARY KEY);
             CREATE TABLE IF NOT EXISTS effects (entry TEXT PRIMARY KEY, times INTEGER NOT NULL);",
        )
        .unwrap();
    ledger
}

/// The mark and the effect, together or not at all. Without the mark, a second delivery would count twice.
fn charge(ledger: &mut Connection, order: &Context) -> Result<(), rusqlite::Error> {
    let transaction = ledger.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mark = "INSERT INTO marks (mark) VALUES (?1) ON CONFLICT DO NOTHING";
    if transaction.execute(mark, [order.mark().as_str()])? == 1 {
        transaction.execute(
            "INSERT INTO effects (entry, times) VALUES (?1, 1) ON CONFLICT (entry) DO UPDATE SET times = times + 1",
            [order.id().to_string()],
        )?;
    }
    transaction.commit()
}

#[test]
#[ignore = "not a test: a consumer process of the story below"]
fn consumer_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let name = std::env::var(NAME).unwrap();
    let handled = folder.join(format!("handled-{name}-{}", std::process::id()));
    let handled = Arc::new(OpenOptions::new().create(true).append(true).open(handled).unwrap());
    let ledger = Arc::new(Mutex::new(open_ledger(&folder)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let broker = weir_connect::open(&url).await.unwrap();
        let handler = move |order: Context| {
            let (handled, ledger) = (Arc::clone(&handled), Arc::clone(&ledger));
            async move {
                note(&handled, order.id());
                // A database that waits for its lock must not keep the thread that extends leases.
                let charged =
                    tokio::task::spawn_blocking(move || charge(&mut ledger.lock().unwrap(), &order));
                match charged.await.unwrap() {
                    Ok(()) => Outcome::Done,
                    Err(error) => Outcome::retry(error.to_string()),
                }
            }
        };
        let consumer = Consumer::builder(broker)
            .stream(STREAM)
            .group(GROUP)
            .consumer(name)
            .origin(GroupOrigin::Beginning)
            .prefetch(64)
            .handler(handler);
        consumer.run(Shutdown::never()).await.unwrap();
    });
}

/// Says that a handler ran, in one write that a kill cannot undo.
fn note(mut handled: &File, id: EntryId) {
    let at = SystemClock::new().now();
    handled.write_all(format!("{id} {at}\n").as_bytes()).unwrap();
}

// ---- the story -----------------------------------------------------------------------------------------------------

/// A run of a consumer process, from its start to its kill.
struct Run {
    name: String,
    process: Child,
}

impl Run {
    fn start(name: &str, url: &str, folder: &Path) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "consumers_killed::consumer_process", "--ignored", "--nocapture"])
            .env(URL, url)
            .env(NAME, name)
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), process }
    }

    fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What was killed, and when.
#[derive(Debug, Default)]
struct Kills {
    consumers: HashMap<u32, u64>,
    engine: Vec<u64>,
}

impl Kills {
    /// Whether a kill explains that an entry which process `pid` handled at `from` was handled again at `to`: that
    /// process was killed in between, or it was cut off from the engine, so that it could neither settle nor extend its
    /// lease.
    fn explain(&self, pid: u32, from: u64, to: u64) -> bool {
        let is_between = |at: &u64| (from..=to).contains(at);
        let cut_off = |at: &u64| *at <= to && *at + RECONNECT_MS >= from;
        self.consumers.get(&pid).is_some_and(is_between) || self.engine.iter().any(cut_off)
    }
}

/// Numbers that a seed decides.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // The step and the mixing of xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

struct Story<'a> {
    url: String,
    folder: &'a Path,
    seed: u64,
    engine: Box<dyn Fn() -> Server + 'a>,
}

impl Story<'_> {
    async fn tell(self) {
        let entries = if std::env::var_os("WEIR_FULL").is_some() { ENTRIES_FULL } else { ENTRIES };
        eprintln!("seed {}, {} entries, {}", self.seed, entries, self.url);
        let server = Mutex::new((self.engine)());
        let broker = patiently(|| weir_connect::open(&self.url)).await;
        let ids = publish(&*broker, entries).await;
        let options = CreateGroup { origin: GroupOrigin::Beginning, policy: policy() };
        broker.create_group(STREAM, GROUP, options).await.unwrap();
        let kills = self.kill_until_done(&*broker, &server).await;
        let lag = patiently(|| broker.lag(STREAM, GROUP)).await;
        assert_eq!((lag.total(), lag.dead), (0, 0), "{lag:?}");
        self.examine(&ids, &kills);
    }

    async fn kill_until_done(&self, broker: &dyn Broker, server: &Mutex<Server>) -> Kills {
        let (clock, mut random) = (SystemClock::new(), Random(self.seed));
        let mut kills = Kills::default();
        let name = |nth: usize| format!("worker-{nth}");
        let start = |nth| Run::start(&name(nth), &self.url, self.folder);
        let mut runs: Vec<Run> = (0..CONSUMERS).map(start).collect();
        while patiently(|| broker.lag(STREAM, GROUP)).await.total() > 0 {
            assert!(clock.elapsed() < PATIENCE, "they never end");
            tokio::time::sleep(Duration::from_millis(100 + random.below(400))).await;
            if random.below(12) == 0 {
                kills.engine.push(clock.now().0);
                let mut server = server.lock().unwrap();
                server.kill();
                *server = (self.engine)();
                // Whatever was on its way is answered or refused by now.
                kills.engine.push(clock.now().0);
            } else {
                let victim = &mut runs[usize::try_from(random.below(CONSUMERS as u64)).unwrap()];
                let pid = victim.process.id();
                victim.kill();
                kills.consumers.insert(pid, clock.now().0);
                *victim = Run::start(&victim.name.clone(), &self.url, self.folder);
            }
        }
        kills
    }

    /// Looks at what the consumers wrote down.
    fn examine(&self, ids: &[EntryId], kills: &Kills) {
        let mut handled: HashMap<EntryId, Vec<(u64, u32)>> = HashMap::new();
        for file in fs::read_dir(self.folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(rest) = name.strip_prefix("handled-") else { continue };
            let pid = rest.rsplit_once('-').unwrap().1.parse().unwrap();
            for line in fs::read_to_string(&path).unwrap().lines() {
                let (id, at) = line.split_once(' ').unwrap();
                handled.entry(id.parse().unwrap()).or_default().push((at.parse().unwrap(), pid));
            }
        }
        let missed = ids.iter().filter(|id| !handled.contains_key(id)).count();
        assert_eq!(missed, 0, "entries that were never handled");
        let mut repeats = 0;
        for (id, mut runs) in handled {
            runs.sort_unstable();
            repeats += runs.len() - 1;
            for pair in runs.windows(2) {
                let [(from, pid), (to, other)] = *pair else { unreachable!("windows of two") };
                assert!(
                    kills.explain(pid, from, to),
                    "{id} was handled at {from} by {pid} and at {to} by {other}, and no kill explains it: {kills:?}"
                );
            }
        }
        let ledger = open_ledger(self.folder);
        let count = "SELECT COUNT(*), COALESCE(MAX(times), 0) FROM effects";
        let (effects, most): (u64, u64) =
            ledger.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((effects, most), (ids.len() as u64, 1), "each effect exactly once");
        eprintln!(
            "{} entries handled; {} kills of consumers, {} of the engine; {repeats} handled again, each explained",
            ids.len(),
            kills.consumers.len(),
            kills.engine.len() / 2,
        );
        assert!(kills.consumers.len() >= CONSUMERS, "too few kills to prove anything");
        assert!(repeats < ids.len() / 5, "a repetition is the exception");
    }
}

/// Asks until the engine, which may just be away, answers.
async fn patiently<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, weir_core::Error>>,
{
    let clock = SystemClock::new();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(clock.elapsed() < Duration::from_secs(30), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn publish(broker: &dyn Broker, entries: u64) -> Vec<EntryId> {
    let mut ids = Vec::new();
    let numbers: Vec<String> = (0..entries).map(|number| number.to_string()).collect();
    for part in numbers.chunks(1_000) {
        let fields: Vec<[(&[u8], &[u8]); 1]> = part.iter().map(|n| [(&b"n"[..], n.as_bytes())]).collect();
        let batch: Vec<_> =
            fields.iter().map(|fields| NewEntry { fields, id: None, append_id: None }).collect();
        let appended = broker.append_batch(STREAM, &batch, BatchOptions::default()).await.unwrap();
        ids.extend(appended.iter().map(|appended| appended.id));
    }
    ids
}

fn tell(scheme: &str, server: impl Fn(&Path, u16) -> Command) {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let seed = std::env::var("WEIR_SEED").ok().map_or(0x5eed, |seed| seed.parse().unwrap());
    let engine = || Server::start(&mut server(folder.path(), port), address).unwrap();
    let story = Story {
        url: format!("{scheme}://127.0.0.1:{port}"),
        folder: folder.path(),
        seed,
        engine: Box::new(engine),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(story.tell());
}

#[test]
fn consumers_and_a_weir_server_are_killed_and_nothing_is_missed() {
    tell("weir", |folder, port| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["serve", "--fsync", "always", "--http", "none", "--resp"]);
        command.arg(format!("127.0.0.1:{port}")).arg("--dir").arg(folder.join("data"));
        command
    });
}

#[test]
fn consumers_and_a_redis_are_killed_and_nothing_is_missed() {
    tell("redis", |folder, port| {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder);
        command
    });
}
