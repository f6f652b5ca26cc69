//! Streams as a whole: their ends and counters, their names, removing them and their entries.

use std::collections::BTreeSet;

use super::vocabulary::*;

/// All names under a pattern, page by page.
async fn names(s: &Story, pattern: &[u8], count: u64, with_side_streams: bool) -> Result<Vec<String>, Wrong> {
    let (mut names, mut after) = (Vec::new(), None);
    for _ in 0..10_000 {
        let options =
            ListStreams { pattern: pattern.to_vec(), after: after.take(), count, with_side_streams };
        let page = went("streams are listed", s.broker().list_streams(options).await)?;
        names.extend(page.names.iter().map(|name| text(name)));
        after = page.next;
        if after.is_none() {
            return Ok(names.into_iter().collect::<BTreeSet<_>>().into_iter().collect());
        }
    }
    Err(Wrong::new("streams are listed page by page", "an end", "none after 10000 pages"))
}

/// The names of the story's streams under a pattern, without what all of them begin with.
async fn own(s: &Story, pattern: &str) -> Result<Vec<String>, Wrong> {
    let found = names(s, format!("{}/{pattern}", s.prefix()).as_bytes(), 100, false).await?;
    Ok(found.iter().map(|name| name[s.prefix().len() + 1..].to_owned()).collect())
}

/// Streams of these names, each with an entry.
async fn made(s: &Story, names: &[&str]) -> Result<(), Wrong> {
    for name in names {
        s.stream_named(name).add("a").await?;
    }
    Ok(())
}

const NOTHING: [&str; 0] = [];

pub(super) static HEADS: &[Case] = cases! { Streams, "streams";
    "the head is the last id and the version" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        same("the head", orders.head().await?, Head { last_id: ids[2], version: Some(2) })?;
    }

    "a missing stream has no head and no counters" => |s| {
        let missing = s.stream_named("missing");
        same("its head", went("the head", s.broker().head(&missing.name).await)?, None)?;
        same("its counters", went("the counters", s.broker().stream_info(&missing.name).await)?, None)?;
    }

    "the head stays where it is when the last entry is deleted" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b"]).await?;
        orders.delete(&ids[1..]).await?;
        same("the head", orders.head().await?, Head { last_id: ids[1], version: Some(1) })?;
    }

    "the head stays where it is when everything is trimmed" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b"]).await?;
        orders.trim(TrimTo::Length(0)).await?;
        same("the head", orders.head().await?, Head { last_id: ids[1], version: Some(1) })?;
    }

    "a stream that a group made is empty" => |s| {
        let orders = s.stream();
        orders.group("billing", policy()).await?;
        same("the head", orders.head().await?, Head { last_id: EntryId::MIN, version: None })?;
        let info = orders.info().await?;
        same("length and groups", (info.length, info.groups), (0, 1))?;
    }

    "the counters of a stream count" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c", "d"]).await?;
        orders.delete(&ids[..2]).await?;
        orders.group("billing", policy()).await?;
        orders.group("shipping", policy()).await?;
        let info = orders.info().await?;
        let want = StreamInfo { length: 2, last_id: ids[3], entries_added: 4, first_id: Some(ids[2]), groups: 2 };
        same("the counters", info, want)?;
    }

    "an empty stream has no first id" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        orders.delete(&[id]).await?;
        let info = orders.info().await?;
        let want = StreamInfo { length: 0, last_id: id, entries_added: 1, first_id: None, groups: 0 };
        same("the counters", info, want)?;
    }
};

