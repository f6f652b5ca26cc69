//! CONFIG, INFO, COMMAND and the commands of operators.

use std::sync::Arc;

use weir_core::SystemClock;
use weir_server::resp::Config;

use crate::harness::{TestServer, check, check3};

#[test]
fn settings_are_read_and_changed() {
    check(&[
        ("CONFIG GET nosuch", "*0"),
        ("CONFIG GET SAVE appendonly", "*4 $10 appendonly $3 yes $4 save $0 "),
        (
            "CONFIG GET stream-*",
            "*8 $20 stream-idmp-duration $3 100 $19 stream-idmp-maxsize $3 100 $21 stream-node-max-bytes $4 4096 \
             $23 stream-node-max-entries $3 100",
        ),
        ("CONFIG SET nosuch 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        (
            "CONFIG SET maxclients x",
            "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into \
             an integer",
        ),
        (
            "CONFIG SET stream-idmp-duration 0",
            "-ERR CONFIG SET failed (possibly related to argument 'stream-idmp-duration') - argument must be between \
             1 and 86400 inclusive",
        ),
        (
            "CONFIG SET appendfsync foo",
            "-ERR CONFIG SET failed (possibly related to argument 'appendfsync') - argument(s) must be one of the \
             following: everysec, always, no",
        ),
        (
            "CONFIG SET appendonly no",
            "-ERR CONFIG SET failed (possibly related to argument 'appendonly') - can't set immutable config",
        ),
        ("CONFIG SET appendonly yes", "+OK"),
        (
            "CONFIG SET slowlog-max-len 1 slowlog-max-len 2",
            "-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - duplicate parameter",
        ),
        ("CONFIG SET notify-keyspace-events KEA", "+OK"),
        ("CONFIG GET notify-keyspace-events", "*2 $22 notify-keyspace-events $3 AKE"),
        (
            "CONFIG SET stream-node-max-bytes 1kb maxclients 0",
            "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and \
             4294967295 inclusive",
        ),
        ("CONFIG GET stream-node-max-bytes", "*2 $21 stream-node-max-bytes $4 4096"),
        ("CONFIG SET stream-node-max-bytes 1kb", "+OK"),
        ("CONFIG GET stream-node-max-bytes", "*2 $21 stream-node-max-bytes $4 1024"),
        ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ("CONFIG RESETSTAT", "+OK"),
        ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
    ]);
    check3(&[("CONFIG GET save", "%1 $4 save $0 ")]);
}

#[test]
fn settings_of_streams_count() {
    check(&[
        ("CONFIG SET stream-node-max-entries 2", "+OK"),
        ("XADD s 1-0 a 1", "$3 1-0"),
        ("XADD s 2-0 a 1", "$3 2-0"),
        ("XADD s 3-0 a 1", "$3 3-0"),
        ("XTRIM s MAXLEN ~ 1", ":2"),
    ]);
}

#[test]
fn events_of_keys_are_told_when_the_setting_says_so() {
    let server = TestServer::start();
    let (mut reader, mut writer) = (server.client(), server.client());
    assert!(reader.ask("PSUBSCRIBE __key*").starts_with("*3 $10 psubscribe"));
    writer.check(&[("CONFIG SET notify-keyspace-events KEt", "+OK"), ("XADD s 1-1 a 1", "$3 1-1")]);
    assert_eq!(reader.reply(), "*4 $8 pmessage $6 __key* $16 __keyspace@0__:s $4 xadd");
    assert_eq!(reader.reply(), "*4 $8 pmessage $6 __key* $19 __keyevent@0__:xadd $1 s");
}

#[test]
fn a_password_set_later_is_asked_of_newcomers() {
    let server = TestServer::start();
    let mut client = server.client();
    client.check(&[("CONFIG SET requirepass secret", "+OK"), ("PING", "+PONG")]);
    server.client().check(&[
        ("PING", "-NOAUTH Authentication required."),
        ("AUTH secret", "+OK"),
        ("CONFIG GET requirepass", "*2 $11 requirepass $6 secret"),
    ]);
}

