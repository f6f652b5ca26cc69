//! Keyspace notifications: which events are told to whom.
//!
//! The setting `notify-keyspace-events` is a set of letters: `K` and `E` say in which of two forms, the others which
//! classes of events. Told are the events of this server's keys whoever caused them, each once.

use weir_engine::{KeyEvent, Turn};

use super::door::Door;
use super::pubsub;

/// The classes that `A` stands for, in the order in which they are read back.
const ALL: &[u8] = b"g$lshzxetd";
/// What `A` does not include.
const EXTRA: &[u8] = b"KEnm";

/// The events that are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NotifyFlags {
    /// One bit for each letter of [`ALL`], then of [`EXTRA`].
    bits: u32,
}

impl NotifyFlags {
    /// Reads the letters; `None` when one has no meaning.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut bits = 0;
        for letter in text {
            bits |= match letter {
                b'A' => (1 << ALL.len()) - 1,
                _ => bit(*letter)?,
            };
        }
        Some(Self { bits })
    }

    /// The letters as they are read back: `A` first when it fits, `KEA` becoming `AKE`.
    pub(crate) fn letters(self) -> String {
        let is_all = self.bits & ((1 << ALL.len()) - 1) == (1 << ALL.len()) - 1;
        let classes = if is_all { "A".to_owned() } else { self.of(ALL) };
        classes + &self.of(EXTRA)
    }

    fn of(self, letters: &[u8]) -> String {
        letters.iter().filter(|letter| self.has(**letter)).map(|letter| char::from(*letter)).collect()
    }

    fn has(self, letter: u8) -> bool {
        bit(letter).is_some_and(|bit| self.bits & bit != 0)
    }

    /// Whether any event can be told at all.
    pub(crate) fn is_on(self) -> bool {
        self.has(b'K') || self.has(b'E')
    }
}

fn bit(letter: u8) -> Option<u32> {
    let place = ALL.iter().chain(EXTRA).position(|known| *known == letter)?;
    Some(1 << place)
}

/// The class of an event by its name.
fn class(event: &str) -> u8 {
    match event {
        "expired" => b'x',
        "evicted" => b'e',
        "new" => b'n',
        "set" | "setrange" | "append" | "incrby" | "incrbyfloat" => b'$',
        _ if event.starts_with('x') => b't',
        _ => b'g',
    }
}

/// Tells the events of the turn so far; they leave after the answer of the command at hand and after the flush.
pub(crate) fn tell(door: &mut Door, turn: &mut Turn<'_>) {
    let flags = door.notify;
    turn.record_events(flags.is_on());
    for KeyEvent { ns, key, event } in turn.take_events() {
        if !flags.has(class(event)) {
            continue;
        }
        if flags.has(b'K') {
            let channel = [format!("__keyspace@{}__:", ns.0).as_bytes(), &key].concat();
            pubsub::publish(door, &channel, event.as_bytes());
        }
        if flags.has(b'E') {
            let channel = format!("__keyevent@{}__:{event}", ns.0);
            pubsub::publish(door, channel.as_bytes(), &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_back_in_order() {
        for (given, wanted) in [
            ("", Some("")),
            ("KEA", Some("AKE")),
            ("Kg$lshzxetd", Some("AK")),
            ("tE", Some("tE")),
            ("mnK", Some("Knm")),
            ("xg", Some("gx")),
            ("K!", None),
        ] {
            let read = NotifyFlags::parse(given.as_bytes()).map(NotifyFlags::letters);
            assert_eq!(read.as_deref(), wanted, "{given}");
        }
        assert!(!NotifyFlags::parse(b"gx").unwrap().is_on());
    }
}
