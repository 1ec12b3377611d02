//! The bill of materials in CycloneDX's format: every crate that is in the programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::PROGRAMS;
use crate::fuzz::host;
use crate::process::read;

/// The output of `cargo metadata` for this system, with the features of the package.
pub(super) fn metadata(root: &Path) -> Result<String> {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--locked", "--format-version", "1"]);
    command.args(["--filter-platform", &host()?]);
    read(command.current_dir(root))
}

/// The bill of the programs, by `cargo metadata` and `Cargo.lock`. It has no time and no random
/// number, so the same sources have the same bill.
pub(super) fn of(metadata: &str, lock: &str) -> Result<String> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let lock: toml::Table = lock.parse()?;
    let sums = checksums(&lock);
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let of = needs.entry(text(&node["id"])).or_default();
        for dependency in list(&node["deps"]) {
            // What only builds or tests need is not in a program.
            let kinds = list(&dependency["dep_kinds"]);
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                of.insert(text(&dependency["pkg"]));
            }
        }
    }
    let roots = packages.iter().filter(|(_, package)| {
        PROGRAMS
            .iter()
            .any(|program| package["name"] == program.package)
    });
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut ahead: Vec<String> = roots.map(|(id, _)| id.clone()).collect();
    while let Some(id) = ahead.pop() {
        if reached.insert(id.clone()) {
            ahead.extend(needs.get(&id).into_iter().flatten().cloned());
        }
    }
    let reference = |id: &str| {
        let package = packages.get(id).context("a package of the graph")?;
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        anyhow::Ok((format!("pkg:cargo/{name}@{version}"), name, version))
    };
    let (mut components, mut dependencies) = (Vec::new(), Vec::new());
    for id in &reached {
        let (purl, name, version) = reference(id)?;
        let mut component = json!({
            "type": "library", "bom-ref": purl, "purl": purl, "name": name, "version": version,
        });
        if let Some(licence) = packages.get(id).and_then(|it| it["license"].as_str()) {
            let licence = licence.replace('/', " OR ");
            component["licenses"] = json!([{ "expression": licence }]);
        }
        if let Some(sum) = sums.get(&(name, version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        components.push(component);
        let of = needs.get(id).into_iter().flatten();
        let of = of.map(|id| reference(id).map(|(purl, ..)| purl));
        let of = of.collect::<Result<Vec<_>>>()?;
        dependencies.push(json!({ "ref": purl, "dependsOn": of }));
    }
    let version = packages
        .values()
        .find(|it| it["name"] == PROGRAMS[0].package);
    let version = version.map(|it| it["version"].clone());
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "application", "bom-ref": "livetrail", "name": "livetrail", "version": version },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// The checksums of the registry, by name and version.
fn checksums(lock: &toml::Table) -> BTreeMap<(String, String), String> {
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let of = |package: &toml::Value| {
        let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
        Some(((text("name")?, text("version")?), text("checksum")?))
    };
    packages.into_iter().flatten().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_has_what_is_in_the_programs_and_not_what_builds_them() {
        let package = |name: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0" });
        let needs =
            |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [package("livetrail-server"), package("a"), package("build"), package("b")],
            "resolve": { "nodes": [
                { "id": "livetrail-server", "deps": [needs("a", Value::Null), needs("build", "build".into())] },
                { "id": "a", "deps": [needs("b", Value::Null)] },
                { "id": "build", "deps": [] },
                { "id": "b", "deps": [] },
            ] },
        });
        let lock = "[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n";
        let bill: Value = serde_json::from_str(&of(&metadata.to_string(), lock).unwrap()).unwrap();
        let names = bill["components"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "livetrail-server"]);
        assert_eq!(bill["components"][1]["hashes"][0]["content"], "abc");
        assert_eq!(
            bill["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(
            bill["dependencies"][0]["dependsOn"],
            json!(["pkg:cargo/b@1.0.0"])
        );
        assert_eq!(bill["metadata"]["component"]["version"], "1.0.0");
    }
}
