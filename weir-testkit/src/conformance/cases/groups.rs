//! Groups: where they start, their policies, what is known of them, their consumers, their end.

use super::vocabulary::*;

/// Makes a group and hands the answer on.
async fn make(stream: &Stream, group: &str, origin: GroupOrigin, policy: Policy) -> Result<Created, Error> {
    let options = CreateGroup { origin, policy };
    stream.story.broker().create_group(&stream.name, group.as_bytes(), options).await
}

/// The policy that a group keeps.
async fn kept(group: &Group) -> Result<Policy, Wrong> {
    some("the group's policy", group.info().await?.policy)
}

/// The group has the policy that it is given at its making, and one that it is given later.
async fn round_trip(s: &Story, wanted: Policy) -> Result<(), Wrong> {
    let orders = s.tagged("orders");
    let made = orders.group("made", wanted.clone()).await?;
    same("the policy it was made with", kept(&made).await?, wanted.clone())?;
    let set = orders.group("set", Policy { dead_letter: None, ..policy() }).await?;
    let wanted = Policy { dead_letter: wanted.dead_letter.map(|name| [&name[..], b"-2"].concat()), ..wanted };
    set.set_policy(wanted.clone()).await?;
    same("the policy it was given", kept(&set).await?, wanted)
}

pub(super) static MAKING: &[Case] = cases! { Streams, "groups";
    "a group from the beginning is given what is there and what comes" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group_from("billing", GroupOrigin::Beginning, policy()).await?;
        orders.add("c").await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["a", "b", "c"])?;
    }

    "a group from the end is given only what comes" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        orders.add("c").await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["c"])?;
    }

    "a group after an id is given what is above it" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group_from("billing", GroupOrigin::After(ids[0]), policy()).await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["b", "c"])?;
    }

    "making a group makes its stream" => |s| {
        let orders = s.stream();
        let created = went("it is made", make(&orders, "billing", GroupOrigin::Beginning, policy()).await)?;
        same("it is new", created, Created::New)?;
        same("the stream's length", orders.info().await?.length, 0)?;
        orders.add("a").await?;
        same("what ann is given", orders.existing_group("billing").gives("ann", GroupSource::New).await?, ["a"])?;
    }

    "a group from the end of a missing stream is given all that comes" => |s| {
        let orders = s.stream();
        let billing = orders.group_from("billing", GroupOrigin::End, policy()).await?;
        orders.add_at(1, 1, "a").await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["a"])?;
    }

    "making a group again with the same origin changes nothing" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", failures_max(3)).await?;
        billing.read("ann", 1).await?;
        let again = make(&orders, "billing", GroupOrigin::Beginning, failures_max(9)).await;
        same("it exists", went("it is made again", again)?, Created::Existing)?;
        same("its policy", kept(&billing).await?.failures_max, 3)?;
        same("what comes next", billing.gives("ann", GroupSource::New).await?, ["b"])?;
    }

    "a group from the end may be made again later" => |s| {
        let orders = s.stream();
        make(&orders, "billing", GroupOrigin::End, policy()).await.ok();
        orders.add("a").await?;
        let again = went("it is made again", make(&orders, "billing", GroupOrigin::End, policy()).await)?;
        same("it exists", again, Created::Existing)?;
        same("what it is given", orders.existing_group("billing").gives("ann", GroupSource::New).await?, ["a"])?;
    }

    "making a group again with another origin is refused" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        for other in [GroupOrigin::End, GroupOrigin::After(id), GroupOrigin::After(EntryId::MIN)] {
            let answer = make(&orders, "billing", other, policy()).await;
            refuses!(&format!("made again from {other:?}"), answer, ErrorKind::GroupExists);
        }
        same("what it is given", billing.gives("ann", GroupSource::New).await?, ["a"])?;
    }

    "after one id is another origin than after another" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b"]).await?;
        orders.group_from("billing", GroupOrigin::After(ids[0]), policy()).await?;
        let same_one = make(&orders, "billing", GroupOrigin::After(ids[0]), policy()).await;
        same("after the same", went("made again", same_one)?, Created::Existing)?;
        let other = make(&orders, "billing", GroupOrigin::After(ids[1]), policy()).await;
        refuses!("after another", other, ErrorKind::GroupExists);
    }

    "the origin of a group stays what it was when the group moves" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.seek(SeekTo::End).await?;
        same("its origin", billing.info().await?.origin, Some(GroupOrigin::Beginning))?;
        let again = make(&orders, "billing", GroupOrigin::Beginning, policy()).await;
        same("made again", went("it is made again", again)?, Created::Existing)?;
    }

    "each group is given every entry" => |s| {
        let orders = s.stream();
        let (billing, shipping) = (orders.group("billing", policy()).await?, orders.group("shipping", policy()).await?);
        orders.add_all(&["a", "b"]).await?;
        same("billing", billing.gives("ann", GroupSource::New).await?, ["a", "b"])?;
        same("shipping", shipping.gives("ann", GroupSource::New).await?, ["a", "b"])?;
    }

    "the same group name on two streams means two groups" => |s| {
        let (orders, bills) = (s.stream_named("orders"), s.stream_named("bills"));
        let (first, second) = (orders.group("billing", policy()).await?, bills.group("billing", policy()).await?);
        orders.add("order").await?;
        bills.add("bill").await?;
        same("of orders", first.gives("ann", GroupSource::New).await?, ["order"])?;
        same("of bills", second.gives("ann", GroupSource::New).await?, ["bill"])?;
    }

    "a stream with a stray brace can have no group with a policy" => |s| {
        let stray = s.stream_named("a}b");
        refuses!("a group on it", make(&stray, "billing", GroupOrigin::End, policy()).await, ErrorKind::Invalid(_));
    }

    "groups may have any bytes in their names" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let odd = orders.group("caf\u{e9} : { } \0\r\n", policy()).await?;
        let given = odd.next("an\u{e4} : \0").await?;
        odd.settle(&given, nak(Some(FOREVER))).await?;
        same("its states", odd.states().await?, ["delayed"])?;
        same("its counts", odd.counts().await?, [0, 0, 0, 1, 0])?;
        odd.settle_id(given.entry.id, term()).await?;
        same("its dead letters", odd.dead_labels().await?, ["a"])?;
    }
};

