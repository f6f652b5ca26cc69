//! The naive model sits the exam.

use std::sync::Arc;
use std::time::Duration;

use weir_core::ErrorKind;
use weir_testkit::conformance::{OnClock, Profile, RunOptions, Virtual, cases, model, run};
use weir_testkit::naive::NaiveBroker;

#[tokio::test(flavor = "multi_thread")]
async fn the_model_passes_the_exam() {
    let report = run(Arc::new(model()), RunOptions::default()).await;
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() >= 300, "{} cases", report.passed());
    assert!(cases().count() >= report.passed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_passes_on_a_broker_that_is_out_of_order() {
    let broken = Virtual::new("broken", vec![Profile::Streams, Profile::Positions], |clock| {
        let broker = NaiveBroker::with_manual_clock(clock);
        broker.fail_with(ErrorKind::Closed);
        OnClock { broker: Arc::new(broker), stepped: Box::new(|| ()) }
    });
    let report = run(Arc::new(broken), RunOptions::default()).await;
    let passed: Vec<_> = report.results.iter().filter(|result| result.outcome.is_ok()).collect();
    assert!(passed.is_empty(), "{passed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_notice_the_time_fails() {
    let asleep = Virtual::new("asleep", vec![Profile::Streams], |clock| OnClock {
        broker: Arc::new(NaiveBroker::with_manual_clock(clock)),
        stepped: Box::new(|| ()),
    });
    let filter = Some("gives up when its time is over".to_owned());
    let options = RunOptions { filter, case_max: Duration::from_millis(500), ..RunOptions::default() };
    let report = run(Arc::new(asleep), options).await;
    assert_eq!((report.results.len(), report.passed()), (2, 0), "{report}");
}
