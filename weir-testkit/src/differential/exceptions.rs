//! What may differ, by name: between Redis 7.0 (left) and the newest surface (right), and, in tables of their own,
//! between Redis or the model (left) and weir (right), and a weir that was killed in between (right).
//!
//! Each row takes one difference away, so that whatever else differs in the same reply is still found. A row that
//! excuses nothing in a full run is dead and fails it.

use super::command::Command;
use super::compare::{field, fields, rows};
use crate::Value;

/// A difference by design.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    /// How reports call it.
    pub name: &'static str,
    /// Since when, and what changed.
    pub why: &'static str,
    /// Whether the peers' states differ from here on; if so, the runner removes the keys from both.
    pub diverges: bool,
    /// Removes the difference from the two replies, left and right; true when there was one.
    pub excuse: fn(&Command, &mut Value, &mut Value) -> bool,
}

/// Redis 7.0 on the left, the newest surface on the right.
pub const VERSIONS: &[Exception] = &[
    Exception {
        name: "xinfo-stream-idmp",
        why: "8.6: six fields about idempotent producers in XINFO STREAM",
        diverges: false,
        excuse: |command, _, right| is_info(command, "stream") && remove_fields(right, IDMP_FIELDS),
    },
    Exception {
        name: "xinfo-full-active-time",
        why: "7.2: active-time of each consumer in XINFO STREAM FULL",
        diverges: false,
        excuse: |command, _, right| {
            is_info(command, "stream")
                && each_of(field(right, "groups"), |group| {
                    each_of(field(group, "consumers"), |consumer| remove_fields(consumer, &["active-time"]))
                })
        },
    },
    Exception {
        name: "xinfo-full-nacked-count",
        why: "8.8: nacked-count of each group in XINFO STREAM FULL",
        diverges: false,
        excuse: |command, _, right| {
            is_info(command, "stream")
                && each_of(field(right, "groups"), |group| remove_fields(group, &["nacked-count"]))
        },
    },
    Exception {
        name: "xinfo-consumers-inactive",
        why: "7.2: inactive in XINFO CONSUMERS",
        diverges: false,
        excuse: |command, _, right| {
            is_info(command, "consumers")
                && each_of(Some(right), |consumer| remove_fields(consumer, &["inactive"]))
        },
    },
    Exception {
        name: "consumer-on-attempt",
        why: "7.2: a consumer comes to be when it asks for something, not when it first gets something",
        diverges: false,
        excuse: |command, left, right| match command.lower(1).as_str() {
            "createconsumer" => {
                let differ = *left == Value::Int(1) && *right == Value::Int(0);
                differ && equalise(left, right)
            }
            "consumers" => drop_idlers(left, right),
            "groups" if is_info(command, "groups") => drop_idler_counts(left, right),
            "stream" if is_info(command, "stream") => {
                let (Some(left), Some(right)) = (field(left, "groups"), field(right, "groups")) else {
                    return false;
                };
                rows(left).zip(rows(right)).fold(false, |changed, (left, right)| {
                    let consumers = field(left, "consumers").zip(field(right, "consumers"));
                    consumers.is_some_and(|(left, right)| drop_idlers(left, right)) | changed
                })
            }
            _ => false,
        },
    },
    Exception {
        name: "emptied-node",
        why: "8.2: a node goes when an exact trim removes its last entry, also when a deleted one is not below MINID",
        diverges: true,
        excuse: |command, left, right| {
            let keys = |value: &mut Value| match field(value, "radix-tree-keys") {
                Some(Value::Int(keys)) => Some(*keys),
                _ => None,
            };
            let one_more = keys(left).zip(keys(right)).is_some_and(|(left, right)| left == right + 1);
            is_info(command, "stream") && one_more && {
                for name in ["radix-tree-keys", "radix-tree-nodes"] {
                    if let (Some(left), Some(right)) = (field(left, name), field(right, name)) {
                        right.clone_from(left);
                    }
                }
                true
            }
        },
    },
    Exception {
        name: "xsetid-below-deleted",
        why: "8.x: XSETID refuses an ID below the greatest deleted one",
        diverges: true,
        excuse: |_, left, right| {
            *left == Value::ok()
                && is_error(right, "ERR The ID specified in XSETID is smaller than current max_deleted")
                && equalise(left, right)
        },
    },
    Exception {
        name: "xsetid-order-of-checks",
        why: "8.x: XSETID looks at the greatest deleted ID first",
        diverges: false,
        excuse: |_, left, right| {
            is_error(left, "ERR The ID specified in XSETID is smaller than the target stream top item")
                && is_error(right, "ERR The ID specified in XSETID is smaller than current max_deleted")
                && equalise(left, right)
        },
    },
    Exception {
        name: "block-out-of-range",
        why: "7.2: a BLOCK whose end is beyond the clock's range is refused",
        diverges: true,
        excuse: |_, left, right| is_error(right, "ERR timeout is out of range") && equalise(left, right),
    },
    Exception {
        name: "entries-read-and-lag",
        why: "7.4.2 and 8.2: other rules after deletions and trims, ENTRIESREAD capped at entries-added",
        diverges: false,
        excuse: |command, left, right| match command.lower(1).as_str() {
            "groups" if is_info(command, "groups") => align_progress(Some(left), Some(right)),
            "stream" if is_info(command, "stream") => {
                align_progress(field(left, "groups"), field(right, "groups"))
            }
            _ => false,
        },
    },
    Exception {
        name: "delivery-count-saturates",
        why: "8.8: the delivery count stops at the greatest number instead of wrapping around",
        diverges: false,
        excuse: |command, left, right| {
            let counts = command.name() == "xpending" || is_info(command, "stream");
            counts && saturate(left, right)
        },
    },
    Exception {
        name: "xread-top",
        why: "7.4: the ID + of XREAD",
        diverges: false,
        excuse: |command, left, right| {
            command.name().starts_with("xread")
                && command.has("+")
                && is_error(left, "ERR Invalid stream ID")
                && equalise(left, right)
        },
    },
    Exception {
        name: "xread-unbalanced",
        why: "7.2 and 8.0: the command's name and the + in the text",
        diverges: false,
        excuse: |_, left, right| {
            is_error(left, "ERR Unbalanced XREAD list of streams")
                && is_error(right, "ERR Unbalanced 'xread")
                && equalise(left, right)
        },
    },
    Exception {
        name: "help-last-line",
        why: "7.2: \"Print this help.\" instead of \"Prints this help.\"",
        diverges: false,
        excuse: |command, left, right| {
            command.lower(1) == "help"
                && last_line_is(left, "    Prints this help.")
                && last_line_is(right, "    Print this help.")
                && equalise_last(left, right)
        },
    },
    Exception {
        name: "unknown-command-alone",
        why: "8.x: no \"with args beginning with\" when there are none",
        diverges: false,
        excuse: |command, left, right| {
            command.words.len() == 1 && is_error(left, "ERR unknown command '") && {
                let (Value::Error(old), Value::Error(new)) = (&*left, &*right) else { return false };
                *old == [new.as_slice(), b", with args beginning with: "].concat() && equalise(left, right)
            }
        },
    },
];

