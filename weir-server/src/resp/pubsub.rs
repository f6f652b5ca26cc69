//! Who has subscribed to what, and messages on their way to them.
//!
//! Invariants:
//! * A client stands under a channel here exactly if the channel stands under the client.
//! * A channel or pattern without subscribers is not kept.
//! * The bytes of a message are made once for each protocol, however many subscribers it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_resp::{Proto, Writer};

use super::client::ClientNo;
use super::door::Door;
use super::glob;
use super::reply::Reply;

/// Channels and patterns that one client may subscribe to.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 65_536;
/// Bytes of the name of a channel, or of a pattern, that may be subscribed to.
pub(crate) const NAME_MAX: usize = 64 << 10;

/// Whether a name stands for itself or for all channels that match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    Pattern,
}

/// Subscribers by name, and names by subscriber.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    channels: Names,
    patterns: Names,
}

#[derive(Debug, Default)]
struct Names {
    subscribers: BTreeMap<Box<[u8]>, BTreeSet<ClientNo>>,
    of_client: BTreeMap<ClientNo, Own>,
}

/// The names of one client.
#[derive(Debug, Default)]
struct Own {
    names: BTreeSet<Box<[u8]>>,
    /// Heap bytes they take: each stands in both directions.
    bytes: usize,
}

/// Heap bytes that a subscription takes, about.
fn bytes_of(name: &[u8]) -> usize {
    2 * (name.len() + size_of::<Box<[u8]>>()) + size_of::<ClientNo>()
}

impl Names {
    fn add(&mut self, name: &[u8], who: ClientNo) -> bool {
        let is_new = self.subscribers.entry(name.into()).or_default().insert(who);
        if is_new {
            let own = self.of_client.entry(who).or_default();
            own.names.insert(name.into());
            own.bytes += bytes_of(name);
        }
        is_new
    }

    fn remove(&mut self, name: &[u8], who: ClientNo) {
        if let Some(clients) = self.subscribers.get_mut(name) {
            clients.remove(&who);
            if clients.is_empty() {
                self.subscribers.remove(name);
            }
        }
        if let Some(own) = self.of_client.get_mut(&who)
            && own.names.remove(name)
        {
            own.bytes -= bytes_of(name);
            if own.names.is_empty() {
                self.of_client.remove(&who);
            }
        }
    }

    fn of(&self, who: ClientNo) -> Vec<Box<[u8]>> {
        self.of_client.get(&who).map(|own| own.names.iter().cloned().collect()).unwrap_or_default()
    }

    fn count(&self, who: ClientNo) -> usize {
        self.of_client.get(&who).map_or(0, |own| own.names.len())
    }

    fn bytes(&self, who: ClientNo) -> usize {
        self.of_client.get(&who).map_or(0, |own| own.bytes)
    }
}

impl Channels {
    fn names(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    /// Subscribes a client; `false` when it was subscribed already.
    pub(crate) fn subscribe(&mut self, kind: Kind, name: &[u8], who: ClientNo) -> bool {
        self.names_mut(kind).add(name, who)
    }

    /// Ends a subscription, if there is one.
    pub(crate) fn unsubscribe(&mut self, kind: Kind, name: &[u8], who: ClientNo) {
        self.names_mut(kind).remove(name, who);
    }

    /// Ends all subscriptions of a client.
    pub(crate) fn forget(&mut self, who: ClientNo) {
        for kind in [Kind::Channel, Kind::Pattern] {
            for name in self.of(kind, who) {
                self.unsubscribe(kind, &name, who);
            }
        }
    }

    /// What a client has subscribed to.
    pub(crate) fn of(&self, kind: Kind, who: ClientNo) -> Vec<Box<[u8]>> {
        self.names(kind).of(who)
    }

    /// How many names of a kind a client has subscribed to.
    pub(crate) fn count(&self, kind: Kind, who: ClientNo) -> usize {
        self.names(kind).count(who)
    }

    /// How many subscriptions a client has.
    pub(crate) fn total(&self, who: ClientNo) -> usize {
        self.channels.count(who) + self.patterns.count(who)
    }

    /// Heap bytes that a client's subscriptions take, about.
    pub(crate) fn heap_bytes(&self, who: ClientNo) -> usize {
        self.channels.bytes(who) + self.patterns.bytes(who)
    }

    /// Channels with subscribers.
    pub(crate) fn active(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.subscribers.keys().map(|name| &**name)
    }

    /// How many clients have subscribed to a channel by its name.
    pub(crate) fn subscribers(&self, channel: &[u8]) -> usize {
        self.channels.subscribers.get(channel).map_or(0, BTreeSet::len)
    }

    /// How many patterns there are.
    pub(crate) fn patterns(&self) -> usize {
        self.patterns.subscribers.len()
    }
}

/// Sends a message to all who should have it, after the answer of the command at hand; how many they are.
pub(crate) fn publish(door: &mut Door, channel: &[u8], message: &[u8]) -> u64 {
    let mut receivers = 0;
    if let Some(clients) = door.channels.channels.subscribers.get(channel) {
        let mut bytes = Bytes::of(vec![b"message", channel, message]);
        for who in clients {
            receivers += 1;
            let Some(client) = door.clients.get(*who) else { continue };
            door.messages.push((*who, Reply::Shared(bytes.in_protocol(client.proto))));
        }
    }
    for (pattern, clients) in &door.channels.patterns.subscribers {
        if !glob::matches(pattern, channel) {
            continue;
        }
        let mut bytes = Bytes::of(vec![b"pmessage", pattern, channel, message]);
        for who in clients {
            receivers += 1;
            let Some(client) = door.clients.get(*who) else { continue };
            door.messages.push((*who, Reply::Shared(bytes.in_protocol(client.proto))));
        }
    }
    receivers
}

/// The bytes of a message, made when somebody needs them.
struct Bytes<'a> {
    words: Vec<&'a [u8]>,
    resp2: Option<Arc<[u8]>>,
    resp3: Option<Arc<[u8]>>,
}

impl<'a> Bytes<'a> {
    fn of(words: Vec<&'a [u8]>) -> Self {
        Self { words, resp2: None, resp3: None }
    }

    fn in_protocol(&mut self, proto: Proto) -> Arc<[u8]> {
        let words = &self.words;
        let made = match proto {
            Proto::Resp2 => &mut self.resp2,
            Proto::Resp3 => &mut self.resp3,
        };
        made.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes, proto);
            writer.push(words.len());
            words.iter().for_each(|word| writer.bulk(word));
            bytes.into()
        })
        .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_is_nothing() {
        let mut channels = Channels::default();
        let (one, other) = (ClientNo(1), ClientNo(2));
        assert!(channels.subscribe(Kind::Channel, b"a", one));
        assert!(!channels.subscribe(Kind::Channel, b"a", one));
        assert!(channels.subscribe(Kind::Channel, b"a", other));
        assert!(channels.subscribe(Kind::Pattern, b"a*", one));
        assert_eq!((channels.total(one), channels.subscribers(b"a"), channels.patterns()), (2, 2, 1));
        channels.forget(one);
        assert_eq!((channels.total(one), channels.subscribers(b"a"), channels.patterns()), (0, 1, 0));
        assert_eq!((channels.heap_bytes(one), channels.heap_bytes(other)), (0, bytes_of(b"a")));
        channels.unsubscribe(Kind::Channel, b"a", other);
        assert_eq!(channels.active().count(), 0);
        assert!(channels.channels.of_client.is_empty() && channels.patterns.of_client.is_empty());
    }
}
