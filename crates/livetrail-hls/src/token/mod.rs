//! Sealed tokens: what a viewer's addresses carry instead of an identity that anyone can read.
//!
//! ```text
//! token      base64url( version u8 │ key id [4] │ nonce [24] │ sealed claims │ tag [16] )
//! sealed by  XChaCha20-Poly1305; version and key id are authenticated too
//! nonce      HMAC-SHA-256(nonce key, claims)[0..24]: equal claims give equal tokens
//! ```
//!
//! The claims are padded, so a token has one of five lengths, mostly 160 characters. A token is
//! self-contained: every server with the key can open it. It names its stream by a hash, so names
//! of any length fit.

mod keys;
mod layout;

use std::{fmt, sync::Arc};

pub use keys::{Key, KeyId, Keys, KeysError};

/// The maximum number of characters of a token.
pub const MAX_TOKEN_LEN: usize = 600;

/// Whether a part of a text could be a sealed token: by its length, its characters, and how the
/// first two show its version. For those who keep tokens out of what they record.
#[must_use]
pub fn is_in(text: &str) -> bool {
    let is_of_tokens = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut runs = text.as_bytes().split(|byte| !is_of_tokens(byte));
    runs.any(|run| {
        let could_begin = |window: &[u8]| matches!(window, [b'A', b'Q'..=b'Z' | b'a'..=b'f', ..]);
        run.windows(layout::MIN_CHARACTERS).any(could_begin)
    })
}

/// What a token is for. One kind never opens as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// In the addresses of a viewer's playlists and media. It opens a session.
    Viewing,
    /// In a link that somebody passes on. It opens no session: it is exchanged for a token of the
    /// other kind, one for each viewer.
    Share,
}

/// What a token states. `Debug` shows neither principal nor limits.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// The token's own id: a UUID of version 7.
    pub id: [u8; 16],
    /// The application.
    pub application: Arc<str>,
    /// The stream in it, with its instance if it has one.
    pub stream: Arc<str>,
    /// When the token expires, in milliseconds since 1970 (UTC). At this time it is refused.
    pub expires_unix_ms: u64,
    /// Who was admitted, if that is known: at most 255 bytes.
    pub principal: Option<Arc<str>>,
    /// The name of the server that sealed it: at most 64 bytes.
    pub node: Arc<str>,
    /// The id of the share link that it was exchanged for.
    pub share: Option<[u8; 16]>,
    /// Whether a session ends when the token expires. Otherwise an open session continues, and the
    /// expiry only says until when the token opens another one.
    pub ends_at_expiry: bool,
    /// The maximum number of sessions at once with this principal.
    pub max_sessions: Option<u32>,
    /// How much the viewer may be sent, in bits per second.
    pub viewer_bits_per_second: Option<u64>,
}

impl Claims {
    /// Claims without a principal, a node, a share link or limits.
    #[must_use]
    pub fn new(
        id: [u8; 16],
        application: impl Into<Arc<str>>,
        stream: impl Into<Arc<str>>,
        expires_unix_ms: u64,
    ) -> Self {
        Self {
            id,
            application: application.into(),
            stream: stream.into(),
            expires_unix_ms,
            principal: None,
            node: Arc::default(),
            share: None,
            ends_at_expiry: false,
            max_sessions: None,
            viewer_bits_per_second: None,
        }
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("id", &keys::hex(&self.id))
            .field("application", &self.application)
            .field("stream", &self.stream)
            .field("expires_unix_ms", &self.expires_unix_ms)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Why a token cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The principal has more than 255 bytes.
    #[error("the principal has {len} bytes; a token has room for 255")]
    LongPrincipal {
        /// Its length in bytes.
        len: usize,
    },
    /// The node's name has more than 64 bytes.
    #[error("the node's name has {len} bytes; a token has room for 64")]
    LongNode {
        /// Its length in bytes.
        len: usize,
    },
    /// The cipher refused. It has no reason to for claims of this size.
    #[error("the cipher refused the claims")]
    Cipher,
}

/// Why a token is refused. No error contains any of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It has not the length or the characters of a token.
    #[error("it is not a token")]
    Malformed,
    /// Another version of this program sealed it.
    #[error("the token has version {version}; this server reads version 1")]
    Version {
        /// The version.
        version: u8,
    },
    /// None of the keys has its key's id: the key was removed, or belongs to another installation.
    #[error("the token was sealed with the key {key}, which this server does not have")]
    UnknownKey {
        /// The key's id.
        key: KeyId,
    },
    /// Nobody with the key sealed exactly this.
    #[error("the token is forged or damaged")]
    Forged,
    /// It is of the other kind.
    #[error("the token is of another kind: {}", .found.label())]
    OtherKind {
        /// Its kind.
        found: Kind,
    },
    /// It admits to another stream.
    #[error("the token is for another stream")]
    OtherStream,
    /// It was valid.
    #[error("the token expired {ago_ms} ms ago")]
    Expired {
        /// For how long it has been invalid, in milliseconds.
        ago_ms: u64,
        /// Its id, to find out what became of it.
        id: [u8; 16],
    },
}

impl TokenError {
    /// The reason in one word: `malformed`, `version`, `unknown_key`, `forged`, `other_kind`,
    /// `other_stream` or `expired`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version { .. } => "version",
            Self::UnknownKey { .. } => "unknown_key",
            Self::Forged => "forged",
            Self::OtherKind { .. } => "other_kind",
            Self::OtherStream => "other_stream",
            Self::Expired { .. } => "expired",
        }
    }
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Viewing => "a viewer's",
            Self::Share => "a share link's",
        }
    }
}
