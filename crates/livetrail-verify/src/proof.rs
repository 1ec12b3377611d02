//! A receipt for one record, checked alone: without the trail, and independently of its keeper.

use std::fmt;

use livetrail_record::{AuditRecord, RecordError, parse_canonical};
use livetrail_tlog::{ProofFile, VerifiedCheckpoint, leaf_hash};
use serde::Serialize;

use crate::error::VerifyError;
use crate::finding::{Class, Finding};
use crate::options::Options;
use crate::personal::{Openings, PersonalAnswer, write_answers};
use crate::report::parts::checkpoint_report;
use crate::report::show::Lines;
use crate::report::{CheckpointReport, Verdict};
use crate::scan::entry::PersonalPart;
use crate::trust::{Signed, Trust};

/// The result of checking a receipt. Its JSON form is made by serde; fields are only ever added.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProofReport {
    /// The report's format, 1.
    pub format: u32,
    /// The answer.
    pub verdict: Verdict,
    /// The index of the record in the log, if the receipt contains it.
    pub index: Option<u64>,
    /// The hash of the record's leaf, in base64.
    pub leaf_hash: String,
    /// The checkpoint in the receipt, if it could be read.
    pub checkpoint: Option<CheckpointReport>,
    /// The violations.
    pub findings: Vec<Finding>,
    /// Everything that could not be checked, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Facts that the reader should know.
    pub notes: Vec<String>,
    /// An answer for each opening and disclosure of the options that is about this record. Lines
    /// about other entries are skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<PersonalAnswer>,
}

/// Checks that a record is in a log. `proof` is a `.tlog-proof` file, `entry` the record's
/// canonical bytes, as exported (one trailing LF is ignored). The checkpoint in the receipt must be
/// signed by a key of the options' policy, cosigned by the log's second key if the policy has it,
/// and by the witnesses that the policy requires. The options' openings are compared with the
/// record.
///
/// # Errors
/// [`VerifyError`] when no key was given, or one is invalid. Problems of receipt or record are in
/// the report.
pub fn verify_proof(
    proof: &[u8],
    entry: &[u8],
    options: &Options,
) -> Result<ProofReport, VerifyError> {
    let first = options.policy.log.first().ok_or(VerifyError::NoKey)?;
    let origin = options.origin.clone();
    let origin = origin.unwrap_or_else(|| first.name().as_str().to_owned());
    let trust = Trust::new(options.policy.clone(), origin)?;
    let entry = entry.strip_suffix(b"\n").unwrap_or(entry);
    let mut report = ProofReport {
        format: 1,
        verdict: Verdict::Sound,
        index: None,
        leaf_hash: leaf_hash(entry).to_string(),
        checkpoint: None,
        findings: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        openings: Vec::new(),
    };
    let record = match read_whole(entry) {
        Ok(record) => Some(record),
        Err(error) => {
            let text = format!("the record is not in canonical bytes: {error}");
            report.findings.push(Finding::failure(Class::Record, text));
            None
        }
    };
    match ProofFile::parse(proof) {
        Ok(proof) => report.look_at(&proof, entry, &trust),
        Err(error) => {
            let text = format!("not a receipt (.tlog-proof): {error}");
            report.findings.push(Finding::failure(Class::Proof, text));
        }
    }
    if let Some((record, part)) = &record {
        report.personal(record, part, &options.openings);
    }
    if !report.findings.is_empty() {
        report.verdict = Verdict::NotSound;
    } else if !report.problems.is_empty() {
        report.verdict = Verdict::CouldNotCheck;
    }
    Ok(report)
}

/// The whole record, and its personal part.
fn read_whole(entry: &[u8]) -> Result<(AuditRecord, PersonalPart), RecordError> {
    let record = parse_canonical(entry)?;
    let part = PersonalPart::of_record(&record);
    Ok((record, part))
}

