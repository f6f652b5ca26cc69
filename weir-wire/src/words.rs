//! The words of a call: where they are written to, and how they are read one after the other.

use std::time::Duration;

use weir_core::{EntryId, Error, ErrorKind, Timestamp};

use crate::number::{parse_id, parse_u64, push_id, push_u64};

/// What takes the words of a call, one after the other.
pub trait Sink {
    /// Takes the next word.
    fn word(&mut self, word: &[u8]);
}

impl Sink for Vec<Vec<u8>> {
    fn word(&mut self, word: &[u8]) {
        self.push(word.to_vec());
    }
}

impl dyn Sink + '_ {
    pub(crate) fn token(&mut self, token: &str) {
        self.word(token.as_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        let mut text = Vec::with_capacity(20);
        push_u64(&mut text, number);
        self.word(&text);
    }

    pub(crate) fn id(&mut self, id: EntryId) {
        let mut text = Vec::with_capacity(32);
        push_id(&mut text, id);
        self.word(&text);
    }

    /// A duration in whole milliseconds; what cannot be said is the longest that can.
    pub(crate) fn millis(&mut self, duration: Duration) {
        self.u64(millis(duration));
    }

    /// How long a read waits: at least a millisecond, since zero is without end.
    pub(crate) fn wait(&mut self, wait: Duration) {
        self.u64(if wait == Duration::MAX { 0 } else { millis(wait).max(1) });
    }

    pub(crate) fn option_u64(&mut self, token: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.token(token);
            self.u64(number);
        }
    }

    pub(crate) fn option_word(&mut self, token: &str, word: Option<&[u8]>) {
        if let Some(word) = word {
            self.token(token);
            self.word(word);
        }
    }

    pub(crate) fn option_millis(&mut self, token: &str, duration: Option<Duration>) {
        self.option_u64(token, duration.map(millis));
    }

    pub(crate) fn flag(&mut self, token: &str, is_set: bool) {
        if is_set {
            self.token(token);
        }
    }
}

/// Whole milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The words of a call, read from the front.
#[derive(Debug, Clone)]
pub struct Words<'w, 'a> {
    words: &'w [&'a [u8]],
}

impl<'w, 'a> Words<'w, 'a> {
    /// These words.
    #[must_use]
    pub fn new(words: &'w [&'a [u8]]) -> Self {
        Self { words }
    }

    /// Words that are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The next word.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the end.
    pub fn word(&mut self) -> Result<&'a [u8], Error> {
        let (first, rest) = self.words.split_first().ok_or_else(|| invalid("an argument is missing"))?;
        self.words = rest;
        Ok(first)
    }

    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        self.words.first().copied()
    }

    /// Takes the next word if it is this one, in whatever case.
    pub(crate) fn takes(&mut self, token: &str) -> bool {
        let is_it = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(token.as_bytes()));
        if is_it {
            self.words = &self.words[1..];
        }
        is_it
    }

    pub(crate) fn owned(&mut self) -> Result<Vec<u8>, Error> {
        self.word().map(<[u8]>::to_vec)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        let word = self.word()?;
        parse_u64(word).ok_or_else(|| about("a number from 0 is expected", word))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        u32::try_from(self.u64()?).map_err(|_| invalid("a number is too large"))
    }

    pub(crate) fn id(&mut self) -> Result<EntryId, Error> {
        let word = self.word()?;
        parse_id(word).ok_or_else(|| about("an entry ID is expected", word))
    }

    pub(crate) fn millis(&mut self) -> Result<Duration, Error> {
        self.u64().map(Duration::from_millis)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Error> {
        self.u64().map(Timestamp)
    }

    /// See [`Sink`]: zero is without end.
    pub(crate) fn wait(&mut self) -> Result<Duration, Error> {
        Ok(match self.u64()? {
            0 => Duration::MAX,
            millis => Duration::from_millis(millis),
        })
    }

    /// A count of things that follow, each of at least `words_each` words.
    pub(crate) fn count(&mut self, words_each: usize, max: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        if count > max {
            return Err(Error::new(ErrorKind::LimitReached("items in a list of a command")));
        }
        if count.saturating_mul(words_each) > self.words.len() {
            return Err(invalid("a list has fewer items than its count says"));
        }
        Ok(count)
    }

    /// As many IDs as follow; none is allowed.
    pub(crate) fn ids(&mut self, max: usize) -> Result<Vec<EntryId>, Error> {
        if self.words.len() > max {
            return Err(Error::new(ErrorKind::LimitReached("entry IDs in one command")));
        }
        let mut ids = Vec::with_capacity(self.words.len());
        while !self.is_empty() {
            ids.push(self.id()?);
        }
        Ok(ids)
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.peek().map_or(Ok(()), |word| Err(unexpected(word)))
    }

    /// The error for the next word, which is none of those that may stand here.
    pub(crate) fn unexpected(&self) -> Error {
        self.peek().map_or_else(|| invalid("an argument is missing"), unexpected)
    }
}

pub(crate) fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid(what))
}

fn unexpected(word: &[u8]) -> Error {
    about("an argument is not one of those that may stand here", word)
}

fn about(what: &'static str, word: &[u8]) -> Error {
    const SHOWN_MAX: usize = 64;
    let shown = &word[..word.len().min(SHOWN_MAX)];
    invalid(what).with_context(format!("{:?}", String::from_utf8_lossy(shown)))
}
