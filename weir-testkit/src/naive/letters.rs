//! Dead letters: how they are written, found, handed back and removed.

use weir_core::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetterQuery, EntryId, Error, ErrorKind, Failure,
    Fields, Filter, Policy, Purge, Redrive, Redriven, Timestamp, dead_letters_of, is_side_stream,
};

use super::space::{Place, Row, Space};

/// A number as text.
pub(super) fn number(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// An ID as text.
pub(super) fn text_of(id: EntryId) -> Vec<u8> {
    id.to_string().into_bytes()
}

/// The names of a failure's fields: class, reason, time.
type FailureNames = [&'static str; 3];
const FIRST: FailureNames = ["weir-first-class", "weir-first-reason", "weir-first-at"];
const LAST: FailureNames = ["weir-last-class", "weir-last-reason", "weir-last-at"];

/// A letter and whose it is, as the fields of an entry.
fn written(stream: &[u8], group: &[u8], letter: &DeadLetter) -> Fields {
    let mut fields: Fields = Vec::new();
    let mut put = |name: &str, value: Vec<u8>| fields.push((name.into(), value));
    put("weir-stream", stream.to_vec());
    put("weir-group", group.to_vec());
    put("weir-id", text_of(letter.entry_id));
    if let Some(consumer) = &letter.consumer {
        put("weir-consumer", consumer.clone());
    }
    put("weir-deliveries", number(letter.deliveries));
    put("weir-failures", number(letter.failures));
    put("weir-redrives", number(letter.redrives.into()));
    let failures = [(FIRST, letter.first_failure.as_ref()), (LAST, Some(&letter.last_failure))];
    for (names, failure) in failures {
        if let Some(failure) = failure {
            put(names[0], failure.class.clone());
            put(names[1], failure.reason.clone());
            put(names[2], number(failure.at.0));
        }
    }
    put("weir-fields", number(letter.fields.len() as u64));
    fields.extend(letter.fields.iter().cloned());
    fields
}

/// The letter that an entry is, if it is one of this group.
fn read(stream: &[u8], group: &[u8], id: EntryId, fields: &Fields) -> Option<DeadLetter> {
    let head = fields.iter().position(|(name, _)| name == b"weir-fields")?;
    let head = fields[..=head].to_vec();
    let value = |name: &str| weir_core::first_value(&head, name.as_bytes());
    let counted = |name: &str| std::str::from_utf8(value(name)?).ok()?.parse::<u64>().ok();
    let failure = |names: FailureNames| {
        let (class, reason) = (value(names[0])?.to_vec(), value(names[1])?.to_vec());
        Some(Failure { class, reason, at: Timestamp(counted(names[2])?) })
    };
    if value("weir-stream")? != stream || value("weir-group")? != group {
        return None;
    }
    let own = usize::try_from(counted("weir-fields")?).ok()?;
    Some(DeadLetter {
        id,
        entry_id: EntryId::parse(value("weir-id")?, 0).ok()?,
        fields: fields.iter().skip(head.len()).take(own).cloned().collect(),
        consumer: value("weir-consumer").map(<[u8]>::to_vec),
        deliveries: counted("weir-deliveries")?,
        failures: counted("weir-failures")?,
        first_failure: failure(FIRST),
        last_failure: failure(LAST)?,
        redrives: u32::try_from(counted("weir-redrives")?).ok()?,
    })
}

fn is_meant(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    let last = &letter.last_failure;
    let contains = |part: &Vec<u8>| part.is_empty() || last.reason.windows(part.len()).any(|at| at == part);
    let conditions = Filter { conditions: filter.conditions.clone() };
    (filter.entry_ids.is_empty() || filter.entry_ids.contains(&letter.entry_id))
        && filter.class.as_ref().is_none_or(|class| *class == last.class)
        && filter.reason_contains.as_ref().is_none_or(contains)
        && filter.redrives_max.is_none_or(|most| letter.redrives <= most)
        && conditions.matches_fields(&letter.fields)
}

/// Where a group's dead letters go.
pub(super) fn letters_name(stream: &[u8], group: &[u8], policy: &Policy) -> Result<Vec<u8>, Error> {
    let default = dead_letters_of(stream, group)?;
    Ok(policy.dead_letter.clone().unwrap_or(default))
}

impl Space {
    /// Whether a group may send its dead letters where its policy says.
    pub(super) fn check_letters(&self, stream: &[u8], group: &[u8], policy: &Policy) -> Result<(), Error> {
        let name = letters_name(stream, group, policy)?;
        let is_default = name == dead_letters_of(stream, group)?;
        let others = self.streams.iter().flat_map(|(stream, facts)| {
            facts.groups.iter().map(move |(group, facts)| (&stream[..], &group[..], &facts.policy))
        });
        let mut others = others.filter(|(other, name, _)| (*other, *name) != (stream, group));
        let is_others = others.any(|(stream, group, policy)| {
            letters_name(stream, group, policy).is_ok_and(|other| other == name)
        });
        let first = self.stream(&name).and_then(|letters| letters.entries.iter().next());
        let is_used = first.is_some_and(|(id, stored)| read(stream, group, *id, &stored.fields).is_none());
        if name == stream || is_others || is_used || (is_side_stream(&name) && !is_default) {
            return Err(ErrorKind::DeadLetterTaken.into());
        }
        Ok(())
    }

    /// Takes a row off its group's list and puts the entry among the dead letters, in one step.
    pub(super) fn bury(&mut self, stream: &[u8], group: &[u8], id: EntryId, last_failure: Failure) {
        let now = self.now.steady;
        let Some(facts) = self.streams.get_mut(stream) else { return };
        let fields = facts.entries.get(&id).map(|stored| stored.fields.clone()).unwrap_or_default();
        let Some(of) = facts.groups.get_mut(group) else { return };
        let Some(row) = of.take_off(id) else { return };
        of.drain(now);
        let letter = DeadLetter {
            id: EntryId::MIN,
            entry_id: id,
            fields,
            consumer: row.consumer().cloned(),
            deliveries: row.deliveries,
            failures: row.failures,
            first_failure: row.first_failure,
            last_failure,
            redrives: row.redrives,
        };
        let name = letters_name(stream, group, &of.policy).expect("the policy was checked");
        let fields = written(stream, group, &letter);
        let fields: Vec<(&[u8], &[u8])> =
            fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        self.add_own(&name, &fields);
        self.changes += 1;
    }

    /// All dead letters of a group, the oldest first.
    pub(super) fn letters(&self, stream: &[u8], group: &[u8]) -> Result<Vec<DeadLetter>, Error> {
        let (_, facts) = self.group(stream, group)?;
        let letters = self.stream(&letters_name(stream, group, &facts.policy)?);
        let entries = letters.into_iter().flat_map(|letters| &letters.entries);
        Ok(entries.filter_map(|(id, stored)| read(stream, group, *id, &stored.fields)).collect())
    }

    pub(super) fn letters_page(
        &self,
        stream: &[u8],
        group: &[u8],
        query: &DeadLetterQuery,
    ) -> Result<DeadLetterPage, Error> {
        let mut letters = self.letters(stream, group)?;
        letters.retain(|letter| letter.id > query.after && is_meant(&query.filter, letter));
        let count = usize::try_from(query.count).unwrap_or(usize::MAX);
        let is_all = letters.len() <= count;
        letters.truncate(count);
        let next = if is_all { None } else { Some(letters.last().map_or(query.after, |letter| letter.id)) };
        Ok(DeadLetterPage { letters, next })
    }

    /// Removes a dead letter.
    fn remove_letter(&mut self, stream: &[u8], group: &[u8], letter: &DeadLetter) -> Result<(), Error> {
        let (_, facts) = self.group(stream, group)?;
        let name = letters_name(stream, group, &facts.policy)?;
        if let Some(letters) = self.streams.get_mut(&name) {
            letters.entries.remove(&letter.id);
        }
        Ok(())
    }

    pub(super) fn redrive(
        &mut self,
        stream: &[u8],
        group: &[u8],
        options: &Redrive,
    ) -> Result<Redriven, Error> {
        let letters = self.letters(stream, group)?;
        let mut redriven = Redriven { entry_ids: Vec::new(), gone: Vec::new(), left: letters.len() as u64 };
        for letter in letters.iter().filter(|letter| is_meant(&options.filter, letter)) {
            if redriven.entry_ids.len() as u64 >= options.count {
                break;
            }
            let (facts, _) = self.group(stream, group)?;
            let Some(entry) = facts.entry(letter.entry_id) else {
                redriven.gone.push(letter.entry_id);
                continue;
            };
            redriven.entry_ids.push(entry.id);
            redriven.left -= 1;
            if !options.dry_run {
                self.remove_letter(stream, group, letter)?;
                self.hand_back(stream, group, letter, &entry.fields)?;
            }
        }
        Ok(redriven)
    }

    /// Puts a dead letter's entry on the pending list again, unless it is there or comes anyway.
    fn hand_back(
        &mut self,
        stream: &[u8],
        group: &[u8],
        letter: &DeadLetter,
        fields: &Fields,
    ) -> Result<(), Error> {
        let group = self.group_mut(stream, group)?;
        let id = letter.entry_id;
        if id <= group.last_delivered && !group.rows.contains_key(&id) {
            let row = Row::new(Place::READY, group.lane_of(fields));
            group.put(id, Row { redrives: letter.redrives.saturating_add(1), ..row });
        }
        self.changes += 1;
        Ok(())
    }

    pub(super) fn purge(&mut self, stream: &[u8], group: &[u8], options: &Purge) -> Result<u64, Error> {
        let mut letters = self.letters(stream, group)?;
        letters.retain(|letter| is_meant(&options.filter, letter));
        letters.truncate(usize::try_from(options.count).unwrap_or(usize::MAX));
        for letter in letters.iter().filter(|_| !options.dry_run) {
            self.remove_letter(stream, group, letter)?;
        }
        Ok(letters.len() as u64)
    }
}
