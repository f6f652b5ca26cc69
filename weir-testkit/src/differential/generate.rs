//! Random command sequences, weighted so that interesting states come about and wrong requests are made of them.
//!
//! A sequence is a pure function of its seed. In three sequences of four all IDs are explicit. In the fourth, one
//! stream gets its entries with `*`, and later commands name them. That stream is never removed nor set back, so that
//! on both peers its IDs follow the order in which they were given; and its fields are so small that nodes fill up by
//! number, not by size, which depends on the timestamps.

use super::command::{Command, Word};
use super::vocabulary::{ALL_GROUPS, ALL_KEYS, STRING_KEY, Vocabulary};
use crate::random::Random;

/// Which commands are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// What Redis 7.0 knows.
    Redis70,
    /// What Redis 8.10 knows.
    Latest,
}

/// The stream with automatic IDs, in sequences that have one.
pub(super) const AUTOMATIC_KEY: &str = "a";
/// Commands between two looks at the whole state.
const LOOK_EVERY: usize = 1_000;

/// The sequence of a seed: at least `length` commands, and looks at the state in between and at the end.
#[must_use]
pub fn generate(seed: u64, length: usize, surface: Surface) -> Vec<Command> {
    let vocabulary = Vocabulary::new(Random::new(seed));
    let mut generator = Generator {
        vocabulary,
        surface,
        automatic_ids: seed % 4 == 3,
        in_transaction: false,
        automatic: Vec::new(),
        commands: Vec::new(),
    };
    let mut look_at = LOOK_EVERY;
    while generator.commands.len() < length {
        generator.step();
        if generator.commands.len() >= look_at && !generator.in_transaction {
            generator.look_at_everything();
            look_at = generator.commands.len() + LOOK_EVERY;
        }
    }
    generator.emit(Request::of(&["DISCARD"]));
    generator.look_at_everything();
    generator.commands
}

struct Generator {
    vocabulary: Vocabulary,
    surface: Surface,
    automatic_ids: bool,
    in_transaction: bool,
    /// Serials of commands that left the ID to the peer.
    automatic: Vec<usize>,
    commands: Vec<Command>,
}

/// A command in the making.
#[derive(Debug, Clone)]
struct Request(Vec<Word>);

impl Request {
    fn of(words: &[&str]) -> Self {
        Self(words.iter().map(|word| Word::Bytes(word.as_bytes().to_vec())).collect())
    }

    fn and(mut self, word: impl AsRef<[u8]>) -> Self {
        self.push(word);
        self
    }

    fn push(&mut self, word: impl AsRef<[u8]>) {
        self.0.push(Word::Bytes(word.as_ref().to_vec()));
    }
}

type Make = fn(&mut Generator) -> Request;

/// How often each kind of command is made.
const KINDS: &[(usize, Make)] = &[
    (260, Generator::xadd),
    (40, Generator::xdel),
    (30, Generator::xtrim),
    (10, Generator::xlen),
    (60, Generator::xrange),
    (50, Generator::xread),
    (110, Generator::xreadgroup_new),
    (50, Generator::xreadgroup_history),
    (60, Generator::xgroup_create),
    (20, Generator::xgroup_setid),
    (4, Generator::xgroup_destroy),
    (10, Generator::xgroup_createconsumer),
    (10, Generator::xgroup_delconsumer),
    (60, Generator::xack),
    (60, Generator::xpending),
    (60, Generator::xclaim),
    (45, Generator::xautoclaim),
    (40, Generator::xinfo),
    (12, Generator::xsetid),
    (5, Generator::del),
    (8, Generator::rename_or_copy),
    (15, Generator::expiry),
    (20, Generator::look_at_key),
    (6, Generator::string),
    (4, Generator::watch),
    (6, Generator::odd),
];

/// What only [`Surface::Latest`] has, in addition.
const KINDS_LATEST: &[(usize, Make)] = &[
    (40, Generator::xdelex),
    (50, Generator::xackdel),
    (50, Generator::xnack),
    (6, Generator::xcfgset),
    (40, Generator::xreadgroup_claim),
];

