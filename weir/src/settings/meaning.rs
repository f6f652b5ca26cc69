//! What was meant.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use weir_engine::Fsync;

use super::parse;
use super::written::{Value, Written};
use crate::exit::{refused, usage};

/// The data folder that stands for memory.
const MEMORY: &str = "memory:";

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataDir {
    /// Nowhere: it goes with the process.
    Memory,
    Folder(PathBuf),
}

impl DataDir {
    pub(crate) fn parse(text: &str) -> Self {
        if text == MEMORY { Self::Memory } else { Self::Folder(text.into()) }
    }
}

impl fmt::Display for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str(MEMORY),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What `weir serve` goes by.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) dir: DataDir,
    /// The Redis that is served instead of a folder.
    pub(crate) backend: Option<String>,
    pub(crate) resp: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) unix_socket: Option<PathBuf>,
    pub(crate) fsync: Fsync,
    pub(crate) token: Option<String>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) insecure: bool,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) clients: usize,
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
}

impl Settings {
    /// Reads the values.
    ///
    /// # Errors
    /// Names the setting, where it was written, and what would have been right.
    pub(crate) fn of(written: &Written) -> Result<Self> {
        let reader = Reader(written);
        Ok(Self {
            dir: reader.read("dir", |text| Ok(DataDir::parse(text)))?,
            backend: reader.text("backend").map(str::to_owned),
            resp: reader.read("resp", parse::address)?,
            http: reader.read("http", parse::address)?,
            unix_socket: reader.text("unix-socket").map(PathBuf::from),
            fsync: reader.read("fsync", fsync)?,
            token: reader.text("token").map(str::to_owned),
            tls_cert: reader.text("tls-cert").map(PathBuf::from),
            tls_key: reader.text("tls-key").map(PathBuf::from),
            insecure: reader.read("insecure", parse::yes_or_no)?,
            memory: reader.read("memory", parse::bytes)?,
            clients: reader.read("clients", parse::count)?,
            log_format: reader.read("log-format", log_format)?,
            log: reader.read("log", |text| Ok(text.to_owned()))?,
        })
    }

    /// Refuses settings that would let strangers in, or nobody.
    ///
    /// # Errors
    /// Says which, and what would do.
    pub(crate) fn check(&self) -> Result<()> {
        if self.resp.is_none() && self.unix_socket.is_none() {
            return Err(usage("there is no address for Redis clients; give --resp or --unix-socket"));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(usage("a certificate needs its key; give both --tls-cert and --tls-key, or none"));
        }
        for address in [self.resp, self.http].into_iter().flatten() {
            if !address.ip().is_loopback() && self.token.is_none() && !self.insecure {
                bail!(refused(format!(
                    "{address} can be reached from other machines and there is no token; give --token, or --insecure \
                     if that is meant"
                )));
            }
        }
        Ok(())
    }
}

struct Reader<'a>(&'a Written);

impl<'a> Reader<'a> {
    fn value(&self, name: &str) -> &'a Value {
        self.0.values.iter().find(|value| value.setting.name == name).expect("a row of the table")
    }

    /// An empty value is as good as none.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).text.as_deref().filter(|text| !text.is_empty())
    }

    fn read<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        let value = self.value(name);
        let text = value.text.as_deref().unwrap_or_default();
        read(text).map_err(|reason| usage(format!("{name} = {text:?} ({}): {reason}", value.source)))
    }
}

fn fsync(text: &str) -> Result<Fsync, String> {
    match text {
        "always" => Ok(Fsync::Always),
        "everysec" => Ok(Fsync::EverySecond),
        "no" => Ok(Fsync::No),
        _ => Err("write always, everysec or no".into()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Given;

    fn settings(env: &[(&str, &str)]) -> Result<Settings> {
        let find =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings = Settings::of(&Written::collect(&Given::default(), &find)?)?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn the_defaults_mean_something() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.dir, DataDir::Folder("weir-data".into()));
        assert_eq!(settings.http.unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!((settings.fsync, settings.memory), (Fsync::EverySecond, 512 << 20));
        assert_eq!((settings.token, settings.unix_socket), (None, None));
    }

    #[test]
    fn nonsense_is_refused_with_its_name_and_its_place() {
        for (name, text, words) in [
            ("WEIR_FSYNC", "sometimes", "fsync = \"sometimes\" (environment): write always"),
            ("WEIR_MEMORY", "much", "memory = \"much\" (environment): write a size"),
            ("WEIR_CLIENTS", "0", "clients = \"0\" (environment): write a number above 0"),
            ("WEIR_HTTP", "here", "http = \"here\" (environment)"),
            ("WEIR_RESP", "none", "no address for Redis clients"),
            ("WEIR_HTTP", "0.0.0.0:8080", "can be reached from other machines"),
        ] {
            let error = format!("{:#}", settings(&[(name, text)]).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn other_machines_are_served_with_a_token_or_on_purpose() {
        for (name, text) in [("WEIR_TOKEN", "s3cret"), ("WEIR_INSECURE", "yes")] {
            assert!(settings(&[("WEIR_RESP", "0.0.0.0:6379"), (name, text)]).is_ok(), "{name}");
        }
    }
}
