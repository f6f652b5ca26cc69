//! A program as a handler: what it is given, and what its exit code says.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use weir_core::Failure;
use weir_runtime::{Context, Outcome};

use super::super::json::EntryJson;
use super::super::text;
use crate::output::{Tone, tell, toned};

/// A value that is longer is on standard input only: systems limit how long a variable may be.
const VARIABLE_BYTES_MAX: usize = 64 << 10;
/// The variables of one entry have together at most so many bytes.
const VARIABLES_BYTES_MAX: usize = 512 << 10;

/// Exit codes that are no failure that passes.
const SKIP: i32 = 10;
const SNOOZE: i32 = 11;
const DEFER: i32 = 12;
const DEAD: i32 = 20;

/// What the command is given, and how it answers.
pub(super) const HELP: &str = "\
The command is given the entry as a line of JSON on standard input, and in its environment:
  WEIR_STREAM, WEIR_GROUP, WEIR_ID     what it is about
  WEIR_DELIVERIES, WEIR_FAILURES       how often it was given out, how often it failed
  WEIR_ATTEMPT                         which run this is, counted from 1
  WEIR_URL                             the broker, for other weir commands
  FIELD_NAME                           each field; what is no letter or digit in its name is _

Its exit code says what becomes of the entry:
  0    done
  10   skip: not for this consumer; acknowledged, counted apart
  11   snooze: not tried; again after --snooze; counts as nothing
  12   defer: not tried; for others at once; counts as nothing
  20   dead: it will never succeed; a dead letter at once
  else, killed by a signal, or out of time
       retry: it failed; again after the delays of the group's policy

The last line that it writes to standard error is the reason that is kept; written as `class: reason` it gives the class
of the failure, too, which is otherwise `exit-CODE`, `signal-NUMBER` or `timeout`.

Options under Policy are those of a group that is made here, and the whole policy of one that is there; without any, a
group that is there keeps its own.

A signal ends weir in order: nothing new is begun, what runs has --grace to end, what is left is handed back.";

/// A command, and how it is run.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) command: String,
    pub(super) url: String,
    pub(super) snooze: Duration,
    pub(super) quiet: bool,
}

/// A program that runs; it goes with this value, and whatever it has started goes with it.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self
            .0
            .as_ref()
            .and_then(Child::id)
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this moment.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

impl Program {
    /// Runs it for an entry. Dropped before its end, it is killed.
    pub(super) async fn handle(&self, context: &Context) -> Outcome {
        let outcome = match self.run(context).await {
            Ok((status, last_line)) => outcome(status, &last_line, self.snooze),
            Err(error) => Outcome::retry_as("exec", format!("the command cannot be run: {error}")),
        };
        if !self.quiet {
            report(context, &outcome);
        }
        outcome
    }

    async fn run(&self, context: &Context) -> std::io::Result<(ExitStatus, String)> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .envs(variables(context))
            .env("WEIR_URL", &self.url)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut running = Running(Some(child));
        let mut line = serde_json::to_vec(&EntryJson::of(context.stream(), context.entry()))?;
        line.push(b'\n');
        let write = async {
            if let Some(mut stdin) = stdin {
                // Nobody has to read what is written here.
                drop(stdin.write_all(&line).await);
            }
        };
        let child = running.0.as_mut().expect("it runs");
        let (status, last_line, ()) = tokio::join!(child.wait(), last_line(stderr), write);
        // It ended: there is nobody to kill.
        running.0 = None;
        Ok((status?, last_line))
    }
}

/// Passes on what a program says on standard error, and keeps the last line that is not empty.
async fn last_line(stderr: Option<ChildStderr>) -> String {
    let Some(stderr) = stderr else { return String::new() };
    let (mut reader, mut last, mut line) = (BufReader::new(stderr), String::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let said = String::from_utf8_lossy(&line).trim_end().to_owned();
        tell(&said);
        if !said.trim().is_empty() {
            last = said.trim().to_owned();
        }
        line.clear();
    }
    last
}