impl Generator {
    fn step(&mut self) {
        match self.vocabulary.random.below(1_000) {
            0..3 => self.burst(),
            3 if self.vocabulary.random.chance(500) => self.empty_last_node(),
            3 => self.trim_copy(),
            4..10 if !self.in_transaction => {
                self.in_transaction = true;
                self.emit(Request::of(&["MULTI"]));
            }
            10..120 if self.in_transaction => {
                self.in_transaction = false;
                let end = if self.vocabulary.random.chance(850) { "EXEC" } else { "DISCARD" };
                self.emit(Request::of(&[end]));
            }
            120..122 => self.stray_transaction_word(),
            _ => self.ordinary(),
        }
    }

    fn ordinary(&mut self) {
        let newer = if self.surface == Surface::Latest { KINDS_LATEST } else { &[] };
        let kinds: Vec<&(usize, Make)> = KINDS.iter().chain(newer).collect();
        let at = self.vocabulary.random.weighted(kinds.iter().map(|(weight, _)| *weight));
        let mut request = (kinds[at].1)(self);
        if self.vocabulary.random.chance(35) {
            request = self.spoil(request);
        }
        self.emit(request);
    }

    /// EXEC and the like where they do not belong, or with a word too many.
    fn stray_transaction_word(&mut self) {
        let word = self.vocabulary.random.pick(&["MULTI", "EXEC", "DISCARD", "WATCH a", "EXEC x", "UNWATCH"]);
        let ends = matches!(word, "EXEC" | "DISCARD" | "EXEC x");
        self.in_transaction = (self.in_transaction && !ends) || word == "MULTI";
        self.emit(Request::of(&word.split(' ').collect::<Vec<_>>()));
    }

    fn emit(&mut self, request: Request) {
        let mut command = Command { serial: self.commands.len(), words: request.0 };
        if command.may_wait() && !self.in_transaction {
            wait_shortly(&mut command);
        }
        if command.name() == "xadd" {
            if self.automatic_ids && command.lower(1) == AUTOMATIC_KEY {
                if command.has("*") {
                    self.automatic.push(command.serial);
                }
            } else {
                command.words.iter_mut().filter(|word| **word == Word::Bytes(b"*".to_vec())).for_each(
                    |word| {
                        *word = Word::Bytes(b"5-5".to_vec());
                    },
                );
            }
        }
        self.commands.push(command);
    }

    /// Looks at every key and group through every command that shows state.
    fn look_at_everything(&mut self) {
        for key in ALL_KEYS {
            for words in [
                &["TYPE", key][..],
                &["XINFO", "STREAM", key, "FULL", "COUNT", "0"],
                &["XINFO", "STREAM", key],
            ] {
                self.emit(Request::of(words));
            }
            self.emit(Request::of(&["XINFO", "GROUPS", key]));
            self.emit(Request::of(&["TTL", key]));
            for group in ALL_GROUPS {
                self.emit(Request::of(&["XPENDING", key, group]));
                self.emit(Request::of(&["XPENDING", key, group, "-", "+", "100000"]));
                self.emit(Request::of(&["XINFO", "CONSUMERS", key, group]));
            }
        }
    }

    /// Many entries at once, so that nodes fill up by number or by size.
    fn burst(&mut self) {
        let key = self.vocabulary.key();
        let names = self.vocabulary.fields(true);
        let same = self.vocabulary.random.chance(500);
        let bulky = !self.automatic_ids && self.vocabulary.random.chance(400);
        for _ in 0..self.vocabulary.random.between(40, 260) {
            let automatic = self.automatic_ids && key == AUTOMATIC_KEY;
            let id = if automatic { "*".to_owned() } else { self.vocabulary.next_id() };
            let mut request = Request::of(&["XADD", &key, &id]);
            if automatic {
                self.vocabulary.tiny_fields().iter().for_each(|word| request.push(word));
            } else if bulky {
                let length = self.vocabulary.random.between(1, 1_100) as usize;
                request = request.and("f").and("y".repeat(length));
            } else {
                let fields = if same { names.clone() } else { self.vocabulary.fields(true) };
                fields.iter().for_each(|word| request.push(word));
            }
            self.emit(request);
        }
        let mut request = Request::of(&["XTRIM", &key]);
        self.threshold(&mut request);
        self.emit(request);
        self.emit(Request::of(&["XLEN", &key]));
        self.emit(Request::of(&["XINFO", "STREAM", &key]));
    }

