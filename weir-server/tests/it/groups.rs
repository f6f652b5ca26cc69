//! Consumer groups: replies and error texts, command by command.

use std::time::Duration;

use crate::harness::{TestServer, check, check3};

const NO_KEY: &str = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                      MKSTREAM option to create an empty stream automatically.";

#[test]
fn xgroup() {
    check(&[
        ("XGROUP", "-ERR wrong number of arguments for 'xgroup' command"),
        ("XGROUP FOO", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP."),
        ("XGROUP CREATE s g", "-ERR wrong number of arguments for 'xgroup|create' command"),
        ("XGROUP CREATE s g $", NO_KEY),
        ("XGROUP CREATE s g x", NO_KEY),
        ("XGROUP CREATE s g x MKSTREAM", "-ERR Invalid stream ID specified as stream command argument"),
        ("XLEN s", ":0"),
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("XGROUP CREATE s g $", "-BUSYGROUP Consumer Group name already exists"),
        (
            "XGROUP CREATE s g - ",
            "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
        ),
        ("XGROUP CREATE s h -", "-ERR Invalid stream ID specified as stream command argument"),
        ("XGROUP CREATE s h 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
        ("XGROUP CREATE s h 0 ENTRIESREAD x", "-ERR value is not an integer or out of range"),
        ("XGROUP CREATE s h 0 ENTRIESREAD -1", "+OK"),
        (
            "XGROUP create s i 0 FOO",
            "-ERR unknown subcommand or wrong number of arguments for 'create'. Try XGROUP HELP.",
        ),
        ("XGROUP SETID s none 0", "-NOGROUP No such consumer group 'none' for key name 's'"),
        ("XGROUP SETID none g 0", NO_KEY),
        ("XGROUP SETID s g -", "+OK"),
        ("XGROUP SETID s g +", "+OK"),
        ("XGROUP SETID s g 0 ENTRIESREAD 5", "+OK"),
        (
            "XGROUP SETID s g 0 MKSTREAM",
            "-ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.",
        ),
        ("XGROUP CREATECONSUMER s g c", ":1"),
        ("XGROUP CREATECONSUMER s g c", ":0"),
        ("XGROUP CREATECONSUMER s none c", "-NOGROUP No such consumer group 'none' for key name 's'"),
        ("XGROUP DELCONSUMER s g c", ":0"),
        ("XGROUP DELCONSUMER s none c", "-NOGROUP No such consumer group 'none' for key name 's'"),
        ("XGROUP DESTROY none g", NO_KEY),
        ("XGROUP DESTROY s none", ":0"),
        ("XGROUP DESTROY s h", ":1"),
    ]);
}

#[test]
fn help_is_simple_strings() {
    let (server, _) = TestServer::with_clock();
    let mut client = server.client();
    let help = client.ask("XGROUP HELP");
    assert!(
        help.starts_with("*17 +XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +CREATE ")
    );
    assert!(help.ends_with("+HELP +    Print this help."));
    assert!(client.ask("XINFO HELP").starts_with("*9 +XINFO "));
}

#[test]
fn xreadgroup() {
    check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-2 b 2", "$3 2-2"),
        (
            "XREADGROUP GROUP g c STREAMS s >",
            "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("XGROUP CREATE s g 0", "+OK"),
        (
            "XREADGROUP GROUP g c STREAMS s t > x",
            "-NOGROUP No such key 't' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s t x >",
            "-ERR Invalid stream ID specified as stream command argument",
        ),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREADGROUP COUNT 1 GROUP g c STREAMS s 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREADGROUP GROUP g c STREAMS s 1-1", "*1 *2 $1 s *0"),
        ("XREADGROUP GROUP g c BLOCK 1 STREAMS s 1-1", "*1 *2 $1 s *0"),
        ("XREADGROUP GROUP g d NOACK STREAMS s >", "*1 *2 $1 s *1 *2 $3 2-2 *2 $1 b $1 2"),
        ("XREADGROUP GROUP g d STREAMS s >", "*-1"),
        ("XPENDING s g", "*4 :1 $3 1-1 $3 1-1 *1 *2 $1 c $1 1"),
        ("XDEL s 1-1", ":1"),
        ("XREADGROUP GROUP g c STREAMS s 0", "*1 *2 $1 s *1 *2 $3 1-1 *-1"),
        ("XGROUP CREATE s STREAMS 0", "+OK"),
        ("XREADGROUP GROUP STREAMS STREAMS STREAMS s >", "*1 *2 $1 s *1 *2 $3 2-2 *2 $1 b $1 2"),
        (
            "XREADGROUP GROUP g c NOACK COUNT 1 STREAMS s",
            "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
        ),
        ("XREADGROUP COUNT 1 NOACK BLOCK 1 STREAMS s >", "-ERR Missing GROUP option for XREADGROUP"),
        (
            "XREADGROUP GROUP g c STREAMS s $",
            "-ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
             by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty \
             result set.",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s +",
            "-ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
             by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty \
             result set.",
        ),
        ("XREADGROUP GROUP g c CLAIM -1 STREAMS s >", "-ERR min-idle-time must be a positive integer"),
        ("XREADGROUP GROUP g c CLAIM x STREAMS s >", "-ERR min-idle-time is not an integer or out of range"),
    ]);
    check3(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c STREAMS s >", "%1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREADGROUP GROUP g c STREAMS s >", "_"),
        ("XREADGROUP GROUP g d STREAMS s 0", "%1 $1 s *0"),
        ("XDEL s 1-1", ":1"),
        ("XREADGROUP GROUP g c STREAMS s 0", "%1 $1 s *1 *2 $3 1-1 _"),
        ("XPENDING s g", "*4 :1 $3 1-1 $3 1-1 *1 *2 $1 c $1 1"),
        ("XACK s g 1-1", ":1"),
        ("XPENDING s g", "*4 :0 _ _ _"),
    ]);
}

