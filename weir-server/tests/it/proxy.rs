//! The RESP door on a real Redis: what passes through, what is carried out by the traits, and that both stay in order.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use weir_core::{Admin, BoxFuture, Broker, Error, ErrorKind};
use weir_server::Limits;
use weir_server::proxy::{Config, serve};
use weir_testkit::TestBroker;

use crate::harness::TestClient;

/// The namespaces of a naive broker.
struct Namespaces(TestBroker);

impl Admin for Namespaces {
    fn namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { Ok(vec!["default".to_owned(), "db1".to_owned()]) })
    }

    fn namespace(&self, name: &str) -> Result<Arc<dyn Broker>, Error> {
        let broker = self.0.in_namespace(name);
        broker
            .map(|broker| Arc::new(broker) as Arc<dyn Broker>)
            .ok_or(ErrorKind::Invalid("no such namespace").into())
    }
}

/// A real Redis and the door on it.
struct Stage {
    redis: Child,
    broker: TestBroker,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    door: Option<JoinHandle<()>>,
}

impl Stage {
    fn open(redis_options: &[&str]) -> Self {
        let port = free_port();
        let redis = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(redis_options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts; when it is missing, install it as the README says");
        let upstream = format!("127.0.0.1:{port}");
        while TcpStream::connect(&upstream).is_err() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let broker = TestBroker::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admin = Arc::new(Namespaces(broker.clone()));
        let config = Config { upstream, admin, user: "default".into(), limits: Limits::default() };
        let (stop, stopped) = oneshot::channel();
        let door = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, config, async { drop(stopped.await) })).unwrap();
        });
        Self { redis, broker, address, stop: Some(stop), door: Some(door) }
    }

    fn client(&self) -> TestClient {
        TestClient::connect(self.address)
    }

    fn until_waiting(&self, count: usize) {
        while self.broker.waiting() != count {
            std::thread::yield_now();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.door.take().map(JoinHandle::join);
        self.redis.kill().expect("the process is ours");
        self.redis.wait().expect("the process is ours");
        assert!(matches!(ended, Some(Ok(()))), "the door ends when it is told to");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn redis_own_commands_pass_through_and_ours_are_carried_out() {
    let stage = Stage::open(&[]);
    stage.client().check(&[
        ("SET k v", "+OK"),
        ("LPUSH list a", ":1"),
        ("WEIR.ADD s 1-1 a b", "*2 $3 1-1 :0"),
        ("GET k", "$1 v"),
        ("WEIR.HEAD s", "*2 $3 1-1 :0"),
        ("weir.info none", "$-1"),
        ("WEIR.NAMESPACES", "*2 $7 default $3 db1"),
        ("SELECT 1", "+OK"),
        ("WEIR.HEAD s", "$-1"),
        ("SELECT 2", "+OK"),
        ("WEIR.NOSUCH s", "-UNSUPPORTED there is no such command"),
        ("NOSUCH s", "-ERR unknown command 'NOSUCH', with args beginning with: 's' "),
    ]);
}

#[test]
fn replies_of_a_pipeline_come_in_order() {
    let stage = Stage::open(&[]);
    let mut client = stage.client();
    let rounds = 50;
    for round in 0..rounds {
        client.send(&format!("SET k {round}"));
        client.send(&format!("WEIR.ADD s {}-0 a b", round + 1));
        client.send("WEIR.HEAD s");
        client.send("GET k");
    }
    for round in 0..rounds {
        let id = format!("{}-0", round + 1);
        assert_eq!(client.reply(), "+OK");
        assert_eq!(client.reply(), format!("*2 ${} {id} :0", id.len()));
        assert_eq!(client.reply(), format!("*2 ${} {id} :{round}", id.len()));
        assert_eq!(client.reply(), format!("${} {round}", round.to_string().len()));
    }
}

#[test]
fn behind_a_blocked_command_a_call_waits_and_the_replies_before_it_do_not() {
    let stage = Stage::open(&[]);
    let (mut client, mut other) = (stage.client(), stage.client());
    client.send("PING");
    client.send("BLPOP list 0");
    client.send("WEIR.ADD s 1-1 a b");
    assert_eq!(client.reply(), "+PONG");
    assert_eq!(other.ask("WEIR.HEAD s"), "$-1");
    assert_eq!(other.ask("LPUSH list x"), ":1");
    assert_eq!(client.reply(), "*2 $4 list $1 x");
    assert_eq!(client.reply(), "*2 $3 1-1 :0");
}

#[test]
fn a_transaction_is_the_redis_affair_and_has_none_of_ours() {
    let stage = Stage::open(&[]);
    let mut client = stage.client();
    client.check(&[("MULTI", "+OK"), ("SET k v", "+QUEUED"), ("EXEC", "*1 +OK"), ("MULTI", "+OK")]);
    assert!(client.ask("WEIR.ADD s 1-1 a b").starts_with("-ERR unknown command 'WEIR.ADD'"));
    client.check(&[
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("WEIR.HEAD s", "$-1"),
    ]);
}

#[test]
fn a_call_that_waits_is_answered_by_another_client_and_ends_with_its_own() {
    let stage = Stage::open(&[]);
    let (mut reader, mut writer) = (stage.client(), stage.client());
    reader.send("WEIR.READ s AFTER 0-0 BLOCK 0");
    reader.send("PING");
    stage.until_waiting(1);
    assert_eq!(writer.ask("WEIR.ADD s 1-1 a b"), "*2 $3 1-1 :0");
    assert!(reader.reply().starts_with("*1 *3 $3 1-1 *2 $1 a $1 b "));
    assert_eq!(reader.reply(), "+PONG");
    reader.send("WEIR.READ s AFTER 9-9 BLOCK 0");
    stage.until_waiting(1);
    drop(reader);
    stage.until_waiting(0);
}

#[test]
fn who_has_not_logged_in_or_is_somebody_else_is_refused() {
    let stage = Stage::open(&["--requirepass", "secret", "--user", "ann", "on", ">pw", "~*", "+@all"]);
    let mut client = stage.client();
    assert!(client.ask("WEIR.HEAD s").starts_with("-NOPERM "));
    assert_eq!(client.ask("GET k"), "-NOAUTH Authentication required.");
    assert_eq!(client.ask("AUTH ann pw"), "+OK");
    assert!(client.ask("WEIR.HEAD s").contains("the user \"default\""));
    assert_eq!(client.ask("AUTH secret"), "+OK");
    assert_eq!(client.ask("WEIR.HEAD s"), "$-1");
}

#[test]
fn a_client_of_resp3_gets_maps_and_messages_between() {
    let stage = Stage::open(&[]);
    let (mut client, mut other) = (stage.client(), stage.client());
    assert!(client.ask("HELLO 3").starts_with("%7 "));
    assert_eq!(client.ask("WEIR.ADD s 1-1 a b"), "*2 $3 1-1 :0");
    assert!(client.ask("WEIR.INFO s").starts_with("%5 $6 length :1 "));
    assert_eq!(client.ask("SUBSCRIBE news"), ">3 $9 subscribe $4 news :1");
    assert_eq!(client.ask("WEIR.HEAD s"), "*2 $3 1-1 :0");
    assert_eq!(other.ask("PUBLISH news hello"), ":1");
    assert_eq!(client.reply(), ">3 $7 message $4 news $5 hello");
    assert_eq!(client.ask("WEIR.HEAD none"), "_");
}

#[test]
fn what_would_make_replies_uncountable_is_refused() {
    let stage = Stage::open(&[]);
    let mut client = stage.client();
    assert!(client.ask("CLIENT REPLY OFF").starts_with("-ERR CLIENT REPLY OFF and SKIP"));
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn a_redis_that_is_away_is_said_to_be() {
    let mut stage = Stage::open(&[]);
    let mut client = stage.client();
    assert_eq!(client.ask("PING"), "+PONG");
    stage.redis.kill().unwrap();
    // Until it is gone it may still accept who comes late.
    stage.redis.wait().unwrap();
    assert!(client.is_closed());
    let mut late = stage.client();
    assert_eq!(late.reply(), "-UNAVAILABLE the Redis behind this server cannot be reached");
}
