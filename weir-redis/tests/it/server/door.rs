//! A server in this process that knows the `WEIR.*` commands and what a client says when it connects, and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use weir_core::Broker;
use weir_resp::{Args, Decoder, Limits, Progress, Proto, Writer};
use weir_testkit::TestBroker;
use weir_wire::Value;

/// See the [module](self). Ends when dropped.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) broker: TestBroker,
    /// Connections that were accepted so far.
    pub(crate) accepted: Arc<AtomicUsize>,
    cut: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        self.cut.notify_waiters();
    }
}

impl Door {
    pub(crate) async fn open() -> Self {
        Self::open_on("127.0.0.1:0", TestBroker::new()).await
    }

    pub(crate) async fn open_on(address: impl tokio::net::ToSocketAddrs, broker: TestBroker) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, accepted) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(accept(listener, broker.clone(), cut.clone(), accepted.clone()));
        Self { address, broker, accepted, cut, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("weir://{}", self.address)
    }

    /// Cuts all connections; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

async fn accept(listener: TcpListener, broker: TestBroker, cut: Arc<Notify>, accepted: Arc<AtomicUsize>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        accepted.fetch_add(1, Ordering::SeqCst);
        let (broker, cut) = (broker.clone(), cut.clone());
        tokio::spawn(async move {
            let is_cut = cut.notified();
            tokio::select! {
                () = is_cut => {}
                _ = serve(stream, broker) => {}
            }
        });
    }
}

/// Answers one request after the other. A client that goes while it waits is noticed by reading on meanwhile.
async fn serve(mut stream: TcpStream, broker: TestBroker) -> std::io::Result<()> {
    let (mut decoder, mut args, mut buffer) = (Decoder::default(), Args::new(), Vec::new());
    let mut namespace = broker.clone();
    loop {
        let words: Vec<Vec<u8>> = match decoder.decode(&buffer, &mut args, &Limits::DEFAULT) {
            Progress::Complete { consumed } => {
                let words = args.of(&buffer).iter().map(<[u8]>::to_vec).collect();
                buffer.drain(..consumed);
                words
            }
            Progress::Empty { consumed } => {
                buffer.drain(..consumed);
                continue;
            }
            Progress::Incomplete { .. } => {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
                continue;
            }
            other => panic!("not a request: {other:?}"),
        };
        let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
        if words[0].eq_ignore_ascii_case(b"select") {
            let name = match words[1] {
                b"0" => "default".to_owned(),
                number => format!("db{}", String::from_utf8_lossy(number)),
            };
            namespace = broker.in_namespace(&name).unwrap();
        }
        let answer = tokio::select! {
            answer = answer(&namespace, &words) => answer,
            more = stream.read_buf(&mut buffer) => match more? {
                0 => return Ok(()),
                _ => answer(&namespace, &words).await,
            },
        };
        let mut out = Vec::new();
        render(&answer, &mut Writer::new(&mut out, Proto::Resp2));
        stream.write_all(&out).await?;
    }
}

async fn answer(broker: &dyn Broker, words: &[&[u8]]) -> Value {
    match &words[0].to_ascii_uppercase()[..] {
        b"SELECT" | b"CLIENT" => Value::Simple("OK".into()),
        b"WEIR.NAMESPACES" => {
            let names =
                (0..16).map(|number: u32| if number == 0 { "default".into() } else { format!("db{number}") });
            Value::Array(names.map(|name| Value::Bulk(name.into_bytes())).collect())
        }
        _ => weir_wire::call_words(broker, words).await,
    }
}

fn render(value: &Value, out: &mut Writer<'_>) {
    match value {
        Value::Simple(word) => out.simple(word),
        Value::Bulk(bytes) => out.bulk(bytes),
        Value::Int(number) => out.int(*number),
        Value::Null => out.null(),
        Value::Error(line) => out.error(line),
        Value::Double(number) => out.double(*number),
        Value::Array(items) => {
            out.array(items.len());
            items.iter().for_each(|item| render(item, out));
        }
        Value::Map(items) => {
            out.map(items.len() / 2);
            items.iter().for_each(|item| render(item, out));
        }
    }
}
