//! `cargo xtask test`: every check of CI, one after the other, each with its time, all of them also
//! when one fails.

mod changed;
mod counts;
mod deny;
pub(crate) mod packages;
mod platforms;
mod programs;
mod steps;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock::{Stopwatch, human};
use crate::process::{Finished, run as run_command, say, typed};
use crate::workspace;
use counts::Counts;
use steps::Step;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What a developer runs every few minutes: format, lints, rules, unit and property tests
    #[arg(long)]
    fast: bool,
    /// The fast steps for the crates with changes since BASE, and for the crates that need them
    #[arg(
        long,
        value_name = "BASE",
        num_args = 0..=1,
        default_missing_value = "main",
        conflicts_with = "fast"
    )]
    changed: Option<String>,
    /// Only this step, and those that it needs; may be given several times
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
}

/// What a step leaves when nothing failed.
pub(crate) enum Outcome {
    Passed(String),
    Tests(Counts),
}

/// What is linted and tested.
pub(crate) enum Scope {
    /// Every crate with every feature.
    Whole,
    /// Every crate but the system tests, which need every sink and so librdkafka.
    Fast,
    /// These crates.
    Crates(Vec<String>),
}

/// What a step works with.
pub(crate) struct Context {
    pub(crate) root: PathBuf,
    pub(crate) scope: Scope,
    logs: PathBuf,
    label: String,
    log: PathBuf,
    /// Tests counted so far in the step that runs, also when it fails.
    counts: Counts,
}

impl Context {
    /// A `cargo` command in the root of the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> std::process::Command {
        let mut command =
            std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// Runs `command` with its output in the step's log; an error shows the end of that output.
    pub(crate) fn must(&mut self, mut command: std::process::Command) -> Result<()> {
        let what = typed(&command);
        self.run(&mut command)?.ok(&what)
    }

    fn run(&mut self, command: &mut std::process::Command) -> Result<Finished> {
        let counts = &mut self.counts;
        run_command(command, &self.label, &self.log, |line| counts.read(line))
    }
}

enum Verdict {
    Passed(String),
    Failed,
}

struct Line {
    name: &'static str,
    verdict: Verdict,
    took: Duration,
    counts: Counts,
}

/// Runs the steps. Returns `false` when one of them failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let fast = arguments.fast || arguments.changed.is_some();
    let chosen = choose(&steps::all(), fast, &arguments.only)?;
    let root = workspace::root()?;
    let scope = match &arguments.changed {
        Some(base) => Scope::Crates(changed::crates(&root, base)?),
        None if fast => Scope::Fast,
        None => Scope::Whole,
    };
    let logs = workspace::target(&root).join("xtask-logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let mut context = Context {
        root,
        scope,
        log: logs.clone(),
        logs,
        label: String::new(),
        counts: Counts::default(),
    };

    if let Scope::Crates(crates) = &context.scope {
        let names = if crates.is_empty() {
            "none".to_owned()
        } else {
            crates.join(", ")
        };
        say(&format!(
            "crates with changes, and those that need them: {names}"
        ));
    }
    let watch = Stopwatch::start();
    say(&format!(
        "{} steps; full output in {}",
        chosen.len(),
        shown(&context.logs, &context.root)
    ));
    let mut lines: Vec<Line> = Vec::with_capacity(chosen.len());
    for (position, step) in chosen.iter().enumerate() {
        let number = format!("[{:>2}/{}]", position + 1, chosen.len());
        lines.push(run_one(step, &number, &lines, &mut context));
    }
    say("");
    Ok(summary(&lines, watch.elapsed()))
}

/// The steps asked for, in their order, with what they need.
fn choose(all: &[Step], fast: bool, only: &[String]) -> Result<Vec<Step>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !all.iter().any(|step| step.name == **name))
    {
        let names: Vec<_> = all.iter().map(|step| step.name).collect();
        bail!(
            "there is no step `{unknown}`; the steps are {}",
            names.join(", ")
        );
    }
    let wanted = |step: &Step| {
        let needed = all.iter().any(|other| {
            only.iter().any(|name| other.name == name) && other.needs.contains(&step.name)
        });
        (only.is_empty() && (step.fast || !fast))
            || needed
            || only.iter().any(|name| step.name == name)
    };
    Ok(all.iter().filter(|step| wanted(step)).copied().collect())
}

