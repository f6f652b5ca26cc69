//! Failures: how they are counted, how long an entry waits, when it becomes a dead letter.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// An entry in a group with this policy.
async fn one_in(s: &Story, policy: Policy) -> Result<Group, Wrong> {
    let orders = s.stream();
    orders.add("a").await?;
    orders.group("billing", policy).await
}

/// The next delivery, new or again, fails.
async fn fails(group: &Group, class: &str) -> Result<Settled, Wrong> {
    let given = one("the next delivery", group.take("ann", AVAILABLE).await?)?;
    group.settle(&given, nak_of(class, "it does not work", None)).await
}

/// How long its delayed row waits from its last failure on, in milliseconds.
async fn waits(group: &Group, id: EntryId) -> Result<u64, Wrong> {
    let row = group.row(id).await?;
    match (row.state, row.last_failure) {
        (PendingState::Delayed { until }, Some(failure)) => Ok(until.millis_since(failure.at)),
        other => Err(Wrong::new("the row after a failure", "delayed, with a failure", format!("{other:?}"))),
    }
}

/// After each failure an entry waits as long as the backoff says.
async fn waits_as_said(s: &Story, backoff: Backoff, failures: u32) -> Result<(), Wrong> {
    let group = one_in(s, Policy { backoff: backoff.clone(), ..policy() }).await?;
    let mut given = group.next("ann").await?;
    for nth in 1..=failures {
        group.settle(&given, nak(None)).await?;
        let (waits, want) = (waits(&group, given.entry.id).await?, backoff.delay_millis(given.entry.id, nth));
        let step = format!("the wait after failure {nth}, {want} ms");
        holds(&step, waits.abs_diff(want) <= 2, waits)?;
        group.settle_id(given.entry.id, RELEASE).await?;
        given = one("it is made ready", group.take("ann", RECLAIMED).await?)?;
    }
    Ok(())
}

