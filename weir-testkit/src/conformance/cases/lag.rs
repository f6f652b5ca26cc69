//! Lag: always numbers, whatever was deleted, trimmed or sought.

use super::vocabulary::*;

/// Undelivered entries as a consumer finds them who reads all that is new.
async fn recounted(group: &Group) -> Result<u64, Wrong> {
    let mut count = 0;
    loop {
        match group.read("recount", 100).await?.len() as u64 {
            0 => return Ok(count),
            found => count += found,
        }
    }
}

pub(super) static COUNTS: &[Case] = cases! { Streams, "lag";
    "what was not delivered is lag" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        same("the counts", billing.counts().await?, [3, 0, 0, 0, 0])?;
        let given = billing.read("ann", 2).await?;
        same("after two", billing.counts().await?, [1, 2, 0, 0, 0])?;
        billing.ack(&given).await?;
        same("acknowledged", billing.counts().await?, [1, 0, 0, 0, 0])?;
        orders.add("d").await?;
        same("one more", billing.counts().await?, [2, 0, 0, 0, 0])?;
    }

    "a group from the end has no lag" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
        orders.add("d").await?;
        same("one more", billing.counts().await?, [1, 0, 0, 0, 0])?;
    }

    "a group after an id has what is above it as lag" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c", "d"]).await?;
        let billing = orders.group_from("billing", GroupOrigin::After(ids[1]), policy()).await?;
        same("the counts", billing.counts().await?, [2, 0, 0, 0, 0])?;
        let between = orders.group_from("between", GroupOrigin::After(EntryId::new(5, 5)), policy()).await?;
        same("from below the first", between.counts().await?, [4, 0, 0, 0, 0])?;
    }

    "what was deleted is no lag" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c", "d", "e"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        orders.delete(&[ids[2], ids[4]]).await?;
        let lag = billing.lag().await?;
        same("undelivered", lag.undelivered, 2)?;
        same("counted exactly", lag.exact, true)?;
    }

    "what was trimmed is no lag" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c", "d", "e"]).await?;
        let billing = orders.group("billing", policy()).await?;
        orders.trim(TrimTo::Length(2)).await?;
        same("the counts", billing.counts().await?, [2, 0, 0, 0, 0])?;
    }

    "lag follows a seek" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c", "d"]).await?;
        let billing = orders.group("billing", policy()).await?;
        for (to, want) in [
            (SeekTo::End, 0), (SeekTo::Start, 4), (SeekTo::After(ids[0]), 3), (SeekTo::Skip(2), 1), (SeekTo::Start, 4),
        ] {
            billing.seek(to).await?;
            same(&format!("after {to:?}"), billing.counts().await?, [want, 0, 0, 0, 0])?;
        }
    }

    "lag after deletes, trims and seeks equals a recount" => |s| {
        let orders = s.stream();
        let ids = orders.add_many(60).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 20).await?;
        billing.ack(&given[..10]).await?;
        orders.delete(&[ids[3], ids[25], ids[26], ids[59]]).await?;
        orders.trim(TrimTo::MinId(ids[5])).await?;
        billing.seek(SeekTo::After(ids[15])).await?;
        orders.add_many(7).await?;
        orders.delete(&[ids[40]]).await?;
        billing.seek(SeekTo::Skip(3)).await?;
        billing.read("bob", 2).await?;
        let undelivered = billing.lag().await?.undelivered;
        same("undelivered, by a recount", undelivered, recounted(&billing).await?)?;
        same("nothing is left", billing.lag().await?.undelivered, 0)?;
    }

    "each state is counted by itself" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c", "d", "e", "f"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 5).await?;
        billing.settle(&given[0], RELEASE).await?;
        billing.settle(&given[1], nak(Some(FOREVER))).await?;
        billing.settle(&given[2], term()).await?;
        same("the counts", billing.counts().await?, [1, 2, 1, 1, 1])?;
        same("what is left to do", billing.lag().await?.total(), 5)?;
    }

    "what is due is ready and no more delayed" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, nak(Some(SOON))).await?;
        let due = s.eventually("it is ready", || async {
            let counts = billing.counts().await?;
            holds("it is delayed or ready", counts[2] + counts[3] == 1, counts)?;
            Ok((counts == [0, 0, 1, 0, 0]).then_some(()))
        });
        due.await?;
    }

    "the row of a deleted entry is pending until it is dropped" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.next("ann").await?;
        orders.delete(&[id]).await?;
        same("the counts", billing.counts().await?, [0, 1, 0, 0, 0])?;
        billing.gives("ann", HISTORY).await?;
        same("when it was dropped", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }

    "an empty stream is no lag" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        let lag = billing.lag().await?;
        same("what is left", lag.total(), 0)?;
        same("ages", (lag.oldest_undelivered, lag.oldest_pending), (None, None))?;
        same("time until nothing is left", lag.eta, Some(Duration::ZERO))?;
        same("counted exactly", lag.exact, true)?;
    }

    "a stream whose entries all were removed is no lag" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        orders.trim(TrimTo::Length(0)).await?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
        orders.add("c").await?;
        same("one more", billing.counts().await?, [1, 0, 0, 0, 0])?;
    }
};

