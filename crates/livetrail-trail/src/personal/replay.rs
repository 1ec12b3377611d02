//! Erasing again what the log names as erased.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use livetrail_audit::AuditRecord;
use livetrail_ledger::Reader;
use livetrail_record::{Value, parse_canonical};
use livetrail_vault::{Request, Selection, SessionId, VaultError};

use super::{Personal, lock};

/// Canonical bytes begin with the action, the first name in order.
const ERASED: &[u8] = br#"{"action":"admin_erased","#;

/// Up to about this many sessions are erased at once.
const TOGETHER: usize = 1 << 16;

/// The vault notes how far the log was replayed when at least this many entries are new, so that a
/// start after a crash reads no more than about these.
const NOTED_ENTRIES: u64 = 65_536;

impl Personal {
    /// Erases what the published log names as erased and the vault has not replayed yet. Returns
    /// the number of sessions that the vault still had.
    pub(crate) fn replay(&self, reader: &Reader) -> anyhow::Result<u64> {
        let size = reader.checkpoint()?.head().size;
        let first = reader.first_index()?;
        let replayed = self.with(|vault| Ok(vault.replayed()))?;
        if replayed < first {
            self.erase_without_entries(reader, first)?;
        }
        let mut found = 0_u64;
        let mut sessions = Vec::new();
        for entry in reader.entries(replayed.max(first)..size)? {
            let entry = entry?;
            if entry.starts_with(ERASED)
                && let Ok(record) = parse_canonical(&entry)
            {
                sessions.extend(erased_sessions(&record));
            }
            if sessions.len() >= TOGETHER {
                found = found.saturating_add(self.with(|vault| vault.replay(&sessions))?);
                sessions.clear();
            }
        }
        found = found.saturating_add(self.with(|vault| {
            let found = vault.replay(&sessions)?;
            // A start that changes nothing leaves the files as they are.
            if found > 0 || size.saturating_sub(vault.replayed()) >= NOTED_ENTRIES {
                vault.set_replayed(size)?;
            }
            Ok(found)
        })?);
        if found > 0 {
            tracing::warn!(
                sessions = found,
                "the vault had openings that the log names as erased, as after a restore; they are erased again"
            );
        }
        Ok(found)
    }

    /// A restored vault may be older than a pruning. Then the records of erasures are gone, and so
    /// are the entries of everything that they erased. So what is older than the first entry is
    /// erased.
    fn erase_without_entries(&self, reader: &Reader, first: u64) -> anyhow::Result<()> {
        let size = reader.checkpoint()?.head().size;
        if first >= size {
            return Ok(());
        }
        let Ok(entry) = parse_canonical(&reader.entry(first)?) else {
            return Ok(());
        };
        let selection = Selection::OlderThan {
            app: None,
            time_ms: entry.ts_ms,
        };
        let request = Request {
            id: format!("entries before {first} were removed"),
            selection,
        };
        match self.with(|vault| vault.erase(&request, &mut |_| Ok(()))) {
            // A hold keeps some of them, and this request waits for it already.
            Ok(_) | Err(VaultError::Exists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that everything that the published log names as erased is erased: only this process
    /// erases, and no erasure runs.
    pub(crate) fn note_replayed(&self, reader: &Reader, is_last: bool) -> anyhow::Result<()> {
        use std::sync::atomic::Ordering;
        let size = reader.checkpoint()?.head().size;
        if self.counts.erasing.load(Ordering::Acquire) > 0 || !lock(&self.owed).is_empty() {
            return Ok(());
        }
        self.with(|vault| {
            let new = size.saturating_sub(vault.replayed());
            if new >= NOTED_ENTRIES || (is_last && new > 0) {
                vault.set_replayed(size)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// The sessions that a record names: 16 bytes each, in base64.
pub(crate) fn erased_sessions(record: &AuditRecord) -> Vec<SessionId> {
    let Some(Value::Text(text)) = record.extra.get("sessions") else {
        return Vec::new();
    };
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let (sessions, _) = bytes.as_chunks::<16>();
    sessions.to_vec()
}
