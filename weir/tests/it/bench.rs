//! `weir bench` against real servers, and against servers that misbehave.

use std::process::{Command, Output};

use serde_json::Value;

use crate::fake_server::{self, Fault};
use crate::redis::Redis;

const STREAM: &str = "weir-bench:stream";

fn weir_bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).arg("bench").args(args).output().unwrap()
}

/// The report of a run that succeeds.
#[track_caller]
fn report(url: &str, args: &[&str]) -> Value {
    let output = weir_bench(&[&["--url", url, "--json"], args].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    assert_eq!(errors, "", "no progress bar where there is no terminal");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The median figure of the first server.
#[track_caller]
fn figure(report: &Value, name: &str) -> f64 {
    report["servers"][0]["median"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// What a run that fails says.
#[track_caller]
fn failure(args: &[&str]) -> String {
    let output = weir_bench(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert_eq!(output.stdout, b"");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn append_writes_exactly_what_it_counts_and_tidies_up() {
    let redis = Redis::start();
    // 2 003 is no multiple of the batch, so the last one is shorter.
    let args = ["-m", "append", "-n", "2003", "-c", "3", "-P", "16"];
    let kept = report(&redis.url(), &[&args[..], &["--keep"]].concat());
    assert_eq!(figure(&kept, "operations"), 2003.0);
    assert_eq!(redis.int(&["XLEN", STREAM]), 2003);
    for name in ["per_second", "p50_us", "p99_us", "max_us", "rss_anon"] {
        assert!(figure(&kept, name) > 0.0, "{name} in {kept}");
    }
    assert!(kept["servers"][0]["name"].as_str().unwrap().starts_with("redis "), "{kept}");
    report(&redis.url(), &args);
    assert_eq!(redis.int(&["DBSIZE"]), 0);
}

#[test]
fn a_run_by_time_ends() {
    let redis = Redis::start();
    let report = report(&redis.url(), &["--seconds", "0.2", "-c", "2", "-P", "1"]);
    let seconds = figure(&report, "seconds");
    assert!((0.2..10.0).contains(&seconds), "{seconds}");
    assert!(figure(&report, "operations") > 0.0);
}

#[test]
fn consume_reads_and_acknowledges_everything() {
    let redis = Redis::start();
    for pipeline in ["1", "16"] {
        let args =
            ["-m", "consume", "-n", "3005", "-P", pipeline, "--count", "10", "--rounds", "2", "--keep"];
        let report = report(&redis.url(), &args);
        assert_eq!(figure(&report, "operations"), 3005.0);
        assert_eq!(report["servers"][0]["runs"].as_array().unwrap().len(), 2);
        let pending = redis.call(&["XPENDING", STREAM, "weir-bench"]);
        assert_eq!(pending.as_array().unwrap()[0].as_int(), Some(0));
    }
}

#[test]
fn pending_leaves_every_row_behind() {
    let redis = Redis::start();
    let report = report(&redis.url(), &["-m", "pending", "-n", "3005", "-P", "4", "--keep"]);
    assert_eq!(figure(&report, "operations"), 3005.0);
    let pending = redis.call(&["XPENDING", STREAM, "weir-bench"]);
    assert_eq!(pending.as_array().unwrap()[0].as_int(), Some(3005));
    let per_row = figure(&report, "used_memory_per_op");
    assert!((40.0..400.0).contains(&per_row), "{per_row} bytes for a pending row");
}

#[test]
fn fan_out_delivers_every_entry_to_every_group() {
    let redis = Redis::start();
    let report = report(
        &redis.url(),
        &["-m", "fan-out", "-n", "25000", "-c", "4", "-P", "8", "--groups", "3", "--keep"],
    );
    assert_eq!(figure(&report, "operations"), 75_000.0);
    assert!(figure(&report, "appended_per_second") * 2.9 < figure(&report, "per_second"));
    assert_eq!(redis.int(&["XLEN", STREAM]), 25_000);
}

#[test]
fn many_streams_and_fill_spread_their_entries() {
    let redis = Redis::start();
    let args = ["-n", "1000", "-c", "3", "-P", "7", "--streams", "100", "--keep"];
    report(&redis.url(), &[&["-m", "many-streams"], &args[..]].concat());
    let streams = redis.int(&["DBSIZE"]);
    assert!(
        (90..=100).contains(&streams),
        "1000 random entries leave hardly one of 100 streams out: {streams}"
    );
    redis.call(&["FLUSHALL"]);
    report(&redis.url(), &[&["-m", "fill"], &args[..]].concat());
    assert_eq!(redis.int(&["DBSIZE"]), 100);
    assert_eq!(redis.int(&["XLEN", "weir-bench:stream:0000000099"]), 10);
}

#[test]
fn ranges_come_back() {
    let redis = Redis::start();
    let report =
        report(&redis.url(), &["-m", "range", "-n", "5000", "--seconds", "0.2", "-c", "2", "--count", "50"]);
    assert!(figure(&report, "operations") > 0.0);
    assert_eq!(redis.int(&["DBSIZE"]), 0);
}

#[test]
fn latency_sends_what_the_rate_says() {
    let redis = Redis::start();
    let args = ["-m", "latency", "--rate", "2000", "--seconds", "0.5", "-c", "3", "--keep"];
    let report = report(&redis.url(), &args);
    assert_eq!(figure(&report, "operations"), 1000.0);
    assert_eq!(redis.int(&["XLEN", STREAM]), 1000);
    assert!(figure(&report, "p50_us") <= figure(&report, "p999_us"));
}

#[test]
fn two_servers_and_a_control_run_in_turn() {
    let (a, b) = (Redis::start(), Redis::start());
    let args = ["--url", &b.url(), "--control", "--rounds", "3", "-n", "1000", "-c", "2"];
    let report = report(&a.url(), &args);
    let servers = report["servers"].as_array().unwrap();
    let labels: Vec<_> = servers.iter().map(|server| server["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["A", "B", "A again"]);
    assert!(servers.iter().all(|server| server["runs"].as_array().unwrap().len() == 3));
    let ratios = report["ratios"].as_array().unwrap();
    assert_eq!(ratios[0]["label"], "B / A");
    let speed = |index: usize| servers[index]["median"]["per_second"].as_f64().unwrap();
    assert!((ratios[0]["per_second"].as_f64().unwrap() - speed(1) / speed(0)).abs() < 1e-9);
}

#[test]
fn a_password_is_sent_and_a_wrong_one_is_named() {
    let redis = Redis::start_with(Some("p@ss"));
    let with = |password: &str| redis.url().replace("unix://", &format!("unix://:{password}@"));
    assert_eq!(figure(&report(&with("p%40ss"), &["-n", "10"]), "operations"), 10.0);
    let refused = failure(&["--url", &with("wrong"), "-n", "10"]);
    assert!(refused.contains("refuses AUTH: WRONGPASS"), "{refused}");
    let missing = failure(&["--url", &redis.url(), "-n", "10"]);
    assert!(missing.contains("NOAUTH Authentication required"), "{missing}");
}

#[test]
fn people_get_a_table() {
    let redis = Redis::start();
    let output = weir_bench(&["--url", &redis.url(), "-n", "1000", "--control", "--rounds", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["append: 50 clients, pipeline 16", "A: redis ", "A again / A", "server CPU", "p99.9"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_server_that_misbehaves_is_named_and_the_run_fails() {
    for (fault, words) in [
        (Fault::Close, "the server closed a connection"),
        (Fault::Refuse, "-OOM command not allowed when used memory > 'maxmemory'."),
        (Fault::Babble, "is this a RESP server?"),
        (Fault::Repeat, "a reply to nothing that was asked"),
    ] {
        let url = fake_server::start(fault);
        let error = failure(&["--url", &url, "-n", "100000", "-c", "2", "-P", "3"]);
        assert!(error.contains(words) && error.contains(&url), "{fault:?}: {error}");
    }
    let error = failure(&["--url", &fake_server::start(Fault::Close), "-m", "latency", "--rate", "5000"]);
    assert!(error.contains("the server closed a connection"), "{error}");
}

#[test]
fn replies_in_single_bytes_are_counted_right() {
    let url = fake_server::start(Fault::Dribble);
    let report = report(&url, &["-n", "500", "-c", "3", "-P", "8"]);
    assert_eq!(figure(&report, "operations"), 500.0);
}

#[test]
fn nobody_there_is_said_so() {
    let error = failure(&["--url", "unix:///nowhere/weir.sock"]);
    assert!(error.contains("cannot reach unix:///nowhere/weir.sock; is the server running?"), "{error}");
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    assert_eq!(weir_bench(&["--mode", "nonsense"]).status.code(), Some(2));
}
