//! The Livetrail server as a library: the program, and [`trail`] for programs that embed the
//! engine.
//!
//! The program is [`main()`]. What it does besides is private: a host wires engine, pipeline and
//! gateways itself.

mod api;
mod chain;
mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod nearest;
mod operator;
mod output;
mod owner;
mod serve;
mod time;
pub mod trail;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    output::Failure,
};

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
