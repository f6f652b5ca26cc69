//! Streams: appending, reading, trimming, retention.

use std::time::Duration;

use weir_core::{
    AppendOptions, BatchOptions, EntryId, ErrorKind, Expected, Head, ListStreams, NewEntry, Producer,
    ReadFrom, ReadOptions, Retention, Streams, TrimTo, Trimmed,
};

use super::redis_server::Redis;

fn id(ms: u64) -> EntryId {
    EntryId::new(ms, 0)
}

fn at(ms: u64) -> AppendOptions {
    AppendOptions { id: Some(id(ms)), ..AppendOptions::default() }
}

fn from(from: ReadFrom) -> ReadOptions {
    ReadOptions { from, to: None, backward: false, count: 100, wait: None }
}

#[tokio::test]
async fn what_is_appended_is_read() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let fields: &[(&[u8], &[u8])] = &[(b"a", b"1"), (b"a", b"\xff\0"), (b"", b"")];
    for ms in 1..=3 {
        assert_eq!(broker.append(b"s", fields, at(ms)).await.unwrap().id, id(ms));
    }
    let all = broker.read(b"s", from(ReadFrom::Start)).await.unwrap();
    assert_eq!(all.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(1), id(2), id(3)]);
    assert_eq!(all[0].fields[1], (b"a".to_vec(), b"\xff\0".to_vec()));
    assert_eq!((all[0].position, all[0].appended_at.0), (None, 1));
    let newest =
        broker.read(b"s", ReadOptions { backward: true, count: 2, ..from(ReadFrom::End) }).await.unwrap();
    assert_eq!(newest.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(3), id(2)]);
    assert_eq!(broker.read(b"s", from(ReadFrom::After(id(2)))).await.unwrap().len(), 1);
    assert_eq!(broker.head(b"s").await.unwrap(), Some(Head { last_id: id(3), version: Some(2) }));
    assert_eq!(broker.head(b"missing").await.unwrap(), None);
    let error = broker.append(b"s", fields, at(3)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::IdNotGreater { last: id(3) });
    let error = broker.read(b"s", from(ReadFrom::Position(0))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)));
}

#[tokio::test]
async fn a_repeated_append_adds_nothing() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let by = |append_id: &str, expected| AppendOptions {
        producer: Some(Producer { name: b"p".to_vec(), append_id: append_id.into() }),
        expected,
        ..AppendOptions::default()
    };
    let first = broker.append(b"s", &[(b"a", b"1")], by("x", Expected::NoEntries)).await.unwrap();
    let again = broker.append(b"s", &[(b"a", b"1")], by("x", Expected::NoEntries)).await.unwrap();
    assert_eq!((again.id, again.is_duplicate), (first.id, true));
    let error = broker.append(b"s", &[(b"a", b"1")], by("y", Expected::NoEntries)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::VersionMismatch { actual: Some(0) });
    broker.append(b"s", &[(b"a", b"1")], by("y", Expected::Version(0))).await.unwrap();

    let fields: &[(&[u8], &[u8])] = &[(b"a", b"1")];
    let entry = |append_id| NewEntry { fields, id: None, append_id: Some(append_id) };
    let entries = [entry(b"x".as_slice()), entry(b"z"), entry(b"z")];
    let options = BatchOptions { producer: Some(b"p".to_vec()), expected: Expected::Any };
    let appended = broker.append_batch(b"s", &entries, options).await.unwrap();
    assert_eq!(appended.iter().map(|entry| entry.is_duplicate).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!((appended[0].id, appended[2].id), (first.id, appended[1].id));
    assert_eq!(broker.stream_info(b"s").await.unwrap().unwrap().length, 3);
}

#[tokio::test]
async fn a_batch_is_appended_wholly_or_not_at_all() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let fields: &[(&[u8], &[u8])] = &[(b"a", b"1")];
    let entry = |ms: Option<u64>| NewEntry { fields, id: ms.map(id), append_id: None };
    let error = broker
        .append_batch(b"s", &[entry(Some(5)), entry(Some(4))], BatchOptions::default())
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::IdNotGreater { last: id(5) });
    assert_eq!(broker.stream_info(b"s").await.unwrap(), None);
    let far = u64::MAX - 1;
    let entries = [entry(Some(far)), entry(None), entry(Some(u64::MAX)), entry(None)];
    let appended = broker.append_batch(b"s", &entries, BatchOptions::default()).await.unwrap();
    let ids: Vec<_> = appended.iter().map(|appended| appended.id).collect();
    assert_eq!(ids, [id(far), EntryId::new(far, 1), id(u64::MAX), EntryId::new(u64::MAX, 1)]);
}

#[tokio::test]
async fn a_batch_is_whole_also_when_the_clock_goes_past_one_of_its_ids_meanwhile() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let mut client = redis.client().await;
    let fields: &[(&[u8], &[u8])] = &[(b"a", b"1")];
    for ahead in (5..100).step_by(5) {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut client).await.unwrap();
        let soon = id(seconds * 1_000 + micros / 1_000 + ahead);
        let mut entries = vec![NewEntry { fields, id: None, append_id: None }; 9_999];
        entries.push(NewEntry { id: Some(soon), ..entries[0] });
        let stream = format!("s{ahead}");
        let stream = stream.as_bytes();
        let appended = broker.append_batch(stream, &entries, BatchOptions::default()).await;
        let length = broker.stream_info(stream).await.unwrap().map_or(0, |info| info.length);
        match appended {
            Ok(_) => assert_eq!(length, 10_000),
            Err(error) => assert_eq!(length, 0, "{error}"),
        }
    }
}

