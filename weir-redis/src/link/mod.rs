//! The way to the servers: which node has a key, a connection to it, and what to do when it does not answer.
//!
//! Always: nothing that may have been done is sent twice, unless its sender says that this does no harm
//! ([`Repeat::Harmless`]). A call ends within [`Options::retry_for`] and the time of one attempt, whatever happens.

mod node;
mod slots;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::time::{Instant, sleep};
use weir_core::{Error, ErrorKind};

use crate::failure::{Fate, fate_of, is_denied, refused, unavailable};
use crate::options::Options;
use crate::reply;
use crate::request::Request;
use crate::target::{Layout, Target, parse_host};

use node::Miss;
pub(crate) use node::{Lane, Node, Reader};
use slots::SlotMap;
pub(crate) use slots::slot_of;
pub(crate) use waiting::Waiting;

/// How often a call follows a node that says that another one has the key.
const REDIRECTS_MAX: usize = 16;

/// Whether a request whose answer was lost may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// A second time does nothing that the first did not.
    Harmless,
    /// It might be done twice.
    Never,
}

/// The servers behind one URL.
#[derive(Debug)]
pub(crate) struct Link {
    target: Target,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By `host:port`.
    nodes: HashMap<String, Arc<Node>>,
    slots: SlotMap,
    /// Which node is the master, as a sentinel said.
    master: Option<Arc<Node>>,
}

