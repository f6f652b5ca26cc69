//! `weir tail`.

use super::place::everywhere;

fn ns(entries: &[serde_json::Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["fields"]["n"].as_str().unwrap()).collect()
}

#[test]
fn the_last_entries_or_those_from_a_place_on_are_printed() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n={n}", "type=even", "--count", "30"]).done();
        assert_eq!(place.json(&["tail", "s"]).len(), 10);
        assert_eq!(ns(&place.json(&["tail", "s", "-n", "2"])), ["29", "30"]);
        assert_eq!(ns(&place.json(&["tail", "s", "--from", "start", "-n", "2"])), ["1", "2"]);
        assert_eq!(place.json(&["tail", "s", "--from", "1h"]).len(), 30);
        let all = place.json(&["tail", "s", "--from", "start"]);
        let id = all[27]["id"].as_str().unwrap();
        assert_eq!(ns(&place.json(&["tail", "s", "--from", id])), ["28", "29", "30"]);
        assert_eq!(ns(&place.json(&["tail", "s", "--from", &format!("after:{id}")])), ["29", "30"]);
        assert!(place.json(&["tail", "s", "--from", "end"]).is_empty());
        let line = place.weir(&["tail", "s", "-n", "1"]).done();
        assert!(line.ends_with("  n=30 type=even\n"), "{line}");
        place.weir(&["tail", "s", "--from", "yesterday"]).failed(2, "10m (ago)");
        place.weir(&["tail", "nothing"]).failed(3, "there is no stream");
    });
}

#[test]
fn entries_are_chosen_by_their_fields() {
    everywhere(|place| {
        for (kind, n) in [("order.placed", "1"), ("order.paid", "2"), ("user.made", "3")] {
            place.weir(&["publish", "s", &format!("eventType={kind}"), &format!("n={n}")]).done();
        }
        let wanted = |conditions: &[&str]| {
            let args = conditions.iter().flat_map(|condition| ["--where", condition]);
            let entries = place.json(&["tail", "s"].into_iter().chain(args).collect::<Vec<_>>());
            ns(&entries).join(" ")
        };
        assert_eq!(wanted(&["n=2"]), "2");
        assert_eq!(wanted(&["@type^=order."]), "1 2");
        assert_eq!(wanted(&["@type^=order.", "n|=2,3"]), "2");
        assert_eq!(wanted(&["type=order.paid"]), "");
        // The last one that matches is far back.
        place.weir(&["publish", "s", "n=x", "--count", "1500"]).done();
        assert_eq!(ns(&place.json(&["tail", "s", "-n", "1", "--where", "n=3"])), ["3"]);
    });
}

#[test]
fn several_streams_are_merged_by_id() {
    everywhere(|place| {
        for (stream, id, n) in
            [("a-1", "1-0", "1"), ("a-2", "2-0", "2"), ("a-1", "3-0", "3"), ("b", "4-0", "4")]
        {
            place.weir(&["publish", stream, &format!("n={n}"), "--id", id]).done();
        }
        assert_eq!(ns(&place.json(&["tail", "a-*", "--from", "start"])), ["1", "2", "3"]);
        assert_eq!(ns(&place.json(&["tail", "a-*", "-n", "2"])), ["2", "3"]);
        assert!(place.weir(&["tail", "a-*"]).done().contains("2-0  a-2  n=2"));
    });
}

#[test]
fn what_is_appended_is_followed_and_new_streams_are_picked_up() {
    for place in super::place::servers() {
        place.weir(&["publish", "f-1", "n=0"]).done();
        let mut tail = place.start(&["tail", "f-*", "-f", "--where", "want=yes", "--json"]);
        let n = |tail: &mut super::place::Running| {
            let entry: serde_json::Value = serde_json::from_str(&tail.line()).unwrap();
            entry["fields"]["n"].as_str().unwrap().to_owned()
        };
        let publish = |stream: &str, n: &str, want: &str| {
            place.weir(&["publish", stream, &format!("n={n}"), &format!("want={want}")]).done();
        };
        publish("f-1", "1", "no");
        publish("f-1", "2", "yes");
        assert_eq!(n(&mut tail), "2");
        publish("f-2", "3", "yes");
        assert_eq!(n(&mut tail), "3", "a stream that is new");
        publish("f-2", "4", "yes");
        assert_eq!(n(&mut tail), "4");
        assert_eq!(tail.end_with(rustix::process::Signal::INT), Some(130));
    }
}

#[test]
fn following_ends_after_as_many_as_are_wanted() {
    let place = super::place::Place::server();
    let tail = place
        .command(&["tail", "later", "-f", "--from", "start", "-n", "3", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn();
    place.weir(&["publish", "later", "n={n}", "--count", "5"]).done();
    let output = tail.unwrap().wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stdout).unwrap().lines().count()),
        (Some(0), 3)
    );
}
