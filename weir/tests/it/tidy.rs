//! Rules of the house that a machine can check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tree::{read, root, texts};

/// Which of our crates each may use; for tests, `weir-testkit` and whatever else they like besides.
const ARROWS: &[(&str, &[&str])] = &[
    ("weir-core", &[]),
    ("weir-log", &[]),
    ("weir-resp", &[]),
    ("weir-engine", &["weir-core", "weir-log"]),
    ("weir-wire", &["weir-core"]),
    ("weir-redis", &["weir-core", "weir-wire"]),
    ("weir-connect", &["weir-core", "weir-engine", "weir-redis"]),
    ("weir-runtime", &["weir-core"]),
    ("weir-server", &["weir-core", "weir-resp", "weir-engine", "weir-wire"]),
    ("weir-testkit", &["weir-core", "weir-log"]),
    ("weir-exam", &["weir-core", "weir-testkit", "weir-connect", "weir-engine", "weir-log"]),
    (
        "weir",
        &[
            "weir-core",
            "weir-log",
            "weir-resp",
            "weir-engine",
            "weir-wire",
            "weir-redis",
            "weir-connect",
            "weir-runtime",
            "weir-server",
        ],
    ),
];

/// What the lower crates are free of, however deep it may hide.
const LOWER: [&str; 4] = ["weir-core", "weir-log", "weir-resp", "weir-engine"];
const NOT_BELOW: [&str; 6] = ["serde", "serde_json", "tokio", "axum", "anyhow", "tracing"];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn arrows_between_our_crates_point_as_the_architecture_says() {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let allowed: BTreeMap<_, _> = ARROWS.iter().map(|(from, to)| (*from, *to)).collect();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is a new crate: which may it use?"));
        seen.insert(name);
        assert_eq!(package["publish"], Value::Array(Vec::new()), "{name} is not to be published");
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let is_for_tests = dependency["kind"] == "dev";
            assert!(
                !to.starts_with("weir") || is_for_tests || may.contains(&to),
                "{name} must not use {to}: see ARCHITECTURE.md"
            );
        }
    }
    assert_eq!(seen.len(), ARROWS.len(), "a crate has gone: {seen:?}");
}

#[test]
fn the_lower_crates_know_no_serialisation_and_no_runtime() {
    for package in LOWER {
        let tree = cargo(&["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none"]);
        assert!(tree.starts_with(package), "{tree}");
        for line in tree.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(!NOT_BELOW.contains(&name), "{package} depends on {name}");
        }
    }
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "rs")
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn every_module_opens_by_saying_what_it_is() {
    let silent: Vec<_> = texts()
        .iter()
        .filter(|path| is_rust(path) && !read(path).starts_with("//! "))
        .map(|path| shown(path))
        .collect();
    assert!(silent.is_empty(), "these begin without `//!`: {silent:#?}");
}

#[test]
fn nothing_is_left_behind_by_editing_or_by_a_machine() {
    // Written in two parts, so that this file does not find itself.
    let strange = [
        ("a conflict", ["<<<<", "<<< "].concat()),
        ("a conflict", [">>>>", ">>> "].concat()),
        ("a path of somebody's machine", ["/ro", "ot/"].concat()),
        ("a path of somebody's machine", ["/wo", "rk/"].concat()),
        ("a path of somebody's machine", ["/Us", "ers/"].concat()),
        ("code that is not there yet", ["todo", "!("].concat()),
        ("code that is not there yet", ["unimplemen", "ted!("].concat()),
    ];
    let mut found = Vec::new();
    for path in texts() {
        let text = read(&path);
        for (what, sign) in &strange {
            if let Some(at) = text.find(sign) {
                let line = text[..at].lines().count().max(1);
                found.push(format!("{}:{line}: {what}", shown(&path)));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