pub(super) static COUNTING: &[Case] = cases! { Streams, "failures";
    "a failure is counted and told" => |s| {
        let billing = one_in(&s, policy()).await?;
        let given = billing.next("ann").await?;
        same("the failure", billing.settle(&given, nak_of("timeout", "no answer", None)).await?, Settled::Done)?;
        let again = one("what comes", billing.take("bob", RECLAIMED).await?)?;
        same("its counts", (again.deliveries, again.failures), (2, 1))?;
        let failure = some("its failure", again.last_failure.clone())?;
        same("class", text(&failure.class), "timeout".to_owned())?;
        same("reason", text(&failure.reason), "no answer".to_owned())?;
        same("the first is the last", again.first_failure, again.last_failure)?;
    }

    "the first and the last failure are told" => |s| {
        let billing = one_in(&s, policy()).await?;
        for class in ["one", "two", "three"] {
            fails(&billing, class).await?;
        }
        let given = one("what comes", billing.take("ann", RECLAIMED).await?)?;
        let class = |failure: Option<Failure>| failure.map(|failure| text(&failure.class));
        same("the first", class(given.first_failure), Some("one".to_owned()))?;
        same("the last", class(given.last_failure), Some("three".to_owned()))?;
        same("its counts", (given.deliveries, given.failures), (4, 3))?;
    }

    "a failure knows when it was reported" => |s| {
        let billing = one_in(&s, policy()).await?;
        let given = billing.next("ann").await?;
        s.advance(ms(50)).await;
        billing.settle(&given, nak(None)).await?;
        let failure = some("its failure", billing.row(given.entry.id).await?.last_failure)?;
        let after = failure.at.millis_since(given.entry.appended_at);
        holds("after the append", (47..60_000).contains(&after), after)?;
    }

    "a long class and a long reason are cut" => |s| {
        let billing = one_in(&s, policy()).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, nak_of(&"c".repeat(100), &"r".repeat(5_000), None)).await?;
        let failure = some("its failure", billing.row(given.entry.id).await?.last_failure)?;
        let lengths = (failure.class.len(), failure.reason.len());
        same("what is kept", lengths, (Failure::CLASS_MAX, Failure::REASON_MAX))?;
    }

    "a class and a reason may be any bytes" => |s| {
        let billing = one_in(&s, policy()).await?;
        let given = billing.next("ann").await?;
        let (class, reason) = (b"\xff\0\r\n".to_vec(), b"\xfe: \0=;".to_vec());
        billing.settle(&given, Settlement::Nak { delay: None, class: class.clone(), reason: reason.clone() }).await?;
        let failure = some("its failure", billing.row(given.entry.id).await?.last_failure)?;
        same("what is kept", (failure.class, failure.reason), (class, reason))?;
    }

    "a class and a reason may be empty" => |s| {
        let billing = one_in(&s, failures_max(2)).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, nak_of("", "", None)).await?;
        let failure = some("its failure", billing.row(given.entry.id).await?.last_failure)?;
        same("what is kept", (failure.class.len(), failure.reason.len()), (0, 0))?;
        same("the second", fails(&billing, "").await?, Settled::DeadLettered)?;
        same("its first failure", billing.dead_letter().await?.first_failure.is_some(), true)?;
    }

    "so many failures make a dead letter" => |s| {
        let billing = one_in(&s, failures_max(3)).await?;
        same("the first", fails(&billing, "x").await?, Settled::Done)?;
        same("the second", fails(&billing, "x").await?, Settled::Done)?;
        same("the third", fails(&billing, "x").await?, Settled::DeadLettered)?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 1])?;
    }

    "the last failure makes a dead letter whatever delay was asked" => |s| {
        let billing = one_in(&s, failures_max(1)).await?;
        let given = billing.next("ann").await?;
        same("the failure", billing.settle(&given, nak(Some(FOREVER))).await?, Settled::DeadLettered)?;
        same("the rows", billing.rows().await?.len(), 0)?;
    }

    "with one try the first failure is the last" => |s| {
        let billing = one_in(&s, failures_max(1)).await?;
        same("the first", fails(&billing, "x").await?, Settled::DeadLettered)?;
        same("failures of the letter", billing.dead_letter().await?.failures, 1)?;
    }

    "what will never succeed is a dead letter at once" => |s| {
        let billing = one_in(&s, policy()).await?;
        let given = billing.next("ann").await?;
        same("the end", billing.settle(&given, term()).await?, Settled::DeadLettered)?;
        let letter = billing.dead_letter().await?;
        same("its counts", (letter.deliveries, letter.failures), (1, 1))?;
        same("its class", text(&letter.last_failure.class), "invalid".to_owned())?;
    }

    "failures of one group are none of another" => |s| {
        let billing = one_in(&s, failures_max(1)).await?;
        let shipping = billing.stream.group("shipping", failures_max(1)).await?;
        fails(&billing, "x").await?;
        let given = shipping.next("ann").await?;
        same("its counts", (given.deliveries, given.failures), (1, 0))?;
        same("its dead letters", shipping.counts().await?[4], 0)?;
    }

    "a failed entry does not hold others up" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", Policy { backoff: Backoff::List(vec![FOREVER]), ..policy() }).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, nak(None)).await?;
        same("what comes", billing.gives("ann", AVAILABLE).await?, ["b", "c"])?;
    }
};

