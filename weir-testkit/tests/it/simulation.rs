//! The stories in simulated time, on the model and on the embedded engine.

use std::sync::Arc;

use weir_core::{ManualClock, Timestamp};
use weir_testkit::TestBroker;
use weir_testkit::simulation::{
    OrderOptions, Simulated, Throughput, ThroughputOptions, delays_survive_clock_steps, keys_stay_in_order,
    throughput_beside_a_failing_key,
};

use crate::life::Life;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(1_704_067_200_000)))
}

fn model() -> Simulated {
    let clock = clock();
    Simulated { broker: Arc::new(TestBroker::with_manual_clock(clock.clone())), clock }
}

fn embedded() -> Simulated {
    let clock = clock();
    Simulated { broker: Life::new(clock.clone()).broker().unwrap(), clock }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn check_order(on: &Simulated, seeds: u64) {
    let mut crashed = 0;
    for seed in 1..=seeds {
        let stream = format!("order-{seed}").into_bytes();
        let options = OrderOptions { seed, stream, steps: 2_000, keys: 5 };
        let kept = block_on(keys_stay_in_order(on, &options)).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(kept.done + kept.dead, kept.appended, "{kept:?}");
        crashed += kept.crashed;
    }
    assert!(crashed > seeds, "consumers crash with entries in hand");
}

fn check_throughput(on: &Simulated) {
    let handle = |fails| {
        let stream = format!("lanes-{fails}").into_bytes();
        let options = ThroughputOptions { stream, keys: 10, entries: 100, workers: 4, ticks: 200, fails };
        block_on(throughput_beside_a_failing_key(on, &options)).unwrap()
    };
    let (undisturbed, disturbed): (Throughput, Throughput) = (handle(false), handle(true));
    assert!(disturbed.first > 10, "the failing key is tried again: {disturbed:?}");
    assert!(disturbed.others * 100 >= undisturbed.others * 95, "{disturbed:?} beside {undisturbed:?}");
}

#[test]
fn the_model_keeps_keys_in_order() {
    check_order(&model(), 20);
}

#[test]
fn other_keys_go_on_while_one_fails_in_the_model() {
    check_throughput(&model());
}

#[test]
fn clock_steps_change_no_delay_of_the_model() {
    block_on(delays_survive_clock_steps(&model(), b"steps")).unwrap();
}

#[test]
fn the_embedded_engine_keeps_keys_in_order() {
    check_order(&embedded(), 20);
}

#[test]
fn other_keys_go_on_while_one_fails_in_the_embedded_engine() {
    check_throughput(&embedded());
}

#[test]
fn clock_steps_change_no_delay_of_the_embedded_engine() {
    block_on(delays_survive_clock_steps(&embedded(), b"steps")).unwrap();
}
