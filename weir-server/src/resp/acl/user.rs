//! One user: its passwords and what it may do.

use sha2::{Digest, Sha256};

use super::super::command::Command;
use super::super::glob;
use super::rules::Rules;

/// A password is kept as its SHA-256 only.
pub(crate) type Hash = [u8; 32];

/// One user.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: Box<[u8]>,
    /// Whether anybody may authenticate as it.
    pub(crate) is_on: bool,
    /// Whether every password is right.
    pub(crate) no_password: bool,
    pub(crate) passwords: Vec<Hash>,
    pub(crate) keys: Vec<KeyPattern>,
    pub(crate) channels: Vec<Box<[u8]>>,
    pub(crate) rules: Rules,
}

/// Keys a user may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPattern {
    pub(crate) pattern: Box<[u8]>,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

impl KeyPattern {
    pub(crate) fn all() -> Self {
        Self { pattern: b"*"[..].into(), reads: true, writes: true }
    }

    fn text(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.reads, self.writes) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

pub(crate) fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

impl User {
    /// One that is off and may do nothing.
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            name: name.into(),
            is_on: false,
            no_password: false,
            passwords: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
            rules: Rules::default(),
        }
    }

    /// One that may do everything.
    pub(crate) fn unlimited(name: &[u8], password: Option<&[u8]>) -> Self {
        Self {
            is_on: true,
            no_password: password.is_none(),
            passwords: password.map(hash).into_iter().collect(),
            keys: vec![KeyPattern::all()],
            channels: vec![b"*"[..].into()],
            rules: Rules::all(),
            ..Self::new(name)
        }
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.rules.are_all() && self.has_all_keys() && self.has_all_channels()
    }

    pub(crate) fn has_all_keys(&self) -> bool {
        self.keys.first() == Some(&KeyPattern::all())
    }

    pub(crate) fn has_all_channels(&self) -> bool {
        self.channels.first().is_some_and(|channel| **channel == *b"*")
    }

    /// Whether a password is right. Takes the same time wherever a wrong one differs.
    pub(crate) fn knows_password(&self, password: &[u8]) -> bool {
        let given = hash(password);
        let is =
            |wanted: &Hash| wanted.iter().zip(&given).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0;
        self.no_password || self.passwords.iter().fold(false, |found, wanted| found | is(wanted))
    }

    pub(crate) fn may_run(&self, command: &'static Command) -> bool {
        self.rules.allow(command)
    }

    pub(crate) fn may_use_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        self.keys.iter().any(|pattern| {
            (pattern.reads || !reads) && (pattern.writes || !writes) && glob::matches(&pattern.pattern, key)
        })
    }

    /// A pattern of channels is allowed only when the user has the very same one.
    pub(crate) fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.has_all_channels()
            || self.channels.iter().any(|allowed| match is_pattern {
                true => **allowed == *channel,
                false => glob::matches(allowed, channel),
            })
    }

    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.no_password {
            flags.push("nopass");
        }
        flags
    }

    pub(crate) fn password_texts(&self) -> impl Iterator<Item = String> {
        self.passwords.iter().map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(crate) fn keys_text(&self) -> Vec<u8> {
        self.keys.iter().map(KeyPattern::text).collect::<Vec<_>>().join(&b' ')
    }

    pub(crate) fn channels_text(&self) -> Vec<u8> {
        self.channels.iter().map(|channel| [b"&", &**channel].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// `user default on nopass ~* &* +@all`
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![b"user".to_vec(), self.name.to_vec()];
        words.extend(self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()));
        words.extend(self.password_texts().map(|hash| format!("#{hash}").into_bytes()));
        words.extend(self.keys.iter().map(KeyPattern::text));
        if !self.has_all_channels() {
            words.push(b"resetchannels".to_vec());
        }
        words.extend(Some(self.channels_text()).filter(|text| !text.is_empty()));
        words.push(self.rules.text().into_bytes());
        words.join(&b' ')
    }
}
