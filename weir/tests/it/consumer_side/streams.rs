//! `weir streams` and `weir stream`.

use super::place::everywhere;

#[test]
fn streams_are_listed_with_what_is_in_them() {
    everywhere(|place| {
        assert!(place.weir(&["streams"]).done().contains("no streams"));
        place.weir(&["publish", "orders", "a=b", "--count", "3"]).done();
        place.weir(&["publish", "users", "a=b"]).done();
        place.weir(&["group", "create", "orders", "billing", "--from", "start"]).done();
        let streams = place.json(&["streams"]);
        let names: Vec<_> = streams.iter().map(|stream| stream["stream"].as_str().unwrap()).collect();
        assert_eq!(names, ["orders", "users"]);
        assert_eq!((&streams[0]["length"], &streams[0]["groups"]), (&3.into(), &1.into()));
        assert_eq!(place.json(&["streams", "us*"]).len(), 1);
        let table = place.weir(&["streams"]).done();
        assert!(table.contains("│ orders         3      3   "), "{table}");
    });
}

#[test]
fn how_much_is_kept_is_said_once_and_holds() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "20"]).done();
        let kept = place.weir(&["stream", "retain", "s", "--length", "5"]).done();
        assert_eq!(kept, "s keeps 5 entries\n");
        assert_eq!(place.json(&["streams", "s"])[0]["length"], 5);
        place.weir(&["publish", "s", "n={n}", "--count", "20"]).done();
        assert_eq!(place.json(&["streams", "s"])[0]["length"], 5);
        assert_eq!(place.json(&["stream", "retain", "s"])[0]["length"], 5);
        assert_eq!(place.weir(&["stream", "retain", "s", "--everything"]).done(), "s keeps everything\n");
        place.weir(&["stream", "retain", "s", "--hold", "5"]).failed(2, "wants a limit");
        place.weir(&["stream", "retain", "nothing"]).failed(3, "there is no stream");
    });
}

#[test]
fn what_a_required_group_has_not_acknowledged_stays_and_what_goes_is_listed() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "10"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start", "--required"]).done();
        let out = place.weir(&["stream", "trim", "s", "--length", "4", "--yes"]).done();
        assert!(out.contains("removed 0 entries") && out.contains("kept 6 entries"), "{out}");
        place.weir(&["stream", "trim", "s", "--length", "4"]).failed(3, "--yes");
        place.weir(&["stream", "retain", "s", "--length", "4", "--hold", "2"]).done();
        assert_eq!(place.json(&["streams", "s"])[0]["length"], 6);
        let lost = place.json(&["stream", "lost", "s", "g"]);
        assert_eq!(lost.len(), 4);
        assert_eq!((&lost[0]["group"], &lost[0]["was_pending"]), (&"g".into(), &false.into()));
    });
}

#[test]
fn a_stream_is_removed_when_that_is_meant() {
    everywhere(|place| {
        place.weir(&["publish", "s", "a=b"]).done();
        let out = place.weir(&["stream", "delete", "s"]).failed(3, "nothing was changed");
        assert!(out.contains("s has 1 entry and 0 groups"), "{out}");
        assert_eq!(place.json(&["stream", "delete", "s", "--yes"])[0]["removed"], 1);
        place.weir(&["stream", "delete", "s", "--yes"]).failed(3, "there is no stream");
    });
}
