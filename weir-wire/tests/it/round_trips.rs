//! What is written is read again as it was: calls and replies of every verb.

use std::fmt::Debug;

use proptest::prelude::*;
use weir_core::{Created, DeadLetterPage, Sought, Trimmed};
use weir_wire::{COMMANDS, Request, Value, Verb};

use crate::draw::Draw;

/// What a client of RESP2 gets: no maps, no numbers that are not whole.
fn as_resp2(value: Value) -> Value {
    match value {
        Value::Map(items) | Value::Array(items) => Value::Array(items.into_iter().map(as_resp2).collect()),
        Value::Double(number) => Value::Bulk(number.to_string().into_bytes()),
        value => value,
    }
}

fn check<'a, V: Verb<'a>>(verb: &V, reply: V::Reply)
where
    V::Reply: Debug + Clone,
{
    let value = V::reply(reply.clone());
    for value in [as_resp2(value.clone()), value] {
        let back = verb.read_reply(value).expect("it was written by the same verb");
        assert_eq!(format!("{back:?}"), format!("{reply:?}"));
    }
}

/// A reply to this call, there and back.
fn check_reply(request: &Request<'_>, draw: &mut Draw) {
    match request {
        Request::AppendEntry(verb) => check(&**verb, draw.appended()),
        Request::AppendBatch(verb) => check(&**verb, draw.many(Draw::appended)),
        Request::ReadStream(verb) => check(&**verb, draw.many(Draw::entry)),
        Request::HeadOf(verb) => check(&**verb, draw.some(Draw::head)),
        Request::InfoOf(verb) => check(&**verb, draw.some(Draw::stream_info)),
        Request::ListStreamNames(verb) => check(&**verb, draw.stream_page()),
        Request::DeleteStream(verb) => check(&**verb, draw.flag()),
        Request::DeleteEntries(verb) => check(&**verb, draw.number()),
        Request::TrimStream(verb) => {
            check(&**verb, Trimmed { removed: draw.number(), held: draw.number() });
        }
        Request::SetRetention(verb) => check(&**verb, ()),
        Request::GetRetention(verb) => check(&**verb, draw.kept()),
        Request::LostEntries(verb) => check(&**verb, draw.lost_page()),
        Request::CreateGroupOf(verb) => {
            check(&**verb, if draw.flag() { Created::New } else { Created::Existing });
        }
        Request::SetPolicy(verb) => check(&**verb, ()),
        Request::GetGroup(verb) => check(&**verb, draw.some(Draw::group_info)),
        Request::ListGroups(verb) => check(&**verb, draw.many(Draw::group_info)),
        Request::DeleteGroup(verb) => check(&**verb, draw.flag()),
        Request::SeekGroup(verb) => {
            check(&**verb, Sought { from: draw.id(), to: draw.id(), dropped: draw.number() });
        }
        Request::PauseGroup(verb) => check(&**verb, ()),
        Request::ResumeGroup(verb) => check(&**verb, ()),
        Request::CreateConsumer(verb) => check(&**verb, draw.flag()),
        Request::ListConsumers(verb) => check(&**verb, draw.many(Draw::consumer_info)),
        Request::DeleteConsumer(verb) => check(&**verb, draw.number()),
        Request::LagOf(verb) => check(&**verb, draw.lag()),
        Request::ReadAsGroup(verb) => check(&**verb, draw.many(Draw::delivery)),
        Request::SettleEntries(verb) => {
            check(&**verb, verb.settlements.iter().map(|_| draw.settled()).collect());
        }
        Request::NackEntries(verb) => check(&**verb, draw.many(Draw::settled)),
        Request::ReleaseEntries(verb) => check(&**verb, draw.many(Draw::settled)),
        Request::TermEntries(verb) => check(&**verb, draw.many(Draw::settled)),
        Request::ExtendEntries(verb) => check(&**verb, draw.many(Draw::settled)),
        Request::ClaimEntries(verb) => check(&**verb, draw.many(Draw::delivery)),
        Request::AutoClaimEntries(verb) => check(&**verb, draw.auto_claimed()),
        Request::PendingSummaryOf(verb) => check(&**verb, draw.summary()),
        Request::PendingRows(verb) => check(&**verb, draw.many(Draw::row)),
        Request::RestorePending(verb) => check(&**verb, draw.number()),
        Request::DeadLetters(verb) => {
            check(&**verb, DeadLetterPage { letters: draw.many(Draw::letter), next: draw.some(Draw::id) });
        }
        Request::DeadLetterPeek(verb) => check(&**verb, draw.some(Draw::letter)),
        Request::RedriveDeadLetters(verb) => check(&**verb, draw.redriven()),
        Request::PurgeDeadLetters(verb) => check(&**verb, draw.number()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn calls_and_replies_come_back_as_they_were(seed: u64, nth in 0..COMMANDS.len()) {
        let mut draw = Draw(seed);
        let request = draw.request(nth);
        prop_assert_eq!(request.command(), COMMANDS[nth], "the draw knows every verb");
        let mut words: Vec<Vec<u8>> = Vec::new();
        request.encode(&mut words);
        let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        let back = Request::decode(&words).unwrap();
        prop_assert_eq!(format!("{:?}", back), format!("{:?}", request), "{:?}", words);
        check_reply(&request, &mut draw);
    }
}

#[test]
fn a_delivery_whose_entry_has_gone_is_left_out() {
    let mut draw = Draw(7);
    let Request::ReadAsGroup(verb) = draw.request(24) else { panic!("the 24th verb reads as a group") };
    let kept = draw.delivery();
    let Value::Array(mut items) = weir_wire::ReadAsGroup::reply(vec![draw.delivery(), kept.clone()]) else {
        panic!("deliveries are an array");
    };
    let Value::Array(parts) = &mut items[0] else { panic!("a delivery is an array") };
    parts[1] = Value::Null;
    let back = verb.read_reply(Value::Array(items)).expect("the other one is whole");
    assert_eq!(back, [kept]);
}