impl ProofReport {
    /// Compares openings with the record.
    fn personal(&mut self, record: &AuditRecord, part: &PersonalPart, openings: &Openings) {
        if let Some(field) = part.in_clear {
            let text = format!("a record of schema {} has {field} in clear", record.v);
            self.findings.push(Finding::failure(Class::Personal, text));
        }
        for asked in openings.asked() {
            let answer = PersonalAnswer::of_receipt(asked, self.index, record, part);
            let Some((answer, differs)) = answer else {
                continue;
            };
            if let Some(words) = differs {
                let finding = Finding::failure(Class::Personal, words).path(&asked.name);
                self.findings.push(finding);
            }
            self.openings.push(answer);
        }
        if self.openings.is_empty() && !openings.is_empty() {
            let text = "none of the openings is about the entry of this receipt";
            self.problems.push(text.to_owned());
        }
        if !openings.is_empty() {
            self.notes.push(
                "a receipt cannot show whether personal fields were erased later; the trail can"
                    .to_owned(),
            );
        }
    }

    fn look_at(&mut self, proof: &ProofFile, entry: &[u8], trust: &Trust) {
        self.index = Some(proof.index());
        if proof.extra().is_some() {
            self.notes.push(
                "the receipt has an `extra` line: it is not signed, and was not checked".into(),
            );
        }
        let note = proof.checkpoint();
        match trust.check(note.encode().as_bytes()) {
            Signed::Good(checkpoint) => {
                self.checkpoint = Some(checkpoint_report(
                    checkpoint.checkpoint(),
                    Some(&checkpoint),
                ));
                self.findings.extend(trust.check_second(&checkpoint));
                self.problems.extend(trust.check_quorum(&checkpoint).map(|missing| {
                    format!(
                        "{}; they have not cosigned this checkpoint yet: ask for the receipt again later",
                        missing.text
                    )
                }));
                self.unknown_lines(note.signatures().len(), &checkpoint);
                let leaf = leaf_hash(entry);
                if let Err(error) = checkpoint.verify_inclusion(proof.index(), &leaf, proof.proof())
                {
                    let text = format!("the record does not lead to the signed root: {error}");
                    let finding = Finding::failure(Class::Proof, text);
                    self.findings.push(finding.at(proof.index()));
                }
            }
            Signed::UnknownKey(checkpoint) => {
                self.checkpoint = Some(checkpoint_report(&checkpoint, None));
                let text = "no signature is from a trusted key";
                self.findings.push(Finding::failure(Class::Signature, text));
            }
            Signed::GivenUp(checkpoint, given_up) => {
                self.checkpoint = Some(checkpoint_report(&checkpoint, None));
                let text = format!("the receipt's checkpoint is {given_up}");
                if given_up.is_certain() {
                    self.findings.push(Finding::failure(Class::Signature, text));
                } else {
                    self.problems.push(text);
                }
            }
            Signed::Bad(finding) => self.findings.push(finding),
        }
    }

    fn unknown_lines(&mut self, lines: usize, checkpoint: &VerifiedCheckpoint) {
        let verified = [
            checkpoint.log_signatures(),
            checkpoint.log_cosignatures(),
            checkpoint.cosignatures(),
        ];
        let verified = verified.iter().map(|lines| lines.len()).sum();
        let unknown = lines.saturating_sub(verified);
        if unknown > 0 {
            self.notes.push(format!(
                "{unknown} of {lines} signature lines are of unknown keys, and were not checked"
            ));
        }
    }
}

impl fmt::Display for ProofReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Lines::new(f);
        let verdict = match self.verdict {
            Verdict::Sound => "SOUND",
            Verdict::NotSound => "NOT SOUND",
            Verdict::CouldNotCheck => "COULD NOT CHECK",
        };
        out.line(format_args!("{verdict}  a receipt for one record"))?;
        if !self.findings.is_empty() {
            out.title(format_args!("What is wrong"))?;
            for finding in &self.findings {
                out.line(format_args!("  {}", finding.text))?;
            }
        }
        if !self.problems.is_empty() {
            out.title(format_args!("What could not be checked"))?;
            for problem in &self.problems {
                out.line(format_args!("  {problem}"))?;
            }
        }
        out.title(format_args!("Record"))?;
        out.line(format_args!("  leaf hash   {}", self.leaf_hash))?;
        if let Some(index) = self.index {
            out.line(format_args!("  index       {index}"))?;
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.write(&mut out)?;
        }
        if !self.openings.is_empty() {
            out.title(format_args!("Personal fields"))?;
            write_answers(&self.openings, &mut out)?;
        }
        if !self.notes.is_empty() {
            out.title(format_args!("Notes"))?;
            for note in &self.notes {
                out.line(format_args!("  {note}"))?;
            }
        }
        Ok(())
    }
}
