//! The example says the same on every engine; only the URL differs.

use weir_testkit::differential::Server;

#[path = "../../examples/orders.rs"]
#[expect(dead_code, reason = "the example's own main is not called here")]
mod orders;

const LINES: [&str; 7] = [
    "ann: billed 10 at attempt 1",
    "bob: no total",
    "cid: not now",
    "ann: billed 20 at attempt 1",
    "cid: billed 30 at attempt 2",
    "dead: the order has no total",
    "left to do: 0",
];

#[tokio::test]
async fn the_example_prints_the_same_on_every_engine() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Server::redis().unwrap();
    let urls = [
        "memory:".to_owned(),
        format!("file:{}", folder.path().display()),
        format!("redis://{}", redis.address()),
    ];
    for url in &urls {
        assert_eq!(orders::run(url).await.unwrap(), LINES, "{url}");
    }
    assert_eq!(orders::run(&urls[2]).await.unwrap(), LINES, "and again on the same Redis");
}

#[test]
fn the_example_is_short() {
    assert!(include_str!("../../examples/orders.rs").lines().count() <= 60);
}
