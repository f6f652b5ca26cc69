//! A consumer of user events: its own pending entries first, then new ones, acknowledged one by one.
//!
//! The consumer's name is stable, so that after a restart it finds what it held. History is read with a cursor, so that
//! an entry which keeps failing cannot hide the ones behind it. An entry is acknowledged only after its handler
//! returned; one that can never be handled (its data is not JSON) is set aside and acknowledged in one transaction, so
//! that it is never in both places or in neither.
//!
//! The same consumer twice: over the synchronous connection and over the asynchronous one.

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, Commands, Connection, RedisError, RedisResult};
use serde_json::Value;

/// Handles one event (entry ID, type, data), or fails to meet it again in the next turn.
pub type Handler = Box<dyn FnMut(&str, &str, &Value) -> Result<(), String> + Send>;

#[derive(Clone, Debug)]
pub struct Settings {
    pub stream: String,
    pub dead_letters: String,
    pub group: String,
    pub name: String,
    pub count: usize,
    pub dead_letter_reason: String,
}

impl Settings {
    fn page(&self) -> StreamReadOptions {
        StreamReadOptions::default().group(&self.group, &self.name).count(self.count)
    }

    /// The fields of a dead letter: where it comes from, then everything it held.
    fn letter(&self, entry: &StreamId) -> Vec<(String, Vec<u8>)> {
        let mut letter = vec![
            ("originalId".to_owned(), entry.id.clone().into_bytes()),
            ("reason".to_owned(), self.dead_letter_reason.clone().into_bytes()),
        ];
        let kept = entry.map.keys().map(|name| (name.clone(), entry.get(name).unwrap_or_default()));
        letter.extend(kept);
        letter
    }

    fn set_aside(&self, entry: &StreamId) -> redis::Pipeline {
        let mut transaction = redis::pipe();
        transaction
            .atomic()
            .xadd(&self.dead_letters, "*", &self.letter(entry))
            .ignore()
            .xack(&self.stream, &self.group, &[&entry.id])
            .ignore();
        transaction
    }
}

/// A time-out of BLOCK answers nil; history always answers the stream, with no entries at its end.
fn entries(reply: Option<StreamReadReply>) -> Vec<StreamId> {
    reply.and_then(|reply| reply.keys.into_iter().next()).map_or_else(Vec::new, |stream| stream.ids)
}

fn tolerate_existing_group(created: RedisResult<String>) -> RedisResult<()> {
    match created {
        Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
        _ => Ok(()),
    }
}

/// What becomes of an entry.
enum Outcome {
    Handled,
    Failed,
    NotJson,
}

fn run(handler: &mut Handler, entry: &StreamId) -> Outcome {
    let text: String = entry.get("data").unwrap_or_default();
    let Ok(data) = serde_json::from_str::<Value>(&text) else {
        return Outcome::NotJson;
    };
    let event_type: String = entry.get("eventType").unwrap_or_default();
    match handler(&entry.id, &event_type, &data) {
        Ok(()) => Outcome::Handled,
        Err(_) => Outcome::Failed,
    }
}

pub struct Consumer<C> {
    connection: C,
    settings: Settings,
    handler: Handler,
}

impl<C> Consumer<C> {
    pub fn new(connection: C, settings: Settings, handler: Handler) -> Self {
        Self { connection, settings, handler }
    }
}

impl Consumer<Connection> {
    pub fn set_up_group(&mut self) -> RedisResult<()> {
        let s = &self.settings;
        tolerate_existing_group(self.connection.xgroup_create_mkstream(&s.stream, &s.group, "0"))
    }

    /// One turn of the consumer's loop. Returns how many entries it saw.
    pub fn turn(&mut self, block_ms: usize) -> RedisResult<usize> {
        Ok(self.process_pending()? + self.process_new(block_ms)?)
    }

    pub fn process_pending(&mut self) -> RedisResult<usize> {
        let mut cursor = "0".to_owned();
        let mut seen = 0;
        loop {
            let page = self.read(&cursor, &self.settings.page())?;
            let Some(last) = page.last() else { return Ok(seen) };
            cursor.clone_from(&last.id);
            seen += page.len();
            page.iter().try_for_each(|entry| self.process(entry))?;
        }
    }

    fn process_new(&mut self, block_ms: usize) -> RedisResult<usize> {
        let page = self.read(">", &self.settings.page().block(block_ms))?;
        page.iter().try_for_each(|entry| self.process(entry))?;
        Ok(page.len())
    }

    fn read(&mut self, id: &str, options: &StreamReadOptions) -> RedisResult<Vec<StreamId>> {
        let reply = self.connection.xread_options(&[&self.settings.stream], &[id], options)?;
        Ok(entries(reply))
    }

    fn process(&mut self, entry: &StreamId) -> Result<(), RedisError> {
        let s = &self.settings;
        match run(&mut self.handler, entry) {
            Outcome::Handled => {
                let _acknowledged: usize = self.connection.xack(&s.stream, &s.group, &[&entry.id])?;
                Ok(())
            }
            Outcome::Failed => Ok(()), // stays pending, and the next turn meets it again
            Outcome::NotJson => s.set_aside(entry).exec(&mut self.connection),
        }
    }
}

impl Consumer<MultiplexedConnection> {
    pub async fn set_up_group(&mut self) -> RedisResult<()> {
        let s = &self.settings;
        let created = self.connection.xgroup_create_mkstream(&s.stream, &s.group, "0");
        tolerate_existing_group(created.await)
    }

    /// One turn of the consumer's loop. Returns how many entries it saw.
    pub async fn turn(&mut self, block_ms: usize) -> RedisResult<usize> {
        Ok(self.process_pending().await? + self.process_new(block_ms).await?)
    }

    pub async fn process_pending(&mut self) -> RedisResult<usize> {
        let mut cursor = "0".to_owned();
        let mut seen = 0;
        loop {
            let page = self.read(&cursor, &self.settings.page()).await?;
            let Some(last) = page.last() else { return Ok(seen) };
            cursor.clone_from(&last.id);
            seen += page.len();
            for entry in &page {
                self.process(entry).await?;
            }
        }
    }

    async fn process_new(&mut self, block_ms: usize) -> RedisResult<usize> {
        let page = self.read(">", &self.settings.page().block(block_ms)).await?;
        for entry in &page {
            self.process(entry).await?;
        }
        Ok(page.len())
    }

    async fn read(&mut self, id: &str, options: &StreamReadOptions) -> RedisResult<Vec<StreamId>> {
        let reply = self.connection.xread_options(&[&self.settings.stream], &[id], options).await?;
        Ok(entries(reply))
    }

    async fn process(&mut self, entry: &StreamId) -> RedisResult<()> {
        let s = &self.settings;
        match run(&mut self.handler, entry) {
            Outcome::Handled => {
                let _acknowledged: usize = self.connection.xack(&s.stream, &s.group, &[&entry.id]).await?;
                Ok(())
            }
            Outcome::Failed => Ok(()), // stays pending, and the next turn meets it again
            Outcome::NotJson => s.set_aside(entry).exec_async(&mut self.connection).await,
        }
    }
}
