//! One round: requests are decoded, executed in short turns of the engine, flushed once, and answered, at once or when
//! the flush has ended.
//!
//! Clients take turns: each has at most [`crate::Limits::client_commands`] commands in a batch, then goes to the back
//! of the queue. Decoding happens before the engine's lock is taken, rendering after it is released.

use std::collections::VecDeque;
use std::time::Duration;

use weir_engine::{Engine, Mark, Turn};
use weir_resp::{Args, Progress, Proto, ProtocolError, Writer};

use crate::Limits;

use super::call::Outside;
use super::client::{Client, ClientNo, Closing};
use super::dispatch::{self, Pause};
use super::door::{Door, Outgoing};
use super::errors;
use super::held::{Held, HeldRound};
use super::latency::Event;
use super::link::Link;
use super::notify;
use super::pool::Pool;
use super::readers::{ForClient, Readers, Task};
use super::reply::Reply;
use super::spin::Crowd;

/// Bytes of texts in answers and in messages (of subscriptions, of MONITOR) that one round may make before they have to
/// leave.
const OUTBOX_BYTES_MAX: usize = 16 << 20;
/// Answers and messages of one round before they have to leave.
const OUTBOX_MAX: usize = 262_144;
/// Bytes that are rendered at the end of one round; the rest is rendered client by client, as they are sent to.
const RENDERED_MAX: usize = 16 << 20;

/// Connections by client number.
pub(crate) type Links = Vec<Option<Box<Link>>>;

/// What the next turn of the engine executes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    /// The arguments of the items, and some more to reuse.
    args: Vec<Args>,
    /// Whose requests are in it.
    clients: Vec<ClientNo>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    who: ClientNo,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A request in the client's input.
    Request { at: usize, end: usize },
    /// Something that is none.
    Broken(ProtocolError),
}

/// What a round works on.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) door: &'a mut Door,
    pub(crate) links: &'a mut Links,
    pub(crate) pool: &'a mut Pool,
    pub(crate) batch: &'a mut Batch,
    pub(crate) queue: &'a mut VecDeque<ClientNo>,
    pub(crate) sending: &'a mut Vec<ClientNo>,
    pub(crate) readers: &'a mut Readers,
    pub(crate) held: &'a mut Held,
    pub(crate) decode_limits: weir_resp::Limits,
    /// Bytes that were rendered so far.
    pub(crate) rendered: usize,
}

