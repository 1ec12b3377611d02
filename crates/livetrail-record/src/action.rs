//! The actions of records: their table, and everything that follows from it.

use std::fmt;

use crate::machine::SessionKind;

/// The role of an action in the session that its record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionRole {
    /// The session's first record.
    Opens(SessionKind),
    /// The session's last record.
    Closes(SessionKind),
    /// A refused attempt: the first and the last record of its session.
    Refuses,
    /// Something that happens in a session of this kind.
    Inside(SessionKind),
    /// Something that happens in a session of any kind.
    InsideAny,
    /// A record that may name a session and is not part of it.
    Apart,
}

/// The classes by which records are dropped if there is no space in the queue or on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActionClass {
    /// A refused attempt. Strangers can cause these without end.
    Refusal,
    /// Something that happens in sessions again and again.
    Remark,
    /// The beginning of a session.
    Begin,
    /// The cause of a session's end, which follows.
    Cause,
    /// The end of a session.
    End,
    /// The deed of an operator.
    Operator,
    /// A record that only the pipeline itself may make.
    Own,
    /// Anything else.
    Other,
}

/// How much attention a record needs, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A session's usual course, and that the trail is alive.
    Informational,
    /// The server or an operator did something.
    Notice,
    /// Somebody was refused, evicted or limited, or a copy of the trail lacks something.
    Warning,
    /// Records were lost, or something failed.
    Error,
}

/// One row of the table of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionRow {
    /// The stable name.
    pub label: &'static str,
    /// Its role in its session.
    pub role: SessionRole,
    /// Its class, which decides when it is dropped.
    pub class: ActionClass,
    /// How much attention it needs. A record's outcome may raise this.
    pub severity: Severity,
    /// When it is recorded, in Markdown.
    pub description: &'static str,
}

/// The label of every free-form event.
pub(crate) const EVENT: &str = "event";

/// Makes from one table: the enum, its labels in both directions, the role of an action in its
/// session, its class and severity, the kinds of loss, and [`AuditAction::TABLE`] for the
/// documentation.
macro_rules! actions {
    ($(
        $(#[doc = $description:literal])+
        $variant:ident = $label:literal, $role:ident $(($kind:ident))?, $class:ident, $severity:ident;
    )+) => {
        /// The action of a record. [`label`](Self::label) gives the stable name that every trail
        /// has.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum AuditAction {
            $($(#[doc = $description])+ $variant,)+
            /// Any other event that a host records. The string is the event's free-form label.
            /// [`label`](Self::label) is `event`.
            Event(String),
            /// An action of a later version, by its label. [`from_label`](Self::from_label) gives
            /// it to readers. Writers use the named variants.
            Other(String),
        }

        impl AuditAction {
            /// Every action that this version knows, free-form events last.
            pub const TABLE: &'static [ActionRow] = &[
                $(ActionRow {
                    label: $label,
                    role: SessionRole::$role $((SessionKind::$kind))?,
                    class: ActionClass::$class,
                    severity: Severity::$severity,
                    description: concat!($($description),+),
                },)+
                ActionRow {
                    label: EVENT,
                    role: SessionRole::InsideAny,
                    class: ActionClass::Other,
                    severity: Severity::Informational,
                    description: " Anything else; the label is free-form.",
                },
            ];

            /// The stable name, such as `publish_started`. Every free-form event has `event`.
            #[must_use]
            pub fn label(&self) -> &str {
                match self {
                    $(Self::$variant => $label,)+
                    Self::Event(_) => EVENT,
                    Self::Other(label) => label,
                }
            }

            /// The action with this label. `event` gives an event with an empty free-form label. An
            /// unknown label gives [`Other`](Self::Other).
            #[must_use]
            pub fn from_label(label: &str) -> Self {
                match label {
                    $($label => Self::$variant,)+
                    EVENT => Self::Event(String::new()),
                    other => Self::Other(other.to_owned()),
                }
            }

            /// Its role in the session that its record names. An action of a later version has no
            /// known role.
            #[must_use]
            pub const fn role(&self) -> SessionRole {
                match self {
                    $(Self::$variant => SessionRole::$role $((SessionKind::$kind))?,)+
                    Self::Event(_) => SessionRole::InsideAny,
                    Self::Other(_) => SessionRole::Apart,
                }
            }

            /// Its class, which decides when it is dropped.
            #[must_use]
            pub fn class(&self) -> ActionClass {
                match self {
                    $(Self::$variant => ActionClass::$class,)+
                    Self::Other(_) if self.is_admin() => ActionClass::Operator,
                    Self::Event(_) | Self::Other(_) => ActionClass::Other,
                }
            }

            /// How much attention it needs. The outcome is not considered.
            #[must_use]
            pub fn severity(&self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)+
                    Self::Other(_) if self.is_admin() => Severity::Notice,
                    Self::Event(_) | Self::Other(_) => Severity::Informational,
                }
            }
        }

        /// The kinds by which losses are counted: the action of the lost record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum LossKind {
            $(#[doc = concat!("`", $label, "`")] $variant,)+
            /// A free-form event.
            Event,
            /// An action of a later version, or an unknown one.
            Other,
        }

        impl LossKind {
            /// Every kind, at its [`index`](Self::index).
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ Self::Event, Self::Other];

            /// Its name in a `records_dropped` record.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                    Self::Event => EVENT,
                    Self::Other => "other",
                }
            }

            /// The kind of a lost record of this action.
            #[must_use]
            pub const fn of(action: &AuditAction) -> Self {
                match action {
                    $(AuditAction::$variant => Self::$variant,)+
                    AuditAction::Event(_) => Self::Event,
                    AuditAction::Other(_) => Self::Other,
                }
            }
        }
    };
}

