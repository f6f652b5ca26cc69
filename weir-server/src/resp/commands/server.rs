//! TIME, LASTSAVE, SAVE, BGSAVE, BGREWRITEAOF, ROLE, REPLICAOF, WAIT, WAITAOF, SHUTDOWN, and what single servers
//! without scripts answer to SCRIPT, FUNCTION, CLUSTER and their kin.

use crate::resp::call::{Answer, Call, Outside, Stop};
use crate::resp::command::{Command, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING;
const ROW: Command = Command { group: "server", ..Command::BASE };

pub(super) static TIME: Command = Command {
    name: "time",
    flags: flag::FAST | flag::LOADING | flag::STALE,
    since: "2.6.0",
    summary: "returns the time as seconds and microseconds",
    tips: &["nondeterministic_output"],
    run: Run::Call(|call| {
        let micros = call.turn.now_micros();
        let part = |value: u64| Reply::bulk(value.to_string());
        Ok(Reply::Array(vec![part(micros / 1_000_000), part(micros % 1_000_000)]))
    }),
    ..ROW
};

pub(super) static LASTSAVE: Command = Command {
    name: "lastsave",
    flags: flag::ADMIN | flag::FAST | flag::LOADING | flag::STALE,
    summary: "returns when the last snapshot was written, or else when the server started",
    tips: &["nondeterministic_output"],
    run: Run::Call(|call| Ok(Reply::count(call.last_save()))),
    ..ROW
};

pub(super) static SAVE: Command = Command {
    name: "save",
    flags: ADMIN | flag::NO_MULTI,
    summary: "writes a snapshot; what was acknowledged is on disk without it",
    run: Run::Call(|call| call.outside(Outside::Snapshot).map(|()| Reply::Ok)),
    ..ROW
};

pub(super) static BGSAVE: Command = Command {
    name: "bgsave",
    arity: -1,
    flags: ADMIN,
    summary: "has a snapshot written in the background",
    syntax: "[SCHEDULE]",
    run: Run::Call(|call| {
        let scheduled = call.is(1, "SCHEDULE");
        if call.len() > 2 || call.len() == 2 && !scheduled {
            return Err(errors::SYNTAX.into());
        }
        match (call.engine.request_snapshot(), scheduled) {
            (true, _) => Ok(Reply::Simple("Background saving started")),
            (false, true) => Ok(Reply::Simple("Background saving scheduled")),
            (false, false) => Err("ERR Background save already in progress".into()),
        }
    }),
    ..ROW
};

pub(super) static BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    flags: ADMIN,
    summary: "has a snapshot written in the background, after which the log before it is given back",
    run: Run::Call(|call| {
        let started = call.engine.request_snapshot();
        Ok(Reply::Simple(if started {
            "Background append only file rewriting started"
        } else {
            "Background append only file rewriting scheduled"
        }))
    }),
    ..ROW
};

pub(super) static ROLE: Command = Command {
    name: "role",
    flags: flag::ADMIN | flag::FAST | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    since: "2.8.12",
    summary: "says that this server is a master without replicas",
    run: Run::Call(|_| {
        Ok(Reply::Array(vec![Reply::Text("master"), Reply::Int(0), Reply::Array(Vec::new())]))
    }),
    ..ROW
};

pub(super) static REPLICAOF: Command = Command {
    name: "replicaof",
    arity: 3,
    flags: ADMIN | flag::STALE,
    since: "5.0.0",
    summary: "does nothing for NO ONE, and refuses every other master",
    syntax: "<host port | NO ONE>",
    run: Run::Call(|call| {
        if call.is(1, "NO") && call.is(2, "ONE") {
            return Ok(Reply::Ok);
        }
        Err("ERR this server cannot be a replica".into())
    }),
    ..ROW
};

pub(super) static SLAVEOF: Command = Command { name: "slaveof", since: "1.0.0", ..REPLICAOF };

// ---- waiting for copies ----------------------------------------------------------------------------------------

