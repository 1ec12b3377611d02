//! The tokens of viewers that were revoked before this start: they stay so.
//!
//! The records of revocations (`token_revoked`) are the list. The query index finds them.

use std::sync::Arc;

use anyhow::Context as _;
use livetrail_engine::Engine;
use livetrail_index::Filter;
use livetrail_record::{AuditAction, AuditRecord, Uuid, Value};
use livetrail_trail::{TrailView, trail_directory};

use crate::{
    api::find_entries,
    config::{Config, MAX_TOKEN_LIFETIME},
};

/// Revokes each token again that the trail says was revoked, and that has not expired. The engine
/// keeps 65,536 of them, those that expire last.
///
/// # Errors
/// The trail cannot be read.
pub(super) async fn replay(
    config: &Config,
    engine: &Engine,
    trail: &TrailView,
) -> anyhow::Result<()> {
    if !config.hls.enabled {
        return Ok(());
    }
    let (reader, directory) = (Arc::clone(&trail.reader), trail_directory(&config.data));
    let (engine, now_ms) = (engine.clone(), engine.clock().unix_ms());
    let lifetime_ms = u64::try_from(MAX_TOKEN_LIFETIME.as_millis()).unwrap_or(u64::MAX);
    let mut filter = Filter::default();
    filter.actions = vec![AuditAction::TokenRevoked.label().to_owned()];
    filter.since_ms = Some(now_ms.saturating_sub(lifetime_ms));
    let replayed = tokio::task::spawn_blocking(move || {
        let mut count: usize = 0;
        for hit in find_entries(&reader, &directory, filter)? {
            let revoked = revoked(&hit?.record).filter(|(_, expires_ms)| *expires_ms > now_ms);
            if let Some((token, expires_ms)) = revoked {
                engine.revoke_token(token, expires_ms);
                count = count.saturating_add(1);
            }
        }
        anyhow::Ok(count)
    });
    let replayed = replayed
        .await
        .context("the reader of revocations stopped")?;
    let tokens = replayed
        .context("the tokens that were revoked before this start cannot be read from the trail")?;
    if tokens > 0 {
        tracing::info!(
            tokens,
            "tokens of viewers that were revoked before this start stay so"
        );
    }
    Ok(())
}

/// The token that a record revokes, and when it expires, in milliseconds since 1970.
fn revoked(record: &AuditRecord) -> Option<(Uuid, u64)> {
    let (Value::Text(token), Value::Integer(until_ms)) = (
        record.extra.get("viewer_token")?,
        record.extra.get("until_ms")?,
    ) else {
        return None;
    };
    Some((token.parse().ok()?, u64::try_from(*until_ms).ok()?))
}
