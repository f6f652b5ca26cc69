//! The server is killed (`SIGKILL`) under load, again and again, and started anew: nothing that was acknowledged is
//! lost, nothing settled is delivered again, what was delivered and not settled is pending with its consumer, deletes
//! and trims hold and take nothing else, sequences have no gap, transactions are whole.
//!
//! `WEIR_KILLS` says how many rounds; `scripts/kill-rounds` runs many.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_core::SystemClock;
use weir_engine::{Engine, Options};
use weir_log::RealDisk;
use weir_resp::{Reply, ReplyLimits, Value, command, decode_reply};

const ROUNDS: u64 = 3;
const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;
/// Appends on their way at once, of one producer.
const PIPELINE: u64 = 8;
const GROUP: &str = "billing";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    address: String,
    /// Held open: the server goes on talking.
    _out: BufReader<ChildStdout>,
}

impl Server {
    fn start(dir: &Path, fsync: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--resp", "127.0.0.1:0", "--fsync", fsync, "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the server does not start: {:?}", process.wait());
            if let Some((_, address)) = line.split_once("redis://") {
                break address.trim().to_owned();
            }
        };
        Self { process, address, _out: out }
    }

    fn client(&self) -> io::Result<Client> {
        Client::connect(&self.address)
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    fn send(&mut self, commands: &[Vec<String>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|words| command(&mut bytes, words));
        self.stream.write_all(&bytes)
    }

    fn reply(&mut self) -> io::Result<Value> {
        let mut piece = [0; 16 << 10];
        loop {
            match decode_reply(&self.received, &ReplyLimits::DEFAULT).map_err(io::Error::other)? {
                Reply::Complete { value, consumed } => {
                    self.received.drain(..consumed);
                    return Ok(value);
                }
                Reply::Incomplete => match self.stream.read(&mut piece)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => self.received.extend_from_slice(&piece[..read]),
                },
            }
        }
    }

    fn call(&mut self, line: &str) -> io::Result<Value> {
        self.send(&[words(line)])?;
        self.reply()
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().unwrap_or_else(|| panic!("no text: {value:?}"))).into_owned()
}

/// IDs and the second field's value of the entries in an answer of XRANGE.
fn entries(value: &Value) -> Vec<(String, Option<u64>)> {
    let entry = |entry: &Value| {
        let parts = entry.as_array().expect("an entry has an ID and fields");
        let number = parts[1].as_array().map(|fields| text(&fields[1]).parse().expect("a sequence number"));
        (text(&parts[0]), number)
    };
    value.as_array().unwrap_or_else(|| panic!("no entries: {value:?}")).iter().map(entry).collect()
}

/// What was acknowledged, over all rounds.
#[derive(Default)]
struct Ledger {
    /// Appended and not yet checked: number to ID, by stream.
    appended: HashMap<String, BTreeMap<u64, String>>,
    /// The next number of each stream, and the last ID that was checked.
    next: HashMap<String, (u64, String)>,
    /// Given to this consumer.
    delivered: HashMap<Place, String>,
    settled: HashSet<Place>,
    /// Acknowledgements on their way: they may have happened or not.
    settling: HashSet<Place>,
    /// Pending rows that were looked for and found.
    pending_checked: usize,
    trimmed: Trimmed,
}

/// A stream and an ID.
type Place = (String, String);

/// The stream that is deleted from and trimmed.
#[derive(Default)]
struct Trimmed {
    live: Vec<String>,
    deleted: HashSet<String>,
    /// On their way when the server was killed.
    deleting: Option<String>,
    trimming: bool,
}

/// Entries that a trim leaves.
const TRIMMED_TO: usize = 50;

