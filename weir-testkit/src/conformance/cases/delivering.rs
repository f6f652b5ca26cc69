//! Giving entries out: each source, in which order, with which counts; leases.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// `a` to `e`, all of them held by ann.
async fn held(s: &Story) -> Result<(Group, Vec<Delivery>), Wrong> {
    let orders = s.stream();
    orders.add_all(&["a", "b", "c", "d", "e"]).await?;
    let billing = orders.group("billing", policy()).await?;
    let given = billing.read("ann", 5).await?;
    same("what ann holds", labels(&given), ["a", "b", "c", "d", "e"])?;
    Ok((billing, given))
}

/// That, but `b` and `d` are ready.
async fn two_ready(s: &Story) -> Result<(Group, Vec<Delivery>), Wrong> {
    let (billing, given) = held(s).await?;
    for released in [&given[3], &given[1]] {
        same("a release", billing.settle(released, RELEASE).await?, Settled::Done)?;
    }
    Ok((billing, given))
}

pub(super) static NEW: &[Case] = cases! { Streams, "delivery";
    "new entries are given lowest id first" => |s| {
        let (_, given) = held(&s).await?;
        holds("their IDs increase", ids(&given).is_sorted(), ids(&given))?;
    }

    "consumers of a group share the entries" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c", "d"]).await?;
        let billing = orders.group("billing", policy()).await?;
        same("ann", labels(&billing.read("ann", 2).await?), ["a", "b"])?;
        same("bob", labels(&billing.read("bob", 1).await?), ["c"])?;
        same("ann again", labels(&billing.read("ann", 9).await?), ["d"])?;
        same("bob again", labels(&billing.read("bob", 9).await?), NOTHING)?;
    }

    "a first delivery says so" => |s| {
        let orders = s.stream();
        let id = orders.add_fields(&[("n", "a"), ("m", "b")]).await?;
        let given = orders.group("billing", policy()).await?.next("ann").await?;
        same("the ID", given.entry.id, id)?;
        same("the fields", given.entry.fields.len(), 2)?;
        same("the counts", (given.deliveries, given.failures, given.redrives), (1, 0, 0))?;
        same("the failures", (given.first_failure, given.last_failure), (None, None))?;
    }

    "a delivery carries the entry as it is read" => |s| {
        let orders = s.stream();
        orders.add_fields(&[("n", "a"), ("m", "b")]).await?;
        let given = orders.group("billing", policy()).await?.next("ann").await?;
        same("the entry", vec![given.entry], orders.entries(from(ReadFrom::Start)).await?)?;
    }

    "each delivery has a token of its own" => |s| {
        let (billing, mut given) = held(&s).await?;
        given.extend(billing.take("ann", HISTORY).await?);
        let tokens: std::collections::HashSet<_> =
            given.iter().map(|delivery| (delivery.entry.id, delivery.token)).collect();
        same("different ones", tokens.len(), 10)?;
    }

    "what was acknowledged does not come again" => |s| {
        let (billing, given) = held(&s).await?;
        billing.ack(&given).await?;
        for source in [GroupSource::New, idle_for(Duration::ZERO), HISTORY] {
            same(&format!("from {source:?}"), billing.gives("ann", source).await?, NOTHING)?;
        }
    }

    "what is held by one is not new to another" => |s| {
        let (billing, _) = held(&s).await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, NOTHING)?;
    }

    "no entry is given to two of many concurrent consumers" => |s| {
        let orders = s.stream();
        orders.add_many(200).await?;
        let billing = orders.group("billing", policy()).await?;
        let reading: Vec<_> = (0..8).map(|n| {
            let billing = billing.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let given = billing.read(&format!("c{n}"), 7).await?;
                    if given.is_empty() {
                        return Ok(mine);
                    }
                    billing.ack(&given).await?;
                    mine.extend(ids(&given));
                }
            })
        }).collect();
        let mut all = Vec::new();
        for one in reading {
            all.extend(s.ends("a consumer", one).await?);
        }
        all.sort();
        let given = all.len();
        all.dedup();
        same("entries given, and different ones", (given, all.len()), (200, 200))?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }

    "a read of a missing group is refused" => |s| {
        let orders = s.stream();
        let billing = orders.existing_group("billing");
        let answer = s.broker().read_group(&orders.name, billing.options("ann", GroupSource::New)).await;
        refuses!("of a missing stream", answer, ErrorKind::NoSuchGroup);
        orders.add("a").await?;
        let answer = s.broker().read_group(&orders.name, billing.options("ann", GroupSource::New)).await;
        refuses!("of a missing group", answer, ErrorKind::NoSuchGroup);
    }
};

