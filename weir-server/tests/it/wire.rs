//! WEIR.*: the broker traits as a client types them.

use crate::harness::{TestServer, check};

#[test]
fn streams_are_appended_to_read_and_listed() {
    check(&[
        ("WEIR.ADD s 1-1 type placed", "*2 $3 1-1 :0"),
        ("WEIR.ADD s PRODUCER p 7 EXPECTED 0 2-1 type paid", "*2 $3 2-1 :0"),
        ("WEIR.ADD s PRODUCER p 7 EXPECTED 0 3-1 type paid", "*2 $3 2-1 :1"),
        ("weir.head s", "*2 $3 2-1 :1"),
        ("WEIR.HEAD none", "$-1"),
        ("WEIR.READ s AFTER 1-1", "*1 *3 $3 2-1 *2 $4 type $4 paid $11 1000000 1 2"),
        ("WEIR.READ s END BACKWARD COUNT 1", "*1 *3 $3 2-1 *2 $4 type $4 paid $11 1000000 1 2"),
        ("WEIR.READ none", "*0"),
        ("XRANGE s - +", "*2 *2 $3 1-1 *2 $4 type $6 placed *2 $3 2-1 *2 $4 type $4 paid"),
        ("WEIR.NAMESPACES", NAMESPACES),
        ("SELECT 1", "+OK"),
        ("WEIR.HEAD s", "$-1"),
    ]);
}

const NAMESPACES: &str = "*16 $7 default $3 db1 $3 db2 $3 db3 $3 db4 $3 db5 $3 db6 $3 db7 $3 db8 $3 db9 $4 db10 $4 db11 \
                          $4 db12 $4 db13 $4 db14 $4 db15";

#[test]
fn refusals_say_their_code_first() {
    check(&[
        ("WEIR.ADD s 5-1 a b", "*2 $3 5-1 :0"),
        ("WEIR.ADD s 5-0 a b", "-IDNOTGREATER 5-1 the entry ID must be greater than the last one, 5-1"),
        ("WEIR.ADD s EXPECTED NONE * a b", VERSION),
        ("SET k v", "+OK"),
        ("WEIR.HEAD k", "-WRONGTYPE the key holds another kind of value than a stream"),
        ("WEIR.SETTLE s none ACK 1-1", "-NOGROUP no such stream or consumer group: group none of stream s"),
        ("WEIR.READ s SIDEWAYS", SIDEWAYS),
        ("WEIR.ADD s", "-ERR wrong number of arguments for 'weir.add' command"),
        ("WEIR.GROUP NOSUCH s", "-ERR unknown subcommand 'NOSUCH'. Try WEIR.GROUP HELP."),
        ("MULTI", "+OK"),
        ("WEIR.ADD s 6-1 a b", "+QUEUED"),
        ("EXEC", "*1 *2 $3 6-1 :0"),
        ("MULTI", "+OK"),
        ("WEIR.HEAD s", "-ERR Command not allowed inside a transaction"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
    ]);
}

const VERSION: &str =
    "-VERSION 0 the stream is at version 0, which is not the expected one; read it and decide again";
const SIDEWAYS: &str = "-INVALID an argument is not one of those that may stand here: \"SIDEWAYS\"";

#[test]
fn a_group_gives_takes_back_and_settles() {
    let (server, _clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("WEIR.GROUP CREATE s g BEGINNING FAILURES 3 LEASE 30000", "+NEW"),
        ("WEIR.GROUP CREATE s g BEGINNING", "+EXISTING"),
        ("WEIR.GROUP CREATE s g END", TAKEN),
        ("WEIR.ADD s 1-1 a 1", "*2 $3 1-1 :0"),
        ("WEIR.ADD s 2-1 a 2", "*2 $3 2-1 :0"),
    ]);
    let given = client.ask("WEIR.READGROUP s g ann COUNT 1");
    let numbers = given.rsplit(' ').collect::<Vec<_>>();
    assert!(given.starts_with("*1 *3 $3 1-1 *2 $1 a $1 1 $"), "{given}");
    // token deliveries failures redrives lease-until appended-at position global-position
    assert_eq!(numbers[..7], ["1", "0", "1000000", "1030000", "0", "0", "1"], "{given}");
    let token = numbers[7];
    assert_eq!(client.ask(&format!("WEIR.SETTLE s g ACK 1-1:{token}")), "+OK");
    assert_eq!(client.ask(&format!("WEIR.SETTLE s g ACK 1-1:{token} 2-1")), "*2 +NOTPENDING +NOTPENDING");
    client.check(&[("WEIR.PENDING SUMMARY s g", "*4 :0 $-1 $-1 *0")]);
}