    /// Deletes the newest entry and trims the others, so that only a deleted one is beyond the threshold.
    fn empty_last_node(&mut self) {
        let key = self.changeable_key();
        let ids = [self.vocabulary.next_id(), self.vocabulary.next_id()];
        for id in &ids {
            self.emit(Request::of(&["XADD", &key, id, "f", "v"]));
        }
        self.emit(Request::of(&["XDEL", &key, &ids[1]]));
        self.emit(Request::of(&["XTRIM", &key, "MINID", &ids[1]]));
        self.emit(Request::of(&["XINFO", "STREAM", &key]));
    }

    /// Trims a copy up to an entry that was deleted before the copy was made.
    fn trim_copy(&mut self) {
        let (key, copy) = (self.changeable_key(), self.changeable_key());
        let ids = [self.vocabulary.next_id(), self.vocabulary.next_id()];
        for id in &ids {
            self.emit(Request::of(&["XADD", &key, id, "f", "v"]));
        }
        self.emit(Request::of(&["XDEL", &key, &ids[1]]));
        self.emit(Request::of(&["COPY", &key, &copy, "REPLACE"]));
        self.emit(Request::of(&["XTRIM", &copy, "MINID", "~", &ids[1]]));
        self.emit(Request::of(&["XLEN", &copy]));
    }

    /// A key for commands that may remove a stream or change its last ID.
    fn changeable_key(&mut self) -> String {
        let key = self.vocabulary.key();
        if self.automatic_ids && key == AUTOMATIC_KEY { "b".to_owned() } else { key }
    }

    fn id_word(&mut self) -> Word {
        if !self.automatic.is_empty() && self.vocabulary.random.chance(700) {
            let last = self.automatic.len() - 1;
            let back = self.vocabulary.random.below(30.min(last + 1));
            return Word::IdGivenTo(self.automatic[last - back]);
        }
        Word::Bytes(self.vocabulary.any_id().into_bytes())
    }

    fn push_ids(&mut self, request: &mut Request) -> usize {
        let count = self.vocabulary.random.between(1, 4) as usize;
        for _ in 0..count {
            let id = self.id_word();
            request.0.push(id);
        }
        count
    }

    fn with_group(&mut self, words: &[&str]) -> Request {
        let (key, group) = (self.vocabulary.key(), self.vocabulary.group());
        Request::of(words).and(key).and(group)
    }

    fn xadd(&mut self) -> Request {
        let key = self.vocabulary.key();
        let automatic = self.automatic_ids && key == AUTOMATIC_KEY;
        let mut request = Request::of(&["XADD", &key]);
        if self.vocabulary.random.chance(50) {
            request.push("NOMKSTREAM");
        }
        if self.vocabulary.random.chance(100) {
            self.threshold(&mut request);
        }
        if automatic && self.surface == Surface::Latest && self.vocabulary.random.chance(400) {
            self.idempotent(&mut request);
        }
        match self.vocabulary.random.below(100) {
            0..97 if automatic => request.push("*"),
            _ if automatic => request.push(self.vocabulary.known_id()),
            0..94 => request.push(self.vocabulary.next_id()),
            94..97 => request.push(self.vocabulary.known_id()),
            _ => {
                let id = self.vocabulary.any_id();
                request.push(if id == "*" { "5-5" } else { &id });
            }
        }
        let fields = if automatic { self.vocabulary.tiny_fields() } else { self.vocabulary.fields(false) };
        fields.iter().for_each(|word| request.push(word));
        request
    }

