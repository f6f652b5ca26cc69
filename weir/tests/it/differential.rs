//! weir and what it is to be like: the same random commands to both, every reply compared, error texts included.
//!
//! A real Redis judges what Redis 7.0 knows, the naive model what came after. With `WEIR_FULL=1` each run is 50 seeds
//! of 20 000 commands, a million, and every exception has to be needed. `WEIR_SEEDS=10..20` takes only those seeds, to
//! split a run or to look at one seed again; then no row is called dead.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::process::Command;

use tempfile::TempDir;
use weir_testkit::differential::{
    Exception, ModelPeer, Peer, Plan, RESTARTED, Report, SHRINK_TRIES, Server, Surface, TcpPeer, VERSIONS,
    WEIR, free_port, run,
};
use weir_testkit::model::Flavour;
use weir_testkit::{Protocol, Value};

fn weir(folder: impl AsRef<OsStr>) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--http", "none", "--log", "error", "--dir"]).arg(folder);
    command.arg("--resp").arg(address.to_string());
    Server::start(&mut command, address).unwrap()
}

/// Compares the two. In a full run over all seeds, each exception has to be needed.
fn compare(left: &mut dyn Peer, weir: &mut dyn Peer, plan: &Plan, exceptions: &[Exception]) {
    let report: Report = run(left, weir, plan, exceptions).unwrap();
    assert!(report.differences.is_empty(), "{report}");
    assert!(report.commands >= plan.commands * plan.seeds.clone().count(), "{report}");
    eprintln!("{report}");
    if plan.commands == FULL_COMMANDS && chosen_seeds().is_none() {
        assert_eq!(report.unused(exceptions), [""; 0], "rows that excused nothing\n{report}");
    }
}

/// Commands of a seed in a full run.
const FULL_COMMANDS: usize = 20_000;

fn plan(surface: Surface) -> Plan {
    let is_full = std::env::var_os("WEIR_FULL").is_some_and(|value| value == "1");
    let (seeds, commands) = if is_full { (0..50, FULL_COMMANDS) } else { (0..4, 4_000) };
    let seeds = chosen_seeds().unwrap_or(seeds);
    Plan { seeds, commands, surface, differences_max: 3, shrink_tries: SHRINK_TRIES }
}

fn chosen_seeds() -> Option<Range<u64>> {
    let seeds = std::env::var("WEIR_SEEDS").ok()?;
    let (from, to) = seeds.split_once("..").expect("seeds as 10..20");
    Some(from.parse().expect("a seed")..to.parse().expect("a seed"))
}

#[test]
fn answers_like_redis_7_0() {
    let (redis, weir) = (Server::redis().unwrap(), weir("memory:"));
    let mut redis = TcpPeer::new("redis", redis.address());
    let mut weir = TcpPeer::new("weir", weir.address());
    compare(&mut redis, &mut weir, &plan(Surface::Redis70), &[VERSIONS, WEIR].concat());
}

#[test]
fn answers_like_the_model_what_came_after() {
    let weir = weir("memory:");
    let mut weir = TcpPeer::new("weir", weir.address());
    compare(&mut ModelPeer::new(Flavour::Latest), &mut weir, &plan(Surface::Latest), WEIR);
}

#[test]
fn answers_like_the_model_when_killed_in_between() {
    let mut model = ModelPeer::new(Flavour::Latest);
    // Each try to shrink a difference costs some starts.
    let plan = Plan { differences_max: 1, shrink_tries: 50, ..plan(Surface::Latest) };
    compare(&mut model, &mut Mortal::new(), &plan, &[WEIR, RESTARTED].concat());
}

/// Batches of commands between two deaths.
const BATCHES_A_LIFE: usize = 9;

/// A weir on a folder, killed and started again every now and then.
struct Mortal {
    folder: TempDir,
    server: Server,
    peer: TcpPeer,
    protocol: Protocol,
    batches: usize,
    /// Whether the connection has something that would die with it: a transaction, watched keys.
    in_transaction: bool,
    is_watching: bool,
}

impl Mortal {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = weir(folder.path());
        let peer = TcpPeer::new("mortal weir", server.address());
        Self {
            folder,
            server,
            peer,
            protocol: Protocol::Resp2,
            batches: 0,
            in_transaction: false,
            is_watching: false,
        }
    }

    fn die_and_rise(&mut self) -> io::Result<()> {
        self.server.kill();
        self.server = weir(self.folder.path());
        self.peer = TcpPeer::new("mortal weir", self.server.address());
        self.peer.connect(self.protocol)
    }

    fn look_for_attachment(&mut self, commands: &[Vec<Vec<u8>>]) {
        for words in commands {
            // With a word too many, or where they do not belong, they change nothing.
            match (words[0].to_ascii_lowercase().as_slice(), words.len()) {
                (b"multi", 1) => self.in_transaction = true,
                (b"watch", 2..) if !self.in_transaction => self.is_watching = true,
                (b"unwatch", 1) if !self.in_transaction => self.is_watching = false,
                (b"exec" | b"discard", 1) if self.in_transaction => {
                    (self.in_transaction, self.is_watching) = (false, false);
                }
                _ => {}
            }
        }
    }
}

impl Peer for Mortal {
    fn name(&self) -> &str {
        self.peer.name()
    }

    fn reset(&mut self, protocol: Protocol) -> io::Result<()> {
        (self.protocol, self.in_transaction, self.is_watching) = (protocol, false, false);
        self.peer.reset(protocol)
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        self.batches += 1;
        if self.batches.is_multiple_of(BATCHES_A_LIFE) && !(self.in_transaction || self.is_watching) {
            self.die_and_rise()?;
        }
        self.look_for_attachment(commands);
        self.peer.run(commands)
    }
}
