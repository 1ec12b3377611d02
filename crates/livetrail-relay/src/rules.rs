//! Which streams are relayed, from where and to where.

use std::{fmt, sync::Arc, time::Duration};

use livetrail_engine::{AppName, AppPattern, NameError, Secret, StreamKey};
use livetrail_rtmp::{ClientConfig, RtmpClient, RtmpUrl};

/// The end of a pattern that means several names.
const ANY_END: char = '*';

/// Streams: those of an application, or of all whose names begin so, and of them those with a name,
/// or with a beginning of a name.
///
/// ```
/// use livetrail_engine::StreamKey;
/// use livetrail_relay::Streams;
///
/// let streams = Streams::new("tenant-*".parse()?, "cam-*");
/// assert!(streams.cover(&StreamKey::parse("tenant-7", "cam-1")?));
/// assert!(!streams.cover(&StreamKey::parse("tenant-7", "mic")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    app: AppPattern,
    stream: Box<str>,
}

impl Streams {
    /// Streams of these applications whose name is `stream`. If it ends with `*`, those whose name
    /// begins so.
    #[must_use]
    pub fn new(app: AppPattern, stream: &str) -> Self {
        let stream = stream.into();
        Self { app, stream }
    }

    /// Whether a stream is one of them.
    #[must_use]
    pub fn cover(&self, key: &StreamKey) -> bool {
        let name = key.stream_id.as_str();
        let named = match self.stream.strip_suffix(ANY_END) {
            Some(beginning) => name.starts_with(beginning),
            None => name == &*self.stream,
        };
        named && self.app.covers(&key.app)
    }
}

/// What is wrong with the name or the address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The name breaks the rule for names.
    #[error("the name of a node: {0}")]
    Name(#[from] NameError),
    /// The address is not one of a node. The text after `?` is not repeated.
    #[error(
        "{address} is not the address of a node: {detail}; allowed is such as rtmp://host:1935, or rtmps://host/app"
    )]
    Address {
        /// The address, without its secrets.
        address: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Another server: its name, its address, and the key that admits this one.
#[derive(Clone)]
pub struct Node {
    name: Arc<str>,
    /// Its application and stream are stand-ins.
    url: RtmpUrl,
    app: Option<String>,
    token: Option<Secret>,
    #[cfg(feature = "tls")]
    tls: Option<livetrail_tls::ClientTls>,
}

impl Node {
    /// A node of this name. The address is `rtmp://HOST[:PORT]`, or `rtmps://`. An application
    /// behind it, as in `rtmp://HOST/app`, takes the place of the stream's own.
    ///
    /// # Errors
    /// [`NodeError`]: what is wrong with the name or the address.
    pub fn new(name: &str, address: &str) -> Result<Self, NodeError> {
        AppName::new(name)?;
        let shown = address.split('?').next().unwrap_or_default();
        let wrong = |detail: &str| NodeError::Address {
            address: shown.to_owned(),
            detail: detail.to_owned(),
        };
        if address.contains('?') {
            return Err(wrong("a key does not belong into an address"));
        }
        let trimmed = address.trim_end_matches('/');
        let path = trimmed.split_once("://").map_or("", |(_, rest)| rest);
        let has_app = match path.matches('/').count() {
            0 => false,
            1 => true,
            _ => return Err(wrong("it has more than an application behind the host")),
        };
        let stand_in = if has_app { "/stream" } else { "/app/stream" };
        let url = RtmpUrl::parse(&format!("{trimmed}{stand_in}")).map_err(|error| match error {
            livetrail_rtmp::Error::Url { detail, .. } => wrong(detail),
            error => wrong(&error.to_string()),
        })?;
        Ok(Self {
            name: name.into(),
            app: has_app.then(|| url.app.clone()),
            url,
            token: None,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    /// Sets the key or token with which this server comes.
    #[must_use]
    pub fn token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// Sets the TLS that an address with `rtmps://` needs.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: livetrail_tls::ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Its name. It is that node's own `node`, so that trails can be joined.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether its address needs TLS.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        self.url.tls
    }

    /// Where a stream is at this node. `None` if its name cannot be in an address.
    pub(crate) fn url_of(&self, key: &StreamKey) -> Option<RtmpUrl> {
        let mut url = self.url.clone();
        let app = self.app.as_deref().unwrap_or(key.app.as_str());
        let stream = key.stream_id.as_str();
        if app.contains('?') || stream.contains('?') {
            return None;
        }
        (url.app, url.stream) = (app.to_owned(), stream.to_owned());
        Some(match &self.token {
            Some(token) => url.with_token(token.expose()),
            None => url,
        })
    }

    /// A client for sessions with this node.
    pub(crate) fn client(&self, config: &ClientConfig) -> RtmpClient {
        let client = RtmpClient::with_config(config.clone());
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return client.tls(tls.clone());
        }
        client
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .field("tls", &self.url.tls)
            .finish_non_exhaustive()
    }
}

/// Streams that are pulled, and the origins that have them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PullRule {
    /// The streams. Their application must let viewers wait for a publisher
    /// ([`AppSpec::wait_for_publisher`](livetrail_engine::AppSpec::wait_for_publisher)).
    pub streams: Streams,
    /// The origins in the order in which they are tried.
    pub origins: Vec<Node>,
    /// How long a pull stays open without a viewer. Default 10 s.
    pub grace: Duration,
    /// An origin that has sent no frame for this long is lost. After the start of a session it has
    /// three times as long for the first frame. Default 1 s.
    pub silence: Duration,
    /// The time for a connection to an origin. Its answer may take three times as long, because it
    /// may have to open a pull of its own. Default 1 s.
    pub connect_timeout: Duration,
}

impl PullRule {
    /// Pulls these streams from these origins, with default times.
    #[must_use]
    pub fn new(streams: Streams, origins: Vec<Node>) -> Self {
        Self {
            streams,
            origins,
            grace: Duration::from_secs(10),
            silence: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        }
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        client_config(self.connect_timeout)
    }
}

/// Streams that are pushed, and the targets that get them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushRule {
    /// The streams.
    pub streams: Streams,
    /// The targets. Each has its own connection and its own position in the stream.
    pub targets: Vec<Node>,
    /// The time for a connection to a target. Its answer may take three times as long. Default 1 s.
    pub connect_timeout: Duration,
    /// How long a target may read nothing before it is connected again. Default 10 s.
    pub write_timeout: Duration,
}

