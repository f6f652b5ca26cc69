//! What all commands share beside the engine: clients, settings, counters, and the answers of the round.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_core::Clock;
use weir_engine::{Engine, Mark, NamespaceNo, Turn};
use weir_resp::Proto;

use super::acl::{self, Acl, Refusal, User};
use super::asks::{Ask, Asking, Asks};
use super::call::Fetched;
use super::client::{Blocked, Client, ClientNo, Clients, Closing, Replies};
use super::commands::client_list;
use super::config::Config;
use super::errors;
use super::latency::Latency;
use super::notify::NotifyFlags;
use super::pending::{text_bytes, weight};
use super::pubsub::Channels;
use super::random::Random;
use super::reply::Reply;
use super::slowlog::SlowLog;
use super::stats::Stats;
use super::table::Table;
use super::timers::Timers;
use crate::DoorCounts;

/// RESP databases, namespaces 0 to 15.
pub(crate) const DATABASES: u32 = 16;

/// An answer or a message on its way to a client.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: ClientNo,
    /// The protocol in force when it was made.
    pub(crate) proto: Proto,
    pub(crate) reply: Reply,
    /// Whether nobody asked for it. A client that does not take such messages is disconnected.
    pub(crate) is_message: bool,
    /// Whether it may say something of keys, which a failed flush takes back.
    pub(crate) tells_state: bool,
}

impl Outgoing {
    /// What leaves in its place when what it says may not survive a crash: an error if it tells of keys, nothing if it is
    /// a message.
    pub(crate) fn failed(mut self) -> Self {
        if self.is_message {
            self.reply = Reply::Nothing;
        } else if self.tells_state {
            self.reply = Reply::error(errors::FLUSH_FAILED);
        }
        self
    }
}

/// A time in which clients wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    /// On the clock's monotonic scale.
    pub(crate) until: Duration,
    /// Whether those that do not write go on.
    pub(crate) writes_only: bool,
}

/// A client that waits for the disk to have what was written before it asked.
#[derive(Debug)]
pub(crate) struct FlushWait {
    pub(crate) who: ClientNo,
    pub(crate) id: u64,
    /// What the disk has to have; known when the turn is over.
    pub(crate) mark: Option<Mark>,
    /// On the clock's monotonic scale.
    pub(crate) deadline: Option<Duration>,
}

/// The shared state of one door.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) config: Config,
    pub(crate) table: Table,
    pub(crate) acl: Acl,
    pub(crate) clients: Clients,
    pub(crate) timers: Timers,
    pub(crate) counters: DoorCounts,
    /// Answers of the round, in the order they were made; they leave after the flush.
    pub(crate) outbox: Vec<Outgoing>,
    /// Bytes of texts in the outbox: of answers, and of messages, each counted for everyone who gets it.
    pub(crate) outbox_bytes: usize,
    /// Messages that the command at hand has caused; they follow its answer.
    pub(crate) messages: Vec<(ClientNo, Reply)>,
    pub(crate) channels: Channels,
    pub(crate) asks: Asks,
    pub(crate) pause: Option<Pause>,
    /// Clients that wait for a flush, each once.
    pub(crate) flush_waits: Vec<FlushWait>,
    /// Clients that wait for the end of the pause.
    pub(crate) postponed: Vec<ClientNo>,
    /// Clients that every command is shown to.
    pub(crate) monitors: BTreeSet<ClientNo>,
    /// Which events of keys are told.
    pub(crate) notify: NotifyFlags,
    /// Whether the command at hand may tell something of keys.
    pub(crate) tells_state: bool,
    /// Clients that stopped waiting and may have commands left in their buffers.
    pub(crate) woken: Vec<ClientNo>,
    /// Clients that are to be disconnected when they have taken their answers, or at once.
    pub(crate) leaving: Vec<ClientNo>,
    pub(crate) stats: Stats,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: Latency,
    /// When the command before the one at hand ended, or the turn began, on the clock's monotonic scale.
    pub(crate) tick: std::time::Duration,
    /// Whether what the command at hand wanted done without the engine's lock was done.
    pub(crate) done_outside: bool,
    /// Whether a client asked for the end.
    pub(crate) stop_wanted: bool,
    /// Forty hexadecimal digits that no other run of a server has.
    pub(crate) run_id: String,
    /// In seconds since the Unix epoch.
    pub(crate) started_at: u64,
    /// Heap bytes that the buffers of all clients hold, as of the end of the last round.
    pub(crate) buffered: usize,
    /// What the command that is run again was waiting for.
    pub(crate) fetched: Option<Box<Fetched>>,
    pub(crate) random: Random,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Duration,
    next_client: u64,
}

