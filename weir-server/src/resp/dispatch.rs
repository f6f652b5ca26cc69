//! What holds for every command: it exists, has enough words, its client may use it; then it runs, is queued or waits.

use std::borrow::Cow;
use std::time::Duration;

use weir_core::{Error, ErrorKind};
use weir_engine::{Cold, Engine, GroupReadFrom, Halt, ReadGroup, ReadOutcome, Served, Turn};
use weir_resp::{Proto, Request};

use super::acl::{self, Denied};
use super::call::{Answer, Call, Fetching, Outside, Stop, Wait};
use super::client::{Blocked, ClientNo, Multi};
use super::command::{Command, Run, flag};
use super::door::{Door, FlushWait};
use super::errors;
use super::latency::Event;
use super::monitor;
use super::notify;
use super::reply::{ReadRequest, Reply, StreamsReply};
use super::slowlog::shortened;
use super::table::find_subcommand;

/// How long to wait before asking again when the engine could not say.
const RETRY_PAUSE_MS: u64 = 100;

/// What has to be done before a request can be executed.
#[derive(Debug)]
pub(crate) enum Pause {
    /// The disk has to do something.
    Cold(Cold),
    /// The entries of a key have to be fetched.
    Fetch(Box<Fetching>),
    /// Something else has to happen.
    Outside(Outside),
}

impl Outside {
    /// Does it, without the engine's lock.
    pub(crate) fn perform(self, engine: &Engine) -> Result<(), Error> {
        match self {
            Self::Snapshot => engine.snapshot(),
            Self::Sleep(time) => {
                std::thread::sleep(time);
                Ok(())
            }
        }
    }
}

type RunFn = fn(&mut Call<'_, '_>) -> Answer;

/// Executes one request of one client; its answer is in the outbox afterwards, unless the client waits.
///
/// # Errors
/// What has to be done first; then nothing has happened, and the request is to be tried again.
pub(crate) fn execute(
    door: &mut Door,
    engine: &Engine,
    turn: &mut Turn<'_>,
    who: ClientNo,
    args: Request<'_>,
) -> Result<(), Pause> {
    let (command, run) = match resolve(door, args) {
        Ok(found) => found,
        Err(text) => {
            if args.get(0).is_some_and(|name| name.eq_ignore_ascii_case(b"exec")) {
                abort_transaction(door, turn, who, &text);
            } else {
                refuse(door, who, text);
            }
            return Ok(());
        }
    };
    if let Some(text) = forbidden(door, who, command, args) {
        door.stats.of(command).rejected += 1;
        match command.name {
            "exec" => abort_transaction(door, turn, who, &text),
            _ => refuse(door, who, text),
        }
        return Ok(());
    }
    if is_postponed(door, who, command) {
        door.client(who).is_postponed = true;
        door.postponed.push(who);
        return Ok(());
    }
    if door.client(who).multi.is_some() && !command.has(flag::AT_ONCE) {
        enqueue(door, who, args, command);
        return Ok(());
    }
    door.client(who).last_command = command.name;
    let touches_keys = flag::WRITE | flag::READONLY | flag::TRANSACTION;
    door.tells_state = command.flags & touches_keys != 0;
    turn.count_lookups(command.has(flag::READONLY));
    let mut call = Call { command, args, turn, engine, door, who, in_exec: false };
    let answer = run(&mut call);
    turn.count_lookups(false);
    let failed = matches!(answer, Ok(Reply::Error(_)) | Err(Stop::Refused(_) | Stop::Engine(_)));
    let settled = settle(door, turn, who, answer);
    door.tells_state = true;
    settled?;
    note(door, who, command, args, failed);
    show(door, who, command, args);
    after_command(door, turn, command);
    Ok(())
}

/// Answers a client, or has it wait.
fn settle(door: &mut Door, turn: &mut Turn<'_>, who: ClientNo, answer: Answer) -> Result<(), Pause> {
    match answer {
        Ok(reply) => door.answer(who, reply),
        Err(Stop::Cold(cold)) => return Err(Pause::Cold(cold)),
        Err(Stop::Fetch(fetching)) => return Err(Pause::Fetch(fetching)),
        Err(Stop::Outside(what)) => return Err(Pause::Outside(what)),
        Err(Stop::Wait(wait)) => block(door, turn, who, *wait),
        Err(Stop::Ask(ask)) => door.begin_ask(who, *ask),
        Err(Stop::Flush(timeout)) => wait_for_flush(door, who, timeout),
        Err(stop) => door.answer(who, refusal(stop)),
    }
    Ok(())
}