#[test]
fn a_client_that_waits_is_served_by_another_s_append_and_its_next_command_waits() {
    let server = TestServer::start();
    let (mut reader, mut writer) = (server.client(), server.client());
    assert_eq!(writer.ask("WEIR.GROUP CREATE s g BEGINNING"), "+NEW");
    reader.send("WEIR.READGROUP s g ann BLOCK 0");
    reader.send("PING");
    server.until_waiting(1);
    assert_eq!(writer.ask("XADD s 1-1 a b"), "$3 1-1");
    assert!(reader.reply().starts_with("*1 *3 $3 1-1 *2 $1 a $1 b "));
    assert_eq!(reader.reply(), "+PONG");
}

#[test]
fn a_wait_ends_with_its_time_with_its_client_and_when_it_is_ended() {
    let server = TestServer::start();
    let mut reader = server.client();
    assert_eq!(reader.ask("WEIR.READ s AFTER 0-0 BLOCK 10"), "*0");
    let mut gone = server.client();
    gone.send("WEIR.READ s AFTER 0-0 BLOCK 0");
    server.until_waiting(1);
    drop(gone);
    server.until_waiting(0);
    let id = reader.ask("CLIENT ID");
    reader.send("WEIR.READ s AFTER 0-0 BLOCK 0");
    server.until_waiting(1);
    let mut other = server.client();
    assert_eq!(other.ask(&format!("CLIENT UNBLOCK {}", id.trim_start_matches(':'))), ":1");
    assert_eq!(reader.reply(), "*0");
    server.until_waiting(0);
    reader.is_quiet();
}

#[test]
fn a_long_answer_and_one_that_tells_of_failures_are_written_as_the_wire_has_them() {
    let (server, _clock) = TestServer::with_clock();
    let mut client = server.client();
    assert_eq!(client.ask("WEIR.GROUP CREATE s g BEGINNING"), "+NEW");
    for nth in 1..=200 {
        client.ask(&format!("WEIR.ADD s {nth}-0 nth {nth}"));
    }
    let long = client.ask("WEIR.READGROUP s g ann COUNT 500");
    assert!(long.starts_with("*200 *3 $3 1-0 *2 $3 nth $1 1 $"), "{}", &long[..60]);
    assert!(long.ends_with(" 1 0 0 1030000 1000000 199 200"), "{}", &long[long.len() - 60..]);
    assert_eq!(client.ask("WEIR.NACK s g 3-0 DELAY 0 CLASS io REASON broken"), "*1 +DONE");
    let again = client.ask("WEIR.READGROUP s g ann RECLAIMED");
    assert!(again.starts_with("*1 *5 $3 3-0 *2 $3 nth $1 3 $"), "{again}");
    assert!(again.ends_with("*3 $2 io $6 broken :1000000 *3 $2 io $6 broken :1000000"), "{again}");
    client.check(&[("WEIR.READGROUP s g ann", "*0"), ("WEIR.READGROUP s g bob HISTORY BLOCK 5", HISTORY)]);
}

const HISTORY: &str = "-INVALID a history read does not wait";

const TAKEN: &str = "-BUSYGROUP a consumer group of this name exists already: group g of stream s";