pub(super) static HISTORIES: &[Case] = cases! { Streams, "history";
    "history gives what the consumer holds" => |s| {
        let (billing, given) = held(&s).await?;
        billing.ack(&given[1..2]).await?;
        same("ann's", billing.gives("ann", HISTORY).await?, ["a", "c", "d", "e"])?;
        same("bob's", billing.gives("bob", HISTORY).await?, NOTHING)?;
    }

    "history goes on above an id" => |s| {
        let (billing, given) = held(&s).await?;
        let after = |n: usize| GroupSource::History { after: given[n].entry.id };
        same("above c", billing.gives("ann", after(2)).await?, ["d", "e"])?;
        same("above e", billing.gives("ann", after(4)).await?, NOTHING)?;
    }

    "history is read page by page" => |s| {
        let (billing, _) = held(&s).await?;
        let (mut after, mut read) = (EntryId::MIN, Vec::new());
        for _ in 0..10 {
            let options = billing.options("ann", GroupSource::History { after });
            let page = billing.read_with(ReadGroup { count: 2, ..options }).await?;
            let Some(last) = page.last() else { break };
            after = last.entry.id;
            read.extend(labels(&page));
        }
        same("all pages", read, ["a", "b", "c", "d", "e"])?;
    }

    "history counts as given out once more" => |s| {
        let (billing, _) = held(&s).await?;
        let again = billing.take("ann", HISTORY).await?;
        same("deliveries", again.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [2; 5])?;
        same("and in the row", billing.row(again[0].entry.id).await?.deliveries, 2)?;
    }

    "history shows nothing that is ready or delayed" => |s| {
        let (billing, given) = held(&s).await?;
        billing.settle(&given[0], RELEASE).await?;
        billing.settle(&given[1], nak(Some(FOREVER))).await?;
        same("ann's", billing.gives("ann", HISTORY).await?, ["c", "d", "e"])?;
    }

    "history gives nothing that another took over" => |s| {
        let (billing, given) = held(&s).await?;
        billing.claim("bob", Duration::ZERO, &ids(&given)[..2]).await?;
        same("ann's", billing.gives("ann", HISTORY).await?, ["c", "d", "e"])?;
        same("bob's", billing.gives("bob", HISTORY).await?, ["a", "b"])?;
    }

    "a consumer finds its entries by its name after it was away" => |s| {
        let (billing, _) = held(&s).await?;
        drop(billing);
        let billing = s.stream().existing_group("billing");
        let again = billing.take("ann", HISTORY).await?;
        billing.ack(&again).await?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }
};

pub(super) static SOURCES: &[Case] = cases! { Streams, "sources";
    "what is ready comes before what is new" => |s| {
        let (billing, _) = two_ready(&s).await?;
        billing.stream.add("f").await?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, ["b", "d", "f"])?;
    }

    "reclaiming gives what is ready and then what is idle, each lowest id first" => |s| {
        let (billing, _) = two_ready(&s).await?;
        let given = billing.gives("bob", idle_for(Duration::ZERO)).await?;
        same("what bob is given", given, ["b", "d", "a", "c", "e"])?;
    }

    "available gives what is ready, what is idle, then what is new" => |s| {
        let (billing, _) = two_ready(&s).await?;
        billing.stream.add("f").await?;
        let source = GroupSource::Available { idle_min: Some(Duration::ZERO) };
        same("what bob is given", billing.gives("bob", source).await?, ["b", "d", "a", "c", "e", "f"])?;
    }

    "a count cuts what is ready, idle and new together" => |s| {
        let (billing, _) = two_ready(&s).await?;
        billing.stream.add("f").await?;
        let source = GroupSource::Available { idle_min: Some(Duration::ZERO) };
        let options = |count| ReadGroup { count, ..billing.options("bob", source) };
        same("three", labels(&billing.read_with(options(3)).await?), ["b", "d", "a"])?;
        billing.stream.add("g").await?;
        let options = ReadGroup { count: 1, ..billing.options("bob", AVAILABLE) };
        same("one new", labels(&billing.read_with(options).await?), ["f"])?;
    }

    "reclaiming gives nothing new" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        same("what ann is given", billing.gives("ann", idle_for(Duration::ZERO)).await?, NOTHING)?;
    }

    "new gives nothing that is ready or idle" => |s| {
        let (billing, _) = two_ready(&s).await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, NOTHING)?;
    }

    "what is not idle long enough is not reclaimed" => |s| {
        let (billing, _) = two_ready(&s).await?;
        same("idle for an hour", billing.gives("bob", idle_for(FOREVER)).await?, ["b", "d"])?;
        same("by the lease, an hour", billing.gives("bob", RECLAIMED).await?, NOTHING)?;
    }

    "what is idle for a given time is reclaimed, not before" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let before = s.now();
        billing.next("ann").await?;
        let given = billing.comes("bob", idle_for(ms(120))).await?;
        s.not_before("bob was given it", before, ms(120))?;
        same("its deliveries", given.deliveries, 2)?;
        same("what bob holds", billing.consumers().await?, [("ann".to_owned(), 0), ("bob".to_owned(), 1)])?;
    }

    "a consumer may reclaim what it holds itself" => |s| {
        let (billing, _) = held(&s).await?;
        let again = billing.take("ann", idle_for(Duration::ZERO)).await?;
        same("deliveries", again.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [2; 5])?;
    }

    "what is ready is given once" => |s| {
        let (billing, _) = two_ready(&s).await?;
        same("bob", billing.gives("bob", RECLAIMED).await?, ["b", "d"])?;
        same("cid", billing.gives("cid", RECLAIMED).await?, NOTHING)?;
    }

    "what is delayed is given to nobody" => |s| {
        let (billing, given) = held(&s).await?;
        for delivery in &given {
            billing.settle(delivery, nak(Some(FOREVER))).await?;
        }
        let ids = ids(&given);
        for source in [GroupSource::New, idle_for(Duration::ZERO), AVAILABLE, HISTORY] {
            same(&format!("from {source:?}"), billing.gives("ann", source).await?, NOTHING)?;
        }
        same("by claim", billing.claim("bob", Duration::ZERO, &ids).await?.len(), 0)?;
        same("by auto-claim", billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 9).await?.deliveries.len(), 0)?;
        same("the states", billing.states().await?, ["delayed"; 5])?;
    }
};

