//! Settling deliveries: tokens, batches, handing back.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// An entry that ann holds.
async fn one_held(s: &Story) -> Result<(Group, Delivery), Wrong> {
    let orders = s.stream();
    orders.add("a").await?;
    let billing = orders.group("billing", policy()).await?;
    let given = billing.next("ann").await?;
    Ok((billing, given))
}

/// Every settlement with this delivery's token is refused as stale, and counted, and the states stay.
async fn is_stale(group: &Group, delivery: &Delivery) -> Result<(), Wrong> {
    let (states, before) = (group.states().await?, group.info().await?.stale_settlements);
    let all = [Settlement::Ack, nak(None), RELEASE, term(), Settlement::Extend];
    for settlement in all {
        let step = format!("a stale {settlement:?}");
        same(&step, group.settle(delivery, settlement).await?, Settled::Stale)?;
    }
    same("the states afterwards", group.states().await?, states)?;
    same("stale settlements counted", group.info().await?.stale_settlements - before, 5)
}

/// Every settlement of this delivery finds no row.
async fn is_not_pending(group: &Group, delivery: &Delivery) -> Result<(), Wrong> {
    for settlement in [Settlement::Ack, nak(None), RELEASE, term(), Settlement::Extend] {
        let step = format!("{settlement:?} of what is not pending");
        same(&step, group.settle(delivery, settlement).await?, Settled::NotPending)?;
    }
    Ok(())
}

pub(super) static TOKENS: &[Case] = cases! { Streams, "tokens";
    "a token is stale once another consumer has claimed the entry" => |s| {
        let (billing, given) = one_held(&s).await?;
        let claimed = billing.claim("bob", Duration::ZERO, &[given.entry.id]).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&claimed).await?;
    }

    "a token is stale once the entry was auto-claimed" => |s| {
        let (billing, given) = one_held(&s).await?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 1).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&claimed.deliveries).await?;
    }

    "a token is stale once the entry was reclaimed" => |s| {
        let (billing, given) = one_held(&s).await?;
        let bobs = billing.take("bob", idle_for(Duration::ZERO)).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&bobs).await?;
    }

    "a token is stale once the same consumer has claimed the entry again" => |s| {
        let (billing, given) = one_held(&s).await?;
        let again = billing.claim("ann", Duration::ZERO, &[given.entry.id]).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&again).await?;
    }

    "a token is stale once the consumer has read its history" => |s| {
        let (billing, given) = one_held(&s).await?;
        let again = billing.take("ann", HISTORY).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&again).await?;
    }

    "a token is stale once the entry was handed back" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, RELEASE).await?;
        is_stale(&billing, &given).await?;
    }

    "a token is stale once the entry failed" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, nak(Some(FOREVER))).await?;
        is_stale(&billing, &given).await?;
    }

    "a token is stale once a failed entry was given out again" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, nak(None)).await?;
        let again = billing.take("ann", RECLAIMED).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&again).await?;
    }

    "a token is stale when a redriven entry was given out" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, term()).await?;
        billing.redrive(DeadLetterFilter::default()).await?;
        is_stale(&billing, &given).await?;
        let again = billing.take("ann", RECLAIMED).await?;
        is_stale(&billing, &given).await?;
        billing.ack(&again).await?;
    }

    "a token of an entry that comes again after a seek is stale" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.seek(SeekTo::Start).await?;
        is_not_pending(&billing, &given).await?;
        billing.next("ann").await?;
        is_stale(&billing, &given).await?;
    }

    "what was acknowledged is not pending" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.ack(std::slice::from_ref(&given)).await?;
        is_not_pending(&billing, &given).await?;
    }

    "a dead letter is not pending" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, term()).await?;
        is_not_pending(&billing, &given).await?;
        same("dead letters", billing.dead_labels().await?, ["a"])?;
    }

    "what was never given out is not pending" => |s| {
        let (billing, given) = one_held(&s).await?;
        let id = billing.stream.add("b").await?;
        same("by ID", billing.settle_id(id, Settlement::Ack).await?, Settled::NotPending)?;
        let other = Delivery { entry: Entry { id, ..given.entry }, ..given };
        same("by token", billing.settle(&other, Settlement::Ack).await?, Settled::NotPending)?;
        same("what is new", billing.gives("bob", GroupSource::New).await?, ["b"])?;
    }

    "a token that was never given out is stale" => |s| {
        let (billing, given) = one_held(&s).await?;
        let forged = Delivery { token: Token(given.token.0 ^ 0x5555), ..given.clone() };
        is_stale(&billing, &forged).await?;
        billing.ack(&[given]).await?;
    }

    "a token of another entry is stale" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.stream.add("b").await?;
        let other = billing.next("ann").await?;
        let crossed = Delivery { token: given.token, ..other.clone() };
        if given.token != other.token {
            is_stale(&billing, &crossed).await?;
        }
        billing.ack(&[given, other]).await?;
    }

    "stale settlements are counted" => |s| {
        let (billing, given) = one_held(&s).await?;
        same("before", billing.info().await?.stale_settlements, 0)?;
        billing.claim("bob", Duration::ZERO, &[given.entry.id]).await?;
        billing.settle(&given, Settlement::Ack).await?;
        same("afterwards", billing.info().await?.stale_settlements, 1)?;
    }

    "an entry acknowledged for one group stays pending for another" => |s| {
        let (billing, given) = one_held(&s).await?;
        let shipping = billing.stream.group("shipping", policy()).await?;
        shipping.next("ann").await?;
        billing.ack(&[given]).await?;
        same("its states", shipping.states().await?, ["in flight"])?;
    }
};