    fn idempotent(&mut self, request: &mut Request) {
        let producer = self.vocabulary.random.pick(&["p", "q", "p", "p", ""]);
        if self.vocabulary.random.chance(700) {
            let iid = self.vocabulary.number(30);
            *request = request.clone().and("IDMP").and(producer).and(iid);
        } else {
            *request = request.clone().and("IDMPAUTO").and(producer);
        }
    }

    /// MAXLEN or MINID with all that belongs to it.
    fn threshold(&mut self, request: &mut Request) {
        let by_length = self.vocabulary.random.chance(600);
        request.push(if by_length { "MAXLEN" } else { "MINID" });
        let sign = self.vocabulary.random.pick(&["~", "~", "=", ""]);
        if !sign.is_empty() {
            request.push(sign);
        }
        if by_length {
            request.push(self.vocabulary.number(250));
        } else {
            let id = self.id_word();
            request.0.push(id);
        }
        if self.vocabulary.random.chance(if sign == "~" { 300 } else { 20 }) {
            *request = request.clone().and("LIMIT").and(self.vocabulary.number(300));
        }
        if self.vocabulary.random.chance(300) {
            self.policy(request);
        }
    }

    fn policy(&mut self, request: &mut Request) {
        if self.surface == Surface::Latest {
            request.push(self.vocabulary.random.pick(&["KEEPREF", "DELREF", "ACKED"]));
        }
    }

    fn xdel(&mut self) -> Request {
        let mut request = Request::of(&["XDEL"]).and(self.vocabulary.key());
        self.push_ids(&mut request);
        request
    }

    fn xtrim(&mut self) -> Request {
        let mut request = Request::of(&["XTRIM"]).and(self.vocabulary.key());
        self.threshold(&mut request);
        request
    }

    fn xlen(&mut self) -> Request {
        Request::of(&["XLEN"]).and(self.vocabulary.key())
    }

    fn xrange(&mut self) -> Request {
        let forward = self.vocabulary.random.chance(600);
        let (name, edges) = if forward { ("XRANGE", ["-", "+"]) } else { ("XREVRANGE", ["+", "-"]) };
        let mut request = Request::of(&[name]).and(self.vocabulary.key());
        for edge in edges {
            request.push(self.vocabulary.bound(edge));
        }
        if self.vocabulary.random.chance(800) {
            request = request.and("COUNT").and(self.vocabulary.number(12));
        }
        request
    }

    fn xread(&mut self) -> Request {
        let mut request = Request::of(&["XREAD"]);
        self.read_options(&mut request);
        self.streams(&mut request, Self::plain_position);
        request
    }

    fn plain_position(&mut self) -> Word {
        match self.vocabulary.random.below(20) {
            0 => Word::Bytes(b"$".to_vec()),
            1 => Word::Bytes(b">".to_vec()),
            2 => Word::Bytes(b"+".to_vec()),
            3 => Word::Bytes(b"0".to_vec()),
            _ => self.id_word(),
        }
    }

    fn read_options(&mut self, request: &mut Request) {
        if self.vocabulary.random.chance(700) {
            let most = self.vocabulary.random.pick(&[&3, &8, &40]);
            *request = request.clone().and("COUNT").and(self.vocabulary.number(*most));
        }
        if self.vocabulary.random.chance(if self.in_transaction { 150 } else { 20 }) {
            // The greatest number divides the versions, which the stream with automatic IDs would not survive.
            let greatest = if self.automatic_ids { "0" } else { "9223372036854775807" };
            let wait = self.vocabulary.random.pick(&["0", "1", "2", "-1", "x", greatest]);
            *request = request.clone().and("BLOCK").and(wait);
        }
        if self.surface == Surface::Latest && self.vocabulary.random.chance(80) {
            *request = request.clone().and("MAXCOUNT").and(self.vocabulary.number(12));
        }
        if self.surface == Surface::Latest && self.vocabulary.random.chance(40) {
            let size = self.vocabulary.random.pick(&["1", "1000000000", "0", "-1"]);
            *request = request.clone().and("MAXSIZE").and(size);
        }
    }

