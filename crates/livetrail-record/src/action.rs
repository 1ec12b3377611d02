//! What a record says happened.

use std::fmt;

/// What happened. [`label`](Self::label) gives the stable name that is written into every trail.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// A publish was admitted. Opens the session.
    PublishStarted,
    /// A publish ended, with reason and totals. Closes the session.
    PublishEnded,
    /// An attempt to publish was refused, with reason. Opens and closes the session.
    PublishDenied,
    /// A viewer was admitted. Opens the session.
    PlayStarted,
    /// A viewer's session ended, with reason and totals. Closes the session.
    PlayEnded,
    /// An attempt to play was refused, with reason. Opens and closes the session.
    PlayDenied,
    /// A viewer was cut off for chronic lag; `play_ended` with reason `evicted` follows.
    SubscriberEvicted,
    /// An ingress limit was hit; at most one record a second for a session, with the count since the last.
    RateLimited,
    /// A stream had no frames for the idle timeout; `publish_ended` with reason `idle` follows.
    StreamReaped,
    /// A recording of a stream began.
    RecordingStarted,
    /// A recording of a stream ended.
    RecordingEnded,
    /// The first record of a boot.
    ServerStarted,
    /// The last record of a boot.
    ServerStopped,
    /// Records were offered and could not be accepted: how many of which action, with the first and last `seq` and time.
    RecordsDropped,
    /// Nothing happened, and the trail is alive.
    Heartbeat,
    /// A request to the API with a missing or wrong token was refused, with reason. No session.
    AdminDenied,
    /// An operator ended a session.
    AdminSessionKicked,
    /// An operator changed the configuration.
    AdminConfigChanged,
    /// An operator exported records.
    AdminExported,
    /// An operator, or a policy that an operator set, removed records from a store.
    AdminPruned,
    /// An operator put records under a legal hold, or lifted one.
    AdminHeld,
    /// Retention does not wait any longer for a replica that takes nothing.
    AdminReplicaLeftBehind,
    /// A replica goes on behind entries that were pruned before it had them.
    AdminReplicaGap,
    /// Anything else a host wants on the record. The string is the event's free-form label; [`label`](Self::label) is `event`.
    Event(String),
    /// An action of a later version, by its label. A reader gets it from [`from_label`](Self::from_label); writers use the
    /// named variants.
    Other(String),
}

/// Every action that has a fixed label and no text of its own.
const FIXED: [(AuditAction, &str); 23] = [
    (AuditAction::PublishStarted, "publish_started"),
    (AuditAction::PublishEnded, "publish_ended"),
    (AuditAction::PublishDenied, "publish_denied"),
    (AuditAction::PlayStarted, "play_started"),
    (AuditAction::PlayEnded, "play_ended"),
    (AuditAction::PlayDenied, "play_denied"),
    (AuditAction::SubscriberEvicted, "subscriber_evicted"),
    (AuditAction::RateLimited, "rate_limited"),
    (AuditAction::StreamReaped, "stream_reaped"),
    (AuditAction::RecordingStarted, "recording_started"),
    (AuditAction::RecordingEnded, "recording_ended"),
    (AuditAction::ServerStarted, "server_started"),
    (AuditAction::ServerStopped, "server_stopped"),
    (AuditAction::RecordsDropped, "records_dropped"),
    (AuditAction::Heartbeat, "heartbeat"),
    (AuditAction::AdminDenied, "admin_denied"),
    (AuditAction::AdminSessionKicked, "admin_session_kicked"),
    (AuditAction::AdminConfigChanged, "admin_config_changed"),
    (AuditAction::AdminExported, "admin_exported"),
    (AuditAction::AdminPruned, "admin_pruned"),
    (AuditAction::AdminHeld, "admin_held"),
    (
        AuditAction::AdminReplicaLeftBehind,
        "admin_replica_left_behind",
    ),
    (AuditAction::AdminReplicaGap, "admin_replica_gap"),
];

/// Actions that are written by their label alone.
const BY_LABEL: [&str; 2] = ["admin_key_rotated", "admin_trail_continued"];

/// The label of every free-form event.
pub(crate) const EVENT: &str = "event";

impl AuditAction {
    /// The stable name: `publish_started`, …; `event` for every free-form event.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::PublishStarted => "publish_started",
            Self::PublishEnded => "publish_ended",
            Self::PublishDenied => "publish_denied",
            Self::PlayStarted => "play_started",
            Self::PlayEnded => "play_ended",
            Self::PlayDenied => "play_denied",
            Self::SubscriberEvicted => "subscriber_evicted",
            Self::RateLimited => "rate_limited",
            Self::StreamReaped => "stream_reaped",
            Self::RecordingStarted => "recording_started",
            Self::RecordingEnded => "recording_ended",
            Self::ServerStarted => "server_started",
            Self::ServerStopped => "server_stopped",
            Self::RecordsDropped => "records_dropped",
            Self::Heartbeat => "heartbeat",
            Self::AdminDenied => "admin_denied",
            Self::AdminSessionKicked => "admin_session_kicked",
            Self::AdminConfigChanged => "admin_config_changed",
            Self::AdminExported => "admin_exported",
            Self::AdminPruned => "admin_pruned",
            Self::AdminHeld => "admin_held",
            Self::AdminReplicaLeftBehind => "admin_replica_left_behind",
            Self::AdminReplicaGap => "admin_replica_gap",
            Self::Event(_) => EVENT,
            Self::Other(label) => label,
        }
    }

    /// Every label that this version knows, `event` last.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        let fixed = FIXED.iter().map(|(_, label)| *label);
        fixed.chain(BY_LABEL).chain([EVENT])
    }

    /// The action with this label; `event` gives an event with an empty free-form label, an unknown label [`Other`](Self::Other).
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        if label == EVENT {
            return Self::Event(String::new());
        }
        FIXED.iter().find(|(_, known)| *known == label).map_or_else(
            || Self::Other(label.to_owned()),
            |(action, _)| action.clone(),
        )
    }

    /// Whether it is a refusal: a record that may stand for many attempts (`*_denied`).
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::PublishDenied | Self::PlayDenied | Self::AdminDenied
        )
    }

    /// Whether an operator did it (`admin_*`). Such a record may name a session without being part of it.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.label().starts_with("admin_")
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_label_names_exactly_its_action() {
        for (action, label) in FIXED {
            assert_eq!(action.label(), label);
            assert_eq!(AuditAction::from_label(label), action);
        }
    }

    #[test]
    fn every_label_is_there_once() {
        let labels: Vec<_> = AuditAction::labels().collect();
        let different: std::collections::HashSet<_> = labels.iter().collect();
        assert_eq!(labels.len(), different.len());
        assert!(labels.contains(&"heartbeat") && labels.ends_with(&["event"]));
    }

    #[test]
    fn an_unknown_label_survives_and_event_is_free_form() {
        assert_eq!(
            AuditAction::from_label("transcode_started").label(),
            "transcode_started"
        );
        assert_eq!(AuditAction::Event("scene change".into()).label(), "event");
        assert!(AuditAction::from_label("admin_rotated").is_admin());
    }
}
