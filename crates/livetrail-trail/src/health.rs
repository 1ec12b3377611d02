//! The state of a trail, for people and for programs.

use livetrail_ledger::Pressure;
use livetrail_replica::ReplicaStatus;
use serde::Serialize;

use super::{PersonalStatus, TrailView, Trouble, followers::is_in_trouble};

/// The state of a trail at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The reason why the trail cannot record or seal, if any.
    pub trouble: Trouble,
    /// The disk is at least 90 % full, and records are dropped.
    pub disk_is_short: bool,
    /// Retention removes nothing: the wall clock is far ahead of the trail's time, and nothing
    /// agrees with it.
    pub retention_waits: bool,
    /// The last verification of the trail by the server itself failed.
    pub verification_failed: bool,
    /// Witnesses that have not cosigned the trail for a while although they were asked.
    pub overdue_witnesses: Vec<String>,
    /// Sinks that have not reported since the start what they have seen of the trail. Records are
    /// kept, and none is signed until the sinks have reported.
    pub signing_waits_for: Vec<String>,
    /// The state of the vault of personal data.
    pub personal: PersonalStatus,
    /// The state of each sink that follows the trail.
    pub sinks: Vec<ReplicaStatus>,
}

impl Health {
    /// Whether a person should check on the trail although it records.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.disk_is_short
            || self.retention_waits
            || self.verification_failed
            || !self.overdue_witnesses.is_empty()
            || !self.signing_waits_for.is_empty()
            || self.personal.needs_attention()
            || self.sinks.iter().any(is_in_trouble)
    }
}

impl TrailView {
    /// The state of the trail now. This waits for nothing. Values from watching are up to date
    /// while [`Trail::keep`](super::Trail::keep) runs.
    #[must_use]
    pub fn health(&self) -> Health {
        let witnesses = self.witnesses.as_ref();
        let witnesses = witnesses.map_or_else(Vec::new, |witnesses| witnesses.status());
        let overdue = witnesses.into_iter().filter(|one| one.overdue);
        Health {
            trouble: self.watch.trouble(),
            disk_is_short: self.handle.pressure() >= Pressure::ShedRefusals,
            retention_waits: self.watch.retention_waits(),
            verification_failed: self.watch.verification_failed(),
            overdue_witnesses: overdue.map(|one| one.name).collect(),
            signing_waits_for: self.handle.status().held,
            personal: self.personal.status(),
            sinks: self.sinks.statuses(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_serialized_with_the_label_of_the_trouble() {
        let mut health = Health {
            trouble: Trouble::None,
            disk_is_short: false,
            retention_waits: false,
            verification_failed: true,
            overdue_witnesses: vec!["w1".to_owned()],
            signing_waits_for: Vec::new(),
            personal: PersonalStatus::default(),
            sinks: Vec::new(),
        };
        assert_eq!(
            serde_json::to_value(&health).unwrap(),
            serde_json::json!({
                "trouble": null,
                "disk_is_short": false,
                "retention_waits": false,
                "verification_failed": true,
                "overdue_witnesses": ["w1"],
                "signing_waits_for": [],
                "personal": {
                    "failing": null,
                    "waiting": 0,
                    "waiting_seconds": 0,
                    "overdue": false,
                    "kept": 0,
                    "erased": 0,
                    "refusals_not_kept": 0,
                    "lost": 0,
                },
                "sinks": [],
            })
        );
        health.trouble = Trouble::DiskFull;
        let health = serde_json::to_value(&health).unwrap();
        assert_eq!(health["trouble"], "disk_full");
    }
}
