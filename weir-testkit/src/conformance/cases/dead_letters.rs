//! Dead letters: what is in them, which are listed, handing them back, removing them.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// A group in which `a`, `b` and `c` are dead letters, of the classes `x`, `y` and `x`.
async fn three_dead(s: &Story) -> Result<(Group, Vec<EntryId>), Wrong> {
    let orders = s.stream();
    let mut ids = Vec::new();
    for (label, kind) in [("a", "one"), ("b", "two"), ("c", "two")] {
        ids.push(orders.add_fields(&[("n", label), ("kind", kind)]).await?);
    }
    let billing = orders.group("billing", failures_max(1)).await?;
    for (given, class) in billing.read("ann", 3).await?.iter().zip(["x", "y", "x"]) {
        let reason = format!("{} is wrong", given.label());
        same("a failure", billing.settle(given, nak_of(class, &reason, None)).await?, Settled::DeadLettered)?;
    }
    Ok((billing, ids))
}

/// All of a group's dead letters, page by page.
async fn pages(group: &Group, filter: DeadLetterFilter, count: u64) -> Result<Vec<String>, Wrong> {
    let (mut after, mut found) = (EntryId::MIN, Vec::new());
    for _ in 0..1_000 {
        let query = DeadLetterQuery { filter: filter.clone(), after, count };
        let page = group.stream.story.broker().dead_letters(&group.stream.name, &group.name, query).await;
        let page = went("a page of dead letters", page)?;
        holds("no more than asked for", page.letters.len() as u64 <= count, page.letters.len())?;
        found.extend(dead_labels(&page.letters));
        match page.next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
    Err(Wrong::new("pages of dead letters", "an end", "none after 1000"))
}

fn any() -> DeadLetterFilter {
    DeadLetterFilter::default()
}

fn of_class(class: &str) -> DeadLetterFilter {
    DeadLetterFilter { class: Some(class.into()), ..any() }
}

fn of_entries(ids: &[EntryId]) -> DeadLetterFilter {
    DeadLetterFilter { entry_ids: ids.to_vec(), ..any() }
}

fn redrive(count: u64, dry_run: bool) -> Redrive {
    Redrive { filter: any(), count, dry_run }
}

async fn purge(group: &Group, filter: DeadLetterFilter, count: u64, dry_run: bool) -> Result<u64, Wrong> {
    let options = Purge { filter, count, dry_run };
    let broker = group.stream.story.broker();
    went("dead letters are purged", broker.purge_dead_letters(&group.stream.name, &group.name, options).await)
}

pub(super) static CONTENT: &[Case] = cases! { Streams, "dead letters";
    "a dead letter has the entry and what became of it" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let letters = billing.dead().await?;
        let letter = some("the first letter", letters.first())?;
        same("the entry's ID", letter.entry_id, ids[0])?;
        let fields = vec![(b"n".to_vec(), b"a".to_vec()), (b"kind".to_vec(), b"one".to_vec())];
        same("its fields", &letter.fields, &fields)?;
        same("who had it last", &letter.consumer, &Some(b"ann".to_vec()))?;
        same("its counts", (letter.deliveries, letter.failures, letter.redrives), (1, 1, 0))?;
        same("its class", text(&letter.last_failure.class), "x".to_owned())?;
        same("its reason", text(&letter.last_failure.reason), "a is wrong".to_owned())?;
        same("the first failure", &letter.first_failure, &Some(letter.last_failure.clone()))?;
    }

    "dead letters are listed oldest first" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let letters = billing.dead().await?;
        same("all", dead_labels(&letters), ["a", "b", "c"])?;
        holds("their own IDs increase", letters.is_sorted_by(|a, b| a.id < b.id), letters.len())?;
    }

    "dead letters are in the order in which they died" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        for given in billing.read("ann", 2).await?.iter().rev() {
            billing.settle(given, term()).await?;
        }
        same("all", billing.dead_labels().await?, ["b", "a"])?;
    }

    "the first and the last failure of a dead letter are told" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", failures_max(3)).await?;
        for class in ["one", "two", "three"] {
            let given = one("what comes", billing.take("ann", AVAILABLE).await?)?;
            billing.settle(&given, nak_of(class, class, None)).await?;
        }
        let letter = billing.dead_letter().await?;
        same("its counts", (letter.deliveries, letter.failures), (3, 3))?;
        let first = some("the first failure", letter.first_failure)?;
        same("the first", (text(&first.class), text(&first.reason)), ("one".to_owned(), "one".to_owned()))?;
        same("the last", text(&letter.last_failure.class), "three".to_owned())?;
        holds("in that order", first.at <= letter.last_failure.at, (first.at, letter.last_failure.at))?;
    }

    "a dead letter leaves the pending list in the same moment" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("rows", billing.rows().await?.len(), 0)?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 3])?;
        same("what ann holds", billing.consumers().await?, [("ann".to_owned(), 0)])?;
    }

    "a dead letter leaves the entry in its stream" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("what is read", billing.stream.all().await?, ["a", "b", "c"])?;
    }

    "a dead letter keeps the fields when the entry goes" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        billing.stream.delete(&ids).await?;
        same("what is left in them", billing.dead_labels().await?, ["a", "b", "c"])?;
    }

    "the dead letter of a gone entry has no fields" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        orders.delete(&[id]).await?;
        same("the end", billing.settle(&given, term()).await?, Settled::DeadLettered)?;
        let letter = billing.dead_letter().await?;
        same("its entry and fields", (letter.entry_id, letter.fields), (id, vec![]))?;
    }

    "dead letters are a stream that anybody may read" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let name = went("its name", dead_letters_of(&billing.stream.name, b"billing"))?;
        let entries = Stream::new(s.clone(), name).entries(from(ReadFrom::Start)).await?;
        same("letters", entries.len(), 3)?;
        let fields: Vec<_> = entries[0].fields.iter().map(|(name, _)| text(name)).collect();
        let want = [
            "weir-stream", "weir-group", "weir-id", "weir-consumer", "weir-deliveries", "weir-failures",
            "weir-redrives", "weir-first-class", "weir-first-reason", "weir-first-at", "weir-last-class",
            "weir-last-reason", "weir-last-at", "weir-fields", "n", "kind",
        ];
        same("the names of a letter's fields", fields, want)?;
        let value = |name| value_of(&entries[0], name).unwrap_or_default();
        same("weir-stream", value("weir-stream"), text(&billing.stream.name))?;
        same("weir-group", value("weir-group"), "billing".to_owned())?;
        same("weir-id", value("weir-id"), ids[0].to_string())?;
        same("weir-last-reason", value("weir-last-reason"), "a is wrong".to_owned())?;
        same("weir-fields", value("weir-fields"), "2".to_owned())?;
    }

    "fields of an entry that look like those of a letter are kept" => |s| {
        let orders = s.stream();
        orders.add_fields(&[("n", "a"), ("weir-id", "7-7"), ("weir-fields", "0"), ("n", "b")]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.bury_all().await?;
        let letter = billing.dead_letter().await?;
        let names: Vec<_> = letter.fields.iter().map(|(name, _)| text(name)).collect();
        same("the entry's fields", names, ["n", "weir-id", "weir-fields", "n"])?;
        holds("its ID is its own", letter.entry_id != EntryId::new(7, 7), letter.entry_id)?;
    }

    "what was handed back before it died was held by nobody" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, RELEASE).await?;
        billing.settle_id(given.entry.id, term()).await?;
        same("who had it", billing.dead_letter().await?.consumer, None)?;
    }

    "each group has its own dead letters" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let shipping = billing.stream.group("shipping", policy()).await?;
        same("of another group", shipping.dead_labels().await?, NOTHING)?;
        shipping.bury_all().await?;
        same("of that one", shipping.dead().await?.len(), 3)?;
        same("of the first", billing.dead().await?.len(), 3)?;
    }

    "a policy may name another stream for dead letters" => |s| {
        let (orders, morgue) = (s.tagged("orders"), s.tagged("morgue"));
        orders.add("a").await?;
        let named = Policy { dead_letter: Some(morgue.name.clone()), ..policy() };
        let billing = orders.group("billing", named).await?;
        billing.bury_all().await?;
        same("letters in it", morgue.info().await?.length, 1)?;
        same("the group's dead letters", billing.dead_labels().await?, ["a"])?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 1])?;
        billing.redrive(any()).await?;
        same("what comes again", billing.gives("ann", RECLAIMED).await?, ["a"])?;
        same("letters left in it", morgue.info().await?.length, 0)?;
    }

    "the dead letters of a missing group are refused" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let (broker, stream) = (s.broker(), &billing.stream.name);
        let query = DeadLetterQuery { filter: any(), after: EntryId::MIN, count: 1 };
        refuses!("a list", broker.dead_letters(stream, b"none", query).await, ErrorKind::NoSuchGroup);
        refuses!("a redrive", broker.redrive(stream, b"none", redrive(1, false)).await, ErrorKind::NoSuchGroup);
        let options = Purge { filter: any(), count: 1, dry_run: true };
        refuses!("a purge", broker.purge_dead_letters(stream, b"none", options).await, ErrorKind::NoSuchGroup);
    }
};

