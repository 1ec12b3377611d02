//! `--changed`: the crates that a change may break.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::read;
use crate::tidy::{self, graph::Graph};

/// Files in the root that decide how every crate is built or linted.
const FOR_ALL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "rust-toolchain.toml",
];

/// The crates with changes since the branch left `base`, committed or not, and the crates that need
/// them.
pub(super) fn crates(root: &Path, base: &str) -> Result<Vec<String>> {
    let since = git(root, &["merge-base", "HEAD", base]).with_context(|| {
        format!("`--changed` compares with `{base}`; name another commit or branch")
    })?;
    let mut changed = git(root, &["diff", "--name-only", since.trim()])?;
    changed.push_str(&git(root, &["ls-files", "--others", "--exclude-standard"])?);
    let changed: Vec<_> = changed.lines().collect();
    let sources = if changed.iter().any(|path| path.ends_with(".md")) {
        tidy::files(root)?
    } else {
        Vec::new()
    };
    Ok(affected(&tidy::graph(root)?, &changed, &sources))
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    read(Command::new("git").args(arguments).current_dir(root))
}

/// The crates that files of these paths belong to, the crates whose sources name a changed
/// document, and all that need one of these.
fn affected(graph: &Graph, changed: &[&str], sources: &[(String, String)]) -> Vec<String> {
    if changed.iter().any(|path| FOR_ALL.contains(path)) {
        return graph.members().map(|member| member.name.clone()).collect();
    }
    let mut direct: BTreeSet<_> = changed
        .iter()
        .filter_map(|path| owner(graph, path))
        .collect();
    for document in changed.iter().filter(|path| path.ends_with(".md")) {
        let name = document.rsplit('/').next().unwrap_or(document);
        let readers = sources
            .iter()
            .filter(|(path, text)| path.ends_with(".rs") && text.contains(name));
        direct.extend(readers.filter_map(|(path, _)| owner(graph, path)));
    }
    let mut affected = graph.dependents(&direct);
    // The system tests need every crate and take the longest: they run when they are asked for.
    if !direct.contains("system-tests") {
        affected.remove("system-tests");
    }
    affected.into_iter().collect()
}

/// The crate whose folder a path is in.
fn owner(graph: &Graph, path: &str) -> Option<String> {
    let inside = path.strip_prefix("crates/").unwrap_or(path);
    let folder = inside.split_once('/')?.0;
    let mut members = graph.members();
    members
        .find(|member| member.folder == folder && member.product == path.starts_with("crates/"))
        .map(|member| member.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        Graph::of(&[
            ("a", &[]),
            ("b", &["a"]),
            ("c", &["b"]),
            ("d", &[]),
            ("system-tests", &["c"]),
        ])
        .and_tests(&[("d", &["b"])])
    }

    #[test]
    fn a_changed_crate_brings_those_that_need_it_and_those_whose_tests_do() {
        let crates = affected(&graph(), &["crates/b/src/lib.rs", "fuzz/a.rs"], &[]);
        assert_eq!(crates, ["b", "c", "d"]);
        assert_eq!(affected(&graph(), &["crates/d/Cargo.toml"], &[]), ["d"]);
        assert!(affected(&graph(), &["README.md", "crates/gone/src/lib.rs"], &[]).is_empty());
    }

    #[test]
    fn a_changed_document_brings_the_crates_that_read_it() {
        let sources = [
            (
                "crates/c/src/a.rs".to_owned(),
                "include_str!(\"docs/x.md\")".to_owned(),
            ),
            ("crates/a/src/a.rs".to_owned(), "nothing".to_owned()),
        ];
        assert_eq!(affected(&graph(), &["docs/x.md"], &sources), ["c"]);
    }

    #[test]
    fn what_every_crate_is_built_from_brings_all() {
        assert_eq!(affected(&graph(), &["Cargo.lock"], &[]).len(), 5);
    }
}
