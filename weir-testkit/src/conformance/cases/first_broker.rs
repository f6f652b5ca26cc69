//! The five stories and the documented examples of the simple stream broker whose interface came first, told on the
//! traits.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// The group `workers` of the stream `tasks`, from the first task on.
async fn workers(s: &Story, tasks: &[&str]) -> Result<Group, Wrong> {
    let stream = s.stream_named("tasks");
    stream.add_all(tasks).await?;
    stream.group("workers", policy()).await
}

pub(super) static STORIES: &[Case] = cases! { Streams, "the five stories";
    "two messages that are fired and forgotten have different ids" => |s| {
        let notifications = s.stream_named("notifications");
        let mail = [("type", "email"), ("to", "user@example.com"), ("subject", "Welcome!")];
        let text = [("type", "sms"), ("to", "+1234567890"), ("message", "Your code is 1234")];
        let (mail, text) = (notifications.add_fields(&mail).await?, notifications.add_fields(&text).await?);
        holds("they differ", mail != text && mail > EntryId::MIN, (mail, text))?;
        same("the length", notifications.info().await?.length, 2)?;
    }

    "two consumers of a group share three tasks" => |s| {
        let workers = workers(&s, &["1", "2", "3"]).await?;
        same("consumer1 reads two", labels(&workers.read("consumer1", 2).await?), ["1", "2"])?;
        same("consumer2 asks for two", labels(&workers.read("consumer2", 2).await?), ["3"])?;
    }

    "a message is pending until it is acknowledged" => |s| {
        let workers = workers(&s, &["1"]).await?;
        let given = workers.next("consumer1").await?;
        same("pending", workers.summary().await?.count, 1)?;
        same("the acknowledgement", workers.settle(&given, Settlement::Ack).await?, Settled::Done)?;
        same("pending afterwards", workers.summary().await?.count, 0)?;
    }

    "a second consumer claims what the first let lie" => |s| {
        let workers = workers(&s, &["1", "2"]).await?;
        workers.read("consumer1", 2).await?;
        s.advance(ms(150)).await;
        let claimed = workers.auto_claim("consumer2", ms(100), EntryId::MIN, 10).await?.deliveries;
        same("what consumer2 has", labels(&claimed), ["1", "2"])?;
        workers.ack(&claimed).await?;
        same("pending afterwards", workers.summary().await?.count, 0)?;
    }

    "ten entries are trimmed to five" => |s| {
        let tasks = s.stream_named("tasks");
        tasks.add_many(10).await?;
        same("the trim", tasks.trim(TrimTo::Length(5)).await?, Trimmed { removed: 5, held: 0 })?;
        same("the length", tasks.info().await?.length, 5)?;
    }
};