pub(super) static KNOWING: &[Case] = cases! { Streams, "group info";
    "a new group is known with all it has" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group_from("billing", GroupOrigin::After(id), failures_max(3)).await?;
        let want = GroupInfo {
            name: b"billing".to_vec(),
            origin: Some(GroupOrigin::After(id)),
            last_delivered_id: id,
            pending: 0,
            consumers: 0,
            paused: false,
            filtered: 0,
            stale_settlements: 0,
            policy: Some(failures_max(3)),
        };
        same("what is known", billing.info().await?, want)?;
    }

    "a group from the beginning has been given nothing" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        same("the last-delivered ID", billing.info().await?.last_delivered_id, EntryId::MIN)?;
    }

    "the last delivered id follows what is given" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 2).await?;
        same("after two", billing.info().await?.last_delivered_id, ids[1])?;
        billing.read("bob", 2).await?;
        same("after three", billing.info().await?.last_delivered_id, ids[2])?;
    }

    "groups are listed by name" => |s| {
        let orders = s.stream();
        for name in ["shipping", "audit", "billing"] {
            orders.group(name, policy()).await?;
        }
        let groups = went("groups are listed", s.broker().groups(&orders.name).await)?;
        let names: Vec<_> = groups.iter().map(|group| text(&group.name)).collect();
        same("their names", names, ["audit", "billing", "shipping"])?;
    }

    "a group in the list is known as by itself" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", by_key()).await?;
        billing.read("ann", 1).await?;
        billing.pause(None).await?;
        let listed = one("the list", went("groups are listed", s.broker().groups(&orders.name).await)?)?;
        same("what is known", listed, billing.info().await?)?;
    }

    "a missing stream has no groups" => |s| {
        let missing = s.stream_named("missing");
        same("its groups", went("groups are listed", s.broker().groups(&missing.name).await)?.len(), 0)?;
        same("a group", went("a group", s.broker().group_info(&missing.name, b"billing").await)?, None)?;
    }

    "a missing group is none" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        same("a group", went("a group", s.broker().group_info(&orders.name, b"billing").await)?, None)?;
        same("groups", went("groups are listed", s.broker().groups(&orders.name).await)?.len(), 0)?;
    }

    "a group counts its consumers and rows" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 2).await?;
        let given = billing.next("bob").await?;
        billing.settle(&given, nak(Some(FOREVER))).await?;
        let info = billing.info().await?;
        same("rows and consumers", (info.pending, info.consumers), (3, 2))?;
    }
};

