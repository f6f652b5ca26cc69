//! What is in the way of a group, judged from what the broker says of it: nothing is asked here.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_core::{ConsumerInfo, DeadLetter, EntryId, GroupInfo, GroupOrigin, Lag, PendingRow, PendingState};

use super::findings::{Findings, Severity};
use crate::consumer_side::text;

/// A consumer that has not asked for so long reads no more.
const SILENT: Duration = Duration::from_secs(60);
/// A consumer that has not asked for so long does not come back.
const GONE: Duration = Duration::from_secs(600);
/// Without a policy nobody says how long an entry may be held; this is long.
const HELD_MAX: Duration = Duration::from_secs(300);
/// Given out so often without an end, an entry is worth a word.
const DELIVERIES_MAX: u64 = 3;
/// With more consumers that do not come back, their names seem to be new at every start.
const GHOSTS_MAX: usize = 3;

/// What a broker says of a group.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) stream: String,
    pub(super) group: GroupInfo,
    pub(super) lag: Lag,
    pub(super) consumers: Vec<ConsumerInfo>,
    /// The first rows of its pending list.
    pub(super) rows: Vec<PendingRow>,
    /// Its first dead letters.
    pub(super) letters: Vec<DeadLetter>,
    /// The first entry of the stream.
    pub(super) first_id: Option<EntryId>,
}

impl Facts {
    fn name(&self) -> String {
        text::shown(&self.group.name)
    }

    /// Stream and group as a command takes them.
    fn words(&self) -> String {
        format!("{} {}", self.stream, self.name())
    }

    fn lease(&self) -> Duration {
        self.group.policy.as_ref().map_or(HELD_MAX, |policy| policy.lease)
    }
}

/// Says what is well and what is not.
pub(super) fn judge(facts: &Facts, findings: &mut Findings) {
    state(facts, findings);
    policy(facts, findings);
    readers(facts, findings);
    start(facts, findings);
    filter(facts, findings);
    speed(facts, findings);
    held(facts, findings);
    repeated(facts, findings);
    failing(facts, findings);
    dead(facts, findings);
    stale(facts, findings);
    ghosts(facts, findings);
}

fn state(facts: &Facts, findings: &mut Findings) {
    let lag = &facts.lag;
    let found = format!(
        "{}: {} undelivered, {} held, {} ready, {} delayed, {} dead",
        facts.name(),
        lag.undelivered,
        lag.pending,
        lag.ready,
        lag.delayed,
        lag.dead
    );
    findings.ok("group", found);
    if facts.group.paused {
        let remedy = format!("nothing is given out until `weir group resume {}`", facts.words());
        findings.say(Severity::Warning, "paused", format!("{} is paused", facts.name()), remedy);
    }
}

fn policy(facts: &Facts, findings: &mut Findings) {
    if facts.group.policy.is_none() {
        let remedy = format!(
            "what fails is tried for ever and nobody sees it: `weir group set {}` gives it 10 failures with waits from 1 s \
             to 60 s, and a dead-letter stream",
            facts.words()
        );
        findings.say(Severity::Warning, "policy", format!("{} has no policy", facts.name()), remedy);
    }
}

/// Whether anybody reads while there is something to read.
fn readers(facts: &Facts, findings: &mut Findings) {
    let name = facts.name();
    let left = facts.lag.undelivered + facts.lag.ready + facts.lag.pending;
    let last = facts.consumers.iter().map(|consumer| consumer.idle).min();
    let start = "start one: a program with the runtime, or `weir consume … --exec CMD`; look at its log when it runs already, \
                 and whether it reads this stream and this group";
    match last {
        None if left > 0 => findings.say(
            Severity::Problem,
            "consumers",
            format!("nobody reads {name}, and {} are left", text::entries(left)),
            start,
        ),
        None => findings.say(Severity::Note, "consumers", format!("nobody reads {name}, and nothing is left"), start),
        Some(idle) if idle > SILENT && left > 0 && !facts.group.paused => findings.say(
            Severity::Problem,
            "consumers",
            format!(
                "nobody has asked for entries of {name} for {}, and {} are left",
                text::duration(idle),
                text::entries(left)
            ),
            "the consumers stopped or hang: look at their processes and their logs; entries that they hold go to others \
             when the lease is over",
        ),
        Some(idle) => findings.ok(
            "consumers",
            format!(
                "{} of {name}, the last asked {} ago",
                text::plural(facts.consumers.len() as u64, "consumer", "consumers"),
                text::duration(idle)
            ),
        ),
    }
}

