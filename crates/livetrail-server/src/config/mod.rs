//! Every setting of the server: one TOML file. Each key has a default, and each can be overridden.
//!
//! Precedence, lowest first: defaults, the file, `LIVETRAIL__SECTION__KEY` variables, `LIVETRAIL_*`
//! variables, flags. [`load()`] checks all settings. Its errors name the key, the line and what is
//! allowed.

mod address;
mod auth;
mod bounds;
mod check;
mod error;
mod flags;
mod gateways;
mod load;
mod modes;
mod place;
mod trail;
mod types;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use livetrail_engine::{
    AppName, AppSettings, AppSpec, DuplicatePublisher, IngressLimit, Limits, Rate,
};
use serde::Deserialize;

pub(crate) use address::parse as parse_address;
pub(crate) use auth::{AdmissionRule, Auth, Exchangeable, GrantName, Key};
pub(crate) use error::ConfigError;
pub(crate) use flags::{ConfigFile, ConfigFileAndData, RequiredConfigFile, ServeOverrides};
pub(crate) use gateways::{Http, Rtmp};
pub(crate) use livetrail_settings::{ByteSize, Secret, SecretText, Span};
pub(crate) use livetrail_sinks::settings::Sink;
pub(crate) use load::{Overrides, load, unknown_variables, variables};
pub(crate) use modes::readable_secrets;
pub(crate) use trail::Trail;
pub(crate) use types::{LogFilter, NamedSecret};

/// The commented example, which is also the reference. It has every key, and its values are the
/// defaults.
pub(crate) const EXAMPLE: &str = include_str!("../../livetrail.example.toml");

/// All settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) node: NodeName,
    pub(crate) data: PathBuf,
    pub(crate) shutdown_timeout: Span,
    pub(crate) log: Log,
    pub(crate) rtmp: Rtmp,
    pub(crate) http: Http,
    pub(crate) api: Api,
    pub(crate) application: Vec<Application>,
    pub(crate) limits: SessionLimits,
    pub(crate) auth: Auth,
    pub(crate) audit: Audit,
    pub(crate) trail: Trail,
    pub(crate) sink: Vec<Sink>,
    /// Files with secrets in them, filled by [`load()`]. This configuration's own file is one of
    /// them if it has a secret.
    #[serde(skip)]
    pub(crate) secret_files: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeName("livetrail".to_owned()),
            data: PathBuf::from("livetrail-data"),
            shutdown_timeout: Span::secs(10),
            log: Log::default(),
            rtmp: Rtmp::default(),
            http: Http::default(),
            api: Api::default(),
            application: vec![Application::default()],
            limits: SessionLimits::default(),
            auth: Auth::default(),
            audit: Audit::default(),
            trail: Trail::default(),
            sink: Vec::new(),
            secret_files: Vec::new(),
        }
    }
}

/// The server's name in the trail: 1 to 255 bytes without control characters and `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeName(pub(crate) String);

/// The log, which goes to standard error: which lines, and their format.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: LogFilter,
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: LogFilter("info".to_owned()),
            format: LogFormat::Text,
        }
    }
}

/// Lines for people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Health, metrics, and the API for operators.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Api {
    #[serde(with = "address::optional")]
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token: Vec<NamedSecret>,
}

/// An application: a group of streams with settings in common.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Application {
    #[serde(with = "types::app_name")]
    pub(crate) name: AppName,
    pub(crate) gop_cache_frames: usize,
    pub(crate) gop_cache_bytes: ByteSize,
    pub(crate) max_lag_frames: u64,
    pub(crate) lag_budget: u32,
    pub(crate) stall_timeout: Span,
    pub(crate) duplicate_publisher: Duplicate,
    pub(crate) max_publishers: usize,
    pub(crate) wait_for_publisher: Span,
    pub(crate) ingress: Ingress,
}

impl Default for Application {
    fn default() -> Self {
        let of = AppSettings::default();
        Self {
            name: default_app(),
            gop_cache_frames: of.gop_cache_frames,
            gop_cache_bytes: ByteSize(of.gop_cache_bytes),
            max_lag_frames: of.subscriber_max_lag,
            lag_budget: of.subscriber_lag_budget,
            stall_timeout: Span(of.subscriber_stall_timeout),
            duplicate_publisher: match of.duplicate_publisher {
                DuplicatePublisher::Refuse => Duplicate::Refuse,
                DuplicatePublisher::ReplaceOwn => Duplicate::Own,
                DuplicatePublisher::Replace => Duplicate::Replace,
            },
            max_publishers: of.max_publishers,
            wait_for_publisher: Span(of.wait_for_publisher),
            ingress: Ingress::default(),
        }
    }
}

fn default_app() -> AppName {
    AppName::new("live").unwrap_or_else(|_| unreachable!("`live` is a name"))
}

impl Application {
    /// The application in the form that the engine takes.
    pub(crate) fn spec(&self) -> AppSpec {
        AppSpec::new(self.name.as_str())
            .gop_cache(self.gop_cache_frames)
            .gop_cache_bytes(self.gop_cache_bytes.0)
            .subscriber_max_lag(self.max_lag_frames)
            .subscriber_lag_budget(self.lag_budget)
            .subscriber_stall_timeout(self.stall_timeout.0)
            .duplicate_publisher(match self.duplicate_publisher {
                Duplicate::Refuse => DuplicatePublisher::Refuse,
                Duplicate::Own => DuplicatePublisher::ReplaceOwn,
                Duplicate::Replace => DuplicatePublisher::Replace,
            })
            .max_publishers(self.max_publishers)
            .wait_for_publisher(self.wait_for_publisher.0)
            .ingress_limit(self.ingress.limit())
    }
}

