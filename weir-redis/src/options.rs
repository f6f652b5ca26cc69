//! What a user may set: time-outs and limits, each with a name.

use std::time::Duration;

/// How a broker on a Redis behaves. Every field has a default.
#[derive(Clone)]
pub struct Options {
    /// How long making a connection may take, its handshake included. 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take; what a read waits for entries comes on top. 10 s.
    pub response_timeout: Duration,
    /// How long a call goes on trying while the server cannot be reached, before it answers
    /// [`ErrorKind::Unavailable`](weir_core::ErrorKind::Unavailable). 3 s.
    pub retry_for: Duration,
    /// The first wait before a connection is made anew; each further one is twice as long. 20 ms.
    pub backoff_first: Duration,
    /// The longest of these waits. 1 s.
    pub backoff_max: Duration,
    /// How many reads may wait for entries at the same time on one node, each on a connection of its own. 1 024.
    pub blocked_readers_max: usize,
    /// How many connections of readers are kept open for later readers of a node. 16.
    pub idle_readers_max: usize,
    /// How long a group's reader sleeps at most before it looks for what others have handed back. 200 ms.
    pub tick: Duration,
    /// The password, where the URL has none.
    pub password: Option<String>,
    /// Certificates, as PEM, that a TLS server is checked against instead of those that this program brings along.
    pub tls_roots: Option<Vec<u8>>,
    /// User and password for the sentinels; the server's own stand in the URL.
    pub sentinel_auth: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(3),
            backoff_first: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
            blocked_readers_max: 1_024,
            idle_readers_max: 16,
            tick: Duration::from_millis(200),
            password: None,
            tls_roots: None,
            sentinel_auth: None,
        }
    }
}

impl std::fmt::Debug for Options {
    /// Everything but the passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("retry_for", &self.retry_for)
            .field("backoff_first", &self.backoff_first)
            .field("backoff_max", &self.backoff_max)
            .field("blocked_readers_max", &self.blocked_readers_max)
            .field("idle_readers_max", &self.idle_readers_max)
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}
