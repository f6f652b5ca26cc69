//! Reading streams: from where, in which direction, up to where, how many.

use super::vocabulary::*;

/// A stream with `a` to `e` as 1-1, 2-1, 2-2, 5-0 and 9-9.
async fn five(s: &Story) -> Result<Stream, Wrong> {
    let orders = s.stream();
    for (ms, seq, label) in [(1, 1, "a"), (2, 1, "b"), (2, 2, "c"), (5, 0, "d"), (9, 9, "e")] {
        orders.add_at(ms, seq, label).await?;
    }
    Ok(orders)
}

fn at(ms: u64, seq: u64) -> ReadFrom {
    ReadFrom::Id(EntryId::new(ms, seq))
}

fn after(ms: u64, seq: u64) -> ReadFrom {
    ReadFrom::After(EntryId::new(ms, seq))
}

const NOTHING: [&str; 0] = [];

pub(super) static FORWARD: &[Case] = cases! { Streams, "reading";
    "from the start everything is read" => |s| {
        same("what is read", five(&s).await?.all().await?, ["a", "b", "c", "d", "e"])?;
    }

    "from the end nothing is read that is there already" => |s| {
        same("what is read", five(&s).await?.read(from(ReadFrom::End)).await?, NOTHING)?;
    }

    "from an id on its entry comes first" => |s| {
        same("from 2-2", five(&s).await?.read(from(at(2, 2))).await?, ["c", "d", "e"])?;
    }

    "from an id that is missing the next one comes first" => |s| {
        let orders = five(&s).await?;
        same("from 3-0", orders.read(from(at(3, 0))).await?, ["d", "e"])?;
        same("from 2-0", orders.read(from(at(2, 0))).await?, ["b", "c", "d", "e"])?;
        same("from 9-10", orders.read(from(at(9, 10))).await?, NOTHING)?;
    }

    "after an id its entry does not come" => |s| {
        let orders = five(&s).await?;
        same("after 2-1", orders.read(from(after(2, 1))).await?, ["c", "d", "e"])?;
        same("after 0-0", orders.read(from(after(0, 0))).await?, ["a", "b", "c", "d", "e"])?;
        same("after 9-9", orders.read(from(after(9, 9))).await?, NOTHING)?;
    }

    "after the greatest id there is nothing" => |s| {
        let orders = five(&s).await?;
        same("after the greatest", orders.read(from(ReadFrom::After(EntryId::MAX))).await?, NOTHING)?;
        same("from the greatest", orders.read(from(ReadFrom::Id(EntryId::MAX))).await?, NOTHING)?;
    }

    "reading ends at an id that still comes" => |s| {
        let orders = five(&s).await?;
        let to = |ms, seq| ReadOptions { to: Some(EntryId::new(ms, seq)), ..from(ReadFrom::Start) };
        same("up to 2-2", orders.read(to(2, 2)).await?, ["a", "b", "c"])?;
        same("up to 4-0", orders.read(to(4, 0)).await?, ["a", "b", "c"])?;
        same("up to 0-9", orders.read(to(0, 9)).await?, NOTHING)?;
    }

    "an end before the start gives nothing" => |s| {
        let options = ReadOptions { to: Some(EntryId::new(2, 1)), ..from(at(5, 0)) };
        same("from 5-0 to 2-1", five(&s).await?.read(options).await?, NOTHING)?;
    }

    "a range of one id gives one entry" => |s| {
        let options = ReadOptions { to: Some(EntryId::new(2, 1)), ..from(at(2, 1)) };
        same("from 2-1 to 2-1", five(&s).await?.read(options).await?, ["b"])?;
    }

    "no more entries come than asked for" => |s| {
        let orders = five(&s).await?;
        same("two", orders.read(ReadOptions { count: 2, ..from(ReadFrom::Start) }).await?, ["a", "b"])?;
        same("the next two", orders.read(ReadOptions { count: 2, ..from(after(2, 1)) }).await?, ["c", "d"])?;
    }

    "a count of 0 reads nothing at once" => |s| {
        let orders = five(&s).await?;
        let none = ReadOptions { count: 0, wait: Some(FOREVER), ..from(ReadFrom::Start) };
        same("none of five", orders.read(none).await?, NOTHING)?;
        same("none of none", s.stream_named("none").read(none).await?, NOTHING)?;
    }

    "a missing stream has nothing to read" => |s| {
        let missing = s.stream_named("missing");
        for start in [ReadFrom::Start, ReadFrom::End, at(1, 1), after(1, 1), ReadFrom::Time(Timestamp(5))] {
            same("forwards", missing.read(from(start)).await?, NOTHING)?;
            same("backwards", missing.read(back_from(start)).await?, NOTHING)?;
        }
    }

    "reading does not make the stream" => |s| {
        let missing = s.stream_named("missing");
        missing.all().await?;
        let head = went("the head", s.broker().head(&missing.name).await)?;
        same("the head", head, None)?;
    }

    "deleted entries are not read" => |s| {
        let orders = five(&s).await?;
        orders.delete(&[EntryId::new(2, 1), EntryId::new(9, 9)]).await?;
        same("forwards", orders.all().await?, ["a", "c", "d"])?;
        same("backwards", orders.read(back_from(ReadFrom::End)).await?, ["d", "c", "a"])?;
    }

    "many entries are read page by page" => |s| {
        let orders = s.stream();
        orders.add_many(2_500).await?;
        let (mut start, mut read) = (ReadFrom::Start, Vec::new());
        loop {
            let page = orders.entries(ReadOptions { count: 300, ..from(start) }).await?;
            let Some(last) = page.last() else { break };
            start = ReadFrom::After(last.id);
            read.extend(labels(&page));
        }
        same("all of them", read, (1..=2_500).map(|n| n.to_string()).collect::<Vec<_>>())?;
    }
};