pub(super) static ENDING: &[Case] = cases! { Streams, "the end of groups";
    "a deleted group is gone with what it had pending" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        let gone = went("it is deleted", s.broker().delete_group(&orders.name, b"billing").await)?;
        same("whether there was one", gone, true)?;
        same("the groups", orders.info().await?.groups, 0)?;
        let again = orders.group("billing", policy()).await?;
        same("rows of a new one", again.rows().await?.len(), 0)?;
        same("its consumers", again.consumers().await?, vec![])?;
        same("what it is given", again.gives("ann", GroupSource::New).await?, ["a"])?;
    }

    "deleting a missing group answers so" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        same("a group", went("deleted", s.broker().delete_group(&orders.name, b"billing").await)?, false)?;
        let missing = s.stream_named("missing");
        let gone = went("deleted", s.broker().delete_group(&missing.name, b"billing").await)?;
        same("a group of a missing stream", gone, false)?;
    }

    "the dead letters of a deleted group stay" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        orders.group("billing", policy()).await?.bury_all().await?;
        went("it is deleted", s.broker().delete_group(&orders.name, b"billing").await)?;
        let dead = went("the name of the dead letters", dead_letters_of(&orders.name, b"billing"))?;
        same("dead letters", Stream::new(s.clone(), dead).info().await?.length, 1)?;
        let again = orders.group("billing", policy()).await?;
        same("those of a new group of that name", again.dead_labels().await?, ["a"])?;
    }

    "another group does not notice when one is deleted" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        orders.group("billing", policy()).await?.read("ann", 1).await?;
        let shipping = orders.group("shipping", policy()).await?;
        shipping.read("ann", 1).await?;
        went("one is deleted", s.broker().delete_group(&orders.name, b"billing").await)?;
        same("the other's states", shipping.states().await?, ["in flight"])?;
    }

    "a token of a deleted group settles nothing of a new one" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let old = orders.group("billing", policy()).await?.next("ann").await?;
        went("it is deleted", s.broker().delete_group(&orders.name, b"billing").await)?;
        let billing = orders.group("billing", policy()).await?;
        same("not pending", billing.settle(&old, Settlement::Ack).await?, Settled::NotPending)?;
        billing.next("ann").await?;
        same("stale", billing.settle(&old, Settlement::Ack).await?, Settled::Stale)?;
        same("the states", billing.states().await?, ["in flight"])?;
    }
};

