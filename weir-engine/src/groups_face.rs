//! The verbs of [`Groups`] for a namespace of the engine: for threads, and for tasks.

use std::time::Duration;

use weir_core::{
    BoxFuture, ConsumerInfo, CreateGroup, Created, Error, ErrorKind, GroupInfo, Groups, Lag, PendingFate,
    Policy, Seek, Sought,
};

use crate::api::Halt;
use crate::broker::{Namespace, Question};

/// Whatever is missing, it is the group that is asked for.
pub(crate) fn no_group(halt: Halt) -> Halt {
    match halt {
        Halt::Error(error) if *error.kind() == ErrorKind::NoSuchStream => ErrorKind::NoSuchGroup.into(),
        halt => halt,
    }
}

impl Namespace {
    fn making_group(
        &self,
        stream: &[u8],
        group: &[u8],
        options: &CreateGroup,
    ) -> impl Question<Created> + use<> {
        let options = options.clone();
        self.about_group(stream, group, move |core, key, group| core.create_group(key, group, &options))
    }

    fn ending_group(&self, stream: &[u8], group: &[u8]) -> impl Question<bool> + use<> {
        self.about_group(stream, group, move |core, key, group| match core.group_destroy(key, group) {
            Err(Halt::Error(error)) if *error.kind() == ErrorKind::NoSuchStream => Ok(false),
            ended => ended,
        })
    }

    fn listing_groups(&self, stream: &[u8]) -> impl Question<Vec<GroupInfo>> + use<> {
        self.about(stream, |core, key| core.group_states(key))
    }

    fn showing_group(&self, stream: &[u8], group: &[u8]) -> impl Question<Option<GroupInfo>> + use<> {
        self.about_group(stream, group, move |core, key, group| core.group_state(key, group))
    }

    fn telling_policy(&self, stream: &[u8], group: &[u8], policy: Policy) -> impl Question<()> + use<> {
        self.about_group(stream, group, move |core, key, group| core.set_policy(key, group, &policy))
    }

    fn pausing(&self, stream: &[u8], group: &[u8], duration: Option<Duration>) -> impl Question<()> + use<> {
        self.about_group(stream, group, move |core, key, group| core.pause_group(key, group, duration))
    }

    fn resuming(&self, stream: &[u8], group: &[u8]) -> impl Question<()> + use<> {
        self.about_group(stream, group, move |core, key, group| core.resume_group(key, group))
    }

    fn seeking(&self, stream: &[u8], group: &[u8], options: Seek) -> impl Question<Sought> + use<> {
        self.about_group(stream, group, move |core, key, group| core.seek(key, group, &options))
    }

    fn making_consumer(&self, stream: &[u8], group: &[u8], name: &[u8]) -> impl Question<bool> + use<> {
        let name = name.to_vec();
        self.about_group(stream, group, move |core, key, group| {
            core.consumer_create(key, group, &name).map_err(no_group)
        })
    }

    fn listing_consumers(&self, stream: &[u8], group: &[u8]) -> impl Question<Vec<ConsumerInfo>> + use<> {
        self.about_group(stream, group, move |core, key, group| {
            let now = core.steady().0;
            let consumers = core.consumers_info(key, group).map_err(no_group)?;
            let info = |consumer: crate::api::ConsumerInfo| ConsumerInfo {
                name: consumer.name.into_vec(),
                pending: consumer.pending,
                idle: Duration::from_millis(now.saturating_sub(consumer.seen)),
            };
            Ok(consumers.into_iter().map(info).collect())
        })
    }

    fn ending_consumer(
        &self,
        stream: &[u8],
        group: &[u8],
        name: &[u8],
        fate: PendingFate,
    ) -> impl Question<u64> + use<> {
        let name = name.to_vec();
        self.about_group(stream, group, move |core, key, group| core.remove_consumer(key, group, &name, fate))
    }

    fn measuring(&self, stream: &[u8], group: &[u8]) -> impl Question<Lag> + use<> {
        self.about_group(stream, group, move |core, key, group| core.lag(key, group))
    }

    // ---- synchronous calls -------------------------------------------------------------------------------------

    /// Makes a group. See [`Groups::create_group`].
    ///
    /// # Errors
    /// As [`Groups::create_group`].
    pub fn create_group(&self, stream: &[u8], group: &[u8], options: &CreateGroup) -> Result<Created, Error> {
        self.settled(self.ask(self.making_group(stream, group, options))?)
    }

    /// Ends a group. See [`Groups::delete_group`].
    ///
    /// # Errors
    /// As [`Groups::delete_group`].
    pub fn delete_group(&self, stream: &[u8], group: &[u8]) -> Result<bool, Error> {
        self.settled(self.ask(self.ending_group(stream, group))?)
    }

