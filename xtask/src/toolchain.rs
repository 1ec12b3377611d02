//! The toolchain's targets: which ones the project is checked for, and which ones are installed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::read;

/// The file that names the toolchain and the targets.
const FILE: &str = "rust-toolchain.toml";

/// The targets that `rust-toolchain.toml` names.
pub(crate) fn targets(root: &Path) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(root.join(FILE)).with_context(|| format!("reading {FILE}"))?;
    named(&text)
        .with_context(|| format!("{FILE}: [platforms]: targets: expected a list of targets"))
}

fn named(text: &str) -> Result<Vec<String>> {
    let file: BTreeMap<String, toml::Table> = toml::from_str(text)?;
    let platforms = file.get("platforms").context("it is missing")?;
    let targets = platforms.get("targets").context("it is missing")?;
    let targets: Vec<String> = targets.clone().try_into()?;
    ensure!(!targets.is_empty(), "it is empty");
    Ok(targets)
}

/// Those of these targets that are neither installed nor could be added.
pub(crate) fn missing(targets: &[String]) -> Vec<String> {
    let is_missing = |target: &String| {
        !is_installed(target)
            && !Command::new("rustup")
                .args(["target", "add", target])
                .output()
                .is_ok_and(|added| added.status.success())
    };
    targets
        .iter()
        .filter(|target| is_missing(target))
        .cloned()
        .collect()
}

/// Whether the toolchain has the target's standard library. Asks the compiler, so that it also
/// works without rustup.
fn is_installed(target: &str) -> bool {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir", "--target", target]);
    read(&mut command).is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_of_the_file_and_rustup_does_not_fetch_them_by_itself() {
        let root = crate::workspace::root().unwrap();
        let found = targets(&root).unwrap();
        for target in ["aarch64-apple-darwin", "x86_64-pc-windows-gnu"] {
            assert!(found.iter().any(|found| found == target), "{found:?}");
        }
        let text = std::fs::read_to_string(root.join(FILE)).unwrap();
        let file: BTreeMap<String, toml::Table> = toml::from_str(&text).unwrap();
        let toolchain: Vec<_> = file["toolchain"].keys().collect();
        assert_eq!(
            toolchain,
            ["channel"],
            "without a network, more would stop each command"
        );
    }

    #[test]
    fn a_file_without_targets_is_refused() {
        for text in [
            "",
            "[platforms]",
            "[platforms]\ntargets = []",
            "[platforms]\ntargets = 1",
        ] {
            assert!(named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_that_no_toolchain_has_is_missing() {
        assert!(!is_installed("no-such-target-at-all"));
    }
}
