//! Checks trails for people who do not trust the keepers of the trails.
//!
//! | task | where |
//! |---|---|
//! | checking a ledger's trail | [`verify`], [`Options`] |
//! | checking a receipt for one record, without the trail | [`verify_proof`], [`ProofReport`] |
//! | a trail's files | [`Source`], [`Directory`], [`Site`], [`Files`] |
//! | trusted keys | [`Policy`], [`KeyFile`] |
//! | checking a sink's lines of JSON against a signed checkpoint | [`verify_lines`], [`Lines`] |
//! | checking a file of lines, which has no evidence in it | [`verify_file`] |
//! | the trails of several servers in one place | [`verify_fleet`], [`FleetReport`] |
//! | comparing openings of personal fields with their entries | [`Openings`], [`PersonalReport`] |
//! | results | [`Report`], [`Verdict`], [`Finding`] |
//!
//! This crate contains no line of the writer. It rebuilds the trail from its entries and compares:
//! entries → leaf hashes → every hash tile → the signed root, and on the way each older checkpoint
//! and the records' own rules. It takes one parallel pass. Its memory depends neither on the
//! trail's size nor on its author: only open sessions and boots make it grow, up to a bound.
//!
//! ```
//! use livetrail_verify::{Directory, Options, VerifyError, verify};
//!
//! let nothing_there = Directory::new("no/such/trail");
//! let error = verify(&nothing_there, &Options::default(), &mut |_, _| {}).unwrap_err();
//! assert!(matches!(error, VerifyError::NoTrail { .. }));
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

mod conclusion;
mod error;
mod file_trail;
mod finding;
mod fleet;
mod fuzz;
mod lines;
mod note;
mod older;
mod options;
mod personal;
mod proof;
mod report;
mod scan;
mod sources;
mod trail;
mod trust;
mod verify;

pub use error::VerifyError;
pub use file_trail::verify_file;
pub use finding::{Class, Finding, MAX_FINDINGS, Severity};
pub use fleet::{
    FleetOptions, FleetReport, FleetState, FleetTrail, FleetTrailReport, MAX_FLEET, verify_fleet,
};
#[doc(hidden)]
pub use fuzz::{fuzz_lines, fuzz_openings, fuzz_trail};
pub use lines::{Lines, checkpoint_in, verify_lines};
pub use options::Options;
pub use personal::{
    Answer, ErasedBy, MAX_OPENING_FILE_BYTES, MAX_OPENINGS, Openings, PersonalAnswer,
    PersonalReport,
};
pub use proof::{ProofReport, verify_proof};
pub use report::show::shown;
pub use report::{
    BootReport, CheckpointReport, CosignatureReport, CosignedReport, Figures, KeysReport,
    OlderReport, OpenSessionReport, PrunedReport, Report, RotationReport, Sessions, TrailKind,
    Verdict,
};
#[cfg(feature = "s3")]
pub use sources::bucket::BucketSite;
#[cfg(feature = "host")]
pub use sources::directory::Directory;
pub use sources::limits::Limits;
#[cfg(feature = "postgres")]
pub use sources::postgres::PostgresTrail;
#[cfg(feature = "site")]
pub use sources::site::Site;
pub use sources::{Alteration, Files, SizeClaim, Source, SourceError};
pub use trust::key_file::{KeyFile, keys_in};
pub use trust::policy::{MAX_POLICY_BYTES, Policy};
pub use verify::verify;
