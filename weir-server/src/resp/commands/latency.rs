//! LATENCY: what took longer than `latency-monitor-threshold`.

use std::fmt::Write as _;

use crate::resp::call::{Answer, Call};
use crate::resp::command::{Command, Run, flag};
use crate::resp::latency::Event;
use crate::resp::reply::Reply;

const ROW: Command = Command {
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: "server",
    since: "2.8.13",
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    ..Command::BASE
};

pub(super) static COMMAND: Command = Command {
    name: "latency",
    arity: -2,
    flags: 0,
    summary: "a container of commands about what took long",
    tips: &[],
    run: Run::Container(&[&DOCTOR, &HELP, &HISTORY, &LATEST, &RESET]),
    ..ROW
};

static LATEST: Command = Command {
    name: "latency|latest",
    summary: "returns the last and the longest time of each event",
    run: Run::Call(|call| {
        let events = call.door.latency.events().filter_map(|(event, history)| {
            let last = history.samples.back()?;
            Some(Reply::Array(vec![
                Reply::Text(event.name()),
                Reply::count(last.at),
                Reply::count(last.millis),
                Reply::count(history.millis_max),
            ]))
        });
        Ok(Reply::Array(events.collect()))
    }),
    ..ROW
};

static HISTORY: Command = Command {
    name: "latency|history",
    arity: 3,
    summary: "returns the times of an event",
    syntax: "event",
    run: Run::Call(|call| {
        let event = Event::named(call.arg(2));
        let history = event.and_then(|event| call.door.latency.history(event));
        let samples = history.into_iter().flat_map(|history| &history.samples);
        let pair = |at, millis| Reply::Array(vec![Reply::count(at), Reply::count(millis)]);
        Ok(Reply::Array(samples.map(|sample| pair(sample.at, sample.millis)).collect()))
    }),
    ..ROW
};

static RESET: Command = Command {
    name: "latency|reset",
    arity: -2,
    summary: "forgets the times of some events, or of all",
    syntax: "[event ...]",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Call(|call| {
        let events: Vec<Event> = match call.len() {
            2 => Event::ALL.to_vec(),
            _ => (2..call.len()).filter_map(|at| Event::named(call.arg(at))).collect(),
        };
        let forgotten = events.into_iter().filter(|event| call.door.latency.forget(*event));
        Ok(Reply::count(forgotten.count() as u64))
    }),
    ..ROW
};

static DOCTOR: Command = Command {
    name: "latency|doctor",
    summary: "says in words what took long",
    run: Run::Call(doctor),
    ..ROW
};

fn doctor(call: &mut Call<'_, '_>) -> Answer {
    let latency = &call.door.latency;
    if latency.threshold == 0 {
        let text =
            "The latency monitor is off; CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n";
        return Ok(Reply::Verbatim(text.into()));
    }
    let mut text = format!("What takes {} ms or longer is noted.\n", latency.threshold);
    for (event, history) in latency.events() {
        let count = history.samples.len();
        let longest = history.millis_max;
        writeln!(text, "{}: {count} times, {longest} ms at most.", event.name())
            .expect("a string takes everything");
    }
    if latency.events().next().is_none() {
        text.push_str("Nothing took so long.\n");
    }
    Ok(Reply::Verbatim(text.into()))
}

static HELP: Command = Command {
    name: "latency|help",
    flags: flag::LOADING | flag::STALE,
    summary: "returns a text about the subcommands",
    tips: &[],
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};