/// A group that began at the end never sees what was there before.
fn start(facts: &Facts, findings: &mut Findings) {
    let GroupInfo { origin, last_delivered_id, .. } = &facts.group;
    let began_late = matches!(origin, Some(GroupOrigin::End));
    let skipped = facts.first_id.is_some_and(|first| first <= *last_delivered_id);
    if began_late
        && skipped
        && facts.lag.total() == 0
        && facts.consumers.iter().all(|consumer| consumer.pending == 0)
    {
        findings.say(
            Severity::Note,
            "start",
            format!(
                "{} was made to start at the end: what was there before is not given to it",
                facts.name()
            ),
            format!(
                "if it should have had that: `weir seek {} start` shows what would come again",
                facts.words()
            ),
        );
    }
}

fn filter(facts: &Facts, findings: &mut Findings) {
    let Some(filter) = facts.group.policy.as_ref().and_then(|policy| policy.filter.as_ref()) else { return };
    let conditions: Vec<_> =
        filter.conditions.iter().map(crate::consumer_side::words::shown_condition).collect();
    findings.say(
        Severity::Note,
        "filter",
        format!(
            "{} sees only entries with {}; {} passed over so far",
            facts.name(),
            conditions.join(" and "),
            facts.group.filtered
        ),
        format!(
            "an entry that you miss may not match; `weir group set {} --where none` shows it everything",
            facts.words()
        ),
    );
}

fn speed(facts: &Facts, findings: &mut Findings) {
    let lag = &facts.lag;
    if lag.undelivered > 0 && lag.arrivals_per_s > lag.drained_per_s && lag.drained_per_s > 0.0 {
        findings.say(
            Severity::Warning,
            "speed",
            format!(
                "{} falls behind: {:.1} a second come, {:.1} are done",
                facts.name(),
                lag.arrivals_per_s,
                lag.drained_per_s
            ),
            "start more consumers of the same group, or let each work on more entries at a time (concurrency); look for what \
             the handler waits for",
        );
    }
}

/// What is held for longer than it may be.
fn held(facts: &Facts, findings: &mut Findings) {
    let lease = facts.lease();
    let late: Vec<_> =
        facts.rows.iter().filter(|row| row.state == PendingState::InFlight && row.idle > lease).collect();
    let Some(longest) = late.iter().max_by_key(|row| row.idle) else { return };
    let holder = longest.consumer.as_deref().map_or("nobody".into(), text::shown);
    let remedy = match facts.group.policy {
        Some(_) => "its holder crashed or hangs; the next consumer that reads takes it over. If handlers need that long, give \
                    the group a longer lease (`weir group set … --lease 5m`) or let them extend it"
            .to_owned(),
        None => format!(
            "its holder crashed, hangs, or never acknowledges, and without a policy nobody takes it over: `weir group set {}` \
             gives it a lease; `weir group forget {} {holder}` hands back what a consumer holds that is gone",
            facts.words(),
            facts.words()
        ),
    };
    let found = format!(
        "{} held for longer than {}, the longest by {holder} for {}",
        text::entries(late.len() as u64),
        text::duration(lease),
        text::duration(longest.idle)
    );
    findings.say(Severity::Warning, "held too long", found, remedy);
}

