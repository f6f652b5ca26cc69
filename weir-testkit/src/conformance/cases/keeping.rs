//! How much of a stream is kept: trims, retention, what required groups hold, what is lost, and the alerts before.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// The policy of a group that trims wait for.
fn required() -> Policy {
    Policy { required: true, ..policy() }
}

/// So many entries.
fn length(length: u64) -> Retention {
    Retention { length: Some(length), ..Retention::default() }
}

/// A stream with `a` to `e`.
async fn five(s: &Story) -> Result<(Stream, Vec<EntryId>), Wrong> {
    let orders = s.stream();
    let ids = orders.add_all(&["a", "b", "c", "d", "e"]).await?;
    Ok((orders, ids))
}

/// `a` to `e`, all held by the required group billing.
async fn five_held(s: &Story) -> Result<(Group, Vec<EntryId>, Vec<Delivery>), Wrong> {
    let (orders, ids) = five(s).await?;
    let billing = orders.group("billing", required()).await?;
    let given = billing.read("ann", 5).await?;
    Ok((billing, ids, given))
}

fn trimmed(removed: u64, held: u64) -> Trimmed {
    Trimmed { removed, held }
}

pub(super) static TRIMS: &[Case] = cases! { Streams, "trimming";
    "a trim to a length leaves the newest" => |s| {
        let (orders, _) = five(&s).await?;
        same("the trim", orders.trim(TrimTo::Length(2)).await?, trimmed(3, 0))?;
        same("what is left", orders.all().await?, ["d", "e"])?;
        same("again", orders.trim(TrimTo::Length(2)).await?, trimmed(0, 0))?;
    }

    "a trim is exact in long streams" => |s| {
        let orders = s.stream();
        orders.add_many(1_234).await?;
        same("the trim", orders.trim(TrimTo::Length(777)).await?, trimmed(457, 0))?;
        same("the length", orders.info().await?.length, 777)?;
    }

    "a trim to length 0 leaves an empty stream" => |s| {
        let (orders, ids) = five(&s).await?;
        same("the trim", orders.trim(TrimTo::Length(0)).await?, trimmed(5, 0))?;
        let info = orders.info().await?;
        same("what is left", (info.length, info.last_id, info.entries_added), (0, ids[4], 5))?;
    }

    "a trim to an id leaves it and what is above" => |s| {
        let (orders, ids) = five(&s).await?;
        same("the trim", orders.trim(TrimTo::MinId(ids[2])).await?, trimmed(2, 0))?;
        same("what is left", orders.all().await?, ["c", "d", "e"])?;
        same("to below it", orders.trim(TrimTo::MinId(ids[0])).await?, trimmed(0, 0))?;
    }

    "a trim to bytes leaves the newest that have no more together" => |s| {
        let orders = s.stream();
        for label in ["aaaa", "bbbb", "cccc", "dd"] {
            orders.add(label).await?;
        }
        same("13 bytes", orders.trim(TrimTo::Bytes(13)).await?, trimmed(1, 0))?;
        same("12 bytes", orders.trim(TrimTo::Bytes(12)).await?, trimmed(1, 0))?;
        same("what is left", orders.all().await?, ["cccc", "dd"])?;
        same("2 bytes", orders.trim(TrimTo::Bytes(2)).await?, trimmed(2, 0))?;
    }

    "a trim to a time leaves what was appended then or later" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        s.advance(ms(30)).await;
        orders.add("b").await?;
        s.advance(ms(30)).await;
        orders.add("c").await?;
        let at = orders.entries(from(ReadFrom::Start)).await?[1].appended_at;
        same("the trim", orders.trim(TrimTo::Time(at)).await?, trimmed(1, 0))?;
        same("what is left", orders.all().await?, ["b", "c"])?;
        same("to just after", orders.trim(TrimTo::Time(Timestamp(at.0 + 1))).await?, trimmed(1, 0))?;
    }

    "a missing stream has nothing to trim" => |s| {
        let missing = s.stream_named("missing");
        for to in [TrimTo::Length(0), TrimTo::MinId(EntryId::MAX), TrimTo::Bytes(0), TrimTo::Time(Timestamp(9))] {
            same(&format!("{to:?}"), missing.trim(to).await?, trimmed(0, 0))?;
        }
        same("it is still missing", went("the head", s.broker().head(&missing.name).await)?, None)?;
    }

    "a trim takes entries that a group has pending unless it is required" => |s| {
        let (orders, _) = five(&s).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 3).await?;
        same("the trim", orders.trim(TrimTo::Length(1)).await?, trimmed(4, 0))?;
        same("ann's history", billing.gives("ann", HISTORY).await?, NOTHING)?;
        same("what is new", billing.gives("ann", GroupSource::New).await?, ["e"])?;
    }

    "the place of a group does not move with a trim" => |s| {
        let (orders, ids) = five(&s).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        billing.ack(&given).await?;
        orders.trim(TrimTo::Length(0)).await?;
        same("the last-delivered ID", billing.info().await?.last_delivered_id, ids[1])?;
    }
};

