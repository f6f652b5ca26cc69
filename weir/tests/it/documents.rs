//! What the documents say is so: their tables are those of the program, their files exist, their commands are run.
//!
//! `WEIR_BLESS=1 cargo test -p weir --test it documents` writes the tables anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use weir_server::http::{METRICS, MetricKind};

use crate::tree::{read, root, texts};
use crate::weir::weir_in;

/// The lines between `<!-- name -->` and `<!-- end -->` of a document are these, or are made so.
#[track_caller]
fn table_is(document: &str, name: &str, table: &str) {
    let path = root().join(document);
    let text = read(&path);
    let begin = format!("<!-- {name} -->\n");
    let from = text.find(&begin).unwrap_or_else(|| panic!("no {begin} in {document}")) + begin.len();
    let to = from + text[from..].find("<!-- end -->").expect("the table has an end");
    if text[from..to] == *table {
        return;
    }
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, [&text[..from], table, &text[to..]].concat()).unwrap();
        return;
    }
    panic!(
        "the table of {name} in {document} is old; write it anew with WEIR_BLESS=1. It should be:\n{table}"
    );
}

/// In a cell of a table a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_settings_are_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        weir_in(folder.path(), &["config", "show", "--json"]).env_remove("WEIR_LOG").output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut table = "| flag, key | variable | default | what it says |\n|---|---|---|---|\n".to_owned();
    for row in shown["settings"].as_array().unwrap() {
        let text = |name: &str| row[name].as_str().unwrap();
        let default = row["value"].as_str().map_or("–".to_owned(), |value| format!("`{value}`"));
        let (name, env, help) = (text("name"), text("env"), cell(text("help")));
        writeln!(table, "| `{name}` | `{env}` | {default} | {help} |").unwrap();
    }
    table_is("docs/operating.md", "settings", &table);
}

#[test]
fn the_metrics_are_those_of_the_program() {
    let mut table = "| metric | labels | what it says |\n|---|---|---|\n".to_owned();
    for metric in METRICS {
        let total = if metric.kind == MetricKind::Counter { "_total" } else { "" };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{}{total}` | {} | {} |", metric.name, labels.join(", "), cell(metric.help))
            .unwrap();
    }
    table_is("docs/operating.md", "metrics", &table);
}

#[test]
fn the_commands_are_those_of_the_program() {
    let help = |args: &[&str]| {
        let output = weir_in(&root(), &[args, &["--help"]].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = |help: &str| -> Vec<(String, String)> {
        let Some(list) = help.split("Commands:\n").nth(1) else { return Vec::new() };
        let lines = list.lines().take_while(|line| !line.is_empty());
        let split =
            |line: &str| line.trim().split_once("  ").map(|(name, about)| (name.into(), about.trim().into()));
        lines.filter_map(split).filter(|(name, _): &(String, String)| name != "help").collect()
    };
    let mut table = "| command | what it does |\n|---|---|\n".to_owned();
    for (name, about) in commands(&help(&[])) {
        let inner = commands(&help(&[&name]));
        let names: Vec<_> = inner.iter().map(|(name, _)| format!("`{name}`")).collect();
        let inner = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        writeln!(table, "| `weir {name}`{inner} | {} |", cell(&about)).unwrap();
    }
    assert!(table.contains("| `weir dlq`: `list`, `show`, `redrive`, `purge` |"), "{table}");
    table_is("docs/cli.md", "program", &table);
}

/// What stands between backticks and looks like a file of this tree.
fn files_named(text: &str) -> impl Iterator<Item = &str> {
    let tops = ["weir", "docs/", "scripts/", "clients/", "fuzz/"];
    let words = text.split('`').skip(1).step_by(2);
    words.filter(move |word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
        word.contains('/') && word.chars().all(plain) && tops.iter().any(|top| word.starts_with(top))
    })
}

/// Links to files, as `[words](docs/page.md)` has them.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let behind = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    behind
        .map(|link| link.split('#').next().unwrap_or(link))
        .filter(|link| !link.is_empty() && !link.contains("://"))
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut missing = Vec::new();
    let documents = texts().into_iter().filter(|path| path.extension().is_some_and(|end| end == "md"));
    for path in documents {
        let text = read(&path);
        let folder = path.parent().unwrap();
        let not_there = |file: &&Path| !file.exists();
        missing.extend(
            files_named(&text)
                .map(|name| root().join(name))
                .filter(|file| not_there(&&**file))
                .map(|f| (path.clone(), f)),
        );
        missing.extend(
            links(&text)
                .map(|name| folder.join(name))
                .filter(|file| not_there(&&**file))
                .map(|f| (path.clone(), f)),
        );
    }
    assert!(missing.is_empty(), "documents name files that are not there: {missing:#?}");
}

#[test]
fn the_first_page_begins_with_the_two_commands_and_the_second_is_what_is_run_for_every_change() {
    let page = read(&root().join("README.md"));
    let commands = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(commands, "cargo run --release -- serve\nscripts/test\n");
    let run = read(&root().join(".ci/run"));
    let executed: Vec<_> = run.lines().filter(|line| line.starts_with("exec ")).collect();
    assert_eq!(executed, ["exec scripts/test"]);
}
