//! Entries and deliveries as values.
//!
//! ```text
//! entry:    [ id, [name, value, ...], "appended-at position global-position" ]
//! delivery: [ id, [name, value, ...], "token deliveries failures redrives lease-until appended-at position
//!             global-position" ]                           and, if it failed before, [ class, reason, at ] twice
//! ```
//!
//! The numbers stand in one text because entries are read by the million: so an entry is hardly larger than in the
//! answers of XREAD, and a program that only looks at the first two parts needs no change. What is missing is `-`. A
//! delivery with a null in the place of its fields is of an entry that has gone since; whoever reads leaves it out.

use weir_core::{Delivery, Entry, EntryId, Error, Failure, Fields, Timestamp, Token};

use crate::number::{parse_u64, push_u64};
use crate::value::{Value, malformed};

/// The numbers of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryNumbers {
    /// [`Entry::appended_at`].
    pub appended_at: Timestamp,
    /// [`Entry::position`].
    pub position: Option<u64>,
    /// [`Entry::global_position`].
    pub global_position: Option<u64>,
}

impl EntryNumbers {
    /// Those of this entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        Self {
            appended_at: entry.appended_at,
            position: entry.position,
            global_position: entry.global_position,
        }
    }

    /// Appends their text.
    pub fn write(&self, out: &mut Vec<u8>) {
        push_u64(out, self.appended_at.0);
        for number in [self.position, self.global_position] {
            out.push(b' ');
            push_option(out, number);
        }
    }

    fn read(numbers: &mut Numbers<'_>) -> Result<Self, Error> {
        let appended_at = Timestamp(numbers.number()?);
        Ok(Self { appended_at, position: numbers.option()?, global_position: numbers.option()? })
    }
}

/// The numbers of a delivery, without those of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryNumbers {
    /// [`Delivery::token`].
    pub token: Token,
    /// [`Delivery::deliveries`].
    pub deliveries: u64,
    /// [`Delivery::failures`].
    pub failures: u64,
    /// [`Delivery::redrives`].
    pub redrives: u32,
    /// [`Delivery::lease_until`].
    pub lease_until: Timestamp,
}

impl DeliveryNumbers {
    /// Those of this delivery.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            token: delivery.token,
            deliveries: delivery.deliveries,
            failures: delivery.failures,
            redrives: delivery.redrives,
            lease_until: delivery.lease_until,
        }
    }

    /// Appends the text of a delivery and its entry.
    pub fn write(&self, entry: &EntryNumbers, out: &mut Vec<u8>) {
        for number in [self.token.0, self.deliveries, self.failures, u64::from(self.redrives)] {
            push_u64(out, number);
            out.push(b' ');
        }
        push_option(out, Some(self.lease_until.0).filter(|until| *until != u64::MAX));
        out.push(b' ');
        entry.write(out);
    }

    fn read(numbers: &mut Numbers<'_>) -> Result<Self, Error> {
        let token = Token(numbers.number()?);
        let (deliveries, failures) = (numbers.number()?, numbers.number()?);
        let redrives = u32::try_from(numbers.number()?).map_err(|_| malformed("a small count"))?;
        let lease_until = Timestamp(numbers.option()?.unwrap_or(u64::MAX));
        Ok(Self { token, deliveries, failures, redrives, lease_until })
    }
}

fn push_option(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => push_u64(out, number),
        None => out.push(b'-'),
    }
}

/// Numbers with blanks between them.
struct Numbers<'t> {
    rest: &'t [u8],
}

impl<'t> Numbers<'t> {
    fn word(&mut self) -> &'t [u8] {
        let end = self.rest.iter().position(|byte| *byte == b' ').unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        word
    }

    fn number(&mut self) -> Result<u64, Error> {
        parse_u64(self.word()).ok_or_else(|| malformed("a number of an entry"))
    }

    fn option(&mut self) -> Result<Option<u64>, Error> {
        match self.word() {
            b"-" => Ok(None),
            word => parse_u64(word).map(Some).ok_or_else(|| malformed("a number of an entry")),
        }
    }
}

