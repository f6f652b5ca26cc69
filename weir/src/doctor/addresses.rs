//! Whether the doors can be opened where the settings want them, and who is there already.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::findings::{Findings, Severity};
use super::owner;
use crate::folder::Holder;
use crate::probe::{self, Resp};
use crate::settings::{DataDir, Settings};

pub(super) fn examine(settings: &Settings, findings: &mut Findings) {
    let holder = match &settings.dir {
        DataDir::Folder(path) => Holder::of(path),
        DataDir::Memory => None,
    };
    let is_ours = |address: SocketAddr| {
        let ends = format!("//{address}");
        holder.as_ref().is_some_and(|holder| holder.doors.iter().any(|(_, door)| door.ends_with(&ends)))
    };
    if let Err(error) = settings.check() {
        findings.say(Severity::Problem, "settings", error.to_string(), "see `weir config show`");
    }
    match settings.resp {
        None => findings.ok("resp", "no TCP address for Redis clients"),
        Some(address) => {
            let there = || resp_server(address, settings.token.as_deref());
            tcp("resp", address, is_ours(address), there, findings);
        }
    }
    match settings.http {
        None => findings.ok("http", "no HTTP door"),
        Some(address) => tcp("http", address, is_ours(address), || http_server(address), findings),
    }
    if let Some(path) = &settings.unix_socket {
        unix(path, settings.token.as_deref(), findings);
    }
}

fn tcp(
    door: &'static str,
    address: SocketAddr,
    is_ours: bool,
    server: impl Fn() -> Option<String>,
    findings: &mut Findings,
) {
    let Err(error) = TcpListener::bind(address) else {
        return findings.ok(door, format!("{address} is free"));
    };
    if error.kind() != ErrorKind::AddrInUse {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => "take a port above 1023, or give the program the right to it",
            ErrorKind::AddrNotAvailable => "this machine does not have that address; take one it has",
            _ => "give another one",
        };
        return findings.say(Severity::Problem, door, format!("{address}: {error}"), remedy);
    }
    let process = owner::of(address).map(|(pid, name)| format!("{name}, process {pid}"));
    let who = [server(), process].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let who = if who.is_empty() { "a program that does not say who it is".to_owned() } else { who };
    if is_ours {
        return findings.ok(door, format!("{address} is served from this data folder ({who})"));
    }
    let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024));
    let remedy = format!("stop it, or serve elsewhere: --{door} {other}");
    findings.say(Severity::Problem, door, format!("{address} is taken by {who}"), remedy);
}

fn unix(path: &Path, token: Option<&str>, findings: &mut Findings) {
    let shown = path.display();
    match Resp::unix(path) {
        Ok(mut server) => {
            let who = introduce(&mut server, token).unwrap_or_else(|| "a program".into());
            findings.say(
                Severity::Problem,
                "unix-socket",
                format!("{shown} is taken by {who}"),
                "stop it, or give another --unix-socket",
            );
        }
        Err(_) if path.exists() => {
            findings.say(
                Severity::Note,
                "unix-socket",
                format!("{shown} is left over from a server that was killed"),
                "nothing to do: `weir serve` replaces it",
            );
        }
        Err(_) => findings.ok("unix-socket", format!("{shown} is free")),
    }
}

fn resp_server(address: SocketAddr, token: Option<&str>) -> Option<String> {
    introduce(&mut Resp::tcp(address).ok()?, token)
}

/// What a RESP server says it is.
fn introduce(server: &mut Resp, token: Option<&str>) -> Option<String> {
    let mut reply = server.call(&["PING"]).ok()?;
    if let (Some(token), Some(_)) = (token, reply.as_error()) {
        server.call(&["AUTH", token]).ok()?;
        reply = server.call(&["PING"]).ok()?;
    }
    if reply.as_error().is_some() {
        return Some("a RESP server that wants a password".into());
    }
    let info = server.info();
    let find = |name: &str| info.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let version = match (find("weir_version"), find("redis_version")) {
        (Some(version), _) => format!("weir {version}"),
        (None, Some(version)) => format!("a Redis {version}"),
        (None, None) => "a RESP server".to_owned(),
    };
    let up = find("uptime_in_seconds").map_or(String::new(), |seconds| format!(", up {seconds} s"));
    Some(format!("{version}{up}"))
}

fn http_server(address: SocketAddr) -> Option<String> {
    let page = probe::get(address, "/version", None).ok()?;
    let version: serde_json::Value = serde_json::from_str(&page.body).unwrap_or_default();
    match (version["name"].as_str(), version["version"].as_str()) {
        (Some("weir"), Some(version)) => Some(format!("weir {version}")),
        _ => Some("an HTTP server".into()),
    }
}
