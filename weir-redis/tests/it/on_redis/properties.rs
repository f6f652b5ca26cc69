//! Random operations on the naive model and on a Redis, every reply compared.

use std::sync::Arc;

use weir_testkit::TestBroker;
use weir_testkit::properties::{Contender, RunOptions, run};

use super::redis_server::Redis;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// How many sequences: few, or with `WEIR_FULL` set, many, or as many as `WEIR_SEQUENCES` says.
fn sequences(few: u64, many: u64) -> u64 {
    if let Some(number) = number("WEIR_SEQUENCES") {
        return number;
    }
    if std::env::var_os("WEIR_FULL").is_some() { many } else { few }
}

#[tokio::test]
async fn the_model_and_a_redis_agree() {
    let redis = Redis::start();
    let model =
        Contender { name: "model".into(), broker: Arc::new(TestBroker::new().plain()), restart: None };
    let broker = Arc::new(redis.broker().await);
    let on_redis = Contender { name: "redis".into(), broker, restart: None };
    let seed = number("WEIR_SEED").unwrap_or(1);
    let options = RunOptions { seed, sequences: sequences(60, 10_000), ..RunOptions::default() };
    if let Err(difference) = run(&mut [model, on_redis], &options).await {
        panic!("{difference}");
    }
}
