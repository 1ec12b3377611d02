//! One lifecycle fact and its fields.

use uuid::Uuid;

use crate::action::AuditAction;
use crate::extra::Extra;
use crate::personal::Personal;
use crate::reason::{Outcome, Reason};

/// The version of the record's schema that this crate writes.
pub const SCHEMA: u32 = 1;

/// The names of all fields in canonical order.
pub(crate) const FIELDS: [&str; 32] = [
    "action",
    "app",
    "boot",
    "bytes",
    "count",
    "detail",
    "detail_cut",
    "distinct",
    "dropped_frames",
    "duration_ms",
    "first_seq",
    "first_ts_ms",
    "frames",
    "inferred",
    "label",
    "last_seq",
    "last_ts_ms",
    "mono_ms",
    "node",
    "nonce",
    "outcome",
    "peer",
    "principal",
    "protocol",
    "reason",
    "refused_before",
    "seq",
    "session",
    "stream",
    "ts_ms",
    "user_agent",
    "v",
];

/// Whether this version gives `name` a meaning, so that it can be no [`Extra`] field.
pub(crate) fn is_known_field(name: &str) -> bool {
    FIELDS.binary_search(&name).is_ok()
}

/// One lifecycle fact.
///
/// Absent fields are left out of every encoding. Integers are below 2^53. The pipeline fills in `node`, `boot`, `seq`,
/// `mono_ms`, `nonce` and, where it is 0, `ts_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The schema's version, [`SCHEMA`] in records that this crate makes.
    pub v: u32,
    /// When, in milliseconds since 1970 UTC; 0 is *not set*.
    pub ts_ms: u64,
    /// What happened.
    pub action: AuditAction,
    /// The application (RTMP's word); empty for what concerns the server as a whole.
    pub app: String,
    /// The stream.
    pub stream: Option<String>,
    /// The session, a UUIDv7.
    pub session: Option<Uuid>,
    /// How it came out.
    pub outcome: Option<Outcome>,
    /// Why it ended or was refused.
    pub reason: Option<Reason>,
    /// The wire protocol: `rtmp`, `http-flv`, …
    pub protocol: Option<String>,
    /// Who, as authenticated: a configured name or a keyed hash, never a secret.
    pub principal: Option<Personal>,
    /// From where: address and port.
    pub peer: Option<Personal>,
    /// With what: the client's own words.
    pub user_agent: Option<Personal>,
    /// How long the session lasted, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Payload bytes of the session.
    pub bytes: Option<u64>,
    /// Frames of the session.
    pub frames: Option<u64>,
    /// Frames that the session did not get.
    pub dropped_frames: Option<u64>,
    /// The record says what must have happened, nobody saw it.
    pub inferred: bool,
    /// How many facts the record stands for.
    pub count: Option<u64>,
    /// The first `seq` the record stands for.
    pub first_seq: Option<u64>,
    /// The last `seq` the record stands for.
    pub last_seq: Option<u64>,
    /// When the first of the facts happened that the record stands for, in milliseconds since 1970 UTC.
    pub first_ts_ms: Option<u64>,
    /// When the last of them happened.
    pub last_ts_ms: Option<u64>,
    /// How many different names those facts had: exact up to 32, an estimate beyond.
    pub distinct: Option<u64>,
    /// Of a session that was admitted: how many attempts from its address were refused before it, since the last one that
    /// was admitted.
    pub refused_before: Option<u64>,
    /// Free text.
    pub detail: Option<Personal>,
    /// `detail` was cut to fit an entry.
    pub detail_cut: bool,
    /// The server's configured name.
    pub node: Option<String>,
    /// This process start, a UUIDv7.
    pub boot: Option<Uuid>,
    /// The record's number in its boot, from 0, without gaps except for what `records_dropped` reports.
    pub seq: Option<u64>,
    /// Monotonic milliseconds since the boot.
    pub mono_ms: Option<u64>,
    /// Random bytes, so that a leaf hash cannot be guessed from the record's content.
    pub nonce: Option<[u8; 16]>,
    /// Fields of a later version.
    pub extra: Extra,
}

impl AuditRecord {
    /// A record of `action` in `app` with nothing else set, not even the time.
    pub fn new(action: AuditAction, app: impl Into<String>) -> Self {
        Self {
            v: SCHEMA,
            ts_ms: 0,
            action,
            app: app.into(),
            stream: None,
            session: None,
            outcome: None,
            reason: None,
            protocol: None,
            principal: None,
            peer: None,
            user_agent: None,
            duration_ms: None,
            bytes: None,
            frames: None,
            dropped_frames: None,
            inferred: false,
            count: None,
            first_seq: None,
            last_seq: None,
            first_ts_ms: None,
            last_ts_ms: None,
            distinct: None,
            refused_before: None,
            detail: None,
            detail_cut: false,
            node: None,
            boot: None,
            seq: None,
            mono_ms: None,
            nonce: None,
            extra: Extra::new(),
        }
    }

