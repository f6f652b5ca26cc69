//! `weir consume`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use serde_json::Value;

use super::place::{everywhere, servers};

#[test]
fn the_command_is_given_the_entry_on_standard_input_and_in_its_environment() {
    everywhere(|place| {
        place.weir(&["publish", "s", "order-id=4711", "type=placed"]).done();
        let command = "cat; echo $WEIR_STREAM $WEIR_GROUP $WEIR_DELIVERIES $WEIR_FAILURES $WEIR_ATTEMPT $FIELD_ORDER_ID; \
                       echo $WEIR_ID; echo $WEIR_URL";
        let args = ["consume", "s", "--group", "g", "--from", "start", "--exec", command, "--drain"];
        let out = place.weir(&args).done();
        let lines: Vec<_> = out.lines().collect();
        let entry: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&entry["fields"]["order-id"], &entry["stream"]), (&"4711".into(), &"s".into()));
        assert_eq!(lines[1..], ["s g 1 0 1 4711", entry["id"].as_str().unwrap(), &place.url]);
    });
}

#[test]
fn the_exit_code_says_what_becomes_of_the_entry() {
    everywhere(|place| {
        for code in ["0", "10", "20", "1", "7"] {
            place.weir(&["publish", "s", &format!("code={code}")]).done();
        }
        let command =
            "test $WEIR_FAILURES = 0 || exit 0; echo \"class-$FIELD_CODE: because\" >&2; exit $FIELD_CODE";
        let policy = ["--delays", "50ms,100ms"];
        let args = ["consume", "s", "--group", "g", "--from", "start", "--exec", command, "--drain"];
        let ran = place.weir(&[&args[..], &policy].concat());
        assert!(ran.err.contains("consumed: "), "{ran:?}");
        for word in ["7 read", "3 done", "1 skipped", "2 retried", "1 dead"] {
            assert!(ran.err.contains(word), "no {word:?} in {ran:?}");
        }
        assert!(ran.err.contains("dead s "), "{ran:?}");
        ran.done();
        let letters = place.json(&["dlq", "list", "s", "g"]);
        assert_eq!((letters.len(), &letters[0]["last_failure"]["class"]), (1, &"class-20".into()));
    });
}

#[test]
fn a_command_that_snoozes_or_defers_has_not_tried() {
    // The command looks at the broker itself.
    for place in servers() {
        place.weir(&["publish", "s", "n=1"]).done();
        let seen = place.folder.path().join("seen");
        let command = format!("test -e {0} && exit 0; touch {0}; exit 11", seen.display());
        let args =
            ["consume", "s", "-g", "g", "--from", "start", "-e", &command, "--snooze", "300ms", "--drain"];
        let ran = place.weir(&args);
        assert!(ran.err.contains("1 snoozed") && ran.err.contains("1 done"), "{ran:?}");
        place.weir(&["seek", "s", "g", "start", "--yes"]).done();
        std::fs::remove_file(&seen).unwrap();
        let command = format!(
            "test -e {0} && {{ echo $WEIR_DELIVERIES; exit 0; }}; touch {0}; exit 12",
            seen.display()
        );
        let args = ["consume", "s", "-g", "g", "-e", &command, "--drain"];
        assert_eq!(place.weir(&args).done(), "1\n", "the delivery was given back");
    }
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n=1"]).done();
        let left = place.folder.path().join("left");
        let command =
            format!("test $WEIR_FAILURES = 1 && exit 0; (sleep 2; touch {}) & wait", left.display());
        let args =
            ["consume", "s", "-g", "g", "--from", "start", "-e", &command, "--timeout", "300ms", "--drain"];
        let ran = place.weir(&[&args[..], &["--delays", "2500ms"]].concat());
        assert!(ran.err.contains("1 done"), "{ran:?}");
        assert!(!left.exists(), "what it started was killed, too");
    });
}

#[test]
fn a_signal_ends_it_in_order_and_what_it_holds_goes_to_others() {
    for place in servers() {
        place.weir(&["publish", "s", "n={n}", "--count", "3"]).done();
        let args = ["consume", "s", "-g", "g", "--from", "start", "-e", "sleep 60", "--grace", "200ms"];
        let consumer = place.start(&args);
        place.until("it holds one", |place| {
            let groups = place.json(&["groups", "s"]);
            groups.iter().any(|group| group["pending"].as_u64() > Some(0))
        });
        assert_eq!(consumer.end_with(Signal::TERM), Some(0));
        let rows = place.json(&["pending", "s", "g"]);
        assert_eq!(rows[0]["deliveries"], 0, "the delivery was given back");
        assert!(rows.iter().all(|row| row["state"] == "ready"), "{rows:?}");
        let out = place.weir(&["consume", "s", "-g", "g", "-e", "echo $FIELD_N", "--drain"]).done();
        assert_eq!(out, "1\n2\n3\n");
    }
}

#[test]
fn health_and_metrics_are_served() {
    for place in servers() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let args =
            ["consume", "s", "-g", "g", "--from", "start", "-e", "echo done", "--health-addr", &address];
        let mut consumer = place.start(&args);
        place.weir(&["publish", "s", "n=1"]).done();
        assert_eq!(consumer.line(), "done");
        let get = |path: &str| {
            let mut stream = TcpStream::connect(&address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let health = get("/health");
        assert!(health.starts_with("HTTP/1.1 200") && health.contains("lag"), "{health}");
        assert!(get("/metrics").contains("weir_"), "{}", get("/metrics"));
        assert_eq!(consumer.end_with(Signal::INT), Some(0));
    }
}

#[test]
fn a_group_that_is_not_there_is_made_only_where_it_is_said_to_start() {
    everywhere(|place| {
        place.weir(&["publish", "s", "n=1"]).done();
        place.weir(&["consume", "s", "-g", "g", "-e", "true", "--drain"]).failed(3, "there is no group");
        place.weir(&["consume", "s", "-g", "g", "-e", "true", "--from", "end", "--drain"]).done();
        let ran = place.weir(&["consume", "s", "-g", "g", "-e", "true", "--from", "start", "--drain"]);
        ran.failed(3, "was made to start at");
    });
}

#[test]
fn a_pattern_reads_streams_that_are_there() {
    everywhere(|place| {
        for stream in ["o-1", "o-2", "p-1"] {
            place.weir(&["publish", stream, &format!("n={stream}")]).done();
        }
        let args = ["consume", "o-*", "-g", "g", "--from", "start", "-e", "echo $FIELD_N", "--drain"];
        let out = place.weir(&args).done();
        let mut lines: Vec<_> = out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["o-1", "o-2"]);
    });
}
