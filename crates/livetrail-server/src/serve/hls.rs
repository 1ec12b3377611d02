//! HLS: its settings, and the key that seals the tokens of viewers.

use anyhow::Context as _;
use livetrail_engine::Engine;
use livetrail_hls::token::{Key, Keys};
use livetrail_http::Hls;

use crate::config::Config;

/// HLS as configured; `None` if it is off.
///
/// The key is a new one at each start: viewers from before a restart ask for the entry again.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn of(config: &Config, engine: &Engine) -> anyhow::Result<Option<Hls>> {
    if !config.hls.enabled {
        return Ok(None);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| anyhow::anyhow!("no random bytes for the key of HLS: {error}"))?;
    let keys = Keys::new(vec![Key::new(secret, engine.clock().unix_s())])?;
    let hls = Hls::new(engine.clone(), config.hls.options(), keys);
    hls.context("hls").map(Some)
}
