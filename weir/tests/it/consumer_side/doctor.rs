//! `weir doctor STREAM [GROUP]`: each entry of the troubleshooting pages is found and answered.

use rustix::process::Signal;
use serde_json::Value;

use super::place::{Place, everywhere, servers};

/// What the doctor says of something, if it is not well: its remedy.
fn remedy(place: &Place, args: &[&str], what: &str) -> Option<String> {
    let ran = place.weir(&[&["doctor", "--json"], args].concat());
    let findings: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let all = findings["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["what"] == what && finding["severity"] != "ok")?;
    Some(found["remedy"].as_str().unwrap().to_owned())
}

#[track_caller]
fn answers(place: &Place, args: &[&str], what: &str, words: &str) {
    let remedy = remedy(place, args, what).unwrap_or_else(|| panic!("nothing about {what}"));
    assert!(remedy.contains(words), "{what}: {remedy}");
}

#[test]
fn a_broker_a_stream_or_a_group_that_is_not_there_is_told() {
    everywhere(|place| {
        answers(place, &["orders", "--url", "weir://127.0.0.1:1"], "connection", "is the server running");
        place.weir(&["publish", "orders", "a=b"]).done();
        answers(place, &["order"], "stream", "with its first entry");
        answers(place, &["orders"], "group", "weir group create orders GROUP --from start");
        answers(place, &["orders", "billing"], "group", "weir group create orders billing --from start");
        let ran = place.weir(&["doctor", "orders", "billing"]);
        ran.failed(1, "need attention");
    });
}

#[test]
fn a_group_that_is_well_needs_nothing() {
    everywhere(|place| {
        place.weir(&["publish", "orders", "a=b"]).done();
        place.weir(&["consume", "orders", "-g", "g", "--from", "start", "-e", "true", "--drain"]).done();
        let ran = place.weir(&["doctor", "orders", "g"]);
        let out = ran.done();
        assert!(out.contains("│ ok") && !out.contains("PROBLEM"), "{out}");
    });
}

#[test]
fn what_keeps_a_group_from_consuming_is_told() {
    everywhere(|place| {
        place.weir(&["group", "create", "s", "g", "--from", "start"]).done();
        answers(place, &["s"], "entries", "look at the producer");
        place.weir(&["publish", "s", "type=x", "--count", "3"]).done();
        answers(place, &["s", "g"], "consumers", "weir consume");
        place.weir(&["group", "pause", "s", "g"]).done();
        answers(place, &["s", "g"], "paused", "weir group resume s g");
        place.weir(&["group", "resume", "s", "g"]).done();
        place.weir(&["group", "set", "s", "g", "--where", "type=y"]).done();
        answers(place, &["s", "g"], "filter", "--where none");
        place.weir(&["group", "create", "s", "late", "--from", "end"]).done();
        answers(place, &["s", "late"], "start", "weir seek s late start");
    });
}

#[test]
fn failures_and_dead_letters_are_told_with_their_class() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "2"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start", "--delays", "1h"]).done();
        let command =
            "test $FIELD_N = 1 && { echo 'broken: no' >&2; exit 20; }; echo 'bank: away' >&2; exit 1";
        let mut consumer = place.command(&["consume", "s", "-g", "g", "-e", command]).spawn().unwrap();
        if place.url.starts_with("file:") {
            // Nobody else can look into the folder meanwhile.
            std::thread::park_timeout(std::time::Duration::from_secs(3));
        } else {
            place.until("both have failed", |place| {
                let lag = place.lag("s", "g");
                lag["dead"] == 1 && lag["delayed"] == 1
            });
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&consumer), Signal::TERM).unwrap();
        consumer.wait().unwrap();
        answers(place, &["s", "g"], "failures", "weir pending s g");
        answers(place, &["s", "g"], "dead letters", "weir dlq redrive s g --class broken");
    });
}

#[test]
fn what_is_held_and_never_settled_is_told() {
    for place in servers() {
        place.weir(&["publish", "s", "n=1"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start", "--lease", "200ms"]).done();
        for name in ["a", "b", "c"] {
            let consumer = place.start(&["consume", "s", "-g", "g", "-e", "sleep 600", "--consumer", name]);
            place.until("it holds it", |place| {
                place.json(&["pending", "s", "g"]).iter().any(|row| row["consumer"] == name)
            });
            consumer.end_with(Signal::KILL);
        }
        place.until("the lease is over", |place| remedy(place, &["s", "g"], "held too long").is_some());
        answers(&place, &["s", "g"], "held too long", "--lease 5m");
        answers(&place, &["s", "g"], "never acknowledged", "does the consumer acknowledge");
    }
}

#[test]
fn what_was_held_and_lost_for_a_required_group_is_told() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "--count", "10"]).done();
        place.weir(&["group", "create", "s", "g", "--from", "start", "--required"]).done();
        place.weir(&["stream", "retain", "s", "--length", "2", "--hold", "3"]).done();
        answers(place, &["s"], "held entries", "weir lag s");
        answers(place, &["s"], "lost entries", "weir stream lost s");
    });
}

#[test]
fn a_group_without_a_policy_is_told() {
    let place = Place::server();
    let server = crate::weir::Weir::start(place.folder.path(), &["--dir", "other"]);
    server.call(&["XADD", "s", "*", "a", "b"]);
    server.call(&["XGROUP", "CREATE", "s", "g", "0"]);
    let url = format!("weir://{}", server.resp());
    answers(&place, &["s", "g", "--url", &url], "policy", "weir group set s g");
}
