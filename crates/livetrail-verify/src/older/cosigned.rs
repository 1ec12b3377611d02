//! Cosigned checkpoints: the newest one with enough cosignatures counts, and later entries are not
//! cosigned yet.

use std::ops::ControlFlow;

use livetrail_tlog::VerifiedCheckpoint;

use super::{Older, OlderCheckpoints, Provenance, stated_in};
use crate::finding::Outcome;
use crate::finding::{Class, Finding, Severity};
use crate::note::MAX_SMALL_BYTES;
use crate::report::CosignedReport;
use crate::report::parts::cosignatures;
use crate::report::show::span;
use crate::scan::{Fetched, get};
use crate::sources::Source;
use crate::trust::Trust;
use crate::trust::policy::Policy;

/// Under a number, the newest checkpoint that this many witnesses have cosigned.
pub(super) const COSIGNED: &str = "cosigned";

/// The maximum number of witnesses of a log.
const MAX_WITNESSES: usize = 32;

/// How long the newest entries may lack the required cosignatures without a remark.
const COSIGNED_WITHIN_S: u64 = 3_600;

impl OlderCheckpoints {
    /// Adds the newest checkpoints that witnesses have cosigned.
    pub(crate) fn cosigned(&mut self, notes: Vec<(usize, Fetched)>, found: &mut Outcome) {
        for (witnesses, got) in notes {
            let name = format!("{COSIGNED}/{witnesses}");
            let (size, bytes) = match stated_in(&name, got, found) {
                ControlFlow::Continue(Some(checkpoint)) => checkpoint,
                ControlFlow::Continue(None) => continue,
                ControlFlow::Break(()) => return,
            };
            self.report.cosigned = self.report.cosigned.saturating_add(1);
            let provenance = Provenance::Cosigned(witnesses, bytes);
            let older = Older { size, provenance };
            self.given.entry(size).or_default().push(older);
        }
    }

    /// Remembers one of the tree that the required witnesses have cosigned.
    pub(super) fn remember_cosigned(&mut self, verified: &VerifiedCheckpoint, trust: &Trust) {
        let size = verified.head().size;
        if trust.policy().has_quorum()
            && self
                .cosigned
                .as_ref()
                .is_none_or(|newest| newest.size < size)
            && trust.check_quorum(verified).is_none()
        {
            let by = cosignatures(verified.cosignatures());
            self.cosigned = Some(CosignedReport { size, by });
        }
    }

    /// The newest checkpoint's lack of required cosignatures, if any. If an older checkpoint has
    /// them, that one counts, and later entries are not cosigned yet.
    pub(super) fn quorum(
        &mut self,
        verified: &VerifiedCheckpoint,
        trust: &Trust,
        found: &mut Outcome,
    ) {
        self.remember_cosigned(verified, trust);
        let Some(missing) = trust.check_quorum(verified) else {
            return;
        };
        let Some(newest) = &self.cosigned else {
            found.findings.add(missing.path("checkpoint"));
            return;
        };
        let above = verified.head().size.saturating_sub(newest.size);
        found.notes.push(format!(
            "the required witnesses have cosigned the first {} entries; {above} entries above them are not cosigned yet",
            newest.size
        ));
        let signed = verified.log_cosignatures().iter();
        let signed = signed.filter_map(|line| line.timestamp_s).max();
        let cosigned = newest.by.iter().map(|line| line.time_s).max();
        let behind = signed.unwrap_or(0).saturating_sub(cosigned.unwrap_or(0));
        if behind > COSIGNED_WITHIN_S {
            let text = format!(
                "no checkpoint of the {} before the newest one is cosigned by the required witnesses: only the log has signed the last {above} entries",
                span(behind.saturating_mul(1000))
            );
            let finding = Finding::remark(Class::Signature, text).at(newest.size);
            let severity = if self.is_strict {
                Severity::Failure
            } else {
                Severity::Remark
            };
            let finding = Finding {
                severity,
                ..finding
            };
            found.findings.add(finding.path("checkpoint"));
        }
    }

    /// The checkpoint that the required witnesses have cosigned, if any witnesses are required.
    pub(crate) fn take_cosigned(&mut self) -> Option<CosignedReport> {
        self.cosigned.take()
    }
}

/// The newest checkpoints that witnesses have cosigned, when the policy requires some. They are
/// read before the newest checkpoint of all, so that none of them is larger if the log grows
/// meanwhile.
pub(crate) fn read_cosigned(source: &dyn Source, policy: &Policy) -> Vec<(usize, Fetched)> {
    let most = policy.witnesses.len().min(MAX_WITNESSES);
    let numbers = (1..=most).filter(|_| policy.has_quorum());
    let mut notes = Vec::new();
    for witnesses in numbers {
        let got = get(source, &format!("{COSIGNED}/{witnesses}"), MAX_SMALL_BYTES);
        let is_last = !matches!(got, Fetched::Bytes(_));
        notes.push((witnesses, got));
        if is_last {
            break;
        }
    }
    notes
}
