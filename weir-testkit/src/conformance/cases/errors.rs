//! Errors: they name the thing, and what is refused has changed nothing.

use super::vocabulary::*;

/// What the error says has all of this in it.
fn names(error: &Error, all: &[&str]) -> Result<(), Wrong> {
    let said = error.to_string();
    for part in all {
        holds(&format!("the error names {part:?}"), said.contains(part), &said)?;
    }
    Ok(())
}

pub(super) static ERRORS: &[Case] = cases! { Streams, "errors";
    "a missing group is named" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let answer = s.broker().pending_summary(&orders.name, b"billing-7").await;
        names(&refuses!("what is pending", answer, ErrorKind::NoSuchGroup), &["billing-7", &text(&orders.name)])?;
        let options = orders.existing_group("billing-7").options("ann", GroupSource::New);
        let answer = s.broker().read_group(&orders.name, options).await;
        names(&refuses!("a read", answer, ErrorKind::NoSuchGroup), &["billing-7", &text(&orders.name)])?;
    }

    "a group that exists otherwise is named" => |s| {
        let orders = s.stream();
        orders.group("billing-7", policy()).await?;
        let options = CreateGroup { origin: GroupOrigin::End, policy: policy() };
        let answer = s.broker().create_group(&orders.name, b"billing-7", options).await;
        names(&refuses!("another origin", answer, ErrorKind::GroupExists), &["billing-7"])?;
    }

    "the last id is named where another is too small" => |s| {
        let orders = s.stream();
        orders.add_at(77, 3, "a").await?;
        let options = AppendOptions { id: Some(EntryId::new(5, 5)), ..AppendOptions::default() };
        let error = refuses!("an old ID", orders.append(&[("n", "b")], options).await, ErrorKind::IdNotGreater { .. });
        names(&error, &["77-3"])?;
    }

    "the actual version is named" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let options = AppendOptions { expected: Expected::Version(9), ..AppendOptions::default() };
        let answer = orders.append(&[("n", "b")], options).await;
        names(&refuses!("a wrong version", answer, ErrorKind::VersionMismatch { .. }), &["2"])?;
    }

    "what is wrong with a policy is named" => |s| {
        let orders = s.stream();
        for (bad, what) in [
            (Policy { failures_max: 0, ..policy() }, "failures_max"),
            (Policy { deliveries_max: 0, ..policy() }, "deliveries_max"),
            (Policy { lease: Duration::ZERO, ..policy() }, "lease"),
        ] {
            let options = CreateGroup { origin: GroupOrigin::End, policy: bad };
            let answer = s.broker().create_group(&orders.name, b"billing", options).await;
            names(&refuses!(what, answer, ErrorKind::Invalid(_)), &[what])?;
        }
    }

    "the limit that was reached is named" => |s| {
        let orders = s.stream();
        let batch = orders.batch(&vec![("a", None, None); 10_001], BatchOptions::default()).await;
        names(&refuses!("a large batch", batch, ErrorKind::LimitReached(_)), &["batch"])?;
    }

    "what asking again does not mend is no reason to ask again" => |s| {
        let orders = s.stream();
        let missing = s.broker().lag(&orders.name, b"none").await;
        let missing = refuses!("the lag of a missing group", missing, ErrorKind::NoSuchGroup);
        same("whether to ask again", missing.is_retryable(), false)?;
        let empty = orders.append(&[], AppendOptions::default()).await;
        let empty = refuses!("an append without fields", empty, ErrorKind::Invalid(_));
        same("whether to ask again", empty.is_retryable(), false)?;
    }

    "every verb for a group refuses a missing stream" => |s| {
        let (broker, none) = (s.broker(), s.stream_named("missing"));
        let (stream, group) = (&none.name, b"billing");
        let named = none.existing_group("billing");
        let row = RestoredRow {
            id: EntryId::new(1, 1), consumer: None, idle: Duration::ZERO, deliveries: 1, failures: 0, delay: None,
        };
        let settle = [Settle { id: EntryId::new(1, 1), token: None, settlement: Settlement::Ack }];
        let claim = Claim {
            group: group.to_vec(), consumer: b"ann".to_vec(), idle_min: Duration::ZERO, ids: vec![EntryId::new(1, 1)],
        };
        let options = named.options("ann", HISTORY);
        let seek = Seek { to: SeekTo::End, dry_run: true };
        refuses!("set_policy", broker.set_policy(stream, group, policy()).await, ErrorKind::NoSuchGroup);
        refuses!("seek", broker.seek(stream, group, seek).await, ErrorKind::NoSuchGroup);
        refuses!("pause", broker.pause(stream, group, None).await, ErrorKind::NoSuchGroup);
        refuses!("resume", broker.resume(stream, group).await, ErrorKind::NoSuchGroup);
        refuses!("create_consumer", broker.create_consumer(stream, group, b"ann").await, ErrorKind::NoSuchGroup);
        refuses!("consumers", broker.consumers(stream, group).await, ErrorKind::NoSuchGroup);
        let gone = broker.delete_consumer(stream, group, b"ann", PendingFate::HandBack).await;
        refuses!("delete_consumer", gone, ErrorKind::NoSuchGroup);
        refuses!("lag", broker.lag(stream, group).await, ErrorKind::NoSuchGroup);
        refuses!("read_group", broker.read_group(stream, options).await, ErrorKind::NoSuchGroup);
        refuses!("settle", broker.settle(stream, group, &settle).await, ErrorKind::NoSuchGroup);
        refuses!("claim", broker.claim(stream, claim).await, ErrorKind::NoSuchGroup);
        refuses!("pending_summary", broker.pending_summary(stream, group).await, ErrorKind::NoSuchGroup);
        refuses!("pending", broker.pending(stream, group, every_row()).await, ErrorKind::NoSuchGroup);
        refuses!("restore_pending", broker.restore_pending(stream, group, &[row]).await, ErrorKind::NoSuchGroup);
        same("the stream", went("the head", broker.head(stream).await)?, None)?;
    }

    "what is refused makes no stream" => |s| {
        let orders = s.stream();
        let wrong = AppendOptions { expected: Expected::Version(3), ..AppendOptions::default() };
        refuses!("a wrong version", orders.append(&[("n", "a")], wrong).await, ErrorKind::VersionMismatch { .. });
        let zero = AppendOptions { id: Some(EntryId::MIN), ..AppendOptions::default() };
        refuses!("0-0", orders.append(&[("n", "a")], zero).await, ErrorKind::IdZero);
        let bad = CreateGroup { origin: GroupOrigin::End, policy: Policy { failures_max: 0, ..policy() } };
        let answer = s.broker().create_group(&orders.name, b"billing", bad).await;
        refuses!("a bad policy", answer, ErrorKind::Invalid(_));
        same("the stream", went("the head", s.broker().head(&orders.name).await)?, None)?;
    }

    "a refused append leaves no trace in the groups" => |s| {
        let orders = s.stream();
        orders.add_at(5, 5, "a").await?;
        let billing = orders.group("billing", policy()).await?;
        let old = AppendOptions { id: Some(EntryId::new(5, 5)), ..AppendOptions::default() };
        refuses!("an old ID", orders.append(&[("n", "b")], old).await, ErrorKind::IdNotGreater { .. });
        same("the counts", billing.counts().await?, [1, 0, 0, 0, 0])?;
        same("entries ever added", orders.info().await?.entries_added, 1)?;
    }
};
