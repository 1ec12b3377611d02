//! What an outsider finds: the whole trail verified, and one changed byte in a copy found. By `livetrail-verify`, which shares no code with
//! what wrote the trail.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context;
use livetrail_ledger::{Reader, RealStore};
use livetrail_tlog::{parse_bundle, tree_bundles};
use livetrail_verify::{Directory, Options, Policy, Report, keys_in, verify};

use crate::{
    commands::trail::copy_site,
    serve::{trail_directory, vkey_file},
};

/// What is changed in the copy: the reason why somebody was refused becomes another word.
const ORIGINAL: &[u8] = b"\"unauthorized\"";

/// What was found, and in which places.
pub(super) struct Evidence {
    /// The published checkpoint, as everybody can read it.
    pub(super) checkpoint: String,
    /// The trail as it is.
    pub(super) whole: Report,
    /// The copy with one byte changed.
    pub(super) changed: Report,
    /// The entry that was changed in the copy.
    pub(super) changed_entry: u64,
    /// The file that it is in.
    pub(super) changed_file: String,
}

/// Verifies the trail of this data directory, and a copy of it with one byte changed.
pub(super) fn gather(data: &Path) -> anyhow::Result<Evidence> {
    let trail = trail_directory(data);
    let reader = Reader::open(Arc::new(RealStore::new(&trail)))?;
    let vkeys = fs::read_to_string(vkey_file(data)).context("the verifier keys")?;
    let whole = check(&trail, &vkeys)?;

    let copy = tempfile::Builder::new()
        .prefix("livetrail-demo-copy-")
        .tempdir()?;
    let size = copy_site(&reader, copy.path(), &mut |_, _| {})?;
    let (changed_file, changed_entry) = change_one_byte(copy.path(), size)?;
    Ok(Evidence {
        checkpoint: reader.checkpoint()?.note().encode(),
        whole,
        changed: check(copy.path(), &vkeys)?,
        changed_entry,
        changed_file,
    })
}

fn check(trail: &Path, vkeys: &str) -> anyhow::Result<Report> {
    let mut policy = Policy::default();
    for key in keys_in(vkeys)? {
        policy.add(key)?;
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    Ok(verify(&Directory::new(trail), &options, &mut |_, _| {})?)
}

/// Gives the file and the entry that it is in.
fn change_one_byte(site: &Path, size: u64) -> anyhow::Result<(String, u64)> {
    for bundle in tree_bundles(size) {
        let path = site.join(bundle.to_string());
        let mut bytes = fs::read(&path)?;
        let entries = parse_bundle(bundle, &bytes)?;
        let first = bundle.first_entry().unwrap_or_default();
        let has_it = |entry: &&[u8]| find(entry, ORIGINAL).is_some();
        let Some((index, _)) = (first..).zip(entries).find(|(_, entry)| has_it(entry)) else {
            continue;
        };
        let at = find(&bytes, ORIGINAL).context("the entry is in its bundle")? + 1;
        let byte = bytes.get_mut(at).context("the byte is in its bundle")?;
        *byte = byte.to_ascii_uppercase();
        fs::write(&path, bytes)?;
        return Ok((bundle.to_string(), index));
    }
    anyhow::bail!("nobody was refused")
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