    fn streams(&mut self, request: &mut Request, position: fn(&mut Self) -> Word) {
        request.push("STREAMS");
        let count = if self.vocabulary.random.chance(750) { 1 } else { 2 };
        for _ in 0..count {
            request.push(self.vocabulary.key());
        }
        for _ in 0..count {
            let position = position(self);
            request.0.push(position);
        }
    }

    fn xreadgroup(&mut self, position: fn(&mut Self) -> Word) -> Request {
        let (group, consumer) = (self.vocabulary.group(), self.vocabulary.consumer());
        let mut request = Request::of(&["XREADGROUP", "GROUP", &group, &consumer]);
        self.read_options(&mut request);
        if self.vocabulary.random.chance(60) {
            request.push("NOACK");
        }
        self.streams(&mut request, position);
        request
    }

    fn xreadgroup_new(&mut self) -> Request {
        self.xreadgroup(|_| Word::Bytes(b">".to_vec()))
    }

    fn xreadgroup_history(&mut self) -> Request {
        self.xreadgroup(|generator| match generator.vocabulary.random.below(20) {
            0..8 => Word::Bytes(b"0".to_vec()),
            8 => Word::Bytes(b"$".to_vec()),
            9 => Word::Bytes(b"+".to_vec()),
            10..12 => Word::Bytes(b">".to_vec()),
            _ => generator.id_word(),
        })
    }

    fn xreadgroup_claim(&mut self) -> Request {
        let (group, consumer) = (self.vocabulary.group(), self.vocabulary.consumer());
        let mut request = Request::of(&["XREADGROUP", "GROUP", &group, &consumer]);
        self.read_options(&mut request);
        let idle = self.vocabulary.random.pick(&["5000000", "5000000", "5000000", "5000000", "-1", "x"]);
        request = request.and("CLAIM").and(idle);
        self.streams(&mut request, |generator| {
            let id: &[u8] = if generator.vocabulary.random.chance(950) { b">" } else { b"0" };
            Word::Bytes(id.to_vec())
        });
        request
    }

    fn xgroup_create(&mut self) -> Request {
        let mut request = self.with_group(&["XGROUP", "CREATE"]);
        let id = match self.vocabulary.random.below(10) {
            0..4 => Word::Bytes(b"0".to_vec()),
            4..7 => Word::Bytes(b"$".to_vec()),
            _ => self.id_word(),
        };
        request.0.push(id);
        if self.vocabulary.random.chance(600) {
            request.push("MKSTREAM");
        }
        self.entries_read(&mut request, 150);
        request
    }

    fn entries_read(&mut self, request: &mut Request, permille: usize) {
        if self.vocabulary.random.chance(permille) {
            *request = request.clone().and("ENTRIESREAD").and(self.vocabulary.number(300));
        }
    }

    fn xgroup_setid(&mut self) -> Request {
        let mut request = self.with_group(&["XGROUP", "SETID"]);
        let id = match self.vocabulary.random.below(10) {
            0..2 => Word::Bytes(b"0".to_vec()),
            2 => Word::Bytes(b"$".to_vec()),
            3 => Word::Bytes(b"-".to_vec()),
            _ => self.id_word(),
        };
        request.0.push(id);
        self.entries_read(&mut request, 400);
        request
    }

    fn xgroup_destroy(&mut self) -> Request {
        self.with_group(&["XGROUP", "DESTROY"])
    }

    fn xgroup_createconsumer(&mut self) -> Request {
        self.with_group(&["XGROUP", "CREATECONSUMER"]).and(self.vocabulary.consumer())
    }

    fn xgroup_delconsumer(&mut self) -> Request {
        self.with_group(&["XGROUP", "DELCONSUMER"]).and(self.vocabulary.consumer())
    }

