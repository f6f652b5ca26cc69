//! The loop: wait for sockets, read them, run a round, write the answers.
//!
//! One thread. It sleeps only in `poll`, after looking for more for a few microseconds: a client that answers at once
//! is served twice as fast that way, and one that does not costs nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use weir_core::{Clock, Error};
use weir_engine::{Engine, Turn};

use super::asks::Asks;
use super::client::{Client, ClientNo, Closing, Peer};
use super::config::Config;
use super::dispatch;
use super::door::Door;
use super::held::Held;
use super::link::{Link, Received};
use super::pool::{CHUNK, Pool};
use super::readers::{ForClient, Outcome, Readers, Task};
use super::reply::Reply;
use super::round::{Batch, Links, Round, may_queue};
use super::socket::{Listener, Socket};
use super::spin::Spin;

/// Events taken from the system at a time.
const EVENTS: usize = 1_024;
/// Connections accepted from one listener between two rounds.
const ACCEPTS: usize = 64;
/// How long to wait after the system refused to accept a connection, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the loop looks around when nothing happens. The system's clock may be set while it sleeps.
const TICK: Duration = Duration::from_secs(1);
/// How often it is tried to remove expired keys for which the log has no room.
const OVERDUE_PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping server waits for clients to take their answers.
const FAREWELL: Duration = Duration::from_secs(2);

const WAKER: Token = Token(usize::MAX);
/// Listener n has the token `LISTENERS - n`.
const LISTENERS: usize = usize::MAX - 1;

/// A RESP server that is ready to run.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    engine: Engine,
    door: Door,
    links: Links,
    pool: Pool,
    batch: Batch,
    /// Clients with requests to execute, in the order they get their turn.
    queue: VecDeque<ClientNo>,
    /// Clients whose sockets may have bytes.
    readable: Vec<ClientNo>,
    readers: Readers,
    held: Held,
    /// Clients that have answers to take.
    sending: Vec<ClientNo>,
    /// When to try accepting again although no event tells so.
    accept_again: Option<Duration>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    spin: Spin,
    /// When to look for expired keys.
    next_tick: Duration,
    /// Bytes that all connections hold together.
    buffered: usize,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    served: AtomicBool,
}

/// Stops a running [`Server`] from any thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Asks the server to execute what it has received, answer it, and return.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        // A waker fails only when the server's poll is gone, and then there is nothing left to stop.
        drop(self.waker.wake());
    }
}

