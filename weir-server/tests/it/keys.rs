//! Keys of any kind, and small strings.

use crate::harness::{TestServer, check, check3};

#[test]
fn removing_and_counting() {
    check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("SET t x", "+OK"),
        ("TYPE s", "+stream"),
        ("TYPE t", "+string"),
        ("TYPE nokey", "+none"),
        ("EXISTS s t s nokey", ":3"),
        ("TOUCH s nokey", ":1"),
        ("DBSIZE", ":2"),
        ("DEL s nokey t s", ":2"),
        ("UNLINK s", ":0"),
        ("DBSIZE", ":0"),
        ("RANDOMKEY", "$-1"),
        ("SET only x", "+OK"),
        ("RANDOMKEY", "$4 only"),
        ("FLUSHDB foo", "-ERR syntax error"),
        ("FLUSHALL SYNC ASYNC", "-ERR syntax error"),
        ("FLUSHDB ASYNC", "+OK"),
        ("DBSIZE", ":0"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
    ]);
}

#[test]
fn listing() {
    check(&[
        ("SET abc 1", "+OK"),
        ("XADD abd 1-1 a 1", "$3 1-1"),
        ("SET xyz 1", "+OK"),
        ("KEYS ab*", "*2 $3 abc $3 abd"),
        ("KEYS ab[^c]", "*1 $3 abd"),
        ("KEYS nothing", "*0"),
        ("SCAN 0", "*2 $1 0 *3 $3 abc $3 abd $3 xyz"),
        ("SCAN 0 MATCH ab* TYPE stream", "*2 $1 0 *1 $3 abd"),
        ("SCAN 0 type foo", "*2 $1 0 *0"),
        ("SCAN 0 COUNT 2", "*2 $1 2 *2 $3 abc $3 abd"),
        ("SCAN 2 COUNT 2", "*2 $1 0 *1 $3 xyz"),
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN 18446744073709551615", "*2 $1 0 *0"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
        ("SCAN 0 MATCH", "-ERR syntax error"),
        ("SELECT 1", "+OK"),
        ("KEYS *", "*0"),
    ]);
}

#[test]
fn names_and_databases() {
    check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("RENAME s s", "+OK"),
        ("RENAMENX s s", ":0"),
        ("RENAME nokey t", "-ERR no such key"),
        ("RENAME s t", "+OK"),
        ("SET u 1", "+OK"),
        ("RENAMENX t u", ":0"),
        ("RENAME t u", "+OK"),
        ("XRANGE u - +", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("MOVE u 0", "-ERR source and destination objects are the same"),
        ("MOVE u 16", "-ERR DB index is out of range"),
        ("MOVE u x", "-ERR value is not an integer or out of range"),
        ("MOVE nokey 1", ":0"),
        ("MOVE u 1", ":1"),
        ("EXISTS u", ":0"),
        ("SWAPDB x 1", "-ERR invalid first DB index"),
        ("SWAPDB 1 x", "-ERR invalid second DB index"),
        ("SWAPDB 0 16", "-ERR DB index is out of range"),
        ("SWAPDB 0 1", "+OK"),
        ("XLEN u", ":1"),
        ("XADD u * a 1", "$9 1000000-0"),
        ("SELECT 1", "+OK"),
        ("FLUSHALL", "+OK"),
        ("SELECT 0", "+OK"),
        ("EXISTS u", ":0"),
    ]);
}

