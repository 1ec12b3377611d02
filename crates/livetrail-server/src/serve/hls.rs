//! HLS: its settings, and the keys that seal the tokens of viewers.

use anyhow::Context as _;
use livetrail_engine::Engine;
use livetrail_http::Hls;
use livetrail_trail::TrailView;

use super::hls_keys::{Ages, KeyFile};
use crate::config::Config;

/// HLS as configured, and the file with its keys; `None` if it is off.
///
/// # Errors
/// The keys cannot be read or created.
pub(super) fn of(
    config: &Config,
    engine: &Engine,
    trail: &TrailView,
) -> anyhow::Result<Option<(Hls, KeyFile)>> {
    if !config.hls.enabled {
        return Ok(None);
    }
    let of_trail = trail.directory().map(|trail| config.hls.key_file(trail));
    let path = config.hls.key_file.clone().or(of_trail);
    let ages = Ages {
        key: config.hls.key_lifetime.0,
        token: config.hls.token_lifetime.0,
    };
    let file = KeyFile::open(path, ages, &*engine.clock()).context("hls.key_file")?;
    let hls = Hls::new(engine.clone(), config.hls.options(), file.keys());
    Ok(Some((hls.context("hls")?, file)))
}
