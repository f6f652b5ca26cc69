//! Entries as JSON, without losing a byte: a value that is no text becomes `{"base64": …}`, and a name that occurs more than
//! once has the list of its values.

use anyhow::{Context as _, Result, bail};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};
use weir_core::{Entry, Fields};

/// Bytes as a JSON value.
pub(crate) fn value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": base64(bytes) }),
    }
}

/// A name as JSON text; what is no UTF-8 in it is replaced.
pub(crate) fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The fields of an entry in their order.
#[derive(Debug)]
pub(crate) struct FieldsJson<'a>(pub(crate) &'a Fields);

impl Serialize for FieldsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, (field, first)) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|(before, _)| before == field) {
                continue;
            }
            let again: Vec<_> = self.0[at + 1..].iter().filter(|(other, _)| other == field).collect();
            if again.is_empty() {
                map.serialize_entry(&name(field), &value(first))?;
            } else {
                let values = std::iter::once(first).chain(again.into_iter().map(|(_, value)| value));
                map.serialize_entry(&name(field), &values.map(|bytes| value(bytes)).collect::<Vec<_>>())?;
            }
        }
        map.end()
    }
}

/// An entry with the name of its stream.
#[derive(Debug, serde::Serialize)]
pub(crate) struct EntryJson<'a> {
    stream: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    at: u64,
    fields: FieldsJson<'a>,
}

impl<'a> EntryJson<'a> {
    pub(crate) fn of(stream: &[u8], entry: &'a Entry) -> Self {
        Self {
            stream: name(stream),
            id: entry.id.to_string(),
            position: entry.position,
            at: entry.appended_at.0,
            fields: FieldsJson(&entry.fields),
        }
    }
}

/// The fields that a JSON object stands for: texts as they are, everything else as its JSON; lists of a field that was
/// written by [`FieldsJson`] cannot be told from a value that is a list, and become one value.
pub(crate) fn fields(object: &Map<String, Value>) -> Result<Fields> {
    object.iter().map(|(name, value)| Ok((name.as_bytes().to_vec(), bytes(value)?))).collect()
}

/// The fields of an entry as [`EntryJson`] writes them.
pub(crate) fn fields_of_entry(object: &Map<String, Value>) -> Result<Fields> {
    let Some(Value::Object(written)) = object.get("fields") else {
        bail!("there are no \"fields\" in it");
    };
    let mut fields = Fields::new();
    for (name, value) in written {
        match value {
            Value::Array(values) => {
                for value in values {
                    fields.push((name.as_bytes().to_vec(), bytes(value)?));
                }
            }
            value => fields.push((name.as_bytes().to_vec(), bytes(value)?)),
        }
    }
    Ok(fields)
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        Value::Object(object) if object.len() == 1 && object.contains_key("base64") => {
            let text = object["base64"].as_str().context("\"base64\" wants a text")?;
            from_base64(text).context("that is no base64")
        }
        other => Ok(other.to_string().into_bytes()),
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let used = digit <= part.len();
            text.push(if used { DIGITS[(word >> (18 - 6 * digit) & 63) as usize].into() } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        word = word << 6 | u32::try_from(digit).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 255) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for length in 0..8_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(91) ^ 0xf0).collect();
            assert_eq!(from_base64(&base64(&bytes)), Some(bytes));
        }
        assert_eq!(base64(b"weir"), "d2Vpcg==");
        assert_eq!(from_base64("d2V!"), None);
    }

    #[test]
    fn fields_keep_their_order_their_twins_and_their_bytes() {
        let fields: Fields =
            vec![(b"z".into(), b"1".into()), (b"a".into(), b"\xff".into()), (b"z".into(), b"2".into())];
        let text = serde_json::to_string(&FieldsJson(&fields)).unwrap();
        assert_eq!(text, r#"{"z":["1","2"],"a":{"base64":"/w=="}}"#);
        let object = json!({ "fields": serde_json::from_str::<Value>(&text).unwrap() });
        let mut back = fields_of_entry(object.as_object().unwrap()).unwrap();
        back.sort();
        let mut wanted = fields;
        wanted.sort();
        assert_eq!(back, wanted);
    }
}
