//! Moving groups and pausing them.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// What a seek would do.
async fn tried(group: &Group, to: SeekTo) -> Result<Sought, Wrong> {
    let options = Seek { to, dry_run: true };
    let sought = group.stream.story.broker().seek(&group.stream.name, &group.name, options).await;
    went(&format!("a seek to {to:?} is tried"), sought)
}

/// A stream with `a` to `d` and a group that was given the first two.
async fn half_read(s: &Story) -> Result<(Group, Vec<EntryId>, Vec<Delivery>), Wrong> {
    let orders = s.stream();
    let ids = orders.add_all(&["a", "b", "c", "d"]).await?;
    let billing = orders.group("billing", policy()).await?;
    let given = billing.read("ann", 2).await?;
    Ok((billing, ids, given))
}

pub(super) static SEEKING: &[Case] = cases! { Streams, "seeking";
    "a group that seeks the start is given everything again" => |s| {
        let (billing, ids, given) = half_read(&s).await?;
        billing.ack(&given).await?;
        let sought = billing.seek(SeekTo::Start).await?;
        same("the move", sought, Sought { from: ids[1], to: EntryId::MIN, dropped: 0 })?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["a", "b", "c", "d"])?;
    }

    "a group that seeks the end is given only what comes" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        let sought = billing.seek(SeekTo::End).await?;
        same("the move", sought, Sought { from: ids[1], to: ids[3], dropped: 0 })?;
        billing.stream.add("e").await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["e"])?;
    }

    "a group seeks what is above an id" => |s| {
        let (billing, ids, given) = half_read(&s).await?;
        billing.ack(&given).await?;
        billing.seek(SeekTo::After(ids[0])).await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["b", "c", "d"])?;
        same("the last-delivered ID", billing.info().await?.last_delivered_id, ids[3])?;
    }

    "an id above the last is taken as the last" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        let sought = billing.seek(SeekTo::After(EntryId::MAX)).await?;
        same("the new place", sought.to, ids[3])?;
        billing.stream.add("e").await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["e"])?;
    }

    "a group seeks a time" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        s.advance(ms(30)).await;
        orders.add("b").await?;
        s.advance(ms(30)).await;
        orders.add("c").await?;
        let b = orders.entries(from(ReadFrom::Start)).await?[1].appended_at;
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        billing.seek(SeekTo::Time(b)).await?;
        same("from b's time on", billing.gives("ann", GroupSource::New).await?, ["b", "c"])?;
        billing.seek(SeekTo::Time(Timestamp(b.0 + 1))).await?;
        same("from just after it on", billing.gives("ann", GroupSource::New).await?, ["c"])?;
        billing.seek(SeekTo::Time(Timestamp(b.0 + 3_600_000))).await?;
        same("from an hour later on", billing.gives("ann", GroupSource::New).await?, NOTHING)?;
        billing.seek(SeekTo::Time(Timestamp(0))).await?;
        same("from time 0 on", billing.gives("ann", GroupSource::New).await?, ["a", "b", "c"])?;
    }

    "a group skips entries" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        let sought = billing.seek(SeekTo::Skip(1)).await?;
        same("the move", sought, Sought { from: ids[1], to: ids[2], dropped: 0 })?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["d"])?;
    }

    "skipping more than there is ends at the end" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        same("the new place", billing.seek(SeekTo::Skip(99)).await?.to, ids[3])?;
        same("skipping none", billing.seek(SeekTo::Skip(0)).await?.to, ids[3])?;
    }

    "skipping counts the entries that there are" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        billing.stream.delete(&ids[2..3]).await?;
        billing.stream.add("e").await?;
        billing.seek(SeekTo::Skip(1)).await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["e"])?;
    }

    "rows above the new place are dropped since their entries come again" => |s| {
        let (billing, ids, given) = half_read(&s).await?;
        let sought = billing.seek(SeekTo::After(ids[0])).await?;
        same("the move", sought, Sought { from: ids[1], to: ids[0], dropped: 1 })?;
        same("the row left", billing.rows().await?.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[0]])?;
        same("the dropped one", billing.settle(&given[1], Settlement::Ack).await?, Settled::NotPending)?;
        let again = billing.next("bob").await?;
        same("what comes again", (again.label(), again.deliveries), ("b".to_owned(), 1))?;
        same("its old token", billing.settle(&given[1], Settlement::Ack).await?, Settled::Stale)?;
        billing.ack(&[given[0].clone(), again]).await?;
    }

    "rows below the new place stay as they are" => |s| {
        let (billing, _, given) = half_read(&s).await?;
        billing.settle(&given[0], nak(Some(FOREVER))).await?;
        billing.seek(SeekTo::End).await?;
        same("the states", billing.states().await?, ["delayed", "in flight"])?;
        billing.ack(&given[1..]).await?;
    }

    "rows of every state are dropped by a seek to the start" => |s| {
        let orders = s.stream();
        for (label, key) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "3")] {
            orders.add_keyed(label, key).await?;
        }
        let billing = orders.group("billing", by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.settle(&given[0], nak(Some(FOREVER))).await?;
        billing.settle(&given[1], RELEASE).await?;
        same("the states", billing.states().await?, ["delayed", "ready", "in flight", "waiting"])?;
        same("dropped", billing.seek(SeekTo::Start).await?.dropped, 4)?;
        same("the counts", billing.counts().await?, [4, 0, 0, 0, 0])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, ["a", "b", "c"])?;
    }

    "a tried seek says what would happen and changes nothing" => |s| {
        let (billing, ids, given) = half_read(&s).await?;
        let would = tried(&billing, SeekTo::Start).await?;
        same("what would happen", would, Sought { from: ids[1], to: EntryId::MIN, dropped: 2 })?;
        same("to the end", tried(&billing, SeekTo::End).await?, Sought { from: ids[1], to: ids[3], dropped: 0 })?;
        same("skipping", tried(&billing, SeekTo::Skip(1)).await?.to, ids[2])?;
        same("the place", billing.info().await?.last_delivered_id, ids[1])?;
        billing.ack(&given).await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["c", "d"])?;
    }

    "a seek does not touch another group" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        let shipping = billing.stream.group("shipping", policy()).await?;
        shipping.read("ann", 3).await?;
        billing.seek(SeekTo::Start).await?;
        same("its rows", shipping.rows().await?.len(), 3)?;
        same("what it is given", shipping.gives("bob", GroupSource::New).await?, ["d"])?;
    }

    "a seek in an empty stream stays where it is" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        for to in [SeekTo::Start, SeekTo::End, SeekTo::Skip(5), SeekTo::Time(Timestamp(7))] {
            let sought = billing.seek(to).await?;
            let want = Sought { from: EntryId::MIN, to: EntryId::MIN, dropped: 0 };
            same(&format!("the move to {to:?}"), sought, want)?;
        }
    }

    "dead letters stay where they are when the group moves" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.bury_all().await?;
        billing.seek(SeekTo::Start).await?;
        same("its dead letters", billing.dead_labels().await?, ["a"])?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["a"])?;
    }

    "a missing group cannot be moved" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let options = Seek { to: SeekTo::Start, dry_run: false };
        refuses!("a seek", s.broker().seek(&orders.name, b"none", options).await, ErrorKind::NoSuchGroup);
    }
};

