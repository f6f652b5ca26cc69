//! `weir serve --backend`: a Redis with WEIR.* added.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::weir::{Weir, weir_in};

/// A Redis on a port; it ends with this value.
struct OnPort {
    process: Child,
    url: String,
}

impl OnPort {
    fn start(folder: &std::path::Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts; when it is missing, install it as the README says");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "redis-server ended at once");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Self { process, url: format!("redis://127.0.0.1:{port}") }
    }
}

impl Drop for OnPort {
    fn drop(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
    }
}

#[test]
fn a_redis_is_served_with_weir_commands_and_what_one_door_does_the_other_sees() {
    let folder = tempfile::tempdir().unwrap();
    let redis = OnPort::start(folder.path());
    let weir = Weir::start(folder.path(), &["--backend", &redis.url]);
    assert!(weir.line("data").starts_with("in the Redis at 127.0.0.1:"), "{}", weir.banner);
    assert_eq!(weir.call(&["SET", "k", "v"]).as_bytes(), Some(&b"OK"[..]));
    assert_eq!(weir.call(&["XADD", "orders", "1-1", "type", "placed"]).as_bytes(), Some(&b"1-1"[..]));
    assert_eq!(
        weir.call(&["WEIR.GROUP", "CREATE", "orders", "billing", "BEGINNING"]).as_bytes(),
        Some(&b"NEW"[..])
    );
    let given = weir.call(&["WEIR.READGROUP", "orders", "billing", "ann"]);
    assert_eq!(given.as_array().unwrap().len(), 1, "{given:?}");
    assert_eq!(weir.call(&["XACK", "orders", "billing", "1-1"]).as_int(), Some(1));
    let (status, _) = weir.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(!folder.path().join("weir-data").exists(), "there is no folder of its own");
}

#[test]
fn what_has_no_meaning_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, words) in [
        (&["--backend", "rediss://127.0.0.1"][..], "--backend wants one Redis without TLS"),
        (&["--backend", "redis://127.0.0.1", "--token", "t"], "--token has no meaning with --backend"),
    ] {
        let output =
            weir_in(folder.path(), &[&["serve", "--resp", "127.0.0.1:0"], flags].concat()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(words), "{errors}");
    }
}
