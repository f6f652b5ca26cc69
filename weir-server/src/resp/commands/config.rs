//! CONFIG: settings of the running server. They last until it stops; lasting ones are given at the start.

use crate::resp::call::{Answer, Call, Stop};
use crate::resp::command::{Command, Run, flag};
use crate::resp::glob;
use crate::resp::reply::Reply;
use crate::resp::settings::{self, SETTINGS, Setting, Value};

const ROW: Command = Command {
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: "server",
    since: "2.0.0",
    ..Command::BASE
};

pub(super) static COMMAND: Command = Command {
    name: "config",
    arity: -2,
    flags: 0,
    summary: "a container of commands about settings",
    run: Run::Container(&[&GET, &HELP, &RESETSTAT, &REWRITE, &SET]),
    ..ROW
};

static HELP: Command = Command {
    name: "config|help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    since: "5.0.0",
    summary: "returns a text about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};

static GET: Command = Command {
    name: "config|get",
    arity: -3,
    summary: "returns settings whose names match patterns",
    syntax: "pattern [pattern ...]",
    run: Run::Call(|call| {
        let patterns: Vec<&[u8]> = (2..call.len()).map(|at| call.arg(at)).collect();
        let mut pairs = Vec::new();
        for setting in SETTINGS {
            let name = setting.name.as_bytes();
            if patterns.iter().any(|pattern| glob::matches_any_case(pattern, name)) {
                pairs.extend([Reply::Text(setting.name), Reply::bulk((setting.get)(call))]);
            }
        }
        Ok(Reply::Map(pairs))
    }),
    ..ROW
};

static SET: Command = Command {
    name: "config|set",
    arity: -4,
    summary: "changes settings, all or none",
    syntax: "parameter value [parameter value ...]",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Call(set),
    ..ROW
};

fn set(call: &mut Call<'_, '_>) -> Answer {
    let changes = changes(call)?;
    for (setting, value) in changes {
        if let Some(apply) = setting.set {
            apply(call, value);
        }
    }
    Ok(Reply::Ok)
}

/// The settings that are to change, all of them checked.
fn changes<'c>(call: &mut Call<'c, '_>) -> Result<Vec<(&'static Setting, Value<'c>)>, Stop> {
    let mut changes: Vec<(&'static Setting, Value<'c>)> = Vec::new();
    for at in (2..call.len()).step_by(2) {
        let setting = settings::find(call.arg(at)).filter(|_| at + 1 < call.len()).ok_or_else(|| {
            let text: [&[u8]; 3] =
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", call.arg(at), b"'"];
            text.concat()
        })?;
        let refuse = |why: &str| {
            let name = setting.name;
            Stop::from(
                format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into_bytes(),
            )
        };
        if changes.iter().any(|(other, _)| other.name == setting.name) {
            return Err(refuse("duplicate parameter"));
        }
        let text = call.arg(at + 1);
        let value = setting.parse(text).map_err(|why| refuse(&why))?;
        if setting.set.is_none() && !(setting.get)(call).as_bytes().eq_ignore_ascii_case(text) {
            return Err(refuse("can't set immutable config"));
        }
        changes.push((setting, value));
    }
    Ok(changes)
}

static RESETSTAT: Command = Command {
    name: "config|resetstat",
    arity: 2,
    summary: "starts the counts of INFO anew",
    run: Run::Call(|call| {
        call.door.stats.reset();
        call.turn.reset_counts();
        Ok(Reply::Ok)
    }),
    ..ROW
};

static REWRITE: Command = Command {
    name: "config|rewrite",
    arity: 2,
    since: "2.8.0",
    summary: "refused: settings last until the server stops",
    run: Run::Call(|_| Err("ERR The server is running without a config file".into())),
    ..ROW
};
