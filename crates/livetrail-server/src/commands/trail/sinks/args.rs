//! The arguments of `livetrail trail sinks init` and `read`. They are there whichever sinks this
//! program has.

use std::path::PathBuf;

use crate::config::{ConfigFileAndData, RequiredConfigFile};

/// Make the topics of the configuration that are not there, with settings that keep what is
/// written, and say how those are that are.
///
/// A topic that is there is never changed. For an administrator: the server itself needs no right
/// to make topics.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks init kafka --config livetrail.toml
  livetrail trail sinks init kafka --config livetrail.toml --partitions 8 --user admin --password-file admin.password

Exit codes: 0 every topic keeps what is written; 1 one could not be made, or would lose records, and it says how; 2 the configuration cannot be used.")]
pub(crate) struct InitKafkaArgs {
    #[command(flatten)]
    pub(crate) file: RequiredConfigFile,
    /// Partitions of a new topic; each holds one log. Without it as many as the configuration's
    /// `partition` takes, or 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) partitions: Option<u16>,
    /// Replicas of a new topic. Without it 3, or 1 where the configuration accepts `one-replica`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) replicas: Option<u8>,
    #[command(flatten)]
    pub(crate) login: KafkaLogin,
}

/// Who talks to the brokers.
#[derive(Debug, clap::Args)]
pub(crate) struct KafkaLogin {
    /// Log in as this user instead of the configuration's.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// A file with that user's password in it.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Write what a topic has of a log into a new directory, for `livetrail-verify DIR --vkey FILE`.
///
/// Only the topic is read, and nothing of it is believed: whether it is the log, and whole, is for
/// the verifier to say. Takes rights to read and to describe the topic. What the newest checkpoint
/// does not cover yet is left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of the configuration only the [[sink]] with [sink.kafka] counts: an auditor's may have nothing else in it.

Examples:
  livetrail trail sinks read kafka --config livetrail.toml --to copy
  livetrail trail sinks read kafka --config audit.toml --origin example.com/audit --user auditor --password-file auditor.password --to copy

Exit codes: 0 written; 1 the topic cannot be read, or not from its beginning, or the directory is used; 2 the configuration cannot be used.")]
pub(crate) struct ReadKafkaArgs {
    #[command(flatten)]
    pub(crate) server: ConfigFileAndData,
    /// The directory to write. It must be new, or empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// The log's name, as in its checkpoints and keys. Without it that of the trail in the data
    /// directory.
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// The sink's name, where the configuration has several of this kind.
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
    #[command(flatten)]
    pub(crate) login: KafkaLogin,
}

/// Make the buckets of the configuration that are not there, with Object Lock, and check those that
/// are.
///
/// For an administrator, with the credentials that the environment or the configuration has; the
/// server itself needs no right to make buckets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks init s3 --config livetrail.toml
  AWS_PROFILE=administrator livetrail trail sinks init s3 --config livetrail.toml

Exit codes: 0 every bucket is as it should be; 1 one could not be made or is otherwise; 2 the configuration cannot be used.")]
pub(crate) struct InitS3Args {
    #[command(flatten)]
    pub(crate) file: RequiredConfigFile,
}

/// Make the schema `livetrail` in a database of PostgreSQL, or bring it up to date, with the group
/// roles livetrail_writer and livetrail_reader.
///
/// For an administrator of the database, who owns the schema from then on and should not be whom
/// the server logs in as.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks init postgres --url postgres://postgres@127.0.0.1/trail
  livetrail trail sinks init postgres --url-file admin.url --ca-file ca.pem

Exit codes: 0 done, also when all was there; 1 it could not be made; 2 the address or a file cannot be used.")]
pub(crate) struct InitPostgresArgs {
    /// The administrator's address. A password in it is seen by everybody on this machine: then
    /// rather --url-file, or the variable.
    #[arg(
        long,
        value_name = "URL",
        env = "LIVETRAIL_POSTGRES_ADMIN_URL",
        hide_env_values = true
    )]
    pub(crate) url: Option<String>,
    /// A file with that address in it.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) url_file: Option<PathBuf>,
    /// Authorities to believe instead of this system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}
