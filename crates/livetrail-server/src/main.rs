//! The `livetrail` binary: the server, its client, and the tools for its trail.

mod api;
mod cli;
mod commands;
mod config;
mod output;
mod serve;
mod time;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    output::{Failure, Outcome},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Token(command) => commands::token::run(&command),
        Command::Config(command) => commands::config::run(&command),
        _ => Ok(ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(Failure::report)
}

/// Keeps `Outcome` in the signature of every command.
const _: fn(&cli::Token) -> Outcome = commands::token::run;
