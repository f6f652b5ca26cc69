//! What every case needs: connections to the server under test, keys of its own, comparison of whole values.
//!
//! Cases build commands with the library's own constructors and send them over either of its connections.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadReply};
use redis::{AsyncConnectionConfig, Client, Cmd, Connection, FromRedisValue, Pipeline, RedisResult, Value};
use tokio::runtime::Handle;

use crate::consumer::{Consumer, Handler, Settings};
use crate::story::Story;

pub const WAIT_MAX: Duration = Duration::from_secs(10);
pub const WAIT_MAX_MS: usize = 10_000;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome = Result<(), Failure>;

/// Compares whole values.
pub fn same<T: PartialEq + Debug>(what: &str, actual: T, expected: T) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: {actual:?} is not {expected:?}").into())
}

/// Compares the text of an error, as the server sent it.
pub fn fails_with<T: Debug>(result: RedisResult<T>, message: &str) -> Outcome {
    match result {
        Ok(value) => Err(format!("answered {value:?}").into()),
        Err(error) => same("error", text_of(&error), message.to_owned()),
    }
}

pub fn text_of(error: &redis::RedisError) -> String {
    format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}

/// What XREAD and XREADGROUP answer, as values that can be compared; none after a time-out.
pub type Streams = Option<Vec<(String, Vec<StreamId>)>>;

pub fn streams<const N: usize>(pairs: [(&str, &[StreamId]); N]) -> Streams {
    Some(pairs.map(|(stream, entries)| (stream.to_owned(), entries.to_vec())).to_vec())
}

pub fn values(reply: Option<StreamReadReply>) -> Streams {
    reply.map(|reply| reply.keys.into_iter().map(|stream| (stream.key, stream.ids)).collect())
}

/// An entry with the one field `n`.
pub fn entry(id: &str, n: &str) -> StreamId {
    let map = HashMap::from([("n".to_owned(), Value::BulkString(n.as_bytes().to_vec()))]);
    StreamId { id: id.to_owned(), map, ..StreamId::default() }
}

/// How the library is used.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    pub label: &'static str,
    pub asynchronous: bool,
    pub resp3: bool,
}

/// One connection of either kind.
pub enum Wire {
    Sync(Connection),
    Async(MultiplexedConnection, Handle),
}

impl Wire {
    pub fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Sync(connection) => command.query(connection),
            Self::Async(connection, runtime) => runtime.block_on(command.query_async(connection)),
        }
    }

    pub fn query_all<T: FromRedisValue>(&mut self, pipeline: &Pipeline) -> RedisResult<T> {
        match self {
            Self::Sync(connection) => pipeline.query(connection),
            Self::Async(connection, runtime) => runtime.block_on(pipeline.query_async(connection)),
        }
    }

    /// A read of streams, blocking or not.
    pub fn read(&mut self, command: &Cmd) -> RedisResult<Streams> {
        self.query(command).map(values)
    }
}

/// The consumer over either connection.
pub enum AnyConsumer {
    Sync(Consumer<Connection>),
    Async(Consumer<MultiplexedConnection>, Handle),
}

impl AnyConsumer {
    pub fn new(wire: Wire, settings: Settings, handler: Handler) -> Self {
        match wire {
            Wire::Sync(connection) => Self::Sync(Consumer::new(connection, settings, handler)),
            Wire::Async(connection, runtime) => {
                Self::Async(Consumer::new(connection, settings, handler), runtime)
            }
        }
    }

    pub fn set_up_group(&mut self) -> RedisResult<()> {
        match self {
            Self::Sync(consumer) => consumer.set_up_group(),
            Self::Async(consumer, runtime) => runtime.block_on(consumer.set_up_group()),
        }
    }

    pub fn turn(&mut self, block_ms: usize) -> RedisResult<usize> {
        match self {
            Self::Sync(consumer) => consumer.turn(block_ms),
            Self::Async(consumer, runtime) => runtime.block_on(consumer.turn(block_ms)),
        }
    }

    pub fn process_pending(&mut self) -> RedisResult<usize> {
        match self {
            Self::Sync(consumer) => consumer.process_pending(),
            Self::Async(consumer, runtime) => runtime.block_on(consumer.process_pending()),
        }
    }
}

/// The keys of one case, and the way to the server.
pub struct Bench<'a> {
    pub story: &'a Story,
    pub mode: Mode,
    address: &'a str,
    runtime: Handle,
    prefix: String,
}

