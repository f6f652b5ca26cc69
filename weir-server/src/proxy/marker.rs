//! Markers in the stream of replies: names of commands that nobody has.
//!
//! Every Redis answers one with a line that has the name in it, whether the client has logged in or not, whatever it is
//! allowed to and whether it has subscribed. The name cannot be guessed, so no value has such a line in it by accident
//! or by malice.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A name, and the line it is answered with.
#[derive(Debug, Clone)]
pub(super) struct Marker {
    name: String,
    /// How the line begins; older servers quote in another way.
    heads: [Vec<u8>; 2],
}

/// What a stream of replies has of a marker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing up to here; what is behind may be the beginning of it.
    NotBefore(usize),
    /// The line stands there.
    At {
        /// Where it begins.
        start: usize,
        /// Where it has ended.
        end: usize,
    },
}

impl Marker {
    /// A name that nobody knows.
    pub(super) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        let name = format!("weir-{:016x}{:016x}", random(), random());
        let head = |quote: char| format!("-ERR unknown command {quote}{name}").into_bytes();
        Self { heads: [head('\''), head('`')], name }
    }

    /// The command.
    pub(super) fn command(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Looks for it.
    pub(super) fn find(&self, bytes: &[u8]) -> Found {
        for (start, byte) in bytes.iter().enumerate() {
            if *byte != b'-' {
                continue;
            }
            let rest = &bytes[start..];
            for head in &self.heads {
                if rest.starts_with(head) {
                    return match rest.windows(2).position(|pair| pair == b"\r\n") {
                        Some(line) => Found::At { start, end: start + line + 2 },
                        None => Found::NotBefore(start),
                    };
                }
                if head.starts_with(rest) {
                    return Found::NotBefore(start);
                }
            }
        }
        Found::NotBefore(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_however_the_bytes_are_cut() {
        let marker = Marker::new();
        for quote in ['\'', '`'] {
            let line =
                format!("-ERR unknown command {quote}{}{quote}, with args beginning with: \r\n", marker.name);
            let bytes = [b"-ERR unknown command 'x'\r\n$1\r\n-\r\n", line.as_bytes(), b"+OK\r\n"].concat();
            let (start, end) = (bytes.len() - 5 - line.len(), bytes.len() - 5);
            for cut in 0..=bytes.len() {
                match marker.find(&bytes[..cut]) {
                    Found::At { start: at, end: to } => assert_eq!((at, to, cut >= end), (start, end, true)),
                    Found::NotBefore(at) => assert!(cut < end && at <= start.min(cut), "{cut}: {at}"),
                }
            }
        }
        assert_ne!(marker.command(), Marker::new().command());
    }
}
