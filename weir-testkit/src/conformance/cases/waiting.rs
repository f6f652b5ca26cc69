//! Reads that wait: what wakes them, how long they wait, and what "not at all" means.

use super::vocabulary::*;

/// A read that waits for what is behind the end.
fn at_end(wait: Duration) -> ReadOptions {
    ReadOptions { wait: Some(wait), ..from(ReadFrom::End) }
}

const NOTHING: [&str; 0] = [];

pub(super) static READS: &[Case] = cases! { Streams, "waiting reads";
    "a read without a wait comes back at once" => |s| {
        let orders = s.stream();
        orders.group("billing", policy()).await?;
        let before = s.now();
        same("from the stream", orders.read(ReadOptions { wait: None, ..from(ReadFrom::Start) }).await?, NOTHING)?;
        let billing = orders.existing_group("billing");
        same("from the group", billing.gives("ann", GroupSource::New).await?, NOTHING)?;
        let passed = s.now() - before;
        holds("no more than a moment passed", passed < Duration::from_secs(10), passed)?;
    }

    "a wait of zero comes back at once too" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let zero = Some(Duration::ZERO);
        same("nothing", orders.read(ReadOptions { wait: zero, ..from(ReadFrom::End) }).await?, NOTHING)?;
        same("something", orders.read(ReadOptions { wait: zero, ..from(ReadFrom::Start) }).await?, ["a"])?;
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        let options = billing.options("ann", GroupSource::New);
        same("of a group", billing.read_with(ReadGroup { wait: zero, ..options }).await?.len(), 0)?;
    }

    "a read that finds something does not wait" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let options = ReadOptions { wait: Some(Duration::MAX), ..from(ReadFrom::Start) };
        same("what is there", orders.read(options).await?, ["a"])?;
    }

    "an append wakes a waiting read" => |s| {
        let orders = s.stream();
        let first = orders.add("a").await?;
        let waiting = orders.wait_after(first, FOREVER);
        s.advance(SOON).await;
        orders.add("b").await?;
        same("what it was given", s.ends("the waiting read", waiting).await?, ["b"])?;
    }

    "a read may wait without end" => |s| {
        let orders = s.stream();
        let waiting = orders.wait_after(EntryId::MIN, Duration::MAX);
        s.advance(SOON).await;
        orders.add("a").await?;
        same("what it was given", s.ends("the waiting read", waiting).await?, ["a"])?;
    }

    "a read may wait for a stream that is not there yet" => |s| {
        let orders = s.stream();
        let waiting = orders.wait_after(EntryId::MIN, FOREVER);
        s.advance(SOON).await;
        orders.add("a").await?;
        same("what it was given", s.ends("the waiting read", waiting).await?, ["a"])?;
    }

    "a read that waits at the end is given what is appended from then on" => |s| {
        let orders = s.stream();
        orders.add("old").await?;
        let waiting = orders.read_beside(at_end(FOREVER));
        // Nobody can know when the read has begun to wait: entries come until it has seen one.
        while !waiting.is_finished() {
            orders.add("new").await?;
            s.advance(ms(10)).await;
        }
        let given = s.ends("the waiting read", waiting).await?;
        same("the first it was given", given.first().map(String::as_str), Some("new"))?;
    }

    "a waiting read gives up when its time is over" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let before = s.now();
        same("what it was given", s.ends("the waiting read", orders.read_beside(at_end(SOON))).await?, NOTHING)?;
        s.not_before("it gave up", before, SOON)?;
    }

    "an entry below the place of a waiting read does not wake it" => |s| {
        let orders = s.stream();
        let waiting = orders.wait_after(EntryId::new(7, 7), SOON);
        orders.add_at(3, 3, "a").await?;
        same("what it was given", s.ends("the waiting read", waiting).await?, NOTHING)?;
    }

    "entries of other streams do not wake a waiting read" => |s| {
        let (orders, bills) = (s.stream_named("orders"), s.stream_named("bills"));
        let waiting = orders.wait_after(EntryId::MIN, SOON);
        bills.add("bill").await?;
        same("what it was given", s.ends("the waiting read", waiting).await?, NOTHING)?;
    }

    "all waiting reads are given an entry" => |s| {
        let orders = s.stream();
        let waiting: Vec<_> = (0..5).map(|_| orders.wait_after(EntryId::MIN, FOREVER)).collect();
        s.advance(SOON).await;
        orders.add("a").await?;
        for one in waiting {
            same("what one was given", s.ends("a waiting read", one).await?, ["a"])?;
        }
    }

    "a waiting read from an id on waits for it" => |s| {
        let orders = s.stream();
        orders.add_at(1, 1, "a").await?;
        let options = ReadOptions { wait: Some(FOREVER), ..from(ReadFrom::Id(EntryId::new(5, 0))) };
        let waiting = orders.read_beside(options);
        orders.add_at(3, 0, "b").await?;
        orders.add_at(5, 0, "c").await?;
        same("what it was given", s.ends("the waiting read", waiting).await?, ["c"])?;
    }
};

