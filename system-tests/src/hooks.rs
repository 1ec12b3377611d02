//! A web service that receives web hooks.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use crate::receiver::{Program, Receiver};

const PROGRAM: Program = Program {
    what: "a receiver of web hooks",
    text: include_str!("hook-receiver.py"),
    python,
};

/// Nothing of the caller's own Python, and words as they come.
fn python() -> Command {
    let mut command = Command::new("python3");
    command.args(["-I", "-u"]);
    command
}

/// A web service that checks signatures with [`SECRET`](Self::SECRET). Dropping it ends it. A
/// behaviour is some of `status`, `headers` and `until`, the number of requests before it fails.
pub struct HookReceiver(Receiver);

impl HookReceiver {
    /// The key that signs requests to it.
    pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

    /// One without TLS.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_, _| {})
    }

    /// A receiver; `prepare` gets its folder and its address and may put `server.pem` and
    /// `server.key` there.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(prepare: impl FnOnce(&Path, SocketAddr)) -> Self {
        Self(Receiver::start(&PROGRAM, |folder, address| {
            std::fs::write(folder.join("secret"), Self::SECRET).expect("a secret");
            prepare(folder, address);
        }))
    }
}

impl Deref for HookReceiver {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.0
    }
}
