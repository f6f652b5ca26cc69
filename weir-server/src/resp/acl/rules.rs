//! Rules of a user: which commands, and how rules are written.

use super::super::command::{CATEGORIES, Command};
use super::super::commands;
use super::super::table::find_subcommand;
use super::user::{Hash, KeyPattern, User, hash};

/// Rules about commands that one user may have.
const RULES_MAX: usize = 1_024;
/// Patterns of keys, or of channels, that one user may have.
const PATTERNS_MAX: usize = 1_024;
/// Passwords that one user may have.
const PASSWORDS_MAX: usize = 64;

/// Commands a user may execute: all or none to begin with, then the last rule about a command counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    from_all: bool,
    list: Vec<Rule>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    allows: bool,
    about: About,
}

#[derive(Debug, Clone, Copy)]
enum About {
    Category(&'static str),
    /// With its subcommands.
    Command(&'static Command),
}

impl About {
    fn holds(self, command: &'static Command) -> bool {
        match self {
            Self::Category(name) => command.categories().any(|category| category == name),
            Self::Command(row) => is_part_of(command.name, row.name),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Category(name) => format!("@{name}"),
            Self::Command(row) => row.name.to_owned(),
        }
    }
}

/// Whether a command is this one or a subcommand of it.
fn is_part_of(name: &str, container: &str) -> bool {
    name.strip_prefix(container).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
}

impl Rules {
    /// Everything is allowed.
    pub(crate) fn all() -> Self {
        Self { from_all: true, list: Vec::new() }
    }

    pub(crate) fn are_all(&self) -> bool {
        self.from_all && self.list.is_empty()
    }

    pub(crate) fn allow(&self, command: &'static Command) -> bool {
        let last = self.list.iter().rev().find(|rule| rule.about.holds(command));
        last.map_or(self.from_all, |rule| rule.allows)
    }

    /// Adds a rule; what it overrides is forgotten.
    fn add(&mut self, allows: bool, about: About) -> Result<(), &'static str> {
        let name = about.text();
        self.list.retain(|rule| !is_part_of(&rule.about.text(), &name));
        if self.list.len() >= RULES_MAX {
            return Err("Too many rules");
        }
        self.list.push(Rule { allows, about });
        Ok(())
    }

    /// `-@all +@stream -xdel`
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(if self.from_all { "+@all" } else { "-@all" });
        for Rule { allows, about } in &self.list {
            text.push_str(if *allows { " +" } else { " -" });
            text.push_str(&about.text());
        }
        text
    }
}

impl User {
    /// Applies one modifier of ACL SETUSER.
    ///
    /// # Errors
    /// A text that says what is wrong with it; the user may have been changed.
    pub(crate) fn apply(&mut self, modifier: &[u8]) -> Result<(), &'static str> {
        match modifier.to_ascii_lowercase().as_slice() {
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => (self.no_password, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.no_password, self.passwords) = (false, Vec::new()),
            b"allkeys" => self.keys = vec![KeyPattern::all()],
            b"resetkeys" => self.keys = Vec::new(),
            b"allchannels" => self.channels = vec![b"*"[..].into()],
            b"resetchannels" => self.channels = Vec::new(),
            b"allcommands" | b"+@all" => self.rules = Rules::all(),
            b"nocommands" | b"-@all" => self.rules = Rules::default(),
            // A payload of RESTORE is checked whoever sends it, and users have one set of rules.
            b"sanitize-payload" | b"clearselectors" => {}
            b"reset" => *self = Self::new(&self.name),
            _ => return self.apply_value(modifier),
        }
        Ok(())
    }

    fn apply_value(&mut self, modifier: &[u8]) -> Result<(), &'static str> {
        match modifier {
            [b'>', password @ ..] => self.add_password(hash(password)),
            [b'#', hex @ ..] => self.add_password(parse_hash(hex)?),
            [b'<', password @ ..] => self.remove_password(hash(password)),
            [b'!', hex @ ..] => self.remove_password(parse_hash(hex)?),
            [b'~', pattern @ ..] => self.add_keys(pattern, true, true),
            [b'%', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'~').ok_or("Syntax error")?;
                let uses = rest[..end].to_ascii_uppercase();
                if uses.is_empty() || uses.iter().any(|letter| !b"RW".contains(letter)) {
                    return Err("Syntax error");
                }
                self.add_keys(&rest[end + 1..], uses.contains(&b'R'), uses.contains(&b'W'))
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [b'+', about @ ..] => self.rules.add(true, parse_about(about)?),
            [b'-', about @ ..] => self.rules.add(false, parse_about(about)?),
            _ => Err("Syntax error"),
        }
    }

    fn add_password(&mut self, password: Hash) -> Result<(), &'static str> {
        self.no_password = false;
        if self.passwords.contains(&password) {
            return Ok(());
        }
        if self.passwords.len() >= PASSWORDS_MAX {
            return Err("Too many passwords");
        }
        self.passwords.push(password);
        Ok(())
    }

    fn remove_password(&mut self, password: Hash) -> Result<(), &'static str> {
        let known = self.passwords.iter().position(|known| *known == password);
        let at = known.ok_or("The password you are trying to remove from the user does not exist")?;
        self.passwords.remove(at);
        Ok(())
    }

    fn add_keys(&mut self, pattern: &[u8], reads: bool, writes: bool) -> Result<(), &'static str> {
        let added = KeyPattern { pattern: pattern.into(), reads, writes };
        if added == KeyPattern::all() {
            self.keys = vec![added];
            return Ok(());
        }
        if self.has_all_keys() {
            return Err(
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have \
                        any effect. Try 'resetkeys' to start with an empty list of patterns",
            );
        }
        if let Some(known) = self.keys.iter_mut().find(|known| known.pattern == added.pattern) {
            known.reads |= reads;
            known.writes |= writes;
            return Ok(());
        }
        if self.keys.len() >= PATTERNS_MAX {
            return Err("Too many patterns");
        }
        self.keys.push(added);
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), &'static str> {
        if pattern == b"*" {
            self.channels = vec![pattern.into()];
            return Ok(());
        }
        if self.has_all_channels() {
            return Err(
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not \
                        have any effect. Try 'resetchannels' to start with an empty list of channels",
            );
        }
        if self.channels.len() >= PATTERNS_MAX {
            return Err("Too many patterns");
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }
}

fn parse_hash(hex: &[u8]) -> Result<Hash, &'static str> {
    const TEXT: &str =
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
    let mut hash = Hash::default();
    if hex.len() != 2 * hash.len() {
        return Err(TEXT);
    }
    for (byte, digits) in hash.iter_mut().zip(hex.chunks(2)) {
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(TEXT),
            };
            *byte = *byte << 4 | value;
        }
    }
    Ok(hash)
}

/// `@category`, `command` or `command|subcommand`.
fn parse_about(text: &[u8]) -> Result<About, &'static str> {
    const UNKNOWN: &str = "Unknown command or category name in ACL";
    if let Some(category) = text.strip_prefix(b"@") {
        let known = CATEGORIES.iter().find(|(name, _)| category.eq_ignore_ascii_case(name.as_bytes()));
        return known.map(|(name, _)| About::Category(name)).ok_or(UNKNOWN);
    }
    let mut parts = text.splitn(2, |byte| *byte == b'|');
    let name = parts.next().unwrap_or_default();
    let row = commands::all().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes())).ok_or(UNKNOWN)?;
    match parts.next() {
        None => Ok(About::Command(row)),
        Some(sub) => find_subcommand(row, sub).map(About::Command).ok_or(UNKNOWN),
    }
}