    fn xack(&mut self) -> Request {
        let mut request = self.with_group(&["XACK"]);
        self.push_ids(&mut request);
        request
    }

    fn xpending(&mut self) -> Request {
        let mut request = self.with_group(&["XPENDING"]);
        if self.vocabulary.random.chance(300) {
            return request;
        }
        if self.vocabulary.random.chance(300) {
            request = request.and("IDLE").and(self.vocabulary.idle_min());
        }
        request = request.and(self.vocabulary.bound("-")).and(self.vocabulary.bound("+"));
        request.push(self.vocabulary.number(20));
        if self.vocabulary.random.chance(300) {
            request.push(self.vocabulary.consumer());
        }
        request
    }

    fn xclaim(&mut self) -> Request {
        let mut request = self.with_group(&["XCLAIM"]).and(self.vocabulary.consumer());
        request.push(self.vocabulary.idle_min());
        self.push_ids(&mut request);
        for _ in 0..self.vocabulary.random.below(3) {
            match self.vocabulary.random.below(12) {
                0..3 => request.push("JUSTID"),
                3..6 => request.push("FORCE"),
                6 => {
                    request =
                        request.and("IDLE").and(self.vocabulary.random.pick(&["1000000", "0", "-5", "x"]))
                }
                7 | 8 => request = request.and("TIME").and(self.delivery_time()),
                9 | 10 => {
                    let most = self.vocabulary.random.pick(&["3", "0", "-1", "x", "9223372036854775807"]);
                    request = request.and("RETRYCOUNT").and(most);
                }
                _ => {
                    request.push("LASTID");
                    let id = self.id_word();
                    request.0.push(id);
                }
            }
        }
        request
    }

    /// Fixed moments of the past, so that both peers find the same order among rows made old.
    fn delivery_time(&mut self) -> String {
        match self.vocabulary.random.below(10) {
            0..7 => (1_600_000_000_000 + 1_000 * self.vocabulary.random.between(0, 5)).to_string(),
            7 => "0".to_owned(),
            8 => "99999999999999".to_owned(),
            _ => self.vocabulary.random.pick(&["-1", "-5", "x", "1"]).to_owned(),
        }
    }

    fn xautoclaim(&mut self) -> Request {
        let mut request = self.with_group(&["XAUTOCLAIM"]).and(self.vocabulary.consumer());
        request = request.and(self.vocabulary.idle_min()).and(self.vocabulary.bound("0"));
        if self.vocabulary.random.chance(600) {
            request = request.and("COUNT").and(self.vocabulary.number(6));
        }
        if self.vocabulary.random.chance(250) {
            request.push("JUSTID");
        }
        request
    }

    fn xinfo(&mut self) -> Request {
        let key = self.vocabulary.key();
        match self.vocabulary.random.below(10) {
            0..3 => Request::of(&["XINFO", "STREAM", &key]),
            3 => Request::of(&["XINFO", "STREAM", &key, "FULL"]),
            4..6 => Request::of(&["XINFO", "STREAM", &key, "FULL", "COUNT"]).and(self.vocabulary.number(12)),
            6..8 => Request::of(&["XINFO", "GROUPS", &key]),
            _ => Request::of(&["XINFO", "CONSUMERS", &key]).and(self.vocabulary.group()),
        }
    }

    fn xsetid(&mut self) -> Request {
        let mut request = Request::of(&["XSETID"]).and(self.changeable_key());
        let id = if self.vocabulary.random.chance(500) {
            self.vocabulary.next_id()
        } else {
            self.vocabulary.any_id()
        };
        request.push(id);
        if self.vocabulary.random.chance(400) {
            request = request.and("ENTRIESADDED").and(self.vocabulary.number(1_000));
        }
        if self.vocabulary.random.chance(400) {
            request = request.and("MAXDELETEDID").and(self.vocabulary.any_id());
        }
        request
    }

    fn del(&mut self) -> Request {
        let name = self.vocabulary.random.pick(&["DEL", "DEL", "UNLINK"]);
        let mut request = Request::of(&[name]).and(self.changeable_key());
        if self.vocabulary.random.chance(100) {
            request.push(self.changeable_key());
        }
        request
    }

