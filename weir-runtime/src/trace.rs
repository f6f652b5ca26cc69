//! Trace context as the W3C writes it: `00-<trace>-<span>-<flags>`, carried in an entry's field.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which trace an entry belongs to, and under which span it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not 0.
    pub trace: u128,
    /// The span that wrote the entry; not 0.
    pub span: u64,
    /// Bit 0: the trace is recorded.
    pub flags: u8,
}

thread_local! {
    static CURRENT: Cell<Option<TraceParent>> = const { Cell::new(None) };
}

impl TraceParent {
    /// The field of an entry that carries it.
    pub const FIELD: &'static str = "traceparent";

    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`; later versions may have more behind it. `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let part = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            let is_hex = digits.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
            let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
            u128::from_str_radix(digits, 16).ok()
        };
        let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
        let version = part(0, 2)?;
        let ends =
            if version == 0 { text.len() == 55 } else { text.len() == 55 || text.get(55) == Some(&b'-') };
        let (trace, span, flags) = (part(3, 35)?, part(36, 52)?, part(53, 55)?);
        let is_good = dashes && ends && version != 0xff && trace != 0 && span != 0;
        is_good.then_some(Self { trace, span: span as u64, flags: flags as u8 })
    }

    /// The beginning of a trace.
    #[must_use]
    pub fn root() -> Self {
        Self { trace: u128::from(draw()) << 64 | u128::from(draw()), span: draw(), flags: 0 }
    }

    /// A span below this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: draw(), ..self }
    }

    /// The trace of the handler that is being polled on this thread: what a [`crate::Publisher`] gives the entries it
    /// appends from there.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Makes it the current one until the guard is dropped.
    pub(crate) fn enter(trace: Option<Self>) -> Entered {
        Entered { before: CURRENT.replace(trace) }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<TraceParent>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// A number that occurs once, unless by chance: never 0, different in every process.
pub(crate) fn draw() -> u64 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    KEYS.get_or_init(RandomState::new).hash_one(count).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = TraceParent::parse(text.as_bytes()).unwrap();
        assert_eq!((parsed.span, parsed.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.child().trace, parsed.trace);
        assert_ne!(parsed.child().span, parsed.span);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(
            TraceParent::parse(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some()
        );
    }
}
