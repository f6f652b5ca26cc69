//! The commands of the documents are run, and print what the documents say.
//!
//! A block that is marked is run line by line, all blocks of a document in one folder and against one server:
//!
//! ````text
//! <!-- run -->
//! ```console
//! $ weir publish orders type=placed
//! …
//! ```
//! ````
//!
//! Behind `$ ` stands a command, behind `> ` how it goes on, and then what it prints on standard output and error. `…`
//! stands for anything within a line; alone on a line for any lines.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tree::{read, root};
use crate::weir::Weir;

const MARK: &str = "<!-- run -->\n```console\n";

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

/// The marked commands of a document.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, _) in text.match_indices(MARK) {
        let begin = at + MARK.len();
        let end = begin + text[begin..].find("```").expect("the block has an end");
        let first = text[..begin].lines().count() + 1;
        for (nth, line) in text[begin..end].lines().enumerate() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { line: first + nth, command: command.into(), expected: Vec::new() });
                continue;
            }
            let step = steps.last_mut().expect("a block begins with a command");
            match line.strip_prefix('>') {
                Some(rest) if step.expected.is_empty() && (rest.is_empty() || rest.starts_with(' ')) => {
                    step.command.push('\n');
                    step.command.push_str(rest.strip_prefix(' ').unwrap_or(rest));
                }
                _ => step.expected.push(line.into()),
            }
        }
    }
    steps
}

/// Whether a text is what `wanted` says, where `…` is anything.
fn fits(wanted: &str, text: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether lines are those that are wanted, where a line `…` is any lines.
fn lines_fit(wanted: &[String], lines: &[&str]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "…" => {
            (0..=lines.len()).any(|skipped| lines_fit(rest, &lines[skipped..]))
        }
        Some((wanted, rest)) => match lines.split_first() {
            Some((line, lines)) => fits(wanted, line) && lines_fit(rest, lines),
            None => false,
        },
    }
}

/// A folder with a `redis-cli` that talks to this server as to one on the usual port, and prints as on a terminal.
fn bin(folder: &Path, weir: &Weir, path: &str) -> PathBuf {
    let (_, port) = weir.resp().rsplit_once(':').unwrap();
    let bin = folder.join("bin");
    let client = bin.join("redis-cli");
    if !client.exists() {
        std::fs::create_dir(&bin).unwrap();
        let script = format!("#!/bin/sh\nPATH={path} exec redis-cli --no-raw -p {port} \"$@\"\n");
        std::fs::write(&client, script).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin
}

/// Runs a command as the documents mean it: `weir` is this program, `redis-cli` talks to this server.
fn run(folder: &Path, weir: &Weir, command: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
    let usual = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{usual}", bin(folder, weir, &usual).display(), program.display());
    let mut shell = Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
        shell.env_remove(name);
    }
    let output = shell
        .args(["-c", &format!("exec 2>&1\n{command}\n")])
        .env("PATH", path)
        .env("WEIR_URL", format!("weir://{}", weir.resp()))
        .env("WEIR_CONSUMER", "worker-1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a document; every difference is told, not the first only.
fn run_document(name: &str) {
    let steps = steps(&read(&root().join(name)));
    assert!(!steps.is_empty(), "{name} has no commands that are run");
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &[]);
    let mut wrong = Vec::new();
    for step in &steps {
        let printed = run(folder.path(), &weir, &step.command);
        let lines: Vec<_> = printed.lines().map(str::trim_end).collect();
        if !lines_fit(&step.expected, &lines) {
            let wanted = step.expected.join("\n");
            wrong.push(format!(
                "{name}:{}\n$ {}\n-- wanted\n{wanted}\n-- printed\n{printed}",
                step.line, step.command
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_first_page_does_what_it_says() {
    run_document("README.md");
}

#[test]
fn migrating_does_what_it_says() {
    run_document("docs/migrating.md");
}

#[test]
fn troubleshooting_does_what_it_says() {
    run_document("docs/troubleshooting.md");
}

#[test]
fn good_practice_does_what_it_says() {
    run_document("docs/best-practices.md");
}

#[test]
fn the_program_of_the_first_page_is_the_example() {
    let page = read(&root().join("README.md"));
    let name = "weir/examples/billing.rs";
    let block = page.split(&format!("<!-- {name} -->\n```rust\n")).nth(1).expect("it is there");
    let block = block.split("```").next().unwrap();
    let example = read(&root().join(name));
    assert_eq!(&example[example.find("use ").unwrap()..], block, "the example and the page differ");
}

/// What would pass whatever is printed proves nothing.
#[test]
fn what_is_printed_is_compared() {
    let lines = |text: &'static str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(lines_fit(&lines("a\n…\nz…z"), &["a", "b", "c", "zyz"]));
    assert!(lines_fit(&lines("…"), &[]));
    assert!(!lines_fit(&lines("a\n…\nz"), &["a", "b"]));
    assert!(!lines_fit(&lines("a"), &["a", "b"]));
    assert!(!lines_fit(&[], &["a"]));
    assert!(fits("│ … │", "│ x │") && !fits("a…b", "ab c") && fits("…c", "abc") && !fits("a", "ab"));
    let found =
        steps("x\n<!-- run -->\n```console\n$ cat <<'E'\n> a\n> E\na\n$ b\n```\n```console\n$ c\n```\n");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].command.as_str(), found[0].line), ("cat <<'E'\na\nE", 4));
    assert_eq!(found[0].expected, ["a"]);
}
