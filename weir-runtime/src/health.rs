//! `/health` and `/metrics` of a consumer over HTTP.
//!
//! It answers `GET` and nothing else, one request per connection, and never reads more than [`REQUEST_MAX`] bytes of
//! it. At most [`CONNECTIONS_MAX`] connections are served at a time; further ones wait in the system's queue.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use weir_core::{Error, ErrorKind};

use crate::consumer::{ConsumerStatus, Shared, StreamStatus};
use crate::metrics::DURATION_BOUNDS_MICROS;

/// So many entries behind, a consumer is called lagging, unless said otherwise.
pub const LAGGING_AT: u64 = 1_000;
/// A longer request is not answered.
pub const REQUEST_MAX: usize = 8 * 1_024;
/// So many requests are answered at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// A request and its answer have so long.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) lagging_at: u64,
}

/// A server that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to serve, if there is an address.
pub(crate) async fn begin(
    settings: Option<&Settings>,
    shared: &Arc<Shared>,
) -> Result<Option<Server>, Error> {
    let Some(Settings { address: Some(address), lagging_at }) = settings else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorKind::Io)
            .with_context(format!("cannot listen at {address} for health"))
            .with_source(error)
    })?;
    if let Ok(address) = listener.local_addr() {
        shared.note_health(address);
        tracing::info!(%address, "health is served");
    }
    Ok(Some(Server(tokio::spawn(serve(listener, Arc::clone(shared), *lagging_at)))))
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, lagging_at: u64) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&room).acquire_owned().await.expect("nobody closes it");
        let Ok((connection, _)) = listener.accept().await else {
            // No file is free, say. It passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Who does not ask in time, or has gone, gets no answer; there is nobody to tell.
            drop(tokio::time::timeout(REQUEST_TIME_MAX, answer(connection, &shared, lagging_at)).await);
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(mut connection: TcpStream, shared: &Shared, lagging_at: u64) -> std::io::Result<()> {
    let Some(request) = request(&mut connection).await? else { return Ok(()) };
    let (status, kind, body) = reply(&request, shared, lagging_at).await;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body.as_bytes()).await?;
    connection.shutdown().await
}

/// The first line of a request; `None` when it is too long or never ends.
async fn request(connection: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut part = [0; 1_024];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = connection.read(&mut part).await?;
        if read == 0 || bytes.len() + read > REQUEST_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&part[..read]);
    }
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

async fn reply(request: &str, shared: &Shared, lagging_at: u64) -> (&'static str, &'static str, String) {
    const JSON: &str = "application/json";
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    if method != "GET" {
        return ("405 Method Not Allowed", JSON, json!({"error": "only GET is answered"}).to_string());
    }
    let status = match path {
        "/health" | "/metrics" => crate::consumer::status_of(shared).await,
        _ => return ("404 Not Found", JSON, json!({"error": "try /health or /metrics"}).to_string()),
    };
    match (path, status) {
        ("/metrics", Ok(status)) => ("200 OK", "text/plain; version=0.0.4", metrics_text(&status)),
        (_, Ok(status)) => ("200 OK", JSON, health_json(&status, lagging_at).to_string()),
        (_, Err(error)) => {
            let body = json!({"status": "unhealthy", "healthy": false, "error": error.to_string()});
            ("503 Service Unavailable", JSON, body.to_string())
        }
    }
}

/// What `/health` says. `lag` and `position` are those of all streams together; `streams` has each of them.
#[must_use]
pub fn health_json(status: &ConsumerStatus, lagging_at: u64) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (lag, state) = (status.lag(), status.state());
    let first = status.streams.first();
    let is_lagging = lag >= lagging_at;
    json!({
        "status": if is_lagging { "lagging" } else { "healthy" },
        "healthy": !is_lagging,
        "state": state.as_str(),
        "consumer": {
            "name": text(&status.consumer),
            "member": first.map_or(0, |stream| stream.member),
            "size": first.map_or(0, |stream| stream.size),
        },
        "consumerGroup": text(&status.group),
        "position": first.map(|stream| stream.position.to_string()),
        "lag": lag,
        "throughput": status.throughput,
        "lastProgress": status.last_progress.map(|time| time.0),
        "streamLength": status.streams.iter().map(|stream| stream.length).sum::<u64>(),
        "pendingMessages": status.streams.iter().map(|stream| stream.pending).sum::<u64>(),
        "streams": status.streams.iter().map(stream_json).collect::<Vec<_>>(),
    })
}

