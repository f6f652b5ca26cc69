//! The closed loop: each connection sends a batch, waits for all its replies, and sends the next.
//!
//! One thread serves all connections. The work of a mode is a [`Script`] per connection; everything that costs
//! time per operation is here and in `connection.rs`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mio::{Events, Poll, Token};

use super::board::Board;
use super::connection::Connection;
use super::meter::{Measured, Meter};
use super::target::Address;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// How often time limit and progress are looked at when nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// Silence after which a run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const UNASKED: &str = "a reply to nothing that was asked";

/// What one connection does.
pub(super) trait Script {
    /// Prepares the next batch in `out`, which still holds the batch before.
    fn next(&mut self, out: &mut Vec<u8>, board: &mut Board) -> Next;

    /// Looks at one reply, in the order of the requests.
    fn reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()>;

    /// Whether this connection waits for what others do: it never ends, and the run does not wait for it.
    fn is_waiter(&self) -> bool {
        false
    }
}

/// What a connection does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It sends the batch, which brings so many replies.
    Send(u64),
    /// Nothing for now; it is asked again after the next events.
    Wait,
    /// Nothing any more.
    End,
}

/// Connects one connection per script and runs them all until they end.
pub(super) fn drive<S: Script>(
    address: &Address,
    scripts: impl IntoIterator<Item = S>,
    board: &mut Board,
    meter: &Meter<'_>,
) -> Result<Measured> {
    let poll = Poll::new()?;
    let mut clients = Vec::new();
    for (index, script) in scripts.into_iter().enumerate() {
        let connection = Connection::open(address, poll.registry(), Token(index))
            .with_context(|| format!("connection {} of this run", index + 1))?;
        clients.push(Client { connection, script, outstanding: 0, sent_at: Duration::ZERO });
    }
    let working = clients.iter().filter(|client| !client.script.is_waiter()).count();
    Loop { poll, working, clients, waiting: Vec::new(), board, meter }.run()
}

struct Client<S> {
    connection: Connection,
    script: S,
    /// Replies still to come for the batch.
    outstanding: u64,
    /// When the batch was sent, by the meter's clock.
    sent_at: Duration,
}

struct Loop<'a, S> {
    poll: Poll,
    clients: Vec<Client<S>>,
    /// Clients that said [`Next::Wait`].
    waiting: Vec<usize>,
    /// Clients that are no waiters and have not ended.
    working: usize,
    board: &'a mut Board,
    meter: &'a Meter<'a>,
}

impl<S: Script> Loop<'_, S> {
    fn run(mut self) -> Result<Measured> {
        let started = self.meter.start();
        let mut heard_at = self.meter.now();
        for index in 0..self.clients.len() {
            self.advance(index, heard_at)?;
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_finished() {
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let now = self.meter.now();
            self.meter.tick(now, self.board.operations);
            if self.meter.is_over(&started, now) {
                self.board.stop();
            }
            if !events.is_empty() {
                heard_at = now;
            } else if now.saturating_sub(heard_at) > SILENCE_MAX {
                bail!("the server has not answered for {} s", SILENCE_MAX.as_secs());
            }
            for event in &events {
                let Token(index) = event.token();
                if event.is_writable() && !self.clients[index].connection.is_sent() {
                    self.clients[index].connection.flush()?;
                }
                if event.is_readable() || event.is_error() {
                    self.receive(index)?;
                }
            }
            self.ask_waiting(now)?;
        }
        Ok(self.meter.stop(&started))
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        client.connection.receive()?;
        while let Some(range) = client.connection.next_reply()? {
            client.script.reply(client.connection.reply(range), self.board)?;
            self.board.replies += 1;
            client.outstanding = client.outstanding.checked_sub(1).context(UNASKED)?;
            if client.outstanding == 0 {
                ensure!(client.connection.is_drained(), UNASKED);
                let now = self.meter.now();
                if !client.script.is_waiter() {
                    self.board.took(now.saturating_sub(client.sent_at));
                }
                return self.advance(index, now);
            }
        }
        Ok(())
    }

    /// Lets a client that has all its replies begin its next batch.
    fn advance(&mut self, index: usize, now: Duration) -> Result<()> {
        let client = &mut self.clients[index];
        match client.script.next(client.connection.outgoing(), self.board) {
            Next::Send(replies) => {
                client.outstanding = replies;
                client.sent_at = now;
                client.connection.send()?;
            }
            Next::Wait => self.waiting.push(index),
            Next::End => self.working -= 1,
        }
        Ok(())
    }

    fn ask_waiting(&mut self, now: Duration) -> Result<()> {
        for index in std::mem::take(&mut self.waiting) {
            self.advance(index, now)?;
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.working == 0 && self.board.backlog() == 0
    }
}
