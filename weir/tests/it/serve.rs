//! `weir serve` as an operator meets it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Output;

use rustix::process::Signal;

use crate::weir::{Weir, weir_in};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} in {errors}");
    }
}

#[test]
fn a_server_says_where_it_is_keeps_its_data_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &[]);
    assert!(weir.line("data").ends_with("/weir-data"), "{}", weir.banner);
    weir.call(&["XADD", "orders", "1-1", "type", "placed"]);
    assert!(weir.get("/livez").starts_with("HTTP/1.1 200 OK"));
    assert!(weir.get("/metrics").contains("\nweir_keys{db=\"0\"} 1"));
    let (status, _) = weir.terminate();
    assert_eq!(status.code(), Some(0));

    let again = Weir::start(folder.path(), &[]);
    assert_eq!(again.call(&["XLEN", "orders"]).as_int(), Some(1));
}

#[test]
fn commands_and_clients_show_in_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--dir", "memory:"]);
    assert!(weir.line("data").starts_with("in memory"));
    for _ in 0..3 {
        weir.call(&["XADD", "orders", "*", "type", "placed"]);
    }
    weir.call(&["NONSENSE"]);
    // The door publishes its counts once a round, which may be a moment after the answer.
    let value = |page: &str, name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<f64>().unwrap()
    };
    let page =
        (0..1_000).map(|_| weir.get("/metrics")).find(|page| value(page, "weir_connections_total ") >= 4.0);
    let page = page.expect("four connections were made");
    assert!(value(&page, "weir_commands_total ") >= 3.0, "{page}");
}

#[test]
fn a_held_folder_is_refused_with_the_name_of_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &["--dir", "data"]);
    let second = weir_in(folder.path(), &["serve", "--dir", "data", "--resp", "0", "--http", "none"]);
    let holder = format!("process {}, which serves redis://{}", weir.pid(), weir.resp());
    refused(&{ second }.output().unwrap(), 3, &[&holder, "--dir"]);
}

#[test]
fn a_taken_address_is_refused_before_a_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    for (flags, setting) in [
        (["--resp", &address, "--http", "none"], "--resp"),
        (["--resp", "127.0.0.1:0", "--http", &address], "--http"),
    ] {
        let output = weir_in(folder.path(), &[&["serve"], &flags[..]].concat()).output().unwrap();
        refused(&output, 3, &[&address, setting]);
    }
    assert!(!folder.path().join("weir-data").exists());
}

#[test]
fn a_unix_socket_goes_with_its_server_and_with_a_folder_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.sock");
    let flags = ["--unix-socket", "weir.sock", "--dir", "data"];
    let weir = Weir::start(folder.path(), &flags);
    assert_eq!(weir.line("unix"), "weir.sock");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    let second = ["serve", "--resp", "0", "--http", "none", "--unix-socket", "second.sock", "--dir", "data"];
    refused(&weir_in(folder.path(), &second).output().unwrap(), 3, &["--dir"]);
    assert!(!folder.path().join("second.sock").exists());
    drop(stream);
    assert_eq!(weir.terminate().0.code(), Some(0));
    assert!(!path.exists());
}

/// Serves its certificate to whoever asks, and refuses files that hold none with the flags that named them.
#[test]
fn tls_is_spoken_when_there_is_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let weir = Weir::start(folder.path(), &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    let address = weir.line("resp").strip_prefix("rediss://").unwrap();
    // Who does not speak it learns that from an alert: content type 21.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut first = [0];
    assert!(!stream.read_exact(&mut first).is_ok_and(|()| first != [21]), "{first:?}");
    for (cert, key) in [("none.pem", "key.pem"), ("cert.pem", "cert.pem")] {
        let args = [
            "serve",
            "--dir",
            "memory:",
            "--resp",
            "0",
            "--http",
            "none",
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ];
        refused(&weir_in(folder.path(), &args).output().unwrap(), 2, &["--tls-cert", "--tls-key"]);
    }
}

#[test]
fn an_interrupt_ends_it_in_order_too() {
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(folder.path(), &[]);
    weir.call(&["XADD", "orders", "1-1", "type", "placed"]);
    assert_eq!(weir.end_with(Signal::INT).0.code(), Some(0));
    let again = Weir::start(folder.path(), &[]);
    assert_eq!(again.call(&["XLEN", "orders"]).as_int(), Some(1));
}

#[test]
fn the_help_begins_with_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let help = weir_in(folder.path(), &["--help"]).output().unwrap();
    assert!(text(&help.stdout).starts_with("A durable stream broker"), "{}", text(&help.stdout));
}

#[test]
fn nonsense_has_exit_code_two() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["serve", "--fsync", "sometimes"][..],
        &["serve", "--nonsense"],
        &["serve", "--log", "=="],
        &["serve", "--resp", "none", "--http", "none"],
    ] {
        let output = weir_in(folder.path(), args).output().unwrap();
        refused(&output, 2, &[]);
    }
}

#[test]
fn a_file_of_settings_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weir.toml"), "dir = 'from-file'\nfsync = 'always'\n").unwrap();
    let weir = Weir::start(folder.path(), &[]);
    assert!(weir.line("data").ends_with("/from-file"), "{}", weir.banner);
    assert!(weir.get("/health").contains("\"fsync\":\"always\""));
}
