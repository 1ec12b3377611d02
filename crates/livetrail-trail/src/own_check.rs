//! The server verifies its own trail from time to time.
//!
//! The verifier shares no code with the writer. So this finds changes by a faulty disk or by a
//! stranger, and nobody has to ask for it. It reads the files as an auditor would, in one thread of
//! lowest priority. The keys are those of the running server: it does not replace an auditor, who
//! brings their own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, Outcome};
use livetrail_clock::{Clock as _, SystemClock};
use livetrail_record::Value;
use livetrail_verify::{Directory, KeyFile, Options, Policy, Report, Severity, Verdict, verify};
use tokio::sync::oneshot;

use super::TrailView;
use crate::chain;

/// The first check is not later than this after a start, so that a server that is often restarted
/// is checked, too.
const FIRST: Duration = Duration::from_secs(300);

/// A check that fails is repeated once after this pause: retention may have removed what it was
/// about to read.
const PAUSE: Duration = Duration::from_secs(1);

/// The lowest priority of a thread.
const LOWEST: i32 = 19;

/// The periodic check.
pub(super) struct OwnCheck {
    pub(super) every: Duration,
    pub(super) directory: PathBuf,
    pub(super) view: TrailView,
    pub(super) pipeline: Arc<AuditPipeline>,
}

impl OwnCheck {
    /// Verifies, and reports the result, until it is dropped.
    pub(super) async fn run(self) {
        let mut next = self.every.min(FIRST);
        loop {
            tokio::time::sleep(next).await;
            self.check().await;
            next = self.every;
        }
    }

    async fn check(&self) {
        let mut checked = self.verified().await;
        if checked.is_err() {
            tokio::time::sleep(PAUSE).await;
            checked = self.verified().await;
        }
        let watch = &self.view.watch;
        match &checked {
            Ok(entries) => {
                tracing::info!(entries, "the trail is verified");
                watch.set_verified(SystemClock::new().unix_s());
            }
            Err(problem) => {
                tracing::error!("the trail cannot be verified: {problem}");
                watch.set_verification_failed();
            }
        }
        if let Err(error) = self.pipeline.record(record(checked)) {
            tracing::error!(%error, "the result of the verification is not on record");
        }
    }

    /// Returns the number of verified entries.
    async fn verified(&self) -> Result<u64, String> {
        let (done, result) = oneshot::channel();
        let directory = self.directory.clone();
        let keys = format!("{}\n{}", self.view.vkeys, self.view.retired);
        let work = move || {
            // A thread that keeps its priority does the same work.
            let _ = rustix::process::nice(LOWEST);
            let _ = done.send(verified(&directory, &keys));
        };
        let thread = std::thread::Builder::new().name("own-check".to_owned());
        if let Err(error) = thread.spawn(work) {
            return Err(format!("cannot start a thread: {error}"));
        }
        let ended = "the verifier ended without a result";
        result.await.unwrap_or_else(|_| Err(ended.to_owned()))
    }
}

fn verified(directory: &Path, keys: &str) -> Result<u64, String> {
    let words = |error: &dyn std::error::Error| chain(error);
    let mut file = KeyFile::default();
    file.read(keys).map_err(|error| words(&error))?;
    let mut policy = Policy::default();
    policy.add_file(file).map_err(|error| words(&error))?;
    let options = Options {
        policy,
        threads: 1,
        ..Options::default()
    };
    let report = verify(&Directory::new(directory), &options, &mut |_, _| {});
    let report = report.map_err(|error| words(&error))?;
    match report.verdict {
        Verdict::Sound => Ok(report.figures.entries),
        Verdict::NotSound | Verdict::CouldNotCheck => Err(problem(&report)),
    }
}

/// The first failure, or the first problem.
fn problem(report: &Report) -> String {
    let failure = report
        .findings
        .iter()
        .find(|finding| finding.severity == Severity::Failure);
    let failure = failure.map(|finding| finding.text.clone());
    let problem = failure.or_else(|| report.problems.first().cloned());
    problem.unwrap_or_else(|| "not sound".to_owned())
}

fn record(checked: Result<u64, String>) -> AuditRecord {
    let record = AuditRecord::new(AuditAction::TrailVerified, "");
    match checked {
        Ok(entries) => {
            let mut record = record.with_outcome(Outcome::Success);
            if let Ok(entries) = i64::try_from(entries) {
                // This fails only for a number of 2^53 or more.
                let _ = record.extra.insert("entries", Value::Integer(entries));
            }
            record
        }
        Err(problem) => record
            .with_outcome(Outcome::Failed)
            .with_detail(problem.chars().take(500).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Trail, create};

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_changed_file_is_found_and_on_record_and_health_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path()).origin("example.com/test");
        settings.ledger.segment_bytes = 9 << 20;
        settings.ledger.ballast_bytes = 1 << 20;
        create(&settings).unwrap();
        let mut trail = Trail::open(&settings).unwrap();
        let pipeline = Arc::new(trail.pipeline().build().unwrap());
        for _ in 0..300 {
            let event = AuditAction::Event("tick".to_owned());
            pipeline.record(AuditRecord::new(event, "live")).unwrap();
        }
        pipeline.sync().await.unwrap();
        let view = trail.view();
        let durable = view.handle.durable_entries();
        let sealed = tokio::time::timeout(LONG, view.handle.sealed(durable)).await;
        sealed.unwrap().unwrap();
        let check = OwnCheck {
            every: LONG,
            directory: folder.path().join("trail"),
            view: view.clone(),
            pipeline: pipeline.clone(),
        };
        assert_eq!(view.watch.verified_s(), 0);
        check.check().await;
        assert!(view.watch.verified_s() > 0);
        assert!(!view.health().verification_failed);

        let file = folder.path().join("trail/tile/entries/000");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        check.check().await;
        assert!(view.health().verification_failed && view.health().needs_attention());
        drop(check);
        let stopped = trail.shutdown(&pipeline, LONG).await;
        assert!(stopped.is_clean());
        let records = view.reader.entries(256..u64::MAX).unwrap();
        let outcomes = records.filter_map(|entry| {
            let record = livetrail_record::parse_canonical(&entry.unwrap()).unwrap();
            let is_check = record.action == AuditAction::TrailVerified;
            is_check.then_some((record.outcome, record.detail.is_some()))
        });
        let outcomes: Vec<_> = outcomes.collect();
        let (good, bad) = (Some(Outcome::Success), Some(Outcome::Failed));
        assert_eq!(outcomes, [(good, false), (bad, true)]);
    }
}
