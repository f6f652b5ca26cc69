//! All verbs together: finding the one that a call means, and carrying it out on any broker.

use weir_core::{Broker, Error, ErrorKind};

use crate::{
    AppendBatch, AppendEntry, AutoClaimEntries, ClaimEntries, Command, CreateConsumer, CreateGroupOf,
    DeadLetterPeek, DeadLetters, DeleteConsumer, DeleteEntries, DeleteGroup, DeleteStream, ExtendEntries,
    GetGroup, GetRetention, HeadOf, InfoOf, LagOf, ListConsumers, ListGroups, ListStreamNames, LostEntries,
    NackEntries, PauseGroup, PendingRows, PendingSummaryOf, PurgeDeadLetters, ReadAsGroup, ReadStream,
    RedriveDeadLetters, ReleaseEntries, RestorePending, ResumeGroup, SeekGroup, SetPolicy, SetRetention,
    SettleEntries, Sink, TermEntries, TrimStream, Value, Verb, Words, encode_call,
};

/// The one list of verbs: the request, the table and the dispatch come from it.
macro_rules! verbs {
    ($($name:ident $(<$life:lifetime>)?),* $(,)?) => {
        /// A call of any verb.
        #[derive(Debug, Clone)]
        pub enum Request<'a> {
            $(
                #[doc = concat!("See [`", stringify!($name), "`](crate::", stringify!($name), ").")]
                $name(Box<$name $(<$life>)?>),
            )*
        }

        impl<'a> Request<'a> {
            const TABLE: &'static [Command] = &[$(<$name $(<$life>)? as Verb<'a>>::COMMAND),*];

            /// Its row.
            #[must_use]
            pub fn command(&self) -> Command {
                match self {
                    $(Self::$name(_) => <$name $(<$life>)? as Verb<'a>>::COMMAND,)*
                }
            }

            /// Writes the whole call, the command's name first.
            pub fn encode(&self, out: &mut dyn Sink) {
                match self {
                    $(Self::$name(verb) => encode_call(&**verb, out),)*
                }
            }

            fn decode_args(command: &Command, words: &mut Words<'_, 'a>) -> Result<Self, Error> {
                $(
                    if command.name == <$name $(<$life>)? as Verb<'a>>::COMMAND.name {
                        return Ok(Self::$name(Box::new($name::decode(words)?)));
                    }
                )*
                unreachable!("the command is of the table")
            }

            /// Carries it out; the reply as a value.
            ///
            /// # Errors
            /// What the broker answers.
            pub async fn call(&self, broker: &dyn Broker) -> Result<Value, Error> {
                match self {
                    $(Self::$name(verb) => Ok(<$name $(<$life>)? as Verb<'a>>::reply(verb.run(broker).await?)),)*
                }
            }
        }
    };
}

verbs! {
    AppendEntry<'a>, AppendBatch<'a>, ReadStream<'a>, HeadOf<'a>, InfoOf<'a>, ListStreamNames, DeleteStream<'a>,
    DeleteEntries<'a>, TrimStream<'a>, SetRetention<'a>, GetRetention<'a>, LostEntries<'a>,
    CreateGroupOf<'a>, SetPolicy<'a>, GetGroup<'a>, ListGroups<'a>, DeleteGroup<'a>, SeekGroup<'a>, PauseGroup<'a>,
    ResumeGroup<'a>, CreateConsumer<'a>, ListConsumers<'a>, DeleteConsumer<'a>, LagOf<'a>,
    ReadAsGroup<'a>, SettleEntries<'a>, NackEntries<'a>, ReleaseEntries<'a>, TermEntries<'a>, ExtendEntries<'a>,
    ClaimEntries<'a>, AutoClaimEntries<'a>, PendingSummaryOf<'a>, PendingRows<'a>, RestorePending<'a>,
    DeadLetters<'a>, DeadLetterPeek<'a>, RedriveDeadLetters<'a>, PurgeDeadLetters<'a>,
}

/// All commands.
pub const COMMANDS: &[Command] = Request::<'static>::TABLE;

impl<'a> Request<'a> {
    /// Reads a whole call, the command's name first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when there is no such command, [`ErrorKind::Invalid`] for its arguments,
    /// [`ErrorKind::LimitReached`] when there are too many.
    pub fn decode(words: &[&'a [u8]]) -> Result<Self, Error> {
        let command =
            find(words).ok_or_else(|| Error::new(ErrorKind::Unsupported("there is no such command")))?;
        Self::decode_args(command, &mut Words::new(&words[command.words().count()..]))
    }
}

/// The command that a call names, if there is one.
#[must_use]
pub fn find(words: &[&[u8]]) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| {
        let mut given = words.iter();
        command
            .words()
            .all(|name| given.next().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())))
    })
}

/// Carries out a call on a broker.
///
/// # Errors
/// What the broker answers.
pub async fn call(broker: &dyn Broker, request: &Request<'_>) -> Result<Value, Error> {
    request.call(broker).await
}

/// Reads a call and carries it out; what goes wrong is a [`Value::Error`].
pub async fn call_words(broker: &dyn Broker, words: &[&[u8]]) -> Value {
    let answer = match Request::decode(words) {
        Ok(request) => request.call(broker).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| Value::Error(crate::error_line(&error)))
}
