//! The command line as a tree. The arguments of a command are next to what it does.

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        config, play, publish, serve, token,
        trail::{self, sinks},
    },
    demo,
};

/// A live-streaming server (RTMP, HTTP-FLV) whose every session is on verifiable record.
#[derive(Debug, Parser)]
#[command(
    name = "livetrail",
    version,
    about = "A live-streaming server (RTMP, HTTP-FLV) whose every session is on verifiable record",
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
See it work:
  livetrail demo                                       a stream, its viewers and its trail, in a few seconds

Use it:
  livetrail trail init ./livetrail-data                once: creates the trail and its keys
  livetrail serve                                      RTMP on port 1935, HTTP on 127.0.0.1:8080
  livetrail publish clip.flv rtmp://127.0.0.1/live/cam
  livetrail play http://127.0.0.1:8080/live/cam.flv
  livetrail trail query ./livetrail-data               what happened

Exit codes: 0 done; 1 it failed or was refused; 2 wrong usage or configuration."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Publish(publish::Args),
    Play(play::Args),
    /// Read and check a trail.
    #[command(subcommand)]
    Trail(Trail),
    /// Make tokens for publishers and viewers.
    #[command(
        subcommand,
        after_help = "\
Examples:
  livetrail token issue --key-file tokens-2026.txt --grant play --stream cam --valid-for 8h --subject alice"
    )]
    Token(Token),
    /// Print and check configuration.
    #[command(
        subcommand,
        after_help = "\
Examples:
  livetrail config example > livetrail.toml
  livetrail config check livetrail.toml"
    )]
    Config(ConfigCommand),
}

/// Read and check a trail.
#[derive(Debug, Subcommand)]
pub(crate) enum Trail {
    Init(trail::init::Args),
    Query(Box<trail::query::Args>),
    Tail(trail::tail::Args),
    Check(trail::check::Args),
    Verify(trail::verify::Args),
    Checkpoint(trail::prove::CheckpointArgs),
    Prove(trail::prove::ProveArgs),
    Export(trail::export::Args),
    RotateKey(trail::rotate::Args),
    Prune(trail::keep::PruneArgs),
    Hold(trail::keep::HoldArgs),
    Erase(trail::erase::Args),
    Subject(trail::subject::SubjectArgs),
    Opening(trail::subject::OpeningArgs),
    Review(trail::review::Args),
    /// Confirm, on record, that this machine's clock is right, so that retention continues.
    ///
    /// Retention waits when the wall clock is more than a day ahead of the trail: the clock is
    /// wrong, or the server was down for long. A synchronised clock or a witness ends the wait. If
    /// there is neither, use this command. Check `date` first. The server may be running.
    #[command(after_help = "\
Examples:
  date; livetrail trail confirm-clock ./livetrail-data

Exit codes: 0 confirmed; 2 not confirmed, with the reason.")]
    ConfirmClock(trail::keep::Keeper),
    /// Set up the sinks that follow the trail, and show how far they are.
    #[command(
        subcommand,
        after_help = "\
Examples:
  livetrail trail sinks status --config livetrail.toml
  livetrail trail sinks init s3 --config livetrail.toml
  livetrail trail sinks read kafka --config livetrail.toml --to copy"
    )]
    Sinks(TrailSinks),
}

/// `livetrail trail sinks`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrailSinks {
    Status(sinks::StatusArgs),
    /// Create what a sink needs at its destination, if it is missing.
    #[command(subcommand)]
    Init(SinksInit),
    /// Read back what a sink holds, for an audit.
    #[command(subcommand)]
    Read(SinksRead),
}

/// What can be set up.
#[derive(Debug, Subcommand)]
pub(crate) enum SinksInit {
    Kafka(sinks::InitKafkaArgs),
    Postgres(sinks::InitPostgresArgs),
    S3(sinks::InitS3Args),
}

/// What can be read back.
#[derive(Debug, Subcommand)]
pub(crate) enum SinksRead {
    Kafka(sinks::ReadKafkaArgs),
}

/// Make tokens for publishers and viewers.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    Issue(token::Args),
}

/// Print and check configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a configuration file with every setting, its default and what it does.
    Example,
    Check(config::CheckArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