const KEYS: [&str; 4] = ["crm:sync:user:user_created", "dead-letters", "one", "two"];

impl<'a> Bench<'a> {
    pub fn new(story: &'a Story, mode: Mode, address: &'a str, runtime: Handle) -> Self {
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { story, mode, address, runtime, prefix: format!("proof:redis-rs:{random:016x}:") }
    }

    /// A key of this case, one of `KEYS`.
    pub fn key(&self, name: &str) -> String {
        assert!(KEYS.contains(&name), "{name} would not be cleaned up");
        format!("{}{name}", self.prefix)
    }

    pub fn stream(&self) -> String {
        self.key(KEYS[0])
    }

    /// A connection with the library's default time-outs.
    pub fn open(&self) -> RedisResult<Wire> {
        self.open_with(AsyncConnectionConfig::new())
    }

    fn open_with(&self, config: AsyncConnectionConfig) -> RedisResult<Wire> {
        let protocol = if self.mode.resp3 { "?protocol=resp3" } else { "" };
        let client = Client::open(format!("redis://{}/{protocol}", self.address))?;
        if !self.mode.asynchronous {
            return client.get_connection().map(Wire::Sync);
        }
        let connected = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Wire::Async(self.runtime.block_on(connected)?, self.runtime.clone()))
    }

    /// A connection whose name CLIENT LIST shows, and which waits long enough for reads that block.
    pub fn open_reader(&self, label: &str) -> RedisResult<Wire> {
        let patient =
            AsyncConnectionConfig::new().set_response_timeout(Some(WAIT_MAX + Duration::from_secs(1)));
        self.named(label, self.open_with(patient)?)
    }

    /// The same, with the library's default time-outs.
    pub fn open_impatient(&self, label: &str) -> RedisResult<Wire> {
        self.named(label, self.open()?)
    }

    fn named(&self, label: &str, mut wire: Wire) -> RedisResult<Wire> {
        let name = format!("{}{label}", self.prefix);
        wire.query::<String>(redis::cmd("CLIENT").arg("SETNAME").arg(name))?;
        Ok(wire)
    }

    /// Waits until the named connection sits in a blocking read.
    pub fn until_blocked(&self, wire: &mut Wire, label: &str) -> Outcome {
        self.until(&format!("{label} to block"), || {
            Ok(self.flags(wire, label)?.is_some_and(|flags| flags.contains('b')))
        })
    }

    /// Waits until the server forgot the named connection.
    pub fn until_gone(&self, wire: &mut Wire, label: &str) -> Outcome {
        self.until(&format!("{label} to go"), || Ok(self.flags(wire, label)?.is_none()))
    }

    /// The flags that CLIENT LIST shows for the named connection.
    fn flags(&self, wire: &mut Wire, label: &str) -> RedisResult<Option<String>> {
        let list: String = wire.query(redis::cmd("CLIENT").arg("LIST"))?;
        let name = format!("name={}{label}", self.prefix);
        let line = list.lines().find(|line| line.split(' ').any(|word| word == name));
        let flags = line.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("flags=")));
        Ok(flags.map(str::to_owned))
    }

    fn until(&self, what: &str, mut condition: impl FnMut() -> RedisResult<bool>) -> Outcome {
        let deadline = Instant::now() + WAIT_MAX;
        while !condition()? {
            if Instant::now() > deadline {
                return Err(format!("waited {WAIT_MAX:?} for {what}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Removes the case's keys.
    pub fn clean_up(&self) -> Outcome {
        let mut wire = self.open()?;
        let keys = KEYS.map(|name| self.key(name));
        wire.query::<usize>(&Cmd::del(&keys))?;
        same("keys left behind", wire.query::<usize>(&Cmd::exists(&keys))?, 0)
    }
}

/// A read in a thread of its own; the connection comes back with the answer.
pub fn later(mut wire: Wire, command: Cmd) -> JoinHandle<(RedisResult<Streams>, Wire)> {
    thread::spawn(move || (wire.read(&command), wire))
}

/// The answer of a read in another thread.
pub fn answer(reader: JoinHandle<(RedisResult<Streams>, Wire)>) -> Result<Streams, Failure> {
    let (reply, _) = reader.join().map_err(|_| "the reading thread panicked")?;
    Ok(reply?)
}
