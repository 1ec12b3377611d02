//! Names of applications, streams and sessions. Validated once, when made: nothing later needs to check again.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

/// Longest application name or stream id, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("a name must have at least one byte")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} bytes, this one has {len}")]
    TooLong {
        /// Length in bytes.
        len: usize,
    },
    /// A character that no name may have: a control character or `/`.
    #[error("a name may not have {character:?} (at byte {at})")]
    Forbidden {
        /// The character.
        character: char,
        /// Its offset in bytes.
        at: usize,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { len: text.len() });
    }
    match text
        .char_indices()
        .find(|(_, c)| c.is_control() || *c == '/')
    {
        Some((at, character)) => Err(NameError::Forbidden { character, at }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 255 bytes of UTF-8 without control characters and without `/`. Cloning costs one reference count.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes the name.
            ///
            /// # Errors
            /// [`NameError`] says which rule the text breaks, and where.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

name! {
    /// The name of an application: the first part of a stream's address, with settings of its own.
    AppName
}
name! {
    /// The name of a stream within its application.
    StreamId
}

/// Which stream: an application and a stream id. Shown as `app/stream`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The application.
    pub app: AppName,
    /// The stream within it.
    pub stream_id: StreamId,
}

impl StreamKey {
    /// Joins two names that are already valid.
    #[must_use]
    pub fn new(app: AppName, stream_id: StreamId) -> Self {
        Self { app, stream_id }
    }

    /// Checks both parts and makes the key.
    ///
    /// # Errors
    /// [`NameError`] of the first part that is not a name.
    pub fn parse(app: &str, stream_id: &str) -> Result<Self, NameError> {
        Ok(Self {
            app: AppName::new(app)?,
            stream_id: StreamId::new(stream_id)?,
        })
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.stream_id)
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for StreamKey {
    type Err = NameError;

    /// Parses `app/stream`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (app, stream_id) = text.split_once('/').ok_or(NameError::Empty)?;
        Self::parse(app, stream_id)
    }
}

/// One publish or one play, from attempt to terminal event. A UUID of version 7 (RFC 9562), so it sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id for a session that begins at `unix_ms` milliseconds since 1970.
    #[must_use]
    pub fn at(unix_ms: u64) -> Self {
        // `Uuid::now_v7` takes a process-wide lock; random bits within a millisecond are enough for a name.
        let mut random = [0u8; 10];
        random.copy_from_slice(&Uuid::new_v4().as_bytes()[6..]);
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// The session with this UUID.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// As a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_when_made() {
        assert_eq!(AppName::new(""), Err(NameError::Empty));
        assert_eq!(
            StreamId::new("a".repeat(256)),
            Err(NameError::TooLong { len: 256 })
        );
        assert_eq!(
            StreamId::new("a/b"),
            Err(NameError::Forbidden {
                character: '/',
                at: 1
            })
        );
        assert_eq!(
            StreamId::new("a\tb"),
            Err(NameError::Forbidden {
                character: '\t',
                at: 1
            })
        );
        assert_eq!(StreamId::new("å".repeat(127)).unwrap().as_str().len(), 254);
        assert_eq!(
            "live/cam".parse::<StreamKey>().unwrap().to_string(),
            "live/cam"
        );
        assert!("live".parse::<StreamKey>().is_err());
        assert!("live/a/b".parse::<StreamKey>().is_err());
    }

    #[test]
    fn session_ids_are_version_7_sort_by_time_and_differ() {
        let (a, b, c) = (
            SessionId::at(1_000),
            SessionId::at(1_000),
            SessionId::at(1_001),
        );
        assert_eq!(a.as_uuid().get_version_num(), 7);
        assert_ne!(a, b);
        assert!(a < c && b < c);
        assert_eq!(a.to_string().parse::<SessionId>().unwrap(), a);
    }
}
