//! From the client: `WEIR.*` to the traits, everything else to the Redis.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use weir_core::{Broker, Error, ErrorKind};
use weir_resp::{Args, Decoder, Progress, Proto, Writer};
use weir_wire::{Value, error_line};

use super::Config;
use super::marker::Marker;
use super::replies::Told;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;
/// Bytes that a client may send while its call is carried out; then they wait in the system's buffers.
const AHEAD_MAX: usize = 1 << 20;

/// Who a client is to the Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    user: Vec<u8>,
    database: u32,
    proto: Proto,
}

/// The requests of one client.
pub(super) struct Requests<'c> {
    client: OwnedReadHalf,
    redis: OwnedWriteHalf,
    replies: mpsc::Sender<Told>,
    config: &'c Config,
    buffer: Vec<u8>,
    in_multi: bool,
    /// As of the last time it was asked for; `None` when something was asked since that may have changed it.
    standing: Option<Standing>,
}

/// What becomes of the request at the front of the buffer.
enum Way {
    /// It goes to the Redis.
    Pass,
    /// It is carried out here.
    Call(Vec<Vec<u8>>),
    /// It is refused.
    Refuse(&'static str),
}

impl<'c> Requests<'c> {
    pub(super) fn new(
        client: OwnedReadHalf,
        redis: OwnedWriteHalf,
        replies: mpsc::Sender<Told>,
        config: &'c Config,
    ) -> Self {
        let buffer = Vec::with_capacity(CHUNK);
        Self { client, redis, replies, config, buffer, in_multi: false, standing: None }
    }