pub(super) static REMOVAL: &[Case] = cases! { Streams, "removing";
    "deleting says how many there were" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        same("two and a missing one", orders.delete(&[ids[0], ids[2], EntryId::new(7, 7)]).await?, 2)?;
        same("the same again", orders.delete(&[ids[0], ids[2]]).await?, 0)?;
        same("what is left", orders.all().await?, ["b"])?;
    }

    "an id that is given twice is deleted once" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        same("twice the same", orders.delete(&[id, id]).await?, 1)?;
    }

    "deleting in a missing stream finds nothing" => |s| {
        same("of a missing stream", s.stream_named("missing").delete(&[EntryId::new(1, 1)]).await?, 0)?;
    }

    "deleting no entries does nothing" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        same("none", orders.delete(&[]).await?, 0)?;
        same("what is left", orders.all().await?, ["a"])?;
    }

    "a deleted entry is not given to a group" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        orders.delete(&ids[1..2]).await?;
        same("what ann reads", billing.gives("ann", GroupSource::New).await?, ["a", "c"])?;
    }

    "the row of a deleted entry stays until somebody would be given it" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 10).await?;
        orders.delete(&ids[..1]).await?;
        same("rows", billing.rows().await?.len(), 2)?;
        same("ann's history", billing.gives("ann", HISTORY).await?, ["b"])?;
        same("the rows left", billing.rows().await?.len(), 1)?;
    }

    "the delivery of a deleted entry may be acknowledged" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        orders.delete(&[given.entry.id]).await?;
        billing.ack(&[given]).await?;
        same("rows", billing.rows().await?.len(), 0)?;
    }

    "a required group does not hold what is deleted by id" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        orders.group("billing", Policy { required: true, ..policy() }).await?;
        same("deleted", orders.delete(&[id]).await?, 1)?;
        same("what is left", orders.all().await?, NOTHING)?;
    }

    "a removed stream is gone with its groups" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        same("whether there was one", went("it is removed", s.broker().delete_stream(&orders.name).await)?, true)?;
        same("the head", went("the head", s.broker().head(&orders.name).await)?, None)?;
        let groups = went("the groups", s.broker().groups(&orders.name).await)?;
        same("its groups", groups.len(), 0)?;
    }

    "removing a missing stream answers so" => |s| {
        let missing = s.stream_named("missing");
        same("removed", went("it is removed", s.broker().delete_stream(&missing.name).await)?, false)?;
    }

    "a stream that comes again after its removal begins anew" => |s| {
        let orders = s.stream();
        orders.add_at(9, 9, "a").await?;
        orders.keep(Retention { length: Some(1), ..Retention::default() }).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        went("it is removed", s.broker().delete_stream(&orders.name).await)?;
        orders.add_at(1, 1, "b").await?;
        orders.add_at(1, 2, "c").await?;
        same("what is read", orders.all().await?, ["b", "c"])?;
        same("the version", orders.head().await?.version, Some(1))?;
        let retention = went("the retention", s.broker().retention(&orders.name).await)?;
        same("its retention", retention, None)?;
        let billing = orders.group("billing", policy()).await?;
        same("rows of a group of the same name", billing.rows().await?.len(), 0)?;
        same("what it is given", billing.gives("ann", GroupSource::New).await?, ["b", "c"])?;
    }

    "the lost entries of a removed stream are forgotten" => |s| {
        let orders = s.stream();
        orders.group("billing", Policy { required: true, ..policy() }).await?;
        orders.keep(Retention { length: Some(1), hold: Some(0), ..Retention::default() }).await?;
        orders.add_all(&["a", "b"]).await?;
        same("lost", orders.lost().await?.len(), 1)?;
        went("it is removed", s.broker().delete_stream(&orders.name).await)?;
        same("lost afterwards", orders.lost().await?.len(), 0)?;
    }

    "dead letters stay when their stream is removed" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        orders.group("billing", policy()).await?.bury_all().await?;
        let dead = went("the name of the dead letters", dead_letters_of(&orders.name, b"billing"))?;
        went("it is removed", s.broker().delete_stream(&orders.name).await)?;
        same("dead letters", Stream::new(s.clone(), dead).info().await?.length, 1)?;
    }
};

