//! `livetrail trail check`.

use std::{path::Path, process::ExitCode};

use livetrail_record::{BootEnd, TrailChecker, TrailReport};
use serde_json::json;

use super::source::{Lines, Source, TrailPath};
use crate::output::{Failure, Outcome, say};

/// Check that a trail is complete: every session begins and ends exactly once, and no record is
/// missing without a report.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail check ./livetrail-data
  livetrail trail check audit.log --format arcly

Exit codes: 0 sound; 1 not sound, with what is wrong and where; 2 could not be checked.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// How the lines of a file are read. A log of arcly-stream names no sessions, so only its lines
    /// are checked.
    #[arg(long, value_name = "FORMAT", default_value = "livetrail")]
    pub(crate) format: Lines,
}

/// This many findings are shown. Any others are only counted.
const MAX_SHOWN: usize = 100;

/// The result of checking a trail.
struct Checked {
    /// The findings in words. There are at most [`MAX_SHOWN`].
    findings: Vec<String>,
    total: u64,
    report: TrailReport,
    torn_bytes: usize,
}

impl Checked {
    fn is_sound(&self) -> bool {
        self.total == 0
    }
}

/// Runs the command. Exit code 1 means that the trail is not sound.
pub(super) fn run(args: &Args) -> Outcome {
    let mut trail = Source::open(&args.trail, args.format)?;
    if let Source::Ledger(ledger) = &trail
        && ledger.first > 0
    {
        return Err(Failure::unusable(anyhow::anyhow!(
            "the entries below {} were pruned: `livetrail trail verify` checks the rest against the record of that",
            ledger.first
        )));
    }
    let checked = match args.format {
        Lines::Livetrail => check(&mut trail)?,
        Lines::Arcly => return check_lines(&mut trail, args.json),
    };
    if args.json {
        say(&as_json(&checked).to_string())?;
    } else {
        match &trail {
            Source::File { path, .. } => report(path, &checked)?,
            Source::Ledger(ledger) => {
                report(&ledger.directory, &checked)?;
                say(
                    "these are the records' own rules; `livetrail trail verify` checks signatures and hashes as well",
                )?;
            }
        }
    }
    Ok(if checked.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reads each line of a log whose records name no sessions.
fn check_lines(trail: &mut Source, as_json: bool) -> Outcome {
    let (mut records, mut bad) = (0_u64, 0_u64);
    let mut findings = Vec::new();
    trail.each(|item| {
        match item.record {
            Ok(_) => records += 1,
            Err(error) => {
                bad += 1;
                if findings.len() < MAX_SHOWN {
                    findings.push(error);
                }
            }
        }
        Ok(())
    })?;
    let torn_bytes = trail.torn_bytes();
    if as_json {
        let checked = json!({
            "readable": bad == 0,
            "records": records,
            "findings_total": bad,
            "findings": findings,
            "torn_bytes": torn_bytes,
        });
        say(&checked.to_string())?;
    } else {
        for finding in &findings {
            say(finding)?;
        }
        say(&format!(
            "{records} records, {bad} lines that are not records; this format names no sessions, so only the lines were checked",
        ))?;
        if torn_bytes > 0 {
            say(&format!(
                "the last line is not complete ({torn_bytes} bytes)"
            ))?;
        }
    }
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check(trail: &mut Source) -> Result<Checked, Failure> {
    let unit = trail.unit();
    let mut checker = TrailChecker::new();
    let mut findings = Vec::new();
    let mut total: u64 = 0;
    let mut find = |text: String| {
        total += 1;
        if findings.len() < MAX_SHOWN {
            findings.push(text);
        }
    };
    trail.each(|item| {
        match item.record {
            Ok(record) => {
                for finding in checker.feed(&record) {
                    find(format!("{unit} {}: {finding}", item.number));
                }
            }
            Err(error) => find(error),
        }
        Ok(())
    })?;
    let (last, report) = checker.finish();
    for finding in last {
        find(format!("at the end: {finding}"));
    }
    let torn_bytes = trail.torn_bytes();
    Ok(Checked {
        findings,
        total,
        report,
        torn_bytes,
    })
}

fn report(path: &Path, checked: &Checked) -> anyhow::Result<()> {
    let report = &checked.report;
    for finding in &checked.findings {
        say(finding)?;
    }
    if checked.total > checked.findings.len() as u64 {
        say(&format!(
            "… and {} more",
            checked.total - checked.findings.len() as u64
        ))?;
    }
    let verdict = if checked.is_sound() {
        "sound"
    } else {
        "NOT SOUND"
    };
    let dropped: u64 = report.boots.iter().map(|boot| boot.dropped).sum();
    say(&format!(
        "{}: {verdict}: {} records, {} runs of the server, {} sessions closed, {} open, {dropped} records reported as lost",
        path.display(),
        report.records,
        report.boots.len(),
        report.closed_sessions,
        report.open.len(),
    ))?;
    if checked.torn_bytes > 0 {
        say(&format!(
            "the last line is not complete yet ({} bytes): it is being written, or a crash cut it short",
            checked.torn_bytes
        ))?;
    }
    if report
        .boots
        .last()
        .is_some_and(|boot| boot.end == BootEnd::Running)
    {
        say(
            "the last run has not ended: the server runs, or it crashed and was not started again",
        )?;
    }
    Ok(())
}

fn as_json(checked: &Checked) -> serde_json::Value {
    let report = &checked.report;
    let boots = report.boots.iter().map(|boot| {
        json!({
            "boot": boot.boot.to_string(),
            "node": boot.node,
            "records": boot.records,
            "dropped": boot.dropped,
            "unsettled": boot.unsettled,
            "end": match boot.end {
                BootEnd::Stopped => "stopped",
                BootEnd::Crashed => "crashed",
                _ => "running",
            },
        })
    });
    let open = report
        .open
        .iter()
        .map(|session| session.session.to_string());
    json!({
        "sound": checked.is_sound(),
        "records": report.records,
        "sessions_closed": report.closed_sessions,
        "sessions_open": open.collect::<Vec<_>>(),
        "boots": boots.collect::<Vec<_>>(),
        "findings_total": checked.total,
        "findings": checked.findings,
        "torn_bytes": checked.torn_bytes,
    })
}
