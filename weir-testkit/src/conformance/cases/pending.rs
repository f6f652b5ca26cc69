//! Looking at what is pending, and restoring it as it was elsewhere.

use super::vocabulary::*;

/// `a` to `e` with keys, one row in each state: in flight (ann), ready, delayed, in flight (bob) and waiting for it.
async fn all_states(s: &Story) -> Result<(Group, Vec<EntryId>), Wrong> {
    let orders = s.stream();
    let mut ids = Vec::new();
    for (label, key) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "4")] {
        ids.push(orders.add_keyed(label, key).await?);
    }
    let billing = orders.group("billing", by_key()).await?;
    let anns = billing.read("ann", 3).await?;
    billing.take("bob", GroupSource::New).await?;
    billing.settle(&anns[1], RELEASE).await?;
    billing.settle(&anns[2], nak(Some(FOREVER))).await?;
    Ok((billing, ids))
}

/// A row as it was elsewhere.
fn row(id: EntryId, consumer: Option<&str>) -> RestoredRow {
    let consumer = consumer.map(|name| name.as_bytes().to_vec());
    RestoredRow { id, consumer, idle: Duration::ZERO, deliveries: 3, failures: 2, delay: None }
}

async fn restore(group: &Group, rows: &[RestoredRow]) -> Result<u64, Wrong> {
    let broker = group.stream.story.broker();
    went("rows are restored", broker.restore_pending(&group.stream.name, &group.name, rows).await)
}

/// A group behind `a`, `b` and `c`, with nothing pending.
async fn behind(s: &Story) -> Result<(Group, Vec<EntryId>), Wrong> {
    let orders = s.stream();
    let ids = orders.add_all(&["a", "b", "c"]).await?;
    Ok((orders.group_from("billing", GroupOrigin::End, policy()).await?, ids))
}

