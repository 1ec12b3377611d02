//! Findings: the ways in which a trail can be wrong, and remarks.

use serde::Serialize;

/// The class of a finding. The JSON report has its name in snake case, which is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// There is no checkpoint, or the file is not a checkpoint.
    Checkpoint,
    /// A signature is invalid, or none is from a trusted key; or a required cosignature is missing.
    Signature,
    /// The trail is of another log than the expected one.
    Origin,
    /// The entries do not give the signed root.
    Root,
    /// A file that the checkpoint covers is missing.
    Missing,
    /// A bundle of entries cannot be parsed.
    Bundle,
    /// An entry does not have the hash in its hash tile.
    EntryChanged,
    /// A hash tile has wrong bytes.
    Tile,
    /// An entry is not the canonical bytes of a record.
    Record,
    /// A rule of sessions, boots or `seq` is violated.
    Sessions,
    /// The trail does not contain an older checkpoint: it was truncated, forked, or restored from
    /// an old copy.
    Older,
    /// `private/log.json` is of another log.
    Manifest,
    /// Entries were removed without an `admin_pruned` record.
    NotPruned,
    /// A record of pruning, of key rotation, of a hold or of an erasure is invalid.
    Administration,
    /// An entry has personal fields in clear although its schema has none, an opening was erased
    /// although a hold keeps it, or an opening that was shown does not match its entry.
    Personal,
    /// Somebody overwrote or deleted an object of a bucket whose first version still exists and
    /// counts. A remark, unless the check is strict.
    Altered,
    /// A receipt is invalid, or does not lead from its record to the signed root.
    Proof,
    /// A line is not in a sink's format. A remark if it contains no entry, unless the check is
    /// strict.
    Line,
    /// Nothing was recorded for longer than heartbeats allow. A remark, unless the check is strict.
    Silent,
}

/// The weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth checking; the trail may still be sound.
    Remark,
    /// The trail is not sound.
    Failure,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Its class.
    pub class: Class,
    /// Its weight.
    pub severity: Severity,
    /// The index of the first entry concerned, if it concerns entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The file concerned, relative to the trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The session concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The boot concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The description, for people.
    pub text: String,
}

impl Finding {
    pub(crate) fn failure(class: Class, text: impl Into<String>) -> Self {
        Self {
            class,
            severity: Severity::Failure,
            index: None,
            path: None,
            session: None,
            boot: None,
            text: text.into(),
        }
    }

    pub(crate) fn remark(class: Class, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Remark,
            ..Self::failure(class, text)
        }
    }

    pub(crate) fn at(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }

    pub(crate) fn path(mut self, path: impl ToString) -> Self {
        self.path = Some(path.to_string());
        self
    }
}

/// The maximum number of findings that are kept with their text; the rest are only counted.
pub const MAX_FINDINGS: usize = 1_000;

/// A bounded list of findings.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    failures: u64,
    remarks: u64,
    first_index: Option<u64>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Failure => {
                self.failures = self.failures.saturating_add(1);
                if let Some(index) = finding.index {
                    self.first_index = Some(self.first_index.map_or(index, |at| at.min(index)));
                }
            }
            Severity::Remark => self.remarks = self.remarks.saturating_add(1),
        }
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(finding);
        } else if finding.severity == Severity::Failure
            && let Some(remark) = self
                .kept
                .iter_mut()
                .rev()
                .find(|kept| kept.severity == Severity::Remark)
        {
            // Failures replace remarks when the list is full.
            *remark = finding;
        }
    }

    pub(crate) const fn failures(&self) -> u64 {
        self.failures
    }

    pub(crate) const fn remarks(&self) -> u64 {
        self.remarks
    }

    pub(crate) const fn first_index(&self) -> Option<u64> {
        self.first_index
    }

    /// The kept findings: failures first, each kind in the order of the entries.
    pub(crate) fn into_kept(mut self) -> Vec<Finding> {
        self.kept.sort_by_key(|finding| {
            (
                std::cmp::Reverse(finding.severity),
                finding.index.unwrap_or(0),
            )
        });
        self.kept
    }
}

/// The results of a check so far.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) findings: Findings,
    pub(crate) problems: Vec<String>,
    pub(crate) notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The class declared after this one: a new class does not compile before it is added here.
    const fn after(class: Class) -> Option<Class> {
        Some(match class {
            Class::Checkpoint => Class::Signature,
            Class::Signature => Class::Origin,
            Class::Origin => Class::Root,
            Class::Root => Class::Missing,
            Class::Missing => Class::Bundle,
            Class::Bundle => Class::EntryChanged,
            Class::EntryChanged => Class::Tile,
            Class::Tile => Class::Record,
            Class::Record => Class::Sessions,
            Class::Sessions => Class::Older,
            Class::Older => Class::Manifest,
            Class::Manifest => Class::NotPruned,
            Class::NotPruned => Class::Administration,
            Class::Administration => Class::Personal,
            Class::Personal => Class::Altered,
            Class::Altered => Class::Proof,
            Class::Proof => Class::Line,
            Class::Line => Class::Silent,
            Class::Silent => return None,
        })
    }

    #[test]
    fn the_auditors_document_explains_every_class_and_no_other() {
        let classes: Vec<_> =
            std::iter::successors(Some(Class::Checkpoint), |class| after(*class)).collect();
        let places: Vec<_> = classes.iter().map(|class| *class as usize).collect();
        let last = Class::Silent as usize;
        assert_eq!(places, (0..=last).collect::<Vec<_>>(), "in their order");
        let names: BTreeSet<_> = classes
            .iter()
            .map(|class| serde_json::to_value(class).unwrap())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        let document = include_str!("../../../docs/auditor.md");
        let (_, table) = document.split_once("### What is wrong").unwrap();
        let (table, _) = table.split_once("\n#").unwrap();
        let described: BTreeSet<_> = table
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        assert_eq!(described, names);
    }
}
