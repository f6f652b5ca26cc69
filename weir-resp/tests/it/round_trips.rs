//! What is written is read back equal.

use proptest::prelude::*;
use weir_resp::fuzz::{Seen, requests_in_pieces};
use weir_resp::{Limits, Proto, Reply, ReplyLimits, Value, Writer, decode_reply, skip_reply};

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20)
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..150);
    let line = || "[ -~]{0,40}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        Just(Value::Null),
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Int),
        bytes().prop_map(Value::Bulk),
        any::<f64>().prop_filter("NaN is unequal to itself", |v| !v.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Bool),
        bytes().prop_map(|text| Value::Verbatim { format: *b"txt", text }),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let many = proptest::collection::vec(inner.clone(), 0..12);
        prop_oneof![
            many.clone().prop_map(Value::Array),
            many.clone().prop_map(Value::Set),
            many.prop_map(Value::Push),
            proptest::collection::vec((inner.clone(), inner), 0..6).prop_map(Value::Map),
        ]
    })
}

fn write(out: &mut Writer<'_>, value: &Value) {
    match value {
        Value::Null => out.null(),
        Value::Simple(text) => out.simple(std::str::from_utf8(text).expect("generated as ASCII")),
        Value::Error(text) => out.error(text),
        Value::Int(number) => out.int(*number),
        Value::Bulk(bytes) => out.bulk(bytes),
        Value::Double(number) => out.double(*number),
        Value::Bool(truth) => out.bool(*truth),
        Value::Verbatim { text, .. } => out.verbatim(text),
        Value::Array(elements) => {
            let array = out.array_later();
            elements.iter().for_each(|element| write(out, element));
            out.finish_array(array, elements.len());
        }
        Value::Set(elements) => {
            out.set(elements.len());
            elements.iter().for_each(|element| write(out, element));
        }
        Value::Push(elements) => {
            out.push(elements.len());
            elements.iter().for_each(|element| write(out, element));
        }
        Value::Map(pairs) => {
            out.map(pairs.len());
            for (key, value) in pairs {
                write(out, key);
                write(out, value);
            }
        }
        other => unreachable!("not generated: {other:?}"),
    }
}

proptest! {
    #[test]
    fn commands(commands in proptest::collection::vec(words(), 1..5), piece in 1_usize..300) {
        let mut data = Vec::new();
        for words in &commands {
            weir_resp::command(&mut data, words);
        }
        let expected: Vec<Seen> = commands.into_iter().map(Seen::Request).collect();
        let is_http = |seen: &Seen| matches!(seen, Seen::Request(words)
            if words[0].eq_ignore_ascii_case(b"post") || words[0].eq_ignore_ascii_case(b"host:"));
        prop_assume!(!expected.iter().any(is_http));
        prop_assert_eq!(requests_in_pieces(&data, piece, &Limits::DEFAULT), expected);
    }

    #[test]
    fn inline_words(words in words()) {
        let mut line = String::new();
        for word in &words {
            line.push('"');
            word.iter().for_each(|byte| line.push_str(&format!("\\x{byte:02x}")));
            line.push_str("\" ");
        }
        line.push_str("\r\n");
        prop_assert_eq!(requests_in_pieces(line.as_bytes(), 64, &Limits::DEFAULT), vec![Seen::Request(words)]);
    }

    #[test]
    fn replies(value in value()) {
        let mut data = Vec::new();
        write(&mut Writer::new(&mut data, Proto::Resp3), &value);
        let consumed = data.len();
        for end in 0..data.len() {
            prop_assert_eq!(skip_reply(&data[..end]), Ok(None));
            prop_assert_eq!(decode_reply(&data[..end], &ReplyLimits::DEFAULT), Ok(Reply::Incomplete));
        }
        data.extend_from_slice(b"+next\r\n");
        prop_assert_eq!(skip_reply(&data), Ok(Some(consumed)));
        let read = decode_reply(&data, &ReplyLimits::DEFAULT);
        prop_assert_eq!(read, Ok(Reply::Complete { value, consumed }));
    }

    #[test]
    fn replies_of_the_old_protocol_end_where_they_should(value in value()) {
        let mut data = Vec::new();
        write(&mut Writer::new(&mut data, Proto::Resp2), &value);
        prop_assert_eq!(skip_reply(&data), Ok(Some(data.len())));
        let read = decode_reply(&data, &ReplyLimits::DEFAULT);
        let complete = matches!(read, Ok(Reply::Complete { consumed, .. }) if consumed == data.len());
        prop_assert!(complete);
    }
}
