//! Filters: what a group sees, what it passes over, and that nobody has to wait for the rest.

use super::vocabulary::*;

const NOTHING: [&str; 0] = [];

/// What a group with this condition is given of entries with these fields.
async fn sees(
    s: &Story,
    field: FieldName,
    test: ConditionTest,
    entries: &[&[(&str, &str)]],
) -> Result<Vec<String>, Wrong> {
    let orders = s.stream();
    for fields in entries {
        orders.add_fields(fields).await?;
    }
    orders.group("billing", with_condition(field, test)).await?.gives("ann", GroupSource::New).await
}

fn exact(name: &str) -> FieldName {
    FieldName::Exact(name.into())
}

fn equals(value: &str) -> ConditionTest {
    ConditionTest::Equals(value.into())
}

fn prefix(value: &str) -> ConditionTest {
    ConditionTest::Prefix(value.into())
}

pub(super) static CONDITIONS: &[Case] = cases! { Streams, "filters";
    "a field has to equal a value" => |s| {
        let entries: [&[(&str, &str)]; 4] = [
            &[("n", "1"), ("type", "placed")], &[("n", "2"), ("type", "paid")], &[("n", "3"), ("type", "Placed")],
            &[("n", "4"), ("type", "placed2")],
        ];
        same("what is seen", sees(&s, exact("type"), equals("placed"), &entries).await?, ["1"])?;
    }

    "a field has to be one of several values" => |s| {
        let entries: [&[(&str, &str)]; 3] =
            [&[("n", "1"), ("type", "placed")], &[("n", "2"), ("type", "paid")], &[("n", "3"), ("type", "lost")]];
        let test = ConditionTest::In(vec![b"paid".to_vec(), b"lost".to_vec(), b"found".to_vec()]);
        same("what is seen", sees(&s, exact("type"), test, &entries).await?, ["2", "3"])?;
    }

    "a field that may be one of no values lets nothing through" => |s| {
        let seen = sees(&s, exact("n"), ConditionTest::In(vec![]), &[&[("n", "1")]]).await?;
        same("what is seen", seen, NOTHING)?;
    }

    "a field has to begin with a prefix" => |s| {
        let entries: [&[(&str, &str)]; 3] = [
            &[("n", "1"), ("type", "order.placed")], &[("n", "2"), ("type", "order")], &[("n", "3"), ("type", "bill.paid")],
        ];
        same("what is seen", sees(&s, exact("type"), prefix("order."), &entries).await?, ["1"])?;
    }

    "an empty prefix asks only that the field is there" => |s| {
        let entries: [&[(&str, &str)]; 3] = [&[("n", "1"), ("x", "")], &[("n", "2")], &[("n", "3"), ("x", "y")]];
        same("what is seen", sees(&s, exact("x"), prefix(""), &entries).await?, ["1", "3"])?;
    }

    "an entry without the field does not meet the condition" => |s| {
        let entries: [&[(&str, &str)]; 2] = [&[("n", "1")], &[("n", "2"), ("type", "")]];
        same("what is seen", sees(&s, exact("type"), equals(""), &entries).await?, ["2"])?;
    }

    "of several fields of a name the first counts" => |s| {
        let entries: [&[(&str, &str)]; 2] =
            [&[("n", "1"), ("t", "a"), ("t", "b")], &[("n", "2"), ("t", "b"), ("t", "a")]];
        same("what is seen", sees(&s, exact("t"), equals("a"), &entries).await?, ["1"])?;
    }

    "the type is found under each of its names" => |s| {
        let entries: [&[(&str, &str)]; 5] = [
            &[("n", "1"), ("type", "x")], &[("n", "2"), ("eventType", "x")], &[("n", "3"), ("event_type", "x")],
            &[("n", "4"), ("event", "x")], &[("n", "5"), ("kind", "x")],
        ];
        same("what is seen", sees(&s, FieldName::Type, equals("x"), &entries).await?, ["1", "2", "3", "4"])?;
    }

    "the first name of the type that an entry has counts" => |s| {
        let entries: [&[(&str, &str)]; 2] =
            [&[("n", "1"), ("event", "x"), ("type", "y")], &[("n", "2"), ("event", "y"), ("eventType", "x")]];
        same("what is seen", sees(&s, FieldName::Type, equals("x"), &entries).await?, ["2"])?;
    }

    "the tenant is found under each of its names" => |s| {
        let names = ["tenant", "tenantId", "tenant_id", "brand", "brandId", "brand_id", "customer"];
        let orders = s.stream();
        for name in names {
            orders.add_fields(&[("n", name), (name, "acme")]).await?;
        }
        let billing = orders.group("billing", with_condition(FieldName::Tenant, equals("acme"))).await?;
        same("what is seen", billing.gives("ann", GroupSource::New).await?, names[..6].to_vec())?;
    }

    "all conditions have to be met" => |s| {
        let orders = s.stream();
        for (n, kind, tenant) in [("1", "a", "x"), ("2", "a", "y"), ("3", "b", "x")] {
            orders.add_fields(&[("n", n), ("type", kind), ("tenant", tenant)]).await?;
        }
        let condition = |field, value| Condition { field, test: equals(value) };
        let conditions = vec![condition(FieldName::Type, "a"), condition(FieldName::Tenant, "x")];
        let billing = orders.group("billing", Policy { filter: Some(Filter { conditions }), ..policy() }).await?;
        same("what is seen", billing.gives("ann", GroupSource::New).await?, ["1"])?;
    }

    "a filter compares bytes" => |s| {
        let orders = s.stream();
        for value in [&b"\xff\0"[..], b"\xff", b"\xff\0\0"] {
            let fields: [(&[u8], &[u8]); 1] = [(b"n", value)];
            went("an append", s.broker().append(&orders.name, &fields, AppendOptions::default()).await)?;
        }
        let test = ConditionTest::Equals(b"\xff\0".to_vec());
        let billing = orders.group("billing", with_condition(exact("n"), test)).await?;
        same("how many are seen", billing.take("ann", GroupSource::New).await?.len(), 1)?;
    }
};