pub(super) static LOOKING: &[Case] = cases! { Streams, "pending";
    "a summary counts all rows and who holds how many" => |s| {
        let (billing, ids) = all_states(&s).await?;
        let want = PendingSummary {
            count: 5,
            bounds: Some((ids[0], ids[4])),
            consumers: vec![(b"ann".to_vec(), 1), (b"bob".to_vec(), 1)],
        };
        same("the summary", billing.summary().await?, want)?;
    }

    "the summary of an empty list has no bounds" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        same("the summary", billing.summary().await?, PendingSummary { count: 0, bounds: None, consumers: vec![] })?;
    }

    "rows are in one of four states" => |s| {
        let (billing, _) = all_states(&s).await?;
        let want = ["in flight", "ready", "delayed", "in flight", "waiting"];
        same("the states", billing.states().await?, want)?;
        same("the counts", billing.counts().await?, [1, 2, 1, 1, 0])?;
    }

    "only what is in flight is held by somebody" => |s| {
        let (billing, _) = all_states(&s).await?;
        let holders: Vec<_> = billing.rows().await?.iter().map(|row| row.consumer.as_deref().map(text)).collect();
        same("who holds what", holders, [Some("ann"), None, None, Some("bob"), None].map(|name| name.map(str::to_owned)))?;
    }

    "rows count deliveries and failures" => |s| {
        let (billing, _) = all_states(&s).await?;
        let counts: Vec<_> = billing.rows().await?.iter().map(|row| (row.deliveries, row.failures)).collect();
        same("their counts", counts, [(1, 0), (0, 0), (1, 1), (1, 0), (0, 0)])?;
    }

    "a row knows how long it has been held" => |s| {
        let (billing, ids) = all_states(&s).await?;
        s.advance(ms(150)).await;
        let (held, ready) = (billing.row(ids[0]).await?.idle, billing.row(ids[1]).await?.idle);
        holds("the one that ann holds", held >= ms(147), held)?;
        same("the one that nobody holds", ready, Duration::ZERO)?;
    }

    "a delayed row knows until when" => |s| {
        let (billing, ids) = all_states(&s).await?;
        let row = billing.row(ids[2]).await?;
        let failed_at = some("its failure", row.last_failure)?.at;
        let PendingState::Delayed { until } = row.state else {
            return Err(Wrong::new("the row", "delayed", format!("{:?}", row.state)));
        };
        let delay = until.millis_since(failed_at);
        holds("an hour after the failure", delay.abs_diff(3_600_000) <= 2, delay)?;
    }

    "rows are listed within bounds that still count" => |s| {
        let (billing, ids) = all_states(&s).await?;
        let rows = billing.rows_of(PendingQuery { start: ids[1], end: ids[3], ..every_row() }).await?;
        same("from b to d", rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids[1..=3].to_vec())?;
        let rows = billing.rows_of(PendingQuery { start: ids[3], end: ids[1], ..every_row() }).await?;
        same("from d to b", rows.len(), 0)?;
    }

    "no more rows are listed than asked for" => |s| {
        let (billing, ids) = all_states(&s).await?;
        let rows = billing.rows_of(PendingQuery { count: 2, ..every_row() }).await?;
        same("two", rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids[..2].to_vec())?;
        same("none", billing.rows_of(PendingQuery { count: 0, ..every_row() }).await?.len(), 0)?;
    }

    "rows of one consumer are listed" => |s| {
        let (billing, ids) = all_states(&s).await?;
        let of = |name: &str| PendingQuery { consumer: Some(name.into()), ..every_row() };
        let anns = billing.rows_of(of("ann")).await?;
        same("ann's", anns.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[0]])?;
        same("nobody's", billing.rows_of(of("nobody")).await?.len(), 0)?;
    }

    "rows that have been idle for long are listed" => |s| {
        let (billing, ids) = all_states(&s).await?;
        let idle = |idle_min| PendingQuery { idle_min: Some(idle_min), ..every_row() };
        same("idle for an hour", billing.rows_of(idle(FOREVER)).await?.len(), 0)?;
        s.advance(ms(100)).await;
        let rows = billing.rows_of(idle(ms(90))).await?;
        same("idle for 90 ms, in flight", rows.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[0], ids[3]])?;
    }

    "looking changes nothing" => |s| {
        let (billing, _) = all_states(&s).await?;
        let counts = || async {
            Ok(billing.rows().await?.iter().map(|row| (row.id, row.deliveries, row.state)).collect::<Vec<_>>())
        };
        let before = counts().await?;
        for _ in 0..5 {
            billing.summary().await?;
            billing.rows().await?;
            billing.lag().await?;
            billing.info().await?;
            billing.dead().await?;
        }
        same("the rows afterwards", counts().await?, before)?;
    }

    "a missing group has no rows to look at" => |s| {
        let (billing, _) = all_states(&s).await?;
        let (broker, stream) = (s.broker(), &billing.stream.name);
        refuses!("a summary", broker.pending_summary(stream, b"none").await, ErrorKind::NoSuchGroup);
        refuses!("rows", broker.pending(stream, b"none", every_row()).await, ErrorKind::NoSuchGroup);
        refuses!("lag", broker.lag(stream, b"none").await, ErrorKind::NoSuchGroup);
    }
};

