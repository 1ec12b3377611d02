//! What a host sets for the playlists of a stream.

use std::time::Duration;

/// Settings of [`Playlists`](crate::Playlists).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How much of the stream a playlist lists: 1 s to a day; by default 30 s. It is at least three
    /// target durations (RFC 8216bis section 6.2.2).
    pub window: Duration,
    /// The maximum size of the segments and init segments that a rendition keeps, in bytes: at
    /// least 1 MiB; by default 512 MiB. Beyond it the oldest are removed, even if a playlist lists
    /// them; the last segment is always kept.
    pub max_bytes: usize,
    /// Whether playlists have parts, preload hints and blocking reload; `true` by default.
    pub low_latency: bool,
    /// What precedes the names of segments, parts and init segments in a playlist: a relative path
    /// that ends in `/`, or nothing. Up to 512 visible ASCII characters without quotation marks; by
    /// default nothing, which is next to the playlist.
    pub media_prefix: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            max_bytes: 512 << 20,
            low_latency: true,
            media_prefix: String::new(),
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let day = Duration::from_secs(86_400);
        if self.window < Duration::from_secs(1) || self.window > day {
            return Err(OptionsError::Window);
        }
        if self.max_bytes < 1 << 20 {
            return Err(OptionsError::Bytes);
        }
        let prefix = self.media_prefix.as_bytes();
        let is_visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"';
        let ends_right = prefix.last().is_none_or(|last| *last == b'/');
        if prefix.len() > 512 || !prefix.iter().all(is_visible) || !ends_right {
            return Err(OptionsError::Prefix);
        }
        Ok(())
    }
}

/// An option outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// [`Options::window`].
    #[error("a playlist's window must be between 1 s and a day")]
    Window,
    /// [`Options::max_bytes`].
    #[error("the maximum size of all segments must be at least 1 MiB")]
    Bytes,
    /// [`Options::media_prefix`].
    #[error("the prefix of media must be up to 512 visible characters that end in `/`")]
    Prefix,
}