// Each row has the variant, the label, the role in its session, the class and the severity.
actions! {
    /// A publish was admitted. Opens the session.
    PublishStarted = "publish_started", Opens(Publish), Begin, Informational;
    /// A publish ended, with reason and totals. Closes the session.
    PublishEnded = "publish_ended", Closes(Publish), End, Informational;
    /// An attempt to publish was refused, with reason; or many alike were. Opens and closes the
    /// session.
    PublishDenied = "publish_denied", Refuses, Refusal, Warning;
    /// A viewer was admitted. Opens the session.
    PlayStarted = "play_started", Opens(Play), Begin, Informational;
    /// A viewer's session ended, with reason and totals. Closes the session.
    PlayEnded = "play_ended", Closes(Play), End, Informational;
    /// An attempt to play was refused, with reason; or many alike were. Opens and closes the
    /// session.
    PlayDenied = "play_denied", Refuses, Refusal, Warning;
    /// A viewer was evicted for chronic lag; its `play_ended` with reason `evicted` follows.
    SubscriberEvicted = "subscriber_evicted", Inside(Play), Cause, Warning;
    /// An ingress limit was hit; at most one record a second for a session, with the count since
    /// the last.
    RateLimited = "rate_limited", Inside(Publish), Remark, Warning;
    /// A stream had no frame for the idle timeout; its `publish_ended` with reason `idle` follows.
    StreamReaped = "stream_reaped", Inside(Publish), Cause, Warning;
    /// Requests of one viewer came from two addresses at the same time, `peers` so far: somebody
    /// passed the token on, or the viewer has two ways into the network. At most once for a
    /// session.
    TokenShared = "token_shared", Inside(Play), Remark, Warning;
    /// The token of a viewer was revoked, because the viewer was kicked, the share link was, or the
    /// credentials were; its `play_ended` follows. It opens no session any more, also after a
    /// restart; `until_ms` is when it would have expired.
    TokenRevoked = "token_revoked", Inside(Play), Cause, Notice;
    /// A host began to record a stream.
    RecordingStarted = "recording_started", Inside(Publish), Other, Informational;
    /// A host's recording of a stream ended.
    RecordingEnded = "recording_ended", Inside(Publish), Other, Informational;
    /// The first record of a process.
    ServerStarted = "server_started", Apart, Own, Notice;
    /// The last record of a process.
    ServerStopped = "server_stopped", Apart, Own, Notice;
    /// The queue was full, the disk nearly so, or the sink failed: how many records were lost, of
    /// which actions, with the first and last `seq` and time. `refused_attempts` is how many
    /// attempts the lost records of refusals stood for. With `log_stopped_ms` and `log_stopped_why`
    /// it is from the next start, about a boot whose log stopped while the server went on.
    RecordsDropped = "records_dropped", Apart, Own, Error;
    /// The log of an earlier boot stopped while the server went on, and how many records are
    /// missing is not known (`detail` says what is). It belongs to no boot; the verifier points at
    /// it.
    LogStopped = "log_stopped", Apart, Other, Informational;
    /// Every 60 s, so that a silent trail can be distinguished from a dead one. `clock_step_ms` is
    /// how far the wall clock was set since the heartbeat before, if it was.
    Heartbeat = "heartbeat", Apart, Own, Informational;
    /// The server verified its own trail of `entries` entries, as `[trail] verify_every` asks. The
    /// outcome is `failed` when it is not sound or cannot be read; `detail` says why.
    TrailVerified = "trail_verified", Apart, Other, Informational;
    /// The wall clock is more than a day ahead of the trail's time, and nothing agrees with it:
    /// nothing is removed until something does.
    RetentionWaits = "retention_waits", Apart, Other, Informational;
    /// Something agrees with the wall clock again, or it went back: retention goes on.
    RetentionContinues = "retention_continues", Apart, Other, Informational;
    /// A request to the API was refused: a missing or wrong token, a role that does not allow it,
    /// or a page of another origin; or many were from one address. No session.
    AdminDenied = "admin_denied", Apart, Refusal, Notice;
    /// Openings of `count` refusals were not kept since the last such record, because the vault has
    /// a bound for those that strangers cause. Their entries stay.
    OpeningsDropped = "openings_dropped", Apart, Other, Warning;
    /// An operator ended a session through the API.
    AdminSessionKicked = "admin_session_kicked", Apart, Operator, Notice;
    /// An operator ended `count` sessions at once through the API. `sessions` are these, and
    /// `detail` says what they have in common.
    AdminSessionsKicked = "admin_sessions_kicked", Apart, Operator, Notice;
    /// Somebody set through the API when a session's grant expires: at `until_ms`.
    AdminSessionRenewed = "admin_session_renewed", Apart, Operator, Notice;
    /// The server takes no new sessions, and stops when the last of the `count` present ones has
    /// ended, at `until_ms` at the latest.
    AdminDrainStarted = "admin_drain_started", Apart, Operator, Notice;
    /// The server takes new sessions again, because an operator gave up the drain.
    AdminDrainCancelled = "admin_drain_cancelled", Apart, Operator, Notice;
    /// SIGHUP: which sections and settings changed, which keys were added, removed or changed, how
    /// many sessions ended by that; `refused` and where, when the file is wrong. Also a change of
    /// certificates, or of the keys of HLS viewers' tokens, by SIGHUP or of their files.
    AdminConfigChanged = "admin_config_changed", Apart, Operator, Notice;
    /// Keys or tokens were added or removed at a reload, by name: `keys_added`, `keys_removed`,
    /// `token_keys_added`, `token_keys_removed`, `api_tokens_added` and `api_tokens_removed`. A key
    /// with another secret counts as both.
    AdminCredentialsChanged = "admin_credentials_changed", Apart, Operator, Notice;
    /// Entries of the trail were read, `count` times, by the same name with the same filter within
    /// a minute: `what` says how, `filter` is a hash of the filter.
    AdminRead = "admin_read", Apart, Operator, Notice;
    /// Records were exported, `count` times, by the same name with the same filter within a minute:
    /// `what` says how, `filter` is a hash of the filter.
    AdminExported = "admin_exported", Apart, Operator, Notice;
    /// A person states that they reviewed the entries from `first_index` to `last_index`; `detail`
    /// has their note.
    AdminReviewed = "admin_reviewed", Apart, Operator, Notice;
    /// Entries go by policy: `first_index`, `last_index` (all that has ever gone) and `policy`.
    AdminPruned = "admin_pruned", Apart, Operator, Notice;
    /// A legal hold `hold` was set from entry `from_index` on, or `lifted`. `scope` says what it
    /// covers: `entries`, or the openings of a `stream`, of a `session`, of a `principal` or of a
    /// `time`. `sessions` are the covered ones; later records of the same hold add more.
    AdminHeld = "admin_held", Apart, Operator, Notice;
    /// The openings of `sessions` are erased for `request`, or by policy (`basis` is `retention`).
    /// It is sealed before anything is destroyed.
    AdminErased = "admin_erased", Apart, Operator, Notice;
    /// The vault and every sink with openings have erased everything that `request` names.
    AdminErasureCompleted = "admin_erasure_completed", Apart, Operator, Notice;
    /// The legal hold `hold` keeps openings that `request` names. The request runs when the hold is
    /// lifted.
    AdminErasureWaits = "admin_erasure_waits", Apart, Operator, Notice;
    /// A second person approved the erasure `request`.
    AdminErasureApproved = "admin_erasure_approved", Apart, Operator, Notice;
    /// Personal fields of `count` sessions were shown; `purpose` says why, `filter` is a hash of
    /// the filter.
    AdminDisclosed = "admin_disclosed", Apart, Operator, Notice;
    /// A key takes another's place: `vkey`, `old_vkey`; again when a pruning takes such a record
    /// away.
    AdminKeyRotated = "admin_key_rotated", Apart, Operator, Notice;
    /// The first entry of a trail that takes the place of a lost one: `old_origin`,
    /// `old_checkpoint`.
    AdminTrailContinued = "admin_trail_continued", Apart, Operator, Notice;
    /// An operator said that the wall clock is right (`clock_ms`).
    AdminClockConfirmed = "admin_clock_confirmed", Apart, Operator, Notice;
    /// Retention no longer waits for the sink `sink`, which takes nothing.
    AdminReplicaLeftBehind = "admin_replica_left_behind", Apart, Operator, Warning;
    /// The sink `sink` goes on behind entries that were pruned before it had them.
    AdminReplicaGap = "admin_replica_gap", Apart, Operator, Warning;
    /// The sink `sink` has less than it had: entries `first_index` to `next_index` (without that
    /// one) are gone there.
    AdminReplicaWentBack = "admin_replica_went_back", Apart, Operator, Warning;
    /// The sink `sink` gets personal data in clear that nobody can erase there, as its settings
    /// accept. At each start.
    AdminSinkUnerasable = "admin_sink_unerasable", Apart, Operator, Warning;
}

