//! Users: who may do what, and what is said to those who may not.

use std::sync::Arc;

use weir_core::SystemClock;
use weir_server::resp::Config;

use crate::harness::{TestServer, check, check3};

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const NO_PERM_KEY: &str = "-NOPERM No permissions to access a key";
const NO_PERM_CHANNEL: &str = "-NOPERM No permissions to access a channel";

#[test]
fn users_are_listed() {
    check(&[
        ("ACL WHOAMI", "$7 default"),
        ("ACL USERS", "*1 $7 default"),
        ("ACL LIST", "*1 $34 user default on nopass ~* &* +@all"),
        ("ACL GETUSER nobody", "$-1"),
        ("ACL SETUSER bob", "+OK"),
        ("ACL LIST", "*2 $32 user bob off resetchannels -@all $34 user default on nopass ~* &* +@all"),
        ("ACL SETUSER bob on >secret ~s:* %R~r* %W~w:* +@stream -xdel +client|id &ch*", "+OK"),
        (
            "ACL GETUSER bob",
            &format!(
                "*12 $5 flags *1 $2 on $9 passwords *1 $64 {SECRET} $8 commands $31 -@all +@stream -xdel +client|id \
                 $4 keys $17 ~s:* %R~r* %W~w:* $8 channels $4 &ch* $9 selectors *0"
            ),
        ),
        (
            "ACL LIST",
            &format!(
                "*2 $146 user bob on #{SECRET} ~s:* %R~r* %W~w:* resetchannels &ch* -@all +@stream -xdel +client|id \
                 $34 user default on nopass ~* &* +@all"
            ),
        ),
        ("ACL SETUSER bob %W~r* -client +client|id +xdel", "+OK"),
        ("ACL SETUSER bob <secret nopass off reset", "+OK"),
        ("ACL LIST", "*2 $32 user bob off resetchannels -@all $34 user default on nopass ~* &* +@all"),
        ("ACL DELUSER bob nobody", ":1"),
        ("ACL DELUSER default", "-ERR The 'default' user cannot be removed"),
        ("ACL USERS", "*1 $7 default"),
    ]);
    check3(&[
        (
            "ACL GETUSER default",
            "%6 $5 flags ~2 $2 on $6 nopass $9 passwords *0 $8 commands $5 +@all $4 keys $2 ~* $8 channels $2 &* \
             $9 selectors *0",
        ),
        ("ACL GETUSER nobody", "_"),
    ]);
}

#[test]
fn wrong_modifiers_change_nothing() {
    let wrong = |modifier: &str, why: &str| {
        (
            format!("ACL SETUSER bob on nopass +@all {modifier}"),
            format!("-ERR Error in ACL SETUSER modifier '{}': {why}", modifier.rsplit(' ').next().unwrap()),
        )
    };
    const UNKNOWN: &str = "Unknown command or category name in ACL";
    const HASH: &str =
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
    let table = [
        wrong("foo", "Syntax error"),
        wrong("%X~a", "Syntax error"),
        wrong("%R", "Syntax error"),
        wrong("(+xadd", "Syntax error"),
        wrong("+nosuch", UNKNOWN),
        wrong("+@nosuch", UNKNOWN),
        wrong("-client|nosuch", UNKNOWN),
        wrong("<wrong", "The password you are trying to remove from the user does not exist"),
        wrong("#abc", HASH),
        wrong(&format!("#{}", SECRET.to_uppercase()), HASH),
        wrong(
            "allkeys ~a",
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
             Try 'resetkeys' to start with an empty list of patterns",
        ),
        wrong(
            "allchannels &a",
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
             effect. Try 'resetchannels' to start with an empty list of channels",
        ),
    ];
    let server = TestServer::start();
    let mut client = server.client();
    for (command, reply) in &table {
        client.check(&[(command, reply)]);
    }
    client.check(&[("ACL USERS", "*1 $7 default")]);
}

