//! A real cluster of three masters.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use weir_core::{
    AppendOptions, CreateGroup, Deliveries, ErrorKind, GroupOrigin, GroupSource, Groups, ListStreams, Policy,
    Producer, ReadGroup, Settle, Settled, Settlement, Streams,
};
use weir_redis::{Options, RedisBroker};
use weir_testkit::conformance::{Profile, RealTime, RunOptions, run};

use super::redis_server::{Redis, options};

/// Three masters that share the slots.
struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    async fn start() -> Self {
        let args = [
            "--save",
            "",
            "--appendonly",
            "no",
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes",
        ];
        let cluster = Self { nodes: (0..3).map(|_| Redis::with(&args)).collect() };
        let addresses: Vec<_> =
            cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create", "--cluster-yes", "--cluster-replicas", "0"])
            .args(addresses)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        for node in &cluster.nodes {
            let mut client = node.client().await;
            loop {
                let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut client).await.unwrap();
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        cluster
    }

    async fn broker(&self) -> RedisBroker {
        self.broker_with(options()).await
    }

    async fn broker_with(&self, options: Options) -> RedisBroker {
        // One seed is enough to find the others.
        let url = format!("redis+cluster://127.0.0.1:{}", self.nodes[1].port());
        weir_redis::connect(&url, options).await.unwrap()
    }
}

fn beginning(policy: Policy) -> CreateGroup {
    CreateGroup { origin: GroupOrigin::Beginning, policy }
}

fn new() -> ReadGroup {
    ReadGroup {
        group: b"g".to_vec(),
        consumer: b"c".to_vec(),
        source: GroupSource::New,
        count: 10,
        wait: None,
        while_paused: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exam_passes_on_a_cluster() {
    let cluster = Cluster::start().await;
    let target = RealTime::new("cluster", vec![Profile::Streams], Arc::new(cluster.broker().await));
    let report = run(Arc::new(target), RunOptions::default()).await;
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() >= 300, "{report}");
}

#[tokio::test]
async fn streams_of_all_masters_are_listed_and_dead_letters_stay_in_their_slot() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker().await;
    for n in 0..30 {
        broker.append(format!("s{n}").as_bytes(), &[(b"a", b"1")], Default::default()).await.unwrap();
    }
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let options = ListStreams { pattern: b"*".to_vec(), after, count: 7, with_side_streams: false };
        let page = broker.list_streams(options).await.unwrap();
        names.extend(page.names);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 30);

    let elsewhere = Policy { dead_letter: Some(b"elsewhere".to_vec()), ..Policy::recommended() };
    let error = broker.create_group(b"s1", b"g", beginning(elsewhere)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)) && error.to_string().contains("{s1}:"), "{error}");
    let beside = Policy { dead_letter: Some(b"{s1}:failed".to_vec()), ..Policy::recommended() };
    broker.create_group(b"s1", b"g", beginning(beside)).await.unwrap();
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_stream_along() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker_with(Options { retry_for: Duration::from_millis(100), ..options() }).await;
    broker.create_group(b"s", b"g", beginning(Policy::recommended())).await.unwrap();
    broker.append(b"s", &[(b"a", b"1")], Default::default()).await.unwrap();
    let given = broker.read_group(b"s", new()).await.unwrap();

    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for node in &cluster.nodes {
        let mut client = node.client().await;
        let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut client).await.unwrap();
        clients.push(client);
        ids.push(id);
    }
    let slot: u64 = redis::cmd("CLUSTER").arg(&["KEYSLOT", "s"]).query_async(&mut clients[0]).await.unwrap();
    let mut from = 0;
    for (n, client) in clients.iter_mut().enumerate() {
        let keys: Vec<Vec<u8>> =
            redis::cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(100).query_async(client).await.unwrap();
        if !keys.is_empty() {
            from = n;
        }
    }
    let to = (from + 1) % 3;
    let set = |state: &str, node: &str| {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(state).arg(node);
        command
    };
    let _: () = set("IMPORTING", &ids[from]).query_async(&mut clients[to]).await.unwrap();
    let _: () = set("MIGRATING", &ids[to]).query_async(&mut clients[from]).await.unwrap();
    // Some keys may be there and some here: a script would stop halfway, so none begins.
    let second = AppendOptions {
        producer: Some(Producer { name: b"p".to_vec(), append_id: b"2".to_vec() }),
        ..AppendOptions::default()
    };
    let error = broker.append(b"s", &[(b"a", b"2")], second.clone()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(broker.stream_info(b"s").await.unwrap().unwrap().length, 1, "nothing was appended");
    let keys: Vec<Vec<u8>> = redis::cmd("CLUSTER")
        .arg("GETKEYSINSLOT")
        .arg(slot)
        .arg(100)
        .query_async(&mut clients[from])
        .await
        .unwrap();
    assert!(keys.len() >= 2, "the stream and what is kept beside it");
    let _: () = redis::cmd("MIGRATE")
        .arg("127.0.0.1")
        .arg(cluster.nodes[to].port())
        .arg("")
        .arg(0)
        .arg(5_000)
        .arg("KEYS")
        .arg(&keys)
        .query_async(&mut clients[from])
        .await
        .unwrap();
    // Its keys are there already, and the slot is not: what needs one key is asked there for once.
    let error = broker.append(b"s", &[(b"a", b"2")], second.clone()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(broker.stream_info(b"s").await.unwrap().unwrap().length, 1, "nothing was appended");
    for client in &mut clients {
        let _: () = set("NODE", &ids[to]).query_async(client).await.unwrap();
    }
    assert!(!broker.append(b"s", &[(b"a", b"2")], second).await.unwrap().is_duplicate);
    let ack = Settle { id: given[0].entry.id, token: Some(given[0].token), settlement: Settlement::Ack };
    assert_eq!(broker.settle(b"s", b"g", &[ack]).await.unwrap(), [Settled::Done]);
    assert_eq!(broker.read_group(b"s", new()).await.unwrap().len(), 1);
}
