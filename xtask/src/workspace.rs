//! Where things are: the root of the source tree, and the folders that this program writes to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspaces of this tree, each with a lock file of its own.
pub(crate) const ALL: &[&str] = &[".", "fuzz", "benches"];

/// Those that are built separately, so that other builds do not need their dependencies.
pub(crate) const BESIDE: &[&str] = &["fuzz", "benches"];

/// The root of the source tree: the folder above `xtask/`.
pub(crate) fn root() -> Result<PathBuf> {
    // Cargo sets this when it runs us; the compiled-in value would be wrong after the tree was
    // moved.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .context("run this as `cargo xtask`, so that cargo says where the source tree is")?;
    Path::new(&manifest)
        .parent()
        .map(Path::to_path_buf)
        .context("xtask has no folder above it")
}

/// Cargo's build folder for the workspace.
pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// Tools that the project installs for itself, so that nothing is put into a person's home.
pub(crate) fn tools(root: &Path) -> PathBuf {
    root.join("target").join("tools")
}