pub(super) static CLASSES: &[Case] = cases! { Streams, "failures by class and age";
    "failures of different classes count together" => |s| {
        let billing = one_in(&s, failures_max(3)).await?;
        for (class, want) in [("x", Settled::Done), ("y", Settled::Done), ("z", Settled::DeadLettered)] {
            same(class, fails(&billing, class).await?, want)?;
        }
    }

    "where another class resets, failures count from 1 again" => |s| {
        let billing = one_in(&s, Policy { reset_on_class: true, ..failures_max(3) }).await?;
        for class in ["x", "x", "y", "y"] {
            same(class, fails(&billing, class).await?, Settled::Done)?;
        }
        same("the third y", fails(&billing, "y").await?, Settled::DeadLettered)?;
        let letter = billing.dead_letter().await?;
        same("its failures", letter.failures, 3)?;
        same("its first", letter.first_failure.map(|failure| text(&failure.class)), Some("y".to_owned()))?;
    }

    "classes that take turns never reach the end where another resets" => |s| {
        let billing = one_in(&s, Policy { reset_on_class: true, ..failures_max(2) }).await?;
        for class in ["x", "y", "x", "y", "x"] {
            same(class, fails(&billing, class).await?, Settled::Done)?;
        }
        let given = one("what comes", billing.take("ann", RECLAIMED).await?)?;
        same("its counts", (given.deliveries, given.failures), (6, 1))?;
    }

    "with another class the first wait comes again where it resets" => |s| {
        let backoff = Backoff::List(vec![Duration::from_secs(10), Duration::from_secs(600)]);
        let billing = one_in(&s, Policy { reset_on_class: true, backoff, ..policy() }).await?;
        let id = one("the entry", billing.stream.entries(from(ReadFrom::Start)).await?)?.id;
        for (class, want) in [("x", 10_000), ("x", 600_000), ("y", 10_000)] {
            fails(&billing, class).await?;
            let waits = waits(&billing, id).await?;
            holds(&format!("the wait after {class}, {want} ms"), waits.abs_diff(want) <= 2, waits)?;
            billing.settle_id(id, RELEASE).await?;
        }
    }

    "a failure too long after the first makes a dead letter" => |s| {
        let billing = one_in(&s, Policy { retry_for_max: Some(ms(100)), ..policy() }).await?;
        same("the first", fails(&billing, "x").await?, Settled::Done)?;
        s.advance(ms(150)).await;
        same("the one after 150 ms", fails(&billing, "x").await?, Settled::DeadLettered)?;
    }

    "within the longest time of retries no failure is too late" => |s| {
        let billing = one_in(&s, Policy { retry_for_max: Some(FOREVER), ..policy() }).await?;
        for nth in ["1", "2", "3", "4"] {
            same(nth, fails(&billing, "x").await?, Settled::Done)?;
            s.advance(ms(20)).await;
        }
    }

    "the time before the first failure does not count" => |s| {
        let billing = one_in(&s, Policy { retry_for_max: Some(ms(100)), ..policy() }).await?;
        let given = billing.next("ann").await?;
        s.advance(ms(150)).await;
        same("the first failure", billing.settle(&given, nak(None)).await?, Settled::Done)?;
    }

    "with another class the time of retries begins anew where it resets" => |s| {
        let limits = Policy { retry_for_max: Some(ms(100)), reset_on_class: true, ..policy() };
        let billing = one_in(&s, limits).await?;
        same("x", fails(&billing, "x").await?, Settled::Done)?;
        s.advance(ms(150)).await;
        same("y", fails(&billing, "y").await?, Settled::Done)?;
        s.advance(ms(150)).await;
        same("y again", fails(&billing, "y").await?, Settled::DeadLettered)?;
    }
};

