//! What users write on the command line, read: times, durations, IDs, fields, conditions. Each function says in its error
//! what would have been right.

use std::time::Duration;

use weir_core::{Condition, ConditionTest, EntryId, FieldName, Filter, ReadFrom, SeekTo, Timestamp};

/// `250ms`, `30s`, `5m`, `2h`, `1d`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 250ms, 30s, 5m, 2h or 1d");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// Several durations, separated by commas.
pub(crate) fn durations(text: &str) -> Result<Vec<Duration>, String> {
    text.split(',').map(|part| duration(part.trim())).collect()
}

/// `2026-11-21T10:00:00Z`, `2026-11-21 10:00` or `2026-11-21` (local time), `10m` (so long ago), `1795207527626` (milliseconds).
pub(crate) fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "{text:?} is no time; write 2026-11-21T10:00:00Z, 2026-11-21, 10m (ago) or milliseconds since 1970"
        )
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(at.as_millisecond()).map(Timestamp).map_err(|_| wrong());
    }
    if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        let at = local.to_zoned(jiff::tz::TimeZone::system()).map_err(|_| wrong())?.timestamp();
        return u64::try_from(at.as_millisecond()).map(Timestamp).map_err(|_| wrong());
    }
    if text.len() > 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Timestamp).map_err(|_| wrong());
    }
    match text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        true => {
            let ago = duration(text).map_err(|_| wrong())?;
            Ok(Timestamp(now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))))
        }
        false => Err(wrong()),
    }
}

/// `1526919030474-55`.
pub(crate) fn id(text: &str) -> Result<EntryId, String> {
    let wrong = || format!("{text:?} is no entry ID; write it as ms-seq, for example 1526919030474-55");
    if !text.contains('-') { Err(wrong()) } else { text.parse().map_err(|_| wrong()) }
}

/// Where reading starts: `start`, `end`, `after:ID`, an ID (with that entry), or a time.
pub(crate) fn read_from(text: &str, now: Timestamp) -> Result<ReadFrom, String> {
    match text {
        "start" => return Ok(ReadFrom::Start),
        "end" => return Ok(ReadFrom::End),
        _ => {}
    }
    if let Some(after) = text.strip_prefix("after:") {
        return id(after).map(ReadFrom::After);
    }
    if let Ok(id) = id(text) {
        return Ok(ReadFrom::Id(id));
    }
    time(text, now).map(ReadFrom::Time).map_err(|wrong| format!("{wrong}; or start, end, an ID, after:ID"))
}

/// Where a group is moved to: `start`, `end`, `+N` (leave N out), `after:ID`, an ID (that entry comes next), or a time.
pub(crate) fn seek_to(text: &str, now: Timestamp) -> Result<SeekTo, String> {
    if let Some(skip) = text.strip_prefix('+') {
        let wrong = |_| format!("{text:?} leaves how many out? Write +10");
        return skip.parse().map(SeekTo::Skip).map_err(wrong);
    }
    Ok(match read_from(text, now).map_err(|wrong| format!("{wrong}, or +N to leave N entries out"))? {
        ReadFrom::Start => SeekTo::Start,
        ReadFrom::End => SeekTo::End,
        ReadFrom::After(id) => SeekTo::After(id),
        ReadFrom::Id(id) => id.previous().map_or(SeekTo::Start, SeekTo::After),
        ReadFrom::Time(time) => SeekTo::Time(time),
        ReadFrom::Position(_) => return Err("a group is not moved by position".into()),
    })
}

/// `name=value`.
pub(crate) fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err(format!("{text:?} is no field; write name=value")),
    }
}

/// `name=value`, `name^=prefix`, `name|=one,other`. The names `@type` and `@tenant` stand for whatever the envelope families
/// call these.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    let wrong = || format!("{text:?} is no condition; write name=value, name^=prefix or name|=one,other");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let bytes = |text: &str| text.as_bytes().to_vec();
    let (name, test) = if let Some(name) = name.strip_suffix('^') {
        (name, ConditionTest::Prefix(bytes(value)))
    } else if let Some(name) = name.strip_suffix('|') {
        (name, ConditionTest::In(value.split(',').map(bytes).collect()))
    } else {
        (name, ConditionTest::Equals(bytes(value)))
    };
    let field = match name {
        "" => return Err(wrong()),
        "@type" => FieldName::Type,
        "@tenant" => FieldName::Tenant,
        name => FieldName::Exact(bytes(name)),
    };
    Ok(Condition { field, test })
}

/// All of them; `None` when there are none.
pub(crate) fn filter(conditions: &[Condition]) -> Option<Filter> {
    (!conditions.is_empty()).then(|| Filter { conditions: conditions.to_vec() })
}

/// A condition as [`condition`] reads it.
pub(crate) fn shown_condition(condition: &Condition) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = match &condition.field {
        FieldName::Exact(name) => text(name),
        FieldName::Type => "@type".into(),
        FieldName::Tenant => "@tenant".into(),
    };
    match &condition.test {
        ConditionTest::Equals(value) => format!("{name}={}", text(value)),
        ConditionTest::Prefix(value) => format!("{name}^={}", text(value)),
        ConditionTest::In(values) => {
            format!("{name}|={}", values.iter().map(|value| text(value)).collect::<Vec<_>>().join(","))
        }
    }
}

/// A number of bytes: `500`, `64KiB`, `10MiB`, `2GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    crate::settings::bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in
            [("250ms", 250), ("30", 30_000), ("1.5s", 1_500), ("5m", 300_000), ("1d", 86_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "m", "5 m", "-1s", "5y", "1e9d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(durations("200ms, 1s").unwrap().len(), 2);
    }

    #[test]
    fn places_in_a_stream_are_told_apart() {
        let now = Timestamp(1_000_000_000_000);
        let from = |text| read_from(text, now);
        assert_eq!(from("start"), Ok(ReadFrom::Start));
        assert_eq!(from("5-1"), Ok(ReadFrom::Id(EntryId::new(5, 1))));
        assert_eq!(from("after:5-1"), Ok(ReadFrom::After(EntryId::new(5, 1))));
        assert_eq!(from("10s"), Ok(ReadFrom::Time(Timestamp(now.0 - 10_000))));
        assert_eq!(from("1970-01-01T00:00:01Z"), Ok(ReadFrom::Time(Timestamp(1_000))));
        assert_eq!(from("1526919030474"), Ok(ReadFrom::Time(Timestamp(1_526_919_030_474))));
        assert!(from("yesterday").unwrap_err().contains("10m (ago)"));
        assert!(from("10").is_err(), "ten what?");
        assert_eq!(seek_to("+10", now), Ok(SeekTo::Skip(10)));
        assert_eq!(seek_to("5-1", now), Ok(SeekTo::After(EntryId::new(5, 0))), "that entry comes next");
        assert_eq!(seek_to("after:5-1", now), Ok(SeekTo::After(EntryId::new(5, 1))));
        assert!(seek_to("+x", now).is_err());
    }

    #[test]
    fn conditions_are_read_as_they_are_shown() {
        for text in ["type=order.placed", "@type^=order.", "status|=paid,refunded", "@tenant=a=b"] {
            assert_eq!(shown_condition(&condition(text).unwrap()), text);
        }
        for text in ["type", "=x", "^=x"] {
            assert!(condition(text).is_err(), "{text}");
        }
        assert_eq!(field("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(field("=c").is_err() && field("c").is_err());
    }
}
