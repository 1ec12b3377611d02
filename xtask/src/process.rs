//! Running other programs: output into a log file, the latest line on a terminal, the tail of the
//! log on failure.
#![expect(clippy::print_stdout, reason = "the command-line layer")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Read, Write, stdout};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    on_line: impl FnMut(&str),
) -> Result<Finished> {
    let (reader, writer) = std::io::pipe().context("a pipe for the output")?;
    command
        .stdout(writer.try_clone().context("a pipe for the output")?)
        .stderr(writer);
    Ok(follow(command, reader, label, log, on_line)?.0)
}

/// As [`run`], for a program whose standard output is for programs: that is returned, and only its
/// standard error goes to `log`.
pub(crate) fn run_for_output(
    command: &mut Command,
    label: &str,
    log: &Path,
) -> Result<(Finished, String)> {
    let (reader, writer) = std::io::pipe().context("a pipe for the output")?;
    command.stdout(Stdio::piped()).stderr(writer);
    follow(command, reader, label, log, |_| ())
}

/// Starts `command` and reads `lines`, whose other end it has, to their end. Returns also its
/// standard output, if that is piped.
fn follow(
    command: &mut Command,
    lines: PipeReader,
    label: &str,
    log: &Path,
    mut on_line: impl FnMut(&str),
) -> Result<(Finished, String)> {
    let what = typed(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{what}`"))?;
    // The builder keeps its ends of the pipe; without this the reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let output = child.stdout.take();

    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(file, "$ {what}").context("writing the log")?;

    let latest = Mutex::new(String::new());
    let mut tail = Tail::default();
    let output = std::thread::scope(|scope| -> Result<String> {
        let (done, finished) = std::sync::mpsc::sync_channel::<()>(1);
        let latest = &latest;
        scope.spawn(move || show_progress(label, latest, &finished));
        let output = output.map(|mut output| {
            scope.spawn(move || {
                let mut text = Vec::new();
                output.read_to_end(&mut text).map(|_| text)
            })
        });
        // Dropping `done` on every way out ends the progress thread.
        let _done = done;
        for_each_line(lines, |line| {
            writeln!(file, "{line}").context("writing the log")?;
            on_line(line);
            tail.push(line);
            show_next(latest, line);
            Ok(())
        })
        .with_context(|| format!("the output of `{what}`"))?;
        let Some(output) = output else {
            return Ok(String::new());
        };
        let output = output.join().unwrap_or_else(|panic| resume_unwind(panic));
        let output = output.with_context(|| format!("the output of `{what}`"))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    })?;
    let status = child
        .wait()
        .with_context(|| format!("waiting for `{what}`"))?;
    let tail = tail.text();
    Ok((Finished { status, tail }, output))
}

/// Runs these commands, each with its name, to their ends. They start in their order, and up to
/// `at_once` of them run at a time. Returns what each has left, in the same order.
///
/// Output goes to a file of its own next to `log` while the command runs, and then as a whole to
/// `log` and, line by line, to `on_line`.
pub(crate) fn run_all(
    commands: Vec<(String, Command)>,
    at_once: usize,
    label: &str,
    log: &Path,
    on_line: impl FnMut(&str) + Send,
) -> Result<Vec<Finished>> {
    let count = commands.len();
    let waiting = Mutex::new(commands.into_iter().enumerate());
    let ended = Mutex::new(on_line);
    let latest = Mutex::new(String::new());
    let all = std::thread::scope(|scope| -> Result<Vec<(usize, Finished)>> {
        let (done, finished) = std::sync::mpsc::sync_channel::<()>(1);
        let (waiting, ended, latest) = (&waiting, &ended, &latest);
        scope.spawn(move || show_progress(label, latest, &finished));
        let _done = done;
        let worker = move || -> Result<Vec<(usize, Finished)>> {
            let mut finished = Vec::new();
            loop {
                let next = lock(waiting).next();
                let Some((position, (name, mut command))) = next else {
                    return Ok(finished);
                };
                let own = log.with_extension(format!("{}.log", file_name(&name)));
                let one = run_beside(&name, &mut command, &own, latest)?;
                let mut on_line = lock(ended);
                append(&own, log, &mut *on_line)?;
                finished.push((position, one));
            }
        };
        let workers: Vec<_> = (0..at_once.clamp(1, count.max(1)))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut all = Vec::with_capacity(count);
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(all)
    });
    let mut all = all?;
    all.sort_unstable_by_key(|(position, _)| *position);
    Ok(all.into_iter().map(|(_, finished)| finished).collect())
}

/// Runs one of several commands, with its output in its own log.
fn run_beside(
    name: &str,
    command: &mut Command,
    log: &Path,
    latest: &Mutex<String>,
) -> Result<Finished> {
    let what = typed(command);
    let (reader, writer) = std::io::pipe().context("a pipe for the output")?;
    command
        .stdout(writer.try_clone().context("a pipe for the output")?)
        .stderr(writer);
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(file, "     Running {name} (`{what}`)").context("writing the log")?;
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{what}`"))?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut tail = Tail::default();
    for_each_line(reader, |line| {
        writeln!(file, "{line}").context("writing the log")?;
        tail.push(line);
        show_next(latest, line);
        Ok(())
    })
    .with_context(|| format!("the output of `{what}`"))?;
    let status = child
        .wait()
        .with_context(|| format!("waiting for `{what}`"))?;
    let tail = tail.text();
    Ok(Finished { status, tail })
}

/// Moves what `own` holds to the end of `log`.
fn append(own: &Path, log: &Path, on_line: &mut impl FnMut(&str)) -> Result<()> {
    let text = std::fs::read(own).with_context(|| format!("reading {}", own.display()))?;
    let text = String::from_utf8_lossy(&text);
    text.lines().for_each(on_line);
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    log.write_all(text.as_bytes()).context("writing the log")?;
    std::fs::remove_file(own).with_context(|| format!("removing {}", own.display()))
}

/// `name` with nothing in it that has a meaning in a path.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(plain).collect()
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `each` with every line, without its end.
fn for_each_line(lines: PipeReader, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    for line in BufReader::new(lines).split(b'\n') {
        let line = line.context("reading a line")?;
        each(String::from_utf8_lossy(&line).trim_end_matches('\r'))?;
    }
    Ok(())
}

/// Makes this the line that is shown, unless it is blank.
fn show_next(latest: &Mutex<String>, line: &str) {
    if !line.trim().is_empty() {
        line.trim().clone_into(&mut lock(latest));
    }
}

/// The last [`TAIL_LINES`] lines.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: &str) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    fn text(self) -> String {
        Vec::from(self.0).join("\n")
    }
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
        let line = lock(latest).clone();
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
    fn standard_output_is_returned_apart_from_what_is_logged() {
        let log = std::env::temp_dir().join(format!("xtask-output-{}.log", std::process::id()));
        let mut command = shell("echo one; echo two >&2; echo three");
        let (finished, output) = run_for_output(&mut command, "test", &log).unwrap();
        assert_eq!(
            (finished.tail.as_str(), output.as_str()),
            ("two", "one\nthree\n")
        );
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(logged.ends_with("\ntwo\n"), "{logged}");
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn commands_that_run_at_once_are_logged_one_after_the_other() {
        let folder = std::env::temp_dir().join(format!("xtask-at-once-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("all.log");
        // Each of the first two waits for the other, so they run at the same time.
        let meet = |own: &str, other: &str| {
            let folder = folder.display();
            let script = format!(
                "echo {own}1; : > {folder}/{own}; until [ -e {folder}/{other} ]; do sleep 0.01; done; echo {own}2"
            );
            (format!("crate::{own}"), shell(&script))
        };
        let last = ("last".to_owned(), shell("echo c; exit 3"));
        let commands = vec![meet("a", "b"), meet("b", "a"), last];
        let mut lines = Vec::new();
        let keep = |line: &str| lines.push(line.to_owned());
        let finished = run_all(commands, 2, "test", &log, keep).unwrap();
        let codes: Vec<_> = finished.iter().map(|one| one.status.code()).collect();
        assert_eq!(codes, [Some(0), Some(0), Some(3)]);
        assert_eq!(finished[1].tail, "b1\nb2");
        let logged = std::fs::read_to_string(&log).unwrap();
        assert_eq!(logged.lines().collect::<Vec<_>>(), lines);
        for output in ["a1\na2\n", "b1\nb2\n", "c\n"] {
            assert!(logged.contains(output), "{logged}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
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
