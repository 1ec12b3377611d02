//! Links between documents: the file is there, and so is the heading.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;

/// Compares every relative link in the documents with the paths of the tree and with their
/// headings.
pub(crate) fn check(documents: &BTreeMap<String, String>, paths: &BTreeSet<String>) -> Vec<Broken> {
    let headings: BTreeMap<_, _> = documents
        .iter()
        .map(|(path, text)| (path.as_str(), anchors(text)))
        .collect();
    let mut broken = Vec::new();
    for (path, text) in documents {
        for (line, target) in links(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let full = if file.is_empty() {
                path.clone()
            } else {
                joined(path, file)
            };
            let folder = format!("{full}/");
            let there = paths.contains(&full) || paths.iter().any(|p| p.starts_with(&folder));
            let known = headings.get(full.as_str());
            let heading = anchor.is_empty() || known.is_none_or(|known| known.contains(anchor));
            if !there || !heading {
                let what = if there { "heading" } else { "file" };
                broken.push(Broken::new(
                    format!("{path}:{line}"),
                    "links between documents lead somewhere",
                    format!("`{target}` names a {what} that does not exist: correct it"),
                ));
            }
        }
    }
    broken
}

/// The targets of links that are not addresses, each with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_block = false;
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        // Text between backticks is not a link.
        for part in line.split('`').step_by(2).filter(|_| !in_block) {
            for rest in part.split("](").skip(1) {
                let target = rest.split(')').next().unwrap_or_default();
                if !target.contains("://") && !target.is_empty() {
                    links.push((number, target.to_owned()));
                }
            }
        }
    }
    links
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors: BTreeSet<String> = BTreeSet::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        let heading = line.trim_start_matches('#');
        if in_block || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let heading = heading.trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let mut free = std::iter::once(anchor.clone()).chain(again);
        anchors.extend(free.find(|anchor| !anchors.contains(anchor)));
    }
    anchors
}

/// The path that `link` in the document `from` names.
fn joined(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mends(documents: &[(&str, &str)]) -> Vec<String> {
        let documents: BTreeMap<_, _> = documents
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        let paths = documents
            .keys()
            .cloned()
            .chain(["src/a/b.rs".to_owned()])
            .collect();
        let broken = check(&documents, &paths).into_iter();
        broken
            .map(|broken| format!("{}: {}", broken.place, broken.mend))
            .collect()
    }

    #[test]
    fn links_to_files_folders_and_headings_are_followed() {
        let there = [
            (
                "README.md",
                "[a](docs/a.md) [b](docs/a.md#the-end-of-it) [c](src/a) [d](https://x/y)\n",
            ),
            (
                "docs/a.md",
                "# The `end`, of it\n\n[up](../README.md) [here](#the-end-of-it) `[x](y)`\n\n```\n[x](z)\n```\n",
            ),
        ];
        assert_eq!(mends(&there), Vec::<String>::new());
    }

    #[test]
    fn a_missing_file_and_a_missing_heading_are_named_with_their_line() {
        let broken = mends(&[("a.md", "# One\n\n[x](gone.md)\n[y](#two) [z](#one)\n")]);
        assert_eq!(broken.len(), 2);
        assert!(
            broken[0].starts_with("a.md:3: `gone.md` names a file"),
            "{broken:?}"
        );
        assert!(
            broken[1].starts_with("a.md:4: `#two` names a heading"),
            "{broken:?}"
        );
    }

    #[test]
    fn a_heading_that_is_there_twice_has_two_anchors() {
        assert!(mends(&[("a.md", "# One\n# One\n[x](#one-1)\n")]).is_empty());
    }
}