pub(super) static POLICIES: &[Case] = cases! { Streams, "policies";
    "the recommended policy is kept" => |s| {
        round_trip(&s, Policy::recommended()).await?;
    }

    "the greatest numbers of a policy are kept" => |s| {
        let day = Policy::DELAY_MAX;
        round_trip(&s, Policy {
            failures_max: u32::MAX,
            deliveries_max: u32::MAX,
            backoff: Backoff::Exponential { first: day, factor_percent: 100_000, max: day, jitter_percent: 100 },
            lease: Duration::from_secs(30 * 24 * 3_600),
            ..policy()
        }).await?;
    }

    "the smallest numbers of a policy are kept" => |s| {
        round_trip(&s, Policy {
            failures_max: 1,
            deliveries_max: 1,
            backoff: Backoff::Exponential {
                first: Duration::ZERO, factor_percent: 100, max: Duration::ZERO, jitter_percent: 0,
            },
            lease: ms(1),
            retry_for_max: Some(ms(1)),
            ..policy()
        }).await?;
    }

    "a list of delays is kept" => |s| {
        let delays = [0, 1, 200, 1_000, 86_400_000].map(Duration::from_millis).to_vec();
        round_trip(&s, Policy { backoff: Backoff::List(delays), ..policy() }).await?;
    }

    "an exponential backoff is kept" => |s| {
        let backoff =
            Backoff::Exponential { first: ms(250), factor_percent: 150, max: ms(9_000), jitter_percent: 20 };
        round_trip(&s, Policy { backoff, ..policy() }).await?;
    }

    "the key of a policy is kept" => |s| {
        round_trip(&s, Policy { key: Some(b"\0k\xff=,;".to_vec()), ..policy() }).await?;
    }

    "the dead letter stream of a policy is kept" => |s| {
        let dead = s.tagged("morgue").name;
        round_trip(&s, Policy { dead_letter: Some(dead), ..policy() }).await?;
    }

    "a filter with all kinds of conditions is kept" => |s| {
        let condition = |field, test| Condition { field, test };
        let conditions = vec![
            condition(FieldName::Exact(b"a\0=".to_vec()), ConditionTest::Equals(b"x,y;".to_vec())),
            condition(FieldName::Type, ConditionTest::In(vec![b"one".to_vec(), b"".to_vec(), b"\xff".to_vec()])),
            condition(FieldName::Tenant, ConditionTest::Prefix(b"acme/".to_vec())),
            condition(FieldName::Exact(b"type".to_vec()), ConditionTest::Prefix(b"".to_vec())),
        ];
        round_trip(&s, Policy { filter: Some(Filter { conditions }), ..policy() }).await?;
    }

    "required and reset on class are kept" => |s| {
        round_trip(&s, Policy { required: true, reset_on_class: true, ..policy() }).await?;
    }

    "the longest time of retries is kept" => |s| {
        round_trip(&s, Policy { retry_for_max: Some(Duration::from_secs(7 * 24 * 3_600)), ..policy() }).await?;
    }

    "a policy that cannot be kept is refused and makes no group" => |s| {
        let orders = s.stream();
        let (good, day) = (policy(), Policy::DELAY_MAX);
        let bad = [
            Policy { failures_max: 0, ..good.clone() },
            Policy { deliveries_max: 0, ..good.clone() },
            Policy { lease: Duration::ZERO, ..good.clone() },
            Policy { key: Some(Vec::new()), ..good.clone() },
            Policy { dead_letter: Some(Vec::new()), ..good.clone() },
            Policy { filter: Some(Filter { conditions: Vec::new() }), ..good.clone() },
            Policy { backoff: Backoff::List(Vec::new()), ..good.clone() },
            Policy { backoff: Backoff::List(vec![day + ms(1)]), ..good.clone() },
        ];
        for bad in bad {
            let step = format!("a group with {bad:?}");
            let answer = make(&orders, "billing", GroupOrigin::Beginning, bad).await;
            refuses!(&step, answer, ErrorKind::Invalid(_));
        }
        same("the groups", went("they are listed", s.broker().groups(&orders.name).await)?.len(), 0)?;
    }

    "a group keeps its policy when it is given one that cannot be kept" => |s| {
        let billing = s.stream().group("billing", failures_max(3)).await?;
        let bad = Policy { failures_max: 0, ..policy() };
        let answer = s.broker().set_policy(&billing.stream.name, b"billing", bad).await;
        refuses!("a policy without tries", answer, ErrorKind::Invalid(_));
        same("its policy", kept(&billing).await?.failures_max, 3)?;
    }

    "another policy holds for what is settled from now on" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", failures_max(9)).await?;
        let given = billing.next("ann").await?;
        billing.set_policy(failures_max(1)).await?;
        same("the first failure", billing.settle(&given, nak(None)).await?, Settled::DeadLettered)?;
    }

    "a dead letter stream belongs to one group" => |s| {
        let orders = s.tagged("orders");
        let morgue = Policy { dead_letter: Some(s.tagged("morgue").name), ..policy() };
        orders.group("billing", morgue.clone()).await?;
        let other = make(&orders, "shipping", GroupOrigin::Beginning, morgue.clone()).await;
        refuses!("another group of the stream", other, ErrorKind::DeadLetterTaken);
        let shipping = orders.group("shipping", policy()).await?;
        let answer = s.broker().set_policy(&orders.name, &shipping.name, morgue).await;
        refuses!("another group later", answer, ErrorKind::DeadLetterTaken);
    }

    "the default dead letter stream of one group is refused to another" => |s| {
        let orders = s.tagged("orders");
        orders.group("billing", policy()).await?;
        let taken = went("the name of the dead letters", dead_letters_of(&orders.name, b"billing"))?;
        let taken = Policy { dead_letter: Some(taken), ..policy() };
        let answer = make(&orders, "shipping", GroupOrigin::Beginning, taken).await;
        refuses!("the same stream", answer, ErrorKind::DeadLetterTaken);
    }

    "a stream does not take its own dead letters" => |s| {
        let orders = s.tagged("orders");
        let own = Policy { dead_letter: Some(orders.name.clone()), ..policy() };
        let answer = make(&orders, "billing", GroupOrigin::Beginning, own).await;
        refuses!("its own dead letters", answer, ErrorKind::DeadLetterTaken | ErrorKind::Invalid(_));
    }

    "lost entries and alerts are no dead letter streams" => |s| {
        let orders = s.tagged("orders");
        let [lost, alerts] = [lost_of(&orders.name), alerts_of(&orders.name)];
        for taken in [went("a name", lost)?, went("a name", alerts)?] {
            let step = format!("dead letters in {}", text(&taken));
            let taken = Policy { dead_letter: Some(taken), ..policy() };
            let answer = make(&orders, "billing", GroupOrigin::Beginning, taken).await;
            refuses!(&step, answer, ErrorKind::DeadLetterTaken);
        }
    }

    "a group may give up its dead letter stream to another" => |s| {
        let orders = s.tagged("orders");
        let morgue = Policy { dead_letter: Some(s.tagged("morgue").name), ..policy() };
        let billing = orders.group("billing", morgue.clone()).await?;
        billing.set_policy(policy()).await?;
        orders.group("shipping", morgue).await?;
    }

    "a group may keep its dead letter stream under another policy" => |s| {
        let orders = s.tagged("orders");
        let morgue = Policy { dead_letter: Some(s.tagged("morgue").name), ..policy() };
        let billing = orders.group("billing", morgue.clone()).await?;
        let other = Policy { failures_max: 2, ..morgue };
        billing.set_policy(other.clone()).await?;
        same("its policy", kept(&billing).await?, other)?;
    }
};

