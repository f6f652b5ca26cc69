//! Groups on a Redis: making them, moving them, looking at them.

use std::time::Duration;

use redis::Value;
use weir_core::{
    BoxFuture, ConsumerInfo, CreateGroup, Created, EntryId, Error, ErrorKind, GroupInfo, GroupOrigin, Groups,
    Lag, PendingFate, Policy, Seek, SeekTo, Sought, dead_letters_of, is_side_stream, slot_name,
};

use crate::link::{Lane, Repeat, slot_of};
use crate::policy::{self, millis};
use crate::reply::{self, Row};
use crate::request::{self, Request, Script};
use crate::{RedisBroker, about_group, side_prefix};

/// The consumer that owns what nobody holds. Not one of the group's.
pub(crate) const PARKED: &[u8] = b"weir:parked";

impl Groups for RedisBroker {
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: CreateGroup,
    ) -> BoxFuture<'a, Created> {
        about_group(stream, group, async move {
            check_name(group)?;
            let (origin, id) = match options.origin {
                GroupOrigin::Beginning => ("beginning".to_owned(), "0-0".to_owned()),
                GroupOrigin::After(id) => (format!("after {id}"), id.to_string()),
                GroupOrigin::End => ("end".to_owned(), "$".to_owned()),
            };
            let mut request = self.group_script(&request::CREATE_GROUP, stream, group)?;
            request = request.arg(slot_name(stream)?).arg(origin).arg(id);
            self.push_policy(&mut request, stream, group, &options.policy)?;
            let value = self.ask(stream, &request).await?;
            Ok(if reply::int(value) == Some(1) { Created::New } else { Created::Existing })
        })
    }

    fn delete_group<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, bool> {
        about_group(stream, group, async move {
            let request = self.group_script(&request::DELETE_GROUP, stream, group)?;
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            Ok(reply::int(value) == Some(1))
        })
    }

    fn groups<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupInfo>> {
        Box::pin(async move {
            let mut found = self.group_infos(stream, b"").await?;
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    fn group_info<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Option<GroupInfo>> {
        about_group(
            stream,
            group,
            async move { Ok(self.group_infos(stream, group).await?.into_iter().next()) },
        )
    }

    fn set_policy<'a>(&'a self, stream: &'a [u8], group: &'a [u8], policy: Policy) -> BoxFuture<'a, ()> {
        about_group(stream, group, async move {
            let request = self.group_script(&request::SET_POLICY, stream, group)?;
            let mut request = request.arg(slot_name(stream)?);
            self.push_policy(&mut request, stream, group, &policy)?;
            self.ask(stream, &request).await.map(drop)
        })
    }

    fn seek<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Seek) -> BoxFuture<'a, Sought> {
        about_group(stream, group, async move {
            let (kind, value) = match options.to {
                SeekTo::Start => ("id", EntryId::MIN.to_string()),
                SeekTo::End => ("end", String::new()),
                SeekTo::After(id) => ("id", id.to_string()),
                SeekTo::Time(time) => ("time", EntryId::new(time.0, 0).to_string()),
                SeekTo::Skip(count) => ("skip", count.to_string()),
            };
            let request = self.group_script(&request::SEEK, stream, group)?;
            let request = request.arg(kind).arg(value).arg(u8::from(options.dry_run));
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            let mut row = Row::new(value);
            Ok(Sought {
                from: row.take("the ID before", reply::id)?,
                to: row.take("the ID afterwards", reply::id)?,
                dropped: row.take("how many were dropped", reply::uint)?,
            })
        })
    }

    fn pause<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        duration: Option<Duration>,
    ) -> BoxFuture<'a, ()> {
        about_group(stream, group, async move {
            let request = self.group_script(&request::PAUSE, stream, group)?;
            let until = duration.map_or_else(|| "inf".to_owned(), |duration| millis(duration).to_string());
            self.ask(stream, &request.arg(until)).await.map(drop)
        })
    }

    fn resume<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, ()> {
        about_group(stream, group, async move {
            let request = self.group_script(&request::PAUSE, stream, group)?;
            self.ask(stream, &request.arg("")).await.map(drop)
        })
    }

    fn create_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
    ) -> BoxFuture<'a, bool> {
        about_group(stream, group, async move {
            check_consumer(consumer)?;
            let request =
                Request::command("XGROUP").arg("CREATECONSUMER").arg(stream).arg(group).arg(consumer);
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await;
            let value = value.map_err(|error| no_key_is_no_group(error).about_group(stream, group));
            Ok(reply::int(value?) == Some(1))
        })
    }

    fn consumers<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Vec<ConsumerInfo>> {
        about_group(stream, group, async move {
            let request = Request::command("XINFO").arg("CONSUMERS").arg(stream).arg(group);
            let mut found: Vec<_> = reply::array(self.ask(stream, &request).await?)
                .into_iter()
                .filter_map(parse_consumer)
                .filter(|consumer| consumer.name != PARKED)
                .collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    fn delete_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
        pending: PendingFate,
    ) -> BoxFuture<'a, u64> {
        about_group(stream, group, async move {
            check_consumer(consumer)?;
            let request = self.group_script(&request::DELETE_CONSUMER, stream, group)?.arg(consumer);
            let request = request.arg(u8::from(pending == PendingFate::HandBack));
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            Ok(reply::uint(value).unwrap_or(0))
        })
    }

    fn lag<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Lag> {
        about_group(stream, group, async move {
            let request = self.group_script(&request::LAG, stream, group)?;
            parse_lag(self.ask(stream, &request).await?)
        })
    }
}

