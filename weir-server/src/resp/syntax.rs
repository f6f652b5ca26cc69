//! The syntax line of a command as a tree of arguments, for `COMMAND DOCS`.
//!
//! ```text
//! key [COUNT count] <* | id> field value [field value ...]
//! ```
//! Capitals and signs are words to be typed, the rest stands for values. `[…]` may be left out, `|` separates
//! alternatives, `<…>` holds them together, and `[… ...]` behind the same words says that those may be repeated.

/// One argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The word that announces it, or that it is.
    pub(crate) token: Option<&'static str>,
    pub(crate) optional: bool,
    pub(crate) multiple: bool,
    /// What it is made of, for a block or a choice.
    pub(crate) parts: Vec<Self>,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value of this kind, as Redis names kinds.
    Value(&'static str),
    /// The word itself.
    Token,
    /// All parts in turn.
    Block,
    /// One of the parts.
    OneOf,
}

impl Kind {
    /// As `COMMAND DOCS` says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Value(name) => name,
            Self::Token => "pure-token",
            Self::Block => "block",
            Self::OneOf => "oneof",
        }
    }
}

/// The arguments of a syntax line; `None` when it is malformed.
pub(crate) fn parse(syntax: &'static str) -> Option<Vec<Argument>> {
    let mut tokens = Tokens { rest: syntax };
    let (alternatives, end) = alternatives(&mut tokens)?;
    match (alternatives.len(), end) {
        (1, End::OfLine) => alternatives.into_iter().next(),
        (_, End::OfLine) => Some(vec![choice(alternatives)]),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OfLine,
    Bracket,
    /// `...]`
    Repeated,
    Angle,
}

struct Tokens {
    rest: &'static str,
}

impl Iterator for Tokens {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        self.rest = self.rest.trim_start();
        let len = match self.rest.as_bytes() {
            [] => return None,
            [b'[' | b']' | b'|', ..] => 1,
            // `<` and `>` hold a choice together only when they touch it.
            [b'<', next, ..] if *next != b' ' => 1,
            [b'>', ..] => 1,
            bytes => bytes.iter().position(|byte| b" []|>".contains(byte)).unwrap_or(bytes.len()),
        };
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(token)
    }
}

