//! What a token says: the epoch of the delivery, a mark of who got it, and how often the entry was given out.
//!
//! ```text
//!  63                            20 19        8 7       0
//! ┌────────────────────────────────┬───────────┬─────────┐
//! │ epoch                          │ mark      │ deliv.  │
//! └────────────────────────────────┴───────────┴─────────┘
//! ```
//!
//! The epoch rises with everything that takes a delivery from somebody by way of weir. The mark (of the consumer's
//! name) and the number of deliveries change when a client that knows no epochs takes an entry over.

use weir_core::Token;

/// A token from its parts.
pub(crate) fn token(epoch: u64, mark: u64, deliveries: u64) -> Token {
    Token(epoch << 20 | (mark & 0xfff) << 8 | (deliveries & 0xff))
}

/// As the scripts compare it.
pub(crate) fn text(token: Token) -> String {
    format!("{}:{}:{}", token.0 >> 20, token.0 >> 8 & 0xfff, token.0 & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        assert_eq!(text(token(1_732_150_000_123, 4_095, 257)), "1732150000123:4095:1");
        assert_eq!(text(token(0, 0, 0)), "0:0:0");
    }
}
