//! Which words of a request are keys, and how that is told to clients.

use weir_resp::Request;

use super::command::{Command, KeyUse, Keys};

/// What is done with a key, in the words of key specifications.
impl KeyUse {
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Read | Self::ReadGroup => &["RO", "access"],
            Self::Look => &["RO"],
            Self::Update => &["RW", "update"],
            Self::Insert => &["RW", "insert"],
            Self::ReadUpdate => &["RW", "access", "update"],
            Self::ReadUpdateVariable => &["RW", "access", "update", "variable_flags"],
            Self::ReadDelete => &["RW", "access", "delete"],
            Self::Delete => &["RW", "delete"],
            Self::Replace => &["OW", "update"],
            Self::Put => &["OW", "insert"],
            Self::Remove => &["RM", "delete"],
        }
    }

    /// Whether the value is read, so that a user needs the right to.
    pub(crate) fn reads(self) -> bool {
        self.flags().contains(&"access")
    }

    /// Whether the key is changed, so that a user needs the right to.
    pub(crate) fn writes(self) -> bool {
        ["update", "insert", "delete"].iter().any(|change| self.flags().contains(change))
    }
}

/// The words of a request that should be keys are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoKeys;

impl Command {
    /// Where its keys stand, and what is done with those.
    pub(crate) fn key_specs(&self) -> impl Iterator<Item = (Keys, KeyUse)> {
        let own = Some((self.keys, self.key_use)).filter(|(keys, _)| *keys != Keys::None);
        own.into_iter().chain(self.more_keys.iter().copied())
    }

    /// First key, last key and step, as clients that know no key specifications want it.
    pub(crate) fn key_range(&self) -> (i64, i64, i64) {
        let mut ranges = self.key_specs().filter_map(|(keys, _)| match keys {
            Keys::Range { first, last, step } => Some((i64::from(first), i64::from(last), i64::from(step))),
            Keys::None | Keys::Streams { .. } => None,
        });
        let Some(first) = ranges.next() else { return (0, 0, 0) };
        ranges.fold(first, |(first, _, step), (_, last, _)| (first, last, step))
    }

    /// Where the keys of this request stand among its words, and what is done with each.
    ///
    /// # Errors
    /// When words are missing.
    pub(crate) fn keys_in(&self, args: Request<'_>) -> Result<Vec<(usize, KeyUse)>, NoKeys> {
        let mut found = Vec::new();
        for (keys, key_use) in self.key_specs() {
            match keys {
                Keys::None => {}
                Keys::Range { first, last, step } => {
                    let last = if last < 0 {
                        args.len().checked_sub(last.unsigned_abs() as usize).ok_or(NoKeys)?
                    } else {
                        last.unsigned_abs() as usize
                    };
                    if last >= args.len() {
                        return Err(NoKeys);
                    }
                    found.extend((first as usize..=last).step_by(step as usize).map(|at| (at, key_use)));
                }
                Keys::Streams { from } => {
                    let word = streams_word(args, from as usize).ok_or(NoKeys)?;
                    let rest = args.len() - word - 1;
                    if rest == 0 || !rest.is_multiple_of(2) {
                        return Err(NoKeys);
                    }
                    found.extend((word + 1..=word + rest / 2).map(|at| (at, key_use)));
                }
            }
        }
        Ok(found)
    }
}

/// Where the word STREAMS stands that keys follow: a group or a consumer may be called so, too.
fn streams_word(args: Request<'_>, from: usize) -> Option<usize> {
    let mut at = 1;
    while at < args.len() {
        let word = args.get(at)?;
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("STREAMS") && at >= from.min(args.len()) {
            return Some(at);
        }
        at += match () {
            () if is("GROUP") => 3,
            () if is("NOACK") => 1,
            () if is("STREAMS") => return Some(at),
            () => 2,
        };
    }
    None
}
