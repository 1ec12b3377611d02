//! `[sink.syslog]`.

use std::path::{Path, PathBuf};

use livetrail_settings::Bounds;
use serde::Deserialize;

use crate::settings::Settings;

/// The facility log audit (RFC 5424, table 1).
pub const DEFAULT_FACILITY: u8 = 13;

/// The number that is reserved for examples (RFC 5612).
pub const DEFAULT_ENTERPRISE: u32 = 32_473;

/// The largest facility, which is local use 7.
pub(crate) const MAX_FACILITY: u8 = 23;

with_tls_files! {
    /// A receiver of syslog.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[non_exhaustive]
    pub struct Syslog {
        /// The address: `HOST`, `HOST:PORT` or `[IPv6]:PORT`.
        pub address: String,
        /// The transport of messages.
        #[serde(default)]
        pub transport: Transport,
        /// Whether the sink may send to another machine without TLS.
        #[serde(default)]
        pub insecure: bool,
        /// The name in the receiver's certificate. `None` means the name in the address.
        #[serde(default)]
        pub server_name: Option<String>,
        ..tls_files,
        /// Whether the end of a connection without `close_notify` counts as an orderly end.
        #[serde(default)]
        pub accept_plain_close: bool,
        /// The facility, 0 to 23.
        #[serde(default = "facility")]
        pub facility: u8,
        /// The enterprise number in the name of the structured data.
        #[serde(default = "enterprise")]
        pub enterprise: u32,
    }
}

/// The transport of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transport {
    /// TLS over TCP (RFC 5425).
    #[default]
    Tls,
    /// TCP alone (RFC 6587). Anyone on the way can read and forge the messages.
    Tcp,
}

const fn facility() -> u8 {
    DEFAULT_FACILITY
}

const fn enterprise() -> u32 {
    DEFAULT_ENTERPRISE
}

impl Settings for Syslog {
    fn resolve(&mut self, base: &Path) {
        self.resolve_tls(base);
    }

    fn problem(&self) -> Option<String> {
        let files = self.tls();
        let tls = files.are_given() || self.accept_plain_close;
        if let Some(problem) = files.wrong() {
            return Some(problem.to_owned());
        }
        let problem = match self.transport {
            _ if self.facility > MAX_FACILITY => "has a facility above 23",
            Transport::Tcp if tls || self.server_name.is_some() => {
                "has settings of TLS and transport = \"tcp\""
            }
            Transport::Tls if self.insecure => {
                "has insecure = true, which is for transport = \"tcp\" alone"
            }
            Transport::Tls | Transport::Tcp => return None,
        };
        Some(problem.to_owned())
    }

    fn bounds(&self, bounds: &mut Bounds) {
        let most = MAX_FACILITY;
        bounds.number("facility", self.facility, 0, most, "");
    }

    fn secret_files(&self) -> Vec<&PathBuf> {
        self.key_file.iter().collect()
    }
}
