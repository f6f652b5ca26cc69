//! `weir bench`: drives any RESP server, or two in turn, and says how fast, how late and how dear they are.
//!
//! One thread serves all connections, so that the generator costs little and the other core is the server's.
//! Where the server runs on this machine its CPU time per operation stands beside the throughput: on a busy
//! machine that is the figure to trust.
//!
//! `--mode idle` and `--mode blocked` count connections instead of operations; they are in `crowd`.
//!
//! Writes only to streams whose names begin with `weir-bench:`, and removes them afterwards unless told not to.

mod append;
mod args;
mod board;
mod connection;
mod crowd;
mod drive;
mod groups;
mod meter;
mod modes;
mod open_loop;
mod overhead;
mod plan;
mod process;
mod random;
mod report;
mod table;
mod target;

use anyhow::{Context as _, Result};
use weir_core::SystemClock;

pub(crate) use args::BenchArgs;
use args::Mode;
use modes::Server;
use plan::Plan;
use report::Report;

/// Runs the benchmark and prints its report to standard output.
///
/// # Errors
/// When an option makes no sense, a server cannot be reached, or one answers with an error.
pub(crate) fn run(args: BenchArgs) -> Result<()> {
    if args.mode == Mode::Runtime {
        return overhead::run(&args);
    }
    let plan = Plan::new(&args)?;
    let clock = SystemClock::new();
    match plan.mode {
        Mode::Idle => return crowd::idle(&plan, &clock),
        Mode::Blocked => return crowd::blocked(&plan, &clock),
        _ => {}
    }
    let mut servers = Vec::new();
    for contestant in &plan.lineup {
        servers.push(Server::open(contestant, &plan, &clock)?);
    }
    // The control is the first server once more, and is prepared with it.
    for server in servers.iter_mut().filter(|server| !server.contestant.is_control) {
        server.prepare().with_context(|| format!("preparing {}", server.contestant.address))?;
    }
    let rate = if plan.mode == Mode::Latency { Some(servers[0].rate()?) } else { None };
    let mut report = Report::new(&plan, &servers, rate);
    for round in 1..=plan.rounds {
        for (index, server) in servers.iter_mut().enumerate() {
            let outcome = server
                .run(round, rate)
                .with_context(|| format!("measuring {}", server.contestant.address))?;
            report.add(index, &outcome);
        }
    }
    if !plan.keep {
        for server in &mut servers {
            server.delete()?;
        }
    }
    report.conclude();
    report.print(plan.json)
}
