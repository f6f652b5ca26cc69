//! `weir group`, `weir groups`, `weir pending`, `weir lag`, `weir seek`, `weir top`.

use rustix::process::Signal;

use super::place::{Place, everywhere, servers};

#[test]
fn a_group_is_made_where_it_is_said_and_nowhere_else() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "4"]).done();
        place.weir(&["group", "create", "s", "g"]).failed(2, "--from");
        assert_eq!(
            place.weir(&["group", "create", "s", "g", "--from", "start"]).done(),
            "made the group g of s\n"
        );
        assert!(
            place
                .weir(&["group", "create", "s", "g", "--from", "start"])
                .done()
                .contains("was there already")
        );
        place.weir(&["group", "create", "s", "g", "--from", "end"]).failed(3, "exists already");
        place.weir(&["group", "create", "s", "late", "--from", "end"]).done();
        assert_eq!(place.lag("s", "g")["undelivered"], 4);
        assert_eq!(place.lag("s", "late")["undelivered"], 0);
        place.weir(&["pending", "s", "gg"]).failed(3, "it has g, late");
        place.weir(&["pending", "t", "g"]).failed(3, "there is no stream");
    });
}

#[test]
fn a_policy_is_given_part_by_part() {
    everywhere(|place| {
        let create =
            ["group", "create", "s", "g", "--from", "start", "--delays", "200ms,1s,3s", "--key", "customer"];
        place.weir(&create).done();
        place
            .weir(&["group", "set", "s", "g", "--lease", "5m", "--where", "@type^=order.", "--required"])
            .done();
        let policy = &place.json(&["groups", "s", "g"])[0]["policy"];
        assert_eq!((&policy["failures_max"], &policy["backoff"]), (&4.into(), &"200ms,1s,3s".into()));
        assert_eq!((&policy["lease_ms"], &policy["key"]), (&300_000.into(), &"customer".into()));
        assert_eq!((&policy["filter"][0], &policy["required"]), (&"@type^=order.".into(), &true.into()));
        let set = [
            "group",
            "set",
            "s",
            "g",
            "--backoff",
            "1s..1mx1.5",
            "--jitter",
            "20",
            "--key",
            "none",
            "--where",
            "none",
        ];
        place.weir(&set).done();
        let policy = &place.json(&["groups", "s", "g"])[0]["policy"];
        assert_eq!(policy["backoff"], "1s..1m ×1.5, jitter 20 %");
        assert!(policy["key"].is_null() && policy["filter"].as_array().unwrap().is_empty());
        place.weir(&["group", "set", "s", "g", "--failures", "0"]).failed(2, "at least 1");
        let shown = place.weir(&["groups", "s", "g"]).done();
        assert!(shown.contains("waits between failures") && shown.contains("no consumers"), "{shown}");
    });
}

