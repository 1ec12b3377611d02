//! `[sink.syslog]`: a receiver of syslog.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A receiver.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Syslog {
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) transport: SyslogTransport,
    #[serde(default)]
    pub(crate) insecure: bool,
    #[serde(default)]
    pub(crate) server_name: Option<String>,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) accept_plain_close: bool,
    /// Log audit (RFC 5424, table 1).
    #[serde(default = "facility")]
    pub(crate) facility: u8,
    /// Reserved for examples (RFC 5612).
    #[serde(default = "enterprise")]
    pub(crate) enterprise: u32,
}

/// How messages are carried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SyslogTransport {
    /// TLS over TCP.
    #[default]
    Tls,
    /// TCP alone.
    Tcp,
}

const fn facility() -> u8 {
    13
}

const fn enterprise() -> u32 {
    32_473
}

impl Syslog {
    pub(super) fn resolve(&mut self, base: &Path) {
        for file in [
            &mut self.ca_file,
            &mut self.certificate_file,
            &mut self.key_file,
        ] {
            *file = file.take().map(|file| base.join(file));
        }
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let names = [&self.ca_file, &self.certificate_file, &self.key_file];
        let tls = names.iter().any(|file| file.is_some()) || self.accept_plain_close;
        let problem = match self.transport {
            _ if self.facility > 23 => "has a facility above 23",
            _ if self.certificate_file.is_some() != self.key_file.is_some() => {
                "needs both of certificate_file and key_file, or none"
            }
            SyslogTransport::Tcp if tls || self.server_name.is_some() => {
                "has settings of TLS and transport = \"tcp\""
            }
            SyslogTransport::Tls if self.insecure => {
                "has insecure = true, which is for transport = \"tcp\" alone"
            }
            SyslogTransport::Tls | SyslogTransport::Tcp => return None,
        };
        Some(("syslog", problem.to_owned()))
    }
}