pub(super) static LISTING: &[Case] = cases! { Streams, "lists of dead letters";
    "dead letters are found by the ids of their entries" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let found = billing.dead_of(of_entries(&[ids[2], ids[0], EntryId::new(1, 1)])).await?;
        same("a and c", dead_labels(&found), ["a", "c"])?;
    }

    "dead letters are found by class" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("of class x", dead_labels(&billing.dead_of(of_class("x")).await?), ["a", "c"])?;
        same("of no such class", dead_labels(&billing.dead_of(of_class("z")).await?), NOTHING)?;
    }

    "dead letters are found by what is in their reason" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let with = |part: &str| DeadLetterFilter { reason_contains: Some(part.into()), ..any() };
        same("b is", dead_labels(&billing.dead_of(with("b is")).await?), ["b"])?;
        same("is wrong", dead_labels(&billing.dead_of(with("is wrong")).await?), ["a", "b", "c"])?;
        same("nothing of the sort", dead_labels(&billing.dead_of(with("timeout")).await?), NOTHING)?;
    }

    "dead letters are found by the fields of their entries" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let kind = |test| DeadLetterFilter {
            conditions: vec![Condition { field: FieldName::Exact(b"kind".to_vec()), test }],
            ..any()
        };
        let two = ConditionTest::Equals(b"two".to_vec());
        same("of kind two", dead_labels(&billing.dead_of(kind(two)).await?), ["b", "c"])?;
        let o = ConditionTest::Prefix(b"o".to_vec());
        same("of a kind with o", dead_labels(&billing.dead_of(kind(o)).await?), ["a"])?;
    }

    "dead letters have to meet everything that is asked for" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let both = DeadLetterFilter { class: Some(b"x".to_vec()), ..of_entries(&ids[1..]) };
        same("x, and b or c", dead_labels(&billing.dead_of(both).await?), ["c"])?;
    }

    "dead letters are read page by page" => |s| {
        let orders = s.stream();
        orders.add_many(50).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.bury_all().await?;
        let all: Vec<_> = (1..=50).map(|n| n.to_string()).collect();
        same("by pages of seven", pages(&billing, any(), 7).await?, all.clone())?;
        same("on one page", pages(&billing, any(), 1_000).await?, all)?;
    }

    "dead letters that are filtered are read page by page" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("of class x, by pages of one", pages(&billing, of_class("x"), 1).await?, ["a", "c"])?;
    }

    "a group without dead letters has none" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        same("its letters", pages(&billing, any(), 10).await?, NOTHING)?;
        same("a redrive", billing.redrive(any()).await?, Redriven { entry_ids: vec![], gone: vec![], left: 0 })?;
        same("a purge", purge(&billing, any(), 10, false).await?, 0)?;
    }
};

