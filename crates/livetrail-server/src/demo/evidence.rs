//! The findings of an outsider: the whole trail is verified, a receipt for one record is checked
//! alone, and one changed byte in a copy is found. `livetrail-verify` makes these checks. It shares
//! no code with the writer of the trail.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context;
use livetrail_ledger::{Reader, RealStore};
use livetrail_tlog::{parse_bundle, tree_bundles};
use livetrail_trail::{trail_directory, vkey_file};
use livetrail_verify::{
    Directory, Options, Policy, ProofReport, Report, keys_in, verify, verify_proof,
};

use crate::commands::trail::copy_site;

/// The text that is changed in the copy. It is the reason of a refusal, which becomes another word.
const ORIGINAL: &[u8] = b"\"unauthorized\"";

/// The results, and the places of the change.
pub(super) struct Evidence {
    /// The published checkpoint, which everybody can read.
    pub(super) checkpoint: String,
    /// The check of the trail as it is.
    pub(super) whole: Report,
    /// The check of the receipt for the record that is changed in the copy.
    pub(super) receipt: ProofReport,
    /// The check of the same receipt with the changed record.
    pub(super) receipt_of_changed: ProofReport,
    /// The check of the copy with one byte changed.
    pub(super) changed: Report,
    /// The entry that was changed in the copy.
    pub(super) changed_entry: u64,
    /// The file that contains this entry.
    pub(super) changed_file: String,
}

/// Verifies the trail of this data directory, and a copy of it with one byte changed.
pub(super) fn collect(data: &Path) -> anyhow::Result<Evidence> {
    let trail = trail_directory(data);
    let reader = Reader::open(Arc::new(RealStore::new(&trail)))?;
    let vkeys = fs::read_to_string(vkey_file(data)).context("the verifier keys")?;
    let options = options(&vkeys)?;
    let whole = check(&trail, &options)?;

    let copy = tempfile::Builder::new()
        .prefix("livetrail-demo-copy-")
        .tempdir()?;
    let size = copy_site(&reader, copy.path(), &mut |_, _| {})?;
    let (changed_file, changed_entry) = change_one_byte(copy.path(), size)?;
    // A receipt is verified without the rest of the trail.
    let receipt = reader.inclusion_proof(changed_entry)?;
    let record = reader.entry(changed_entry)?;
    let mut other = record.clone();
    change(&mut other).context("the record has it")?;
    Ok(Evidence {
        checkpoint: reader.checkpoint()?.note().encode(),
        whole,
        receipt: verify_proof(receipt.as_bytes(), &record, &options)?,
        receipt_of_changed: verify_proof(receipt.as_bytes(), &other, &options)?,
        changed: check(copy.path(), &options)?,
        changed_entry,
        changed_file,
    })
}

fn options(vkeys: &str) -> anyhow::Result<Options> {
    let mut policy = Policy::default();
    for key in keys_in(vkeys)? {
        policy.add(key)?;
    }
    Ok(Options {
        policy,
        ..Options::default()
    })
}

fn check(trail: &Path, options: &Options) -> anyhow::Result<Report> {
    Ok(verify(&Directory::new(trail), options, &mut |_, _| {})?)
}

/// Changes one byte. Returns the file and the entry that contain it.
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
        change(&mut bytes).context("the entry is in its bundle")?;
        fs::write(&path, bytes)?;
        return Ok((bundle.to_string(), index));
    }
    anyhow::bail!("nobody was refused")
}

/// Turns one letter into a capital.
fn change(bytes: &mut [u8]) -> Option<()> {
    let at = find(bytes, ORIGINAL)?;
    let byte = bytes.get_mut(at + 1)?;
    *byte = byte.to_ascii_uppercase();
    Some(())
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
