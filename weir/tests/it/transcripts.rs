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

use std::path::Path;
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

/// Runs a command as the documents mean it: `weir` is this program, `redis-cli` talks to this server.
fn run(folder: &Path, weir: &Weir, command: &str) -> String {
    let (_, port) = weir.resp().rsplit_once(':').unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let script = format!("redis-cli() {{ command redis-cli --no-raw -p {port} \"$@\"; }}\n{command}\n");
    let mut shell = Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
        shell.env_remove(name);
    }
    let output = shell
        .args(["-c", &format!("exec 2>&1\n{script}")])
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
