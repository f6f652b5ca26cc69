//! The whole exam, with every call and every answer going over a socket.

use std::sync::Arc;

use weir_testkit::conformance::{Profile, RealTime, RunOptions, run};

use super::door::Door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exam_passes_over_a_socket() {
    let door = Door::open().await;
    let server = weir_redis::server::connect(&door.url()).await.unwrap();
    let profiles = vec![Profile::Streams, Profile::Positions];
    let target = RealTime::new("weir", profiles, server.broker());
    let report = run(Arc::new(target), RunOptions::default()).await;
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() > 100, "{report}");
}