#[test]
fn rules_are_enforced() {
    let server = TestServer::start();
    let (mut admin, mut bob) = (server.client(), server.client());
    admin.check(&[
        ("ACL SETUSER bob on >secret ~s* %R~r %W~w +@stream -xdel +@pubsub +@transaction &news +copy", "+OK"),
        ("XADD r 1-1 a 1", "$3 1-1"),
    ]);
    let no_command = |name: &str| format!("-NOPERM User bob has no permissions to run the '{name}' command");
    bob.check(&[
        ("AUTH bob wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH bob secret", "+OK"),
        ("ACL WHOAMI", &no_command("acl|whoami")),
        ("PING", &no_command("ping")),
        ("XADD s 1-1 a 1", "$3 1-1"),
        ("XADD t 1-1 a 1", NO_PERM_KEY),
        ("XDEL s 1-1", &no_command("xdel")),
        ("XADD r 1-2 a 1", NO_PERM_KEY),
        ("XLEN r", ":1"),
        ("XRANGE r - +", "*1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XADD w 1-1 a 1", "$3 1-1"),
        ("XRANGE w - +", NO_PERM_KEY),
        ("COPY r w", ":0"),
        ("COPY w s2", NO_PERM_KEY),
        ("XREAD STREAMS s t 0 0", NO_PERM_KEY),
        ("XREAD COUNT 1 STREAMS s 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("XGROUP CREATE s STREAMS 0", "+OK"),
        ("XGROUP CREATE t g 0 MKSTREAM", NO_PERM_KEY),
        ("XREADGROUP GROUP STREAMS STREAMS STREAMS t >", NO_PERM_KEY),
        ("XREADGROUP GROUP STREAMS STREAMS NOACK STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        ("PUBLISH news x", ":0"),
        ("PUBLISH other x", NO_PERM_CHANNEL),
        ("SUBSCRIBE other", NO_PERM_CHANNEL),
        ("PSUBSCRIBE n*", NO_PERM_CHANNEL),
        ("PSUBSCRIBE news", "*3 $10 psubscribe $4 news :1"),
        ("PUNSUBSCRIBE", "*3 $12 punsubscribe $4 news :0"),
        ("MULTI", "+OK"),
        ("XADD t * a 1", NO_PERM_KEY),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("MULTI", "+OK"),
        ("XLEN s", "+QUEUED"),
    ]);
    admin.check(&[("ACL SETUSER bob -xlen", "+OK")]);
    bob.check(&[
        (
            "EXEC",
            "*1 -NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
             This command is no longer allowed for the following reason: no permission to execute the command or \
             subcommand",
        ),
    ]);
    admin.check(&[("ACL SETUSER bob -exec", "+OK")]);
    bob.check(&[
        ("MULTI", "+OK"),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of: NOPERM User bob has no permissions to run the 'exec' command",
        ),
        ("RESET", "+RESET"),
        ("ACL WHOAMI", "$7 default"),
    ]);
}

#[test]
fn refusals_are_logged() {
    let (server, _) = TestServer::with_clock();
    let (mut admin, mut bob) = (server.client(), server.client());
    admin.check(&[("ACL LOG", "*0"), ("ACL SETUSER bob on nopass ~s +xlen", "+OK")]);
    bob.check(&[
        ("AUTH nobody x", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH bob x", "+OK"),
        ("XLEN t", NO_PERM_KEY),
        ("XLEN t", NO_PERM_KEY),
        ("PING", "-NOPERM User bob has no permissions to run the 'ping' command"),
    ]);
    let log = admin.ask("ACL LOG");
    assert!(log.starts_with(
        "*3 *20 $5 count :1 $6 reason $7 command $7 context $8 toplevel $6 object $4 ping $8 username $3 bob \
         $11 age-seconds $1 0 $11 client-info $"
    ), "{log}");
    assert!(
        log.contains("$5 count :2 $6 reason $3 key $7 context $8 toplevel $6 object $1 t $8 username $3 bob")
    );
    assert!(log.contains("$6 reason $4 auth $7 context $8 toplevel $6 object $4 AUTH $8 username $6 nobody"));
    assert!(
        log.ends_with(" $8 entry-id :0 $17 timestamp-created :1000000 $22 timestamp-last-updated :1000000")
    );
    assert!(admin.ask("ACL LOG 1").starts_with("*1 "));
    admin.check(&[
        ("ACL LOG x", "-ERR value is not an integer or out of range"),
        ("ACL LOG RESET", "+OK"),
        ("ACL LOG", "*0"),
    ]);
}

#[test]
fn trying_without_doing() {
    check(&[
        ("ACL SETUSER bob ~s* +xadd +xlen +publish &news", "+OK"),
        ("ACL DRYRUN bob xadd s * a 1", "+OK"),
        ("ACL DRYRUN bob xadd t * a 1", "$49 User bob has no permissions to access the 't' key"),
        ("ACL DRYRUN bob xdel s 1-1", "$53 User bob has no permissions to run the 'xdel' command"),
        ("ACL DRYRUN bob publish other x", "$57 User bob has no permissions to access the 'other' channel"),
        ("ACL DRYRUN nobody xdel s 1-1", "-ERR User 'nobody' not found"),
        ("ACL DRYRUN bob nosuch", "-ERR Command 'nosuch' not found"),
        ("ACL DRYRUN bob xadd", "-ERR wrong number of arguments for 'xadd' command"),
        ("XLEN s", ":0"),
    ]);
}

#[test]
fn categories_and_passwords() {
    let server = TestServer::start();
    let mut client = server.client();
    assert!(client.ask("ACL CAT").starts_with("*21 $8 keyspace $4 read $5 write $3 set"));
    let stream = client.ask("ACL CAT stream");
    assert!(
        stream.contains(" $4 xadd") && stream.contains("xgroup|create") && !stream.contains("ping"),
        "{stream}"
    );
    client.check(&[
        ("ACL CAT foo", "-ERR Unknown category 'foo'"),
        (
            "ACL GENPASS 0",
            "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             4096",
        ),
        ("ACL FOO", "-ERR unknown subcommand 'FOO'. Try ACL HELP."),
        ("ACL", "-ERR wrong number of arguments for 'acl' command"),
    ]);
    assert!(client.ask("ACL GENPASS 5").starts_with("$2 "));
    let (one, other) = (client.ask("ACL GENPASS"), client.ask("ACL GENPASS"));
    assert!(one.starts_with("$64 ") && one != other, "{one} {other}");
}

#[test]
fn removed_users_are_disconnected() {
    let server = TestServer::start();
    let (mut admin, mut bob, mut listener) = (server.client(), server.client(), server.client());
    admin.check(&[("ACL SETUSER bob on nopass allcommands allkeys allchannels", "+OK")]);
    bob.check(&[("AUTH bob x", "+OK"), ("XLEN s", ":0")]);
    listener.check(&[("AUTH bob x", "+OK"), ("SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")]);
    admin.check(&[("ACL SETUSER bob resetchannels &other", "+OK")]);
    assert!(listener.is_closed(), "it may not listen any more");
    bob.check(&[("XLEN s", ":0")]);
    admin.check(&[("ACL DELUSER bob", ":1")]);
    assert!(bob.is_closed());
    server
        .client()
        .check(&[("AUTH bob x", "-WRONGPASS invalid username-password pair or user is disabled.")]);
}

#[test]
fn a_default_user_with_a_password_is_nobody_until_it_is_given() {
    let config = Config { password: Some("secret".into()), ..Config::default() };
    let server = TestServer::with(config, Arc::new(SystemClock::new()));
    let mut client = server.client();
    client.check(&[
        ("PING", "-NOAUTH Authentication required."),
        ("SUBSCRIBE x", "-NOAUTH Authentication required."),
        ("ACL WHOAMI", "-NOAUTH Authentication required."),
        ("EXEC", "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."),
        ("RESET", "+RESET"),
        ("AUTH secret", "+OK"),
        ("ACL LIST", &format!("*1 $93 user default on #{SECRET} ~* &* +@all")),
        ("ACL SETUSER default off", "+OK"),
        ("PING", "+PONG"),
        ("RESET", "+RESET"),
        ("AUTH secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("QUIT", "+OK"),
    ]);
}

#[test]
fn the_default_password_can_be_changed() {
    let server = TestServer::start();
    let (mut admin, mut client) = (server.client(), server.client());
    admin.check(&[("CONFIG SET requirepass secret", "+OK"), ("PING", "+PONG")]);
    client.check(&[("PING", "+PONG"), ("RESET", "+RESET"), ("PING", "-NOAUTH Authentication required.")]);
    client.check(&[("AUTH secret", "+OK"), ("PING", "+PONG")]);
    admin.check(&[("CONFIG SET requirepass \"\"", "+OK")]);
    server.client().check(&[("PING", "+PONG")]);
}