impl Door {
    pub(crate) fn new(config: Config, asks: Asks, clock: Arc<dyn Clock>) -> Self {
        let started = clock.elapsed();
        let acl = Acl::new(config.password.as_deref().map(str::as_bytes));
        Self {
            config,
            table: Table::new(),
            acl,
            clients: Clients::default(),
            timers: Timers::default(),
            counters: DoorCounts::default(),
            outbox: Vec::new(),
            outbox_bytes: 0,
            messages: Vec::new(),
            channels: Channels::default(),
            asks,
            pause: None,
            flush_waits: Vec::new(),
            postponed: Vec::new(),
            monitors: BTreeSet::new(),
            notify: NotifyFlags::default(),
            tells_state: true,
            woken: Vec::new(),
            leaving: Vec::new(),
            stats: Stats::default(),
            slowlog: SlowLog::default(),
            latency: Latency::default(),
            tick: started,
            done_outside: false,
            stop_wanted: false,
            run_id: run_id(clock.now_micros()),
            started_at: clock.now().0 / 1_000,
            buffered: 0,
            fetched: None,
            random: Random::seeded(clock.now_micros()),
            clock,
            started,
            next_client: 0,
        }
    }

    /// Lets other threads see what was done so far.
    pub(crate) fn publish(&mut self) {
        self.counters.clients = self.clients.len() as u64;
        self.config.stats.publish(&self.counters);
    }

    /// A number for a new client, never used before.
    pub(crate) fn next_client_id(&mut self) -> u64 {
        self.next_client += 1;
        self.next_client
    }

    /// The client a command came from.
    pub(crate) fn client(&mut self, no: ClientNo) -> &mut Client {
        self.clients.get_mut(no).expect("a client stays until the end of the round")
    }

    /// Disconnects a client, when it has taken its answers or as soon as the round is over.
    pub(crate) fn close(&mut self, no: ClientNo, when: Closing) {
        if let Some(client) = self.clients.get_mut(no) {
            client.closing = client.closing.max(when);
            self.leaving.push(no);
        }
    }

    /// Sends the answer of a command.
    pub(crate) fn answer(&mut self, to: ClientNo, reply: Reply) {
        let Some(client) = self.clients.get_mut(to) else { return };
        let proto = client.proto;
        if let Reply::Error(text) = &reply {
            self.counters.errors += 1;
            self.stats.error(text);
        }
        match client.replies {
            Replies::On => {}
            Replies::SkipNext => client.replies = Replies::SkipThis,
            Replies::Off => return,
            Replies::SkipThis => {
                client.replies = Replies::On;
                return;
            }
        }
        client.owed += weight(&reply);
        self.outbox_bytes += text_bytes(&reply);
        if !matches!(reply, Reply::Nothing) {
            client.unrendered += 1;
            self.outbox.push(Outgoing { to, proto, reply, is_message: false, tells_state: self.tells_state });
        }
    }

    /// Sends an answer that is a message, too: CLIENT REPLY does not hold it back.
    pub(crate) fn confirm(&mut self, to: ClientNo, reply: Reply) {
        let client = self.client(to);
        client.unrendered += 1;
        let proto = client.proto;
        self.outbox.push(Outgoing { to, proto, reply, is_message: false, tells_state: self.tells_state });
    }