fn run_one(step: &Step, number: &str, before: &[Line], context: &mut Context) -> Line {
    let failed_need = step.needs.iter().find(|need| {
        before
            .iter()
            .any(|line| line.name == **need && matches!(line.verdict, Verdict::Failed))
    });
    if let Some(need) = failed_need {
        say(&format!(
            "{number} {:<10} FAILED   not run: it needs `{need}`, which failed",
            step.name
        ));
        return Line {
            name: step.name,
            verdict: Verdict::Failed,
            took: Duration::ZERO,
            counts: Counts::default(),
        };
    }
    say(&format!("{number} {:<10} {}", step.name, step.about));
    context.label = format!("{number} {}", step.name);
    context.log = context.logs.join(format!("{}.log", step.name));
    context.counts = Counts::default();
    // A log of an earlier run would be read as this one's.
    let _ = std::fs::remove_file(&context.log);

    let watch = Stopwatch::start();
    let result = (step.run)(context);
    let took = watch.elapsed();
    let counts = context.counts;
    let verdict = match result {
        Ok(Outcome::Passed(detail)) => Verdict::Passed(detail),
        Ok(Outcome::Tests(counts)) => Verdict::Passed(counts.to_string()),
        Err(error) => {
            say(&format!("{error:#}"));
            say(&format!(
                "  full output: {}",
                shown(&context.log, &context.root)
            ));
            Verdict::Failed
        }
    };
    let line = Line {
        name: step.name,
        verdict,
        took,
        counts,
    };
    say(&format!("{number} {}", line.told()));
    line
}

impl Line {
    fn told(&self) -> String {
        let (word, detail) = match &self.verdict {
            Verdict::Passed(detail) => ("ok", detail.clone()),
            Verdict::Failed if self.counts.total() > 0 => ("FAILED", self.counts.to_string()),
            Verdict::Failed => ("FAILED", String::new()),
        };
        format!(
            "{:<10} {word:<8} {:>12}   {detail}",
            self.name,
            human(self.took)
        )
        .trim_end()
        .to_owned()
    }
}

/// Prints the table of steps and the closing lines. Returns `true` when nothing failed.
fn summary(lines: &[Line], took: Duration) -> bool {
    for line in lines {
        say(&format!("  {}", line.told()));
    }
    let failed = lines
        .iter()
        .filter(|line| matches!(line.verdict, Verdict::Failed))
        .count();
    let passed = lines.len() - failed;
    let mut tests = Counts::default();
    for line in lines {
        tests.add(line.counts);
    }
    say(&format!("\nin {}", human(took)));
    say(&format!("steps: {passed} passed, {failed} failed"));
    if tests.total() > 0 {
        say(&format!("tests: {tests}"));
    }
    failed == 0
}

/// `path` as seen from the root of the workspace.
fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_fast_run_leaves_out_what_is_slow_and_the_full_run_leaves_out_nothing() {
        let all = steps::all();
        let fast = names(&choose(&all, true, &[]).unwrap());
        assert!(
            fast.contains(&"clippy")
                && fast.contains(&"unit")
                && !fast.contains(&"system")
                && !fast.contains(&"deny")
        );
        assert_eq!(choose(&all, false, &[]).unwrap().len(), all.len());
    }

    #[test]
    fn one_step_brings_what_it_needs_and_nothing_else() {
        assert_eq!(
            names(&choose(&steps::all(), false, &["system".to_owned()]).unwrap()),
            ["packages", "system"]
        );
        assert_eq!(
            names(&choose(&steps::all(), true, &["deny".to_owned()]).unwrap()),
            ["deny"]
        );
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_names_of_all() {
        let error = choose(&steps::all(), false, &["sytem".to_owned()])
            .err()
            .unwrap()
            .to_string();
        let all = names(&steps::all()).join(", ");
        assert!(error.contains("sytem") && error.contains(&all), "{error}");
    }

    #[test]
    fn one_failed_step_fails_the_whole() {
        let line = |verdict| Line {
            name: "x",
            verdict,
            took: Duration::ZERO,
            counts: Counts::default(),
        };
        assert!(summary(
            &[
                line(Verdict::Passed(String::new())),
                line(Verdict::Passed(String::new()))
            ],
            Duration::ZERO
        ));
        assert!(!summary(
            &[line(Verdict::Passed(String::new())), line(Verdict::Failed)],
            Duration::ZERO
        ));
    }

    #[test]
    fn a_step_is_not_run_when_what_it_needs_has_failed() {
        let must_not_run = Step {
            name: "b",
            about: "",
            needs: &["a"],
            fast: false,
            run: |_| unreachable!("the step was run"),
        };
        let failed = Line {
            name: "a",
            verdict: Verdict::Failed,
            took: Duration::ZERO,
            counts: Counts::default(),
        };
        let folder = std::env::temp_dir();
        let mut context = Context {
            root: folder.clone(),
            scope: Scope::Whole,
            logs: folder.clone(),
            label: String::new(),
            log: folder,
            counts: Counts::default(),
        };
        assert!(matches!(
            run_one(&must_not_run, "[1/1]", &[failed], &mut context).verdict,
            Verdict::Failed
        ));
    }
}
