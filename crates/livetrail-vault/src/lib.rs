//! Personal data next to the trail: sealed rows that can be erased while every proof still
//! verifies.
//!
//! The log contains commitments. What they commit to, an *opening*, is here: one row per session.
//! It is found by session, principal, user agent or network. It is erased on request, by age, or
//! because the log names it as erased. This crate does not interpret the bytes of an opening.
//!
//! | task | where |
//! |---|---|
//! | opening or creating a vault | [`Vault::open`], [`Vault::open_read_only`], [`Options`], [`Limits`] |
//! | keeping rows | [`Vault::insert`], [`Vault::insert_missing`], [`NewRow`] |
//! | finding rows | [`Vault::get`], [`Vault::find`], [`Query`] |
//! | erasing | [`Vault::erase`], [`Vault::dry_run`], [`Vault::expire`], [`Vault::replay`] |
//! | erasing in parts | [`Vault::begin_erasure`], [`Vault::erase_part`] |
//! | holds | [`Vault::set_hold`], [`Vault::lift_hold`], [`Vault::run_waiting`], [`Vault::held_sessions`] |
//! | back-ups, checks | [`Vault::copy_to`], [`Vault::check`], [`Vault::repair`] |
//! | openings in a write-ahead log | [`sealed`] |
//!
//! ```
//! use std::sync::Arc;
//! use livetrail_clock::SystemClock;
//! use livetrail_vault::{NewRow, Options, Query, Request, RowKind, Selection, Subject, Vault};
//!
//! let dir = tempfile::tempdir()?;
//! let options = Options::new(dir.path().join("personal"));
//! let (mut vault, _) = Vault::open(&options, Arc::new(SystemClock::new()))?;
//! vault.insert(&[NewRow {
//!     session: [7; 16],
//!     kind: RowKind::Session,
//!     app: "live",
//!     time_ms: 1_700_000_000_000,
//!     principal: Some("alice"),
//!     peer: Some("192.0.2.7".parse()?),
//!     user_agent: None,
//!     stream: None,
//!     owner: None,
//!     opening: b"{}",
//! }])?;
//! let alice = Subject::Principal("alice".into());
//! assert_eq!(vault.find(&Query::of(alice.clone()), None, 10)?.rows.len(), 1);
//!
//! let request = Request { id: "2026-17".into(), selection: Selection::Subject(alice) };
//! let done = vault.erase(&request, &mut |sessions| {
//!     // Here the caller puts the sessions on record.
//!     assert_eq!(sessions, [[7; 16]]);
//!     Ok(())
//! })?;
//! assert_eq!(done.erased, 1);
//! assert!(vault.get(&[7; 16])?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! | file | what is in it |
//! |---|---|
//! | `vault.key` | the vault's key: 64 hexadecimal digits, mode 0600. Better elsewhere: [`Options::key_file`] |
//! | `vault` | the vault's identifier, and a value that only its key gives |
//! | `N.keys` | 32 random bytes for each row of segment N |
//! | `N.rows` | the rows of segment N, each sealed under a key of its own |
//! | `N.index` | of a full segment: time and application of each row, and sorted tokens |
//! | `N.gone` | sorted identifiers of erased sessions |
//! | `state` | holds and waiting requests, sealed |
//! | `erasing` | the sessions of an erasure that runs |
//! | `lock` | locked by the process that has the vault open |
//!
//! A row's key is HMAC-SHA-256 of its 32 bytes in `N.keys` under the vault's key; it seals one row,
//! with ChaCha20-Poly1305. So reading a row needs both. Overwriting the 32 bytes makes the row
//! unreadable, also in every copy that does not contain these bytes. A *token* is 96 bits of an
//! HMAC of a principal, user agent or network. Nobody can guess what it stands for without the
//! vault's key.
//!
//! These are in clear: sizes, and the identifiers of sessions, times and applications, which the
//! log has too. An erased row leaves the identifier of its session (as a tombstone), and, until its
//! segment is removed, its time, application and size.
//!
//! A segment is removed when all its rows are erased. Until then, erased rows take space: as long
//! as the longest retention among the rows of their segment.
//!
//! # Size and cost
//!
//! A row with an opening of 130 bytes takes about 380 bytes in all files. In memory are the active
//! segment's index (about 10 MB), the sessions of the segment before it (2 MB), 70 bytes per full
//! segment, and 16 bytes for each 256 erased sessions: 100 million sessions need less than 20 MB. A
//! batch is synced once: one `fdatasync` of the keys and one of the rows.
//!
//! `examples/million.rs`, on two busy cores of a small virtual machine, with one million sessions:
//!
//! | operation | time |
//! |---|---|
//! | insert all, in batches of 5,000 | 30 s |
//! | erase 100,000 of them by their sessions | 11 s |
//! | erase one | 0.18 s |
//! | find the 20 rows of a principal | 13 ms |
//! | replay 100,000 erasures that were made | 1.6 s |
//! | check all | 35 s |
//!
//! Looking something up takes about 16 small reads per segment of 32,768 rows. A query by network
//! uses the token of a /24 or /16 (IPv4), a /64 or /48 (IPv6) and compares the decrypted addresses;
//! a shorter prefix decrypts every row.
//!
//! # Order of writes, and faults
//!
//! Every step can fail, fail although it was done, or be the last one before the process is killed
//! or the power fails. After an error of the disk the vault refuses everything
//! ([`VaultError::Reopen`]) until it is opened again. Opening it is the only recovery.
//!
//! | step | failed | failed but persisted | killed after it |
//! |---|---|---|---|
//! | insert: write keys, rows | the batch is not kept; the next start drops what is left of it, and the caller gives it again | same, or the start keeps rows that the caller gives again as duplicates | same |
//! | insert: sync keys, rows | same; the start writes the last batch again before it counts as durable | the rows are kept | the rows are kept |
//! | full segment: write, sync, rename its index | the start continues with the full segment, whose next row does this again | the start creates the next segment | same |
//! | next segment: create, sync, sync the directory | the start creates it again | the start uses it | same |
//! | erase: the caller's record | nothing is erased | the log names the sessions: [`Vault::replay`] erases them | same |
//! | erase: write, sync, rename `erasing` | nothing is erased; `replay` does it | the start finishes the erasure | same |
//! | erase: write tombstones | the start finishes | the start finishes | same |
//! | erase: overwrite keys of a part, sync | the start overwrites all of them again | same | rows without keys cannot be read; the start finishes |
//! | erase: overwrite rows, sync | the start finishes | same | same |
//! | erase: replace the index | the start finishes: the old index still names the rows | same | same |
//! | erase: remove an empty segment | the start removes what is left of it | same | same |
//! | erase: remove `erasing` | the start erases again what is gone, which changes nothing | same | same |
//! | holds, waiting requests: replace `state` | the old state holds; the caller repeats | the new state holds | same |
//! | waiting request, after a hold was lifted | [`Vault::run_waiting`] continues | same | same |
//!
//! `src/tests/faults.rs` tests this table with every operation of the disk, `tests/killed.rs` with
//! a process that is killed.
//!
//! # Back-up, and the loss of the key
//!
//! [`Vault::copy_to`] makes a consistent copy, and so does a snapshot of the volume, or copying the
//! directory while no process has it open. A copy that was made file by file while the vault was
//! written may lack keys or rows: [`Vault::repair`] erases the incomplete ones. The key file is not
//! in the copy. Keep a copy of it apart from the rows: either alone is useless.
//!
//! After a back-up was restored, call [`Vault::replay`] with everything that the log names as
//! erased, before anything is read. So a restored back-up does not bring back erased rows. As long
//! as a copy of the key files exists, erased rows can be read in copies of the rows: limit the age
//! of back-ups to what the law allows.
//!
//! If the key is lost, no opening can be read again, by anybody, and tokens cannot be made. The
//! trail and its proofs are not affected: all openings are as if erased, without a record of it. To
//! continue, move the directory away and let a new vault be created.
//!
//! # What an erasure cannot reach
//!
//! Overwriting a file does not reach copies that the file system or the device made: snapshots,
//! journals, remapped blocks of flash memory. Keys are 32 bytes in one place that is overwritten
//! first, so that as few bytes as possible must be overwritten reliably. The blocks of a replaced
//! index are freed and not overwritten; they contain tokens and numbers of rows.

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

