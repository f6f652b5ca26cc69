//! Where the server is: what a URL says.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use weir_core::{Error, ErrorKind};

/// Which servers make up the Redis.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// One server.
    Standalone,
    /// Sentinels know which server is the master of this name.
    Sentinel { sentinels: Vec<(String, u16)>, master: String },
    /// A cluster; any of these nodes knows the others.
    Cluster { seeds: Vec<(String, u16)> },
}

/// A parsed URL.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) layout: Layout,
    /// How to connect: address (of a standalone server), user, password, database, TLS.
    pub(crate) info: ConnectionInfo,
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no scheme", url))?;
        match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix" | "valkey+unix" => {
                Ok(Self { layout: Layout::Standalone, info: connection_info(url, url)? })
            }
            "redis+cluster" | "rediss+cluster" | "valkey+cluster" | "valkeys+cluster" => {
                let parts = Parts::split(rest, url, PORT)?;
                if !matches!(parts.path, "" | "0") {
                    return Err(invalid("a cluster has no databases; leave the path out", url));
                }
                let info = parts.info(scheme, "", url)?;
                Ok(Self { layout: Layout::Cluster { seeds: parts.hosts }, info })
            }
            "redis+sentinel" | "rediss+sentinel" | "valkey+sentinel" | "valkeys+sentinel" => {
                let parts = Parts::split(rest, url, SENTINEL_PORT)?;
                let (master, database) = parts.path.split_once('/').unwrap_or((parts.path, ""));
                if master.is_empty() {
                    return Err(invalid("it does not name the master, as in …/mymaster", url));
                }
                let info = parts.info(scheme, database, url)?;
                let master = master.to_owned();
                Ok(Self { layout: Layout::Sentinel { sentinels: parts.hosts, master }, info })
            }
            _ => Err(invalid("its scheme is none of redis, rediss, redis+cluster, redis+sentinel", url)),
        }
    }

    /// With a password, where the URL has none.
    pub(crate) fn with_password(mut self, password: Option<&str>) -> Self {
        let settings = self.info.redis_settings();
        if let (None, Some(password)) = (settings.password(), password) {
            let settings = settings.clone().set_password(password);
            self.info = self.info.set_redis_settings(settings);
        }
        self
    }

    /// How to connect to one of the nodes.
    pub(crate) fn at(&self, host: &str, port: u16) -> ConnectionInfo {
        self.info.clone().set_addr(match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.to_owned(),
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        })
    }

    /// How to connect to a sentinel: TLS as with the servers, but another user.
    pub(crate) fn sentinel(&self, host: &str, port: u16, auth: Option<&(String, String)>) -> ConnectionInfo {
        let mut settings = RedisConnectionInfo::default();
        if let Some((user, password)) = auth {
            settings = settings.set_password(password);
            if !user.is_empty() {
                settings = settings.set_username(user);
            }
        }
        self.at(host, port).set_redis_settings(settings)
    }
}

/// `user:password@host:port,host:port/path?query`, without the scheme.
struct Parts<'u> {
    user: &'u str,
    hosts: Vec<(String, u16)>,
    path: &'u str,
    query: &'u str,
}

impl<'u> Parts<'u> {
    fn split(rest: &'u str, url: &str, port: u16) -> Result<Self, Error> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let hosts = hosts.split(',').map(|host| parse_host(host, port)).collect::<Option<Vec<_>>>();
        let hosts = hosts.ok_or_else(|| invalid("a host is not written as host:port", url))?;
        Ok(Self { user, hosts, path, query })
    }

    fn info(&self, scheme: &str, database: &str, url: &str) -> Result<ConnectionInfo, Error> {
        let single =
            if scheme.starts_with("rediss") || scheme.starts_with("valkeys") { "rediss" } else { "redis" };
        let (host, port) = &self.hosts[0];
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let at = if self.user.is_empty() { "" } else { "@" };
        let ask = if self.query.is_empty() { "" } else { "?" };
        let (user, query) = (self.user, self.query);
        connection_info(&format!("{single}://{user}{at}{host}:{port}/{database}{ask}{query}"), url)
    }
}

/// `host`, `host:port`, `[v6]:port`.
pub(crate) fn parse_host(text: &str, port: u16) -> Option<(String, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':').map_or(Some(port), |port| port.parse().ok())?;
        return Some((host.to_owned(), port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, port),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// RESP3 unless the URL asks for another protocol.
fn connection_info(single: &str, url: &str) -> Result<ConnectionInfo, Error> {
    let info = single
        .into_connection_info()
        .map_err(|cause| invalid("it cannot be read as a URL", url).with_source(cause))?;
    if single.contains("protocol=") {
        return Ok(info);
    }
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

/// The URL may hold a password, so it is told without what stands before its `@`.
fn invalid(what: &str, url: &str) -> Error {
    let shown = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    };
    Error::new(ErrorKind::Invalid("the URL of the Redis is not acceptable"))
        .with_context(format!("{shown}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_the_servers_are() {
        let standalone = Target::parse("redis://ann:secret@host:7000/3").unwrap();
        assert_eq!(standalone.info.addr(), &ConnectionAddr::Tcp("host".into(), 7000));
        assert_eq!(standalone.info.redis_settings().username(), Some("ann"));
        assert_eq!(standalone.info.redis_settings().db(), 3);
        assert_eq!(standalone.info.redis_settings().protocol(), ProtocolVersion::RESP3);

        let cluster = Target::parse("redis+cluster://:p%40ss@a:1,b,[::1]:3").unwrap();
        let Layout::Cluster { seeds } = &cluster.layout else { panic!("{cluster:?}") };
        assert_eq!(seeds, &[("a".to_owned(), 1), ("b".to_owned(), 6379), ("::1".to_owned(), 3)]);
        assert_eq!(cluster.info.redis_settings().password(), Some("p@ss"));

        let sentinel = Target::parse("rediss+sentinel://a,b:5/main/2?protocol=2").unwrap();
        let Layout::Sentinel { sentinels, master } = &sentinel.layout else { panic!("{sentinel:?}") };
        assert_eq!(sentinels, &[("a".to_owned(), 26_379), ("b".to_owned(), 5)]);
        assert_eq!((master.as_str(), sentinel.info.redis_settings().db()), ("main", 2));
        assert_eq!(sentinel.info.redis_settings().protocol(), ProtocolVersion::RESP2);
        assert!(matches!(sentinel.at("m", 1).addr(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_its_password() {
        for url in [
            "redis",
            "http://host",
            "redis+cluster://u:hunter2@host:x",
            "redis+cluster://u:hunter2@a,b/3",
            "redis+sentinel://u:hunter2@a,b",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