    /// The groups of a stream. See [`Groups::groups`].
    ///
    /// # Errors
    /// As [`Groups::groups`].
    pub fn groups(&self, stream: &[u8]) -> Result<Vec<GroupInfo>, Error> {
        self.settled(self.ask(self.listing_groups(stream))?)
    }

    /// One group. See [`Groups::group_info`].
    ///
    /// # Errors
    /// As [`Groups::group_info`].
    pub fn group_info(&self, stream: &[u8], group: &[u8]) -> Result<Option<GroupInfo>, Error> {
        self.settled(self.ask(self.showing_group(stream, group))?)
    }

    /// Gives a group another policy. See [`Groups::set_policy`].
    ///
    /// # Errors
    /// As [`Groups::set_policy`].
    pub fn set_policy(&self, stream: &[u8], group: &[u8], policy: Policy) -> Result<(), Error> {
        self.settled(self.ask(self.telling_policy(stream, group, policy))?)
    }

    /// Moves a group. See [`Groups::seek`].
    ///
    /// # Errors
    /// As [`Groups::seek`].
    pub fn seek(&self, stream: &[u8], group: &[u8], options: Seek) -> Result<Sought, Error> {
        self.settled(self.ask(self.seeking(stream, group, options))?)
    }

    /// Gives nothing out any more. See [`Groups::pause`].
    ///
    /// # Errors
    /// As [`Groups::pause`].
    pub fn pause(&self, stream: &[u8], group: &[u8], duration: Option<Duration>) -> Result<(), Error> {
        self.settled(self.ask(self.pausing(stream, group, duration))?)
    }

    /// Ends a pause. See [`Groups::resume`].
    ///
    /// # Errors
    /// As [`Groups::resume`].
    pub fn resume(&self, stream: &[u8], group: &[u8]) -> Result<(), Error> {
        self.settled(self.ask(self.resuming(stream, group))?)
    }

    /// Makes a consumer. See [`Groups::create_consumer`].
    ///
    /// # Errors
    /// As [`Groups::create_consumer`].
    pub fn create_consumer(&self, stream: &[u8], group: &[u8], consumer: &[u8]) -> Result<bool, Error> {
        self.settled(self.ask(self.making_consumer(stream, group, consumer))?)
    }

    /// The consumers of a group. See [`Groups::consumers`].
    ///
    /// # Errors
    /// As [`Groups::consumers`].
    pub fn consumers(&self, stream: &[u8], group: &[u8]) -> Result<Vec<ConsumerInfo>, Error> {
        self.settled(self.ask(self.listing_consumers(stream, group))?)
    }

    /// How far behind a group is. See [`Groups::lag`].
    ///
    /// # Errors
    /// As [`Groups::lag`].
    pub fn lag(&self, stream: &[u8], group: &[u8]) -> Result<Lag, Error> {
        self.settled(self.ask(self.measuring(stream, group))?)
    }

    /// Removes a consumer. See [`Groups::delete_consumer`].
    ///
    /// # Errors
    /// As [`Groups::delete_consumer`].
    pub fn delete_consumer(
        &self,
        stream: &[u8],
        group: &[u8],
        consumer: &[u8],
        pending: PendingFate,
    ) -> Result<u64, Error> {
        self.settled(self.ask(self.ending_consumer(stream, group, consumer, pending))?)
    }
}

impl Groups for Namespace {
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: CreateGroup,
    ) -> BoxFuture<'a, Created> {
        Box::pin(self.answer(self.making_group(stream, group, &options)))
    }

    fn delete_group<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(self.answer(self.ending_group(stream, group)))
    }

    fn groups<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupInfo>> {
        Box::pin(self.answer(self.listing_groups(stream)))
    }

    fn group_info<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Option<GroupInfo>> {
        Box::pin(self.answer(self.showing_group(stream, group)))
    }

    fn set_policy<'a>(&'a self, stream: &'a [u8], group: &'a [u8], policy: Policy) -> BoxFuture<'a, ()> {
        Box::pin(self.answer(self.telling_policy(stream, group, policy)))
    }

    fn seek<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Seek) -> BoxFuture<'a, Sought> {
        Box::pin(self.answer(self.seeking(stream, group, options)))
    }

    fn pause<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        duration: Option<Duration>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.answer(self.pausing(stream, group, duration)))
    }

    fn resume<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(self.answer(self.resuming(stream, group)))
    }

    fn create_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.answer(self.making_consumer(stream, group, consumer)))
    }

    fn consumers<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Vec<ConsumerInfo>> {
        Box::pin(self.answer(self.listing_consumers(stream, group)))
    }

    fn delete_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
        pending: PendingFate,
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.ending_consumer(stream, group, consumer, pending)))
    }

    fn lag<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Lag> {
        Box::pin(self.answer(self.measuring(stream, group)))
    }
}
