//! The events every client library reads, and what the consumer makes of them.

use std::path::Path;

use redis::streams::StreamId;
use serde_json::Value;

use crate::bench::Failure;

#[derive(Debug)]
pub struct Story {
    pub group: String,
    pub consumer: String,
    pub dead_letter_reason: String,
    pub malformed: String,
    pub fails_once: String,
    pub handled: Vec<String>,
    /// The fields of each event in their order; `entries` has them as the library answers them.
    pub fields: Vec<Vec<(String, String)>>,
    pub entries: Vec<StreamId>,
}

impl Story {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let mut story = Self {
            group: text(&json["group"])?,
            consumer: text(&json["consumer"])?,
            dead_letter_reason: text(&json["deadLetterReason"])?,
            malformed: text(&json["malformed"])?,
            fails_once: text(&json["failsOnce"])?,
            handled: list(&json["handled"])?.iter().map(text).collect::<Result<_, _>>()?,
            fields: Vec::new(),
            entries: Vec::new(),
        };
        for event in list(&json["events"])? {
            let fields = list(&event["fields"])?
                .iter()
                .map(|pair| Ok((text(&pair[0])?, text(&pair[1])?)))
                .collect::<Result<Vec<_>, Failure>>()?;
            let map = fields
                .iter()
                .map(|(name, value)| (name.clone(), redis::Value::BulkString(value.clone().into_bytes())))
                .collect();
            story.entries.push(StreamId { id: text(&event["id"])?, map, ..StreamId::default() });
            story.fields.push(fields);
        }
        Ok(story)
    }

    pub fn id(&self, index: usize) -> &str {
        &self.entries[index].id
    }
}

fn text(value: &Value) -> Result<String, Failure> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{value} is not a text").into())
}

fn list(value: &Value) -> Result<&Vec<Value>, Failure> {
    value.as_array().ok_or_else(|| format!("{value} is not a list").into())
}