pub(super) static GROUP_READS: &[Case] = cases! { Streams, "waiting consumers";
    "an append wakes a waiting consumer" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let waiting = billing.wait_beside("ann", GroupSource::New, FOREVER);
        s.advance(SOON).await;
        orders.add("a").await?;
        same("what ann was given", labels(&s.ends("ann", waiting).await?), ["a"])?;
        same("what she holds", billing.consumers().await?, [("ann".to_owned(), 1)])?;
    }

    "a waiting consumer gives up when its time is over" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        let before = s.now();
        let waiting = billing.wait_beside("ann", GroupSource::New, SOON);
        same("what ann was given", labels(&s.ends("ann", waiting).await?), NOTHING)?;
        s.not_before("she gave up", before, SOON)?;
    }

    "an entry goes to one of the waiting consumers" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let names = ["ann", "bob", "cid"];
        let waiting = names.map(|name| billing.wait_beside(name, GroupSource::New, ms(400)));
        s.advance(SOON).await;
        orders.add("a").await?;
        let mut given = Vec::new();
        for one in waiting {
            given.extend(labels(&s.ends("a consumer", one).await?));
        }
        same("what all were given together", given, ["a"])?;
    }

    "two waiting consumers share two entries" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let waiting = ["ann", "bob"].map(|name| {
            let (billing, options) = (billing.clone(), billing.options(name, GroupSource::New));
            let options = ReadGroup { count: 1, wait: Some(FOREVER), ..options };
            tokio::spawn(async move { billing.read_with(options).await })
        });
        orders.add_all(&["a", "b"]).await?;
        let mut given = Vec::new();
        for one in waiting {
            given.extend(labels(&s.ends("a consumer", one).await?));
        }
        given.sort();
        same("what both were given", given, ["a", "b"])?;
    }

    "each group has its own waiting consumers" => |s| {
        let orders = s.stream();
        let groups = [orders.group("billing", policy()).await?, orders.group("shipping", policy()).await?];
        let waiting = groups.map(|group| group.wait_beside("ann", GroupSource::New, FOREVER));
        orders.add("a").await?;
        for one in waiting {
            same("what a group's consumer was given", labels(&s.ends("a consumer", one).await?), ["a"])?;
        }
    }

    "the end of a delay wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        let before = s.now();
        billing.settle(&given, nak(Some(SOON))).await?;
        let waiting = billing.wait_beside("bob", RECLAIMED, FOREVER);
        same("what bob was given", labels(&s.ends("bob", waiting).await?), ["a"])?;
        s.not_before("it came", before, SOON)?;
    }

    "what is handed back wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        let waiting = billing.wait_beside("bob", AVAILABLE, FOREVER);
        s.advance(SOON).await;
        billing.settle(&given, RELEASE).await?;
        same("what bob was given", labels(&s.ends("bob", waiting).await?), ["a"])?;
    }

    "the end of a lease wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", Policy { lease: ms(150), ..policy() }).await?;
        let before = s.now();
        billing.next("ann").await?;
        let waiting = billing.wait_beside("bob", RECLAIMED, FOREVER);
        same("what bob was given", labels(&s.ends("bob", waiting).await?), ["a"])?;
        s.not_before("it came", before, ms(150))?;
    }

    "what has been idle long enough wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let before = s.now();
        billing.next("ann").await?;
        let waiting = billing.wait_beside("bob", idle_for(ms(150)), FOREVER);
        same("what bob was given", labels(&s.ends("bob", waiting).await?), ["a"])?;
        s.not_before("it came", before, ms(150))?;
    }

    "the end of a pause wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.pause(None).await?;
        let waiting = billing.wait_beside("ann", GroupSource::New, FOREVER);
        s.advance(SOON).await;
        billing.resume().await?;
        same("what ann was given", labels(&s.ends("ann", waiting).await?), ["a"])?;
    }

    "a key that is free again wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add_keyed("a", "k").await?;
        orders.add_keyed("b", "k").await?;
        let billing = orders.group("billing", by_key()).await?;
        let first = billing.next("ann").await?;
        let waiting = billing.wait_beside("bob", AVAILABLE, FOREVER);
        s.advance(SOON).await;
        billing.ack(&[first]).await?;
        same("what bob was given", labels(&s.ends("bob", waiting).await?), ["b"])?;
    }

    "a redriven dead letter wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.bury_all().await?;
        let waiting = billing.wait_beside("ann", RECLAIMED, FOREVER);
        s.advance(SOON).await;
        billing.redrive(DeadLetterFilter::default()).await?;
        same("what ann was given", labels(&s.ends("ann", waiting).await?), ["a"])?;
    }

    "a seek back wakes a waiting consumer" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        let waiting = billing.wait_beside("ann", GroupSource::New, FOREVER);
        s.advance(SOON).await;
        billing.seek(SeekTo::Start).await?;
        same("what ann was given", labels(&s.ends("ann", waiting).await?), ["a"])?;
    }

    "entries that the filter leaves out do not end a wait" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", with_filter("n", "b")).await?;
        let waiting = billing.wait_beside("ann", GroupSource::New, FOREVER);
        s.advance(SOON).await;
        orders.add("a").await?;
        s.advance(SOON).await;
        orders.add("b").await?;
        same("what ann was given", labels(&s.ends("ann", waiting).await?), ["b"])?;
    }

    "entries that others take do not prolong a wait" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let before = s.now();
        let waiting = billing.wait_beside("ann", GroupSource::New, ms(200));
        let mut bobs = Vec::new();
        while !waiting.is_finished() && bobs.len() < 500 {
            orders.add("x").await?;
            bobs.extend(billing.read("bob", 10).await?);
            s.advance(ms(10)).await;
        }
        s.ends("ann", waiting).await?;
        let passed = s.now() - before;
        holds("ann did not wait much longer than she said", passed < Duration::from_secs(4), passed)?;
    }

    "a history read that would wait is refused" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let options = ReadGroup { wait: Some(SOON), ..billing.options("ann", HISTORY) };
        let answer = s.broker().read_group(&orders.name, options).await;
        refuses!("a waiting history read", answer, ErrorKind::Invalid(_));
    }

    "a group that goes ends the wait of its consumers" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let options = ReadGroup { wait: Some(FOREVER), ..billing.options("ann", GroupSource::New) };
        let (broker, name) = (s.broker(), orders.name.clone());
        let waiting = tokio::spawn(async move { Ok(broker.read_group(&name, options).await) });
        s.advance(SOON).await;
        went("the group is deleted", s.broker().delete_group(&orders.name, &billing.name).await)?;
        refuses!("the waiting read", s.ends("ann", waiting).await?, ErrorKind::NoSuchGroup);
    }

    "a stream that goes ends the wait of its consumers" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let options = ReadGroup { wait: Some(FOREVER), ..billing.options("ann", GroupSource::New) };
        let (broker, name) = (s.broker(), orders.name.clone());
        let waiting = tokio::spawn(async move { Ok(broker.read_group(&name, options).await) });
        s.advance(SOON).await;
        went("the stream is removed", s.broker().delete_stream(&orders.name).await)?;
        refuses!("the waiting read", s.ends("ann", waiting).await?, ErrorKind::NoSuchGroup);
    }

    "an entry that a dropped read took is not lost" => |s| {
        let orders = s.stream();
        let billing = orders.group("billing", policy()).await?;
        let waiting = billing.wait_beside("ann", GroupSource::New, FOREVER);
        s.advance(SOON).await;
        waiting.abort();
        orders.add("a").await?;
        let given = s.eventually("ann is given it, as new or as her own", || async {
            let mut given = billing.take("ann", GroupSource::New).await?;
            given.extend(billing.take("ann", HISTORY).await?);
            Ok(given.pop())
        });
        same("what she is given", given.await?.label(), "a".to_owned())?;
    }

    "a count of 0 gives a consumer nothing at once" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let options = billing.options("ann", GroupSource::New);
        let none = ReadGroup { count: 0, wait: Some(FOREVER), ..options };
        same("what ann is given", billing.read_with(none).await?.len(), 0)?;
        same("what is new afterwards", billing.gives("ann", GroupSource::New).await?, ["a"])?;
    }
};