pub(super) static SETTLEMENTS: &[Case] = cases! { Streams, "settling";
    "without a token whatever row there is may be acknowledged" => |s| {
        let (billing, given) = one_held(&s).await?;
        same("in flight", billing.settle_id(given.entry.id, Settlement::Ack).await?, Settled::Done)?;
        billing.stream.add_all(&["b", "c"]).await?;
        let given = billing.read("ann", 2).await?;
        billing.settle(&given[0], RELEASE).await?;
        billing.settle(&given[1], nak(Some(FOREVER))).await?;
        same("ready", billing.settle_id(given[0].entry.id, Settlement::Ack).await?, Settled::Done)?;
        same("delayed", billing.settle_id(given[1].entry.id, Settlement::Ack).await?, Settled::Done)?;
        same("the rows", billing.rows().await?.len(), 0)?;
    }

    "without a token a row that waits for its key may be acknowledged" => |s| {
        let orders = s.stream();
        orders.add_keyed("a", "k").await?;
        let second = orders.add_keyed("b", "k").await?;
        let billing = orders.group("billing", by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        same("the states", billing.states().await?, ["in flight", "waiting"])?;
        same("the waiting one", billing.settle_id(second, Settlement::Ack).await?, Settled::Done)?;
        billing.ack(&given).await?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, NOTHING)?;
    }

    "without a token only what is in flight is extended" => |s| {
        let (billing, given) = one_held(&s).await?;
        let id = given.entry.id;
        same("in flight", billing.settle_id(id, Settlement::Extend).await?, Settled::Done)?;
        billing.settle(&given, nak(Some(FOREVER))).await?;
        let settled = billing.settle_id(id, Settlement::Extend).await?;
        holds("delayed: nothing is done", settled != Settled::Done, settled)?;
        same("the states", billing.states().await?, ["delayed"])?;
    }

    "without a token what is ready becomes a dead letter" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, RELEASE).await?;
        same("term", billing.settle_id(given.entry.id, term()).await?, Settled::DeadLettered)?;
        same("dead letters", billing.dead_labels().await?, ["a"])?;
    }

    "without a token what is delayed may be made ready" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, nak(Some(FOREVER))).await?;
        same("a release", billing.settle_id(given.entry.id, RELEASE).await?, Settled::Done)?;
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a"])?;
    }

    "a batch is answered in its order" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c", "d", "e", "f"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 6).await?;
        billing.claim("bob", Duration::ZERO, &[given[5].entry.id]).await?;
        let asked = [Settlement::Ack, nak(Some(FOREVER)), term(), RELEASE, Settlement::Extend, Settlement::Ack];
        let mut batch: Vec<Settle> = given.iter().zip(asked).map(|(delivery, settlement)| {
            Settle { id: delivery.entry.id, token: Some(delivery.token), settlement }
        }).collect();
        batch.insert(0, Settle { id: EntryId::new(1, 1), token: None, settlement: Settlement::Ack });
        let settled = went("a batch", billing.settle_all(&batch).await)?;
        let want = [
            Settled::NotPending, Settled::Done, Settled::Done, Settled::DeadLettered, Settled::Done, Settled::Done,
            Settled::Stale,
        ];
        same("what each did", settled, want)?;
        same("the states", billing.states().await?, ["delayed", "ready", "in flight", "in flight"])?;
    }

    "an entry that is twice in a batch is settled once" => |s| {
        let (billing, given) = one_held(&s).await?;
        let ack = Settle { id: given.entry.id, token: Some(given.token), settlement: Settlement::Ack };
        let settled = went("a batch", billing.settle_all(&[ack.clone(), ack]).await)?;
        same("what each did", settled, [Settled::Done, Settled::NotPending])?;
    }

    "an empty batch settles nothing" => |s| {
        let (billing, _) = one_held(&s).await?;
        same("what it did", went("a batch", billing.settle_all(&[]).await)?, vec![])?;
    }

    "a large batch is settled whole" => |s| {
        let orders = s.stream();
        orders.add_many(1_000).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 1_000).await?;
        let batch: Vec<_> = given.iter().map(|one| {
            Settle { id: one.entry.id, token: Some(one.token), settlement: Settlement::Ack }
        }).collect();
        let settled = went("a batch", billing.settle_all(&batch).await)?;
        same("how many were done", settled.iter().filter(|one| **one == Settled::Done).count(), 1_000)?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }

    "a delay that is too long is refused and nothing is settled" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        let too_long = Some(Policy::DELAY_MAX + ms(1));
        for settlement in [nak(too_long), Settlement::Release { delay: too_long }] {
            let settle = |n: usize, settlement| Settle { id: given[n].entry.id, token: None, settlement };
            let batch = [settle(0, Settlement::Ack), settle(1, settlement)];
            refuses!("a delay above 24 hours", billing.settle_all(&batch).await, ErrorKind::Invalid(_));
        }
        same("the states", billing.states().await?, ["in flight", "in flight"])?;
    }

    "a delay of 24 hours is accepted" => |s| {
        let (billing, given) = one_held(&s).await?;
        same("the failure", billing.settle(&given, nak(Some(Policy::DELAY_MAX))).await?, Settled::Done)?;
        same("the states", billing.states().await?, ["delayed"])?;
    }

    "settling for a missing group is refused" => |s| {
        let (billing, given) = one_held(&s).await?;
        let ack = [Settle { id: given.entry.id, token: None, settlement: Settlement::Ack }];
        let answer = billing.stream.existing_group("none").settle_all(&ack).await;
        refuses!("an acknowledgement", answer, ErrorKind::NoSuchGroup);
    }
};

