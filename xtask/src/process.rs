//! Running other programs: output into a log file, the latest line on a terminal, the tail of the
//! log on failure.
#![expect(clippy::print_stdout, reason = "the command-line layer")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write, stdout};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::{Stopwatch, human};

/// How many of a program's last lines are kept to be shown when it fails.
const TAIL_LINES: usize = 80;

/// How often a run without a terminal says that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How often the line on a terminal is drawn again.
const REDRAW: Duration = Duration::from_millis(250);

/// Prints one line.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// What a finished program left.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// The last [`TAIL_LINES`] lines that it printed, both streams in the order in which they came.
    pub(crate) tail: String,
}

impl Finished {
    /// An error that names the command and shows the end of what it printed, unless it succeeded.
    pub(crate) fn ok(self, what: &str) -> Result<()> {
        if self.status.success() {
            return Ok(());
        }
        bail!(
            "`{what}` failed ({}); the end of its output:\n{}",
            self.status,
            self.tail.trim_end()
        )
    }
}

/// A command as a person would type it.
pub(crate) fn typed(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// Runs `command` to its end. Both its streams go to `log` (appended) and, line by line, to
/// `on_line`; `label` is printed before the lines that are shown meanwhile.
pub(crate) fn run(
    command: &mut Command,
    label: &str,
    log: &Path,
    mut on_line: impl FnMut(&str),
) -> Result<Finished> {
    let what = typed(command);
    let (reader, writer) = std::io::pipe().context("a pipe for the output")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("a pipe for the output")?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot start `{what}`"))?;
    // The builder keeps its ends of the pipe; without this the reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(file, "$ {what}").context("writing the log")?;

    let latest = Mutex::new(String::new());
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    std::thread::scope(|scope| -> Result<()> {
        let (done, finished) = std::sync::mpsc::sync_channel::<()>(1);
        let latest = &latest;
        scope.spawn(move || show_progress(label, latest, &finished));
        // Dropping `done` on every way out ends the progress thread.
        let _done = done;
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.with_context(|| format!("reading the output of `{what}`"))?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            writeln!(file, "{line}").context("writing the log")?;
            on_line(line);
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_owned());
            if !line.trim().is_empty() {
                line.trim()
                    .clone_into(&mut latest.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
        Ok(())
    })?;
    let status = child
        .wait()
        .with_context(|| format!("waiting for `{what}`"))?;
    Ok(Finished {
        status,
        tail: Vec::from(tail).join("\n"),
    })
}

/// Runs `command` quietly and gives its standard output; an error shows its standard error.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let what = typed(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{what}`"))?;
    if !output.status.success() {
        bail!(
            "`{what}` failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{what}` printed something that is not UTF-8"))
}

/// Runs `command` with this program's own streams, for output that a person reads as it comes.
pub(crate) fn pass_through(command: &mut Command) -> Result<ExitStatus> {
    let what = typed(command);
    command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{what}`"))
}

/// Whether a program of that name is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

fn show_progress(label: &str, latest: &Mutex<String>, finished: &std::sync::mpsc::Receiver<()>) {
    let terminal = stdout().is_terminal();
    let watch = Stopwatch::start();
    let pause = if terminal { REDRAW } else { HEARTBEAT };
    while finished.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        let line = latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if terminal {
            print!(
                "\r\x1b[2K{label} · {} · {}",
                human(watch.elapsed()),
                plain(&line, 70)
            );
            // The work continues even if the terminal is gone.
            let _ = stdout().flush();
        } else {
            println!(
                "  … {label} · {} · {}",
                human(watch.elapsed()),
                plain(&line, 100)
            );
        }
    }
    if terminal {
        print!("\r\x1b[2K");
        let _ = stdout().flush();
    }
}

/// `line` without control characters, cut to `most` characters.
fn plain(line: &str, most: usize) -> String {
    line.chars()
        .filter(|c| !c.is_control())
        .take(most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn log() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("xtask-process-test-{}.log", std::process::id()))
    }

    #[test]
    fn both_streams_are_kept_in_order_and_the_exit_status_is_returned() {
        let finished = run(
            &mut shell("echo one; echo two >&2; echo three; exit 3"),
            "test",
            &log(),
            |_| (),
        )
        .unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.tail, "one\ntwo\nthree");
        let error = finished.ok("the script").unwrap_err().to_string();
        assert!(
            error.contains("the script") && error.contains("three"),
            "{error}"
        );
    }

    #[test]
    fn only_the_last_lines_are_shown_of_a_long_output() {
        let mut lines = 0;
        let script = "i=0; while [ $i -lt 500 ]; do echo line$i; i=$((i+1)); done";
        let finished = run(&mut shell(script), "test", &log(), |_| lines += 1).unwrap();
        assert_eq!(finished.tail.lines().count(), TAIL_LINES);
        assert!(finished.tail.ends_with("line499"));
        assert_eq!(lines, 500);
    }

    #[test]
    fn output_that_is_not_utf8_is_not_an_error() {
        let finished = run(&mut shell("printf '\\377\\n'"), "test", &log(), |_| ()).unwrap();
        assert!(finished.status.success());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(
            &mut Command::new("no-such-program-at-all"),
            "test",
            &log(),
            |_| (),
        )
        .err()
        .unwrap()
        .to_string();
        assert!(error.contains("no-such-program-at-all"), "{error}");
    }
}
