//! The target: brokers, login, topic and partition.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::error::SinksError;
use crate::settings::{SaslMechanism, Weakness};

const FORM: &str = "kafka://USER:PASSWORD@HOST:PORT,HOST:PORT/TOPIC?partition=N&openings=TOPIC&sasl=scram-sha-512&tls=on&accept=one-replica";

/// The longest topic name that Kafka accepts.
const TOPIC_BYTES: usize = 249;

/// A topic, and how to connect to it.
///
/// Over a network the connection is encrypted, and the client verifies the brokers' certificates.
/// It trusts the system's authorities or those in [`with_ca_file`](Self::with_ca_file). Only
/// loopback addresses and an explicit `tls=off` go without encryption.
#[derive(Clone)]
pub struct KafkaTarget {
    brokers: String,
    topic: String,
    partition: Option<i32>,
    openings: Option<String>,
    user: Option<String>,
    password: Option<String>,
    mechanism: SaslMechanism,
    tls: bool,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    accepted: Vec<Weakness>,
}

impl Weakness {
    const ALL: [(&'static str, Self); 6] = [
        ("compaction", Self::Compaction),
        ("retention", Self::Retention),
        ("one-replica", Self::OneReplica),
        ("unclean-election", Self::UncleanElection),
        ("slow-erasure", Self::SlowErasure),
        ("unknown-settings", Self::UnknownSettings),
    ];

    /// The name of the weakness in `accept=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, weakness)| *weakness == self);
        found.map_or("", |(name, _)| name)
    }
}

impl SaslMechanism {
    const ALL: [(&'static str, Self); 3] = [
        ("PLAIN", Self::Plain),
        ("SCRAM-SHA-256", Self::ScramSha256),
        ("SCRAM-SHA-512", Self::ScramSha512),
    ];

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, mechanism)| *mechanism == self);
        found.map_or("", |(name, _)| name)
    }
}

impl KafkaTarget {
    /// Creates a target from brokers in the form `HOST:PORT` or `[ADDRESS]:PORT`, and a topic.
    ///
    /// # Errors
    /// [`SinksError::Broker`], [`SinksError::Topic`].
    pub fn new<B: AsRef<str>>(brokers: &[B], topic: &str) -> Result<Self, SinksError> {
        if brokers.is_empty() {
            return Err(SinksError::Broker { number: 1 });
        }
        for (number, broker) in (1..).zip(brokers) {
            if !is_broker(broker.as_ref()) {
                return Err(SinksError::Broker { number });
            }
        }
        if !is_topic(topic) {
            return Err(not_a_topic(topic));
        }
        let brokers: Vec<_> = brokers.iter().map(AsRef::as_ref).collect();
        Ok(Self::plain(brokers.join(","), topic.to_owned()))
    }

    fn plain(brokers: String, topic: String) -> Self {
        let tls = !brokers.split(',').all(is_loopback);
        Self {
            brokers,
            topic,
            partition: None,
            openings: None,
            user: None,
            password: None,
            mechanism: SaslMechanism::default(),
            tls,
            ca_file: None,
            certificate: None,
            accepted: Vec::new(),
        }
    }

    /// Reads an address:
    /// `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT/TOPIC?partition=N&openings=TOPIC&sasl=MECHANISM&tls=on&accept=WEAKNESS,WEAKNESS`.
    ///
    /// Only a host and the topic are required. Without `partition` the hash of the origin selects
    /// the partition. Without `openings` the sink keeps none. `sasl` is `plain`, `scram-sha-256` or
    /// `scram-sha-512`, which is the default. In the user and the password a character may be `%`
    /// and two digits.
    ///
    /// # Errors
    /// [`SinksError::Address`], which does not repeat the address.
    pub fn parse(address: &str) -> Result<Self, SinksError> {
        read_address(address.trim()).ok_or(SinksError::Address {
            kind: "kafka",
            form: FORM,
        })
    }

