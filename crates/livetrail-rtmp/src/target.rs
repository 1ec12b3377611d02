//! Stream names and addresses, and the secrets that are hidden in them.

use std::fmt;

use livetrail_engine::{Credentials, Secret};

use crate::error::{Error, Result};

/// RTMP's registered port.
pub const DEFAULT_PORT: u16 = 1935;

/// An address: `rtmp://host[:port]/app/stream[?token=…]`. Shown without its token.
///
/// The application is the first part of the path, so that it agrees with what a server makes of it; the stream is the rest.
#[derive(Clone)]
pub struct RtmpUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// The port; 1935 unless given.
    pub port: u16,
    /// The application.
    pub app: String,
    /// The stream, without its query.
    pub stream: String,
    /// What follows `?`, whole: it may hold a token.
    query: Option<Secret>,
}

impl RtmpUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// [`Error::Url`] says what is wrong; it repeats the address without what follows `?`.
    pub fn parse(url: &str) -> Result<Self> {
        let (path, query) = split_query(url);
        let wrong = |detail| Error::Url {
            url: path.to_owned(),
            detail,
        };
        let rest = path
            .strip_prefix("rtmp://")
            .ok_or_else(|| wrong("it must begin with rtmp://"))?;
        if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("it has white space or control characters"));
        }
        let (authority, path) = rest
            .split_once('/')
            .ok_or_else(|| wrong("no application and stream"))?;
        let (host, port) =
            split_port(authority).ok_or_else(|| wrong("the port is not a number up to 65535"))?;
        if host.is_empty() {
            return Err(wrong("no host"));
        }
        let (app, stream) = path
            .split_once('/')
            .ok_or_else(|| wrong("no stream after the application"))?;
        if app.is_empty() || stream.is_empty() {
            return Err(wrong("no stream after the application"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            app: app.to_owned(),
            stream: stream.to_owned(),
            query: query.map(Secret::new),
        })
    }

    /// The same address with a token, in place of any that it had.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.query = Some(Secret::new(format!("token={token}")));
        self
    }

    /// What `connect` calls `tcUrl`.
    pub(crate) fn tc_url(&self) -> String {
        format!("rtmp://{}/{}", self.authority(), self.app)
    }

    /// What `publish` and `play` call the stream: with its query, since that is where servers look for a token.
    pub(crate) fn stream_name(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{}", self.stream, query.expose()),
            None => self.stream.clone(),
        }
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == DEFAULT_PORT {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rtmp://{}/{}/{}",
            self.authority(),
            self.app,
            self.stream
        )?;
        if self.query.is_some() {
            f.write_str("?…")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::str::FromStr for RtmpUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        Self::parse(url)
    }
}

fn split_port(authority: &str) -> Option<(&str, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None => rest.is_empty().then_some((host, DEFAULT_PORT)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((authority, DEFAULT_PORT)),
    }
}

/// The application that a `connect` names: the first part of its path, without its query. Encoders add an instance, or a slash.
pub(crate) fn app_name(app: &str) -> &str {
    let (path, _) = split_query(app);
    path.split('/')
        .find(|part| !part.is_empty())
        .unwrap_or_default()
}

/// The stream that a `publish` or `play` names, without its query and without the prefix of a file format.
pub(crate) fn stream_name(name: &str) -> &str {
    let (path, _) = split_query(name);
    let path = path.trim_matches('/');
    ["flv:", "mp4:", "live:"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .unwrap_or(path)
}

/// The token, from wherever the client has put it: the stream's query, the application's, that of `tcUrl`.
pub(crate) fn credentials<'a>(places: impl IntoIterator<Item = &'a str>) -> Credentials {
    let token = places.into_iter().find_map(|place| {
        let (_, query) = split_query(place);
        query?
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))
            .filter(|token| !token.is_empty())
    });
    token.map_or_else(Credentials::none, |token| {
        Credentials::token(percent_decode(token))
    })
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// `%41` becomes `A`; what is not a valid escape, or would not be UTF-8, stays as it is.
fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escape = match after {
            [high, low, ..] if *byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push((high << 4) | low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::{RtmpUrl, app_name, credentials, stream_name};

    #[test]
    fn an_address_is_taken_apart_and_shown_without_its_token() {
        let url = RtmpUrl::parse("rtmp://host:1936/live/cam/1?token=hunter2").unwrap();
        assert_eq!(
            (
                url.host.as_str(),
                url.port,
                url.app.as_str(),
                url.stream.as_str()
            ),
            ("host", 1936, "live", "cam/1")
        );
        assert_eq!(url.stream_name(), "cam/1?token=hunter2");
        assert_eq!(url.tc_url(), "rtmp://host:1936/live");
        assert_eq!(
            format!("{url} {url:?}"),
            "rtmp://host:1936/live/cam/1?… \"rtmp://host:1936/live/cam/1?…\""
        );
        let v6 = RtmpUrl::parse("rtmp://[::1]/live/cam").unwrap();
        assert_eq!(
            (v6.host.as_str(), v6.port, v6.tc_url().as_str()),
            ("::1", 1935, "rtmp://[::1]/live")
        );
    }

    #[test]
    fn what_is_not_an_address_is_refused_without_showing_the_token() {
        for (url, why) in [
            ("http://host/live/cam?token=hunter2", "begin with rtmp://"),
            ("rtmp://host", "no application"),
            ("rtmp://host/live", "no stream"),
            ("rtmp://host/live/?token=hunter2", "no stream"),
            ("rtmp:///live/cam", "no host"),
            ("rtmp://host:99999/live/cam", "port"),
            ("rtmp://host/live/a b", "white space"),
        ] {
            let error = RtmpUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn applications_and_streams_lose_what_encoders_add() {
        assert_eq!(app_name("live/"), "live");
        assert_eq!(app_name("live/_definst_"), "live");
        assert_eq!(app_name("/live?token=x"), "live");
        assert_eq!(app_name(""), "");
        assert_eq!(stream_name("cam?token=x"), "cam");
        assert_eq!(stream_name("mp4:cam"), "cam");
        assert_eq!(stream_name("/cam/"), "cam");
        assert_eq!(stream_name("a/b"), "a/b");
    }

    #[test]
    fn the_first_place_with_a_token_counts() {
        let token = |places: &[&str]| {
            credentials(places.iter().copied())
                .token
                .map(|t| t.expose().to_owned())
        };
        assert_eq!(
            token(&["cam?a=1&token=x%2By", "live?token=z"]).as_deref(),
            Some("x+y")
        );
        assert_eq!(token(&["cam", "live?token=z", ""]).as_deref(), Some("z"));
        assert_eq!(token(&["cam?token=", "live?nottoken=z"]), None);
        assert_eq!(token(&["cam?token=%zz%f"]).as_deref(), Some("%zz%f"));
    }
}
