//! Appending: IDs, batches, producers that repeat themselves, versions that are expected.

use super::vocabulary::*;

/// An append with an ID of its own.
fn id(ms: u64, seq: u64) -> AppendOptions {
    AppendOptions { id: Some(EntryId::new(ms, seq)), ..AppendOptions::default() }
}

/// The append of a producer.
fn by(name: &str, append_id: &str) -> AppendOptions {
    let producer = Producer { name: name.into(), append_id: append_id.into() };
    AppendOptions { producer: Some(producer), ..AppendOptions::default() }
}

/// An append that expects something of the stream's end.
fn expecting(expected: Expected) -> AppendOptions {
    AppendOptions { expected, ..AppendOptions::default() }
}

/// A batch of a producer.
fn batch_by(name: &str) -> BatchOptions {
    BatchOptions { producer: Some(name.into()), ..BatchOptions::default() }
}

pub(super) static IDS: &[Case] = cases! { Streams, "appending";
    "an entry is read as it was appended" => |s| {
        let orders = s.stream();
        let id = orders.add_fields(&[("type", "placed"), ("sum", "12"), ("", "")]).await?;
        let read = orders.entries(from(ReadFrom::Start)).await?;
        same("the number of entries", read.len(), 1)?;
        same("its ID", read[0].id, id)?;
        let fields = [("type", "placed"), ("sum", "12"), ("", "")];
        let fields: Vec<(Vec<u8>, Vec<u8>)> = fields.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        same("its fields, in order", &read[0].fields, &fields)?;
    }

    "a field may occur more than once" => |s| {
        let orders = s.stream();
        orders.add_fields(&[("tag", "a"), ("tag", "b"), ("tag", "a")]).await?;
        let read = orders.entries(from(ReadFrom::Start)).await?;
        let values: Vec<&[u8]> = read[0].fields.iter().map(|(_, value)| &**value).collect();
        same("all its values", values, [b"a", b"b", b"a"].map(|value| &value[..]).to_vec())?;
    }

    "any bytes are kept in fields" => |s| {
        let orders = s.stream();
        let every: Vec<u8> = (0..=255).collect();
        let fields: [(&[u8], &[u8]); 1] = [(&every, &every)];
        went("all bytes are appended", s.broker().append(&orders.name, &fields, AppendOptions::default()).await)?;
        let read = orders.entries(from(ReadFrom::Start)).await?;
        same("the bytes", &read[0].fields, &vec![(every.clone(), every)])?;
    }

    "any bytes may be in the name of a stream" => |s| {
        let odd = s.stream_named("caf\u{e9} \r\n\0 *[x]");
        odd.add("a").await?;
        same("what is in it", odd.all().await?, ["a"])?;
    }

    "the first append makes the stream" => |s| {
        let orders = s.stream();
        let before = went("the head is asked for", s.broker().head(&orders.name).await)?;
        same("the head before", before, None)?;
        let id = orders.add("a").await?;
        same("the head afterwards", orders.head().await?.last_id, id)?;
    }

    "each append gets a greater id than the one before" => |s| {
        let ids = s.stream().add_all(&["a", "b", "c", "d", "e", "f", "g", "h"]).await?;
        holds("the IDs increase", ids.is_sorted_by(|a, b| a < b), &ids)?;
    }

    "an entry may come with an id of its own" => |s| {
        let orders = s.stream();
        same("the ID that is answered", orders.add_at(5, 3, "a").await?, EntryId::new(5, 3))?;
        same("the head", orders.head().await?.last_id, EntryId::new(5, 3))?;
    }

    "the smallest id an entry may have is 0-1" => |s| {
        let orders = s.stream();
        same("the ID", orders.add_at(0, 1, "a").await?, EntryId::new(0, 1))?;
        same("what is read", orders.all().await?, ["a"])?;
    }

    "the id 0-0 is refused" => |s| {
        let orders = s.stream();
        refuses!("an append as 0-0", orders.append(&[("n", "a")], id(0, 0)).await, ErrorKind::IdZero);
        same("the stream", went("the head", s.broker().head(&orders.name).await)?, None)?;
    }

    "an id that is not above the last is refused and the last is named" => |s| {
        let orders = s.stream();
        orders.add_at(5, 5, "a").await?;
        for (ms, seq) in [(5, 5), (5, 4), (4, 9), (0, 1)] {
            let step = format!("an append as {ms}-{seq} after 5-5");
            let error = refuses!(&step, orders.append(&[("n", "b")], id(ms, seq)).await, ErrorKind::IdNotGreater { .. });
            same(&step, error.kind().clone(), ErrorKind::IdNotGreater { last: EntryId::new(5, 5) })?;
        }
        same("what is in the stream", orders.all().await?, ["a"])?;
    }

    "an id of its own may be just above the last" => |s| {
        let orders = s.stream();
        orders.add_at(5, 5, "a").await?;
        orders.add_at(5, 6, "b").await?;
        orders.add_at(6, 0, "c").await?;
        same("what is read", orders.all().await?, ["a", "b", "c"])?;
    }

    "an id that was given out is not given out again after its entry is deleted" => |s| {
        let orders = s.stream();
        let last = orders.add_at(9, 9, "a").await?;
        orders.delete(&[last]).await?;
        let answer = orders.append(&[("n", "b")], id(9, 9)).await;
        refuses!("an append as 9-9 again", answer, ErrorKind::IdNotGreater { .. });
    }

    "an id far in the future is followed by greater ones" => |s| {
        let orders = s.stream();
        let far = orders.add_at(99_999_999_999_999, 7, "a").await?;
        let next = orders.add("b").await?;
        holds("the next ID is greater", next > far, (far, next))?;
        same("its time part stays", next.ms, far.ms)?;
    }

    "after the last possible id the stream takes no more" => |s| {
        let orders = s.stream();
        orders.add_at(u64::MAX, u64::MAX, "a").await?;
        let answer = orders.append(&[("n", "b")], AppendOptions::default()).await;
        refuses!("one append more", answer, ErrorKind::StreamExhausted);
        same("what is in the stream", orders.all().await?, ["a"])?;
    }

    "an entry without fields is refused" => |s| {
        let orders = s.stream();
        let answer = orders.append(&[], AppendOptions::default()).await;
        refuses!("an append without fields", answer, ErrorKind::Invalid(_));
        same("the stream", went("the head", s.broker().head(&orders.name).await)?, None)?;
    }

    "a large entry is kept whole" => |s| {
        let orders = s.stream();
        let large = "x".repeat(300_000);
        orders.add_fields(&[("n", "large"), ("body", &large)]).await?;
        let read = orders.entries(from(ReadFrom::Start)).await?;
        same("the length of its body", read[0].fields[1].1.len(), large.len())?;
    }

    "an entry knows about when it was appended" => |s| {
        let orders = s.stream();
        let first = orders.add("a").await?;
        s.advance(ms(30)).await;
        orders.add("b").await?;
        let read = orders.entries(from(ReadFrom::Start)).await?;
        let (one, two) = (read[0].appended_at.0, read[1].appended_at.0);
        holds("the second was appended later", two >= one + 25, (one, two))?;
        holds("the time of the first is that of its ID", one.abs_diff(first.ms) <= 1_000, (one, first))?;
    }

    "two streams do not see each other's entries" => |s| {
        let (orders, bills) = (s.stream_named("orders"), s.stream_named("bills"));
        orders.add("order").await?;
        bills.add("bill").await?;
        same("the orders", orders.all().await?, ["order"])?;
        same("the bills", bills.all().await?, ["bill"])?;
    }
};