pub(super) static RESTORING: &[Case] = cases! { Streams, "restoring";
    "a restored row is held as it was" => |s| {
        let (billing, ids) = behind(&s).await?;
        let idle = Duration::from_secs(600);
        same("how many", restore(&billing, &[RestoredRow { idle, ..row(ids[0], Some("ann")) }]).await?, 1)?;
        let got = billing.row(ids[0]).await?;
        same("its holder", got.consumer, Some(b"ann".to_vec()))?;
        same("its counts", (got.deliveries, got.failures), (3, 2))?;
        let about = idle..idle + Duration::from_secs(60);
        holds("its idle time", about.contains(&got.idle), got.idle)?;
        same("the consumers", billing.consumers().await?, [("ann".to_owned(), 1)])?;
    }

    "a restored row is found in the history of its consumer" => |s| {
        let (billing, ids) = behind(&s).await?;
        restore(&billing, &[row(ids[1], Some("ann"))]).await?;
        let given = one("ann's history", billing.take("ann", HISTORY).await?)?;
        same("its counts", (given.deliveries, given.failures), (4, 2))?;
        billing.ack(&[given]).await?;
    }

    "a restored row that was idle for long may be taken over" => |s| {
        let (billing, ids) = behind(&s).await?;
        let old = RestoredRow { idle: Duration::from_secs(600), ..row(ids[0], Some("ann")) };
        restore(&billing, &[old, row(ids[1], Some("ann"))]).await?;
        same("idle for a minute", billing.gives("bob", idle_for(Duration::from_secs(60))).await?, ["a"])?;
    }

    "a restored row that nobody held is ready" => |s| {
        let (billing, ids) = behind(&s).await?;
        restore(&billing, &[row(ids[0], None)]).await?;
        same("the states", billing.states().await?, ["ready"])?;
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a"])?;
    }

    "a restored row may be delayed" => |s| {
        let (billing, ids) = behind(&s).await?;
        let delayed = |id, delay| RestoredRow { delay: Some(delay), ..row(id, None) };
        restore(&billing, &[delayed(ids[0], FOREVER), delayed(ids[1], SOON)]).await?;
        same("what comes", billing.comes("bob", RECLAIMED).await?.label(), "b".to_owned())?;
        same("the states", billing.states().await?, ["delayed", "in flight"])?;
    }

    "a row that there is already is replaced" => |s| {
        let (billing, ids) = behind(&s).await?;
        billing.seek(SeekTo::Start).await?;
        let given = billing.next("bob").await?;
        same("how many", restore(&billing, &[row(ids[0], Some("ann"))]).await?, 1)?;
        same("the rows", billing.rows().await?.len(), 1)?;
        let got = billing.row(ids[0]).await?;
        same("its holder and counts", (got.consumer, got.deliveries), (Some(b"ann".to_vec()), 3))?;
        same("the old token", billing.settle(&given, Settlement::Ack).await?, Settled::Stale)?;
    }

    "a row whose entry is missing is left out" => |s| {
        let (billing, ids) = behind(&s).await?;
        billing.stream.delete(&ids[1..2]).await?;
        let rows = [row(ids[0], None), row(ids[1], None), row(EntryId::new(1, 1), Some("ann"))];
        same("how many", restore(&billing, &rows).await?, 1)?;
        same("the rows", billing.rows().await?.len(), 1)?;
    }

    "restoring does not move the group" => |s| {
        let (billing, ids) = behind(&s).await?;
        restore(&billing, &[row(ids[0], None), row(ids[2], Some("ann"))]).await?;
        same("the last-delivered ID", billing.info().await?.last_delivered_id, ids[2])?;
        same("what is new", billing.gives("bob", GroupSource::New).await?.len(), 0)?;
    }

    "restoring no rows does nothing" => |s| {
        let (billing, _) = behind(&s).await?;
        same("how many", restore(&billing, &[]).await?, 0)?;
    }

    "failures of a restored row go on counting" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group_from("billing", GroupOrigin::End, failures_max(3)).await?;
        restore(&billing, &[row(id, None)]).await?;
        let given = one("what comes", billing.take("ann", RECLAIMED).await?)?;
        same("one failure more", billing.settle(&given, nak(None)).await?, Settled::DeadLettered)?;
    }

    "rows of a missing group cannot be restored" => |s| {
        let (billing, ids) = behind(&s).await?;
        let rows = [row(ids[0], None)];
        let answer = s.broker().restore_pending(&billing.stream.name, b"none", &rows).await;
        refuses!("restoring", answer, ErrorKind::NoSuchGroup);
    }
};
