//! The addresses of streams.

use std::fmt;

use anyhow::{Context, bail};
use hyper::Uri;
use livetrail_rtmp::RtmpUrl;

/// An address to play from. It is shown without its token.
#[derive(Debug, Clone)]
pub(crate) enum PlayAddress {
    Rtmp(RtmpUrl),
    Http(HttpUrl),
}

/// `http://HOST[:PORT]/APP/STREAM.flv`, or the same with `https://`.
#[derive(Clone)]
pub(crate) struct HttpUrl {
    pub(super) host: String,
    pub(super) port: u16,
    tls: bool,
    /// The target of the request line, with the query.
    pub(super) target: String,
    /// The value of `Host`.
    pub(super) authority: String,
    pub(super) token: Option<String>,
}

impl PlayAddress {
    /// Parses an address. The server gets `token` instead of the token in the address.
    pub(crate) fn parse(url: &str, token: Option<&str>) -> anyhow::Result<Self> {
        if url.starts_with("http://") || url.starts_with("https://") {
            return Ok(Self::Http(HttpUrl::parse(url, token)?));
        }
        if !url.starts_with("rtmp://") && !url.starts_with("rtmps://") {
            bail!("an address begins with rtmp://, rtmps://, http:// or https://");
        }
        let url = RtmpUrl::parse(url)?;
        Ok(Self::Rtmp(match token {
            Some(token) => url.with_token(token),
            None => url,
        }))
    }
}

impl PlayAddress {
    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Rtmp(url) => url.tls,
            Self::Http(url) => url.tls,
        }
    }
}

impl HttpUrl {
    fn parse(url: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().context("not an HTTP address")?;
        let tls = uri.scheme_str() == Some("https");
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .context("no host in the address")?;
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
            target: target.to_owned(),
            authority: authority.rsplit('@').next().unwrap_or_default().to_owned(),
            token: token.map(str::to_owned),
        })
    }
}

impl fmt::Display for PlayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtmp(url) => url.fmt(f),
            Self::Http(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = match self.target.split_once('?') {
            Some((path, _)) => (path, "?…"),
            None => (self.target.as_str(), ""),
        };
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{path}{query}", self.authority)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_their_tokens() {
        for (url, shown) in [
            ("rtmp://h/live/cam?token=hunter2", "rtmp://h/live/cam?…"),
            (
                "https://h/live/cam.flv?token=hunter2",
                "https://h/live/cam.flv?…",
            ),
            (
                "http://h:8080/live/cam.flv?token=hunter2",
                "http://h:8080/live/cam.flv?…",
            ),
            (
                "http://me:hunter2@[::1]/live/cam.flv",
                "http://[::1]/live/cam.flv",
            ),
        ] {
            let address = PlayAddress::parse(url, Some("hunter2")).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("hunter2"));
        }
        for wrong in ["httpss://h/a/b.flv", "h/a/b", "http://", "rtmp://h/live"] {
            assert!(PlayAddress::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
