//! Delivery in the order of keys: per key at most one entry at a time, in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// A group ordered by key with these entries, each a label and a key.
async fn keyed(s: &Story, entries: &[(&str, &str)], policy: Policy) -> Result<Group, Wrong> {
    let orders = s.stream();
    for (label, key) in entries {
        orders.add_keyed(label, key).await?;
    }
    orders.group("billing", policy).await
}

/// One consumer handles everything there is, one entry after the other; what fails, by `is_good`, comes again.
async fn work_off(
    group: &Group,
    by: &str,
    is_good: impl Fn(&Delivery) -> bool,
) -> Result<Vec<String>, Wrong> {
    let mut done = Vec::new();
    loop {
        let given = group.read_with(ReadGroup { count: 3, ..group.options(by, AVAILABLE) }).await?;
        if given.is_empty() {
            return Ok(done);
        }
        for delivery in given {
            if is_good(&delivery) {
                done.push(delivery.label());
                group.ack(&[delivery]).await?;
            } else {
                group.settle(&delivery, nak(None)).await?;
            }
        }
    }
}

pub(super) static ORDER: &[Case] = cases! { Streams, "key order";
    "of each key one entry is given at a time" => |s| {
        let all = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b")];
        let billing = keyed(&s, &all, by_key()).await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["a1", "b1"])?;
        same("the states", billing.states().await?, ["in flight", "waiting", "in flight", "waiting", "waiting"])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, NOTHING)?;
    }

    "when an entry is done the next one with its key comes" => |s| {
        let all = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")];
        let billing = keyed(&s, &all, by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.ack(&given[..1]).await?;
        same("the states", billing.states().await?, ["ready", "waiting", "in flight"])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, ["a2"])?;
    }

    "entries without the field are ordered after nothing" => |s| {
        let orders = s.stream();
        orders.add_all(&["x", "y"]).await?;
        orders.add_keyed("a1", "a").await?;
        orders.add_all(&["z"]).await?;
        let billing = orders.group("billing", by_key()).await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["x", "y", "a1", "z"])?;
    }

    "an empty key is a key" => |s| {
        let billing = keyed(&s, &[("x", ""), ("y", "")], by_key()).await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["x"])?;
    }

    "keys may be any bytes" => |s| {
        let orders = s.stream();
        let keys: [&[u8]; 4] = [b"\0", b"\0\0", b"\xff", b"\0"];
        for (n, key) in keys.iter().enumerate() {
            let n = n.to_string();
            let fields: [(&[u8], &[u8]); 2] = [(b"n", n.as_bytes()), (b"key", key)];
            went("an append", s.broker().append(&orders.name, &fields, AppendOptions::default()).await)?;
        }
        let billing = orders.group("billing", by_key()).await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["0", "1", "2"])?;
    }

    "a read looks past busy keys for others" => |s| {
        let mut all = vec![("a", "a"); 60];
        all.push(("b", "b"));
        let billing = keyed(&s, &all, by_key()).await?;
        let options = ReadGroup { count: 2, ..billing.options("ann", GroupSource::New) };
        same("what ann is given", labels(&billing.read_with(options).await?), ["a", "b"])?;
        same("the counts", billing.counts().await?, [59, 2, 0, 0, 0])?;
    }

    "what waits is not yet delivered and not yet counted" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], by_key()).await?;
        billing.take("ann", GroupSource::New).await?;
        let rows = billing.rows().await?;
        let waiting = some("the waiting row", rows.last())?;
        same("its state", waiting.state, PendingState::Waiting)?;
        same("its holder and deliveries", (waiting.consumer.clone(), waiting.deliveries), (None, 0))?;
        same("the last-delivered ID is past it", billing.info().await?.last_delivered_id, waiting.id)?;
        same("the counts", billing.counts().await?, [1, 1, 0, 0, 0])?;
    }

    "two groups order the same keys each for itself" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], by_key()).await?;
        let shipping = billing.stream.group("shipping", by_key()).await?;
        same("billing", billing.gives("ann", GroupSource::New).await?, ["a1"])?;
        same("shipping", shipping.gives("ann", GroupSource::New).await?, ["a1"])?;
        let audit = billing.stream.group("audit", policy()).await?;
        same("a group without key", audit.gives("ann", GroupSource::New).await?, ["a1", "a2"])?;
    }

    "one consumer works off all keys in order" => |s| {
        let all = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b"), ("c1", "c")];
        let billing = keyed(&s, &all, by_key()).await?;
        let done = work_off(&billing, "ann", |_| true).await?;
        for key in ["a", "b", "c"] {
            let of_key: Vec<_> = done.iter().filter(|label| label.starts_with(key)).collect();
            holds(&format!("the order of {key}"), of_key.is_sorted(), &of_key)?;
        }
        same("how many were done", done.len(), 6)?;
    }

    "many keys are worked off in order by many consumers that fail now and then" => |s| {
        let orders = s.stream();
        for n in 0..120 {
            orders.add_keyed(&format!("{n:03}"), &format!("k{}", n % 10)).await?;
        }
        let billing = orders.group("billing", by_key()).await?;
        let done: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
        let workers: Vec<_> = (0..4).map(|n| {
            let (billing, done, by) = (billing.clone(), done.clone(), format!("c{n}"));
            tokio::spawn(async move {
                for _ in 0..5_000 {
                    let options = ReadGroup { count: 3, ..billing.options(&by, AVAILABLE) };
                    for (nth, given) in billing.read_with(options).await?.into_iter().enumerate() {
                        if given.failures == 0 && nth == 1 {
                            billing.settle(&given, nak(None)).await?;
                            continue;
                        }
                        let key = value_of(&given.entry, "key").unwrap_or_default();
                        done.lock().expect("nobody panics").entry(key).or_default().push(given.label());
                        billing.ack(&[given]).await?;
                    }
                    if billing.counts().await? == [0, 0, 0, 0, 0] {
                        break;
                    }
                }
                Ok(())
            })
        }).collect();
        for worker in workers {
            s.ends("a worker", worker).await?;
        }
        let done = done.lock().expect("nobody panics").clone();
        same("how many were done", done.values().map(Vec::len).sum::<usize>(), 120)?;
        for (key, of_key) in done {
            holds(&format!("the order of {key}"), of_key.is_sorted(), &of_key)?;
        }
    }
};