pub(super) static RELEASES: &[Case] = cases! { Streams, "handing back";
    "what is handed back is for others at once" => |s| {
        let (billing, given) = one_held(&s).await?;
        same("the release", billing.settle(&given, RELEASE).await?, Settled::Done)?;
        same("the states", billing.states().await?, ["ready"])?;
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a"])?;
    }

    "a delivery that is handed back is not counted" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, RELEASE).await?;
        let row = billing.row(given.entry.id).await?;
        same("the row's counts", (row.deliveries, row.failures), (0, 0))?;
        let again = one("what bob is given", billing.take("bob", RECLAIMED).await?)?;
        same("its counts", (again.deliveries, again.failures), (1, 0))?;
    }

    "handing back any number of times makes no dead letter" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let limits = Policy { deliveries_max: 2, failures_max: 1, ..policy() };
        let billing = orders.group("billing", limits).await?;
        for _ in 0..10 {
            let given = one("what ann is given", billing.take("ann", AVAILABLE).await?)?;
            billing.settle(&given, RELEASE).await?;
        }
        same("the counts", billing.counts().await?, [0, 0, 1, 0, 0])?;
    }

    "what is snoozed comes when the time is over, not before" => |s| {
        let (billing, given) = one_held(&s).await?;
        let before = s.now();
        billing.settle(&given, Settlement::Release { delay: Some(ms(150)) }).await?;
        let again = billing.comes("bob", RECLAIMED).await?;
        s.not_before("it came", before, ms(150))?;
        same("its counts", (again.deliveries, again.failures), (1, 0))?;
    }

    "what is snoozed for long is delayed" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, Settlement::Release { delay: Some(FOREVER) }).await?;
        same("the states", billing.states().await?, ["delayed"])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, NOTHING)?;
    }

    "a delay of zero hands back at once" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, Settlement::Release { delay: Some(Duration::ZERO) }).await?;
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a"])?;
    }

    "handing back keeps the failures" => |s| {
        let (billing, given) = one_held(&s).await?;
        billing.settle(&given, nak(None)).await?;
        let again = one("what ann is given", billing.take("ann", RECLAIMED).await?)?;
        billing.settle(&again, RELEASE).await?;
        let row = billing.row(given.entry.id).await?;
        same("its counts", (row.deliveries, row.failures), (1, 1))?;
        same("its failure", row.last_failure.map(|failure| text(&failure.class)), Some("timeout".to_owned()))?;
    }

    "what was handed back comes in the order of ids" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        for given in billing.read("ann", 3).await?.iter().rev() {
            billing.settle(given, RELEASE).await?;
        }
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a", "b", "c"])?;
    }
};
