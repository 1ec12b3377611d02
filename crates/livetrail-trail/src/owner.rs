//! Names the owner of a file for a user who may not read it.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use livetrail_ledger::LedgerError;

use crate::Error;

/// Explains an error about a file of the trail that this process may not use. The text has the
/// whole path, the owner of the file, and the user of this process.
#[must_use]
pub fn explain(error: LedgerError, trail: &Path) -> Error {
    let explained = match &error {
        LedgerError::Io { op, path, source }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            let file = trail.join(path);
            let why = whose(&file).unwrap_or_else(|| source.to_string());
            anyhow::anyhow!("cannot {op} {}: {why}", file.display())
        }
        _ => error.into(),
    };
    explained.into()
}

/// The nearest file or folder on this path that can be examined, its owner, and this process's
/// user.
fn whose(file: &Path) -> Option<String> {
    let (at, metadata) = file
        .ancestors()
        .find_map(|at| Some((at, fs::metadata(at).ok()?)))?;
    let owner = name(metadata.uid());
    let own = name(rustix::process::geteuid().as_raw());
    let mode = metadata.mode() & 0o7777;
    Some(format!(
        "{} belongs to {owner} and has mode {mode:04o}, and this process is {own}",
        at.display()
    ))
}

/// A user's name, or the number if the user has no name.
fn name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    users
        .lines()
        .find_map(of)
        .unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_named_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log.json"), "").unwrap();
        let denied = |path: &str, kind: io::ErrorKind| LedgerError::Io {
            op: "read",
            path: path.to_owned(),
            source: kind.into(),
        };
        let own = name(rustix::process::geteuid().as_raw());
        for path in ["log.json", "private/log.json"] {
            let error = denied(path, io::ErrorKind::PermissionDenied);
            let said = explain(error, dir.path()).to_string();
            let file = dir.path().join(path);
            assert!(
                said.starts_with(&format!("cannot read {}: ", file.display())),
                "{said}"
            );
            let belongs = format!("belongs to {own} and has mode 0");
            assert!(said.contains(&belongs) && said.ends_with(&own), "{said}");
        }
        let other = explain(denied("log.json", io::ErrorKind::NotFound), dir.path());
        assert_eq!(other.to_string(), "cannot read log.json");
        assert_eq!(name(u32::MAX), u32::MAX.to_string());
    }
}