impl Link {
    pub(crate) fn new(target: Target, options: Options) -> Self {
        let target = target.with_password(options.password.as_deref());
        Self { target, options, state: Mutex::default() }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.target.layout, Layout::Cluster { .. })
    }

    /// Sends a request about a key to the node that has it.
    pub(crate) async fn call(
        &self,
        key: &[u8],
        lane: Lane,
        request: &Request,
        repeat: Repeat,
    ) -> Result<Value, Error> {
        let deadline = Instant::now() + self.options.retry_for;
        let (mut redirects, mut wait) = (0, self.options.backoff_first);
        let mut asking = None;
        loop {
            let miss = match self.attempt(key, lane, request, asking.take()).await {
                Ok(value) => return Ok(value),
                Err(miss) => miss,
            };
            let error = match miss {
                Miss::Unsent(error) if is_denied(&error) => return Err(unavailable(error)),
                Miss::Unsent(error) => {
                    self.forget_where();
                    error
                }
                Miss::Sent(error) => {
                    if let Some(redirect) = self.redirect(&error) {
                        redirects += 1;
                        if redirects > REDIRECTS_MAX {
                            return Err(unavailable(error));
                        }
                        asking = redirect;
                        continue;
                    }
                    match fate_of(&error) {
                        Fate::Refused => return Err(named(refused(error), key, request)),
                        Fate::Unknown if repeat == Repeat::Never => return Err(unavailable(error)),
                        Fate::Later | Fate::Unknown => {
                            self.forget_where();
                            error
                        }
                    }
                }
            };
            if Instant::now() + wait > deadline {
                return Err(unavailable(error));
            }
            sleep(wait).await;
            wait = (wait * 2).min(self.options.backoff_max);
        }
    }

    async fn attempt(
        &self,
        key: &[u8],
        lane: Lane,
        request: &Request,
        asking: Option<Arc<Node>>,
    ) -> Result<Value, Miss> {
        let (node, is_asking) = match asking {
            Some(node) => (node, true),
            None => (self.node_of(key).await.map_err(Miss::Unsent)?, false),
        };
        node.ask(lane, request, is_asking).await
    }

    /// Where a node says that the key is: `Some(None)` = elsewhere from now on, `Some(Some(node))` = there for once.
    fn redirect(&self, error: &RedisError) -> Option<Option<Arc<Node>>> {
        let (address, slot) = error.redirect_node()?;
        let (host, port) = parse_host(address, 6379)?;
        let node = self.node_at(&host, port).ok()?;
        if error.code() == Some("ASK") {
            return Some(Some(node));
        }
        self.state().slots.move_to(slot, node);
        Some(None)
    }

    /// A wait for entries under a key.
    pub(crate) fn waiting<'w>(&'w self, key: &'w [u8]) -> Waiting<'w> {
        Waiting::new(self, key)
    }

    /// A connection of its own for a read that waits.
    async fn reader(&self, key: &[u8]) -> Result<Reader, Error> {
        let node = self.node_of(key).await.map_err(unavailable)?;
        node.reader().await
    }

    /// What is known of where masters are may be wrong.
    pub(crate) fn forget_where(&self) {
        let mut state = self.state();
        state.master = None;
        state.slots = SlotMap::default();
    }

    /// All nodes that have keys, in the order of their addresses.
    pub(crate) async fn masters(&self) -> Result<Vec<Arc<Node>>, Error> {
        if !self.is_cluster() {
            return Ok(vec![self.node_of(b"").await.map_err(unavailable)?]);
        }
        self.node_of(b"").await.map_err(unavailable)?;
        Ok(self.state().slots.nodes())
    }

    /// Sends a request to a node, whatever keys it has.
    pub(crate) async fn call_node(&self, node: &Arc<Node>, request: &Request) -> Result<Value, Error> {
        let deadline = Instant::now() + self.options.retry_for;
        loop {
            let error = match node.ask(Lane::Commands, request, false).await {
                Ok(value) => return Ok(value),
                Err(Miss::Sent(error)) if fate_of(&error) == Fate::Refused => return Err(refused(error)),
                Err(miss) => miss.into_error(),
            };
            if is_denied(&error) || Instant::now() > deadline {
                return Err(unavailable(error));
            }
            sleep(self.options.backoff_first).await;
        }
    }

    async fn node_of(&self, key: &[u8]) -> Result<Arc<Node>, RedisError> {
        match &self.target.layout {
            Layout::Standalone => self.node_of_info("", self.target.info.clone()),
            Layout::Sentinel { sentinels, master } => self.master(sentinels, master).await,
            Layout::Cluster { seeds } => {
                let slot = slot_of(key);
                if let Some(node) = self.state().slots.node(slot) {
                    return Ok(node);
                }
                self.learn_slots(seeds).await?;
                self.state().slots.node(slot).ok_or_else(|| {
                    RedisError::from((redis::ErrorKind::Io, "no node of the cluster has the slot of the key"))
                })
            }
        }
    }

    fn node_at(&self, host: &str, port: u16) -> Result<Arc<Node>, RedisError> {
        self.node_of_info(&format!("{host}:{port}"), self.target.at(host, port))
    }

    fn node_of_info(&self, address: &str, info: redis::ConnectionInfo) -> Result<Arc<Node>, RedisError> {
        let mut state = self.state();
        if let Some(node) = state.nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(info, &self.options)?);
        state.nodes.insert(address.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    /// Asks the seeds and then all nodes that are known, until one answers.
    async fn learn_slots(&self, seeds: &[(String, u16)]) -> Result<(), RedisError> {
        let mut hosts = seeds.to_vec();
        let known: Vec<_> =
            self.state().nodes.keys().filter_map(|address| parse_host(address, 6379)).collect();
        hosts.extend(known);
        let mut last = RedisError::from((redis::ErrorKind::Io, "there is no node to ask for the slots"));
        for (host, port) in hosts {
            match self.slots_from(&host, port).await {
                Ok(map) => {
                    self.state().slots = map;
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn slots_from(&self, host: &str, port: u16) -> Result<SlotMap, RedisError> {
        let node = self.node_at(host, port)?;
        let request = Request::command("CLUSTER").arg("SLOTS");
        let ranges = node.ask(Lane::Commands, &request, false).await.map_err(Miss::into_error)?;
        let mut map = SlotMap::default();
        for range in slots::ranges(ranges, host) {
            map.set(range.slots, self.node_at(&range.host, range.port)?);
        }
        Ok(map)
    }

    async fn master(&self, sentinels: &[(String, u16)], name: &str) -> Result<Arc<Node>, RedisError> {
        if let Some(node) = self.state().master.clone() {
            return Ok(node);
        }
        let mut last = RedisError::from((redis::ErrorKind::Io, "no sentinel knows the master"));
        for (host, port) in sentinels {
            match self.ask_sentinel(host, *port, name).await {
                Ok(Some((host, port))) => {
                    let node = self.node_at(&host, port)?;
                    self.state().master = Some(Arc::clone(&node));
                    return Ok(node);
                }
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_sentinel(
        &self,
        host: &str,
        port: u16,
        name: &str,
    ) -> Result<Option<(String, u16)>, RedisError> {
        let info = self.target.sentinel(host, port, self.options.sentinel_auth.as_ref());
        let sentinel = self.node_of_info(&format!("sentinel {host}:{port}"), info)?;
        let request = Request::command("SENTINEL").arg("get-master-addr-by-name").arg(name);
        let answer = sentinel.ask(Lane::Commands, &request, false).await.map_err(Miss::into_error)?;
        let words: Vec<String> = reply::array(answer).into_iter().filter_map(reply::text).collect();
        Ok(match &words[..] {
            [host, port] => port.parse().ok().map(|port| (host.clone(), port)),
            _ => None,
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the group, where the error is about one.
fn named(error: Error, stream: &[u8], request: &Request) -> Error {
    match request.group(stream) {
        Some(group) => error.about_group(stream, group),
        None => error,
    }
}

/// How long a wait may still last; `None` = without end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// Begins now.
    pub(crate) fn new(wait: Duration) -> Self {
        Self(Instant::now().checked_add(wait).filter(|_| wait != Duration::MAX))
    }

    /// What is left of it, at most `most`; `None` = it is over.
    pub(crate) fn left(self, most: Duration) -> Option<Duration> {
        let Some(end) = self.0 else { return Some(most) };
        let left = end.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(most))
    }
}

/// Too many reads wait.
pub(crate) fn too_many_readers() -> Error {
    Error::new(ErrorKind::LimitReached("reads that wait (blocked_readers_max)"))
}
