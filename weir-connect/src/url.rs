//! What a URL names, before anything is opened.
//!
//! Opens nothing and asks nobody: the same text always means the same.

use std::path::PathBuf;

use weir_core::{Error, ErrorKind};

/// The schemes there are, for people.
pub const SCHEMES: &str = "memory:, file:DIR, weir://HOST:PORT, weirs://HOST:PORT (TLS), redis://HOST:PORT, \
     rediss://HOST:PORT (TLS), redis+cluster://HOST:PORT,…, redis+sentinel://HOST:PORT,…/SERVICE";

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An engine in this process that keeps nothing: another one at every opening.
    Memory,
    /// A data folder, whether a server holds it or nobody does.
    Folder(PathBuf),
    /// A weir server, spoken to with `WEIR.*`. The URL has the scheme `weir` or `weirs`.
    Weir(String),
    /// A Redis or Valkey: one, a cluster, or one that sentinels know.
    Redis(String),
}

impl Target {
    /// What a URL names.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], with the schemes there are.
    pub fn of(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| no_scheme(url))?;
        let needs_host = |target: fn(String) -> Self| match rest.strip_prefix("//") {
            Some(host) if !host.is_empty() => Ok(target(url.to_owned())),
            _ => Err(invalid(format!("{scheme}: wants a host: {scheme}://127.0.0.1:6379"))),
        };
        match scheme {
            "memory" if rest.is_empty() || rest == "//" => Ok(Self::Memory),
            "memory" => Err(invalid("memory: stands for itself, with nothing behind it".into())),
            "file" => folder(rest),
            "weir" | "weirs" => needs_host(Self::Weir),
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+sentinel"
            | "rediss+sentinel" => needs_host(Self::Redis),
            _ => Err(invalid(format!("{scheme}: is no scheme of weir; there are {SCHEMES}"))),
        }
    }
}

/// `file:data`, `file:/var/lib/weir`, `file:///var/lib/weir`.
fn folder(rest: &str) -> Result<Target, Error> {
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(invalid("a folder has no host: write file:DIR or file:///DIR".into())),
        None => rest,
    };
    match path {
        "" => Err(invalid("file: wants a folder: file:weir-data".into())),
        path => Ok(Target::Folder(path.into())),
    }
}

fn no_scheme(url: &str) -> Error {
    invalid(format!("{url:?} has no scheme; there are {SCHEMES}"))
}

fn invalid(context: String) -> Error {
    Error::new(ErrorKind::Invalid("the URL of a broker cannot be read")).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_what_they_name() {
        for (url, wanted) in [
            ("memory:", Target::Memory),
            ("file:weir-data", Target::Folder("weir-data".into())),
            ("file:/var/lib/weir", Target::Folder("/var/lib/weir".into())),
            ("file:///var/lib/weir", Target::Folder("/var/lib/weir".into())),
            ("weir://127.0.0.1:6379", Target::Weir("weir://127.0.0.1:6379".into())),
            ("redis+cluster://a:1,b:2", Target::Redis("redis+cluster://a:1,b:2".into())),
        ] {
            assert_eq!(Target::of(url).unwrap(), wanted, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_schemes_there_are() {
        for (url, words) in [
            ("kafka://127.0.0.1", "kafka: is no scheme of weir"),
            ("kafka://127.0.0.1", "redis+sentinel://"),
            ("127.0.0.1", "has no scheme"),
            ("localhost:6379", "localhost: is no scheme of weir"),
            ("redis:", "wants a host"),
            ("weir://", "wants a host"),
            ("file:", "wants a folder"),
            ("file://here/data", "has no host"),
            ("memory:x", "nothing behind it"),
        ] {
            let error = Target::of(url).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Invalid(_)) && error.to_string().contains(words),
                "{error}"
            );
        }
    }
}