impl AuditAction {
    /// Every label that this version knows, `event` last.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().map(|row| row.label)
    }

    /// Whether it is a refusal: a record that may stand for many attempts (`*_denied`).
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.class() == ActionClass::Refusal
    }

    /// Whether an operator did it (`admin_*`). Such a record may name a session without being part
    /// of it.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.label().starts_with("admin_")
    }
}

impl LossKind {
    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
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
    fn each_row_of_the_table_is_what_its_action_says() {
        for row in AuditAction::TABLE {
            let action = AuditAction::from_label(row.label);
            assert!(!matches!(action, AuditAction::Other(_)), "{}", row.label);
            assert_eq!(action.label(), row.label);
            assert_eq!(action.role(), row.role, "{}", row.label);
            assert_eq!(action.class(), row.class, "{}", row.label);
            assert_eq!(action.severity(), row.severity, "{}", row.label);
            assert_eq!(LossKind::of(&action).label(), row.label);
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
    fn a_kind_of_loss_for_each_action_and_one_for_all_others() {
        assert_eq!(LossKind::ALL.len(), AuditAction::TABLE.len() + 1);
        for (index, kind) in LossKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
        let later = AuditAction::from_label("transcode_started");
        assert_eq!(LossKind::of(&later).label(), "other");
    }

    #[test]
    fn what_an_operator_did_is_called_so() {
        for row in AuditAction::TABLE {
            let is_operators = matches!(row.class, ActionClass::Operator)
                || row.label == AuditAction::AdminDenied.label();
            assert_eq!(row.label.starts_with("admin_"), is_operators);
        }
    }

    #[test]
    fn an_unknown_label_survives_and_event_is_free_form() {
        let later = AuditAction::from_label("transcode_started");
        assert_eq!(later.label(), "transcode_started");
        assert_eq!(later.role(), SessionRole::Apart);
        assert_eq!(AuditAction::Event("scene change".into()).label(), "event");
        let later = AuditAction::from_label("admin_rotated");
        assert_eq!(later.class(), ActionClass::Operator);
        assert_eq!(later.severity(), Severity::Notice);
    }
}
