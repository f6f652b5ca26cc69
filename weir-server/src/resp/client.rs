//! What the door knows of each client, apart from its socket and buffers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_core::Error;
use weir_engine::{Ahead, NamespaceNo, WaiterId, WatchId};
use weir_resp::Proto;

use super::acl::User;
use super::asks::Asking;
use super::call::Fetched;
use super::reply::ReadRequest;

/// Where a client stands among the connections; reused after it has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientNo(pub(crate) u32);

impl ClientNo {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// What the engine is told to call this client's waiting reads.
    pub(crate) fn token(self) -> u64 {
        u64::from(self.0)
    }

    pub(crate) fn from_token(token: u64) -> Option<Self> {
        u32::try_from(token).ok().map(Self)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    Tcp { peer: SocketAddr, local: SocketAddr },
    Unix,
}

impl Peer {
    /// As clients are told of each other: `127.0.0.1:51404`.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp { peer, .. } => peer.to_string(),
            Self::Unix => "unix:0".into(),
        }
    }
}

/// Whether a client is to be disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Closing {
    #[default]
    No,
    /// When it has taken its answers.
    AfterReplies,
    /// As soon as the turn is over.
    Now,
}

/// What `CLIENT REPLY` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// None for the next command.
    SkipNext,
    /// None for this command.
    SkipThis,
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Multi {
    /// The queued commands, as RESP.
    pub(crate) queued: Vec<u8>,
    /// How many there are.
    pub(crate) count: usize,
    /// Whether one writes, or publishes.
    pub(crate) writes: bool,
    /// Whether one was refused, so that EXEC must be.
    pub(crate) refused: bool,
}

/// Keys that one client may watch.
pub(crate) const WATCHED_MAX: usize = 65_536;

/// Keys that the next transaction depends on, each once.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    keys: BTreeMap<(NamespaceNo, Box<[u8]>), WatchId>,
    /// Heap bytes of their names, here and in the engine.
    bytes: usize,
}

impl Watched {
    /// Adds a key that is not watched yet, as `watch` says. Answers `false` when there are too many.
    pub(crate) fn add(&mut self, ns: NamespaceNo, name: &[u8], watch: impl FnOnce() -> WatchId) -> bool {
        let is_full = self.keys.len() >= WATCHED_MAX;
        let Entry::Vacant(place) = self.keys.entry((ns, name.into())) else { return true };
        if is_full {
            return false;
        }
        place.insert(watch());
        self.bytes += 2 * (name.len() + size_of::<(NamespaceNo, Box<[u8]>, WatchId)>());
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = WatchId> + use<> {
        std::mem::take(self).keys.into_values()
    }
}

/// A read that waits.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) waiter: WaiterId,
    pub(crate) request: ReadRequest,
    /// Heap bytes of the request, here and in the engine.
    pub(crate) request_bytes: usize,
    /// When it gives up, on the clock's monotonic scale.
    pub(crate) deadline: Option<Duration>,
    /// When pending rows may have become old enough for it.
    pub(crate) retry_at: Option<Duration>,
}

/// Entries and values that a client may be owed and still have its next command executed.
const OWED_MAX: usize = 10_000;

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: Peer,
    pub(crate) name: Box<[u8]>,
    pub(crate) lib_name: Box<[u8]>,
    pub(crate) lib_version: Box<[u8]>,
    pub(crate) proto: Proto,
    pub(crate) ns: NamespaceNo,
    pub(crate) user: Arc<User>,
    /// Whether it may use what its user may; until then it may authenticate only.
    pub(crate) is_authenticated: bool,
    pub(crate) replies: Replies,
    pub(crate) closing: Closing,
    pub(crate) multi: Option<Box<Multi>>,
    pub(crate) watched: Watched,
    pub(crate) blocked: Option<Box<Blocked>>,
    /// Whether it waits for the disk to have what was written so far.
    pub(crate) is_flushing: bool,
    /// The call of the broker traits that it waits for.
    pub(crate) asking: Option<Asking>,
    /// Whether its next command waits for the end of a pause.
    pub(crate) is_postponed: bool,
    /// Whether it is not to be disconnected for the memory it holds.
    pub(crate) is_kept: bool,
    /// Whether its commands do not count as use of keys.
    pub(crate) leaves_no_trace: bool,
    /// Heap bytes its buffers hold, about.
    pub(crate) buffer_bytes: usize,
    /// Channels and patterns it has subscribed to.
    pub(crate) subscriptions: usize,
    /// Heap bytes of their names.
    pub(crate) subscription_bytes: usize,
    /// Answers and messages for it that were made and not rendered yet.
    pub(crate) unrendered: usize,
    /// Entries and values in answers of it that are not rendered yet, about.
    pub(crate) owed: usize,
    /// Whether its next command waits for a part of the index to be read.
    pub(crate) is_aside: bool,
    /// What was read for that command.
    pub(crate) ahead: Ahead,
    /// What was fetched for it.
    pub(crate) fetched: Option<Box<Fetched>>,
    /// Whether what it wanted done outside the engine's lock was done.
    pub(crate) done_outside: bool,
    /// Why one of these could not be had.
    pub(crate) unreadable: Option<Box<Error>>,
    /// When it connected and when it last asked, on the clock's monotonic scale.
    pub(crate) connected_at: Duration,
    pub(crate) asked_at: Duration,
    pub(crate) last_command: &'static str,
}