/// Sequences separated by `|`, up to what ends them.
fn alternatives(tokens: &mut Tokens) -> Option<(Vec<Vec<Argument>>, End)> {
    let mut all = Vec::new();
    let mut current: Vec<Argument> = Vec::new();
    // A token that was read and may be followed by the values it announces.
    let mut word: Option<(&'static str, Vec<Argument>)> = None;
    let mut repeated = false;
    loop {
        let token = tokens.next();
        let is_value = token.is_some_and(|token| token.starts_with(|first: char| first.is_ascii_lowercase()));
        if let (true, Some(token)) = (is_value, token) {
            match &mut word {
                Some((_, values)) => values.push(value(token)),
                None => current.push(value(token)),
            }
            continue;
        }
        if let Some((token, values)) = word.take_if(|(_, values)| token != Some("[") || values.is_empty()) {
            current.push(announced(token, values));
        }
        match token {
            None => {
                all.push(current);
                return Some((all, End::OfLine));
            }
            Some("|") => all.push(std::mem::take(&mut current)),
            Some("...") => repeated = true,
            Some("]") => {
                all.push(current);
                return Some((all, if repeated { End::Repeated } else { End::Bracket }));
            }
            Some(">") => {
                all.push(current);
                return Some((all, End::Angle));
            }
            Some("<") => match alternatives(tokens)? {
                (inner, End::Angle) => current.push(choice(inner)),
                _ => return None,
            },
            Some("[") => {
                let (inner, end) = alternatives(tokens)?;
                if let Some((token, values)) = word.take_if(|_| end == End::Bracket) {
                    current.push(announced(token, values));
                }
                let before = match &mut word {
                    Some((_, values)) => values,
                    None => &mut current,
                };
                optional(before, inner, end)?;
            }
            Some(token) => word = Some((token, Vec::new())),
        }
    }
}

/// Adds what stood in brackets: either it may be left out, or it says that what is before it may be repeated.
fn optional(before: &mut Vec<Argument>, inner: Vec<Vec<Argument>>, end: End) -> Option<()> {
    if let (End::Repeated, [sequence]) = (end, &inner[..])
        && before.len() >= sequence.len()
    {
        let tail = before.split_off(before.len() - sequence.len());
        let is_same = tail == *sequence;
        if is_same {
            let mut repeated = one(tail);
            repeated.multiple = true;
            before.push(repeated);
            return Some(());
        }
        before.extend(tail);
    }
    if end != End::Bracket && end != End::Repeated {
        return None;
    }
    let mut argument = choice(inner);
    argument.optional = true;
    argument.multiple |= end == End::Repeated;
    before.push(argument);
    Some(())
}

/// Several sequences as one argument.
fn choice(mut alternatives: Vec<Vec<Argument>>) -> Argument {
    if alternatives.len() == 1 {
        return one(alternatives.remove(0));
    }
    let parts: Vec<Argument> = alternatives.into_iter().map(one).collect();
    let name = parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("-or-");
    Argument { name, kind: Kind::OneOf, token: None, optional: false, multiple: false, parts }
}

/// A sequence as one argument.
fn one(mut sequence: Vec<Argument>) -> Argument {
    if sequence.len() == 1 {
        return sequence.remove(0);
    }
    let name = sequence.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("-");
    Argument { name, kind: Kind::Block, token: None, optional: false, multiple: false, parts: sequence }
}

/// A word, with the values it announces.
fn announced(token: &'static str, mut values: Vec<Argument>) -> Argument {
    if values.len() == 1 && values[0].token.is_none() {
        return Argument { token: Some(token), ..values.remove(0) };
    }
    let kind = if values.is_empty() { Kind::Token } else { Kind::Block };
    let name = match token {
        "*" => "auto-id".to_owned(),
        "$" => "last-id".to_owned(),
        "=" => "equal".to_owned(),
        "~" => "approximately".to_owned(),
        word => word.to_ascii_lowercase(),
    };
    Argument { name, kind, token: Some(token), optional: false, multiple: false, parts: values }
}

fn value(name: &'static str) -> Argument {
    Argument {
        name: name.to_owned(),
        kind: Kind::Value(value_kind(name)),
        token: None,
        optional: false,
        multiple: false,
        parts: Vec::new(),
    }
}

/// The kind of a value, told from its name.
fn value_kind(name: &str) -> &'static str {
    const INTEGERS: &[&str] = &[
        "bytes",
        "client-id",
        "count",
        "cursor",
        "db",
        "decrement",
        "entries",
        "entries-added",
        "entries-read",
        "frequency",
        "increment",
        "index",
        "index1",
        "index2",
        "min-idle-time",
        "milliseconds",
        "numlocal",
        "numreplicas",
        "port",
        "protover",
        "seconds",
        "timeout",
        "ttl",
        "numids",
        "bits",
    ];
    match name {
        "key" | "newkey" | "source" | "destination" => "key",
        "pattern" => "pattern",
        _ if name.starts_with("unix-time") => "unix-time",
        _ if INTEGERS.contains(&name) => "integer",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An argument in few words.
    fn short(argument: &Argument) -> String {
        let token = argument.token.map_or(String::new(), |token| format!("{token}:"));
        let marks = ["", "?", "+", "?+"][usize::from(argument.optional) + 2 * usize::from(argument.multiple)];
        let parts = argument.parts.iter().map(short).collect::<Vec<_>>();
        let body = match argument.kind {
            Kind::Value(kind) => format!("{}({kind})", argument.name),
            Kind::Token => String::new(),
            Kind::Block => format!("{{{}}}", parts.join(" ")),
            Kind::OneOf => format!("<{}>", parts.join("|")),
        };
        format!("{token}{body}{marks}")
    }

    #[test]
    fn lines_become_trees() {
        for (syntax, tree) in [
            ("", ""),
            ("key", "key(key)"),
            ("key [key ...]", "key(key)+"),
            ("[message]", "message(string)?"),
            ("[command-name ...]", "command-name(string)?+"),
            ("key [COUNT count] [JUSTID]", "key(key) COUNT:count(integer)? JUSTID:?"),
            ("[= | ~] threshold [LIMIT count]", "<=:|~:>? threshold(string) LIMIT:count(integer)?"),
            ("<* | id> field value [field value ...]", "<*:|id(string)> {field(string) value(string)}+"),
            ("GROUP group consumer [NOACK]", "GROUP:{group(string) consumer(string)} NOACK:?"),
            (
                "[IDMP producer-id idempotent-id | IDMPAUTO producer-id]",
                "<IDMP:{producer-id(string) idempotent-id(string)}|IDMPAUTO:producer-id(string)>?",
            ),
            ("STREAMS key [key ...] id [id ...]", "STREAMS:{key(key)+ id(string)+}"),
            (
                "[protover [AUTH username password]]",
                "{protover(integer) AUTH:{username(string) password(string)}?}?",
            ),
            ("TYPE type [type ...] x", "TYPE:{type(string)+ x(string)}"),
            ("[NX | XX] [EX seconds | KEEPTTL]", "<NX:|XX:>? <EX:seconds(integer)|KEEPTTL:>?"),
        ] {
            let arguments = parse(syntax).unwrap_or_else(|| panic!("{syntax:?} is malformed"));
            assert_eq!(arguments.iter().map(short).collect::<Vec<_>>().join(" "), tree, "{syntax:?}");
        }
        assert_eq!(parse("key [COUNT count"), None);
        assert_eq!(parse("<a | b]"), None);
    }
}