    /// Trusts only the authorities in this PEM file. Also encrypts connections to a loopback
    /// address.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self.tls = true;
        self
    }

    /// Presents this certificate: PEM files with the chain and with its key.
    #[must_use]
    pub fn with_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((chain.into(), key.into()));
        self.tls = true;
        self
    }

    /// Logs in as this user, with the password of [`with_password`](Self::with_password).
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Logs in with this mechanism.
    #[must_use]
    pub const fn with_mechanism(mut self, mechanism: SaslMechanism) -> Self {
        self.mechanism = mechanism;
        self
    }

    /// Turns encryption on or off, wherever the brokers are.
    #[must_use]
    pub const fn with_tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the number of the log's partition. The hash of the origin then has no effect.
    #[must_use]
    pub fn with_partition(mut self, number: u16) -> Self {
        self.partition = Some(i32::from(number));
        self
    }

    /// Keeps openings in this topic, and erases them again. The topic must be compacted
    /// ([`set_up_openings`](super::set_up_openings)), and no other sink may use it.
    ///
    /// # Errors
    /// [`SinksError::Topic`], also if it is the topic of the entries.
    pub fn with_openings(mut self, topic: &str) -> Result<Self, SinksError> {
        if !is_topic(topic) || topic == self.topic {
            return Err(not_a_topic(topic));
        }
        self.openings = Some(topic.to_owned());
        Ok(self)
    }

    /// Logs in with this password instead of the address's password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Accepts a topic that has this weakness.
    #[must_use]
    pub fn accepting(mut self, weakness: Weakness) -> Self {
        self.accepted.push(weakness);
        self
    }

    /// The brokers and the topic: the address without user and password.
    #[must_use]
    pub fn place(&self) -> String {
        format!("kafka://{}/{}", self.brokers, self.topic)
    }

    /// The brokers to ask first, with commas between them.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The name of the topic of openings, if the sink keeps them.
    #[must_use]
    pub fn openings(&self) -> Option<&str> {
        self.openings.as_deref()
    }

    /// A partition of the topic of openings as a target of its own. `None` if the sink keeps none.
    pub(super) fn of_openings(&self, number: i32) -> Option<Self> {
        let mut target = self.clone();
        target.topic = target.openings.take()?;
        target.partition = Some(number);
        Some(target)
    }

    pub(super) const fn partition(&self) -> Option<i32> {
        self.partition
    }

    pub(super) fn accepts(&self, weakness: Weakness) -> bool {
        self.accepted.contains(&weakness)
    }

    /// Checks that this build supports the settings, and that the files can be read.
    pub(super) fn check(&self) -> Result<(), SinksError> {
        let scram = self.user.is_some() && self.mechanism != SaslMechanism::Plain;
        if (self.tls || scram) && !cfg!(feature = "kafka-tls") {
            return Err(SinksError::Tls(
                "this program was built without TLS and SCRAM for Kafka: build it with the feature `kafka-tls`"
                    .into(),
            ));
        }
        let certificate = self.certificate.iter();
        let files = certificate.flat_map(|(chain, key)| [chain, key]);
        files
            .chain(&self.ca_file)
            .try_for_each(|path| readable(path))
    }

    /// The settings that all librdkafka clients share.
    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Notice)
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "livetrail")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000")
            .set("retry.backoff.ms", "20")
            .set("socket.nagle.disable", "true")
            .set("security.protocol", self.protocol());
        if let Some(user) = &self.user {
            config
                .set("sasl.mechanism", self.mechanism.name())
                .set("sasl.username", user)
                .set(
                    "sasl.password",
                    self.password.as_deref().unwrap_or_default(),
                );
        }
        let mut file = |key: &str, path: &Path| {
            config.set(key, path.to_string_lossy());
        };
        if let Some(path) = &self.ca_file {
            file("ssl.ca.location", path);
        }
        if let Some((chain, key)) = &self.certificate {
            file("ssl.certificate.location", chain);
            file("ssl.key.location", key);
        }
        config
    }

    const fn protocol(&self) -> &'static str {
        match (self.tls, self.user.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        }
    }
}

fn read_address(address: &str) -> Option<KafkaTarget> {
    let rest = address.strip_prefix("kafka://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let (brokers, topic) = rest.split_once('/')?;
    if !brokers.split(',').all(is_broker) || !is_topic(topic) {
        return None;
    }
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
        None => (None, None),
    };
    let mut target = KafkaTarget::plain(brokers.to_owned(), topic.to_owned());
    target.user = user.filter(|user| !user.is_empty());
    target.password = password.filter(|password| !password.is_empty());
    let options = query.split('&').filter(|option| !option.is_empty());
    for option in options {
        let (name, value) = option.split_once('=')?;
        target.set(name, value)?;
    }
    Some(target)
}

