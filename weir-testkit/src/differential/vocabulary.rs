//! The words test commands are made of: few names, so that commands meet, and values at every boundary.

use crate::random::Random;

const KEYS: &[&str] = &["a", "b", "c", "d"];
/// Usually holds a string.
pub(super) const STRING_KEY: &str = "str";
const GROUPS: &[&str] = &["g", "h"];
const GROUPS_RARE: &[&str] = &["STREAMS", "nogroup", ""];
const CONSUMERS: &[&str] = &["ann", "bob", "eve"];
const CONSUMERS_RARE: &[&str] = &["", "STREAMS", "zoë"];

/// Usually holds nothing.
const RARE_KEY: &str = "nokey";

/// Every key the generator uses, and every group, for looking at the state.
pub(super) const ALL_KEYS: &[&str] = &["a", "b", "c", "d", RARE_KEY, STRING_KEY];
pub(super) const ALL_GROUPS: &[&str] = &["g", "h", "STREAMS", "nogroup", ""];

pub(super) const ID_MAX: &str = "18446744073709551615-18446744073709551615";

const IDS_BOUNDARY: &[&str] = &[
    "0-0",
    "0",
    "0-1",
    "00-01",
    "+1-1",
    " 2-1",
    ID_MAX,
    "18446744073709551615",
    "18446744073709551615-0",
    "0-18446744073709551615",
    "9223372036854775808-1",
];
const IDS_BAD: &[&str] = &[
    "-",
    "+",
    "$",
    ">",
    "*",
    "",
    "abc",
    "1-",
    "-1",
    "1-2-3",
    "1-1 ",
    "18446744073709551616-0",
    "1-x",
    "5-*",
    "*-5",
    "(5-0",
    "(",
    "0x10-1",
];
const BOUNDS_ODD: &[&str] = &[
    "(",
    "(-",
    "(+",
    "(0-0",
    "(18446744073709551615-18446744073709551615",
    "0-0",
    "+",
    "-",
    "18446744073709551615-18446744073709551615",
    "((1-1",
    "( 1-1",
    "bad",
    "",
];
const NUMBERS_ODD: &[&str] = &[
    "0",
    "-1",
    "",
    "x",
    "+1",
    "01",
    "1.5",
    " 1",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "127",
    "128",
    "-4096",
    "-4097",
    "4095",
    "4096",
    "-32768",
    "32767",
    "32768",
    "8388607",
    "8388608",
    "-8388609",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "007",
    "-0",
    "+5",
    "1.5",
    "v",
    "value",
    "\r\n",
    "\0",
];
const VALUE_LENGTHS: &[usize] = &[10, 40, 63, 64, 100, 127, 128, 500, 1000, 4094, 4095, 4096, 5000, 16_400];
const FIELD_NAMES: &[&str] = &[
    "f",
    "g",
    "field",
    "1",
    "",
    "a long name of a field that goes on and on and on, longer than sixty-four bytes",
];

/// What is drawn from the vocabulary, with some memory of what was drawn.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) random: Random,
    ms: u64,
    seq: u64,
    recent: Vec<String>,
}

/// IDs remembered for later commands to name.
const RECENT_MAX: usize = 300;

impl Vocabulary {
    pub(super) fn new(random: Random) -> Self {
        Self { random, ms: 1, seq: 0, recent: vec!["1-1".to_owned()] }
    }

    pub(super) fn key(&mut self) -> String {
        match self.random.below(100) {
            0..70 => self.random.pick(&KEYS[..2]),
            70..95 => self.random.pick(&KEYS[2..]),
            95..98 => STRING_KEY,
            _ => RARE_KEY,
        }
        .to_owned()
    }

    pub(super) fn group(&mut self) -> String {
        match self.random.below(100) {
            0..75 => "g",
            75..95 => self.random.pick(GROUPS),
            _ => self.random.pick(GROUPS_RARE),
        }
        .to_owned()
    }

    pub(super) fn consumer(&mut self) -> String {
        if self.random.chance(960) { self.random.pick(CONSUMERS) } else { self.random.pick(CONSUMERS_RARE) }
            .to_owned()
    }