impl RedisBroker {
    /// A script about a group.
    pub(crate) fn group_script(
        &self,
        script: &'static std::sync::LazyLock<Script>,
        stream: &[u8],
        group: &[u8],
    ) -> Result<Request, Error> {
        Ok(Request::script(script, stream).arg(side_prefix(stream)?).arg(group))
    }

    fn push_policy(
        &self,
        request: &mut Request,
        stream: &[u8],
        group: &[u8],
        policy: &Policy,
    ) -> Result<(), Error> {
        policy.check()?;
        if let Some(dead) = &policy.dead_letter
            && self.link().is_cluster()
            && slot_of(dead) != slot_of(stream)
        {
            return Err(Error::new(ErrorKind::Invalid(
                "on a Redis cluster the dead-letter stream has to be in the hash slot of its stream",
            ))
            .with_context(format!("name it {}:something", String::from_utf8_lossy(&slot_name(stream)?))));
        }
        // A side stream has a purpose of its own, unless it is the one that the group has anyway.
        let is_taken = match &policy.dead_letter {
            Some(dead) => is_side_stream(dead) && *dead != dead_letters_of(stream, group)?,
            None => false,
        };
        request.push(u8::from(is_taken));
        for (name, value) in policy::encode(stream, group, policy)? {
            request.push(name);
            request.push(value);
        }
        Ok(())
    }

    async fn group_infos(&self, stream: &[u8], only: &[u8]) -> Result<Vec<GroupInfo>, Error> {
        let prefix = side_prefix(stream).unwrap_or_default();
        let request = Request::script(&request::GROUPS, stream).arg(prefix).arg(only);
        let value = self.ask(stream, &request).await?;
        reply::array(value).into_iter().map(parse_group).collect()
    }
}

/// The name of a consumer is the user's, but for the one that owns what nobody holds.
pub(crate) fn check_consumer(consumer: &[u8]) -> Result<(), Error> {
    if consumer == PARKED {
        return Err(
            ErrorKind::Invalid("the consumer weir:parked owns what nobody holds; take another name").into()
        );
    }
    Ok(())
}

fn check_name(group: &[u8]) -> Result<(), Error> {
    if group.is_empty() {
        return Err(ErrorKind::Invalid("a group needs a name").into());
    }
    Ok(())
}

/// `XGROUP` has a text of its own for a missing key.
fn no_key_is_no_group(error: Error) -> Error {
    let is_about_key = std::error::Error::source(&error)
        .is_some_and(|source| source.to_string().contains("requires the key to exist"));
    if is_about_key { ErrorKind::NoSuchGroup.into() } else { error }
}

fn parse_group(value: Value) -> Result<GroupInfo, Error> {
    let mut row = Row::new(value);
    let name = row.take("the name of a group", reply::bytes)?;
    let last_delivered_id = row.take("the last-delivered ID", reply::id)?;
    let pending = row.take("a number of rows", reply::uint)?;
    let consumers = row.take("a number of consumers", reply::uint)?;
    let now = row.take("the time", reply::uint)?;
    let stored = reply::fields(row.value());
    let text = |name: &str| {
        let value = stored.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| value)?;
        std::str::from_utf8(value).ok()
    };
    let number = |name| text(name).and_then(|text| text.parse::<u64>().ok());
    Ok(GroupInfo {
        name,
        origin: text("origin").and_then(parse_origin),
        last_delivered_id,
        pending,
        consumers,
        paused: text("pause") == Some("inf") || number("pause").is_some_and(|until| until > now),
        filtered: number("filtered").unwrap_or(0),
        stale_settlements: number("stale").unwrap_or(0),
        policy: policy::decode(&stored),
    })
}

fn parse_origin(text: &str) -> Option<GroupOrigin> {
    match text {
        "beginning" => Some(GroupOrigin::Beginning),
        "end" => Some(GroupOrigin::End),
        other => Some(GroupOrigin::After(other.strip_prefix("after ")?.parse().ok()?)),
    }
}

fn parse_consumer(value: Value) -> Option<ConsumerInfo> {
    let mut info = ConsumerInfo { name: Vec::new(), pending: 0, idle: Duration::ZERO };
    for (name, value) in reply::pairs(value) {
        match &name[..] {
            b"name" => info.name = reply::bytes(value)?,
            b"pending" => info.pending = reply::uint(value)?,
            b"idle" => info.idle = Duration::from_millis(reply::uint(value)?),
            _ => {}
        }
    }
    Some(info)
}

fn parse_lag(value: Value) -> Result<Lag, Error> {
    let mut row = Row::new(value);
    let mut count = || row.take("a count", reply::uint);
    let (undelivered, pending, ready, delayed, dead) = (count()?, count()?, count()?, count()?, count()?);
    let mut age = || reply::uint(row.value()).map(Duration::from_millis);
    let (oldest_undelivered, oldest_pending) = (age(), age());
    #[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
    let mut rate = || -> Result<f64, Error> {
        let count = row.take("a count", reply::uint)?;
        let millis = row.take("a time", reply::uint)?.max(1);
        Ok(count as f64 * 1_000.0 / millis as f64)
    };
    let (arrivals_per_s, drained_per_s) = (rate()?, rate()?);
    let exact = row.take("0 or 1", reply::int)? == 1;
    let total = undelivered + pending + ready + delayed;
    Ok(Lag {
        undelivered,
        pending,
        ready,
        delayed,
        dead,
        oldest_undelivered,
        oldest_pending,
        arrivals_per_s,
        drained_per_s,
        eta: Lag::eta_at(total, arrivals_per_s, drained_per_s),
        exact,
    })
}
