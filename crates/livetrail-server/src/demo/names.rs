//! The names of the demo's clients. The trail only commits to them: they are in its vault.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use livetrail_audit::{AuditRecord, Personal as Name};
use livetrail_record::{Opening, Uuid, Value, digest_to_base64, opening_session};
use livetrail_trail::{Personal, Settings};

/// The names of one session.
#[derive(Default)]
pub(super) struct Names {
    /// Who, as authenticated.
    pub(super) principal: Option<Name>,
    /// From where.
    pub(super) peer: Option<Name>,
}

/// The names of each session in the trail. Each opening is the one that its record commits to. A
/// record of schema 1 has its names itself.
pub(super) fn read(
    settings: &Settings,
    trail: &[AuditRecord],
) -> anyhow::Result<HashMap<Uuid, Names>> {
    let vault = Personal::read_only(settings).context("the vault of names")?;
    let mut names = HashMap::new();
    for record in trail {
        let Some(Value::Text(commitment)) = record.extra.get("personal") else {
            if let Some(session) = record.session.filter(|_| record.v < 2) {
                let found = Names {
                    principal: record.principal.clone(),
                    peer: record.peer.clone(),
                };
                names.insert(session, found);
            }
            continue;
        };
        let id = opening_session(&record.action, record.session, record.boot, record.seq);
        let row = vault.with(|vault| vault.get(id.as_bytes()))?;
        let row =
            row.with_context(|| format!("the vault has no opening of a {}", record.action))?;
        let opening = Opening::parse(&row.opening)?;
        ensure!(
            digest_to_base64(&opening.commitment()) == *commitment,
            "the vault has another opening than a {} commits to",
            record.action
        );
        let of = |name: &str| opening.get(name).cloned();
        let found = Names {
            principal: of("principal"),
            peer: of("peer"),
        };
        names.insert(id, found);
    }
    Ok(names)
}