/// Executes a command that was queued, inside EXEC.
pub(crate) fn execute_queued(call: &mut Call<'_, '_>, args: Request<'_>) -> Reply {
    match resolve(call.door, args) {
        Err(text) => Reply::Error(text),
        Ok((command, run)) => {
            // The rules may have changed since it was queued.
            if let Err(denied) = permitted(call.door, call.who, command, args) {
                return Reply::Error(denied.later().into());
            }
            let mut inner = Call {
                command,
                args,
                turn: call.turn,
                engine: call.engine,
                door: call.door,
                who: call.who,
                in_exec: true,
            };
            inner.turn.count_lookups(command.has(flag::READONLY));
            let reply = run(&mut inner).unwrap_or_else(refusal);
            inner.turn.count_lookups(false);
            if let Reply::Error(text) = &reply {
                inner.door.stats.error(text);
            }
            note(inner.door, inner.who, command, args, matches!(reply, Reply::Error(_)));
            notify::tell(call.door, call.turn);
            show(call.door, call.who, command, args);
            reply
        }
    }
}

/// Counts a command that ran, and keeps it when it took long.
fn note(door: &mut Door, who: ClientNo, command: &'static Command, args: Request<'_>, failed: bool) {
    let now = door.clock.elapsed();
    let took = now.saturating_sub(door.tick);
    door.tick = now;
    let stat = door.stats.of(command);
    stat.calls += 1;
    stat.time += took;
    stat.failed += u64::from(failed);
    let event = if command.has(flag::FAST) { Event::FastCommand } else { Event::Command };
    let clock = &door.clock;
    door.latency.note(event, took, || clock.now().0 / 1_000);
    if door.slowlog.wants(took)
        && !command.has(flag::SKIP_SLOWLOG)
        && let Some(client) = door.clients.get(who)
    {
        let (address, name) = (client.peer.address(), client.name.clone());
        door.slowlog.add(door.clock.now().0 / 1_000, took, shortened(args), address, name);
    }
}

/// Finds the row, its function, and whether there are enough words.
fn resolve(door: &mut Door, args: Request<'_>) -> Result<(&'static Command, RunFn), Cow<'static, [u8]>> {
    let name = args.get(0).unwrap_or_default();
    let Some(command) = door.table.find_next(name) else {
        return Err(errors::unknown_command(name, args.skip(1).iter()).into());
    };
    let (command, run) = match command.run {
        Run::Call(run) => (command, run),
        Run::Both(run, _) if args.len() == 1 => (command, run),
        Run::Container(_) | Run::Both(..) => subcommand(command, args)?,
    };
    if !command.accepts(args.len()) {
        door.stats.of(command).rejected += 1;
        return Err(errors::wrong_arity(command.name).into());
    }
    Ok((command, run))
}

fn subcommand(
    container: &'static Command,
    args: Request<'_>,
) -> Result<(&'static Command, RunFn), Cow<'static, [u8]>> {
    let Some(name) = args.get(1) else {
        return Err(errors::wrong_arity(container.name).into());
    };
    match find_subcommand(container, name) {
        Some(row @ Command { run: Run::Call(run), .. }) => Ok((row, *run)),
        _ => Err(errors::unknown_subcommand(container.name, name).into()),
    }
}

/// Why this client may not use this command now.
fn forbidden(
    door: &mut Door,
    who: ClientNo,
    command: &'static Command,
    args: Request<'_>,
) -> Option<Cow<'static, [u8]>> {
    let client = door.client(who);
    if !client.is_authenticated && !command.has(flag::NO_AUTH) {
        return Some(Cow::Borrowed(errors::NO_AUTH.as_bytes()));
    }
    if client.multi.is_some() && command.has(flag::NO_MULTI) {
        return Some(Cow::Borrowed(b"ERR Command not allowed inside a transaction"));
    }
    if let Err(denied) = permitted(door, who, command, args) {
        return Some(Cow::Owned(denied.text(&door.client(who).user)));
    }
    let client = door.client(who);
    if client.subscriptions > 0 && client.proto == Proto::Resp2 && !command.has(flag::SUBSCRIBED) {
        let text = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            command.name
        );
        return Some(Cow::Owned(text.into_bytes()));
    }
    None
}

