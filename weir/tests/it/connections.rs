//! Many connections at once, in short: what `weir bench --mode idle` and `--mode blocked` show with thousands.

use serde_json::Value;

use crate::redis::Redis;
use crate::weir::{Weir, weir_in};

/// The report of a run that succeeds.
#[track_caller]
fn report(url: &str, args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let args = [&["bench", "--url", url, "--json"], args].concat();
    let output = weir_in(folder.path(), &args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn all_are_served(report: &Value, readers: u64) {
    for (part, entries) in [("group", readers), ("everybody", 1)] {
        let served = &report[part];
        assert_eq!(served["entries"], entries, "{report}");
        assert_eq!(served["right"], readers, "{report}");
        for fault in ["missed", "repeated", "out_of_order", "spoken_to_again", "pending_wrong"] {
            assert_eq!(served[fault], 0, "{fault} of {part} in {report}");
        }
    }
}

#[test]
fn two_hundred_blocked_readers_are_served_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &[]);
    let args = ["-m", "blocked", "-c", "200"];
    all_are_served(&report(&format!("redis://{}", weir.resp()), &args), 200);
    assert_eq!(weir.call(&["DBSIZE"]).as_int(), Some(0), "nothing is left behind");
    all_are_served(&report(&Redis::start().url(), &args), 200);
}

#[test]
fn idle_connections_are_as_many_as_the_server_admits_and_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--clients", "250"]);
    let report = report(&format!("redis://{}", weir.resp()), &["-m", "idle"]);
    assert_eq!(report["server_clients_max"], 250, "{report}");
    assert_eq!(report["alive"], 200, "four fifths of 250: {report}");
    let counts: Vec<_> =
        report["steps"].as_array().unwrap().iter().map(|step| &step["connections"]).collect();
    assert_eq!(counts, [0, 100, 200]);
    let each = report["bytes_per_connection"].as_f64().unwrap();
    assert!((0.0..20_000.0).contains(&each), "{each} bytes for a connection");
    // What it answers to one too many is passed on.
    let args = ["bench", "--url", &format!("redis://{}", weir.resp()), "-m", "idle", "-c", "300"];
    let output = weir_in(folder.path(), &args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("max number of clients reached"), "{errors}");
}

#[test]
fn people_get_tables() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &[]);
    let url = format!("redis://{}", weir.resp());
    for (mode, part) in [("idle", "extrapolated, not measured"), ("blocked", "one group, an entry each")] {
        let args = ["bench", "--url", &url, "-m", mode, "-c", "10"];
        let output = weir_in(folder.path(), &args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains(part), "{text}");
    }
}
