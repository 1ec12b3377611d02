//! The names of playlists, segments, parts and init segments.
//!
//! ```text
//! video.m3u8  v0.init.mp4  v17.m4s  v17.3.m4s     video
//! audio.m3u8  a0.init.mp4  a17.m4s  a17.3.m4s     audio
//! main.m3u8                m17.ts   m17.3.ts      both tracks, MPEG-TS
//! ```

use std::fmt;

use livetrail_segment::Rendition;

/// The longest name that is read.
const MAX_LEN: usize = 64;

/// What a name stands for. Displayed as the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A media playlist.
    Playlist(Rendition),
    /// An init segment, by its number.
    Init(Rendition, u64),
    /// A segment, by its media sequence number.
    Segment(Rendition, u64),
    /// A part, by its segment's number and its position.
    Part(Rendition, u64, u32),
}

impl Resource {
    /// Reads a name. `None` for anything that [`Playlists`](crate::Playlists) never writes: numbers
    /// have no leading zeros.
    ///
    /// ```
    /// use livetrail_hls::Resource;
    /// use livetrail_segment::Rendition;
    ///
    /// let part = Resource::parse("v17.3.m4s");
    /// assert_eq!(part, Some(Resource::Part(Rendition::Video, 17, 3)));
    /// assert_eq!(Resource::parse("v017.m4s"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name.len() > MAX_LEN {
            return None;
        }
        let found = Self::read(name)?;
        // One name for each resource: caches keep no second copy.
        (found.to_string() == name).then_some(found)
    }

    fn read(name: &str) -> Option<Self> {
        for rendition in [Rendition::Video, Rendition::Audio, Rendition::Muxed] {
            if name.strip_suffix(".m3u8") == Some(playlist(rendition)) {
                return Some(Self::Playlist(rendition));
            }
        }
        let rendition = match name.as_bytes().first()? {
            b'v' => Rendition::Video,
            b'a' => Rendition::Audio,
            b'm' => Rendition::Muxed,
            _ => return None,
        };
        let rest = name.get(1..)?;
        if let Some(number) = rest.strip_suffix(".init.mp4") {
            return Some(Self::Init(rendition, number.parse().ok()?));
        }
        let rest = rest.strip_suffix(extension(rendition))?;
        match rest.split_once('.') {
            None => Some(Self::Segment(rendition, rest.parse().ok()?)),
            Some((number, index)) => {
                let (number, index) = (number.parse().ok()?, index.parse().ok()?);
                Some(Self::Part(rendition, number, index))
            }
        }
    }

    /// The media type, for `Content-Type` (sections 4 and 9).
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Playlist(_) => "application/vnd.apple.mpegurl",
            Self::Segment(Rendition::Muxed, _) | Self::Part(Rendition::Muxed, ..) => "video/mp2t",
            Self::Init(Rendition::Audio, _)
            | Self::Segment(Rendition::Audio, _)
            | Self::Part(Rendition::Audio, ..) => "audio/mp4",
            Self::Init(..) | Self::Segment(..) | Self::Part(..) => "video/mp4",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Playlist(rendition) => write!(f, "{}.m3u8", playlist(rendition)),
            Self::Init(rendition, number) => {
                write!(f, "{}{number}.init.mp4", letter(rendition))
            }
            Self::Segment(rendition, number) => {
                write!(f, "{}{number}{}", letter(rendition), extension(rendition))
            }
            Self::Part(rendition, number, index) => {
                let (letter, extension) = (letter(rendition), extension(rendition));
                write!(f, "{letter}{number}.{index}{extension}")
            }
        }
    }
}

fn playlist(rendition: Rendition) -> &'static str {
    match rendition {
        Rendition::Video => "video",
        Rendition::Audio => "audio",
        Rendition::Muxed => "main",
    }
}

fn letter(rendition: Rendition) -> char {
    match rendition {
        Rendition::Video => 'v',
        Rendition::Audio => 'a',
        Rendition::Muxed => 'm',
    }
}

fn extension(rendition: Rendition) -> &'static str {
    match rendition {
        Rendition::Video | Rendition::Audio => ".m4s",
        Rendition::Muxed => ".ts",
    }
}
