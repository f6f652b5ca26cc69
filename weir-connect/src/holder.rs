//! Who holds a data folder, and where that process can be reached.

use std::path::Path;

use weir_core::{Error, ErrorKind};

/// The file in which the process that holds a folder names its doors, one a line.
const LOCK: &str = "LOCK";

/// The URL of the weir server that holds a folder.
///
/// # Errors
/// [`ErrorKind::InUse`] when it says nothing of a door that can be used from here.
pub(crate) fn url(folder: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(folder.join(LOCK)).unwrap_or_default();
    url_of(&text).ok_or_else(|| {
        Error::new(ErrorKind::InUse).with_context(format!(
            "{} names no address for Redis clients in its LOCK file; stop that process, or have it serve one (--resp)",
            folder.display()
        ))
    })
}

/// `resp redis://127.0.0.1:6379` is `weir://127.0.0.1:6379`.
fn url_of(lock: &str) -> Option<String> {
    let door = lock.lines().find_map(|line| line.strip_prefix("resp "))?.trim();
    let (scheme, address) = door.split_once("://")?;
    let scheme = match scheme {
        "redis" => "weir",
        "rediss" => "weirs",
        _ => return None,
    };
    Some(format!("{scheme}://{}", reachable(address)))
}

/// A server that listens on all addresses is reached on this machine's own.
fn reachable(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_of_a_holder_is_found() {
        let of = |lock: &str| url_of(lock);
        assert_eq!(
            of("pid 7\nresp redis://127.0.0.1:6379\nhttp http://127.0.0.1:8080\n").unwrap(),
            "weir://127.0.0.1:6379"
        );
        assert_eq!(of("resp rediss://0.0.0.0:1\n").unwrap(), "weirs://127.0.0.1:1");
        assert_eq!(of("resp redis://[::]:1\n").unwrap(), "weir://[::1]:1");
        assert_eq!(of("pid 7\nhttp http://127.0.0.1:8080\n"), None);
        assert_eq!(of(""), None);
    }
}
