//! `weir publish`.

use super::place::everywhere;

#[test]
fn an_entry_is_appended_and_its_id_printed() {
    everywhere(|place| {
        let out = place.weir(&["publish", "orders", "type=placed", "--data", r#"{"total": 25}"#]).done();
        let id = out.trim();
        let entry = place.json(&["tail", "orders"]).pop().unwrap();
        assert_eq!(entry["id"], id);
        assert_eq!(entry["fields"]["type"], "placed");
        assert_eq!(entry["fields"]["data"], r#"{"total": 25}"#);
        let told = place.json(&["publish", "orders", "a=b=c"]).pop().unwrap();
        assert_eq!((told["stream"].as_str(), told["is_duplicate"].as_bool()), (Some("orders"), Some(false)));
        let id = place.weir(&["publish", "other", "a=b", "--id", "5-1"]).done();
        assert_eq!(id, "5-1\n");
        place.weir(&["publish", "other", "a=b", "--id", "5-1"]).failed(3, "greater than");
    });
}

#[test]
fn a_template_makes_many() {
    everywhere(|place| {
        let out = place.weir(&["publish", "s", "n={n}", "at={now}", "--count", "1203"]).done();
        assert!(out.starts_with("1203 entries in s: "), "{out}");
        let entries = place.json(&["tail", "s", "--from", "start"]);
        assert_eq!(entries.len(), 1_203);
        assert_eq!(
            (&entries[0]["fields"]["n"], &entries[1_202]["fields"]["n"]),
            (&"1".into(), &"1203".into())
        );
        assert!(entries[7]["fields"]["at"].as_str().unwrap().parse::<u64>().unwrap() > 1_600_000_000_000);
    });
}

#[test]
fn lines_of_standard_input_are_entries_and_come_back_as_they_were() {
    everywhere(|place| {
        let lines =
            "{\"type\":\"placed\",\"n\":5,\"data\":{\"a\":[1,2]}}\n\n{\"raw\":{\"base64\":\"/wA=\"}}\n";
        assert!(place.weir_given(&["publish", "in", "--stdin"], lines).done().starts_with("2 entries in in"));
        let entries = place.weir(&["tail", "in", "--json"]).done();
        assert!(
            entries.contains(r#""fields":{"data":"{\"a\":[1,2]}","n":"5","type":"placed"}"#),
            "{entries}"
        );
        assert!(entries.contains(r#"{"base64":"/wA="}"#), "{entries}");
        place.weir_given(&["publish", "again", "--entries"], &entries).done();
        let fields = |stream: &str| -> Vec<_> {
            place.json(&["tail", stream]).into_iter().map(|entry| entry["fields"].clone()).collect()
        };
        assert_eq!(fields("again"), fields("in"));
        let ran = place.weir_given(&["publish", "in", "--stdin"], "{\"a\":1}\nnonsense\n");
        ran.failed(2, "line 2 of standard input is no entry");
    });
}

#[test]
fn a_producer_that_repeats_itself_appends_nothing_twice() {
    everywhere(|place| {
        let args = ["publish", "s", "n={n}", "--count", "20", "--producer", "shop"];
        place.weir(&args).done();
        let out = place.weir(&args).done();
        assert!(out.contains("(there already)"), "{out}");
        assert_eq!(place.json(&["streams", "s"])[0]["length"], 20);
    });
}

#[test]
fn the_end_of_the_stream_may_be_expected() {
    everywhere(|place| {
        place.weir(&["publish", "s", "a=1", "--expect", "none"]).done();
        place.weir(&["publish", "s", "a=1", "--expect", "none"]).failed(3, "version 0");
        place.weir(&["publish", "s", "a=1", "--expect", "0"]).done();
        place.weir(&["publish", "s", "a=1", "--expect", "first"]).failed(2, "is no version");
    });
}

#[test]
fn what_is_no_entry_is_refused_as_wrong_usage() {
    let place = super::place::Place::folder();
    for (args, words) in [
        (&["publish", "s"][..], "an entry needs a field"),
        (&["publish", "s", "field"], "write name=value"),
        (&["publish", "s", "--data", "{"], "--data is no JSON"),
        (&["publish", "s", "a=b", "--stdin"], "not from both"),
        (&["publish", "s", "a=b", "--rate", "0"], "is no rate"),
    ] {
        place.weir(args).failed(2, words);
    }
    assert!(place.json(&["streams"]).is_empty());
}