pub(super) static BACKOFFS: &[Case] = cases! { Streams, "backoff";
    "a list of delays is followed and its last one repeated" => |s| {
        let delays = [10, 300, 7_200].map(Duration::from_secs).to_vec();
        waits_as_said(&s, Backoff::List(delays), 5).await?;
    }

    "exponential waits grow up to the longest" => |s| {
        let minute = Duration::from_secs(60);
        let backoff =
            Backoff::Exponential { first: minute, factor_percent: 200, max: minute * 10, jitter_percent: 0 };
        waits_as_said(&s, backoff, 6).await?;
    }

    "waits with jitter are those that the backoff says" => |s| {
        let minute = Duration::from_secs(60);
        let backoff = Backoff::Exponential {
            first: minute, factor_percent: 150, max: minute * 600, jitter_percent: 30,
        };
        waits_as_said(&s, backoff, 8).await?;
    }

    "a backoff with factor 100 stays the same" => |s| {
        let minute = Duration::from_secs(60);
        let backoff =
            Backoff::Exponential { first: minute, factor_percent: 100, max: minute * 5, jitter_percent: 0 };
        waits_as_said(&s, backoff, 3).await?;
    }

    "a failed entry comes after its wait, not before" => |s| {
        let billing = one_in(&s, Policy { backoff: Backoff::List(vec![ms(150)]), ..policy() }).await?;
        let given = billing.next("ann").await?;
        let before = s.now();
        billing.settle(&given, nak(None)).await?;
        let again = billing.comes("bob", RECLAIMED).await?;
        s.not_before("it came", before, ms(150))?;
        same("its counts", (again.deliveries, again.failures), (2, 1))?;
    }

    "a delay that is asked for replaces the backoff" => |s| {
        let billing = one_in(&s, Policy { backoff: Backoff::List(vec![FOREVER]), ..policy() }).await?;
        let given = billing.next("ann").await?;
        let before = s.now();
        billing.settle(&given, nak(Some(ms(120)))).await?;
        billing.comes("bob", RECLAIMED).await?;
        s.not_before("it came", before, ms(120))?;
    }

    "a delay of zero makes it ready at once" => |s| {
        let billing = one_in(&s, Policy { backoff: Backoff::List(vec![FOREVER]), ..policy() }).await?;
        let given = billing.next("ann").await?;
        billing.settle(&given, nak(Some(Duration::ZERO))).await?;
        same("the states", billing.states().await?, ["ready"])?;
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a"])?;
    }

    "a schedule of three delays is kept and then there is a dead letter" => |s| {
        let delays = [30, 60, 90].map(ms);
        let billing = one_in(&s, Policy { lease: FOREVER, ..Policy::delayed(delays.to_vec()) }).await?;
        let mut given = billing.next("ann").await?;
        for delay in delays {
            let before = s.now();
            same("a failure", billing.settle(&given, nak(None)).await?, Settled::Done)?;
            given = billing.comes("ann", RECLAIMED).await?;
            s.not_before("it came again", before, delay)?;
        }
        same("the fourth failure", billing.settle(&given, nak(None)).await?, Settled::DeadLettered)?;
    }

    "what waits for less comes first" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", policy()).await?;
        let given = billing.read("ann", 2).await?;
        billing.settle(&given[0], nak(Some(FOREVER))).await?;
        billing.settle(&given[1], nak(Some(ms(30)))).await?;
        same("what comes", billing.comes("bob", RECLAIMED).await?.label(), "b".to_owned())?;
        same("and no more", billing.gives("bob", RECLAIMED).await?, NOTHING)?;
    }

    "delayed entries that are due come in the order of ids" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", policy()).await?;
        for (given, delay) in billing.read("ann", 3).await?.iter().zip([30, 20, 10]) {
            billing.settle(given, nak(Some(ms(delay)))).await?;
        }
        let due = s.eventually("all delays are over", || async {
            Ok((billing.states().await? == ["ready"; 3]).then_some(()))
        });
        due.await?;
        same("what bob is given", billing.gives("bob", RECLAIMED).await?, ["a", "b", "c"])?;
    }
};

/// The ways on which a pending entry is given out again.
async fn given_again(s: &Story, again: Again) -> Result<(), Wrong> {
    let orders = s.stream();
    let id = orders.add_all(&["a", "b"]).await?[0];
    let billing = orders.group("billing", Policy { deliveries_max: 2, ..policy() }).await?;
    let first = billing.next("ann").await?;
    let second = again.give(&billing, &first).await?;
    same("the second time", labels(&second), ["a"])?;
    let third = match second.first() {
        Some(second) => again.give(&billing, second).await?,
        None => vec![],
    };
    same("the third time, instead of which there is a dead letter", labels(&third), NOTHING)?;
    let letter = billing.dead_letter().await?;
    same("the dead letter", (letter.entry_id, letter.deliveries), (id, 2))?;
    same("its class", letter.last_failure.class, Failure::DELIVERIES.to_vec())?;
    same("a failure that was reported", letter.first_failure, None)?;
    same("the rows", billing.rows().await?.len(), 0)?;
    same("what comes next", billing.gives("ann", GroupSource::New).await?, ["b"])
}

enum Again {
    History,
    Idle,
    Available,
    Claimed,
    AutoClaimed,
    Failed,
}

