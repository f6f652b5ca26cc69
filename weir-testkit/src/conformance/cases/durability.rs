//! What was answered is still there after the engine was killed and started again.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

pub(super) static STREAMS: &[Case] = cases! { Durable, "durable streams";
    "appended entries survive" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        let before = orders.entries(from(ReadFrom::Start)).await?;
        s.restart().await?;
        same("what is read", orders.entries(from(ReadFrom::Start)).await?, before)?;
        same("the head", orders.head().await?, Head { last_id: ids[2], version: Some(2) })?;
        holds("the next ID is greater", orders.add("d").await? > ids[2], ids)?;
    }

    "a batch survives whole" => |s| {
        let orders = s.stream();
        orders.add_many(500).await?;
        s.restart().await?;
        same("the length", orders.info().await?.length, 500)?;
    }

    "deletes and trims survive" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c", "d"]).await?;
        orders.delete(&ids[2..3]).await?;
        orders.trim(TrimTo::MinId(ids[1])).await?;
        let before = orders.info().await?;
        s.restart().await?;
        same("what is read", orders.all().await?, ["b", "d"])?;
        same("the counters", orders.info().await?, before)?;
    }

    "a removed stream stays removed" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        orders.group("billing", policy()).await?;
        went("it is removed", s.broker().delete_stream(&orders.name).await)?;
        s.restart().await?;
        same("the head", went("the head", s.broker().head(&orders.name).await)?, None)?;
    }

    "appends of a producer are still recognised" => |s| {
        let orders = s.stream();
        let options = AppendOptions {
            producer: Some(Producer { name: b"till".to_vec(), append_id: b"1".to_vec() }),
            ..AppendOptions::default()
        };
        let first = went("the first", orders.append(&[("n", "a")], options.clone()).await)?;
        s.restart().await?;
        let again = went("the same again", orders.append(&[("n", "a")], options).await)?;
        same("the answer", (again.id, again.is_duplicate), (first.id, true))?;
        same("what is read", orders.all().await?, ["a"])?;
    }

    "retention survives and goes on" => |s| {
        let orders = s.stream();
        let retention = Retention { length: Some(2), hold: Some(5), ..Retention::default() };
        orders.keep(retention).await?;
        orders.add_all(&["a", "b", "c"]).await?;
        s.restart().await?;
        same("its retention", went("asked", s.broker().retention(&orders.name).await)?, Some(retention))?;
        orders.add("d").await?;
        same("what is kept", orders.all().await?, ["c", "d"])?;
    }

    "lost entries and alerts survive" => |s| {
        let orders = s.stream();
        orders.group("billing", Policy { required: true, ..policy() }).await?;
        orders.keep(Retention { length: Some(1), hold: Some(1), ..Retention::default() }).await?;
        orders.add_all(&["a", "b", "c"]).await?;
        let (lost, alerts) = (orders.lost().await?, orders.alert_levels().await?);
        same("what is lost", lost.len(), 1)?;
        s.restart().await?;
        same("lost afterwards", orders.lost().await?, lost)?;
        same("alerts afterwards", orders.alert_levels().await?, alerts)?;
    }
};

