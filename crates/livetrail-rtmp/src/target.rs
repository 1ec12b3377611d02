//! Stream names and addresses, and the secrets hidden in them.

use std::fmt;

use livetrail_engine::{Credentials, Secret};
use livetrail_gateway::{query_credentials, query_token};

use crate::error::{Error, Result};

/// RTMP's registered port.
pub const DEFAULT_PORT: u16 = 1935;
/// The port of RTMPS that clients use.
pub const DEFAULT_TLS_PORT: u16 = 443;

/// An address: `rtmp://host[:port]/app/stream[?token=…]`, or with `rtmps://` for TLS. Its output
/// omits the token.
///
/// The application is the first part of the path, as on the server; the stream is the rest.
#[derive(Clone)]
pub struct RtmpUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// The port; 1935 unless given, and 443 with TLS.
    pub port: u16,
    /// Whether the connection is encrypted: `rtmps://`.
    pub tls: bool,
    /// The application.
    pub app: String,
    /// The stream, without its query.
    pub stream: String,
    /// All text after `?`; it may contain a token.
    query: Option<Secret>,
}

impl RtmpUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong; it repeats the address without the text after `?`.
    pub fn parse(url: &str) -> Result<Self> {
        let (path, query) = split_query(url);
        let wrong = |detail| Error::Url {
            url: path.to_owned(),
            detail,
        };
        let (tls, rest) = match (path.strip_prefix("rtmp://"), path.strip_prefix("rtmps://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(wrong("it must begin with rtmp:// or rtmps://")),
        };
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
            port: port.unwrap_or(if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT }),
            tls,
            app: app.to_owned(),
            stream: stream.to_owned(),
            query: query.map(Secret::new),
        })
    }

    /// The same address with this token, which replaces any other token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.query = Some(Secret::new(format!("token={token}")));
        self
    }

    /// The `tcUrl` of `connect`.
    pub(crate) fn tc_url(&self) -> String {
        format!("{}://{}/{}", self.scheme(), self.authority(), self.app)
    }

    /// The stream name for `publish` and `play`. It includes the query, because servers look for a
    /// token there.
    pub(crate) fn stream_name(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{}", self.stream, query.expose()),
            None => self.stream.clone(),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rtmps" } else { "rtmp" }
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let default = if self.tls {
            DEFAULT_TLS_PORT
        } else {
            DEFAULT_PORT
        };
        if self.port == default {
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
            "{}://{}/{}/{}",
            self.scheme(),
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

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

/// The instance name that means no instance.
const DEFAULT_INSTANCE: &str = "_definst_";

/// The target of a `publish` or `play`, together with the `app` of its `connect`.
///
/// ```text
/// app                    name                  application  stream         query
/// live                   cam?token=x           live         cam            token=x
/// live/tenantA           cam                   live         tenantA/cam
/// live/_definst_         mp4:cam               live         cam
/// live?token=x           cam                   live         cam            token=x
/// live/cam?token=ab      cd                    live         cam            token=ab/cd
/// live/cam               ?token=x              live         cam            token=x
/// ```
///
/// Clients split an address at its last or second `/`, even inside a key. Two cases are joined
/// again and split at the first `?`, so that no part of a key becomes a stream's name: `app` names
/// more than an application and has a query, or the name consists of a query alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The application; it may be empty or invalid.
    pub(crate) app: String,
    /// The stream, after its instance and a `/` if it has an instance; it may be empty or invalid.
    pub(crate) stream: String,
    token: Option<Redacted>,
    /// The queries of the stream, the application and `tcUrl`.
    queries: Vec<Redacted>,
    /// A text that may be one key that a client has split at a `/`: its second half is then the
    /// stream's name.
    cut: Option<[Redacted; 2]>,
}

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
struct Redacted(String);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Address {
    /// Parses the `app` and `tcUrl` of a `connect`, and the name in a `publish` or `play`.
    pub(crate) fn new(app: &str, tc_url: &str, name: &str) -> Self {
        let (app_path, app_query) = split_query(app);
        let names_stream = parts(app_path).count() > 1;
        let cut = app_query
            .filter(|_| !names_stream)
            .map(|query| [query.to_owned(), format!("{query}/{name}")].map(Redacted));
        let (name, queries) = match app_query {
            Some(query) if names_stream => {
                let query = match name {
                    "" => query.to_owned(),
                    rest => format!("{query}/{rest}"),
                };
                ("", [Some(query), None])
            }
            _ => {
                let (name, query) = split_query(name);
                let queries = [query, app_query];
                (name, queries.map(|query| query.map(str::to_owned)))
            }
        };
        let mut of_app = parts(app_path);
        let app = of_app.next().unwrap_or_default().to_owned();
        let name = without_prefix(name.trim_start_matches('/'));
        let stream = of_app.chain(parts(name)).collect::<Vec<_>>().join("/");
        let queries = queries.into_iter().flatten();
        let queries = queries.chain(split_query(tc_url).1.map(str::to_owned));
        let queries: Vec<_> = queries.map(Redacted).collect();
        let token = queries.iter().find_map(|query| query_token(&query.0));
        Self {
            app,
            stream: without_prefix(&stream).to_owned(),
            token: token.map(Redacted),
            queries,
            cut,
        }
    }

    /// The credentials. Clients put them into the stream's query, the application's query, or that
    /// of `tcUrl`.
    pub(crate) fn credentials(&self) -> Credentials {
        let queries: Vec<_> = self.queries.iter().map(|query| query.0.as_str()).collect();
        query_credentials(self.token.as_ref().map(|token| token.0.as_str()), &queries)
    }

    /// The application's query, and the same text followed by `/` and the stream's name. If only
    /// the second text contains a configured key, the name is a part of that key.
    pub(crate) fn cut(&self) -> Option<[Secret; 2]> {
        let cut = self.cut.as_ref()?;
        Some(cut.each_ref().map(|text| Secret::new(text.0.as_str())))
    }

    /// Whether both name the same stream.
    pub(crate) fn is_same_stream(&self, other: &Self) -> bool {
        (&self.app, &self.stream) == (&other.app, &other.stream)
    }
}

/// The application in a `connect`: the first part of its path, without its query.
pub(crate) fn app_name(app: &str) -> &str {
    parts(split_query(app).0).next().unwrap_or_default()
}

/// The meaningful parts of a path. Encoders add slashes, and `_definst_`, which means no instance.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != DEFAULT_INSTANCE)
}

