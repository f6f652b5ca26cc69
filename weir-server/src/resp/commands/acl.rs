//! ACL: users and their rules.

use std::io::Read as _;
use std::sync::Arc;

use crate::resp::acl::{self, DEFAULT, User};
use crate::resp::call::{Answer, Call, Stop};
use crate::resp::client::ClientNo;
use crate::resp::command::{CATEGORIES, Command, Run, flag};
use crate::resp::errors;
use crate::resp::number::parse_i64;
use crate::resp::pubsub::Kind;
use crate::resp::reply::Reply;
use crate::resp::table::find_subcommand;

const ROW: Command = Command {
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: "server",
    since: "6.0.0",
    ..Command::BASE
};
/// A row of a command that tells or changes what users may do.
const ADMIN: Command = Command { flags: ROW.flags | flag::ADMIN | flag::DANGEROUS, ..ROW };

pub(super) static COMMAND: Command = Command {
    name: "acl",
    arity: -2,
    flags: 0,
    summary: "a container of commands about users",
    run: Run::Container(&[
        &CAT, &DELUSER, &DRYRUN, &GENPASS, &GETUSER, &HELP, &LIST, &LOG, &SETUSER, &USERS, &WHOAMI,
    ]),
    ..ROW
};

static HELP: Command = Command {
    name: "acl|help",
    arity: 2,
    summary: "returns texts about the subcommands",
    run: Run::Call(|call| Ok(call.help())),
    ..ROW
};

static WHOAMI: Command = Command {
    name: "acl|whoami",
    arity: 2,
    summary: "returns the user of the connection",
    run: Run::Call(|call| Ok(Reply::bulk(call.client().user_name()))),
    ..ROW
};

static USERS: Command = Command {
    name: "acl|users",
    arity: 2,
    summary: "returns the names of all users",
    run: Run::Call(|call| {
        Ok(Reply::Array(call.door.acl.users().map(|user| Reply::bulk(&user.name)).collect()))
    }),
    ..ADMIN
};

static LIST: Command = Command {
    name: "acl|list",
    arity: 2,
    summary: "returns all users with their rules",
    run: Run::Call(|call| {
        Ok(Reply::Array(call.door.acl.users().map(|user| Reply::bulk(user.line())).collect()))
    }),
    ..ADMIN
};

static GETUSER: Command = Command {
    name: "acl|getuser",
    arity: 3,
    summary: "returns the rules of a user",
    syntax: "username",
    run: Run::Call(|call| {
        let Some(user) = call.door.acl.get(call.arg(2)) else { return Ok(Reply::Null) };
        Ok(Reply::Map(vec![
            Reply::Text("flags"),
            Reply::Set(user.flags().into_iter().map(Reply::Text).collect()),
            Reply::Text("passwords"),
            Reply::Array(user.password_texts().map(Reply::bulk).collect()),
            Reply::Text("commands"),
            Reply::bulk(user.rules.text()),
            Reply::Text("keys"),
            Reply::bulk(user.keys_text()),
            Reply::Text("channels"),
            Reply::bulk(user.channels_text()),
            Reply::Text("selectors"),
            Reply::Array(Vec::new()),
        ]))
    }),
    ..ADMIN
};

static SETUSER: Command = Command {
    name: "acl|setuser",
    arity: -3,
    flags: ADMIN.flags | flag::SKIP_SLOWLOG,
    summary: "adds a user or changes its rules",
    syntax: "username [rule [rule ...]]",
    run: Run::Call(set_user),
    ..ADMIN
};

fn set_user(call: &mut Call<'_, '_>) -> Answer {
    let name = call.arg(2);
    if name.iter().any(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
        return Err("ERR Usernames can't contain spaces or null characters".into());
    }
    let mut user = call.door.acl.get(name).map_or_else(|| User::new(name), |user| (**user).clone());
    for at in 3..call.len() {
        let modifier = call.arg(at);
        user.apply(modifier).map_err(|why| {
            [b"ERR Error in ACL SETUSER modifier '", modifier, b"': ", why.as_bytes()].concat()
        })?;
    }
    let user = Arc::new(user);
    if !call.door.replace_user(user.clone()) {
        return Err("ERR too many users".into());
    }
    for who in call.door.clients_of(name) {
        if !may_listen(call, who, &user) {
            call.disconnect(who);
        }
    }
    Ok(Reply::Ok)
}

/// Whether a client may have the subscriptions it has.
fn may_listen(call: &Call<'_, '_>, who: ClientNo, user: &User) -> bool {
    [Kind::Channel, Kind::Pattern].into_iter().all(|kind| {
        let names = call.door.channels.of(kind, who);
        names.iter().all(|name| user.may_use_channel(name, kind == Kind::Pattern))
    })
}

static DELUSER: Command = Command {
    name: "acl|deluser",
    arity: -3,
    summary: "removes users and disconnects them",
    syntax: "username [username ...]",
    run: Run::Call(|call| {
        if (2..call.len()).any(|at| call.arg(at) == DEFAULT) {
            return Err("ERR The 'default' user cannot be removed".into());
        }
        let mut removed = 0;
        for at in 2..call.len() {
            let name = call.arg(at);
            if call.door.acl.remove(name) {
                removed += 1;
                call.door.clients_of(name).into_iter().for_each(|who| call.disconnect(who));
            }
        }
        Ok(Reply::Int(removed))
    }),
    ..ADMIN
};

