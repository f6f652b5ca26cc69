//! The naive model sits the exam.

use std::sync::Arc;

use weir_testkit::conformance::{RunOptions, cases, model, run};

#[tokio::test(flavor = "multi_thread")]
async fn the_model_passes_the_exam() {
    let report = run(Arc::new(model()), RunOptions::default()).await;
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() >= 300, "{} cases", report.passed());
    assert!(cases().count() >= report.passed());
}