pub(super) static BATCHES: &[Case] = cases! { Streams, "batches";
    "a batch is appended in its order" => |s| {
        let orders = s.stream();
        let batch = orders.batch(&[("a", None, None), ("b", None, None), ("c", None, None)], BatchOptions::default());
        let appended = went("a batch is appended", batch.await)?;
        holds("its IDs increase", appended.is_sorted_by(|a, b| a.id < b.id), &appended)?;
        holds("nothing is a duplicate", appended.iter().all(|one| !one.is_duplicate), &appended)?;
        same("what is read", orders.all().await?, ["a", "b", "c"])?;
    }

    "a batch may come with ids of its own" => |s| {
        let orders = s.stream();
        let at = |ms| Some(EntryId::new(ms, 1));
        let batch = orders.batch(&[("a", at(3), None), ("b", at(7), None)], BatchOptions::default()).await;
        let appended = went("a batch is appended", batch)?;
        same("its IDs", appended.iter().map(|one| one.id.ms).collect::<Vec<_>>(), [3, 7])?;
    }

    "a batch with ids in the wrong order is refused whole" => |s| {
        let orders = s.stream();
        let at = |ms| Some(EntryId::new(ms, 1));
        let batch = orders.batch(&[("a", at(7), None), ("b", at(3), None)], BatchOptions::default()).await;
        refuses!("a batch of 7-1 and 3-1", batch, ErrorKind::IdNotGreater { .. });
        same("what is read", orders.all().await?, Vec::<String>::new())?;
    }

    "a batch with one bad entry appends none" => |s| {
        let orders = s.stream();
        orders.add_at(5, 5, "first").await?;
        let at = |ms| Some(EntryId::new(ms, 1));
        let entries = [("a", at(6), None), ("b", Some(EntryId::MIN), None)];
        let batch = orders.batch(&entries, BatchOptions::default()).await;
        refuses!("a batch with 0-0 in it", batch, ErrorKind::IdZero | ErrorKind::IdNotGreater { .. });
        same("what is read", orders.all().await?, ["first"])?;
        same("the entries ever added", orders.info().await?.entries_added, 1)?;
    }

    "a batch with an entry without fields is refused whole" => |s| {
        let orders = s.stream();
        let good: [(&[u8], &[u8]); 1] = [(b"n", b"a")];
        let entries = [&good[..], &[]].map(|fields| NewEntry { fields, id: None, append_id: None });
        let batch = s.broker().append_batch(&orders.name, &entries, BatchOptions::default()).await;
        refuses!("a batch with an entry without fields", batch, ErrorKind::Invalid(_));
        same("what is read", orders.all().await?, Vec::<String>::new())?;
    }

    "a batch of nothing does nothing" => |s| {
        let orders = s.stream();
        let appended = went("an empty batch", orders.batch(&[], BatchOptions::default()).await)?;
        same("what is answered", appended, Vec::new())?;
        same("the stream", went("the head", s.broker().head(&orders.name).await)?, None)?;
    }

    "a batch may have ten thousand entries and no more" => |s| {
        let orders = s.stream();
        let many = vec![("a", None, None); 10_001];
        let batch = orders.batch(&many, BatchOptions::default()).await;
        refuses!("a batch of 10001", batch, ErrorKind::LimitReached(_));
        same("the stream", went("the head", s.broker().head(&orders.name).await)?, None)?;
        let appended = went("a batch of 10000", orders.batch(&many[1..], BatchOptions::default()).await)?;
        same("its entries", appended.len(), 10_000)?;
        same("the stream's length", orders.info().await?.length, 10_000)?;
    }

    "a reader sees all of a batch or nothing" => |s| {
        let orders = s.stream();
        let reading = orders.wait_after(EntryId::MIN, FOREVER);
        let batch = orders.batch(&[("a", None, None), ("b", None, None), ("c", None, None)], BatchOptions::default());
        went("a batch is appended", batch.await)?;
        same("what the reader was waiting for", s.ends("the reader", reading).await?, ["a", "b", "c"])?;
    }
};

