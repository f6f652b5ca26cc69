//! Groups as the traits know them: made with an origin and a policy, paused, moved, looked at.

use std::borrow::Cow;

use weir_core::{
    CreateGroup, Created, Error, ErrorKind, GroupInfo, GroupOrigin, PendingFate, Policy, dead_letters_of,
};

use crate::api::{GroupStart, Halt, KeyRef};
use crate::charter::WITHOUT_END;
use crate::core::{Core, Found};
use crate::group::Group;
use crate::policy::{POLICY_BYTES_MAX, encoded, millis};
use crate::reading::ROWS_PER_RECORD;
use crate::record::{GroupRef, Record};

impl Core {
    /// Makes a group with a policy, and the stream too when there is none.
    ///
    /// # Errors
    /// As [`weir_core::Groups::create_group`].
    pub fn create_group(
        &mut self,
        key: KeyRef<'_>,
        name: &[u8],
        options: &CreateGroup,
    ) -> Result<Created, Halt> {
        options.policy.check()?;
        if let Some(found) = self.find_stream(key)?
            && let Some(group) = self.stream(found).group(name)
        {
            let origin = group.charter.as_ref().and_then(|charter| charter.origin);
            return match origin {
                Some(origin) if origin == options.origin => Ok(Created::Existing),
                _ => Err(Error::new(ErrorKind::GroupExists).about_group(key.name, name).into()),
            };
        }
        self.check_policy(key, name, &options.policy)?;
        self.tie();
        let made = self.group_create(key, name, start_of(options.origin), None, true);
        if made.is_ok() {
            let (found, at) = self.find_group(key, name)?;
            let (origin, policy) = (Some(options.origin), Some(Cow::Borrowed(&options.policy)));
            self.commit_to(found, &Record::GroupPolicy { at, origin, policy });
        }
        self.untie();
        made.map(|()| Created::New)
    }

    /// Gives a group another policy.
    ///
    /// # Errors
    /// As [`weir_core::Groups::set_policy`].
    pub fn set_policy(&mut self, key: KeyRef<'_>, name: &[u8], policy: &Policy) -> Result<(), Halt> {
        let (found, at) = self.find_group(key, name)?;
        self.check_policy(key, name, policy)?;
        self.check_writable(true)?;
        let origin = self.group(found, at).charter.as_ref().and_then(|charter| charter.origin);
        self.commit_to(found, &Record::GroupPolicy { at, origin, policy: Some(Cow::Borrowed(policy)) });
        // What waited for its key may be ready, and what was too young old enough.
        self.signal(key);
        Ok(())
    }

    fn check_policy(&mut self, key: KeyRef<'_>, group: &[u8], policy: &Policy) -> Result<(), Halt> {
        policy.check()?;
        if encoded(policy).len() > POLICY_BYTES_MAX.min(self.appender.max_record() / 4) {
            return Err(ErrorKind::Invalid("a policy has at most 16 KiB; shorten its filter").into());
        }
        let own = dead_letters_of(key.name, group)?;
        let name = policy.dead_letter.as_deref().unwrap_or(&own);
        self.check_name(name)?;
        self.check_dead_letters(key, group, (name, name == own))
    }

    /// Stops giving entries out, until a time or a resume; again paused, the new end holds.
    ///
    /// # Errors
    /// As [`weir_core::Groups::pause`].
    pub fn pause_group(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        duration: Option<std::time::Duration>,
    ) -> Result<(), Halt> {
        let (found, at) = self.find_group(key, group)?;
        self.check_writable(false)?;
        let end = |duration| self.steady().0.saturating_add(millis(duration)).min(WITHOUT_END - 1);
        let until = duration.map_or(WITHOUT_END, end);
        self.commit_to(found, &Record::GroupPause { at, until });
        // Those who wait have to know when it ends.
        self.signal(key);
        Ok(())
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// As [`weir_core::Groups::resume`].
    pub fn resume_group(&mut self, key: KeyRef<'_>, group: &[u8]) -> Result<(), Halt> {
        let (found, at) = self.find_group(key, group)?;
        if self.group(found, at).charter.as_ref().is_none_or(|charter| charter.paused_until == 0) {
            return Ok(());
        }
        self.check_writable(false)?;
        self.commit_to(found, &Record::GroupPause { at, until: 0 });
        self.signal(key);
        Ok(())
    }

    /// One group; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn group_state(&mut self, key: KeyRef<'_>, group: &[u8]) -> Result<Option<GroupInfo>, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(None) };
        let now = self.steady().0;
        Ok(self.stream(found).group(group).map(|group| info_of(group, now)))
    }

    /// The groups of a stream, by name.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn group_states(&mut self, key: KeyRef<'_>) -> Result<Vec<GroupInfo>, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(Vec::new()) };
        let now = self.steady().0;
        Ok(self.stream(found).groups().map(|group| info_of(group, now)).collect())
    }

    /// Removes a consumer; answers how many entries it held.
    ///
    /// # Errors
    /// As [`weir_core::Groups::delete_consumer`].
    pub fn remove_consumer(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        name: &[u8],
        fate: PendingFate,
    ) -> Result<u64, Halt> {
        let (found, at) = self.find_group(key, group)?;
        let group = self.group(found, at);
        let Some(consumer) = group.consumer_no(name) else { return Ok(0) };
        let held: Vec<(weir_core::EntryId, i64)> = group.consumer(consumer).map_or_else(Vec::new, |own| {
            let rows = own.pending.iter().filter_map(|id| group.pending.get(*id));
            rows.map(|row| (row.id, row.deliveries)).collect()
        });
        self.check_writable(false)?;
        self.tie();
        if fate == PendingFate::HandBack {
            for part in held.chunks(ROWS_PER_RECORD) {
                self.commit_to(found, &Record::Release { at, rows: part.to_vec() });
            }
        }
        self.commit_to(found, &Record::ConsumerDelete { at, consumer });
        self.untie();
        self.event(key, "xgroup-delconsumer");
        self.signal(key);
        Ok(held.len() as u64)
    }

    /// Whether nothing is given out now.
    pub(crate) fn is_paused(&self, found: Found, at: GroupRef) -> bool {
        let group = self.group(found, at);
        group.charter.is_some() && group.is_paused(self.steady().0)
    }
}

pub(crate) fn start_of(origin: GroupOrigin) -> GroupStart {
    match origin {
        GroupOrigin::Beginning => GroupStart::After(weir_core::EntryId::MIN),
        GroupOrigin::After(id) => GroupStart::After(id),
        GroupOrigin::End => GroupStart::End,
    }
}

fn info_of(group: &Group, now: u64) -> GroupInfo {
    let charter = group.charter.as_deref();
    GroupInfo {
        name: group.name.to_vec(),
        origin: charter.and_then(|charter| charter.origin),
        last_delivered_id: group.last_id,
        pending: group.pending.len() as u64,
        consumers: group.consumer_count() as u64,
        paused: group.is_paused(now),
        filtered: charter.map_or(0, |charter| charter.filtered),
        stale_settlements: charter.map_or(0, |charter| charter.stale),
        policy: group.policy().cloned(),
    }
}