const WAITING: Command = Command {
    flags: flag::NOSCRIPT | flag::CONNECTION,
    group: "generic",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    ..Command::BASE
};

pub(super) static WAIT: Command = Command {
    name: "wait",
    arity: 3,
    since: "3.0.0",
    summary: "returns 0, for there are no replicas to wait for",
    syntax: "numreplicas timeout",
    run: Run::Call(|call| {
        call.int(1)?;
        check_timeout(call, 2)?;
        Ok(Reply::Int(0))
    }),
    ..WAITING
};

pub(super) static WAITAOF: Command = Command {
    name: "waitaof",
    arity: 4,
    since: "7.2.0",
    summary: "with numlocal 1: returns when everything so far is on disk, whatever the policy of flushes",
    syntax: "numlocal numreplicas timeout",
    run: Run::Call(|call| {
        let local = call.int(1)?;
        if !(0..=1).contains(&local) {
            return Err("ERR value is out of range, value must between 0 and 1".into());
        }
        if call.int(2)? < 0 {
            return Err("ERR value is out of range, must be positive".into());
        }
        check_timeout(call, 3)?;
        // Inside EXEC nothing of it is on disk yet, and nothing waits.
        if local == 1 && !call.in_exec {
            let timeout = u64::try_from(call.int(3)?).map_err(|_| errors::NOT_AN_INTEGER)?;
            return Err(Stop::Flush(timeout));
        }
        Ok(Reply::Array(vec![Reply::Int(0), Reply::Int(0)]))
    }),
    ..WAITING
};

fn check_timeout(call: &Call<'_, '_>, at: usize) -> Result<(), Stop> {
    if call.int_or(at, "ERR timeout is not an integer or out of range")? < 0 {
        return Err("ERR timeout is negative".into());
    }
    Ok(())
}

// ---- the end ---------------------------------------------------------------------------------------------------

pub(super) static SHUTDOWN: Command = Command {
    name: "shutdown",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
    summary: "answers what was asked and stops the server",
    syntax: "[NOSAVE | SAVE] [NOW] [FORCE]",
    run: Run::Call(|call| {
        const OPTIONS: [&str; 4] = ["NOSAVE", "SAVE", "NOW", "FORCE"];
        if (1..call.len()).any(|at| !OPTIONS.iter().any(|option| call.is(at, option))) {
            return Err(errors::SYNTAX.into());
        }
        call.door.stop_wanted = true;
        Ok(Reply::Nothing)
    }),
    ..ROW
};

pub(super) static DEBUG: Command = Command {
    name: "debug",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    summary: "for tests, and refused unless it was enabled: SLEEP seconds, RELOAD, SET-ACTIVE-EXPIRE <0 | 1>",
    syntax: "subcommand [argument ...]",
    run: Run::Call(debug),
    ..ROW
};

const DEBUG_HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "RELOAD",
    "    Writes a snapshot.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Says whether keys are removed when their time comes, not only when they are asked for.",
    "SLEEP <seconds>",
    "    Does nothing for so long.",
    "HELP",
    "    Print this help.",
];

fn debug(call: &mut Call<'_, '_>) -> Answer {
    if !call.door.config.debug_commands {
        return Err("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
                    run it from a local connection, otherwise you need to set this option in the configuration \
                    file, and then restart the server."
            .into());
    }
    if call.is(1, "SLEEP") && call.len() == 3 {
        let seconds = std::str::from_utf8(call.arg(2)).ok().and_then(|text| text.parse::<f64>().ok());
        let sleep = seconds.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
        call.outside(Outside::Sleep(sleep.ok_or(Stop::refused(errors::NOT_AN_INTEGER))?))?;
    } else if call.is(1, "RELOAD") && call.len() == 2 {
        call.outside(Outside::Snapshot)?;
    } else if call.is(1, "SET-ACTIVE-EXPIRE") && call.len() == 3 {
        let yes = call.int(2)? != 0;
        call.turn.expire_actively(yes);
    } else if call.is(1, "HELP") && call.len() == 2 {
        return Ok(Reply::lines(DEBUG_HELP));
    } else {
        return Err(errors::bad_subcommand("debug", call.arg(1)).into());
    }
    Ok(Reply::Ok)
}

