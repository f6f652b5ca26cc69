//! Which streams and groups a word on the command line stands for.

use anyhow::Result;
use weir_core::{Broker, GroupInfo, ListStreams, is_side_stream};

use crate::exit::refused;

/// Names that are asked for at a time.
const PAGE: u64 = 1_000;

/// Whether a name is a pattern for several.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '\\'])
}

/// The streams that a pattern matches, by name.
pub(crate) async fn streams(broker: &dyn Broker, pattern: &str, with_side: bool) -> Result<Vec<Vec<u8>>> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let pattern = pattern.as_bytes().to_vec();
        let options = ListStreams { pattern, after: after.take(), count: PAGE, with_side_streams: with_side };
        let page = broker.list_streams(options).await?;
        names.extend(page.names);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// One stream by its name, or those that a pattern matches.
///
/// # Errors
/// Refused when a name is no pattern and there is no such stream.
pub(crate) async fn named(broker: &dyn Broker, name: &str) -> Result<Vec<Vec<u8>>> {
    if is_pattern(name) {
        return streams(broker, name, is_side_stream(name.as_bytes())).await;
    }
    match broker.head(name.as_bytes()).await? {
        Some(_) => Ok(vec![name.into()]),
        None => Err(no_stream(name)),
    }
}

/// What is said of a stream that is not there.
pub(crate) fn no_stream(name: &str) -> anyhow::Error {
    refused(format!("there is no stream {name:?}; `weir streams` lists those there are"))
}

/// The groups of streams, each with its stream.
pub(crate) async fn groups(
    broker: &dyn Broker,
    streams: Vec<Vec<u8>>,
    only: Option<&str>,
) -> Result<Vec<(Vec<u8>, GroupInfo)>> {
    let mut found = Vec::new();
    for stream in streams {
        for group in broker.groups(&stream).await? {
            if only.is_none_or(|only| only.as_bytes() == group.name) {
                found.push((stream.clone(), group));
            }
        }
    }
    Ok(found)
}

/// One group.
///
/// # Errors
/// Refused when there is none, saying which there are.
pub(crate) async fn group(broker: &dyn Broker, stream: &str, group: &str) -> Result<GroupInfo> {
    if let Some(info) = broker.group_info(stream.as_bytes(), group.as_bytes()).await? {
        return Ok(info);
    }
    if broker.head(stream.as_bytes()).await?.is_none() {
        return Err(no_stream(stream));
    }
    let others = broker.groups(stream.as_bytes()).await?;
    let names: Vec<_> = others.iter().map(|group| String::from_utf8_lossy(&group.name)).collect();
    let there = if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
    Err(refused(format!(
        "the stream {stream:?} has no group {group:?} ({there}); make it with `weir group create {stream} {group} --from start`"
    )))
}