    /// Goes on until the client says no more; then waits for the replies to end.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let request_max = self.config.limits.request_bytes;
        let limits = weir_resp::Limits { request_max, bulk_max: request_max, ..weir_resp::Limits::DEFAULT };
        let (mut decoder, mut args) = (Decoder::new(), Args::new());
        // Bytes at the front of the buffer that go to the Redis.
        let mut passed = 0;
        loop {
            match decoder.decode(&self.buffer[passed..], &mut args, &limits) {
                Progress::Complete { consumed } => {
                    match way(&mut self.in_multi, args.of(&self.buffer[passed..])) {
                        Way::Pass => passed += consumed,
                        Way::Call(words) => {
                            self.pass(passed).await?;
                            self.buffer.drain(..consumed);
                            passed = 0;
                            self.call(words).await?;
                        }
                        Way::Refuse(line) => {
                            self.pass(passed).await?;
                            self.buffer.drain(..consumed);
                            passed = 0;
                            self.answer(Value::Error(line.into())).await?;
                        }
                    }
                }
                Progress::Empty { consumed } => passed += consumed,
                Progress::Incomplete { .. } => {
                    self.pass(passed).await?;
                    passed = 0;
                    if self.client.read_buf(&mut self.buffer).await? == 0 {
                        self.redis.shutdown().await?;
                        return std::future::pending().await;
                    }
                }
                // The Redis says what is wrong with it, and closes the connection.
                Progress::Error(_) | Progress::HttpRequest => {
                    self.pass(self.buffer.len()).await?;
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Sends so many bytes of the buffer to the Redis.
    async fn pass(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > 0 {
            self.standing = None;
            self.redis.write_all(&self.buffer[..bytes]).await?;
            self.buffer.drain(..bytes);
            if self.buffer.is_empty() {
                self.buffer.shrink_to(2 * CHUNK);
            }
        }
        Ok(())
    }

    /// Carries out a call of the client. One that waits for entries ends when the client goes.
    async fn call(&mut self, words: Vec<Vec<u8>>) -> io::Result<()> {
        let standing = self.standing().await?;
        let proto = standing.as_ref().map_or(Proto::Resp2, |standing| standing.proto);
        let broker = standing.and_then(|standing| self.broker_for(&standing));
        let config = self.config;
        let waits = weir_wire::find(&words.iter().map(|word| &**word).collect::<Vec<_>>())
            .is_some_and(|row| row.waits);
        let answer = async move {
            let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
            match broker {
                Err(error) => Value::Error(error_line(&error)),
                Ok(_) if words[0].eq_ignore_ascii_case(b"WEIR.NAMESPACES") => {
                    match config.admin.namespaces().await {
                        Ok(names) => Value::Array(
                            names.into_iter().map(|name| Value::Bulk(name.into_bytes())).collect(),
                        ),
                        Err(error) => Value::Error(error_line(&error)),
                    }
                }
                Ok(broker) => weir_wire::call_words(&*broker, &words).await,
            }
        };
        tokio::pin!(answer);
        let mut is_over = false;
        let value = loop {
            let may_read = !is_over && self.buffer.len() < AHEAD_MAX;
            tokio::select! {
                value = &mut answer => break value,
                read = self.client.read_buf(&mut self.buffer), if may_read => {
                    is_over = read? == 0;
                    if is_over && waits {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        };
        self.answer_as(value, proto).await
    }

    /// Answers behind everything that was asked before.
    async fn answer(&mut self, value: Value) -> io::Result<()> {
        let proto = self.standing().await?.map_or(Proto::Resp2, |standing| standing.proto);
        self.answer_as(value, proto).await
    }

    async fn answer_as(&mut self, value: Value, proto: Proto) -> io::Result<()> {
        let mut bytes = Vec::new();
        render(&value, &mut Writer::new(&mut bytes, proto));
        let (answer, receiver) = oneshot::channel();
        self.tell(Told::Next(receiver)).await?;
        answer.send(bytes).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn tell(&self, told: Told) -> io::Result<()> {
        self.replies.send(told).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Who the client is, once everything asked before is answered.
    async fn standing(&mut self) -> io::Result<Result<Standing, Error>> {
        if let Some(known) = &self.standing {
            return Ok(Ok(known.clone()));
        }
        let (from, to) = (Marker::new(), Marker::new());
        let mut asked = Vec::new();
        weir_resp::command(&mut asked, [from.command()]);
        weir_resp::command(&mut asked, ["CLIENT", "INFO"]);
        weir_resp::command(&mut asked, [to.command()]);
        let (said, aside) = oneshot::channel();
        self.tell(Told::Aside { from, to, said }).await?;
        self.redis.write_all(&asked).await?;
        let aside = aside.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let standing = standing(&aside);
        self.standing = standing.as_ref().ok().cloned();
        Ok(standing)
    }

    /// The broker that a client of this standing may use.
    fn broker_for(&self, standing: &Standing) -> Result<Arc<dyn Broker>, Error> {
        if standing.user != self.config.user.as_bytes() {
            return Err(Error::new(ErrorKind::Denied).with_context(format!(
                "WEIR.* commands are for the user {:?}, as whom this server has logged in",
                self.config.user
            )));
        }
        match standing.database {
            0 => self.config.admin.namespace("default"),
            number => self.config.admin.namespace(&format!("db{number}")),
        }
    }
}

/// Which way a request goes; notes where transactions begin and end.
fn way(in_multi: &mut bool, request: weir_resp::Request<'_>) -> Way {
    let word = |index: usize| request.get(index).unwrap_or_default();
    let is = |index: usize, name: &str| word(index).eq_ignore_ascii_case(name.as_bytes());
    if is(0, "MULTI") {
        *in_multi = true;
    } else if is(0, "EXEC") || is(0, "DISCARD") || is(0, "RESET") {
        *in_multi = false;
    } else if is(0, "CLIENT") && is(1, "REPLY") && (is(2, "OFF") || is(2, "SKIP")) {
        return Way::Refuse("ERR CLIENT REPLY OFF and SKIP are not possible through this server");
    }
    let is_ours = word(0).get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"WEIR."));
    if is_ours && !*in_multi {
        return Way::Call(request.iter().map(<[u8]>::to_vec).collect());
    }
    Way::Pass
}

/// Reads what a Redis says about a client: `id=7 addr=… db=0 … user=default … resp=2`, or why it does not.
fn standing(said: &[u8]) -> Result<Standing, Error> {
    let text = String::from_utf8_lossy(said);
    if let Some(line) = text.strip_prefix('-') {
        let line = line.lines().next().unwrap_or_default();
        return Err(weir_wire::error_from_line(line.as_bytes()));
    }
    let value = |name: &str| {
        let mut words = text.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let unclear = || {
        Error::new(ErrorKind::Unsupported(
            "the Redis does not say who its clients are; it takes 6.2 or newer",
        ))
    };
    let database = value("db").and_then(|number| number.parse().ok()).ok_or_else(unclear)?;
    let user = value("user").ok_or_else(unclear)?.as_bytes().to_vec();
    let proto = if value("resp") == Some("3") { Proto::Resp3 } else { Proto::Resp2 };
    Ok(Standing { user, database, proto })
}

fn render(value: &Value, out: &mut Writer<'_>) {
    match value {
        Value::Simple(word) if word == "OK" => out.ok(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_redis_says_about_a_client_is_understood() {
        let said =
            b"$99\r\nid=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name= db=4 sub=0 user=ann resp=3\n\r\n";
        let wanted = Standing { user: b"ann".to_vec(), database: 4, proto: Proto::Resp3 };
        assert_eq!(standing(said).unwrap(), wanted);
        let strange = standing(b"-NOAUTH Authentication required.\r\n").unwrap_err();
        assert_eq!(strange.kind(), &ErrorKind::Denied);
        assert!(matches!(standing(b"+what\r\n").unwrap_err().kind(), ErrorKind::Unsupported(_)));
    }
}
