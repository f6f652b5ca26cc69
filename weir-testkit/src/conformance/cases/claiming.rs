//! Taking over: by ID, by idle time, with a cursor.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// `a` to `e`, held by ann.
async fn held(s: &Story) -> Result<(Group, Vec<EntryId>, Vec<Delivery>), Wrong> {
    let orders = s.stream();
    let ids = orders.add_all(&["a", "b", "c", "d", "e"]).await?;
    let billing = orders.group("billing", policy()).await?;
    let given = billing.read("ann", 5).await?;
    Ok((billing, ids, given))
}

/// Everything that an auto-claim gives, page by page, and the rows that it dropped.
async fn sweep(group: &Group, by: &str, count: u64) -> Result<(Vec<String>, Vec<EntryId>), Wrong> {
    let (mut start, mut found, mut deleted) = (EntryId::MIN, Vec::new(), Vec::new());
    for _ in 0..1_000 {
        let page = group.auto_claim(by, Duration::ZERO, start, count).await?;
        let is_cut = page.deliveries.len() as u64 <= count;
        holds("no more entries than asked for", is_cut, page.deliveries.len())?;
        found.extend(labels(&page.deliveries));
        deleted.extend(page.deleted);
        start = page.cursor;
        if start == EntryId::MIN {
            return Ok((found, deleted));
        }
    }
    Err(Wrong::new("a sweep by cursor", "an end", "none after 1000 pages"))
}

pub(super) static CLAIMS: &[Case] = cases! { Streams, "claiming";
    "a claimed entry is another's from then on" => |s| {
        let (billing, ids, _) = held(&s).await?;
        let claimed = billing.claim("bob", Duration::ZERO, &ids[1..3]).await?;
        same("what bob has", labels(&claimed), ["b", "c"])?;
        same("who holds what", billing.consumers().await?, [("ann".to_owned(), 3), ("bob".to_owned(), 2)])?;
        same("bob's history", billing.gives("bob", HISTORY).await?, ["b", "c"])?;
    }

    "a claim counts as given out once more" => |s| {
        let (billing, ids, _) = held(&s).await?;
        let claimed = one("what bob has", billing.claim("bob", Duration::ZERO, &ids[..1]).await?)?;
        same("its counts", (claimed.deliveries, claimed.failures), (2, 0))?;
        same("the row", billing.row(ids[0]).await?.deliveries, 2)?;
    }

    "a claim carries the whole entry" => |s| {
        let (billing, ids, given) = held(&s).await?;
        let claimed = one("what bob has", billing.claim("bob", Duration::ZERO, &ids[..1]).await?)?;
        same("the entry", &claimed.entry, &given[0].entry)?;
    }

    "what is not idle long enough is not claimed" => |s| {
        let (billing, ids, given) = held(&s).await?;
        same("what bob has", billing.claim("bob", FOREVER, &ids).await?.len(), 0)?;
        billing.ack(&given).await?;
    }

    "an entry is claimed when it is idle long enough, not before" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let before = s.now();
        billing.next("ann").await?;
        let claimed = s.eventually("bob may claim it", || async {
            Ok(billing.claim("bob", ms(120), &[id]).await?.pop())
        });
        same("what bob has", claimed.await?.label(), "a".to_owned())?;
        s.not_before("it was claimed", before, ms(120))?;
    }

    "a claim begins the idle time anew" => |s| {
        let (billing, ids, _) = held(&s).await?;
        s.advance(ms(150)).await;
        let before = s.now();
        billing.claim("bob", ms(100), &ids[..1]).await?;
        let idle = billing.row(ids[0]).await?.idle;
        let passed = s.now() - before;
        holds("it is idle since the claim", idle <= passed + ms(3), (idle, passed))?;
    }

    "ids that are not pending are left out of a claim" => |s| {
        let (billing, ids, given) = held(&s).await?;
        billing.ack(&given[1..2]).await?;
        let new = billing.stream.add("f").await?;
        let asked = [ids[0], ids[1], new, EntryId::new(1, 1)];
        same("what bob has", labels(&billing.claim("bob", Duration::ZERO, &asked).await?), ["a"])?;
        same("what is new", billing.gives("bob", GroupSource::New).await?, ["f"])?;
    }

    "a claim of no ids gives nothing" => |s| {
        let (billing, _, _) = held(&s).await?;
        same("what bob has", billing.claim("bob", Duration::ZERO, &[]).await?.len(), 0)?;
    }

    "what is ready may be claimed at once" => |s| {
        let (billing, ids, given) = held(&s).await?;
        billing.settle(&given[0], RELEASE).await?;
        same("what bob has", labels(&billing.claim("bob", FOREVER, &ids).await?), ["a"])?;
    }

    "what waits for its key is not claimed" => |s| {
        let orders = s.stream();
        let ids = [orders.add_keyed("a", "k").await?, orders.add_keyed("b", "k").await?];
        let billing = orders.group("billing", by_key()).await?;
        billing.take("ann", GroupSource::New).await?;
        same("what bob has", labels(&billing.claim("bob", Duration::ZERO, &ids).await?), ["a"])?;
        same("the states", billing.states().await?, ["in flight", "waiting"])?;
    }

    "the row of a gone entry is dropped by a claim" => |s| {
        let (billing, ids, _) = held(&s).await?;
        billing.stream.delete(&ids[..1]).await?;
        same("what bob has", labels(&billing.claim("bob", Duration::ZERO, &ids[..2]).await?), ["b"])?;
        same("the rows", billing.rows().await?.len(), 4)?;
    }

    "every entry has one holder after two claimed it at once" => |s| {
        let (billing, ids, _) = held(&s).await?;
        let (xs, ys) = tokio::join!(billing.claim("x", Duration::ZERO, &ids), billing.claim("y", Duration::ZERO, &ids));
        let good = |of: Vec<Delivery>| {
            let billing = billing.clone();
            async move {
                let mut done = 0;
                for one in of {
                    done += usize::from(billing.settle(&one, Settlement::Ack).await? == Settled::Done);
                }
                Ok(done)
            }
        };
        same("good tokens of both together", good(xs?).await? + good(ys?).await?, 5)?;
        same("the rows", billing.rows().await?.len(), 0)?;
    }

    "a claim for a missing group is refused" => |s| {
        let (billing, ids, _) = held(&s).await?;
        let options = Claim { group: b"none".to_vec(), consumer: b"bob".to_vec(), idle_min: Duration::ZERO, ids };
        refuses!("a claim", s.broker().claim(&billing.stream.name, options).await, ErrorKind::NoSuchGroup);
    }
};

