//! The table of commands says what the verbs do.

use std::collections::HashSet;

use weir_wire::{COMMANDS, Effect, Request};

#[test]
fn names_are_told_apart_and_texts_are_there() {
    let names: HashSet<_> = COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(names.len(), COMMANDS.len());
    for command in COMMANDS {
        assert!(command.name.starts_with("weir.") && command.name == command.name.to_lowercase());
        assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{}", command.name);
        assert_eq!(command.has_key, command.syntax.starts_with("key"), "{}", command.name);
        assert!(command.arity.unsigned_abs() as usize >= command.words().count(), "{}", command.name);
    }
}

#[test]
fn what_only_looks_is_said_to() {
    let reads: Vec<_> = COMMANDS
        .iter()
        .filter(|command| command.effect == Effect::Reads)
        .map(|command| command.name)
        .collect();
    let wanted = [
        "weir.read",
        "weir.head",
        "weir.info",
        "weir.streams",
        "weir.retention|get",
        "weir.lost",
        "weir.group|get",
        "weir.group|list",
        "weir.consumer|list",
        "weir.lag",
        "weir.pending|summary",
        "weir.pending|page",
        "weir.dlq|list",
        "weir.dlq|peek",
    ];
    assert_eq!(reads, wanted);
}

/// What a person types, and what it means in full.
#[test]
fn lines_of_the_manual_mean_what_it_says() {
    for (typed, full) in [
        ("weir.add s * type placed", "WEIR.ADD s * type placed"),
        ("WEIR.ADD s expected none producer p 1 7-1 a b", "WEIR.ADD s PRODUCER p 1 EXPECTED NONE 7-1 a b"),
        ("weir.read s", "WEIR.READ s START COUNT 100"),
        ("weir.read s backward end count 1", "WEIR.READ s END BACKWARD COUNT 1"),
        ("weir.readgroup s g c block 0", "WEIR.READGROUP s g c NEW COUNT 100 BLOCK 0"),
        ("weir.readgroup s g c history", "WEIR.READGROUP s g c HISTORY AFTER 0-0 COUNT 100"),
        ("weir.settle s g ack 1-1:2 1-2 extend 1-3:4", "WEIR.SETTLE s g ACK 1-1:2 1-2 EXTEND 1-3:4"),
        (
            "weir.nack s g 1-1:2 reason broken delay 500 class io",
            "WEIR.NACK s g 1-1:2 DELAY 500 CLASS io REASON broken",
        ),
        ("weir.release s g 1-1", "WEIR.RELEASE s g 1-1"),
        ("weir.pause s g for 1000", "WEIR.PAUSE s g FOR 1000"),
        (
            "weir.pending page s g",
            "WEIR.PENDING PAGE s g START 0-0 END 18446744073709551615-18446744073709551615 COUNT 100",
        ),
        ("weir.dlq redrive s g class io dryrun", "WEIR.DLQ REDRIVE s g CLASS io COUNT 100 DRYRUN"),
        (
            "weir.group set s g key customer filter 2 type prefix order. field brand in 2 a b required",
            "WEIR.GROUP SET s g FAILURES 10 DELIVERIES 20 BACKOFF EXPONENTIAL 1000 200 60000 0 LEASE 30000 KEY customer \
             FILTER 2 TYPE PREFIX order. FIELD brand IN 2 a b REQUIRED",
        ),
    ] {
        let words: Vec<&[u8]> = typed.split(' ').map(str::as_bytes).collect();
        let mut out: Vec<Vec<u8>> = Vec::new();
        Request::decode(&words).unwrap().encode(&mut out);
        let said: Vec<_> = out.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(said.join(" "), full, "{typed}");
    }
}