#[test]
fn a_paused_group_gives_nothing_until_it_is_resumed() {
    for place in servers() {
        place.weir(&["publish", "s", "n=1"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start"]).done();
        place.weir(&["group", "pause", "s", "g"]).done();
        assert_eq!(place.lag("s", "g")["paused"], true);
        let mut consumer = place.start(&["consume", "s", "-g", "g", "-e", "echo got $FIELD_N"]);
        place.until("the consumer reads", |place| place.lag("s", "g")["consumers"] == 1);
        assert_eq!(place.lag("s", "g")["undelivered"], 1);
        place.weir(&["group", "resume", "s", "g"]).done();
        assert_eq!(consumer.line(), "got 1");
        assert_eq!(consumer.end_with(Signal::TERM), Some(0));
    }
}

/// A consumer that dies with an entry in its hand.
fn die_holding(place: &Place, stream: &str, group: &str) {
    let consumer = place.start(&["consume", stream, "-g", group, "-e", "sleep 600", "--consumer", "dead-1"]);
    place.until("it holds one", |place| {
        place.json(&["pending", stream, group]).iter().any(|row| row["state"] == "held")
    });
    consumer.end_with(Signal::KILL);
}

#[test]
fn what_is_pending_is_shown_with_who_holds_it() {
    // Commands and the consumer run at the same time, so somebody has to serve them.
    for place in servers() {
        place.weir(&["publish", "s", "n={n}", "--count", "2"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start"]).done();
        die_holding(&place, "s", "g");
        let rows = place.json(&["pending", "s", "g"]);
        assert_eq!((&rows[0]["consumer"], &rows[0]["deliveries"]), (&"dead-1".into(), &1.into()));
        assert_eq!(place.json(&["pending", "s", "g", "--consumer", "nobody"]).len(), 0);
        assert_eq!(place.json(&["pending", "s", "g", "--idle", "1h"]).len(), 0);
        let table = place.weir(&["pending", "s", "g"]).done();
        assert!(table.contains("held by dead-1 ") && table.contains("   held    dead-1 "), "{table}");
        place.weir(&["group", "forget", "s", "g", "dead-1"]).done();
        let rows = place.json(&["pending", "s", "g"]);
        assert!(rows.iter().all(|row| row["state"] == "ready" && row["consumer"].is_null()), "{rows:?}");
        place.weir(&["consume", "s", "-g", "g", "-e", "true", "--drain"]).done();
        assert_eq!(place.lag("s", "g")["total"], 0);
        assert_eq!(place.weir(&["pending", "s", "g"]).done(), "nothing is pending\n");
    }
}

#[test]
fn lag_is_told_for_people_for_programs_and_for_alarms() {
    everywhere(|place| {
        place.weir(&["publish", "orders", "n={n}", "--count", "5"]).done();
        for group in ["a", "b"] {
            place.weir(&["group", "create", "orders", group, "--from", "start"]).done();
        }
        place.weir(&["consume", "orders", "-g", "a", "-e", "true", "--drain"]).done();
        let lags = place.json(&["lag"]);
        assert_eq!((&lags[0]["total"], &lags[1]["total"]), (&0.into(), &5.into()));
        assert_eq!(lags[1]["exact"], true);
        assert!(lags[1]["oldest_undelivered_ms"].is_u64(), "{lags:?}");
        let table = place.weir(&["lag"]).done();
        assert!(table.contains("all done") && table.contains("never"), "{table}");
        place.weir(&["lag", "--max", "5"]).done();
        place.weir(&["lag", "--max", "4"]).failed(1, "b of orders has 5 entries left to do");
        place.weir(&["lag", "orders", "c"]).failed(3, "has no group");
        let top = place.json(&["top"]);
        let order: Vec<_> = top.iter().map(|row| row["group"].as_str().unwrap()).collect();
        assert_eq!(order, ["b", "a"], "the one with most to do stands first");
        assert!(place.weir(&["top", "--once"]).done().contains("│ orders   b "));
    });
}

#[test]
fn lag_is_watched_until_somebody_ends_it() {
    let place = Place::server();
    place.weir(&["group", "create", "s", "g", "--from", "start"]).done();
    let mut watch = place.start(&["lag", "--watch", "100ms", "--json"]);
    assert!(watch.line().contains("\"total\":0"));
    place.weir(&["publish", "s", "a=b"]).done();
    while !watch.line().contains("\"total\":1") {}
    assert_eq!(watch.end_with(Signal::INT), Some(130));
}

#[test]
fn a_group_is_moved_after_it_was_shown_what_that_does() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "6"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start"]).done();
        place.weir(&["consume", "s", "-g", "g", "-e", "true", "--drain"]).done();
        let out = place.weir(&["seek", "s", "g", "start", "--dry-run"]).done();
        assert!(out.contains("comes again     6 entries") && out.contains("n=1"), "{out}");
        place.weir(&["seek", "s", "g", "start"]).failed(3, "nothing was changed");
        assert_eq!(place.lag("s", "g")["undelivered"], 0);
        place.weir(&["seek", "s", "g", "start", "--yes"]).done();
        assert_eq!(place.lag("s", "g")["undelivered"], 6);
        let id = place.json(&["tail", "s", "--from", "start"])[2]["id"].as_str().unwrap().to_owned();
        let undelivered = |to: &str| {
            let sought = place.json(&["seek", "s", "g", to, "--yes"]).pop().unwrap();
            assert_eq!(sought["done"], true);
            place.lag("s", "g")["undelivered"].as_u64().unwrap()
        };
        assert_eq!(undelivered("+2"), 4);
        assert_eq!(undelivered(&id), 4, "the third one comes next");
        assert_eq!(undelivered(&format!("after:{id}")), 3);
        assert_eq!(undelivered("1h"), 6);
        assert_eq!(undelivered("end"), 0);
        let out = place.weir(&["seek", "s", "g", "end", "--dry-run"]).done();
        assert!(out.contains("what is appended from now on"), "{out}");
        place.weir(&["seek", "s", "g", "somewhere", "--yes"]).failed(2, "+N");
    });
}

#[test]
fn a_group_is_ended_when_that_is_meant() {
    everywhere(|place| {
        place.weir(&["group", "create", "s", "g", "--from", "start"]).done();
        place.weir(&["group", "delete", "s", "g"]).failed(3, "nothing was changed");
        let done = place.json(&["group", "delete", "s", "g", "--yes"]).pop().unwrap();
        assert_eq!((&done["group"], &done["done"]), (&"g".into(), &"deleted".into()));
        assert!(place.json(&["groups"]).is_empty());
        assert!(place.weir(&["groups"]).done().contains("no groups"));
    });
}
