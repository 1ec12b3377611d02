//! What is below the facade: with all of its features, and without those of other crates.
//!
//! `cargo metadata` has the features of the whole workspace at once. There the verifier has its
//! command line, and so it seems to be below the facade. `cargo tree` of the facade alone shows
//! what an embedder links.

use super::Broken;

/// The facade.
pub(super) const FACADE: &str = "livetrail";

/// Packages of programs: a command line, its output and its log, and the server.
const NEVER: &[&str] = &[
    "clap",
    "clap_builder",
    "comfy-table",
    "indicatif",
    "livetrail-server",
    "tracing-subscriber",
];

/// Checks the output of `cargo tree --prefix depth` for the facade.
pub(super) fn check(tree: &str) -> Vec<Broken> {
    let mut way: Vec<&str> = Vec::new();
    let mut broken = Vec::new();
    for line in tree.lines() {
        let package = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let depth = line.strip_suffix(package).and_then(|n| n.parse().ok());
        let name = package.split_whitespace().next();
        let (Some(depth), Some(name)) = (depth, name) else {
            continue;
        };
        way.truncate(depth);
        way.push(name);
        if NEVER.contains(&name) {
            broken.push(Broken::new(
                FACADE,
                "an embedder links libraries: a command line is not below the facade",
                format!(
                    "`{name}` must not be below it, but is: {}; put it behind a feature that the facade leaves off",
                    way.join(" → ")
                ),
            ));
        }
    }
    if way.first() != Some(&FACADE) {
        broken.push(Broken::new(
            FACADE,
            "`cargo tree` shows what is below the facade",
            "its output has no tree of the facade: see the arguments in xtask/src/tidy/mod.rs",
        ));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_below_the_facade_is_found_and_the_way_is_shown() {
        let libraries =
            "0livetrail v0.1.0 (/x)\n1livetrail-verify v0.1.0 (/x)\n2bytes v1.0.0\n1uuid v1.0.0\n";
        assert_eq!(check(libraries), []);
        let program = libraries.replace("2bytes", "2host v1.0.0\n3clap v4.0.0 (*)\n2bytes");
        let broken = check(&program);
        assert_eq!(broken.len(), 1);
        let way = "livetrail → livetrail-verify → host → clap;";
        assert!(broken[0].mend.contains(way), "{}", broken[0].mend);
        assert_eq!(check("").len(), 1, "no tree at all");
    }
}