pub(super) static GUARD: &[Case] = cases! { Streams, "the retention guard";
    "a trim holds what a required group was not given" => |s| {
        let (orders, _) = five(&s).await?;
        orders.group("billing", required()).await?;
        same("the trim", orders.trim(TrimTo::Length(1)).await?, trimmed(0, 4))?;
        same("what is left", orders.all().await?, ["a", "b", "c", "d", "e"])?;
    }

    "a trim goes as far as the required group has acknowledged" => |s| {
        let (billing, _, given) = five_held(&s).await?;
        billing.ack(&given[..2]).await?;
        same("the trim", billing.stream.trim(TrimTo::Length(1)).await?, trimmed(2, 2))?;
        same("what is left", billing.stream.all().await?, ["c", "d", "e"])?;
        billing.ack(&given[2..]).await?;
        same("when all is done", billing.stream.trim(TrimTo::Length(1)).await?, trimmed(2, 0))?;
    }

    "a trim stops at the first that was not acknowledged" => |s| {
        let (billing, _, given) = five_held(&s).await?;
        billing.ack(&given[2..]).await?;
        billing.ack(&given[..1]).await?;
        same("the trim", billing.stream.trim(TrimTo::Length(0)).await?, trimmed(1, 4))?;
        same("what is left", billing.stream.all().await?, ["b", "c", "d", "e"])?;
    }

    "all kinds of trims hold" => |s| {
        let (billing, ids, given) = five_held(&s).await?;
        billing.ack(&given[..1]).await?;
        let orders = &billing.stream;
        same("to an ID", orders.trim(TrimTo::MinId(ids[3])).await?, trimmed(1, 2))?;
        same("to bytes", orders.trim(TrimTo::Bytes(2)).await?, trimmed(0, 3))?;
        let future = Timestamp(given[0].entry.appended_at.0 + 3_600_000);
        same("to a time", orders.trim(TrimTo::Time(future)).await?, trimmed(0, 4))?;
        same("to a length", orders.trim(TrimTo::Length(0)).await?, trimmed(0, 4))?;
    }

    "a trim holds what is delayed, ready or waiting" => |s| {
        let orders = s.stream();
        for (label, key) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "3")] {
            orders.add_keyed(label, key).await?;
        }
        let billing = orders.group("billing", Policy { required: true, ..by_key() }).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.settle(&given[0], nak(Some(FOREVER))).await?;
        same("a delayed one", orders.trim(TrimTo::Length(0)).await?, trimmed(0, 4))?;
        billing.settle_id(given[0].entry.id, Settlement::Ack).await?;
        billing.settle(&given[1], RELEASE).await?;
        same("a ready one", orders.trim(TrimTo::Length(0)).await?, trimmed(1, 3))?;
        billing.settle_id(given[1].entry.id, Settlement::Ack).await?;
        billing.settle_id(given[2].entry.id, Settlement::Ack).await?;
        same("one that waited", orders.trim(TrimTo::Length(0)).await?, trimmed(2, 1))?;
    }

    "a dead letter holds nothing" => |s| {
        let (billing, _, given) = five_held(&s).await?;
        for delivery in &given {
            billing.settle(delivery, term()).await?;
        }
        same("the trim", billing.stream.trim(TrimTo::Length(0)).await?, trimmed(5, 0))?;
    }

    "what the filter of a required group leaves out is not held" => |s| {
        let orders = s.stream();
        orders.add_all(&["x", "x", "a", "x"]).await?;
        orders.group("billing", Policy { required: true, ..with_filter("n", "a") }).await?;
        same("the trim", orders.trim(TrimTo::Length(0)).await?, trimmed(2, 2))?;
        same("what is left", orders.all().await?, ["a", "x"])?;
    }

    "the slowest of the required groups decides" => |s| {
        let (billing, _, given) = five_held(&s).await?;
        let shipping = billing.stream.group("shipping", required()).await?;
        billing.ack(&given).await?;
        same("the trim", billing.stream.trim(TrimTo::Length(0)).await?, trimmed(0, 5))?;
        let given = shipping.read("ann", 3).await?;
        shipping.ack(&given).await?;
        same("after three", billing.stream.trim(TrimTo::Length(0)).await?, trimmed(3, 2))?;
    }

    "a required group from the end holds only what comes" => |s| {
        let (orders, _) = five(&s).await?;
        orders.group_from("billing", GroupOrigin::End, required()).await?;
        orders.add("f").await?;
        same("the trim", orders.trim(TrimTo::Length(0)).await?, trimmed(5, 1))?;
    }

    "a group may be required from now on, or no longer" => |s| {
        let (orders, _) = five(&s).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.set_policy(required()).await?;
        same("required", orders.trim(TrimTo::Length(0)).await?, trimmed(0, 5))?;
        billing.set_policy(policy()).await?;
        same("not required", orders.trim(TrimTo::Length(0)).await?, trimmed(5, 0))?;
    }

    "a deleted group holds nothing" => |s| {
        let (orders, _) = five(&s).await?;
        orders.group("billing", required()).await?;
        went("it is deleted", s.broker().delete_group(&orders.name, b"billing").await)?;
        same("the trim", orders.trim(TrimTo::Length(0)).await?, trimmed(5, 0))?;
    }

    "a seek back holds again" => |s| {
        let (billing, ids, given) = five_held(&s).await?;
        billing.ack(&given).await?;
        billing.seek(SeekTo::After(ids[1])).await?;
        same("the trim", billing.stream.trim(TrimTo::Length(0)).await?, trimmed(2, 3))?;
    }

    "a trim never spends the hold" => |s| {
        let (orders, _) = five(&s).await?;
        orders.group("billing", required()).await?;
        orders.keep(Retention { hold: Some(10), ..length(5) }).await?;
        same("the trim", orders.trim(TrimTo::Length(0)).await?, trimmed(0, 5))?;
        same("what is lost", orders.lost().await?, vec![])?;
    }
};