impl Trimmed {
    /// Holds what is there against what was acknowledged.
    fn check(&mut self, found: Vec<String>) {
        let there: HashSet<&String> = found.iter().collect();
        let back: Vec<_> = found.iter().filter(|id| self.deleted.contains(*id)).collect();
        assert!(back.is_empty(), "deleted or trimmed, and there again: {back:?}");
        let kept = if self.trimming { self.live.len().saturating_sub(TRIMMED_TO) } else { 0 };
        let missing: Vec<_> = self.live[kept..]
            .iter()
            .filter(|id| !there.contains(id) && self.deleting.as_ref() != Some(id))
            .collect();
        assert!(missing.is_empty(), "appended, not deleted, and not there: {missing:?}");
        let unknown = found.iter().filter(|id| !self.live.contains(id)).count();
        assert!(unknown <= 1, "only one append was on its way");
        *self = Self { live: found, deleted: std::mem::take(&mut self.deleted), ..Self::default() };
    }
}

/// What the threads of a round share.
struct Round {
    ledger: Arc<Mutex<Ledger>>,
    acknowledged: AtomicU64,
}

impl Round {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    fn next(&self, stream: &str) -> u64 {
        self.ledger().next.get(stream).map_or(0, |next| next.0)
    }

    fn appended(&self, stream: &str, number: u64, id: &Value) {
        let id = text(id);
        self.ledger().appended.entry(stream.into()).or_default().insert(number, id);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds numbers to a stream until the server is gone.
    fn produce(&self, mut client: Client, stream: &str) -> io::Result<()> {
        let mut number = self.next(stream);
        loop {
            let pad = "x".repeat((number * 37 % 300) as usize + 1);
            let add = |n: u64| words(&format!("XADD {stream} * n {n} pad {pad}"));
            client.send(&(number..number + PIPELINE).map(add).collect::<Vec<_>>())?;
            for n in number..number + PIPELINE {
                let id = client.reply()?;
                self.appended(stream, n, &id);
            }
            number += PIPELINE;
        }
    }

    /// Takes what is its own from before, then new entries, and settles most of them.
    fn consume(&self, mut client: Client, name: &str) -> io::Result<()> {
        let streams: Vec<String> = (0..PRODUCERS).map(|n| format!("orders-{n}")).collect();
        let all = streams.join(" ");
        let mut from = ["0"; PRODUCERS].join(" ");
        for turn in 0_u64.. {
            let line = format!("XREADGROUP GROUP {GROUP} {name} COUNT 20 BLOCK 50 STREAMS {all} {from}");
            let answer = client.call(&line)?;
            let given = answer.as_array().unwrap_or_default();
            for part in given {
                let part = part.as_array().expect("a stream and its entries");
                let (stream, entries) = (text(&part[0]), entries(&part[1]));
                self.given(&stream, &entries, name, from.starts_with('>'));
                // Some stay for the next round.
                if entries.is_empty() || turn % 7 == 6 {
                    continue;
                }
                let ids: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
                let places: Vec<Place> = ids.iter().map(|id| (stream.clone(), (*id).to_owned())).collect();
                self.ledger().settling.extend(places.iter().cloned());
                let count = client.call(&format!("XACK {stream} {GROUP} {}", ids.join(" ")))?;
                assert_eq!(count.as_int(), Some(ids.len() as i64), "it had these: {ids:?}");
                self.ledger().settled.extend(places);
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            from = [">"; PRODUCERS].join(" ");
        }
        Ok(())
    }

    fn given(&self, stream: &str, entries: &[(String, Option<u64>)], consumer: &str, new: bool) {
        let mut ledger = self.ledger();
        for (id, _) in entries {
            let place = (stream.to_owned(), id.clone());
            assert!(!ledger.settled.contains(&place), "{place:?} was settled and is given out again");
            let before = ledger.delivered.insert(place, consumer.to_owned());
            assert!(before.is_none() || !new, "{id} of {stream} was delivered before and is new again");
        }
    }

    /// Adds the same number to two streams, together.
    fn transact(&self, mut client: Client) -> io::Result<()> {
        for n in self.next("left").. {
            client.send(&[
                words("MULTI"),
                words(&format!("XADD left * n {n}")),
                words(&format!("XADD right * n {n}")),
                words("EXEC"),
            ])?;
            for _ in 0..3 {
                client.reply()?;
            }
            let done = client.reply()?;
            let ids = done.as_array().unwrap_or_else(|| panic!("{done:?}"));
            self.appended("left", n, &ids[0]);
            self.appended("right", n, &ids[1]);
        }
        Ok(())
    }

    /// Adds, deletes and trims.
    fn trim(&self, mut client: Client) -> io::Result<()> {
        for n in self.next("trimmed").. {
            let id = text(&client.call(&format!("XADD trimmed * n {n}"))?);
            self.ledger().trimmed.live.push(id.clone());
            if n % 3 == 0 {
                self.ledger().trimmed.deleting = Some(id.clone());
                assert_eq!(client.call(&format!("XDEL trimmed {id}"))?.as_int(), Some(1));
                let trimmed = &mut self.ledger().trimmed;
                trimmed.live.pop();
                trimmed.deleted.extend(trimmed.deleting.take());
            }
            if n % 100 == 99 {
                self.ledger().trimmed.trimming = true;
                let gone = client.call(&format!("XTRIM trimmed MAXLEN {TRIMMED_TO}"))?.as_int();
                let trimmed = &mut self.ledger().trimmed;
                let gone_here = trimmed.live.len().saturating_sub(TRIMMED_TO);
                assert_eq!(gone, Some(gone_here as i64));
                let Trimmed { live, deleted, .. } = trimmed;
                deleted.extend(live.drain(..gone_here));
                trimmed.trimming = false;
                client.call("BGSAVE")?;
            }
            self.ledger().next.insert("trimmed".into(), (n + 1, String::new()));
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Holds what the server has against what it acknowledged.
fn check(server: &Server, ledger: &mut Ledger) {
    let mut client = server.client().unwrap();
    let streams = (0..PRODUCERS).map(|n| format!("orders-{n}")).chain(["left".into(), "right".into()]);
    for stream in streams {
        let (mut next, mut last) = ledger.next.remove(&stream).unwrap_or((0, "-".into()));
        let acknowledged = ledger.appended.remove(&stream).unwrap_or_default();
        let from = if last == "-" { last.clone() } else { format!("({last}") };
        let found = entries(&client.call(&format!("XRANGE {stream} {from} +")).unwrap());
        let mut missing = acknowledged;
        for (id, number) in found {
            assert_eq!(number, Some(next), "{stream} has a gap at {id}");
            if let Some(known) = missing.remove(&next) {
                assert_eq!(known, id, "{stream}: number {next} has another ID");
            }
            (next, last) = (next + 1, id);
        }
        assert!(missing.is_empty(), "{stream} lost what it acknowledged: {missing:?}");
        let length = client.call(&format!("XLEN {stream}")).unwrap();
        assert_eq!(length.as_int(), Some(next as i64), "{stream}");
        ledger.next.insert(stream, (next, last));
    }
    assert_eq!(ledger.next["left"].0, ledger.next["right"].0, "transactions are whole");
    let found = entries(&client.call("XRANGE trimmed - +").unwrap());
    ledger.trimmed.check(found.into_iter().map(|(id, _)| id).collect());
    check_pending(&mut client, ledger);
}

/// Whatever was given to a consumer is pending with it, until it settled it.
fn check_pending(client: &mut Client, ledger: &mut Ledger) {
    let mut rows: HashMap<Place, String> = HashMap::new();
    for n in 0..PRODUCERS {
        let stream = format!("orders-{n}");
        let pending = client.call(&format!("XPENDING {stream} {GROUP} - + 1000000")).unwrap();
        for row in pending.as_array().unwrap_or_else(|| panic!("{pending:?}")) {
            let row = row.as_array().expect("a row");
            let place = (stream.clone(), text(&row[0]));
            assert!(!ledger.settled.contains(&place), "{place:?} was settled and is pending again");
            rows.insert(place, text(&row[1]));
        }
    }
    let Ledger { delivered, settled, settling, pending_checked, .. } = ledger;
    for (place, consumer) in &*delivered {
        if settled.contains(place) || settling.contains(place) && !rows.contains_key(place) {
            continue;
        }
        assert_eq!(rows.get(place), Some(consumer), "{place:?} was delivered and not settled");
        *pending_checked += 1;
    }
    // Where the answer was lost, the rows tell what happened.
    settled.extend(settling.drain().filter(|place| !rows.contains_key(place)));
}

/// Runs the load until so much was acknowledged, then kills the server in the middle of it.
fn round(dir: &Path, ledger: &Arc<Mutex<Ledger>>, fsync: &str, target: u64) -> u64 {
    let mut server = Server::start(dir, fsync);
    let mut client = server.client().unwrap();
    for n in 0..PRODUCERS {
        // Refused from the second round on.
        client.call(&format!("XGROUP CREATE orders-{n} {GROUP} 0 MKSTREAM")).unwrap();
    }
    check(&server, &mut ledger.lock().unwrap());
    let round = Round { ledger: ledger.clone(), acknowledged: AtomicU64::new(0) };
    let mut clients: Vec<Client> = (0..PRODUCERS + CONSUMERS + 2).map(|_| server.client().unwrap()).collect();
    let mut connect = || clients.pop().expect("one for each thread");
    std::thread::scope(|scope| {
        let round = &round;
        for n in 0..PRODUCERS {
            let client = connect();
            scope.spawn(move || round.produce(client, &format!("orders-{n}")));
        }
        for n in 0..CONSUMERS {
            let client = connect();
            scope.spawn(move || round.consume(client, &format!("consumer-{n}")));
        }
        let (left, right) = (connect(), connect());
        scope.spawn(move || round.transact(left));
        scope.spawn(move || round.trim(right));
        for _ in 0..PATIENCE.as_millis() {
            if round.acknowledged.load(Ordering::Relaxed) >= target {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        server.kill();
    });
    let acknowledged = round.acknowledged.load(Ordering::Relaxed);
    assert!(acknowledged >= target, "the server answers: {acknowledged} of {target}");
    acknowledged
}

/// Opens the folder in this process, looks whether all fits together, and writes a snapshot now and then.
fn inspect(dir: &Path, snapshot: bool) {
    let options = Options { background: false, ..Options::default() };
    let engine = Engine::open(Arc::new(RealDisk::new(dir)), Arc::new(SystemClock::new()), options).unwrap();
    let verified = engine.verify().unwrap();
    assert!(verified.is_clean(), "{verified:?}");
    if snapshot {
        engine.snapshot().unwrap();
    }
}

#[test]
fn a_killed_server_loses_nothing_it_acknowledged() {
    let rounds = std::env::var("WEIR_KILLS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (mut acknowledged, mut seed) = (0, 0x9e37_79b9_u64);
    for n in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n + 1);
        let fsync = ["everysec", "always", "no"][(n % 3) as usize];
        acknowledged += round(&dir, &ledger, fsync, 20 + (seed >> 33) % 2_000);
        if n % 4 == 1 {
            inspect(&dir, n % 8 == 5);
        }
    }
    let mut server = Server::start(&dir, "everysec");
    check(&server, &mut ledger.lock().unwrap());
    server.kill();
    inspect(&dir, true);
    let ledger = ledger.lock().unwrap();
    let (settled, deleted, pending) =
        (ledger.settled.len(), ledger.trimmed.deleted.len(), ledger.pending_checked);
    let entries: u64 = ledger.next.values().map(|next| next.0).sum();
    eprintln!(
        "{rounds} kills, {acknowledged} acknowledged, {entries} entries, {settled} settled, {pending} pending rows, \
         {deleted} deleted: nothing lost"
    );
    assert!(settled > 0 && pending > 0 && deleted > 0 && ledger.next["left"].0 > 0);
}
