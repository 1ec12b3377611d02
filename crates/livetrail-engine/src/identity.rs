//! Names of applications, streams and sessions. Each is validated once, when it is made: later code
//! need not check it.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

/// The maximum length of an application name or stream id, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The instance name that means no instance: `live/_definst_/cam` is `live/cam`.
const DEFAULT_INSTANCE: &str = "_definst_";

/// Why a text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("a name must have at least one byte")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} bytes, this one has {len}")]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// A character that is not allowed in a name: a control character, one that is invisible or
    /// changes the direction of text, one that Unicode has not assigned, or an extra `/`.
    #[error("a name may not have {character:?} (at byte {at})")]
    Forbidden {
        /// The character.
        character: char,
        /// Its offset in bytes.
        at: usize,
    },
    /// The text begins or ends with white space.
    #[error("a name may not begin or end with white space")]
    OuterSpace,
    /// The text is `.` or `..`.
    #[error("`.` and `..` are not names")]
    Dots,
}

/// Checks one part of an address: an application, an instance, or a stream.
fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { len: text.len() });
    }
    if let Some((at, character)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        return Err(NameError::Forbidden { character, at });
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(NameError::OuterSpace);
    }
    if text == "." || text == ".." {
        return Err(NameError::Dots);
    }
    Ok(())
}

/// Whether a name may contain this character.
fn is_allowed(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control() && c != '/';
    }
    is_visible(c) && c != char::REPLACEMENT_CHARACTER
}

/// Whether a reader of a text sees this character: it is assigned, neither a control nor a format
/// character (such as those that change the direction of text), and not drawn as nothing. Spaces
/// are visible, line ends are not.
#[must_use]
pub fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !(is_drawn_as_nothing(c) || is_line_end(c)) && (c.is_whitespace() || is_printable(c))
}

fn is_line_end(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The characters of Unicode's `Default_Ignorable_Code_Point` that are not format characters.
fn is_drawn_as_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether the standard library's table of printable characters contains it. The table excludes
/// `Cc`, `Cf`, `Cs`, `Co`, `Cn`, `Zl`, `Zp` and spaces. A letter comes first, so that only that
/// table judges a combining mark.
fn is_printable(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let length = c.encode_utf8(&mut buffer[1..]).len() + 1;
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(c)
}

/// Turns any bytes into a name: each invalid byte or character becomes `_`, a text that is too long
/// is cut, and an empty text becomes `-`.
fn sanitize(text: &str, max_bytes: usize) -> String {
    let allowed = |c: char| if is_allowed(c) { c } else { '_' };
    let mut clean: String = text.chars().map(allowed).collect();
    clean.truncate(clean.floor_char_boundary(max_bytes.min(MAX_NAME_BYTES)));
    if clean.starts_with(char::is_whitespace) || clean.ends_with(char::is_whitespace) {
        let inner = clean.trim();
        let (left, right) = (
            clean.starts_with(char::is_whitespace),
            clean.ends_with(char::is_whitespace),
        );
        // White space has at least one byte, so the result is not longer than the text was.
        clean = match (left, right) {
            _ if inner.is_empty() => "_".to_owned(),
            (true, true) => format!("_{inner}_"),
            (true, false) => format!("_{inner}"),
            _ => format!("{inner}_"),
        };
    }
    match clean.as_str() {
        "" => "-".to_owned(),
        "." => "_".to_owned(),
        ".." => "__".to_owned(),
        _ => clean,
    }
}

/// How many bytes of a name are read when it is made valid: enough for the kept length in any
/// encoding.
const SANITIZED_BYTES: usize = 4 * MAX_NAME_BYTES;

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes.get(..SANITIZED_BYTES).unwrap_or(bytes))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        ///
        /// Cloning costs one reference count.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes the name.
            ///
            /// # Errors
            /// [`NameError`] with the rule that the text breaks, and where.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                let check: fn(&str) -> Result<&str, NameError> = $check;
                Ok(Self(check(text)?.into()))
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
    /// The name of an application: the first part of a stream's address, with its own settings.
    ///
    /// 1 to 255 bytes of UTF-8. It contains no `/`, no control characters, and no characters that
    /// are invisible or change the direction of text. It has no white space at its ends, and is
    /// neither `.` nor `..`.
    AppName,
    |text| check(text).map(|()| text)
}
name! {
    /// A stream within its application: a name, or an instance and a name, as in `tenant/cam`.
    ///
    /// At most 255 bytes. Both parts follow the rules of an [`AppName`]. An instance that is empty
    /// or `_definst_` means no instance: `_definst_/cam` and `/cam` are `cam`.
    StreamId,
    check_stream
}