#[test]
fn copies() {
    check(&[
        ("XADD s 1-1 a 1 a 2", "$3 1-1"),
        ("XADD s 1-2 b 2", "$3 1-2"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *4 $1 a $1 1 $1 a $1 2"),
        ("PEXPIREAT s 5000000", ":1"),
        ("COPY s s", "-ERR source and destination objects are the same"),
        ("COPY nokey t", ":0"),
        ("COPY s t FOO", "-ERR syntax error"),
        ("COPY s t DB 16", "-ERR DB index is out of range"),
        ("COPY s t", ":1"),
        ("COPY s t", ":0"),
        ("COPY s t REPLACE", ":1"),
        ("COPY s s DB 3", ":1"),
        ("PEXPIRETIME t", ":5000000"),
        ("XRANGE t - +", "*2 *2 $3 1-1 *4 $1 a $1 1 $1 a $1 2 *2 $3 1-2 *2 $1 b $1 2"),
        ("XPENDING t g", "*4 :1 $3 1-1 $3 1-1 *1 *2 $1 c $1 1"),
        ("MULTI", "+OK"),
        ("COPY s u", "+QUEUED"),
        ("EXEC", "*1 :1"),
        ("XLEN u", ":2"),
    ]);
}

#[test]
fn dumped_keys_are_restored() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("DUMP nokey", "$-1"),
        ("RESTORE s 0 x", "-BUSYKEY Target key name already exists."),
        ("RESTORE t 0 x", "-ERR DUMP payload version or checksum are wrong"),
        ("RESTORE t -1 x", "-ERR Invalid TTL value, must be >= 0"),
        ("RESTORE t 0 x FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("RESTORE t 0 x IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0"),
        ("RESTORE t 0 x FOO", "-ERR syntax error"),
    ]);
    let payload = client.ask_bytes(&[b"DUMP", b"s"]);
    let start = payload.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
    let payload = &payload[start..payload.len() - 2];
    assert_eq!(client.ask_bytes(&[b"RESTORE", b"t", b"60000", payload]), b"+OK\r\n");
    assert_eq!(client.ask_bytes(&[b"RESTORE", b"s", b"0", payload, b"REPLACE"]), b"+OK\r\n");
    client.check(&[("XRANGE t - +", "*1 *2 $3 1-1 *2 $1 a $1 1"), ("TTL t", ":60"), ("TTL s", ":-1")]);
    let mut damaged = payload.to_vec();
    damaged[8] ^= 1;
    assert!(client.ask_bytes(&[b"RESTORE", b"u", b"0", &damaged]).starts_with(b"-ERR DUMP payload"));
}

#[test]
fn expiry() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("TTL nokey", ":-2"),
        ("TTL s", ":-1"),
        ("EXPIRE nokey 5", ":0"),
        ("EXPIRE s 100 GT", ":0"),
        ("EXPIRE s 100 LT", ":1"),
        ("TTL s", ":100"),
        ("PTTL s", ":100000"),
        ("EXPIRETIME s", ":1100"),
        ("PEXPIRETIME s", ":1100000"),
        ("XADD s 1-2 a 1", "$3 1-2"),
        ("TTL s", ":100"),
        ("EXPIRE s 50 GT", ":0"),
        ("EXPIRE s 50 NX", ":0"),
        ("EXPIRE s 50 XX LT", ":1"),
        ("EXPIRE s 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE s 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE s x FOO", "-ERR Unsupported option FOO"),
        ("EXPIRE s x", "-ERR value is not an integer or out of range"),
        ("EXPIRE s 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("PEXPIRE s 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
        ("PERSIST s", ":1"),
        ("PERSIST s", ":0"),
        ("PEXPIRE s 1500", ":1"),
        ("TTL s", ":2"),
    ]);
    clock.advance(std::time::Duration::from_millis(1499));
    client.check(&[("EXISTS s", ":1")]);
    clock.advance(std::time::Duration::from_millis(1));
    client.check(&[("EXISTS s", ":0"), ("SET t 1", "+OK"), ("EXPIREAT t -5", ":1"), ("EXISTS t", ":0")]);
}