static CAT: Command = Command {
    name: "acl|cat",
    arity: -2,
    summary: "returns the categories of commands, or the commands of one",
    syntax: "[category]",
    run: Run::Call(|call| match call.len() {
        2 => Ok(Reply::Array(CATEGORIES.iter().map(|(name, _)| Reply::Text(name)).collect())),
        3 => {
            let wanted = call.arg(2);
            let known = CATEGORIES.iter().find(|(name, _)| wanted.eq_ignore_ascii_case(name.as_bytes()));
            let Some((_, holds)) = known else {
                return Err([b"ERR Unknown category '", wanted, b"'"].concat().into());
            };
            let rows = super::all_with_subcommands();
            let rows = rows.filter(|row| row.subcommands().is_empty() && holds(row));
            Ok(Reply::Array(rows.map(|row| Reply::Text(row.name)).collect()))
        }
        _ => Err(errors::bad_subcommand("acl", call.arg(1)).into()),
    }),
    ..ROW
};

static GENPASS: Command = Command {
    name: "acl|genpass",
    arity: -2,
    summary: "returns a password that nobody can guess",
    syntax: "[bits]",
    run: Run::Call(gen_pass),
    ..ROW
};

fn gen_pass(call: &mut Call<'_, '_>) -> Answer {
    const TEXT: &str = "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number \
                        up to 4096";
    let bits = match call.len() {
        2 => 256,
        3 => usize::try_from(call.int(2)?).ok().filter(|bits| (1..=4096).contains(bits)).ok_or(TEXT)?,
        _ => return Err(errors::bad_subcommand("acl", call.arg(1)).into()),
    };
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(|_| Stop::refused("ERR the system has no random numbers"))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    Ok(Reply::bulk(text))
}

static DRYRUN: Command = Command {
    name: "acl|dryrun",
    arity: -4,
    since: "7.0.0",
    summary: "says whether a user may execute a command, without executing it",
    syntax: "username command [arg [arg ...]]",
    run: Run::Call(dry_run),
    ..ADMIN
};

fn dry_run(call: &mut Call<'_, '_>) -> Answer {
    let Some(user) = call.door.acl.get(call.arg(2)) else {
        return Err([b"ERR User '", call.arg(2), b"' not found"].concat().into());
    };
    let inner = call.args.skip(3);
    let name = call.arg(3);
    let row = call.door.table.find(name).and_then(|row| match (row.run, inner.get(1)) {
        (Run::Container(_), Some(sub)) => find_subcommand(row, sub),
        (Run::Both(..), Some(sub)) => find_subcommand(row, sub),
        _ => Some(row),
    });
    let Some(row) = row else { return Err([b"ERR Command '", name, b"' not found"].concat().into()) };
    if !row.accepts(inner.len()) {
        return Err(errors::wrong_arity(row.name).into());
    }
    match acl::check(user, row, inner) {
        Ok(()) => Ok(Reply::Ok),
        Err(denied) => Ok(Reply::bulk(denied.details(user))),
    }
}

static LOG: Command = Command {
    name: "acl|log",
    arity: -2,
    summary: "returns what was refused lately, or forgets it",
    syntax: "[count | RESET]",
    run: Run::Call(log),
    ..ADMIN
};

fn log(call: &mut Call<'_, '_>) -> Answer {
    let most = match call.len() {
        2 => 10,
        3 if call.is(2, "RESET") => {
            call.door.acl.log.refusals.clear();
            return Ok(Reply::Ok);
        }
        3 => parse_i64(call.arg(2)).ok_or(errors::NOT_AN_INTEGER)?,
        _ => return Err(errors::bad_subcommand("acl", call.arg(1)).into()),
    };
    let now = call.door.clock.now();
    let refusals = call.door.acl.log.refusals.iter().take(usize::try_from(most).unwrap_or(0));
    Ok(Reply::Array(
        refusals
            .map(|refusal| {
                Reply::Map(vec![
                    Reply::Text("count"),
                    Reply::count(refusal.count),
                    Reply::Text("reason"),
                    Reply::Text(refusal.reason),
                    Reply::Text("context"),
                    Reply::Text(refusal.context),
                    Reply::Text("object"),
                    Reply::bulk(&refusal.object),
                    Reply::Text("username"),
                    Reply::bulk(&refusal.user),
                    Reply::Text("age-seconds"),
                    Reply::Double(now.millis_since(refusal.created) as f64 / 1_000.0),
                    Reply::Text("client-info"),
                    Reply::bulk(refusal.client.trim_end()),
                    Reply::Text("entry-id"),
                    Reply::count(refusal.id),
                    Reply::Text("timestamp-created"),
                    Reply::count(refusal.created.0),
                    Reply::Text("timestamp-last-updated"),
                    Reply::count(refusal.updated.0),
                ])
            })
            .collect(),
    ))
}
