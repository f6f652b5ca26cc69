//! Random operations on several brokers at once.

use std::sync::Arc;

use tokio::runtime::Runtime;
use weir_core::{BoxFuture, Broker, SystemClock};
use weir_testkit::TestBroker;
use weir_testkit::differential::Server;
use weir_testkit::properties::{Contender, RunOptions, Summary, run};

use crate::life::Life;

/// Sequences after which a run says how far it is.
const SAID_EVERY: usize = 250;

pub(crate) fn model() -> Contender {
    Contender { name: "model".into(), broker: Arc::new(TestBroker::new()), restart: None }
}

pub(crate) fn embedded() -> Contender {
    let life = Arc::new(Life::new(Arc::new(SystemClock::new())));
    let broker = life.broker().unwrap();
    let restart = move || -> BoxFuture<'static, Arc<dyn Broker>> {
        let broker = life.restart();
        Box::pin(async move { broker })
    };
    Contender { name: "embedded".into(), broker, restart: Some(Box::new(restart)) }
}

pub(crate) fn redis(runtime: &Runtime, server: &Server) -> Contender {
    let url = format!("redis://{}", server.address());
    let redis = runtime.block_on(weir_redis::connect(&url, weir_redis::Options::default())).unwrap();
    Contender { name: "redis".into(), broker: Arc::new(redis), restart: None }
}

/// How many sequences: few, or with `WEIR_FULL` set, many, or as many as `WEIR_SEQUENCES` says.
fn sequences(few: u64, many: u64) -> u64 {
    if let Some(number) = number("WEIR_SEQUENCES") {
        return number;
    }
    if std::env::var_os("WEIR_FULL").is_some() { many } else { few }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn options(sequences: u64) -> RunOptions {
    let (seed, length) = (number("WEIR_SEED").unwrap_or(1), number("WEIR_LENGTH").unwrap_or(150));
    RunOptions { seed, sequences, length: length as usize, ..RunOptions::default() }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn check(contenders: Vec<Contender>, options: RunOptions) -> Summary {
    check_on(&runtime(), contenders, options)
}

/// Runs on one thread, and says how far it is; a difference is what the test says.
#[expect(clippy::print_stderr, reason = "a long run says how far it is")]
fn check_on(runtime: &Runtime, mut contenders: Vec<Contender>, options: RunOptions) -> Summary {
    let (mut total, end) = (Summary::default(), options.seed + options.sequences);
    for seed in (options.seed..end).step_by(SAID_EVERY) {
        let sequences = (end - seed).min(SAID_EVERY as u64);
        let part = RunOptions { seed, sequences, ..options.clone() };
        match runtime.block_on(run(&mut contenders, &part)) {
            Ok(summary) => total.add(summary),
            Err(difference) => panic!("{difference}"),
        }
        let names: Vec<_> = contenders.iter().map(|contender| &contender.name[..]).collect();
        eprintln!(
            "{}: no difference from seed {} to {}",
            names.join(", "),
            options.seed,
            seed + sequences - 1
        );
    }
    total
}

#[test]
fn two_models_agree_and_lag_is_what_a_recount_finds() {
    let summary = check(vec![model(), model()], options(sequences(300, 3_000)));
    assert!(summary.replies * 3 > summary.operations * 2, "most operations do something: {summary:?}");
}

/// A long life of few streams: with `WEIR_FULL`, a million operations, and a recount after every thirty.
#[test]
fn lag_of_the_model_is_what_a_recount_finds() {
    let long = RunOptions { length: 10_000, look_every: 30, ..options(sequences(1, 100)) };
    let summary = check(vec![model()], long);
    assert!(summary.operations >= sequences(10_000, 1_000_000), "{summary:?}");
}

#[test]
fn the_model_and_the_embedded_engine_agree() {
    check(vec![model(), embedded()], options(sequences(200, 10_000)));
}

#[test]
fn the_model_the_embedded_engine_and_a_redis_agree() {
    let server = Server::redis().unwrap();
    let runtime = runtime();
    let contenders = vec![model(), embedded(), redis(&runtime, &server)];
    let options = RunOptions { positions: false, ..options(sequences(40, 10_000)) };
    check_on(&runtime, contenders, options);
}