pub(super) static PARKING: &[Case] = cases! { Streams, "parked keys";
    "a failing key parks itself and does not stop the others" => |s| {
        let all = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("c1", "c")];
        let billing = keyed(&s, &all, by_key()).await?;
        let first = billing.next("ann").await?;
        billing.settle(&first, nak(Some(FOREVER))).await?;
        let done = work_off(&billing, "bob", |_| true).await?;
        same("what is done meanwhile", done, ["b1", "c1", "b2"])?;
        same("the states", billing.states().await?, ["delayed", "waiting"])?;
    }

    "a key whose entry is ready again is still busy" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], by_key()).await?;
        let first = billing.next("ann").await?;
        billing.settle(&first, nak(None)).await?;
        same("new", billing.gives("bob", GroupSource::New).await?, NOTHING)?;
        same("what comes", billing.gives("bob", AVAILABLE).await?, ["a1"])?;
    }

    "a failing entry is tried again before later ones with its key" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a"), ("a3", "a")], by_key()).await?;
        let done = work_off(&billing, "ann", |given| given.failures >= 2).await?;
        same("the order", done, ["a1", "a2", "a3"])?;
    }

    "a dead letter frees its key" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], Policy { failures_max: 1, ..by_key() }).await?;
        let first = billing.next("ann").await?;
        same("the failure", billing.settle(&first, nak(None)).await?, Settled::DeadLettered)?;
        same("what comes", billing.gives("ann", AVAILABLE).await?, ["a2"])?;
    }

    "an entry that was given out too often frees its key" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], Policy { deliveries_max: 1, ..by_key() }).await?;
        billing.next("ann").await?;
        let source = GroupSource::Available { idle_min: Some(Duration::ZERO) };
        let given = billing.comes("bob", source).await?;
        same("what comes", given.label(), "a2".to_owned())?;
        same("dead letters", billing.dead_labels().await?, ["a1"])?;
    }

    "a lease that is over hands the entry on, not the next one" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], Policy { lease: SOON, ..by_key() }).await?;
        billing.next("crashed").await?;
        same("what comes", billing.comes("bob", AVAILABLE).await?.label(), "a1".to_owned())?;
    }

    "a removed consumer's keys go on in order" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], by_key()).await?;
        billing.next("ann").await?;
        billing.dismiss("ann", PendingFate::HandBack).await?;
        same("what is done", work_off(&billing, "bob", |_| true).await?, ["a1", "a2"])?;
    }

    "a deleted entry that waits is passed over" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a"), ("a3", "a")], by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        let rows = billing.rows().await?;
        billing.stream.delete(&[rows[1].id]).await?;
        billing.ack(&given).await?;
        same("what comes", billing.comes("bob", AVAILABLE).await?.label(), "a3".to_owned())?;
    }

    "a deleted entry in flight frees its key when it is dropped" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a")], by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.stream.delete(&ids(&given)).await?;
        same("ann's history", billing.gives("ann", HISTORY).await?, NOTHING)?;
        same("what comes", billing.comes("bob", AVAILABLE).await?.label(), "a2".to_owned())?;
    }

    "a seek back orders the keys anew" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a"), ("b1", "b")], by_key()).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.seek(SeekTo::Start).await?;
        same("the rows", billing.rows().await?.len(), 0)?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["a1", "b1"])?;
    }

    "without the key all that waits is let go" => |s| {
        let billing = keyed(&s, &[("a1", "a"), ("a2", "a"), ("a3", "a")], by_key()).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.set_policy(policy()).await?;
        same("the states", billing.states().await?, ["in flight", "ready", "ready"])?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, ["a2", "a3"])?;
    }

    "another key holds for what was not given out yet" => |s| {
        let orders = s.stream();
        orders.add_fields(&[("n", "1"), ("key", "a"), ("other", "x")]).await?;
        let billing = orders.group("billing", by_key()).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.set_policy(Policy { key: Some(b"other".to_vec()), ..policy() }).await?;
        orders.add_fields(&[("n", "2"), ("key", "a"), ("other", "y")]).await?;
        orders.add_fields(&[("n", "3"), ("key", "b"), ("other", "y")]).await?;
        same("what bob is given", billing.gives("bob", GroupSource::New).await?, ["2"])?;
    }

    "a key is free again when its only entry is done" => |s| {
        let billing = keyed(&s, &[("a1", "a")], by_key()).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.ack(&given).await?;
        billing.stream.add_keyed("a2", "a").await?;
        same("what is new", billing.gives("ann", GroupSource::New).await?, ["a2"])?;
    }
};
