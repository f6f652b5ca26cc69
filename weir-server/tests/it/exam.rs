//! The exam, taken by a client of a weir server: every case, over a socket.

use std::sync::Arc;

use weir_testkit::conformance::{Profile, RealTime, RunOptions, run};

use crate::harness::TestServer;

#[test]
fn the_exam_passes_over_a_socket() {
    let server = TestServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("weir://{}", server.address);
        let weir = weir_redis::server::connect(&url).await.unwrap();
        let target = RealTime::new("weir", vec![Profile::Streams, Profile::Positions], weir.broker());
        let report = run(Arc::new(target), RunOptions::default()).await;
        assert!(report.failures().is_empty(), "{report}");
        assert!(report.passed() > 100, "{report}");
    });
}