pub(crate) fn fields(fields: Fields) -> Value {
    Value::Array(
        fields.into_iter().flat_map(|(name, value)| [Value::Bulk(name), Value::Bulk(value)]).collect(),
    )
}

pub(crate) fn read_fields(value: Value) -> Result<Fields, Error> {
    let items = match value {
        Value::Array(items) | Value::Map(items) if items.len().is_multiple_of(2) => items,
        _ => return Err(malformed("names and values")),
    };
    let mut fields = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        fields.push((name.into_bytes()?, value.into_bytes()?));
    }
    Ok(fields)
}

pub(crate) fn entry(entry: Entry) -> Value {
    let mut numbers = Vec::with_capacity(48);
    EntryNumbers::of(&entry).write(&mut numbers);
    Value::Array(vec![Value::id(entry.id), fields(entry.fields), Value::Bulk(numbers)])
}

pub(crate) fn read_entry(value: Value) -> Result<Entry, Error> {
    let [id, fields, numbers] = value.into_tuple()?;
    let text = numbers.into_bytes()?;
    let numbers = EntryNumbers::read(&mut Numbers { rest: &text })?;
    Ok(made(id.into_id()?, numbers, read_fields(fields)?))
}

fn made(id: EntryId, numbers: EntryNumbers, fields: Fields) -> Entry {
    let EntryNumbers { appended_at, position, global_position } = numbers;
    Entry { id, position, global_position, appended_at, fields }
}

pub(crate) fn delivery(delivery: Delivery) -> Value {
    let mut numbers = Vec::with_capacity(96);
    DeliveryNumbers::of(&delivery).write(&EntryNumbers::of(&delivery.entry), &mut numbers);
    let Delivery { entry, first_failure, last_failure, .. } = delivery;
    let mut parts = vec![Value::id(entry.id), fields(entry.fields), Value::Bulk(numbers)];
    if first_failure.is_some() || last_failure.is_some() {
        parts.push(Value::option(first_failure, failure));
        parts.push(Value::option(last_failure, failure));
    }
    Value::Array(parts)
}

pub(crate) fn read_delivery(value: Value) -> Result<Delivery, Error> {
    let mut parts = value.into_items()?.into_iter();
    let mut part = || parts.next().ok_or_else(|| malformed("a delivery"));
    let (id, fields, text) = (part()?.into_id()?, read_fields(part()?)?, part()?.into_bytes()?);
    let mut failure = || part().unwrap_or(Value::Null).into_option(read_failure);
    let (first_failure, last_failure) = (failure()?, failure()?);
    let mut numbers = Numbers { rest: &text };
    let own = DeliveryNumbers::read(&mut numbers)?;
    let entry = made(id, EntryNumbers::read(&mut numbers)?, fields);
    let DeliveryNumbers { token, deliveries, failures, redrives, lease_until } = own;
    Ok(Delivery { entry, token, deliveries, failures, first_failure, last_failure, lease_until, redrives })
}

/// Deliveries whose entries are still there. One that went between its delivery and the writing of the answer has no
/// fields, and its row goes when somebody is to have it again.
pub(crate) fn read_deliveries(value: Value) -> Result<Vec<Delivery>, Error> {
    let is_gone =
        |item: &Value| matches!(item, Value::Array(parts) if parts.get(1).is_some_and(Value::is_null));
    value.into_items()?.into_iter().filter(|item| !is_gone(item)).map(read_delivery).collect()
}

pub(crate) fn failure(failure: Failure) -> Value {
    Value::Array(vec![Value::Bulk(failure.class), Value::Bulk(failure.reason), Value::time(failure.at)])
}

pub(crate) fn read_failure(value: Value) -> Result<Failure, Error> {
    let [class, reason, at] = value.into_tuple()?;
    Ok(Failure { class: class.into_bytes()?, reason: reason.into_bytes()?, at: at.into_time()? })
}
