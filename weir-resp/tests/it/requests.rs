//! Requests as clients send them, and the exact words of every refusal.

use weir_resp::fuzz::{Seen, requests_in_pieces};
use weir_resp::{Limits, Proto, ProtocolError, Writer};

fn request(words: &[&str]) -> Seen {
    Seen::Request(words.iter().map(|word| word.as_bytes().to_vec()).collect())
}

/// Whatever the pieces, `data` gives `expected`.
#[track_caller]
fn check_with(data: &str, limits: &Limits, expected: &[Seen]) {
    for piece in [1, 2, 3, 5, data.len().max(1)] {
        assert_eq!(
            requests_in_pieces(data.as_bytes(), piece, limits),
            expected,
            "{data:?} in pieces of {piece}"
        );
    }
}

#[track_caller]
fn check(data: &str, expected: &[Seen]) {
    check_with(data, &Limits::DEFAULT, expected);
}

#[track_caller]
fn refused(data: &str, limits: &Limits, text: &str) {
    let [Seen::Error(error)] = requests_in_pieces(data.as_bytes(), data.len(), limits)[..] else {
        panic!("{data:?} is refused");
    };
    check_with(data, limits, &[Seen::Error(error)]);
    let mut out = Vec::new();
    Writer::new(&mut out, Proto::Resp2).protocol_error(error);
    assert_eq!(String::from_utf8_lossy(&out), format!("-ERR Protocol error: {text}\r\n"));
    assert_eq!(error.to_string(), format!("Protocol error: {text}"));
}

#[test]
fn arrays_inline_lines_and_pipelines() {
    check("*2\r\n$4\r\nXLEN\r\n$1\r\ns\r\n", &[request(&["XLEN", "s"])]);
    check("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[request(&["ECHO", ""])]);
    check(
        "PING\r\nPING\necho \"a b\"\r\n",
        &[request(&["PING"]), request(&["PING"]), request(&["echo", "a b"])],
    );
    check(
        "*1\r\n$4\r\nPING\r\nping\r\n*1\r\n$4\r\nQUIT\r\n",
        &[request(&["PING"]), request(&["ping"]), request(&["QUIT"])],
    );
    check("*1\r\n$2\r\n\r\n\r\n", &[request(&["\r\n"])]);
}

#[test]
fn nothing_to_do_is_skipped() {
    check("*0\r\n*-1\r\n*-7\r\n\r\n\n   \r\n", &[const { Seen::Empty }; 6]);
    check("\r\nPING\r\n", &[Seen::Empty, request(&["PING"])]);
}

#[test]
fn a_browser_is_recognised() {
    check("POST / HTTP/1.1\r\nHost: x\r\n", &[Seen::Http]);
    check("host: localhost\r\n", &[Seen::Http]);
    check("*1\r\n$4\r\npost\r\n", &[Seen::Http]);
    check("POSTS\r\nhosts\r\n", &[request(&["POSTS"]), request(&["hosts"])]);
}

#[test]
fn refusals_in_the_words_of_redis() {
    let limits = Limits::DEFAULT;
    refused("*1\r\n:3\r\n", &limits, "expected '$', got ':'");
    for count in ["x", "", "01", "+1", "1048577", "99999999999", "-0", "1 "] {
        refused(&format!("*{count}\r\n"), &limits, "invalid multibulk length");
    }
    for length in ["x", "", "-1", "536870913", "9223372036854775808"] {
        refused(&format!("*1\r\n${length}\r\n"), &limits, "invalid bulk length");
    }
    refused("set \"a\r\n", &limits, "unbalanced quotes in request");
}

#[test]
fn lines_without_an_end() {
    let limits = Limits { inline_max: 100, ..Limits::DEFAULT };
    let long = "1".repeat(101);
    refused(&long, &limits, "too big inline request");
    refused(&format!("{long}\r\n"), &limits, "too big inline request");
    refused(&format!("*{long}"), &limits, "too big mbulk count string");
    refused(&format!("*1\r\n${long}"), &limits, "too big bulk count string");
    let fits = "p".repeat(99);
    check_with(&format!("{fits}\r\n"), &limits, &[request(&[&fits])]);
}

#[test]
fn strangers_get_little() {
    let limits = Limits::DEFAULT.unauthenticated();
    refused("*11\r\n", &limits, "unauthenticated multibulk length");
    refused("*1\r\n$16385\r\n", &limits, "unauthenticated bulk length");
    check_with("*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n", &limits, &[request(&["AUTH", "p"])]);
}

#[test]
fn a_request_has_a_size() {
    let limits = Limits { request_max: 40, ..Limits::DEFAULT };
    refused("*2\r\n$4\r\nECHO\r\n$30\r\n", &limits, "too big request");
}

#[test]
fn the_offending_byte_is_shown_as_it_came() {
    assert_eq!(ProtocolError::ExpectedDollar(b'*').to_string(), "Protocol error: expected '$', got '*'");
}