    fn rename_or_copy(&mut self) -> Request {
        let name = self.vocabulary.random.pick(&["RENAME", "RENAMENX", "COPY", "COPY"]);
        let source = if name == "COPY" { self.vocabulary.key() } else { self.changeable_key() };
        let request = Request::of(&[name]).and(source).and(self.changeable_key());
        if name == "COPY" && self.vocabulary.random.chance(500) { request.and("REPLACE") } else { request }
    }

    fn expiry(&mut self) -> Request {
        let key = self.changeable_key();
        match self.vocabulary.random.below(12) {
            0..5 => {
                let (name, at) = self.far_moment();
                let request = Request::of(&[name, &key]).and(at);
                let condition =
                    self.vocabulary.random.pick(&["NX", "XX", "GT", "LT", "GT LT", "NX XX", "maybe", ""]);
                condition.split_whitespace().fold(request, Request::and)
            }
            5 => Request::of(&["EXPIRE", &key]).and(self.vocabulary.random.pick(&[
                "100000",
                "0",
                "-1",
                "x",
                "9223372036854775807",
            ])),
            6 => Request::of(&["PEXPIRE", &key, "100000000"]),
            7 | 8 => Request::of(&["PERSIST", &key]),
            9 => Request::of(&["TTL", &key]),
            10 => Request::of(&["PTTL", &key]),
            _ => Request::of(&[self.vocabulary.random.pick(&["EXPIRETIME", "PEXPIRETIME"]), &key]),
        }
    }

    /// An absolute expiry: the same for both peers, and no matter when it is asked for.
    fn far_moment(&mut self) -> (&'static str, String) {
        let at_s = 5_000_000_000 + self.vocabulary.random.between(0, 4) * 1_000_000;
        if self.vocabulary.random.chance(500) {
            ("EXPIREAT", at_s.to_string())
        } else {
            ("PEXPIREAT", (at_s * 1_000).to_string())
        }
    }

    fn look_at_key(&mut self) -> Request {
        let name = self.vocabulary.random.pick(&["TYPE", "EXISTS", "XLEN", "DBSIZE", "TOUCH", "GET", "PING"]);
        match name {
            "DBSIZE" | "PING" => Request::of(&[name]),
            "EXISTS" => Request::of(&[name]).and(self.vocabulary.key()).and(self.vocabulary.key()),
            _ => Request::of(&[name]).and(self.vocabulary.key()),
        }
    }

    fn string(&mut self) -> Request {
        let key =
            if self.vocabulary.random.chance(950) { STRING_KEY.to_owned() } else { self.changeable_key() };
        Request::of(&["SET", &key, "text"])
    }

    fn watch(&mut self) -> Request {
        if self.vocabulary.random.chance(850) {
            Request::of(&["WATCH"]).and(self.vocabulary.key())
        } else {
            Request::of(&["UNWATCH"])
        }
    }

    fn odd(&mut self) -> Request {
        let requests: &[&[&str]] = &[
            &["XGROUP", "HELP"],
            &["XINFO", "HELP"],
            &["XGROUP"],
            &["xinfo"],
            &["XGROUP", "NOPE", "a"],
            &["XINFO", "Nope"],
            &["NOSUCH"],
            &["NoSuch", "x", "y z"],
            &["XADD"],
            &["XGROUP", "CREATE", "a"],
            &["XINFO", "STREAM", "a", "FULL", "COUNT"],
            &["XINFO", "HELP", "x"],
            &["XGROUP", "HELP", "x"],
            &["XREADGROUP", "COUNT", "1", "NOACK", "STREAMS", "a", ">"],
            &["XREAD", "GROUP", "g", "ann", "STREAMS", "a", "0"],
            &["XREAD", "NOACK", "STREAMS", "a", "0"],
            &["XREAD", "STREAMS", "a", "b", "0"],
            &["XREADGROUP", "GROUP", "g", "ann", "STREAMS", "a", "b", ">"],
            &["COPY", "a", "a"],
            &["FLUSHALL", "NOW"],
        ];
        Request::of(requests[self.vocabulary.random.below(requests.len())])
    }