/// Given out again and again without a failure: nobody acknowledges, or whoever has it dies.
fn repeated(facts: &Facts, findings: &mut Findings) {
    let again: Vec<_> =
        facts.rows.iter().filter(|row| row.deliveries >= DELIVERIES_MAX && row.failures == 0).collect();
    let Some(worst) = again.iter().max_by_key(|row| row.deliveries) else { return };
    findings.say(
        Severity::Warning,
        "never acknowledged",
        format!(
            "{} given out at least {DELIVERIES_MAX} times and neither acknowledged nor failed, {} most often ({})",
            text::entries(again.len() as u64),
            worst.id,
            worst.deliveries
        ),
        "does the consumer acknowledge after its work? Does it crash over this entry, or take longer than the lease? Every \
         such time the work is done again, so handlers have to bear that",
    );
}

/// The most frequent of some classes, and how often it is there.
fn most<'a>(classes: impl Iterator<Item = &'a [u8]>) -> Option<(String, usize)> {
    let mut counts = BTreeMap::new();
    for class in classes {
        *counts.entry(class).or_insert(0) += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(class, count)| (text::shown(class), count))
}

fn failing(facts: &Facts, findings: &mut Findings) {
    let failures = || facts.rows.iter().filter_map(|row| row.last_failure.as_ref());
    let Some((class, count)) = most(failures().map(|failure| &*failure.class)) else { return };
    let last =
        failures().max_by_key(|failure| failure.at).map_or(String::new(), |last| text::cut(&last.reason));
    findings.say(
        Severity::Warning,
        "failures",
        format!(
            "{} pending failed before, {count} of them with {class:?}; the last reason: {last}",
            text::entries(failures().count() as u64)
        ),
        format!(
            "`weir pending {}` shows each; they are tried again by themselves. Mend the handler, or what it calls",
            facts.words()
        ),
    );
}

fn dead(facts: &Facts, findings: &mut Findings) {
    if facts.lag.dead == 0 {
        return findings.ok("dead letters", format!("none of {}", facts.name()));
    }
    let classes = facts.letters.iter().map(|letter| &*letter.last_failure.class);
    let (class, count) = most(classes).unwrap_or_default();
    let words = facts.words();
    findings.say(
        Severity::Problem,
        "dead letters",
        format!(
            "{} of {}, {count} of the first {} with {class:?}",
            text::plural(facts.lag.dead, "dead letter", "dead letters"),
            facts.name(),
            facts.letters.len()
        ),
        format!(
            "`weir dlq list {words}` says why; mend the handler, then `weir dlq redrive {words} --class {class}`; what is \
             not worth it goes with `weir dlq purge {words} --class {class}`"
        ),
    );
}

/// Settlements that came too late.
fn stale(facts: &Facts, findings: &mut Findings) {
    let stale = facts.group.stale_settlements;
    if stale > 0 {
        findings.say(
            Severity::Warning,
            "duplicates",
            format!("{} of {} came when somebody else had the entry", text::plural(stale, "settlement", "settlements"), facts.name()),
            "their work was done twice: the lease is shorter than the handlers need, or two consumers run under one name. Give \
             each process its own name and the group a longer lease; let handlers bear a second time (dedup)",
        );
    }
}

/// Consumers that do not come back.
fn ghosts(facts: &Facts, findings: &mut Findings) {
    let gone: Vec<_> = facts.consumers.iter().filter(|consumer| consumer.idle > GONE).collect();
    let Some(first) = gone.first() else { return };
    let holding: u64 = gone.iter().map(|consumer| consumer.pending).sum();
    let words = facts.words();
    let mut remedy = format!(
        "`weir group forget {words} {}` removes it, and hands back what it holds",
        text::shown(&first.name)
    );
    if gone.len() > GHOSTS_MAX {
        remedy.push_str("; so many may mean that names are made up at every start: a name should stay (host and instance)");
    }
    findings.say(
        if holding > 0 { Severity::Warning } else { Severity::Note },
        "gone consumers",
        format!(
            "{} of {} not seen for {}, holding {}",
            text::plural(gone.len() as u64, "consumer", "consumers"),
            facts.name(),
            text::duration(GONE),
            text::entries(holding)
        ),
        remedy,
    );
}

#[cfg(test)]
mod tests {
    use weir_core::{Failure, Policy, Timestamp};