#[test]
fn xreadgroup_claims_idle_rows_first() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XADD s 2-2 b 2", "$3 2-2"),
    ]);
    clock.advance(Duration::from_millis(92));
    client.check(&[
        (
            "XREADGROUP GROUP g d CLAIM 92 STREAMS s >",
            "*1 *2 $1 s *2 *4 $3 1-1 *2 $1 a $1 1 :92 :1 *4 $3 2-2 *2 $1 b $1 2 :0 :0",
        ),
        ("XREADGROUP GROUP g d CLAIM 92 STREAMS s >", "*-1"),
        ("XPENDING s g - + 10", "*2 *4 $3 1-1 $1 d :0 :2 *4 $3 2-2 $1 d :0 :1"),
    ]);
}

#[test]
fn acknowledging() {
    check(&[
        ("XACK none g x", ":0"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-1 a 1", "$3 2-1"),
        ("XACK s g x", ":0"),
        ("XACKDEL s g IDS 2 x y", "*2 :-1 :-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XGROUP CREATE s h 0", "+OK"),
        ("XACK s g x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XREADGROUP GROUP g c STREAMS s >", "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 a $1 1"),
        ("XACK s g 1-1 1-1 9-9", ":1"),
        ("XACKDEL s g ACKED IDS 2 1-1 2-1", "*2 :-1 :2"),
        ("XLEN s", ":2"),
        ("XREADGROUP GROUP h c STREAMS s >", "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 a $1 1"),
        ("XACKDEL s h IDS 2 1-1 2-1", "*2 :1 :1"),
        ("XLEN s", ":0"),
        ("XACKDEL s h KEEPREF DELREF IDS 1", "-ERR syntax error"),
        ("XACKDEL s h KEEPREF 1-1 2-1", "-ERR syntax error"),
    ]);
}

#[test]
fn xpending() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("XPENDING s g", "-NOGROUP No such key 's' or consumer group 'g'"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-1 a 1", "$3 2-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
        ("XREADGROUP GROUP g d COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 2-1 *2 $1 a $1 1"),
    ]);
    clock.advance(Duration::from_millis(50));
    client.check(&[
        ("XPENDING s g", "*4 :2 $3 1-1 $3 2-1 *2 *2 $1 c $1 1 *2 $1 d $1 1"),
        ("XPENDING s g - + 10", "*2 *4 $3 1-1 $1 d :50 :1 *4 $3 2-1 $1 c :50 :1"),
        ("XPENDING s g IDLE 50 - + 10 c", "*1 *4 $3 2-1 $1 c :50 :1"),
        ("XPENDING s g IDLE 51 - + 10", "*0"),
        ("XPENDING s g - + 10 nobody", "*0"),
        ("XPENDING s g - + 10 c surplus", "*1 *4 $3 2-1 $1 c :50 :1"),
        ("XPENDING s g - + 0", "*0"),
        ("XPENDING s g - + -1", "*0"),
        ("XPENDING s g (1-1 2", "-ERR syntax error"),
        ("XPENDING s g (1-1 2 9", "*1 *4 $3 2-1 $1 c :50 :1"),
        ("XPENDING s g - + x", "-ERR value is not an integer or out of range"),
        ("XPENDING s g IDLE x - + 10", "-ERR value is not an integer or out of range"),
        ("XPENDING s none - + x", "-ERR value is not an integer or out of range"),
        ("XPENDING s none - + 1", "-NOGROUP No such key 's' or consumer group 'none'"),
        ("XPENDING s g - + 1 1 1 1 1", "-ERR syntax error"),
    ]);
}