impl PushRule {
    /// Pushes these streams to these targets, with default times.
    #[must_use]
    pub fn new(streams: Streams, targets: Vec<Node>) -> Self {
        Self {
            streams,
            targets,
            connect_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(10),
        }
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = client_config(self.connect_timeout);
        config.write_timeout = self.write_timeout;
        config
    }
}

fn client_config(connect_timeout: Duration) -> ClientConfig {
    let mut config = ClientConfig::default();
    config.connect_timeout = connect_timeout;
    config.start_timeout = connect_timeout.saturating_mul(3);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> StreamKey {
        StreamKey::parse("live", "site/cam").unwrap()
    }

    #[test]
    fn an_address_names_a_host_and_perhaps_an_application() {
        let url = |address| {
            let node = Node::new("origin", address).unwrap();
            node.url_of(&key()).unwrap().to_string()
        };
        assert_eq!(url("rtmp://host"), "rtmp://host/live/site/cam");
        assert_eq!(url("rtmp://host:1936/"), "rtmp://host:1936/live/site/cam");
        assert_eq!(url("rtmps://host/other"), "rtmps://host/other/site/cam");
        for (address, why) in [
            ("http://host", "begin with rtmp://"),
            ("rtmp://host/a/b", "more than an application"),
            ("rtmp://:1935", "no host"),
            ("rtmp://host:x", "port"),
            ("rtmp://host?token=hunter2", "key"),
        ] {
            let error = Node::new("origin", address).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
        assert!(matches!(
            Node::new("a/b", "rtmp://host"),
            Err(NodeError::Name(_))
        ));
    }

    #[test]
    fn a_token_is_not_shown() {
        let node = Node::new("origin", "rtmp://host").unwrap();
        let node = node.token(Secret::new("hunter2"));
        let url = node.url_of(&key()).unwrap();
        assert!(!format!("{node:?} {url} {url:?}").contains("hunter2"));
        let odd = StreamKey::parse("live", "cam?x").unwrap();
        assert!(node.url_of(&odd).is_none());
    }
}