/// Where weir itself differs.
pub const WEIR: &[Exception] = &[
    Exception {
        name: "copy-in-transaction",
        why: "COPY inside a transaction cannot read entries that the same transaction added",
        diverges: true,
        excuse: |command, left, right| {
            let refused = "ERR entries added in a transaction cannot be copied in it";
            command.name() == "copy" && is_error(right, refused) && equalise(left, right)
        },
    },
    Exception {
        name: "copied-node-ends",
        why: "COPY leaves deleted entries behind, so a node may end lower in the copy and fall to MINID ~ earlier",
        diverges: true,
        excuse: |command, left, right| {
            let approximate = command.name() == "xtrim" && command.has("MINID") && command.has("~");
            let more = matches!((&*left, &*right), (Value::Int(left), Value::Int(right)) if left < right);
            approximate && more && equalise(left, right)
        },
    },
    Exception {
        name: "copied-node-masters",
        why: "a node of a copy is named after the first entry that is left of it",
        diverges: false,
        excuse: |command, left, right| {
            is_info(command, "stream")
                && field(left, "radix-tree-nodes")
                    .zip(field(right, "radix-tree-nodes"))
                    .is_some_and(|(left, right)| equalise(left, right))
        },
    },
];

/// What a weir that was killed has forgotten: the soft state of `docs/semantics.md`, and nothing else.
pub const RESTARTED: &[Exception] = &[
    Exception {
        name: "restarted-duplicates",
        why: "how many duplicate appends a stream has answered is as old as the last snapshot",
        diverges: false,
        excuse: |command, left, right| {
            is_info(command, "stream")
                && field(left, "iids-duplicates")
                    .zip(field(right, "iids-duplicates"))
                    .is_some_and(|(left, right)| fell(left, right))
        },
    },
    Exception {
        name: "restarted-consumer-times",
        why: "when a consumer was last seen and last active is as old as the last snapshot, or not known",
        diverges: false,
        excuse: |command, left, right| match command.lower(1).as_str() {
            "consumers" if is_info(command, "consumers") => forget_times(left, right),
            "stream" if is_info(command, "stream") => {
                let (Some(left), Some(right)) = (field(left, "groups"), field(right, "groups")) else {
                    return false;
                };
                rows(left).zip(rows(right)).fold(false, |changed, (left, right)| {
                    let consumers = field(left, "consumers").zip(field(right, "consumers"));
                    consumers.is_some_and(|(left, right)| forget_times(left, right)) | changed
                })
            }
            _ => false,
        },
    },
];

