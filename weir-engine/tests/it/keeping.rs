//! Retention, its guard, what is lost and what is told of it.

use std::time::Duration;

use weir_core::{
    Condition, ConditionTest, CreateGroup, EntryId, FieldName, Filter, GroupOrigin, LostQuery, Policy,
    ReadFrom, Retention, TrimTo, alerts_of, lost_of,
};
use weir_engine::{
    Append, GroupReadFrom, KeyRef, NamespaceNo, NewId, ReadGroup, ReadLimits, References, Trim, TrimBound,
};

use crate::verbs::{House, value};

const KEY: KeyRef<'_> = KeyRef { ns: NamespaceNo(0), name: b"s" };

fn keep(house: &House, retention: Retention) {
    house.space.set_retention(b"s", Some(retention)).unwrap();
}

fn group(house: &House, name: &str, policy: Policy) {
    let options = CreateGroup { origin: GroupOrigin::Beginning, policy };
    house.space.create_group(b"s", name.as_bytes(), &options).unwrap();
}

fn required() -> Policy {
    Policy { required: true, ..Policy::recommended() }
}

/// Has a group read what is new; answers what it was given.
fn read(house: &House, group: &str, count: u64) -> Vec<EntryId> {
    let read = ReadGroup {
        ns: KEY.ns,
        group: group.as_bytes().into(),
        consumer: b"ann".as_slice().into(),
        streams: vec![(KEY.name.into(), GroupReadFrom::New)],
        limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    };
    let outcome = house.engine.ask(|turn| turn.read_group(&read)).unwrap();
    match outcome.streams.into_iter().next().map(|stream| stream.entries) {
        Some(weir_engine::Entries::Plain(refs)) => refs.iter().map(|entry| entry.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn ack(house: &House, group: &str, ids: &[EntryId]) {
    assert_eq!(house.engine.turn().ack(KEY, group.as_bytes(), ids).unwrap(), ids.len() as u64);
}

fn lost(house: &House) -> Vec<(String, u64, bool)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = house.space.lost(b"s", LostQuery { group: None, after, count: 7 }).unwrap();
        let one = |lost: weir_core::LostEntry| {
            (String::from_utf8(lost.group).unwrap(), lost.id.seq, lost.was_pending)
        };
        found.extend(page.entries.into_iter().map(one));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// Level, held, hold and group of each alert.
fn alerts(house: &House) -> Vec<String> {
    let name = String::from_utf8(alerts_of(b"s").unwrap()).unwrap();
    let text = |fields: &weir_core::Fields, name: &[u8]| {
        weir_core::first_value(fields, name)
            .map_or("-".into(), |value| String::from_utf8_lossy(value).into_owned())
    };
    let said = |entry: &weir_core::Entry| {
        assert_eq!(
            (text(&entry.fields, b"kind"), text(&entry.fields, b"stream")),
            ("retention-held".into(), "s".into())
        );
        ["level", "held", "hold", "group"].map(|name| text(&entry.fields, name.as_bytes())).join(" ")
    };
    house.read(&name, ReadFrom::Start).iter().map(said).collect()
}

fn fill(house: &House, from: u64, count: u64) {
    for nth in from..from + count {
        house.add("s", &nth.to_string());
    }
}

#[test]
fn limits_hold_after_every_append_whoever_appends() {
    let mut house = House::new();
    fill(&house, 0, 500);
    keep(&house, Retention { length: Some(100), ..Retention::default() });
    for from_snapshot in [false, true] {
        assert_eq!(house.values("s").len(), 100);
        house.add("s", "more");
        let fields: [&[u8]; 2] = [b"type", b"raw"];
        let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
        house.engine.turn().append(KEY, &request).unwrap();
        assert_eq!(house.values("s").len(), 100);
        house.restart(from_snapshot);
        let kept = house.space.retention(b"s").unwrap().unwrap();
        assert_eq!(kept, Retention { length: Some(100), ..Retention::default() });
    }
    house.space.set_retention(b"s", None).unwrap();
    fill(&house, 0, 50);
    assert_eq!((house.values("s").len(), house.space.retention(b"s").unwrap()), (150, None));
}

#[test]
fn bytes_count_names_and_values_of_what_is_there() {
    let mut house = House::new();
    // Four bytes for the name, one to three for the value.
    fill(&house, 0, 400);
    keep(&house, Retention { bytes: Some(700), ..Retention::default() });
    assert_eq!(house.values("s").len(), 100, "of seven bytes each");
    let second = house.read("s", ReadFrom::Start)[1].id;
    house.space.delete_entries(b"s", &[second]).unwrap();
    house.restart(true);
    house.add("s", "xxx");
    assert_eq!(house.values("s").len(), 100, "one had made room");
    house.add("s", &"x".repeat(690));
    assert_eq!(house.values("s").len(), 1);
    house.add("s", &"x".repeat(700));
    assert_eq!(house.values("s").len(), 0, "it is too large by itself");
    house.restart(false);
    house.add("s", "y");
    assert_eq!(house.values("s"), ["y"]);
}

#[test]
fn ages_are_looked_at_with_an_append_and_without() {
    let mut house = House::new();
    for nth in 0..300 {
        house.add("s", &nth.to_string());
        house.advance(100);
    }
    keep(&house, Retention { age: Some(Duration::from_secs(10)), ..Retention::default() });
    assert_eq!(house.values("s").len(), 100);
    house.advance(2_000);
    house.restart(true);
    assert_eq!(house.values("s").len(), 100, "nobody has looked");
    house.add("s", "new");
    assert_eq!(house.values("s").len(), 81);
    house.advance(60_000);
    while house.engine.background_step().unwrap() {}
    assert_eq!(house.values("s").len(), 0);
    house.restart(false);
    let age = house
        .space
        .set_retention(b"s", Some(Retention { age: Some(Duration::ZERO), ..Retention::default() }));
    assert!(matches!(age.unwrap_err().kind(), weir_core::ErrorKind::Invalid(_)));
}

/// A required group that has stopped loses nothing, whoever trims, and somebody is told.
#[test]
fn a_stalled_required_group_loses_nothing_and_an_alert_stands() {
    let mut house = House::new();
    group(&house, "billing", required());
    group(&house, "mail", Policy::recommended());
    keep(&house, Retention { length: Some(50), ..Retention::default() });
    fill(&house, 0, 50);
    assert_eq!(alerts(&house), Vec::<String>::new());
    let given = read(&house, "billing", 30);
    ack(&house, "billing", &given[1..]);
    fill(&house, 50, 400);
    assert_eq!(house.values("s").len(), 450, "the first entry is pending");
    assert_eq!(alerts(&house), ["0 1 - billing"]);
    for from_snapshot in [false, true] {
        house.restart(from_snapshot);
        let bound = TrimBound::MaxLen(10);
        let trim = Trim { bound, approximate: false, limit: 0, references: References::Keep };
        assert_eq!(house.engine.ask(|turn| turn.trim(KEY, &trim)).unwrap(), 0, "XTRIM is held, too");
        let trimmed = house.space.trim(b"s", TrimTo::Length(0)).unwrap();
        assert_eq!((trimmed.removed, trimmed.held), (0, 450));
        house.add("s", "more");
        house.space.trim(b"s", TrimTo::Length(449)).unwrap();
        let id = house.read("s", ReadFrom::End).len();
        assert_eq!(id, 0);
        let last = house.space.head(b"s").unwrap().unwrap().last_id;
        house.space.delete_entries(b"s", &[last]).unwrap();
    }
    assert_eq!(lost(&house), []);
    ack(&house, "billing", &given[..1]);
    house.add("s", "more");
    assert_eq!(house.values("s").len(), 421, "up to what it was not given yet");
    assert_eq!(alerts(&house), ["0 1 - billing"], "something is held all the time");
    let rest = read(&house, "billing", 1_000);
    ack(&house, "billing", &rest);
    house.add("s", "more");
    assert_eq!(house.values("s").len(), 50);
    fill(&house, 0, 60);
    assert_eq!(alerts(&house), ["0 1 - billing", "0 1 - billing"], "again, after nothing was held");
    house.restart(true);
}

/// The budget is spent: the oldest go, and each is listed for each group that had not acknowledged it.
#[test]
fn every_entry_that_is_lost_is_listed() {
    let mut house = House::new();
    group(&house, "billing", required());
    group(&house, "mail", required());
    keep(&house, Retention { length: Some(20), hold: Some(10), ..Retention::default() });
    fill(&house, 0, 20);
    let all = house.read("s", ReadFrom::Start);
    let given = read(&house, "billing", 10);
    ack(&house, "billing", &given[2..6]);
    let seen = read(&house, "mail", 4);
    ack(&house, "mail", &seen[..3]);
    fill(&house, 20, 5);
    house.restart(false);
    assert_eq!(alerts(&house), ["0 1 10 billing", "50 5 10 billing"]);
    fill(&house, 25, 5);
    assert_eq!(alerts(&house)[2..], ["80 8 10 billing", "100 10 10 billing"]);
    assert_eq!((lost(&house), house.values("s").len()), (vec![], 30));
    fill(&house, 30, 5);
    house.restart(true);
    assert_eq!(house.values("s").len(), 30);
    let expected: Vec<(String, u64, bool)> = [
        ("billing", 0, true),
        ("billing", 1, true),
        // 2 is acknowledged by both: with what is lost before, it is free.
        ("mail", 3, true),
        ("mail", 4, false),
    ]
    .map(|(group, seq, pending)| (group.to_owned(), all[seq as usize].id.seq, pending))
    .to_vec();
    let found = lost(&house);
    assert_eq!(found[..expected.len().min(found.len())], expected, "{found:?}");
    let first = house.read("s", ReadFrom::Start)[0].id;
    let listed = |group: &str| found.iter().filter(|(own, _, _)| own == group).count();
    let gone = all.iter().filter(|entry| entry.id < first).count();
    assert_eq!(gone, 5);
    // Nothing that went and was not acknowledged is missing from the list.
    assert_eq!((listed("billing"), listed("mail")), (2, 2));
    for (group, acked) in [("billing", given[2..6].to_vec()), ("mail", seen[..3].to_vec())] {
        for entry in all.iter().filter(|entry| entry.id < first && !acked.contains(&entry.id)) {
            assert!(
                found.iter().any(|(own, seq, _)| own == group && *seq == entry.id.seq),
                "{group} {}",
                entry.id
            );
        }
    }
    let pending = house.engine.turn().pending_summary(KEY, b"billing").unwrap();
    assert_eq!(pending.bounds.unwrap().0, given[6], "rows of what is lost are gone");
    let only = LostQuery { group: Some(b"mail".to_vec()), after: None, count: 10 };
    assert_eq!(house.space.lost(b"s", only).unwrap().entries.len(), 2);
}

#[test]
fn many_are_lost_at_once_and_all_are_listed() {
    let mut house = House::new();
    group(&house, "billing", required());
    fill(&house, 0, 3_500);
    keep(&house, Retention { length: Some(100), hold: Some(0), ..Retention::default() });
    assert_eq!((house.values("s").len(), lost(&house).len()), (100, 3_400));
    house.restart(true);
    assert_eq!(alerts(&house), Vec::<String>::new(), "nothing is ever held");
    // Where the list cannot be written nothing is lost.
    let list = lost_of(b"s").unwrap();
    house.space.delete_stream(&list).unwrap();
    house.engine.turn().set_text(KeyRef { name: &list, ..KEY }, b"in the way", false, "set").unwrap();
    fill(&house, 0, 10);
    assert_eq!(house.values("s").len(), 110);
    house.engine.turn().remove_key(KeyRef { name: &list, ..KEY }).unwrap();
    fill(&house, 0, 1);
    assert_eq!((house.values("s").len(), lost(&house).len()), (100, 11));
}

#[test]
fn a_required_group_needs_only_what_its_filter_lets_through() {
    let mut house = House::new();
    let condition = Condition { field: FieldName::Type, test: ConditionTest::Prefix(b"7".to_vec()) };
    let filter = Some(Filter { conditions: vec![condition] });
    group(&house, "sevens", Policy { filter, ..required() });
    fill(&house, 0, 60);
    keep(&house, Retention { length: Some(10), ..Retention::default() });
    assert_eq!(house.values("s")[0], "7", "the first that it may see");
    for from_snapshot in [false, true] {
        house.restart(from_snapshot);
        house.add("s", "8");
        assert_eq!(house.values("s")[0], "7");
    }
    assert_eq!(house.read("s", ReadFrom::Start).iter().map(value).filter(|value| value == "7").count(), 1);
}

#[test]
fn a_trim_by_time_has_the_log_written_before_it_looks_at_times() {
    let house = House::new();
    fill(&house, 0, 3);
    for nth in 3..6_u8 {
        let fields: [&[u8]; 2] = [b"type", &[nth]];
        let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
        house.engine.turn().append(KEY, &request).unwrap();
    }
    house.clock.advance(Duration::from_secs(5));
    let now = house.engine.turn().now();
    let trimmed = house.engine.ask(|turn| turn.trim_to(KEY, TrimTo::Time(now))).unwrap();
    assert_eq!((trimmed.removed, trimmed.held), (6, 0));
}

#[test]
fn a_short_stream_is_limited_and_cut_at_once() {
    let house = House::new();
    fill(&house, 0, 3);
    let condition = Condition { field: FieldName::Type, test: ConditionTest::Prefix(b"raw".to_vec()) };
    let filter = Some(Filter { conditions: vec![condition] });
    group(&house, "audit", Policy { filter, ..required() });
    let fields: [&[u8]; 2] = [b"type", b"other"];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    house.engine.turn().append(KEY, &request).unwrap();
    let retention = Some(Retention { length: Some(1), ..Retention::default() });
    let mut left = Vec::new();
    house
        .engine
        .ask(|turn| {
            let set = turn.set_retention(KEY, retention);
            // Whatever it waits for, there are no limits beside entries beyond them.
            left.push((turn.retention(KEY)?.is_some(), turn.len(KEY)?));
            set
        })
        .unwrap();
    assert_eq!(left.pop(), Some((true, 1)));
    assert!(!left.is_empty() && left.iter().all(|seen| *seen == (false, 4)), "{left:?}");
}
