//! Passwords, TLS, sentinels, and what is behind a URL.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use weir_core::{AppendOptions, ErrorKind, Streams};
use weir_redis::{Opened, Options, RedisBroker};

use super::redis_server::{Redis, free_port, options};

async fn append(broker: &RedisBroker) {
    broker.append(b"s", &[(b"a", b"1")], AppendOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_told_nowhere() {
    let redis = Redis::with(&["--save", "", "--requirepass", "open sesame"]);
    let url = |user: &str| format!("redis://{user}127.0.0.1:{}", redis.port());
    for user in ["", ":hunter2@", "ann:hunter2@"] {
        let error = weir_redis::connect(&url(user), options()).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    append(&weir_redis::connect(&url(":open%20sesame@"), options()).await.unwrap()).await;
    append(&weir_redis::connect(&url("default:open%20sesame@"), options()).await.unwrap()).await;
    let apart = Options { password: Some("open sesame".into()), ..options() };
    append(&weir_redis::connect(&url(""), apart).await.unwrap()).await;
}

#[tokio::test]
async fn both_protocols_are_spoken() {
    let redis = Redis::start();
    for protocol in ["2", "3"] {
        let url = format!("{}?protocol={protocol}", redis.url());
        append(&weir_redis::connect(&url, options()).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_server_is_reached_over_tls_when_its_certificate_is_trusted() {
    let folder = TempDir::new().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = key.cert.pem();
    let [certificate, private] = ["certificate", "key"].map(|name| folder.path().join(name));
    fs::write(&certificate, &pem).unwrap();
    fs::write(&private, key.signing_key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let [certificate, private] = [&certificate, &private].map(|path| path.to_str().unwrap());
    let _redis = Redis::with(&[
        "--save",
        "",
        "--tls-port",
        &port,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        private,
        "--tls-ca-cert-file",
        certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    let trusting = Options { tls_roots: Some(pem.into_bytes()), ..options() };
    append(&weir_redis::connect(&url, trusting).await.unwrap()).await;
    let short = Options { retry_for: Duration::from_millis(100), ..options() };
    let error = weir_redis::connect(&url, short).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable);
}

/// A sentinel that watches `master` under the name `main`.
fn sentinel(master: &Redis) -> Redis {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sentinel.conf");
    let watch = format!("sentinel monitor main 127.0.0.1 {} 1\n", master.port());
    let quick = "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n";
    fs::write(&file, watch + quick).unwrap();
    Redis::with_file(folder, "sentinel.conf", &["--sentinel"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_is_found_by_way_of_the_sentinel() {
    let mut master = Redis::start();
    let replica = Redis::start();
    let mut client = replica.client().await;
    let port = master.port().to_string();
    let _: () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).query_async(&mut client).await.unwrap();
    loop {
        let info: String = redis::cmd("INFO").arg("replication").query_async(&mut client).await.unwrap();
        if info.contains("master_link_status:up") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sentinel = sentinel(&master);
    let mut watcher = sentinel.client().await;
    loop {
        let known: Vec<redis::Value> =
            redis::cmd("SENTINEL").arg("replicas").arg("main").query_async(&mut watcher).await.unwrap();
        if !known.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let patient = Options { retry_for: Duration::from_secs(40), ..options() };
    let broker = weir_redis::connect(&url, patient).await.unwrap();
    append(&broker).await;
    // What the old master has not passed on yet would be lost with it.
    let mut writer = master.client().await;
    let _: i64 = redis::cmd("WAIT").arg(1).arg(5_000).query_async(&mut writer).await.unwrap();
    master.kill();
    let producer = weir_core::Producer { name: b"p".to_vec(), append_id: b"1".to_vec() };
    let options = AppendOptions { producer: Some(producer), ..AppendOptions::default() };
    broker.append(b"s", &[(b"a", b"2")], options).await.unwrap();
    assert_eq!(broker.stream_info(b"s").await.unwrap().unwrap().length, 2);
    let error = weir_redis::connect(&url.replace("/main", "/other"), super::redis_server::options()).await;
    assert_eq!(*error.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_redis_is_no_weir_server() {
    let redis = Redis::start();
    assert!(!weir_redis::is_weir_server(&redis.url(), options()).await.unwrap());
    let opened = weir_redis::open(&redis.url(), options()).await.unwrap();
    assert!(matches!(opened, Opened::Redis(_)));
    opened.broker().append(b"s", &[(b"a", b"1")], AppendOptions::default()).await.unwrap();
    let names = opened.admin().namespaces().await.unwrap();
    assert_eq!(names, ["default"]);
    assert!(opened.admin().namespace("default").is_ok() && opened.admin().namespace("other").is_err());
    let Opened::Redis(broker) = opened else { panic!("it is a Redis") };
    assert!(broker.capabilities() == weir_redis::Capabilities::default() || has_newer_commands());
}

/// Whether the server at hand is newer than 7.0.
fn has_newer_commands() -> bool {
    let version = Command::new("redis-server").arg("--version").output().unwrap();
    !String::from_utf8_lossy(&version.stdout).contains("v=7.0")
}
