//! The Livetrail server as a library: the program is [`main()`].
//!
//! Everything else is private. A host wires engine, pipeline and gateways itself, and uses
//! `livetrail-trail` for its trail.

mod api;
mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod nearest;
mod operator;
mod output;
mod serve;
mod time;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::{
    cli::{Cli, Command},
    output::Failure,
};

/// The command line, for programs that write completions and manual pages from it.
#[doc(hidden)]
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the `livetrail` program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => commands::serve::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Publish(args) => commands::publish::run(&args),
        Command::Play(args) => commands::play::run(&args),
        Command::Trail(command) => commands::trail::run(&command),
        Command::Token(command) => commands::token::run(&command),
        Command::Config(command) => commands::config::run(command),
    };
    outcome.unwrap_or_else(Failure::report)
}
