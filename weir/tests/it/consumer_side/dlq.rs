//! `weir dlq`.

use super::place::{Place, everywhere};

/// Three groups on one stream; the entries of `a` die, half of them with another class.
fn story(place: &Place, entries: usize) {
    place.weir(&["publish", "s", "n={n}", "--count", &entries.to_string()]).done();
    for group in ["a", "b", "c"] {
        place.weir(&["group", "create", "s", group, "--from", "start"]).done();
    }
    let fail = "test $((FIELD_N % 2)) = 0 && { echo 'even: no luck' >&2; exit 20; }; echo 'odd: bad luck' >&2; exit 20";
    place.weir(&["consume", "s", "-g", "a", "-c", "8", "-e", fail, "--drain", "-q"]).done();
    for group in ["b", "c"] {
        place.weir(&["consume", "s", "-g", group, "-c", "8", "-e", "true", "--drain", "-q"]).done();
    }
}

#[test]
fn dead_letters_go_back_to_the_group_that_failed_and_to_no_other() {
    everywhere(|place| {
        story(place, 24);
        assert_eq!(place.lag("s", "a")["dead"], 24);
        let dry = place
            .json(&["dlq", "redrive", "s", "a", "--class", "even", "-n", "10", "--dry-run"])
            .pop()
            .unwrap();
        assert_eq!((&dry["redriven"], &dry["dry_run"]), (&10.into(), &true.into()));
        assert_eq!(place.lag("s", "a")["dead"], 24);
        place.weir(&["dlq", "redrive", "s", "a", "--class", "even"]).failed(3, "nothing was changed");
        let args = ["dlq", "redrive", "s", "a", "--class", "even", "-n", "10", "--yes"];
        let done = place.json(&args).pop().unwrap();
        assert_eq!((&done["redriven"], &done["left"]), (&10.into(), &14.into()));
        let totals: Vec<_> =
            ["a", "b", "c"].iter().map(|group| place.lag("s", group)["total"].as_u64().unwrap()).collect();
        assert_eq!(totals, [10, 0, 0]);
        let out = place.weir(&["consume", "s", "-g", "a", "-e", "echo $WEIR_ID $FIELD_N", "--drain"]).done();
        let entries = place.json(&["tail", "s", "--from", "start"]);
        for line in out.lines() {
            let (id, n) = line.split_once(' ').unwrap();
            assert!(entries.iter().any(|entry| entry["id"] == id && entry["fields"]["n"] == n), "{line}");
        }
        assert_eq!(out.lines().count(), 10);
        assert_eq!(place.lag("s", "a")["dead"], 14);
    });
}

#[test]
fn letters_are_listed_chosen_and_shown() {
    everywhere(|place| {
        story(place, 6);
        let groups = place.json(&["dlq", "list"]);
        assert_eq!((groups.len(), &groups[0]["group"], &groups[0]["dead"]), (1, &"a".into(), &6.into()));
        let list = |args: &[&str]| place.json(&[&["dlq", "list", "s", "a"], args].concat()).len();
        assert_eq!((list(&[]), list(&["-n", "2"]), list(&["--class", "odd"])), (6, 2, 3));
        assert_eq!(
            (list(&["--reason", "bad"]), list(&["--where", "n|=1,2"]), list(&["--redrives-max", "0"])),
            (3, 2, 6)
        );
        let letter = &place.json(&["dlq", "list", "s", "a", "--where", "n=4"])[0];
        let id = letter["id"].as_str().unwrap();
        assert_eq!((&letter["last_failure"]["class"], &letter["failures"]), (&"even".into(), &1.into()));
        let table = place.weir(&["dlq", "list", "s", "a"]).done();
        assert!(
            table.contains("   even    no luck ") && table.ends_with("6 dead letters in all\n"),
            "{table}"
        );
        let shown = place.weir(&["dlq", "show", "s", "a", id]).done();
        assert!(shown.contains("last failure   even: no luck (") && shown.contains("  n= 4\n"), "{shown}");
        place.weir(&["dlq", "show", "s", "a", "1-1"]).failed(3, "is no dead letter of a");
        place.weir(&["dlq", "show", "s", "b", id]).failed(3, "is no dead letter of b");
        place.weir(&["dlq", "list", "--class", "odd"]).failed(2, "among those of a group");
        let one =
            place.json(&["dlq", "redrive", "s", "a", "--id", id, "--yes", "--rate", "50"]).pop().unwrap();
        assert_eq!((&one["redriven"], &one["left"]), (&1.into(), &5.into()));
    });
}

#[test]
fn what_is_not_worth_it_is_removed_when_that_is_meant() {
    everywhere(|place| {
        story(place, 6);
        place.weir(&["dlq", "purge", "s", "a", "--yes"]).failed(2, "which letters?");
        place.weir(&["dlq", "purge", "s", "a", "--class", "odd"]).failed(3, "nothing was changed");
        let out = place.weir(&["dlq", "purge", "s", "a", "--class", "odd", "--dry-run"]).done();
        assert_eq!(out, "3 dead letters would go for good\n");
        place.weir(&["dlq", "purge", "s", "a", "--class", "odd", "--yes"]).done();
        let purged = place.json(&["dlq", "purge", "s", "a", "--all", "-n", "1", "--yes"]).pop().unwrap();
        assert_eq!((&purged["purged"], &purged["left"]), (&1.into(), &2.into()));
        place.weir(&["dlq", "purge", "s", "a", "--all", "--yes"]).done();
        assert_eq!(place.weir(&["dlq", "list", "s", "a"]).done(), "no dead letters\n");
        assert_eq!(place.weir(&["dlq", "list"]).done(), "no dead letters\n");
    });
}