pub(super) static GROUPS: &[Case] = cases! { Durable, "durable groups";
    "a group survives with its policy, origin and place" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let filter = with_filter("n", "a").filter;
        let billing = orders.group("billing", Policy { filter, key: Some(b"k".to_vec()), ..policy() }).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.take("ann", GroupSource::New).await?;
        let before = billing.info().await?;
        s.restart().await?;
        same("what is known", billing.info().await?, before)?;
    }

    "what a consumer holds survives with its token" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        s.restart().await?;
        same("the states", billing.states().await?, ["in flight", "in flight"])?;
        same("the old token", billing.settle(&given[0], Settlement::Ack).await?, Settled::Done)?;
        let again = billing.take("ann", HISTORY).await?;
        same("ann's history", labels(&again), ["b"])?;
        same("its deliveries", again[0].deliveries, 2)?;
    }

    "a stale token stays stale" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        billing.claim("bob", Duration::ZERO, &[given.entry.id]).await?;
        s.restart().await?;
        same("ann's token", billing.settle(&given, Settlement::Ack).await?, Settled::Stale)?;
    }

    "a token of before is not given out again" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let before = billing.next("ann").await?;
        billing.settle(&before, RELEASE).await?;
        s.restart().await?;
        let after = one("what bob is given", billing.take("bob", RECLAIMED).await?)?;
        holds("another token", after.token != before.token, (before.token, after.token))?;
        same("the old one", billing.settle(&before, Settlement::Ack).await?, Settled::Stale)?;
    }

    "acknowledged entries do not come again" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        billing.ack(&given).await?;
        s.restart().await?;
        same("what comes", billing.gives("ann", AVAILABLE).await?, ["c"])?;
        same("history", billing.gives("ann", HISTORY).await?, ["c"])?;
    }

    "both counters and the failures survive" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        for class in ["one", "two"] {
            let given = one("what comes", billing.take("ann", AVAILABLE).await?)?;
            billing.settle(&given, nak_of(class, "no", None)).await?;
        }
        let before = billing.row(id).await?;
        s.restart().await?;
        same("the row", billing.row(id).await?, before)?;
        let given = one("what comes", billing.take("ann", AVAILABLE).await?)?;
        same("its counts", (given.deliveries, given.failures), (3, 2))?;
        same("its first failure", given.first_failure.map(|first| text(&first.class)), Some("one".to_owned()))?;
    }

    "a delay goes on across the restart" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        let before = s.now();
        billing.settle(&given[0], nak(Some(ms(300)))).await?;
        billing.settle(&given[1], nak(Some(FOREVER))).await?;
        s.restart().await?;
        same("what comes", billing.comes("bob", RECLAIMED).await?.label(), "a".to_owned())?;
        s.not_before("it came", before, ms(300))?;
        same("the states", billing.states().await?, ["in flight", "delayed"])?;
    }

    "a lease goes on across the restart" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(300), ..policy() }).await?;
        let before = s.now();
        billing.next("ann").await?;
        s.restart().await?;
        same("what comes", billing.comes("bob", RECLAIMED).await?.label(), "a".to_owned())?;
        s.not_before("it came", before, ms(300))?;
    }

    "keys stay in order" => |s| {
        let orders = s.stream();
        for label in ["a1", "a2", "a3"] {
            orders.add_keyed(label, "a").await?;
        }
        let billing = orders.group("billing", by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        s.restart().await?;
        same("the states", billing.states().await?, ["in flight", "waiting", "waiting"])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, NOTHING)?;
        billing.settle_id(given[0].entry.id, Settlement::Ack).await?;
        same("when the key is free", billing.gives("bob", AVAILABLE).await?, ["a2"])?;
    }

    "dead letters survive and may be redriven" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.bury_all().await?;
        let before = billing.dead().await?;
        s.restart().await?;
        same("the letters", billing.dead().await?, before)?;
        billing.redrive(DeadLetterFilter::default()).await?;
        s.restart().await?;
        let given = billing.take("ann", RECLAIMED).await?;
        same("what comes again", labels(&given), ["a", "b"])?;
        same("its redrives", given[0].redrives, 1)?;
        same("letters left", billing.dead_labels().await?, NOTHING)?;
    }

    "a paused group stays paused" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.pause(None).await?;
        s.restart().await?;
        same("whether it is paused", billing.info().await?.paused, true)?;
        same("what ann is given", billing.gives("ann", AVAILABLE).await?, NOTHING)?;
        billing.resume().await?;
        same("when it is resumed", billing.gives("ann", AVAILABLE).await?, ["a"])?;
    }

    "a seek survives" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 3).await?;
        billing.seek(SeekTo::After(ids[0])).await?;
        s.restart().await?;
        same("the rows", billing.rows().await?.len(), 1)?;
        same("what is new", billing.gives("bob", GroupSource::New).await?, ["b", "c"])?;
    }

    "consumers and their removal survive" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        billing.read("bob", 1).await?;
        billing.dismiss("ann", PendingFate::HandBack).await?;
        s.restart().await?;
        same("the consumers", billing.consumers().await?, [("bob".to_owned(), 1)])?;
        same("the states", billing.states().await?, ["ready", "in flight"])?;
    }

    "what filters passed over stays counted and passed over" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "b"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.ack(&given).await?;
        s.restart().await?;
        same("filtered", billing.info().await?.filtered, 2)?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }

    "another policy survives" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        let other = Policy { retry_for_max: Some(ms(77)), reset_on_class: true, ..failures_max(7) };
        billing.set_policy(other.clone()).await?;
        s.restart().await?;
        same("its policy", billing.info().await?.policy, Some(other))?;
    }

    "restored rows survive" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        let row = RestoredRow {
            id, consumer: Some(b"ann".to_vec()), idle: Duration::from_secs(60), deliveries: 4, failures: 2, delay: None,
        };
        let restored = s.broker().restore_pending(&orders.name, b"billing", &[row]).await;
        same("how many", went("it is restored", restored)?, 1)?;
        s.restart().await?;
        let row = billing.row(id).await?;
        same("the row", (row.deliveries, row.failures, row.consumer), (4, 2, Some(b"ann".to_vec())))?;
        holds("its idle time", row.idle >= Duration::from_secs(60), row.idle)?;
    }

    "a deleted group stays deleted" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        orders.group("billing", policy()).await?;
        went("it is deleted", s.broker().delete_group(&orders.name, b"billing").await)?;
        s.restart().await?;
        same("the groups", orders.info().await?.groups, 0)?;
    }
};
