//! XCLAIM: takes pending entries over from other consumers.

use weir_core::EntryId;
use weir_engine::Claim;

use crate::resp::call::{Answer, Call, Ids, Stop};
use crate::resp::command::{Command, KeyUse, Run, flag};
use crate::resp::errors;
use crate::resp::reply::Reply;

pub(super) static COMMAND: Command = Command {
    name: "xclaim",
    arity: -6,
    flags: flag::STREAM | flag::WRITE | flag::FAST,
    key_use: KeyUse::Update,
    since: "5.0.0",
    summary: "gives pending entries to another consumer",
    syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] \
             [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
    tips: &["nondeterministic_output"],
    run: Run::Call(xclaim),
    ..Command::STREAM
};

/// The options behind the IDs.
#[derive(Debug, Default)]
struct Options {
    time: Option<i64>,
    deliveries: Option<i64>,
    force: bool,
    just_ids: bool,
    last_id: Option<EntryId>,
}

fn xclaim(call: &mut Call<'_, '_>) -> Answer {
    let (key, group) = (call.key(1), call.arg(2));
    if !call.turn.has_group(key, group)? {
        return Err(errors::no_key_or_group(key.name, group).into());
    }
    let idle_min = call.int_or(4, "ERR Invalid min-idle-time argument for XCLAIM")?;
    let mut ids = Ids::new();
    let mut at = 5;
    while at < call.len()
        && let Ok(id) = EntryId::parse(call.arg(at), 0)
    {
        ids.push(id);
        at += 1;
    }
    let options = options(call, at)?;
    let claim = Claim {
        group,
        consumer: call.arg(3),
        idle_min: u64::try_from(idle_min).unwrap_or(0),
        ids: &ids,
        // A time before 1970 or in the future means now.
        time: options
            .time
            .and_then(|time| u64::try_from(time).ok())
            .filter(|time| *time <= call.turn.now().0),
        deliveries: options.deliveries.filter(|count| *count >= 0),
        force: options.force,
        just_ids: options.just_ids,
        last_id: options.last_id,
    };
    let claimed = call.turn.claim(key, &claim)?;
    Ok(if options.just_ids {
        Reply::Ids(claimed.iter().map(|entry| entry.id).collect())
    } else {
        Reply::Entries(claimed)
    })
}

fn options(call: &Call<'_, '_>, mut at: usize) -> Result<Options, Stop> {
    let mut options = Options::default();
    while at < call.len() {
        let has_value = at + 1 < call.len();
        if call.is(at, "FORCE") {
            options.force = true;
            at += 1;
            continue;
        }
        if call.is(at, "JUSTID") {
            options.just_ids = true;
            at += 1;
            continue;
        }
        if has_value && call.is(at, "IDLE") {
            let idle = call.int_or(at + 1, "ERR Invalid IDLE option argument for XCLAIM")?;
            let now = i64::try_from(call.turn.now().0).unwrap_or(i64::MAX);
            options.time = Some(now.saturating_sub(idle));
        } else if has_value && call.is(at, "TIME") {
            options.time = Some(call.int_or(at + 1, "ERR Invalid TIME option argument for XCLAIM")?);
        } else if has_value && call.is(at, "RETRYCOUNT") {
            options.deliveries =
                Some(call.int_or(at + 1, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?);
        } else if has_value && call.is(at, "LASTID") {
            options.last_id = Some(call.id(at + 1)?);
        } else {
            return Err([b"ERR Unrecognized XCLAIM option '", call.arg(at), b"'"].concat().into());
        }
        at += 2;
    }
    Ok(options)
}