/// The value of a line of INFO.
fn info(text: &str, name: &str) -> String {
    let start = text.find(&format!(" {name}:")).unwrap_or_else(|| panic!("no {name} in {text}"));
    text[start + name.len() + 2..].split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn info_tells_what_clients_read() {
    let server = TestServer::start();
    let mut client = server.client3();
    client.ask("XADD s 1-1 a 1");
    client.ask("XLEN nokey");
    client.ask("XADD s 1-1 a 1");
    client.ask("GET s");
    client.ask("XGROUP CREATE s g 0");
    let text = client.ask("INFO everything");
    assert!(text.starts_with('='), "{text}");
    for (name, value) in [
        ("redis_version", "8.10.0"),
        ("redis_mode", "standalone"),
        ("loading", "0"),
        ("aof_enabled", "1"),
        ("role", "master"),
        ("connected_slaves", "0"),
        ("cluster_enabled", "0"),
        ("connected_clients", "1"),
        ("blocked_clients", "0"),
        ("maxmemory_policy", "noeviction"),
        ("db0", "keys=1,expires=0,avg_ttl=0,subexpiry=0"),
        ("errorstat_ERR", "count=1"),
        ("errorstat_WRONGTYPE", "count=1"),
        ("keyspace_hits", "1"),
        ("keyspace_misses", "1"),
        ("total_error_replies", "2"),
        ("faulted", "0"),
        ("waiting_reads", "0"),
    ] {
        assert_eq!(info(&text, name), value, "{name}");
    }
    let xadd = info(&text, "cmdstat_xadd");
    assert!(xadd.starts_with("calls=2,usec=") && xadd.ends_with("rejected_calls=0,failed_calls=1"), "{xadd}");
    assert!(info(&text, "cmdstat_xgroup|create").starts_with("calls=1,"));
    assert_eq!(info(&text, "tcp_port"), server.address.port().to_string());
    assert_eq!(client.ask("INFO nosuch"), "=4 txt:");
    let text = client.ask("INFO keyspace cluster");
    assert!(
        text.contains("# Cluster") && text.contains("# Keyspace") && !text.contains("# Server"),
        "{text}"
    );
    assert!(!client.ask("INFO").contains("# Commandstats"));
}

#[test]
fn operators() {
    check(&[
        ("TIME", "*2 $4 1000 $1 0"),
        ("LASTSAVE", ":1000"),
        ("SAVE", "+OK"),
        ("LASTSAVE", ":1000"),
        ("BGSAVE FOO", "-ERR syntax error"),
        ("ROLE", "*3 $6 master :0 *0"),
        ("REPLICAOF NO ONE", "+OK"),
        ("REPLICAOF host 1", "-ERR this server cannot be a replica"),
        ("WAIT 1 100", ":0"),
        ("WAIT x 1", "-ERR value is not an integer or out of range"),
        ("WAIT 1 x", "-ERR timeout is not an integer or out of range"),
        ("WAIT 1 -1", "-ERR timeout is negative"),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("WAITAOF 1 0 100", "*2 :1 :0"),
        ("WAITAOF 0 0 100", "*2 :0 :0"),
        ("WAITAOF 2 0 100", "-ERR value is out of range, value must between 0 and 1"),
        ("MULTI", "+OK"),
        ("WAITAOF 1 0 0", "+QUEUED"),
        ("EXEC", "*1 *2 :0 :0"),
        ("MULTI", "+OK"),
        ("SAVE", "-ERR Command not allowed inside a transaction"),
        ("DISCARD", "+OK"),
        ("SLOWLOG LEN", ":0"),
        ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
        ("SLOWLOG RESET", "+OK"),
        ("LATENCY LATEST", "*0"),
        ("LATENCY HISTORY foo", "*0"),
        ("LATENCY RESET", ":0"),
        ("SCRIPT FLUSH", "+OK"),
        ("SCRIPT FLUSH FOO", "-ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        ("SCRIPT EXISTS a b", "*2 :0 :0"),
        ("SCRIPT FOO", "-ERR unknown subcommand 'FOO'. Try SCRIPT HELP."),
        ("FUNCTION FLUSH", "+OK"),
        ("READONLY", "-ERR This instance has cluster support disabled"),
        ("CLUSTER SLOTS", "-ERR This instance has cluster support disabled"),
        ("SHUTDOWN FOO", "-ERR syntax error"),
    ]);
    let server = TestServer::start();
    let mut client = server.client();
    assert!(client.ask("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed."));
    assert!(client.ask("BGSAVE").starts_with("+Background saving started"));
    client.send("SHUTDOWN NOSAVE");
    assert!(client.is_closed());
}

#[test]
fn what_took_long_is_kept() {
    let config = Config { debug_commands: true, ..Config::default() };
    let server = TestServer::with(config, Arc::new(SystemClock::new()));
    let mut client = server.client();
    client.check(&[
        ("CONFIG SET slowlog-log-slower-than 5000 latency-monitor-threshold 5", "+OK"),
        ("DEBUG SLEEP 0.02", "+OK"),
    ]);
    let slow = client.ask("SLOWLOG GET 1");
    assert!(slow.starts_with("*1 *6 :0 :") && slow.contains("*3 $5 DEBUG $5 SLEEP $4 0.02"), "{slow}");
    assert!(client.ask("LATENCY LATEST").contains("$7 command"));
    assert!(client.ask("LATENCY DOCTOR").contains("command: 1 times"));
    assert!(client.ask("LATENCY HISTORY command").starts_with("*1 *2 :"));
    client.check(&[
        ("LATENCY RESET command", ":1"),
        ("CONFIG SET slowlog-max-len 0", "+OK"),
        ("SLOWLOG LEN", ":0"),
    ]);
}

#[test]
fn commands_are_described() {
    check(&[
        (
            "COMMAND INFO xreadgroup",
            "*1 *10 $10 xreadgroup :-7 *3 +write +blocking +movablekeys :0 :0 :0 *4 +@write +@stream +@slow +@blocking \
             *0 *1 *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $7 keyword $4 spec *4 $7 keyword $7 STREAMS \
             $9 startfrom :4 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :-1 $7 keystep :1 $5 limit :2 *0",
        ),
        ("COMMAND INFO nosuch", "*1 $-1"),
        ("COMMAND DOCS nosuch", "*0"),
        ("COMMAND LIST FILTERBY PATTERN xac*", "*2 $4 xack $7 xackdel"),
        ("COMMAND LIST FILTERBY ACLCAT nosuch", "*0"),
        ("COMMAND LIST FILTERBY", "-ERR syntax error"),
        ("COMMAND GETKEYS XADD s * a 1", "*1 $1 s"),
        ("COMMAND GETKEYS XREADGROUP GROUP STREAMS c STREAMS a b > >", "*2 $1 a $1 b"),
        ("COMMAND GETKEYS MSET a 1 b 2", "*2 $1 a $1 b"),
        ("COMMAND GETKEYS RENAME a b", "*2 $1 a $1 b"),
        ("COMMAND GETKEYS XGROUP CREATE s g 0", "*1 $1 s"),
        ("COMMAND GETKEYS PING x", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS NOSUCH x", "-ERR Invalid command specified"),
        ("COMMAND GETKEYS XADD s", "-ERR Invalid number of arguments specified for command"),
        ("COMMAND GETKEYS XREAD a b c d", "-ERR Invalid arguments specified for command"),
        ("COMMAND GETKEYSANDFLAGS RENAME a b", "*2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +OW +update"),
        ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
    ]);
    check3(&[(
        "COMMAND INFO xlen",
        "*1 *10 $4 xlen :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@stream +@fast ~0 ~1 %3 $5 flags ~1 +RO \
         $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 range $4 spec %3 \
         $7 lastkey :0 $7 keystep :1 $5 limit :0 ~0",
    )]);
}