pub(super) static BACKWARD: &[Case] = cases! { Streams, "reading backwards";
    "from the end the newest comes first" => |s| {
        let orders = five(&s).await?;
        same("all", orders.read(back_from(ReadFrom::End)).await?, ["e", "d", "c", "b", "a"])?;
    }

    "from the start there is nothing backwards" => |s| {
        same("what is read", five(&s).await?.read(back_from(ReadFrom::Start)).await?, NOTHING)?;
    }

    "backwards from an id its entry comes first" => |s| {
        let orders = five(&s).await?;
        same("from 2-2", orders.read(back_from(at(2, 2))).await?, ["c", "b", "a"])?;
        same("from 4-0", orders.read(back_from(at(4, 0))).await?, ["c", "b", "a"])?;
        same("from 1-0", orders.read(back_from(at(1, 0))).await?, NOTHING)?;
        same("from the greatest", orders.read(back_from(ReadFrom::Id(EntryId::MAX))).await?, ["e", "d", "c", "b", "a"])?;
    }

    "backwards after an id its entry does not come" => |s| {
        let orders = five(&s).await?;
        same("beyond 2-2", orders.read(back_from(after(2, 2))).await?, ["b", "a"])?;
        same("beyond 1-1", orders.read(back_from(after(1, 1))).await?, NOTHING)?;
        same("beyond 0-0", orders.read(back_from(after(0, 0))).await?, NOTHING)?;
    }

    "backwards reading ends at an id that still comes" => |s| {
        let orders = five(&s).await?;
        let to = |ms, seq| ReadOptions { to: Some(EntryId::new(ms, seq)), ..back_from(ReadFrom::End) };
        same("down to 2-2", orders.read(to(2, 2)).await?, ["e", "d", "c"])?;
        same("down to 4-0", orders.read(to(4, 0)).await?, ["e", "d"])?;
        same("down to 9-10", orders.read(to(9, 10)).await?, NOTHING)?;
    }

    "backwards no more entries come than asked for" => |s| {
        let options = ReadOptions { count: 2, ..back_from(ReadFrom::End) };
        same("the newest two", five(&s).await?.read(options).await?, ["e", "d"])?;
    }

    "the last entry is one read away" => |s| {
        let orders = s.stream();
        orders.add_many(50).await?;
        same("the last", orders.read(ReadOptions { count: 1, ..back_from(ReadFrom::End) }).await?, ["50"])?;
    }

    "a backward read that would wait is refused" => |s| {
        let orders = five(&s).await?;
        let options = ReadOptions { wait: Some(ms(10)), ..back_from(ReadFrom::End) };
        let answer = s.broker().read(&orders.name, options).await;
        refuses!("a waiting backward read", answer, ErrorKind::Invalid(_));
    }

    "a read with an end that would wait is refused" => |s| {
        let orders = five(&s).await?;
        let options = ReadOptions { wait: Some(ms(10)), to: Some(EntryId::MAX), ..from(ReadFrom::Start) };
        let answer = s.broker().read(&orders.name, options).await;
        refuses!("a waiting read with an end", answer, ErrorKind::Invalid(_));
    }
};

