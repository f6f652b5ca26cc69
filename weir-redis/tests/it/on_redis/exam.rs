//! The whole exam on a Redis.

use std::sync::Arc;

use weir_testkit::conformance::{Profile, RealTime, RunOptions, run};

use super::redis_server::Redis;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exam_passes_on_one_server() {
    let redis = Redis::start();
    let target = RealTime::new("redis", vec![Profile::Streams], Arc::new(redis.broker().await));
    let report = run(Arc::new(target), RunOptions::default()).await;
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() >= 250, "{report}");
}