fn variables(context: &Context) -> BTreeMap<String, String> {
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut bytes = 0;
    let mut variables = BTreeMap::new();
    for (field, value) in context.fields() {
        let Ok(value) = std::str::from_utf8(value) else { continue };
        bytes += field.len() + value.len();
        if value.contains('\0') || value.len() > VARIABLE_BYTES_MAX || bytes > VARIABLES_BYTES_MAX {
            continue;
        }
        // Of several fields of one name the first counts.
        variables.entry(variable(field)).or_insert_with(|| value.to_owned());
    }
    let told = [
        ("WEIR_STREAM", name(context.stream())),
        ("WEIR_GROUP", name(context.group())),
        ("WEIR_ID", context.id().to_string()),
        ("WEIR_DELIVERIES", context.deliveries().to_string()),
        ("WEIR_FAILURES", context.failures().to_string()),
        ("WEIR_ATTEMPT", context.attempt().to_string()),
    ];
    variables.extend(told.into_iter().map(|(name, value)| (name.to_owned(), value)));
    variables
}

/// `order-id` is `FIELD_ORDER_ID`.
fn variable(field: &[u8]) -> String {
    let plain = field.iter().map(|byte| match byte {
        b if b.is_ascii_alphanumeric() => char::from(b.to_ascii_uppercase()),
        _ => '_',
    });
    "FIELD_".chars().chain(plain).collect()
}

/// What the end of a program says.
fn outcome(status: ExitStatus, last_line: &str, snooze: Duration) -> Outcome {
    let (class, reason) = match class_of(last_line) {
        Some((class, reason)) => (class.to_owned(), reason.to_owned()),
        None => (class_of_status(status), last_line.to_owned()),
    };
    let reason = if reason.is_empty() { format!("the command ended with {class}") } else { reason };
    match status.code() {
        Some(0) => Outcome::Done,
        Some(SKIP) => Outcome::Skip,
        Some(SNOOZE) => Outcome::snooze(snooze),
        Some(DEFER) => Outcome::Defer,
        Some(DEAD) => Outcome::dead(class, reason),
        _ => Outcome::retry_as(class, reason),
    }
}

fn class_of_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit-{code}"),
        (None, Some(signal)) => format!("signal-{signal}"),
        (None, None) => "unknown-end".into(),
    }
}

/// `card-declined: no funds` has a class; `Error: no funds` and `sh: 1: x: not found` have none.
fn class_of(line: &str) -> Option<(&str, &str)> {
    let (class, reason) = line.split_once(": ")?;
    let is_class = !class.is_empty()
        && class.len() <= Failure::CLASS_MAX
        && class.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && class.contains(|c: char| c.is_ascii_lowercase())
        && class != "sh";
    is_class.then_some((class, reason.trim()))
}

fn report(context: &Context, outcome: &Outcome) {
    let (tone, word, class, reason) = match outcome {
        Outcome::Retry { class, reason, .. } => (Tone::Warn, "retry", class, reason),
        Outcome::Dead { class, reason } => (Tone::Bad, "dead", class, reason),
        _ => return,
    };
    let stream = text::shown(context.stream());
    tell(&format!("{} {stream} {}: {class}: {reason}", toned(tone, word), context.id()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, last_line: &str) -> Outcome {
        outcome(ExitStatus::from_raw(code << 8), last_line, Duration::from_secs(60))
    }

    #[test]
    fn exit_codes_are_outcomes() {
        assert_eq!(ended(0, "chatter"), Outcome::Done);
        assert_eq!(ended(10, ""), Outcome::Skip);
        assert_eq!(ended(11, ""), Outcome::snooze(Duration::from_secs(60)));
        assert_eq!(ended(12, ""), Outcome::Defer);
        assert_eq!(ended(20, "card-declined: no funds"), Outcome::dead("card-declined", "no funds"));
        assert_eq!(ended(1, "no network"), Outcome::retry_as("exit-1", "no network"));
        assert_eq!(ended(3, ""), Outcome::retry_as("exit-3", "the command ended with exit-3"));
        let killed = outcome(ExitStatus::from_raw(9), "", Duration::ZERO);
        assert_eq!(killed, Outcome::retry_as("signal-9", "the command ended with signal-9"));
    }

    #[test]
    fn a_class_is_told_from_a_sentence() {
        assert_eq!(class_of("card-declined: no funds"), Some(("card-declined", "no funds")));
        for line in ["Error: x", "sh: 1: nothing: not found", "a b: c", ": c", "12: c", "no colon", ""] {
            assert_eq!(class_of(line), None, "{line}");
        }
    }

    #[test]
    fn names_of_fields_are_names_of_variables() {
        assert_eq!(variable(b"order-id"), "FIELD_ORDER_ID");
        assert_eq!(variable("größe".as_bytes()), "FIELD_GR____E");
    }
}