/// The rule for a second publisher of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Duplicate {
    Refuse,
    /// A publisher with the same key replaces the first one.
    Own,
    Replace,
}

/// Limits of what a publisher may send.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ingress {
    pub(crate) bytes_per_second: Option<ByteSize>,
    pub(crate) frames_per_second: Option<u64>,
    pub(crate) burst: Span,
    pub(crate) patience: Span,
}

impl Default for Ingress {
    fn default() -> Self {
        let of = IngressLimit::default();
        let bytes = |n| ByteSize(usize::try_from(n).unwrap_or(usize::MAX));
        Self {
            bytes_per_second: of.bytes_per_second.map(bytes),
            frames_per_second: of.frames_per_second,
            burst: Span(of.burst),
            patience: Span(of.patience),
        }
    }
}

impl Ingress {
    fn limit(&self) -> IngressLimit {
        IngressLimit {
            bytes_per_second: self.bytes_per_second.map(|size| size.0 as u64),
            frames_per_second: self.frames_per_second,
            burst: self.burst.0,
            patience: self.patience.0,
        }
    }
}

/// Limits on sessions, and on how long a stream may be silent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionLimits {
    pub(crate) max_publishers: usize,
    pub(crate) max_publishers_per_ip: usize,
    pub(crate) max_publishers_per_key: usize,
    pub(crate) max_publishers_per_application: usize,
    pub(crate) max_sessions_per_ip: usize,
    pub(crate) max_subscribers_per_stream: usize,
    pub(crate) max_waiting_viewers: usize,
    pub(crate) stream_memory: ByteSize,
    pub(crate) idle_timeout: Span,
    pub(crate) first_frame_timeout: Span,
    pub(crate) admission_timeout: Span,
    pub(crate) attempts: Attempts,
    pub(crate) short_sessions: ShortSessions,
}

/// Limit on the refusals, and on the sessions shorter than a second, of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Attempts {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        let Rate { per_second, burst } = Limits::default().attempts;
        Self {
            rate: per_second,
            burst,
        }
    }
}

/// Limit on the sessions shorter than a second of all addresses together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ShortSessions {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
}

impl Default for ShortSessions {
    fn default() -> Self {
        let Rate { per_second, burst } = Limits::default().short_sessions;
        Self {
            rate: per_second,
            burst,
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        let of = Limits::default();
        Self {
            max_publishers: of.max_publishers,
            max_publishers_per_ip: of.max_publishers_per_address,
            max_publishers_per_key: of.max_publishers_per_principal,
            max_publishers_per_application: of.max_publishers_per_application,
            max_sessions_per_ip: of.max_sessions_per_address,
            max_subscribers_per_stream: of.max_subscribers_per_stream,
            max_waiting_viewers: of.max_waiting_viewers,
            stream_memory: ByteSize(usize::try_from(of.stream_memory).unwrap_or(usize::MAX)),
            idle_timeout: Span(of.idle_timeout),
            first_frame_timeout: Span(of.first_frame_timeout),
            admission_timeout: Span(of.admission_timeout),
            attempts: Attempts::default(),
            short_sessions: ShortSessions::default(),
        }
    }
}

impl SessionLimits {
    /// The limits in the form that the engine takes.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_publishers: self.max_publishers,
            max_publishers_per_address: self.max_publishers_per_ip,
            max_publishers_per_principal: self.max_publishers_per_key,
            max_publishers_per_application: self.max_publishers_per_application,
            max_sessions_per_address: self.max_sessions_per_ip,
            max_subscribers_per_stream: self.max_subscribers_per_stream,
            max_waiting_viewers: self.max_waiting_viewers,
            stream_memory: self.stream_memory.0 as u64,
            idle_timeout: self.idle_timeout.0,
            first_frame_timeout: self.first_frame_timeout.0,
            admission_timeout: self.admission_timeout.0,
            attempts: Rate {
                per_second: self.attempts.rate,
                burst: self.attempts.burst,
            },
            short_sessions: Rate {
                per_second: self.short_sessions.rate,
                burst: self.short_sessions.burst,
            },
        }
    }
}

/// Settings of the records: which ones, and what a session waits for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    pub(crate) capacity: usize,
    pub(crate) refusals_per_second: u32,
    pub(crate) publish: AuditPolicy,
    pub(crate) play: AuditPolicy,
    pub(crate) deadline: Span,
    pub(crate) heartbeat: Span,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            capacity: 65_536,
            refusals_per_second: 10,
            publish: AuditPolicy::Strict,
            play: AuditPolicy::BestEffort,
            deadline: Span(Duration::from_secs(2)),
            heartbeat: Span::secs(60),
        }
    }
}

/// The moment at which a session may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditPolicy {
    /// At once.
    BestEffort,
    /// As soon as its first record is written and synced.
    Strict,
}

#[cfg(test)]
mod tests;
