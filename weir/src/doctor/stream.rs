//! What is in the way of a stream and its groups: asks the broker, and has the answers judged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use weir_core::{
    Broker, Clock, DeadLetterFilter, DeadLetterQuery, EntryId, GroupInfo, LostQuery, PendingQuery, Retention,
    StreamInfo, SystemClock, alerts_of,
};

use super::findings::{Findings, Severity};
use super::group::{self, Facts};
use crate::consumer_side::{all, text};

/// Rows of a pending list, and dead letters, that are looked at.
const LOOKED_AT: u64 = 500;
/// A stream that is kept for ever and has more entries is worth a word.
const UNBOUNDED_MAX: u64 = 100_000;
/// An answer of a broker takes longer than this only when something is wrong.
const ANSWER_MAX: Duration = Duration::from_millis(100);

/// Examines a stream and its groups, or one of them.
pub(super) async fn examine(
    url: &str,
    broker: impl Future<Output = Result<Arc<dyn Broker>>>,
    stream: &str,
    group: Option<&str>,
    findings: &mut Findings,
) -> Result<()> {
    let broker = match broker.await {
        Ok(broker) => broker,
        Err(error) => {
            let remedy = "is the server running (`weir health`, `redis-cli ping`)? Is the URL right: scheme, host, port, \
                          password? Does a firewall stand between?";
            findings.say(Severity::Problem, "connection", format!("{error:#}"), remedy);
            return Ok(());
        }
    };
    let Some(info) = stream_of(&*broker, url, stream, findings).await? else { return Ok(()) };
    contents(&info, findings);
    retention(&*broker, stream, &info, findings).await?;
    groups(&*broker, stream, group, &info, findings).await
}

/// The stream, and how fast the broker answers; `None` when there is none.
async fn stream_of(
    broker: &dyn Broker,
    url: &str,
    stream: &str,
    findings: &mut Findings,
) -> Result<Option<StreamInfo>> {
    #[expect(clippy::disallowed_methods, reason = "a figure for people, and no decision")]
    let asked = Instant::now();
    let info = broker.stream_info(stream.as_bytes()).await?;
    let took = asked.elapsed();
    let found = format!("{} answers after {}", without_password(url), text::duration(took));
    if took > ANSWER_MAX {
        let remedy = "the network is slow or the server is busy: look at its processor and its disk (`weir doctor` there), \
                      and see whether every program uses one connection for many commands";
        findings.say(Severity::Warning, "connection", found, remedy);
    } else {
        findings.ok("connection", found);
    }
    if info.is_none() {
        let names = all::streams(broker, "*", false).await?;
        let like: Vec<_> =
            names.iter().map(|name| text::shown(name)).filter(|name| is_like(name, stream)).collect();
        let hint = if like.is_empty() { String::new() } else { format!("; there is {}", like.join(", ")) };
        findings.say(
            Severity::Problem,
            "stream",
            format!("there is no stream {stream:?}{hint}"),
            format!(
                "it comes to be with its first entry (`weir publish {stream} name=value`) or its first group; does the \
                 producer write to this broker, this database, this name?"
            ),
        );
    }
    Ok(info)
}

fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

/// Whether somebody may have meant this name.
fn is_like(name: &str, wanted: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (name, wanted) = (plain(name), plain(wanted));
    !name.is_empty() && !wanted.is_empty() && (name.contains(&wanted) || wanted.contains(&name))
}

fn contents(info: &StreamInfo, findings: &mut Findings) {
    let age = text::age(info.last_id, SystemClock::new().now());
    match (info.length, info.entries_added) {
        (0, 0) => findings.say(
            Severity::Warning,
            "entries",
            "nothing was ever appended",
            "look at the producer: does it run, does it write to this stream, does it see errors?",
        ),
        (0, added) => findings.say(
            Severity::Note,
            "entries",
            format!("none any more; {} were appended, the last {age} ago", text::entries(added)),
            "they were trimmed or deleted: see `weir stream retain` for how much is kept, and `weir stream lost`",
        ),
        (length, _) => findings.ok("entries", format!("{}, the last appended {age} ago", text::entries(length))),
    }
}