mod check;
mod crypt;
mod destroy;
mod disk;
mod erase;
mod error;
mod find;
mod format;
mod fuzz;
mod key;
mod message;
mod refusals;
pub mod sealed;
mod segment;
mod selection;
mod state;
#[cfg(test)]
mod tests;
mod tombstones;
mod vault;

pub use check::{Check, Problem};
pub use destroy::PART_ROWS;
pub use erase::{ERASE_SESSIONS, Erasure, Record};
pub use error::VaultError;
pub use find::{MAX_PAGE_ROWS, Opening, Page, Position};
pub use format::row::{MAX_APP_BYTES, MAX_OPENING_BYTES, RowKind, SessionId};
pub use key::MasterKey;
pub use selection::{HoldKind, HoldScope, Query, Request, Retention, Selection, Subject};
pub use state::{
    MAX_HOLDS, MAX_LISTED_SESSIONS, MAX_NAME_BYTES, MAX_NOTE_BYTES, MAX_NOTES, MAX_WAITING,
};
pub use vault::{Inserted, KEY_FILE, Limits, NewRow, Opened, Options, Status, Vault};

/// Parses any bytes as each of the vault's files: a result, never a panic. For fuzzing.
#[doc(hidden)]
pub fn fuzz_files(bytes: &[u8]) {
    fuzz::files(bytes);
}