impl KafkaTarget {
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match (name, value) {
            ("partition", value) => {
                self.partition = Some(value.parse().ok().filter(|number| *number >= 0)?);
            }
            ("openings", value) => {
                *self = self.clone().with_openings(value).ok()?;
            }
            ("tls", "on") => self.tls = true,
            ("tls", "off") => self.tls = false,
            ("sasl", value) => self.mechanism = named(&SaslMechanism::ALL, value)?,
            ("accept", value) => {
                for name in value.split(',') {
                    self.accepted.push(named(&Weakness::ALL, name)?);
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn named<T: Copy>(all: &[(&str, T)], wanted: &str) -> Option<T> {
    let found = all
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, it)| *it)
}

/// Whether this text is `HOST:PORT` or `[ADDRESS]:PORT`.
fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    host && u16::from_str(port).is_ok_and(|port| port > 0)
}

fn is_loopback(broker: &str) -> bool {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn is_topic(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=TOPIC_BYTES).contains(&name.len())
        && name.bytes().all(plain)
        && name != "."
        && name != ".."
}

fn not_a_topic(name: &str) -> SinksError {
    SinksError::Topic {
        topic: name.chars().take(TOPIC_BYTES).collect(),
    }
}

/// Decodes percent escapes: `%41` is `A`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

fn readable(path: &Path) -> Result<(), SinksError> {
    let opened = std::fs::File::open(path);
    opened.map(drop).map_err(|source| SinksError::File {
        path: path.to_owned(),
        source,
    })
}

/// Prints the target without the password.
impl fmt::Debug for KafkaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTarget")
            .field("place", &self.place())
            .field("partition", &self.partition)
            .field("openings", &self.openings)
            .field("user", &self.user)
            .field("mechanism", &self.mechanism)
            .field("tls", &self.tls)
            .field("ca_file", &self.ca_file)
            .field("certificate", &self.certificate)
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> KafkaTarget {
        KafkaTarget::parse(address).unwrap_or_else(|_| panic!("{address}"))
    }

    #[test]
    fn an_address_says_where_who_and_which_partition() {
        let target = parse(
            "kafka://us%40er:p%3Aw@a.example.com:9093,b.example.com:9093/audit?partition=3&sasl=plain&accept=one-replica,retention",
        );
        assert_eq!(
            target.place(),
            "kafka://a.example.com:9093,b.example.com:9093/audit"
        );
        assert_eq!(target.user.as_deref(), Some("us@er"));
        assert_eq!(target.password.as_deref(), Some("p:w"));
        assert_eq!(target.partition(), Some(3));
        assert_eq!(target.protocol(), "sasl_ssl");
        assert!(target.accepts(Weakness::OneReplica) && target.accepts(Weakness::Retention));
        assert!(!target.accepts(Weakness::Compaction));
        assert_eq!(target.config().get("sasl.mechanism"), Some("PLAIN"));
    }

    #[test]
    fn over_a_network_tls_is_used_unless_it_is_turned_off_in_words() {
        for (address, protocol) in [
            ("kafka://127.0.0.1:9092/audit", "plaintext"),
            ("kafka://[::1]:9092,localhost:9093/audit", "plaintext"),
            ("kafka://127.0.0.1:9092,10.0.0.1:9092/audit", "ssl"),
            ("kafka://10.0.0.1:9092/audit?tls=off", "plaintext"),
            ("kafka://u:p@10.0.0.1:9092/audit", "sasl_ssl"),
            ("kafka://u:p@127.0.0.1:9092/audit?tls=on", "sasl_ssl"),
        ] {
            assert_eq!(parse(address).protocol(), protocol, "{address}");
        }
        let local = parse("kafka://127.0.0.1:9092/audit").with_ca_file("ca.pem");
        assert_eq!(local.protocol(), "ssl");
    }

    #[test]
    fn no_password_is_shown() {
        let target = parse("kafka://writer:hunter2@127.0.0.1:9092/audit");
        assert!(!format!("{target:?} {}", target.place()).contains("hunter2"));
        for address in [
            "",
            "hunter2",
            "http://u:hunter2@127.0.0.1:9092/audit",
            "kafka://u:hunter2@127.0.0.1/audit",
            "kafka://u:hunter2@127.0.0.1:0/audit",
            "kafka://u:hunter2@127.0.0.1:9092",
            "kafka://u:hunter2@127.0.0.1:9092/a/b",
            "kafka://u:hunter2@127.0.0.1:9092/audit?partition=-1",
            "kafka://u:hunter2@127.0.0.1:9092/audit?accept=anything",
            "kafka://u:hunter2@127.0.0.1:9092/audit?sasl=gssapi",
            "kafka://u:hunter2@127.0.0.1:9092/audit?openings=audit",
            "kafka://u:hunter2@127.0.0.1:9092/audit?openings=a/b",
            "kafka://u:hunter2%4@127.0.0.1:9092/audit",
            "kafka://u:hunter2@:9092/audit",
        ] {
            let error = KafkaTarget::parse(address).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn each_weakness_has_a_name_of_its_own() {
        for (name, weakness) in Weakness::ALL {
            assert_eq!(weakness.name(), name);
            let address = format!("kafka://127.0.0.1:9092/audit?accept={name}");
            assert!(parse(&address).accepts(weakness));
        }
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let target = parse("kafka://127.0.0.1:9092/audit").with_ca_file("/no/such/ca.pem");
        let words = target.check().unwrap_err().to_string();
        if cfg!(feature = "kafka-tls") {
            assert_eq!(words, "cannot read /no/such/ca.pem");
        } else {
            assert_eq!(words, "cannot set up TLS");
        }
    }
}
