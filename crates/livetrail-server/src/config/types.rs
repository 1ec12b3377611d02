//! The types of the settings' values. Each describes in its own words what is allowed.

use std::path::PathBuf;

use livetrail_engine::{AppName, StreamId};
use livetrail_settings::{Parsed, SecretText};
use serde::{Deserialize, Deserializer};

use super::NodeName;

/// A secret with a name. Records have the name instead of the secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedSecret {
    #[serde(with = "principal")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    /// Whether sessions end when their token expires.
    #[serde(default)]
    pub(crate) end_at_expiry: bool,
}

/// Which log lines are written: a level, or directives such as `info,livetrail_rtmp=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) String);

impl std::str::FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) if !text.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "{text:?} is not a log filter; allowed is error, warn, info, debug or trace, or directives such as \"info,livetrail_rtmp=debug\""
            )),
        }
    }
}

impl<'de> Deserialize<'de> for LogFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a log filter such as \"info\""))
    }
}

/// Which web pages may play: `*`, an origin such as `https://example.org`, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) String);

impl Origin {
    /// The value of the header, or `None` if it is not sent.
    pub(crate) fn header(&self) -> Option<axum::http::HeaderValue> {
        self.0.parse().ok().filter(|_| !self.0.is_empty())
    }
}

impl std::str::FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        // An origin has no path, no query and no user.
        let origin = host.is_some_and(|host| {
            let of_a_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            !host.is_empty() && host.chars().all(of_a_host)
        });
        if text.is_empty() || text == "*" || origin {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not an origin; allowed is \"*\", one origin such as \"https://example.org\", or \"\" for none"
            ))
        }
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("an origin such as \"*\""))
    }
}

impl std::str::FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The same rule as for the names of applications, so that nothing later needs to check
        // again.
        AppName::new(text)
            .map(|name| Self(name.as_str().to_owned()))
            .map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a name"))
    }
}

pub(super) mod app_name {
    //! An application's name.
    use super::{AppName, Deserializer, Parsed};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<AppName, D::Error> {
        d.deserialize_str(Parsed::new("an application's name"))
    }
}

pub(super) mod networks {
    //! Networks, or single addresses.
    use ipnet::IpNet;

    use super::{Deserialize, Deserializer, Parsed};

    /// A network, whose errors are in words.
    struct Network(IpNet);

    impl std::str::FromStr for Network {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let (ip, length) = text.split_once('/').unwrap_or((text, ""));
            let ip: std::net::IpAddr = ip.parse().map_err(|_| {
                format!("{text:?} is not a network; allowed is an IP address, or one with a length, such as \"10.0.0.0/8\" or \"2001:db8::/32\"")
            })?;
            let net = if length.is_empty() && !text.contains('/') {
                Some(IpNet::from(ip))
            } else {
                length
                    .parse()
                    .ok()
                    .and_then(|length| IpNet::new(ip, length).ok())
            };
            let most = if ip.is_ipv4() { 32 } else { 128 };
            net.map(Self).ok_or_else(|| {
                format!("{text} is not a network: the length of {ip} is /0 to /{most}")
            })
        }
    }

    impl<'de> Deserialize<'de> for Network {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            d.deserialize_str(Parsed::new("a network such as \"10.0.0.0/8\""))
        }
    }

    /// A network, or a single address.
    ///
    /// # Errors
    /// The text is neither. The error says what is allowed.
    pub(crate) fn parse(text: &str) -> Result<IpNet, String> {
        text.parse().map(|Network(net)| net)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<IpNet>, D::Error> {
        let networks = Vec::<Network>::deserialize(d)?;
        Ok(networks.into_iter().map(|Network(net)| net).collect())
    }
}

pub(super) mod app_pattern {
    //! The name of an application, or a beginning of names.
    use livetrail_engine::AppPattern;

    use super::{Deserializer, Parsed};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<AppPattern, D::Error> {
        d.deserialize_str(Parsed::new("an application's name"))
    }
}

pub(super) mod app_patterns {
    //! Names of applications, or beginnings of names.
    use livetrail_engine::AppPattern;

    use super::{Deserialize, Deserializer};

    /// A pattern, whose errors are in words.
    struct Pattern(AppPattern);

    impl std::str::FromStr for Pattern {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            AppPattern::new(text).map(Self).map_err(|error| {
                format!("{text:?} is not the name of an application, or a beginning of one such as \"tenant-*\": {error}")
            })
        }
    }

    impl<'de> Deserialize<'de> for Pattern {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            let text = String::deserialize(d)?;
            text.parse().map_err(serde::de::Error::custom)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<AppPattern>, D::Error> {
        let patterns = Vec::<Pattern>::deserialize(d)?;
        Ok(patterns
            .into_iter()
            .map(|Pattern(pattern)| pattern)
            .collect())
    }
}

pub(super) mod certificate_pattern {
    //! A name in certificates, or a beginning of names.
    use livetrail_engine::CertificatePattern;

    use super::{Deserialize, Deserializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<CertificatePattern, D::Error> {
        let text = String::deserialize(d)?;
        CertificatePattern::new(&text).map_err(|error| {
            serde::de::Error::custom(format!(
                "{text:?} is not a name in certificates, such as \"spiffe://example.org/encoder/7\" or \"encoder-*\": {error}"
            ))
        })
    }
}

pub(super) mod optional_app_name {
    //! An optional name of an application.
    use super::{AppName, Deserializer, app_name};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<AppName>, D::Error> {
        app_name::deserialize(d).map(Some)
    }
}

pub(super) mod optional_stream_id {
    //! An optional name of a stream.
    use super::{Deserializer, Parsed, StreamId};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<StreamId>, D::Error> {
        d.deserialize_str(Parsed::new("a stream's name")).map(Some)
    }
}

pub(super) mod principal {
    //! A name that goes on record.
    use super::{AppName, Deserializer, Parsed};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        d.deserialize_str(Parsed::<AppName>::new("a name"))
            .map(|name| name.as_str().to_owned())
    }
}
