//! The settings that CONFIG shows and changes: rows of name, form, how to read it, how to set it.
//!
//! A row without a setter is fixed while the server runs; setting it to what it is does nothing.

use std::time::Duration;

use weir_engine::{Fsync, IdempotenceDefaults, NodeLimits};

use super::call::Call;
use super::notify::NotifyFlags;
use super::number::parse_i64;

/// What a setting's value looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// An integer within these bounds.
    Int(i64, i64),
    /// A number of bytes within these bounds, `4kb` included.
    Bytes(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Letters of keyspace events.
    Events,
    /// Any text.
    Text,
}

/// A value that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Int(i64),
    Word(&'static str),
    Events(NotifyFlags),
    Text(&'a [u8]),
}

impl Value<'_> {
    fn int(self) -> u64 {
        if let Self::Int(value) = self { u64::try_from(value).unwrap_or(0) } else { 0 }
    }
}

/// One setting.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) get: fn(&mut Call<'_, '_>) -> String,
    pub(crate) set: Option<fn(&mut Call<'_, '_>, Value<'_>)>,
}

const YES_NO: Form = Form::Word(&["yes", "no"]);
const ANY_COUNT: Form = Form::Int(0, i64::MAX);
const MIB: i64 = 1 << 20;

const fn fixed(name: &'static str, form: Form, get: fn(&mut Call<'_, '_>) -> String) -> Setting {
    Setting { name, form, get, set: None }
}

const fn open(
    name: &'static str,
    form: Form,
    get: fn(&mut Call<'_, '_>) -> String,
    set: fn(&mut Call<'_, '_>, Value<'_>),
) -> Setting {
    Setting { name, form, get, set: Some(set) }
}

/// All settings, by name.
pub(crate) static SETTINGS: &[Setting] = &[
    open(
        "appendfsync",
        Form::Word(&["everysec", "always", "no"]),
        |call| fsync_word(call.engine.fsync()).to_owned(),
        |call, value| {
            call.engine.set_fsync(match value {
                Value::Word("always") => Fsync::Always,
                Value::Word("no") => Fsync::No,
                _ => Fsync::EverySecond,
            });
        },
    ),
    fixed("appendonly", YES_NO, |_| "yes".into()),
    fixed("bind", Form::Text, |call| call.door.config.bind.clone()),
    fixed("databases", Form::Int(1, 16), |_| super::door::DATABASES.to_string()),
    fixed("dir", Form::Text, |call| call.door.config.dir.clone()),
    fixed("enable-debug-command", Form::Word(&["no", "yes", "local"]), |call| {
        if call.door.config.debug_commands { "yes" } else { "no" }.into()
    }),
    open(
        "latency-monitor-threshold",
        ANY_COUNT,
        |call| call.door.latency.threshold.to_string(),
        |call, value| call.door.latency.threshold = value.int(),
    ),
    open(
        "maxclients",
        Form::Int(1, u32::MAX as i64),
        |call| call.door.config.limits.clients.to_string(),
        |call, value| call.door.config.limits.clients = value.int() as usize,
    ),
    fixed("maxmemory", Form::Bytes(0, i64::MAX), |_| "0".into()),
    fixed("maxmemory-policy", Form::Word(&["noeviction"]), |_| "noeviction".into()),
    open(
        "notify-keyspace-events",
        Form::Events,
        |call| call.door.notify.letters(),
        |call, value| {
            if let Value::Events(flags) = value {
                call.door.notify = flags;
                call.turn.record_events(flags.is_on());
            }
        },
    ),
    fixed("port", Form::Int(0, 65_535), |call| call.door.config.port.to_string()),
    open(
        "proto-max-bulk-len",
        Form::Bytes(MIB, u32::MAX as i64),
        |call| call.door.config.limits.request_bytes.to_string(),
        |call, value| {
            call.door.config.limits.request_bytes = u32::try_from(value.int()).unwrap_or(u32::MAX);
        },
    ),
    open(
        "requirepass",
        Form::Text,
        |call| call.door.config.password.clone().unwrap_or_default(),
        |call, value| {
            if let Value::Text(text) = value {
                call.door.set_password(Some(text).filter(|text| !text.is_empty()));
            }
        },
    ),
    fixed("save", Form::Text, |_| String::new()),
    open(
        "slowlog-log-slower-than",
        Form::Int(-1, i64::MAX),
        |call| call.door.slowlog.slower_than.map_or("-1".into(), |limit| limit.as_micros().to_string()),
        |call, value| {
            call.door.slowlog.slower_than = match value {
                Value::Int(micros) => u64::try_from(micros).ok().map(Duration::from_micros),
                _ => None,
            };
        },
    ),
    open(
        "slowlog-max-len",
        Form::Int(0, super::slowlog::ROWS_MAX as i64),
        |call| call.door.slowlog.rows_max().to_string(),
        |call, value| call.door.slowlog.set_rows_max(value.int()),
    ),
    open(
        "stream-idmp-duration",
        Form::Int(1, 86_400),
        |call| call.turn.idempotence_defaults().duration.to_string(),
        |call, value| {
            let defaults = call.turn.idempotence_defaults();
            call.turn.set_idempotence_defaults(IdempotenceDefaults { duration: value.int(), ..defaults });
        },
    ),
    open(
        "stream-idmp-maxsize",
        Form::Int(1, 10_000),
        |call| call.turn.idempotence_defaults().max.to_string(),
        |call, value| {
            let defaults = call.turn.idempotence_defaults();
            call.turn.set_idempotence_defaults(IdempotenceDefaults { max: value.int(), ..defaults });
        },
    ),
    open(
        "stream-node-max-bytes",
        Form::Bytes(0, i64::MAX),
        |call| call.turn.node_limits().bytes_max.to_string(),
        |call, value| {
            let limits = call.turn.node_limits();
            call.turn.set_node_limits(NodeLimits { bytes_max: value.int(), ..limits });
        },
    ),
    open(
        "stream-node-max-entries",
        ANY_COUNT,
        |call| call.turn.node_limits().entries_max.to_string(),
        |call, value| {
            let limits = call.turn.node_limits();
            call.turn.set_node_limits(NodeLimits { entries_max: value.int(), ..limits });
            // The default limit of approximate trims depends on it.
            call.door.config.node_entries_max = value.int();
        },
    ),
    fixed("tcp-keepalive", Form::Int(0, i32::MAX as i64), |_| "300".into()),
    fixed("timeout", Form::Int(0, i32::MAX as i64), |_| "0".into()),
];

/// When answers may leave, as CONFIG says it.
pub(crate) fn fsync_word(fsync: Fsync) -> &'static str {
    match fsync {
        Fsync::EverySecond => "everysec",
        Fsync::Always => "always",
        Fsync::No => "no",
    }
}

