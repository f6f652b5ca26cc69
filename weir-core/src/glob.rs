//! Patterns as KEYS, PSUBSCRIBE and ACL rules have them: `*`, `?`, `[abc]`, `[^a-z]`, and `\` before what is meant
//! literally.
//!
//! Matching takes time proportional to the product of both lengths at most: a `*` that turns out to have been cut too
//! short is tried again from the last one only, never from those before it.

/// Whether a text matches a pattern as a whole.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matching(pattern, text, false)
}

/// As [`matches()`], letters of either case being the same.
#[must_use]
pub fn matches_any_case(pattern: &[u8], text: &[u8]) -> bool {
    matching(pattern, text, true)
}

fn matching(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and where the text goes on if the star takes one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            None if p == pattern.len() => return true,
            None => None,
            Some(byte) => one(&pattern[p..], *byte, any_case),
        };
        match (step, star) {
            (Some(taken), _) => (p, t) = (p + taken, t + 1),
            (None, Some((after, from))) if from < text.len() => {
                (p, t) = (after, from + 1);
                star = Some((after, from + 1));
            }
            (None, _) => return false,
        }
    }
}

/// How much of the pattern's start one byte satisfies; `None` when it does not.
fn one(pattern: &[u8], byte: u8, any_case: bool) -> Option<usize> {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    let (satisfied, taken) = match pattern {
        [] => (false, 0),
        [b'?', ..] => (true, 1),
        [b'[', class @ ..] => {
            let (is_in, taken) = in_class(class, fold(byte), fold);
            (is_in, taken + 1)
        }
        [b'\\', literal, ..] => (fold(*literal) == fold(byte), 2),
        [literal, ..] => (fold(*literal) == fold(byte), 1),
    };
    satisfied.then_some(taken)
}

/// Whether a byte is in the class whose `[` was read, and how long the rest of the class is. A class without an end
/// ends with the pattern.
fn in_class(class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    while let Some(first) = class.get(at) {
        match (first, &class[at + 1..]) {
            (b'\\', [literal, ..]) => {
                found |= fold(*literal) == byte;
                at += 2;
            }
            (b']', _) => return (found != negated, at + 1),
            (low, [b'-', high, ..]) => {
                let (low, high) = (fold(*low), fold(*high));
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            (literal, _) => {
                found |= fold(*literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h*llo", "hello!", false),
            ("*a*b*c", "xaxbxbc", true),
            ("*a*b*c", "xaxbxb", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[\\]]", "]", true),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("a\\", "a\\", true),
            ("**", "a", true),
            ("a*", "a", true),
            ("a?", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
        assert!(matches_any_case(b"H[A-C]l*", b"hBLLO"));
        assert!(!matches(b"H*", b"hello"));
    }

    #[test]
    fn stars_do_not_multiply() {
        let pattern = "a*".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5_000).as_bytes()));
    }
}
