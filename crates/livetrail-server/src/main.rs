//! The `livetrail` binary: the server, its client, and the tools for its trail.

mod api;
mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod nearest;
mod output;
mod owner;
mod serve;
mod time;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    output::Failure,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Publish(args) => commands::publish::run(&args),
        Command::Play(args) => commands::play::run(&args),
        Command::Trail(command) => commands::trail::run(&command),
        Command::Token(command) => commands::token::run(&command),
        Command::Config(command) => commands::config::run(command),
    };
    outcome.unwrap_or_else(Failure::report)
}
