//! The arguments of `livetrail trail sinks init` and `read`. They exist in each build, whichever
//! sinks it has.

use std::path::PathBuf;

use crate::config::{ConfigFileAndData, RequiredConfigFile};

/// Create the missing topics of the configuration, with settings that lose no record, and check the
/// existing ones.
///
/// A sink with `personal = "opening"` gets a compacted topic for its openings as well.
///
/// An existing topic is never changed. This is for an administrator: the server itself needs no
/// right to create topics.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks init kafka --config livetrail.toml
  livetrail trail sinks init kafka --config livetrail.toml --partitions 8 --user admin --password-file admin.password

Exit codes: 0 every topic keeps its records; 1 a topic could not be created, would lose records or erase nothing, with the reason; 2 the configuration is invalid.")]
pub(crate) struct InitKafkaArgs {
    #[command(flatten)]
    pub(crate) file: RequiredConfigFile,
    /// Partitions of a new topic; each holds one log. Without it, as many as the configuration's
    /// `partition` needs, or 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) partitions: Option<u16>,
    /// Replicas of a new topic. Without it, 3, or 1 if the configuration accepts `one-replica`.
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
    /// A file with that user's password.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Write what a topic holds of a log into a new directory, for `livetrail-verify DIR --vkey FILE`.
///
/// Only the topic is read, and nothing in it is trusted: the verifier decides whether it is the log
/// and whole. It needs the rights to read and to describe the topic. Records that the newest
/// checkpoint does not cover yet are skipped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only the [[sink]] with [sink.kafka] is read from the configuration; an auditor's file needs nothing else.

Examples:
  livetrail trail sinks read kafka --config livetrail.toml --to copy
  livetrail trail sinks read kafka --config audit.toml --origin example.com/audit --user auditor --password-file auditor.password --to copy
  livetrail trail sinks read kafka --config audit.toml --all --to copies    # then livetrail-verify --fleet copies --vkey FILE --vkey FILE

Exit codes: 0 written; 1 the topic cannot be read from its beginning, or the directory is in use; 2 the configuration is invalid.")]
pub(crate) struct ReadKafkaArgs {
    #[command(flatten)]
    pub(crate) server: ConfigFileAndData,
    /// The directory to write. It must be new, or empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// The log's name, as in its checkpoints and keys. Without it, the name of the trail in the
    /// data directory.
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// Write every log of the topic, each into a directory of its own: the logs of several servers,
    /// for `livetrail-verify --fleet DIR`.
    #[arg(long, conflicts_with = "origin")]
    pub(crate) all: bool,
    /// The sink's name, if the configuration has several of this kind.
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
    #[command(flatten)]
    pub(crate) login: KafkaLogin,
}

/// Create the missing buckets of the configuration, with Object Lock, and check the existing ones.
///
/// This is for an administrator, with the credentials of the environment or the configuration. The
/// server itself needs no right to create buckets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks init s3 --config livetrail.toml
  AWS_PROFILE=administrator livetrail trail sinks init s3 --config livetrail.toml

Exit codes: 0 every bucket is right; 1 a bucket could not be created or is wrong; 2 the configuration is invalid.")]
pub(crate) struct InitS3Args {
    #[command(flatten)]
    pub(crate) file: RequiredConfigFile,
}

/// Create the schema `livetrail` in a PostgreSQL database, or update it, with the group roles
/// livetrail_writer and livetrail_reader.
///
/// This is for an administrator of the database, who then owns the schema. The server should log in
/// as another role.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks init postgres --url postgres://postgres@127.0.0.1/trail
  livetrail trail sinks init postgres --url-file admin.url --ca-file ca.pem

Exit codes: 0 done, or already there; 1 it could not be created; 2 the address or a file is invalid.")]
pub(crate) struct InitPostgresArgs {
    /// The administrator's address. Everybody on this machine can see a password in it: use
    /// --url-file or the variable instead.
    #[arg(
        long,
        value_name = "URL",
        env = "LIVETRAIL_POSTGRES_ADMIN_URL",
        hide_env_values = true
    )]
    pub(crate) url: Option<String>,
    /// A file with that address.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) url_file: Option<PathBuf>,
    /// Authorities to trust instead of this system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}
