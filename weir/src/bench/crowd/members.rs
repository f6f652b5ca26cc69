//! The connections, each with its place in the order in which they were made.

use std::io::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use weir_core::{Clock as _, SystemClock};
use weir_resp::{Value, command};

use crate::bench::target::{Address, Control, Stream, receive};
use crate::files;

/// Connections from one loopback address.
const PER_SOURCE: usize = 10_000;
/// Files of this process that are no members.
const FILES_SPARE: u64 = 64;
/// Seconds until the server must have noticed what happened to its connections.
const NOTICED_SECONDS: u64 = 60;

/// One of many connections.
pub(super) struct Member {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Member {
    /// Sends a command and does not wait for the reply.
    pub(super) fn send(&mut self, words: &[&str]) -> Result<()> {
        let mut request = Vec::new();
        command(&mut request, words);
        Ok(self.stream.write_all(&request)?)
    }

    /// Waits for a reply.
    pub(super) fn receive(&mut self) -> Result<Value> {
        let value = receive(&mut self.stream, &mut self.buffer)?;
        if self.buffer.is_empty() {
            // Thousands of these wait; none needs its bytes meanwhile.
            self.buffer = Vec::new();
        }
        if let Some(error) = value.as_error() {
            bail!("the server answers {}", String::from_utf8_lossy(error));
        }
        Ok(value)
    }

    /// Whether the next thing it hears is the answer to a PING: it lives, and nothing else was sent to it.
    pub(super) fn hears_nothing_else(&mut self) -> bool {
        let answer = self.send(&["PING"]).and_then(|()| self.receive());
        answer.is_ok_and(|value| value.as_bytes() == Some(b"PONG")) && self.buffer.is_empty()
    }
}

/// How many connections this process may have, having raised its limit of open files as far as it can.
pub(super) fn room(wanted: usize) -> usize {
    let limit = files::raise(wanted as u64 + FILES_SPARE);
    usize::try_from(limit.saturating_sub(FILES_SPARE)).unwrap_or(usize::MAX)
}

/// Refuses a crowd that this process has no files for.
pub(super) fn ensure_room(wanted: usize) -> Result<()> {
    let room = room(wanted);
    ensure!(room >= wanted, "this process may open {room} connections, not {wanted}: raise `ulimit -n`");
    Ok(())
}

/// Makes connections number `from..to`; each has spoken once, as clients do.
pub(super) fn connect(address: &Address, from: usize, to: usize) -> Result<Vec<Member>> {
    let member = |n: usize| {
        let stream = address.connect_from(source(n)).with_context(|| format!("connection {}", n + 1))?;
        let mut member = Member { stream, buffer: Vec::new() };
        let answer = member.send(&["PING"]).and_then(|()| member.receive());
        let answer = answer.with_context(|| format!("connection {} says PING", n + 1))?;
        ensure!(answer.as_bytes() == Some(b"PONG"), "connection {} hears {answer:?}", n + 1);
        Ok(member)
    };
    (from..to).map(member).collect()
}

/// 127.0.0.1 for the first, which needs no binding, then 127.0.0.2 and so on.
fn source(n: usize) -> Option<Ipv4Addr> {
    let nth = u32::try_from(n / PER_SOURCE).ok().filter(|nth| *nth > 0)?;
    Some(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + nth))
}

/// Asks until INFO CLIENTS counts so many.
pub(super) fn await_count(control: &mut Control, clock: &SystemClock, name: &str, wanted: u64) -> Result<()> {
    let from = clock.elapsed();
    loop {
        let count = control.clients(name).with_context(|| format!("INFO CLIENTS has no {name}"))?;
        if count == wanted {
            return Ok(());
        }
        let waited = clock.elapsed().saturating_sub(from).as_secs();
        ensure!(waited < NOTICED_SECONDS, "{name} is {count} and does not become {wanted}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ten_thousand_come_from_another_address() {
        assert_eq!(source(9_999), None);
        assert_eq!(source(10_000), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source(2_550_000), Some(Ipv4Addr::new(127, 0, 1, 0)));
    }
}
