//! Compares two peers command by command.
//!
//! Run with `cargo run -p weir-testkit --example differential -- LEFT RIGHT [SEEDS [COMMANDS [70|latest]]]`, where a
//! peer is an address such as `127.0.0.1:6379` (`…@70` when a Redis 7.0 listens there), `model:70` or `model:latest`,
//! and SEEDS a range such as `0..5`. With `WHOLE` in the environment, shrunk sequences are printed in full; with
//! `OUTCOMES`, how often which kind of reply came.
#![allow(clippy::print_stdout, reason = "a program")]

use std::process::ExitCode;

use weir_testkit::differential::{
    ModelPeer, Peer, Plan, SHRINK_TRIES, Surface, TcpPeer, VERSIONS, WEIR, run,
};
use weir_testkit::model::Flavour;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [left, right, rest @ ..] = args.as_slice() else { return Err("which two peers?".into()) };
    let (from, to) = rest.first().map_or("0..1", String::as_str).split_once("..").ok_or("seeds as 0..5")?;
    let commands = rest.get(1).map_or(Ok(4_000), |n| n.parse())?;
    let latest = rest.get(2).is_some_and(|surface| surface == "latest");
    let surface = if latest { Surface::Latest } else { Surface::Redis70 };
    let plan = Plan {
        seeds: from.parse()?..to.parse()?,
        commands,
        surface,
        differences_max: 5,
        shrink_tries: SHRINK_TRIES,
    };
    let (mut left, mut right) = (peer(left)?, peer(right)?);
    let of_versions = if left.1 == right.1 { &[] } else { VERSIONS };
    let of_weir = if right.0.name().starts_with("model") || right.1 != Flavour::Latest { &[] } else { WEIR };
    let exceptions = &[of_versions, of_weir].concat();
    let report = run(left.0.as_mut(), right.0.as_mut(), &plan, exceptions)?;
    println!("{report}");
    if std::env::var_os("WHOLE").is_some() {
        let commands = report.differences.iter().flat_map(|difference| &difference.minimised);
        commands.for_each(|command| println!("{command}"));
    }
    if std::env::var_os("OUTCOMES").is_some() {
        report.outcomes.iter().for_each(|(outcome, times)| println!("{times:8} {outcome}"));
    }
    let unused = report.unused(exceptions);
    if !unused.is_empty() {
        println!("exceptions not needed: {unused:?}");
    }
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A peer, and which version it follows: servers say it in their port's place as `ADDRESS@70`.
fn peer(text: &str) -> Result<(Box<dyn Peer>, Flavour), Box<dyn std::error::Error>> {
    match text {
        "model:70" => Ok((Box::new(ModelPeer::new(Flavour::Redis70)), Flavour::Redis70)),
        "model:latest" => Ok((Box::new(ModelPeer::new(Flavour::Latest)), Flavour::Latest)),
        _ => {
            let (address, version) = text.split_once('@').unwrap_or((text, "latest"));
            let flavour = if version == "70" { Flavour::Redis70 } else { Flavour::Latest };
            Ok((Box::new(TcpPeer::new(text, address.parse()?)), flavour))
        }
    }
}