pub(super) static CONSUMERS: &[Case] = cases! { Streams, "consumers";
    "a consumer is made once" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        let make = || s.broker();
        let first = make().create_consumer(&billing.stream.name, b"billing", b"ann").await;
        same("the first time", went("ann is made", first)?, true)?;
        let again = make().create_consumer(&billing.stream.name, b"billing", b"ann").await;
        same("the second time", went("ann is made again", again)?, false)?;
        same("the consumers", billing.consumers().await?, [("ann".to_owned(), 0)])?;
    }

    "reading makes a consumer" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        same("the consumers", billing.consumers().await?, [("ann".to_owned(), 0)])?;
    }

    "claiming makes a consumer" => |s| {
        let orders = s.stream();
        let id = orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        billing.claim("bob", Duration::ZERO, &[id]).await?;
        same("the consumers", billing.consumers().await?, [("ann".to_owned(), 0), ("bob".to_owned(), 1)])?;
    }

    "consumers are listed by name with what they hold" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("cid", 1).await?;
        billing.read("ann", 2).await?;
        billing.read("bob", 1).await?;
        let want = [("ann", 2), ("bob", 0), ("cid", 1)].map(|(name, held)| (name.to_owned(), held));
        same("the consumers", billing.consumers().await?, want)?;
    }

    "what is delayed or ready is held by nobody" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 3).await?;
        billing.settle(&given[0], nak(Some(FOREVER))).await?;
        billing.settle(&given[1], RELEASE).await?;
        same("what ann holds", billing.consumers().await?, [("ann".to_owned(), 1)])?;
    }

    "the idle time of a consumer grows until it asks again" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        s.advance(ms(120)).await;
        let idle = || async {
            let listed = s.broker().consumers(&billing.stream.name, b"billing").await;
            Ok(one("the consumers", went("they are listed", listed)?)?.idle)
        };
        let after = idle().await?;
        holds("it is idle for a while", after >= ms(117), after)?;
        billing.read("ann", 1).await?;
        let asked = s.now();
        let again = idle().await?;
        let passed = s.now() - asked;
        holds("it is idle for less again", again <= passed + ms(100), (again, passed))?;
    }

    "a removed consumer says how many entries it held" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 2).await?;
        same("what ann held", billing.dismiss("ann", PendingFate::Drop).await?, 2)?;
        same("the consumers", billing.consumers().await?, vec![])?;
    }

    "a missing consumer held none" => |s| {
        let billing = s.stream().group("billing", policy()).await?;
        same("dropped", billing.dismiss("nobody", PendingFate::Drop).await?, 0)?;
        same("handed back", billing.dismiss("nobody", PendingFate::HandBack).await?, 0)?;
    }

    "what a removed consumer held is handed back to the group" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 2).await?;
        billing.dismiss("ann", PendingFate::HandBack).await?;
        same("the states", billing.states().await?, ["ready", "ready"])?;
        let given = billing.take("bob", RECLAIMED).await?;
        same("what bob is given", labels(&given), ["a", "b"])?;
        let deliveries: Vec<_> = given.iter().map(|delivery| delivery.deliveries).collect();
        same("their deliveries, counted on", deliveries, [2, 2])?;
    }

    "what a removed consumer held may be dropped" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        billing.dismiss("ann", PendingFate::Drop).await?;
        same("the rows", billing.rows().await?.len(), 0)?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, ["b"])?;
    }

    "the token of a removed consumer is stale" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.next("ann").await?;
        billing.dismiss("ann", PendingFate::HandBack).await?;
        same("her acknowledgement", billing.settle(&given, Settlement::Ack).await?, Settled::Stale)?;
        same("the states", billing.states().await?, ["ready"])?;
    }

    "removing a consumer leaves what others hold" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        billing.read("ann", 1).await?;
        let bobs = billing.next("bob").await?;
        billing.dismiss("ann", PendingFate::Drop).await?;
        billing.ack(&[bobs]).await?;
    }

    "a key is free when its holder is removed and the entry dropped" => |s| {
        let orders = s.stream();
        orders.add_keyed("a", "k").await?;
        orders.add_keyed("b", "k").await?;
        let billing = orders.group("billing", by_key()).await?;
        same("what ann is given", billing.gives("ann", GroupSource::New).await?, ["a"])?;
        billing.dismiss("ann", PendingFate::Drop).await?;
        same("what bob is given", billing.gives("bob", AVAILABLE).await?, ["b"])?;
    }

    "a missing group has no consumers to make or list" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let broker = s.broker();
        refuses!("made", broker.create_consumer(&orders.name, b"none", b"ann").await, ErrorKind::NoSuchGroup);
        refuses!("listed", broker.consumers(&orders.name, b"none").await, ErrorKind::NoSuchGroup);
        let gone = broker.delete_consumer(&orders.name, b"none", b"ann", PendingFate::Drop).await;
        refuses!("removed", gone, ErrorKind::NoSuchGroup);
    }

    "a group without consumers has none" => |s| {
        same("consumers", s.stream().group("billing", policy()).await?.consumers().await?, vec![])?;
    }
};
