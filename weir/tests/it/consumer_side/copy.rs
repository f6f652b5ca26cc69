//! `weir copy`, between every two engines.

use rustix::process::Signal;
use serde_json::Value;

use super::place::{Place, servers};

/// A stream with two groups: one has dead letters, delayed and held entries; the other has done everything.
fn fill(place: &Place) {
    place.weir(&["publish", "orders", "n={n}", "--count", "700"]).done();
    place.weir(&["group", "create", "orders", "done", "--from", "start"]).done();
    place.weir(&["seek", "orders", "done", "end", "--yes"]).done();
    let create =
        ["group", "create", "orders", "busy", "--from", "start", "--delays", "1h", "--deliveries", "9"];
    place.weir(&create).done();
    let command = "case $FIELD_N in 1) exit 20;; 2) echo 'slow: later' >&2; exit 1;; 3) sleep 600;; esac";
    let consumer =
        place.start(&["consume", "orders", "-g", "busy", "-e", command, "-q", "--consumer", "ann-1"]);
    place.until("the third one is held", |place| {
        let rows = place.json(&["pending", "orders", "busy", "-n", "1000"]);
        rows.iter().any(|row| row["state"] == "delayed") && place.lag("orders", "busy")["dead"] == 1
    });
    consumer.end_with(Signal::KILL);
}

/// What has to be the same on both sides.
fn seen(place: &Place) -> (Vec<Value>, Vec<Value>, Vec<Value>, Vec<Value>) {
    let entries = place.json(&["tail", "orders", "--from", "start"]);
    let entries =
        entries.into_iter().map(|entry| serde_json::json!([entry["id"], entry["fields"]])).collect();
    let rows = place.json(&["pending", "orders", "busy", "-n", "1000"]);
    let rows = rows
        .into_iter()
        .map(|row| {
            serde_json::json!([row["id"], row["state"], row["consumer"], row["deliveries"], row["failures"]])
        })
        .collect();
    let groups = place.json(&["groups", "orders"]);
    let groups = groups
        .into_iter()
        .map(|group| {
            serde_json::json!([
                group["group"],
                group["last_delivered_id"],
                group["policy"],
                group["dead"],
                group["origin"]
            ])
        })
        .collect();
    let letters = place.json(&["dlq", "list", "orders", "busy"]);
    (entries, rows, groups, letters.into_iter().map(|letter| letter["id"].clone()).collect())
}

#[test]
fn everything_of_a_stream_is_on_the_other_side_whichever_engines_these_are() {
    let source = Place::server();
    fill(&source);
    let wanted = seen(&source);
    assert_eq!((wanted.0.len(), wanted.3.len()), (700, 1));
    assert!(!wanted.1.is_empty(), "something is pending");
    let mut from = source;
    for to in std::iter::once(Place::folder()).chain(servers()) {
        let out = to.weir(&["copy", &from.url, &to.url, "orders", "--yes"]).done();
        assert!(out.contains("orders: copied 700 entries, 2 groups, "), "{out}");
        assert_eq!(seen(&to), wanted, "{} to {}", from.url, to.url);
        from = to;
    }
}

#[test]
fn it_is_shown_first_and_goes_on_where_it_stopped() {
    let (from, to) = (Place::folder(), Place::folder());
    from.weir(&["publish", "s", "n={n}", "--count", "10"]).done();
    from.weir(&["publish", "other", "n=1"]).done();
    let copy = |args: &[&str]| to.weir(&[&["copy", &from.url, &to.url], args].concat());
    let out = copy(&["--dry-run"]).done();
    assert!(out.contains("│ s             10               0        0         0 │"), "{out}");
    copy(&[]).failed(3, "nothing was changed");
    assert!(to.json(&["streams"]).is_empty());
    copy(&["s", "--yes"]).done();
    assert_eq!(to.json(&["streams"]).len(), 1);
    from.weir(&["publish", "s", "n={n}", "--count", "5"]).done();
    assert!(copy(&["--yes"]).done().contains("s: copied 5 entries"));
    assert!(copy(&["--yes"]).done().contains("s: copied 0 entries"));
    let ns = |place: &Place| -> Vec<_> {
        place.json(&["tail", "s", "--from", "start"]).into_iter().map(|entry| entry["id"].clone()).collect()
    };
    assert_eq!((ns(&from), ns(&to).len()), (ns(&to), 15));
}

/// A Redis that other clients have used: its groups have no policy, and their pending entries come along.
#[test]
fn groups_of_redis_clients_come_along() {
    let redis = crate::redis::Redis::start_on_a_port();
    let ids = ["1-0", "2-0", "3-0", "4-0"];
    for id in ids {
        redis.call(&["XADD", "orders", id, "n", id]);
    }
    redis.call(&["XGROUP", "CREATE", "orders", "billing", "0"]);
    redis.call(&["XREADGROUP", "GROUP", "billing", "bob", "COUNT", "3", "STREAMS", "orders", ">"]);
    redis.call(&["XACK", "orders", "billing", "2-0"]);
    redis.call(&["XDEL", "orders", "3-0"]);
    let to = Place::server();
    let out = to.weir(&["copy", &redis.tcp_url(), &to.url, "--yes"]).done();
    assert!(out.contains("orders: copied 3 entries, 1 group, 1 pending"), "{out}");
    assert!(
        out.contains("billing had no policy") && out.contains("1 entry pending whose entries are gone"),
        "{out}"
    );
    let rows = to.json(&["pending", "orders", "billing"]);
    let row = &rows[0];
    assert_eq!((rows.len(), &row["id"], &row["consumer"]), (1, &"1-0".into(), &"bob".into()));
    let ran = to.weir(&[
        "consume",
        "orders",
        "-g",
        "billing",
        "--from",
        "start",
        "-e",
        "echo $FIELD_N",
        "--drain",
        "--lease",
        "500ms",
    ]);
    let out = ran.done();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1-0", "4-0"]);
}

#[test]
fn what_is_no_copy_is_left_alone() {
    let (from, to) = (Place::folder(), Place::folder());
    from.weir(&["publish", "s", "n=1", "--id", "5-0"]).done();
    to.weir(&["publish", "s", "n=2", "--id", "5-0"]).done();
    let copy = || to.weir(&["copy", &from.url, &to.url, "--yes"]);
    copy().failed(3, "is another one in the destination");
    to.weir(&["publish", "s", "n=2", "--id", "6-0"]).done();
    copy().failed(3, "beyond the source's last ID");
    assert_eq!(to.json(&["tail", "s"]).len(), 2);
    to.weir(&["copy", &to.url, &to.url]).failed(2, "the same");
    to.weir(&["copy", &from.url, &to.url, "nothing", "--yes"]).failed(3, "there is no stream");
}
