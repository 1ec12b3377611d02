//! The crate table in `README.md` is the crates that there are, each with the description in its
//! `Cargo.toml`.

use std::collections::BTreeMap;

use super::Broken;
use super::graph::Graph;

/// Compares the rows ``| [`name`](crates/name) | description |`` with the crates.
pub(crate) fn check(readme: &str, graph: &Graph) -> Vec<Broken> {
    let rows: BTreeMap<_, _> = readme.lines().filter_map(row).collect();
    let mut broken = Vec::new();
    for member in graph.members().filter(|member| member.product) {
        let wanted = format!(
            "| [`{0}`](crates/{0}) | {1} |",
            member.name, member.description
        );
        if rows.get(member.name.as_str()) != Some(&member.description.as_str()) {
            broken.push(Broken::new(
                "README.md",
                format!(
                    "the crate table is in step with the crates; `{}` is not",
                    member.name
                ),
                format!("the row is: {wanted}"),
            ));
        }
    }
    for name in rows.keys().filter(|name| !graph.is_member(name)) {
        broken.push(Broken::new(
            "README.md",
            format!("the crate table names `{name}`, which does not exist"),
            "remove the row",
        ));
    }
    broken
}

/// Every crate has a row ``| `name` | …`` in `ARCHITECTURE.md`, which says what it must not know.
pub(crate) fn check_architecture(architecture: &str, graph: &Graph) -> Vec<Broken> {
    graph
        .members()
        .filter(|member| member.product)
        .filter(|member| {
            !architecture
                .lines()
                .any(|line| line.starts_with(&format!("| `{}` |", member.name)))
        })
        .map(|member| {
            let rule = format!(
                "every crate has a row in the table; `{}` has none",
                member.name
            );
            Broken::new(
                "ARCHITECTURE.md",
                rule,
                "add a row: what it is, and what it must not know",
            )
        })
        .collect()
}

/// Name and description in a row of the crate table.
fn row(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| [`")?.split_once("`](crates/")?;
    let description = rest.split_once(") | ")?.1.strip_suffix(" |")?;
    Some((name, description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_in_step_breaks_nothing() {
        let readme = "# x\n\n| crate | what |\n|---|---|\n| [`a`](crates/a) | what a does |\n| [`b`](crates/b) | what b does |\n";
        assert_eq!(check(readme, &Graph::of(&[("a", &[]), ("b", &[])])), []);
    }

    #[test]
    fn a_crate_without_a_row_in_the_architecture_is_reported() {
        let graph = Graph::of(&[("a", &[]), ("b", &[])]);
        let broken = check_architecture(
            "| crate | what |\n|---|---|\n| `a` | what a does | I/O |\n",
            &graph,
        );
        assert_eq!(broken.len(), 1);
        assert!(broken[0].rule.contains("`b`"));
    }

    #[test]
    fn a_missing_a_stale_and_a_dead_row_are_each_reported() {
        let readme = "| [`a`](crates/a) | what a did once |\n| [`gone`](crates/gone) | nothing |\n";
        let broken = check(readme, &Graph::of(&[("a", &[]), ("b", &[])]));
        assert_eq!(broken.len(), 3, "{broken:?}");
        assert!(broken[0].mend.contains("| [`a`](crates/a) | what a does |"));
        assert!(broken[1].rule.contains("`b`"));
        assert!(broken[2].rule.contains("`gone`"));
    }
}
