//! `cargo xtask fuzz`: the targets of `fuzz/`, built with coverage and AddressSanitizer, each run
//! for a bounded time.
//!
//! `fuzz/` has the layout of cargo-fuzz, so `cargo fuzz run TARGET` works too where that is
//! installed. It is not needed: a build with the flags below and the arguments of libFuzzer are all
//! that it would add.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::clock::{Stopwatch, human};
use crate::process::{pass_through, read, run as run_command, say, typed};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these targets; without one, all
    targets: Vec<String>,
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Run the one target on this input alone, to see again what it found
    #[arg(long, value_name = "FILE")]
    reproduce: Option<PathBuf>,
}

/// What cargo-fuzz passes to rustc: coverage counters and comparisons for libFuzzer to follow,
/// overflow checks, and AddressSanitizer for the unsafe code of dependencies (our own crates but
/// one forbid it).
const RUSTFLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "-Zsanitizer=address",
    "--cfg=fuzzing",
];

/// Bounds of one run of a target: memory in MiB, and seconds for a single input.
const MOST_MEMORY: &str = "-rss_limit_mb=2048";
const SLOWEST_INPUT: &str = "-timeout=10";

/// Builds and runs. Returns `false` when a target found something.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let fuzz = workspace::root()?.join("fuzz");
    let targets = choose(&all(&fuzz)?, &arguments.targets)?;
    let binaries = build(&fuzz)?;
    if let Some(input) = &arguments.reproduce {
        ensure!(
            targets.len() == 1,
            "name the one target that `--reproduce` is for"
        );
        return Ok(pass_through(Command::new(binaries.join(&targets[0])).arg(input))?.success());
    }
    let mut failed = 0;
    for (position, target) in targets.iter().enumerate() {
        let number = format!("[{:>2}/{}]", position + 1, targets.len());
        say(&format!("{number} {target} · {} s", arguments.seconds));
        failed += usize::from(!run_target(
            &fuzz,
            &binaries,
            target,
            &number,
            arguments.seconds,
        )?);
    }
    say(&format!(
        "\nfuzz: {} passed, {failed} failed",
        targets.len() - failed
    ));
    Ok(failed == 0)
}

/// The names of all targets: the files of `fuzz_targets/`.
fn all(fuzz: &Path) -> Result<Vec<String>> {
    let folder = fuzz.join("fuzz_targets");
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if let (Some(stem), Some("rs")) = (
            path.file_stem(),
            path.extension().and_then(|extension| extension.to_str()),
        ) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn choose(all: &[String], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!(
            "there is no target `{unknown}`; the targets are {}",
            all.join(", ")
        );
    }
    Ok(all
        .iter()
        .filter(|name| wanted.is_empty() || wanted.contains(name))
        .cloned()
        .collect())
}

/// Builds all targets and gives the folder of the programs.
fn build(fuzz: &Path) -> Result<PathBuf> {
    let host = host()?;
    let target = fuzz.join("target");
    std::fs::create_dir_all(&target)
        .with_context(|| format!("cannot create {}", target.display()))?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Naming the host as the target keeps the flags away from build scripts and macros.
    command
        .args(["build", "--release", "--target", &host, "--target-dir"])
        .arg(&target)
        .current_dir(fuzz);
    // Sanitizers are not stabilised; this lets the one toolchain that there is have them.
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS.join(" "));
    let watch = Stopwatch::start();
    let what = typed(&command);
    run_command(
        &mut command,
        "building the targets",
        &target.join("build.log"),
        |_| (),
    )?
    .ok(&what)?;
    say(&format!("built in {}", human(watch.elapsed())));
    Ok(target.join(host).join("release"))
}