fn stream_json(stream: &StreamStatus) -> Value {
    let lag = &stream.lag;
    json!({
        "stream": String::from_utf8_lossy(&stream.stream),
        "state": stream.state.as_str(),
        "position": stream.position.to_string(),
        "member": stream.member,
        "size": stream.size,
        "length": stream.length,
        "pending": stream.pending,
        "paused": stream.is_paused,
        "lag": {
            "total": lag.total(),
            "undelivered": lag.undelivered,
            "pending": lag.pending,
            "ready": lag.ready,
            "delayed": lag.delayed,
            "dead": lag.dead,
            "exact": lag.exact,
            "etaSeconds": lag.eta.map(|eta| eta.as_secs_f64()),
        },
        "lastError": stream.last_error,
        "lastStuck": stream.last_stuck.map(|id| id.to_string()),
    })
}

/// What `/metrics` says, in the text format of Prometheus.
#[must_use]
pub fn metrics_text(status: &ConsumerStatus) -> String {
    let mut out = String::new();
    let group = label(&status.group);
    for (name, value) in status.totals.counters() {
        line(&mut out, format_args!("# TYPE weir_consumer_{name}_total counter"));
        line(&mut out, format_args!("weir_consumer_{name}_total{{group=\"{group}\"}} {value}"));
    }
    line(&mut out, format_args!("# TYPE weir_consumer_running gauge"));
    line(&mut out, format_args!("weir_consumer_running{{group=\"{group}\"}} {}", status.totals.running));
    durations(&mut out, &group, status);
    type Gauge = (&'static str, fn(&StreamStatus) -> u64);
    let gauges: [Gauge; 8] = [
        ("lag", |stream| stream.lag.total()),
        ("undelivered", |stream| stream.lag.undelivered),
        ("pending", |stream| stream.lag.pending),
        ("ready", |stream| stream.lag.ready),
        ("delayed", |stream| stream.lag.delayed),
        ("dead", |stream| stream.lag.dead),
        ("members", |stream| stream.size),
        ("paused", |stream| u64::from(stream.is_paused)),
    ];
    for (name, value_of) in gauges {
        line(&mut out, format_args!("# TYPE weir_group_{name} gauge"));
        for stream in &status.streams {
            let name_of = label(&stream.stream);
            let value = value_of(stream);
            line(
                &mut out,
                format_args!("weir_group_{name}{{stream=\"{name_of}\",group=\"{group}\"}} {value}"),
            );
        }
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people; a few bits do not matter")]
fn durations(out: &mut String, group: &str, status: &ConsumerStatus) {
    let name = "weir_consumer_duration_seconds";
    line(out, format_args!("# TYPE {name} histogram"));
    let mut runs = 0;
    for (bucket, count) in status.totals.durations.iter().enumerate() {
        runs += count;
        let bound = DURATION_BOUNDS_MICROS.get(bucket).map(|bound| *bound as f64 / 1e6);
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
        line(out, format_args!("{name}_bucket{{group=\"{group}\",le=\"{bound}\"}} {runs}"));
    }
    let seconds = status.totals.duration_micros as f64 / 1e6;
    line(out, format_args!("{name}_sum{{group=\"{group}\"}} {seconds}"));
    line(out, format_args!("{name}_count{{group=\"{group}\"}} {runs}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).and_then(|()| out.write_char('\n')).expect("a string takes everything");
}

/// A name as the value of a label.
fn label(name: &[u8]) -> String {
    String::from_utf8_lossy(name).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
