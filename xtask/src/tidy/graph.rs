//! The crates and their dependencies on each other, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A crate of this workspace.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The path of its `Cargo.toml`.
    pub(crate) manifest: String,
    /// The name of the folder that it lies in.
    pub(crate) folder: String,
    /// Whether it lies in `crates/`.
    pub(crate) product: bool,
}

/// Members, and for every package, also those from outside, the packages that it needs to be built
/// (tests aside).
#[derive(Debug, Default)]
pub(crate) struct Graph {
    members: BTreeMap<String, Member>,
    needs: BTreeMap<String, BTreeSet<String>>,
    /// The packages that the tests of a member need in addition.
    tests: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the output of `cargo metadata --format-version 1`.
    pub(crate) fn read(metadata: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(metadata)
            .context("`cargo metadata` printed something that is not JSON")?;
        let mut names = BTreeMap::new();
        let mut graph = Self::default();
        let in_workspace: BTreeSet<_> = list(&metadata["workspace_members"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for package in list(&metadata["packages"]) {
            let id = text(&package["id"])?;
            let name = text(&package["name"])?;
            names.insert(id, name);
            if in_workspace.contains(id) {
                graph.add_member(package, name)?;
            }
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let name = name_of(&names, &node["id"])?;
            let needs = graph.needs.entry(name.clone()).or_default();
            let tests = graph.tests.entry(name).or_default();
            for dependency in list(&node["deps"]) {
                let kinds = list(&dependency["dep_kinds"]);
                let for_tests = kinds.iter().all(|kind| kind["kind"] == "dev");
                let of = if for_tests { &mut *tests } else { &mut *needs };
                of.insert(name_of(&names, &dependency["pkg"])?);
            }
        }
        Ok(graph)
    }

    fn add_member(&mut self, package: &Value, name: &str) -> Result<()> {
        let manifest = text(&package["manifest_path"])?;
        let mut folders = manifest.rsplit('/').skip(1);
        let folder = folders.next().unwrap_or_default().to_owned();
        let product = folders.next() == Some("crates");
        let description = package["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.members.insert(
            name.to_owned(),
            Member {
                name: name.to_owned(),
                description,
                manifest: manifest.to_owned(),
                folder,
                product,
            },
        );
        Ok(())
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(crate) fn is_member(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// What `name` needs directly.
    pub(crate) fn direct(&self, name: &str) -> impl Iterator<Item = &str> {
        self.needs
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// These members, all that need one of them, and all whose tests do.
    pub(crate) fn dependents(&self, of: &BTreeSet<String>) -> BTreeSet<String> {
        let mut built = of.clone();
        loop {
            let before = built.len();
            for name in self.members.keys() {
                if self.direct(name).any(|needed| built.contains(needed)) {
                    built.insert(name.clone());
                }
            }
            if built.len() == before {
                break;
            }
        }
        let tested = self.tests.iter().filter(|(name, needs)| {
            self.is_member(name) && needs.iter().any(|needed| built.contains(needed))
        });
        let tested: Vec<_> = tested.map(|(name, _)| name.clone()).collect();
        built.extend(tested);
        built
    }

    /// The shortest way from `from` down to `to`, both included, or `None` when `to` is not below
    /// `from`.
    pub(crate) fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut ways = std::collections::VecDeque::from([vec![from.to_owned()]]);
        while let Some(way) = ways.pop_front() {
            for next in self.direct(way.last()?) {
                if !seen.insert(next.to_owned()) {
                    continue;
                }
                let mut longer = way.clone();
                longer.push(next.to_owned());
                if next == to {
                    return Some(longer);
                }
                ways.push_back(longer);
            }
        }
        None
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .context("`cargo metadata` left out a name, an id or a path")
}

fn name_of(names: &BTreeMap<&str, &str>, id: &Value) -> Result<String> {
    names
        .get(text(id)?)
        .map(|name| (*name).to_owned())
        .context("`cargo metadata` names a package that it does not describe")
}

#[cfg(test)]
impl Graph {
    /// A graph of crates in `crates/`, for tests of rules: `("a", &["b", "c"])` is a crate `a` that
    /// needs `b` and `c`; what has no line of its own is from outside.
    pub(crate) fn of(lines: &[(&str, &[&str])]) -> Self {
        let mut graph = Self::default();
        for (name, needs) in lines {
            let member = Member {
                name: (*name).to_owned(),
                description: format!("what {name} does"),
                folder: (*name).to_owned(),
                product: *name != "system-tests",
                ..Member::default()
            };
            graph.members.insert((*name).to_owned(), member);
            graph.needs.insert(
                (*name).to_owned(),
                needs.iter().map(|need| (*need).to_owned()).collect(),
            );
        }
        graph
    }

    /// The same with what the tests of crates need.
    pub(crate) fn and_tests(mut self, lines: &[(&str, &[&str])]) -> Self {
        for (name, needs) in lines {
            let needs = needs.iter().map(|need| (*need).to_owned());
            self.tests.insert((*name).to_owned(), needs.collect());
        }
        self
    }

    /// The same with what packages from outside need.
    pub(crate) fn and_outside(mut self, lines: &[(&str, &[&str])]) -> Self {
        for (name, needs) in lines {
            self.needs.insert(
                (*name).to_owned(),
                needs.iter().map(|need| (*need).to_owned()).collect(),
            );
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_gives_members_and_needs_without_those_of_tests() {
        let graph = Graph::read(
            r#"{"packages":[
                {"id":"a 1","name":"a","manifest_path":"/x/crates/a/Cargo.toml","description":"does a"},
                {"id":"t 1","name":"t","manifest_path":"/x/t/Cargo.toml","description":null},
                {"id":"o 1","name":"o","manifest_path":"/y/o/Cargo.toml","description":null}],
              "workspace_members":["a 1","t 1"],
              "resolve":{"nodes":[
                {"id":"a 1","deps":[{"pkg":"o 1","dep_kinds":[{"kind":null}]},{"pkg":"t 1","dep_kinds":[{"kind":"dev"}]}]},
                {"id":"t 1","deps":[{"pkg":"a 1","dep_kinds":[{"kind":"dev"},{"kind":"build"}]}]},
                {"id":"o 1","deps":[]}]}}"#,
        )
        .unwrap();
        assert_eq!(graph.direct("a").collect::<Vec<_>>(), ["o"]);
        assert_eq!(graph.direct("t").collect::<Vec<_>>(), ["a"]);
        assert!(graph.is_member("a") && !graph.is_member("o"));
        let members: Vec<_> = graph
            .members()
            .map(|m| (m.folder.as_str(), m.product))
            .collect();
        assert_eq!(members, [("a", true), ("t", false)]);
    }

    #[test]
    fn a_way_is_the_shortest_and_a_circle_ends() {
        let graph = Graph::of(&[
            ("a", &["b", "c"]),
            ("b", &["a", "d"]),
            ("c", &["e"]),
            ("d", &["e"]),
        ]);
        assert_eq!(graph.way("a", "e").unwrap(), ["a", "c", "e"]);
        assert_eq!(graph.way("c", "a"), None);
    }
}
