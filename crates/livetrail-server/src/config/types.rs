//! The kinds of value that settings have, each with its own words for what is allowed.

use std::{fmt, path::PathBuf, time::Duration};

use livetrail_engine::{AppName, StreamId};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::NodeName;

/// A time span: `"500ms"`, `"30s"`, `"1h30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    pub(crate) const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

/// In the largest units that fit: `1h30m`, `500ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit_ms) in UNITS {
            let number = rest / u128::from(unit_ms);
            rest %= u128::from(unit_ms);
            if number > 0 {
                write!(f, "{number}{name}")?;
            }
        }
        Ok(())
    }
}

/// Units of time in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_span(text).map(Self).ok_or_else(|| {
            format!("{text:?} is not a time span; allowed is a number with ms, s, m, h or d, such as \"30s\" or \"1h30m\"")
        })
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() || text.trim().is_empty() {
        let after_number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = rest.strip_suffix(after_number)?.parse().ok()?;
        let after_unit = after_number.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = after_number.strip_suffix(after_unit)?;
        let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(unit_ms)?))?;
        rest = after_unit.trim_start();
    }
    Some(sum)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a time span such as \"30s\""))
    }
}

/// A number of bytes: `"16MiB"`, `"64KiB"`, or plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) usize);

/// In the largest unit that divides it: `16MiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units
            .iter()
            .find(|(size, _)| self.0 > 0 && self.0.is_multiple_of(*size))
        {
            Some((size, name)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "" | "B" => Some(1),
            "kB" | "KB" => Some(1_000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        number
            .parse::<usize>()
            .ok()
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is not a size; allowed is a number with KiB, MiB, GiB, kB, MB or GB, such as \"16MiB\"")
            })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"16MiB\", or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteSize, E> {
                usize::try_from(number)
                    .map(ByteSize)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A secret in the configuration. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretText(String);

impl SecretText {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for handing it to who compares it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// A secret with a name, which stands in records where the secret must not.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedSecret {
    #[serde(with = "principal")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
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
    /// As a header's value; `None` for none.
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
        // The same rule as for the names of applications: nothing later needs to check again.
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

/// For values that are written as text and parsed by [`FromStr`](std::str::FromStr).
pub(super) struct Parsed<T> {
    expecting: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T> Parsed<T> {
    pub(super) fn new(expecting: &'static str) -> Self {
        Self {
            expecting,
            value: std::marker::PhantomData,
        }
    }
}

impl<T: std::str::FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
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
    //! Networks, or addresses alone.
    use ipnet::IpNet;

    use super::{Deserialize, Deserializer, Parsed};

    /// A network; what is wrong with it in words.
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

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<IpNet>, D::Error> {
        let networks = Vec::<Network>::deserialize(d)?;
        Ok(networks.into_iter().map(|Network(net)| net).collect())
    }
}

pub(super) mod optional_app_name {
    //! An application's name, where there need not be one.
    use super::{AppName, Deserializer, app_name};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<AppName>, D::Error> {
        app_name::deserialize(d).map(Some)
    }
}

pub(super) mod optional_stream_id {
    //! A stream's name, where there need not be one.
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