pub(super) static PRODUCERS: &[Case] = cases! { Streams, "producers";
    "a repeated append is recognised and adds nothing" => |s| {
        let orders = s.stream();
        let first = went("the first", orders.append(&[("n", "a")], by("till", "1")).await)?;
        let again = went("the same again", orders.append(&[("n", "a")], by("till", "1")).await)?;
        same("whether the first is a duplicate", first.is_duplicate, false)?;
        same("whether the second is", again.is_duplicate, true)?;
        same("its ID", again.id, first.id)?;
        same("what is read", orders.all().await?, ["a"])?;
    }

    "another append of the same producer is added" => |s| {
        let orders = s.stream();
        went("the first", orders.append(&[("n", "a")], by("till", "1")).await)?;
        let second = went("the second", orders.append(&[("n", "b")], by("till", "2")).await)?;
        same("whether it is a duplicate", second.is_duplicate, false)?;
        same("what is read", orders.all().await?, ["a", "b"])?;
    }

    "two producers may use the same append id" => |s| {
        let orders = s.stream();
        went("one", orders.append(&[("n", "a")], by("till", "1")).await)?;
        let other = went("the other", orders.append(&[("n", "b")], by("shop", "1")).await)?;
        same("whether it is a duplicate", other.is_duplicate, false)?;
    }

    "a producer is known per stream" => |s| {
        let (orders, bills) = (s.stream_named("orders"), s.stream_named("bills"));
        went("one", orders.append(&[("n", "a")], by("till", "1")).await)?;
        let other = went("the other", bills.append(&[("n", "b")], by("till", "1")).await)?;
        same("whether it is a duplicate", other.is_duplicate, false)?;
    }

    "a repeated append is answered whatever version it expects" => |s| {
        let orders = s.stream();
        let options = AppendOptions { expected: Expected::NoEntries, ..by("till", "1") };
        let first = went("the first", orders.append(&[("n", "a")], options.clone()).await)?;
        orders.add("b").await?;
        let again = went("the same again", orders.append(&[("n", "a")], options).await)?;
        same("its ID", (again.id, again.is_duplicate), (first.id, true))?;
    }

    "a repeated append is recognised after its entry is deleted" => |s| {
        let orders = s.stream();
        let first = went("the first", orders.append(&[("n", "a")], by("till", "1")).await)?;
        orders.delete(&[first.id]).await?;
        let again = went("the same again", orders.append(&[("n", "a")], by("till", "1")).await)?;
        same("its ID", (again.id, again.is_duplicate), (first.id, true))?;
        same("what is read", orders.all().await?, Vec::<String>::new())?;
    }

    "a thousand appends of a producer are remembered" => |s| {
        let orders = s.stream();
        let ids: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let batch: Vec<_> = ids.iter().map(|id| ("a", None, Some(&**id))).collect();
        let first = went("the first thousand", orders.batch(&batch, batch_by("till")).await)?;
        let again = went("the same thousand", orders.batch(&batch, batch_by("till")).await)?;
        holds("all are duplicates", again.iter().all(|one| one.is_duplicate), again.len())?;
        let ids_of = |of: &[Appended]| of.iter().map(|one| one.id).collect::<Vec<_>>();
        same("their IDs", ids_of(&again), ids_of(&first))?;
        same("the stream's length", orders.info().await?.length, 1_000)?;
    }

    "a batch that is repeated in part adds the rest" => |s| {
        let orders = s.stream();
        let first = orders.batch(&[("a", None, Some("1")), ("b", None, Some("2"))], batch_by("till")).await;
        let first = went("the first batch", first)?;
        let more = [("a", None, Some("1")), ("b", None, Some("2")), ("c", None, Some("3"))];
        let second = went("the longer batch", orders.batch(&more, batch_by("till")).await)?;
        same("duplicates", second.iter().map(|one| one.is_duplicate).collect::<Vec<_>>(), [true, true, false])?;
        same("the IDs of those", (second[0].id, second[1].id), (first[0].id, first[1].id))?;
        same("what is read", orders.all().await?, ["a", "b", "c"])?;
    }

    "an append that a producer repeats within a batch is added once" => |s| {
        let orders = s.stream();
        let batch = orders.batch(&[("a", None, Some("1")), ("a", None, Some("1"))], batch_by("till")).await;
        let appended = went("a batch with the same append twice", batch)?;
        same("their IDs", appended[0].id, appended[1].id)?;
        same("duplicates", (appended[0].is_duplicate, appended[1].is_duplicate), (false, true))?;
        same("what is read", orders.all().await?, ["a"])?;
    }

    "a batch of a producer needs an append id for each entry" => |s| {
        let orders = s.stream();
        let batch = orders.batch(&[("a", None, Some("1")), ("b", None, None)], batch_by("till")).await;
        refuses!("a batch with an entry without append ID", batch, ErrorKind::Invalid(_));
        same("what is read", orders.all().await?, Vec::<String>::new())?;
    }

    "an append id needs a producer" => |s| {
        let orders = s.stream();
        let batch = orders.batch(&[("a", None, Some("1"))], BatchOptions::default()).await;
        refuses!("a batch with an append ID and no producer", batch, ErrorKind::Invalid(_));
    }

    "a producer and an append id must not be empty" => |s| {
        let orders = s.stream();
        refuses!("no name", orders.append(&[("n", "a")], by("", "1")).await, ErrorKind::Invalid(_));
        refuses!("no append ID", orders.append(&[("n", "a")], by("till", "")).await, ErrorKind::Invalid(_));
    }

    "an append of a producer is found under a batch of the same producer" => |s| {
        let orders = s.stream();
        let first = went("alone", orders.append(&[("n", "a")], by("till", "1")).await)?;
        let batch = went("in a batch", orders.batch(&[("a", None, Some("1"))], batch_by("till")).await)?;
        same("its ID", (batch[0].id, batch[0].is_duplicate), (first.id, true))?;
    }

    "a refused append is not remembered" => |s| {
        let orders = s.stream();
        let wrong = AppendOptions { expected: Expected::Version(7), ..by("till", "1") };
        let answer = orders.append(&[("n", "a")], wrong).await;
        refuses!("an append on version 7", answer, ErrorKind::VersionMismatch { .. });
        let good = went("the append without it", orders.append(&[("n", "a")], by("till", "1")).await)?;
        same("whether it is a duplicate", good.is_duplicate, false)?;
    }
};