pub(super) static AUTO_CLAIMS: &[Case] = cases! { Streams, "auto-claim";
    "an auto-claim takes over all that is old enough" => |s| {
        let (billing, _, _) = held(&s).await?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 100).await?;
        same("what bob has", labels(&claimed.deliveries), ["a", "b", "c", "d", "e"])?;
        same("the cursor at the end", claimed.cursor, EntryId::MIN)?;
        same("rows dropped", claimed.deleted, vec![])?;
        same("who holds what", billing.consumers().await?, [("ann".to_owned(), 0), ("bob".to_owned(), 5)])?;
    }

    "an auto-claim counts as given out once more" => |s| {
        let (billing, _, _) = held(&s).await?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 100).await?;
        same("deliveries", claimed.deliveries.iter().map(|one| one.deliveries).collect::<Vec<_>>(), [2; 5])?;
    }

    "a cursor leads through all rows" => |s| {
        let (billing, _, _) = held(&s).await?;
        same("by pages of two", sweep(&billing, "bob", 2).await?.0, ["a", "b", "c", "d", "e"])?;
        same("by pages of one", sweep(&billing, "cid", 1).await?.0, ["a", "b", "c", "d", "e"])?;
    }

    "a cursor leads through many rows" => |s| {
        let orders = s.stream();
        orders.add_many(500).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 500).await?;
        let (found, _) = sweep(&billing, "bob", 33).await?;
        same("all of them", found, (1..=500).map(|n| n.to_string()).collect::<Vec<_>>())?;
    }

    "an auto-claim begins at an id" => |s| {
        let (billing, ids, _) = held(&s).await?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, ids[2], 100).await?;
        same("what bob has", labels(&claimed.deliveries), ["c", "d", "e"])?;
    }

    "an auto-claim takes no more than asked for" => |s| {
        let (billing, ids, _) = held(&s).await?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 2).await?;
        same("what bob has", labels(&claimed.deliveries), ["a", "b"])?;
        holds("the cursor goes on behind it", claimed.cursor > ids[1] && claimed.cursor <= ids[2], claimed.cursor)?;
    }

    "what is not idle long enough is not auto-claimed" => |s| {
        let (billing, _, given) = held(&s).await?;
        let claimed = billing.auto_claim("bob", FOREVER, EntryId::MIN, 100).await?;
        same("what bob has", labels(&claimed.deliveries), NOTHING)?;
        billing.ack(&given).await?;
    }

    "what is ready is auto-claimed at once" => |s| {
        let (billing, _, given) = held(&s).await?;
        billing.settle(&given[3], RELEASE).await?;
        let claimed = billing.auto_claim("bob", FOREVER, EntryId::MIN, 100).await?;
        same("what bob has", labels(&claimed.deliveries), ["d"])?;
    }

    "rows of gone entries are dropped and told" => |s| {
        let (billing, ids, _) = held(&s).await?;
        billing.stream.delete(&[ids[0], ids[3]]).await?;
        let (found, deleted) = sweep(&billing, "bob", 2).await?;
        same("what bob has", found, ["b", "c", "e"])?;
        same("the rows dropped", deleted, [ids[0], ids[3]])?;
        same("the rows left", billing.rows().await?.len(), 3)?;
    }

    "an auto-claim of an empty list is at its end" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 10).await?;
        same("what bob has", labels(&claimed.deliveries), NOTHING)?;
        same("the cursor", claimed.cursor, EntryId::MIN)?;
    }

    "what waits for its key is not auto-claimed" => |s| {
        let orders = s.stream();
        orders.add_keyed("a", "k").await?;
        orders.add_keyed("b", "k").await?;
        let billing = orders.group("billing", by_key()).await?;
        billing.take("ann", GroupSource::New).await?;
        same("what bob has", sweep(&billing, "bob", 10).await?.0, ["a"])?;
    }

    "a sweep recovers what a dead consumer held" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("crashed", 2).await?;
        let recovered = s.eventually("bob takes over", || async {
            let claimed = billing.auto_claim("bob", SOON, EntryId::MIN, 10).await?.deliveries;
            Ok((claimed.len() == 2).then_some(claimed))
        });
        billing.ack(&recovered.await?).await?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }

    "an auto-claim for a missing group is refused" => |s| {
        let (billing, _, _) = held(&s).await?;
        let options = AutoClaim {
            group: b"none".to_vec(), consumer: b"bob".to_vec(), idle_min: Duration::ZERO, start: EntryId::MIN, count: 1,
        };
        let answer = s.broker().auto_claim(&billing.stream.name, options).await;
        refuses!("an auto-claim", answer, ErrorKind::NoSuchGroup);
    }
};