    fn xdelex(&mut self) -> Request {
        let request = Request::of(&["XDELEX"]).and(self.vocabulary.key());
        self.policy_and_ids(request)
    }

    fn xackdel(&mut self) -> Request {
        let request = self.with_group(&["XACKDEL"]);
        self.policy_and_ids(request)
    }

    fn policy_and_ids(&mut self, mut request: Request) -> Request {
        let policy_first = self.vocabulary.random.chance(700);
        let has_policy = self.vocabulary.random.chance(700);
        if has_policy && policy_first {
            self.policy(&mut request);
        }
        request = self.ids_block(request);
        if has_policy && !policy_first {
            self.policy(&mut request);
        }
        request
    }

    fn ids_block(&mut self, mut request: Request) -> Request {
        request.push("IDS");
        let count_at = request.0.len();
        let count = self.push_ids(&mut request);
        let count =
            if self.vocabulary.random.chance(970) { count.to_string() } else { self.vocabulary.number(6) };
        request.0.insert(count_at, Word::Bytes(count.into_bytes()));
        request
    }

    fn xnack(&mut self) -> Request {
        let mode = self.vocabulary.random.pick(&["SILENT", "FAIL", "FATAL", "fail", "FAIL"]);
        let request = self.with_group(&["XNACK"]).and(mode);
        let mut request = self.ids_block(request);
        if self.vocabulary.random.chance(200) {
            let count = self.vocabulary.random.pick(&["0", "4", "9223372036854775807", "-1"]);
            request = request.and("RETRYCOUNT").and(count);
        }
        if self.vocabulary.random.chance(200) {
            request.push("FORCE");
        }
        request
    }

    fn xcfgset(&mut self) -> Request {
        let mut request = Request::of(&["XCFGSET"]).and(self.vocabulary.key());
        if self.vocabulary.random.chance(600) {
            request = request
                .and("IDMP-DURATION")
                .and(self.vocabulary.random.pick(&["100", "86400", "200", "0", "86401"]));
        }
        if self.vocabulary.random.chance(600) {
            request = request
                .and("IDMP-MAXSIZE")
                .and(self.vocabulary.random.pick(&["100", "5", "3", "0", "10001"]));
        }
        request
    }

    /// One small wrong turn.
    fn spoil(&mut self, mut request: Request) -> Request {
        let length = request.0.len();
        let at = 1 + self.vocabulary.random.below(length.max(2) - 1);
        let odd = |generator: &mut Self| Word::Bytes(generator.vocabulary.odd_word().into_bytes());
        match self.vocabulary.random.below(7) {
            _ if at >= length => {}
            0 => drop(request.0.remove(at)),
            1 => request.0.insert(at, request.0[at].clone()),
            // A long value stays where it is: names may be bounded.
            2 if !is_long(&request.0[length - 1]) => request.0.swap(at, length - 1),
            2 => {}
            3 => request.0[at] = odd(self),
            4 => {
                let word = odd(self);
                request.0.push(word);
            }
            5 => drop(request.0.pop()),
            _ => {
                if let Word::Bytes(bytes) = &mut request.0[at] {
                    bytes.make_ascii_lowercase();
                }
            }
        }
        request
    }
}

fn is_long(word: &Word) -> bool {
    matches!(word, Word::Bytes(bytes) if bytes.len() > 1_000)
}

fn wait_shortly(command: &mut Command) {
    for at in 1..command.words.len() {
        let is_block = matches!(&command.words[at - 1], Word::Bytes(b) if b.eq_ignore_ascii_case(b"BLOCK"));
        if is_block && command.words[at] != Word::Bytes(b"x".to_vec()) {
            command.words[at] = Word::Bytes(b"1".to_vec());
        }
    }
}