const IDMP_FIELDS: &[&str] =
    &["idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked", "iids-added", "iids-duplicates"];

fn is_info(command: &Command, what: &str) -> bool {
    command.name() == "xinfo" && command.lower(1) == what
}

fn is_error(value: &Value, beginning: &str) -> bool {
    matches!(value, Value::Error(text) if text.starts_with(beginning.as_bytes()))
}

fn equalise(left: &Value, right: &mut Value) -> bool {
    let differed = left != right;
    right.clone_from(left);
    differed
}

fn each_of(array: Option<&mut Value>, mut change: impl FnMut(&mut Value) -> bool) -> bool {
    // Every element is changed, also after the first success.
    array.is_some_and(|array| rows(array).fold(false, |changed, item| change(item) | changed))
}

fn remove_fields(value: &mut Value, names: &[&str]) -> bool {
    let is_named = |key: &Value| matches!(key, Value::Bulk(key) if names.iter().any(|n| n.as_bytes() == key));
    match value {
        Value::Map(pairs) => {
            let before = pairs.len();
            pairs.retain(|(key, _)| !is_named(key));
            pairs.len() < before
        }
        Value::Array(items) => {
            let before = items.len();
            let kept = items.chunks(2).filter(|pair| !is_named(&pair[0])).flatten().cloned().collect();
            *items = kept;
            items.len() < before
        }
        _ => false,
    }
}

/// Removes the right side's consumers without rows that the left side does not know.
fn drop_idlers(left: &mut Value, right: &mut Value) -> bool {
    let (Value::Array(left), Value::Array(right)) = (left, right) else { return false };
    let name = |consumer: &mut Value| field(consumer, "name").cloned();
    let known: Vec<_> = left.iter_mut().map(name).collect();
    let before = right.len();
    right.retain_mut(|consumer| {
        let rows = ["pending", "pel-count"].iter().find_map(|held| match field(consumer, held) {
            Some(Value::Int(rows)) => Some(*rows),
            _ => None,
        });
        rows != Some(0) || known.contains(&name(consumer))
    });
    right.len() < before
}

fn drop_idler_counts(left: &mut Value, right: &mut Value) -> bool {
    let mut dropped = false;
    for (left, right) in rows(left).zip(rows(right)) {
        if let (Some(Value::Int(left)), Some(Value::Int(right))) =
            (field(left, "consumers"), field(right, "consumers"))
        {
            dropped |= left < right;
            *right = (*right).min(*left);
        }
    }
    dropped
}

/// Evens out a number that is smaller on the right.
fn fell(left: &Value, right: &mut Value) -> bool {
    matches!((left, &*right), (Value::Int(left), Value::Int(right)) if right < left) && equalise(left, right)
}

/// Evens out where the right side's consumers were active or seen longer ago than the left side's, or never.
fn forget_times(left: &mut Value, right: &mut Value) -> bool {
    let mut forgotten = false;
    for (left, right) in rows(left).zip(rows(right)) {
        for ((name, left), (_, right)) in fields(left).into_iter().zip(fields(right)) {
            forgotten |= match &*name {
                b"seen-time" | b"active-time" => fell(left, right),
                // Ages, so the right one is greater, unless it is not known.
                b"inactive" if *right == Value::Int(-1) => equalise(left, right),
                b"idle" | b"inactive" => fell(right, &mut left.clone()) && equalise(left, right),
                _ => false,
            };
        }
    }
    forgotten
}

fn align_progress(left: Option<&mut Value>, right: Option<&mut Value>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return false };
    let mut differed = false;
    for (left, right) in rows(left).zip(rows(right)) {
        for ((name, left), (_, right)) in fields(left).into_iter().zip(fields(right)) {
            if matches!(&*name, b"entries-read" | b"lag") {
                differed |= equalise(left, right);
            }
        }
    }
    differed
}

fn saturate(left: &mut Value, right: &mut Value) -> bool {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) if *left < i64::MIN / 2 && *right == i64::MAX => {
            *right = *left;
            true
        }
        (Value::Array(left), Value::Array(right)) => {
            left.iter_mut().zip(right).fold(false, |changed, (left, right)| saturate(left, right) | changed)
        }
        (Value::Map(left), Value::Map(right)) => left
            .iter_mut()
            .zip(right)
            .fold(false, |changed, (left, right)| saturate(&mut left.1, &mut right.1) | changed),
        _ => false,
    }
}

fn last_line_is(help: &Value, line: &str) -> bool {
    matches!(help, Value::Array(lines) if lines.last() == Some(&Value::Simple(line.into())))
}

fn equalise_last(left: &Value, right: &mut Value) -> bool {
    let (Value::Array(left), Value::Array(right)) = (left, right) else { return false };
    left.last().zip(right.last_mut()).is_some_and(|(left, right)| equalise(left, right))
}
