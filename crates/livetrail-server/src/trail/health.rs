//! How a trail does, for people and for machines.

use livetrail_ledger::Pressure;
use livetrail_replica::ReplicaStatus;

use super::{TrailView, Trouble, followers::is_in_trouble};

/// How a trail does at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// What keeps the trail from recording or sealing, if anything.
    pub trouble: Trouble,
    /// The disk is at least 90 % full, and records are shed.
    pub disk_is_short: bool,
    /// Retention removes nothing: the wall clock is far ahead of the trail's time, and nothing
    /// agrees with it.
    pub retention_waits: bool,
    /// Witnesses that have not cosigned the trail for a while although they were asked.
    pub overdue_witnesses: Vec<String>,
    /// Sinks that have not said what they have seen of the trail since the start. Records are kept,
    /// and none is signed until they have.
    pub signing_waits_for: Vec<String>,
    /// How each sink that follows the trail does.
    pub sinks: Vec<ReplicaStatus>,
}

impl Health {
    /// Whether a person should check on the trail although it records.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.disk_is_short
            || self.retention_waits
            || !self.overdue_witnesses.is_empty()
            || !self.signing_waits_for.is_empty()
            || self.sinks.iter().any(is_in_trouble)
    }
}

impl TrailView {
    /// How the trail does now. Waits for nothing. What is known by watching is newest while
    /// [`Trail::keep`](super::Trail::keep) runs.
    #[must_use]
    pub fn health(&self) -> Health {
        let witnesses = self.witnesses.as_ref();
        let witnesses = witnesses.map_or_else(Vec::new, |witnesses| witnesses.status());
        let overdue = witnesses.into_iter().filter(|one| one.overdue);
        Health {
            trouble: self.watch.trouble(),
            disk_is_short: self.handle.pressure() >= Pressure::ShedRefusals,
            retention_waits: self.watch.retention_waits(),
            overdue_witnesses: overdue.map(|one| one.name).collect(),
            signing_waits_for: self.handle.status().held,
            sinks: self.sinks.statuses(),
        }
    }
}
