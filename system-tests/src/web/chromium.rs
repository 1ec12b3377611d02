//! Chromium without a window, driven over the DevTools protocol: it opens pages and evaluates
//! expressions in them.
//!
//! The protocol runs over two pipes, which are named, because only these can be opened without
//! unsafe code. Each message is JSON, with a zero byte behind it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clock::Stopwatch;
use crate::process::Process;
use crate::tool;

/// From the start of a command to its answer, on a machine that is also busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Messages that wait to be read. Then the browser waits.
const MESSAGES: usize = 64;

/// A browser.
pub struct Chromium {
    process: Process,
    to: File,
    messages: Receiver<Value>,
    last_id: u64,
    _folder: TempDir,
}

/// A page that a browser has open.
#[derive(Debug, Clone)]
pub struct Tab {
    session: String,
}

impl Chromium {
    /// Starts one without a page. `further` are arguments.
    ///
    /// # Panics
    /// When Chromium is not installed; the message says what to do.
    #[track_caller]
    #[must_use]
    pub fn start(further: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (to, from) = (folder.path().join("to"), folder.path().join("from"));
        for pipe in [&to, &from] {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
        }
        let browser = command(&folder.path().join("profile"));
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" 3<\"$0\" 4>\"${0%to}from\""]);
        shell.arg(&to).arg(browser.get_program());
        shell.args(browser.get_args()).args(further);
        shell.arg("--remote-debugging-pipe");
        // Open for both, so that it does not wait for the other side.
        let ours = File::options().read(true).write(true).open(&to);
        let process = Process::spawn("Chromium", &shell);
        Self {
            process,
            to: ours.expect("a pipe to the browser"),
            messages: messages(&from),
            last_id: 0,
            _folder: folder,
        }
    }

    /// Opens a page in a window of its own, so that it counts as seen.
    ///
    /// # Panics
    /// When the browser refuses, or does not answer within a minute.
    #[track_caller]
    pub fn open(&mut self, url: &str) -> Tab {
        let target = json!({ "url": url, "newWindow": true });
        let target = self.ask(None, "Target.createTarget", &target);
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.ask(None, "Target.attachToTarget", &target);
        let session = attached["sessionId"].as_str().unwrap_or_default();
        Tab {
            session: session.to_owned(),
        }
    }

    /// The value of an expression in a page, as JSON. If it throws, its text is the error.
    ///
    /// # Errors
    /// What the expression threw.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    #[track_caller]
    pub fn evaluate(&mut self, tab: &Tab, expression: &str) -> Result<Value, String> {
        let what = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask(Some(tab), "Runtime.evaluate", &what);
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            thrown => Err(thrown.to_string()),
        }
    }

    #[track_caller]
    fn ask(&mut self, tab: Option<&Tab>, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(tab) = tab {
            command["sessionId"] = json!(tab.session);
        }
        let sent = self.to.write_all(format!("{command}\0").as_bytes());
        sent.expect("a command to the browser");
        let watch = Stopwatch::start();
        loop {
            let left = ANSWER_TIMEOUT.saturating_sub(watch.elapsed());
            let message = match self.messages.recv_timeout(left) {
                Ok(message) => message,
                Err(why @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => panic!(
                    "the browser does not answer {method}: {why}\n{}",
                    self.process.said()
                ),
            };
            // Events have no id.
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }
}

/// Chromium with what every test wants, and this folder for its profile.
///
/// # Panics
/// When it is not installed; the message says what to do.
#[track_caller]
pub(crate) fn command(profile: &Path) -> Command {
    let mut command = tool::tool("chromium", "chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu"]);
    command.args(["--no-first-run", "--mute-audio", "--disable-dev-shm-usage"]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
    ]);
    command.arg("--autoplay-policy=no-user-gesture-required");
    // No page is less important than another one.
    command.arg("--disable-background-timer-throttling");
    command.arg("--disable-backgrounding-occluded-windows");
    command.arg("--disable-renderer-backgrounding");
    let mut folder = std::ffi::OsString::from("--user-data-dir=");
    folder.push(profile);
    command.arg(folder);
    command
}

/// The messages that a browser writes into this pipe, until it ends.
fn messages(pipe: &Path) -> Receiver<Value> {
    let (sender, receiver) = sync_channel(MESSAGES);
    let pipe = pipe.to_path_buf();
    thread::spawn(move || {
        let mut from = BufReader::new(File::open(pipe).ok()?);
        let mut bytes = Vec::new();
        while from.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
            bytes.pop();
            if let Ok(message) = serde_json::from_slice(&bytes) {
                sender.send(message).ok()?;
            }
            bytes.clear();
        }
        Some(())
    });
    receiver
}
