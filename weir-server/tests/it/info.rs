//! XINFO.

use std::time::Duration;

use crate::harness::{TestServer, check};

const COUNTERS: &str = "$6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 2-0 \
                        $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-1 \
                        $13 idmp-duration :100 $12 idmp-maxsize :100 $12 pids-tracked :0 $12 iids-tracked :0 \
                        $10 iids-added :0 $15 iids-duplicates :0";

#[test]
fn xinfo() {
    let (server, clock) = TestServer::with_clock();
    let mut client = server.client();
    client.check(&[
        ("XINFO STREAM s", "-ERR no such key"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD s 2-0 a 1", "$3 2-0"),
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XGROUP CREATECONSUMER s g d", ":1"),
    ]);
    clock.advance(Duration::from_millis(5));
    let plain = format!(
        "*32 {COUNTERS} $6 groups :1 $11 first-entry *2 $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 2-0 *2 $1 a $1 1"
    );
    let full = format!(
        "*30 {COUNTERS} $7 entries *1 *2 $3 1-1 *2 $1 a $1 1 $6 groups *1 *16 $4 name $1 g $17 last-delivered-id \
         $3 1-1 $12 entries-read :1 $3 lag :1 $9 pel-count :1 $12 nacked-count :0 $7 pending *1 *4 $3 1-1 $1 c \
         :1000000 :1 $9 consumers *2 *10 $4 name $1 c $9 seen-time :1000000 $11 active-time :1000000 $9 pel-count \
         :1 $7 pending *1 *3 $3 1-1 :1000000 :1 *10 $4 name $1 d $9 seen-time :1000000 $11 active-time :-1 \
         $9 pel-count :0 $7 pending *0"
    );
    client.check(&[
        ("XINFO STREAM s", &plain),
        ("XINFO STREAM s FULL COUNT 1", &full),
        (
            "XINFO GROUPS s",
            "*1 *12 $4 name $1 g $9 consumers :2 $7 pending :1 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag \
             :1",
        ),
        (
            "XINFO CONSUMERS s g",
            "*2 *8 $4 name $1 c $7 pending :1 $4 idle :5 $8 inactive :5 *8 $4 name $1 d $7 pending :0 $4 idle :5 \
             $8 inactive :-1",
        ),
        ("XINFO CONSUMERS s none", "-NOGROUP No such consumer group 'none' for key name 's'"),
        ("XINFO CONSUMERS none g", "-ERR no such key"),
        ("XINFO GROUPS none", "-ERR no such key"),
        ("XINFO STREAM s FOO", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
        (
            "XINFO STREAM s FULL COUNT",
            "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
        ),
        ("XINFO STREAM none FOO", "-ERR no such key"),
        ("XINFO STREAM s FULL COUNT x", "-ERR value is not an integer or out of range"),
    ]);
    let resp3 = server.client3().ask("XINFO STREAM s");
    assert!(resp3.starts_with("%16 $6 length"), "{resp3}");
}

#[test]
fn an_empty_stream() {
    check(&[
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        (
            "XINFO STREAM s",
            "*32 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3 0-0 \
             $20 max-deleted-entry-id $3 0-0 $13 entries-added :0 $23 recorded-first-entry-id $3 0-0 $13 idmp-duration \
             :100 $12 idmp-maxsize :100 $12 pids-tracked :0 $12 iids-tracked :0 $10 iids-added :0 $15 iids-duplicates \
             :0 $6 groups :1 $11 first-entry $-1 $10 last-entry $-1",
        ),
    ]);
}

#[test]
fn lag() {
    let lag = |read: &str, lag: &str| {
        format!(
            "*1 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id {read} $12 entries-read $-1 \
             $3 lag {lag}"
        )
    };
    let rows = [
        ("0", lag("$3 0-0", ":5")),
        ("2", lag("$3 2-0", "$-1")),
        ("$", lag("$3 5-0", ":0")),
        ("99", lag("$4 99-0", "$-1")),
    ];
    for (start, wanted) in &rows {
        let create = format!("XGROUP CREATE s g {start}");
        check(&[
            ("XADD s 1 a 1", "$3 1-0"),
            ("XADD s 2 a 1", "$3 2-0"),
            ("XADD s 3 a 1", "$3 3-0"),
            ("XADD s 4 a 1", "$3 4-0"),
            ("XADD s 5 a 1", "$3 5-0"),
            (&create, "+OK"),
            ("XINFO GROUPS s", wanted),
        ]);
    }
}