    /// Sends the messages that nobody asked for behind the answers so far.
    pub(crate) fn send_messages(&mut self) {
        for (to, reply) in self.messages.drain(..) {
            let Some(client) = self.clients.get_mut(to) else { continue };
            client.unrendered += 1;
            if let Reply::Shared(bytes) = &reply {
                self.outbox_bytes += bytes.len();
            }
            self.outbox.push(Outgoing {
                to,
                proto: client.proto,
                reply,
                is_message: true,
                tells_state: true,
            });
        }
    }

    /// Ends a client's waiting; the caller answers it. Whatever else it sent is executed soon.
    pub(crate) fn unblock(&mut self, no: ClientNo) -> Option<Box<Blocked>> {
        let blocked = self.clients.get_mut(no)?.blocked.take()?;
        self.timers.remove(&blocked, no);
        self.woken.push(no);
        Some(blocked)
    }

    /// Begins a call of the broker traits for a client.
    pub(crate) fn begin_ask(&mut self, who: ClientNo, ask: Ask) {
        self.client(who).asking = Some(Asking { bytes: ask.bytes, waits: ask.waits });
        self.asks.begin(who, ask);
    }

    /// Answers the clients whose calls have ended; whether there were some. No turn may be held.
    pub(crate) fn answer_asks(&mut self) -> bool {
        let answers = self.asks.poll();
        for (who, reply) in &answers {
            debug_assert!(self.client(*who).asking.is_some(), "a call without a client: {reply:?}");
        }
        let is_any = !answers.is_empty();
        for (who, reply) in answers {
            self.client(who).asking = None;
            self.woken.push(who);
            self.answer(who, reply);
        }
        is_any
    }

    /// Ends a client's call that waits for entries; the caller answers it. `false` when there is none.
    pub(crate) fn end_ask(&mut self, who: ClientNo) -> bool {
        let client = self.client(who);
        let is_waiting = client.asking.is_some_and(|asking| asking.waits);
        if is_waiting {
            client.asking = None;
            self.asks.end(who);
            self.woken.push(who);
        }
        is_waiting
    }

    /// Notes what those wait for who have asked for a flush in the turns so far; answers a mark that is still to be
    /// reached.
    pub(crate) fn mark_flush_waits(&mut self, engine: &Engine) -> Option<Mark> {
        let mark = engine.mark_durable();
        let new: Vec<_> = self.flush_waits.iter_mut().filter(|wait| wait.mark.is_none()).collect();
        let is_wanted = !new.is_empty() && !engine.is_settled(mark);
        new.into_iter().for_each(|wait| wait.mark = Some(mark));
        self.timers.flush_until = self.flush_waits.iter().filter_map(|wait| wait.deadline).min();
        is_wanted.then_some(mark)
    }

