//! The audit record: actions, fields, canonical bytes, session state machine.
//!
//! | what | where |
//! |---|---|
//! | [`AuditRecord`] and its parts | [`AuditAction`], [`Outcome`], [`Reason`], [`Personal`], [`Extra`] |
//! | canonical bytes (RFC 8785 JSON), what a log's leaf hashes | [`encode_canonical`], [`parse_canonical`], [`RecordView`] |
//! | entries of schema 2, without names | [`encode_entry`] |
//! | the file trail's line | [`encode_line`], [`parse_line`] |
//! | personal fields outside the log, and the commitments to them | [`Opening`], [`Disclosure`], [`name_token`] |
//! | the session state machine and `seq` continuity | [`TrailChecker`] |
//!
//! This crate does no I/O, reads no clock, makes no identity and does not know what a stream is.
//! The verifier links this crate and not the writer.
//!
//! ```
//! use livetrail_record::{AuditAction, AuditRecord, encode_canonical, parse_canonical};
//!
//! let record = AuditRecord::new(AuditAction::PublishStarted, "live")
//!     .with_ts_ms(1_763_805_600_000)
//!     .with_stream("cam");
//! let bytes = encode_canonical(&record)?;
//! assert_eq!(
//!     bytes,
//!     br#"{"action":"publish_started","app":"live","stream":"cam","ts_ms":1763805600000,"v":1}"#
//! );
//! assert_eq!(parse_canonical(&bytes)?, record);
//! # Ok::<(), livetrail_record::RecordError>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

// The others use its macros.
#[macro_use]
mod fields;

mod action;
mod arcly;
mod canonical;
mod entry;
mod error;
mod extra;
mod field;
mod fuzz;
mod later;
mod line;
mod machine;
mod personal;
mod reason;
mod record;
#[cfg(feature = "serde")]
mod serialize;
mod view;

pub use action::{ActionClass, ActionRow, AuditAction, LossKind, SessionRole, Severity};
pub use arcly::parse_arcly_line;
pub use canonical::{
    MAX_CANONICAL_BYTES, MAX_INTEGER, encode_canonical, encode_canonical_into, parse_canonical,
};
pub use entry::{Entry, EntryContext, encode_entry, encode_entry_into, opening_session};
pub use error::RecordError;
pub use extra::{Extra, Name, Value};
pub use field::{Field, FieldClass, FieldType, FieldValue};
pub use fields::{AuditRecord, SCHEMA};
#[doc(hidden)]
pub use fuzz::{fuzz_arcly_line, fuzz_canonical, fuzz_disclosure, fuzz_line, fuzz_opening};
pub use line::{encode_line, encode_line_into, parse_line};
pub use machine::{
    BootEnd, BootSummary, Finding, LossCounts, OpenSession, Rule, SessionKind, TrailChecker,
    TrailReport, UuidHash, UuidMap,
};
pub use personal::{
    Disclosure, MAX_FIELD_NAME_BYTES, MAX_OPENING_BYTES, MAX_OPENING_FIELDS, MAX_VALUE_BYTES,
    NAME_TOKEN_BYTES, Opening, PERSONAL_FIELDS, Personal, PersonalError, REDACTED,
    digest_from_base64, digest_to_base64, name_token, session_of,
};
pub use reason::{OtherReason, Outcome, Reason, ReasonError, ReasonRow};
pub use uuid::Uuid;
pub use view::RecordView;
