//! Appending, trimming, deleting and reading: replies and error texts, command by command.

use crate::harness::{check, check3};

#[test]
fn xadd_ids() {
    check(&[
        ("XADD s 5 a 1", "$3 5-0"),
        ("XADD s 5-* a 1", "$3 5-1"),
        ("XADD s 007-3 a 1", "$3 7-3"),
        ("XADD s +8-+1 a 1", "$3 8-1"),
        ("XADD new 0-* a 1", "$3 0-1"),
        (
            "XADD s 7-* a 1",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        (
            "XADD s 8-1 a 1",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD s 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"),
        ("XADD nokey 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"),
        ("XLEN nokey", ":0"),
        ("XADD s - a 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s + a 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s 1-1-* a 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s 14- a 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s 18446744073709551616 a 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s * a 1", "$9 1000000-0"),
        ("XADD s * a 1", "$9 1000000-1"),
        ("XADD s 5000000-5 a 1", "$9 5000000-5"),
        ("XADD s * a 1", "$9 5000000-6"),
        ("XADD s 6000000-18446744073709551615 a 1", "$28 6000000-18446744073709551615"),
        (
            "XADD s 6000000-* a 1",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD s * a 1", "$9 6000001-0"),
        (
            "XADD s 18446744073709551615-18446744073709551615 a 1",
            "$41 18446744073709551615-18446744073709551615",
        ),
        ("XADD s * a 1", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
        ("XADD s 5 a 1", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
    ]);
}

#[test]
fn xadd_arguments() {
    check(&[
        ("XADD s *", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s * a", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s * a 1 b", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s MAXLEN 10 NOMKSTREAM", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s NOMKSTREAM * a 1", "$-1"),
        ("XADD s nomkstream maxlen = 5 1-1 a 1", "$-1"),
        ("XADD s MAXLEN ~ 100 LIMIT 5 1-1 a 1 a 2 b \"\"", "$3 1-1"),
        ("XRANGE s - +", "*1 *2 $3 1-1 *6 $1 a $1 1 $1 a $1 2 $1 b $0 "),
        ("XADD s MAXLEN 1 2-1 a 1", "$3 2-1"),
        ("XLEN s", ":1"),
        ("XADD s MAXLEN 0 3-1 a 1", "$3 3-1"),
        ("XLEN s", ":0"),
        ("XADD s MINID 5 4-1 a 1", "$3 4-1"),
        ("XLEN s", ":0"),
        (
            "XADD s MAXLEN 1 MINID 1 * a 1",
            "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ),
        (
            "XADD s MAXLEN 1 MAXLEN 1 * a 1",
            "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ),
        ("XADD s MAXLEN -1 * a 1", "-ERR The MAXLEN argument must be >= 0."),
        ("XADD s MAXLEN x * a 1", "-ERR value is not an integer or out of range"),
        ("XADD s MAXLEN ~ 10 LIMIT -1 * a 1", "-ERR The LIMIT argument must be >= 0."),
        (
            "XADD s LIMIT 1 * a 1",
            "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ),
        ("XADD s LIMIT 0 * a 1", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
        (
            "XADD s MAXLEN 5 LIMIT 1 * a 1",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option",
        ),
        ("XADD s KEEPREF 5-1 a 1", "$3 5-1"),
        ("XADD s ACKED DELREF 6-1 a 1", "-ERR Invalid stream ID specified as stream command argument"),
        ("XADD s NOSUCH 6-1 a 1", "-ERR Invalid stream ID specified as stream command argument"),
    ]);
}

#[test]
fn xadd_idempotent() {
    check(&[
        ("XADD s IDMP p i * a 1", "$9 1000000-0"),
        ("XADD s IDMP p i * a 2", "$9 1000000-0"),
        ("XADD s IDMP p j * a 2", "$9 1000000-1"),
        ("XADD s IDMPAUTO p * a 1 b 2", "$9 1000000-2"),
        ("XADD s IDMPAUTO p * b 2 a 1", "$9 1000000-2"),
        ("XADD s IDMPAUTO q * b 2 a 1", "$9 1000000-3"),
        ("XLEN s", ":4"),
        ("XADD s IDMP \"\" i * a 1", "-ERR syntax error, IDMP requires a non-empty producer ID"),
        ("XADD s IDMP p \"\" * a 1", "-ERR syntax error, IDMP requires a non-empty idempotent ID"),
        ("XADD s IDMPAUTO \"\" * a 1", "-ERR syntax error, IDMPAUTO requires a non-empty producer ID"),
        ("XADD s IDMPAUTO p IDMP p i * a 1", "-ERR syntax error, IDMP/IDMPAUTO specified multiple times"),
        (
            "XADD s IDMP p i 5-* a 1",
            "-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs",
        ),
        ("XADD none NOMKSTREAM IDMP p i * a 1", "$-1"),
        ("XCFGSET none IDMP-DURATION 5", "-ERR no such key"),
        ("XCFGSET s", "-ERR At least one parameter must be specified"),
        ("XCFGSET s IDMP-DURATION 0", "-ERR IDMP-DURATION must be between 1 and 86400 seconds"),
        ("XCFGSET s IDMP-MAXSIZE 10001", "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries"),
        ("XCFGSET s IDMP-DURATION 5 IDMP-DURATION 5", "-ERR IDMP-DURATION specified multiple times"),
        ("XCFGSET s IDMP-MAXSIZE 5 IDMP-MAXSIZE 5", "-ERR IDMP-MAXSIZE specified multiple times"),
        ("XCFGSET s IDMP-DURATION 100", "+OK"),
        ("XADD s IDMP p i * a 1", "$9 1000000-0"),
        ("XCFGSET s IDMP-DURATION 101 IDMP-MAXSIZE 7", "+OK"),
        ("XADD s IDMP p i * a 1", "$9 1000000-4"),
        ("XIDMPRECORD s p k 1000000-1", "+OK"),
        ("XIDMPRECORD s p k 1000000-1", "+OK"),
        ("XADD s IDMP p k * a 1", "$9 1000000-1"),
        ("XIDMPRECORD s p l 9-9", "-ERR No such message in stream"),
        (
            "XIDMPRECORD s p k 1000000-2",
            "-ERR IID already exists for this producer with a different stream ID",
        ),
        ("XIDMPRECORD s \"\" l 9-9", "-ERR producer ID must be non-empty"),
        ("XIDMPRECORD s p \"\" 9-9", "-ERR idempotent ID must be non-empty"),
    ]);
}

#[test]
fn xtrim() {
    let mut table: Vec<(String, String)> = (1..=350)
        .map(|n| (format!("XADD s {n} a 1"), format!("${} {n}-0", n.to_string().len() + 2)))
        .collect();
    let more = [
        ("XTRIM s MAXLEN ~ 0 LIMIT 150", ":100"),
        ("XTRIM s MINID ~ 250", ":100"),
        ("XLEN s", ":150"),
        ("XTRIM s MAXLEN ~ 120", ":0"),
        ("XTRIM s MAXLEN ~ 120 ACKED", ":30"),
        ("XTRIM s MAXLEN = 100", ":20"),
        ("XTRIM s MAXLEN 100", ":0"),
        ("XTRIM s MINID 300", ":49"),
        ("XTRIM none MAXLEN 100", ":0"),
        ("XTRIM s MAXLEN 100 NOMKSTREAM", "-ERR syntax error"),
        ("XTRIM s MAXLEN 100 ACKED ACKED", "-ERR syntax error"),
        ("XTRIM s LIMIT 0 ACKED", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XTRIM s ACKED", "-ERR wrong number of arguments for 'xtrim' command"),
        ("XTRIM s MAXLEN", "-ERR wrong number of arguments for 'xtrim' command"),
        ("XTRIM s MINID x", "-ERR Invalid stream ID specified as stream command argument"),
    ];
    table.extend(more.map(|(command, reply)| (command.to_owned(), reply.to_owned())));
    let table: Vec<(&str, &str)> = table.iter().map(|(c, r)| (&**c, &**r)).collect();
    check(&table);
}

#[test]
fn xrange() {
    check(&[
        ("XRANGE s - +", "*0"),
        ("XRANGE s - + COUNT 0", "*0"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 1-2 a 2", "$3 1-2"),
        ("XADD s 3-0 a 3", "$3 3-0"),
        ("XRANGE s - + COUNT 1", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XRANGE s - + COUNT 5 COUNT 1", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XRANGE s - + COUNT 0", "*-1"),
        ("XRANGE s - + COUNT -3", "*-1"),
        ("XRANGE s 1 1", "*2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *2 $1 a $1 2"),
        ("XRANGE s (1-1 1", "*1 *2 $3 1-2 *2 $1 a $1 2"),
        ("XRANGE s (1-1 (1-2", "*0"),
        ("XRANGE s 5 1", "*0"),
        ("XREVRANGE s + - COUNT 2", "*2 *2 $3 3-0 *2 $1 a $1 3 *2 $3 1-2 *2 $1 a $1 2"),
        ("XREVRANGE s (3-0 1-2", "*1 *2 $3 1-2 *2 $1 a $1 2"),
        ("XRANGE s ( +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XRANGE s (- +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XRANGE none x +", "-ERR Invalid stream ID specified as stream command argument"),
        ("XRANGE s (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
        ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
        ("XRANGE s - + COUNT", "-ERR syntax error"),
        ("XRANGE s - + COUNT x", "-ERR value is not an integer or out of range"),
        ("XRANGE s - + LIMIT 1", "-ERR syntax error"),
    ]);
    check3(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XRANGE s - +", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XRANGE s - + COUNT 0", "_"),
    ]);
}

#[test]
fn xread() {
    check(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-1 a 2", "$3 2-1"),
        ("XADD t 5-0 a 1", "$3 5-0"),
        ("XREAD STREAMS s t 1-1 0", "*2 *2 $1 s *1 *2 $3 2-1 *2 $1 a $1 2 *2 $1 t *1 *2 $3 5-0 *2 $1 a $1 1"),
        ("XREAD COUNT 1 STREAMS s t 0 9", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREAD COUNT 0 STREAMS s 0", "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 a $1 2"),
        ("XREAD STREAMS s $", "*-1"),
        ("XREAD STREAMS s +", "*1 *2 $1 s *1 *2 $3 2-1 *2 $1 a $1 2"),
        ("XREAD STREAMS none +", "*-1"),
        (
            "XREAD COUNT 1 STREAMS t t 0 0",
            "*2 *2 $1 t *1 *2 $3 5-0 *2 $1 a $1 1 *2 $1 t *1 *2 $3 5-0 *2 $1 a $1 1",
        ),
        (
            "XREAD COUNT 2 MAXCOUNT 2 STREAMS s t 0 0",
            "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 a $1 2",
        ),
        ("XREAD MAXSIZE 1 STREAMS s t 0 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREAD MAXCOUNT 0 STREAMS s 0", "-ERR MAXCOUNT must be a positive integer"),
        ("XREAD MAXSIZE 0 STREAMS s 0", "-ERR MAXSIZE must be a positive integer"),
        ("XREAD COUNT 5 MAXCOUNT 4 STREAMS s 0", "-ERR MAXCOUNT must be greater than or equal to COUNT"),
        ("XREAD STREAMS s -", "-ERR Invalid stream ID specified as stream command argument"),
        (
            "XREAD STREAMS s >",
            "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        ),
        (
            "XREAD STREAMS s t 0",
            "-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
        ),
        (
            "XREAD GROUP g c STREAMS s 0",
            "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
        ),
        (
            "XREAD NOACK STREAMS s 0",
            "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
        ),
        (
            "XREAD CLAIM 1 STREAMS s 0",
            "-ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
        ),
        ("XREAD BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
        ("XREAD BLOCK x STREAMS s 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK 9223372036854775807 STREAMS s 0", "-ERR timeout is out of range"),
        ("XREAD COUNT x STREAMS s 0", "-ERR value is not an integer or out of range"),
        ("XREAD COUNT 1 s 0", "-ERR syntax error"),
    ]);
    check3(&[
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XREAD STREAMS s 0", "%1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREAD STREAMS s s 0 0", "%2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREAD STREAMS s 1", "%1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XREAD STREAMS s 1-1", "_"),
    ]);
}

#[test]
fn deleting() {
    check(&[
        ("XDEL none x", ":0"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-1 a 1", "$3 2-1"),
        ("XADD s 3-1 a 1", "$3 3-1"),
        ("XDEL s 1-1 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XDEL s 1-1 1-1 9-9", ":1"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 2-1 *2 $1 a $1 1"),
        ("XDELEX s ACKED IDS 3 1-1 2-1 3-1", "*3 :-1 :2 :2"),
        ("XDELEX s IDS 1 2-1", "*1 :1"),
        ("XPENDING s g", "*4 :1 $3 2-1 $3 2-1 *1 *2 $1 c $1 1"),
        ("XDELEX s DELREF IDS 1 2-1", "*1 :-1"),
        ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
        ("XDELEX none IDS 2 1 2", "*2 :-1 :-1"),
        ("XDELEX s KEEPREF IDS", "-ERR wrong number of arguments for 'xdelex' command"),
        ("XDELEX s KEEPREF ACKED IDS 1 1", "-ERR syntax error"),
        ("XDELEX s IDS 0 1", "-ERR Number of IDs must be a positive integer"),
        ("XDELEX s IDS x 1", "-ERR Number of IDs must be a positive integer"),
        ("XDELEX s IDS 2 1-1", "-ERR The `numids` parameter must match the number of arguments"),
        ("XDELEX s IDS 1 1-1 2-1", "-ERR syntax error"),
        ("XDELEX s IDS 1 1-1 DELREF", "*1 :-1"),
        ("XDELEX s IDS 1 x", "-ERR Invalid stream ID specified as stream command argument"),
    ]);
}

#[test]
fn xsetid() {
    check(&[
        ("XSETID none 1-1", "-ERR no such key"),
        ("XADD s 5-5 a 1", "$3 5-5"),
        ("XSETID s 5-4", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
        ("XSETID s 9-0 ENTRIESADDED 10 MAXDELETEDID 8-0", "+OK"),
        ("XSETID s 7-0", "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
        ("XSETID s 9-0 ENTRIESADDED -1", "-ERR entries_added must be positive"),
        (
            "XSETID s 9-0 ENTRIESADDED 0",
            "-ERR The entries_added specified in XSETID is smaller than the target stream length",
        ),
        (
            "XSETID s 9-0 MAXDELETEDID 9-1",
            "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ),
        ("XSETID s 9-0 FOO 1", "-ERR syntax error"),
        ("XSETID s 9-0 ENTRIESADDED", "-ERR syntax error"),
    ]);
}
