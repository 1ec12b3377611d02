//! Every setting of the server: one TOML file. Each key has a default, and each can be overridden.
//!
//! Precedence, lowest first: defaults, the file, `LIVETRAIL__SECTION__KEY` variables, `LIVETRAIL_*`
//! variables, flags. [`load()`] checks all settings. Its errors name the key, the line and what is
//! allowed.

mod acme;
mod address;
mod api;
mod application;
mod audit;
mod auth;
mod check;
mod error;
mod flags;
mod gateways;
mod hls;
mod limits;
mod load;
mod log;
mod modes;
mod outside;
mod place;
mod proxies;
mod relay;
mod retention;
mod rules;
mod section;
mod sinks;
mod tls;
mod trail;
mod types;
mod written;

use std::path::PathBuf;

use livetrail_trail::Settings;
use serde::Deserialize;

pub(crate) use acme::Acme;
pub(crate) use address::parse as parse_address;
pub(crate) use api::{Api, ApiCertificate, ApiRole, ApiRoles, ApiToken, tokens_without_role};
pub(crate) use application::{Application, Names, reserved_names};
pub(crate) use audit::Audit;
pub(crate) use auth::{AdmissionRule, Auth, Exchangeable, GrantName, Key, OfCertificate};
pub(crate) use error::ConfigError;
pub(crate) use flags::{ConfigFile, ConfigFileAndData, RequiredConfigFile, ServeOverrides};
pub(crate) use gateways::{Http, Rtmp};
pub(crate) use hls::{Hls, MAX_TOKEN_LIFETIME};
pub(crate) use limits::SessionLimits;
pub(crate) use livetrail_settings::{ByteSize, Secret, SecretText, Span};
pub(crate) use livetrail_sinks::settings::Sink;
pub(crate) use load::{Overrides, load, unknown_variables, variables};
pub(crate) use log::{Log, LogFormat};
pub(crate) use modes::readable_secrets;
pub(crate) use outside::Outside;
pub(crate) use relay::Relay;
pub(crate) use tls::{ClientCertificates, Tls};
pub(crate) use trail::Trail;
pub(crate) use types::{LogFilter, NamedSecret, networks::parse as parse_network};
pub(crate) use written::{Difference, Written};

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
    pub(crate) drain_timeout: Span,
    pub(crate) log: Log,
    pub(crate) rtmp: Rtmp,
    pub(crate) http: Http,
    pub(crate) hls: Hls,
    pub(crate) api: Api,
    pub(crate) tls: Tls,
    pub(crate) application: Vec<Application>,
    pub(crate) limits: SessionLimits,
    pub(crate) auth: Auth,
    pub(crate) relay: Relay,
    pub(crate) audit: Audit,
    pub(crate) trail: Trail,
    pub(crate) sink: Vec<Sink>,
    /// Files with secrets in them, filled by [`load()`]. This configuration's own file is one of
    /// them if it has a secret.
    #[serde(skip)]
    pub(crate) secret_files: Vec<PathBuf>,
    /// The settings that are not left at their defaults, filled by [`load()`].
    #[serde(skip)]
    pub(crate) written: Written,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeName(Settings::new(PathBuf::new()).node),
            data: PathBuf::from("livetrail-data"),
            shutdown_timeout: Span::secs(10),
            drain_timeout: Span::secs(600),
            log: Log::default(),
            rtmp: Rtmp::default(),
            http: Http::default(),
            hls: Hls::default(),
            api: Api::default(),
            tls: Tls::default(),
            application: vec![Application::default()],
            limits: SessionLimits::default(),
            auth: Auth::default(),
            relay: Relay::default(),
            audit: Audit::default(),
            trail: Trail::default(),
            sink: Vec::new(),
            secret_files: Vec::new(),
            written: Written::default(),
        }
    }
}

/// The server's name in the trail: 1 to 255 bytes without control characters and `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeName(pub(crate) String);

#[cfg(test)]
mod tests;
