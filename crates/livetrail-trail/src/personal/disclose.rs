//! Showing personal fields: the openings of records.

use livetrail_audit::AuditRecord;
use livetrail_record::{
    Opening, Personal as PersonalText, SessionRole, Uuid, Value, digest_from_base64,
    opening_session,
};
use livetrail_vault::{Vault, VaultError};

/// What the vault has of a record's personal fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shown {
    /// The record has no personal fields.
    Nothing,
    /// They were filled in.
    Filled,
    /// They were erased, or have expired.
    Erased,
    /// The vault has none, and does not know of an erasure: those of a refusal beyond the vault's
    /// bounds, for example.
    Missing,
}

/// The identifier of the opening to which a record of schema 2 commits. `None` if it commits to
/// none.
#[must_use]
pub fn opening_id(record: &AuditRecord) -> Option<Uuid> {
    commitment(record)?;
    let (session, boot, seq) = (record.session, record.boot, record.seq);
    Some(opening_session(&record.action, session, boot, seq))
}

/// The opening to which a record commits, if the vault has it. An opening that is not the one that
/// the record commits to counts as missing.
///
/// # Errors
/// Errors of the system, or damage.
pub fn opening_of(vault: &Vault, record: &AuditRecord) -> Result<Option<Opening>, VaultError> {
    let (Some(id), Some(commitment)) = (opening_id(record), commitment(record)) else {
        return Ok(None);
    };
    let opening = opening(vault, id)?;
    Ok(opening.filter(|opening| opening.commitment() == commitment))
}

/// The commitment in a record of schema 2.
fn commitment(record: &AuditRecord) -> Option<[u8; 32]> {
    match record.extra.get("personal")? {
        Value::Text(text) => digest_from_base64(text),
        _ => None,
    }
}

fn opening(vault: &Vault, id: Uuid) -> Result<Option<Opening>, VaultError> {
    let found = vault.get(id.as_bytes())?;
    Ok(found.and_then(|found| Opening::parse(&found.opening).ok()))
}

/// Fills in the personal fields of a record: those to which it commits, and for a later record of a
/// session those of the session. A record of schema 1 has them already.
///
/// # Errors
/// Errors of the system, or damage.
pub fn fill_in(vault: &Vault, record: &mut AuditRecord) -> Result<Shown, VaultError> {
    let own = opening_id(record);
    let is_part = record.action.role() != SessionRole::Apart;
    let session = record.session.filter(|id| is_part && Some(*id) != own);
    let mut shown = Shown::Nothing;
    if let Some(id) = own {
        shown = match opening_of(vault, record)? {
            Some(opening) => fill(record, &opening),
            None if is_erased(vault, id, record.session)? => Shown::Erased,
            None => Shown::Missing,
        };
    }
    if let Some(id) = session {
        match opening(vault, id)? {
            Some(opening) => shown = fill(record, &opening),
            None if shown == Shown::Nothing && vault.is_erased(id.as_bytes())? => {
                shown = Shown::Erased;
            }
            None => {}
        }
    }
    Ok(shown)
}

fn is_erased(vault: &Vault, id: Uuid, session: Option<Uuid>) -> Result<bool, VaultError> {
    if vault.is_erased(id.as_bytes())? {
        return Ok(true);
    }
    session.map_or(Ok(false), |id| vault.is_erased(id.as_bytes()))
}

fn fill(record: &mut AuditRecord, opening: &Opening) -> Shown {
    let get = |name: &str| opening.get(name).cloned();
    for (field, name) in [
        (&mut record.principal, "principal"),
        (&mut record.peer, "peer"),
        (&mut record.user_agent, "user_agent"),
        (&mut record.detail, "detail"),
    ] {
        if let Some(value) = get(name) {
            *field = Some(value);
        }
    }
    if let Some(name) = get("stream") {
        record.stream = Some(name.into_exposed());
    }
    if let Some(name) = get("by") {
        record.by = Some(name.into_exposed());
    }
    Shown::Filled
}

/// Removes the personal fields that a record of schema 1 has in clear. `detail` stays where the
/// server itself wrote it.
pub fn hide(record: &mut AuditRecord) {
    record.principal = None;
    record.peer = None;
    record.user_agent = None;
    if !record.action.is_admin() && record.action.role() != SessionRole::Apart {
        record.detail = None::<PersonalText>;
    }
}