/// Whether the client's user may execute this; if not, that is noted.
fn permitted(
    door: &mut Door,
    who: ClientNo,
    command: &'static Command,
    args: Request<'_>,
) -> Result<(), Denied> {
    let client = door.client(who);
    let checked = acl::check(&client.user, command, args);
    if let Err(denied) = &checked {
        let user = client.user.clone();
        let (reason, object) = match denied {
            Denied::Command(name) => ("command", name.as_bytes()),
            Denied::Key(key) => ("key", &**key),
            Denied::Channel(channel) => ("channel", &**channel),
        };
        door.note_refusal(who, reason, object, &user.name);
    }
    checked
}

/// Whether a command has to wait for the end of a pause. The one that ends it never does.
fn is_postponed(door: &mut Door, who: ClientNo, command: &Command) -> bool {
    let Some(pause) = door.pause else { return false };
    let executes_writes =
        command.name == "exec" && door.client(who).multi.as_ref().is_some_and(|multi| multi.writes);
    let writes = writes(command) || executes_writes;
    command.name != "client|unpause" && (!pause.writes_only || writes)
}

/// Whether others can see what the command does.
fn writes(command: &Command) -> bool {
    command.has(flag::WRITE) || command.name == "publish"
}

/// Answers with an error; inside MULTI the transaction is spoilt.
fn refuse(door: &mut Door, who: ClientNo, text: Cow<'static, [u8]>) {
    if let Some(multi) = &mut door.client(who).multi {
        multi.refused = true;
    }
    door.answer(who, Reply::Error(text));
}

/// An EXEC that cannot be carried out ends the transaction all the same.
fn abort_transaction(door: &mut Door, turn: &mut Turn<'_>, who: ClientNo, why: &[u8]) {
    let client = door.client(who);
    client.multi = None;
    client.watched.take().for_each(|watch| turn.unwatch(watch));
    let why = why.strip_prefix(b"ERR ").unwrap_or(why);
    let text = [b"EXECABORT Transaction discarded because of: ", why].concat();
    door.answer(who, Reply::Error(text.into()));
}

fn enqueue(door: &mut Door, who: ClientNo, args: Request<'_>, command: &'static Command) {
    let most = door.config.limits.queued_bytes;
    let client = door.client(who);
    client.last_command = command.name;
    let multi: &mut Multi = client.multi.as_mut().expect("only called inside MULTI");
    if multi.queued.len().saturating_add(args.payload_bytes()) > most {
        let text = "ERR the transaction is too large; send smaller ones";
        return refuse(door, who, Cow::Borrowed(text.as_bytes()));
    }
    weir_resp::command(&mut multi.queued, args);
    multi.count += 1;
    multi.writes |= writes(command);
    door.answer(who, Reply::Simple("QUEUED"));
}

/// The reply that says why there is no other.
fn refusal(stop: Stop) -> Reply {
    match stop {
        Stop::Refused(text) => Reply::Error(text),
        Stop::Engine(error) => Reply::Error(errors::text(&error)),
        Stop::Cold(_) | Stop::Fetch(_) | Stop::Outside(_) | Stop::Wait(_) | Stop::Ask(_) | Stop::Flush(_) => {
            Reply::error("ERR the command cannot wait inside a transaction")
        }
    }
}

/// Shows a command to those who watch, unless it is one with secrets or one that operates the server.
fn show(door: &mut Door, who: ClientNo, command: &Command, args: Request<'_>) {
    if !command.has(flag::SKIP_MONITOR) && !command.has(flag::ADMIN) {
        monitor::show(door, who, args);
    }
}

/// Serves whom the command made something visible for, before anybody else's command runs.
fn after_command(door: &mut Door, turn: &mut Turn<'_>, command: &'static Command) {
    door.counters.commands += 1;
    if command.has(flag::WRITE) || command.has(flag::AT_ONCE) {
        turn.serve_waiters();
        deliver_served(door, turn);
    }
    notify::tell(door, turn);
    door.send_messages();
}

fn block(door: &mut Door, turn: &mut Turn<'_>, who: ClientNo, wait: Wait) {
    let now = door.clock.elapsed();
    let deadline = (wait.timeout > 0).then(|| now + Duration::from_millis(wait.timeout));
    let request = wait.request;
    let waiter = match &request {
        ReadRequest::Plain(read) => turn.wait_read(read.clone(), who.token()),
        ReadRequest::Group(read) => turn.wait_group(read.clone(), who.token()),
    };
    let waiter = match waiter {
        Ok(waiter) => waiter,
        Err(halt) => return door.answer(who, refusal(halt.into())),
    };
    let retry_at = wait.retry_at.map(|at| now + Duration::from_millis(at.saturating_sub(turn.steady().0)));
    let request_bytes = 2 * request.heap_bytes();
    let blocked = Blocked { waiter, request, request_bytes, deadline, retry_at };
    door.timers.add(&blocked, who);
    door.client(who).blocked = Some(Box::new(blocked));
}

