//! `weir doctor` and `weir health`, with and without a server.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::redis::Redis;
use crate::weir::{Weir, weir_in};

/// What the doctor finds, and its exit code.
fn doctor(folder: &Path, flags: &[&str]) -> (Value, Option<i32>) {
    let output = weir_in(folder, &[&["doctor", "--json"], flags].concat()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), output.status.code())
}

fn found<'a>(findings: &'a Value, what: &str) -> (&'a str, &'a str, &'a str) {
    let all = findings["findings"].as_array().unwrap();
    let finding = all.iter().find(|finding| finding["what"] == what);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {what} in {findings}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    (text("severity"), text("found"), text("remedy"))
}

const FREE: [&str; 4] = ["--resp", "127.0.0.1:0", "--http", "127.0.0.1:0"];

#[test]
fn nothing_is_in_the_way_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (findings, code) = doctor(folder.path(), &FREE);
    assert_eq!(code, Some(0), "{findings}");
    for what in ["versions", "resp", "http", "data folder", "clock", "processors"] {
        assert!(["ok", "note"].contains(&found(&findings, what).0), "{what}: {findings}");
    }
    assert!(found(&findings, "flush time").1.contains("p99"), "{findings}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn whoever_has_an_address_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    // Accepts and says nothing: the doctor does not wait long for it.
    let (findings, code) = doctor(folder.path(), &["--resp", &address, "--http", "none"]);
    assert_eq!(code, Some(1));
    let (severity, text, remedy) = found(&findings, "resp");
    assert_eq!(severity, "problem");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(remedy.contains("--resp"), "{remedy}");
}

#[test]
fn a_redis_in_the_way_says_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let socket = redis.url().strip_prefix("unix://").unwrap().to_owned();
    let (findings, code) = doctor(folder.path(), &[&FREE[..], &["--unix-socket", &socket]].concat());
    assert_eq!(code, Some(1));
    assert!(found(&findings, "unix-socket").1.contains("a Redis 7"), "{findings}");
}

#[test]
fn the_server_of_the_folder_is_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &[]);
    let (findings, code) = doctor(folder.path(), &["--resp", weir.resp(), "--http", weir.http()]);
    assert_eq!(code, Some(0), "{findings}");
    assert_eq!(found(&findings, "resp").0, "ok");
    assert!(found(&findings, "http").1.contains("weir 0."), "{findings}");
    let (severity, text, _) = found(&findings, "folder lock");
    assert_eq!(severity, "note");
    assert!(text.contains(&format!("process {}", weir.pid())), "{text}");
}

#[test]
fn people_get_a_table_and_remedies() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = weir_in(folder.path(), &[&["doctor"], &FREE[..]].concat());
    let output = command.env("WEIR_FSNYC", "always").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("free space") && text.contains("WEIR_FSNYC"), "{text}");
    assert!(text.contains("\nwarning: environment: no setting has this name"), "{text}");
}

#[test]
fn health_tells_servers_that_serve_from_those_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--token", "s3cret"]);
    let health = |flags: &[&str]| {
        let output = weir_in(folder.path(), &[&["health"], flags].concat()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let url = format!("http://{}", weir.http());
    let (code, text) = health(&["--url", &url, "--token", "s3cret"]);
    assert_eq!((code, text), (Some(0), format!("ok: {url}\n")));
    let (code, text) = health(&["--url", &url]);
    assert!(code == Some(1) && text.contains("wants a token"), "{text}");
    let (code, text) = health(&["--url", &url, "--token", "s3cret", "--json"]);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["status"], "ok");
    drop(weir);
    let (code, text) = health(&["--url", &url]);
    assert!(code == Some(1) && text.contains("is the server running?"), "{text}");
}

#[test]
fn health_finds_the_server_that_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--dir", "data", "--token", "s3cret"]);
    std::fs::write(folder.path().join("other.toml"), "dir = 'data'\ntoken = 's3cret'\n").unwrap();
    let health = |flags: &[&str]| {
        let output = weir_in(folder.path(), &[&["health"], flags].concat()).output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&both).into_owned())
    };
    let well = (Some(0), format!("ok: http://{}\n", weir.http()));
    assert_eq!(health(&["--dir", "data", "--token", "s3cret"]), well);
    assert_eq!(health(&["--config", "other.toml"]), well);
    let (code, text) = health(&["--dir", "elsewhere", "--token", "s3cret"]);
    assert!(code != Some(0) || !text.contains(weir.http()), "{text}");
    drop(weir);
    let (code, text) = health(&["--url", "http://127.0.0.1:1"]);
    assert!(code == Some(1) && text.contains("nothing answers") && text.contains("--url"), "{text}");
    for (url, words) in
        [("https://127.0.0.1:1", "plain HTTP"), ("here", "http://host:port"), ("none", "no address")]
    {
        let (code, text) = health(&["--url", url]);
        assert!(code == Some(2) && text.contains(words) && !text.contains("or none"), "{text}");
    }
}
