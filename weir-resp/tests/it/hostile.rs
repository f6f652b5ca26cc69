//! Peers that lie about lengths, send byte by byte, or never finish.

use proptest::prelude::*;
use weir_resp::{Args, Decoder, Limits, Progress, fuzz};

#[test]
fn an_announced_count_takes_no_memory() {
    let (mut decoder, mut args) = (Decoder::new(), Args::new());
    let progress = decoder.decode(b"*1000000\r\n$500000000\r\nx", &mut args, &Limits::DEFAULT);
    assert_eq!(progress, Progress::Incomplete { need_at_least: 10 + 12 + 500_000_000 + 2 });
    assert_eq!(args.heap_bytes(), 0);
}

#[test]
fn a_large_request_leaves_little_memory_behind() {
    let mut data = Vec::new();
    weir_resp::command(&mut data, vec!["a"; 100_000]);
    let (mut decoder, mut args) = (Decoder::new(), Args::new());
    assert_eq!(
        decoder.decode(&data, &mut args, &Limits::DEFAULT),
        Progress::Complete { consumed: data.len() }
    );
    assert_eq!(args.len(), 100_000);
    decoder.decode(b"PING\r\n", &mut args, &Limits::DEFAULT);
    assert!(args.heap_bytes() <= 64 * 1024, "{} bytes kept", args.heap_bytes());
}

/// A slow client with many arguments must not make the server read its request again and again: with a
/// quarter of a million arguments in single bytes that would be 10^11 steps, and this test would not end.
#[test]
fn tiny_pieces_of_a_large_request_cost_linear_time() {
    let mut data = Vec::new();
    weir_resp::command(&mut data, vec!["ab"; 250_000]);
    let (mut decoder, mut args) = (Decoder::new(), Args::new());
    for end in 1..data.len() {
        let progress = decoder.decode(&data[..end], &mut args, &Limits::DEFAULT);
        assert!(matches!(progress, Progress::Incomplete { need_at_least } if need_at_least > end));
    }
    assert_eq!(
        decoder.decode(&data, &mut args, &Limits::DEFAULT),
        Progress::Complete { consumed: data.len() }
    );
    assert_eq!(args.len(), 250_000);
    assert!(args.of(&data).iter().all(|word| word == b"ab"));
}

#[test]
fn a_half_received_bulk_says_how_much_it_needs() {
    let (mut decoder, mut args) = (Decoder::new(), Args::new());
    let head = b"*2\r\n$4\r\nECHO\r\n$16777216\r\n";
    let progress = decoder.decode(head, &mut args, &Limits::DEFAULT);
    assert_eq!(progress, Progress::Incomplete { need_at_least: head.len() + 16_777_216 + 2 });
    assert!(!decoder.is_idle());
}

/// Bytes that look like RESP often enough to get past the first check.
fn nearly_resp() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "*1\r\n",
            "*2\r\n",
            "*0\r\n",
            "*-1\r\n",
            "$4\r\n",
            "$1\r\n",
            "$0\r\n",
            "$-1\r\n",
            "PING",
            "a",
            "\r\n",
            "\n",
            "\r",
            "+OK\r\n",
            ":1\r\n",
            "%1\r\n",
            "~2\r\n",
            ">1\r\n",
            "|1\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "=5\r\n",
            "txt:a\r\n",
            "(12\r\n",
            "!1\r\n",
            "\"",
            "'",
            "\\x4",
            " ",
            "*",
            "$",
            "9",
            "POST",
            "*65\r\n",
            "*11\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_request_bytes_give_the_same_in_any_pieces(data in nearly_resp()) {
        fuzz::requests(&data);
    }

    #[test]
    fn any_reply_bytes_are_read_or_refused(data in nearly_resp()) {
        fuzz::replies(&data);
    }

    #[test]
    fn plain_noise_does_no_harm(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::requests(&data);
        fuzz::replies(&data);
    }
}
