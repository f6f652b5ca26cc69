//! Lag, counted from outside: from the entries, the pending list and the dead letters that a broker shows.

use weir_core::{
    Broker, DeadLetterFilter, DeadLetterQuery, EntryId, Error, Lag, PendingQuery, PendingState, ReadFrom,
    ReadOptions,
};

/// Counts a group's lag by looking at everything. Answers the lag that the broker says, and what is wrong with it;
/// nothing must change meanwhile.
///
/// # Errors
/// As the methods it asks.
pub async fn recount(broker: &dyn Broker, stream: &[u8], group: &[u8]) -> Result<(Lag, Vec<String>), Error> {
    let all = ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: u64::MAX, wait: None };
    let entries = broker.read(stream, all).await?;
    let query = PendingQuery {
        consumer: None,
        idle_min: None,
        start: EntryId::MIN,
        end: EntryId::MAX,
        count: u64::MAX,
    };
    let rows = broker.pending(stream, group, query).await?;
    let said = broker.lag(stream, group).await?;
    let Some(info) = broker.group_info(stream, group).await? else {
        return Ok((said, vec!["a group with lag has no info".into()]));
    };
    let filter = info.policy.and_then(|policy| policy.filter);
    let is_open = |entry: &&weir_core::Entry| {
        entry.id > info.last_delivered_id
            && filter.as_ref().is_none_or(|filter| filter.matches_fields(&entry.fields))
    };
    let in_state = |is: fn(&PendingState) -> bool| rows.iter().filter(|row| is(&row.state)).count() as u64;
    let undelivered = entries.iter().filter(is_open).count() as u64;
    let counts = [
        ("undelivered", said.undelivered, undelivered + in_state(|state| *state == PendingState::Waiting)),
        ("pending", said.pending, in_state(|state| *state == PendingState::InFlight)),
        ("ready", said.ready, in_state(|state| *state == PendingState::Ready)),
        ("delayed", said.delayed, in_state(|state| matches!(state, PendingState::Delayed { .. }))),
        ("dead", said.dead, count_letters(broker, stream, group).await?),
        ("rows", info.pending, rows.len() as u64),
    ];
    let mut wrong: Vec<String> = counts
        .into_iter()
        .filter(|(_, said, counted)| said != counted)
        .map(|(what, said, counted)| format!("{what} is said to be {said} and is {counted}"))
        .collect();
    if rows.iter().any(|row| row.id > info.last_delivered_id) {
        wrong.push("a row is above the last-delivered ID".into());
    }
    Ok((said, wrong))
}

async fn count_letters(broker: &dyn Broker, stream: &[u8], group: &[u8]) -> Result<u64, Error> {
    let (mut after, mut letters) = (EntryId::MIN, 0);
    loop {
        let query = DeadLetterQuery { filter: DeadLetterFilter::default(), after, count: 1_000 };
        let page = broker.dead_letters(stream, group, query).await?;
        letters += page.letters.len() as u64;
        match page.next {
            Some(next) => after = next,
            None => return Ok(letters),
        }
    }
}