    /// Sets [`ts_ms`](Self::ts_ms): milliseconds since 1970 UTC.
    #[must_use]
    pub const fn with_ts_ms(mut self, ts_ms: u64) -> Self {
        self.ts_ms = ts_ms;
        self
    }

    /// Sets [`session`](Self::session).
    #[must_use]
    pub const fn with_session(mut self, session: Uuid) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets [`outcome`](Self::outcome).
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Sets [`reason`](Self::reason).
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Sets [`inferred`](Self::inferred).
    #[must_use]
    pub const fn with_inferred(mut self, inferred: bool) -> Self {
        self.inferred = inferred;
        self
    }

    /// Sets [`boot`](Self::boot).
    #[must_use]
    pub const fn with_boot(mut self, boot: Uuid) -> Self {
        self.boot = Some(boot);
        self
    }

    /// Sets [`nonce`](Self::nonce).
    #[must_use]
    pub const fn with_nonce(mut self, nonce: [u8; 16]) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// Sets a field of [`extra`](Self::extra).
    ///
    /// # Errors
    /// As [`Extra::insert`].
    pub fn with_extra(
        mut self,
        name: &str,
        value: crate::extra::Value,
    ) -> Result<Self, crate::RecordError> {
        self.extra.insert(name, value)?;
        Ok(self)
    }

    /// Whether every number is one that a record can carry: below 2^53. Encoding refuses one that is not.
    ///
    /// # Errors
    /// [`RecordError::IntegerTooLarge`](crate::RecordError::IntegerTooLarge) names the first that is not.
    pub fn check_numbers(&self) -> Result<(), crate::RecordError> {
        crate::canonical::check_integers(self)
    }

    /// The record without personal data: each piece of it is replaced by [`REDACTED`](crate::REDACTED).
    ///
    /// The `detail` of a `records_dropped` record stays: the pipeline made it, it counts actions and names nobody, and without
    /// it the trail could no longer be checked.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        let keeps_detail = self.action == AuditAction::RecordsDropped;
        for field in [&mut self.principal, &mut self.peer, &mut self.user_agent] {
            redact(field);
        }
        if !keeps_detail {
            redact(&mut self.detail);
        }
        self
    }
}

fn redact(field: &mut Option<Personal>) {
    if field.is_some() {
        *field = Some(Personal::redacted());
    }
}

/// Setters that differ in nothing but the field.
macro_rules! setters {
    (
        text { $($text:ident $with_text:ident,)* }
        personal { $($personal:ident $with_personal:ident,)* }
        number { $($number:ident $with_number:ident,)* }
    ) => {
        impl AuditRecord {
            $(
                #[doc = concat!("Sets [`", stringify!($text), "`](Self::", stringify!($text), ").")]
                #[must_use]
                pub fn $with_text(mut self, $text: impl Into<String>) -> Self {
                    self.$text = Some($text.into());
                    self
                }
            )*
            $(
                #[doc = concat!("Sets [`", stringify!($personal), "`](Self::", stringify!($personal), "), personal data.")]
                #[must_use]
                pub fn $with_personal(mut self, $personal: impl Into<Personal>) -> Self {
                    self.$personal = Some($personal.into());
                    self
                }
            )*
            $(
                #[doc = concat!("Sets [`", stringify!($number), "`](Self::", stringify!($number), "), below 2^53.")]
                #[must_use]
                pub const fn $with_number(mut self, $number: u64) -> Self {
                    self.$number = Some($number);
                    self
                }
            )*
        }
    };
}

setters! {
    text {
        stream with_stream,
        protocol with_protocol,
        node with_node,
    }
    personal {
        principal with_principal,
        peer with_peer,
        user_agent with_user_agent,
        detail with_detail,
    }
    number {
        seq with_seq,
        mono_ms with_mono_ms,
        duration_ms with_duration_ms,
        bytes with_bytes,
        frames with_frames,
        dropped_frames with_dropped_frames,
        count with_count,
        first_seq with_first_seq,
        last_seq with_last_seq,
        first_ts_ms with_first_ts_ms,
        last_ts_ms with_last_ts_ms,
        distinct with_distinct,
        refused_before with_refused_before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_takes_out_all_personal_data_and_nothing_else() {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_stream("cam")
            .with_principal("alice")
            .with_peer("192.0.2.7:5000")
            .with_user_agent("player/1")
            .with_detail("from the lobby");
        let shown = format!("{record:?}");
        assert!(
            !shown.contains("alice") && !shown.contains("192.0.2.7") && !shown.contains("lobby")
        );
        let redacted = record.redacted();
        assert!(
            redacted
                .principal
                .as_ref()
                .is_some_and(Personal::is_redacted)
        );
        assert!(redacted.detail.as_ref().is_some_and(Personal::is_redacted));
        assert_eq!(redacted.stream.as_deref(), Some("cam"));
        let loss = AuditRecord::new(AuditAction::RecordsDropped, "").with_detail("play_started:2");
        assert_eq!(loss.redacted().detail.unwrap().expose(), "play_started:2");
    }
}