impl Client {
    /// A client that has just connected, as the default user.
    pub(crate) fn new(id: u64, peer: Peer, user: Arc<User>, now: Duration) -> Self {
        let is_authenticated = user.is_on && user.no_password;
        Self {
            id,
            peer,
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            proto: Proto::Resp2,
            ns: NamespaceNo(0),
            user,
            is_authenticated,
            replies: Replies::On,
            closing: Closing::No,
            multi: None,
            watched: Watched::default(),
            blocked: None,
            is_flushing: false,
            asking: None,
            is_postponed: false,
            is_kept: false,
            leaves_no_trace: false,
            buffer_bytes: 0,
            subscriptions: 0,
            subscription_bytes: 0,
            unrendered: 0,
            owed: 0,
            is_aside: false,
            ahead: Ahead::default(),
            fetched: None,
            done_outside: false,
            unreadable: None,
            connected_at: now,
            asked_at: now,
            last_command: "NULL",
        }
    }

    /// Who it has authenticated as.
    pub(crate) fn user_name(&self) -> &[u8] {
        &self.user.name
    }

    /// Heap bytes that it holds besides its buffers, about.
    pub(crate) fn own_bytes(&self) -> usize {
        let names = self.name.len() + self.lib_name.len() + self.lib_version.len();
        let multi = self.multi.as_ref().map_or(0, |multi| multi.queued.capacity());
        let blocked = self.blocked.as_ref().map_or(0, |blocked| blocked.request_bytes);
        let fetched = self.fetched.as_ref().map_or(0, |fetched| fetched.heap_bytes());
        let asking = self.asking.map_or(0, |asking| asking.bytes);
        let read = self.ahead.heap_bytes() + fetched;
        names + multi + blocked + asking + read + self.watched.bytes + self.subscription_bytes
    }

    /// One of its answers was rendered or begun; `pending` is the weight of those begun. What others weigh that wait for
    /// the disk is not known one by one, so it counts until the last of them is rendered.
    pub(crate) fn rendered(&mut self, pending: usize) {
        self.unrendered = self.unrendered.saturating_sub(1);
        self.weigh(pending);
    }

    /// `pending` is what answers weigh that are begun and not rendered.
    pub(crate) fn weigh(&mut self, pending: usize) {
        if self.unrendered == 0 {
            self.owed = pending;
        }
    }

    /// Whether it waits for entries, so that nothing comes of it when it goes.
    pub(crate) fn is_waiting(&self) -> bool {
        self.blocked.is_some() || self.asking.is_some_and(|asking| asking.waits)
    }

    /// Whether its next command may be executed now.
    pub(crate) fn may_run(&self) -> bool {
        let is_free = self.blocked.is_none()
            && self.asking.is_none()
            && !self.is_flushing
            && !self.is_aside
            && !self.is_postponed;
        is_free && self.closing == Closing::No && self.owed <= OWED_MAX
    }
}

/// All clients, by number.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    slots: Vec<Option<Box<Client>>>,
    free: Vec<ClientNo>,
    len: usize,
}

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) -> ClientNo {
        self.len += 1;
        if let Some(no) = self.free.pop() {
            self.slots[no.index()] = Some(Box::new(client));
            return no;
        }
        let no = ClientNo(u32::try_from(self.slots.len()).expect("clients are limited"));
        self.slots.push(Some(Box::new(client)));
        no
    }

    pub(crate) fn remove(&mut self, no: ClientNo) -> Option<Box<Client>> {
        let client = self.slots.get_mut(no.index())?.take()?;
        self.free.push(no);
        self.len -= 1;
        Some(client)
    }

    pub(crate) fn get(&self, no: ClientNo) -> Option<&Client> {
        self.slots.get(no.index())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, no: ClientNo) -> Option<&mut Client> {
        self.slots.get_mut(no.index())?.as_deref_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientNo, &Client)> {
        (0_u32..).zip(&self.slots).filter_map(|(no, slot)| Some((ClientNo(no), slot.as_deref()?)))
    }
}