// ---- what is not here ------------------------------------------------------------------------------------------

const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";
const CLUSTER_ROW: Command = Command {
    flags: flag::FAST | flag::CONNECTION | flag::LOADING | flag::STALE,
    group: "cluster",
    since: "3.0.0",
    summary: "refused: this is a single server",
    run: Run::Call(|_| Err(NO_CLUSTER.into())),
    ..Command::BASE
};

pub(super) static READONLY: Command = Command { name: "readonly", ..CLUSTER_ROW };
pub(super) static READWRITE: Command = Command { name: "readwrite", ..CLUSTER_ROW };
pub(super) static ASKING: Command =
    Command { name: "asking", flags: flag::FAST | flag::CONNECTION, ..CLUSTER_ROW };
pub(super) static CLUSTER: Command =
    Command { name: "cluster", arity: -2, flags: 0, syntax: "subcommand [argument ...]", ..CLUSTER_ROW };

const SCRIPT_ROW: Command =
    Command { flags: flag::NOSCRIPT | flag::SCRIPTING, group: "scripting", since: "2.6.0", ..Command::BASE };

pub(super) static SCRIPT: Command = Command {
    name: "script",
    arity: -2,
    flags: 0,
    summary: "a container of commands about scripts, of which there are none",
    run: Run::Container(&[&SCRIPT_EXISTS, &SCRIPT_FLUSH, &SCRIPT_HELP, &SCRIPT_LOAD]),
    ..SCRIPT_ROW
};

static SCRIPT_EXISTS: Command = Command {
    name: "script|exists",
    arity: -3,
    summary: "returns 0 for each script",
    syntax: "sha1 [sha1 ...]",
    run: Run::Call(|call| Ok(Reply::Array((2..call.len()).map(|_| Reply::Int(0)).collect()))),
    ..SCRIPT_ROW
};

static SCRIPT_FLUSH: Command = Command {
    name: "script|flush",
    arity: -2,
    summary: "does nothing, for there are no scripts",
    syntax: "[ASYNC | SYNC]",
    run: Run::Call(|call| flush(call, "ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    ..SCRIPT_ROW
};

static SCRIPT_HELP: Command = Command {
    name: "script|help",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::SCRIPTING,
    since: "5.0.0",
    summary: "returns a text about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..SCRIPT_ROW
};

static SCRIPT_LOAD: Command = Command {
    name: "script|load",
    arity: 3,
    summary: "refused: scripts are not run",
    syntax: "script",
    run: Run::Call(|_| Err("ERR this server does not run scripts".into())),
    ..SCRIPT_ROW
};

pub(super) static FUNCTION: Command = Command {
    name: "function",
    arity: -2,
    flags: 0,
    since: "7.0.0",
    summary: "a container of commands about functions, of which there are none",
    run: Run::Container(&[&FUNCTION_FLUSH, &FUNCTION_HELP]),
    ..SCRIPT_ROW
};

static FUNCTION_FLUSH: Command = Command {
    name: "function|flush",
    flags: flag::NOSCRIPT | flag::SCRIPTING | flag::WRITE,
    since: "7.0.0",
    summary: "does nothing, for there are no functions",
    run: Run::Call(|call| flush(call, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
    ..SCRIPT_FLUSH
};

static FUNCTION_HELP: Command = Command { name: "function|help", since: "7.0.0", ..SCRIPT_HELP };

fn flush(call: &mut Call<'_, '_>, text: &'static str) -> Answer {
    match call.len() {
        2 => Ok(Reply::Ok),
        3 if call.is(2, "ASYNC") || call.is(2, "SYNC") => Ok(Reply::Ok),
        _ => Err(text.into()),
    }
}