pub(super) static LEASES: &[Case] = cases! { Streams, "leases";
    "an entry may be taken over when its lease is over, not before" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(150), ..policy() }).await?;
        let before = s.now();
        let anns = billing.next("ann").await?;
        let bobs = billing.comes("bob", RECLAIMED).await?;
        s.not_before("bob was given it", before, ms(150))?;
        same("deliveries", bobs.deliveries, 2)?;
        same("ann's token", billing.settle(&anns, Settlement::Ack).await?, Settled::Stale)?;
        same("bob's token", billing.settle(&bobs, Settlement::Ack).await?, Settled::Done)?;
    }

    "a delivery says until when it is leased" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: Duration::from_secs(600), ..policy() }).await?;
        let given = billing.next("ann").await?;
        let lease = given.lease_until.millis_since(given.entry.appended_at);
        holds("ten minutes from when it was given", (600_000..660_000).contains(&lease), lease)?;
    }

    "an extended lease begins anew" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(300), ..policy() }).await?;
        let given = billing.next("ann").await?;
        s.advance(ms(100)).await;
        let before = s.now();
        if billing.settle(&given, Settlement::Extend).await? == Settled::Done {
            billing.comes("bob", RECLAIMED).await?;
            s.not_before("bob was given it", before, ms(300))?;
        }
    }

    "an extended delivery keeps its token and counts" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        for _ in 0..3 {
            same("an extension", billing.settle(&given, Settlement::Extend).await?, Settled::Done)?;
        }
        let row = billing.row(id).await?;
        same("its counts", (row.deliveries, row.failures), (1, 0))?;
        billing.ack(&[given]).await?;
    }

    "an extension sets the idle time back" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        s.advance(ms(200)).await;
        let idle = billing.row(id).await?.idle;
        holds("it was idle", idle >= ms(197), idle)?;
        let before = s.now();
        billing.settle(&given, Settlement::Extend).await?;
        let idle = billing.row(id).await?.idle;
        let passed = s.now() - before;
        holds("it is idle since the extension", idle <= passed + ms(3), (idle, passed))?;
    }

    "a lease that is over does not make an entry new" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(20), ..policy() }).await?;
        billing.next("ann").await?;
        s.advance(ms(100)).await;
        same("new", billing.gives("bob", GroupSource::New).await?, NOTHING)?;
        same("available", billing.comes("bob", AVAILABLE).await?.label(), "a".to_owned())?;
    }

    "a late acknowledgement is good while nobody else has the entry" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(20), ..policy() }).await?;
        let given = billing.next("ann").await?;
        s.advance(ms(100)).await;
        same("the acknowledgement", billing.settle(&given, Settlement::Ack).await?, Settled::Done)?;
        same("the rows", billing.rows().await?.len(), 0)?;
    }

    "a lease that is over counts no failure" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(20), failures_max: 1, ..policy() }).await?;
        billing.next("ann").await?;
        let given = billing.comes("bob", RECLAIMED).await?;
        same("its counts", (given.deliveries, given.failures), (2, 0))?;
        same("dead letters", billing.counts().await?[4], 0)?;
    }
};