pub(super) static EXAMPLES: &[Case] = cases! { Streams, "the documented examples";
    "a worker reads, processes and acknowledges, and the next gets different messages" => |s| {
        let workers = workers(&s, &["1", "2", "3", "4"]).await?;
        let first = workers.read("worker-1", 2).await?;
        workers.ack(&first).await?;
        let second = workers.read("worker-2", 10).await?;
        workers.ack(&second).await?;
        same("both together", [labels(&first), labels(&second)].concat(), ["1", "2", "3", "4"])?;
        same("pending", workers.summary().await?.count, 0)?;
    }

    "a long poll is answered as soon as there is a task" => |s| {
        let workers = workers(&s, &[]).await?;
        let before = s.now();
        let polling = workers.wait_beside("worker-1", GroupSource::New, Duration::from_secs(600));
        s.advance(SOON).await;
        workers.stream.add("task").await?;
        let given = s.ends("the long poll", polling).await?;
        same("what it was given", labels(&given), ["task"])?;
        let passed = s.now() - before;
        holds("long before its time was over", passed < Duration::from_secs(300), passed)?;
        workers.ack(&given).await?;
    }

    "a long poll without tasks ends with nothing" => |s| {
        let workers = workers(&s, &[]).await?;
        let polling = workers.wait_beside("worker-1", GroupSource::New, SOON);
        same("what it was given", labels(&s.ends("the long poll", polling).await?), NOTHING)?;
    }

    "no blocking means no blocking, and blocking for ever is said as such" => |s| {
        let workers = workers(&s, &[]).await?;
        let options = |wait| ReadGroup { wait, ..workers.options("worker-1", GroupSource::New) };
        same("none", workers.read_with(options(None)).await?.len(), 0)?;
        same("zero", workers.read_with(options(Some(Duration::ZERO))).await?.len(), 0)?;
        let for_ever = workers.wait_beside("worker-1", GroupSource::New, Duration::MAX);
        s.advance(SOON * 2).await;
        holds("for ever is still waiting", !for_ever.is_finished(), "it came back")?;
        workers.stream.add("task").await?;
        same("what it was given", labels(&s.ends("it", for_ever).await?), ["task"])?;
    }

    "groups and consumers are monitored" => |s| {
        let workers = workers(&s, &["1", "2", "3"]).await?;
        let given = workers.read("worker-1", 2).await?;
        same("the length", workers.stream.info().await?.length, 3)?;
        let info = one("its groups", went("groups", s.broker().groups(&workers.stream.name).await)?)?;
        same("the group", text(&info.name), "workers".to_owned())?;
        same("its last ID and pending", (info.last_delivered_id, info.pending), (given[1].entry.id, 2))?;
        same("its consumers", workers.consumers().await?, [("worker-1".to_owned(), 2)])?;
        let query = PendingQuery { consumer: Some(b"worker-1".to_vec()), ..every_row() };
        same("pending of worker-1", workers.rows_of(query).await?.len(), 2)?;
        same("the lag", workers.lag().await?.undelivered, 1)?;
    }

    "a log message is appended with its fields" => |s| {
        let logs = s.stream_named("logs");
        logs.add_fields(&[("level", "error"), ("message", "Database connection failed")]).await?;
        let entry = one("the log", logs.entries(from(ReadFrom::Start)).await?)?;
        same("its level", value_of(&entry, "level"), Some("error".to_owned()))?;
    }

    "a group that is deleted takes its pending messages with it" => |s| {
        let workers = workers(&s, &["1"]).await?;
        workers.read("worker-1", 1).await?;
        went("it is deleted", s.broker().delete_group(&workers.stream.name, b"workers").await)?;
        let answer = s.broker().pending_summary(&workers.stream.name, b"workers").await;
        refuses!("its pending messages", answer, ErrorKind::NoSuchGroup);
    }

    "a consumer that is deleted says how many messages it had" => |s| {
        let workers = workers(&s, &["1", "2"]).await?;
        workers.read("worker-1", 2).await?;
        same("how many", workers.dismiss("worker-1", PendingFate::Drop).await?, 2)?;
        same("pending afterwards", workers.summary().await?.count, 0)?;
    }

    "several messages are acknowledged together" => |s| {
        let workers = workers(&s, &["1", "2", "3"]).await?;
        let batch: Vec<_> = workers.read("worker-1", 3).await?.iter().map(|given| {
            Settle { id: given.entry.id, token: Some(given.token), settlement: Settlement::Ack }
        }).collect();
        let settled = went("the acknowledgement", workers.settle_all(&batch).await)?;
        same("how many", settled, [Settled::Done; 3])?;
    }

    "a background job that fails is left for others and done by them" => |s| {
        let workers = workers(&s, &["job"]).await?;
        workers.next("worker-1").await?;
        let again = s.eventually("another worker takes over", || async {
            Ok(workers.auto_claim("worker-2", SOON, EntryId::MIN, 1).await?.deliveries.pop())
        });
        let again = again.await?;
        same("its deliveries", again.deliveries, 2)?;
        workers.ack(&[again]).await?;
    }

    "an event is broadcast to several groups that work each for itself" => |s| {
        let events = s.stream_named("events");
        let mut groups = Vec::new();
        for name in ["analytics-processors", "notification-senders", "audit-loggers"] {
            groups.push(events.group_from(name, GroupOrigin::End, policy()).await?);
        }
        events.add("event").await?;
        for group in &groups {
            let given = group.next("worker").await?;
            same("what a group was given", given.label(), "event".to_owned())?;
        }
        groups[0].settle_id(groups[0].rows().await?[0].id, Settlement::Ack).await?;
        same("another group still holds it", groups[1].summary().await?.count, 1)?;
    }

    "a worker that is held up hands its message back uncounted" => |s| {
        let workers = workers(&s, &["1"]).await?;
        let given = workers.next("rate-limited").await?;
        workers.settle(&given, Settlement::Release { delay: Some(SOON) }).await?;
        let again = workers.comes("rate-limited", RECLAIMED).await?;
        same("its deliveries", again.deliveries, 1)?;
        workers.ack(&[again]).await?;
    }

    "the start of a group is said and the same start may be said again" => |s| {
        let tasks = s.stream_named("tasks");
        tasks.add("old").await?;
        let make = |origin| {
            let options = CreateGroup { origin, policy: policy() };
            let (broker, name) = (s.broker(), tasks.name.clone());
            async move { broker.create_group(&name, b"workers", options).await }
        };
        same("first", went("made", make(GroupOrigin::End).await)?, Created::New)?;
        same("again", went("made again", make(GroupOrigin::End).await)?, Created::Existing)?;
        refuses!("with another start", make(GroupOrigin::Beginning).await, ErrorKind::GroupExists);
    }

    "entries are read in a range and deleted" => |s| {
        let tasks = s.stream_named("tasks");
        let ids = tasks.add_all(&["1", "2", "3"]).await?;
        same("all", tasks.read(ReadOptions { to: Some(EntryId::MAX), ..from(ReadFrom::Start) }).await?.len(), 3)?;
        same("deleted", tasks.delete(&ids[..1]).await?, 1)?;
        same("two of the rest", tasks.read(ReadOptions { count: 1, ..from(ReadFrom::Start) }).await?, ["2"])?;
    }

    "streams of dead letters are found by a pattern" => |s| {
        for name in ["orders.dlq", "bills.dlq", "orders"] {
            s.stream_named(name).add("x").await?;
        }
        let options = ListStreams {
            pattern: format!("{}/*.dlq", s.prefix()).into_bytes(), after: None, count: 1_000, with_side_streams: false,
        };
        let mut found = Vec::new();
        let mut next = Some(options);
        while let Some(options) = next {
            let page = went("streams are listed", s.broker().list_streams(options.clone()).await)?;
            found.extend(page.names.iter().map(|name| text(name)));
            next = page.next.map(|after| ListStreams { after: Some(after), ..options });
        }
        found.sort();
        same("what is found", found, ["bills.dlq", "orders.dlq"].map(|name| format!("{}/{name}", s.prefix())))?;
    }

    "names with colons do not collide" => |s| {
        let (one, other) = (s.stream_named("a:b"), s.stream_named("a"));
        one.add("1").await?;
        other.add("2").await?;
        let (first, second) = (one.group("c", policy()).await?, other.group("b:c", policy()).await?);
        first.read("d:e", 1).await?;
        same("pending of the other", second.summary().await?.count, 0)?;
        same("pending of the one", first.summary().await?.count, 1)?;
    }
};
