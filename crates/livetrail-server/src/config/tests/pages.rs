//! Tests of the settings that pages show.

use std::path::Path;

use super::super::*;

/// The settings in a page: what stands between the marks of TOML, each block with its line.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut is_inside = false;
    for (number, line) in page.lines().enumerate() {
        match (is_inside, line) {
            (false, "```toml") => {
                blocks.push((number + 1, String::new()));
                is_inside = true;
            }
            (true, "```") => is_inside = false,
            (true, line) => {
                let (_, block) = blocks.last_mut().unwrap();
                *block += line;
                *block += "\n";
            }
            (false, _) => {}
        }
    }
    blocks
}

/// Each is read as a configuration of its own: every name exists, and no value is refused. Secrets
/// are in the files that it names, and one that shows no certificate gets one.
#[test]
fn the_settings_that_pages_show_are_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let (mut count, mut refused) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(page) = std::fs::read_to_string(&path) else {
            continue;
        };
        for (line, mut block) in blocks(&page) {
            let has_certificate = ["[[tls.certificate]]", "[tls.acme]"];
            if block.contains("tls_listen") && !has_certificate.iter().any(|it| block.contains(it))
            {
                block += "[[tls.certificate]]\nchain = \"a.pem\"\nkey = \"a.key\"\n";
            }
            let dir = tempfile::tempdir().unwrap();
            for setting in block.lines() {
                let (key, value) = setting.split_once(" = ").unwrap_or_default();
                if key.ends_with("secret_file") || key.ends_with("password_file") {
                    let name = value.split('"').nth(1).unwrap();
                    std::fs::write(
                        dir.path().join(name),
                        "a-secret-of-a-test-with-more-than-32-bytes\n",
                    )
                    .unwrap();
                }
            }
            let file = dir.path().join("livetrail.toml");
            std::fs::write(&file, &block).unwrap();
            let loaded = load(Some(&file), [], &Overrides::default());
            if let Err(error) = loaded {
                refused.push(format!("{}:{line}: {error}", path.display()));
            }
            count += 1;
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(count >= 10, "{count} blocks");
}