/// The setting of this name, in whatever case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| name.eq_ignore_ascii_case(setting.name.as_bytes()))
}

impl Setting {
    /// Reads a value; the error says what is wrong with it.
    pub(crate) fn parse<'a>(&self, text: &'a [u8]) -> Result<Value<'a>, String> {
        let bounded = |value: i64, min, max| {
            if (min..=max).contains(&value) {
                return Ok(Value::Int(value));
            }
            Err(format!("argument must be between {min} and {max} inclusive"))
        };
        match self.form {
            Form::Int(min, max) => match parse_i64(text) {
                Some(value) => bounded(value, min, max),
                None => Err("argument couldn't be parsed into an integer".into()),
            },
            Form::Bytes(min, max) => match parse_bytes(text) {
                Some(value) => bounded(value, min, max),
                None => Err("argument must be a memory value".into()),
            },
            Form::Word(words) => {
                let word = words.iter().find(|word| text.eq_ignore_ascii_case(word.as_bytes()));
                word.map(|word| Value::Word(word)).ok_or_else(|| match words {
                    ["yes", "no"] => "argument must be 'yes' or 'no'".into(),
                    words => format!("argument(s) must be one of the following: {}", words.join(", ")),
                })
            }
            Form::Events => NotifyFlags::parse(text)
                .map(Value::Events)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            Form::Text => Ok(Value::Text(text)),
        }
    }
}

/// Bytes with a unit: `512`, `4kb` = 4096, `4k` = 4000.
fn parse_bytes(text: &[u8]) -> Option<i64> {
    let digits = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    std::str::from_utf8(number).ok()?.parse::<i64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sorted_and_found() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        assert_eq!(find(b"SAVE").map(|setting| setting.name), Some("save"));
        assert!(find(b"nosuch").is_none());
    }

    #[test]
    fn bytes_have_units() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("4kb", Some(4096)),
            ("4K", Some(4000)),
            ("1gb", Some(1 << 30)),
            ("1tb", None),
            ("kb", None),
            ("", None),
            ("-1", None),
            ("9223372036854775807gb", None),
        ] {
            assert_eq!(parse_bytes(text.as_bytes()), wanted, "{text}");
        }
    }
}
