//! Clients that speak TLS, and clients on a Unix socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weir_core::SystemClock;
use weir_server::Identity;
use weir_server::resp::{Config, Listener};

use crate::harness::TestServer;

fn start() -> (TestServer, ClientConfig) {
    let (server, config, _) = start_with(Config::default());
    (server, config)
}

/// A server, how its clients are made, and the certificate they trust in PEM.
fn start_with(door: Config) -> (TestServer, ClientConfig, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let identity = Identity::new(vec![made.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = vec![Listener::tls(listener, identity).unwrap()];
    let server = TestServer::listening(address, listeners, door, Arc::new(SystemClock::new()));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (server, client.with_root_certificates(roots).with_no_client_auth(), made.cert.pem())
}

fn connect(server: &TestServer, config: &ClientConfig) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
    StreamOwned::new(session, TcpStream::connect(server.address).unwrap())
}

fn expect(stream: &mut impl Read, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, wanted);
}

#[test]
fn commands_and_answers_of_any_size_pass() {
    let (server, config) = start();
    let mut client = connect(&server, &config);
    client.write_all(b"PING\r\n").unwrap();
    expect(&mut client, b"+PONG\r\n");
    // Larger than any buffer on the way.
    let value = vec![b'x'; 5 << 20];
    let mut bytes = Vec::new();
    weir_resp::command(&mut bytes, [&b"XADD"[..], b"s", b"1-1", b"f", &value]);
    weir_resp::command(&mut bytes, ["XRANGE", "s", "-", "+"]);
    weir_resp::command(&mut bytes, ["PING"]);
    client.write_all(&bytes).unwrap();
    expect(&mut client, b"$3\r\n1-1\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$5242880\r\n");
    expect(&mut client, &value);
    expect(&mut client, b"\r\n+PONG\r\n");
}

#[test]
fn a_client_of_the_traits_speaks_tls_and_logs_in() {
    use weir_redis::server::{Options, connect_with};
    let door = Config { password: Some("secret".into()), ..Config::default() };
    let (server, _, pem) = start_with(door);
    let url = format!("weirs://localhost:{}", server.address.port());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let trusting = Options { root_certificates: Some(pem.into_bytes()), ..Options::default() };
        let known = Options { token: Some("secret".into()), ..trusting.clone() };
        let broker = connect_with(&url, known).await.unwrap().broker();
        assert_eq!(broker.head(b"orders").await.unwrap(), None);
        let stranger = connect_with(&url, trusting).await.unwrap_err();
        assert_eq!(stranger.kind(), &weir_core::ErrorKind::Denied, "{stranger:?}");
        let distrusting = connect_with(&url, Options::default()).await.unwrap_err();
        assert_eq!(distrusting.kind(), &weir_core::ErrorKind::Unavailable, "{distrusting:?}");
    });
}

/// Without a word of goodbye a client could not tell the end from an attacker who cuts the connection.
#[test]
fn the_end_is_told() {
    let (mut server, config) = start();
    let (mut quitting, mut staying) = (connect(&server, &config), connect(&server, &config));
    let mut rest = Vec::new();
    quitting.write_all(b"QUIT\r\n").unwrap();
    quitting.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"+OK\r\n");
    staying.write_all(b"PING\r\n").unwrap();
    expect(&mut staying, b"+PONG\r\n");
    server.stop();
    assert_eq!(staying.read(&mut [0]).unwrap(), 0);
}

#[test]
fn waiting_reads_are_served() {
    let (server, config) = start();
    let (mut reader, mut writer) = (connect(&server, &config), connect(&server, &config));
    reader.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").unwrap();
    server.until_waiting(1);
    writer.write_all(b"XADD s 1-1 a 1\r\n").unwrap();
    expect(&mut reader, b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n");
    drop((reader, writer));
    server.until_waiting(0);
}

#[test]
fn who_does_not_speak_tls_is_sent_away() {
    let (server, config) = start();
    let mut plain = server.client();
    plain.send("PING");
    let mut answer = Vec::new();
    // Perhaps an alert comes first.
    drop(plain.stream.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"+PONG"));
    let mut client = connect(&server, &config);
    client.write_all(b"PING\r\n").unwrap();
    expect(&mut client, b"+PONG\r\n");
}

#[test]
fn unix_sockets_are_served_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.sock");
    let listeners = vec![Listener::unix(std::os::unix::net::UnixListener::bind(&path).unwrap()).unwrap()];
    let nowhere = "127.0.0.1:0".parse().unwrap();
    let _server = TestServer::listening(nowhere, listeners, Config::default(), Arc::new(SystemClock::new()));
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.write_all(b"PING\r\nXADD s 1-1 a 1\r\n").unwrap();
    expect(&mut client, b"+PONG\r\n$3\r\n1-1\r\n");
}