pub(super) static PAUSING: &[Case] = cases! { Streams, "pausing";
    "a paused group gives nothing from any source" => |s| {
        let (billing, _, given) = half_read(&s).await?;
        billing.settle(&given[0], RELEASE).await?;
        billing.pause(None).await?;
        same("whether it is paused", billing.info().await?.paused, true)?;
        for source in [GroupSource::New, RECLAIMED, AVAILABLE, HISTORY, idle_for(Duration::ZERO)] {
            same(&format!("from {source:?}"), billing.gives("ann", source).await?, NOTHING)?;
        }
    }

    "nothing is claimed from a paused group" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        billing.pause(None).await?;
        same("by claim", billing.claim("bob", Duration::ZERO, &ids).await?.len(), 0)?;
        let claimed = billing.auto_claim("bob", Duration::ZERO, EntryId::MIN, 10).await?;
        same("by auto-claim", claimed.deliveries.len(), 0)?;
    }

    "a resumed group gives again" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        billing.pause(None).await?;
        billing.resume().await?;
        same("whether it is paused", billing.info().await?.paused, false)?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["c", "d"])?;
    }

    "what is held may be settled while the group is paused" => |s| {
        let (billing, _, given) = half_read(&s).await?;
        billing.pause(None).await?;
        same("an acknowledgement", billing.settle(&given[0], Settlement::Ack).await?, Settled::Done)?;
        same("a failure", billing.settle(&given[1], nak(None)).await?, Settled::Done)?;
        same("the states", billing.states().await?, ["ready"])?;
    }

    "nothing is counted while the group is paused" => |s| {
        let (billing, ids, _) = half_read(&s).await?;
        billing.pause(None).await?;
        billing.gives("ann", HISTORY).await?;
        billing.gives("bob", idle_for(Duration::ZERO)).await?;
        same("deliveries of the first", billing.row(ids[0]).await?.deliveries, 1)?;
    }

    "a pause ends by itself" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        let before = s.now();
        billing.pause(Some(ms(150))).await?;
        let given = billing.comes("bob", GroupSource::New).await?;
        same("what bob is given", given.label(), "c".to_owned())?;
        s.not_before("it came", before, ms(150))?;
        same("whether it is paused", billing.info().await?.paused, false)?;
    }

    "a paused consumer that waits is given what is there when the pause ends" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        let before = s.now();
        billing.pause(Some(ms(150))).await?;
        let waiting = billing.wait_beside("bob", GroupSource::New, FOREVER);
        same("what bob is given", labels(&s.ends("bob", waiting).await?), ["c", "d"])?;
        s.not_before("it came", before, ms(150))?;
    }

    "paused again the new end holds" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        billing.pause(Some(SOON)).await?;
        billing.pause(None).await?;
        s.advance(SOON * 2).await;
        same("still paused", billing.info().await?.paused, true)?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, NOTHING)?;
        billing.pause(Some(SOON)).await?;
        same("what comes", billing.comes("bob", GroupSource::New).await?.label(), "c".to_owned())?;
    }

    "resuming a group that is not paused does nothing" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        billing.resume().await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["c", "d"])?;
    }

    "a reader may try although the group is paused" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        billing.pause(None).await?;
        let options = ReadGroup { while_paused: true, count: 1, ..billing.options("bob", GroupSource::New) };
        same("what bob is given", labels(&billing.read_with(options).await?), ["c"])?;
        same("still paused", billing.info().await?.paused, true)?;
        same("others", billing.gives("cid", GroupSource::New).await?, NOTHING)?;
    }

    "leases run while the group is paused" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: SOON, ..policy() }).await?;
        billing.next("ann").await?;
        billing.pause(None).await?;
        s.advance(SOON * 2).await;
        billing.resume().await?;
        same("what bob is given", billing.comes("bob", RECLAIMED).await?.label(), "a".to_owned())?;
    }

    "delays run while the group is paused" => |s| {
        let (billing, _, given) = half_read(&s).await?;
        billing.settle(&given[0], nak(Some(SOON))).await?;
        billing.pause(None).await?;
        s.advance(SOON * 2).await;
        let ready = s.eventually("its delay is over", || async {
            Ok((billing.states().await?.first() == Some(&"ready")).then_some(()))
        });
        ready.await?;
    }

    "lag and entries go on while the group is paused" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        billing.pause(None).await?;
        billing.stream.add("e").await?;
        same("the counts", billing.counts().await?, [3, 2, 0, 0, 0])?;
    }

    "a pause touches no other group" => |s| {
        let (billing, _, _) = half_read(&s).await?;
        let shipping = billing.stream.group("shipping", policy()).await?;
        billing.pause(None).await?;
        same("what it is given", shipping.gives("ann", GroupSource::New).await?, ["a", "b", "c", "d"])?;
    }

    "a missing group cannot be paused or resumed" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        refuses!("paused", s.broker().pause(&orders.name, b"none", None).await, ErrorKind::NoSuchGroup);
        refuses!("resumed", s.broker().resume(&orders.name, b"none").await, ErrorKind::NoSuchGroup);
    }
};