pub(super) static RETENTION: &[Case] = cases! { Streams, "retention";
    "a stream keeps everything unless told otherwise" => |s| {
        let (orders, _) = five(&s).await?;
        same("its retention", went("asked", s.broker().retention(&orders.name).await)?, None)?;
        let missing = s.stream_named("missing");
        same("of a missing one", went("asked", s.broker().retention(&missing.name).await)?, None)?;
    }

    "a retention is kept as it was given" => |s| {
        let orders = s.stream();
        let whole = Retention {
            length: Some(u64::from(u32::MAX)), bytes: Some(1 << 40), age: Some(Duration::from_millis(86_400_123)),
            hold: Some(7),
        };
        let some_of_it = [
            whole, length(5), Retention { bytes: Some(9), ..Retention::default() },
            Retention { age: Some(FOREVER), ..Retention::default() }, Retention { hold: Some(0), ..length(1) },
        ];
        for retention in some_of_it {
            orders.keep(retention).await?;
            same("its retention", went("asked", s.broker().retention(&orders.name).await)?, Some(retention))?;
        }
    }

    "setting a retention makes the stream" => |s| {
        let orders = s.stream();
        orders.keep(length(5)).await?;
        same("its length", orders.info().await?.length, 0)?;
    }

    "a length holds after every append" => |s| {
        let orders = s.stream();
        orders.keep(length(3)).await?;
        for n in 1..=10 {
            orders.add(&n.to_string()).await?;
            same("the length", orders.info().await?.length, 3.min(n))?;
        }
        same("what is kept", orders.all().await?, ["8", "9", "10"])?;
    }

    "a length holds after a batch" => |s| {
        let orders = s.stream();
        orders.keep(length(3)).await?;
        orders.add_many(50).await?;
        same("what is kept", orders.all().await?, ["48", "49", "50"])?;
    }

    "a retention holds for what is there already" => |s| {
        let (orders, _) = five(&s).await?;
        orders.keep(length(2)).await?;
        same("what is kept", orders.all().await?, ["d", "e"])?;
    }

    "bytes hold after every append" => |s| {
        let orders = s.stream();
        orders.keep(Retention { bytes: Some(10), ..Retention::default() }).await?;
        for label in ["aaaa", "bbbb", "cc", "d"] {
            orders.add(label).await?;
        }
        same("what is kept", orders.all().await?, ["bbbb", "cc", "d"])?;
    }

    "an entry larger than the bytes goes at once" => |s| {
        let orders = s.stream();
        orders.keep(Retention { bytes: Some(5), ..Retention::default() }).await?;
        orders.add("larger").await?;
        same("what is kept", orders.all().await?, NOTHING)?;
        same("entries ever added", orders.info().await?.entries_added, 1)?;
    }

    "old entries go with the next append" => |s| {
        let orders = s.stream();
        orders.keep(Retention { age: Some(ms(200)), ..Retention::default() }).await?;
        orders.add_all(&["a", "b"]).await?;
        s.advance(ms(300)).await;
        orders.add("c").await?;
        let kept = orders.all().await?;
        holds("a and b are gone", !kept.contains(&"a".to_owned()) && !kept.contains(&"b".to_owned()), &kept)?;
    }

    "young entries stay" => |s| {
        let orders = s.stream();
        orders.keep(Retention { age: Some(FOREVER), ..Retention::default() }).await?;
        orders.add("a").await?;
        s.advance(ms(50)).await;
        orders.add("b").await?;
        same("what is kept", orders.all().await?, ["a", "b"])?;
    }

    "exceeding one of several limits is enough" => |s| {
        let orders = s.stream();
        orders.keep(Retention { bytes: Some(6), age: Some(FOREVER), ..length(10) }).await?;
        orders.add_all(&["a", "b", "c", "d", "e"]).await?;
        same("three of two bytes", orders.all().await?, ["c", "d", "e"])?;
        orders.keep(Retention { bytes: Some(100), age: Some(FOREVER), ..length(2) }).await?;
        same("two", orders.all().await?, ["d", "e"])?;
    }

    "without retention everything is kept again" => |s| {
        let orders = s.stream();
        orders.keep(length(1)).await?;
        orders.add_all(&["a", "b"]).await?;
        went("it is taken away", s.broker().set_retention(&orders.name, None).await)?;
        orders.add_all(&["c", "d"]).await?;
        same("what is kept", orders.all().await?, ["b", "c", "d"])?;
    }

    "an age of zero is refused" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let zero = Retention { age: Some(Duration::ZERO), ..Retention::default() };
        let answer = s.broker().set_retention(&orders.name, Some(zero)).await;
        refuses!("an age of zero", answer, ErrorKind::Invalid(_));
        same("its retention", went("asked", s.broker().retention(&orders.name).await)?, None)?;
    }

    "retention takes what a group has pending unless it is required" => |s| {
        let (orders, _) = five(&s).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 5).await?;
        orders.keep(length(1)).await?;
        same("what is kept", orders.all().await?, ["e"])?;
        same("what is lost", orders.lost().await?, vec![])?;
        same("ann's history", billing.gives("ann", HISTORY).await?, ["e"])?;
    }

    "retention holds what a required group has not acknowledged" => |s| {
        let (orders, _) = five(&s).await?;
        let billing = orders.group("billing", required()).await?;
        orders.keep(length(2)).await?;
        same("what is kept", orders.all().await?, ["a", "b", "c", "d", "e"])?;
        let given = billing.read("ann", 5).await?;
        billing.ack(&given).await?;
        orders.add("f").await?;
        same("when it is done", orders.all().await?, ["e", "f"])?;
        same("what is lost", orders.lost().await?, vec![])?;
    }
};

