//! Opening brokers by their URLs, in this process.

#![cfg(feature = "embedded")]

#[cfg(feature = "redis")]
mod examples;

use weir_core::{ErrorKind, ReadFrom, ReadOptions};

const ALL: ReadOptions =
    ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: 10, wait: None };

#[tokio::test]
async fn memory_is_another_one_at_every_opening() {
    let first = weir_connect::open("memory:").await.unwrap();
    first.append(b"s", &[(b"a", b"b")], Default::default()).await.unwrap();
    assert_eq!(first.read(b"s", ALL).await.unwrap().len(), 1);
    let second = weir_connect::open("memory:").await.unwrap();
    assert!(second.read(b"s", ALL).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_folder_is_made_kept_and_free_again_when_its_broker_goes() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("new").display());
    for count in 1..=2 {
        let broker = weir_connect::open(&url).await.unwrap();
        broker.append(b"s", &[(b"a", b"b")], Default::default()).await.unwrap();
        assert_eq!(broker.read(b"s", ALL).await.unwrap().len(), count);
    }
}

#[tokio::test]
async fn a_folder_that_a_program_without_a_door_holds_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    let _held = weir_connect::open(&url).await.unwrap();
    let Err(error) = weir_connect::open(&url).await else { panic!("it is held") };
    assert_eq!(*error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains("names no address"), "{error}");
}

#[tokio::test]
async fn all_namespaces_are_there_for_administrators() {
    let admin = weir_connect::open_admin("memory:").await.unwrap();
    let names = admin.namespaces().await.unwrap();
    assert_eq!((names.len(), &*names[0], &*names[15]), (16, "default", "db15"));
    let (first, other) = (admin.namespace("default").unwrap(), admin.namespace("db1").unwrap());
    first.append(b"s", &[(b"a", b"b")], Default::default()).await.unwrap();
    assert!(other.read(b"s", ALL).await.unwrap().is_empty());
    assert!(admin.namespace("nothing").is_err());
    assert!(admin.policies("default").await.unwrap().is_empty());
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn what_does_not_answer_is_unavailable() {
    for url in ["weir://127.0.0.1:1", "redis://127.0.0.1:1"] {
        let Err(error) = weir_connect::open(url).await else { panic!("nobody is there") };
        assert_eq!(*error.kind(), ErrorKind::Unavailable, "{url}: {error}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_names_those_there_are() {
    let Err(error) = weir_connect::open("kafka://127.0.0.1").await else { panic!("there is none") };
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
}
