//! Licences, bans, sources and advisories of all dependencies, by `cargo deny` with the rules of
//! `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Context, Outcome};
use crate::workspace;

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks the workspace, and the two workspaces next to it that have lock files of their own.
pub(crate) fn check(context: &mut Context) -> Result<Outcome> {
    let program = provide(context)?;
    // The database of advisories is a repository of others, which not every machine may reach.
    let mut fetch = Command::new(&program);
    fetch.current_dir(&context.root).args(["fetch", "db"]);
    let advisories = context.must(fetch).is_ok();
    for folder in workspace::ALL {
        let mut command = Command::new(&program);
        command.current_dir(context.root.join(folder));
        command.arg("--config").arg(context.root.join("deny.toml"));
        command.args(["check", "licenses", "bans", "sources"]);
        if advisories {
            command.arg("advisories");
        }
        context.must(command)?;
    }
    Ok(Outcome::Passed(if advisories {
        String::new()
    } else {
        "RustSec's advisories NOT CHECKED: the database cannot be fetched here".to_owned()
    }))
}

/// `cargo-deny` of the version above, built once into `target/tools`.
fn provide(context: &mut Context) -> Result<PathBuf> {
    let tools = workspace::tools(&context.root);
    let program = tools.join("bin").join("cargo-deny");
    if version(&program).as_deref() == Some(VERSION) {
        return Ok(program);
    }
    // Without optimisation and debug information: it runs for a second, and so builds in a third of
    // the time.
    let mut command = context.cargo(&[
        "install",
        "cargo-deny",
        "--locked",
        "--force",
        "--version",
        VERSION,
        "--debug",
        "--config",
        "profile.dev.debug=false",
    ]);
    command
        .arg("--root")
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"));
    context.must(command)?;
    Ok(program)
}

fn version(program: &PathBuf) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    String::from_utf8(output.stdout)
        .ok()?
        .split_whitespace()
        .nth(1)
        .map(str::to_owned)
}