pub(super) static AGES: &[Case] = cases! { Streams, "ages and rates";
    "the oldest undelivered entry has an age" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        s.advance(ms(120)).await;
        orders.add("b").await?;
        let billing = orders.group("billing", policy()).await?;
        let oldest = some("its age", billing.lag().await?.oldest_undelivered)?;
        holds("that of a", (ms(117)..Duration::from_secs(60)).contains(&oldest), oldest)?;
        billing.read("ann", 1).await?;
        let younger = some("the next one's age", billing.lag().await?.oldest_undelivered)?;
        billing.read("ann", 1).await?;
        holds("it is b's", younger < oldest + Duration::from_secs(60), younger)?;
        same("when all is delivered", billing.lag().await?.oldest_undelivered, None)?;
    }

    "the longest held entry has an age" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        same("when none is held", billing.lag().await?.oldest_pending, None)?;
        let first = billing.next("ann").await?;
        s.advance(ms(120)).await;
        billing.next("bob").await?;
        let oldest = some("its age", billing.lag().await?.oldest_pending)?;
        holds("that of ann's", (ms(117)..Duration::from_secs(60)).contains(&oldest), oldest)?;
        let before = s.now();
        billing.claim("cid", Duration::ZERO, &[first.entry.id]).await?;
        billing.claim("cid", Duration::ZERO, &[billing.rows().await?[1].id]).await?;
        let again = some("the age afterwards", billing.lag().await?.oldest_pending)?;
        let passed = s.now() - before;
        holds("it is held since then", again <= passed + ms(3), (again, passed))?;
    }

    "entries that nobody holds have no age of holding" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        billing.settle(&given[0], RELEASE).await?;
        billing.settle(&given[1], nak(Some(FOREVER))).await?;
        same("the age", billing.lag().await?.oldest_pending, None)?;
    }

    "rates are never negative" => |s| {
        let orders = s.stream();
        orders.add_many(50).await?;
        let billing = orders.group("billing", policy()).await?;
        for _ in 0..5 {
            let given = billing.read("ann", 5).await?;
            billing.ack(&given).await?;
            s.advance(ms(20)).await;
            let lag = billing.lag().await?;
            let (arrivals, drained) = (lag.arrivals_per_s, lag.drained_per_s);
            holds("arrivals", arrivals >= 0.0 && arrivals.is_finite(), arrivals)?;
            holds("what is drained", drained >= 0.0 && drained.is_finite(), drained)?;
        }
    }

    "nothing left to do takes no time" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 1).await?;
        billing.ack(&given).await?;
        same("the time left", billing.lag().await?.eta, Some(Duration::ZERO))?;
    }

    "work that nobody does never ends" => |s| {
        let orders = s.stream();
        orders.add_many(50).await?;
        let billing = orders.group("billing", policy()).await?;
        same("the time left", billing.lag().await?.eta, None)?;
    }
};