pub(super) static REDRIVING: &[Case] = cases! { Streams, "redriving";
    "a redriven entry is given to its group again under its id" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let redriven = billing.redrive(any()).await?;
        same("what was done", redriven, Redriven { entry_ids: ids.clone(), gone: vec![], left: 0 })?;
        same("the states", billing.states().await?, ["ready"; 3])?;
        let given = billing.take("bob", RECLAIMED).await?;
        same("their IDs", crate::conformance::check::ids(&given), ids)?;
        same("their labels", labels(&given), ["a", "b", "c"])?;
        same("dead letters", billing.dead_labels().await?, NOTHING)?;
    }

    "a redriven entry is counted from 0" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        billing.redrive(of_entries(&ids[..1])).await?;
        let row = billing.row(ids[0]).await?;
        same("the row's counts", (row.deliveries, row.failures), (0, 0))?;
        let given = one("what bob is given", billing.take("bob", RECLAIMED).await?)?;
        same("its counts", (given.deliveries, given.failures, given.redrives), (1, 0, 1))?;
    }

    "a redrive goes to no other group" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let shipping = billing.stream.group("shipping", policy()).await?;
        let held = shipping.read("ann", 3).await?;
        shipping.ack(&held).await?;
        billing.redrive(any()).await?;
        same("what the other is given", shipping.gives("ann", AVAILABLE).await?, NOTHING)?;
        same("the other's counts", shipping.counts().await?, [0, 0, 0, 0, 0])?;
    }

    "a redrive appends nothing to the stream" => |s| {
        let (billing, _) = three_dead(&s).await?;
        let before = billing.stream.info().await?;
        billing.redrive(any()).await?;
        same("its counters", billing.stream.info().await?, before)?;
    }

    "a redrive takes no more than asked for, the oldest first" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let redriven = billing.redrive_with(redrive(2, false)).await?;
        same("what was done", redriven, Redriven { entry_ids: ids[..2].to_vec(), gone: vec![], left: 1 })?;
        same("what is left", billing.dead_labels().await?, ["c"])?;
    }

    "a redrive takes what its filter says" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let redriven = billing.redrive(of_class("x")).await?;
        same("what was done", redriven, Redriven { entry_ids: vec![ids[0], ids[2]], gone: vec![], left: 1 })?;
        same("what is left", billing.dead_labels().await?, ["b"])?;
    }

    "a tried redrive says what would happen and changes nothing" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        let tried = billing.redrive_with(redrive(2, true)).await?;
        same("what would be done", tried, Redriven { entry_ids: ids[..2].to_vec(), gone: vec![], left: 1 })?;
        same("dead letters", billing.dead_labels().await?, ["a", "b", "c"])?;
        same("rows", billing.rows().await?.len(), 0)?;
    }

    "the letter of a gone entry stays where it is" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        billing.stream.delete(&ids[1..2]).await?;
        let redriven = billing.redrive(any()).await?;
        let want = Redriven { entry_ids: vec![ids[0], ids[2]], gone: vec![ids[1]], left: 1 };
        same("what was done", redriven, want)?;
        same("what is left", billing.dead_labels().await?, ["b"])?;
    }

    "a redriven entry that fails again is a dead letter again" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        billing.redrive(of_entries(&ids[..1])).await?;
        let given = one("what comes", billing.take("bob", RECLAIMED).await?)?;
        same("the failure", billing.settle(&given, nak_of("z", "again", None)).await?, Settled::DeadLettered)?;
        let letter = one("its letter", billing.dead_of(of_entries(&ids[..1])).await?)?;
        same("its counts", (letter.deliveries, letter.failures, letter.redrives), (1, 1, 1))?;
        same("its consumer", letter.consumer, Some(b"bob".to_vec()))?;
        same("its first failure", letter.first_failure.map(|first| text(&first.class)), Some("z".to_owned()))?;
    }

    "a guard keeps entries from being redriven for ever" => |s| {
        let orders = s.stream();
        orders.add("poison").await?;
        let billing = orders.group("billing", failures_max(1)).await?;
        billing.bury_all().await?;
        let guarded = || DeadLetterFilter { redrives_max: Some(1), ..any() };
        for round in 0..5_u64 {
            let redriven = billing.redrive(guarded()).await?;
            let want = u64::from(round < 2);
            same(&format!("round {round}"), redriven.entry_ids.len() as u64, want)?;
            for given in billing.take("ann", RECLAIMED).await? {
                billing.settle(&given, term()).await?;
            }
        }
        same("its redrives", billing.dead_letter().await?.redrives, 2)?;
    }

    "letters that were redriven more often are left out" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        billing.redrive(of_entries(&ids[..1])).await?;
        for given in billing.take("ann", RECLAIMED).await? {
            billing.settle(&given, term()).await?;
        }
        let fresh = DeadLetterFilter { redrives_max: Some(0), ..any() };
        same("never redriven", dead_labels(&billing.dead_of(fresh).await?), ["b", "c"])?;
    }

    "a letter whose row is pending again is only removed" => |s| {
        let (billing, ids) = three_dead(&s).await?;
        billing.seek(SeekTo::Start).await?;
        let given = billing.next("ann").await?;
        billing.redrive(of_entries(&ids[..1])).await?;
        same("dead letters", billing.dead_labels().await?, ["b", "c"])?;
        same("the rows", billing.rows().await?.len(), 1)?;
        billing.ack(&[given]).await?;
    }

    "a redriven entry waits while its key is busy" => |s| {
        let orders = s.stream();
        orders.add_keyed("a", "k").await?;
        let billing = orders.group("billing", by_key()).await?;
        billing.bury_all().await?;
        orders.add_keyed("b", "k").await?;
        let busy = billing.next("ann").await?;
        billing.redrive(any()).await?;
        same("the states", billing.states().await?, ["waiting", "in flight"])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, NOTHING)?;
        billing.ack(&[busy]).await?;
        same("when the key is free", billing.gives("bob", AVAILABLE).await?, ["a"])?;
    }

    "a redriven entry comes before later ones with its key" => |s| {
        let orders = s.stream();
        for label in ["a", "b", "c"] {
            orders.add_keyed(label, "k").await?;
        }
        let billing = orders.group("billing", by_key()).await?;
        let first = billing.next("ann").await?;
        billing.settle(&first, term()).await?;
        let second = one("what comes", billing.take("ann", AVAILABLE).await?)?;
        same("the second", second.label(), "b".to_owned())?;
        billing.redrive(any()).await?;
        billing.ack(&[second]).await?;
        let mut order = Vec::new();
        for given in [one("next", billing.take("ann", AVAILABLE).await?)?] {
            order.push(given.label());
            billing.ack(&[given]).await?;
        }
        order.extend(billing.gives("ann", AVAILABLE).await?);
        same("the rest", order, ["a", "c"])?;
    }

    "many dead letters are redriven by filter and the rest stays" => |s| {
        let orders = s.stream();
        let mut kinds = Vec::new();
        for n in 0..60 {
            let kind = if n % 6 == 0 { "rest" } else { "meant" };
            kinds.push(orders.add_fields(&[("n", &n.to_string()), ("kind", kind)]).await?);
        }
        let others = [orders.group("b", policy()).await?, orders.group("c", policy()).await?];
        for other in &others {
            let all = other.read("ann", 100).await?;
            other.ack(&all).await?;
        }
        let billing = orders.group("billing", policy()).await?;
        billing.bury_all().await?;
        let meant = Condition {
            field: FieldName::Exact(b"kind".to_vec()),
            test: ConditionTest::Equals(b"meant".to_vec()),
        };
        let redriven = billing.redrive(DeadLetterFilter { conditions: vec![meant], ..any() }).await?;
        same("redriven and left", (redriven.entry_ids.len(), redriven.left), (50, 10))?;
        for other in &others {
            same("what another group is given", other.gives("ann", AVAILABLE).await?, NOTHING)?;
        }
        let given = billing.take("ann", RECLAIMED).await?;
        same("under the same IDs", crate::conformance::check::ids(&given), redriven.entry_ids)?;
    }
};

pub(super) static PURGING: &[Case] = cases! { Streams, "purging";
    "purged dead letters are gone for good" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("how many", purge(&billing, any(), 1_000, false).await?, 3)?;
        same("dead letters", billing.dead_labels().await?, NOTHING)?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
        same("a redrive", billing.redrive(any()).await?.entry_ids, vec![])?;
        same("the entries", billing.stream.all().await?, ["a", "b", "c"])?;
    }

    "a purge removes what its filter says" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("how many", purge(&billing, of_class("x"), 1_000, false).await?, 2)?;
        same("what is left", billing.dead_labels().await?, ["b"])?;
    }

    "a purge removes no more than asked for, the oldest first" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("how many", purge(&billing, any(), 2, false).await?, 2)?;
        same("what is left", billing.dead_labels().await?, ["c"])?;
    }

    "a tried purge says how many and removes none" => |s| {
        let (billing, _) = three_dead(&s).await?;
        same("how many", purge(&billing, of_class("x"), 1_000, true).await?, 2)?;
        same("what is left", billing.dead_labels().await?, ["a", "b", "c"])?;
    }
};
