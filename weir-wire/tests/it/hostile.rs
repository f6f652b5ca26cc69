//! Whatever is sent, reading it answers, and allocates no more than what was sent.

use proptest::prelude::*;
use weir_core::ErrorKind;
use weir_wire::{COMMANDS, Request, Value, Verb};

use crate::draw::Draw;

/// Words that mean something somewhere, and some that mean nothing.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&str> = COMMANDS
        .iter()
        .flat_map(|command| command.syntax.split([' ', '[', ']', '<', '>', '|']))
        .filter(|word| !word.is_empty())
        .chain(["*", "5-1", "5-1:7", "0", "1", "3", "18446744073709551615", "18446744073709551616", "-1", ""])
        .chain(["TYPE", "FIELD", "EQUALS", "IN", "PREFIX", "99999999999-"])
        .collect();
    prop_oneof![
        9 => proptest::sample::select(tokens).prop_map(|token| token.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        (-2_i64..3).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        word().prop_map(Value::Bulk),
        Just(Value::Simple("OK".to_owned())),
        Just(Value::Simple("DONE".to_owned())),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec(inner, 0..8).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_words_are_a_call_or_an_error(nth in 0..COMMANDS.len(), rest in proptest::collection::vec(word(), 0..24)) {
        let mut words: Vec<&[u8]> = COMMANDS[nth].words().map(str::as_bytes).collect();
        words.extend(rest.iter().map(|word| &**word));
        if let Err(error) = Request::decode(&words) {
            let kind = error.kind();
            prop_assert!(matches!(kind, ErrorKind::Invalid(_) | ErrorKind::LimitReached(_)), "{:?}", error);
        }
    }

    #[test]
    fn any_answer_is_a_reply_or_an_error(seed: u64, value in value()) {
        fn read<'a, V: Verb<'a>>(verb: &V, value: Value) -> bool {
            match verb.read_reply(value) {
                Ok(_) => true,
                Err(error) => matches!(error.kind(), ErrorKind::Unsupported(_)),
            }
        }
        let mut draw = Draw(seed);
        for nth in 0..COMMANDS.len() {
            let value = value.clone();
            let understood = match draw.request(nth) {
                Request::ReadStream(verb) => read(&*verb, value),
                Request::InfoOf(verb) => read(&*verb, value),
                Request::LostEntries(verb) => read(&*verb, value),
                Request::GetGroup(verb) => read(&*verb, value),
                Request::LagOf(verb) => read(&*verb, value),
                Request::ReadAsGroup(verb) => read(&*verb, value),
                Request::SettleEntries(verb) => read(&*verb, value),
                Request::AutoClaimEntries(verb) => read(&*verb, value),
                Request::PendingSummaryOf(verb) => read(&*verb, value),
                Request::PendingRows(verb) => read(&*verb, value),
                Request::DeadLetters(verb) => read(&*verb, value),
                Request::RedriveDeadLetters(verb) => read(&*verb, value),
                _ => true,
            };
            prop_assert!(understood, "verb {nth}");
        }
    }
}

#[test]
fn a_count_beyond_what_follows_is_refused_before_anything_is_made() {
    for (line, wanted) in [
        ("WEIR.ADDBATCH s ENTRIES * FIELDS 1000000 a b", "INVALID"),
        ("WEIR.ADDBATCH s ENTRIES * FIELDS 18446744073709551615 a b", "LIMIT"),
        ("WEIR.GROUP SET s g FILTER 100 TYPE PREFIX x", "INVALID"),
        ("WEIR.GROUP SET s g FILTER 1 TYPE IN 4000000000 x", "LIMIT"),
        ("WEIR.GROUP SET s g BACKOFF LIST 9000 1 2", "INVALID"),
        ("WEIR.DLQ LIST s g IDS 1000000 1-1", "INVALID"),
        ("WEIR.NOSUCH s", "UNSUPPORTED"),
        ("WEIR.GROUP", "UNSUPPORTED"),
        ("", "UNSUPPORTED"),
    ] {
        let words: Vec<&[u8]> = line.split_terminator(' ').map(str::as_bytes).collect();
        let error = Request::decode(&words).unwrap_err();
        let said = weir_wire::error_line(&error);
        assert!(said.starts_with(wanted.as_bytes()), "{line}: {}", String::from_utf8_lossy(&said));
    }
}
