//! The differential machinery: against a real server, and that it finds what it should find.
//!
//! With `WEIR_FULL=1` the runs are 50 seeds of 20 000 commands, a million each.

use std::io;

use weir_testkit::differential::{ModelPeer, Peer, Plan, Server, Surface, TcpPeer, VERSIONS, run};
use weir_testkit::model::Flavour;
use weir_testkit::{Protocol, Value};

fn is_full() -> bool {
    std::env::var_os("WEIR_FULL").is_some_and(|value| value == "1")
}

fn plan() -> Plan {
    let (seeds, commands) = if is_full() { (0..50, 20_000) } else { (0..4, 4_000) };
    Plan { seeds, commands, surface: Surface::Redis70, differences_max: 3 }
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

/// A model that forgets now and then that XACK takes several IDs.
struct Forgetful(ModelPeer);

impl Peer for Forgetful {
    fn name(&self) -> &str {
        "forgetful"
    }

    fn reset(&mut self, protocol: Protocol) -> io::Result<()> {
        self.0.reset(protocol)
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        let mut commands = commands.to_vec();
        for words in &mut commands {
            if words[0].eq_ignore_ascii_case(b"XACK") {
                words.truncate(4);
            }
        }
        self.0.run(&commands)
    }
}

#[test]
fn a_planted_fault_is_found_and_shrunk() {
    let mut honest = ModelPeer::new(Flavour::Latest);
    let mut faulty = Forgetful(ModelPeer::new(Flavour::Latest));
    let plan = Plan { seeds: 0..2, commands: 4_000, surface: Surface::Latest, differences_max: 2 };
    let report = run(&mut honest, &mut faulty, &plan, &[]).unwrap();
    assert_eq!(report.differences.len(), 2, "{report}");
    for difference in &report.differences {
        assert_eq!(difference.command.name(), "xack", "{difference}");
        // Something to read, a group, a delivery, the acknowledgement.
        assert!((3..=8).contains(&difference.minimised.len()), "{difference}");
    }
}

#[test]
fn nothing_but_the_table_is_excused() {
    let (mut old, mut new) = (ModelPeer::new(Flavour::Redis70), ModelPeer::new(Flavour::Latest));
    let plan = Plan { seeds: 0..2, commands: 4_000, surface: Surface::Redis70, differences_max: 2 };
    let report = run(&mut old, &mut new, &plan, &[]).unwrap();
    assert_eq!(report.differences.len(), 2, "without the table both seeds must show a difference\n{report}");
}
