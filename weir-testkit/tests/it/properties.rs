//! Random operations on several brokers at once.

use std::sync::Arc;

use weir_core::{Broker, SystemClock};
use weir_engine::{Engine, Options};
use weir_log::MemoryDisk;
use weir_testkit::TestBroker;
use weir_testkit::properties::{Contender, RunOptions, Summary, run};

fn model() -> Contender {
    Contender { name: "model".into(), broker: Arc::new(TestBroker::manual()), restart: None }
}

/// The embedded engine on a disk in memory, which outlives a restart. It has no threads: nothing happens beside the
/// operations.
fn embedded() -> Contender {
    let disk = Arc::new(MemoryDisk::new());
    let open = move || {
        let options = Options { background: false, ..Options::default() };
        let engine = Engine::open(disk.clone(), Arc::new(SystemClock::new()), options)?;
        let namespace: Arc<dyn Broker> = Arc::new(engine.namespace("default")?);
        Ok::<_, weir_core::Error>(namespace)
    };
    let broker = open().unwrap();
    Contender { name: "embedded".into(), broker, restart: None }
}

/// How many sequences: few, or with `WEIR_FULL` set, many.
fn sequences(few: u64, many: u64) -> u64 {
    if std::env::var_os("WEIR_FULL").is_some() { many } else { few }
}

fn options(sequences: u64) -> RunOptions {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, length) = (number("WEIR_SEED").unwrap_or(1), number("WEIR_LENGTH").unwrap_or(60));
    RunOptions { seed, sequences, length: length as usize, ..RunOptions::default() }
}

/// Runs on one thread; a difference is what the test says.
fn check(mut contenders: Vec<Contender>, options: RunOptions) -> Summary {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(run(&mut contenders, &options)) {
        Ok(summary) => summary,
        Err(difference) => panic!("{difference}"),
    }
}

#[test]
fn two_models_agree_and_lag_is_what_a_recount_finds() {
    let summary = check(vec![model(), model()], options(sequences(300, 3_000)));
    assert!(summary.replies * 3 > summary.operations * 2, "most operations do something: {summary:?}");
}

#[test]
fn the_model_and_the_embedded_engine_agree() {
    check(vec![model(), embedded()], options(sequences(200, 10_000)));
}
