//! Snapshots while everybody works: threads append, trim, claim, rename, flush; one writes snapshots over and over and
//! gives space back. What is found in a copy of the disk afterwards is what the engine knew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use weir_core::ErrorKind;
use weir_engine::{Engine, Fsync, Options};
use weir_log::faulty::{FaultyDisk, Keep};

use crate::power_cuts::full;
use crate::script::{Command, Done, Name, Script, Step, TestClock, run, run_together, small};

/// Rounds, each with a script of its own; ten times as many with `WEIR_FULL=1`.
const ROUNDS: u64 = 20;
const STEPS: usize = 1_200;
const THREADS: usize = 4;

/// One that takes a key a slice, so that commands come in between.
fn slow_snapshots(clock: &TestClock) {
    clock.slice(crate::script::SLIGHT);
}

/// Each thread runs a share of the script on keys of its own namespace and on shared ones.
fn work(engine: &Engine, clock: &TestClock, script: &Script, thread: usize) {
    for (nth, step) in script.steps.iter().enumerate().filter(|(nth, _)| nth % THREADS == thread) {
        match step {
            Step::Run(command) => {
                let done = run(engine, command);
                assert!(!matches!(done, Done::Disk(ErrorKind::Corrupt | ErrorKind::Faulted)), "{done:?}");
            }
            Step::Together(commands) => drop(run_together(engine, commands)),
            Step::Time(now) => clock.set(*now),
            Step::Snapshot | Step::Background => {}
        }
        if nth % 5 == 0 {
            engine.flush().unwrap();
        }
    }
}

fn round(seed: u64) -> (usize, u64) {
    let script = Script::new(seed, STEPS);
    let disk = FaultyDisk::new();
    let clock = TestClock::new();
    // Large enough that nothing is pushed out between being read and being asked for again by four threads.
    let options = Options { block_cache_bytes: 1 << 20, ..small(Fsync::EverySecond) };
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options.clone()).unwrap();
    slow_snapshots(&clock);
    let (done, snapshots) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (engine, clock, script) = (&engine, &clock, &script);
                scope.spawn(move || work(engine, clock, script, thread))
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                engine.snapshot().unwrap();
                snapshots.fetch_add(1, Ordering::SeqCst);
                for _ in 0..20 {
                    engine.background_step().unwrap();
                }
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    // One more thing behind the last snapshot, whatever came last.
    let last = Name(0, b"last".to_vec());
    run(&engine, &Command::SetText { name: last, value: b"x".to_vec(), keep_ttl: false });
    engine.sync().unwrap();
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
    let before = engine.dump().unwrap();
    for keep in [Keep::Nothing, Keep::Everything, Keep::Random(seed)] {
        let image = disk.after_crash(keep);
        let engine = Engine::open(Arc::new(image), clock.clone(), options.clone()).unwrap();
        let after = engine.dump().unwrap();
        assert!(after == before, "{}", crate::power_cuts::lines_apart(&after, &before));
        assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
    }
    (snapshots.load(Ordering::SeqCst), engine.log_stats().recycled + engine.log_stats().compacted)
}

#[test]
fn snapshots_while_everybody_works() {
    let rounds = if full() { 10 * ROUNDS } else { ROUNDS };
    let (mut snapshots, mut reclaimed) = (0, 0);
    for seed in 0..rounds {
        let case = crate::power_cuts::Case(format!("seed {seed}"));
        let (written, given_back) = round(900 + seed);
        snapshots += written;
        reclaimed += given_back;
        drop(case);
    }
    eprintln!("{snapshots} snapshots, {reclaimed} segments reclaimed");
    assert!(snapshots as u64 > 2 * rounds, "snapshots were written meanwhile: {snapshots}");
}