pub(super) static NAMES: &[Case] = cases! { Streams, "names of streams";
    "all streams are listed" => |s| {
        made(&s, &["a", "b", "c"]).await?;
        same("all", own(&s, "*").await?, ["a", "b", "c"])?;
    }

    "a glob with a star matches any rest" => |s| {
        made(&s, &["orders-1", "orders-2", "bills-1"]).await?;
        same("orders-*", own(&s, "orders-*").await?, ["orders-1", "orders-2"])?;
        same("*-1", own(&s, "*-1").await?, ["bills-1", "orders-1"])?;
        same("*s-*", own(&s, "*s-*").await?, ["bills-1", "orders-1", "orders-2"])?;
    }

    "a glob with a question mark matches one byte" => |s| {
        made(&s, &["a1", "a2", "a", "a12"]).await?;
        same("a?", own(&s, "a?").await?, ["a1", "a2"])?;
    }

    "a glob with a class matches one of it" => |s| {
        made(&s, &["a1", "a2", "a3", "a9", "ab"]).await?;
        same("a[1-3]", own(&s, "a[1-3]").await?, ["a1", "a2", "a3"])?;
        same("a[19]", own(&s, "a[19]").await?, ["a1", "a9"])?;
        same("a[^1-3]", own(&s, "a[^1-3]").await?, ["a9", "ab"])?;
    }

    "a backslash in a glob takes the meaning of what follows" => |s| {
        made(&s, &["a*", "ab", "a?"]).await?;
        same("a\\*", own(&s, "a\\*").await?, ["a*"])?;
        same("a\\?", own(&s, "a\\?").await?, ["a?"])?;
    }

    "a name without a glob matches itself" => |s| {
        made(&s, &["orders", "orders2"]).await?;
        same("orders", own(&s, "orders").await?, ["orders"])?;
        same("nobody", own(&s, "nobody").await?, NOTHING)?;
    }

    "streams are listed page by page" => |s| {
        let many: Vec<String> = (0..25).map(|n| format!("s{n:02}")).collect();
        made(&s, &many.iter().map(|name| &**name).collect::<Vec<_>>()).await?;
        let pattern = format!("{}/*", s.prefix());
        let found = names(&s, pattern.as_bytes(), 4, false).await?;
        let found: Vec<_> = found.iter().map(|name| name[s.prefix().len() + 1..].to_owned()).collect();
        same("all pages together", found, many)?;
    }

    "a removed stream is not listed" => |s| {
        made(&s, &["a", "b"]).await?;
        went("a is removed", s.broker().delete_stream(&s.stream_named("a").name).await)?;
        same("all", own(&s, "*").await?, ["b"])?;
    }

    "side streams are listed only when asked for" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        orders.group("billing", policy()).await?.bury_all().await?;
        let pattern = format!("*{}*", s.prefix());
        let dead = text(&went("the name of the dead letters", dead_letters_of(&orders.name, b"billing"))?);
        same("without them", names(&s, pattern.as_bytes(), 100, false).await?, [text(&orders.name)])?;
        let with = names(&s, pattern.as_bytes(), 100, true).await?;
        holds("with them the dead letters are there", with.contains(&dead), &with)?;
        holds("and the stream itself", with.contains(&text(&orders.name)), &with)?;
    }

    "nothing but streams is listed" => |s| {
        let orders = s.tagged("orders");
        orders.add_keyed("a", "k").await?;
        orders.add_keyed("b", "k").await?;
        let billing = orders.group("billing", by_key()).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, nak(Some(FOREVER))).await?;
        billing.pause(None).await?;
        orders.keep(Retention { length: Some(100), ..Retention::default() }).await?;
        let pattern = format!("*{}*", s.prefix());
        for name in names(&s, pattern.as_bytes(), 100, true).await? {
            let is_own = name == text(&orders.name) || is_side_stream(name.as_bytes());
            holds("a listed name is the stream's or a side stream's", is_own, &name)?;
        }
    }
};