fn check_stream(text: &str) -> Result<&str, NameError> {
    let Some((instance, name)) = text.split_once('/') else {
        return check(text).map(|()| text);
    };
    if let Some(at) = name.find('/') {
        return Err(NameError::Forbidden {
            character: '/',
            at: instance.len() + 1 + at,
        });
    }
    if instance.is_empty() || instance == DEFAULT_INSTANCE {
        return check(name).map(|()| name);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { len: text.len() });
    }
    check(instance)?;
    check(name)?;
    Ok(text)
}

impl StreamId {
    /// An instance of the application, if there is one, and a name: `tenant` and `cam` are
    /// `tenant/cam`.
    ///
    /// # Errors
    /// [`NameError`] with the rule that a part breaks, and where.
    pub fn of(instance: Option<&str>, name: &str) -> Result<Self, NameError> {
        match instance {
            Some(instance) => Self::new(format!("{instance}/{name}")),
            None => Self::new(name),
        }
    }

    /// The instance of the application: `tenant` of `tenant/cam`; `None` of `cam`.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.0.split_once('/').map(|(instance, _)| instance)
    }

    /// The name without the instance: `cam` of `tenant/cam`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

/// The key of a stream: an application and a stream id. Displayed as `app/stream`.
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

    /// A key that represents any two names, however invalid: for the record of an attempt that
    /// could not be made. Characters that are not allowed become `_`, long names are cut, and an
    /// empty name becomes `-`. If a stream contains several `/`, the last one separates its
    /// instance.
    #[must_use]
    pub fn sanitized(app: &[u8], stream: &[u8]) -> Self {
        let (app, stream) = (lossy(app), lossy(stream));
        let stream = match stream.rsplit_once('/') {
            None | Some(("" | DEFAULT_INSTANCE, _)) => {
                let name = stream.rsplit_once('/').map_or(&*stream, |(_, name)| name);
                sanitize(name, MAX_NAME_BYTES)
            }
            Some((instance, name)) => {
                let name = sanitize(name, MAX_NAME_BYTES / 2);
                let instance = sanitize(instance, MAX_NAME_BYTES - 1 - name.len());
                match instance.as_str() {
                    DEFAULT_INSTANCE => name,
                    instance => format!("{instance}/{name}"),
                }
            }
        };
        Self {
            app: AppName(sanitize(&app, MAX_NAME_BYTES).into()),
            stream_id: StreamId(stream.into()),
        }
    }

    /// Checks both parts and makes the key.
    ///
    /// # Errors
    /// [`NameError`] of the first invalid part.
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

    /// Parses `app/stream` or `app/instance/stream`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (app, stream_id) = text.split_once('/').ok_or(NameError::Empty)?;
        Self::parse(app, stream_id)
    }
}

