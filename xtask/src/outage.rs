//! `cargo xtask outage`: the long form of the sinks' outages: an hour's records at 1,000 per
//! second, for one sink after the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{self, pass_through, say, typed};
use crate::workspace;

/// All sinks, those that take longest last.
const SINKS: &[&str] = &[
    "file", "stdout", "kafka", "syslog", "postgres", "otlp", "s3",
];

/// Our programs, as the system names them: the first 15 bytes.
const OURS: &[(&str, &str)] = &[
    ("trail-writer", "writer"),
    ("livetrail-verif", "verifier"),
    ("sinks-", "test"),
];

/// How often the memory of the processes is read. The system keeps the largest value of each
/// process, so only the last moments of one are missed.
const LOOK: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many records the trail grows by while the sink is away
    #[arg(long, default_value_t = 3_600_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    records: u64,
    /// Which sinks; all, if none is named
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SINKS))]
    sinks: Vec<String>,
}

/// What a run has shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    seconds: String,
    records: String,
    equal: bool,
    verified: bool,
    /// The largest of our processes, in KiB, and which.
    peak: (u64, &'static str),
}

/// Runs them one after the other. Returns `false` when one failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let root = workspace::root()?;
    for build in [
        &["test", "--package=system-tests", "--test=sinks", "--no-run"][..],
        &[
            "build",
            "--package=livetrail-verify",
            "--bin=livetrail-verify",
            "--features=postgres,s3",
        ],
    ] {
        let mut command = cargo(&root, build);
        let built = pass_through(&mut command)?.success();
        ensure!(built, "`{}` failed", typed(&command));
    }
    let mut table = vec![
        "| sink | records | seconds | largest process of ours | equal | verified |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut held = true;
    for sink in SINKS {
        if !arguments.sinks.is_empty() && !arguments.sinks.iter().any(|asked| asked == sink) {
            continue;
        }
        let (shown, passed) = one(&root, sink, arguments.records)?;
        held &= passed && shown.equal && shown.verified;
        table.push(row(sink, &shown));
    }
    for line in table {
        say(&line);
    }
    say(if held {
        "outage: held"
    } else {
        "outage: FAILED"
    });
    Ok(held)
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments).arg("--release");
    command
}

fn one(root: &Path, sink: &str, records: u64) -> Result<(Shown, bool)> {
    let test = format!("{sink}::outage::an_outage_costs_nothing_but_disk");
    let mut command = cargo(root, &["test", "--package=system-tests", "--test=sinks"]);
    command.args(["--", "--exact", "--nocapture", &test]);
    command.env("LIVETRAIL_OUTAGE_RECORDS", records.to_string());
    let folder = workspace::target(root).join("outage");
    fs::create_dir_all(&folder).context("a folder for the logs")?;
    let log = folder.join(format!("{sink}.log"));
    let mut shown = Shown::default();
    let (done, ended) = std::sync::mpsc::sync_channel::<()>(1);
    let (finished, peak) = std::thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let mut peak = (0, "");
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(largest(std::process::id()));
            }
            peak
        });
        let finished = process::run(&mut command, sink, &log, |line| {
            if hears(&mut shown, line) {
                say(line);
            }
        });
        drop(done);
        (finished, watching.join().unwrap_or_default())
    });
    shown.peak = peak;
    let finished = finished?;
    let passed = finished.status.success();
    if !passed {
        say(&finished.tail);
    }
    Ok((shown, passed))
}

/// Whether the line is one that says what has been shown: `outage of SINK, N s: …`.
fn hears(shown: &mut Shown, line: &str) -> bool {
    let Some((_, said)) = line.split_once("outage of ") else {
        return false;
    };
    let Some((place, what)) = said.split_once(" s: ") else {
        return false;
    };
    shown.seconds = place.rsplit(' ').next().unwrap_or_default().to_owned();
    shown.equal |= what.starts_with("equal");
    shown.verified |= what.starts_with("verified");
    if let Some(records) = what.strip_prefix("records ") {
        records
            .split(',')
            .next()
            .unwrap_or_default()
            .clone_into(&mut shown.records);
    }
    true
}

fn row(sink: &str, shown: &Shown) -> String {
    let yes = |held| if held { "yes" } else { "NO" };
    format!(
        "| {sink} | {} | {} | {} MiB, {} | {} | {} |",
        shown.records,
        shown.seconds,
        shown.peak.0 >> 10,
        shown.peak.1,
        yes(shown.equal),
        yes(shown.verified)
    )
}

/// The most memory that one of our programs below this process has had, in KiB, and which.
fn largest(root: u32) -> (u64, &'static str) {
    let mut parents = BTreeMap::new();
    let mut sizes = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that has ended meanwhile is skipped.
        let Ok(status) = fs::read_to_string(process.path().join("status")) else {
            continue;
        };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let number = |name| field(name)?.split_whitespace().next()?.parse::<u64>().ok();
        parents.insert(id, number("PPid:").unwrap_or(0));
        let name = field("Name:").unwrap_or_default().trim();
        let ours = OURS.iter().find(|(begins, _)| name.starts_with(begins));
        if let (Some((_, what)), Some(kib)) = (ours, number("VmHWM:")) {
            sizes.push((id, kib, *what));
        }
    }
    let below = |mut id: u32| {
        while let Some(parent) = parents.get(&id).and_then(|id| u32::try_from(*id).ok()) {
            if parent == root {
                return true;
            }
            id = parent;
        }
        false
    };
    let below = sizes.into_iter().filter(|(id, ..)| below(*id));
    below
        .map(|(_, kib, what)| (kib, what))
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_reported_by_what_it_has_shown() {
        let mut shown = Shown::default();
        for (line, heard) in [
            (
                "test kafka::outage::x ... outage of kafka, 3 s: the hour is over: 7 records",
                true,
            ),
            (
                "outage of kafka, 21 s: records 3600014, 0 of them there again",
                true,
            ),
            (
                "outage of kafka, 30 s: equal, index for index and byte for byte",
                true,
            ),
            ("an outage of nothing", false),
            ("", false),
        ] {
            assert_eq!(hears(&mut shown, line), heard, "{line}");
        }
        assert_eq!((shown.equal, shown.verified), (true, false));
        assert_eq!(
            row("kafka", &shown),
            "| kafka | 3600014 | 30 | 0 MiB,  | yes | NO |"
        );
    }
}