async fn retention(
    broker: &dyn Broker,
    stream: &str,
    info: &StreamInfo,
    findings: &mut Findings,
) -> Result<()> {
    let name = stream.as_bytes();
    let Ok(alerts) = alerts_of(name) else {
        findings.ok("retention", "its name lets nothing be kept beside it, so everything is kept");
        return Ok(());
    };
    kept(stream, broker.retention(name).await?.as_ref(), info.length, findings);
    if let Some(alerts) = broker.stream_info(&alerts).await?.filter(|alerts| alerts.length > 0) {
        findings.say(
            Severity::Warning,
            "held entries",
            format!("{} about entries that were kept beyond the limit", text::plural(alerts.length, "alert", "alerts")),
            format!(
                "a required group is behind: `weir lag {stream}` says which; read the alerts with `weir tail '{}'`",
                text::shown(&alerts_of(name)?)
            ),
        );
    }
    let lost = broker.lost(name, LostQuery { group: None, after: None, count: 1 }).await?;
    if let Some(first) = lost.entries.first() {
        findings.say(
            Severity::Problem,
            "lost entries",
            format!("entries went before a required group had acknowledged them, {} first", first.id),
            format!("`weir stream lost {stream}` lists them; give a larger --hold with `weir stream retain {stream}`"),
        );
    }
    Ok(())
}

fn kept(stream: &str, retention: Option<&Retention>, length: u64, findings: &mut Findings) {
    match retention {
        Some(retention) => {
            let limits = [
                retention.length.map(text::entries),
                retention.bytes.map(|bytes| text::plural(bytes, "byte", "bytes")),
                retention.age.map(text::duration),
            ];
            let limits: Vec<_> = limits.into_iter().flatten().collect();
            findings.ok("retention", format!("the newest {}", limits.join(", ")));
        }
        None if length > UNBOUNDED_MAX => findings.say(
            Severity::Warning,
            "retention",
            format!("everything is kept, {} by now: the stream only grows", text::entries(length)),
            format!("say how much you need: `weir stream retain {stream} --age 7d`; with --required groups it waits for them"),
        ),
        None => findings.ok("retention", "everything is kept"),
    }
}

async fn groups(
    broker: &dyn Broker,
    stream: &str,
    wanted: Option<&str>,
    info: &StreamInfo,
    findings: &mut Findings,
) -> Result<()> {
    let groups = broker.groups(stream.as_bytes()).await?;
    let is_wanted = |group: &GroupInfo| wanted.is_none_or(|wanted| wanted.as_bytes() == group.name);
    if !groups.iter().any(is_wanted) {
        let names: Vec<_> = groups.iter().map(|group| text::shown(&group.name)).collect();
        let (severity, found) = match wanted {
            Some(wanted) if names.is_empty() => {
                (Severity::Problem, format!("there is no group {wanted:?}, nor any other"))
            }
            Some(wanted) => {
                (Severity::Problem, format!("there is no group {wanted:?}; there is {}", names.join(", ")))
            }
            None => (Severity::Note, "there are none, so nobody is given anything".to_owned()),
        };
        let name = wanted.unwrap_or("GROUP");
        let remedy = format!(
            "`weir group create {stream} {name} --from start` makes it and gives it what is there; --from end only what \
             comes; a consumer of the runtime makes its own"
        );
        findings.say(severity, "group", found, remedy);
    }
    for group in groups.into_iter().filter(is_wanted) {
        let facts = facts(broker, stream, group, info).await?;
        group::judge(&facts, findings);
    }
    Ok(())
}

async fn facts(broker: &dyn Broker, stream: &str, group: GroupInfo, info: &StreamInfo) -> Result<Facts> {
    let name = stream.as_bytes();
    let all = PendingQuery {
        consumer: None,
        idle_min: None,
        start: EntryId::MIN,
        end: EntryId::MAX,
        count: LOOKED_AT,
    };
    let letters =
        DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: LOOKED_AT };
    Ok(Facts {
        stream: stream.to_owned(),
        lag: broker.lag(name, &group.name).await?,
        consumers: broker.consumers(name, &group.name).await?,
        rows: broker.pending(name, &group.name, all).await?,
        letters: broker.dead_letters(name, &group.name, letters).await?.letters,
        first_id: info.first_id,
        group,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_meant_are_found() {
        assert!(
            is_like("events.raw", "events-raw") && is_like("Orders", "order") && !is_like("orders", "users")
        );
        assert_eq!(without_password("redis://:secret@host:1/0"), "redis://host:1/0");
    }

    #[test]
    fn a_stream_that_only_grows_is_told() {
        let mut findings = Findings::default();
        kept("s", None, UNBOUNDED_MAX + 1, &mut findings);
        assert_eq!(findings.worst(), Severity::Warning);
        let mut findings = Findings::default();
        kept("s", None, UNBOUNDED_MAX, &mut findings);
        kept(
            "s",
            Some(&Retention { length: Some(5), ..Retention::default() }),
            UNBOUNDED_MAX + 1,
            &mut findings,
        );
        assert_eq!(findings.worst(), Severity::Ok);
    }
}