    /// Answers those who wait for a flush that has ended, or whose time is over, whether everything is on the disk.
    /// Answers whether there were some.
    pub(crate) fn end_flush_waits(&mut self, engine: &Engine) -> bool {
        let now = self.clock.elapsed();
        let is_flushed = |wait: &FlushWait| wait.mark.is_some_and(|mark| engine.is_settled(mark));
        let is_over = |wait: &FlushWait| wait.deadline.is_some_and(|deadline| deadline <= now);
        let all = std::mem::take(&mut self.flush_waits);
        let (ended, waiting): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|wait| is_flushed(wait) || is_over(wait));
        self.flush_waits = waiting;
        self.timers.flush_until = self.flush_waits.iter().filter_map(|wait| wait.deadline).min();
        for wait in &ended {
            let Some(client) = self.clients.get_mut(wait.who).filter(|client| client.id == wait.id) else {
                continue;
            };
            client.is_flushing = false;
            self.woken.push(wait.who);
            let failed = wait.mark.filter(|_| is_flushed(wait)).and_then(|mark| engine.reach(mark).err());
            let reply = match failed {
                Some(error) => Reply::Error(errors::text(&error)),
                None => Reply::Array(vec![Reply::flag(is_flushed(wait)), Reply::Int(0)]),
            };
            self.answer(wait.who, reply);
        }
        !ended.is_empty()
    }

    /// Ends a client's waiting for a flush; the caller answers it. `false` when it does not wait for one.
    pub(crate) fn end_flush_wait(&mut self, who: ClientNo) -> bool {
        let is_waiting = std::mem::take(&mut self.client(who).is_flushing);
        if is_waiting {
            self.flush_waits.retain(|wait| wait.who != who);
            self.woken.push(who);
        }
        is_waiting
    }

    /// Lets clients that a pause made wait go on.
    pub(crate) fn end_pause(&mut self) {
        self.pause = None;
        self.timers.pause_until = None;
        for who in std::mem::take(&mut self.postponed) {
            if let Some(client) = self.clients.get_mut(who) {
                client.is_postponed = false;
                self.woken.push(who);
            }
        }
    }

    /// Whether there is a user of this name.
    pub(crate) fn knows_user(&self, name: &[u8]) -> bool {
        self.acl.get(name).is_some()
    }

    /// Gives the default user this password as its only one; without one none is asked for any more. Those who are
    /// connected stay so.
    pub(crate) fn set_password(&mut self, password: Option<&[u8]>) {
        let mut user = (**self.acl.default_user()).clone();
        user.no_password = password.is_none();
        user.passwords = password.map(acl::hash).into_iter().collect();
        self.config.password = password.map(|text| String::from_utf8_lossy(text).into_owned());
        self.replace_user(Arc::new(user));
    }

    /// Puts a user in place of the one of the same name, for its connections, too; `false` when there are too many.
    pub(crate) fn replace_user(&mut self, user: Arc<User>) -> bool {
        if !self.acl.put(user.clone()) {
            return false;
        }
        for who in self.clients_of(&user.name) {
            self.client(who).user = user.clone();
        }
        true
    }

    /// The clients of a user.
    pub(crate) fn clients_of(&self, user: &[u8]) -> Vec<ClientNo> {
        self.clients.iter().filter(|(_, client)| client.user_name() == user).map(|(who, _)| who).collect()
    }

    /// Notes that a client was refused something.
    pub(crate) fn note_refusal(&mut self, who: ClientNo, reason: &'static str, object: &[u8], user: &[u8]) {
        let now = self.clock.now();
        let is_multi = self.clients.get(who).is_some_and(|client| client.multi.is_some());
        let refusal = Refusal {
            id: 0,
            count: 0,
            reason,
            context: if is_multi { "multi" } else { "toplevel" },
            object: object.into(),
            user: user.into(),
            client: client_list::line(self, who),
            created: now,
            updated: now,
        };
        self.acl.log.note(refusal, now);
    }

    /// Lets go of what a client holds: its waiting read, its watched keys, its subscriptions, its place in a pause.
    pub(crate) fn release(&mut self, no: ClientNo, turn: &mut Turn<'_>) {
        self.monitors.remove(&no);
        let Some(client) = self.clients.get_mut(no) else { return };
        if std::mem::take(&mut client.subscriptions) > 0 {
            self.channels.forget(no);
        }
        client.subscription_bytes = 0;
        if std::mem::take(&mut client.is_postponed) {
            self.postponed.retain(|who| *who != no);
        }
        client.watched.take().for_each(|watch| turn.unwatch(watch));
        if client.asking.take().is_some() {
            self.asks.end(no);
        }
        if let Some(blocked) = client.blocked.take() {
            turn.cancel(blocked.waiter);
            self.timers.remove(&blocked, no);
        }
    }

    /// The namespace of a database by its number.
    pub(crate) fn database(number: i64) -> Option<NamespaceNo> {
        u32::try_from(number).ok().filter(|number| *number < DATABASES).map(NamespaceNo)
    }
}

/// A name for this run: its start and its process, spread over forty digits.
fn run_id(start_micros: u64) -> String {
    let mut numbers = Random::seeded(start_micros ^ (u64::from(std::process::id()) << 40));
    let digits: String = (0..3).map(|_| format!("{:016x}", numbers.number())).collect();
    digits[..40].to_owned()
}
