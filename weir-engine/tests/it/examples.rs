//! The examples say what they should.

#[path = "../../examples/embedded.rs"]
#[allow(dead_code, reason = "the example's own main is not called here")]
mod embedded;

#[test]
fn the_embedded_example_prints_what_it_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let namespace = weir_engine::Engine::memory().namespace("default").unwrap();
    let mut out = Vec::new();
    embedded::run(&namespace, &runtime, &mut out).unwrap();
    let expected = "worker-1 handles 1-0 at Some(0)\nworker-1 has 2-0 pending\nbilling: 1 pending\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