#[test]
fn objects() {
    check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("SET n 5", "+OK"),
        ("SET w word", "+OK"),
        ("OBJECT ENCODING s", "$6 stream"),
        ("OBJECT ENCODING n", "$3 int"),
        ("OBJECT ENCODING w", "$6 embstr"),
        ("OBJECT REFCOUNT s", ":1"),
        ("OBJECT IDLETIME s", ":0"),
        ("OBJECT IDLETIME nokey", "$-1"),
        ("OBJECT ENCODING nokey", "$-1"),
        ("OBJECT FREQ nokey", "$-1"),
        ("OBJECT FOO s", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("MEMORY USAGE nokey", "$-1"),
        ("MEMORY USAGE s SAMPLES -1", "-ERR syntax error"),
        ("MEMORY PURGE", "+OK"),
    ]);
    let server = TestServer::start();
    let mut client = server.client3();
    client.ask("XADD s 1-1 a 1");
    assert!(client.ask("MEMORY USAGE s").starts_with(':'));
    assert!(client.ask("OBJECT FREQ s").starts_with("-ERR An LFU maxmemory policy is not selected"));
    assert!(client.ask("MEMORY STATS").starts_with("%8 $14 peak.allocated :"));
    assert!(client.ask("MEMORY DOCTOR").starts_with('='));
    assert!(client.ask("OBJECT HELP").starts_with("*11 +OBJECT <subcommand> [<arg> [value] [opt] ...]. Sub"));
}

#[test]
fn strings() {
    check(&[
        ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 1 EX x", "-ERR value is not an integer or out of range"),
        ("SET a 1 EX 10 PX 10", "-ERR syntax error"),
        ("SET a 1 NX XX", "-ERR syntax error"),
        ("SET a 1 KEEPTTL EX 5", "-ERR syntax error"),
        ("SET a 1 EX", "-ERR syntax error"),
        ("SET a 1 NX GET", "$-1"),
        ("SET a 2 NX GET", "$1 1"),
        ("SET a 3 NX", "$-1"),
        ("SET a 3 XX GET PX 5000", "$1 1"),
        ("PTTL a", ":5000"),
        ("SET a 4 KEEPTTL", "+OK"),
        ("PTTL a", ":5000"),
        ("SET a 4", "+OK"),
        ("PTTL a", ":-1"),
        ("SET b 1 XX", "$-1"),
        ("SET b 1 EXAT 1", "+OK"),
        ("EXISTS b", ":0"),
        ("SETEX b 10 v", "+OK"),
        ("TTL b", ":10"),
        ("SETEX b 0 v", "-ERR invalid expire time in 'setex' command"),
        ("SETNX b w", ":0"),
        ("SETNX c w", ":1"),
        ("GETSET c v", "$1 w"),
        ("GETDEL c", "$1 v"),
        ("GETDEL c", "$-1"),
        ("MSET a 1 b 2", "+OK"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("MGET a b nokey", "*3 $1 1 $1 2 $-1"),
        ("APPEND a 23", ":3"),
        ("STRLEN a", ":3"),
        ("INCR a", ":124"),
        ("DECRBY a 24", ":100"),
        ("INCRBY a x", "-ERR value is not an integer or out of range"),
        ("DECRBY a -9223372036854775808", "-ERR decrement would overflow"),
        ("SET a 9223372036854775807", "+OK"),
        ("INCR a", "-ERR increment or decrement would overflow"),
        ("SET a x", "+OK"),
        ("INCR a", "-ERR value is not an integer or out of range"),
    ]);
}

#[test]
fn wrong_types_both_ways() {
    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    check3(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("SET t 1", "+OK"),
        ("XADD t * a 1", WRONG),
        ("XLEN t", WRONG),
        ("XREAD STREAMS t 0", WRONG),
        ("GET s", WRONG),
        ("INCR s", WRONG),
        ("APPEND s x", WRONG),
        ("GETSET s x", WRONG),
        ("GETDEL s", WRONG),
        ("SET s 1 GET", WRONG),
        ("SETNX s 1", ":0"),
        ("MGET s t", "*2 _ $1 1"),
        ("SET s 1", "+OK"),
        ("TYPE s", "+string"),
        ("LPUSH t 1", "-ERR unknown command 'LPUSH', with args beginning with: 't' '1' "),
        ("EVAL x 0", "-ERR unknown command 'EVAL', with args beginning with: 'x' '0' "),
    ]);
}