impl Again {
    async fn give(&self, group: &Group, held: &Delivery) -> Result<Vec<Delivery>, Wrong> {
        let one_from = |source| ReadGroup { count: 1, ..group.options("ann", source) };
        match self {
            Self::History => group.take("ann", HISTORY).await,
            Self::Idle => group.take("bob", idle_for(Duration::ZERO)).await,
            Self::Claimed => group.claim("bob", Duration::ZERO, &[held.entry.id]).await,
            Self::AutoClaimed => {
                Ok(group.auto_claim("bob", Duration::ZERO, EntryId::MIN, 10).await?.deliveries)
            }
            Self::Available => {
                let source = GroupSource::Available { idle_min: Some(Duration::ZERO) };
                let mut given = group.read_with(one_from(source)).await?;
                // What is given instead of a dead letter is the next new entry; it goes back to where it was.
                if given.first().is_some_and(|given| given.entry.id != held.entry.id) {
                    group.seek(SeekTo::After(held.entry.id)).await?;
                    given.clear();
                }
                Ok(given)
            }
            Self::Failed => {
                group.settle(held, nak(None)).await?;
                group.take("ann", RECLAIMED).await
            }
        }
    }
}

pub(super) static DELIVERIES: &[Case] = cases! { Streams, "deliveries_max";
    "history gives an entry no more often than the policy says" => |s| {
        given_again(&s, Again::History).await?;
    }

    "reclaiming gives an entry no more often than the policy says" => |s| {
        given_again(&s, Again::Idle).await?;
    }

    "available gives an entry no more often than the policy says" => |s| {
        given_again(&s, Again::Available).await?;
    }

    "a claim gives an entry no more often than the policy says" => |s| {
        given_again(&s, Again::Claimed).await?;
    }

    "an auto-claim gives an entry no more often than the policy says" => |s| {
        given_again(&s, Again::AutoClaimed).await?;
    }

    "a failed entry that was given out too often is a dead letter when it would come again" => |s| {
        let billing = one_in(&s, Policy { deliveries_max: 2, ..policy() }).await?;
        let first = billing.next("ann").await?;
        let second = one("the second time", Again::Failed.give(&billing, &first).await?)?;
        same("the third time", labels(&Again::Failed.give(&billing, &second).await?), NOTHING)?;
        let letter = billing.dead_letter().await?;
        same("its class", letter.last_failure.class, Failure::DELIVERIES.to_vec())?;
        same("its first failure", letter.first_failure.map(|first| text(&first.class)), Some("timeout".to_owned()))?;
    }

    "where an entry dies the one behind it is given" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "c"]).await?;
        let billing = orders.group("billing", Policy { deliveries_max: 1, ..policy() }).await?;
        let given = billing.read("ann", 2).await?;
        billing.settle(&given[1], RELEASE).await?;
        let options = billing.options("bob", GroupSource::Available { idle_min: Some(Duration::ZERO) });
        same("what bob is given", labels(&billing.read_with(options).await?), ["b", "c"])?;
        same("dead letters", billing.dead_labels().await?, ["a"])?;
    }

    "a handler that kills its process ends as a dead letter" => |s| {
        let orders = s.stream();
        orders.add("poison").await?;
        let limits = Policy { lease: ms(20), deliveries_max: 3, ..policy() };
        let billing = orders.group("billing", limits).await?;
        billing.next("run-0").await?;
        for run in ["run-1", "run-2"] {
            billing.comes(run, RECLAIMED).await?;
        }
        let buried = s.eventually("it is a dead letter", || async {
            same("what comes once more", billing.gives("run-3", RECLAIMED).await?, NOTHING)?;
            Ok((billing.counts().await?[4] == 1).then_some(()))
        });
        buried.await?;
    }

    "with one delivery at most nothing is given twice" => |s| {
        let billing = one_in(&s, Policy { deliveries_max: 1, ..policy() }).await?;
        billing.next("ann").await?;
        same("ann's history", billing.gives("ann", HISTORY).await?, NOTHING)?;
        same("dead letters", billing.dead_labels().await?, ["a"])?;
    }

    "a gone entry is dropped rather than buried" => |s| {
        let billing = one_in(&s, Policy { deliveries_max: 1, ..policy() }).await?;
        let given = billing.next("ann").await?;
        billing.stream.delete(&[given.entry.id]).await?;
        same("ann's history", billing.gives("ann", HISTORY).await?, NOTHING)?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
    }
};