/// The id of one publish or one play, from attempt to terminal event. It is a UUID of version 7
/// (RFC 9562), so it sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id for a session that begins at `unix_ms` milliseconds since 1970.
    #[must_use]
    pub fn at(unix_ms: u64) -> Self {
        // `Uuid::now_v7` takes a process-wide lock. Random bits within a millisecond are enough for
        // a name.
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
        for (text, at) in [("a/b", 1), ("/", 0)] {
            let character = '/';
            assert_eq!(
                AppName::new(text),
                Err(NameError::Forbidden { character, at })
            );
        }
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
        assert!("live/a/b/c".parse::<StreamKey>().is_err());
    }

    #[test]
    fn a_stream_may_have_an_instance() {
        let key: StreamKey = "live/tenant/cam".parse().unwrap();
        let stream = &key.stream_id;
        assert_eq!((key.app.as_str(), stream.as_str()), ("live", "tenant/cam"));
        assert_eq!((stream.instance(), stream.name()), (Some("tenant"), "cam"));
        assert_eq!(StreamId::of(Some("tenant"), "cam").as_ref(), Ok(stream));
        for text in ["cam", "_definst_/cam", "/cam"] {
            let stream = StreamId::new(text).unwrap();
            assert_eq!(
                (stream.as_str(), stream.instance()),
                ("cam", None),
                "{text}"
            );
            assert_eq!(stream.name(), "cam");
        }
        for text in ["a/b/c", "a/", "/", "../cam", "a/..", " a/cam", "a/cam "] {
            assert!(StreamId::new(text).is_err(), "{text}");
        }
        let half = "x".repeat(127);
        assert!(StreamId::of(Some(&half), &half).is_ok());
        assert_eq!(
            StreamId::of(Some(&half), &format!("{half}yy")),
            Err(NameError::TooLong { len: 257 })
        );
    }

    #[test]
    fn nobody_can_hide_anything_in_a_name() {
        for c in [
            '\u{0}',
            '\u{1b}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2029}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{378}',
            '\u{ffff}',
            '\u{e0041}',
            '\u{10fffd}',
        ] {
            let expected = Err(NameError::Forbidden {
                character: c,
                at: 1,
            });
            assert_eq!(AppName::new(format!("a{c}b")), expected, "{c:?}");
        }
        for text in [
            "日本　語",
            "Ünïcode",
            "a\u{308}",
            "नमस्ते",
            "cam 1",
            "a.b",
            "…",
            "😀",
            "a+b/c?".split('/').next().unwrap(),
        ] {
            assert_eq!(AppName::new(text).unwrap().as_str(), text);
        }
        for text in [" a", "a ", "\u{3000}a", "a\u{a0}"] {
            assert_eq!(AppName::new(text), Err(NameError::OuterSpace), "{text:?}");
        }
        assert_eq!(AppName::new("."), Err(NameError::Dots));
        assert_eq!(StreamId::new(".."), Err(NameError::Dots));
    }

    #[test]
    fn what_is_not_a_name_is_made_one() {
        let text = |app: &[u8], stream: &[u8]| StreamKey::sanitized(app, stream).to_string();
        assert_eq!(text(b"live", b"cam"), "live/cam");
        assert_eq!(text(b"", b""), "-/-");
        assert_eq!(text(b"a/b", b"t/x/cam"), "a_b/t_x/cam");
        assert_eq!(text(b"..", b"_definst_/."), "__/_");
        assert_eq!(
            text(b" a ", "g\u{202e}pj\u{ff}".as_bytes()),
            "_a_/g_pj\u{ff}"
        );
        assert_eq!(text(b"\xff\xfe", b"a\nb"), "__/a_b");
        assert_eq!(text(b"live", &[b'x'; 70_000]).len(), 5 + 255);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_a_valid_key(app: Vec<u8>, stream: Vec<u8>, pad in 0..600usize) {
            let stream = [&stream[..], &b"\xc3\xa9/ "[..], &vec![b' '; pad], &stream].concat();
            let key = StreamKey::sanitized(&app, &stream);
            let parsed = StreamKey::parse(key.app.as_str(), key.stream_id.as_str());
            proptest::prop_assert_eq!(parsed, Ok(key));
        }
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
