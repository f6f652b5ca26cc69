//! The differential machinery: against a real server, and that it finds what it should find.
//!
//! With `WEIR_FULL=1` the runs are 50 seeds of 20 000 commands, a million each.

use std::io;

use weir_testkit::differential::{
    ModelPeer, Peer, Plan, SHRINK_TRIES, Server, Surface, TcpPeer, VERSIONS, run,
};
use weir_testkit::model::Flavour;
use weir_testkit::{Protocol, Value};

fn is_full() -> bool {
    std::env::var_os("WEIR_FULL").is_some_and(|value| value == "1")
}

fn plan() -> Plan {
    let (seeds, commands) = if is_full() { (0..50, 20_000) } else { (0..4, 4_000) };
    Plan { seeds, commands, surface: Surface::Redis70, differences_max: 3, shrink_tries: SHRINK_TRIES }
}

#[test]
fn the_model_is_redis_7_0() {
    let server = Server::redis().unwrap();
    let mut redis = TcpPeer::new("redis", server.address());
    let report = run(&mut redis, &mut ModelPeer::new(Flavour::Redis70), &plan(), &[]).unwrap();
    assert!(report.differences.is_empty(), "{report}");
    assert!(report.commands >= plan().commands * plan().seeds.count(), "{report}");
}

#[test]
fn the_versions_differ_as_the_table_says() {
    let server = Server::redis().unwrap();
    let mut redis = TcpPeer::new("redis", server.address());
    let report = run(&mut redis, &mut ModelPeer::new(Flavour::Latest), &plan(), VERSIONS).unwrap();
    assert!(report.differences.is_empty(), "{report}");
    if is_full() {
        assert_eq!(report.unused(VERSIONS), [""; 0], "rows that excused nothing\n{report}");
    }
}

type Spoil = fn(&mut Vec<Vec<u8>>);

/// A model to which each command comes a little wrong.
struct Faulty(ModelPeer, Spoil);

impl Peer for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn reset(&mut self, protocol: Protocol) -> io::Result<()> {
        self.0.reset(protocol)
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        let mut commands = commands.to_vec();
        commands.iter_mut().for_each(|words| self.1(words));
        self.0.run(&commands)
    }
}

fn replace(words: &mut [Vec<u8>], old: &str, new: &str) {
    words.iter_mut().filter(|word| *word == old.as_bytes()).for_each(|word| *word = new.into());
}

fn is(words: &[Vec<u8>], name: &str) -> bool {
    words[0] == name.as_bytes()
}

/// A fault, and how many commands show it; filling macro nodes takes many.
const FAULTS: &[(&str, usize, Spoil)] = &[
    ("XACK takes one ID", 12, |words| words.truncate(if is(words, "XACK") { 4 } else { usize::MAX })),
    ("CLAIM finds nothing idle", 12, |words| {
        if is(words, "XREADGROUP") {
            replace(words, "5000000", "900000000000000");
        }
    }),
    ("FATAL is like FAIL", 12, |words| replace(words, "FATAL", "FAIL")),
    ("DELREF leaves rows", 250, |words| replace(words, "DELREF", "KEEPREF")),
    ("ACKED does not look", 250, |words| replace(words, "ACKED", "KEEPREF")),
    ("MAXCOUNT is high", 12, |words| {
        if let Some(at) = words.iter().position(|word| word == b"MAXCOUNT").filter(|at| at + 1 < words.len())
        {
            words[at + 1] = b"1000000".to_vec();
        }
    }),
    ("idempotent IDs are new", 12, |words| replace(words, "IDMP", "IDMPAUTO")),
    ("~ trims exactly", 250, |words| replace(words, "~", "=")),
    ("NOACK is not heard", 12, |words| words.retain(|word| word != b"NOACK")),
    ("JUSTID is not heard", 12, |words| words.retain(|word| word != b"JUSTID")),
    ("( includes", 12, |words| {
        for word in words.iter_mut().filter(|word| word.starts_with(b"(")) {
            word.remove(0);
        }
    }),
    ("TIME is now", 12, |words| replace(words, "TIME", "IDLE")),
    ("XGROUP SETID keeps the counter", 12, |words| {
        if is(words, "XGROUP") && words.len() == 5 {
            words.extend([b"ENTRIESREAD".to_vec(), b"0".to_vec()]);
        }
    }),
];

#[test]
fn planted_faults_are_found_and_shrunk() {
    for (name, most, spoil) in FAULTS {
        let mut honest = ModelPeer::new(Flavour::Latest);
        let mut faulty = Faulty(ModelPeer::new(Flavour::Latest), *spoil);
        let plan =
            Plan { surface: Surface::Latest, seeds: 0..8, commands: 4_000, differences_max: 1, ..plan() };
        let report = run(&mut honest, &mut faulty, &plan, &[]).unwrap();
        let [difference] = report.differences.as_slice() else { panic!("not found: {name}") };
        assert!(difference.minimised.len() <= *most, "{name} could be shown shorter\n{difference}");
    }
}

#[test]
fn nothing_but_the_table_is_excused() {
    let (mut old, mut new) = (ModelPeer::new(Flavour::Redis70), ModelPeer::new(Flavour::Latest));
    let plan = Plan { seeds: 0..2, commands: 4_000, differences_max: 2, ..plan() };
    let report = run(&mut old, &mut new, &plan, &[]).unwrap();
    assert_eq!(report.differences.len(), 2, "without the table both seeds must show a difference\n{report}");
}