impl Server {
    /// A server for these listeners on this engine.
    ///
    /// # Errors
    /// When the system refuses what a poll needs.
    pub fn new(
        mut listeners: Vec<Listener>,
        engine: Engine,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> io::Result<Self> {
        let address = listeners.iter().find_map(Listener::address);
        let (bind, port) = address
            .map_or((config.bind.clone(), config.port), |address| (address.ip().to_string(), address.port()));
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (nth, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS - nth))?;
        }
        let shared = Arc::new(Shared::default());
        let spin = Spin::new(config.limits.spin);
        let bell = Stopper { shared: shared.clone(), waker: waker.clone() };
        engine.on_served(Box::new(move || {
            if !bell.shared.served.swap(true, Ordering::AcqRel) {
                drop(bell.waker.wake());
            }
        }));
        let asks = Asks::new(&engine, waker.clone()).map_err(io::Error::other)?;
        Ok(Self {
            readers: Readers::new(engine.clone(), waker.clone()),
            held: Held::new(waker.clone()),
            engine,
            poll,
            events: Events::with_capacity(EVENTS),
            listeners,
            door: Door::new(Config { bind, port, ..config }, asks, clock.clone()),
            links: Vec::new(),
            pool: Pool::default(),
            batch: Batch::default(),
            queue: VecDeque::new(),
            readable: Vec::new(),
            sending: Vec::new(),
            accept_again: None,
            clock,
            shared,
            waker,
            spin,
            next_tick: Duration::ZERO,
            buffered: 0,
        })
    }

    /// What stops the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: self.shared.clone(), waker: self.waker.clone() }
    }

    /// Serves until it is stopped; returns when everything received is executed and answered.
    ///
    /// # Errors
    /// When the system refuses to wait for sockets.
    pub fn run(mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.wait()?;
            self.handle_events();
            self.take_done();
            self.receive();
            self.round();
            self.send();
            self.disconnect();
            self.door.publish();
            if self.door.stop_wanted {
                self.shared.stop.store(true, Ordering::Release);
            }
        }
        self.farewell();
        Ok(())
    }

    // ---- waiting -----------------------------------------------------------------------------------------------

    /// Waits until there is something to do.
    fn wait(&mut self) -> io::Result<()> {
        let is_busy = !self.queue.is_empty()
            || !self.sending.is_empty()
            || self.readable.iter().any(|who| self.can_receive(*who));
        if is_busy || self.accept_again == Some(Duration::ZERO) {
            return self.poll_for(Some(Duration::ZERO));
        }
        if self.look_around()? {
            return Ok(());
        }
        let now = self.clock.elapsed();
        self.wake_for_expiry(now);
        // The system counts milliseconds; a deadline must not make the loop turn without effect.
        let deadline = self.door.timers.next().map_or(self.next_tick, |at| at.min(self.next_tick));
        let timeout = deadline.saturating_sub(now) + Duration::from_millis(1);
        self.poll_for(Some(self.accept_again.map_or(timeout, |again| again.min(timeout))))
    }

    /// Has the next tick come when the next key expires, so that whoever listens or waits hears of it then.
    fn wake_for_expiry(&mut self, now: Duration) {
        let turn = self.engine.turn();
        if let Some(at) = turn.next_expiry() {
            let left = Duration::from_millis(at.0.saturating_sub(turn.now().0));
            // What is overdue can be removed at once, or the disk is full and it cannot be removed at all.
            let left = if left.is_zero() && !turn.can_expire() { OVERDUE_PAUSE } else { left };
            self.next_tick = self.next_tick.min(now + left);
        }
    }

    /// Looks for events for a few microseconds, where that is worth it.
    fn look_around(&mut self) -> io::Result<bool> {
        let time = self.spin.time();
        if time.is_zero() {
            return Ok(false);
        }
        let until = self.clock.elapsed() + time;
        while self.clock.elapsed() < until {
            self.poll_for(Some(Duration::ZERO))?;
            if !self.events.is_empty() {
                self.spin.found(true);
                return Ok(true);
            }
        }
        self.spin.found(false);
        Ok(false)
    }

    fn poll_for(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    fn can_receive(&self, who: ClientNo) -> bool {
        let link = self.links.get(who.index()).and_then(Option::as_ref);
        link.is_some_and(|link| link.can_receive(self.door.config.limits.input_bytes))
    }

    // ---- events ------------------------------------------------------------------------------------------------

    fn handle_events(&mut self) {
        let mut accepting: Vec<usize> = match self.accept_again.take() {
            Some(_) => (0..self.listeners.len()).collect(),
            None => Vec::new(),
        };
        for event in &self.events {
            let token = event.token();
            if token == WAKER {
                continue;
            }
            if let Some(nth) = LISTENERS.checked_sub(token.0).filter(|nth| *nth < self.listeners.len()) {
                accepting.push(nth);
                continue;
            }
            let Some(link) = self.links.get_mut(token.0).and_then(Option::as_mut) else { continue };
            let who = ClientNo(u32::try_from(token.0).expect("tokens of clients are their numbers"));
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                link.is_ending |= event.is_read_closed() || event.is_error();
                if !link.in_readable {
                    link.in_readable = true;
                    self.readable.push(who);
                }
            }
            if event.is_writable() && !link.is_settled() && !link.in_sending {
                link.in_sending = true;
                self.sending.push(who);
            }
        }
        for nth in accepting {
            self.accept(nth);
        }
    }

    fn accept(&mut self, nth: usize) {
        for _ in 0..ACCEPTS {
            match self.listeners[nth].accept() {
                Ok((socket, peer)) => {
                    if let Err(error) = self.welcome(socket, peer) {
                        tracing::warn!(%error, "a connection could not be set up");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.accept_again = Some(ACCEPT_PAUSE);
                    return;
                }
            }
        }
        // There may be more, and the system tells of them only once.
        self.accept_again = Some(Duration::ZERO);
    }

    fn welcome(&mut self, mut socket: Socket, peer: Peer) -> io::Result<()> {
        self.door.counters.connections += 1;
        if self.door.clients.len() >= self.door.config.limits.clients {
            self.door.counters.rejected_connections += 1;
            return io::Write::write_all(&mut socket, b"-ERR max number of clients reached\r\n");
        }
        let id = self.door.next_client_id();
        let user = self.door.acl.default_user().clone();
        let who = self.door.clients.insert(Client::new(id, peer, user, self.clock.elapsed()));
        if let Err(error) = socket.register(self.poll.registry(), Token(who.index())) {
            self.door.clients.remove(who);
            return Err(error);
        }
        if self.links.len() <= who.index() {
            self.links.resize_with(who.index() + 1, || None);
        }
        self.links[who.index()] = Some(Box::new(Link::new(socket)));
        Ok(())
    }

    // ---- reading -----------------------------------------------------------------------------------------------

    /// Reads each readable socket once.
    fn receive(&mut self) {
        let most = self.door.config.limits.input_bytes;
        let mut readable = std::mem::take(&mut self.readable);
        readable.retain(|who| {
            let Some(link) = self.links[who.index()].as_mut() else { return false };
            let received = link.receive(&mut self.pool, most);
            match received {
                Received::More(got) | Received::All(got) => self.door.counters.input_bytes += got as u64,
                Received::Closed => link.is_finished = true,
                // Behind a read that waits nothing is executed, so the end behind a full buffer would never be read.
                Received::Full => {
                    let is_blocked = self.door.clients.get(*who).is_some_and(Client::is_waiting);
                    link.is_finished |= link.is_ending && is_blocked;
                }
            }
            let client = self.door.clients.get_mut(*who).expect("a link has a client");
            link.account(client.own_bytes(), &mut self.buffered);
            client.buffer_bytes = link.heap_bytes();
            if may_queue(link, client, &self.door.config.limits) {
                link.in_queue = true;
                self.queue.push_back(*who);
            } else if link.is_finished && !link.in_queue {
                self.door.leaving.push(*who);
            }
            link.in_readable = match received {
                Received::More(_) | Received::Full => !link.is_finished,
                Received::All(_) => link.is_ending,
                Received::Closed => false,
            };
            link.in_readable
        });
        readable.append(&mut self.readable);
        self.readable = readable;
    }

    /// Lets clients go on for whom the disk was waited for.
    fn take_done(&mut self) {
        for (whose, outcome) in self.readers.take_done() {
            let who = whose.no;
            let Some(client) = self.door.clients.get_mut(who).filter(|client| client.id == whose.id) else {
                continue;
            };
            let link = self.links[who.index()].as_mut().expect("a client has a link");
            match outcome {
                Outcome::Warmed(warmed) => {
                    client.is_aside = false;
                    match warmed {
                        Ok(ahead) => client.ahead = ahead,
                        Err(error) => client.unreadable = Some(Box::new(error)),
                    }
                }
                Outcome::Fetched(fetched) => {
                    client.is_aside = false;
                    match fetched {
                        Ok((fetched, ahead)) => (client.fetched, client.ahead) = (Some(fetched), ahead),
                        Err(error) => client.unreadable = Some(Box::new(error)),
                    }
                }
                Outcome::Done(done) => {
                    client.is_aside = false;
                    client.done_outside = done.is_ok();
                    client.unreadable = done.err().map(Box::new);
                }
                Outcome::Rendered(Ok((bytes, rest))) => link.take_back(&bytes, rest, &mut self.pool),
                Outcome::Rendered(Err(error)) => {
                    tracing::error!(client = client.id, %error, "disconnected in the middle of an answer");
                    self.door.close(who, Closing::Now);
                    continue;
                }
            }
            link.account(client.own_bytes(), &mut self.buffered);
            if !link.in_sending {
                link.in_sending = true;
                self.sending.push(who);
            }
            if may_queue(link, client, &self.door.config.limits) {
                link.in_queue = true;
                self.queue.push_back(who);
            }
        }
    }

    // ---- the round ---------------------------------------------------------------------------------------------

    fn round(&mut self) {
        let now = self.clock.elapsed();
        let served = self.shared.served.swap(false, Ordering::AcqRel);
        let is_due = self.door.timers.next().is_some_and(|at| at <= now);
        let ticks = self.next_tick <= now;
        if ticks {
            self.next_tick = now + TICK;
        }
        // A reader that has gone must not be given anything.
        let gone: Vec<ClientNo> =
            self.door.leaving.iter().copied().filter(|who| self.is_blocked(*who)).collect();
        gone.iter().for_each(|who| self.door.asks.end(*who));
        self.door.asks.sweep();
        let request_max = self.door.config.limits.request_bytes;
        let decode_limits =
            weir_resp::Limits { request_max, bulk_max: request_max, ..weir_resp::Limits::DEFAULT };
        let mut round = Round {
            engine: &self.engine,
            door: &mut self.door,
            links: &mut self.links,
            pool: &mut self.pool,
            batch: &mut self.batch,
            queue: &mut self.queue,
            sending: &mut self.sending,
            readers: &mut self.readers,
            held: &mut self.held,
            decode_limits,
            rendered: 0,
        };
        let crowd = round.run(served || is_due || ticks || !gone.is_empty(), |door, turn| {
            for who in &gone {
                door.release(*who, turn);
                door.close(*who, Closing::AfterReplies);
            }
            turn.serve_waiters();
            dispatch::deliver_served(door, turn);
            if is_due {
                time_out(door, turn, now);
            }
        });
        self.spin.served(crowd);
    }

    fn is_blocked(&self, who: ClientNo) -> bool {
        self.door.clients.get(who).is_some_and(Client::is_waiting)
    }

    // ---- writing -----------------------------------------------------------------------------------------------

    fn send(&mut self) {
        for who in std::mem::take(&mut self.sending) {
            let limits = &self.door.config.limits;
            let Some(link) = self.links[who.index()].as_mut() else { continue };
            link.in_sending = false;
            let client = self.door.clients.get_mut(who).expect("a link has a client");
            // Where memory runs short, no more is rendered for a client than it takes.
            let is_short = self.buffered > limits.buffers_bytes / 2;
            let pause =
                if is_short { limits.output_pause_bytes.min(CHUNK) } else { limits.output_pause_bytes };
            match link.send_some(&self.engine, &mut self.pool, pause) {
                Ok(sent) => {
                    self.door.counters.output_bytes += sent.bytes as u64;
                    if sent.is_unfinished {
                        link.in_sending = true;
                        self.sending.push(who);
                    }
                    if sent.is_cold {
                        let whose = ForClient { no: who, id: client.id };
                        self.readers.submit(whose, Task::Render(link.send_away()));
                    }
                }
                Err(error) => {
                    // Of a peer that is gone there is nothing to tell; an answer that ends in the middle is our doing.
                    if error.get_ref().is_some_and(|cause| cause.is::<Error>()) {
                        let command = client.last_command;
                        tracing::warn!(client = client.id, command, %error, "disconnected in the middle of an answer");
                    } else {
                        tracing::debug!(client = client.id, %error, "disconnected");
                    }
                    client.closing = Closing::Now;
                }
            }
            client.weigh(link.pending_weight());
            if client.closing == Closing::No && may_queue(link, client, limits) {
                link.in_queue = true;
                self.queue.push_back(who);
            } else if client.closing != Closing::No || link.is_finished {
                self.door.leaving.push(who);
            }
            link.give_back(&mut self.pool);
            link.account(client.own_bytes(), &mut self.buffered);
            client.buffer_bytes = link.heap_bytes();
        }
        self.door.buffered = self.buffered;
        if self.buffered > self.door.config.limits.buffers_bytes {
            self.evict();
        }
    }

    /// Disconnects the client that holds most memory: one that does not end its request, or take its answers.
    fn evict(&mut self) {
        let held = |link: &Option<Box<Link>>| link.as_ref().map_or(0, |link| link.accounted());
        let evictable = self.door.clients.iter().filter(|(_, client)| !client.is_kept).map(|(who, _)| who);
        let Some(who) = evictable.max_by_key(|who| held(&self.links[who.index()])) else { return };
        tracing::warn!(
            client = self.door.client(who).id,
            bytes = held(&self.links[who.index()]),
            "disconnected: the buffers of all clients together are above their limit, and its are the largest"
        );
        self.door.close(who, Closing::Now);
    }

    /// Lets go of clients that have left or were told to.
    fn disconnect(&mut self) {
        if self.door.leaving.is_empty() {
            return;
        }
        let mut staying = Vec::new();
        let mut turn = self.engine.turn();
        for who in std::mem::take(&mut self.door.leaving) {
            let Some(link) = self.links[who.index()].as_mut() else { continue };
            let client = self.door.client(who);
            let (closing, is_answered) = (client.closing, client.unrendered == 0);
            if closing != Closing::Now && !is_answered {
                staying.push(who);
                continue;
            }
            // Who sends no more is answered all the same; it comes here again when there is no more to execute or send.
            let may_go_on = closing == Closing::No && !client.is_waiting();
            let is_answered_soon = client.is_flushing || client.asking.is_some();
            let has_work = may_go_on && (link.can_decode() || is_answered_soon);
            if closing != Closing::Now && (has_work || !link.is_settled()) {
                continue;
            }
            if !is_answered {
                self.held.forget(who);
            }
            link.release(&mut self.buffered);
            link.socket_mut().say_goodbye();
            drop(link.socket_mut().deregister(self.poll.registry()));
            self.links[who.index()] = None;
            self.door.release(who, &mut turn);
            self.door.clients.remove(who);
        }
        drop(turn);
        self.door.asks.sweep();
        self.door.leaving = staying;
    }

    /// Executes what was received, answers it, and waits a little for clients to take their answers.
    fn farewell(&mut self) {
        self.door.config.stats.stopping();
        self.answer_the_rest();
        self.links.iter_mut().flatten().for_each(|link| link.socket_mut().say_goodbye());
    }

    fn answer_the_rest(&mut self) {
        self.listeners.clear();
        let until = self.clock.elapsed() + FAREWELL;
        self.handle_events();
        self.receive();
        loop {
            self.round();
            self.send();
            self.disconnect();
            let waits = self.door.asks.has_work()
                || !self.readers.is_idle()
                || !self.held.is_empty()
                || !self.door.flush_waits.is_empty();
            let is_idle = self.queue.is_empty() && !waits;
            let is_done = is_idle && self.links.iter().flatten().all(|link| link.is_settled());
            if is_done || self.clock.elapsed() >= until {
                return;
            }
            if self.queue.is_empty() && self.poll_for(Some(Duration::from_millis(10))).is_err() {
                return;
            }
            self.handle_events();
            self.take_done();
        }
    }
}

/// Ends waits whose time is over, and tries again those that wait for pending rows to become old enough.
fn time_out(door: &mut Door, turn: &mut Turn<'_>, now: Duration) {
    if door.pause.is_some_and(|pause| pause.until <= now) {
        door.end_pause();
    }
    while let Some(who) = door.timers.take_retry(now) {
        dispatch::retry(door, turn, who);
    }
    while let Some(who) = door.timers.take_due(now) {
        let Some(blocked) = door.unblock(who) else { continue };
        turn.cancel(blocked.waiter);
        door.answer(who, Reply::NullArray);
    }
}
