//! Taking addresses, and what to do when somebody else has them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::exit::refused;

/// Listens on an address; `setting` is the flag that names another.
///
/// # Errors
/// Says who has it, if it is taken, and what to do.
pub(crate) fn tcp(setting: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => format!(
                "another program listens there; stop it or give another --{setting}, for example --{setting} \
                 {}:{}",
                address.ip(),
                address.port().wrapping_add(1).max(1024),
            ),
            ErrorKind::PermissionDenied => "this user may not; ports below 1024 need more rights".into(),
            _ => format!("give another --{setting}"),
        };
        let text = format!("cannot listen on {address}: {remedy}");
        match error.kind() {
            ErrorKind::AddrInUse => refused(text),
            _ => anyhow!(error).context(text),
        }
    })
}

/// Listens on a Unix socket; a file that a killed server left behind is replaced.
///
/// # Errors
/// Says what is in the way.
pub(crate) fn unix(path: &Path) -> Result<UnixListener> {
    if path.exists() {
        let shown = path.display();
        if UnixStream::connect(path).is_ok() {
            return Err(refused(format!(
                "another program listens on {shown}; stop it or give another --unix-socket"
            )));
        }
        if !is_socket(path) {
            return Err(refused(format!("{shown} is there and no socket; give another --unix-socket")));
        }
        std::fs::remove_file(path).with_context(|| format!("removing the old socket {shown}"))?;
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
}
