//! Where a weir server is, and as whom it is talked to.

use redis::{ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use weir_core::{Error, ErrorKind};

use super::Options;

/// What a URL says. Its password shows nowhere.
#[derive(Clone)]
pub(super) struct Address {
    info: ConnectionInfo,
    root_certificates: Option<Vec<u8>>,
    /// The namespace's number.
    pub(super) database: u32,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("at", &self.shown())
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub(super) fn parse(url: &str, options: &Options) -> Result<Self, Error> {
        let invalid = |context: String| {
            Error::new(ErrorKind::Invalid("the URL of a weir server cannot be read")).with_context(context)
        };
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let scheme = match scheme {
            "weir" => "redis",
            "weirs" | "weir+tls" => "rediss",
            _ => return Err(invalid("it begins with weir:// or, with TLS, weirs://".into())),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        if !query.is_empty() {
            return Err(invalid("it has no options behind a question mark".into()));
        }
        let database =
            database(path).ok_or_else(|| invalid(format!("{path:?} is no database; write /3 or /db3")))?;
        // What the library says may have the password in it.
        let info = format!("{scheme}://{authority}/")
            .into_connection_info()
            .map_err(|_| invalid("it is written weir://[user[:password]@]host[:port][/database]".into()))?;
        let mut own = info.redis_settings().clone().set_db(database.into());
        if let (None, Some(token)) = (own.password(), &options.token) {
            own = own.set_password(token);
        }
        let info = info.set_redis_settings(own);
        Ok(Self { info, root_certificates: options.root_certificates.clone(), database })
    }

    /// Another namespace of the same server.
    pub(super) fn with_database(&self, database: u32) -> Self {
        Self { database, ..self.clone() }
    }

    /// A client of it; connects to nobody yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for certificates that cannot be read.
    pub(super) fn client(&self) -> Result<redis::Client, Error> {
        let own =
            self.info.redis_settings().clone().set_db(self.database.into()).set_lib_name("weir", VERSION);
        let info = self.info.clone().set_redis_settings(own);
        crate::tls::choose_cryptography();
        let made = match &self.root_certificates {
            None => redis::Client::open(info),
            Some(pem) => {
                let client_tls: Option<ClientTlsConfig> = None;
                redis::Client::build_with_tls(
                    info,
                    TlsCertificates { client_tls, root_cert: Some(pem.clone()) },
                )
            }
        };
        made.map_err(|cause| {
            Error::new(ErrorKind::Invalid("the connection to the weir server cannot be set up"))
                .with_source(cause)
        })
    }

    /// Host and port.
    pub(super) fn shown(&self) -> String {
        self.info.addr().to_string()
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Nothing, `3`, `db3` or `default`.
fn database(path: &str) -> Option<u32> {
    match path {
        "" | "default" => Some(0),
        number => number.strip_prefix("db").unwrap_or(number).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_as_whom_and_which_namespace() {
        let options = Options { token: Some("token".into()), ..Options::default() };
        for (url, at, user, password, database) in [
            ("weir://h", "h:6379", None, Some("token"), 0),
            ("weir://h:7/3", "h:7", None, Some("token"), 3),
            ("weirs://:p%40ss@h:7/db15", "h:7", None, Some("p@ss"), 15),
            ("weir+tls://u:p@127.0.0.1:9/default", "127.0.0.1:9", Some("u"), Some("p"), 0),
        ] {
            let address = Address::parse(url, &options).unwrap();
            let own = address.info.redis_settings();
            assert_eq!(address.shown(), at, "{url}");
            assert_eq!(
                (own.username(), own.password(), address.database),
                (user, password, database),
                "{url}"
            );
        }
        for bad in ["redis://h", "weir:h", "weir://h/x", "weir://h/1?a=b", "weir://", "weir://h:port"] {
            let refused = Address::parse(bad, &options).unwrap_err();
            assert!(matches!(refused.kind(), ErrorKind::Invalid(_)), "{bad}");
        }
        let shown = format!("{:?}", Address::parse("weir://u:secret@h", &options).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