pub(super) static TIMES: &[Case] = cases! { Streams, "reading by time";
    "from a time on comes what was appended then or later" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        s.advance(ms(30)).await;
        orders.add("b").await?;
        s.advance(ms(30)).await;
        orders.add("c").await?;
        let times: Vec<_> = orders.entries(from(ReadFrom::Start)).await?.iter().map(|e| e.appended_at).collect();
        same("from b's time", orders.read(from(ReadFrom::Time(times[1]))).await?, ["b", "c"])?;
        let later = Timestamp(times[1].0 + 1);
        same("from just after it", orders.read(from(ReadFrom::Time(later))).await?, ["c"])?;
        same("from time 0", orders.read(from(ReadFrom::Time(Timestamp(0)))).await?, ["a", "b", "c"])?;
    }

    "backwards from a time comes what was appended then or earlier" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        s.advance(ms(30)).await;
        orders.add("b").await?;
        s.advance(ms(30)).await;
        orders.add("c").await?;
        let times: Vec<_> = orders.entries(from(ReadFrom::Start)).await?.iter().map(|e| e.appended_at).collect();
        same("from b's time", orders.read(back_from(ReadFrom::Time(times[1]))).await?, ["b", "a"])?;
        let earlier = Timestamp(times[1].0 - 1);
        same("from just before it", orders.read(back_from(ReadFrom::Time(earlier))).await?, ["a"])?;
    }

    "from a time in the future nothing is read" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let now = orders.entries(from(ReadFrom::Start)).await?[0].appended_at;
        let future = ReadFrom::Time(Timestamp(now.0 + 3_600_000));
        same("forwards", orders.read(from(future)).await?, NOTHING)?;
        same("backwards", orders.read(back_from(future)).await?, ["a"])?;
    }
};

pub(super) static POSITIONS: &[Case] = cases! { Positions, "positions";
    "entries are counted from 0 in their stream" => |s| {
        let orders = five(&s).await?;
        let entries = orders.entries(from(ReadFrom::Start)).await?;
        same("positions", entries.iter().map(|e| e.position).collect::<Vec<_>>(), [0, 1, 2, 3, 4].map(Some))?;
    }

    "entries are counted in their namespace over all streams" => |s| {
        let (orders, bills) = (s.stream_named("orders"), s.stream_named("bills"));
        orders.add("a").await?;
        bills.add("b").await?;
        orders.add("c").await?;
        let (mut of_orders, of_bills) =
            (orders.entries(from(ReadFrom::Start)).await?, bills.entries(from(ReadFrom::Start)).await?);
        of_orders.insert(1, of_bills[0].clone());
        let counted: Vec<_> = of_orders.iter().map(|entry| entry.global_position).collect();
        holds("all are counted from 1", counted.iter().all(|position| *position >= Some(1)), &counted)?;
        holds("in the order of the appends", counted.is_sorted_by(|a, b| a < b), &counted)?;
    }

    "from a position on its entry comes first" => |s| {
        let orders = five(&s).await?;
        same("from 2", orders.read(from(ReadFrom::Position(2))).await?, ["c", "d", "e"])?;
        same("from 5", orders.read(from(ReadFrom::Position(5))).await?, NOTHING)?;
        same("backwards from 2", orders.read(back_from(ReadFrom::Position(2))).await?, ["c", "b", "a"])?;
        same("backwards from 99", orders.read(back_from(ReadFrom::Position(99))).await?, ["e", "d", "c", "b", "a"])?;
    }

    "from the position of a deleted entry the next one comes first" => |s| {
        let orders = five(&s).await?;
        orders.delete(&[EntryId::new(2, 2)]).await?;
        same("from 2", orders.read(from(ReadFrom::Position(2))).await?, ["d", "e"])?;
        same("backwards from 2", orders.read(back_from(ReadFrom::Position(2))).await?, ["b", "a"])?;
    }

    "positions do not move when entries before them go" => |s| {
        let orders = five(&s).await?;
        orders.delete(&[EntryId::new(1, 1), EntryId::new(2, 2)]).await?;
        let entries = orders.entries(from(ReadFrom::Start)).await?;
        same("positions", entries.iter().map(|e| e.position).collect::<Vec<_>>(), [1, 3, 4].map(Some))?;
    }

    "the version of a stream is the position of its last entry" => |s| {
        let orders = five(&s).await?;
        same("the version", orders.head().await?.version, Some(4))?;
    }

    "a delivery knows the position of its entry" => |s| {
        let orders = five(&s).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 10).await?;
        let positions: Vec<_> = given.iter().map(|delivery| delivery.entry.position).collect();
        same("positions", positions, [0, 1, 2, 3, 4].map(Some))?;
    }
};
