//! The program itself: its commands, its output and its exit codes.

mod commands;
mod personal;
mod query;