impl<'a> Round<'a> {
    /// Executes what is queued, up to the limit of a round, and renders the answers.
    ///
    /// `first` runs at the start of the first turn, when `needs_turn` says there is something for it to do. Answers whose
    /// requests there were.
    pub(crate) fn run(&mut self, needs_turn: bool, mut first: impl FnMut(&mut Door, &mut Turn<'_>)) -> Crowd {
        while let Some(round) = self.held.take_settled(self.engine) {
            self.release(round);
        }
        // What is answered here leaves with the round.
        let is_answered = self.door.answer_asks();
        let needs_turn = self.end_flush_waits() || is_answered || needs_turn;
        let (mut executed, mut crowd) = (0, Crowd::Nobody);
        let mut wants_first = needs_turn;
        loop {
            self.fill();
            if self.batch.items.is_empty() && !wants_first {
                break;
            }
            executed += self.batch.items.len();
            crowd = self.batch.clients.iter().fold(crowd, |crowd, who| crowd.and(*who));
            self.execute(|door, turn| {
                if std::mem::take(&mut wants_first) {
                    first(door, turn);
                }
            });
            self.door.answer_asks();
            self.requeue();
            if executed >= self.door.config.limits.round_commands || has_much_to_tell(self.door) {
                break;
            }
        }
        self.begin_flush_waits();
        if executed > 0 || needs_turn || !self.door.outbox.is_empty() {
            self.finish(crowd);
        }
        crowd
    }

    /// Answers clients that have waited for a flush; whether there were some.
    fn end_flush_waits(&mut self) -> bool {
        !self.door.flush_waits.is_empty() && self.door.end_flush_waits(self.engine)
    }

    /// Asks for the flush that clients wait for, now that what they wait for is known.
    fn begin_flush_waits(&mut self) {
        if self.door.flush_waits.is_empty() {
            return;
        }
        match self.door.mark_flush_waits(self.engine) {
            Some(mark) => self.held.want(self.engine, mark),
            None if self.door.end_flush_waits(self.engine) => self.requeue(),
            None => {}
        }
    }

    /// Decodes requests of queued clients until the batch is full.
    fn fill(&mut self) {
        self.batch.items.clear();
        self.batch.clients.clear();
        let most = self.door.config.limits.turn_commands;
        while self.batch.items.len() < most {
            let Some(who) = self.queue.pop_front() else { break };
            let Some(link) = self.links[who.index()].as_mut() else { continue };
            link.in_queue = false;
            self.batch.clients.push(who);
            self.decode(who, most);
        }
    }

    fn decode(&mut self, who: ClientNo, most: usize) {
        let (Some(link), Some(client)) = (self.links[who.index()].as_mut(), self.door.clients.get(who))
        else {
            return;
        };
        if !client.may_run() {
            return;
        }
        let known = client.is_authenticated;
        let limits = if known { self.decode_limits } else { self.decode_limits.unauthenticated() };
        // A stranger's next request may be read under other limits, so its requests go one by one.
        let mut quota = if known { self.door.config.limits.client_commands } else { 1 };
        while quota > 0 && self.batch.items.len() < most && link.can_decode() {
            let index = self.batch.items.len();
            if self.batch.args.len() == index {
                self.batch.args.push(Args::new());
            }
            let (progress, at) = link.decode(&mut self.batch.args[index], &limits);
            let what = match progress {
                Progress::Complete { consumed } => What::Request { at, end: at + consumed },
                Progress::Error(error) => What::Broken(error),
                Progress::Empty { .. } => continue,
                Progress::Incomplete { .. } => return,
                Progress::HttpRequest => return self.door.close(who, Closing::Now),
            };
            self.batch.items.push(Item { who, what });
            quota -= 1;
            if let What::Broken(_) = what {
                return;
            }
        }
    }

    fn execute(&mut self, mut first: impl FnMut(&mut Door, &mut Turn<'_>)) {
        let mut turn = self.engine.turn();
        turn.expire_due();
        self.door.tick = self.door.clock.elapsed();
        first(self.door, &mut turn);
        notify::tell(self.door, &mut turn);
        self.door.send_messages();
        for index in 0..self.batch.items.len() {
            let Item { who, what } = self.batch.items[index];
            let Some(link) = self.links[who.index()].as_mut() else { continue };
            if !self.door.client(who).may_run() || has_much_to_tell(self.door) {
                link.rewind();
                continue;
            }
            match what {
                What::Broken(error) => {
                    self.door.answer(who, protocol_error(error));
                    self.door.close(who, Closing::AfterReplies);
                }
                What::Request { at, end } => {
                    self.door.client(who).asked_at = self.door.tick;
                    turn = self.request(turn, index, who, (at, end));
                }
            }
        }
    }

    /// Executes a client's request, or puts the client aside until the disk has been waited for.
    fn request(
        &mut self,
        mut turn: Turn<'a>,
        index: usize,
        who: ClientNo,
        bytes: (usize, usize),
    ) -> Turn<'a> {
        let Some(link) = self.links[who.index()].as_mut() else { return turn };
        let request = self.batch.args[index].of(link.input(bytes.0));
        let client = self.door.client(who);
        let unreadable = client.unreadable.take();
        turn.lend(std::mem::take(&mut client.ahead));
        let waited_for = (client.fetched.take(), std::mem::take(&mut client.done_outside));
        (self.door.fetched, self.door.done_outside) = waited_for;
        let done = match unreadable {
            Some(error) => {
                self.door.answer(who, Reply::Error(errors::text(&error)));
                Ok(())
            }
            None => loop {
                match dispatch::execute(self.door, self.engine, &mut turn, who, request) {
                    // It is meant to hold up everybody.
                    Err(Pause::Outside(Outside::Sleep(time))) => {
                        drop(turn);
                        std::thread::sleep(time);
                        self.door.done_outside = true;
                        turn = self.engine.turn();
                    }
                    done => break done,
                }
            },
        };
        if let Err(pause) = done {
            let ahead = turn.take_back();
            // The other thread may want to read what was appended in this turn, and this turn goes on.
            turn.submit();
            let task = match pause {
                Pause::Cold(cold) => Task::Warm(cold, ahead),
                Pause::Fetch(fetching) => Task::Fetch(fetching, ahead),
                Pause::Outside(what) => Task::Outside(what),
            };
            let fetched = self.door.fetched.take();
            let client = self.door.client(who);
            (client.is_aside, client.fetched) = (true, fetched);
            self.readers.submit(ForClient { no: who, id: client.id }, task);
            link.rewind();
            return turn;
        }
        drop(turn.take_back());
        (self.door.fetched, self.door.done_outside) = (None, false);
        if self.door.client(who).is_postponed {
            link.rewind();
        } else {
            link.executed(bytes.1);
        }
        turn
    }

    /// Puts clients that may have more requests at the back of the queue.
    fn requeue(&mut self) {
        let woken = std::mem::take(&mut self.door.woken);
        for who in self.batch.clients.iter().chain(&woken) {
            let Some(client) = self.door.clients.get(*who) else { continue };
            let Some(link) = self.links[who.index()].as_mut() else { continue };
            if !client.may_run() {
                link.rewind();
            }
            if may_queue(link, client, &self.door.config.limits) {
                link.in_queue = true;
                self.queue.push_back(*who);
            } else if link.is_finished && !link.in_queue {
                self.door.leaving.push(*who);
            }
        }
    }

    /// Flushes and answers what was executed, or leaves that for later when it would take long.
    fn finish(&mut self, crowd: Crowd) {
        let since = self.door.clock.elapsed();
        self.door.stats.sample(since, &self.door.counters);
        let bytes = std::mem::take(&mut self.door.outbox_bytes);
        let mut answers = std::mem::take(&mut self.door.outbox);
        let mark = self.engine.mark();
        if self.held.should_hold(self.engine, mark, crowd) {
            let round = HeldRound { mark, answers, bytes, since };
            answers = self.held.hold(self.engine, round);
        } else {
            while let Some(round) = self.held.take_first() {
                self.release(round);
            }
            self.answer(mark, &mut answers, since);
        }
        self.door.outbox = answers;
    }

    /// Answers a round that was held.
    fn release(&mut self, mut round: HeldRound) {
        self.answer(round.mark, &mut round.answers, round.since);
        self.held.give_back(round.answers);
    }

    /// Waits until a mark is reached, if it is not yet, then sends these answers on their way, or others if it failed.
    fn answer(&mut self, mark: Mark, answers: &mut Vec<Outgoing>, since: Duration) {
        let is_safe = self.engine.reach(mark).is_ok();
        let took = self.door.clock.elapsed().saturating_sub(since);
        let clock = &self.door.clock;
        self.door.latency.note(Event::Flush, took, || clock.now().0 / 1_000);
        for outgoing in answers.drain(..) {
            self.deliver(if is_safe { outgoing } else { outgoing.failed() });
        }
    }

    /// Renders an answer, or begins to, and notes that the socket is to be written.
    fn deliver(&mut self, outgoing: Outgoing) {
        let Outgoing { to, proto, reply, is_message, .. } = outgoing;
        let limits = &self.door.config.limits;
        let (Some(link), Some(client)) = (self.links[to.index()].as_mut(), self.door.clients.get_mut(to))
        else {
            return;
        };
        if is_message && client.closing == Closing::Now {
            return client.rendered(link.pending_weight());
        }
        if is_message && link.heap_bytes() > limits.output_bytes {
            tracing::warn!("a client was disconnected: it does not take the messages sent to it");
            client.rendered(link.pending_weight());
            return self.door.close(to, Closing::Now);
        }
        let before = link.unsent();
        let pause = if self.rendered < RENDERED_MAX { limits.output_pause_bytes } else { 0 };
        link.answer(reply, proto, self.engine, self.pool, pause);
        self.rendered += link.unsent() - before;
        client.rendered(link.pending_weight());
        if !link.in_sending {
            link.in_sending = true;
            self.sending.push(to);
        }
    }
}

/// Whether so much waits in the outbox that it should leave before more commands are executed.
fn has_much_to_tell(door: &Door) -> bool {
    door.outbox_bytes > OUTBOX_BYTES_MAX || door.outbox.len() > OUTBOX_MAX
}

/// Whether a client's next command should be executed soon, and nobody has noted so yet.
pub(crate) fn may_queue(link: &Link, client: &Client, limits: &Limits) -> bool {
    !link.in_queue && client.may_run() && link.can_decode() && link.may_answer(limits.output_pause_bytes)
}

fn protocol_error(error: ProtocolError) -> Reply {
    let mut line = Vec::new();
    Writer::new(&mut line, Proto::Resp2).protocol_error(error);
    let text = line.strip_prefix(b"-").unwrap_or(&line);
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    Reply::Error(text.to_vec().into())
}
