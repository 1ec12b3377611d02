//! `cargo xtask tidy`: the rules of the house that a machine can check.
//!
//! A rule is a function from a small input to what is broken, so that every rule has its own tests.
//! A failure names the rule, the place, and how to fix it.

mod crates;
mod facade;
mod files;
pub(crate) mod graph;
mod links;
mod readme;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{read, say};
use crate::{prose, workspace};
pub(crate) use crates::UNSAFE;
use graph::Graph;

/// One place where a rule is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The file or the crate.
    pub(crate) place: String,
    /// The rule, in words.
    pub(crate) rule: String,
    /// How to fix it.
    pub(crate) mend: String,
}

impl Broken {
    fn new(place: impl Into<String>, rule: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            rule: rule.into(),
            mend: mend.into(),
        }
    }
}

/// Checks the tree that this program belongs to. Returns `false` when a rule is broken.
pub(crate) fn run() -> Result<bool> {
    let broken = check(&workspace::root()?)?;
    if broken.is_empty() {
        say("tidy: every rule is kept");
    } else {
        say(&told(&broken));
    }
    Ok(broken.is_empty())
}

/// Everything that is broken in the tree below `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<Broken>> {
    let mut broken = Vec::new();
    let mut places = prose::Places::new();
    let mut documents = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for path in listed(root)? {
        let content =
            std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        broken.extend(files::check(&path, &content));
        if let Ok(text) = std::str::from_utf8(&content) {
            prose::add(&mut places, &path, text);
            if path.ends_with(".md") {
                documents.insert(path.clone(), text.to_owned());
            }
        }
        paths.insert(path);
    }
    broken.extend(links::check(&documents, &paths));
    let ratchet = std::fs::read_to_string(root.join(prose::RATCHET))
        .with_context(|| format!("cannot read {}", prose::RATCHET))?;
    let unwritten = prose::check(&ratchet, &places)?.into_iter();
    broken.extend(unwritten.map(|(place, rule, mend)| Broken::new(place, rule, mend)));

    let metadata = match metadata(root) {
        Ok(metadata) => metadata,
        Err(error) => {
            let rule = format!("`Cargo.lock` is in step with every `Cargo.toml`: {error:#}");
            broken.push(Broken::new(
                "Cargo.lock",
                rule,
                "run `cargo check`, which writes it, and commit the result",
            ));
            return Ok(broken);
        }
    };
    let graph = Graph::read(&metadata)?;
    let workspace =
        std::fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    broken.extend(crates::check(&graph));
    broken.extend(facade::check(&tree_of_facade(root)?));
    for member in graph.members() {
        let manifest = std::fs::read_to_string(&member.manifest)
            .with_context(|| format!("cannot read {}", member.manifest))?;
        broken.extend(crates::check_manifest(member, &manifest));
        broken.extend(crates::check_unsafe_lints(&workspace, member, &manifest));
    }
    let readme =
        std::fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    broken.extend(readme::check(&readme, &graph));
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md"))
        .context("cannot read ARCHITECTURE.md")?;
    broken.extend(readme::check_architecture(&architecture, &graph));
    Ok(broken)
}

/// The files that git knows, also those that are not committed yet.
fn listed(root: &Path) -> Result<Vec<String>> {
    let listed = read(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root),
    )
    .context("tidy checks the files that git knows; run it in a clone")?;
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    // A file that was removed and not yet committed is still in the list.
    let paths = paths.filter(|path| root.join(path).is_file());
    Ok(paths.map(str::to_owned).collect())
}

/// Every file that is text, with its path from the root.
pub(crate) fn files(root: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for path in listed(root)? {
        let content =
            std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(content) {
            files.push((path, text));
        }
    }
    Ok(files)
}

/// The crates of the tree below `root`, and who needs whom.
pub(crate) fn graph(root: &Path) -> Result<Graph> {
    Graph::read(&metadata(root)?)
}

/// What cargo knows of the workspace in `folder`, if its lock file is in step.
fn metadata(folder: &Path) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    read(
        Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(folder),
    )
}

/// What the facade with all of its features links.
fn tree_of_facade(root: &Path) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = "tree --locked --all-features --edges normal --prefix depth --format {p}";
    read(
        Command::new(cargo)
            .args(arguments.split(' '))
            .args(["--package", facade::FACADE])
            .current_dir(root),
    )
}

/// What is broken, for a person.
pub(crate) fn told(broken: &[Broken]) -> String {
    let mut text = format!("tidy: {} broken", broken.len());
    for Broken { place, rule, mend } in broken {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n\n  {place}\n    rule: {rule}\n    mend: {mend}");
    }
    text
}
