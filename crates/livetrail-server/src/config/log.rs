//! The section `[log]`: which lines the server logs, their format, and whether they have personal
//! data.

use serde::Deserialize;

use super::LogFilter;

/// The log, which goes to standard error: which lines, and their format.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: LogFilter,
    pub(crate) format: LogFormat,
    /// Whether lines have addresses, principals and user agents.
    pub(crate) personal: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: LogFilter("info".to_owned()),
            format: LogFormat::Text,
            personal: false,
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
