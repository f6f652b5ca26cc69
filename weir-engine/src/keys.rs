//! Keys of any kind: deleting, renaming, listing, expiry; namespaces; small string values.

use weir_core::{ErrorKind, Timestamp};

use crate::api::{ExpireWhen, Halt, KeyKind, KeyRef, NamespaceNo};
use crate::core::{Core, DATABASES, Found};
use crate::record::Record;
use crate::state::Value;

impl Core {
    /// Makes the namespaces that exist from the start.
    pub(crate) fn make_databases(&mut self) {
        while (self.state.namespaces.len() as u32) < DATABASES {
            let ns = self.state.namespaces.len() as u32;
            let name = if ns == 0 { "default".to_owned() } else { format!("db{ns}") };
            self.commit(None, &Record::Namespace { ns, name: name.as_bytes() });
        }
    }

    /// The namespace of a name.
    #[must_use]
    pub fn namespace(&self, name: &[u8]) -> Option<NamespaceNo> {
        let named =
            |inner: &u32| self.state.namespaces.get(*inner as usize).is_some_and(|ns| *ns.name == *name);
        self.state.directory.iter().position(named).map(|ns| NamespaceNo(ns as u32))
    }

    /// What a key holds; `None` when there is no such key.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn kind(&mut self, key: KeyRef<'_>) -> Result<Option<KeyKind>, Halt> {
        Ok(self.find(key)?.map(|found| match self.key(found).value {
            Value::Stream(_) => KeyKind::Stream,
            Value::Text(_) => KeyKind::Text,
        }))
    }

    /// Removes a key with everything in it; `false` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`], [`ErrorKind::DiskFull`].
    pub fn remove_key(&mut self, key: KeyRef<'_>) -> Result<bool, Halt> {
        let Some(found) = self.find(key)? else { return Ok(false) };
        self.check_writable(false)?;
        self.delete_found(key, found);
        self.event(key, "del");
        Ok(true)
    }

    /// Gives a key another name in the same namespace. `replace` says whether a key of that name may go.
    /// Answers `false` when one was in the way.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`] when there is no such key.
    pub fn rename(&mut self, key: KeyRef<'_>, to: &[u8], replace: bool) -> Result<bool, Halt> {
        let found = self.find(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let target = KeyRef { ns: key.ns, name: to };
        if key.name == to {
            return Ok(replace);
        }
        let old = self.find(target)?;
        if old.is_some() && !replace {
            return Ok(false);
        }
        self.check_name(to)?;
        self.check_writable(true)?;
        let ns = self.inner(key.ns)?;
        self.tie();
        match old {
            Some(old) => self.delete_found(target, old),
            None => self.vacate(target),
        }
        let no = self.key(found).no;
        self.commit_to(found, &Record::KeyMove { key: no, ns, name: to });
        self.untie();
        self.moved(key, target, ("rename_from", "rename_to"));
        Ok(true)
    }

    /// Moves a key to another namespace; `false` when it is missing or its name is taken there.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn move_key(&mut self, key: KeyRef<'_>, to: NamespaceNo) -> Result<bool, Halt> {
        let target = KeyRef { ns: to, name: key.name };
        let ns = self.inner(to)?;
        let Some(found) = self.find(key)? else { return Ok(false) };
        if self.find(target)?.is_some() {
            return Ok(false);
        }
        self.check_writable(true)?;
        self.tie();
        self.vacate(target);
        let no = self.key(found).no;
        self.commit_to(found, &Record::KeyMove { key: no, ns, name: key.name });
        self.untie();
        self.moved(key, target, ("move_from", "move_to"));
        Ok(true)
    }

    fn moved(&mut self, from: KeyRef<'_>, to: KeyRef<'_>, events: (&'static str, &'static str)) {
        for (key, event) in [(from, events.0), (to, events.1)] {
            self.touched(key);
            self.signal(key);
            self.event(key, event);
        }
    }

    /// Lets two namespaces change places.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn swap_namespaces(&mut self, a: NamespaceNo, b: NamespaceNo) -> Result<(), Halt> {
        self.inner(a)?;
        self.inner(b)?;
        self.check_writable(true)?;
        if a == b {
            return Ok(());
        }
        for (from, to) in [(a, b), (b, a)] {
            for name in self.watches.names(from) {
                let here = self.find(KeyRef { ns: from, name: &name })?.is_some();
                let there = self.find(KeyRef { ns: to, name: &name })?.is_some();
                if here || there {
                    self.watches.touch(from, &name);
                }
            }
        }
        self.commit(None, &Record::SwapNamespaces { a: a.0, b: b.0 });
        self.waiting.signal_all(a);
        self.waiting.signal_all(b);
        Ok(())
    }

    /// Removes all keys of a namespace; answers how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn flush_namespace(&mut self, ns: NamespaceNo) -> Result<u64, Halt> {
        let inner = self.inner(ns)?;
        let count = self.key_count(ns)?;
        if count == 0 {
            return Ok(0);
        }
        self.check_writable(false)?;
        for name in self.watches.names(ns) {
            if self.state.slot(inner, &name).is_some() {
                self.watches.touch(ns, &name);
            }
        }
        self.commit(None, &Record::Flush { ns: inner });
        self.waiting.signal_all(ns);
        Ok(count)
    }

    /// How many keys a namespace has, expired ones that were not removed yet included.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn key_count(&self, ns: NamespaceNo) -> Result<u64, Halt> {
        let inner = self.inner(ns)?;
        Ok(self.state.namespaces[inner as usize].names.len() as u64)
    }

    /// How many keys of a namespace have a time to live.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn expiring_count(&self, ns: NamespaceNo) -> Result<u64, Halt> {
        let inner = self.inner(ns)?;
        Ok(self.state.namespaces[inner as usize].expires.len() as u64)
    }

    /// Goes through the keys of a namespace, `most` slots at a time: visits those in the slice, and answers where to
    /// go on, 0 at the end. A key that is there all the time is visited at least once.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn scan(
        &self,
        ns: NamespaceNo,
        cursor: u64,
        most: u32,
        visit: &mut dyn FnMut(&[u8], KeyKind),
    ) -> Result<u64, Halt> {
        let inner = self.inner(ns)?;
        let end = self.state.keys.end();
        let Ok(mut slot) = u32::try_from(cursor) else { return Ok(0) };
        let last = slot.saturating_add(most).min(end);
        while slot < last {
            if let Some(key) = self.state.keys.get(slot)
                && key.ns == inner
                && (key.expires == 0 || key.expires > self.now.0)
                && self.state.slot(inner, &key.name) == Some(slot)
            {
                let kind = if key.stream().is_some() { KeyKind::Stream } else { KeyKind::Text };
                visit(&key.name, kind);
            }
            slot += 1;
        }
        Ok(if slot >= end { 0 } else { u64::from(slot) })
    }

    /// Some key of a namespace; `nth` picks which.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn any_key(&self, ns: NamespaceNo, nth: u64) -> Result<Option<Box<[u8]>>, Halt> {
        let inner = self.inner(ns)?;
        let names = &self.state.namespaces[inner as usize].names;
        if names.is_empty() {
            return Ok(None);
        }
        let slot = names.iter().nth((nth % names.len() as u64) as usize);
        Ok(slot.and_then(|slot| self.state.keys.get(*slot)).map(|key| key.name.clone()))
    }

    // ---- expiry ------------------------------------------------------------------------------------------------

    /// Sets when a key expires; a time that is past removes it at once. Answers whether anything was set.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`], [`ErrorKind::DiskFull`].
    pub fn expire_at(&mut self, key: KeyRef<'_>, at: Timestamp, when: ExpireWhen) -> Result<bool, Halt> {
        let Some(found) = self.find(key)? else { return Ok(false) };
        let before = self.key(found).expires;
        let refused = (when.absent && before != 0)
            || (when.present && before == 0)
            || (when.later && (before == 0 || at.0 <= before))
            || (when.earlier && before != 0 && at.0 >= before);
        if refused {
            return Ok(false);
        }
        self.check_writable(false)?;
        if at <= self.now {
            self.delete_found(key, found);
            self.event(key, "del");
        } else {
            self.set_expiry(found, at.0);
            self.touched(key);
            self.event(key, "expire");
        }
        Ok(true)
    }

    fn set_expiry(&mut self, found: Found, at: u64) {
        let no = self.key(found).no;
        self.commit_to(found, &Record::Expire { key: no, at });
    }

    /// When a key expires; the outer `None` = no such key, the inner = never.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn expiry(&mut self, key: KeyRef<'_>) -> Result<Option<Option<Timestamp>>, Halt> {
        let found = self.find(key)?;
        Ok(found.map(|found| Some(self.key(found).expires).filter(|at| *at != 0).map(Timestamp)))
    }

    /// Takes a key's expiry away; `false` when it has none.
    ///
    /// # Errors
    /// [`ErrorKind::Faulted`], [`ErrorKind::DiskFull`].
    pub fn persist(&mut self, key: KeyRef<'_>) -> Result<bool, Halt> {
        let Some(found) = self.find(key)? else { return Ok(false) };
        if self.key(found).expires == 0 {
            return Ok(false);
        }
        self.check_writable(false)?;
        self.set_expiry(found, 0);
        self.touched(key);
        self.event(key, "persist");
        Ok(true)
    }

    /// Bytes of memory a key takes, about.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an unknown namespace.
    pub fn memory_usage(&mut self, key: KeyRef<'_>) -> Result<Option<u64>, Halt> {
        Ok(self.find(key)?.map(|found| {
            let key = self.key(found);
            let own = (size_of::<crate::state::Key>() + key.name.len() + 16) as u64;
            own + match &key.value {
                Value::Text(text) => text.len() as u64,
                Value::Stream(stream) => stream.heap_bytes(),
            }
        }))
    }

    // ---- strings -----------------------------------------------------------------------------------------------

    /// A string value; `None` when there is no such key.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn text(&mut self, key: KeyRef<'_>) -> Result<Option<Box<[u8]>>, Halt> {
        let Some(found) = self.find(key)? else { return Ok(None) };
        match &self.key(found).value {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Stream(_) => Err(ErrorKind::WrongType.into()),
        }
    }

    /// Sets a string value, in place of whatever the key holds. `keep_ttl` leaves its expiry; `event` is what keyspace
    /// notifications call the change.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`], [`ErrorKind::DiskFull`].
    pub fn set_text(
        &mut self,
        key: KeyRef<'_>,
        value: &[u8],
        keep_ttl: bool,
        event: &'static str,
    ) -> Result<(), Halt> {
        let found = self.find(key)?;
        self.check_name(key.name)?;
        if found.is_none() {
            self.check_new_key()?;
        }
        if value.len() > self.options.limits.text_bytes.min(self.appender.max_record() / 2) {
            return Err(ErrorKind::LimitReached("bytes of a string value (text_bytes)").into());
        }
        self.check_writable(true)?;
        let ns = self.inner(key.ns)?;
        let expires = found.map_or(0, |found| self.key(found).expires);
        self.tie();
        match found.filter(|found| matches!(self.key(*found).value, Value::Text(_))) {
            Some(found) => {
                let no = self.key(found).no;
                self.commit_to(found, &Record::Text { key: no, ns, name: key.name, value });
                if expires != 0 && !keep_ttl {
                    self.set_expiry(found, 0);
                }
            }
            None => {
                match found {
                    Some(found) => self.delete_found(key, found),
                    None => self.vacate(key),
                }
                let no = self.state.next_key;
                let slot = self.commit(None, &Record::Text { key: no, ns, name: key.name, value });
                if expires != 0 && keep_ttl {
                    self.set_expiry(Found { slot: slot.expect("a new key has a slot") }, expires);
                }
            }
        }
        self.untie();
        self.touched(key);
        self.signal(key);
        self.event(key, event);
        Ok(())
    }
}
