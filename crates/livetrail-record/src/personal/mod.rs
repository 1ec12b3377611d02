//! Personal data: the type that marks it, and the commitments that prove it later.
//!
//! | what | where |
//! |---|---|
//! | [`Personal`], a text that its type marks | here |
//! | [`Opening`]: a session's personal fields with their salt, kept outside the log | `opening.rs` |
//! | [the commitment](Opening::commitment) that the log has in their place | `commitment.rs` |
//! | [`Disclosure`]: one field of an opening, with its proof | `disclosure.rs` |
//! | [`name_token`]: the token in place of a personal name | `token.rs` |

use std::fmt;

mod commitment;
mod disclosure;
mod error;
mod json;
mod opening;
mod token;

pub use commitment::{digest_from_base64, digest_to_base64, session_of};
pub use disclosure::Disclosure;
pub use error::PersonalError;
pub use opening::{
    MAX_FIELD_NAME_BYTES, MAX_OPENING_BYTES, MAX_OPENING_FIELDS, MAX_VALUE_BYTES, Opening,
    PERSONAL_FIELDS,
};
pub use token::{NAME_TOKEN_BYTES, name_token};

/// The text that replaces personal data.
pub const REDACTED: &str = "[redacted]";

/// Text that may identify a person: a name, an address, a program, or free text.
///
/// The type keeps it out of logs: `Debug` never shows the text, and there is no `Display`. Code
/// that needs the text calls [`expose`](Self::expose). Code that must remove it calls
/// [`redacted`](Self::redacted), or [`AuditRecord::redacted`](crate::AuditRecord::redacted) for a
/// whole record.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Personal(String);

impl Personal {
    /// Marks `text` as personal data.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a trail or for a person who may see it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Consumes the value and returns the text.
    #[must_use]
    pub fn into_exposed(self) -> String {
        self.0
    }

    /// The value that remains when the person's data is removed: [`REDACTED`].
    #[must_use]
    pub fn redacted() -> Self {
        Self(REDACTED.to_owned())
    }

    /// Whether the text was replaced already.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.0 == REDACTED
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(..)")
    }
}

impl From<String> for Personal {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Personal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<std::net::SocketAddr> for Personal {
    fn from(address: std::net::SocketAddr) -> Self {
        let std::net::SocketAddr::V4(v4) = address else {
            return Self(address.to_string());
        };
        // The records of each session have one, and the standard formatter took a seventh of all
        // instructions of a record.
        let mut text = String::with_capacity(MAX_V4_BYTES);
        for (octet, end) in v4.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
            text.push_str(itoa::Buffer::new().format(octet));
            text.push(end);
        }
        text.push_str(itoa::Buffer::new().format(v4.port()));
        Self(text)
    }
}

/// The length of the longest IPv4 address with a port.
const MAX_V4_BYTES: usize = "255.255.255.255:65535".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_spelled_as_everywhere() {
        for octet in 0..=u8::MAX {
            let ip = [octet, 0, octet.wrapping_mul(7), 255 - octet];
            let address = std::net::SocketAddr::from((ip, u16::from(octet) * 257));
            let text = Personal::from(address);
            assert_eq!(text.expose(), address.to_string());
            assert!(text.expose().len() <= MAX_V4_BYTES);
        }
        let v6: std::net::SocketAddr = "[2001:db8::1]:1935".parse().unwrap();
        assert_eq!(Personal::from(v6).expose(), "[2001:db8::1]:1935");
    }

    #[test]
    fn debug_never_shows_the_text() {
        let who = Personal::from("alice@example.org");
        assert!(!format!("{who:?}").contains("alice"));
        assert_eq!(who.expose(), "alice@example.org");
    }

    #[test]
    fn redaction_leaves_nothing_of_the_text() {
        let gone = Personal::redacted();
        assert!(gone.is_redacted());
        assert_eq!(gone.expose(), REDACTED);
    }
}