#[test]
fn claiming() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("XCLAIM s g c x 1-1", "-NOGROUP No such key 's' or consumer group 'g'"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-1 a 2", "$3 2-1"),
        ("XADD s 3-1 a 3", "$3 3-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        (
            "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
            "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 a $1 2",
        ),
        ("XCLAIM s g d x 1-1", "-ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM s g d 0 x", "-ERR Unrecognized XCLAIM option 'x'"),
        ("XCLAIM s g d 0 1-1 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
        ("XCLAIM s g d 0 1-1 TIME x", "-ERR Invalid TIME option argument for XCLAIM"),
        ("XCLAIM s g d 0 1-1 RETRYCOUNT x", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
        ("XCLAIM s g d 0 1-1 LASTID x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XCLAIM s g d 1 1-1", "*0"),
    ]);
    clock.advance(Duration::from_millis(10));
    client.check(&[
        ("XCLAIM s g d 10 1-1 3-1", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XCLAIM s g d 0 3-1 FORCE JUSTID", "*1 $3 3-1"),
        ("XCLAIM s g d 0 3-1 IDLE 5 RETRYCOUNT 7 JUSTID", "*1 $3 3-1"),
        ("XPENDING s g - + 10", "*3 *4 $3 1-1 $1 d :0 :2 *4 $3 2-1 $1 c :10 :1 *4 $3 3-1 $1 d :5 :7"),
        ("XCLAIM s g d 0 3-1 TIME 99999999999999 JUSTID", "*1 $3 3-1"),
        ("XPENDING s g 3 3 1", "*1 *4 $3 3-1 $1 d :0 :7"),
        ("XAUTOCLAIM s g e 10 0", "*3 $3 0-0 *1 *2 $3 2-1 *2 $1 a $1 2 *0"),
        ("XAUTOCLAIM s g e 0 - COUNT 2 JUSTID", "*3 $3 3-1 *2 $3 1-1 $3 2-1 *0"),
        ("XDEL s 3-1", ":1"),
        ("XAUTOCLAIM s g e 0 (2-1", "*3 $3 0-0 *0 *1 $3 3-1"),
        ("XAUTOCLAIM s g e x 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
        ("XAUTOCLAIM s g e 0 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XAUTOCLAIM s g e 0 0 COUNT 0", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g e 0 0 COUNT x", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s none e 0 0 FOO", "-ERR syntax error"),
        ("XAUTOCLAIM s none e 0 0", "-NOGROUP No such key 's' or consumer group 'none'"),
    ]);
}

#[test]
fn xnack() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-1 a 2", "$3 2-1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
    ]);
    clock.advance(Duration::from_millis(7));
    client.check(&[
        ("XNACK s g FAIL IDS 2 1-1 9-9", ":1"),
        ("XPENDING s g - + 10", "*1 *4 $3 1-1 $0  :-1 :1"),
        ("XPENDING s g", "*4 :1 $3 1-1 $3 1-1 *0"),
        ("XCLAIM s g d 99999 1-1", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XNACK s g SILENT IDS 1 1-1", ":1"),
        ("XNACK s g FATAL IDS 1 2-1 FORCE", ":1"),
        ("XPENDING s g - + 10", "*2 *4 $3 1-1 $0  :-1 :1 *4 $3 2-1 $0  :-1 :9223372036854775807"),
        ("XNACK s g FAIL IDS 1 1-1 RETRYCOUNT 4", ":1"),
        ("XNACK s none FAIL IDS 1 1-1", "-NOGROUP No such key 's' or consumer group 'none'"),
        ("XNACK s g FOO IDS 1 1-1", "-ERR mode must be SILENT, FAIL, or FATAL"),
        ("XNACK s g FAIL FOO 1 1-1", "-ERR syntax error, expected IDS keyword"),
        ("XNACK s g FAIL IDS 0 1-1", "-ERR numids must be a positive integer"),
        ("XNACK s g FAIL IDS 2 1-1", "-ERR number of IDs doesn't match numids"),
        ("XNACK s g FAIL IDS 1 1-1 FOO", "-ERR Unrecognized XNACK option 'FOO'"),
        ("XNACK s g FAIL IDS 1 1-1 RETRYCOUNT -1", "-ERR Invalid RETRYCOUNT value, must be >= 0"),
        ("XNACK s g FAIL IDS 1 x", "-ERR Invalid stream ID specified as stream command argument"),
    ]);
}
