//! Splitting an inline request into words: blanks separate, quotes bind, escapes are resolved.
//!
//! Inside double quotes `\n \r \t \b \a`, `\xHH` and backslash-anything are escapes; inside single quotes only
//! `\'` is. A closing quote must be followed by a blank or the end. Quotes may open inside a word.

use crate::ProtocolError;
use crate::args::Args;

/// Splits `line` (without its line end) into `args`, which are backed by their scratch from then on.
pub(crate) fn split(line: &[u8], args: &mut Args) -> Result<(), ProtocolError> {
    let mut scratch = std::mem::take(args.use_scratch());
    let mut rest = line;
    let outcome = loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            break Ok(());
        }
        let start = scratch.len();
        match word(rest, &mut scratch) {
            Some(behind) => rest = behind,
            None => break Err(ProtocolError::UnbalancedQuotes),
        }
        args.push(start, scratch.len());
    };
    *args.use_scratch() = scratch;
    outcome
}

/// Takes one word off `rest`; `None` when its quotes do not balance.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [b' ' | b'\t' | b'\r' | b'\n', behind @ ..] => return Some(behind),
            [b'"', inside @ ..] => return double_quoted(inside, out),
            [b'\'', inside @ ..] => return single_quoted(inside, out),
            [byte, behind @ ..] => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', behind @ ..] => return closed(behind),
            [b'\\', b'x', high, low, behind @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high)? << 4 | hex(*low)?);
                rest = behind;
            }
            [b'\\', escaped, behind @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = behind;
            }
            [byte, behind @ ..] => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', behind @ ..] => {
                out.push(b'\'');
                rest = behind;
            }
            [b'\'', behind @ ..] => return closed(behind),
            [byte, behind @ ..] => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
}

/// Behind a closing quote: the word must be over.
fn closed(behind: &[u8]) -> Option<&[u8]> {
    match behind.first() {
        Some(byte) if !is_blank(*byte) => None,
        _ => Some(behind),
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    &text[start..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 11 | 12)
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<u8>>> {
        let mut args = Args::new();
        split(line.as_bytes(), &mut args).ok()?;
        Some(args.of(b"").iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_quotes_and_escapes() {
        for (line, expected) in [
            ("PING", vec!["PING"]),
            ("  set  a\tb ", vec!["set", "a", "b"]),
            (r#"set "" ''"#, vec!["set", "", ""]),
            (r#"set "a b" 'c d'"#, vec!["set", "a b", "c d"]),
            (r#""\x41\n\"\\\q" '\'\n'"#, vec!["A\n\"\\q", "'\\n"]),
            (r#"foo"bar""#, vec!["foobar"]),
            (r#""\x4""#, vec!["x4"]),
            ("", vec![]),
        ] {
            let expected: Vec<Vec<u8>> = expected.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(words(line), Some(expected), "{line:?}");
        }
    }

    #[test]
    fn quotes_must_balance() {
        for line in [r#""a"#, "'a", r#""a"b"#, "'a'b", r#"x "\"#, r#"a b"c"#, r"'\'"] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }
}