/// The platform that rustc builds for when it has no `--target`.
pub(crate) fn host() -> Result<String> {
    let version = read(Command::new("rustc").arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("`rustc -vV` names no host")
}

/// Runs one target from its seeds and what earlier runs found. Returns `false` when it found
/// something.
fn run_target(
    fuzz: &Path,
    binaries: &Path,
    target: &str,
    number: &str,
    seconds: u32,
) -> Result<bool> {
    let corpus = fuzz.join("corpus").join(target);
    let artifacts = fuzz.join("artifacts").join(target);
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut command = Command::new(binaries.join(target));
    command.arg(format!("-max_total_time={seconds}")).args([
        MOST_MEMORY,
        SLOWEST_INPUT,
        "-print_final_stats=1",
    ]);
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .env("RUST_BACKTRACE", "0");
    // What it finds goes into the first folder; the seeds are only read.
    command.arg(&corpus);
    let seeds = fuzz.join("seeds").join(target);
    ensure!(
        seeds.is_dir(),
        "{} is missing: put a few small real inputs there",
        seeds.display()
    );
    command.arg(seeds);
    command.current_dir(fuzz);

    let mut stats = Stats::default();
    let log = fuzz.join("target").join(format!("{target}.log"));
    // A log of an earlier run would be read as this one's.
    let _ = std::fs::remove_file(&log);
    let finished = run_command(&mut command, &format!("{number} {target}"), &log, |line| {
        stats.read(line)
    })?;
    if finished.status.success() {
        say(&format!(
            "{number} {target} ok · {} inputs tried, {} kept, coverage {}",
            stats.tried, stats.kept, stats.coverage
        ));
        return Ok(true);
    }
    say(stats.found.trim_end());
    say(&format!(
        "{number} {target} FAILED · the whole of it: {}",
        log.display()
    ));
    if let Some(input) = &stats.input {
        say(&format!(
            "  see it again: cargo xtask fuzz {target} --reproduce {input}"
        ));
    }
    Ok(false)
}

/// How many lines of a finding are shown, and how much of each: a panic's message, not its whole
/// stack.
const FOUND_LINES: usize = 6;
const FOUND_LINE_CHARACTERS: usize = 400;

/// The figures that libFuzzer reports about a run.
#[derive(Default)]
struct Stats {
    tried: u64,
    kept: u64,
    coverage: u64,
    /// The first lines of what was found.
    found: String,
    found_lines: usize,
    /// The file with the input that found it.
    input: Option<String>,
}

impl Stats {
    fn read(&mut self, line: &str) {
        let value = |name: &str| {
            line.strip_prefix(name)
                .and_then(|rest| rest.trim().parse().ok())
        };
        if let Some(tried) = value("stat::number_of_executed_units:") {
            self.tried = tried;
        } else if let Some(kept) = value("stat::new_units_added:") {
            self.kept = kept;
        } else if let Some((_, rest)) = line.split_once("Test unit written to ") {
            self.input = Some(rest.trim().to_owned());
        } else if let Some((_, rest)) = line.split_once(" cov: ") {
            self.coverage = rest
                .split_whitespace()
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(self.coverage);
        }
        let begins = line.contains(" panicked at ") || line.contains("ERROR: ");
        if (begins || self.found_lines > 0) && self.found_lines < FOUND_LINES {
            self.found.extend(line.chars().take(FOUND_LINE_CHARACTERS));
            self.found.push('\n');
            self.found_lines += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_libfuzzer_is_read() {
        let mut stats = Stats::default();
        stats.read(
            "#131072 pulse  cov: 214 ft: 610 corp: 90/2101b lim: 1300 exec/s: 65536 rss: 60Mb",
        );
        stats.read("stat::number_of_executed_units: 250000");
        stats.read("stat::new_units_added:          17");
        assert_eq!(
            (stats.tried, stats.kept, stats.coverage),
            (250_000, 17, 214)
        );
        assert_eq!((stats.found.as_str(), stats.input), ("", None));
    }

    #[test]
    fn a_finding_is_its_first_lines_and_its_input() {
        let mut stats = Stats::default();
        stats.read("INFO: seed corpus: files: 3");
        stats.read("thread '<unnamed>' (7) panicked at src/lib.rs:3:1:");
        (0..100).for_each(|_| stats.read("  0: a frame of the stack"));
        stats.read("artifact_prefix='a/'; Test unit written to a/crash-1");
        assert!(stats.found.starts_with("thread"), "{}", stats.found);
        assert_eq!(stats.found.lines().count(), FOUND_LINES);
        assert_eq!(stats.input.as_deref(), Some("a/crash-1"));
    }

    #[test]
    fn targets_are_chosen_by_name_and_an_unknown_one_is_refused() {
        let all = ["amf0".to_owned(), "chunk".to_owned()];
        assert_eq!(choose(&all, &[]).unwrap(), all);
        assert_eq!(choose(&all, &["chunk".to_owned()]).unwrap(), ["chunk"]);
        assert!(
            choose(&all, &["chunks".to_owned()])
                .unwrap_err()
                .to_string()
                .contains("amf0, chunk")
        );
    }
}