    /// An ID that is usually greater than those before.
    pub(super) fn next_id(&mut self) -> String {
        match self.random.below(10) {
            0..4 => self.seq += self.random.between(1, 2),
            4..9 => (self.ms, self.seq) = (self.ms + 1, self.random.between(0, 1)),
            _ => {
                (self.ms, self.seq) = (self.ms + self.random.between(2, 300), self.random.between(0, 70_000))
            }
        }
        let id = format!("{}-{}", self.ms, self.seq);
        self.remember(&id);
        match self.random.below(60) {
            0 => format!("0{id}"),
            1 => self.ms.to_string(),
            2 | 3 => format!("{}-*", self.ms),
            _ => id,
        }
    }

    fn remember(&mut self, id: &str) {
        if self.recent.len() == RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push(id.to_owned());
    }

    /// An ID that may well exist.
    pub(super) fn known_id(&mut self) -> String {
        let back = if self.random.chance(500) { 20 } else { RECENT_MAX };
        let len = self.recent.len();
        let at = len - 1 - self.random.below(back.min(len));
        self.recent[at].clone()
    }

    /// Mostly a known ID, sometimes one at the edge of what is legal, seldom an illegal one.
    pub(super) fn any_id(&mut self) -> String {
        match self.random.below(200) {
            0..190 => self.known_id(),
            190..197 => self.random.pick(IDS_BOUNDARY).to_owned(),
            _ => self.random.pick(IDS_BAD).to_owned(),
        }
    }

    pub(super) fn bound(&mut self, edge: &str) -> String {
        match self.random.below(20) {
            0..8 => edge.to_owned(),
            8..14 => self.known_id(),
            14..16 => format!("({}", self.known_id()),
            16 => self.ms.saturating_sub(self.random.between(0, 30)).to_string(),
            17 => format!("({}", self.ms.saturating_sub(self.random.between(0, 30))),
            18 => self.known_id(),
            _ => self.random.pick(BOUNDS_ODD).to_owned(),
        }
    }

    /// A small number, or once in a while something that is none.
    pub(super) fn number(&mut self, most: u64) -> String {
        if self.random.chance(970) {
            self.random.between(0, most).to_string()
        } else {
            self.random.pick(NUMBERS_ODD).to_owned()
        }
    }

    /// Milliseconds of idle time: with 0 everything is old enough, with the others only what was made old.
    pub(super) fn idle_min(&mut self) -> String {
        match self.random.below(20) {
            0..14 => "0".to_owned(),
            14..17 => "500000".to_owned(),
            17 => "5000000".to_owned(),
            18 => "-3".to_owned(),
            _ => self.random.pick(NUMBERS_ODD).to_owned(),
        }
    }

    /// Names and values in turn.
    pub(super) fn fields(&mut self, small: bool) -> Vec<Vec<u8>> {
        let pairs = match self.random.below(20) {
            0..15 => 1,
            15..19 => 2,
            _ => 5,
        };
        let mut words = Vec::new();
        for _ in 0..pairs {
            let name = if self.random.chance(800) { "f" } else { self.random.pick(FIELD_NAMES) };
            words.push(name.as_bytes().to_vec());
            words.push(self.value(small));
        }
        words
    }

    /// As few bytes as keep a hundred entries below the size of a node.
    pub(super) fn tiny_fields(&mut self) -> Vec<Vec<u8>> {
        let pairs = if self.random.chance(970) { 1 } else { 2 };
        (0..pairs).flat_map(|_| [b"f".to_vec(), self.value(true)]).collect()
    }

    fn value(&mut self, small: bool) -> Vec<u8> {
        if small || self.random.chance(900) {
            return self.random.pick(VALUES).as_bytes().to_vec();
        }
        let lengths = if self.random.chance(900) { &VALUE_LENGTHS[..7] } else { VALUE_LENGTHS };
        vec![b'x'; lengths[self.random.below(lengths.len())]]
    }

    pub(super) fn odd_word(&mut self) -> String {
        let pool =
            [NUMBERS_ODD, IDS_BAD, IDS_BOUNDARY, &["COUNT", "STREAMS", "MAXLEN", "~", "=", "FORCE", "junk"]];
        let words = pool[self.random.below(pool.len())];
        self.random.pick(words).to_owned()
    }
}