/// Removes the file format that players put before a stream's name.
fn without_prefix(name: &str) -> &str {
    ["flv:", "mp4:", "live:"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Address, RtmpUrl, app_name};

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

    fn named(app: &str, name: &str) -> (String, String, String) {
        let address = Address::new(app, "", name);
        let token = address.credentials().token;
        let token = token.map(|token| token.expose().to_owned());
        (address.app, address.stream, token.unwrap_or_default())
    }

    #[test]
    fn an_address_is_the_same_however_a_client_cuts_it() {
        for (app, name, stream) in [
            ("live", "cam", "cam"),
            ("live/", "/cam/", "cam"),
            ("/live", "mp4:cam", "cam"),
            ("live/_definst_", "cam", "cam"),
            ("live", "_definst_/cam", "cam"),
            ("live/tenantA", "cam", "tenantA/cam"),
            ("live//tenantA/", "flv:cam", "tenantA/cam"),
            ("live", "tenantA/cam", "tenantA/cam"),
            ("live/a/b", "cam", "a/b/cam"),
            ("live", "", ""),
        ] {
            let expected = ("live".to_owned(), stream.to_owned(), String::new());
            assert_eq!(named(app, name), expected, "{app} {name}");
        }
        assert_eq!(named("", "").0, "");
        assert_eq!(app_name("live/tenantA?token=x"), "live");
    }

    #[test]
    fn a_key_with_a_slash_or_a_question_mark_works_and_is_no_name() {
        for (app, name, stream, token) in [
            ("live", "cam?token=ab/cd", "cam", "ab/cd"),
            ("live/cam?token=ab", "cd", "cam", "ab/cd"),
            ("live/cam?token=ab", "cd/ef?g", "cam", "ab/cd/ef?g"),
            ("live/a/cam?token=ab", "cd", "a/cam", "ab/cd"),
            ("live/cam", "?token=ab/cd", "cam", "ab/cd"),
            ("live/cam?token=ab/", "", "cam", "ab/"),
            ("live?token=ab", "cam", "cam", "ab"),
            ("live/_definst_?token=ab", "cam", "cam", "ab"),
            ("live", "?token=ab", "", "ab"),
        ] {
            let expected = ("live".to_owned(), stream.to_owned(), token.to_owned());
            assert_eq!(named(app, name), expected, "{app} {name}");
        }
    }

    #[test]
    fn the_first_place_with_a_token_counts() {
        let token = |app: &str, tc_url: &str, name: &str| {
            let token = Address::new(app, tc_url, name).credentials().token;
            token.map(|token| token.expose().to_owned())
        };
        let all = token(
            "live?token=b",
            "rtmp://h/live?token=c",
            "cam?x=1&token=a%2Bb",
        );
        assert_eq!(all.as_deref(), Some("a+b"));
        let app = token("live?token=b", "rtmp://h/live?token=c", "cam?token=");
        assert_eq!(app.as_deref(), Some("b"));
        let url = token("live", "rtmp://h/live?token=c", "cam");
        assert_eq!(url.as_deref(), Some("c"));
        assert_eq!(token("live", "", "cam?nottoken=z"), None);
        let address = Address::new("live", "", "cam?token=hunter2");
        assert!(!format!("{address:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn wherever_an_address_is_cut_its_key_is_whole_and_in_no_name(
            key in "[A-Za-z0-9+/=?]{0,40}[A-Za-z0-9+=?]",
            instance in prop::option::of("[a-z]{1,8}"),
        ) {
            let stream = match &instance {
                Some(instance) => format!("{instance}/cam"),
                None => "cam".to_owned(),
            };
            let whole = format!("live/{stream}?token={key}");
            // A client that splits before the query splits the path; one that splits inside the
            // query splits the key.
            for (at, _) in whole.match_indices('/') {
                let (app, name) = (&whole[..at], &whole[at + 1..]);
                let expected = ("live".to_owned(), stream.clone(), key.clone());
                prop_assert_eq!(named(app, name), expected, "{} {}", app, name);
            }
        }
    }
}
