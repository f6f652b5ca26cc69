//! How names, values, times and counts look to people.

use std::time::Duration;

use weir_core::{EntryId, Timestamp};

/// Values are cut after so many characters, unless the user wants all of them.
const VALUE_CHARS: usize = 160;

/// Bytes as text: what is no text, or would move the cursor, is escaped.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// As [`shown`], cut where it is long.
pub(crate) fn cut(bytes: &[u8]) -> String {
    let text = shown(bytes);
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], bytes.len()),
        None => text,
    }
}

/// `3d 4h`, `5m 10s`, `1.2s`, `35ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        0 => format!("{millis}ms"),
        1..60 if millis >= 100 => format!("{seconds}.{}s", millis / 100),
        1..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3_600..86_400 => two(seconds / 3_600, 'h', seconds % 3_600 / 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds % 86_400 / 3_600, 'h'),
    }
}

fn two(large: u64, large_unit: char, small: u64, small_unit: char) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit} {small}{small_unit}"),
    }
}

/// A duration that may not be: `–`.
pub(crate) fn maybe(time: Option<Duration>) -> String {
    time.map_or("–".into(), duration)
}

/// How long ago an ID was given out, when it is a time.
pub(crate) fn age(id: EntryId, now: Timestamp) -> String {
    const YEAR_2000: u64 = 946_684_800_000;
    match id.ms {
        YEAR_2000.. if id.ms <= now.0 + 60_000 => {
            duration(Duration::from_millis(now.0.saturating_sub(id.ms)))
        }
        _ => "–".into(),
    }
}

/// A time as people in its zone write it.
pub(crate) fn time(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => at.to_string(),
    }
}

/// `1 entry`, `2 entries`.
pub(crate) fn entries(count: u64) -> String {
    plural(count, "entry", "entries")
}

/// A count and its noun.
pub(crate) fn plural(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_on_one_line() {
        assert_eq!(shown("a\nb\u{1b}[2J\u{e9}".as_bytes()), "a\\nb\\u{1b}[2J\u{e9}");
        assert_eq!(shown(b"\xff\x00"), "\\xff\\u{0}");
        assert_eq!(cut(&[b'a'; 161]), format!("{}… (161 bytes)", "a".repeat(160)));
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_250, "1.2s"),
            (61_000, "1m 1s"),
            (3_600_000, "1h"),
            (266_400_000, "3d 2h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!((maybe(None), entries(1), entries(0)), ("–".into(), "1 entry".into(), "0 entries".into()));
    }
}
