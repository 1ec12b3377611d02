//! The paths of HLS.

use livetrail_hls::Resource;

use super::{
    path::{self, Named},
    request::Wanted,
};

/// The end of the path of an entry.
const ENTRY: &[u8] = b"/index.m3u8";

/// What a request asks of HLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// The multivariant playlist, with the client's credentials.
    ///
    /// ```text
    /// /live/cam/index.m3u8?token=…    /live/tenantA/cam/index.m3u8
    /// ```
    Entry(Wanted),
    /// What a multivariant playlist leads to.
    ///
    /// ```text
    /// /live/cam/s/TOKEN/video.m3u8    /live/cam/s/TOKEN/v17.3.m4s
    /// ```
    Media {
        named: Named,
        token: &'a str,
        resource: Resource,
    },
    /// A segment, a part or an init segment, by anyone who knows the secret of its stream, such as
    /// a cache.
    ///
    /// ```text
    /// /live/cam/m/SECRET/v17.3.m4s
    /// ```
    Shared {
        named: Named,
        secret: &'a str,
        resource: Resource,
    },
}

impl<'a> Asked<'a> {
    /// `None` for a path that is not one of HLS.
    pub(crate) fn read(
        path: &'a str,
        query: Option<&str>,
        authorization: Option<&str>,
    ) -> Option<Self> {
        let mut parts = path.rsplitn(4, '/');
        if let (Some(name), Some(secret), Some(kind @ ("s" | "m")), Some(stream)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
            && let Some(resource) = Resource::parse(name)
            && let Some(named) = path::named(stream, b"")
        {
            match resource {
                _ if kind == "s" => {
                    return Some(Self::Media {
                        named,
                        token: secret,
                        resource,
                    });
                }
                // Playlists are for viewers.
                Resource::Playlist(_) => {}
                _ => {
                    return Some(Self::Shared {
                        named,
                        secret,
                        resource,
                    });
                }
            }
        }
        let named = path::named(path, ENTRY)?;
        Some(Self::Entry(Wanted::new(named, query, authorization)))
    }
}

#[cfg(test)]
mod tests {
    use livetrail_segment::Rendition;

    use super::*;

    fn stream(named: &Named) -> (&str, &str, bool) {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        (text(&named.app), text(&named.stream), named.is_valid)
    }

    #[test]
    fn an_entry_names_a_stream_and_may_have_credentials() {
        for (path, expected) in [
            ("/live/cam/index.m3u8", ("live", "cam", true)),
            ("/live/a/b/index.m3u8", ("live", "a/b", true)),
            ("/live/s/s/index.m3u8", ("live", "s/s", true)),
            ("/live/a%2Fb/index.m3u8", ("live", "a/b", false)),
        ] {
            let Some(Asked::Entry(wanted)) = Asked::read(path, Some("token=abc"), None) else {
                panic!("{path}");
            };
            assert_eq!(stream(&wanted.named), expected, "{path}");
            assert_eq!(wanted.token.as_deref(), Some("abc"));
        }
        for path in [
            "/live/index.m3u8",
            "/index.m3u8",
            "/live/cam.m3u8",
            "/live/cam",
            "",
        ] {
            assert_eq!(Asked::read(path, None, None), None, "{path}");
        }
    }

    #[test]
    fn what_follows_a_token_is_media() {
        let read = |path| match Asked::read(path, None, None) {
            Some(Asked::Media {
                named,
                token,
                resource,
            }) => {
                let (app, stream, is_valid) = stream(&named);
                assert!(is_valid);
                (format!("{app}/{stream}"), token, resource)
            }
            other => panic!("{path}: {other:?}"),
        };
        let playlist = Resource::Playlist(Rendition::Video);
        let cam = || "live/cam".to_owned();
        assert_eq!(read("/live/cam/s/T/video.m3u8"), (cam(), "T", playlist));
        let part = Resource::Part(Rendition::Video, 17, 3);
        let other = "live/x/s/y".to_owned();
        assert_eq!(read("/live/x/s/y/s/T/v17.3.m4s"), (other, "T", part));
        assert_eq!(read("/live/cam/s//video.m3u8"), (cam(), "", playlist));
        assert_eq!(Asked::read("/live/x/s/y/cam.flv", None, None), None);
    }

    #[test]
    fn what_follows_the_secret_of_a_stream_is_media_but_no_playlist() {
        let Some(Asked::Shared {
            named,
            secret,
            resource,
        }) = Asked::read("/live/a/b/m/S/a17.m4s", None, None)
        else {
            panic!("it is for a cache");
        };
        assert_eq!(stream(&named), ("live", "a/b", true));
        assert_eq!(secret, "S");
        assert_eq!(resource, Resource::Segment(Rendition::Audio, 17));
        assert_eq!(Asked::read("/live/a/m/S/audio.m3u8", None, None), None);
    }
}
