//! Flags that several commands share: the file of the configuration, and the settings that have a
//! flag.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError, LogFilter, LogFormat, Overrides, load, parse_address, variables};

/// `--config`, for a command that runs without a configuration file as well.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigFile {
    /// The server's configuration file (TOML); `livetrail config example` prints one with every
    /// setting.
    #[arg(long, short, value_name = "FILE", env = "LIVETRAIL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// `--config`, for a command that needs a configuration file.
#[derive(Debug, clap::Args)]
pub(crate) struct RequiredConfigFile {
    /// The server's configuration file.
    #[arg(long, short, value_name = "FILE", env = "LIVETRAIL_CONFIG")]
    pub(crate) config: PathBuf,
}

impl RequiredConfigFile {
    /// Reads the file, with the variables. `data` replaces the data directory of the file.
    ///
    /// # Errors
    /// [`load()`] fails.
    pub(crate) fn load(&self, data: Option<&Path>) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            data: data.map(Path::to_owned),
            ..Overrides::from_environment()
        };
        load(Some(&self.config), variables(), &overrides)
    }
}

/// `--config` and `--data`, for a command that reads a configured server's trail.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFileAndData {
    #[command(flatten)]
    pub(crate) file: RequiredConfigFile,
    /// The server's data directory, where it is not that of the configuration.
    #[arg(long, value_name = "DIR", env = "LIVETRAIL_DATA")]
    pub(crate) data: Option<PathBuf>,
}

impl ConfigFileAndData {
    /// Reads the file, with the variables and this data directory.
    ///
    /// # Errors
    /// [`load()`] fails.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        self.file.load(self.data.as_deref())
    }
}

/// Settings that have a flag.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOverrides {
    /// Where the trail is kept [default: ./livetrail-data].
    #[arg(long, value_name = "DIR", env = "LIVETRAIL_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address for RTMP [default: 0.0.0.0:1935].
    #[arg(long, value_name = "ADDR", env = "LIVETRAIL_RTMP", value_parser = parse_address)]
    pub(crate) rtmp: Option<SocketAddr>,
    /// Address for HTTP: playback, health, metrics, API [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", env = "LIVETRAIL_HTTP", value_parser = parse_address)]
    pub(crate) http: Option<SocketAddr>,
    /// What is logged: error, warn, info, debug, trace, or directives [default: info].
    #[arg(long, value_name = "FILTER", env = "LIVETRAIL_LOG")]
    pub(crate) log: Option<LogFilter>,
    /// How it is logged, to standard error [default: text].
    #[arg(long, value_name = "FORMAT", env = "LIVETRAIL_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn the_help_names_the_defaults() {
        let config = Config::default();
        let command = ServeOverrides::augment_args(clap::Command::new("serve"));
        let format = clap::ValueEnum::to_possible_value(&config.log.format).unwrap();
        for (flag, default) in [
            ("data", format!("./{}", config.data.display())),
            ("rtmp", config.rtmp.listen.to_string()),
            ("http", config.http.listen.to_string()),
            ("log", config.log.filter.0),
            ("log_format", format.get_name().to_owned()),
        ] {
            let mut all = command.get_arguments();
            let arg = all.find(|arg| arg.get_id() == flag).unwrap();
            let help = arg.get_help().unwrap().to_string();
            let wanted = format!("[default: {default}]");
            assert!(help.contains(&wanted), "--{flag}: {help}");
        }
    }
}
