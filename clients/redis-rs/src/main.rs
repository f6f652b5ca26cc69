//! Proves that redis-rs works against the server at `WEIR_ADDR`: both connections, in RESP2 (its default) and RESP3.

mod bench;
mod consumer;
mod consumer_cases;
mod newer_cases;
mod story;
mod stream_cases;

use std::path::Path;
use std::process::ExitCode;
use std::thread;

use bench::{Bench, Failure, Mode, Outcome};
use story::Story;

type Case = (&'static str, fn(&Bench<'_>) -> Outcome);

const MODES: [Mode; 4] = [
    Mode { label: "redis-rs async RESP2", asynchronous: true, resp3: false },
    Mode { label: "redis-rs async RESP3", asynchronous: true, resp3: true },
    Mode { label: "redis-rs sync RESP2", asynchronous: false, resp3: false },
    Mode { label: "redis-rs sync RESP3", asynchronous: false, resp3: true },
];

fn main() -> Result<ExitCode, Failure> {
    let Ok(address) = std::env::var("WEIR_ADDR") else {
        eprintln!("WEIR_ADDR is not set; give it the address of a server, such as 127.0.0.1:6379");
        return Ok(ExitCode::from(2));
    };
    let story = Story::read(Path::new("../story.json"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let newer = newer_cases::up_to_server(&Bench::new(&story, MODES[0], &address, runtime.handle().clone()))?;
    let cases: Vec<Case> = [consumer_cases::ALL, stream_cases::ALL, &newer].concat();

    let passed = thread::scope(|scope| {
        let runs = MODES.map(|mode| {
            let (story, address, cases, handle) = (&story, &address, &cases, runtime.handle().clone());
            scope.spawn(move || prove(mode, cases, || Bench::new(story, mode, address, handle.clone())))
        });
        runs.map(|run| run.join().unwrap_or(false)).iter().all(|passed| *passed)
    });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs every case on a bench of its own and prints one line each; returns whether all passed.
fn prove<'a>(mode: Mode, cases: &[Case], new_bench: impl Fn() -> Bench<'a>) -> bool {
    let mut failed = 0;
    for (name, run) in cases {
        let bench = new_bench();
        let outcome = run(&bench);
        match outcome.and(bench.clean_up()) {
            Ok(()) => println!("ok    {}: {name}", mode.label),
            Err(error) => {
                failed += 1;
                println!("FAIL  {}: {name}\n{error}", mode.label);
            }
        }
    }
    println!("{}: {} passed, {failed} failed", mode.label, cases.len() - failed);
    failed == 0
}