#[tokio::test]
async fn append_ids_of_large_batches_are_forgotten_too() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let fields: &[(&[u8], &[u8])] = &[(b"a", b"1")];
    for batch in 0..3 {
        let names: Vec<_> = (0..10_000).map(|n| format!("{batch}-{n}").into_bytes()).collect();
        let entries: Vec<_> =
            names.iter().map(|name| NewEntry { fields, id: None, append_id: Some(name) }).collect();
        let options = BatchOptions { producer: Some(b"p".to_vec()), expected: Expected::Any };
        broker.append_batch(b"s", &entries, options).await.unwrap();
    }
    let kept: u64 =
        redis::cmd("HLEN").arg("{s}:weir:appends:p").query_async(&mut redis.client().await).await.unwrap();
    assert_eq!(kept, 10_000);
}

#[tokio::test]
async fn a_read_waits_for_the_first_entry() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let waits = ReadOptions { wait: Some(Duration::from_secs(30)), ..from(ReadFrom::End) };
    let reading = tokio::spawn({
        let broker = broker.clone();
        async move { broker.read(b"s", waits).await.unwrap() }
    });
    let mut client = redis.client().await;
    while !clients_blocked(&mut client).await {
        tokio::task::yield_now().await;
    }
    broker.append(b"s", &[(b"a", b"1")], at(7)).await.unwrap();
    assert_eq!(reading.await.unwrap()[0].id, id(7));
    let short = ReadOptions { wait: Some(Duration::from_millis(30)), ..from(ReadFrom::End) };
    assert!(broker.read(b"s", short).await.unwrap().is_empty());
}

async fn clients_blocked(client: &mut redis::aio::MultiplexedConnection) -> bool {
    let info: String = redis::cmd("INFO").arg("clients").query_async(client).await.unwrap();
    info.contains("blocked_clients:1")
}

#[tokio::test]
async fn streams_are_listed_page_by_page_and_their_side_streams_on_demand() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let mut client = redis.client().await;
    for n in 0..50 {
        broker.append(format!("s{n}").as_bytes(), &[(b"a", b"1")], at(1)).await.unwrap();
        let _: () =
            redis::cmd("SET").arg(format!("s-text{n}")).arg(1).query_async(&mut client).await.unwrap();
    }
    broker.append(b"{s1}:dead:g", &[(b"a", b"1")], at(1)).await.unwrap();
    for (with_side_streams, pattern, want) in [(false, "*", 50), (true, "*", 51), (false, "s1?", 10)] {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let pattern = pattern.as_bytes().to_vec();
            let page = broker.list_streams(ListStreams { pattern, after, count: 3, with_side_streams }).await;
            let page = page.unwrap();
            assert!(page.names.len() <= 3);
            names.extend(page.names);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), want, "{pattern} {with_side_streams}");
    }
}

#[tokio::test]
async fn retention_holds_after_every_append() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let limits = Retention { length: Some(3), bytes: Some(8), ..Retention::default() };
    broker.set_retention(b"s", Some(limits)).await.unwrap();
    assert_eq!(broker.retention(b"s").await.unwrap(), Some(limits));
    for ms in 1..=5 {
        broker.append(b"s", &[(b"a", b"1")], at(ms)).await.unwrap();
    }
    assert_eq!(broker.stream_info(b"s").await.unwrap().unwrap().first_id, Some(id(3)));
    broker.append(b"s", &[(b"a", b"12345")], at(6)).await.unwrap();
    assert_eq!(broker.stream_info(b"s").await.unwrap().unwrap().first_id, Some(id(5)));
    broker.set_retention(b"s", None).await.unwrap();
    assert_eq!(broker.retention(b"s").await.unwrap(), None);
    for ms in 7..=9 {
        broker.append(b"s", &[(b"a", b"1")], at(ms)).await.unwrap();
    }
    assert_eq!(broker.trim(b"s", TrimTo::MinId(id(7))).await.unwrap(), Trimmed { removed: 2, held: 0 });
    assert_eq!(broker.trim(b"s", TrimTo::Bytes(3)).await.unwrap(), Trimmed { removed: 2, held: 0 });
    assert_eq!(broker.trim(b"missing", TrimTo::Length(0)).await.unwrap(), Trimmed { removed: 0, held: 0 });
}

#[tokio::test]
async fn what_is_no_stream_is_refused() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let mut client = redis.client().await;
    let _: () = redis::cmd("SET").arg("s").arg(1).query_async(&mut client).await.unwrap();
    let kinds = [
        broker.append(b"s", &[(b"a", b"1")], at(1)).await.map(drop).unwrap_err(),
        broker.read(b"s", from(ReadFrom::Start)).await.map(drop).unwrap_err(),
        broker.head(b"s").await.map(drop).unwrap_err(),
        broker.trim(b"s", TrimTo::Length(0)).await.map(drop).unwrap_err(),
        broker.delete_entries(b"s", &[id(1)]).await.map(drop).unwrap_err(),
        broker.delete_stream(b"s").await.map(drop).unwrap_err(),
        broker.set_retention(b"s", None).await.unwrap_err(),
        broker.retention(b"s").await.map(drop).unwrap_err(),
    ];
    for error in kinds {
        assert_eq!(*error.kind(), ErrorKind::WrongType, "{error:?}");
    }
    assert_eq!(*broker.append(b"t", &[], at(1)).await.unwrap_err().kind(), {
        ErrorKind::Invalid("an entry needs at least one field")
    });
}
