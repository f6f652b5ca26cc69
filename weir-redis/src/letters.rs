//! Dead letters on a Redis: choosing them is done here, moving one is a script.

use redis::Value;
use weir_core::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetterQuery, Entry, EntryId, Error, Failure, Filter,
    Purge, Redrive, Redriven, Timestamp, dead_letters_of,
};

use crate::RedisBroker;
use crate::link::{Lane, Repeat};
use crate::reply;
use crate::request::{self, Request};

/// How many letters are looked at, or moved, in one call.
const PAGE: usize = 200;

impl RedisBroker {
    pub(crate) async fn list_letters(
        &self,
        stream: &[u8],
        group: &[u8],
        query: DeadLetterQuery,
    ) -> Result<DeadLetterPage, Error> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        let Some(dead) = self.dead_stream(stream, group).await? else {
            return Ok(DeadLetterPage { letters, next: None });
        };
        if query.count == 0 {
            return Ok(DeadLetterPage { letters, next: Some(query.after) });
        }
        let mut pages = Pages { dead, after: query.after };
        while let Some(page) = pages.next(self, stream).await? {
            for letter in page.into_iter().filter(|letter| is_meant(&query.filter, letter)) {
                if letters.len() as u64 == query.count {
                    let next = letters.last().map(|letter| letter.id);
                    return Ok(DeadLetterPage { letters, next });
                }
                letters.push(letter);
            }
        }
        Ok(DeadLetterPage { letters, next: None })
    }

    pub(crate) async fn redrive_letters(
        &self,
        stream: &[u8],
        group: &[u8],
        options: Redrive,
    ) -> Result<Redriven, Error> {
        let mut redriven = Redriven { entry_ids: Vec::new(), gone: Vec::new(), left: 0 };
        let Some(dead) = self.dead_stream(stream, group).await? else { return Ok(redriven) };
        let mut pages = Pages { dead: dead.clone(), after: EntryId::MIN };
        'all: while let Some(page) = pages.next(self, stream).await? {
            let mut meant = page.into_iter().filter(|letter| is_meant(&options.filter, letter)).peekable();
            while meant.peek().is_some() {
                let room = options.count.saturating_sub(redriven.entry_ids.len() as u64);
                let room = usize::try_from(room).unwrap_or(PAGE).min(PAGE);
                if room == 0 {
                    break 'all;
                }
                let letters: Vec<_> = meant.by_ref().take(room).collect();
                self.redrive_some(stream, group, &letters, options.dry_run, &mut redriven).await?;
            }
        }
        let length = Request::command("XLEN").arg(&dead);
        redriven.left = reply::uint(self.ask(stream, &length).await?).unwrap_or(0);
        if options.dry_run {
            redriven.left = redriven.left.saturating_sub(redriven.entry_ids.len() as u64);
        }
        Ok(redriven)
    }

    async fn redrive_some(
        &self,
        stream: &[u8],
        group: &[u8],
        letters: &[DeadLetter],
        is_dry: bool,
        redriven: &mut Redriven,
    ) -> Result<(), Error> {
        let mut request = self.group_script(&request::REDRIVE, stream, group)?.arg(u8::from(is_dry));
        for letter in letters {
            request =
                request.arg(letter.id.to_string()).arg(letter.entry_id.to_string()).arg(letter.redrives);
        }
        let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
        for (letter, outcome) in letters.iter().zip(reply::bytes(value).unwrap_or_default()) {
            match outcome {
                b'r' => redriven.entry_ids.push(letter.entry_id),
                b'g' => redriven.gone.push(letter.entry_id),
                // Somebody else was faster.
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn purge_letters(
        &self,
        stream: &[u8],
        group: &[u8],
        options: Purge,
    ) -> Result<u64, Error> {
        let Some(dead) = self.dead_stream(stream, group).await? else { return Ok(0) };
        let mut pages = Pages { dead: dead.clone(), after: EntryId::MIN };
        let mut purged = 0;
        while let Some(page) = pages.next(self, stream).await? {
            let room = usize::try_from(options.count - purged).unwrap_or(usize::MAX);
            let meant = page.into_iter().filter(|letter| is_meant(&options.filter, letter)).take(room);
            let ids: Vec<_> = meant.map(|letter| letter.id.to_string()).collect();
            if options.dry_run {
                purged += ids.len() as u64;
            } else if !ids.is_empty() {
                let request = Request::command("XDEL").arg(&dead).arg(ids);
                let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
                purged += reply::uint(value).unwrap_or(0);
            }
            if purged >= options.count {
                break;
            }
        }
        Ok(purged)
    }

    /// Where the dead letters of a group are; `None` when it has no policy.
    async fn dead_stream(&self, stream: &[u8], group: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        use weir_core::Groups;
        let info = self.group_info(stream, group).await?;
        let info = info.ok_or_else(|| Error::no_such_group(stream, group))?;
        let Some(policy) = info.policy else { return Ok(None) };
        match policy.dead_letter {
            Some(dead) => Ok(Some(dead)),
            None => dead_letters_of(stream, group).map(Some),
        }
    }
}

/// The letters of a stream, page by page.
struct Pages {
    dead: Vec<u8>,
    after: EntryId,
}

impl Pages {
    /// `None` after the last. A page may be empty: entries that are no letters are passed over.
    async fn next(&mut self, broker: &RedisBroker, stream: &[u8]) -> Result<Option<Vec<DeadLetter>>, Error> {
        let request = Request::command("XRANGE").arg(&self.dead).arg(format!("({}", self.after)).arg("+");
        let value: Value = broker.ask(stream, &request.arg("COUNT").arg(PAGE)).await?;
        let entries = reply::entries(value)?;
        let Some(last) = entries.last() else { return Ok(None) };
        self.after = last.id;
        Ok(Some(entries.into_iter().filter_map(parse_letter).collect()))
    }
}

/// The broker's own fields come first; the entry's follow.
fn parse_letter(entry: Entry) -> Option<DeadLetter> {
    let end = entry.fields.iter().position(|(name, _)| name == b"weir-fields")?;
    let (own, rest) = entry.fields.split_at(end + 1);
    let value = |name: &str| own.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| value);
    let number = |name: &str| std::str::from_utf8(value(name)?).ok()?.parse::<u64>().ok();
    let failure = |class: &str, reason: &str, at: &str| {
        Some(Failure {
            class: value(class)?.clone(),
            reason: value(reason)?.clone(),
            at: Timestamp(number(at)?),
        })
    };
    Some(DeadLetter {
        id: entry.id,
        entry_id: EntryId::parse(value("weir-id")?, 0).ok()?,
        fields: rest.to_vec(),
        consumer: value("weir-consumer").cloned(),
        deliveries: number("weir-deliveries")?,
        failures: number("weir-failures")?,
        first_failure: failure("weir-first-class", "weir-first-reason", "weir-first-at"),
        last_failure: failure("weir-last-class", "weir-last-reason", "weir-last-at")?,
        redrives: u32::try_from(number("weir-redrives")?).ok()?,
    })
}

fn is_meant(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    let last = &letter.last_failure;
    (filter.entry_ids.is_empty() || filter.entry_ids.contains(&letter.entry_id))
        && filter.class.as_ref().is_none_or(|class| *class == last.class)
        && filter.reason_contains.as_ref().is_none_or(|part| contains(&last.reason, part))
        && filter.redrives_max.is_none_or(|max| letter.redrives <= max)
        && Filter { conditions: filter.conditions.clone() }.matches_fields(&letter.fields)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
