//! The load client in a separate process, next to a measured server.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    load::{JOINING, MEASURING, Report},
    server::Server,
};

/// The task of the client.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub viewers: usize,
    pub seconds: f64,
    pub streams: usize,
    pub storm: usize,
    pub storm_seconds: f64,
    /// Viewers per second who join and leave.
    pub passing: f64,
    pub clip: &'a Path,
}

/// A running client. It ends when this is dropped.
pub struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts the client and its publisher. The client waits once the publisher has begun.
    pub fn start(server: &Server, plan: &Plan<'_>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("load").arg(server.play_url()).arg("--wait");
        command.arg("--clip").arg(plan.clip);
        let join_seconds = (plan.viewers as f64 / 1_000.0).max(1.0);
        for (name, value) in [
            ("--viewers", plan.viewers.to_string()),
            ("--seconds", plan.seconds.to_string()),
            ("--join-seconds", join_seconds.to_string()),
            ("--streams", plan.streams.to_string()),
            ("--storm", plan.storm.to_string()),
            ("--storm-seconds", plan.storm_seconds.to_string()),
            ("--passing", plan.passing.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        if let Some(ca) = server.ca() {
            command.arg("--ca").arg(ca);
        }
        if let Some(url) = server.publish_url() {
            command.arg("--publish").arg(url);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().context("piped")?;
        let lines = BufReader::new(output).lines();
        let mut client = Self { child, lines };
        client.expect(JOINING)?;
        Ok(client)
    }

    /// Lets the viewers join.
    pub fn join(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("piped")?;
        Ok(writeln!(input)?)
    }

    /// Waits until all have joined and the measured time begins.
    pub fn await_joined(&mut self) -> Result<()> {
        self.expect(MEASURING)
    }

    /// Waits until the measured time is over. Returns what the viewers have seen.
    pub fn report(&mut self) -> Result<Report> {
        Report::parse(&self.line()?)
    }

    fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().context("the load client ended")??)
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == wanted, "the load client says `{line}`");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