/// A stalled required group, and a retention of one entry and this hold.
async fn stalled(s: &Story, hold: u64) -> Result<Group, Wrong> {
    let orders = s.stream();
    let billing = orders.group("billing", required()).await?;
    orders.keep(Retention { hold: Some(hold), ..length(1) }).await?;
    Ok(billing)
}

pub(super) static LOST: &[Case] = cases! { Streams, "lost entries";
    "when the hold is spent the oldest go and are listed" => |s| {
        let billing = stalled(&s, 2).await?;
        let ids = billing.stream.add_all(&["a", "b", "c", "d", "e"]).await?;
        same("what is kept", billing.stream.all().await?, ["c", "d", "e"])?;
        let lost = billing.stream.lost().await?;
        same("what is lost", lost.iter().map(|lost| lost.id).collect::<Vec<_>>(), ids[..2].to_vec())?;
        same("whose", lost.iter().map(|lost| text(&lost.group)).collect::<Vec<_>>(), ["billing", "billing"])?;
        same("was pending", lost.iter().map(|lost| lost.was_pending).collect::<Vec<_>>(), [false, false])?;
    }

    "within the hold nothing is lost" => |s| {
        let billing = stalled(&s, 4).await?;
        billing.stream.add_all(&["a", "b", "c", "d", "e"]).await?;
        same("what is lost", billing.stream.lost().await?, vec![])?;
        same("what is kept", billing.stream.all().await?.len(), 5)?;
    }

    "with a hold of 0 entries are lost at once" => |s| {
        let billing = stalled(&s, 0).await?;
        billing.stream.add_all(&["a", "b", "c"]).await?;
        same("how many", billing.stream.lost().await?.len(), 2)?;
        same("what is kept", billing.stream.all().await?, ["c"])?;
    }

    "a pending entry that is lost leaves the pending list" => |s| {
        let billing = stalled(&s, 1).await?;
        billing.stream.add_all(&["a", "b"]).await?;
        let given = billing.read("ann", 2).await?;
        billing.stream.add_all(&["c", "d"]).await?;
        let lost: Vec<_> =
            billing.stream.lost().await?.iter().map(|lost| (lost.id, lost.was_pending)).collect();
        same("what is lost", lost, ids(&given).into_iter().map(|id| (id, true)).collect::<Vec<_>>())?;
        same("the rows", billing.rows().await?.len(), 0)?;
        same("its settlement", billing.settle(&given[0], Settlement::Ack).await?, Settled::NotPending)?;
    }

    "what was acknowledged is not lost" => |s| {
        let billing = stalled(&s, 1).await?;
        let ids = billing.stream.add_all(&["a", "b"]).await?;
        let given = billing.read("ann", 2).await?;
        billing.ack(&given[..1]).await?;
        billing.stream.add_all(&["c", "d"]).await?;
        let lost: Vec<_> = billing.stream.lost().await?.iter().map(|lost| lost.id).collect();
        same("what is lost", lost, ids[1..].to_vec())?;
    }

    "what the filter leaves out is not lost" => |s| {
        let orders = s.stream();
        orders.group("billing", Policy { required: true, ..with_filter("n", "a") }).await?;
        orders.keep(Retention { hold: Some(0), ..length(1) }).await?;
        let ids = orders.add_all(&["x", "a", "x", "y"]).await?;
        let lost: Vec<_> = orders.lost().await?.iter().map(|lost| lost.id).collect();
        same("what is lost", lost, vec![ids[1]])?;
    }

    "an entry is lost for each required group that did not acknowledge it" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", required()).await?;
        orders.group("shipping", required()).await?;
        orders.group("audit", policy()).await?;
        let a = orders.add("a").await?;
        let given = billing.read("ann", 1).await?;
        billing.ack(&given).await?;
        orders.keep(Retention { hold: Some(0), ..length(1) }).await?;
        let b = orders.add("b").await?;
        let c = orders.add("c").await?;
        let mut lost: Vec<_> =
            orders.lost().await?.iter().map(|lost| (text(&lost.group), lost.id)).collect();
        lost.sort();
        let want = vec![("billing".to_owned(), b), ("shipping".to_owned(), a), ("shipping".to_owned(), b)];
        same("what is lost", lost, want)?;
        same("what is kept", orders.entries(from(ReadFrom::Start)).await?.iter().map(|e| e.id).collect::<Vec<_>>(), [c])?;
    }

    "lost entries of one group are listed" => |s| {
        let billing = stalled(&s, 0).await?;
        billing.stream.group("shipping", required()).await?;
        billing.stream.add_all(&["a", "b"]).await?;
        for (group, want) in [("billing", 1), ("shipping", 1), ("nobody", 0)] {
            let query = LostQuery { group: Some(group.into()), after: None, count: 100 };
            let page = went("lost entries", s.broker().lost(&billing.stream.name, query).await)?;
            same(group, page.entries.len(), want)?;
        }
    }

    "lost entries are listed page by page" => |s| {
        let billing = stalled(&s, 0).await?;
        let ids = billing.stream.add_many(21).await?;
        let (mut after, mut found) = (None, Vec::new());
        for _ in 0..100 {
            let query = LostQuery { group: None, after, count: 6 };
            let page = went("a page", s.broker().lost(&billing.stream.name, query).await)?;
            holds("no more than asked for", page.entries.len() <= 6, page.entries.len())?;
            found.extend(page.entries.iter().map(|lost| lost.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        same("all of them", found, ids[..20].to_vec())?;
    }

    "a stream that lost nothing has no lost entries" => |s| {
        let (orders, _) = five(&s).await?;
        same("of a stream", orders.lost().await?, vec![])?;
        same("of a missing one", s.stream_named("missing").lost().await?, vec![])?;
    }

    "a lost entry knows when it was trimmed" => |s| {
        let billing = stalled(&s, 0).await?;
        billing.stream.add("a").await?;
        let a = one("a", billing.stream.entries(from(ReadFrom::Start)).await?)?;
        s.advance(ms(60)).await;
        billing.stream.add("b").await?;
        let lost = one("what is lost", billing.stream.lost().await?)?;
        let after = lost.at.millis_since(a.appended_at);
        holds("after it was appended", (57..60_000).contains(&after), after)?;
    }

    "a group goes on with what is left after a loss" => |s| {
        let billing = stalled(&s, 1).await?;
        billing.stream.add_all(&["a", "b", "c", "d"]).await?;
        same("the counts", billing.counts().await?, [2, 0, 0, 0, 0])?;
        same("what it is given", billing.gives("ann", GroupSource::New).await?, ["c", "d"])?;
    }

    "lost entries are a stream that anybody may read" => |s| {
        let billing = stalled(&s, 0).await?;
        let id = billing.stream.add_all(&["a", "b"]).await?[0];
        let name = went("its name", lost_of(&billing.stream.name))?;
        let entry = one("its entries", Stream::new(s.clone(), name).entries(from(ReadFrom::Start)).await?)?;
        let names: Vec<_> = entry.fields.iter().map(|(name, _)| text(name)).collect();
        same("its fields", names, ["group", "id", "was", "at"])?;
        let value = |name| value_of(&entry, name).unwrap_or_default();
        same("its group", value("group"), "billing".to_owned())?;
        same("its ID", value("id"), id.to_string())?;
        same("what it was", value("was"), "undelivered".to_owned())?;
    }
};

pub(super) static ALERTS: &[Case] = cases! { Streams, "alerts";
    "an alert stands when the first entry is held and at each level" => |s| {
        let billing = stalled(&s, 10).await?;
        let mut levels = Vec::new();
        for n in 0..=11 {
            billing.stream.add(&n.to_string()).await?;
            levels.push(billing.stream.alert_levels().await?.len());
        }
        same("alerts after each append", levels, [0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4])?;
        same("their levels", billing.stream.alert_levels().await?, ["0", "50", "80", "100"])?;
    }

    "an alert says which group holds how much" => |s| {
        let billing = stalled(&s, 10).await?;
        billing.stream.add_all(&["a", "b"]).await?;
        let name = went("the name of the alerts", alerts_of(&billing.stream.name))?;
        let alert = one("the alerts", Stream::new(s.clone(), name).entries(from(ReadFrom::Start)).await?)?;
        let names: Vec<_> = alert.fields.iter().map(|(name, _)| text(name)).collect();
        same("its fields", names, ["kind", "stream", "group", "level", "held", "hold", "at"])?;
        let value = |name| value_of(&alert, name).unwrap_or_default();
        same("its kind", value("kind"), "retention-held".to_owned())?;
        same("its stream", value("stream"), text(&billing.stream.name))?;
        same("its group", value("group"), "billing".to_owned())?;
        same("held of hold", (value("held"), value("hold")), ("1".to_owned(), "10".to_owned()))?;
    }

    "without a limit on the hold there is one alert" => |s| {
        let orders = s.stream();
        orders.group("billing", required()).await?;
        orders.keep(length(1)).await?;
        orders.add_many(30).await?;
        same("the levels", orders.alert_levels().await?, ["0"])?;
        let name = went("the name of the alerts", alerts_of(&orders.name))?;
        let alert = one("the alerts", Stream::new(s.clone(), name).entries(from(ReadFrom::Start)).await?)?;
        same("its hold", value_of(&alert, "hold"), None)?;
    }

    "alerts come again only after nothing was held" => |s| {
        let billing = stalled(&s, 10).await?;
        billing.stream.add_all(&["a", "b", "c"]).await?;
        let first = billing.next("ann").await?;
        let second = billing.next("ann").await?;
        billing.ack(&[first]).await?;
        billing.stream.add("d").await?;
        same("while some are held", billing.stream.alert_levels().await?, ["0"])?;
        let rest = billing.read("ann", 10).await?;
        billing.ack(&rest).await?;
        billing.ack(&[second]).await?;
        billing.stream.add("e").await?;
        billing.stream.add("f").await?;
        same("afterwards", billing.stream.alert_levels().await?, ["0", "0"])?;
    }

    "nobody is alerted while nothing is held" => |s| {
        let orders = s.stream();
        orders.group("audit", policy()).await?;
        orders.keep(length(1)).await?;
        orders.add_many(10).await?;
        same("the levels", orders.alert_levels().await?, NOTHING)?;
    }
};
