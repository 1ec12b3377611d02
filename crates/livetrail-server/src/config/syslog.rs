//! `[sink.syslog]`: a receiver of syslog.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::TlsFiles;
use super::load::beside;

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
        beside(
            base,
            [
                &mut self.ca_file,
                &mut self.certificate_file,
                &mut self.key_file,
            ],
        );
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let files = self.tls();
        let tls = files.are_given() || self.accept_plain_close;
        if let Some(problem) = files.wrong() {
            return Some(("syslog", problem.to_owned()));
        }
        let problem = match self.transport {
            _ if self.facility > 23 => "has a facility above 23",
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

    /// Its files.
    pub(crate) fn tls(&self) -> TlsFiles<'_> {
        let (chain, key) = (&self.certificate_file, &self.key_file);
        TlsFiles::new(self.ca_file.as_ref(), chain.as_ref(), key.as_ref())
    }
}
