//! The error of a broker: an opaque [`Error`] with an [`ErrorKind`] and its cause.

use std::fmt;

use crate::EntryId;

/// Why a broker refused or failed.
///
/// Doors map kinds to their own codes: RESP prefixes, HTTP statuses, exit codes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key holds a value of another type.
    WrongType,
    /// There is no stream under this name.
    NoSuchStream,
    /// The stream or the group does not exist.
    NoSuchGroup,
    /// A group of this name exists already.
    GroupExists,
    /// `0-0` was asked for as the ID of a new entry.
    IdZero,
    /// The ID asked for is not above the last one.
    IdNotGreater {
        /// The last ID of the stream.
        last: EntryId,
    },
    /// The end of the stream is not what the appender expected.
    VersionMismatch {
        /// The position of the last entry that was added; `None` when nothing ever was.
        actual: Option<u64>,
    },
    /// The dead-letter stream of the policy belongs to another group, or is a stream with a purpose of its own.
    DeadLetterTaken,
    /// The engine behind this broker cannot do this; the text says what.
    Unsupported(&'static str),
    /// The engine cannot be reached, or did not answer in time.
    Unavailable,
    /// The engine does not let this user do this.
    Denied,
    /// The stream has given out the last possible ID.
    StreamExhausted,
    /// The fields of an entry exceed the limit.
    EntryTooLarge,
    /// A name, argument or option is not acceptable; the text says which and why.
    Invalid(&'static str),
    /// A named limit was reached; the text names it.
    LimitReached(&'static str),
    /// Appends are refused because the disk is full; acknowledgements, deletes and trims go on.
    DiskFull,
    /// A write or a flush failed; nothing is accepted until the folder is opened again.
    Faulted,
    /// What is on disk contradicts itself.
    Corrupt,
    /// The folder is in use by another process.
    InUse,
    /// The disk or the system failed.
    Io,
    /// The engine was closed.
    Closed,
}

/// What went wrong, with its cause in `source()`.
pub struct Error {
    kind: ErrorKind,
    context: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, context: None, source: None }
    }

    /// There is no such stream or group.
    #[must_use]
    pub fn no_such_group(stream: &[u8], group: &[u8]) -> Self {
        Self::new(ErrorKind::NoSuchGroup).about_group(stream, group)
    }

    /// Names the group that is missing or exists already, unless the error says already what it is about.
    #[must_use]
    pub fn about_group(self, stream: &[u8], group: &[u8]) -> Self {
        if self.context.is_some() || !matches!(self.kind, ErrorKind::NoSuchGroup | ErrorKind::GroupExists) {
            return self;
        }
        let [stream, group] = [stream, group].map(String::from_utf8_lossy);
        self.with_context(format!("group {group} of stream {stream}"))
    }

    /// Says what the error is about: the name, the value, the remedy.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether asking again later may help: what failed is the way to the engine or its room, not what was asked.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::DiskFull | ErrorKind::LimitReached(_))
    }

    /// What the error is about, beside its kind.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The kind, for branching.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType => f.write_str("the key holds another kind of value than a stream"),
            Self::NoSuchStream => f.write_str("no such stream"),
            Self::NoSuchGroup => f.write_str("no such stream or consumer group"),
            Self::GroupExists => f.write_str("a consumer group of this name exists already"),
            Self::IdZero => f.write_str("an entry ID must be greater than 0-0"),
            Self::IdNotGreater { last } => write!(f, "the entry ID must be greater than the last one, {last}"),
            Self::VersionMismatch { actual: Some(version) } => {
                write!(f, "the stream is at version {version}, which is not the expected one; read it and decide again")
            }
            Self::VersionMismatch { actual: None } => {
                f.write_str("nothing was ever added to the stream, so it has no version; expect no entries")
            }
            Self::DeadLetterTaken => {
                f.write_str("the dead-letter stream belongs to another group or is used otherwise; name another one")
            }
            Self::Unsupported(what) => write!(f, "this engine cannot do that: {what}"),
            Self::Unavailable => f.write_str("the engine cannot be reached"),
            Self::Denied => f.write_str("the engine does not let this user do that"),
            Self::StreamExhausted => f.write_str("the stream has given out its last possible entry ID"),
            Self::EntryTooLarge => f.write_str("the fields of the entry are too large"),
            Self::Invalid(what) => f.write_str(what),
            Self::LimitReached(what) => write!(f, "limit reached: {what}"),
            Self::DiskFull => f.write_str(
                "the disk is full, appends are refused; free space in the data folder's file system or trim streams",
            ),
            Self::Faulted => f.write_str(
                "a write to disk failed and nothing more is accepted; mend the disk, then restart to recover",
            ),
            Self::Corrupt => f.write_str("the data folder is damaged; run `weir check` on it"),
            Self::InUse => f.write_str("the data folder is in use by another process"),
            Self::Io => f.write_str("the disk or the system failed"),
            Self::Closed => f.write_str("the engine is closed"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{}: {context}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("context", &self.context)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}
