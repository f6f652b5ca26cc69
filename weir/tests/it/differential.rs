//! weir and what it is to be like: the same random commands to both, every reply compared, error texts included.
//!
//! A real Redis judges what Redis 7.0 knows, the naive model what came after. With `WEIR_FULL=1` each run is 50 seeds
//! of 20 000 commands, a million.

use std::net::SocketAddr;
use std::process::Command;

use weir_testkit::differential::{
    Exception, ModelPeer, Peer, Plan, Report, Server, Surface, TcpPeer, VERSIONS, WEIR, free_port, run,
};
use weir_testkit::model::Flavour;

fn weir() -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--dir", "memory:", "--http", "none", "--log", "error", "--resp"]);
    command.arg(address.to_string());
    Server::start(&mut command, address).unwrap()
}

/// Compares `left` with a fresh weir. In a full run, each exception has to be needed.
fn compare(left: &mut dyn Peer, surface: Surface, exceptions: &[Exception]) {
    let is_full = std::env::var_os("WEIR_FULL").is_some_and(|value| value == "1");
    let (seeds, commands) = if is_full { (0..50, 20_000) } else { (0..4, 4_000) };
    let plan = Plan { seeds, commands, surface, differences_max: 3 };
    let server = weir();
    let mut weir = TcpPeer::new("weir", server.address());
    let report: Report = run(left, &mut weir, &plan, exceptions).unwrap();
    assert!(report.differences.is_empty(), "{report}");
    assert!(report.commands >= plan.commands * plan.seeds.count(), "{report}");
    if is_full {
        assert_eq!(report.unused(exceptions), [""; 0], "rows that excused nothing\n{report}");
        eprintln!("{report}");
    }
}

#[test]
fn answers_like_redis_7_0() {
    let server = Server::redis().unwrap();
    let mut redis = TcpPeer::new("redis", server.address());
    compare(&mut redis, Surface::Redis70, &[VERSIONS, WEIR].concat());
}

#[test]
fn answers_like_the_model_what_came_after() {
    compare(&mut ModelPeer::new(Flavour::Latest), Surface::Latest, WEIR);
}