pub(super) static VERSIONS: &[Case] = cases! { Streams, "expected versions";
    "the first append may expect that there are no entries" => |s| {
        let orders = s.stream();
        went("the first", orders.append(&[("n", "a")], expecting(Expected::NoEntries)).await)?;
        same("the version", orders.head().await?.version, Some(0))?;
    }

    "who expects no entries is refused when there is one" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let answer = orders.append(&[("n", "b")], expecting(Expected::NoEntries)).await;
        let error = refuses!("the second", answer, ErrorKind::VersionMismatch { .. });
        same("the actual version", error.kind().clone(), ErrorKind::VersionMismatch { actual: Some(0) })?;
    }

    "an append may expect a version" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        went("the third", orders.append(&[("n", "c")], expecting(Expected::Version(1))).await)?;
        same("the version", orders.head().await?.version, Some(2))?;
    }

    "who expects an older version is refused" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let answer = orders.append(&[("n", "c")], expecting(Expected::Version(0))).await;
        let error = refuses!("an append on version 0", answer, ErrorKind::VersionMismatch { .. });
        same("the actual version", error.kind().clone(), ErrorKind::VersionMismatch { actual: Some(1) })?;
        same("what is read", orders.all().await?, ["a", "b"])?;
    }

    "a stream without entries has no version" => |s| {
        let orders = s.stream();
        let answer = orders.append(&[("n", "a")], expecting(Expected::Version(0))).await;
        let error = refuses!("an append on version 0", answer, ErrorKind::VersionMismatch { .. });
        same("the actual version", error.kind().clone(), ErrorKind::VersionMismatch { actual: None })?;
        same("the stream", went("the head", s.broker().head(&orders.name).await)?, None)?;
    }

    "the version counts what was deleted" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        orders.delete(&ids).await?;
        same("the version", orders.head().await?.version, Some(2))?;
        went("an append on it", orders.append(&[("n", "d")], expecting(Expected::Version(2))).await)?;
        let answer = orders.append(&[("n", "e")], expecting(Expected::NoEntries)).await;
        refuses!("an append that expects no entries", answer, ErrorKind::VersionMismatch { .. });
    }

    "a stream that a group made has no version yet" => |s| {
        let orders = s.stream();
        orders.group("billing", policy()).await?;
        same("the version", orders.head().await?.version, None)?;
        went("the first", orders.append(&[("n", "a")], expecting(Expected::NoEntries)).await)?;
    }

    "a batch expects what is before its first entry" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let on = |version| BatchOptions { expected: Expected::Version(version), ..BatchOptions::default() };
        let batch = [("b", None, None), ("c", None, None)];
        refuses!("on version 1", orders.batch(&batch, on(1)).await, ErrorKind::VersionMismatch { .. });
        went("on version 0", orders.batch(&batch, on(0)).await)?;
        same("the version", orders.head().await?.version, Some(2))?;
    }

    "of two appends that expect the same version one is refused" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let one = orders.append(&[("n", "b")], expecting(Expected::Version(0)));
        let other = orders.append(&[("n", "c")], expecting(Expected::Version(0)));
        let (one, other) = tokio::join!(one, other);
        same("how many were accepted", u8::from(one.is_ok()) + u8::from(other.is_ok()), 1)?;
        same("the entries", orders.info().await?.length, 2)?;
    }
};