pub(super) static PASSING: &[Case] = cases! { Streams, "what filters pass over";
    "what does not match is never pending" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "a", "b"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        same("the rows", billing.rows().await?.len(), 2)?;
        billing.ack(&given).await?;
        same("the rows afterwards", billing.rows().await?.len(), 0)?;
        same("history", billing.gives("ann", HISTORY).await?, NOTHING)?;
    }

    "what does not match is counted" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "b", "a"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        billing.take("ann", GroupSource::New).await?;
        same("filtered", billing.info().await?.filtered, 2)?;
    }

    "what does not match is no lag" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "b", "a", "b"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        same("before", billing.counts().await?, [2, 0, 0, 0, 0])?;
        let given = billing.take("ann", GroupSource::New).await?;
        same("given", billing.counts().await?, [0, 2, 0, 0, 0])?;
        billing.ack(&given).await?;
        orders.add("b").await?;
        same("done", billing.counts().await?, [0, 0, 0, 0, 0])?;
        same("the oldest undelivered", billing.lag().await?.oldest_undelivered, None)?;
    }

    "a group for which nothing matches has no lag" => |s| {
        let orders = s.stream();
        orders.add_many(300).await?;
        let billing = orders.group("billing", with_filter("n", "none")).await?;
        same("the counts", billing.counts().await?, [0, 0, 0, 0, 0])?;
        same("what is given", billing.gives("ann", GroupSource::New).await?, NOTHING)?;
    }

    "a read looks as far as it needs for what matches" => |s| {
        let orders = s.stream();
        orders.add_many(1_200).await?;
        let billing = orders.group("billing", with_filter("n", "1199")).await?;
        let options = ReadGroup { count: 1, ..billing.options("ann", GroupSource::New) };
        same("what ann is given", labels(&billing.read_with(options).await?), ["1199"])?;
    }

    "the last delivered id moves past what does not match" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b", "b"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.take("ann", GroupSource::New).await?;
        same("where it is", billing.info().await?.last_delivered_id, ids[2])?;
    }

    "another filter holds for what was not passed over yet" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        billing.take("ann", GroupSource::New).await?;
        billing.ack(&given).await?;
        billing.set_policy(with_filter("n", "b")).await?;
        orders.add_all(&["a", "b"]).await?;
        same("what is new", billing.gives("ann", GroupSource::New).await?, ["b"])?;
        same("what is behind", billing.gives("ann", AVAILABLE).await?, NOTHING)?;
    }

    "a pending entry stays pending under another filter" => |s| {
        let orders = s.stream();
        orders.add("a").await?;
        let billing = orders.group("billing", policy()).await?;
        billing.next("ann").await?;
        billing.set_policy(with_filter("n", "b")).await?;
        same("ann's history", billing.gives("ann", HISTORY).await?, ["a"])?;
    }

    "filter and key work together" => |s| {
        let orders = s.stream();
        for (n, key) in [("a", "k"), ("b", "k"), ("a", "k"), ("b", "j")] {
            orders.add_keyed(n, key).await?;
        }
        let filtered = Policy { key: Some(b"key".to_vec()), ..with_filter("n", "a") };
        let billing = orders.group("billing", filtered).await?;
        let given = billing.take("ann", GroupSource::New).await?;
        same("what is given", labels(&given), ["a"])?;
        same("the counts", billing.counts().await?, [1, 1, 0, 0, 0])?;
        billing.ack(&given).await?;
        same("what comes", billing.gives("ann", AVAILABLE).await?, ["a"])?;
        same("filtered", billing.info().await?.filtered, 2)?;
    }

    "groups with different filters share a stream" => |s| {
        let orders = s.stream();
        orders.add_all(&["a", "b", "a", "c"]).await?;
        for (group, want) in [("a", vec!["a", "a"]), ("b", vec!["b"]), ("c", vec!["c"])] {
            let group = orders.group(group, with_filter("n", group)).await?;
            same(&text(&group.name), group.gives("ann", GroupSource::New).await?, want)?;
        }
        let all = orders.group("all", policy()).await?;
        same("without filter", all.gives("ann", GroupSource::New).await?, ["a", "b", "a", "c"])?;
    }

    "a filtered group acknowledges nothing it has not seen" => |s| {
        let orders = s.stream();
        let ids = orders.add_all(&["a", "b"]).await?;
        let billing = orders.group("billing", with_filter("n", "a")).await?;
        billing.take("ann", GroupSource::New).await?;
        same("what was passed over", billing.settle_id(ids[1], Settlement::Ack).await?, Settled::NotPending)?;
    }
};