fn wait_for_flush(door: &mut Door, who: ClientNo, timeout: u64) {
    let deadline = (timeout > 0).then(|| door.clock.elapsed() + Duration::from_millis(timeout));
    let client = door.client(who);
    client.is_flushing = true;
    let wait = FlushWait { who, id: client.id, mark: None, deadline };
    door.flush_waits.push(wait);
}

/// Asks a group read again that waits for pending rows to become old enough.
pub(crate) fn retry(door: &mut Door, turn: &mut Turn<'_>, who: ClientNo) {
    let now = door.clock.elapsed();
    let Some(blocked) = door.clients.get_mut(who).and_then(|client| client.blocked.as_mut()) else { return };
    let ReadRequest::Group(read) = &blocked.request else { return };
    // It is nobody's command that could be put aside.
    turn.read_on_the_spot(true);
    let outcome = turn.read_group(read);
    turn.read_on_the_spot(false);
    let outcome = match outcome {
        Ok(outcome) if outcome.streams.is_empty() => {
            let wait =
                outcome.retry_at.map_or(RETRY_PAUSE_MS, |at| at.saturating_sub(turn.steady().0).max(1));
            blocked.retry_at = Some(now + Duration::from_millis(wait));
            return door.timers.add(blocked, who);
        }
        Err(Halt::Cold(_)) => {
            // The log has no room yet; that is being prepared.
            blocked.retry_at = Some(now + Duration::from_millis(RETRY_PAUSE_MS));
            return door.timers.add(blocked, who);
        }
        Ok(outcome) => Ok(outcome),
        Err(Halt::Error(error)) => Err(error),
    };
    turn.cancel(blocked.waiter);
    let Some(blocked) = door.unblock(who) else { return };
    let reply = match outcome {
        Ok(outcome) => streams_reply(blocked.request, outcome),
        Err(error) if *error.kind() == ErrorKind::NoSuchGroup => {
            Reply::Error(Cow::Owned(lost_group(turn, &blocked.request)))
        }
        Err(error) => Reply::Error(errors::text(&error)),
    };
    door.answer(who, reply);
}

/// Answers clients whose waiting reads the engine has served.
pub(crate) fn deliver_served(door: &mut Door, turn: &mut Turn<'_>) {
    for served in turn.take_served() {
        let Some(who) = ClientNo::from_token(served.token) else { continue };
        let blocked = door.clients.get(who).and_then(|client| client.blocked.as_ref());
        if blocked.is_none_or(|blocked| blocked.waiter != served.waiter) {
            continue;
        }
        if let Some(blocked) = door.unblock(who) {
            let reply = served_reply(turn, blocked.request, served);
            door.answer(who, reply);
        }
    }
}

fn served_reply(turn: &mut Turn<'_>, request: ReadRequest, served: Served) -> Reply {
    match served.result {
        Ok(outcome) => streams_reply(request, outcome),
        Err(ErrorKind::NoSuchGroup) => Reply::Error(Cow::Owned(lost_group(turn, &request))),
        Err(kind) => Reply::Error(errors::text(&kind.into())),
    }
}

/// The text for a waiting group read whose group has gone: it names the first stream that lacks it.
fn lost_group(turn: &mut Turn<'_>, request: &ReadRequest) -> Vec<u8> {
    let ReadRequest::Group(read) = request else {
        return errors::NO_SUCH_KEY.as_bytes().to_vec();
    };
    let index = turn.check_groups(read).err().map_or(0, |(index, _)| index);
    errors::no_group_to_read(request.stream_name(index), &read.group)
}

/// What a read answers: a null when nothing was found.
pub(crate) fn streams_reply(request: ReadRequest, outcome: ReadOutcome) -> Reply {
    if outcome.streams.is_empty() {
        return Reply::NullArray;
    }
    Reply::Streams(Box::new(StreamsReply { request, outcome }))
}

/// Whether a group read asks for somebody's history, which never waits.
pub(crate) fn reads_history(read: &ReadGroup) -> bool {
    read.streams.iter().any(|(_, from)| matches!(from, GroupReadFrom::History(_)))
}
