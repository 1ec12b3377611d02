//! The end of every check: the verdict and the common part of the report.

use crate::finding::Outcome;
use crate::report::{Figures, KeysReport, OlderReport, Report, TrailKind, Verdict};
use crate::trail::Trail;
use crate::trust::Trust;

/// The report's common part: sessions, personal fields, findings, verdict. `size` is the number of
/// entries that the checkpoint covers.
pub(crate) fn finish(
    place: String,
    kind: TrailKind,
    mut trail: Trail,
    trust: Option<&Trust>,
    size: u64,
    found: Outcome,
) -> Report {
    let Outcome {
        mut findings,
        mut problems,
        notes,
    } = found;
    let pruned = std::mem::take(&mut trail.pruned);
    let rotations = trail
        .rotations
        .iter()
        .map(|rotation| rotation.report(trust))
        .collect();
    let personal = trail.finish_personal(size, &mut findings, &mut problems);
    let (mut sessions, too_much) = trail.finish(&mut findings);
    sessions.sum_up();
    problems.extend(
        too_much.map(|why| format!("sessions and numbers were not checked to the end: {why}")),
    );
    let verdict = if findings.failures() > 0 {
        Verdict::NotSound
    } else if problems.is_empty() {
        Verdict::Sound
    } else {
        Verdict::CouldNotCheck
    };
    Report {
        format: 1,
        verdict,
        place,
        kind,
        checkpoint: None,
        cosigned: None,
        keys: KeysReport::default(),
        figures: Figures::default(),
        older: OlderReport::default(),
        sessions,
        personal,
        pruned,
        rotations,
        first_index: findings.first_index(),
        failures: findings.failures(),
        remarks: findings.remarks(),
        findings: findings.into_kept(),
        problems,
        notes,
    }
}