    use super::*;

    fn consumer(name: &str, idle: u64, pending: u64) -> ConsumerInfo {
        ConsumerInfo { name: name.into(), pending, idle: Duration::from_secs(idle) }
    }

    fn row(id: u64, idle: u64, deliveries: u64, failures: u64) -> PendingRow {
        let failure = Failure { class: b"timeout".into(), reason: b"no answer".into(), at: Timestamp(id) };
        PendingRow {
            id: EntryId::new(id, 0),
            consumer: Some(b"worker-1".into()),
            state: PendingState::InFlight,
            idle: Duration::from_secs(idle),
            deliveries,
            failures,
            last_failure: (failures > 0).then_some(failure),
        }
    }

    /// A group that is well.
    fn well() -> Facts {
        Facts {
            stream: "orders".into(),
            group: GroupInfo {
                name: b"billing".into(),
                origin: Some(GroupOrigin::Beginning),
                last_delivered_id: EntryId::new(5, 0),
                pending: 0,
                consumers: 1,
                paused: false,
                filtered: 0,
                stale_settlements: 0,
                policy: Some(Policy::recommended()),
            },
            lag: Lag {
                undelivered: 0,
                pending: 0,
                ready: 0,
                delayed: 0,
                dead: 0,
                oldest_undelivered: None,
                oldest_pending: None,
                arrivals_per_s: 1.0,
                drained_per_s: 1.0,
                eta: Some(Duration::ZERO),
                exact: true,
            },
            consumers: vec![consumer("worker-1", 1, 0)],
            rows: Vec::new(),
            letters: Vec::new(),
            first_id: Some(EntryId::new(1, 0)),
        }
    }

    /// What is said, other than that all is well.
    fn said(facts: &Facts) -> Vec<&'static str> {
        let mut findings = Findings::default();
        judge(facts, &mut findings);
        findings
            .iter()
            .filter(|finding| finding.severity != Severity::Ok)
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn nothing_is_said_of_a_group_that_is_well() {
        assert!(said(&well()).is_empty(), "{:?}", said(&well()));
    }

    #[test]
    fn each_trouble_is_found_and_nothing_else() {
        let mut dead = well();
        dead.lag.dead = 2;
        let mut unread = well();
        unread.consumers.clear();
        unread.lag.undelivered = 3;
        let mut silent = well();
        silent.consumers = vec![consumer("worker-1", 61, 0)];
        silent.lag.undelivered = 1;
        let mut slow = well();
        (slow.lag.undelivered, slow.lag.arrivals_per_s) = (10, 2.0);
        let paused = Facts { group: GroupInfo { paused: true, ..well().group }, ..well() };
        let plain = Facts { group: GroupInfo { policy: None, ..well().group }, ..well() };
        let late = Facts { group: GroupInfo { origin: Some(GroupOrigin::End), ..well().group }, ..well() };
        let stale = Facts { group: GroupInfo { stale_settlements: 1, ..well().group }, ..well() };
        for (facts, wanted) in [
            (dead, "dead letters"),
            (unread, "consumers"),
            (silent, "consumers"),
            (slow, "speed"),
            (paused, "paused"),
            (plain, "policy"),
            (late, "start"),
            (stale, "duplicates"),
            (Facts { rows: vec![row(1, 31, 1, 0)], ..well() }, "held too long"),
            (Facts { rows: vec![row(1, 1, 3, 0)], ..well() }, "never acknowledged"),
            (Facts { rows: vec![row(1, 1, 3, 2)], ..well() }, "failures"),
            (
                Facts { consumers: vec![consumer("worker-1", 1, 0), consumer("old", 601, 2)], ..well() },
                "gone consumers",
            ),
        ] {
            assert_eq!(said(&facts), [wanted]);
        }
    }

    #[test]
    fn the_class_that_most_failed_with_is_named() {
        assert_eq!(most([&b"a"[..], b"b", b"b"].into_iter()), Some(("b".into(), 2)));
        assert_eq!(most([].into_iter()), None);
    }
}
